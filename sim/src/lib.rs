//! The simulator and its harness.

pub mod world;
