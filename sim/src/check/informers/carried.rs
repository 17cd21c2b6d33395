//! Caches that are carried from one cluster to the next, which began from a snapshot of it. What a
//! client knows from before, the restored cluster need not have had: a cache that goes on at a
//! revision which the cluster has not reached waits silently for others' revisions, and one that
//! goes on later holds what never was. Where revisions were raised and all below is compacted, its
//! watch is refused, and its client lists again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use detsim_reports::record::{
    Body, Call, CheckReport, ClientId, History, OpId, Operation, Outcome, Range, Severity, Time,
    Watch, WatchMessage, Watched,
};

use super::cache::{Cache, Listing};
use super::{begins, difference, due, goes_on, informers, is_certain};
use crate::check::Checker;
use crate::check::describe;
use crate::check::eras::{Owners, begun_at};
use crate::check::linearizability::Timeline;
use crate::check::report::{Evidence, Report};

/// Follows every informer through all clusters of a run; `timelines` are theirs.
pub(in crate::check) fn check(
    history: &History,
    owners: &Owners<'_>,
    timelines: &[Option<&Timeline>],
) -> CheckReport {
    let mut received: BTreeMap<OpId, Vec<&Watched>> = BTreeMap::new();
    for watched in &history.watched {
        received.entry(watched.op).or_default().push(watched);
    }
    let certain = |timeline: &&Timeline| is_certain(timeline, history);
    let mut judge = Judge {
        history,
        owners,
        timelines: timelines.iter().map(|timeline| timeline.filter(certain)).collect(),
        received,
        tally: Tally::default(),
        report: Report::new(Checker::Informers),
    };
    for (client, operations) in &informers(history) {
        judge.informer(*client, operations);
    }
    judge.finish()
}

#[derive(Default)]
struct Tally {
    carried: usize,
    refused: usize,
    listed: usize,
    compared: usize,
}

/// A cache, and the cluster that it is of.
struct Known<'a> {
    cache: Cache<'a>,
    era: usize,
    /// The cluster that it was listed from.
    listed_in: usize,
}

struct Judge<'a> {
    history: &'a History,
    owners: &'a Owners<'a>,
    /// Those that are certain, by era.
    timelines: Vec<Option<&'a Timeline>>,
    received: BTreeMap<OpId, Vec<&'a Watched>>,
    tally: Tally,
    report: Report,
}

/// A list under way, and of which cluster.
type Pages<'a> = Option<(usize, Listing<'a>)>;

