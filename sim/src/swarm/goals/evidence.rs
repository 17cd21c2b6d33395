//! A run's record, looked at once for what many goals ask: who led when, when links were cut and
//! disks hung, which operation was committed when.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{
    Applied, Call, OpId, Operation, Outcome, RaftRole, RaftState, Reply, RunRecord, Time, Txn,
    TxnOp,
};

/// A member led in a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Its place.
    pub member: usize,
    /// The term.
    pub term: u64,
    /// Since when.
    pub from: Time,
    /// Until when it thought so.
    pub until: Time,
}

impl Reign {
    /// Whether it thought so at this time.
    pub fn holds(&self, at: Time) -> bool {
        self.from <= at && at < self.until
    }
}

/// A record with what was found in it.
pub struct Evidence<'a> {
    /// The record.
    pub run: &'a RunRecord,
    /// In the order of their beginnings.
    pub reigns: Vec<Reign>,
    /// Who stood for election, by cluster and term.
    pub candidates: BTreeMap<(u64, u64), BTreeSet<u64>>,
    won: BTreeSet<(u64, u64)>,
    /// When some link was cut.
    cuts: Vec<(Time, Time)>,
    /// When whose disk hung.
    hangs: Vec<(String, Time, Time)>,
    committed: BTreeMap<OpId, Time>,
}

impl<'a> Evidence<'a> {
    /// Looks through a record.
    pub fn new(run: &'a RunRecord) -> Evidence<'a> {
        let committed = run.internals.committed.iter();
        let committed = committed.filter_map(|entry| Some((entry.op?, entry.at)));
        let mut candidates: BTreeMap<(u64, u64), BTreeSet<u64>> = BTreeMap::new();
        for vote in &run.internals.votes {
            candidates.entry((vote.cluster, vote.term)).or_default().insert(vote.candidate);
        }
        let leads = run.internals.raft.iter().filter(|state| state.role == RaftRole::Leader);
        Evidence {
            run,
            reigns: reigns(run),
            candidates,
            won: leads.map(|state| (state.cluster, state.term)).collect(),
            cuts: cuts(run),
            hangs: hangs(run),
            committed: committed.collect(),
        }
    }

    /// The operations of clients.
    pub fn operations(&self) -> impl Iterator<Item = &'a Operation> + use<'a> {
        self.run.history.operations.iter()
    }

    /// Those that were answered, with the answers.
    pub fn replies(&self) -> impl Iterator<Item = (&'a Operation, &'a Reply)> + use<'a> {
        self.operations().filter_map(|operation| match &operation.outcome {
            Some(Outcome::Ok(reply)) => Some((operation, reply)),
            _ => None,
        })
    }

    /// Whether an operation or a watch ended with this in its text.
    pub fn has_error(&self, text: &str) -> bool {
        self.operations().any(|operation| match &operation.outcome {
            Some(Outcome::Fail(what) | Outcome::Unknown(what)) => what.contains(text),
            _ => false,
        })
    }

    /// When the entry of an operation was committed, if it was.
    pub fn committed_at(&self, op: OpId) -> Option<Time> {
        self.committed.get(&op).copied()
    }

    /// Whether somebody led in this term.
    pub fn is_led(&self, cluster: u64, term: u64) -> bool {
        self.won.contains(&(cluster, term))
    }

    /// Whether some link was cut at this time.
    pub fn has_cut(&self, at: Time) -> bool {
        self.cuts.iter().any(|(from, until)| *from <= at && at < *until)
    }

    /// Whether a member's disk hung at this time.
    pub fn is_hung(&self, name: &str, at: Time) -> bool {
        self.hangs.iter().any(|(whose, from, until)| whose == name && *from <= at && at < *until)
    }

    /// Raft states of a member that follow each other in one life of its process.
    pub fn raft_steps(&self) -> impl Iterator<Item = (&'a RaftState, &'a RaftState)> + use<'a> {
        pairs(&self.run.internals.raft, |state| state.member)
            .filter(|(before, after)| before.incarnation == after.incarnation)
    }

    /// The last raft state before a restart, and the first one after it.
    pub fn restarts(&self) -> impl Iterator<Item = (&'a RaftState, &'a RaftState)> + use<'a> {
        pairs(&self.run.internals.raft, |state| state.member)
            .filter(|(before, after)| before.incarnation < after.incarnation)
    }

    /// Applications of a member that follow each other.
    pub fn applications(&self) -> impl Iterator<Item = (&'a Applied, &'a Applied)> + use<'a> {
        pairs(&self.run.internals.applied, |applied| applied.member)
    }
}

