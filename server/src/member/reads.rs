//! The read loop: how a member learns an index that is safe for linearizable reads.
//!
//! One round at a time (contract-cluster.md, section 4.7): waiting readers are batched into the
//! next round; a round asks the leader for a read index under a fresh id, again every 500 ms and
//! after the first commit of a term; a change of leader fails the whole batch; after the answer the
//! batch waits until the index is applied. Ids are never reused between rounds, and an answer is
//! taken only if its id was issued in this round.

use std::time::Duration;

use super::io::{Level, LogLine, Output, Outputs};
use super::time::Monotonic;
use crate::api::ApiError;
use crate::planted::{Defect, Planted};

const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The readers of one kind of waiter, `W`.
#[derive(Debug)]
pub(super) struct Reads<W> {
    request_timeout: Duration,
    waiting: Vec<W>,
    round: Option<Round<W>>,
    defect: Planted,
}

#[derive(Debug)]
struct Round<W> {
    batch: Vec<W>,
    started: Monotonic,
    contexts: Vec<u64>,
    retry_at: Monotonic,
    fails_at: Monotonic,
    /// The index to wait for, once confirmed.
    confirmed: Option<u64>,
}

/// What the loop wants done.
#[derive(Debug)]
pub(super) enum ReadAction<W> {
    /// Ask raft for a read index, under a fresh id that is then told to `asked`.
    Ask,
    /// Serve these readers now.
    Serve {
        batch: Vec<W>,
        /// When the round began: leadership was confirmed after this.
        started: Monotonic,
    },
    /// Fail these readers.
    Fail(Vec<W>, ApiError),
}

impl<W> Reads<W> {
    pub(super) fn new(request_timeout: Duration, defect: Planted) -> Reads<W> {
        Reads { request_timeout, waiting: Vec::new(), round: None, defect }
    }

    /// Adds a reader to the next round; starts it if none is under way.
    pub(super) fn register(&mut self, waiter: W, now: Monotonic) -> Option<ReadAction<W>> {
        if self.defect.is(Defect::ReadJoinInflightBatch)
            && let Some(round) = &mut self.round
        {
            round.batch.push(waiter);
            return None;
        }
        self.waiting.push(waiter);
        self.start(now)
    }

    /// Starts a round if readers wait and none is under way.
    fn start(&mut self, now: Monotonic) -> Option<ReadAction<W>> {
        if self.round.is_some() || self.waiting.is_empty() {
            return None;
        }
        self.round = Some(Round {
            batch: std::mem::take(&mut self.waiting),
            started: now,
            contexts: Vec::new(),
            retry_at: now.after(RETRY_INTERVAL),
            fails_at: now.after(self.request_timeout),
            confirmed: None,
        });
        Some(ReadAction::Ask)
    }

    /// The round asked raft under this id.
    pub(super) fn asked(&mut self, context: u64) {
        if let Some(round) = &mut self.round {
            round.contexts.push(context);
        }
    }

    /// raft confirmed an index.
    pub(super) fn confirmed(
        &mut self,
        context: u64,
        index: u64,
        applied: u64,
        now: Monotonic,
        out: &mut Outputs,
    ) -> Vec<ReadAction<W>> {
        match &mut self.round {
            Some(round) if round.contexts.contains(&context) => {
                round.confirmed.get_or_insert(index);
            }
            _ => {
                out.push(Output::LogLine(LogLine::new(
                    Level::Warn,
                    "ignored out-of-date read index response; local node read indexes queueing up \
                     and waiting to be in sync with leader",
                )));
                return Vec::new();
            }
        }
        self.applied(applied, now)
    }

    /// Everything up to `applied` is applied.
    pub(super) fn applied(&mut self, applied: u64, now: Monotonic) -> Vec<ReadAction<W>> {
        let ready = self.round.as_ref().and_then(|round| round.confirmed);
        if ready.is_none_or(|index| index > applied) {
            return Vec::new();
        }
        let round = self.round.take().expect("a confirmed round is under way");
        let mut actions = vec![ReadAction::Serve { batch: round.batch, started: round.started }];
        actions.extend(self.start(now));
        actions
    }

    /// Another leader: what was asked of the old one may never be answered.
    pub(super) fn leader_changed(&mut self, now: Monotonic) -> Vec<ReadAction<W>> {
        if self.defect.is(Defect::ReadNoLeaderRecheck)
            && let Some(round) = self.round.take()
        {
            let mut actions = vec![ReadAction::Serve { batch: round.batch, started: now }];
            actions.extend(self.start(now));
            return actions;
        }
        self.fail(ApiError::LeaderChanged, now)
    }

    fn fail(&mut self, error: ApiError, now: Monotonic) -> Vec<ReadAction<W>> {
        // A confirmed index stays good whoever leads: it only has to be applied.
        if self.round.as_ref().is_none_or(|round| round.confirmed.is_some()) {
            return Vec::new();
        }
        let round = self.round.take().expect("checked above");
        let mut actions = vec![ReadAction::Fail(round.batch, error)];
        actions.extend(self.start(now));
        actions
    }

