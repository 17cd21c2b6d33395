//! Keys at the end of a run, held against what they were at a revision of another: who has them at
//! the end, and what may have changed them since.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{Blob, History, KeyValue, Mark, Outcome, RunRecord, Sample};

use crate::check::steps::{Attempt, deletions, each_attempt};
use crate::model::{Model, Span};

/// What may have been changed after a revision, by whatever was asked and is not known to have been
/// done before.
pub(super) struct Touched<'a> {
    spans: Vec<Span<'a>>,
    /// Keys that leases may take with them.
    leased: BTreeSet<&'a Blob>,
}

impl<'a> Touched<'a> {
    /// After a revision, in the history of a run.
    pub fn after(history: &'a History, revision: i64) -> Touched<'a> {
        let mut touched = Touched { spans: Vec::new(), leased: BTreeSet::new() };
        for operation in &history.operations {
            let is_later = match &operation.outcome {
                Some(Outcome::Ok(reply)) => reply.header.revision > revision,
                Some(Outcome::Fail(_)) => false,
                Some(Outcome::Unknown(_)) | None => true,
            };
            each_attempt(&operation.call, &mut |Attempt { put, .. }| {
                if is_later {
                    touched.spans.push(Span::One(&put.key));
                }
                if put.lease != 0 {
                    touched.leased.insert(&put.key);
                }
            });
            if is_later {
                let deleted = deletions(&operation.call).into_iter();
                touched.spans.extend(deleted.map(|it| Span::new(&it.key, &it.range_end)));
            }
        }
        touched
    }

    fn holds(&self, key: &Blob) -> bool {
        self.leased.contains(key) || self.spans.iter().any(|span| span.holds(key))
    }
}

/// The states in which those members of a cluster end that run at the end.
pub(super) fn last_of_each(record: &RunRecord, era: usize) -> impl Iterator<Item = &Sample> {
    let mut runs: BTreeSet<usize> = BTreeSet::new();
    for mark in record.history.incidents.iter().flat_map(|incident| &incident.marks) {
        match mark {
            Mark::Started(member) => {
                runs.insert(*member);
            }
            Mark::Ended(member) => {
                runs.remove(member);
            }
            _ => {}
        }
    }
    let mut last: BTreeMap<usize, &Sample> = BTreeMap::new();
    for sample in &record.internals.samples {
        last.insert(sample.member, sample);
    }
    let is_there = move |it: &&Sample| it.era == era && runs.contains(&it.member);
    last.into_values().filter(is_there)
}

/// What a key was at a revision, and what it is in a state of later.
type WasAndIs<'a> = (Option<&'a KeyValue>, Option<&'a KeyValue>);

/// The first key that is not what it was at a revision and that nothing has touched since.
pub(super) fn differing<'a>(
    model: &'a Model,
    revision: i64,
    sample: &'a Sample,
    touched: &Touched<'_>,
) -> Option<WasAndIs<'a>> {
    let mut is: BTreeMap<&Blob, &KeyValue> = sample.keys.iter().map(|kv| (&kv.key, kv)).collect();
    let mut was: BTreeMap<&Blob, &KeyValue> = BTreeMap::new();
    for change in model.changes_between(0, revision) {
        match change.is_delete {
            true => was.remove(&change.kv.key),
            false => was.insert(&change.kv.key, &change.kv),
        };
    }
    for (key, kv) in was {
        let now = is.remove(key);
        let is_newer = now.is_some_and(|now| now.mod_revision > revision);
        if now != Some(kv) && !((now.is_none() || is_newer) && touched.holds(key)) {
            return Some((Some(kv), now));
        }
    }
    let appeared =
        is.into_values().find(|now| now.mod_revision <= revision || !touched.holds(&now.key));
    appeared.map(|now| (None, Some(now)))
}
