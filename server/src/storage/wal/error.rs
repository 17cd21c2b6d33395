//! Why a log directory cannot be read or written. Displays are the `error` field of etcd's log
//! lines since 3.6, `WalError::text` has it for any version; where etcd would lose data without a
//! word, the text is ours.

use std::io;

use thiserror::Error;

use crate::config::CompatVersion;

/// A failure of the write-ahead log. `file` names where it was met.
#[derive(Debug, Error)]
pub enum WalError {
    /// The disk refused an operation.
    #[error("{operation} {path}: {source}")]
    Io {
        /// The system call's name.
        operation: &'static str,
        /// On which file or directory.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// Somebody else has the directory open.
    #[error("fileutil: file already locked")]
    Locked {
        /// The locked segment.
        path: String,
    },
    /// The directory holds no segment.
    #[error("wal: file not found")]
    NoFile {
        /// The directory.
        dir: String,
    },
    /// No segment begins at or below the snapshot.
    #[error("wal: file not found which matches the snapshot index '{index}'")]
    NoSegment {
        /// The snapshot's index.
        index: u64,
    },
    /// A segment is missing between others.
    #[error("wal: file sequence numbers (starting from {from}) do not increase continuously")]
    Sequence {
        /// Position of the first segment that was asked for.
        from: usize,
    },
    /// A record's checksum does not continue the chain.
    #[error("walpb: crc mismatch: in file '{file}' at position: {position}")]
    Checksum {
        /// The segment.
        file: String,
        /// Offset of the record.
        position: u64,
    },
    /// The log ends within a record: repairable at the end of the last segment.
    #[error("unexpected EOF{detail}")]
    UnexpectedEof {
        /// The segment.
        file: String,
        /// Offset of the record.
        position: u64,
        /// Empty, or etcd's account of a length past the end of the file.
        detail: String,
    },
    /// Two metadata records differ.
    #[error("wal: conflicting metadata found")]
    ConflictingMetadata {
        /// The segment of the second.
        file: String,
    },
    /// No metadata record.
    #[error("wal: no metadata: in file '{file}'")]
    NoMetadata {
        /// The first segment that was read.
        file: String,
    },
    /// A snapshot of the same index has another term.
    #[error("wal: snapshot mismatch")]
    SnapshotMismatch {
        /// The segment.
        file: String,
    },
    /// The snapshot to start from has no record.
    #[error("wal: snapshot not found")]
    SnapshotNotFound {
        /// The snapshot's index.
        index: u64,
    },
    /// Entries are missing.
    #[error(
        "wal: slice bounds out of range, snapshot[Index: {snapshot_index}, Term: {snapshot_term}], \
         current entry[Index: {index}, Term: {term}], len(ents): {held}"
    )]
    Gap {
        /// The segment.
        file: String,
        /// Where the log starts.
        snapshot_index: u64,
        /// Its term.
        snapshot_term: u64,
        /// The entry that does not follow.
        index: u64,
        /// Its term.
        term: u64,
        /// How many entries came before.
        held: usize,
    },
    /// A record of a type that no version writes.
    #[error("unexpected block type {kind}")]
    UnexpectedKind {
        /// The segment.
        file: String,
        /// The type.
        kind: i64,
    },
    /// A record whose checksum holds, but that cannot stand where it stands.
    #[error("wal: damaged record ({cause}): in file '{file}' at position: {position}")]
    Damaged {
        /// The segment.
        file: String,
        /// Offset of the record.
        position: u64,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// A snapshot record above index 0 needs a configuration.
    #[error("Saved (not-initial) snapshot is missing ConfState: index:{index} term:{term} ")]
    MissingConfState {
        /// Its index.
        index: u64,
        /// Its term.
        term: u64,
    },
    /// The directory is there already.
    #[error("file already exists")]
    AlreadyExists {
        /// The directory.
        dir: String,
    },
    /// The first write did not create the log.
    #[error("wal: write {number} before the log was created")]
    NotCreated {
        /// The write.
        number: u64,
    },
    /// An earlier operation failed: what reached the medium is unknown, and nothing more is
    /// written or confirmed.
    #[error("wal: a write or sync failed before")]
    Failed,
    /// The log was refused at start.
    #[error("{cause}")]
    Refused {
        /// etcd's fatal message, whose `error` field is the cause.
        message: &'static str,
        /// Why.
        cause: Box<WalError>,
    },
}

impl WalError {
    /// The file or directory that the error is about.
    pub fn file(&self) -> Option<&str> {
        match self {
            WalError::Io { path, .. } | WalError::Locked { path } => Some(path),
            WalError::NoFile { dir } | WalError::AlreadyExists { dir } => Some(dir),
            WalError::Checksum { file, .. }
            | WalError::UnexpectedEof { file, .. }
            | WalError::ConflictingMetadata { file }
            | WalError::NoMetadata { file }
            | WalError::SnapshotMismatch { file }
            | WalError::Gap { file, .. }
            | WalError::UnexpectedKind { file, .. }
            | WalError::Damaged { file, .. } => Some(file),
            WalError::Refused { cause, .. } => cause.file(),
            WalError::NoSegment { .. }
            | WalError::Sequence { .. }
            | WalError::SnapshotNotFound { .. }
            | WalError::MissingConfState { .. }
            | WalError::NotCreated { .. }
            | WalError::Failed => None,
        }
    }

    /// The `error` field as a version has it: 3.5 says less of where it met an error.
    pub fn text(&self, compat: CompatVersion) -> String {
        match self {
            WalError::Refused { cause, .. } => cause.text(compat),
            WalError::Checksum { .. } if compat == CompatVersion::V3_5 => {
                "walpb: crc mismatch".to_owned()
            }
            WalError::NoSegment { .. } if compat == CompatVersion::V3_5 => {
                "wal: file not found".to_owned()
            }
            other => other.to_string(),
        }
    }

    /// The message of etcd's fatal log line for it.
    pub fn fatal_message(&self) -> &'static str {
        match self {
            WalError::Refused { message, .. } => message,
            _ => "failed to save Raft hard state and entries",
        }
    }

    pub(super) fn io(operation: &'static str, path: &str) -> impl FnOnce(io::Error) -> WalError {
        move |source| WalError::Io { operation, path: path.to_owned(), source }
    }

    pub(super) fn refused(message: &'static str) -> impl FnOnce(WalError) -> WalError {
        move |cause| WalError::Refused { message, cause: Box::new(cause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_3_5_says_less_of_where_it_met_an_error() {
        let checksum = WalError::Checksum { file: "a.wal".to_owned(), position: 8 };
        let refused = WalError::refused("discovery failed")(checksum);
        assert_eq!(refused.text(CompatVersion::V3_5), "walpb: crc mismatch");
        let full = "walpb: crc mismatch: in file 'a.wal' at position: 8";
        assert_eq!(refused.text(CompatVersion::V3_6), full);
        let missing = WalError::NoSegment { index: 7 };
        assert_eq!(missing.text(CompatVersion::V3_5), "wal: file not found");
        let full = "wal: file not found which matches the snapshot index '7'";
        assert_eq!(missing.text(CompatVersion::V3_7), full);
    }
}
