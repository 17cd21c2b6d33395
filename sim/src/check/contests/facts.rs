//! What replies and events show of contests, each fact with its revision and the operation that
//! shows it.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{
    Blob, Body, Call, Compare, History, KeyValue, Operation, Operator, Put, Range, Reply,
    SortOrder, SortTarget, Target, Time, Txn, TxnOp, TxnOpReply,
};

use super::{Kind, prefix_of};
use crate::check::fate::{Fate, fate};
use crate::check::steps::{Step, attempts, has_changes, taken};
use crate::model::Span;

/// A revision and what shows it.
type Shown<'a> = (i64, &'a Operation);

/// A contender's key while it existed.
#[derive(Debug)]
pub(super) struct Tenure<'a> {
    /// The contest's.
    pub prefix: Blob,
    pub key: Blob,
    /// Its token.
    pub create_revision: i64,
    /// Revisions at which it was there.
    pub present: Vec<Shown<'a>>,
    /// Revisions of writes that compared the token and went through.
    pub fenced: Vec<Shown<'a>>,
}

impl<'a> Tenure<'a> {
    /// An operation that knows of it.
    pub fn shown_by(&self) -> Option<&'a Operation> {
        self.present.first().or(self.fenced.first()).map(|&(_, operation)| operation)
    }
}

