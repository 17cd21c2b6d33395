//! The simulator and its harness.

pub mod seed;
pub mod world;