/// Whether a call changes keys or leases, if it succeeds.
pub fn is_write(call: &Call) -> bool {
    match call {
        Call::Put(_)
        | Call::DeleteRange(_)
        | Call::LeaseGrant { .. }
        | Call::LeaseRevoke { .. } => true,
        Call::Txn(txn) => txn_writes(txn),
        _ => false,
    }
}

fn txn_writes(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Range(_) => false,
        TxnOp::Put(_) | TxnOp::DeleteRange(_) => true,
        TxnOp::Txn(inner) => txn_writes(inner),
    })
}

/// What follows what, of the same member.
fn pairs<T>(all: &[T], whose: fn(&T) -> usize) -> impl Iterator<Item = (&T, &T)> {
    let mut last: BTreeMap<usize, &T> = BTreeMap::new();
    all.iter().filter_map(move |item| Some((last.insert(whose(item), item)?, item)))
}

fn reigns(run: &RunRecord) -> Vec<Reign> {
    let mut open: BTreeMap<usize, Reign> = BTreeMap::new();
    let mut reigns = Vec::new();
    for state in &run.internals.raft {
        let leads = state.role == RaftRole::Leader;
        let goes_on = open.get(&state.member).is_some_and(|it| leads && it.term == state.term);
        if goes_on {
            continue;
        }
        if let Some(ended) = open.remove(&state.member) {
            reigns.push(Reign { until: state.at, ..ended });
        }
        if leads {
            let (member, term) = (state.member, state.term);
            open.insert(member, Reign { member, term, from: state.at, until: Time::NEVER });
        }
    }
    // A process that ended led no longer, though no state says so.
    reigns.extend(open.into_values());
    let ends: Vec<(Time, usize)> = downs(run).collect();
    for reign in &mut reigns {
        let down = ends.iter().find(|(at, member)| *member == reign.member && *at > reign.from);
        reign.until = down.map_or(reign.until, |(at, _)| reign.until.min(*at));
    }
    reigns.sort_by_key(|reign| (reign.from, reign.term));
    reigns
}

/// When which member's process ended.
fn downs(run: &RunRecord) -> impl Iterator<Item = (Time, usize)> {
    let is_down = |what: &str| {
        let mut words = what.split(' ');
        matches!(words.next(), Some("kill" | "power-loss" | "stop" | "restart"))
            || words.next() == Some("exits")
    };
    let down = run.history.incidents.iter().filter(move |incident| is_down(&incident.what));
    down.flat_map(|incident| incident.members.iter().map(|member| (incident.at, *member)))
}

/// When some link was cut, for all messages or for some.
fn cuts(run: &RunRecord) -> Vec<(Time, Time)> {
    let mut open: Vec<(&str, Time)> = Vec::new();
    let mut cuts = Vec::new();
    for incident in &run.history.incidents {
        let (at, what) = (incident.at, incident.what.as_str());
        if let Some(sides) = what.strip_prefix("cut ") {
            let sides = sides.split(" class=").next().unwrap_or(sides);
            open.push((sides, at));
        } else if let Some(healed) = what.strip_prefix("heal") {
            let healed = healed.trim_start();
            let ends = |sides: &str| healed.is_empty() || healed == sides;
            cuts.extend(open.iter().filter(|(it, _)| ends(it)).map(|(_, from)| (*from, at)));
            open.retain(|(it, _)| !ends(it));
        }
    }
    cuts.extend(open.into_iter().map(|(_, from)| (from, Time::NEVER)));
    cuts
}

fn hangs(run: &RunRecord) -> Vec<(String, Time, Time)> {
    let mut open: BTreeMap<usize, Time> = BTreeMap::new();
    let mut hangs = Vec::new();
    let name = |place: usize| run.history.members[place].0.clone();
    for incident in &run.history.incidents {
        let what = incident.what.as_str();
        if what.starts_with("disk ") && what.ends_with(" hang") {
            open.extend(incident.members.iter().map(|place| (*place, incident.at)));
        } else if what == "heal" {
            let all = std::mem::take(&mut open).into_iter();
            hangs.extend(all.map(|(place, from)| (name(place), from, incident.at)));
        } else if what.starts_with("disk ") && what.ends_with(" recover") {
            for place in &incident.members {
                let ended = open.remove(place).map(|from| (name(*place), from, incident.at));
                hangs.extend(ended);
            }
        }
    }
    hangs.extend(open.into_iter().map(|(place, from)| (name(place), from, Time::NEVER)));
    hangs
}
