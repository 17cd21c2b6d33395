//! Hashes of the key space, with which members find that they differ
//! (contract-cluster.md, section 8.6): CRC-32C over the pairs of the `key` bucket as etcd stores
//! them.

use super::change::Change;
use super::state::State;
use crate::api::ApiError;
use crate::proto::etcdserverpb as pb;

/// The hash of a finished compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionHash {
    /// At which revision.
    pub revision: i64,
    /// The compaction before it, -1 for none.
    pub compact_revision: i64,
    /// CRC-32C.
    pub hash: u32,
}

impl CompactionHash {
    /// How many are kept.
    pub const KEPT: usize = 10;
}

/// Whether a compaction at the hashed revision would leave the newest put of some key. If none,
/// etcd does not skip what is scheduled for removal, and neither may we.
#[derive(Debug)]
enum Keep {
    /// None was met yet: the hash of all pairs so far.
    Nothing(u32),
    Something,
}

/// Feeds on changes in revision order.
#[derive(Debug)]
pub(super) struct KeyHasher {
    compact_revision: i64,
    revision: i64,
    hash: u32,
    keep: Keep,
    buffer: Vec<u8>,
}

impl KeyHasher {
    pub(super) fn new(compact_revision: i64, revision: i64) -> KeyHasher {
        let hash = crc32c::crc32c(b"key");
        KeyHasher {
            compact_revision,
            revision,
            hash,
            keep: Keep::Nothing(hash),
            buffer: Vec::new(),
        }
    }

    /// Adds a change. `is_newest` says whether no other of its key follows up to the hashed
    /// revision.
    pub(super) fn feed(&mut self, change: &Change, is_newest: impl FnOnce() -> bool) {
        let main = change.revision.main;
        let is_tombstone_at_compaction = change.is_delete && main == self.compact_revision;
        if main > self.revision || is_tombstone_at_compaction {
            return;
        }
        let is_old = main <= self.compact_revision;
        let is_asked = is_old || matches!(self.keep, Keep::Nothing(_));
        let is_kept = is_asked && !change.is_delete && is_newest();
        if is_kept {
            self.keep = Keep::Something;
        }
        self.buffer.clear();
        change.encode_bucket_key(&mut self.buffer);
        change.encode_bucket_value(&mut self.buffer);
        if let Keep::Nothing(all) = &mut self.keep {
            *all = crc32c::crc32c_append(*all, &self.buffer);
        }
        if !is_old || is_kept {
            self.hash = crc32c::crc32c_append(self.hash, &self.buffer);
        }
    }

    pub(super) fn finish(&self) -> CompactionHash {
        let hash = match self.keep {
            Keep::Nothing(all) => all,
            Keep::Something => self.hash,
        };
        CompactionHash { revision: self.revision, compact_revision: self.compact_revision, hash }
    }
}

/// Hash of the key space at `revision`, 0 for the newest. What a compaction has made unreadable
/// does not count, whether or not it is removed yet.
pub(super) fn hash_kv(state: &State, revision: i64) -> Result<pb::HashKvResponse, ApiError> {
    let stored = state.hashes.iter().find(|stored| revision > 0 && stored.revision == revision);
    let found = match stored {
        Some(stored) => *stored,
        None => compute(state, revision)?,
    };
    Ok(pb::HashKvResponse {
        header: state.header(),
        hash: found.hash,
        compact_revision: found.compact_revision,
        hash_revision: found.revision,
    })
}

fn compute(state: &State, revision: i64) -> Result<CompactionHash, ApiError> {
    if revision > 0 && revision < state.compact_revision {
        return Err(ApiError::Compacted);
    }
    if revision > state.revision {
        return Err(ApiError::FutureRevision);
    }
    let revision = if revision == 0 { state.revision } else { revision };
    let mut hasher = KeyHasher::new(state.compact_revision, revision);
    let changes = state.base.values().chain(state.log.iter());
    for change in changes.take_while(|change| change.revision.main <= revision) {
        let is_old = change.revision.main <= state.compact_revision;
        if !is_old || state.survives(change, state.compact_revision) {
            hasher.feed(change, || state.is_newest_at(change, revision));
        }
    }
    Ok(hasher.finish())
}
