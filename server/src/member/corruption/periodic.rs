//! `corrupt-check-time`: the leader compares the hash of what it holds with everybody's at the same
//! revision, and with its own once more after it has confirmed that it is up to date.
//!
//! ```text
//! idle ─tick─▶ own ─hash─▶ peers ─all asked─▶ confirming ─read index─▶ again ─hash─▶ idle
//! ```

use std::time::Duration;

use super::survey::{NoHash, PeerHash, Survey};
use crate::api::ApiError;
use crate::config::quote;
use crate::member::id::MemberId;
use crate::member::io::{Level, LogLine, Output, Outputs, PeerAnswer, PeerCallError};
use crate::member::running::{Reader, Running, Worker};
use crate::member::time::{Monotonic, Now};
use crate::member::work::{Job, WorkResult};
use crate::planted::Defect;
use crate::proto::etcdserverpb as pb;

/// The check, and when it comes next.
#[derive(Debug)]
pub(in crate::member) struct PeriodicCheck {
    interval: Duration,
    /// The next tick; `None` if there is no such check.
    next_at: Option<Monotonic>,
    /// A tick that came while a check was under way; more than one count as one.
    is_late: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    Own,
    Peers(pb::HashKvResponse, Survey),
    Confirming(pb::HashKvResponse, Vec<PeerHash>),
    Again(pb::HashKvResponse, Vec<PeerHash>),
}

impl PeriodicCheck {
    /// Zero means never.
    pub(in crate::member) fn new(interval: Duration, now: Monotonic) -> PeriodicCheck {
        let next_at = (!interval.is_zero()).then(|| now.after(interval));
        PeriodicCheck { interval, next_at, is_late: false, stage: Stage::Idle }
    }

    pub(in crate::member) fn next_deadline(&self) -> Option<Monotonic> {
        if self.is_late && matches!(self.stage, Stage::Idle) {
            return Some(Monotonic::ZERO);
        }
        self.next_at
    }

    /// What the log says at the start, if there is such a check.
    pub(in crate::member) fn line(&self, member: MemberId) -> Option<LogLine> {
        let nanos = i64::try_from(self.interval.as_nanos()).unwrap_or(i64::MAX);
        self.next_at.map(|_| {
            LogLine::new(Level::Info, "enabled corruption checking")
                .with("local-member-id", member.to_string())
                .with("interval", quote::duration(nanos))
        })
    }

    pub(super) fn survey(&self) -> Option<&Survey> {
        match &self.stage {
            Stage::Peers(_, survey) => Some(survey),
            _ => None,
        }
    }

    /// Whether a check begins now.
    fn is_due(&mut self, now: Monotonic) -> bool {
        if let Some(next_at) = self.next_at.filter(|next_at| *next_at <= now) {
            self.is_late = true;
            let late = now.since(next_at).as_nanos() / self.interval.as_nanos();
            let ticks = u32::try_from(late + 1).unwrap_or(u32::MAX);
            self.next_at = Some(next_at.after(self.interval.saturating_mul(ticks)));
        }
        self.is_late && matches!(self.stage, Stage::Idle)
    }
}

impl Running {
    pub(in crate::member) fn periodic_check_timer(&mut self, now: Now, out: &mut Outputs) {
        if !self.upkeep.periodic.is_due(now.monotonic) {
            return;
        }
        self.upkeep.periodic.is_late = false;
        if self.consensus.is_leader() {
            self.upkeep.periodic.stage = Stage::Own;
            self.start_work(Worker::CorruptionCheck, Job::HashKv(0), out);
        }
    }

    /// This member's own hash, the first or the second.
    pub(in crate::member) fn own_hash(
        &mut self,
        result: Result<WorkResult, ApiError>,
        now: Now,
        out: &mut Outputs,
    ) {
        let hash = match result {
            Ok(WorkResult::HashKv(hash)) => hash,
            Ok(_) => return,
            Err(error) => return self.check_failed(error, out),
        };
        match std::mem::replace(&mut self.upkeep.periodic.stage, Stage::Idle) {
            Stage::Own => {
                let survey = self.survey(hash.hash_revision);
                self.ask_about(hash, survey, now, out);
            }
            Stage::Again(own, peers) => self.compare(own, hash, &peers, now, out),
            other => self.upkeep.periodic.stage = other,
        }
    }

    fn ask_about(
        &mut self,
        own: pb::HashKvResponse,
        mut survey: Survey,
        now: Now,
        out: &mut Outputs,
    ) {
        if self.ask_next(&mut survey, out) {
            self.upkeep.periodic.stage = Stage::Peers(own, survey);
        } else {
            self.upkeep.periodic.stage = Stage::Confirming(own, survey.hashes());
            self.register_read(Reader::CorruptionCheck, now, out);
        }
    }

