//! The command line of the developer and CI entry points.

use std::path::Path;
use std::process::ExitCode;

use scripts::ci::{self, Scope};
use scripts::tidy::{self, Tree};

const USAGE: &str = "\
usage: cargo run -p scripts -- VERB
  ci      what CI runs for every change
  full    the same with every peer and longer sweeps
  tidy    the house rules alone
  bless   runs the tests and writes their expected texts anew; read the diff";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a folder");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ci"] => exit(ci::run(root, Scope::Change)),
        ["full"] => exit(ci::run(root, Scope::Full)),
        ["tidy"] => run_tidy(root),
        ["bless"] => exit(ci::bless(root)),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn exit(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_tidy(root: &Path) -> ExitCode {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let findings = tidy::check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    println!("{} files, {} findings", tree.sizes.len(), findings.len());
    exit(findings.is_empty())
}
