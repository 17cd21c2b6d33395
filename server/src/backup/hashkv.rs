//! The hash of the key space of a file: `etcdutl hashkv`, since 3.6.
//!
//! etcd's tool opens the file as a member would and writes to it, so that a snapshot fails its hash
//! afterwards; here the file stays as it is.

use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;

use super::show::table;
use super::status::require_content;
use super::{BackupError, Place};
use crate::api::ApiError;
use crate::config::CompatVersion;
use crate::lease::{Lessor, LessorConfig};
use crate::member::membership::json;
use crate::mvcc::Store;
use crate::storage::bolt::{Bolt, BoltOptions};
use crate::storage::disk::Disk;
use crate::storage::schema::{DatabaseImage, bucket};

/// What `etcdutl hashkv` says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysHash {
    /// As members compare it.
    pub hash: u32,
    /// At which revision.
    pub revision: i64,
    /// The last compaction, -1 for none.
    pub compact_revision: i64,
    /// Who says it.
    pub compat: CompatVersion,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    hash: u32,
    hash_revision: i64,
    compact_revision: i64,
}

/// Hashes the keys of a snapshot, or of the database of a member that does not run, at a revision;
/// 0 is the newest.
pub fn hash_keys(
    disk: &Rc<dyn Disk>,
    file: &Place,
    revision: i64,
    compat: CompatVersion,
) -> Result<KeysHash, BackupError> {
    require_content(&**disk, file)?;
    let database = Bolt::open(Rc::clone(disk), &file.path, BoltOptions::ETCD)?;
    let image = DatabaseImage::read_buckets(&database.read(), &[bucket::KEY, bucket::META])?;
    // Which keys have leases does not count.
    let config = LessorConfig { ttl_seconds_min: 0, retry: Duration::ZERO, checkpoint: false };
    let store = Store::restore(Store::new(), &image, &mut Lessor::new(config))?;
    let hash = store.view().hash_kv(revision).map_err(|error| match error {
        ApiError::Compacted => BackupError::Compacted,
        _ => BackupError::FutureRevision,
    })?;
    Ok(KeysHash {
        hash: hash.hash,
        revision: hash.hash_revision,
        compact_revision: hash.compact_revision,
        compat,
    })
}

impl KeysHash {
    /// `--write-out=simple`.
    pub fn simple(&self) -> String {
        format!("{}, {}, {}", self.hash, self.revision, self.compact_revision)
    }

    /// `--write-out=json`.
    pub fn json(&self) -> String {
        let (hash_revision, compact_revision) = (self.revision, self.compact_revision);
        json::to_json(&Json { hash: self.hash, hash_revision, compact_revision })
    }

    /// `--write-out=fields`.
    pub fn fields(&self) -> String {
        format!(
            "\"Hash\" : {}\n\"Hash revision\" : {}\n\"Compact revision\" : {}",
            self.hash, self.revision, self.compact_revision
        )
    }

    /// `--write-out=table`.
    pub fn table(&self) -> String {
        let cells = [
            ("HASH", self.hash.to_string()),
            ("HASH REVISION", self.revision.to_string()),
            ("COMPACT REVISION", self.compact_revision.to_string()),
        ];
        table(self.compat, &cells)
    }
}
