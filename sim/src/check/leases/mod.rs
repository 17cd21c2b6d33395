//! Leases: none ends before its time to live has passed since the last renewal that was certainly
//! acknowledged; all end within a bound once a leader can serve; what has ended stays ended; its
//! keys go with it, all in one revision; and what is told of its time is so.
//!
//! The verdict rests on the history alone. A renewal counts from its invocation where it protects a
//! lease, and from its return where it must run out. An end counts as known only where the answer
//! went through the log or waited for it: a time to live of -1 tells that the leader's clock has
//! passed the end, which a change of leaders may still take back.
//!
//! Not judged: expiry while no leader can serve, and leases whose grant was not acknowledged.

mod clocks;
mod keys;
mod life;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use detsim_reports::record::{
    Blob, Body, Call, CheckReport, History, Operation, Outcome, Severity, Txn, TxnOp,
};

use self::clocks::Clocks;
use self::keys::Keys;
use self::life::{End, Life, Sign};
use super::Checker;
use super::describe;
use super::fate::{Fate, fate, is_one_cluster};
use super::report::{Evidence, Report};
use crate::model::Refusal;

/// How long a member goes on with a renewal whose client has given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(7);

/// Checks every lease.
pub(super) fn check(history: &History) -> CheckReport {
    let mut report = Report::new(Checker::Leases);
    if !is_one_cluster(history) {
        report.not_checked("leases: several clusters answered, each with leases of its own");
        return report.finish();
    }
    let clocks = Clocks::of(history);
    let lives = life::lives(history);
    let attachments = keys::attachments(history);
    let (mut renewals, mut ends, mut owed) = (0, 0, 0);
    for life in &lives {
        renewals += life.renewals.len();
        ends += life.ends.len();
        early(life, &clocks, &mut report);
        owed += late(history, life, &clocks, &mut report);
        resurrected(life, &mut report);
        told(life, &clocks, &attachments, &mut report);
    }
    report.checked(lives.len(), "leases");
    report.checked(renewals, "acknowledged grants and renewals that leases must outlast");
    report.checked(ends, "answers that a lease is gone");
    report.checked(owed, "answers that a lease is there, held against the bound of its removal");
    if clocks.steady.is_none() && !lives.is_empty() {
        report.not_checked(
            "whether leases end in time: the run did not end healed, with a quorum that can serve",
        );
    }
    let keys = Keys::of(history);
    keys.check(&lives, &mut report);
    report.finish()
}

/// No lease is gone before its time.
fn early(life: &Life<'_>, clocks: &Clocks, report: &mut Report) {
    for end in &life.ends {
        let operation = end.operation;
        if life.revokes.iter().any(|&invoked| invoked <= operation.completed) {
            continue;
        }
        let before = life.renewals.iter().copied().filter(|op| op.completed <= operation.invoked);
        let known = before.filter(|op| is_known(op, operation));
        let Some(last) = known.max_by_key(|op| op.invoked) else { continue };
        let ttl = clocks.at_least(life.ttl, last.invoked, operation.completed);
        let lasts_until = last.invoked.after(ttl);
        if operation.completed < lasts_until {
            let text = format!(
                "lease {} was gone {} ms after {} was invoked, which gave it {} s: {} {}",
                life.id,
                operation.completed.since(last.invoked).as_millis(),
                describe::operation(last),
                life.ttl.as_secs(),
                describe::operation(operation),
                end.what
            );
            report.safety("expired-early", Evidence::of(&[last, operation]), text);
        }
    }
}

/// Once a leader serves, a lease that is not renewed goes away. Counts what was held against it.
fn late(history: &History, life: &Life<'_>, clocks: &Clocks, report: &mut Report) -> usize {
    let mut judged = 0;
    for sign in &life.signs {
        let asked = sign.operation.invoked;
        let Some(renewed) = life.last_renewal_before(sign.operation, history.healed) else {
            continue;
        };
        let Some(by) = clocks.gone_by(renewed, life.ttl) else { continue };
        judged += 1;
        if asked > by {
            let text = format!(
                "lease {} of {} s cannot have been renewed after {} ms, yet {} {}, {} ms after it \
                 had to be gone",
                life.id,
                life.ttl.as_secs(),
                renewed.0 / 1_000_000,
                describe::operation(sign.operation),
                sign.what,
                asked.since(by).as_millis()
            );
            let evidence = Evidence::of(&[sign.operation]);
            report.find(Severity::Liveness, "expired-late", evidence, text);
        }
    }
    judged
}

