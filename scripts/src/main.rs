//! Developer and CI entry points.

fn main() {}
