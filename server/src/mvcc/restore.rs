//! A store from the pairs of a `key` bucket, when a member starts or installs a snapshot.

use bytes::{Bytes, BytesMut};
use prost::Message;
use std::collections::VecDeque;
use std::sync::Arc;

use super::apply::{Known, digests_of};
use super::change::Change;
use super::compaction::Compaction;
use super::history::History;
use super::revision::Revision;
use super::store::Store;
use crate::lease::Lessor;
use crate::planted::Defect;
use crate::proto::mvccpb::KeyValue;

/// Names of keys are copied into pieces of so many bytes: not slices of the rows, which would stay
/// in memory as long as the keys do.
const NAMES_BYTES: usize = 4_096;

/// So many rows are digested side by side.
const ROWS: usize = 4;

/// So many keys are held back, more than a node of the tree has.
const HELD_BACK: usize = 32;

/// A `key` bucket that no store can have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A key that is not a revision.
    #[error("key bucket has a key of {0} bytes that is not a revision")]
    Key(usize),
    /// A revision that does not follow the one before it.
    #[error("key bucket has revision {found:?} after {last:?}")]
    Order {
        /// The revision.
        found: Revision,
        /// The one before it.
        last: Revision,
    },
    /// A value that is not a key-value pair.
    #[error("key bucket has a value at revision {0:?} that is not a key-value pair")]
    Value(Revision),
}

/// A store in the making: give it all pairs of the bucket in order, then `finish`.
#[derive(Debug)]
pub struct Restore {
    store: Store,
    scheduled: i64,
    last: Revision,
    /// The greatest key so far.
    greatest: Option<Bytes>,
    /// Room for names of keys.
    names: BytesMut,
    /// Keys that were put with a lease.
    leased: Vec<Bytes>,
    /// Rows that are not in the history yet.
    read: Vec<Row>,
    /// First changes of keys that are not among the keys yet.
    held_back: VecDeque<Arc<Change>>,
    /// Whether the next key that is greater than all others is held back.
    is_odd: bool,
}

/// A row that was read.
#[derive(Debug)]
struct Row {
    revision: Revision,
    is_delete: bool,
    kv: KeyValue,
}

impl Restore {
    /// Into a store that nothing was applied to. `finished` and `scheduled` are what the `meta`
    /// bucket has under `finishedCompactRev` and `scheduledCompactRev`. A compaction that was
    /// scheduled and not finished is resumed.
    pub fn new(mut store: Store, finished: Option<i64>, scheduled: Option<i64>) -> Restore {
        let finished = finished.unwrap_or(-1);
        store.state.compact_revision = finished;
        store.finished_compact_revision = finished;
        Restore {
            store,
            scheduled: scheduled.unwrap_or(-1),
            last: Revision::default(),
            greatest: None,
            names: BytesMut::new(),
            leased: Vec::new(),
            read: Vec::with_capacity(ROWS),
            held_back: VecDeque::new(),
            is_odd: false,
        }
    }

    /// Adds a pair, whose value goes on sharing the buffer that it is given in. A value of no
    /// bytes is legal: a bumped revision has it.
    pub fn pair(&mut self, key: &[u8], value: Bytes) -> Result<(), RestoreError> {
        let (revision, is_delete) =
            Revision::from_bucket_key(key).ok_or(RestoreError::Key(key.len()))?;
        if revision <= self.last {
            return Err(RestoreError::Order { found: revision, last: self.last });
        }
        self.last = revision;
        let mut kv = KeyValue::decode(value).map_err(|_| RestoreError::Value(revision))?;
        if is_delete {
            kv.mod_revision = revision.main;
        }
        self.read.push(Row { revision, is_delete, kv });
        if self.read.len() == ROWS {
            self.add_rows();
        }
        Ok(())
    }

    /// Adds the rows that were read to the history.
    fn add_rows(&mut self) {
        let mut rows = std::mem::take(&mut self.read);
        let mut digests = [None; ROWS];
        if let [a, b, c, d] = &rows[..] {
            let pairs = [a, b, c, d].map(|row| (&row.kv, row.is_delete));
            digests = digests_of(pairs).map(Some);
        }
        for (row, digest) in rows.drain(..).zip(digests) {
            self.add_row(row, digest);
        }
        self.read = rows;
    }

    fn add_row(&mut self, row: Row, digest: Option<u64>) {
        let Row { revision, is_delete, mut kv } = row;
        let name = std::mem::take(&mut kv.key);
        let is_first = self.greatest.as_ref().is_none_or(|greatest| greatest[..] < name[..]);
        if !is_first {
            self.add_held_back(0);
        }
        if is_delete
            && self.store.defect.is(Defect::MvccRestoreDropTombstone)
            && (is_first || !self.store.state.keys.contains_key(&name[..]))
        {
            return;
        }
        let known = Known { first: is_first.then(|| self.copy_name(&name)), digest };
        let change =
            self.store.append(revision, is_delete, &name, known, |key, _| KeyValue { key, ..kv });
        if change.kv.lease != 0 {
            self.leased.push(change.kv.key.clone());
        }
        if is_first {
            self.add_key(change);
        }
        if revision.main <= self.store.state.compact_revision {
            self.store.trail_compacted = self.store.trail;
        }
    }

    /// Adds a key that is greater than all others. Every second one is held back for a while: where
    /// keys only ascend a tree's nodes stay half empty, and so the others fill them.
    fn add_key(&mut self, first: Arc<Change>) {
        self.greatest = Some(first.kv.key.clone());
        self.is_odd = !self.is_odd;
        if self.is_odd {
            self.store.state.keys.insert(first.kv.key.clone(), History::new(first));
        } else {
            self.held_back.push_back(first);
            self.add_held_back(HELD_BACK);
        }
    }

    /// Adds keys that were held back until so many are left.
    fn add_held_back(&mut self, left: usize) {
        while self.held_back.len() > left
            && let Some(first) = self.held_back.pop_front()
        {
            self.store.state.keys.insert(first.kv.key.clone(), History::new(first));
        }
    }

    fn copy_name(&mut self, name: &[u8]) -> Bytes {
        if self.names.capacity() < name.len() {
            self.names = BytesMut::with_capacity(NAMES_BYTES.max(name.len()));
        }
        self.names.extend_from_slice(name);
        self.names.split().freeze()
    }

    /// The store. Its keys are attached to those of their leases that `lessor` has.
    pub fn finish(mut self, lessor: &mut Lessor) -> Store {
        self.add_rows();
        self.add_held_back(0);
        let Restore { mut store, scheduled, last, mut leased, .. } = self;
        let finished = store.state.compact_revision;
        store.state.revision = match store.defect.is(Defect::MvccRevFromRows) {
            true => last.main.max(finished).max(1),
            false => last.main.max(finished).max(scheduled).max(1),
        };
        if scheduled > finished {
            store.begin_compaction(Compaction::resumed(finished, scheduled));
        }
        leased.sort_unstable();
        leased.dedup();
        for history in leased.iter().filter_map(|key| store.state.keys.get(key)) {
            let newest = history.newest();
            if newest.kv.lease != 0 && lessor.exists(newest.kv.lease) {
                lessor.attach(newest.kv.lease, &newest.kv.key);
            }
        }
        store
    }
}
