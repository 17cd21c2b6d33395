//! Why a snapshot is not saved, read or restored, in the words of etcd's tools.

use std::fmt::Write as _;
use std::io;

use thiserror::Error;

use super::Place;
use crate::config::quote::quote;
use crate::storage::bolt::{BoltError, Finding};
use crate::storage::disk::words;
use crate::storage::schema::SchemaError;
use crate::storage::wal::WalError;

/// A failure of a command.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The disk refused an operation.
    #[error("{operation} {}: {}", place.named, words(source))]
    Io {
        /// The system call's name.
        operation: &'static str,
        /// On which file or directory.
        place: Place,
        /// What it said.
        source: io::Error,
    },
    /// The file that a snapshot is received in cannot be made.
    #[error("could not open {0} ({1})", .place.named, .cause)]
    Part {
        /// The file.
        place: Place,
        /// Why.
        cause: Box<BackupError>,
    },
    /// A snapshot ended before its hash.
    #[error("sha256 checksum not found [bytes: {0}]")]
    HashNotFound(u64),
    /// A snapshot could not be written down.
    #[error("could not write snapshot: {0}")]
    Write(Box<BackupError>),
    /// A snapshot that is written down could not get its name.
    #[error("could not rename {} to {} ({cause})", from.named, to.named)]
    Rename {
        /// Its name until now.
        from: Place,
        /// The name that it should get.
        to: Place,
        /// Why.
        cause: Box<BackupError>,
    },
    /// The file is no database, or damaged.
    #[error(transparent)]
    Database(#[from] BoltError),
    /// Damage that was looked for.
    #[error(
        "snapshot file integrity check failed. {} errors found.\n{}",
        .0.len(), listed(.0)
    )]
    Damaged(Vec<Finding>),
    /// A row of the database that cannot be read.
    #[error("proto: {0}")]
    Row(String),
    /// A row of the database that no member writes.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A revision that compaction has made unreadable.
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    /// A revision that is not there yet.
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    /// A database that could not be copied.
    #[error("Failed to defragment etcd data[{}] ({cause})", data_dir.named)]
    Defragment {
        /// The data directory.
        data_dir: Place,
        /// Why.
        cause: Box<BackupError>,
    },
    /// One of two flags without the other.
    #[error("--mark-compacted required if --revision-bump > 0")]
    BumpWithoutMark,
    /// The bump leads past all revisions.
    #[error("revision {latest} cannot be bumped by {by}")]
    BumpTooLarge {
        /// The greatest revision of the snapshot.
        latest: i64,
        /// By how much it should be bumped.
        by: u64,
    },
    /// The members are not those of a cluster.
    #[error("{0}")]
    Cluster(String),
    /// There is something in the data directory.
    #[error("data-dir {} not empty or could not be read", quote(&.0.named))]
    DataDir(Place),
    /// There is a log's directory.
    #[error("wal-dir {} exists", quote(&.0.named))]
    WalDir(Place),
    /// A file without a hash, which is wanted.
    #[error("snapshot missing hash but --skip-hash-check=false")]
    HashMissing,
    /// The file is not what was saved.
    #[error("expected sha256 {}, got {}", decimals(.expected), decimals(.found))]
    HashMismatch {
        /// What it ends in.
        expected: [u8; 32],
        /// The hash of what comes before.
        found: [u8; 32],
    },
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] WalError),
}

impl BackupError {
    /// With which the command ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            BackupError::Part { .. }
            | BackupError::HashNotFound(_)
            | BackupError::Write(_)
            | BackupError::Rename { .. } => 5,
            BackupError::BumpWithoutMark => 128,
            _ => 1,
        }
    }

    /// Says what the disk was asked for.
    pub fn io(operation: &'static str, place: &Place) -> impl FnOnce(io::Error) -> BackupError {
        let place = place.clone();
        move |source| BackupError::Io { operation, place, source }
    }
}

fn listed(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    lines.join("\n")
}

/// Bytes as Go prints a list of them.
fn decimals(bytes: &[u8]) -> String {
    let mut text = String::from("[");
    for (at, byte) in bytes.iter().enumerate() {
        let space = if at == 0 { "" } else { " " };
        write!(text, "{space}{byte}").expect("a text takes all");
    }
    text + "]"
}
