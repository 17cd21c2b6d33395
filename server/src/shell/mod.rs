//! The rim: the only place that touches files, sockets, threads and clocks.

pub mod disk;
mod mapping;
