//! Histories for tests: a tape that remembers everything and shows what a compacted store would,
//! and the store itself.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::lease::{Lessor, LessorConfig};
use crate::mvcc::watch::History;
use crate::mvcc::{Change, Revision, Store};
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb::KeyValue;
use pb::request_op::Request as Op;

/// A history that a test writes.
pub trait Written: History {
    /// Without changes, at revision 1.
    fn blank() -> Self;

    /// One revision with these writes, if any has an effect.
    fn write(&mut self, writes: &[Write]);

    /// Forgets what readers from `revision` on cannot see, if not now, then later.
    fn compact(&mut self, revision: i64);
}

/// A write of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Key and value.
    Put(Bytes, Bytes),
    /// Key.
    Delete(Bytes),
}

/// All changes ever, and which of them are still kept.
pub struct Tape {
    /// In order, never shortened.
    pub all: Vec<Arc<Change>>,
    kept: Vec<Arc<Change>>,
    versions: BTreeMap<Bytes, Vec<Arc<Change>>>,
    revision: i64,
    compact_revision: i64,
}

impl Written for Tape {
    fn blank() -> Tape {
        Tape {
            all: Vec::new(),
            kept: Vec::new(),
            versions: BTreeMap::new(),
            revision: 1,
            compact_revision: -1,
        }
    }

    fn write(&mut self, writes: &[Write]) {
        let main = self.revision + 1;
        for write in writes {
            let sub = self.all.iter().rev().take_while(|past| past.revision.main == main).count();
            let (key, value) = match write {
                Write::Put(key, value) => (key, Some(value)),
                Write::Delete(key) => (key, None),
            };
            let before = self.last(key, main).filter(|change| !change.is_delete);
            let kv = match (value, before) {
                (None, None) => continue,
                (None, Some(_)) => {
                    KeyValue { key: key.clone(), mod_revision: main, ..KeyValue::default() }
                }
                (Some(value), before) => KeyValue {
                    key: key.clone(),
                    create_revision: before.map_or(main, |change| change.kv.create_revision),
                    mod_revision: main,
                    version: before.map_or(0, |change| change.kv.version) + 1,
                    value: value.clone(),
                    lease: 0,
                },
            };
            let change = Arc::new(Change {
                revision: Revision::new(main, sub as i64),
                is_delete: value.is_none(),
                kv,
                digest: 0,
                trail: 0,
            });
            self.all.push(change.clone());
            self.kept.push(change.clone());
            self.versions.entry(key.clone()).or_default().push(change);
            self.revision = main;
        }
    }

    fn compact(&mut self, revision: i64) {
        assert!(self.compact_revision < revision && revision <= self.revision);
        self.compact_revision = revision;
        let kept = std::mem::take(&mut self.kept);
        let newest = |change: &Arc<Change>| self.last(&change.kv.key, revision) == Some(change);
        self.kept = kept
            .into_iter()
            .filter(|change| {
                let main = change.revision.main;
                main >= revision || (newest(change) && !change.is_delete)
            })
            .collect();
    }
}

impl Tape {
    /// The newest change of a key at a revision, compacted or not.
    pub fn last(&self, key: &[u8], revision: i64) -> Option<&Arc<Change>> {
        let versions = self.versions.get(key)?;
        let count = versions.partition_point(|change| change.revision.main <= revision);
        versions[..count].last()
    }
}

impl History for Tape {
    fn revision(&self) -> i64 {
        self.revision
    }

    fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    fn last_changes(&self) -> &[Arc<Change>] {
        let newest = self.all.last().map_or(0, |change| change.revision.main);
        let count = self.all.iter().rev().take_while(|past| past.revision.main == newest).count();
        &self.all[self.all.len() - count..]
    }

    fn events(&self, from_revision: i64) -> impl Iterator<Item = &Arc<Change>> {
        assert!(from_revision >= self.compact_revision, "history below compaction is not whole");
        let first = self.kept.partition_point(|change| change.revision.main < from_revision);
        self.kept[first..].iter()
    }

    fn kv_at(&self, key: &[u8], revision: i64) -> Option<&Arc<Change>> {
        if revision < self.compact_revision {
            return None;
        }
        self.last(key, revision).filter(|change| !change.is_delete)
    }
}

/// The store, which compacts a little with each write.
pub struct Stored {
    store: Store,
    lessor: Lessor,
}

impl Written for Stored {
    fn blank() -> Stored {
        let retry = Duration::from_secs(7);
        let config = LessorConfig { ttl_seconds_min: 2, retry, checkpoint: false };
        Stored { store: Store::new(), lessor: Lessor::new(config) }
    }

    fn write(&mut self, writes: &[Write]) {
        let op = |write: &Write| match write.clone() {
            Write::Put(key, value) => {
                Op::RequestPut(pb::PutRequest { key, value, ..Default::default() })
            }
            Write::Delete(key) => {
                Op::RequestDeleteRange(pb::DeleteRangeRequest { key, ..Default::default() })
            }
        };
        let success =
            writes.iter().map(|write| pb::RequestOp { request: Some(op(write)) }).collect();
        let request = pb::TxnRequest { success, ..Default::default() };
        self.store.txn(&request, &mut self.lessor).expect("nothing forbids these writes");
        self.store.compact_slice(5);
    }

    fn compact(&mut self, revision: i64) {
        self.store.compact(revision).expect("a revision that can be compacted");
    }
}

impl History for Stored {
    fn revision(&self) -> i64 {
        self.store.revision()
    }

    fn compact_revision(&self) -> i64 {
        self.store.compact_revision()
    }

    fn last_changes(&self) -> &[Arc<Change>] {
        self.store.last_changes()
    }

    fn events(&self, from_revision: i64) -> impl Iterator<Item = &Arc<Change>> {
        self.store.events(from_revision)
    }

    fn kv_at(&self, key: &[u8], revision: i64) -> Option<&Arc<Change>> {
        self.store.kv_at(key, revision)
    }
}
