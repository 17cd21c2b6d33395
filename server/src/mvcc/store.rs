//! The store that entries are applied to, in the same way on every member: reads, compaction and
//! history here, puts, deletes and transactions in `apply`.

use bytes::Bytes;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::change::Change;
use super::compaction::Compaction;
use super::digest::Digest;
use super::footprint::Footprint;
use super::hash::CompactionHash;
use super::keys::KeyRange;
use super::range;
use super::state::State;
use super::txn;
use super::view::View;
use super::written::{Written, WrittenLog};
use crate::api::ApiError;
use crate::planted::Planted;
use crate::proto::etcdserverpb as pb;

/// All keys with their uncompacted history.
#[derive(Debug)]
pub struct Store {
    pub(super) state: State,
    /// The changes of the newest request that made any.
    pub(super) last: Vec<Arc<Change>>,
    pub(super) compactions: VecDeque<Compaction>,
    pub(super) finished_compact_revision: i64,
    /// Sum of the digests of all live keys.
    pub(super) live_digest: u64,
    /// Running sum of the digests of all changes; `Change::trail` has it as of each.
    pub(super) trail: u64,
    /// The running sum as of the compacted revision.
    pub(super) trail_compacted: u64,
    pub(super) footprint: Footprint,
    pub(super) written: WrittenLog,
    units: Cell<u64>,
    pub(super) defect: Planted,
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Store {
    /// An empty store, at revision 1.
    pub fn new() -> Store {
        Store {
            state: State::empty(),
            last: Vec::new(),
            compactions: VecDeque::new(),
            finished_compact_revision: -1,
            live_digest: 0,
            trail: 0,
            trail_compacted: 0,
            footprint: Footprint::default(),
            written: WrittenLog::default(),
            units: Cell::new(0),
            defect: Planted::default(),
        }
    }

    /// An empty store that has a planted defect.
    pub fn with_defect(defect: Planted) -> Store {
        Store { defect, ..Store::new() }
    }

    /// The revision of the last request that changed something.
    pub fn revision(&self) -> i64 {
        self.state.revision
    }

    /// The last compaction's revision, -1 before any.
    pub fn compact_revision(&self) -> i64 {
        self.state.compact_revision
    }

    /// Pins the current state, in constant time.
    pub fn view(&self) -> View {
        View { state: self.state.clone() }
    }

    /// Answers a range request from the current state; the header has only the revision.
    pub fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        let mut units = 0;
        let response = range::range(&self.state, request, &mut units);
        self.spend(units);
        response
    }

    /// Answers a transaction that `is_read_only` from the current state.
    pub fn read_txn(&self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        let mut units = 0;
        let response = txn::read(&self.state, request, &mut units);
        self.spend(units);
        response
    }

    /// Makes everything older than `revision` unreadable; `compact_slice` removes it.
    pub fn compact(&mut self, revision: i64) -> Result<pb::CompactionResponse, ApiError> {
        let previous = self.state.compact_revision;
        if revision <= previous {
            return Err(ApiError::Compacted);
        }
        if revision > self.state.revision {
            return Err(ApiError::FutureRevision);
        }
        self.begin_compaction(Compaction::new(previous, revision));
        self.written.add(|| Written::Scheduled(revision));
        Ok(pb::CompactionResponse { header: self.state.header() })
    }

    pub(super) fn begin_compaction(&mut self, compaction: Compaction) {
        let revision = compaction.revision();
        let later = self.state.log_position(revision + 1);
        if let Some(last) = later.checked_sub(1).and_then(|last| self.state.log.get(last)) {
            self.trail_compacted = last.trail;
        }
        self.state.compact_revision = revision;
        self.compactions.push_back(compaction);
    }

    /// Continues physical compaction for about `budget_units` visited changes. Returns what was
    /// spent and whether nothing is left to do.
    pub fn compact_slice(&mut self, budget_units: u64) -> (u64, bool) {
        let mut spent = 0;
        while let Some(compaction) = self.compactions.front_mut() {
            let left = budget_units - spent;
            if left == 0 {
                return (spent, false);
            }
            let (defect, footprint) = (self.defect, &mut self.footprint);
            let written = &mut self.written;
            let mut forget = |change: &Change| {
                footprint.remove(change);
                written.add(|| Written::Removed(change.revision, change.is_delete));
            };
            let (visited, is_done) = compaction.advance(&mut self.state, left, defect, &mut forget);
            spent += visited;
            if is_done {
                let (revision, hash) = (compaction.revision(), compaction.hash());
                self.compactions.pop_front();
                self.finish_compaction(revision, hash);
            }
        }
        (spent, true)
    }

