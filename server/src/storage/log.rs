//! What the member asks its log to hold, and the proof that the log holds it.
//!
//! A write leaves the member as `Staged`, together with the messages that may be sent only after
//! it. They come out again only against a `LogReceipt`, which only the log's writer can make: the
//! compiler keeps "acknowledged means durable".

use bytes::Bytes;

use crate::member::{id::MemberId, io::RaftMessage};
use crate::proto::raftpb::ConfState;

/// The kind of a raft entry that etcd allows in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// An `InternalRaftRequest`, a raw v2 request, or nothing (the first entry of a term).
    Normal,
    /// A `raftpb.ConfChange`, in etcd's numbering.
    ConfChange,
}

/// One raft entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogEntry {
    /// What `data` is.
    pub kind: EntryKind,
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Position in the log, from 1.
    pub index: u64,
    /// The payload.
    pub data: Bytes,
}

/// Raft's hard state: term, vote, commit index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Who got this member's vote in it, 0 for nobody.
    pub vote: u64,
    /// Highest index known to be committed.
    pub commit: u64,
}

/// Where a raft snapshot stands; {0, 0} at the head of every new log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotMark {
    /// Last index it covers.
    pub index: u64,
    /// Term of that index.
    pub term: u64,
    /// Configuration there; required when `index` is above 0.
    pub conf_state: Option<ConfState>,
}

/// One write to the log. Writes are durable in the order they are staged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogWrite {
    /// Creates the log directory with its metadata record, the mark {0, 0} and what the log begins
    /// with, all at once: a founder whose log has no entries would not know its cluster.
    Create {
        /// A marshalled `etcdserverpb.Metadata`.
        metadata: Bytes,
        /// From index 1; none for one who joins.
        entries: Vec<LogEntry>,
        /// After them.
        hard_state: HardState,
    },
    /// Entries first, then the hard state. An entry at an index already held replaces it and all
    /// that follow.
    Save {
        /// Consecutive entries.
        entries: Vec<LogEntry>,
        /// The new hard state if it changed.
        hard_state: Option<HardState>,
        /// Whether it must be synced: entries, a term or a vote changed. A commit index alone
        /// need not be.
        sync: bool,
    },
    /// A snapshot record; always synced. Staged by a member, it says that the snapshot which
    /// arrived takes the place of what the member had: the driver makes its database the member's
    /// own before the write counts as durable, and drops database writes from before. The records
    /// of snapshots that the member took itself are the driver's business (`SnapshotTask::Save`).
    Snapshot(Box<SnapshotMark>),
}

impl LogWrite {
    /// The first write of a log that begins without entries.
    pub fn create(metadata: Bytes) -> LogWrite {
        LogWrite::Create { metadata, entries: Vec::new(), hard_state: HardState::default() }
    }

    /// The entries and the hard state that it writes.
    pub fn content(&self) -> (&[LogEntry], Option<HardState>) {
        match self {
            LogWrite::Create { entries, hard_state, .. } => {
                (entries, Some(*hard_state).filter(|state| *state != HardState::default()))
            }
            LogWrite::Save { entries, hard_state, .. } => (entries, *hard_state),
            LogWrite::Snapshot(_) => (&[], None),
        }
    }

    /// Whether it is nothing but a commit index, which need not be synced.
    pub fn is_commit(&self) -> bool {
        matches!(self, LogWrite::Save { entries, sync: false, .. } if entries.is_empty())
    }

    /// Whether the write is worth nothing before a sync.
    pub fn needs_sync(&self) -> bool {
        match self {
            LogWrite::Create { .. } | LogWrite::Snapshot(_) => true,
            LogWrite::Save { sync, .. } => *sync,
        }
    }
}

/// What a log directory holds, as read at start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogImage {
    /// The marshalled `etcdserverpb.Metadata`.
    pub metadata: Bytes,
    /// The last hard state.
    pub hard_state: HardState,
    /// The snapshot that the entries follow.
    pub snapshot: SnapshotMark,
    /// Entries above the snapshot, consecutive.
    pub entries: Vec<LogEntry>,
}

impl LogImage {
    /// Where it ends.
    pub fn last_index(&self) -> u64 {
        self.entries.last().map_or(self.snapshot.index, |last| last.index)
    }
}

/// The position of a staged write in the member's sequence of log writes, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogNumber(pub u64);

/// Proof that all writes up to a number are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogReceipt {
    up_to: LogNumber,
}

impl LogReceipt {
    /// Only the log's writer may vouch for what it has synced.
    pub(in crate::storage) fn new(up_to: LogNumber) -> LogReceipt {
        LogReceipt { up_to }
    }

    /// A receipt for tests of code that only waits for one.
    #[cfg(test)]
    pub(crate) fn for_test(up_to: LogNumber) -> LogReceipt {
        LogReceipt { up_to }
    }

    /// The highest number covered.
    pub fn up_to(&self) -> LogNumber {
        self.up_to
    }
}

/// A log write with the messages that may leave only after it.
#[must_use = "dropping a staged write loses entries that were promised"]
#[derive(Debug)]
pub struct Staged {
    number: LogNumber,
    write: LogWrite,
    held: Vec<(MemberId, RaftMessage)>,
}

impl Staged {
    pub(crate) fn new(
        number: LogNumber,
        write: LogWrite,
        held: Vec<(MemberId, RaftMessage)>,
    ) -> Staged {
        Staged { number, write, held }
    }

    /// Its place in the sequence.
    pub fn number(&self) -> LogNumber {
        self.number
    }

    /// What to write.
    pub fn write(&self) -> &LogWrite {
        &self.write
    }

    /// Whether the member wants to be told when it is durable: nothing waits for a commit index.
    pub fn is_awaited(&self) -> bool {
        !self.write.is_commit()
    }

    /// The write is durable: what the member is told (`Input::LogDurable`), which then sends the
    /// messages. The order matters: raft must know what is persisted before an answer can arrive.
    pub fn release(self, receipt: LogReceipt) -> LogDurable {
        assert!(receipt.up_to >= self.number, "the receipt does not cover this write");
        LogDurable { number: self.number, held: self.held }
    }
}

/// Tells the member that a staged write is durable. Made only by `Staged::release`.
#[derive(Debug)]
pub struct LogDurable {
    number: LogNumber,
    held: Vec<(MemberId, RaftMessage)>,
}

impl LogDurable {
    /// The write's place in the sequence.
    pub fn number(&self) -> LogNumber {
        self.number
    }

    pub(crate) fn into_held(self) -> Vec<(MemberId, RaftMessage)> {
        self.held
    }
}
