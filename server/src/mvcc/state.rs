//! What a store and its views share: persistent maps that are cloned in constant time.
//!
//! `keys` holds every version of every key, and the same changes stand in revision order in `base`
//! (older than the last finished compaction, sparse) followed by `log` (the rest, complete).

use bytes::Bytes;
use imbl::{OrdMap, Vector};
use std::fmt;
use std::sync::Arc;

use super::change::Change;
use super::hash::CompactionHash;
use super::history::History;
use super::keys::KeyRange;
use super::revision::Revision;
use crate::api::ApiError;
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::KeyValue;

#[derive(Clone)]
pub(super) struct State {
    pub(super) keys: OrdMap<Bytes, History>,
    pub(super) base: OrdMap<Revision, Arc<Change>>,
    pub(super) log: Vector<Arc<Change>>,
    pub(super) revision: i64,
    pub(super) compact_revision: i64,
    /// Of finished compactions, ascending by revision.
    pub(super) hashes: Arc<Vec<CompactionHash>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("revision", &self.revision)
            .field("compact_revision", &self.compact_revision)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn empty() -> State {
        State {
            keys: OrdMap::new(),
            base: OrdMap::new(),
            log: Vector::new(),
            revision: 1,
            compact_revision: -1,
            hashes: Arc::default(),
        }
    }

    /// The header that every answer of this package carries.
    pub(super) fn header(&self) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader { revision: self.revision, ..Default::default() })
    }

    /// The put that makes up `key` now.
    pub(super) fn live(&self, key: &[u8]) -> Option<&KeyValue> {
        let newest = self.keys.get(key)?.newest();
        (!newest.is_delete).then_some(&newest.kv)
    }

    /// The put that made up `key` at `revision`, whether or not it is compacted.
    pub(super) fn live_at(&self, key: &[u8], revision: i64) -> Option<&Arc<Change>> {
        self.keys.get(key)?.at(revision).filter(|change| !change.is_delete)
    }

    /// The puts that make up a range at `revision`, ascending by key. Adds what it visits to
    /// `units`.
    pub(super) fn live_range<'a>(
        &'a self,
        range: KeyRange<'_>,
        revision: i64,
        units: &'a mut u64,
    ) -> impl Iterator<Item = &'a Arc<Change>> + use<'a> {
        let histories = range.bounds().map(|bounds| self.keys.range::<_, [u8]>(bounds));
        histories.into_iter().flatten().filter_map(move |(_, history)| {
            *units += 1;
            history.at(revision).filter(|change| !change.is_delete)
        })
    }

    /// The revision that a read at `requested` sees.
    pub(super) fn readable(&self, requested: i64) -> Result<i64, ApiError> {
        if requested > self.revision {
            return Err(ApiError::FutureRevision);
        }
        let revision = if requested <= 0 { self.revision } else { requested };
        if revision < self.compact_revision {
            return Err(ApiError::Compacted);
        }
        Ok(revision)
    }

    /// Whether a compaction at `revision` leaves `change` in place: the newest of its key, unless
    /// that is an older tombstone. A tombstone of exactly `revision` stays for watchers that
    /// start there.
    pub(super) fn survives(&self, change: &Change, revision: i64) -> bool {
        let is_visible = !change.is_delete || change.revision.main == revision;
        is_visible && self.is_newest_at(change, revision)
    }

    /// Whether no change of the same key follows `change` up to `revision`.
    pub(super) fn is_newest_at(&self, change: &Change, revision: i64) -> bool {
        let newest = self.keys.get(&change.kv.key[..]).and_then(|history| history.at(revision));
        newest.is_some_and(|newest| newest.revision == change.revision)
    }

    /// Where in `log` the changes of main revision `revision` and later begin.
    pub(super) fn log_position(&self, revision: i64) -> usize {
        let Some(last) = self.log.last().filter(|last| last.revision.main >= revision) else {
            return self.log.len();
        };
        // Right where each of the later requests made one change, which most do.
        let distance = usize::try_from(last.revision.main - revision).unwrap_or(usize::MAX);
        let guess = (self.log.len() - 1).saturating_sub(distance);
        let is_before = |position: usize| self.log[position].revision.main < revision;
        if !is_before(guess) && (guess == 0 || is_before(guess - 1)) {
            return guess;
        }
        let first = Revision::new(revision, 0);
        let found = self.log.binary_search_by(|change| change.revision.cmp(&first));
        found.unwrap_or_else(|position| position)
    }
}
