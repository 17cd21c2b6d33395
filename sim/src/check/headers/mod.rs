//! What headers say of their sender and of the revision, and the counters of every pair that was
//! ever shown.
//!
//! While a process lives, its revision and term never go back, and it tells the same cluster and
//! member; so it does after a restart, unless its disk was wiped. No two members say that they are
//! the same one. A linearizable operation is never answered from a revision older than one that was
//! told before it was invoked, and no two writes take the same revision.

mod pairs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use detsim_reports::record::{
    Call, CheckReport, Header, History, Incident, Operation, Outcome, Time,
};

use super::Checker;
use super::ascending::Ascending;
use super::describe;
use super::fate::{is_linearizable_read, is_write};
use super::report::{Evidence, Report};
use super::steps::{Step, is_recorded, taken};

/// An operation that was answered, with the header of its reply.
type Answered<'a> = (&'a Operation, Header);

/// Checks headers against each other, and pairs against headers and each other.
pub(super) fn check(history: &History) -> CheckReport {
    let mut report = Report::new(Checker::Headers);
    if !is_recorded(history) {
        report.not_checked("headers and pairs: the history does not record all of them");
        return report.finish();
    }
    let answered: Vec<Answered<'_>> = history.operations.iter().filter_map(answered).collect();
    for member in 0..history.members.len() {
        let of_member = answered.iter().copied().filter(|(op, _)| op.member == member);
        let lives = lives(history, member, of_member.collect());
        for life in &lives {
            never_back(history, life, &mut report);
        }
        let headers = lives.iter().map(Vec::len).sum();
        report.checked(headers, &format!("headers of {}", describe::member(history, member)));
    }
    identities(history, &answered, &mut report);
    never_behind(&answered, &mut report);
    revisions(&answered, &mut report);
    pairs::check(history, &mut report);
    report.finish()
}

fn answered(operation: &Operation) -> Option<Answered<'_>> {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) if reply.header.cluster_id != 0 => Some((operation, reply.header)),
        _ => None,
    }
}

/// Whether an incident ends or begins a process.
fn is_boundary(incident: &Incident) -> bool {
    let first = incident.what.split_whitespace().next().unwrap_or("");
    matches!(first, "start" | "restart" | "stop" | "kill" | "power-loss" | "restore")
        || incident.what.contains(" exits ")
}

/// Whether an incident gives a process another past.
fn is_new_past(incident: &Incident) -> bool {
    is_boundary(incident)
        && incident
            .what
            .split_whitespace()
            .any(|word| matches!(word, "wipe" | "restore") || word.starts_with("data-dir="))
}

fn moments(history: &History, member: usize, is_one: fn(&Incident) -> bool) -> Vec<Time> {
    let concerns =
        |incident: &&Incident| incident.members.is_empty() || incident.members.contains(&member);
    let incidents = history.incidents.iter().filter(concerns);
    incidents.filter(|incident| is_one(incident)).map(|incident| incident.at).collect()
}

/// The replies of each of a member's lifetimes. What was asked in one and answered in another
/// belongs to none.
fn lives<'a>(
    history: &History,
    member: usize,
    answered: Vec<Answered<'a>>,
) -> Vec<Vec<Answered<'a>>> {
    let boundaries = moments(history, member, is_boundary);
    let lifetime = |at: Time| boundaries.partition_point(|&boundary| boundary <= at);
    let mut lives = vec![Vec::new(); boundaries.len() + 1];
    for (operation, header) in answered {
        let life = lifetime(operation.invoked);
        if life == lifetime(operation.completed) {
            lives[life].push((operation, header));
        }
    }
    lives
}

