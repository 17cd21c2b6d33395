//! Prints what the loop world costs: `cargo bench -p detsim`. At test size when run as a test.

use std::time::Duration;

use detsim::bench;

fn main() {
    let is_test = !std::env::args().any(|argument| argument == "--bench");
    let scale = if is_test { 1 } else { 100 };
    let figures = [
        bench::idle(1, Duration::from_secs(200 * scale)),
        bench::paced(1, Duration::from_secs(10 * scale), 100),
        bench::saturated(1, 1_000 * scale, 32),
        bench::saturated(1, 1_000 * scale, 256),
    ];
    print!("{}", bench::table(&figures));
}
