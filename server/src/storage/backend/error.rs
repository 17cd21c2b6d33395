//! Why a driver cannot go on with a member's database or snapshots, with etcd's last words.

use std::io;

use thiserror::Error;

use super::engine::DatabaseError;
use crate::config::CompatVersion;
use crate::member::io::{Level, LogLine};
use crate::storage::disk::words;
use crate::storage::schema::SchemaError;
use crate::storage::wal::WalError;

/// What went wrong. Displays are the `error` field of etcd's log line.
#[derive(Debug, Error)]
pub enum Cause {
    /// The log.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The database's file.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What the database holds cannot be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A file of a snapshot.
    #[error("{operation} {path}: {}", words(source))]
    Io {
        /// The system call's name.
        operation: &'static str,
        /// On which file or directory.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// A snapshot's database is needed and not there.
    #[error("failed to find database snapshot file (snap: snapshot file doesn't exist)")]
    NoSnapshotDatabase {
        /// The snapshot's index.
        index: u64,
    },
    /// The database is older than the snapshot that the log goes on from.
    #[error(
        "database file ({path} index {consistent}) does not match with snapshot (index {snapshot})"
    )]
    Mismatch {
        /// The database's file.
        path: String,
        /// Its consistent index.
        consistent: u64,
        /// The snapshot's index.
        snapshot: u64,
    },
    /// The log ends before what the database holds: entries that are gone would never be applied
    /// again, nor would those that take their places.
    #[error(
        "database file ({path} index {consistent}) is out of range [lastIndex({last})]. Was the \
         raft log corrupted, truncated, or lost?"
    )]
    Ahead {
        /// The database's file.
        path: String,
        /// Its consistent index.
        consistent: u64,
        /// Where the log ends; 0 without a log.
        last: u64,
    },
    /// The log and the snapshot are there, but no database was.
    #[error("database file ({path}) of the backend is missing")]
    Missing {
        /// The database's file.
        path: String,
    },
}

impl Cause {
    pub(super) fn io(
        operation: &'static str,
        path: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Cause {
        let path = path.into();
        move |source| Cause::Io { operation, path, source }
    }
}

/// A file or directory of a member, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(pub String);

/// The end of a process for its disk's sake.
#[derive(Debug, Error)]
#[error("{cause}")]
pub struct Failure {
    /// etcd's last log message, whose `error` field is the cause.
    pub message: &'static str,
    /// The process's exit code.
    pub exit_code: u8,
    /// Why.
    pub cause: Cause,
    /// What was opened, where the text does not say so: the log's directory, the database.
    pub place: Option<Box<Place>>,
}

impl Failure {
    /// What etcd calls fatal.
    pub(super) fn fatal<C: Into<Cause>>(message: &'static str) -> impl FnOnce(C) -> Failure {
        move |cause| Failure { message, exit_code: 1, cause: cause.into(), place: None }
    }

    /// Where etcd panics.
    pub(super) fn panic<C: Into<Cause>>(message: &'static str) -> impl FnOnce(C) -> Failure {
        move |cause| Failure { message, exit_code: 2, cause: cause.into(), place: None }
    }

    /// The `error` field as a version has it.
    pub fn text(&self, compat: CompatVersion) -> String {
        match &self.cause {
            Cause::Log(error) => error.text(compat),
            other => other.to_string(),
        }
    }

    /// The last line of the process's log.
    pub fn line(&self, compat: CompatVersion) -> LogLine {
        let path = match &self.cause {
            Cause::Database(error) => error.path(),
            _ => self.place.as_deref().map(|place| &*place.0),
        };
        let mut line = LogLine::new(Level::Fatal, self.message);
        if let Some(path) = path {
            line = line.with("path", path);
        }
        line.with("error", self.text(compat))
    }

    /// Says what was opened.
    pub(super) fn opening(mut self, wal_dir: &str, database: &str) -> Failure {
        let path = match &self.cause {
            Cause::Log(_) => Some(wal_dir),
            Cause::Schema(_) => Some(database),
            _ => None,
        };
        self.place = path.map(|path| Box::new(Place(path.to_owned())));
        self
    }
}

impl From<WalError> for Failure {
    fn from(error: WalError) -> Failure {
        let message = error.fatal_message();
        Failure { message, exit_code: 1, cause: Cause::Log(error), place: None }
    }
}
