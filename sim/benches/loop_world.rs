//! Prints what the loop world costs: `cargo bench -p detsim`, with words to measure only what they
//! name. At test size when run as a test.

use detsim::bench;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let scale = if words.iter().any(|word| word == "--bench") { 100 } else { 1 };
    let names: Vec<String> = words.into_iter().filter(|word| !word.starts_with("--")).collect();
    print!("{}", bench::table(&bench::measure(&names, scale)));
}
