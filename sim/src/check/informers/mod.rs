//! Informers: clients that list keys, page by page at one revision, watch from the next revision,
//! and go on where a watch ended. Their caches, built again here from what they received, never
//! miss an event, never go back, and hold what the store held at their revision; once faults are
//! over, they hold everything that was acknowledged.
//!
//! Any client that does so is an informer. What it received is judged by itself and against other
//! caches and lists at the same revision; where an order of effects is known, also against that.

mod cache;
mod carried;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, Call, CheckReport, ClientId, History, KeyValue, OpId, Operation, Outcome, Range,
    Severity, Watch, WatchMessage,
};

use self::cache::{Cache, Keys, Listing, Objection};
use super::Checker;
use super::describe;
use super::fate::{Fate, fate, is_one_cluster, is_write};
use super::linearizability::{Basis, Timeline};
use super::report::{Evidence, Report};
use super::watch::{Acknowledged, owed_since};
use crate::model::Span;

pub(super) use carried::check as carried;

/// Checks every informer.
pub(super) fn check(history: &History, timeline: Option<&Timeline>) -> CheckReport {
    let mut report = Report::new(Checker::Informers);
    if !is_one_cluster(history) {
        report.not_checked("informers: several clusters answered, each with keys of its own");
        return report.finish();
    }
    let mut messages: BTreeMap<OpId, Vec<&WatchMessage>> = BTreeMap::new();
    for watched in &history.watched {
        messages.entry(watched.op).or_default().push(&watched.message);
    }
    let mut judge = Judge {
        history,
        timeline: timeline.filter(|timeline| is_certain(timeline, history)),
        acknowledged: Acknowledged::of(history),
        messages,
        sights: BTreeMap::new(),
        tally: Tally::default(),
        report,
    };
    for operations in informers(history).values() {
        judge.informer(operations);
    }
    judge.finish()
}

/// Whether no other order explains what was answered as well: the log's is verified, and an order
/// that was found is the only one where nothing of unknown outcome and no expiry was to be placed.
fn is_certain(timeline: &Timeline, history: &History) -> bool {
    let is_open = |operation: &Operation| {
        matches!(operation.call, Call::LeaseGrant { .. })
            || (is_write(&operation.call) && fate(operation) == Fate::Unknown)
    };
    match timeline.basis {
        Basis::Witness => true,
        Basis::Search => !history.operations.iter().any(is_open),
        Basis::Log => false,
    }
}

/// The operations of each client that watches.
fn informers(history: &History) -> BTreeMap<ClientId, Vec<&Operation>> {
    let watches = |operation: &&Operation| matches!(operation.call, Call::Watch(_));
    let watching = history.operations.iter().filter(watches).map(|operation| operation.client);
    let mut by_client: BTreeMap<ClientId, Vec<&Operation>> =
        watching.map(|client| (client, Vec::new())).collect();
    for operation in &history.operations {
        if let Some(own) = by_client.get_mut(&operation.client) {
            own.push(operation);
        }
    }
    by_client
}

#[derive(Default)]
struct Tally {
    caches: usize,
    watches: usize,
    events: usize,
    compared: usize,
    owed: usize,
}

/// What a cache or a list held at a revision, and whose.
type Sight<'a> = (BTreeMap<Blob, KeyValue>, &'a Operation);

struct Judge<'a> {
    history: &'a History,
    timeline: Option<&'a Timeline>,
    acknowledged: Acknowledged,
    messages: BTreeMap<OpId, Vec<&'a WatchMessage>>,
    sights: BTreeMap<(Keys, i64), Sight<'a>>,
    tally: Tally,
    report: Report,
}

impl<'a> Judge<'a> {
    /// Follows one client.
    fn informer(&mut self, operations: &[&'a Operation]) {
        let mut listing: Option<Listing<'a>> = None;
        let mut cache: Option<Cache<'a>> = None;
        for operation in operations {
            match &operation.call {
                Call::Range(range) => self.page(range, operation, &mut listing),
                Call::Watch(watch) => {
                    let listed = listing.take_if(|listing| begins(watch, listing));
                    cache = match listed {
                        Some(listing) => self.relisted(listing, cache.as_ref()),
                        None => cache.filter(|cache| goes_on(watch, cache)),
                    };
                    if let Some(known) = cache.take() {
                        cache = self.watch(watch, operation, known);
                    }
                }
                _ => {}
            }
        }
    }

    fn object(&mut self, operation: &Operation, objection: Objection) {
        let text = format!("{}: {}", describe::operation(operation), objection.text);
        self.report.safety(objection.rule, Evidence::of(&[operation]), text);
    }

    fn page(&mut self, range: &Range, operation: &'a Operation, listing: &mut Option<Listing<'a>>) {
        let Some(Outcome::Ok(reply)) = &operation.outcome else { return };
        let Body::Range(body) = &reply.body else { return };
        let is_next = listing.as_ref().is_some_and(|listing| listing.is_continued_by(range));
        if !is_next {
            *listing = Listing::begin(range, reply.header.revision, operation);
        }
        let added = listing.as_mut().map(|list| list.add(&body.kvs, body.more, operation));
        if let Some(Err(objection)) = added {
            self.object(operation, objection);
            *listing = None;
        }
    }

    /// A list is complete and a cache begins with it, not behind the one that it replaces.
    fn relisted(&mut self, listing: Listing<'a>, before: Option<&Cache<'a>>) -> Option<Cache<'a>> {
        self.tally.caches += 1;
        let behind = before.filter(|before| {
            before.keys == listing.keys
                && before.known > listing.revision
                && !listing.is_serializable
        });
        if let Some(before) = behind {
            let text = format!(
                "a list is at revision {} after its client's cache was at {}",
                listing.revision, before.known
            );
            self.object(listing.operation, Objection { rule: "went-back", text });
        }
        let cache = Cache::of(listing);
        self.compare(&cache).then_some(cache)
    }

