//! A run in which a member ended at some moment, held against the same run in which it did not.
//!
//! Until that moment the two are one run: whatever was asked, answered, committed and applied is
//! the same, or the harness is not deterministic. What any member had applied by then is committed,
//! so that it is owed afterwards: whoever applies an entry of that time again comes to the state
//! that it led to; keys are at the end as they were then, unless something that was asked since
//! explains another; and the members are those of the uninterrupted run, unless somebody changed
//! them. What was under way is owed nothing, and after that moment the runs go their own ways.
//!
//! It judges from both records and does not look at which checkers the script names.

mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use detsim_reports::record::{
    Applied, Call, Finding, Internals, OpId, Operation, Outcome, RaftEvent, RunRecord, Severity,
    Time,
};

use self::keys::Touched;
use super::describe;
use super::eras::{self, Owners};
use super::replay::Replay;
use crate::model::Model;

/// The name under which it reports.
pub const NAME: &str = "uninterrupted";

/// The run in which nobody ended, and what is known of it.
pub struct Uninterrupted<'a> {
    record: &'a RunRecord,
    /// The state of each of its clusters with all history, where its log tells.
    models: Vec<Option<Model>>,
    /// The first that was seen after each entry, by era, cluster and index.
    applied: BTreeMap<(usize, u64, u64), Applied>,
}

impl<'a> Uninterrupted<'a> {
    /// Reads the run.
    pub fn new(record: &'a RunRecord) -> Uninterrupted<'a> {
        let (history, internals) = (&record.history, &record.internals);
        let owners = Owners::of(history, Some(internals));
        let mut applied = BTreeMap::new();
        for it in &internals.applied {
            let key = (owners.member(it.member, it.at), it.cluster, it.index);
            applied.entry(key).or_insert(*it);
        }
        let models = if history.restored.is_empty() {
            vec![model(record, internals)]
        } else {
            let eras = eras::eras(history, Some(internals));
            let known = eras.iter().map(|era| {
                let whole = era.whole_internals.as_ref().filter(|_| era.unknown.is_none());
                whole.and_then(|internals| model(record, internals))
            });
            known.collect()
        };
        Uninterrupted { record, models, applied }
    }

    /// What differs in a run that was another from a time on.
    pub fn compare(&self, other: &RunRecord, until: Time) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.before(other, until).map(|what| {
            let what = format!("{what}: until then the runs are one");
            finding("another-run", Severity::Harness, what, Vec::new(), until)
        }));
        let after = [
            ("state-differs", self.states(other, until)),
            ("key-differs", self.keys(other, until)),
            ("members-differ", self.members(other, until)),
        ];
        let at = other.history.ended;
        findings.extend(after.into_iter().filter_map(|(rule, differs)| {
            let (what, members) = differs?;
            Some(finding(rule, Severity::Safety, what, members, at))
        }));
        findings
    }

    /// What differs before anybody ended.
    fn before(&self, other: &RunRecord, until: Time) -> Option<String> {
        let (ours, theirs) = (&self.record.history, &other.history);
        let asked = |it: &&Operation| it.invoked < until;
        let mut others = theirs.operations.iter().take_while(asked);
        for operation in ours.operations.iter().take_while(asked) {
            let Some(same) = others.next() else {
                return Some(format!("{} was not asked", describe::operation(operation)));
            };
            if !is_alike(operation, same, until) {
                return Some(format!(
                    "{} ended as {:?} without the end of a member, and with it {} as {:?}",
                    describe::operation(operation),
                    operation.outcome,
                    describe::operation(same),
                    same.outcome
                ));
            }
        }
        if let Some(more) = others.next() {
            return Some(format!("{} was asked", describe::operation(more)));
        }
        let mut watched = theirs.watched.iter().filter(|it| it.at < until);
        let expected = ours.watched.iter().filter(|it| it.at < until);
        for message in expected {
            if watched.next() != Some(message) {
                return Some(format!("op {} was told of other events", message.op.0));
            }
        }
        let mut committed = other.internals.committed.iter().filter(|it| it.at < until);
        for entry in self.record.internals.committed.iter().filter(|it| it.at < until) {
            if committed.next() != Some(entry) {
                return Some(format!(
                    "entry {} ({}) was not committed",
                    entry.index,
                    describe::command(&entry.command)
                ));
            }
        }
        None
    }

    /// Who applies again what was applied before, and comes to another state.
    fn states(&self, other: &RunRecord, until: Time) -> Option<(String, Vec<usize>)> {
        let owners = Owners::of(&other.history, Some(&other.internals));
        let again = other.internals.applied.iter().filter(|it| it.at >= until);
        for it in again {
            let key = (owners.member(it.member, it.at), it.cluster, it.index);
            let Some(first) = self.applied.get(&key).filter(|first| first.at < until) else {
                continue;
            };
            let is_same =
                (first.term, first.revision, first.digest) == (it.term, it.revision, it.digest);
            if !is_same {
                let what = format!(
                    "after entry {} {} had come to term {}, revision {} and digest {:016x} before \
                     anybody ended, and since then {} comes to term {}, revision {} and digest \
                     {:016x}",
                    it.index,
                    describe::member(&other.history, first.member),
                    first.term,
                    first.revision,
                    first.digest,
                    describe::member(&other.history, it.member),
                    it.term,
                    it.revision,
                    it.digest
                );
                return Some((what, vec![first.member, it.member]));
            }
        }
        None
    }

    /// Keys that are not at the end what they were, and nobody has touched them.
    fn keys(&self, other: &RunRecord, until: Time) -> Option<(String, Vec<usize>)> {
        let last = self.record.history.restored.len();
        if other.history.restored.len() != last {
            return None;
        }
        let (era, revision) = self.floor(other, last, until)?;
        let model = self.models[era].as_ref()?;
        let touched = Touched::after(&other.history, revision);
        for sample in keys::last_of_each(other, last) {
            let member = sample.member;
            let who = describe::member(&other.history, member);
            if sample.revision < revision {
                let what = format!(
                    "{who} ends at revision {}; revision {revision} had been reached before \
                     anybody ended",
                    sample.revision
                );
                return Some((what, vec![member]));
            }
            if let Some((was, is)) = keys::differing(model, revision, sample, &touched) {
                let tell = |kv: Option<&_>| kv.map_or("nothing".to_owned(), describe::key_value);
                let what = format!(
                    "{who} holds {} at the end, and in the uninterrupted run, at revision \
                     {revision}, before anybody ended, it was {}",
                    tell(is),
                    tell(was)
                );
                return Some((what, vec![member]));
            }
        }
        None
    }

    /// Up to which revision the last of the clusters is owed what was there by a time, and in which
    /// cluster's history: its own, or of the one that it began from, up to what was saved.
    fn floor(&self, other: &RunRecord, era: usize, until: Time) -> Option<(usize, i64)> {
        let of_this = self.applied.iter().filter(|(key, it)| key.0 == era && it.at < until);
        let reached = of_this.map(|(_, it)| it.revision).max();
        let Some(before) = era.checked_sub(1) else { return Some((0, reached?)) };
        let begun = eras::begun_at(&self.record.history, era);
        if let Some(reached) = reached {
            return Some((era, reached.max(begun?)));
        }
        let (ours, theirs) =
            (&self.record.history.restored[before], &other.history.restored[before]);
        if ours.bumped > 0 || theirs.bumped > 0 || before > 0 {
            return None;
        }
        let saved = begun?.min(eras::begun_at(&other.history, era)?);
        let (parent, reached) = self.floor(other, before, until)?;
        Some((parent, reached.min(saved)))
    }

    /// Members at the end, where nobody changed them since.
    fn members(&self, other: &RunRecord, until: Time) -> Option<(String, Vec<usize>)> {
        let last = self.record.history.restored.len();
        let changes = |record: &RunRecord| {
            record.history.operations.iter().any(|it| {
                let is_change = matches!(
                    it.call,
                    Call::MemberAdd { .. }
                        | Call::MemberRemove { .. }
                        | Call::MemberUpdate { .. }
                        | Call::MemberPromote { .. }
                );
                let is_over = it.completed < until && is_certain(it);
                is_change && !is_over
            })
        };
        if other.history.restored.len() != last || changes(self.record) || changes(other) {
            return None;
        }
        let (ours, theirs) = (configuration(self.record, last)?, configuration(other, last)?);
        (ours != theirs).then(|| {
            let tell = |(voters, learners): &(Vec<u64>, Vec<u64>)| {
                let (voters, learners) =
                    (describe::identities(voters), describe::identities(learners));
                format!("voters {voters} and learners {learners}")
            };
            let what = format!(
                "the cluster ends with {}, and uninterrupted with {}",
                tell(&theirs),
                tell(&ours)
            );
            (what, Vec::new())
        })
    }
}

