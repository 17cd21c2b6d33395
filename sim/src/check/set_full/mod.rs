//! Sets: what was added once and never taken away is there for every read that begins later.
//!
//! An element is a key that nobody may delete, or an element of a list that only grows. It is known
//! once its addition was acknowledged or anybody read it. A read that begins later, is not local,
//! and covers it must show it: if a read after that does, the first one was stale, otherwise the
//! element is lost. No element is there twice. Elements that no read covered later are counted, for
//! nobody knows whether they are there.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use detsim_reports::record::{Blob, CheckReport, History, KeyValue, Operation, Range, Time};

use super::Checker;
use super::describe;
use super::fate::{Fate, fate, is_one_cluster, is_serializable_read};
use super::report::{Evidence, Report};
use super::steps::{Mortal, Step, each_attempt, growing_lists, is_whole, list, taken};
use crate::model::Span;

/// A key, or an element of the list that it holds.
type Element<'a> = (&'a Blob, Option<&'a [u8]>);

/// What is known of an element.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    /// Since when.
    since: Time,
    /// From whom.
    by: &'a Operation,
    /// The last read that showed it, and the last that should have.
    present: Option<&'a Operation>,
    absent: Option<&'a Operation>,
}

/// Something that is done when its time has come.
enum Event<'a> {
    /// A read is invoked: everything that is known by now must be in it.
    Look(Look<'a>),
    /// The first operation returned from which this is known.
    Learn(&'a Operation, Element<'a>),
}

/// From whom an element is known first.
#[derive(Default)]
struct Firsts<'a>(BTreeMap<Element<'a>, &'a Operation>);

impl<'a> Firsts<'a> {
    fn learn(&mut self, element: Element<'a>, operation: &'a Operation) {
        let first = self.0.entry(element).or_insert(operation);
        if operation.completed < first.completed {
            *first = operation;
        }
    }
}

/// What a read showed.
struct Look<'a> {
    operation: &'a Operation,
    range: &'a Range,
    /// Ascending.
    elements: Vec<Element<'a>>,
}

/// Checks all keys that nobody may delete.
pub(super) fn check(history: &History) -> CheckReport {
    let mut report = Report::new(Checker::SetFull);
    if !is_one_cluster(history) {
        report.not_checked("elements: replies come from several clusters");
        return report.finish();
    }
    let subjects = Subjects::of(history);
    let mut events: Vec<(Time, usize, Event<'_>)> = Vec::new();
    let mut firsts = Firsts::default();
    let mut learned = Vec::new();
    for operation in &history.operations {
        let Fate::Answered(reply) = fate(operation) else { continue };
        for step in taken(&operation.call, reply).steps {
            match step {
                Step::Put { put, .. } if !put.ignore_value => {
                    subjects.elements(&put.key, &put.value, &mut learned);
                }
                Step::Range { range, reply, .. } => {
                    twice(operation, &reply.kvs, &subjects, &mut report);
                    let elements = subjects.shown(range, &reply.kvs);
                    learned.extend(&elements);
                    if is_whole(range, reply) && !is_serializable_read(&operation.call) {
                        let look = Event::Look(Look { operation, range, elements });
                        events.push((operation.invoked, events.len(), look));
                    }
                }
                Step::Put { .. } | Step::Delete { .. } => {}
            }
        }
        learned.drain(..).for_each(|element| firsts.learn(element, operation));
    }
    for (element, by) in firsts.0 {
        events.push((by.completed, usize::MAX, Event::Learn(by, element)));
    }
    // What is learned at the moment of a read's invocation need not be in it.
    events.sort_by_key(|(at, order, _)| (*at, *order));
    let reads = events.iter().filter(|(.., event)| matches!(event, Event::Look(_))).count();
    let known = follow(events, &subjects);
    judge(&known, &mut report);
    report.checked(reads, &format!("reads of {} elements", known.len()));
    report.finish()
}

/// Whose presence is owed.
struct Subjects<'a> {
    keys: BTreeSet<&'a Blob>,
    lists: BTreeSet<&'a Blob>,
}