    fn finish_compaction(&mut self, revision: i64, hash: Option<CompactionHash>) {
        self.finished_compact_revision = revision;
        self.written.add(|| Written::Finished(revision));
        let Some(hash) = hash else { return };
        let hashes = Arc::make_mut(&mut self.state.hashes);
        hashes.push(hash);
        if hashes.len() > CompactionHash::KEPT {
            hashes.remove(0);
        }
    }

    /// From now on, notes what a database must be told for `take_written`. Until then nothing is
    /// kept.
    pub fn note_written(&mut self) {
        self.written.begin();
    }

    /// What changed since this was last asked, in order: every change of a key, every removal by
    /// compaction, every step of a compaction.
    pub fn take_written(&mut self) -> Vec<Written> {
        self.written.take()
    }

    /// How much space it is taken to need.
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// Gives back the space that compaction has freed.
    pub fn defragment(&mut self) {
        self.footprint.defragment();
    }

    /// The compaction whose removal is under way; none when nothing is left to remove.
    pub fn compacting(&self) -> Option<i64> {
        self.compactions.front().map(Compaction::revision)
    }

    /// The last compaction whose removal is complete, -1 for none: a physical compaction waits
    /// until this reaches its revision.
    pub fn finished_compact_revision(&self) -> i64 {
        self.finished_compact_revision
    }

    /// The hashes of the last finished compactions, ascending by revision.
    pub fn compaction_hashes(&self) -> &[CompactionHash] {
        &self.state.hashes
    }

    /// The changes of the newest revision that changed anything, in order.
    pub fn last_changes(&self) -> &[Arc<Change>] {
        &self.last
    }

    /// The changes of main revision `from_revision` and later, in order. Those before the
    /// compacted revision are no longer complete and are left out.
    pub fn events(&self, from_revision: i64) -> impl Iterator<Item = &Arc<Change>> {
        let from = from_revision.max(self.state.compact_revision);
        let position = self.state.log_position(from);
        self.state.log.focus().narrow(position..).into_iter()
    }

    /// The put that a reader at `revision` finds under `key`; none if compacted.
    pub fn kv_at(&self, key: &[u8], revision: i64) -> Option<&Arc<Change>> {
        if revision < self.state.compact_revision {
            return None;
        }
        self.state.live_at(key, revision)
    }

    /// How many keys exist now or in the uncompacted past.
    pub fn key_count(&self) -> usize {
        self.state.keys.len()
    }

    /// Whether a key exists now.
    pub fn is_live(&self, key: &[u8]) -> bool {
        self.state.live(key).is_some()
    }

    /// Digest of the logical state: the live keys, all changes after the compacted revision with
    /// what they replaced, and the two revisions. Equal on members whose states are equal,
    /// however far physical compaction has come on each, and however they got there.
    pub fn digest(&self) -> u64 {
        Digest::of(0)
            .u64(self.live_digest)
            .u64(self.trail.wrapping_sub(self.trail_compacted))
            .i64(self.state.revision)
            .i64(self.state.compact_revision)
            .finish()
    }

    pub(super) fn spend(&self, units: u64) {
        self.units.set(self.units.get() + units);
    }

    /// Units (changes and keys visited) since this was last asked.
    pub fn take_units(&self) -> u64 {
        self.units.take()
    }

    /// The keys of a range that exist now, ascending.
    pub(super) fn live_keys(&self, range: KeyRange<'_>) -> Vec<Bytes> {
        if let KeyRange::One(key) = range {
            self.spend(1);
            return self.state.live(key).map(|kv| kv.key.clone()).into_iter().collect();
        }
        let mut units = 0;
        let live = self.state.live_range(range, self.state.revision, &mut units);
        let keys = live.map(|change| change.kv.key.clone()).collect();
        self.spend(units);
        keys
    }
}
