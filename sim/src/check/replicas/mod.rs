//! Replica equality: members that applied the same entries hold the same state.
//!
//! White box: the digest after each index, by whichever member and in whichever incarnation, is
//! compared with the first one recorded; and the model applies the committed entries on its own, so
//! that members which are all wrong alike are seen. Black box: answers to HashKV for the same
//! revision and compact revision carry the same hash. And a leader that calls a member corrupt is
//! right only where some members did differ.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use detsim_reports::record::{
    Alarm, Applied, Body, Call, CheckReport, Command, Committed, History, Internals, KeyValue,
    OpId, Outcome, Sample,
};

use super::Checker;
use super::ascending::Ascending;
use super::describe;
use super::replay::Replay;
use super::report::{Evidence, Report};
use crate::model::Model;

/// Compares members with each other.
pub(super) fn check(history: &History, internals: Option<&Internals>) -> CheckReport {
    let mut report = Report::new(Checker::Replicas);
    hashes(history, &mut report);
    match internals {
        Some(internals) => {
            let have_differed = digests(history, internals, &mut report);
            corrupt_alarms(internals, have_differed, &mut report);
            against_model(history, internals, &mut report);
        }
        None => report.not_checked("state at every applied index: the world shows no internals"),
    }
    report.finish()
}

/// The revision that an answer is of. etcd 3.5 does not tell, and 3.6 not when none was asked for.
fn hashed_at(asked: i64, answer: &Body) -> Option<i64> {
    let Body::HashKv { hash_revision, .. } = answer else { return None };
    [*hash_revision, asked].into_iter().find(|revision| *revision > 0)
}

/// HashKV answers that must be equal, are.
fn hashes(history: &History, report: &mut Report) {
    let mut first: BTreeMap<(u64, i64, i64), (u32, OpId, usize)> = BTreeMap::new();
    let mut compared = 0;
    for operation in &history.operations {
        let Some(Outcome::Ok(reply)) = &operation.outcome else { continue };
        let (Call::HashKv { revision: asked }, Body::HashKv { hash, compact_revision, .. }) =
            (&operation.call, &reply.body)
        else {
            continue;
        };
        let (hash, compact_revision) = (*hash, *compact_revision);
        let Some(hash_revision) = hashed_at(*asked, &reply.body) else { continue };
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

/// Nobody is called corrupt, unless by an operator, while all members hold the same.
fn corrupt_alarms(internals: &Internals, have_differed: bool, report: &mut Report) {
    let raised = internals.committed.iter().filter_map(|entry| match &entry.command {
        Command::Client(Call::AlarmRaise(it)) if it.alarm == Alarm::Corrupt => Some((entry, it)),
        _ => None,
    });
    for (entry, alarm) in raised.filter(|(entry, _)| entry.op.is_none() && !have_differed) {
        let evidence = Evidence { at: entry.at, ..Evidence::default() };
        let text = format!(
            "entry {} says that member {:x} is corrupt, and no two members ever differed",
            entry.index, alarm.member
        );
        report.safety("false-alarm", evidence, text);
    }
}

/// The state after each entry is the same wherever and whenever it was applied. Returns whether it
/// was not.
fn digests(history: &History, internals: &Internals, report: &mut Report) -> bool {
    let mut first: Ascending<&Applied> = Ascending::default();
    let mut diverged: BTreeMap<(usize, u32), u64> = BTreeMap::new();
    for applied in &internals.applied {
        let known = *first.first(applied.cluster, applied.index, applied);
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
        let told = |entry: &Committed| format!(" ({})", describe::command(&entry.command));
        let what = entry.map_or(String::new(), told);
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
    !diverged.is_empty()
}

/// Holds members' revisions and sampled states against a model that applies the log on its own.
fn against_model(history: &History, internals: &Internals, report: &mut Report) {
    let mut logs: BTreeMap<u64, Vec<&Committed>> = BTreeMap::new();
    for entry in &internals.committed {
        logs.entry(entry.cluster).or_default().push(entry);
    }
    let (mut revisions, mut samples) = (0, 0);
    for (&cluster, log) in &logs {
        if log.iter().zip(1..).any(|(entry, index)| entry.index != index) {
            report.not_checked(format!(
                "the state of cluster {cluster:x} against the model: its log is not whole"
            ));
            continue;
        }
        let mut replay = Replay::new(history, internals);
        let mut model = Model::new(&history.settings);
        let mut after = vec![model.revision()];
        let mut waiting: Vec<&Sample> =
            internals.samples.iter().filter(|sample| sample.cluster == cluster).collect();
        waiting.sort_by_key(|sample| std::cmp::Reverse(sample.index));
        for entry in log {
            let _ = replay.apply(&mut model, entry);
            after.push(model.revision());
            while let Some(sample) = waiting.pop_if(|sample| sample.index <= entry.index) {
                if sample.index == entry.index {
                    samples += 1;
                    compare_sample(history, sample, &model, report);
                }
            }
        }
        revisions += compare_revisions(history, internals, cluster, &after, report);
    }
    report.checked(revisions, "revisions after an entry compared with the model's");
    report.checked(samples, "full states compared with the model's");
}

/// The revision after each index is the model's. Reports the first difference of each member.
fn compare_revisions(
    history: &History,
    internals: &Internals,
    cluster: u64,
    after: &[i64],
    report: &mut Report,
) -> usize {
    let mut compared = 0;
    let mut differing = Vec::new();
    for applied in internals.applied.iter().filter(|applied| applied.cluster == cluster) {
        let Some(&expected) = after.get(applied.index as usize) else { continue };
        compared += 1;
        if applied.revision == expected || differing.contains(&applied.member) {
            continue;
        }
        differing.push(applied.member);
        let evidence = Evidence::inside(vec![applied.member], applied.at);
        let text = format!(
            "after index {} {} is at revision {}, the model at {expected}",
            applied.index,
            describe::member(history, applied.member),
            applied.revision
        );
        report.safety("model-divergence", evidence, text);
    }
    compared
}

/// A member's state in full is the model's.
fn compare_sample(history: &History, sample: &Sample, model: &Model, report: &mut Report) {
    let leases: Vec<(i64, i64)> = model.leases().map(|(id, lease)| (id, lease.ttl_s)).collect();
    let mut keys = model.live();
    let differing_key = sample.keys.iter().find_map(|kv| match keys.next() {
        Some(expected) if expected == kv => None,
        expected => Some((Some(kv), expected)),
    });
    let difference = match differing_key.or_else(|| keys.next().map(|kv| (None, Some(kv)))) {
        Some((found, expected)) => {
            let tell = |kv: Option<&KeyValue>| {
                kv.map_or_else(|| "no further key".to_owned(), describe::key_value)
            };
            format!("holds {} instead of {}", tell(found), tell(expected))
        }
        None if sample.revision != model.revision() => {
            format!("is at revision {} instead of {}", sample.revision, model.revision())
        }
        None if sample.compact_revision != model.compact_revision() => format!(
            "is compacted up to {} instead of {}",
            sample.compact_revision,
            model.compact_revision()
        ),
        None if sample.leases != leases => {
            format!("holds the leases {:?} instead of {leases:?}", sample.leases)
        }
        None => return,
    };
    let who = describe::member(history, sample.member);
    let evidence = Evidence::inside(vec![sample.member], history.ended);
    let text = format!("after index {} {who} {difference}, by the model", sample.index);
    report.safety("model-divergence", evidence, text);
}
