//! What an answered operation did, step by step: the operations of the branch that a transaction
//! took, nested ones included, each with its part of the reply; and, of any operation, what it may
//! have put.

use std::collections::BTreeSet;

use detsim_reports::record::{
    Blob, Body, Call, Compare, DeleteRange, History, KeyValue, Operation, Operator, Outcome, Put,
    Range, RangeReply, Reply, Target, Txn, TxnOp, TxnOpReply, TxnReply, UNRECORDED,
};

use super::fate::{Fate, fate};
use super::unrecorded::is_partial;
use crate::model::Span;

/// One step of an answered operation, with the revision that its header says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Range { range: &'a Range, reply: &'a RangeReply, revision: i64 },
    Put { put: &'a Put, prev_kv: Option<&'a KeyValue>, revision: i64 },
    Delete { delete: &'a DeleteRange, deleted: i64, prev_kvs: &'a [KeyValue], revision: i64 },
}

impl<'a> Step<'a> {
    /// The revision that its header says.
    pub fn revision(&self) -> i64 {
        match self {
            Step::Range { revision, .. }
            | Step::Put { revision, .. }
            | Step::Delete { revision, .. } => *revision,
        }
    }

    /// Whether it changed something.
    pub fn is_change(&self) -> bool {
        match self {
            Step::Range { .. } => false,
            Step::Put { .. } => true,
            Step::Delete { deleted, .. } => *deleted > 0,
        }
    }

    /// The pairs that it shows, and whether their values may have been left out.
    pub fn kvs(&self) -> (&'a [KeyValue], bool) {
        match self {
            Step::Range { range, reply, .. } => (&reply.kvs, range.keys_only),
            Step::Put { prev_kv, .. } => (prev_kv.map_or(&[], std::slice::from_ref), false),
            Step::Delete { prev_kvs, .. } => (prev_kvs, false),
        }
    }
}

/// Steps in order: one in most operations, which then takes no allocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps<'a> {
    first: Option<Step<'a>>,
    rest: Vec<Step<'a>>,
}