/// Who a member says it is stays the same as long as its disk does, and nobody else says so.
fn identities(history: &History, answered: &[Answered<'_>], report: &mut Report) {
    let pasts: Vec<Vec<Time>> =
        (0..history.members.len()).map(|member| moments(history, member, is_new_past)).collect();
    let mut told: BTreeMap<(usize, usize), Answered<'_>> = BTreeMap::new();
    let mut owners: BTreeMap<(u64, u64), (usize, &Operation)> = BTreeMap::new();
    for &(operation, header) in answered {
        let member = operation.member;
        let Some(moments) = pasts.get(member) else { continue };
        let past = |at: Time| moments.partition_point(|&moment| moment <= at);
        if past(operation.invoked) != past(operation.completed) {
            continue;
        }
        let (first, before) =
            *told.entry((member, past(operation.invoked))).or_insert((operation, header));
        let identity = (header.cluster_id, header.member_id);
        if (before.cluster_id, before.member_id) != identity {
            let text = format!(
                "{} is answered by member {:x} of cluster {:x}, {} by {:x} of {:x}, by {}",
                describe::operation(first),
                before.member_id,
                before.cluster_id,
                describe::operation(operation),
                header.member_id,
                header.cluster_id,
                describe::member(history, member)
            );
            report.safety("header-identity", Evidence::of(&[first, operation]), text);
            continue;
        }
        let (owner, by) = *owners.entry(identity).or_insert((member, operation));
        if owner != member {
            let text = format!(
                "{} and {} both say that they are member {:x}, in their answers to {} and {}",
                describe::member(history, owner),
                describe::member(history, member),
                header.member_id,
                describe::operation(by),
                describe::operation(operation)
            );
            report.safety("shared-identity", Evidence::of(&[by, operation]), text);
        }
    }
}

/// A reply's revision and term are at least those of every reply that had arrived when it was asked
/// for.
fn never_back(history: &History, life: &[Answered<'_>], report: &mut Report) {
    let of_member = life.iter().copied().filter(|(op, _)| has_member_revision(&op.call));
    let by_start: Vec<Answered<'_>> = of_member.collect();
    let mut newest: Option<(&Operation, i64)> = None;
    let mut latest: Option<(&Operation, u64)> = None;
    replay(&by_start, |moment| match moment {
        Moment::Arrived((earlier, seen)) => {
            if newest.is_none_or(|(_, revision)| seen.revision > revision) {
                newest = Some((earlier, seen.revision));
            }
            if latest.is_none_or(|(_, term)| seen.raft_term > term) {
                latest = Some((earlier, seen.raft_term));
            }
        }
        Moment::Asked((operation, header)) => {
            let went_back = |what: &str, from: String, to: String, earlier: &Operation| {
                format!(
                    "{} went back from {what} {from}, in its answer to {}, to {to}, in its answer \
                     to {}",
                    describe::member(history, operation.member),
                    describe::operation(earlier),
                    describe::operation(operation)
                )
            };
            if let Some((earlier, revision)) = newest.filter(|(_, seen)| header.revision < *seen) {
                let (from, to) = (revision.to_string(), header.revision.to_string());
                let text = went_back("revision", from, to, earlier);
                report.safety("revision-went-back", Evidence::of(&[earlier, operation]), text);
            }
            if let Some((earlier, term)) = latest.filter(|(_, seen)| header.raft_term < *seen) {
                let (from, to) = (term.to_string(), header.raft_term.to_string());
                let text = went_back("term", from, to, earlier);
                report.safety("term-went-back", Evidence::of(&[earlier, operation]), text);
            }
        }
    });
}

/// What `replay` tells.
enum Moment<'a> {
    Arrived(Answered<'a>),
    Asked(Answered<'a>),
}

/// Tells of every operation that it was asked, after all that arrived before.
fn replay<'a>(answered: &[Answered<'a>], mut tell: impl FnMut(Moment<'a>)) {
    let (mut by_start, mut by_end) = (answered.to_vec(), answered.to_vec());
    by_start.sort_by_key(|(operation, _)| operation.invoked);
    by_end.sort_by_key(|(operation, _)| operation.completed);
    let mut ended = by_end.into_iter().peekable();
    for (operation, header) in by_start {
        while let Some(earlier) = ended.next_if(|(e, _)| e.completed < operation.invoked) {
            tell(Moment::Arrived(earlier));
        }
        tell(Moment::Asked((operation, header)));
    }
}

/// What must be linearizable is answered from the newest revision that anybody was told, or a later
/// one; what changes something, from a later one.
fn never_behind(answered: &[Answered<'_>], report: &mut Report) {
    let mut newest: BTreeMap<u64, (i64, &Operation)> = BTreeMap::new();
    let mut held = 0;
    replay(answered, |moment| match moment {
        Moment::Arrived((operation, header)) => {
            let entry = newest.entry(header.cluster_id).or_insert((header.revision, operation));
            if header.revision > entry.0 {
                *entry = (header.revision, operation);
            }
        }
        Moment::Asked((operation, header)) => {
            if !is_write(&operation.call) && !is_linearizable_read(&operation.call) {
                return;
            }
            held += 1;
            let least = i64::from(is_change(operation));
            let Some(&(revision, earlier)) = newest.get(&header.cluster_id) else { return };
            if header.revision < revision + least {
                let text = format!(
                    "{} is answered from revision {}, although {} had been told of revision \
                     {revision} before",
                    describe::operation(operation),
                    header.revision,
                    describe::operation(earlier)
                );
                report.safety("revision-behind", Evidence::of(&[earlier, operation]), text);
            }
        }
    });
    report.checked(held, "linearizable answers held against the newest revision told before");
}

/// Whether an answered operation changed keys.
fn is_change(operation: &Operation) -> bool {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) => taken(&operation.call, reply).steps.iter().any(Step::is_change),
        _ => false,
    }
}

/// Every change takes a revision of its own, and the steps of a transaction say so: those before
/// the first change name the revision before, it and those after it the new one.
fn revisions(answered: &[Answered<'_>], report: &mut Report) {
    let mut takers: Ascending<&Operation> = Ascending::default();
    for &(operation, header) in answered {
        let Some(Outcome::Ok(reply)) = &operation.outcome else { continue };
        let steps = taken(&operation.call, reply).steps;
        let change = steps.iter().position(Step::is_change);
        if change.is_some() {
            let revision = header.revision.cast_unsigned();
            let taker = *takers.first(header.cluster_id, revision, operation);
            if taker.id != operation.id {
                let text = format!(
                    "{} and {} both took revision {}",
                    describe::operation(taker),
                    describe::operation(operation),
                    header.revision
                );
                report.safety("shared-revision", Evidence::of(&[taker, operation]), text);
            }
        }
        for (at, step) in steps.iter().enumerate() {
            let is_before = change.is_some_and(|change| at < change);
            let due = header.revision - i64::from(is_before);
            if step.revision() != due {
                let text = format!(
                    "{}: its step {} names revision {} instead of {due}",
                    describe::operation(operation),
                    at + 1,
                    step.revision()
                );
                report.safety("step-revision", Evidence::of(&[operation]), text);
                break;
            }
        }
    }
}

/// Whether the header's revision is the member's own: leases are asked of the leader, and
/// membership replies carry none.
fn has_member_revision(call: &Call) -> bool {
    !matches!(
        call,
        Call::LeaseKeepAlive { .. }
            | Call::LeaseTimeToLive { .. }
            | Call::MemberAdd { .. }
            | Call::MemberRemove { .. }
            | Call::MemberUpdate { .. }
            | Call::MemberPromote { .. }
            | Call::MemberList { .. }
            | Call::MoveLeader { .. }
            | Call::Defragment
            | Call::Watch(_)
    )
}
