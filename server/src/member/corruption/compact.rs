//! The check of compaction hashes: every member compacts at the same revisions and remembers what
//! it hashed then, so members can be compared long after a revision was current.
//!
//! The newest compactions come first. One about which everybody agrees is not asked for again; one
//! that somebody cannot tell the hash of is left for the next time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::survey::{PeerHash, Survey};
use crate::config::quote;
use crate::member::id::MemberId;
use crate::member::io::{Level, LogLine, Output, Outputs, PeerAnswer, PeerCallError};
use crate::member::running::{Running, request_timeout};
use crate::member::time::{Monotonic, Now};
use crate::mvcc::CompactionHash;
use crate::planted::Defect;

/// The check, and when it comes next.
#[derive(Debug)]
pub(in crate::member) struct CompactCheck {
    interval: Duration,
    stage: Stage,
    /// Up to here everybody agreed.
    checked: i64,
}

#[derive(Debug)]
enum Stage {
    Off,
    Waiting(Monotonic),
    Asking(Round),
}

/// The hashes of one check.
#[derive(Debug)]
struct Round {
    current: CompactionHash,
    survey: Survey,
    /// After this one, newest first.
    rest: VecDeque<CompactionHash>,
    /// How many were begun.
    count: usize,
}

impl CompactCheck {
    /// `None` means never.
    pub(in crate::member) fn new(interval: Option<Duration>, now: Monotonic) -> CompactCheck {
        let stage = interval.map_or(Stage::Off, |interval| Stage::Waiting(now.after(interval)));
        CompactCheck { interval: interval.unwrap_or_default(), stage, checked: 0 }
    }

    pub(in crate::member) fn next_deadline(&self) -> Option<Monotonic> {
        match self.stage {
            Stage::Waiting(until) => Some(until),
            Stage::Off | Stage::Asking(_) => None,
        }
    }

    pub(super) fn survey(&self) -> Option<&Survey> {
        match &self.stage {
            Stage::Asking(round) => Some(&round.survey),
            Stage::Off | Stage::Waiting(_) => None,
        }
    }
}

/// What follows from the answers about one hash.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Everybody told the same.
    Agreed,
    /// Those who told anything told the same.
    Incomplete,
    /// These differ from a quorum, or nobody knows who is wrong.
    Differs { wrong: Vec<MemberId>, has_quorum: bool },
}

impl Running {
    pub(in crate::member) fn compact_check_timer(&mut self, now: Now, out: &mut Outputs) {
        match self.upkeep.compact.stage {
            Stage::Waiting(until) if until <= now.monotonic => {}
            _ => return,
        }
        if !self.consensus.is_leader() {
            return self.compact_check_later(now);
        }
        let timeout = request_timeout(&self.config).as_nanos() as i64;
        out.push(Output::LogLine(
            LogLine::new(Level::Info, "starting compact hash check")
                .with("local-member-id", self.id().to_string())
                .with("timeout", quote::duration(timeout)),
        ));
        let stored = self.store.compaction_hashes().iter().rev();
        let unchecked = stored.take_while(|hash| hash.revision > self.upkeep.compact.checked);
        let rest = unchecked.copied().collect();
        self.next_hash(rest, 0, now, out);
    }

    fn compact_check_later(&mut self, now: Now) {
        let until = now.monotonic.after(self.upkeep.compact.interval);
        self.upkeep.compact.stage = Stage::Waiting(until);
    }

    fn finish_compact_check(&mut self, count: usize, now: Now, out: &mut Outputs) {
        let line = LogLine::new(Level::Info, "finished compaction hash check");
        out.push(Output::LogLine(line.with("number-of-hashes-checked", count.to_string())));
        self.compact_check_later(now);
    }

    /// Asks about the next hash, if there is one and somebody to ask.
    fn next_hash(
        &mut self,
        mut rest: VecDeque<CompactionHash>,
        count: usize,
        now: Now,
        out: &mut Outputs,
    ) {
        let Some(current) = rest.pop_front() else {
            return self.finish_compact_check(count, now, out);
        };
        let mut survey = self.survey(current.revision);
        if self.ask_next(&mut survey, out) {
            let round = Round { current, survey, rest, count: count + 1 };
            self.upkeep.compact.stage = Stage::Asking(round);
        } else {
            self.finish_compact_check(count + 1 + rest.len(), now, out);
        }
    }

