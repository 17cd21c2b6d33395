//! Histories written by others, as histories of ours: what `detsim check` reads.
//!
//! | what | recognised by | judged by |
//! |---|---|---|
//! | a run's record | a JSON object with `history` | all checkers |
//! | a history of ours | a JSON object with `operations` | all checkers |
//! | etcd's robustness tests | `operations.json`, or folders that hold one | linearizability |
//! | Jepsen's `history.edn` of registers | EDN | linearizability, each key alone |
//!
//! Every error names the file and the line.

mod edn;
mod jepsen;
mod robustness;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use detsim_reports::record::{History, Internals, MemberName, OpId, Operation, RunRecord};
use serde::Deserialize;
use thiserror::Error;

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
}

impl Part {
    /// Operations, numbered in the order of their invocations, of a system that is seen as one.
    fn of(of: String, system: &str, mut operations: Vec<Operation>) -> Part {
        operations.sort_by_key(|operation| operation.invoked);
        for (number, operation) in operations.iter_mut().enumerate() {
            operation.id = OpId(number as u32);
        }
        let members = vec![MemberName(system.to_owned())];
        Part { of, history: History { members, operations, ..History::default() }, internals: None }
    }
}

/// What a file holds.
#[derive(Debug)]
pub struct Imported {
    /// What wrote it, for the reader.
    pub format: &'static str,
    /// Whether it holds all fields of every reply, so that every checker can judge it.
    pub is_complete: bool,
    /// What to check.
    pub parts: Vec<Part>,
    /// What it holds that is not checked.
    pub not_checked: Vec<String>,
}

/// Reads a history from a file, or a report from a folder.
pub fn read(path: &Path) -> Result<Imported, ImportError> {
    if path.is_dir() {
        return robustness::folder(path);
    }
    let text = text(path)?;
    let start = text.trim_start();
    if start.starts_with("{:") || start.starts_with(['[', '(', '#', ';']) {
        return jepsen::import(path, &text);
    }
    match start.lines().next() {
        Some(line) if line.contains("\"Input\"") => {
            robustness::import(&[(path.to_owned(), text.as_str())])
        }
        Some(_) => ours(path, &text),
        None => Err(ImportError { path: path.to_owned(), line: None, what: "is empty".into() }),
    }
}

fn text(path: &Path) -> Result<String, ImportError> {
    let fail = |what: String| ImportError { path: path.to_owned(), line: None, what };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| fail("is not text".to_owned()))
}

/// A record, or the history alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ours {
    Record(Box<RunRecord>),
    History(Box<History>),
}

fn ours(path: &Path, text: &str) -> Result<Imported, ImportError> {
    let read: Ours = serde_json::from_str(text).map_err(|_| ImportError {
        path: path.to_owned(),
        line: None,
        what:
            "is no history that is known: neither a record of detsim's, nor operations of etcd's \
               robustness tests, nor EDN of Jepsen's"
                .to_owned(),
    })?;
    let (history, internals) = match read {
        Ours::Record(record) => (record.history, Some(record.internals)),
        Ours::History(history) => (*history, None),
    };
    // A world without internals records empty ones.
    let internals = internals.filter(|internals| !internals.committed.is_empty());
    Ok(Imported {
        format: "detsim",
        is_complete: true,
        parts: vec![Part { of: String::new(), history, internals }],
        not_checked: Vec::new(),
    })
}
