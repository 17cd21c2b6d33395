//! The slot that compacts: it looks at the newest revision, then compacts somewhere behind it, and
//! now and then right at it, again, or too early.

use std::time::Duration;

use detsim_reports::record::{Blob, Body, Call, Operation, Outcome, Range};
use rand_chacha::ChaCha8Rng;

use crate::seed::Draw;

/// Between the look and the compaction.
const AT_ONCE: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(20));

/// A slot that compacts.
#[derive(Debug)]
pub(super) struct Compactor {
    every: (Duration, Duration),
    /// The keys that it counts to learn the revision.
    keys: (Blob, Blob),
    newest: Option<i64>,
    compacted: i64,
}

impl Compactor {
    /// After waiting so long, each time.
    pub fn new(every: (Duration, Duration), keys: (Blob, Blob)) -> Compactor {
        Compactor { every, keys, newest: None, compacted: 0 }
    }

    /// How long it waits.
    pub fn every(&self) -> (Duration, Duration) {
        self.every
    }

    /// What it does next.
    pub fn call(&mut self, stream: &mut ChaCha8Rng) -> Call {
        let Some(newest) = self.newest.take() else {
            let (key, range_end) = self.keys.clone();
            return Call::Range(Range { key, range_end, count_only: true, ..Range::default() });
        };
        let revision = match stream.below(4) {
            0 => self.compacted + stream.below((newest + 5 - self.compacted).max(1) as u64) as i64,
            _ => newest - 20 - stream.below(180) as i64,
        };
        Call::Compact { revision: revision.max(0), physical: stream.below(4) == 0 }
    }

    /// Takes in how that ended, and tells how long to wait now.
    pub fn completed(&mut self, operation: &Operation, outcome: &Outcome) -> (Duration, Duration) {
        let Outcome::Ok(reply) = outcome else { return self.every };
        if let Call::Compact { revision, .. } = operation.call {
            self.compacted = revision;
        }
        if let Body::Range(_) = reply.body {
            self.newest = Some(reply.header.revision);
            return AT_ONCE;
        }
        self.every
    }
}
