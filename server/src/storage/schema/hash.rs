//! One CRC-32C over a whole database: every bucket's name, then its rows' keys and values, all in
//! order. `etcdutl snapshot status` prints it, and `Maintenance.Hash` answers it without what may
//! differ between members (contract-cluster.md, sections 7.4 and 8.6).

use std::convert::Infallible;

use super::bucket::META;
use super::image::DatabaseImage;
use super::meta::{CONSISTENT_INDEX, STORAGE_VERSION, TERM};
use crate::config::CompatVersion;

/// Which rows count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashScope {
    /// All of them.
    Everything,
    /// Without those of `meta` that a member of this version passes over, because they may differ
    /// where the clients' data does not.
    Replicated(CompatVersion),
}

/// Feeds on buckets in order.
#[derive(Debug)]
pub struct DatabaseHasher {
    scope: HashScope,
    hash: u32,
    is_meta: bool,
}

impl DatabaseHasher {
    /// Before the first bucket.
    pub fn new(scope: HashScope) -> DatabaseHasher {
        DatabaseHasher { scope, hash: 0, is_meta: false }
    }

    /// A bucket begins.
    pub fn bucket(&mut self, name: &[u8]) {
        self.is_meta = name == META.as_bytes();
        self.hash = crc32c::crc32c_append(self.hash, name);
    }

    /// The bucket's next row.
    pub fn row(&mut self, key: &[u8], value: &[u8]) {
        if self.is_meta && self.passes_over(key) {
            return;
        }
        self.hash = crc32c::crc32c_append(self.hash, key);
        self.hash = crc32c::crc32c_append(self.hash, value);
    }

    fn passes_over(&self, key: &[u8]) -> bool {
        let HashScope::Replicated(compat) = self.scope else { return false };
        let is = |name: &str| key == name.as_bytes();
        is(CONSISTENT_INDEX) || is(TERM) || compat > CompatVersion::V3_5 && is(STORAGE_VERSION)
    }

    /// The hash.
    pub fn finish(&self) -> u32 {
        self.hash
    }
}

impl DatabaseImage {
    /// The hash of all rows that count.
    pub fn hash(&self, scope: HashScope) -> u32 {
        let mut hasher = DatabaseHasher::new(scope);
        for (name, rows) in self.buckets() {
            hasher.bucket(name);
            let Ok(()) = rows.try_each(|key, value| {
                hasher.row(key, &value);
                Ok::<(), Infallible>(())
            });
        }
        hasher.finish()
    }
}