    pub(super) fn compact_check_answer(
        &mut self,
        result: &Result<PeerAnswer, PeerCallError>,
        now: Now,
        out: &mut Outputs,
    ) {
        let waiting = Stage::Waiting(now.monotonic);
        let stage = std::mem::replace(&mut self.upkeep.compact.stage, waiting);
        let Stage::Asking(mut round) = stage else { return };
        out.extend_lines(round.survey.answered(result));
        if self.ask_next(&mut round.survey, out) {
            self.upkeep.compact.stage = Stage::Asking(round);
            return;
        }
        let Round { current, survey, rest, count } = round;
        let peers = survey.hashes();
        match self.judge(current, &peers, out) {
            Verdict::Incomplete => self.next_hash(rest, count, now, out),
            Verdict::Agreed => {
                self.upkeep.compact.checked = self.upkeep.compact.checked.max(current.revision);
                self.finish_compact_check(count, now, out);
            }
            Verdict::Differs { wrong, has_quorum } => {
                let nobody = [MemberId(0)];
                for member in if has_quorum { &wrong[..] } else { &nobody } {
                    self.raise_corrupt(*member, now, out);
                }
                self.finish_compact_check(count, now, out);
            }
        }
    }

    fn judge(&self, own: CompactionHash, peers: &[PeerHash], out: &mut Outputs) -> Verdict {
        let mut groups = BTreeMap::from([(own.hash, vec![self.id()])]);
        let mut checked = 0;
        for peer in peers {
            let reason = match &peer.answer {
                Err(_) => "no response".to_owned(),
                Ok(answer) if answer.compact_revision != own.compact_revision => format!(
                    "the peer's CompactRevision {} doesn't match leader's CompactRevision {}",
                    answer.compact_revision, own.compact_revision
                ),
                Ok(answer) => {
                    groups.entry(answer.hash).or_default().push(peer.member);
                    checked += 1;
                    continue;
                }
            };
            if self.config.defect().is(Defect::HashIgnoreErrors) {
                checked += 1;
            }
            out.push(Output::LogLine(self.skipped_line(peer, peers.len(), reason)));
        }
        if groups.len() == 1 {
            out.push(Output::LogLine(agreed_line(own, checked, peers.len())));
            let is_whole = checked == peers.len();
            return if is_whole { Verdict::Agreed } else { Verdict::Incomplete };
        }
        let members = peers.len() + 1;
        let quorum = members / 2 + 1;
        let right = groups.iter().find(|(_, members)| members.len() >= quorum);
        let right = right.map(|(hash, _)| *hash);
        match right {
            Some(hash) => groups.remove(&hash),
            None => {
                let text = "Detected compaction hash mismatch but cannot identify the corrupted \
                            members, so intentionally set the memberID as 0";
                out.push(Output::LogLine(self.mismatch_line(text, own)));
                None
            }
        };
        let has_quorum = right.is_some();
        for (hash, members) in &groups {
            let line = self.mismatch_line("Detected compaction hash mismatch", own);
            let ids: Vec<String> = members.iter().map(ToString::to_string).collect();
            out.push(Output::LogLine(
                line.with("peer-hash", hash.to_string())
                    .with("peer-ids", ids.join(","))
                    .with("quorum-exist", has_quorum.to_string()),
            ));
        }
        Verdict::Differs { wrong: groups.into_values().flatten().collect(), has_quorum }
    }

    fn skipped_line(&self, peer: &PeerHash, peers: usize, reason: String) -> LogLine {
        LogLine::new(Level::Warn, "Skipped peer's hash")
            .with("number-of-peers", peers.to_string())
            .with("leader-id", self.id().to_string())
            .with("peer-id", peer.member.to_string())
            .with("reason", reason)
    }

    fn mismatch_line(&self, text: &str, own: CompactionHash) -> LogLine {
        LogLine::new(Level::Error, text)
            .with("leader-id", self.id().to_string())
            .with("leader-revision", own.revision.to_string())
            .with("leader-compact-revision", own.compact_revision.to_string())
            .with("leader-hash", own.hash.to_string())
    }
}

/// Nobody differs; not everybody may have been heard.
fn agreed_line(own: CompactionHash, checked: usize, peers: usize) -> LogLine {
    let line = |level, text| {
        LogLine::new(level, text).with("number-of-peers-checked", checked.to_string())
    };
    let line = if checked == peers {
        line(Level::Info, "successfully checked hash on whole cluster")
    } else {
        let text = "skipped revision in compaction hash check; was not able to check all peers";
        line(Level::Warn, text).with("number-of-peers", peers.to_string())
    };
    line.with("revision", own.revision.to_string())
        .with("compactRevision", own.compact_revision.to_string())
}
