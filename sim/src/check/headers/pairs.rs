//! Pairs: the counters of every pair that a reply or an event shows, and ranges that show what they
//! were asked for.
//!
//! A pair was created before it was modified, not after the revision that shows it, and its version
//! counts the modifications since. A key at one revision is always the same, and its versions
//! follow its revisions.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{Blob, Event, History, KeyValue, Operation, Outcome};

use super::super::describe;
use super::super::fate::is_one_cluster;
use super::super::report::{Evidence, Report};
use super::super::steps::{Step, taken};
use crate::model::Span;

/// Pairs by key and revision, with the operation that showed each first.
type Shown<'a> = BTreeMap<&'a Blob, BTreeMap<i64, (&'a KeyValue, &'a Operation)>>;

/// Checks every pair that was shown.
pub(super) fn check(history: &History, report: &mut Report) {
    let mut shown = Shown::new();
    let mut pairs = 0;
    for operation in &history.operations {
        let Some(Outcome::Ok(reply)) = &operation.outcome else { continue };
        for step in taken(&operation.call, reply).steps {
            if let Some(text) = wrong_range(&step) {
                object("impossible-range", operation, &text, report);
            }
            for kv in step.kvs().0 {
                pairs += 1;
                let limit = newest(&step);
                alone(operation, kv, limit, report);
                together(operation, kv, &mut shown, report);
            }
        }
    }
    for watched in &history.watched {
        let Some(operation) = history.operations.get(watched.op.0 as usize) else { continue };
        for event in &watched.message.events {
            pairs += 1;
            if let Some(text) = wrong_event(event, watched.message.revision) {
                object("impossible-event", operation, &text, report);
            }
            if !event.is_delete {
                alone(operation, &event.kv, watched.message.revision, report);
                together(operation, &event.kv, &mut shown, report);
            }
            if let Some(kv) = &event.prev_kv {
                alone(operation, kv, event.kv.mod_revision - 1, report);
                together(operation, kv, &mut shown, report);
            }
        }
    }
    if is_one_cluster(history) {
        follow(&shown, report);
    } else {
        report.not_checked("pairs against each other: replies come from several clusters");
    }
    report.checked(pairs, "pairs with their counters");
}

fn object(rule: &str, operation: &Operation, text: &str, report: &mut Report) {
    let text = format!("{}: {text}", describe::operation(operation));
    report.safety(rule, Evidence::of(&[operation]), text);
}

/// The newest revision at which a pair can have been modified that a step shows.
fn newest(step: &Step<'_>) -> i64 {
    match step {
        Step::Range { range, revision, .. } if range.revision > 0 => range.revision.min(*revision),
        Step::Range { revision, .. } => *revision,
        Step::Put { revision, .. } | Step::Delete { revision, .. } => revision - 1,
    }
}

/// What a range shows that it was not asked for.
fn wrong_range(step: &Step<'_>) -> Option<String> {
    let Step::Range { range, reply, .. } = step else { return None };
    let span = Span::new(&range.key, &range.range_end);
    let mut keys = BTreeSet::new();
    if range.count_only && !reply.kvs.is_empty() {
        return Some("it shows pairs although only their count was asked for".to_owned());
    }
    if range.limit > 0 && reply.kvs.len() as i64 > range.limit {
        return Some(format!("it shows {} pairs, above its limit", reply.kvs.len()));
    }
    if (reply.kvs.len() as i64) > reply.count {
        return Some(format!("it shows {} pairs and counts {}", reply.kvs.len(), reply.count));
    }
    reply.kvs.iter().find_map(|kv| {
        if !span.holds(&kv.key) {
            Some(format!("it shows {:?}, which it was not asked for", kv.key))
        } else if !keys.insert(&kv.key) {
            Some(format!("it shows {:?} twice", kv.key))
        } else {
            None
        }
    })
}

/// What is wrong with an event of a message with this revision.
fn wrong_event(event: &Event, revision: i64) -> Option<String> {
    let kv = &event.kv;
    if kv.mod_revision > revision {
        return Some(format!(
            "an event of revision {} in a message of revision {revision}",
            kv.mod_revision
        ));
    }
    let counters = (kv.create_revision, kv.version, kv.lease);
    if event.is_delete && (counters != (0, 0, 0) || !kv.value.is_empty()) {
        return Some(format!("the deletion of {}", describe::key_value(kv)));
    }
    None
}

/// A pair by itself, shown where nothing newer than this can be.
fn alone(operation: &Operation, kv: &KeyValue, newest: i64, report: &mut Report) {
    let KeyValue { create_revision: created, mod_revision: modified, version, .. } = *kv;
    // The empty store has revision 1.
    let is_possible = 2 <= created
        && created <= modified
        && modified <= newest
        && 1 <= version
        && version <= modified - created + 1
        && (version == 1) == (created == modified);
    if !is_possible {
        let text = format!("{} cannot be, at revision {newest}", describe::key_value(kv));
        object("impossible-pair", operation, &text, report);
    }
}

/// A key at a revision is what it was when it was shown first; values may have been left out.
fn together<'a>(
    operation: &'a Operation,
    kv: &'a KeyValue,
    shown: &mut Shown<'a>,
    report: &mut Report,
) {
    let of_key = shown.entry(&kv.key).or_default();
    let (first, by) = *of_key.entry(kv.mod_revision).or_insert((kv, operation));
    let counters = |kv: &KeyValue| (kv.create_revision, kv.version, kv.lease);
    if counters(first) != counters(kv) {
        let text = format!(
            "{} shows {}, {} shows {}",
            describe::operation(by),
            describe::key_value(first),
            describe::operation(operation),
            describe::key_value(kv)
        );
        report.safety("pair-changed", Evidence::of(&[by, operation]), text);
    }
}

/// Versions follow revisions.
fn follow(shown: &Shown<'_>, report: &mut Report) {
    for versions in shown.values() {
        let mut pairs = versions.values();
        let Some(mut before) = pairs.next() else { continue };
        for after in pairs {
            let ((older, by), (newer, operation)) = (before, after);
            let since = newer.mod_revision - older.mod_revision;
            let fits = match newer.create_revision == older.create_revision {
                true => (1..=since).contains(&(newer.version - older.version)),
                false => newer.create_revision > older.mod_revision,
            };
            if !fits {
                let text = format!(
                    "{}, shown by {}, cannot follow {}, shown by {}",
                    describe::key_value(newer),
                    describe::operation(operation),
                    describe::key_value(older),
                    describe::operation(by)
                );
                report.safety("version-order", Evidence::of(&[by, operation]), text);
            }
            before = after;
        }
    }
}
