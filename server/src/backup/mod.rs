//! Snapshots as files: how a member sends its database, how a client keeps it, what can be said of
//! it, and how a cluster begins from it (contract-cluster.md, section 7).
//!
//! A snapshot is the body of a database, as one read transaction saw it, and the SHA-256 of that.
//! These are the operations of `etcdctl snapshot save` and of `etcdutl snapshot status`, `snapshot
//! restore`, `hashkv` and `defrag`, with their texts and exit codes. Not here: command lines and
//! terminals, and `etcdutl migrate`.

mod copy;
mod defrag;
mod error;
mod hashkv;
mod restore;
mod save;
mod show;
mod status;
mod stream;
#[cfg(test)]
mod tests;

pub use defrag::defragment;
pub use error::BackupError;
pub use hashkv::{KeysHash, hash_keys};
pub use restore::{HashCheck, RestoreSettings, restore};
pub use save::{Saved, save};
pub use status::{Status, status};
pub use stream::{BLOB_BYTES, SnapshotStream};

use crate::storage::bolt::{BoltError, ReadTx};
use crate::storage::schema::{DatabaseImage, bucket};

/// The length of the SHA-256 that ends a snapshot.
pub const HASH_BYTES: u64 = 32;

/// Whether a file of this length ends in a SHA-256: databases are made of whole sectors.
fn has_hash(file_bytes: u64) -> bool {
    file_bytes % 512 == HASH_BYTES
}

/// The version of a database's format; empty where it is not stored. One that cannot be read is one
/// that is not known.
fn stored_version(tx: &ReadTx) -> Result<String, BoltError> {
    let meta = DatabaseImage::read_buckets(tx, &[bucket::META])?;
    let version = meta.storage_version().ok().flatten();
    Ok(version.map(|version| version.to_string()).unwrap_or_default())
}

/// A file or directory of a disk, and what the user calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Below the disk's root.
    pub path: String,
    /// As it was given, for texts.
    pub named: String,
}

impl Place {
    /// Under the name by which the user knows it.
    pub fn new(path: impl Into<String>, named: impl Into<String>) -> Place {
        Place { path: path.into(), named: named.into() }
    }

    fn below(&self, rest: &str) -> Place {
        Place::new(format!("{}/{rest}", self.path), format!("{}/{rest}", self.named))
    }

    fn beside(&self, suffix: &str) -> Place {
        Place::new(format!("{}{suffix}", self.path), format!("{}{suffix}", self.named))
    }
}
