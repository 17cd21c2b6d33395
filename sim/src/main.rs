//! The `detsim` command.

fn main() {}
