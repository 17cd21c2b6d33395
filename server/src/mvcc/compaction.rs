//! Physical compaction, in slices: walks the changes up to the compacted revision once, in
//! order, hashes them as etcd does, and removes what no reader may ask for.
//!
//! Readers never notice how far it has come: what it removes lies before the compacted revision
//! and is not the newest of its key there. Compactions are carried out one after another.

use std::ops::Bound;
use std::sync::Arc;

use super::change::Change;
use super::hash::{CompactionHash, KeyHasher};
use super::revision::Revision;
use super::state::State;
use crate::planted::{Defect, Planted};

/// A compaction that was applied and is not finished.
#[derive(Debug)]
pub(super) struct Compaction {
    revision: i64,
    hasher: KeyHasher,
    /// Whether all changes since the previous compaction were there at its start, so that its
    /// hash means something.
    is_whole: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// In `base`, after this revision.
    Base(Revision),
    /// At the front of `log`.
    Log,
    /// At this position of `log`, among the changes of exactly the compacted revision. They stay:
    /// watchers may start there.
    Edge(usize),
}

impl Compaction {
    pub(super) fn new(previous: i64, revision: i64) -> Compaction {
        let hasher = KeyHasher::new(previous, revision);
        Compaction { revision, hasher, is_whole: true, stage: Stage::Base(Revision::new(-1, 0)) }
    }

    /// One that another run of the member had begun.
    pub(super) fn resumed(previous: i64, revision: i64) -> Compaction {
        Compaction { is_whole: false, ..Compaction::new(previous, revision) }
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Visits up to `budget` changes and gives those that were removed to `removed`. Returns how
    /// many were visited, and whether that was all.
    pub(super) fn advance(
        &mut self,
        state: &mut State,
        budget: u64,
        defect: Planted,
        removed: &mut dyn FnMut(&Change),
    ) -> (u64, bool) {
        let mut spent = 0;
        while spent < budget {
            let is_done = match self.stage {
                Stage::Base(after) => {
                    spent += self.advance_base(state, after, budget - spent, removed);
                    false
                }
                Stage::Log => {
                    spent += 1;
                    self.visit_log_front(state, removed);
                    false
                }
                Stage::Edge(position) => {
                    spent += 1;
                    self.visit_edge(state, position, defect, removed)
                }
            };
            if is_done {
                return (spent, true);
            }
        }
        (spent, false)
    }

    fn advance_base(
        &mut self,
        state: &mut State,
        after: Revision,
        budget: u64,
        removed: &mut dyn FnMut(&Change),
    ) -> u64 {
        let rest = (Bound::Excluded(after), Bound::Unbounded);
        let slice = usize::try_from(budget).unwrap_or(usize::MAX);
        let changes: Vec<Arc<Change>> =
            state.base.range(rest).take(slice).map(|(_, change)| change.clone()).collect();
        for change in &changes {
            if !self.visit(state, change, removed) {
                state.base.remove(&change.revision);
            }
        }
        self.stage = match changes.last() {
            Some(last) if changes.len() == slice => Stage::Base(last.revision),
            _ => Stage::Log,
        };
        (changes.len() as u64).max(1)
    }

    fn visit_log_front(&mut self, state: &mut State, removed: &mut dyn FnMut(&Change)) {
        let front = state.log.front().filter(|front| front.revision.main < self.revision);
        let Some(change) = front.cloned() else {
            self.stage = Stage::Edge(0);
            return;
        };
        state.log.pop_front();
        if self.visit(state, &change, removed) {
            state.base.insert(change.revision, change);
        }
    }

    /// Visits a change older than the compacted revision, which is the oldest of its key. Returns
    /// whether it stays; if not, it is no longer in the key's history.
    fn visit(
        &mut self,
        state: &mut State,
        change: &Change,
        removed: &mut dyn FnMut(&Change),
    ) -> bool {
        let key = &change.kv.key[..];
        let history = state.keys.get(key).expect("a change stands under its key");
        assert_eq!(history.oldest().revision, change.revision, "the oldest is visited first");
        let next = history.second_oldest();
        let is_newest = next.is_none_or(|next| next.revision.main > self.revision);
        self.hasher.feed(change, || is_newest);
        if is_newest && !change.is_delete {
            return true;
        }
        let history = state.keys.get_mut(key).expect("it was just found");
        if !history.remove_oldest() {
            state.keys.remove(key);
        }
        removed(change);
        false
    }

    fn visit_edge(
        &mut self,
        state: &mut State,
        position: usize,
        defect: Planted,
        removed: &mut dyn FnMut(&Change),
    ) -> bool {
        match state.log.get(position) {
            Some(change) if change.revision.main == self.revision => {
                self.hasher.feed(change, || state.is_newest_at(change, self.revision));
                let is_dropped =
                    defect.is(Defect::MvccCompactTombstoneEq) || defect.is(Defect::MvccRevFromRows);
                if is_dropped && change.is_delete {
                    removed(&remove_edge(state, position));
                    return false;
                }
                self.stage = Stage::Edge(position + 1);
                false
            }
            _ => true,
        }
    }

    /// The hash, of a compaction that is done.
    pub(super) fn hash(&self) -> Option<CompactionHash> {
        self.is_whole.then(|| self.hasher.finish())
    }
}

/// What a planted defect does to a delete of exactly the compacted revision.
fn remove_edge(state: &mut State, position: usize) -> Arc<Change> {
    let change = state.log.remove(position);
    let history = state.keys.get_mut(&change.kv.key).expect("a change stands under its key");
    if !history.remove_oldest() {
        state.keys.remove(&change.kv.key);
    }
    change
}
