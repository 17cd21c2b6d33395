//! What was seen of each revision, by anybody: keys in replies and events of watches. It guides the
//! search through operations of unknown outcome, and is no part of the verdict: when nothing fits
//! what was seen, the search goes on without it.

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, History, KeyValue, Outcome, TxnOpReply, TxnReply, UNRECORDED,
};

use crate::check::unrecorded::bears_out;
use crate::model::Model;

/// What was seen, by revision and key. `None` for a delete.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    seen: BTreeMap<i64, BTreeMap<Blob, Option<Seen>>>,
    newest: i64,
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
        for operation in &history.operations {
            if let Some(Outcome::Ok(reply)) = &operation.outcome {
                observed.newest = observed.newest.max(reply.header.revision);
                observed.body(&reply.body);
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

    /// Whether the model's newest revision changed what was seen to be changed by it.
    pub fn agrees(&self, model: &Model) -> bool {
        let Some(keys) = self.seen.get(&model.revision()) else { return true };
        let changes = model.changes_at(model.revision());
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
