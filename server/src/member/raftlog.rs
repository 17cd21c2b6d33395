//! The raft log in memory, as raft-rs reads it. What is durable is the driver's business: entries
//! stand here from the moment they are staged, and raft-rs keeps its own count of what is
//! persisted.

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// Entries from index 1. The log is never truncated at its head while there is no database to
/// restart from.
#[derive(Debug, Default)]
pub(super) struct RaftLog {
    hard_state: HardState,
    entries: Vec<Entry>,
}

impl RaftLog {
    pub(super) fn new(hard_state: HardState, entries: Vec<Entry>) -> RaftLog {
        for (at, entry) in entries.iter().enumerate() {
            assert_eq!(entry.index, at as u64 + 1, "the log starts at 1 and has no gaps");
        }
        RaftLog { hard_state, entries }
    }

    pub(super) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Appends entries; those at indices already held replace them and all that follow.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index >= 1);
        assert!(first.index <= self.entries.len() as u64 + 1, "no gap before {}", first.index);
        self.entries.truncate(first.index as usize - 1);
        self.entries.extend_from_slice(entries);
    }

    /// The entry at an index, if the log holds it.
    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get((index as usize).checked_sub(1)?)
    }
}

impl Storage for RaftLog {
    /// The configuration is empty at every start: it follows from the conf changes of the log,
    /// which are applied again (contract-cluster.md, section 4.1).
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), ConfState::default()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        assert!(low >= 1);
        assert!(high <= self.entries.len() as u64 + 1);
        let slice = &self.entries[low as usize - 1..high as usize - 1];
        let Some(max_size) = max_size.into() else { return Ok(slice.to_vec()) };
        let mut size = 0u64;
        let fits = slice
            .iter()
            .take_while(|entry| {
                size = size.saturating_add(entry.data.len() as u64 + 16);
                size <= max_size
            })
            .count();
        Ok(slice[..fits.max(1).min(slice.len())].to_vec())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == 0 {
            return Ok(0);
        }
        let unavailable = raft::Error::Store(StorageError::Unavailable);
        self.get(index).map(|entry| entry.term).ok_or(unavailable)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.entries.len() as u64)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