/// Nobody under the prefix had a token of these at a revision.
#[derive(Debug)]
pub(super) struct Vacancy<'a> {
    pub prefix: Blob,
    pub from: i64,
    pub to: i64,
    pub revision: i64,
    pub operation: &'a Operation,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    pub tenures: Vec<Tenure<'a>>,
    pub vacancies: Vec<Vacancy<'a>>,
    /// Acknowledged entries, with their tokens.
    pub entered: Vec<(&'a Operation, i64)>,
    /// When answers about contests arrived, and their revisions.
    pub seen: Vec<(Time, i64, &'a Operation)>,
    /// Revisions at which a contender's key was not there.
    absent: BTreeMap<Blob, Vec<Shown<'a>>>,
    places: BTreeMap<(Blob, i64), usize>,
    /// The prefixes of contests.
    contests: BTreeSet<Blob>,
    /// The prefix of each contender's key.
    prefixes: BTreeMap<Blob, Blob>,
    /// Each lease's contender keys, if no put may have taken the key from its lease.
    by_lease: BTreeMap<i64, Vec<Blob>>,
    /// Fenced puts of unknown outcome, by key and value.
    doubtful: BTreeMap<(Blob, Blob), (Blob, i64, &'a Operation)>,
    /// Versions whose value a put kept: they do not tell who put it first.
    copies: BTreeSet<(&'a Blob, i64)>,
    /// Keys whose value a put of unknown outcome may have kept, nobody knows at which revision.
    kept: BTreeSet<&'a Blob>,
}

impl<'a> Facts<'a> {
    /// From a history, of contests of one kind.
    pub fn of(history: &'a History, kind: Kind) -> Facts<'a> {
        let mut facts = Facts::default();
        facts.recognise(history, kind);
        if facts.contests.is_empty() {
            return facts;
        }
        facts.tell_copies(history);
        for operation in &history.operations {
            match fate(operation) {
                Fate::Answered(reply) => facts.answered(operation, reply),
                Fate::Unknown => facts.doubt(operation),
                Fate::Refused(_) | Fate::Failed => {}
            }
        }
        facts.observe(history);
        facts
    }

    /// When the tenure had ended, at the latest, and what shows it.
    pub fn end_of(&self, tenure: &Tenure<'a>) -> Option<Shown<'a>> {
        let absent = self.absent.get(&tenure.key).map_or(&[][..], Vec::as_slice);
        let absent = absent.iter().copied().filter(|(at, _)| *at >= tenure.create_revision);
        let next = (tenure.key.clone(), tenure.create_revision + 1);
        let again = self.places.range(next..).next().filter(|((key, _), _)| *key == tenure.key);
        let again = again.and_then(|((_, create_revision), &place)| {
            Some((*create_revision, self.tenures[place].shown_by()?))
        });
        absent.chain(again).min_by_key(|(revision, _)| *revision)
    }

    /// Learns which keys are contenders'.
    fn recognise(&mut self, history: &'a History, kind: Kind) {
        let mut elections: BTreeSet<Blob> = BTreeSet::new();
        let mut found: Vec<(Blob, Blob, i64)> = Vec::new();
        let mut others: Vec<&Blob> = Vec::new();
        for put in history.operations.iter().flat_map(|operation| puts(&operation.call)) {
            let Some(prefix) = prefix_of(&put.key, put.lease) else {
                others.push(&put.key);
                continue;
            };
            if !put.value.is_empty() {
                elections.insert(prefix.clone());
            }
            found.push((put.key.clone(), prefix, put.lease));
        }
        for (key, prefix, lease) in found {
            if elections.contains(&prefix) != (kind == Kind::Election) {
                continue;
            }
            self.contests.insert(prefix.clone());
            if self.prefixes.insert(key.clone(), prefix).is_none() {
                self.by_lease.entry(lease).or_default().push(key);
            }
        }
        others.retain(|key| self.prefixes.contains_key(*key));
        let taken: BTreeSet<&Blob> = others.into_iter().collect();
        self.by_lease.values_mut().for_each(|keys| keys.retain(|key| !taken.contains(key)));
    }

    fn tenure(&mut self, key: &Blob, create_revision: i64) -> Option<&mut Tenure<'a>> {
        let prefix = self.prefixes.get(key)?;
        let place = *self.places.entry((key.clone(), create_revision)).or_insert_with(|| {
            self.tenures.push(Tenure {
                prefix: prefix.clone(),
                key: key.clone(),
                create_revision,
                present: Vec::new(),
                fenced: Vec::new(),
            });
            self.tenures.len() - 1
        });
        Some(&mut self.tenures[place])
    }

    fn present(&mut self, key: &Blob, create_revision: i64, at: i64, operation: &'a Operation) {
        if let Some(tenure) = self.tenure(key, create_revision) {
            tenure.present.push((at, operation));
        }
    }

    fn absent(&mut self, key: &Blob, at: i64, operation: &'a Operation) {
        if self.prefixes.contains_key(key) {
            self.absent.entry(key.clone()).or_default().push((at, operation));
        }
    }

    fn see(&mut self, operation: &'a Operation, revision: i64) {
        self.seen.push((operation.completed, revision, operation));
    }

    fn answered(&mut self, operation: &'a Operation, reply: &'a Reply) {
        let revision = reply.header.revision;
        match (&operation.call, &reply.body) {
            (Call::Range(range), Body::Range(body)) => {
                let at = if range.revision > 0 { range.revision } else { revision };
                self.range(range, &body.kvs, at, operation);
            }
            (Call::DeleteRange(delete), Body::DeleteRange { .. })
                if delete.range_end.is_empty() && self.prefixes.contains_key(&delete.key) =>
            {
                self.absent(&delete.key, revision, operation);
                self.see(operation, revision);
            }
            (Call::LeaseRevoke { id }, _) => {
                for key in self.by_lease.get(id).cloned().unwrap_or_default() {
                    self.absent(&key, revision, operation);
                }
            }
            (Call::Txn(txn), Body::Txn(body)) => {
                let ops = if body.succeeded { &txn.success } else { &txn.failure };
                self.compared(txn, body.succeeded, has_changes(body), operation, reply);
                for (place, (op, response)) in ops.iter().zip(&body.responses).enumerate() {
                    let is_last =
                        ops[place + 1..].iter().all(|later| matches!(later, TxnOp::Range(_)));
                    match (op, response) {
                        (TxnOp::Range(range), TxnOpReply::Range { reply, .. })
                            if is_last && range.revision == 0 =>
                        {
                            self.range(range, &reply.kvs, revision, operation);
                        }
                        (TxnOp::DeleteRange(delete), _)
                            if is_last && delete.range_end.is_empty() =>
                        {
                            self.absent(&delete.key, revision, operation);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// A single comparison of a contender's create revision tells whether it was there.
    fn compared(
        &mut self,
        txn: &'a Txn,
        succeeded: bool,
        is_changing: bool,
        operation: &'a Operation,
        reply: &Reply,
    ) {
        let [compare] = txn.compare.as_slice() else { return };
        let Some((key, token)) = fence(compare) else { return };
        if !self.prefixes.contains_key(key) {
            return;
        }
        let revision = reply.header.revision;
        self.see(operation, revision);
        match (succeeded, token) {
            (true, 0) => {
                let takes = |op: &TxnOp| matches!(op, TxnOp::Put(put) if put.key == *key);
                if txn.success.iter().any(takes) {
                    self.present(key, revision, revision, operation);
                    self.entered.push((operation, revision));
                }
            }
            (true, token) => {
                // What it compared was there before what it wrote.
                let at = revision - i64::from(is_changing);
                let writes = txn.success.iter().any(|op| matches!(op, TxnOp::Put(_)));
                if let Some(tenure) = self.tenure(key, token) {
                    let shown = if writes { &mut tenure.fenced } else { &mut tenure.present };
                    shown.push((at, operation));
                }
            }
            (false, 0) => {}
            (false, _) if !is_changing => {
                // The key may be there with another token, which the other branch shows.
                if shows_nothing(txn, key, reply) {
                    self.absent(key, revision, operation);
                }
            }
            (false, _) => {}
        }
    }

    fn range(&mut self, range: &Range, kvs: &[KeyValue], at: i64, operation: &'a Operation) {
        if range.count_only {
            return;
        }
        let span = Span::new(&range.key, &range.range_end);
        let mut concerns = false;
        for kv in kvs {
            self.present(&kv.key, kv.create_revision, at, operation);
            concerns |= self.prefixes.contains_key(&kv.key);
            self.doubted(kv);
        }
        let is_filtered = range.min_mod_revision > 0
            || range.max_mod_revision > 0
            || range.min_create_revision > 0;
        if is_filtered {
            return;
        }
        if let Span::One(key) = span {
            if kvs.is_empty() && range.max_create_revision == 0 {
                self.absent(key, at, operation);
            }
        } else if self.contests.contains(&range.key) && is_whole(&range.key, &range.range_end) {
            concerns = true;
            self.vacant(range, kvs, at, operation);
        }
        if concerns && range.revision == 0 && !range.serializable {
            self.see(operation, at);
        }
    }

    /// Who comes first, or last before somebody, leaves no room for others.
    fn vacant(&mut self, range: &Range, kvs: &[KeyValue], at: i64, operation: &'a Operation) {
        if range.sort_target != SortTarget::Create {
            return;
        }
        let top = if range.max_create_revision > 0 { range.max_create_revision } else { at };
        let (from, to) = match (range.sort_order, kvs.first()) {
            (_, None) => (0, top),
            (SortOrder::Ascend, Some(first)) => (0, first.create_revision - 1),
            (SortOrder::Descend, Some(first)) => (first.create_revision + 1, top),
            (SortOrder::None, Some(_)) => return,
        };
        let prefix = range.key.clone();
        self.vacancies.push(Vacancy { prefix, from, to, revision: at, operation });
    }

    /// Learns which versions are copies of the ones before them.
    fn tell_copies(&mut self, history: &'a History) {
        for operation in &history.operations {
            let keeping = attempts(&operation.call).into_iter().map(|attempt| attempt.put);
            let mut keeping = keeping.filter(|put| put.ignore_value).peekable();
            match fate(operation) {
                _ if keeping.peek().is_none() => {}
                Fate::Answered(reply) => {
                    for step in taken(&operation.call, reply).steps {
                        if let Step::Put { put, revision, .. } = step
                            && put.ignore_value
                        {
                            self.copies.insert((&put.key, revision));
                        }
                    }
                }
                Fate::Unknown => self.kept.extend(keeping.map(|put| &put.key)),
                Fate::Refused(_) | Fate::Failed => {}
            }
        }
    }

    /// A fenced write that may not have taken effect is remembered by what it wrote.
    fn doubt(&mut self, operation: &'a Operation) {
        let Call::Txn(txn) = &operation.call else { return };
        let [compare] = txn.compare.as_slice() else { return };
        let Some((key, token @ 1..)) = fence(compare) else { return };
        if !self.prefixes.contains_key(key) {
            return;
        }
        for op in &txn.success {
            if let TxnOp::Put(put) = op
                && !put.ignore_value
                && !self.kept.contains(&put.key)
            {
                let written = (put.key.clone(), put.value.clone());
                self.doubtful.insert(written, (key.clone(), token, operation));
            }
        }
    }

    /// What was seen may be what a doubtful write wrote.
    fn doubted(&mut self, kv: &KeyValue) {
        if self.copies.contains(&(&kv.key, kv.mod_revision)) {
            return;
        }
        let written = (kv.key.clone(), kv.value.clone());
        if let Some((key, token, operation)) = self.doubtful.get(&written).cloned()
            && let Some(tenure) = self.tenure(&key, token)
        {
            tenure.fenced.push((kv.mod_revision - 1, operation));
        }
    }

    fn observe(&mut self, history: &'a History) {
        // Doubtful writes stand before or after the reads that saw them.
        for operation in &history.operations {
            if let (Call::Range(_), Fate::Answered(reply)) = (&operation.call, fate(operation))
                && let Body::Range(body) = &reply.body
            {
                body.kvs.iter().for_each(|kv| self.doubted(kv));
            }
        }
        for watched in &history.watched {
            let Some(operation) = history.operations.get(watched.op.0 as usize) else { continue };
            for event in &watched.message.events {
                let kv = &event.kv;
                if event.is_delete {
                    self.absent(&kv.key, kv.mod_revision, operation);
                } else {
                    self.present(&kv.key, kv.create_revision, kv.mod_revision, operation);
                    self.doubted(kv);
                }
                if let Some(before) = &event.prev_kv {
                    let at = kv.mod_revision - 1;
                    self.present(&before.key, before.create_revision, at, operation);
                }
            }
        }
    }
}

/// The puts of a request, in whichever branch.
fn puts(call: &Call) -> Vec<&Put> {
    match call {
        Call::Put(put) => vec![put],
        Call::Txn(txn) => puts_of(txn),
        _ => Vec::new(),
    }
}

fn puts_of(txn: &Txn) -> Vec<&Put> {
    let ops = txn.success.iter().chain(&txn.failure);
    let puts = ops.flat_map(|op| match op {
        TxnOp::Put(put) => vec![put],
        TxnOp::Txn(nested) => puts_of(nested),
        _ => Vec::new(),
    });
    puts.collect()
}

/// A comparison that a key's create revision equals something.
fn fence(compare: &Compare) -> Option<(&Blob, i64)> {
    match compare.target {
        Target::Create(revision)
            if compare.operator == Operator::Equal && compare.range_end.is_empty() =>
        {
            Some((&compare.key, revision))
        }
        _ => None,
    }
}

/// Whether the branch that was taken reads the key and finds nothing.
fn shows_nothing(txn: &Txn, key: &Blob, reply: &Reply) -> bool {
    let Body::Txn(body) = &reply.body else { return false };
    txn.failure.iter().zip(&body.responses).any(|pair| match pair {
        (TxnOp::Range(range), TxnOpReply::Range { reply, .. }) => {
            range.key == *key && range.range_end.is_empty() && reply.kvs.is_empty()
        }
        _ => false,
    })
}

/// Whether the span is exactly what begins with a contest's prefix.
fn is_whole(key: &Blob, range_end: &Blob) -> bool {
    let Some(name) = key.0.strip_suffix(b"/") else { return false };
    range_end.0.len() == key.0.len()
        && range_end.0.starts_with(name)
        && range_end.0.last() == Some(&(b'/' + 1))
}
