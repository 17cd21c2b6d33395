//! What passes between a member and the driver that keeps its database: writes with the consistent
//! index of the entries that made them, atomic and in order; receipts; whole databases; what is to
//! be done with snapshots.
//!
//! A driver may have no database. Then nothing of this leaves the member, the log alone holds what
//! is durable, and it is never truncated.

use bytes::Bytes;

use super::log::SnapshotMark;
use crate::member::{id::MemberId, io::RaftMessage};

/// A change of one key of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketChange {
    /// The bucket's name: `key`, `lease`, `members`, ...
    pub bucket: &'static str,
    /// The key within it.
    pub key: Bytes,
    /// Its value from now on; `None` when it is deleted.
    pub value: Option<Bytes>,
}

impl BucketChange {
    /// A row that is there from now on.
    pub fn put(
        bucket: &'static str,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> BucketChange {
        BucketChange { bucket, key: key.into(), value: Some(value.into()) }
    }

    /// A row that is gone from now on.
    pub fn delete(bucket: &'static str, key: impl Into<Bytes>) -> BucketChange {
        BucketChange { bucket, key: key.into(), value: None }
    }
}

impl From<&BucketChange> for BucketChange {
    fn from(change: &BucketChange) -> BucketChange {
        change.clone()
    }
}

/// The position of a write in the member's sequence of database writes, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseNumber(pub u64);

/// One transaction of the database.
#[must_use = "dropping a database write loses what was applied"]
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DatabaseWrite {
    /// Its place.
    pub number: DatabaseNumber,
    /// Index and term of the last entry whose effects it holds.
    pub consistent: (u64, u64),
    /// What it changes, in order.
    pub changes: Vec<BucketChange>,
}

impl DatabaseWrite {
    /// The receipt for this write and all before it. Only to be asked for once they are durable.
    pub fn committed(&self, size: DatabaseSize) -> DatabaseReceipt {
        DatabaseReceipt { up_to: self.number, consistent_index: self.consistent.0, size }
    }
}

/// How large a database is. Zeros say that nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DatabaseSize {
    /// What etcd calls its size: pages up to the highest ever used.
    pub total_bytes: u64,
    /// The same without the pages that are free.
    pub in_use_bytes: u64,
}

/// Proof that all writes up to a number are durable, and with them the effects of all entries up to
/// an index: snapshots and log truncation wait for it. Made only by `DatabaseWrite::committed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatabaseReceipt {
    up_to: DatabaseNumber,
    consistent_index: u64,
    size: DatabaseSize,
}

impl DatabaseReceipt {
    /// The highest number covered.
    pub fn up_to(&self) -> DatabaseNumber {
        self.up_to
    }

    /// The last index whose effects are covered.
    pub fn consistent_index(&self) -> u64 {
        self.consistent_index
    }

    /// How large the database is since.
    pub fn size(&self) -> DatabaseSize {
        self.size
    }
}

/// A state of the database that is held for a receiver, chosen by the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PinId(pub u64);

/// What is to be done with snapshots. The install of one that arrived is no task: the member
/// stages `LogWrite::Snapshot` with its mark, and the driver puts the database that it has received
/// for that index in place of its own before that write is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotTask {
    /// Write its `.snap` file, then its record in the log, then let segments go that are older; the
    /// database covers its index already. `Input::SnapshotDone` follows.
    Save(SnapshotMark),
    /// Hold the state that the database is in after all writes made before;
    /// `Input::SnapshotPinned` follows.
    Pin(PinId),
    /// Read the next piece of the pinned state for a client; `Input::SnapshotRead` follows.
    Read(PinId),
    /// Send the message with the body of the pinned database; `Input::SnapshotStatus` follows.
    Send {
        /// The receiver.
        to: MemberId,
        /// Raft's message.
        message: RaftMessage,
        /// The body.
        pin: PinId,
    },
    /// Nobody needs it any more; a transfer that still goes on is given up.
    Unpin(PinId),
    /// Remove the oldest snapshots, and segments of the log that were let go, while there are more
    /// than are to be kept.
    Purge,
}

/// Work on the whole database, chosen by the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseTaskId(pub u64);

/// What is to be done with the whole database, after all writes made before.
/// `Input::DatabaseTaskDone` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatabaseTask {
    /// Copy it densely into another file, and go on with that.
    Defragment,
    /// CRC-32C over all buckets as etcd computes it (contract-cluster.md, section 8.6).
    Hash,
}

/// What came of a `DatabaseTask`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DatabaseAnswer {
    /// To `Defragment`: its size since.
    Defragmented(DatabaseSize),
    /// To `Hash`.
    Hash(u32),
    /// It failed, and the database is what it was before.
    Failed(String),
}
