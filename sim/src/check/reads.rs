//! Local (serializable) reads, and what headers say.
//!
//! A local read may be old, but never wrong: the state at the revision of its header, which was
//! committed before it was answered. While a process lives, its revision and term never go back,
//! and it tells the same cluster and member.

#[cfg(test)]
mod tests;

use detsim_reports::record::{
    Body, Call, CheckReport, Header, History, Incident, Operation, Outcome, Reply, Time, Txn, TxnOp,
};

use super::Checker;
use super::agreement::disagreement;
use super::describe;
use super::fate::is_serializable_read;
use super::linearizability::Timeline;
use super::report::{Evidence, Report};
use crate::model::Refusal;

/// Checks local reads against the timeline and headers against each other.
pub(super) fn check(history: &History, timeline: Option<&Timeline>) -> CheckReport {
    let mut report = Report::new(Checker::Reads);
    let reads: Vec<&Operation> = history
        .operations
        .iter()
        .filter(|operation| is_serializable_read(&operation.call))
        .collect();
    match timeline {
        Some(timeline) => {
            for operation in &reads {
                local_read(operation, timeline, &mut report);
            }
            let what = format!("local reads held against {}", timeline.basis.name());
            report.checked(reads.len(), &what);
        }
        None if !reads.is_empty() => report.not_checked(format!(
            "what {} local reads say: no order of effects is known",
            reads.len()
        )),
        None => {}
    }
    let mut headers = 0;
    for member in 0..history.members.len() {
        headers += lifetimes(history, member, &mut report);
    }
    report.checked(headers, "headers compared with earlier ones of the same process");
    report.finish()
}

/// The reply is the state at its revision, and that revision was committed.
fn local_read(operation: &Operation, timeline: &Timeline, report: &mut Report) {
    let objection = match &operation.outcome {
        Some(Outcome::Ok(reply)) => answered(operation, reply, timeline),
        Some(Outcome::Fail(text)) => Refusal::from_text(text)
            .and_then(|refusal| refused(operation, refusal, timeline))
            .map(|text| ("wrong-refusal", text)),
        _ => None,
    };
    if let Some((rule, text)) = objection {
        let text = format!("{}: {text}", describe::operation(operation));
        report.safety(rule, Evidence::of(&[operation]), text);
    }
}

fn answered(
    operation: &Operation,
    reply: &Reply,
    timeline: &Timeline,
) -> Option<(&'static str, String)> {
    let revision = reply.header.revision;
    match timeline.born(revision) {
        None => return Some(("uncommitted-read", format!("revision {revision} never existed"))),
        Some(born) if born > operation.completed => {
            let text = format!(
                "revision {revision} cannot have existed when it was answered, {} ns too early",
                born.0 - operation.completed.0
            );
            return Some(("uncommitted-read", text));
        }
        Some(_) => {}
    }
    let taken = match &reply.body {
        Body::Txn(txn) => Some(txn.succeeded),
        _ => None,
    };
    let asked = asked_revisions(&operation.call, taken);
    if let Some(asked) = asked.into_iter().find(|&at| at > revision) {
        let text =
            format!("it was answered from revision {revision}, before the {asked} asked for");
        return Some(("wrong-local-read", text));
    }
    let expected = timeline.model.read_at(&operation.call, revision);
    let found = disagreement(&operation.call, &expected, reply)?;
    Some(("wrong-local-read", found.text))
}

/// Why a refusal cannot be right, if it cannot. What the member had applied is not known from
/// outside, so that only what no member can have applied is held against it.
fn refused(operation: &Operation, refusal: Refusal, timeline: &Timeline) -> Option<String> {
    let asked = asked_revisions(&operation.call, None);
    let newest = timeline.model.revision();
    match refusal {
        Refusal::Compacted => {
            let compacted = timeline.compact_revision_by(operation.completed);
            let fits = asked.iter().any(|&at| at < compacted || at < 0);
            (!fits).then(|| format!("nothing it asks for was compacted: only up to {compacted}"))
        }
        Refusal::FutureRevision => {
            let fits = asked.iter().any(|&at| at > 1);
            (!fits).then(|| format!("it asks for no future revision; the newest is {newest}"))
        }
        refusal => {
            let fits = timeline.model.refusals(&operation.call).contains(&refusal);
            (!fits).then(|| format!("it was refused without reason: {}", refusal.text()))
        }
    }
}

