//! Clusters that began from saved snapshots: the snapshot is the state that the cluster had which
//! it was taken from, with all that the member had told before; and no client that goes on with
//! what it knew is told an older revision than before, nor watches on from a revision that the new
//! cluster has not reached, nor is a lock's or an election's token given to two. No member that was
//! left out takes part.
//!
//! What a snapshot holds is compared with the model of the log at the index that the snapshot
//! claims: its revision must be the model's. That members begin from that state is seen by the
//! other checkers, whose history of the new cluster begins with it.

#[cfg(test)]
mod tests;
mod watches;

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, CheckReport, ClientId, History, Internals, OpId, Operation, Outcome, Reply, Time,
};

use super::Checker;
use super::contests::{self, Kind, Token};
use super::describe;
use super::eras::{Era, Owners, origin};
use super::replay::Replay;
use super::report::{Evidence, Report};
use crate::model::Model;

/// Checks snapshots, and what clients carry from one cluster to the next.
pub(super) fn check(history: &History, internals: Option<&Internals>, eras: &[Era]) -> CheckReport {
    let mut report = Report::new(Checker::Restores);
    let saves = history.operations.iter().filter_map(|save| Some((save, saved(save)?.0)));
    let saves: Vec<(&Operation, i64)> = saves.collect();
    if saves.is_empty() && history.restored.is_empty() {
        return report.finish();
    }
    let owners = Owners::of(history, internals);
    for (save, revision) in saves {
        stale(history, &owners, save, revision, &mut report);
    }
    for restored in &history.restored {
        held(history, restored.saved, origin(history, restored, &owners), eras, &mut report);
    }
    if !history.restored.is_empty() {
        carried(history, &owners, &mut report);
        given_again(eras, &mut report);
        watches::check(history, &owners, &mut report);
        shared(history, &owners, &mut report);
        hashes(history, &owners, &mut report);
    }
    report.finish()
}

/// The revision and the index that a snapshot claims.
fn saved(operation: &Operation) -> Option<(i64, u64)> {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) => match reply.body {
            Body::Snapshot { revision, index, .. } => Some((revision, index)),
            _ => None,
        },
        _ => None,
    }
}

/// A member's snapshot holds what the member had told before it was asked for it.
fn stale(
    history: &History,
    owners: &Owners<'_>,
    save: &Operation,
    revision: i64,
    report: &mut Report,
) {
    let era = owners.era(save);
    let told = history.operations.iter().filter(|operation| {
        operation.member == save.member
            && operation.completed < save.invoked
            && owners.era(operation) == era
    });
    let newest = told.filter_map(|operation| Some((told_revision(operation)?, operation)));
    if let Some((newest, earlier)) = newest.max_by_key(|(newest, _)| *newest)
        && newest > revision
    {
        let text = format!(
            "{} holds revision {revision}, although {} had told of revision {newest} before, in its \
             answer to {}",
            describe::operation(save),
            describe::member(history, save.member),
            describe::operation(earlier)
        );
        report.safety("stale-snapshot", Evidence::of(&[earlier, save]), text);
    }
    report.checked(1, "snapshots held against what their members had told");
}

fn told_revision(operation: &Operation) -> Option<i64> {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) if reply.header.revision > 0 => Some(reply.header.revision),
        _ => None,
    }
}

/// A snapshot's revision is the model's at the index that it claims.
fn held(
    history: &History,
    op: OpId,
    from: Option<(usize, u64)>,
    eras: &[Era],
    report: &mut Report,
) {
    let save = &history.operations[op.0 as usize];
    let Some((revision, _)) = saved(save) else { return };
    let known = from.and_then(|(parent, index)| {
        let era = eras.get(parent).filter(|era| era.unknown.is_none())?;
        let log = era.whole_internals.as_ref()?;
        let entries = log.committed.get(..(era.shift + index) as usize)?;
        Some((&era.whole, log, entries))
    });
    let Some((whole, log, entries)) = known else {
        return report.not_checked(format!(
            "what {} holds: no log says what it should",
            describe::operation(save)
        ));
    };
    let mut replay = Replay::new(whole, log);
    let mut model = Model::new(&history.settings);
    for entry in entries {
        let _ = replay.apply(&mut model, entry);
    }
    report.checked(1, "restored snapshots held against the model at their index");
    if model.revision() != revision {
        let text = format!(
            "{} claims index {} and holds revision {revision}; the model is at revision {} there",
            describe::operation(save),
            entries.len(),
            model.revision()
        );
        report.safety("wrong-snapshot", Evidence::of(&[save]), text);
    }
}

/// No member that was left out of a restore answers as one of the cluster that was restored.
fn shared(history: &History, owners: &Owners<'_>, report: &mut Report) {
    for (at, restored) in history.restored.iter().enumerate() {
        let Some(begun) = restored.entered.iter().map(|(_, when)| *when).min() else { continue };
        let answered = history.operations.iter().filter_map(|operation| {
            let Some(Outcome::Ok(reply)) = &operation.outcome else { return None };
            let is_told = reply.header.cluster_id != 0 && operation.invoked > begun;
            is_told.then(|| (operation, owners.member(operation.member, operation.invoked), reply))
        });
        let answered: Vec<_> = answered.collect();
        let new = answered.iter().find(|(_, era, _)| *era == at + 1);
        let Some((by, _, reply)) = new else { continue };
        let cluster = reply.header.cluster_id;
        let is_old =
            |it: &&(&Operation, usize, &Reply)| it.1 <= at && it.2.header.cluster_id == cluster;
        if let Some((old, ..)) = answered.iter().find(is_old) {
            let text = format!(
                "{} was not restored and {} was, and both answer as members of cluster {cluster:x}: \
                 they take each other for their own",
                describe::member(history, old.member),
                describe::member(history, by.member)
            );
            report.safety("shared-cluster", Evidence::of(&[by, old]), text);
        }
        report.checked(1, "restored clusters held against members that were left out");
    }
}

