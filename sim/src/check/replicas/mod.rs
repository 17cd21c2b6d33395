//! Replica equality: members that applied the same entries hold the same state.
//!
//! White box: the digest after each index, by whichever member and in whichever incarnation, is
//! compared with the first one recorded. Black box: answers to HashKV for the same revision and
//! compact revision carry the same hash.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use detsim_reports::record::{Applied, Body, CheckReport, History, Internals, OpId, Outcome};

use super::Checker;
use super::describe;
use super::report::{Evidence, Report};

/// Compares members with each other.
pub(super) fn check(history: &History, internals: Option<&Internals>) -> CheckReport {
    let mut report = Report::new(Checker::Replicas);
    hashes(history, &mut report);
    match internals {
        Some(internals) => digests(history, internals, &mut report),
        None => report.not_checked("state at every applied index: the world shows no internals"),
    }
    report.finish()
}

/// HashKV answers that must be equal, are.
fn hashes(history: &History, report: &mut Report) {
    let mut first: BTreeMap<(u64, i64, i64), (u32, OpId, usize)> = BTreeMap::new();
    let mut compared = 0;
    for operation in &history.operations {
        let Some(Outcome::Ok(reply)) = &operation.outcome else { continue };
        let Body::HashKv { hash, compact_revision, hash_revision } = reply.body else { continue };
        let key = (reply.header.cluster_id, hash_revision, compact_revision);
        let (expected, by, member) =
            *first.entry(key).or_insert((hash, operation.id, operation.member));
        compared += usize::from(by != operation.id);
        if hash != expected {
            let evidence = Evidence {
                operations: vec![by, operation.id],
                members: vec![member, operation.member],
                at: operation.completed,
            };
            report.safety(
                "hash-mismatch",
                evidence,
                format!(
                    "at revision {hash_revision}, compacted at {compact_revision}, {} hashes to \
                     {hash} and {} to {expected}",
                    describe::member(history, operation.member),
                    describe::member(history, member),
                ),
            );
        }
    }
    report.checked(compared, "HashKV answers compared with an earlier one");
}

/// The state after each entry is the same wherever and whenever it was applied.
fn digests(history: &History, internals: &Internals, report: &mut Report) {
    let mut first: BTreeMap<(u64, u64), &Applied> = BTreeMap::new();
    let mut diverged: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for applied in &internals.applied {
        let known = *first.entry((applied.cluster, applied.index)).or_insert(applied);
        let same = (known.term, known.revision, known.digest)
            == (applied.term, applied.revision, applied.digest);
        if same || diverged.contains_key(&(applied.member, applied.incarnation)) {
            continue;
        }
        diverged.insert((applied.member, applied.incarnation), applied.index);
        let entry = internals
            .committed
            .iter()
            .find(|entry| (entry.cluster, entry.index) == (applied.cluster, applied.index));
        let evidence = Evidence {
            operations: entry.and_then(|entry| entry.op).into_iter().collect(),
            members: vec![known.member, applied.member],
            at: applied.at,
        };
        let what = entry.map_or(String::new(), |entry| format!(" ({:?})", entry.command));
        report.safety(
            "replica-divergence",
            evidence,
            format!(
                "index {}{what} is the first after which {} differs from {}: term {} revision {} \
                 digest {:016x} against term {} revision {} digest {:016x}",
                applied.index,
                describe::member(history, applied.member),
                describe::member(history, known.member),
                applied.term,
                applied.revision,
                applied.digest,
                known.term,
                known.revision,
                known.digest,
            ),
        );
    }
    report.checked(internals.applied.len() - first.len(), "applications compared by digest");
    report.checked(first.len(), "distinct log indices applied");
}
