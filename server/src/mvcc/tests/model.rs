//! The store as the contract describes it, without any cleverness: a list of all changes that
//! were ever made, walked from the start for every answer.

use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

use crate::api::ApiError;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::mvccpb::KeyValue;

/// A change: its revision, its key, and the pair unless it is a delete.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) main: i64,
    pub(super) sub: i64,
    pub(super) key: Bytes,
    pub(super) put: Option<KeyValue>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) entries: Vec<Entry>,
    pub(super) revision: i64,
    pub(super) compacted: i64,
    pub(super) hashes: Vec<(i64, i64, u32)>,
    pub(super) leases: BTreeSet<i64>,
}

fn within(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == start,
        [0] => key >= start,
        _ => key >= start && key < end,
    }
}

impl Model {
    pub(super) fn new() -> Model {
        let leases = BTreeSet::from([7, 8]);
        Model { entries: Vec::new(), revision: 1, compacted: -1, hashes: Vec::new(), leases }
    }

    fn live(&self, revision: i64) -> BTreeMap<Bytes, KeyValue> {
        let mut live = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.main <= revision) {
            match &entry.put {
                Some(kv) => live.insert(entry.key.clone(), kv.clone()),
                None => live.remove(&entry.key),
            };
        }
        live
    }

    pub(super) fn kv_at(&self, key: &[u8], revision: i64) -> Option<KeyValue> {
        if revision < self.compacted { None } else { self.live(revision).get(key).cloned() }
    }

    fn selected(&self, revision: i64, start: &[u8], end: &[u8]) -> Vec<KeyValue> {
        let live = self.live(revision);
        live.into_values().filter(|kv| within(&kv.key, start, end)).collect()
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader { revision: self.revision, ..Default::default() })
    }

    pub(super) fn run(&mut self, request: &Request) -> Result<Response, ApiError> {
        let before = self.clone();
        Ok(match request {
            Request::RequestRange(range) => Response::ResponseRange(self.range(range)?),
            Request::RequestPut(put) => {
                if put.lease != 0 && !self.leases.contains(&put.lease) {
                    return Err(ApiError::LeaseNotFound);
                }
                before.check_put(put)?;
                Response::ResponsePut(self.put(&before, put))
            }
            Request::RequestDeleteRange(delete) => {
                Response::ResponseDeleteRange(self.delete(&before, delete))
            }
            Request::RequestTxn(txn) => {
                before.check_txn(txn)?;
                let mut response = self.txn(&before, txn);
                response.header = self.header();
                Response::ResponseTxn(Box::new(response))
            }
        })
    }

    fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        let revision = if request.revision <= 0 { self.revision } else { request.revision };
        if revision > self.revision {
            return Err(ApiError::FutureRevision);
        }
        if revision < self.compacted {
            return Err(ApiError::Compacted);
        }
        let mut kvs = self.selected(revision, &request.key, &request.range_end);
        let mut response = pb::RangeResponse {
            header: self.header(),
            count: kvs.len() as i64,
            ..Default::default()
        };
        if request.count_only {
            return Ok(response);
        }
        type Bound = (fn(&KeyValue) -> i64, i64, i64);
        let bounds: [Bound; 2] = [
            (|kv| kv.mod_revision, request.min_mod_revision, request.max_mod_revision),
            (|kv| kv.create_revision, request.min_create_revision, request.max_create_revision),
        ];
        let mut is_filtered = false;
        for (field, min, max) in bounds {
            is_filtered |= min != 0 || max != 0;
            kvs.retain(|kv| (min == 0 || field(kv) >= min) && (max == 0 || field(kv) <= max));
        }
        let limit = if request.limit <= 0 { usize::MAX } else { request.limit as usize };
        if request.sort_order() == SortOrder::None && !is_filtered {
            kvs.truncate(limit.saturating_add(1));
        }
        match request.sort_target() {
            SortTarget::Key => kvs.sort_by(|a, b| a.key.cmp(&b.key)),
            SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
            SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
            SortTarget::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
            SortTarget::Value => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
        }
        if request.sort_order() == SortOrder::Descend {
            kvs = descending(kvs, request.sort_target());
        }
        response.more = kvs.len() > limit;
        kvs.truncate(limit);
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        response.kvs = kvs;
        Ok(response)
    }

    fn change(&mut self, before: &Model, key: &Bytes, put: Option<KeyValue>) {
        self.revision = before.revision + 1;
        let sub = (self.entries.len() - before.entries.len()) as i64;
        self.entries.push(Entry { main: self.revision, sub, key: key.clone(), put });
    }

    fn check_put(&self, request: &pb::PutRequest) -> Result<(), ApiError> {
        let ignores = request.ignore_value || request.ignore_lease;
        if ignores && !self.live(self.revision).contains_key(&request.key) {
            return Err(ApiError::KeyNotFound);
        }
        if request.lease != 0 && !self.leases.contains(&request.lease) {
            return Err(ApiError::LeaseNotFound);
        }
        Ok(())
    }

    fn put(&mut self, before: &Model, request: &pb::PutRequest) -> pb::PutResponse {
        let old = self.live(self.revision).get(&request.key).cloned();
        let mod_revision = before.revision + 1;
        let mut kv = KeyValue {
            key: request.key.clone(),
            value: request.value.clone(),
            create_revision: mod_revision,
            mod_revision,
            version: 1,
            lease: request.lease,
        };
        if let Some(old) = &old {
            kv.create_revision = old.create_revision;
            kv.version = old.version + 1;
            kv.value = if request.ignore_value { old.value.clone() } else { kv.value };
            kv.lease = if request.ignore_lease { old.lease } else { kv.lease };
        }
        self.change(before, &request.key, Some(kv));
        let prev_kv = if request.prev_kv { old } else { None };
        pb::PutResponse { header: self.header(), prev_kv }
    }

    fn delete(
        &mut self,
        before: &Model,
        request: &pb::DeleteRangeRequest,
    ) -> pb::DeleteRangeResponse {
        let old = self.selected(self.revision, &request.key, &request.range_end);
        for kv in &old {
            self.change(before, &kv.key, None);
        }
        pb::DeleteRangeResponse {
            header: self.header(),
            deleted: old.len() as i64,
            prev_kvs: if request.prev_kv { old } else { Vec::new() },
        }
    }

    /// Deletes the keys of a lease, and the lease.
    pub(super) fn revoke(&mut self, lease: i64) {
        let before = self.clone();
        for kv in before.live(before.revision).into_values().filter(|kv| kv.lease == lease) {
            self.change(&before, &kv.key, None);
        }
        self.leases.remove(&lease);
    }

    fn taken<'a>(&self, txn: &'a pb::TxnRequest) -> (bool, &'a [pb::RequestOp]) {
        let holds = txn.compare.iter().all(|compare| self.holds(compare));
        (holds, if holds { &txn.success } else { &txn.failure })
    }

    fn check_txn(&self, txn: &pb::TxnRequest) -> Result<(), ApiError> {
        for op in self.taken(txn).1 {
            match op.request.as_ref().expect("an operation has a request") {
                Request::RequestRange(range) => {
                    if range.revision != 0 && range.revision < self.compacted {
                        return Err(ApiError::Compacted);
                    }
                    if range.revision > self.revision {
                        return Err(ApiError::FutureRevision);
                    }
                }
                Request::RequestPut(put) => self.check_put(put)?,
                Request::RequestDeleteRange(_) => {}
                Request::RequestTxn(txn) => self.check_txn(txn)?,
            }
        }
        Ok(())
    }

    fn txn(&mut self, before: &Model, txn: &pb::TxnRequest) -> pb::TxnResponse {
        let (succeeded, ops) = before.taken(txn);
        let mut responses = Vec::new();
        for op in ops {
            let response = match op.request.as_ref().expect("an operation has a request") {
                Request::RequestRange(range) => {
                    Response::ResponseRange(self.range(range).expect("it is checked"))
                }
                Request::RequestPut(put) => Response::ResponsePut(self.put(before, put)),
                Request::RequestDeleteRange(delete) => {
                    Response::ResponseDeleteRange(self.delete(before, delete))
                }
                Request::RequestTxn(txn) => Response::ResponseTxn(Box::new(self.txn(before, txn))),
            };
            responses.push(pb::ResponseOp { response: Some(response) });
        }
        pb::TxnResponse { header: Some(pb::ResponseHeader::default()), succeeded, responses }
    }

    fn holds(&self, compare: &pb::Compare) -> bool {
        let mut kvs = self.selected(self.revision, &compare.key, &compare.range_end);
        if kvs.is_empty() {
            if compare.target() == CompareTarget::Value {
                return false;
            }
            kvs.push(KeyValue::default());
        }
        kvs.iter().all(|kv| {
            let ordering = match compare.target_union.as_ref().expect("a value to compare with") {
                TargetUnion::Version(given) => kv.version.cmp(given),
                TargetUnion::CreateRevision(given) => kv.create_revision.cmp(given),
                TargetUnion::ModRevision(given) => kv.mod_revision.cmp(given),
                TargetUnion::Value(given) => kv.value.cmp(given),
                TargetUnion::Lease(given) => kv.lease.cmp(given),
            };
            match compare.result() {
                CompareResult::Equal => ordering.is_eq(),
                CompareResult::Greater => ordering.is_gt(),
                CompareResult::Less => ordering.is_lt(),
                CompareResult::NotEqual => ordering.is_ne(),
            }
        })
    }

    pub(super) fn compact(&mut self, revision: i64) -> Result<(), ApiError> {
        if revision <= self.compacted {
            return Err(ApiError::Compacted);
        }
        if revision > self.revision {
            return Err(ApiError::FutureRevision);
        }
        let hash = self.hash(revision);
        self.hashes.push((revision, self.compacted, hash));
        self.compacted = revision;
        Ok(())
    }

    /// Revisions of the newest put of each key that is live at `revision`.
    fn keep(&self, revision: i64) -> BTreeSet<i64> {
        self.live(revision).values().map(|kv| kv.mod_revision).collect()
    }

    /// What a database holds after complete compactions.
    fn physical(&self) -> Vec<&Entry> {
        let keep = self.keep(self.compacted);
        let stays = |entry: &&Entry| {
            entry.main > self.compacted
                || (entry.main == self.compacted && entry.put.is_none())
                || (keep.contains(&entry.main)
                    && self.live(self.compacted).get(&entry.key).map(|kv| kv.mod_revision)
                        == Some(entry.main))
        };
        self.entries.iter().filter(stays).collect()
    }

    /// The four rules of the contract, over what a database holds.
    pub(super) fn hash(&self, revision: i64) -> u32 {
        let keep = self.live(revision);
        let mut bytes = b"key".to_vec();
        for entry in self.physical() {
            let is_kept = keep.get(&entry.key).is_some_and(|kv| kv.mod_revision == entry.main);
            let is_future = entry.main > revision;
            let is_scheduled = entry.main <= self.compacted && !keep.is_empty() && !is_kept;
            let is_tombstone = entry.put.is_none() && entry.main == self.compacted;
            if is_future || is_scheduled || is_tombstone {
                continue;
            }
            bytes.extend(entry.main.to_be_bytes());
            bytes.push(b'_');
            bytes.extend(entry.sub.to_be_bytes());
            match &entry.put {
                Some(kv) => bytes.extend(kv.encode_to_vec()),
                None => {
                    bytes.push(b't');
                    bytes.extend(
                        KeyValue { key: entry.key.clone(), ..KeyValue::default() }.encode_to_vec(),
                    );
                }
            }
        }
        crc32c::crc32c(&bytes)
    }
}

/// Descending, with ties in key order: neither contract nor client relies on the order of ties.
fn descending(kvs: Vec<KeyValue>, target: SortTarget) -> Vec<KeyValue> {
    let mut groups: Vec<Vec<KeyValue>> = Vec::new();
    for kv in kvs {
        let is_tie = |group: &&mut Vec<KeyValue>| match target {
            SortTarget::Key => false,
            SortTarget::Version => group[0].version == kv.version,
            SortTarget::Create => group[0].create_revision == kv.create_revision,
            SortTarget::Mod => group[0].mod_revision == kv.mod_revision,
            SortTarget::Value => group[0].value == kv.value,
        };
        match groups.last_mut().filter(is_tie) {
            Some(group) => group.push(kv),
            None => groups.push(vec![kv]),
        }
    }
    groups.into_iter().rev().flatten().collect()
}