fn finding(
    rule: &str,
    severity: Severity,
    explanation: String,
    members: Vec<usize>,
    at: Time,
) -> Finding {
    let operations: Vec<OpId> = Vec::new();
    Finding {
        checker: NAME.to_owned(),
        rule: rule.to_owned(),
        severity,
        explanation,
        operations,
        members,
        at,
    }
}

/// Whether an operation was asked, and answered before a time, alike.
fn is_alike(one: &Operation, other: &Operation, until: Time) -> bool {
    let has_ended = |it: &Operation| it.completed < until;
    if has_ended(one) || has_ended(other) {
        return one == other;
    }
    (one.client, one.member, one.invoked, &one.call)
        == (other.client, other.member, other.invoked, &other.call)
}

/// Whether nothing comes of an operation after it has ended.
fn is_certain(operation: &Operation) -> bool {
    matches!(operation.outcome, Some(Outcome::Ok(_) | Outcome::Fail(_)))
}

/// The log applied, if it is one log and whole.
fn model(record: &RunRecord, internals: &Internals) -> Option<Model> {
    let log = &internals.committed;
    let cluster = log.first()?.cluster;
    let is_whole = log.iter().zip(1..).all(|(it, at)| (it.cluster, it.index) == (cluster, at));
    if !is_whole {
        return None;
    }
    let mut replay = Replay::new(&record.history, internals);
    let mut model = Model::new(&record.history.settings);
    for entry in log {
        let _ = replay.apply(&mut model, entry);
    }
    Some(model)
}

/// Voters and learners of a cluster by its newest configuration that anybody took up.
fn configuration(record: &RunRecord, era: usize) -> Option<(Vec<u64>, Vec<u64>)> {
    let owners = Owners::of(&record.history, Some(&record.internals));
    let facts = record.internals.facts.iter();
    let facts = facts.filter(|fact| owners.member(fact.member, fact.at) == era);
    let taken_up = facts.filter_map(|fact| match &fact.event {
        RaftEvent::Configured { index, voters, learners }
        | RaftEvent::Loaded { index, voters, learners } => {
            Some((*index, (voters.clone(), learners.clone())))
        }
        _ => None,
    });
    taken_up.max_by_key(|(index, _)| *index).map(|(_, configuration)| configuration)
}
