//! Runs in which a cluster began from a saved snapshot of another: each cluster has a history of
//! its own, which begins with what the snapshot held.
//!
//! What was written before the save, by the log of the cluster that it was taken from, stands at
//! the beginning of the new cluster's log and history; what was acknowledged later is lawfully not
//! there. Which cluster a member belongs to, the harness knows, for it has restored its disk. Where
//! no log was recorded, what a cluster began from is unknown, and so is what it owes.

use std::collections::BTreeMap;

use detsim_reports::record::{
    Applied, Body, Call, CheckReport, Command, Committed, History, Internals, OpId, Operation,
    Outcome, Restored, Sample, Time,
};

use crate::model::raised;

/// What stands in the place of an operation of another cluster.
const ELSEWHERE: &str = "an operation of another cluster";

/// One of a run's clusters.
#[derive(Clone, Debug)]
pub(super) struct Era {
    /// What was asked of it.
    pub own: History,
    /// The same, after the writes that it began with.
    pub whole: History,
    /// What was seen of its members.
    pub own_internals: Option<Internals>,
    /// The same, after the log that it began with: indexes are of both together.
    pub whole_internals: Option<Internals>,
    /// The last index of the log that it began with.
    pub shift: u64,
    /// Why it is not known what it began with.
    pub unknown: Option<String>,
}

/// To which cluster every operation belongs.
pub(super) struct Owners<'a> {
    history: &'a History,
    by_entry: BTreeMap<OpId, usize>,
    /// The identity that each cluster tells.
    told: BTreeMap<usize, u64>,
}

impl<'a> Owners<'a> {
    pub fn of(history: &'a History, internals: Option<&Internals>) -> Owners<'a> {
        let entries = internals.map_or(&[][..], |internals| &internals.committed);
        let by_entry = entries.iter().filter_map(|entry| Some((entry.op?, entry.era))).collect();
        let mut owners = Owners { history, by_entry, told: BTreeMap::new() };
        for operation in &history.operations {
            let (first, last) = owners.between(operation);
            if let Some(identity) = identity(operation).filter(|_| first == last) {
                owners.told.entry(first).or_insert(identity);
            }
        }
        owners
    }

    /// The clusters of an operation's member when it was asked and when it answered.
    fn between(&self, operation: &Operation) -> (usize, usize) {
        let at = |time| self.member(operation.member, time);
        (at(operation.invoked), at(operation.completed))
    }

    /// The cluster of an operation: in whose log it is, or else the member's at that time. What was
    /// on its way while the member's disk was restored is answered by who says so.
    pub fn era(&self, operation: &Operation) -> usize {
        if let Some(era) = self.by_entry.get(&operation.id) {
            return *era;
        }
        let (first, last) = self.between(operation);
        let Some(identity) = identity(operation).filter(|_| first != last) else { return first };
        let is_of_the_first = self.told.get(&first) == Some(&identity);
        let is_of_the_last = self.told.get(&last) == Some(&identity);
        if is_of_the_first && !is_of_the_last { first } else { last }
    }

    /// Whether nobody knows which cluster refused an operation: its member was restored meanwhile,
    /// and refusals do not say whose they are. What was refused has no effect in either.
    fn is_nobodys(&self, operation: &Operation) -> bool {
        let (first, last) = self.between(operation);
        let is_refused = matches!(operation.outcome, Some(Outcome::Fail(_)));
        is_refused && first != last && !self.by_entry.contains_key(&operation.id)
    }

    /// The cluster of a member at a time.
    pub fn member(&self, member: usize, at: Time) -> usize {
        let entered = |restored: &Restored| {
            let mut times =
                restored.entered.iter().filter(|(who, when)| *who == member && *when <= at);
            times.next_back().map(|(_, when)| *when)
        };
        let eras = self.history.restored.iter().enumerate();
        let known = eras.filter_map(|(era, restored)| Some((entered(restored)?, era + 1)));
        known.max().map_or(0, |(_, era)| era)
    }
}

/// Which cluster an answer says that it comes from.
fn identity(operation: &Operation) -> Option<u64> {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) if reply.header.cluster_id != 0 => Some(reply.header.cluster_id),
        _ => None,
    }
}

/// Parts a run into its clusters.
pub(super) fn eras(history: &History, internals: Option<&Internals>) -> Vec<Era> {
    let owners = Owners::of(history, internals);
    let mut eras: Vec<Era> = Vec::new();
    for number in 0..=history.restored.len() {
        let own = own_history(history, &owners, number);
        let own_internals = internals.map(|internals| own_facts(internals, &owners, number));
        let mut era = Era {
            whole: own.clone(),
            own,
            whole_internals: own_internals.clone(),
            own_internals,
            shift: 0,
            unknown: None,
        };
        if let Some(restored) = number.checked_sub(1).map(|at| &history.restored[at]) {
            let parent = origin(history, restored, &owners).filter(|(parent, _)| *parent < number);
            let inherited = match parent {
                Some((parent, index)) => inherit(history, &mut era, restored, &eras[parent], index),
                None => Err("nobody knows which cluster its snapshot is of".to_owned()),
            };
            era.unknown = inherited.err();
        }
        eras.push(era);
    }
    eras
}

