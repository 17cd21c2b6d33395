//! Histories written by others, as histories of ours: what `detsim check` reads.
//!
//! | what | recognised by | judged by |
//! |---|---|---|
//! | a run's record | a JSON object with `history` | all checkers |
//! | a history of ours | a JSON object with `operations` | all checkers |
//! | etcd's robustness tests | an `Input` with a `Type`, or folders | linearizability |
//! | Porcupine's operations | JSON with `Input` | linearizability, each key alone |
//! | Jepsen's registers | EDN | linearizability, each key alone |
//! | Jepsen's sets | EDN with `:add` | linearizability and set-full, each set alone |
//! | Elle's transactions | EDN with `:txn` | linearizability, all keys together |
//!
//! Every error names the file and the line.

mod edn;
mod jepsen;
mod porcupine;
mod robustness;
#[cfg(test)]
mod tests;
mod values;

use std::path::{Path, PathBuf};

use detsim_reports::record::{History, Internals, MemberName, OpId, Operation, RunRecord};
use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;

use crate::check::Checker;

/// A file cannot be read as a history.
#[derive(Debug, Error)]
#[error("{}{}: {what}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ImportError {
    /// Which file.
    pub path: PathBuf,
    /// Where in it, from 1.
    pub line: Option<usize>,
    /// What is wrong, and what was expected.
    pub what: String,
}

/// Something to check on its own.
#[derive(Debug)]
pub struct Part {
    /// What it is of: a key; empty for everything.
    pub of: String,
    /// The history.
    pub history: History,
    /// What the raft log says, if the file has it.
    pub internals: Option<Internals>,
    /// Who can judge it by what it records.
    pub checkers: &'static [Checker],
}

impl Part {
    /// Operations, numbered in the order of their invocations, of a system that is seen as one.
    fn of(
        of: String,
        system: &str,
        mut operations: Vec<Operation>,
        checkers: &'static [Checker],
    ) -> Part {
        operations.sort_by_key(|operation| operation.invoked);
        for (number, operation) in operations.iter_mut().enumerate() {
            operation.id = OpId(number as u32);
        }
        let members = vec![MemberName(system.to_owned())];
        let history = History { members, operations, ..History::default() };
        Part { of, history, internals: None, checkers }
    }
}

/// What a file holds.
#[derive(Debug)]
pub struct Imported {
    /// What wrote it, for the reader.
    pub format: &'static str,
    /// What to check.
    pub parts: Vec<Part>,
    /// What it holds that is not checked.
    pub not_checked: Vec<String>,
    /// How many events of clients are among that: what they did is not known, so that the rest may
    /// not be what it seems.
    pub ignored: usize,
}

/// Reads a history from a file, or a report from a folder.
pub fn read(path: &Path) -> Result<Imported, ImportError> {
    if path.is_dir() {
        return robustness::folder(path);
    }
    let text = text(path)?;
    let start = text.trim_start();
    if is_json_array(start) {
        return porcupine::import(path, &text);
    }
    if start.starts_with("{:") || start.starts_with(['[', '(', '#', ';']) {
        return jepsen::import(path, &text);
    }
    match start.lines().next() {
        Some(line) if line.contains("\"Input\"") => porcupine::import(path, &text),
        Some(_) => ours(path, &text),
        None => Err(ImportError { path: path.to_owned(), line: None, what: "is empty".into() }),
    }
}

/// Whether a text is an array of JSON objects, and not a vector of EDN's maps.
fn is_json_array(text: &str) -> bool {
    let inner = text.strip_prefix('[').map(str::trim_start);
    let first = inner.and_then(|inner| inner.strip_prefix('{')).map(str::trim_start);
    first.is_some_and(|first| first.starts_with('"'))
}

fn text(path: &Path) -> Result<String, ImportError> {
    let fail = |what: String| ImportError { path: path.to_owned(), line: None, what };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| fail("is not text".to_owned()))
}

/// What tells a record from the history alone.
#[derive(Deserialize)]
struct Shape {
    history: Option<IgnoredAny>,
    operations: Option<IgnoredAny>,
}

fn ours(path: &Path, text: &str) -> Result<Imported, ImportError> {
    // The error names line and column.
    let broken = |error: serde_json::Error| ImportError {
        path: path.to_owned(),
        line: None,
        what: error.to_string(),
    };
    let (history, internals) = match serde_json::from_str(text).map_err(broken)? {
        Shape { history: Some(_), .. } => {
            let record: RunRecord = serde_json::from_str(text).map_err(broken)?;
            (record.history, Some(record.internals))
        }
        Shape { operations: Some(_), .. } => (serde_json::from_str(text).map_err(broken)?, None),
        Shape { .. } => {
            let what = "is no history that is known: neither a record of detsim's, nor operations \
                        of Porcupine's or of etcd's robustness tests, nor EDN of Jepsen's";
            return Err(ImportError { path: path.to_owned(), line: None, what: what.to_owned() });
        }
    };
    // A world without internals records empty ones.
    let internals = internals.filter(|internals| !internals.committed.is_empty());
    Ok(Imported {
        format: "detsim",
        parts: vec![Part { of: String::new(), history, internals, checkers: Checker::ALL }],
        not_checked: Vec::new(),
        ignored: 0,
    })
}
