//! Requests between proposal and result: who waits for which entry, until when, and what is held
//! back while there is no leader to take it (contract-cluster.md, section 4.6).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::time::Monotonic;
use crate::storage::log::EntryKind;

/// A proposal that waits for a leader.
#[derive(Debug)]
pub(super) struct Unsent {
    pub id: u64,
    pub kind: EntryKind,
    pub data: Bytes,
}

/// A waiter whose time is up.
#[derive(Debug)]
pub(super) struct Expired<W> {
    pub waiter: W,
    /// When the request began.
    pub since: Monotonic,
    /// It was never handed to raft: it certainly has no effect.
    pub unsent: bool,
}

/// Waiters of one kind, `W`, by the id of their entry. All wait equally long, so deadlines come in
/// the order of registration.
#[derive(Debug)]
pub(super) struct Proposals<W> {
    timeout: Duration,
    waiting: BTreeMap<u64, (W, Monotonic)>,
    deadlines: VecDeque<(Monotonic, u64)>,
    unsent: VecDeque<Unsent>,
}

impl<W> Proposals<W> {
    pub(super) fn new(timeout: Duration) -> Proposals<W> {
        Proposals {
            timeout,
            waiting: BTreeMap::new(),
            deadlines: VecDeque::new(),
            unsent: VecDeque::new(),
        }
    }

    /// A waiter for the result of entry `id`.
    pub(super) fn register(&mut self, id: u64, waiter: W, now: Monotonic) {
        self.waiting.insert(id, (waiter, now));
        self.deadlines.push_back((now.after(self.timeout), id));
    }

    /// Holds a proposal back until there is a leader.
    pub(super) fn hold(&mut self, unsent: Unsent) {
        self.unsent.push_back(unsent);
    }

    /// What was held back, now that there is a leader.
    pub(super) fn take_unsent(&mut self) -> VecDeque<Unsent> {
        std::mem::take(&mut self.unsent)
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The waiter of an entry whose result is known.
    pub(super) fn take(&mut self, id: u64) -> Option<W> {
        self.waiting.remove(&id).map(|(waiter, _)| waiter)
    }

    /// The next waiter whose time is up.
    pub(super) fn expire(&mut self, now: Monotonic) -> Option<Expired<W>> {
        loop {
            let (deadline, id) = *self.deadlines.front()?;
            let Some((_, since)) = self.waiting.get(&id) else {
                self.deadlines.pop_front();
                continue;
            };
            if deadline > now {
                return None;
            }
            let since = *since;
            self.deadlines.pop_front();
            let held = self.unsent.len();
            self.unsent.retain(|unsent| unsent.id != id);
            let waiter = self.take(id).expect("looked up above");
            return Some(Expired { waiter, since, unsent: self.unsent.len() < held });
        }
    }

    /// How long the waiter that came first has waited.
    pub(super) fn longest_wait(&self, now: Monotonic) -> Duration {
        let waits = self.waiting.values().map(|(_, since)| now.since(*since));
        waits.max().unwrap_or_default()
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Forgets waiters that nobody waits for; their entries may still take effect, unless they
    /// were never sent.
    pub(super) fn retain(&mut self, keep: impl Fn(&W) -> bool) {
        let gone: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, (waiter, _))| !keep(waiter))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.waiting.remove(&id);
            self.unsent.retain(|unsent| unsent.id != id);
        }
    }

    /// Ends everything: the member stops.
    pub(super) fn drain(&mut self) -> Vec<W> {
        self.unsent.clear();
        self.deadlines.clear();
        std::mem::take(&mut self.waiting).into_values().map(|(waiter, _)| waiter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_that_never_met_a_leader_expires_as_unsent() {
        let mut proposals = Proposals::new(Duration::from_secs(7));
        let now = Monotonic::ZERO;
        for id in [1, 2] {
            proposals.register(id, id * 10, now);
        }
        proposals.hold(Unsent { id: 2, kind: EntryKind::Normal, data: Bytes::new() });
        let later = now.after(Duration::from_secs(7));
        assert!(proposals.expire(now).is_none());
        let first = proposals.expire(later).expect("due");
        assert_eq!((first.waiter, first.unsent), (10, false));
        let second = proposals.expire(later).expect("due");
        assert_eq!((second.waiter, second.unsent), (20, true));
        assert!(!proposals.has_unsent());
        assert_eq!(proposals.next_deadline(), None);
    }

    #[test]
    fn deadlines_of_answered_requests_are_skipped() {
        let mut proposals = Proposals::new(Duration::from_secs(7));
        proposals.register(1, 'a', Monotonic::ZERO);
        proposals.register(2, 'b', Monotonic::ZERO);
        assert_eq!(proposals.take(1), Some('a'));
        let later = Monotonic::ZERO.after(Duration::from_secs(8));
        assert_eq!(proposals.expire(later).map(|expired| expired.waiter), Some('b'));
    }
}
