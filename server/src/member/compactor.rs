//! Automatic compaction: the leader forgets history that is old enough, or that many revisions
//! back (contract-cluster.md, section 8.5).
//!
//! Every member notes its revisions in the same way; one that does not lead compacts nothing. The
//! wall clock has no part in it. One compaction is under way at a time, and nothing is noted until
//! it has ended.

use std::collections::VecDeque;
use std::time::Duration;

use prost::Message as _;

use super::apply::Applied;
use super::io::{Level, LogLine, Output, Outputs};
use super::running::{Running, Waiter};
use super::time::{Monotonic, Now};
use crate::api::ApiError;
use crate::config::{AutoCompaction, quote};
use crate::proto::etcdserverpb as pb;
use crate::storage::log::EntryKind;

const HOUR: Duration = Duration::from_secs(3_600);
/// Samples in a period, or in an hour if that is shorter.
const SAMPLES: u32 = 10;
/// etcd's timers are not finer than that either.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
const REVISIONS_INTERVAL: Duration = Duration::from_secs(300);

/// What is kept, and what has been compacted for it.
#[derive(Debug)]
pub(super) struct Compactor {
    mode: AutoCompaction,
    /// Revisions at past samples, oldest first: the first is a period old once there are enough.
    samples: VecDeque<i64>,
    /// The last revision that was compacted by this member, 0 for none.
    last_revision: i64,
    /// When that was, or the member started.
    last_at: Monotonic,
    /// What must have passed since then.
    patience: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting { until: Monotonic },
    Compacting { revision: i64, since: Monotonic },
}

impl Compactor {
    /// At the start of a member that has this revision.
    pub(super) fn new(mode: AutoCompaction, revision: i64, now: Monotonic) -> Compactor {
        let patience = match mode {
            AutoCompaction::Periodic(period) => period,
            AutoCompaction::Off | AutoCompaction::Revisions(_) => Duration::ZERO,
        };
        let mut compactor = Compactor {
            mode,
            samples: VecDeque::new(),
            last_revision: 0,
            last_at: now,
            patience,
            state: State::Waiting { until: now },
        };
        compactor.wait(revision, now);
        compactor
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        match self.state {
            State::Waiting { until } if self.mode != AutoCompaction::Off => Some(until),
            _ => None,
        }
    }

    fn interval(&self) -> Duration {
        match self.mode {
            AutoCompaction::Periodic(period) => (period.min(HOUR) / SAMPLES).max(INTERVAL_MIN),
            AutoCompaction::Off | AutoCompaction::Revisions(_) => REVISIONS_INTERVAL,
        }
    }

    /// Notes a revision, and waits for the next moment.
    fn wait(&mut self, revision: i64, now: Monotonic) {
        let interval = self.interval();
        if let AutoCompaction::Periodic(period) = self.mode {
            self.samples.push_back(revision);
            let kept = period.as_nanos() / interval.as_nanos() + 1;
            while self.samples.len() as u128 > kept {
                self.samples.pop_front();
            }
        }
        self.state = State::Waiting { until: now.after(interval) };
    }

    /// When a moment has come: the revision to compact, if there is one.
    fn advance(&mut self, is_leader: bool, revision: i64, now: Monotonic) -> Option<i64> {
        match self.state {
            State::Waiting { until } if self.mode != AutoCompaction::Off && until <= now => {}
            _ => return None,
        }
        let target = self.target(revision, now).filter(|_| is_leader);
        match target {
            Some(revision) => self.state = State::Compacting { revision, since: now },
            None => self.wait(revision, now),
        }
        target
    }

    fn target(&self, revision: i64, now: Monotonic) -> Option<i64> {
        let target = match self.mode {
            AutoCompaction::Off => return None,
            AutoCompaction::Periodic(_) if now.since(self.last_at) < self.patience => return None,
            AutoCompaction::Periodic(_) => *self.samples.front()?,
            AutoCompaction::Revisions(kept) => revision.saturating_sub(kept),
        };
        let is_new = target != self.last_revision;
        (is_new && (target > 0 || matches!(self.mode, AutoCompaction::Periodic(_))))
            .then_some(target)
    }

    /// The compaction ended. Returns its revision, and since when it was under way.
    fn ended(&mut self, is_done: bool, newest: i64, now: Monotonic) -> Option<(i64, Monotonic)> {
        let State::Compacting { revision, since } = self.state else { return None };
        if is_done {
            self.last_revision = revision;
            self.last_at = now;
        }
        self.wait(newest, now);
        Some((revision, since))
    }

    fn name(&self) -> &'static str {
        match self.mode {
            AutoCompaction::Revisions(_) => "revision",
            AutoCompaction::Off | AutoCompaction::Periodic(_) => "periodic",
        }
    }

    fn line(&self, level: Level, how: &str, revision: i64) -> LogLine {
        let line = LogLine::new(level, format!("{how} auto {} compaction", self.name()));
        let line = line.with("revision", revision.to_string());
        match self.mode {
            AutoCompaction::Revisions(kept) => {
                line.with("revision-compaction-retention", kept.to_string())
            }
            AutoCompaction::Periodic(period) => line.with("compact-period", span(period)),
            AutoCompaction::Off => line,
        }
    }
}