impl<'a> Judge<'a> {
    fn informer(&mut self, client: ClientId, operations: &[&'a Operation]) {
        let mut pages: Pages<'a> = None;
        let mut known: Option<Known<'a>> = None;
        let mut refused: Option<(Time, &'a Operation)> = None;
        for operation in operations {
            let era = self.owners.era(operation);
            match &operation.call {
                Call::Range(range) => {
                    page(range, operation, era, &mut pages);
                    let is_whole = pages.as_ref().is_some_and(|(_, list)| list.is_complete);
                    if is_whole && refused.take().is_some() {
                        self.tally.listed += 1;
                    }
                }
                Call::Watch(watch) => {
                    let begun = pages.take_if(|(_, listing)| begins(watch, listing));
                    known = match begun {
                        Some((era, listing)) => {
                            Some(Known { cache: Cache::of(listing), era, listed_in: era })
                        }
                        None => known.filter(|known| goes_on(watch, &known.cache)),
                    };
                    let Some(before) = known.take() else { continue };
                    let is_refused = self.refusal(operation);
                    known = self.watch(watch, operation, era, before, is_refused);
                    refused = is_refused.map(|at| (at, *operation)).or(refused);
                }
                _ => {}
            }
        }
        if let Some((at, operation)) = refused {
            self.owes_a_list(client, at, operation, operations);
        }
    }

    /// When a watch of a carried cache was cancelled because history is gone.
    fn refusal(&self, operation: &Operation) -> Option<Time> {
        let gone =
            |watched: &&&Watched| watched.message.canceled && watched.message.compact_revision > 0;
        self.received.get(&operation.id)?.iter().find(gone).map(|watched| watched.at)
    }

    /// A cache goes on with a watch.
    fn watch(
        &mut self,
        watch: &Watch,
        operation: &'a Operation,
        era: usize,
        mut known: Known<'a>,
        refused: Option<Time>,
    ) -> Option<Known<'a>> {
        let messages = self.received.remove(&operation.id).unwrap_or_default();
        let created = messages.iter().find(|watched| watched.message.created);
        let is_new = known.era < era;
        if let (true, Some(created)) = (is_new, created) {
            self.tally.carried += 1;
            if refused.is_some() {
                self.tally.refused += 1;
                return None;
            }
            if self.is_ahead(watch, operation, era, &created.message)
                || self.is_overlooked(watch, operation, era, &messages)
            {
                return None;
            }
        }
        if created.is_some() {
            known.era = era;
        }
        known.cache.operation = operation;
        let is_carried = known.listed_in < known.era;
        for watched in &messages {
            // What is wrong with messages as such is told by the check of each cluster.
            if known.cache.receive(&watched.message).is_err() {
                if is_carried {
                    self.differs(operation, &known, "what arrives does not fit it".to_owned());
                }
                return None;
            }
        }
        (!is_carried || self.fits(operation, &known)).then_some(known)
    }

    /// A watch goes on at a revision that its cluster has not reached.
    fn is_ahead(
        &mut self,
        watch: &Watch,
        operation: &Operation,
        era: usize,
        created: &WatchMessage,
    ) -> bool {
        let known = watch.start_revision - 1;
        let Some(begun) = begun_at(self.history, era).filter(|begun| known > *begun) else {
            return false;
        };
        if created.revision >= known {
            return false;
        }
        let text = format!(
            "{} goes on with a cache that is at revision {known}, and is accepted by a restored \
             cluster that began at revision {begun} and is at {}: it waits for revisions that \
             others have had",
            describe::operation(operation),
            created.revision
        );
        self.report.safety("ahead-of-cluster", Evidence::of(&[operation]), text);
        true
    }

    /// A watch needs what was compacted with the restore, and is served.
    fn is_overlooked(
        &mut self,
        watch: &Watch,
        operation: &Operation,
        era: usize,
        messages: &[&Watched],
    ) -> bool {
        let restored = &self.history.restored[era - 1];
        let Some(begun) = begun_at(self.history, era).filter(|_| restored.bumped > 0) else {
            return false;
        };
        let is_served =
            messages.iter().any(|it| it.message.progress || !it.message.events.is_empty());
        if watch.start_revision > begun || !is_served {
            return false;
        }
        let text = format!(
            "{} is served from revision {}, although all below revision {begun} was compacted with \
             the restore",
            describe::operation(operation),
            watch.start_revision
        );
        self.report.safety("not-refused", Evidence::of(&[operation]), text);
        true
    }

    /// Whether a carried cache holds what its new cluster holds.
    fn fits(&mut self, operation: &Operation, known: &Known<'a>) -> bool {
        let Some(timeline) = self.timelines.get(known.era).copied().flatten() else { return true };
        if known.cache.known > timeline.model.revision() {
            return true;
        }
        let Some(store) = due(timeline, &known.cache) else { return true };
        self.tally.compared += 1;
        match difference(&known.cache.content, &store) {
            Some(difference) => {
                self.differs(operation, known, difference);
                false
            }
            None => true,
        }
    }

    fn differs(&mut self, operation: &Operation, known: &Known<'_>, difference: String) {
        let text = format!(
            "{} goes on with a cache of another cluster, which at revision {} is not what the \
             restored one holds: {difference}",
            describe::operation(operation),
            known.cache.known
        );
        self.report.safety("stale-cache", Evidence::of(&[operation]), text);
    }

    /// An informer that was refused lists again, once all is well.
    fn owes_a_list(
        &mut self,
        client: ClientId,
        at: Time,
        operation: &Operation,
        operations: &[&Operation],
    ) {
        let Some(healed) = self.history.healed else { return };
        let within = Duration::from_millis(self.history.settings.recovery_within_ms);
        let until = Time(at.max(healed).0.saturating_add(within.as_nanos() as u64));
        if self.history.ended < until || !operations.iter().any(|it| it.invoked >= until) {
            return;
        }
        let text = format!(
            "{} was refused because history is gone, and client {} has not listed again within {} \
             ms",
            describe::operation(operation),
            client.0,
            self.history.settings.recovery_within_ms
        );
        self.report.find(Severity::Liveness, "not-listed-again", Evidence::of(&[operation]), text);
    }

    fn finish(mut self) -> CheckReport {
        let tally = self.tally;
        self.report.checked(tally.carried, "caches carried to a restored cluster");
        self.report.checked(tally.refused, "of them refused, because history is gone there");
        self.report.checked(tally.listed, "lists after a refusal");
        self.report.checked(tally.compared, "times a carried cache was held against the state");
        self.report.finish()
    }
}

/// Takes a page into the list that it continues, or begins one with it. A list does not go on from
/// one cluster to the next.
fn page<'a>(range: &Range, operation: &'a Operation, era: usize, pages: &mut Pages<'a>) {
    let Some(Outcome::Ok(reply)) = &operation.outcome else { return };
    let Body::Range(body) = &reply.body else { return };
    let is_next =
        pages.as_ref().is_some_and(|(of, list)| *of == era && list.is_continued_by(range));
    if !is_next {
        *pages = Listing::begin(range, reply.header.revision, operation).map(|list| (era, list));
    }
    let added = pages.as_mut().map(|(_, list)| list.add(&body.kvs, body.more, operation));
    if let Some(Err(_)) = added {
        *pages = None;
    }
}
