//! The raft log in memory, as raft-rs reads it. What is durable is the driver's business: entries
//! stand here from the moment they are staged, and raft-rs keeps its own count of what is
//! persisted.
//!
//! Entries follow a base: the index up to which they are gone, in a snapshot or by compaction, with
//! its term. Without a database the base is 0 for ever.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use super::consensus::to_raft_entry;
use crate::storage::log::LogEntry;

/// Snapshots for peers that need entries which are gone. raft-rs asks for one when it is about to
/// send it, and asks again later when it gets none.
#[derive(Debug, Default)]
struct Exchange {
    /// Who needs one.
    wanted: BTreeSet<u64>,
    /// What they may be sent.
    offered: BTreeMap<u64, Snapshot>,
}

/// Consecutive entries above a base.
#[derive(Debug, Default)]
pub(super) struct RaftLog {
    hard_state: HardState,
    /// At the start: what raft begins with. Empty when all changes are in the log, which are
    /// applied again (contract-cluster.md, section 4.1).
    conf_state: ConfState,
    base_index: u64,
    base_term: u64,
    entries: VecDeque<LogEntry>,
    /// Storage is asked through a shared reference.
    exchange: RefCell<Exchange>,
}

impl RaftLog {
    /// A log that follows a snapshot; (0, 0) for none.
    pub(super) fn new(
        hard_state: HardState,
        conf_state: ConfState,
        (base_index, base_term): (u64, u64),
        entries: Vec<LogEntry>,
    ) -> RaftLog {
        for (entry, index) in entries.iter().zip(base_index + 1..) {
            assert_eq!(entry.index, index, "the log follows {base_index} and has no gaps");
        }
        let entries = entries.into();
        let exchange = RefCell::default();
        RaftLog { hard_state, conf_state, base_index, base_term, entries, exchange }
    }

    pub(super) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// The index that the first entry follows.
    pub(super) fn base(&self) -> u64 {
        self.base_index
    }

    fn last(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }

    /// Appends entries; those at indices already held replace them and all that follow.
    pub(super) fn append(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.base_index, "{} is gone", first.index);
        assert!(first.index <= self.last() + 1, "no gap before {}", first.index);
        self.entries.truncate((first.index - self.base_index) as usize - 1);
        self.entries.extend(entries.iter().cloned());
    }

    /// The entry at an index, if the log holds it.
    pub(super) fn get(&self, index: u64) -> Option<&LogEntry> {
        let at = index.checked_sub(self.base_index + 1)?;
        self.entries.get(at as usize)
    }

    /// The entries above an index that it holds.
    pub(super) fn after(&self, index: u64) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter().skip(index.saturating_sub(self.base_index) as usize)
    }

    /// Forgets entries up to an index. Returns whether there were any.
    pub(super) fn compact(&mut self, index: u64) -> bool {
        let index = index.min(self.last());
        let Some(entry) = self.get(index) else { return false };
        self.base_term = entry.term;
        self.entries.drain(..(index - self.base_index) as usize);
        self.base_index = index;
        true
    }

    /// A snapshot takes the place of everything.
    pub(super) fn install(&mut self, index: u64, term: u64) {
        self.entries.clear();
        self.base_index = index;
        self.base_term = term;
    }

    /// Who has been refused a snapshot since the last call.
    pub(super) fn take_wanted(&self) -> BTreeSet<u64> {
        std::mem::take(&mut self.exchange.borrow_mut().wanted)
    }

    /// The next time raft-rs asks for a snapshot for this peer, it gets this one.
    pub(super) fn offer(&self, to: u64, snapshot: Snapshot) {
        self.exchange.borrow_mut().offered.insert(to, snapshot);
    }

    /// It does not get it any more.
    pub(super) fn withdraw(&self, to: u64) {
        self.exchange.borrow_mut().offered.remove(&to);
    }
}