fn span(duration: Duration) -> String {
    quote::duration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

impl Running {
    /// Compacts when it is time.
    pub(super) fn compactor_timer(&mut self, now: Now, out: &mut Outputs) {
        let (is_leader, revision) = (self.consensus.is_leader(), self.store.revision());
        let Some(revision) = self.upkeep.compactor.advance(is_leader, revision, now.monotonic)
        else {
            return;
        };
        // The first compaction waits for the whole period, later ones for an hour at most.
        self.upkeep.compactor.patience = self.upkeep.compactor.patience.min(HOUR);
        out.push(Output::LogLine(self.upkeep.compactor.line(Level::Info, "starting", revision)));
        if self.has_apply_gap() {
            return self.auto_compacted(Err(ApiError::TooManyRequests), now, out);
        }
        let id = self.ids.next_id();
        let entry = pb::InternalRaftRequest {
            header: Some(pb::RequestHeader { id, ..pb::RequestHeader::default() }),
            compaction: Some(pb::CompactionRequest { revision, physical: false }),
            ..pb::InternalRaftRequest::default()
        };
        let data = entry.encode_to_vec().into();
        self.propose(id, EntryKind::Normal, data, Waiter::Compactor, now, out);
    }

    /// A compaction of this member's own ended. One that somebody else was ahead of counts as done.
    pub(super) fn auto_compacted(&mut self, result: Applied, now: Now, out: &mut Outputs) {
        let is_done = matches!(result, Ok(_) | Err(ApiError::Compacted));
        let newest = self.store.revision();
        let Some((revision, since)) = self.upkeep.compactor.ended(is_done, newest, now.monotonic)
        else {
            return;
        };
        let line = match result {
            Err(error) if !is_done => self
                .upkeep
                .compactor
                .line(Level::Warn, "failed", revision)
                .with("retry-interval", span(self.upkeep.compactor.interval()))
                .with("error", error.text()),
            _ => self
                .upkeep
                .compactor
                .line(Level::Info, "completed", revision)
                .with("took", span(now.monotonic.since(since))),
        };
        out.push(Output::LogLine(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_nanos(seconds * 1_000_000_000)
    }

    /// Runs to the end, with a revision a second, and tells which revision is compacted when.
    fn compactions(
        mode: AutoCompaction,
        seconds: u64,
        is_leader: impl Fn(u64) -> bool,
    ) -> Vec<(u64, i64)> {
        let mut compactor = Compactor::new(mode, 1, at(0));
        let mut found = Vec::new();
        for second in 0..=seconds {
            let revision = second as i64 + 1;
            if let Some(target) = compactor.advance(is_leader(second), revision, at(second)) {
                compactor.patience = compactor.patience.min(HOUR);
                found.push((second, target));
                compactor.ended(true, revision, at(second));
            }
        }
        found
    }

    #[test]
    fn a_period_is_kept_and_compacted_once_in_every_period() {
        let period = AutoCompaction::Periodic(Duration::from_secs(100));
        assert_eq!(
            compactions(period, 310, |_| true),
            [(100, 1), (200, 91), (300, 191)],
            "what is compacted is at least a period old"
        );
    }

    #[test]
    fn a_long_period_is_compacted_every_hour_after_the_first() {
        let period = AutoCompaction::Periodic(2 * HOUR);
        assert_eq!(
            compactions(period, 14_500, |_| true),
            [(7_200, 1), (10_800, 3_241), (14_400, 6_841)]
        );
    }

    #[test]
    fn so_many_revisions_are_kept_as_seen_every_five_minutes() {
        let kept = AutoCompaction::Revisions(400);
        assert_eq!(compactions(kept, 1_000, |_| true), [(600, 201), (900, 501)]);
    }

    #[test]
    fn a_member_that_does_not_lead_only_notes_revisions() {
        let period = AutoCompaction::Periodic(Duration::from_secs(100));
        let led = |second| second >= 150;
        assert_eq!(compactions(period, 260, led), [(150, 41), (250, 141)]);
        assert_eq!(compactions(AutoCompaction::Off, 10_000, |_| true), []);
    }

    #[test]
    fn a_failed_compaction_is_tried_again_after_an_interval() {
        let period = AutoCompaction::Periodic(Duration::from_secs(100));
        let mut compactor = Compactor::new(period, 1, at(0));
        for second in (10..100).step_by(10) {
            assert_eq!(compactor.advance(true, second as i64, at(second)), None);
        }
        assert_eq!(compactor.advance(true, 100, at(100)), Some(1));
        assert_eq!(compactor.next_deadline(), None, "nothing is noted meanwhile");
        compactor.ended(false, 105, at(105));
        assert_eq!(compactor.next_deadline(), Some(at(115)));
        assert_eq!(compactor.advance(true, 115, at(115)), Some(1));
    }
}