/// The cluster that a snapshot was taken from, and the last index of its log whose effects the
/// snapshot holds.
pub(super) fn origin(
    history: &History,
    restored: &Restored,
    owners: &Owners<'_>,
) -> Option<(usize, u64)> {
    let saved = history.operations.get(restored.saved.0 as usize)?;
    match &saved.outcome {
        Some(Outcome::Ok(reply)) => match reply.body {
            Body::Snapshot { index, .. } => Some((owners.era(saved), index)),
            _ => None,
        },
        _ => None,
    }
}

/// The revision that a restored cluster began at.
pub(super) fn begun_at(history: &History, era: usize) -> Option<i64> {
    let restored = history.restored.get(era.checked_sub(1)?)?;
    match &history.operations.get(restored.saved.0 as usize)?.outcome {
        Some(Outcome::Ok(reply)) => match reply.body {
            Body::Snapshot { revision, .. } => Some(raised(revision, restored.bumped)),
            _ => None,
        },
        _ => None,
    }
}

/// Puts what a snapshot of a cluster held before what a cluster did that began from it.
fn inherit(
    history: &History,
    era: &mut Era,
    restored: &Restored,
    parent: &Era,
    index: u64,
) -> Result<(), String> {
    if let Some(unknown) = &parent.unknown {
        return Err(unknown.clone());
    }
    let (Some(own), Some(old)) = (&era.own_internals, &parent.whole_internals) else {
        return Err("the world shows no log of what it began with".to_owned());
    };
    let shift = parent.shift + index;
    if old.committed.len() < shift as usize {
        return Err(format!(
            "of the log that it began with only {} entries are known",
            old.committed.len()
        ));
    }
    let cluster = own.committed.first().map_or(0, |entry| entry.cluster);
    let held = &old.committed[..shift as usize];
    let mut committed: Vec<Committed> =
        held.iter().map(|entry| Committed { cluster, ..entry.clone() }).collect();
    let begins = Command::Restored { bumped: restored.bumped };
    committed.extend(own.committed.iter().map(|entry| Committed {
        index: shift + entry.index,
        command: if entry.index == 1 { begins.clone() } else { entry.command.clone() },
        ..entry.clone()
    }));
    let old_states = old.applied.iter().filter(|applied| applied.index <= shift);
    let mut applied: Vec<Applied> =
        old_states.map(|applied| Applied { cluster, ..*applied }).collect();
    let shifted = |applied: &Applied| Applied { index: shift + applied.index, ..*applied };
    applied.extend(own.applied.iter().map(shifted));
    let samples = own.samples.iter();
    let samples = samples.map(|it| Sample { index: shift + it.index, ..it.clone() }).collect();
    for op in held.iter().filter_map(|entry| entry.op) {
        let mut operation = history.operations[op.0 as usize].clone();
        if let Some(Outcome::Ok(reply)) = &mut operation.outcome {
            reply.header.cluster_id = cluster;
        }
        era.whole.operations[op.0 as usize] = operation;
    }
    let whole = Internals { committed, applied, samples, ..own.clone() };
    era.whole_internals = Some(whole);
    era.shift = shift;
    Ok(())
}

/// The history without what was asked of other clusters. Operations keep their numbers.
fn own_history(history: &History, owners: &Owners<'_>, number: usize) -> History {
    let mut own = history.clone();
    for operation in &mut own.operations {
        if owners.era(operation) != number || owners.is_nobodys(operation) {
            operation.call = Call::Status;
            operation.outcome = Some(Outcome::Fail(ELSEWHERE.to_owned()));
        }
    }
    let is_own = |op: OpId| owners.era(&history.operations[op.0 as usize]) == number;
    own.watched.retain(|watched| is_own(watched.op));
    own.survivors.retain(|member| owners.member(*member, history.ended) == number);
    if own.survivors.is_empty() && !history.survivors.is_empty() {
        own.healed = None;
    }
    own
}

/// What was seen of a cluster's members while they belonged to it.
fn own_facts(internals: &Internals, owners: &Owners<'_>, number: usize) -> Internals {
    let is_own = |member: usize, at: Time| owners.member(member, at) == number;
    let mut own = internals.clone();
    own.committed.retain(|entry| entry.era == number);
    own.applied.retain(|it| is_own(it.member, it.at));
    own.raft.retain(|it| is_own(it.member, it.at));
    own.votes.retain(|it| is_own(it.member, it.at));
    own.facts.retain(|it| is_own(it.member, it.at));
    own.measured.retain(|it| is_own(it.member, it.at));
    own.repairs.retain(|it| is_own(it.member, it.at));
    own.samples.retain(|it| it.era == number);
    own
}

/// The reports on a run's clusters as one: what concerns a cluster that began from a snapshot says
/// so.
pub(super) fn merge(reports: Vec<CheckReport>) -> CheckReport {
    let mut merged = CheckReport::default();
    for (number, report) in reports.into_iter().enumerate() {
        let note = |line: String| match number {
            0 => line,
            number => format!("{line}, of restored cluster {number}"),
        };
        merged.checker = report.checker;
        merged.findings.extend(report.findings);
        merged.checked.extend(report.checked.into_iter().map(note));
        merged.not_checked.extend(report.not_checked.into_iter().map(note));
        merged.undecided |= report.undecided;
    }
    merged
}

/// A checker's report, followed by what it says of all clusters together.
pub(super) fn joined(mut report: CheckReport, across: CheckReport) -> CheckReport {
    report.findings.extend(across.findings);
    report.checked.extend(across.checked);
    report.not_checked.extend(across.not_checked);
    report.undecided |= across.undecided;
    report
}