/// What is gone does not come back.
fn resurrected(life: &Life<'_>, report: &mut Report) {
    let knows_all = |end: &&End<'_>| {
        let before = life.renewals.iter().filter(|op| op.completed <= end.operation.invoked);
        before.into_iter().all(|op| is_known(op, end.operation))
    };
    let definite = life.ends.iter().filter(|end| end.is_definite).filter(knows_all);
    let Some(end) = definite.min_by_key(|end| end.operation.completed) else { return };
    for sign in &life.signs {
        if sign.operation.invoked <= end.operation.completed {
            continue;
        }
        let rule = if sign.is_of_key { "keys-outlive-lease" } else { "resurrected" };
        let text = format!(
            "lease {} was gone: {} {}; later {} {}",
            life.id,
            describe::operation(end.operation),
            end.what,
            describe::operation(sign.operation),
            sign.what
        );
        report.safety(rule, Evidence::of(&[end.operation, sign.operation]), text);
    }
}

/// What is told of a lease's time is so.
fn told(
    life: &Life<'_>,
    clocks: &Clocks,
    attachments: &BTreeSet<(i64, &Blob)>,
    report: &mut Report,
) {
    for sign in &life.signs {
        let operation = sign.operation;
        let Some(Outcome::Ok(reply)) = &operation.outcome else { continue };
        let granted = life.ttl.as_secs() as i64;
        let wrong = match &reply.body {
            Body::LeaseKeepAlive { ttl_s, .. } if *ttl_s != granted => {
                Some(("wrong-ttl", format!("{ttl_s} s instead of {granted} s")))
            }
            Body::LeaseTimeToLive { granted_ttl_s, .. } if *granted_ttl_s != granted => {
                Some(("wrong-ttl", format!("{granted_ttl_s} s granted instead of {granted} s")))
            }
            Body::LeaseTimeToLive { ttl_s, .. } => remaining(life, clocks, operation, *ttl_s),
            _ => None,
        };
        if let Some((rule, text)) = wrong {
            let text = format!("{} says {text}", describe::operation(operation));
            report.safety(rule, Evidence::of(&[operation]), text);
        }
        if let Body::LeaseTimeToLive { keys, .. } = &reply.body {
            for key in keys.iter().filter(|key| !attachments.contains(&(life.id, *key))) {
                let text = format!(
                    "{} names {key:?}, which nobody attached to it",
                    describe::operation(operation)
                );
                report.safety("foreign-key", Evidence::of(&[operation]), text);
            }
        }
    }
}

/// What is wrong with the remaining time, in whole seconds, rounded down. A change of leaders gives
/// a lease its full time again and the length of an election, so that it never gets less.
fn remaining(
    life: &Life<'_>,
    clocks: &Clocks,
    operation: &Operation,
    ttl_s: i64,
) -> Option<(&'static str, String)> {
    let most = life.ttl + clocks.extension;
    if ttl_s > most.as_secs() as i64 {
        return Some(("ttl-too-long", format!("{ttl_s} s remain of {} s", life.ttl.as_secs())));
    }
    let before = life.renewals.iter().copied().filter(|op| op.completed <= operation.invoked);
    let last = before.filter(|op| term(op) <= term(operation)).max_by_key(|op| op.invoked)?;
    let ttl = clocks.at_least(life.ttl, last.invoked, operation.completed);
    let least = last.invoked.after(ttl).since(operation.completed);
    (ttl_s + 1 < least.as_secs() as i64).then(|| {
        let text = format!(
            "{ttl_s} s remain, although {} left at least {} ms",
            describe::operation(last),
            least.as_millis()
        );
        ("ttl-too-short", text)
    })
}

/// Whether who answered must have known of a grant or renewal before. A leader answers renewals and
/// questions alone, and one that was deposed and does not know it yet has not seen later terms.
fn is_known(renewal: &Operation, answer: &Operation) -> bool {
    let is_alone =
        matches!(answer.call, Call::LeaseKeepAlive { .. } | Call::LeaseTimeToLive { .. });
    !is_alone || term(renewal) <= term(answer)
}

/// The term in which an operation was answered. A leader that was deposed and does not know it yet
/// tells the time of leases as it knows it, without the renewals of later terms.
fn term(operation: &Operation) -> u64 {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) => reply.header.raft_term,
        _ => 0,
    }
}

/// The leases to which a request's puts attach keys, in whichever branch.
fn leases_of(call: &Call) -> Vec<i64> {
    fn walk(ops: &[TxnOp], into: &mut Vec<i64>) {
        for op in ops {
            match op {
                TxnOp::Put(put) if put.lease != 0 => into.push(put.lease),
                TxnOp::Txn(Txn { success, failure, .. }) => {
                    walk(success, into);
                    walk(failure, into);
                }
                _ => {}
            }
        }
    }
    let mut leases = Vec::new();
    match call {
        Call::Put(put) if put.lease != 0 => leases.push(put.lease),
        Call::Txn(txn) => {
            walk(&txn.success, &mut leases);
            walk(&txn.failure, &mut leases);
        }
        _ => {}
    }
    leases.sort_unstable();
    leases.dedup();
    leases
}

/// Whether an operation was refused because a lease does not exist.
fn is_refused(operation: &Operation, refusal: Refusal) -> bool {
    fate(operation) == Fate::Refused(refusal)
}

/// Signs by the lease that they are of.
type Signs<'a> = BTreeMap<i64, Vec<Sign<'a>>>;