    pub(super) fn periodic_answer(
        &mut self,
        result: &Result<PeerAnswer, PeerCallError>,
        now: Now,
        out: &mut Outputs,
    ) {
        let stage = std::mem::replace(&mut self.upkeep.periodic.stage, Stage::Idle);
        let Stage::Peers(own, mut survey) = stage else { return };
        out.extend_lines(survey.answered(result));
        self.ask_about(own, survey, now, out);
    }

    /// This member is up to date.
    pub(in crate::member) fn check_confirmed(&mut self, out: &mut Outputs) {
        match std::mem::replace(&mut self.upkeep.periodic.stage, Stage::Idle) {
            Stage::Confirming(own, peers) => {
                self.upkeep.periodic.stage = Stage::Again(own, peers);
                self.start_work(Worker::CorruptionCheck, Job::HashKv(0), out);
            }
            other => self.upkeep.periodic.stage = other,
        }
    }

    /// The check ends without a result.
    pub(in crate::member) fn check_failed(&mut self, error: ApiError, out: &mut Outputs) {
        self.upkeep.periodic.stage = Stage::Idle;
        let line = LogLine::new(Level::Warn, "failed to check hash KV");
        out.push(Output::LogLine(line.with("error", error.text())));
    }

    /// All is told: whoever is the first to be wrong gets the alarm.
    fn compare(
        &mut self,
        own: pb::HashKvResponse,
        again: pb::HashKvResponse,
        peers: &[PeerHash],
        now: Now,
        out: &mut Outputs,
    ) {
        let mut wrong = None;
        let is_same_point = (own.hash_revision, own.compact_revision)
            == (again.hash_revision, again.compact_revision);
        if is_same_point && own.hash != again.hash {
            out.push(Output::LogLine(changed_line(own, again)));
            wrong = Some(self.id());
        }
        let mut checked = 0;
        for peer in peers {
            let answer = match &peer.answer {
                Ok(answer) => answer,
                Err(NoHash::Compacted) if self.config.defect().is(Defect::HashCompacted) => {
                    wrong = wrong.or(Some(peer.member));
                    continue;
                }
                Err(_) => continue,
            };
            checked += 1;
            for line in differences(own, again, peer.member, answer) {
                out.push(Output::LogLine(line));
                wrong = wrong.or(Some(peer.member));
            }
        }
        if let Some(member) = wrong {
            self.raise_corrupt(member, now, out);
        }
        let line = LogLine::new(Level::Info, "finished peer corruption check");
        out.push(Output::LogLine(line.with("number-of-peers-checked", checked.to_string())));
    }
}

fn changed_line(own: pb::HashKvResponse, again: pb::HashKvResponse) -> LogLine {
    LogLine::new(Level::Warn, "found hash mismatch")
        .with("revision-1", own.hash_revision.to_string())
        .with("compact-revision-1", own.compact_revision.to_string())
        .with("hash-1", own.hash.to_string())
        .with("revision-2", again.hash_revision.to_string())
        .with("compact-revision-2", again.compact_revision.to_string())
        .with("hash-2", again.hash.to_string())
}

/// What cannot be if a follower holds what the leader does.
fn differences(
    own: pb::HashKvResponse,
    again: pb::HashKvResponse,
    peer: MemberId,
    answer: &pb::HashKvResponse,
) -> Vec<LogLine> {
    let revision_of = |hash: &pb::HashKvResponse| hash.header.map_or(0, |header| header.revision);
    let mut lines = Vec::new();
    if revision_of(answer) > revision_of(&again) {
        let text = "revision from follower must be less than or equal to leader's";
        lines.push(
            LogLine::new(Level::Warn, text)
                .with("leader-revision", revision_of(&again).to_string())
                .with("follower-revision", revision_of(answer).to_string())
                .with("follower-peer-id", peer.to_string()),
        );
    }
    if answer.compact_revision > again.compact_revision {
        let text = "compact revision from follower must be less than or equal to leader's";
        lines.push(
            LogLine::new(Level::Warn, text)
                .with("leader-compact-revision", again.compact_revision.to_string())
                .with("follower-compact-revision", answer.compact_revision.to_string())
                .with("follower-peer-id", peer.to_string()),
        );
    }
    if answer.compact_revision == own.compact_revision && answer.hash != own.hash {
        let text = "same compact revision then hashes must match";
        lines.push(
            LogLine::new(Level::Warn, text)
                .with("leader-compact-revision", again.compact_revision.to_string())
                .with("leader-hash", own.hash.to_string())
                .with("follower-compact-revision", answer.compact_revision.to_string())
                .with("follower-hash", answer.hash.to_string())
                .with("follower-peer-id", peer.to_string()),
        );
    }
    lines
}
