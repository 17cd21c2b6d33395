//! Writes to the database as they leave the member, and what comes back: bucket changes with the
//! consistent index of the entries that made them, atomic, in order.
//!
//! There is no database yet: no member makes these writes, and the log alone holds what is durable.
//! The shapes are those that the member's driver will carry.

use bytes::Bytes;

use super::log::SnapshotMark;

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

/// Proof that all writes up to a number are durable, and with them the effects of all entries up to
/// an index: snapshots and log truncation wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatabaseReceipt {
    up_to: DatabaseNumber,
    consistent_index: u64,
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
}

/// A whole database, as parsed from a snapshot that arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseImage {
    /// Where in the log it stands.
    pub mark: SnapshotMark,
    /// Everything it holds.
    pub content: Vec<BucketChange>,
}

/// What is to be done with a snapshot of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotTask {
    /// Write its `.snap` file and record it in the log; the database covers its index already.
    Save(SnapshotMark),
    /// Put the database that arrived with it in place of the member's own.
    Install(Box<DatabaseImage>),
}