/// The keys of a revision that was saved hash to the same in the cluster that they were saved from
/// and in the one that was restored.
fn hashes(history: &History, owners: &Owners<'_>, report: &mut Report) {
    let mut told: BTreeMap<(usize, i64, i64), (u32, &Operation)> = BTreeMap::new();
    for operation in &history.operations {
        let Some(Outcome::Ok(reply)) = &operation.outcome else { continue };
        if let Body::HashKv { hash, compact_revision, hash_revision } = reply.body {
            let key = (owners.era(operation), hash_revision, compact_revision);
            told.entry(key).or_insert((hash, operation));
        }
    }
    let mut compared = 0;
    for (at, restored) in history.restored.iter().enumerate() {
        let save = &history.operations[restored.saved.0 as usize];
        let (Some((parent, _)), Some((newest, _))) =
            (origin(history, restored, owners), saved(save))
        else {
            continue;
        };
        for ((_, revision, compacted), (hash, by)) in
            told.range((at + 1, 0, i64::MIN)..(at + 2, 0, i64::MIN))
        {
            let Some((before, first)) = told.get(&(parent, *revision, *compacted)) else {
                continue;
            };
            if *revision > newest || restored.bumped > 0 {
                continue;
            }
            compared += 1;
            if hash != before {
                let text = format!(
                    "at revision {revision}, compacted at {compacted}, {} hashes to {before}, and \
                     {}, after a restore, to {hash}",
                    describe::operation(first),
                    describe::operation(by)
                );
                report.safety("hash-changed", Evidence::of(&[first, by]), text);
            }
        }
    }
    report.checked(compared, "hashes of restored clusters compared with those before");
}

/// What a client was told last, and by which cluster.
struct Told<'a> {
    at: Time,
    client: ClientId,
    era: usize,
    revision: i64,
    operation: &'a Operation,
}

/// A client that goes on from one cluster to the next is never told an older revision.
fn carried(history: &History, owners: &Owners<'_>, report: &mut Report) {
    let mut all: Vec<Told<'_>> = Vec::new();
    let told = |operation, at, revision| {
        let era = owners.era(operation);
        Told { at, client: operation.client, era, revision, operation }
    };
    for operation in &history.operations {
        if let Some(revision) = told_revision(operation) {
            all.push(told(operation, operation.completed, revision));
        }
    }
    for watched in history.watched.iter().filter(|watched| watched.message.revision > 0) {
        let operation = &history.operations[watched.op.0 as usize];
        all.push(told(operation, watched.at, watched.message.revision));
    }
    all.sort_by_key(|told| told.at);
    let mut newest: BTreeMap<ClientId, &Told<'_>> = BTreeMap::new();
    let (mut carrying, mut found) = (Vec::new(), Vec::new());
    for told in &all {
        let before = newest.entry(told.client).or_insert(told);
        let is_carried = before.era < told.era && before.at <= told.operation.invoked;
        if is_carried && !carrying.contains(&told.client) {
            carrying.push(told.client);
        }
        if is_carried && told.revision < before.revision && !found.contains(&told.client) {
            found.push(told.client);
            let text = format!(
                "revision decreased for client {}: {} told it revision {}, and the cluster that was \
                 restored since tells it {}, in its answer to {}",
                told.client.0,
                describe::operation(before.operation),
                before.revision,
                told.revision,
                describe::operation(told.operation)
            );
            let evidence = Evidence::of(&[before.operation, told.operation]);
            report.safety("revision-decreased", evidence, text);
        }
        if told.revision > before.revision {
            *before = told;
        }
    }
    report.checked(carrying.len(), "clients that went on with a restored cluster");
}

/// A token that guards something outside of the cluster must not be given to another by a cluster
/// that was restored.
fn given_again(eras: &[Era], report: &mut Report) {
    let mut tokens = 0;
    for kind in [Kind::Lock, Kind::Election] {
        let mut given: BTreeMap<(Blob, i64), Token<'_>> = BTreeMap::new();
        for token in eras.iter().flat_map(|era| contests::tokens(&era.own, kind)) {
            tokens += 1;
            let name = (token.contest.clone(), token.create_revision);
            let first = given.entry(name).or_insert_with(|| token.clone());
            if first.key != token.key {
                let text = format!(
                    "token {} of {:?} was given to {:?}, and by the cluster that was restored since \
                     to {:?}: who lets that token in lets in both",
                    token.create_revision, token.contest, first.key, token.key
                );
                let evidence = Evidence::of(&[first.shown_by, token.shown_by]);
                report.safety("token-given-again", evidence, text);
            }
        }
    }
    report.checked(tokens, "tokens of locks and elections, over all clusters");
}
