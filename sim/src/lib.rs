//! The simulator and its harness.

pub mod bench;
pub mod check;
pub mod cli;
pub mod disk;
pub mod import;
pub mod language;
pub mod model;
pub mod run;
pub mod seed;
pub mod swarm;
pub mod workload;
pub mod world;