impl<'a> Subjects<'a> {
    fn of(history: &'a History) -> Subjects<'a> {
        let mortal = Mortal::of(history);
        let mut keys: BTreeSet<&Blob> = BTreeSet::new();
        for operation in &history.operations {
            each_attempt(&operation.call, &mut |attempt| {
                keys.insert(&attempt.put.key);
            });
        }
        keys.retain(|key| !mortal.holds(key));
        Subjects { keys, lists: growing_lists(history, &mortal) }
    }

    /// The key, and what its list holds.
    fn elements(&self, key: &'a Blob, value: &'a Blob, found: &mut Vec<Element<'a>>) {
        if !self.keys.contains(key) {
            return;
        }
        found.push((key, None));
        if self.lists.contains(key) {
            let items = list(value).unwrap_or_default();
            found.extend(items.into_iter().map(|item| (key, Some(item))));
        }
    }

    /// What a range shows, ascending.
    fn shown(&self, range: &Range, kvs: &'a [KeyValue]) -> Vec<Element<'a>> {
        let mut elements = Vec::new();
        for kv in kvs {
            if range.keys_only && self.keys.contains(&kv.key) {
                elements.push((&kv.key, None));
            } else if !range.keys_only {
                self.elements(&kv.key, &kv.value, &mut elements);
            }
        }
        elements.sort_unstable();
        elements.dedup();
        elements
    }
}

/// No key and no element of a list is there twice.
fn twice(operation: &Operation, kvs: &[KeyValue], subjects: &Subjects<'_>, report: &mut Report) {
    let mut keys = BTreeSet::new();
    for kv in kvs {
        let mut items = BTreeSet::new();
        let listed = subjects.lists.contains(&kv.key).then(|| list(&kv.value)).flatten();
        let again = listed.unwrap_or_default().into_iter().find(|item| !items.insert(*item));
        let what = match again {
            Some(item) => format!("element {} of {:?}", item.escape_ascii(), kv.key),
            None if !keys.insert(&kv.key) => format!("key {:?}", kv.key),
            None => continue,
        };
        let text = format!("{} shows {what} twice", describe::operation(operation));
        report.safety("duplicated-element", Evidence::of(&[operation]), text);
    }
}

/// Goes through what happened in order, and notes of every element who saw it and who did not.
fn follow<'a>(
    events: Vec<(Time, usize, Event<'a>)>,
    subjects: &Subjects<'a>,
) -> BTreeMap<Element<'a>, Known<'a>> {
    let mut known: BTreeMap<Element<'a>, Known<'a>> = BTreeMap::new();
    for (_, _, event) in events {
        match event {
            Event::Learn(by, element) => {
                let since = by.completed;
                known.insert(element, Known { since, by, present: None, absent: None });
            }
            Event::Look(Look { operation, range, elements }) => {
                let span = Span::new(&range.key, &range.range_end);
                let Some((first, last)) = span.bounds() else { continue };
                for key in subjects.keys.range::<Blob, _>((first, last)) {
                    let of_key = (Bound::Included((*key, None)), Bound::Unbounded);
                    let of_key = known.range_mut(of_key).take_while(|(one, _)| one.0 == *key);
                    for (element, known) in of_key {
                        if range.keys_only && element.1.is_some() {
                            continue;
                        }
                        match elements.binary_search(element).is_ok() {
                            true => known.present = Some(operation),
                            false => known.absent = Some(operation),
                        }
                    }
                }
            }
        }
    }
    known
}

/// Says of every element what became of it.
fn judge(known: &BTreeMap<Element<'_>, Known<'_>>, report: &mut Report) {
    let (mut stable, mut unread, mut latest) = (0, 0, Duration::ZERO);
    for ((key, item), known) in known {
        let what = match item {
            Some(item) => format!("element {} of {key:?}", item.escape_ascii()),
            None => format!("key {key:?}"),
        };
        match (known.present, known.absent) {
            (Some(_), None) => stable += 1,
            (None, None) => unread += 1,
            (present, Some(absent)) => {
                let found = present.filter(|present| present.invoked > absent.invoked);
                let text = format!(
                    "{what} was known since {} returned at {} ns, but {}, invoked at {} ns, does \
                     not show it; {}",
                    describe::operation(known.by),
                    known.since.0,
                    describe::operation(absent),
                    absent.invoked.0,
                    match found {
                        Some(found) => format!("op {} does again", found.id.0),
                        None => "no later read does".to_owned(),
                    }
                );
                let rule = if found.is_some() { "stale-element" } else { "lost-element" };
                latest = latest.max(absent.invoked.since(known.since));
                report.safety(rule, Evidence::of(&[known.by, absent]), text);
            }
        }
    }
    report.checked(stable, "elements that every later read shows");
    report.checked(unread, "elements that no later read covered");
    if !latest.is_zero() {
        let what = "ms at most from knowing an element to a read without it";
        report.checked(latest.as_millis() as usize, what);
    }
}
