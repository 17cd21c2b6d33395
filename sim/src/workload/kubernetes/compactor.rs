//! One of several compactors that agree through a record: whoever writes the next version of it
//! compacts, at the revision that it saw one round before.

use detsim_reports::record::{Blob, Call, Outcome};

use super::requests::{self, Wrote};

/// A slot that compacts.
#[derive(Debug)]
pub(super) struct Compactor {
    record: Blob,
    /// The version of the record as it was seen last.
    version: i64,
    /// The revision that was seen a round ago; 0 in the first round.
    seen: i64,
    /// To be compacted now.
    due: Option<i64>,
}

impl Compactor {
    /// One that shares the record of this prefix.
    pub fn new(prefix: &str) -> Compactor {
        let record = Blob::text(&format!("{prefix}compact_rev_key"));
        Compactor { record, version: 0, seen: 0, due: None }
    }

    /// What it does next.
    pub fn call(&mut self) -> Call {
        match self.due.take() {
            Some(revision) => Call::Compact { revision, physical: false },
            None => requests::record_compaction(&self.record, self.version, self.seen),
        }
    }

    /// Takes in how that ended. Whether it goes on at once.
    pub fn completed(&mut self, call: &Call, outcome: &Outcome) -> bool {
        if let Call::Compact { .. } = call {
            return false;
        }
        match requests::wrote(outcome) {
            Wrote::Done(revision) => {
                self.version += 1;
                self.due = Some(self.seen).filter(|seen| *seen > 0);
                self.seen = revision;
            }
            Wrote::Conflict(found, revision) => {
                self.version = found.map_or(0, |kv| kv.version);
                self.seen = revision;
            }
            Wrote::Lost => {}
        }
        self.due.is_some()
    }
}
