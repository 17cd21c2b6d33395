//! Developer and CI entry points as a library, so that tests can call them.

pub mod ci;
pub mod tidy;
