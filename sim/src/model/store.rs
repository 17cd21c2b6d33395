//! Keys with their whole history: every change ever made, in order, so that any revision can be
//! read. Compaction is a number that the model keeps beside it; nothing is thrown away.
//!
//! Changes can be taken back in reverse order.

use std::collections::BTreeMap;

use detsim_reports::record::{Blob, KeyValue};

use super::Span;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key after it. After a delete only `key` and `mod_revision` are set, as in an event.
    pub kv: KeyValue,
    /// It deleted the key.
    pub is_delete: bool,
}

/// All keys at all revisions.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    changes: Vec<Change>,
    /// Places in `changes` for each key that ever was, ascending.
    keys: BTreeMap<Blob, Vec<u32>>,
    /// The last place for each key that is.
    live: BTreeMap<Blob, u32>,
}

impl Store {
    /// Every change, by revision and within one in the order of execution.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The key as it is.
    pub fn get(&self, key: &Blob) -> Option<&KeyValue> {
        self.live.get(key).map(|&place| &self.changes[place as usize].kv)
    }

    /// The key as it was after `revision`.
    pub fn get_at(&self, key: &Blob, revision: i64) -> Option<&KeyValue> {
        self.newest(self.keys.get(key)?, revision)
    }

    fn newest(&self, places: &[u32], revision: i64) -> Option<&KeyValue> {
        let after =
            places.partition_point(|&at| self.changes[at as usize].kv.mod_revision <= revision);
        let change = &self.changes[places[after.checked_sub(1)?] as usize];
        (!change.is_delete).then_some(&change.kv)
    }

    /// The keys of a span as they are, ascending.
    pub fn range<'a>(&'a self, span: Span<'_>) -> impl Iterator<Item = &'a KeyValue> {
        let bounds = span.bounds();
        bounds
            .into_iter()
            .flat_map(|bounds| self.live.range::<Blob, _>(bounds))
            .map(|(_, &place)| &self.changes[place as usize].kv)
    }

    /// The keys of a span as they were after `revision`, ascending.
    pub fn range_at<'a>(
        &'a self,
        span: Span<'_>,
        revision: i64,
    ) -> impl Iterator<Item = &'a KeyValue> {
        let bounds = span.bounds();
        bounds
            .into_iter()
            .flat_map(|bounds| self.keys.range::<Blob, _>(bounds))
            .filter_map(move |(_, places)| self.newest(places, revision))
    }

    /// All live keys, ascending.
    pub fn live(&self) -> impl Iterator<Item = &KeyValue> {
        self.live.values().map(|&place| &self.changes[place as usize].kv)
    }

    /// Sets a key at a revision.
    pub fn put(&mut self, key: &Blob, value: Blob, lease: i64, revision: i64) {
        let place = self.next_place();
        let before = self.live.get_mut(key).map(|last| std::mem::replace(last, place));
        let (create_revision, version) = match before {
            Some(before) => {
                let kv = &self.changes[before as usize].kv;
                (kv.create_revision, kv.version + 1)
            }
            None => (revision, 1),
        };
        let kv = KeyValue {
            key: key.clone(),
            value,
            create_revision,
            mod_revision: revision,
            version,
            lease,
        };
        self.changes.push(Change { kv, is_delete: false });
        self.note(key, place);
        if before.is_none() {
            self.live.insert(key.clone(), place);
        }
    }

    /// Deletes a live key at a revision.
    pub fn delete(&mut self, key: &Blob, revision: i64) {
        self.live.remove(key).expect("only live keys are deleted");
        let place = self.next_place();
        let kv = KeyValue { key: key.clone(), mod_revision: revision, ..KeyValue::default() };
        self.changes.push(Change { kv, is_delete: true });
        self.note(key, place);
    }

    /// Takes the last change back. Returns the key with the lease that the change gave it and the
    /// lease that it has again, 0 for none.
    pub fn take_back(&mut self) -> (Blob, i64, i64) {
        let change = self.changes.pop().expect("there is a change to take back");
        let key = change.kv.key;
        let places = self.keys.get_mut(&key).expect("a changed key has places");
        places.pop();
        let before = places.last().copied();
        if before.is_none() {
            self.keys.remove(&key);
        }
        let before = before.filter(|&place| !self.changes[place as usize].is_delete);
        let lease = match before {
            Some(place) => {
                self.live.insert(key.clone(), place);
                self.changes[place as usize].kv.lease
            }
            None => {
                self.live.remove(&key);
                0
            }
        };
        (key, change.kv.lease, lease)
    }

    fn next_place(&self) -> u32 {
        u32::try_from(self.changes.len()).expect("a run has fewer than 2^32 changes")
    }

    fn note(&mut self, key: &Blob, place: u32) {
        match self.keys.get_mut(key) {
            Some(places) => places.push(place),
            None => {
                self.keys.insert(key.clone(), vec![place]);
            }
        }
    }
}