    /// Takes in what a watch received. Nothing is left of a cache that is wrong.
    fn watch(
        &mut self,
        watch: &Watch,
        operation: &'a Operation,
        mut cache: Cache<'a>,
    ) -> Option<Cache<'a>> {
        self.tally.watches += 1;
        cache.operation = operation;
        let events = cache.events;
        let messages = self.messages.remove(&operation.id).unwrap_or_default();
        let is_cancelled = messages.iter().any(|message| message.canceled);
        for message in messages {
            if let Err(objection) = cache.receive(message) {
                self.object(operation, objection);
                return None;
            }
        }
        self.tally.events += cache.events - events;
        if !self.compare(&cache) {
            return None;
        }
        if !is_cancelled {
            self.converged(watch, operation, &cache);
        }
        Some(cache)
    }

    /// Whether the cache holds what others saw at its revision, and what the store held.
    fn compare(&mut self, cache: &Cache<'a>) -> bool {
        let sight = (cache.keys.clone(), cache.known);
        let other = self.sights.entry(sight).or_insert((cache.content.clone(), cache.operation));
        if let Some(difference) = difference(&cache.content, &other.0) {
            let text = format!(
                "{} and {} differ at revision {}: {difference}",
                describe::operation(other.1),
                describe::operation(cache.operation),
                cache.known
            );
            let evidence = Evidence::of(&[other.1, cache.operation]);
            self.report.safety("caches-differ", evidence, text);
            return false;
        }
        let Some(timeline) = self.timeline else { return true };
        let Some(store) = due(timeline, cache) else { return true };
        self.tally.compared += 1;
        let Some(difference) = difference(&cache.content, &store) else { return true };
        let text = format!("the cache is wrong at revision {}: {difference}", cache.known);
        self.object(cache.operation, Objection { rule: "diverged", text });
        false
    }

    /// Once all is well, a cache holds what was acknowledged long enough ago.
    fn converged(&mut self, watch: &Watch, operation: &Operation, cache: &Cache<'a>) {
        let Some(since) = owed_since(self.history, operation, watch) else { return };
        let Some(timeline) = self.timeline else { return };
        self.tally.owed += 1;
        let newest = self.acknowledged.by(since);
        let span = Span::new(&cache.keys.0, &cache.keys.1);
        let missing = timeline.model.changes_between(cache.known + 1, newest);
        if let Some(change) = missing.iter().find(|change| span.holds(&change.kv.key)) {
            let text = format!(
                "{} is at revision {} at the end of the healed run, and has not seen the change of \
                 {:?} at revision {}",
                describe::operation(operation),
                cache.known,
                change.kv.key,
                change.kv.mod_revision
            );
            let evidence = Evidence { at: self.history.ended, ..Evidence::of(&[operation]) };
            self.report.find(Severity::Liveness, "not-converged", evidence, text);
        }
    }

    fn finish(mut self) -> CheckReport {
        let tally = self.tally;
        self.report.checked(tally.caches, "caches of informers, from their lists on");
        self.report.checked(tally.watches, "watches of informers");
        self.report.checked(tally.events, "events taken into caches");
        self.report.checked(tally.compared, "times a cache was held against the state");
        self.report.checked(tally.owed, "caches owed every acknowledged change");
        if self.timeline.is_none() && tally.caches > 0 {
            self.report.not_checked(
                "caches against the state: no order of effects is certain, so that they are held \
                 against each other only",
            );
        }
        self.report.finish()
    }
}

/// Whether a watch begins where a list ended.
fn begins(watch: &Watch, listing: &Listing<'_>) -> bool {
    listing.is_complete
        && is_whole(watch, &listing.keys)
        && watch.start_revision == listing.revision + 1
}

/// Whether a watch begins where a cache is.
fn goes_on(watch: &Watch, cache: &Cache<'_>) -> bool {
    is_whole(watch, &cache.keys) && watch.start_revision == cache.known + 1
}

fn is_whole(watch: &Watch, keys: &Keys) -> bool {
    (&watch.key, &watch.range_end) == (&keys.0, &keys.1) && !watch.no_put && !watch.no_delete
}

/// What a cache should hold at its revision.
fn due(timeline: &Timeline, cache: &Cache<'_>) -> Option<BTreeMap<Blob, KeyValue>> {
    let (key, range_end) = cache.keys.clone();
    let all = Call::Range(Range { key, range_end, ..Range::default() });
    match timeline.model.read_at(&all, cache.known).body {
        Body::Range(reply) => Some(reply.kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect()),
        _ => None,
    }
}

/// The first difference between what is held and what should be.
fn difference(
    held: &BTreeMap<Blob, KeyValue>,
    wanted: &BTreeMap<Blob, KeyValue>,
) -> Option<String> {
    let keys = held.keys().chain(wanted.keys());
    let differs = |key: &&Blob| held.get(*key) != wanted.get(*key);
    let key = keys.filter(differs).min()?;
    let tell = |kv: Option<&KeyValue>| kv.map_or_else(|| "nothing".to_owned(), describe::key_value);
    Some(format!("{} instead of {}", tell(held.get(key)), tell(wanted.get(key))))
}