/// The revisions that a read names: in the branch that was taken, or in any if that is not known.
fn asked_revisions(call: &Call, taken: Option<bool>) -> Vec<i64> {
    fn branch(ops: &[TxnOp], asked: &mut Vec<i64>) {
        for op in ops {
            if let TxnOp::Range(range) = op {
                asked.push(range.revision);
            }
        }
    }
    let mut asked = Vec::new();
    match call {
        Call::Range(range) => asked.push(range.revision.max(0)),
        Call::Txn(txn) => {
            let Txn { success, failure, .. } = txn.as_ref();
            if taken != Some(false) {
                branch(success, &mut asked);
            }
            if taken != Some(true) {
                branch(failure, &mut asked);
            }
        }
        _ => {}
    }
    asked
}

/// Whether an incident ends or begins a process.
fn is_boundary(incident: &Incident) -> bool {
    let first = incident.what.split_whitespace().next().unwrap_or("");
    matches!(first, "start" | "restart" | "stop" | "kill" | "power-loss")
        || incident.what.contains(" exits ")
}

/// Compares headers within each of a member's lifetimes. Counts them.
fn lifetimes(history: &History, member: usize, report: &mut Report) -> usize {
    let boundaries: Vec<Time> = history
        .incidents
        .iter()
        .filter(|incident| incident.members.is_empty() || incident.members.contains(&member))
        .filter(|incident| is_boundary(incident))
        .map(|incident| incident.at)
        .collect();
    let lifetime = |at: Time| boundaries.partition_point(|&boundary| boundary <= at);
    let mut replies: Vec<(&Operation, Header)> = Vec::new();
    for operation in history.operations.iter().filter(|operation| operation.member == member) {
        if let Some(Outcome::Ok(reply)) = &operation.outcome
            && reply.header.cluster_id != 0
            && lifetime(operation.invoked) == lifetime(operation.completed)
        {
            replies.push((operation, reply.header));
        }
    }
    let mut lives: Vec<Vec<(&Operation, Header)>> = vec![Vec::new(); boundaries.len() + 1];
    for (operation, header) in replies {
        lives[lifetime(operation.invoked)].push((operation, header));
    }
    for life in &lives {
        same_identity(life, report);
        never_back(history, life, report);
    }
    lives.iter().map(Vec::len).sum()
}

fn same_identity(life: &[(&Operation, Header)], report: &mut Report) {
    for pair in life.windows(2) {
        let [(first, a), (second, b)] = pair else { continue };
        if (a.cluster_id, a.member_id) != (b.cluster_id, b.member_id) {
            let text = format!(
                "{} is answered by member {:x} of cluster {:x}, {} by {:x} of {:x}, by one process",
                describe::operation(first),
                a.member_id,
                a.cluster_id,
                describe::operation(second),
                b.member_id,
                b.cluster_id
            );
            report.safety("header-identity", Evidence::of(&[first, second]), text);
        }
    }
}

/// A reply's revision and term are at least those of every reply that had arrived when it was asked
/// for.
fn never_back(history: &History, life: &[(&Operation, Header)], report: &mut Report) {
    let mut by_end: Vec<(&Operation, Header)> = life
        .iter()
        .copied()
        .filter(|(operation, _)| has_member_revision(&operation.call))
        .collect();
    let mut by_start = by_end.clone();
    by_end.sort_by_key(|(operation, _)| operation.completed);
    by_start.sort_by_key(|(operation, _)| operation.invoked);
    let mut ended = by_end.into_iter().peekable();
    let mut newest: Option<(&Operation, i64)> = None;
    let mut latest: Option<(&Operation, u64)> = None;
    for (operation, header) in by_start {
        while let Some((earlier, seen)) = ended.next_if(|(e, _)| e.completed < operation.invoked) {
            if newest.is_none_or(|(_, revision)| seen.revision > revision) {
                newest = Some((earlier, seen.revision));
            }
            if latest.is_none_or(|(_, term)| seen.raft_term > term) {
                latest = Some((earlier, seen.raft_term));
            }
        }
        let went_back = |what: &str, from: String, to: String, earlier: &Operation| {
            format!(
                "{} went back from {what} {from}, in its answer to {}, to {to}, in its answer to {}",
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
            | Call::Watch(_)
    )
}
