//! What was seen of each revision, by anybody: keys in replies and events of watches; and between
//! which revisions a key cannot have changed, because a reply shows the same change before and
//! after, or because a watch that was told everything was not told of it. It guides the search
//! through operations of unknown outcome, and is no part of the verdict: when nothing fits what was
//! seen, the search goes on without it.

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, Call, History, KeyValue, OpId, Outcome, TxnOpReply, TxnReply, UNRECORDED, Watch,
    WatchMessage,
};

use crate::check::unrecorded::bears_out;
use crate::check::watch::told_up_to;
use crate::model::{Change, Model, Span};

/// What was seen, by revision and key. `None` for a delete.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    seen: BTreeMap<i64, BTreeMap<Blob, Option<Seen>>>,
    newest: i64,
    /// For each key, the revisions in which it did not change.
    unchanged: BTreeMap<Blob, Stretches>,
    /// For each key and range end that was watched, the revisions of which every change was told.
    told: BTreeMap<(Blob, Blob), Stretches>,
    /// At which revision a key was seen to take a value; `None` where it did so twice.
    values: BTreeMap<Blob, BTreeMap<Blob, Option<i64>>>,
}

/// Stretches of revisions, first and last, that neither overlap nor touch.
#[derive(Clone, Debug, Default)]
struct Stretches(BTreeMap<i64, i64>);

impl Stretches {
    fn add(&mut self, mut first: i64, mut last: i64) {
        if first > last {
            return;
        }
        while let Some((&from, &to)) = self.0.range(..=last.saturating_add(1)).next_back()
            && to.saturating_add(1) >= first
        {
            (first, last) = (first.min(from), last.max(to));
            self.0.remove(&from);
        }
        self.0.insert(first, last);
    }

    fn holds(&self, revision: i64) -> bool {
        self.0.range(..=revision).next_back().is_some_and(|(_, last)| *last >= revision)
    }
}

#[derive(Clone, Debug)]
struct Seen {
    kv: KeyValue,
    /// The value was left out.
    is_stripped: bool,
}

impl Observed {
    /// All that a history shows.
    pub fn of(history: &History) -> Observed {
        let mut observed = Observed::default();
        let mut watches: BTreeMap<OpId, (&Watch, i64)> = BTreeMap::new();
        for operation in &history.operations {
            if let Some(Outcome::Ok(reply)) = &operation.outcome {
                observed.newest = observed.newest.max(reply.header.revision);
                observed.body(&reply.body);
                if let (Call::Range(range), Body::Range(body)) = (&operation.call, &reply.body) {
                    let at =
                        if range.revision > 0 { range.revision } else { reply.header.revision };
                    body.kvs.iter().for_each(|kv| observed.unchanged(kv, at));
                }
            }
            if let Call::Watch(watch) = &operation.call
                && !watch.no_put
                && !watch.no_delete
            {
                watches.insert(operation.id, (watch, watch.start_revision));
            }
        }
        for watched in &history.watched {
            for event in &watched.message.events {
                if event.is_delete {
                    observed.note(event.kv.mod_revision, &event.kv.key, None);
                } else {
                    observed.key_value(&event.kv, false);
                }
            }
            if let Some((watch, next)) = watches.get_mut(&watched.op) {
                observed.told(watch, next, &watched.message);
            }
        }
        observed
    }

    /// The newest revision that anybody saw.
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// Whether anybody saw a change of this revision.
    pub fn shows(&self, revision: i64) -> bool {
        self.seen.contains_key(&revision)
    }

    /// A key that was put at the revision, if one was seen.
    pub fn put_at(&self, revision: i64) -> Option<&Blob> {
        let keys = self.seen.get(&revision)?;
        keys.iter().find(|(_, seen)| seen.is_some()).map(|(key, _)| key)
    }

    /// Whether the model's newest revision changed what was seen to be changed by it, and nothing
    /// that cannot have changed then.
    pub fn agrees(&self, model: &Model) -> bool {
        let revision = model.revision();
        let changes = model.changes_at(revision);
        if changes.iter().any(|change| self.rules_out(change, revision)) {
            return false;
        }
        let Some(keys) = self.seen.get(&revision) else { return true };
        keys.iter().all(|(key, seen)| {
            let mut of_key = changes.iter().filter(|change| change.kv.key == *key);
            of_key.any(|change| match seen {
                None => change.is_delete,
                Some(Seen { kv, is_stripped: false }) => {
                    !change.is_delete && bears_out(&change.kv, kv)
                }
                Some(Seen { kv, is_stripped: true }) => {
                    let stripped = KeyValue { value: Blob::default(), ..change.kv.clone() };
                    !change.is_delete && bears_out(&stripped, kv)
                }
            })
        })
    }

