//! A store from the pairs of a `key` bucket, when a member starts or installs a snapshot.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::compaction::Compaction;
use super::revision::Revision;
use super::store::Store;
use crate::lease::Lessor;
use crate::planted::Defect;
use crate::proto::mvccpb::KeyValue;

/// Names of keys are copied into pieces of so many bytes: not slices of the rows, which would stay
/// in memory as long as the keys do.
const NAMES_BYTES: usize = 4_096;

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
        let name = std::mem::take(&mut kv.key);
        if is_delete
            && self.store.defect.is(Defect::MvccRestoreDropTombstone)
            && !self.store.state.keys.contains_key(&name[..])
        {
            return Ok(());
        }
        let is_first = self.greatest.as_ref().is_none_or(|greatest| greatest[..] < name[..]);
        let first = is_first.then(|| self.copy_name(&name));
        let change = self.store.append(revision, is_delete, &name, first, |key, _| {
            let mod_revision = if is_delete { revision.main } else { kv.mod_revision };
            KeyValue { key, mod_revision, ..kv }
        });
        if is_first {
            self.greatest = Some(change.kv.key.clone());
        }
        if change.kv.lease != 0 {
            self.leased.push(change.kv.key.clone());
        }
        if revision.main <= self.store.state.compact_revision {
            self.store.trail_compacted = self.store.trail;
        }
        Ok(())
    }

    fn copy_name(&mut self, name: &[u8]) -> Bytes {
        if self.names.capacity() < name.len() {
            self.names = BytesMut::with_capacity(NAMES_BYTES.max(name.len()));
        }
        self.names.extend_from_slice(name);
        self.names.split().freeze()
    }

    /// The store. Its keys are attached to those of their leases that `lessor` has.
    pub fn finish(self, lessor: &mut Lessor) -> Store {
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
