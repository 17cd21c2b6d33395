//! What a member keeps in memory, in figures: white box, for those who watch over its bounds.
//!
//! Nothing here decides anything. Reading them costs a few lengths, and a walk over the requests
//! that wait; nobody should ask at every step.

use std::time::Duration;

use super::Member;
use super::quota;
use super::time::Monotonic;

/// Figures of a running member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The index that the log in memory follows.
    pub log_base: u64,
    /// Its last index.
    pub log_last: u64,
    /// The index up to which entries are applied since the process began.
    pub applied: u64,
    /// The index up to which the database on the disk has their effects; none without a database.
    pub covered: Option<u64>,
    /// The index of the newest snapshot of the log.
    pub snapshot: u64,
    /// How many states of the database were ever held for somebody.
    pub holds: u64,
    /// The log is kept as it is for a peer.
    pub is_log_held: bool,
    /// Open watch streams.
    pub streams: u64,
    /// Their watchers.
    pub watchers: u64,
    /// Answers to watch requests that wait for room on their streams.
    pub queued_answers: u64,
    /// How long the oldest proposal has waited for its result.
    pub longest_wait: Duration,
    /// The size that is held against the quota.
    pub database_bytes: u64,
    /// The quota, if there is one.
    pub quota_bytes: Option<u64>,
}

impl Member {
    /// White box: what it keeps in memory, once it runs.
    pub fn figures(&self, now: Monotonic) -> Option<Figures> {
        let running = self.running()?;
        let counts = running.hub.counts();
        let (snapshot, holds, is_log_held) = running.snapshots.figures(now);
        let keeps = running.persistence.keeps();
        Some(Figures {
            log_base: running.consensus.log_base(),
            log_last: running.consensus.view().last_index,
            applied: running.applied,
            covered: keeps.then(|| running.persistence.durable_index()),
            snapshot,
            holds,
            is_log_held,
            streams: counts.streams as u64,
            watchers: counts.watchers as u64,
            queued_answers: counts.queued_answers as u64,
            longest_wait: running.proposals.longest_wait(now),
            database_bytes: running.database_size().total_bytes,
            quota_bytes: quota::limit(&running.config),
        })
    }
}