impl<'a> Steps<'a> {
    fn push(&mut self, step: Step<'a>) {
        match self.first {
            None => self.first = Some(step),
            Some(_) => self.rest.push(step),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Step<'a>> + Clone {
        self.first.iter().chain(&self.rest)
    }
}

impl<'a> IntoIterator for Steps<'a> {
    type Item = Step<'a>;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Step<'a>>, std::vec::IntoIter<Step<'a>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

/// All that an answered operation did.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken<'a> {
    /// In order.
    pub steps: Steps<'a>,
    /// The comparisons that held, of the state before it.
    pub held: Vec<&'a Compare>,
}

/// What an operation did; nothing when it has no steps, or its reply is of another kind.
pub(super) fn taken<'a>(call: &'a Call, reply: &'a Reply) -> Taken<'a> {
    let mut taken = Taken::default();
    let revision = reply.header.revision;
    match (call, &reply.body) {
        (Call::Range(range), Body::Range(reply)) => {
            taken.steps.push(Step::Range { range, reply, revision });
        }
        (Call::Put(put), Body::Put { prev_kv }) => {
            taken.steps.push(Step::Put { put, prev_kv: prev_kv.as_ref(), revision });
        }
        (Call::DeleteRange(delete), Body::DeleteRange { deleted, prev_kvs }) => {
            taken.steps.push(Step::Delete { delete, deleted: *deleted, prev_kvs, revision });
        }
        (Call::Txn(txn), Body::Txn(reply)) => taken.txn(txn, reply),
        _ => {}
    }
    taken
}

impl<'a> Taken<'a> {
    fn txn(&mut self, txn: &'a Txn, reply: &'a TxnReply) {
        if reply.succeeded {
            self.held.extend(&txn.compare);
        }
        let ops = if reply.succeeded { &txn.success } else { &txn.failure };
        for pair in ops.iter().zip(&reply.responses) {
            match pair {
                (TxnOp::Range(range), TxnOpReply::Range { revision, reply }) => {
                    self.steps.push(Step::Range { range, reply, revision: *revision });
                }
                (TxnOp::Put(put), TxnOpReply::Put { revision, prev_kv }) => {
                    let prev_kv = prev_kv.as_ref();
                    self.steps.push(Step::Put { put, prev_kv, revision: *revision });
                }
                (
                    TxnOp::DeleteRange(delete),
                    TxnOpReply::DeleteRange { revision, deleted, prev_kvs },
                ) => self.steps.push(Step::Delete {
                    delete,
                    deleted: *deleted,
                    prev_kvs,
                    revision: *revision,
                }),
                (TxnOp::Txn(nested), TxnOpReply::Txn(reply)) => self.txn(nested, reply),
                _ => {}
            }
        }
    }
}

/// The revision at which a comparison that held says the key was modified last: 0 for a key that
/// does not exist.
pub(super) fn compared_version(compare: &Compare) -> Option<i64> {
    if compare.operator != Operator::Equal || !compare.range_end.is_empty() {
        return None;
    }
    match compare.target {
        Target::Mod(modified) => Some(modified),
        Target::Create(0) | Target::Version(0) => Some(0),
        _ => None,
    }
}

/// Whether a range tells all about the keys that it speaks of: which exist, and which do not.
pub(super) fn is_whole(range: &Range, reply: &RangeReply) -> bool {
    let filters = [
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
        range.revision,
    ];
    filters.iter().all(|filter| *filter == 0) && !range.count_only && !reply.more
}

/// Whether a transaction has changed any key, by its reply.
pub(super) fn has_changes(reply: &TxnReply) -> bool {
    reply.responses.iter().any(|response| match response {
        TxnOpReply::Range { .. } => false,
        TxnOpReply::Put { .. } => true,
        TxnOpReply::DeleteRange { deleted, .. } => *deleted > 0,
        TxnOpReply::Txn(reply) => has_changes(reply),
    })
}

/// A put that an operation asked for, in one of its branches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    pub put: &'a Put,
    /// The branch: 0 for the first of the outermost transaction, 1 for its second, others nested.
    pub branch: usize,
    /// The comparisons on which the branch depends; of its own transaction only.
    pub guards: &'a [Compare],
}

/// All puts of a request, in all branches.
pub(super) fn attempts(call: &Call) -> Vec<Attempt<'_>> {
    let mut found = Vec::new();
    each_attempt(call, &mut |attempt| found.push(attempt));
    found
}

/// The same without a list, for passes over all operations.
pub(super) fn each_attempt<'a>(call: &'a Call, visit: &mut impl FnMut(Attempt<'a>)) {
    fn walk<'a>(txn: &'a Txn, branches: &mut usize, visit: &mut impl FnMut(Attempt<'a>)) {
        for (ops, guards) in [(&txn.success, &txn.compare[..]), (&txn.failure, &[])] {
            let branch = *branches;
            *branches += 1;
            for op in ops {
                match op {
                    TxnOp::Put(put) => visit(Attempt { put, branch, guards }),
                    TxnOp::Txn(nested) => walk(nested, branches, visit),
                    TxnOp::Range(_) | TxnOp::DeleteRange(_) => {}
                }
            }
        }
    }
    match call {
        Call::Put(put) => visit(Attempt { put, branch: 0, guards: &[] }),
        Call::Txn(txn) => walk(txn, &mut 0, visit),
        _ => {}
    }
}