    /// Whether this change cannot have come at this revision.
    fn rules_out(&self, change: &Change, revision: i64) -> bool {
        let key = &change.kv.key;
        if self.seen.get(&revision).is_some_and(|keys| keys.contains_key(key)) {
            return false;
        }
        let is_untold = || {
            self.told.iter().any(|((start, end), told)| {
                Span::new(start, end).holds(key) && told.holds(revision)
            })
        };
        let is_elsewhere = || {
            let known = self.values.get(key).and_then(|values| values.get(&change.kv.value));
            !change.is_delete && matches!(known, Some(Some(_)))
        };
        let is_unchanged = self.unchanged.get(key).is_some_and(|it| it.holds(revision));
        is_unchanged || is_elsewhere() || is_untold()
    }

    /// A key that was found at a revision has not changed since its own.
    fn unchanged(&mut self, kv: &KeyValue, at: i64) {
        if kv.mod_revision != UNRECORDED && at != UNRECORDED {
            self.unchanged.entry(kv.key.clone()).or_default().add(kv.mod_revision + 1, at);
        }
    }

    /// A message says that all changes from `next` on are told up to its last one.
    fn told(&mut self, watch: &Watch, next: &mut i64, message: &WatchMessage) {
        if message.created && *next == 0 {
            *next = message.revision + 1;
        }
        let Some(last) = told_up_to(message) else { return };
        if *next > 0 && last >= *next {
            let watched = (watch.key.clone(), watch.range_end.clone());
            self.told.entry(watched).or_default().add(*next, last);
            *next = last + 1;
        }
    }

    fn body(&mut self, body: &Body) {
        match body {
            Body::Range(reply) => self.key_values(&reply.kvs, true),
            Body::Put { prev_kv: Some(kv) } => self.key_value(kv, false),
            Body::DeleteRange { prev_kvs, .. } => self.key_values(prev_kvs, false),
            Body::Txn(reply) => self.txn(reply),
            _ => {}
        }
    }

    fn txn(&mut self, reply: &TxnReply) {
        for response in &reply.responses {
            match response {
                TxnOpReply::Range { reply, .. } => self.key_values(&reply.kvs, true),
                TxnOpReply::Put { prev_kv: Some(kv), .. } => self.key_value(kv, false),
                TxnOpReply::Put { prev_kv: None, .. } => {}
                TxnOpReply::DeleteRange { prev_kvs, .. } => self.key_values(prev_kvs, false),
                TxnOpReply::Txn(reply) => self.txn(reply),
            }
        }
    }

    fn key_values(&mut self, kvs: &[KeyValue], may_be_stripped: bool) {
        for kv in kvs {
            self.key_value(kv, may_be_stripped);
        }
    }

    /// An empty value of a range may have been left out on request.
    fn key_value(&mut self, kv: &KeyValue, may_be_stripped: bool) {
        if kv.mod_revision == UNRECORDED {
            return;
        }
        let is_stripped = may_be_stripped && kv.value.is_empty();
        self.note(kv.mod_revision, &kv.key, Some(Seen { kv: kv.clone(), is_stripped }));
    }

    /// What shows more is kept; of contradictions, the first.
    fn note(&mut self, revision: i64, key: &Blob, seen: Option<Seen>) {
        self.newest = self.newest.max(revision);
        if let Some(Seen { kv, is_stripped: false }) = &seen {
            let values = self.values.entry(key.clone()).or_default();
            let known = values.entry(kv.value.clone()).or_insert(Some(revision));
            *known = known.filter(|known| *known == revision);
        }
        let keys = self.seen.entry(revision).or_default();
        match keys.get_mut(key) {
            None => {
                keys.insert(key.clone(), seen);
            }
            Some(known) => {
                let is_stripped = known.as_ref().is_some_and(|known| known.is_stripped);
                if is_stripped && seen.as_ref().is_some_and(|seen| !seen.is_stripped) {
                    *known = seen;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_that_touch_or_overlap_are_one() {
        let mut stretches = Stretches::default();
        for (first, last) in [(10, 12), (20, 25), (5, 4), (13, 13), (18, 22), (1, 3)] {
            stretches.add(first, last);
        }
        let all: Vec<(i64, i64)> = stretches.0.clone().into_iter().collect();
        assert_eq!(all, [(1, 3), (10, 13), (18, 25)]);
        stretches.add(2, 30);
        assert_eq!(stretches.0.into_iter().collect::<Vec<_>>(), [(1, 30)]);
    }

    #[test]
    fn a_stretch_holds_its_first_and_last_revision() {
        let mut stretches = Stretches::default();
        stretches.add(5, 7);
        let held: Vec<i64> = (4..9).filter(|at| stretches.holds(*at)).collect();
        assert_eq!(held, [5, 6, 7]);
    }
}
