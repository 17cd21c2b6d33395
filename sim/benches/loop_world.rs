//! Prints what the loop world costs: `cargo bench -p detsim`, with words to measure only what they
//! name. At test size when run as a test.

use std::time::Duration;

use detsim::bench::{self, Figure};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_test = !words.iter().any(|word| word == "--bench");
    let scale = if is_test { 1 } else { 100 };
    let measures: [(&str, &dyn Fn() -> Figure); 4] = [
        ("idle", &|| bench::idle(1, Duration::from_secs(200 * scale))),
        ("paced", &|| bench::paced(1, Duration::from_secs(10 * scale), 100)),
        ("saturated", &|| bench::saturated(1, 1_000 * scale, 32)),
        ("crowded", &|| bench::saturated(1, 1_000 * scale, 256)),
    ];
    let named = |name: &str| {
        let mut asked = words.iter().filter(|word| !word.starts_with("--")).peekable();
        asked.peek().is_none() || asked.any(|word| word == name)
    };
    let measured = measures.iter().filter(|(name, _)| named(name));
    let figures: Vec<Figure> = measured.map(|(_, measure)| measure()).collect();
    print!("{}", bench::table(&figures));
}
