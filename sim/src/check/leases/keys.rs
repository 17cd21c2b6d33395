//! The keys of leases: they go when it goes, all in the same revision.
//!
//! The revision of an end is known from the revoke that was acknowledged, or from a watch that saw
//! a key of the lease deleted by nobody else. What a client may have deleted tells nothing.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{
    Blob, Body, Call, Event, History, KeyValue, OpId, Operation, Time, TxnOpReply, TxnReply,
};

use super::life::Life;
use crate::check::describe;
use crate::check::fate::{Fate, fate};
use crate::check::report::{Evidence, Report};
use crate::check::steps::{deletions, each_attempt};
use crate::model::Span;

/// A key of a lease, there at a revision.
struct Present<'a> {
    revision: i64,
    key: &'a Blob,
    operation: &'a Operation,
}

/// A lease's end at a revision.
struct Ended<'a> {
    revision: i64,
    how: String,
    operation: &'a Operation,
}

/// What the history shows of the keys of leases.
pub(super) struct Keys<'a> {
    present: BTreeMap<i64, Vec<Present<'a>>>,
    ended: BTreeMap<i64, Vec<Ended<'a>>>,
}

impl<'a> Keys<'a> {
    /// From reads, revokes and the events of watches.
    pub fn of(history: &'a History) -> Keys<'a> {
        let mut keys = Keys { present: BTreeMap::new(), ended: BTreeMap::new() };
        for operation in &history.operations {
            let Fate::Answered(reply) = fate(operation) else { continue };
            match (&operation.call, &reply.body) {
                (Call::Range(range), Body::Range(body)) => {
                    let at =
                        if range.revision > 0 { range.revision } else { reply.header.revision };
                    keys.see(&body.kvs, at, operation);
                }
                (Call::LeaseRevoke { id }, _) => keys.ended.entry(*id).or_default().push(Ended {
                    revision: reply.header.revision,
                    how: describe::operation(operation),
                    operation,
                }),
                _ => {}
            }
        }
        keys.watched(history);
        keys
    }

    fn see(&mut self, kvs: &'a [KeyValue], revision: i64, operation: &'a Operation) {
        for kv in kvs.iter().filter(|kv| kv.lease != 0) {
            let present = Present { revision, key: &kv.key, operation };
            self.present.entry(kv.lease).or_default().push(present);
        }
    }

    fn watched(&mut self, history: &'a History) {
        let deletes = Deletes::of(history);
        for watched in &history.watched {
            let Some(operation) = history.operations.get(watched.op.0 as usize) else { continue };
            for event in &watched.message.events {
                if event.kv.lease != 0 {
                    self.see(std::slice::from_ref(&event.kv), event.kv.mod_revision, operation);
                }
                self.deleted(event, operation, watched.at, &deletes);
            }
        }
    }

    fn deleted(
        &mut self,
        event: &Event,
        operation: &'a Operation,
        at: Time,
        deletes: &Deletes<'_>,
    ) {
        let Some(before) = event.prev_kv.as_ref().filter(|kv| event.is_delete && kv.lease != 0)
        else {
            return;
        };
        let revision = event.kv.mod_revision;
        if deletes.may_have(&event.kv.key, revision, at) {
            return;
        }
        let how = format!("nobody deleted {:?}, which went at revision {revision}", event.kv.key);
        self.ended.entry(before.lease).or_default().push(Ended { revision, how, operation });
    }

    /// Holds ends against each other and against what was there.
    pub fn check(&self, lives: &[Life<'_>], report: &mut Report) {
        let mut ends = 0;
        for life in lives.iter().filter(|life| life.is_only) {
            let Some(ended) = self.ended.get(&life.id) else { continue };
            let Some(first) = ended.iter().min_by_key(|ended| ended.revision) else { continue };
            ends += 1;
            let Some(last) = ended.iter().max_by_key(|ended| ended.revision) else { continue };
            if last.revision != first.revision {
                let text = format!(
                    "lease {} ended at two revisions, {} and {}: {}; {}",
                    life.id, first.revision, last.revision, first.how, last.how
                );
                let evidence = Evidence::of(&[first.operation, last.operation]);
                report.safety("partial-revoke", evidence, text);
            }
            let present = self.present.get(&life.id).map_or(&[][..], Vec::as_slice);
            for present in present.iter().filter(|present| present.revision >= first.revision) {
                let text = format!(
                    "lease {} ended at revision {} ({}), yet {} shows its key {:?} at revision {}",
                    life.id,
                    first.revision,
                    first.how,
                    describe::operation(present.operation),
                    present.key,
                    present.revision
                );
                let evidence = Evidence::of(&[first.operation, present.operation]);
                report.safety("keys-outlive-lease", evidence, text);
            }
        }
        report.checked(ends, "ends of leases whose revision is known, held against their keys");
    }
}

/// What clients may have deleted.
struct Deletes<'a> {
    /// Revisions at which an acknowledged request deleted something.
    revisions: BTreeMap<i64, OpId>,
    /// Requests of unknown outcome, since when.
    doubtful: Vec<(Time, Span<'a>)>,
}

impl<'a> Deletes<'a> {
    fn of(history: &'a History) -> Deletes<'a> {
        let mut deletes = Deletes { revisions: BTreeMap::new(), doubtful: Vec::new() };
        for operation in &history.operations {
            let has_deleted = match fate(operation) {
                Fate::Answered(reply) => match &reply.body {
                    Body::DeleteRange { deleted, .. } => *deleted > 0,
                    Body::Txn(txn) => deletes_something(txn),
                    _ => false,
                },
                Fate::Unknown => {
                    let spans = deletions(&operation.call).into_iter();
                    let spans = spans.map(|delete| Span::new(&delete.key, &delete.range_end));
                    deletes.doubtful.extend(spans.map(|span| (operation.invoked, span)));
                    false
                }
                Fate::Refused(_) | Fate::Failed => false,
            };
            if let (true, Fate::Answered(reply)) = (has_deleted, fate(operation)) {
                deletes.revisions.insert(reply.header.revision, operation.id);
            }
        }
        deletes
    }

    /// Whether a client may have deleted the key at this revision, which was seen by then.
    fn may_have(&self, key: &Blob, revision: i64, by: Time) -> bool {
        self.revisions.contains_key(&revision)
            || self.doubtful.iter().any(|(since, span)| *since <= by && span.holds(key))
    }
}

fn deletes_something(txn: &TxnReply) -> bool {
    txn.responses.iter().any(|response| match response {
        TxnOpReply::DeleteRange { deleted, .. } => *deleted > 0,
        TxnOpReply::Txn(txn) => deletes_something(txn),
        TxnOpReply::Range { .. } | TxnOpReply::Put { .. } => false,
    })
}

/// The keys that puts attached to leases, in whichever branch, with whatever outcome.
pub(super) fn attachments(history: &History) -> BTreeSet<(i64, &Blob)> {
    let mut attachments = BTreeSet::new();
    for operation in &history.operations {
        each_attempt(&operation.call, &mut |attempt| {
            if attempt.put.lease != 0 {
                attachments.insert((attempt.put.lease, &attempt.put.key));
            }
        });
    }
    attachments
}