impl Storage for RaftLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last() + 1);
        let at = |index: u64| (index - self.base_index) as usize - 1;
        let slice = self.entries.range(at(low)..at(high));
        let Some(max_size) = max_size.into() else { return Ok(slice.map(to_raft_entry).collect()) };
        let mut size = 0u64;
        let fits = slice
            .clone()
            .take_while(|entry| {
                size = size.saturating_add(entry.data.len() as u64 + 16);
                size <= max_size
            })
            .count();
        Ok(slice.take(fits.max(1)).map(to_raft_entry).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base_index {
            return Ok(self.base_term);
        }
        if index < self.base_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        let unavailable = Error::Store(StorageError::Unavailable);
        self.get(index).map(|entry| entry.term).ok_or(unavailable)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, _request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let mut exchange = self.exchange.borrow_mut();
        match exchange.offered.remove(&to) {
            Some(snapshot) if snapshot.get_metadata().index >= self.base_index => Ok(snapshot),
            _ => {
                exchange.wanted.insert(to);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::storage::log::EntryKind;

    fn entry(index: u64, term: u64) -> LogEntry {
        LogEntry { kind: EntryKind::Normal, term, index, data: Bytes::new() }
    }

    fn log() -> RaftLog {
        let entries = vec![entry(11, 2), entry(12, 2), entry(13, 3)];
        RaftLog::new(HardState::default(), ConfState::default(), (10, 1), entries)
    }

    fn indices(log: &RaftLog, low: u64, high: u64) -> Result<Vec<u64>, Error> {
        let entries = log.entries(low, high, None, GetEntriesContext::empty(false))?;
        Ok(entries.iter().map(|entry| entry.index).collect())
    }

    const COMPACTED: Error = Error::Store(StorageError::Compacted);

    #[test]
    fn a_log_begins_behind_its_snapshot() {
        let log = log();
        assert_eq!((log.first_index(), log.last_index()), (Ok(11), Ok(13)));
        assert_eq!((log.term(10), log.term(11), log.term(13)), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(log.term(9), Err(COMPACTED));
        assert_eq!(log.term(14), Err(Error::Store(StorageError::Unavailable)));
        assert_eq!(indices(&log, 11, 14), Ok(vec![11, 12, 13]));
        assert_eq!(indices(&log, 10, 12), Err(COMPACTED));
        assert!(log.get(10).is_none() && log.get(14).is_none());
    }

    #[test]
    fn compaction_keeps_the_term_of_the_last_entry_that_goes() {
        let mut log = log();
        assert!(log.compact(12));
        assert!(!log.compact(12) && !log.compact(5), "what is gone is gone");
        assert_eq!((log.first_index(), log.last_index()), (Ok(13), Ok(13)));
        assert_eq!((log.term(12), log.term(13)), (Ok(2), Ok(3)));
        log.append(&[entry(13, 4), entry(14, 4)]);
        assert_eq!((log.term(13), log.last_index()), (Ok(4), Ok(14)));
        assert!(log.compact(99), "at most everything");
        assert_eq!((log.first_index(), log.last_index(), log.term(14)), (Ok(15), Ok(14), Ok(4)));
    }

    #[test]
    fn a_snapshot_takes_the_place_of_all_entries() {
        let mut log = log();
        log.install(20, 5);
        assert_eq!((log.first_index(), log.last_index(), log.term(20)), (Ok(21), Ok(20), Ok(5)));
        log.append(&[entry(21, 5)]);
        assert_eq!(indices(&log, 21, 22), Ok(vec![21]));
    }

    #[test]
    fn a_snapshot_is_given_once_and_to_whom_it_was_offered() {
        let log = log();
        let missing = Error::Store(StorageError::SnapshotTemporarilyUnavailable);
        assert_eq!(log.snapshot(0, 7), Err(missing));
        assert_eq!(log.take_wanted(), BTreeSet::from([7]));
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = 12;
        log.offer(7, snapshot.clone());
        assert!(log.snapshot(0, 8).is_err());
        assert_eq!(log.snapshot(0, 7), Ok(snapshot));
        assert!(log.snapshot(0, 7).is_err());
        assert_eq!(log.take_wanted(), BTreeSet::from([7, 8]));
    }
}
