//! Local (serializable) reads.
//!
//! A local read may be old, but never wrong: the state at the revision of its header, which was
//! committed before it was answered.

#[cfg(test)]
mod tests;

use detsim_reports::record::{
    Body, Call, CheckReport, History, Operation, Outcome, Reply, Txn, TxnOp,
};

use super::Checker;
use super::agreement::disagreement;
use super::describe;
use super::fate::is_serializable_read;
use super::linearizability::Timeline;
use super::report::{Evidence, Report};
use crate::model::Refusal;

/// Checks local reads against the timeline.
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
