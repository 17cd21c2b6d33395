//! Snapshot files that clients keep: what they say of themselves, and how they are damaged.

use std::rc::Rc;

use detcd::backup::{BackupError, HASH_BYTES};
use detcd::mvcc::Revision;
use detcd::storage::bolt::{Bolt, BoltOptions};
use detcd::storage::disk::Disk;
use detcd::storage::memory::MemoryDisk;
use detcd::storage::schema::{DatabaseImage, bucket};

use super::BackupDamage;

/// What a database says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its newest revision.
    pub revision: i64,
    /// The last index of the log whose effects are in it.
    pub index: u64,
}

/// Reads a snapshot that was saved, and leaves it as it is.
pub fn content(file: Vec<u8>) -> Result<Content, BackupError> {
    let disk = MemoryDisk::new();
    disk.put("file", file);
    let disk: Rc<dyn Disk> = Rc::new(disk);
    let database = Bolt::open(disk, "file", BoltOptions::ETCD)?;
    let image = DatabaseImage::read_buckets(&database.read(), &[bucket::KEY, bucket::META])?;
    let compacted = [image.scheduled_compact_revision()?, image.finished_compact_revision()?];
    let newest = image.rows(bucket::KEY).next_back();
    let newest = newest.and_then(|(key, _)| Revision::from_bucket_key(key));
    let newest = newest.map_or(1, |(revision, _)| revision.main);
    let revision = compacted.into_iter().flatten().fold(newest, i64::max);
    Ok(Content { revision, index: image.consistent_index()?.unwrap_or(0) })
}

/// Damages a file.
pub fn spoil(file: &mut Vec<u8>, damage: BackupDamage) {
    let middle = file.len() / 2;
    match damage {
        BackupDamage::Corrupt => file[middle] ^= 1,
        BackupDamage::Truncate => file.truncate(middle / 512 * 512),
        BackupDamage::NoHash => file.truncate(file.len().saturating_sub(HASH_BYTES as usize)),
    }
}
