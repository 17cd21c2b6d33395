//! One stage of CI: a command that must succeed, its time, and what the test runner said in it.
#![allow(clippy::disallowed_types, reason = "how long a stage takes is part of its report")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a stage ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it must.
    Passed,
    /// It could not be done here, for this reason.
    Skipped(String),
    /// In this way.
    Failed(String),
}

/// A stage that was run.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub ending: Ending,
    /// How long it took.
    pub took: Duration,
    /// What the test runners in it counted.
    pub tests: Tally,
}

/// Tests by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Tally {
    /// Adds what a closing line of `cargo test` says; other lines say nothing.
    pub fn read(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        for part in counts.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(count), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.skipped += count,
                _ => {}
            }
        }
    }

    /// The sum of two.
    #[must_use]
    pub fn and(self, other: Tally) -> Tally {
        Tally {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// Runs a command as a stage. What it prints goes through.
pub fn command(name: &str, command: &mut Command) -> Stage {
    println!("\n== {name}: {}", words(command));
    let began = Instant::now();
    let mut tests = Tally::default();
    let ending = follow(command, &mut tests).unwrap_or_else(|error| {
        Ending::Failed(format!("{}: {error}", command.get_program().to_string_lossy()))
    });
    Stage { name: name.to_owned(), ending, took: began.elapsed(), tests }
}

/// Runs a function as a stage.
pub fn function(name: &str, run: impl FnOnce() -> Ending) -> Stage {
    println!("\n== {name}");
    let began = Instant::now();
    let ending = run();
    Stage { name: name.to_owned(), ending, took: began.elapsed(), tests: Tally::default() }
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn follow(command: &mut Command, tests: &mut Tally) -> std::io::Result<Ending> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().expect("it is piped");
    let mut ours = std::io::stdout().lock();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        tests.read(&String::from_utf8_lossy(&line));
        ours.write_all(&line)?;
        ours.write_all(b"\n")?;
    }
    let status = child.wait()?;
    Ok(if status.success() { Ending::Passed } else { Ending::Failed(status.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "test result: ok. 23 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s",
            "test result: FAILED. 6 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            "test 99 passed ... ok",
        ] {
            tally.read(line);
        }
        assert_eq!(tally, Tally { passed: 29, failed: 2, skipped: 1 });
    }

    #[test]
    fn a_command_that_fails_or_does_not_exist_fails_its_stage() {
        let failed = command("false", &mut Command::new("false"));
        assert_eq!(failed.ending, Ending::Failed("exit status: 1".to_owned()));
        let missing = command("missing", &mut Command::new("no-such-command-anywhere"));
        assert!(matches!(missing.ending, Ending::Failed(_)));
    }
}