    /// The leader committed for the first time in its term: ask again now.
    pub(super) fn first_commit_in_term(&mut self, now: Monotonic) -> Option<ReadAction<W>> {
        let round = self.round.as_mut().filter(|round| round.confirmed.is_none())?;
        if self.defect.is(Defect::ReadNoResend) {
            return None;
        }
        round.retry_at = now.after(RETRY_INTERVAL);
        Some(ReadAction::Ask)
    }

    /// Repeats the question, or gives up.
    pub(super) fn deadline(&mut self, now: Monotonic, out: &mut Outputs) -> Vec<ReadAction<W>> {
        let Some(round) = &mut self.round else { return Vec::new() };
        if round.confirmed.is_some() {
            return Vec::new();
        }
        if now >= round.fails_at {
            out.push(Output::LogLine(LogLine::new(
                Level::Warn,
                "timed out waiting for read index response (local node might have slow network)",
            )));
            return self.fail(ApiError::Timeout, now);
        }
        if now >= round.retry_at {
            round.retry_at = now.after(RETRY_INTERVAL);
            if self.defect.is(Defect::ReadNoResend) {
                return Vec::new();
            }
            out.push(Output::LogLine(LogLine::new(
                Level::Warn,
                "waiting for ReadIndex response took too long, retrying",
            )));
            return vec![ReadAction::Ask];
        }
        Vec::new()
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let round = self.round.as_ref().filter(|round| round.confirmed.is_none())?;
        Some(round.retry_at.min(round.fails_at))
    }

    /// Forgets readers that nobody waits for.
    pub(super) fn retain(&mut self, keep: impl Fn(&W) -> bool) {
        self.waiting.retain(&keep);
        if let Some(round) = &mut self.round {
            round.batch.retain(&keep);
        }
    }

    /// Ends everything: the member stops.
    pub(super) fn drain(&mut self) -> Vec<W> {
        let mut all = self.round.take().map(|round| round.batch).unwrap_or_default();
        all.append(&mut self.waiting);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * 1_000_000)
    }

    fn words(actions: impl IntoIterator<Item = ReadAction<u32>>) -> String {
        let word = |action| match action {
            ReadAction::Ask => "ask".to_owned(),
            ReadAction::Serve { batch, .. } => format!("serve {batch:?}"),
            ReadAction::Fail(batch, error) => format!("fail {batch:?} {error}"),
        };
        actions.into_iter().map(word).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn readers_that_come_during_a_round_are_served_by_the_next() {
        let (mut reads, mut out) = (Reads::new(7 * SECOND, Planted::default()), Outputs::new());
        assert_eq!(words(reads.register(1, at(0))), "ask");
        reads.asked(100);
        assert_eq!(words(reads.register(2, at(1))), "");
        assert_eq!(words(reads.confirmed(100, 5, 4, at(2), &mut out)), "");
        assert_eq!(words(reads.applied(5, at(3))), "serve [1]; ask");
        reads.asked(101);
        assert_eq!(words(reads.confirmed(101, 5, 5, at(4), &mut out)), "serve [2]");
    }

    #[test]
    fn an_answer_to_an_earlier_round_is_not_taken() {
        let (mut reads, mut out) = (Reads::new(7 * SECOND, Planted::default()), Outputs::new());
        let _ = reads.register(1, at(0));
        reads.asked(100);
        assert_eq!(words(reads.leader_changed(at(1))), "fail [1] etcdserver: leader changed");
        let _ = reads.register(2, at(2));
        reads.asked(101);
        assert_eq!(words(reads.confirmed(100, 9, 9, at(3), &mut out)), "");
    }

    #[test]
    fn the_question_is_repeated_after_the_first_commit_of_a_term_until_it_is_answered() {
        let (mut reads, mut out) = (Reads::new(7 * SECOND, Planted::default()), Outputs::new());
        assert_eq!(words(reads.first_commit_in_term(at(0))), "", "nobody asked");
        let _ = reads.register(1, at(0));
        reads.asked(100);
        assert_eq!(words(reads.first_commit_in_term(at(400))), "ask");
        reads.asked(101);
        assert_eq!(words(reads.deadline(at(899), &mut out)), "", "the interval begins anew");
        assert_eq!(words(reads.confirmed(101, 5, 4, at(899), &mut out)), "");
        assert_eq!(words(reads.first_commit_in_term(at(900))), "", "it is answered");
        assert_eq!(words(reads.applied(5, at(900))), "serve [1]");
    }

    #[test]
    fn the_question_is_repeated_and_then_given_up() {
        let (mut reads, mut out) = (Reads::new(SECOND, Planted::default()), Outputs::new());
        let _ = reads.register(1, at(0));
        reads.asked(100);
        assert_eq!(words(reads.deadline(at(499), &mut out)), "");
        assert_eq!(words(reads.deadline(at(500), &mut out)), "ask");
        reads.asked(101);
        assert_eq!(
            words(reads.deadline(at(1000), &mut out)),
            "fail [1] etcdserver: request timed out"
        );
        assert!(reads.next_deadline().is_none());
    }
}