/// The spans of keys that a request may delete, in all branches.
pub(super) fn deletions(call: &Call) -> Vec<&DeleteRange> {
    fn walk<'a>(ops: &'a [TxnOp], found: &mut Vec<&'a DeleteRange>) {
        for op in ops {
            match op {
                TxnOp::DeleteRange(delete) => found.push(delete),
                TxnOp::Txn(nested) => {
                    walk(&nested.success, found);
                    walk(&nested.failure, found);
                }
                TxnOp::Range(_) | TxnOp::Put(_) => {}
            }
        }
    }
    let mut found = Vec::new();
    match call {
        Call::DeleteRange(delete) => found.push(delete),
        Call::Txn(txn) => {
            walk(&txn.success, &mut found);
            walk(&txn.failure, &mut found);
        }
        _ => {}
    }
    found
}

/// Whether the operation certainly had no effect.
pub(super) fn is_void(operation: &Operation) -> bool {
    matches!(fate(operation), Fate::Failed | Fate::Refused(_))
}

/// Keys that may vanish: somebody asked for their deletion, or put them with a lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Mortal<'a> {
    deleted: Vec<(&'a Blob, &'a Blob)>,
    leased: Vec<&'a Blob>,
}

impl<'a> Mortal<'a> {
    /// Of a whole history.
    pub fn of(history: &'a History) -> Mortal<'a> {
        let mut mortal = Mortal::default();
        for operation in history.operations.iter().filter(|operation| !is_void(operation)) {
            let spans = deletions(&operation.call);
            mortal.deleted.extend(spans.iter().map(|delete| (&delete.key, &delete.range_end)));
            each_attempt(&operation.call, &mut |attempt| {
                if attempt.put.lease != 0 {
                    mortal.leased.push(&attempt.put.key);
                }
            });
        }
        mortal.deleted.sort_unstable();
        mortal.deleted.dedup();
        mortal.leased.sort_unstable();
        mortal.leased.dedup();
        mortal
    }

    /// Whether the key may vanish.
    pub fn holds(&self, key: &Blob) -> bool {
        self.leased.binary_search(&key).is_ok()
            || self.deleted.iter().any(|(first, end)| Span::new(first, end).holds(key))
    }
}

/// Whether replies tell revisions and counters, as those of other tools do not.
pub(super) fn is_recorded(history: &History) -> bool {
    history.operations.iter().all(|operation| match &operation.outcome {
        Some(Outcome::Ok(reply)) => reply.header.revision != UNRECORDED && !is_partial(&reply.body),
        _ => true,
    })
}

/// The elements of a value that is a list: `[3 1 4]`.
pub(super) fn list(value: &Blob) -> Option<Vec<&[u8]>> {
    let inner = value.0.strip_prefix(b"[")?.strip_suffix(b"]")?;
    Some(inner.split(|byte| *byte == b' ').filter(|element| !element.is_empty()).collect())
}

/// Keys that hold lists which only grow: nobody may delete them, and every put of them is a list,
/// on the condition that the key still is as it was read.
pub(super) fn growing_lists<'a>(history: &'a History, mortal: &Mortal<'_>) -> BTreeSet<&'a Blob> {
    let is_growth = |attempt: &Attempt<'_>| {
        let Attempt { put, guards, .. } = attempt;
        let is_guard = |guard: &Compare| guard.key == put.key && compared_version(guard).is_some();
        guards.iter().any(is_guard) && !put.ignore_value && list(&put.value).is_some()
    };
    let mut lists = BTreeSet::new();
    each_effective_attempt(history, |attempt| {
        if is_growth(&attempt) {
            lists.insert(&attempt.put.key);
        }
    });
    if !lists.is_empty() {
        each_effective_attempt(history, |attempt| {
            if !is_growth(&attempt) {
                lists.remove(&attempt.put.key);
            }
        });
    }
    lists.retain(|key| !mortal.holds(key));
    lists
}

/// Puts of all operations that may have had an effect.
fn each_effective_attempt<'a>(history: &'a History, mut visit: impl FnMut(Attempt<'a>)) {
    for operation in history.operations.iter().filter(|operation| !is_void(operation)) {
        each_attempt(&operation.call, &mut visit);
    }
}
