//! Raft's invariants, as far as recorded states, votes, applications and facts about logs, disks
//! and configurations show them. White box.
//!
//! Election safety, one vote per term across restarts, terms and commits that never go back within
//! a process, one entry per index, entries applied in order, leaders that hold every entry
//! committed before their time, and learners that hold something before they vote; promises that
//! rest on disks, logs, quorums and configurations are in modules of their own. What happens within
//! a step is not seen. Logs are known by the terms of their entries. A cluster forced anew from one
//! member's log is taken for the cluster it was.

mod logs;
mod promises;
mod quorums;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{
    Applied, CheckReport, Command, History, Internals, RaftEvent, RaftFact, RaftRole, RaftState,
    Time,
};

use super::Checker;
use super::ascending::Ascending;
use super::describe;
use super::report::{Evidence, Report};

/// Checks the internals.
pub(super) fn check(history: &History, internals: Option<&Internals>) -> CheckReport {
    let mut report = Report::new(Checker::Raft);
    let Some(internals) = internals else {
        report.not_checked("the world shows no internals");
        return report.finish();
    };
    let mut raft = Raft { history, report };
    raft.elections(&internals.raft);
    raft.votes(internals);
    raft.no_way_back(&internals.raft);
    raft.log(internals);
    raft.applied_in_order(&internals.applied);
    if internals.facts.is_empty() {
        raft.completeness(internals);
    }
    raft.promotions(internals);
    raft.votes_durable(&internals.votes);
    raft.promises(&internals.facts);
    raft.logs_kept(&internals.facts);
    raft.databases(&internals.facts);
    raft.runs(&internals.facts);
    raft.replaced(&internals.facts);
    raft.leaders_complete(&internals.facts);
    raft.quorums(internals);
    let mut report = raft.report;
    report.checked(internals.raft.len(), "raft states");
    report.checked(internals.votes.len(), "votes that were sent");
    report.checked(internals.applied.len(), "applications of entries");
    for (events, what) in counted(&internals.facts) {
        report.checked(events, what);
    }
    if internals.facts.is_empty() {
        report.not_checked(
            "whether votes and entries are durable before they are promised, quorums, \
             configurations, read indices, logs that are not applied: not recorded",
        );
    }
    report.not_checked(
        "payloads of entries that are not applied, what happens within a step of a member",
    );
    report.finish()
}

/// How many facts there are of each kind that rules speak of.
fn counted(facts: &[RaftFact]) -> Vec<(usize, &'static str)> {
    let mut counts = [
        (0, "acknowledgements against disks"),
        (0, "commits of leaders against quorums and disks"),
        (0, "elections against quorums and logs"),
        (0, "configurations"),
        (0, "read indices"),
        (0, "beginnings of terms in logs"),
        (0, "logs that members started from against receipts"),
        (0, "databases that members started from against logs and receipts"),
    ];
    for fact in facts {
        let at = match fact.event {
            RaftEvent::Acknowledged { .. } => 0,
            RaftEvent::Committed { .. } => 1,
            RaftEvent::Elected { .. } => 2,
            RaftEvent::Configured { .. } | RaftEvent::Loaded { .. } => 3,
            RaftEvent::ReadIndex { .. } => 4,
            RaftEvent::Run { .. } => 5,
            RaftEvent::Resumed { .. } => 6,
            RaftEvent::Found { .. } => 7,
            RaftEvent::Replaced { .. } | RaftEvent::ChangeAppended { .. } => continue,
        };
        counts[at].0 += 1;
    }
    counts.into_iter().filter(|count| count.0 > 0).collect()
}

struct Raft<'a> {
    history: &'a History,
    report: Report,
}

