//! What a snapshot holds, without starting a member from it. Its hash is not verified: that is for
//! who restores it.

use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use prost::Message as _;

use super::{BackupError, Place, stored_version};
use crate::config::CompatVersion;
use crate::mvcc::Revision;
use crate::proto::mvccpb::KeyValue;
use crate::storage::bolt::{self, Bolt, BoltError, BoltOptions, ReadTx};
use crate::storage::disk::Disk;
use crate::storage::schema::{DatabaseHasher, HashScope, bucket};

/// What `etcdutl snapshot status` says of a file. Its forms are in `show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// CRC-32C of all rows.
    pub hash: u32,
    /// The last revision that has a row, 0 for none.
    pub revision: i64,
    /// Rows of all buckets in 3.5; keys that exist since.
    pub total_keys: u64,
    /// The database without the hash after it.
    pub size_bytes: u64,
    /// The version of the format; empty if it is not stored. Not told before 3.6.
    pub version: String,
    /// Who says it.
    pub compat: CompatVersion,
}

/// Reads a snapshot, or the database of a member that does not run.
pub fn status(
    disk: &Rc<dyn Disk>,
    file: &Place,
    compat: CompatVersion,
) -> Result<Status, BackupError> {
    require_content(&**disk, file)?;
    let findings = bolt::check(&**disk, &file.path)?;
    if !findings.is_empty() {
        return Err(BackupError::Damaged(findings));
    }
    let database = Bolt::open(Rc::clone(disk), &file.path, BoltOptions::ETCD)?;
    summarize(&database.read(), compat)
}

/// An empty file would become a database when it is opened, which must not happen to one that is
/// looked at.
pub(super) fn require_content(disk: &dyn Disk, file: &Place) -> Result<(), BackupError> {
    let opened = disk.open(&file.path).map_err(BackupError::io("stat", file))?;
    match opened.is_empty().map_err(BackupError::io("stat", file))? {
        true => Err(BoltError::Invalid { path: file.path.clone() }.into()),
        false => Ok(()),
    }
}

fn summarize(tx: &ReadTx, compat: CompatVersion) -> Result<Status, BackupError> {
    let mut hasher = DatabaseHasher::new(HashScope::Everything);
    let (mut rows_count, mut revision) = (0, 0);
    let mut live = BTreeSet::new();
    for name in tx.buckets()? {
        hasher.bucket(&name);
        let is_key = name == bucket::KEY;
        for row in tx.rows(&name)? {
            let (key, value) = row?;
            hasher.row(&key, &value);
            rows_count += 1;
            if is_key {
                revision = note(&key, value, compat, &mut live)?;
            }
        }
    }
    Ok(Status {
        hash: hasher.finish(),
        revision,
        total_keys: if compat == CompatVersion::V3_5 { rows_count } else { live.len() as u64 },
        size_bytes: tx.size_bytes(),
        version: stored_version(tx)?,
        compat,
    })
}

/// Takes a row of the bucket `key`: what exists after it, and its revision.
fn note(
    key: &[u8],
    value: Bytes,
    compat: CompatVersion,
    live: &mut BTreeSet<Bytes>,
) -> Result<i64, BackupError> {
    let unreadable = || BackupError::Row(format!("key {key:?} of bucket key cannot be read"));
    let (revision, is_delete) = Revision::from_bucket_key(key).ok_or_else(unreadable)?;
    if compat > CompatVersion::V3_5 {
        let kv = KeyValue::decode(value).map_err(|error| BackupError::Row(error.to_string()))?;
        match is_delete {
            true => live.remove(&kv.key),
            false => live.insert(kv.key),
        };
    }
    Ok(revision.main)
}