impl Raft<'_> {
    fn violate(&mut self, rule: &str, members: Vec<usize>, at: Time, text: String) {
        self.report.safety(rule, Evidence::inside(members, at), text);
    }

    fn name(&self, member: usize) -> String {
        describe::member(self.history, member)
    }

    /// At most one leader in a term, and all who know one know the same.
    fn elections(&mut self, states: &[RaftState]) {
        let mut leaders: BTreeMap<(u64, u64), (u64, usize)> = BTreeMap::new();
        for state in states {
            let claimed = match state.role {
                RaftRole::Leader => state.identity,
                _ if state.leader != 0 => state.leader,
                _ => continue,
            };
            let term = (state.cluster, state.term);
            let (known, by) = *leaders.entry(term).or_insert((claimed, state.member));
            if known != claimed {
                let text = format!(
                    "in term {} {} takes {claimed:x} for the leader, {} takes {known:x}",
                    state.term,
                    self.name(state.member),
                    self.name(by)
                );
                self.violate("election-safety", vec![by, state.member], state.at, text);
            }
        }
    }

    /// At most one vote in a term, restarts or not.
    fn votes(&mut self, internals: &Internals) {
        let mut votes: BTreeMap<(u64, u64, u64), u64> = BTreeMap::new();
        for vote in &internals.votes {
            let ballot = (vote.cluster, vote.identity, vote.term);
            let first = *votes.entry(ballot).or_insert(vote.candidate);
            if first != vote.candidate {
                let text = format!(
                    "{} votes for {:x} in term {}, having voted for {first:x}",
                    self.name(vote.member),
                    vote.candidate,
                    vote.term
                );
                self.violate("vote-once", vec![vote.member], vote.at, text);
            }
        }
    }

    /// Within a process, term and commit never go back, and nothing beyond the log is committed.
    fn no_way_back(&mut self, states: &[RaftState]) {
        let mut last: BTreeMap<(usize, u32), &RaftState> = BTreeMap::new();
        for state in states {
            if let Some(before) = last.insert((state.member, state.incarnation), state) {
                for (rule, what, from, to) in [
                    ("term-monotone", "term", before.term, state.term),
                    ("commit-monotone", "commit index", before.commit, state.commit),
                ] {
                    if to < from {
                        let who = self.name(state.member);
                        let text = format!("{who} goes back from {what} {from} to {to}");
                        self.violate(rule, vec![state.member], state.at, text);
                    }
                }
                let is_other_vote =
                    before.term == state.term && before.vote != 0 && before.vote != state.vote;
                if is_other_vote {
                    let text = format!(
                        "{} changes its vote in term {} from {:x} to {:x}",
                        self.name(state.member),
                        state.term,
                        before.vote,
                        state.vote
                    );
                    self.violate("vote-once", vec![state.member], state.at, text);
                }
            }
            if state.commit > state.last_index {
                let text = format!(
                    "{} has committed {}, but its log ends at {}",
                    self.name(state.member),
                    state.commit,
                    state.last_index
                );
                self.violate("commit-beyond-log", vec![state.member], state.at, text);
            }
        }
    }

    /// Each index holds one entry, and terms never fall along the log.
    fn log(&mut self, internals: &Internals) {
        let mut terms: Ascending<(u64, usize)> = Ascending::default();
        for applied in &internals.applied {
            let told = (applied.term, applied.member);
            let (term, by) = *terms.first(applied.cluster, applied.index, told);
            if term != applied.term {
                let text = format!(
                    "at index {} {} applies an entry of term {}, {} one of term {term}",
                    applied.index,
                    self.name(applied.member),
                    applied.term,
                    self.name(by)
                );
                self.violate("log-matching", vec![by, applied.member], applied.at, text);
            }
        }
        let mut before: Option<((u64, u64), u64)> = None;
        for (place, &(term, member)) in terms.iter() {
            if let Some((earlier, earlier_term)) = before
                && earlier.0 == place.0
                && term < earlier_term
            {
                let text = format!(
                    "term {term} of index {} is below term {earlier_term} of index {}",
                    place.1, earlier.1
                );
                self.violate("log-matching", vec![member], Time::ZERO, text);
            }
            before = Some((place, term));
        }
        for entry in &internals.committed {
            let applied = terms.get(entry.cluster, entry.index);
            if let Some(&(term, member)) = applied
                && term != entry.term
            {
                let text = format!(
                    "index {} was committed in term {} and applied in term {term}",
                    entry.index, entry.term
                );
                self.violate("log-matching", vec![member], entry.at, text);
            }
        }
    }

    /// A process applies each entry once, in order.
    fn applied_in_order(&mut self, applied: &[Applied]) {
        let mut last: BTreeMap<(usize, u32, u64), u64> = BTreeMap::new();
        for applied in applied {
            let process = (applied.member, applied.incarnation, applied.cluster);
            let before = last.insert(process, applied.index).unwrap_or(0);
            if applied.index <= before {
                let text = format!(
                    "{} applies index {} after index {before}",
                    self.name(applied.member),
                    applied.index
                );
                self.violate("applied-order", vec![applied.member], applied.at, text);
            }
        }
    }

    /// Who becomes leader has every entry that was committed in an earlier term.
    fn completeness(&mut self, internals: &Internals) {
        let mut applied = internals.applied.iter().peekable();
        let mut committed: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut leading: BTreeMap<(usize, u32), u64> = BTreeMap::new();
        for state in &internals.raft {
            while let Some(entry) = applied.next_if(|entry| entry.at < state.at) {
                let last = committed.entry(entry.cluster).or_insert((0, 0));
                if entry.index > last.0 {
                    *last = (entry.index, entry.term);
                }
            }
            if state.role != RaftRole::Leader {
                continue;
            }
            if leading.insert((state.member, state.incarnation), state.term) == Some(state.term) {
                continue;
            }
            let Some(&(index, term)) = committed.get(&state.cluster) else { continue };
            if term < state.term && index > state.last_index {
                let text = format!(
                    "{} leads term {} with a log up to {}, though index {index} of term {term} was \
                     committed",
                    self.name(state.member),
                    state.term,
                    state.last_index
                );
                self.violate("leader-completeness", vec![state.member], state.at, text);
            }
        }
    }

    /// A learner becomes a voter only when it is in sync, so at the very least it holds an entry.
    fn promotions(&mut self, internals: &Internals) {
        let mut learners: BTreeSet<(u64, &str)> = BTreeSet::new();
        for entry in &internals.committed {
            let Command::ConfChange { what, .. } = &entry.command else { continue };
            if let Some(learner) = what.strip_prefix("add learner ") {
                learners.insert((entry.cluster, learner));
                continue;
            }
            let Some(voter) = what.strip_prefix("add ") else { continue };
            if !learners.remove(&(entry.cluster, voter)) {
                continue;
            }
            let held = internals.raft.iter().filter(|state| {
                state.cluster == entry.cluster
                    && state.at <= entry.at
                    && format!("{:x}", state.identity) == voter
            });
            if held.map(|state| state.last_index).max().unwrap_or(0) == 0 {
                let text = format!(
                    "the learner {voter} is promoted at index {}, and had no entry until then",
                    entry.index
                );
                self.violate("promoted-unready", Vec::new(), entry.at, text);
            }
        }
    }
}
