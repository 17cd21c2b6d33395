//! Puts, deletes and transactions. What could fail is checked before anything is changed, so a
//! request that fails has no effect, and fails alike on every member.

use bytes::Bytes;
use std::array;
use std::sync::Arc;

use super::change::Change;
use super::digest::Digest;
use super::history::History;
use super::keys::KeyRange;
use super::range;
use super::revision::Revision;
use super::store::Store;
use super::txn::{self, Path};
use super::written::Written;
use crate::api::ApiError;
use crate::lease::Lessor;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::mvccpb::KeyValue;

/// A transaction with more comparisons and operations than this does not share its buffer with
/// the values it puts: one small value would keep all of it in memory.
const SHARED_TXN_SIZE_MAX: usize = 3;

/// What is known of a change before it is added to the history.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its key, where it is known to be the first of it. The history of that key is left to whoever
    /// knows.
    pub first: Option<Bytes>,
    /// Its digest.
    pub digest: Option<u64>,
}

/// What is the same for all operations of one request.
#[derive(Clone, Copy, Debug)]
struct Execution {
    /// The revision before the request.
    begin: i64,
    /// Whether anybody waits for the reply on this member.
    is_answered: bool,
    /// Whether values may share the request's buffer.
    shares_values: bool,
}

impl Store {
    /// Applies a put.
    pub fn put(
        &mut self,
        request: &pb::PutRequest,
        lessor: &mut Lessor,
    ) -> Result<pb::PutResponse, ApiError> {
        if request.lease != 0 && !lessor.exists(request.lease) {
            return Err(ApiError::LeaseNotFound);
        }
        let needs_previous = request.ignore_value || request.ignore_lease;
        if needs_previous && self.state.live(&request.key).is_none() {
            return Err(ApiError::KeyNotFound);
        }
        let execution = self.begin();
        self.spend(1);
        Ok(self.execute_put(request, lessor, execution))
    }

    /// Applies a delete.
    pub fn delete_range(
        &mut self,
        request: &pb::DeleteRangeRequest,
        lessor: &mut Lessor,
    ) -> Result<pb::DeleteRangeResponse, ApiError> {
        let execution = self.begin();
        Ok(self.execute_delete(request, lessor, execution))
    }

    /// Applies a transaction: all of its taken path, or nothing.
    pub fn txn(
        &mut self,
        request: &pb::TxnRequest,
        lessor: &mut Lessor,
    ) -> Result<pb::TxnResponse, ApiError> {
        self.apply_txn(request, lessor, self.begin())
    }

    /// Applies a transaction whose reply nobody waits for on this member: its effect and its
    /// error are the same, but its ranges are not read.
    pub fn txn_unanswered(
        &mut self,
        request: &pb::TxnRequest,
        lessor: &mut Lessor,
    ) -> Result<(), ApiError> {
        let execution = Execution { is_answered: false, ..self.begin() };
        self.apply_txn(request, lessor, execution).map(drop)
    }

    /// Deletes the keys of a revoked lease, ascending, in one revision (none for no keys).
    pub fn delete_leased(&mut self, keys: &[Bytes]) {
        let execution = self.begin();
        self.spend(keys.len() as u64);
        for key in keys {
            if self.is_live(key) {
                self.record(execution.begin, key, None);
            }
        }
    }

    fn begin(&self) -> Execution {
        Execution { begin: self.state.revision, is_answered: true, shares_values: true }
    }

    fn apply_txn(
        &mut self,
        request: &pb::TxnRequest,
        lessor: &mut Lessor,
        execution: Execution,
    ) -> Result<pb::TxnResponse, ApiError> {
        let mut units = 0;
        let mut path = Path::evaluate(&self.state, request, &mut units);
        self.spend(units);
        txn::check(&self.state, request, &mut path, lessor)?;
        path.rewind();
        let size = request.compare.len() + request.success.len() + request.failure.len();
        let execution = Execution { shares_values: size <= SHARED_TXN_SIZE_MAX, ..execution };
        let response = self.execute_txn(request, &mut path, lessor, execution);
        Ok(pb::TxnResponse { header: self.state.header(), ..response })
    }

    /// Of a nested transaction the header stays empty.
    fn execute_txn(
        &mut self,
        request: &pb::TxnRequest,
        path: &mut Path,
        lessor: &mut Lessor,
        execution: Execution,
    ) -> pb::TxnResponse {
        let succeeded = path.enter();
        let ops = txn::branch(request, succeeded);
        let mut responses = Vec::new();
        for op in ops {
            let response = match &op.request {
                Some(Request::RequestRange(request)) => {
                    execution.is_answered.then(|| Response::ResponseRange(self.reread(request)))
                }
                Some(Request::RequestPut(request)) => {
                    self.spend(1);
                    Some(Response::ResponsePut(self.execute_put(request, lessor, execution)))
                }
                Some(Request::RequestDeleteRange(request)) => {
                    let response = self.execute_delete(request, lessor, execution);
                    Some(Response::ResponseDeleteRange(response))
                }
                Some(Request::RequestTxn(request)) => {
                    let response = self.execute_txn(request, path, lessor, execution);
                    Some(Response::ResponseTxn(Box::new(response)))
                }
                None => None,
            };
            if execution.is_answered {
                responses.push(pb::ResponseOp { response });
            }
        }
        pb::TxnResponse { header: Some(pb::ResponseHeader::default()), succeeded, responses }
    }

    fn reread(&self, request: &pb::RangeRequest) -> pb::RangeResponse {
        let mut units = 0;
        let response = range::range(&self.state, request, &mut units);
        self.spend(units);
        response.expect("ranges are checked before the transaction executes")
    }

    fn execute_put(
        &mut self,
        request: &pb::PutRequest,
        lessor: &mut Lessor,
        execution: Execution,
    ) -> pb::PutResponse {
        let wants_previous = request.prev_kv && execution.is_answered;
        let needs_previous = wants_previous || request.ignore_value || request.ignore_lease;
        let previous = if needs_previous { self.state.live(&request.key).cloned() } else { None };
        let value = match &previous {
            Some(previous) if request.ignore_value => previous.value.clone(),
            _ if execution.shares_values => request.value.clone(),
            _ => Bytes::copy_from_slice(&request.value),
        };
        let lease = match &previous {
            Some(previous) if request.ignore_lease => previous.lease,
            _ => request.lease,
        };
        let old_lease = self.record(execution.begin, &request.key, Some((value, lease)));
        if old_lease != lease && old_lease != 0 {
            lessor.detach(old_lease, &request.key);
        }
        if old_lease != lease && lease != 0 {
            let change = self.last.last().expect("the put was recorded");
            lessor.attach(lease, &change.kv.key);
        }
        let prev_kv = previous.filter(|_| wants_previous);
        pb::PutResponse { header: self.state.header(), prev_kv }
    }

    fn execute_delete(
        &mut self,
        request: &pb::DeleteRangeRequest,
        lessor: &mut Lessor,
        execution: Execution,
    ) -> pb::DeleteRangeResponse {
        let mut response = pb::DeleteRangeResponse::default();
        for key in self.live_keys(KeyRange::new(&request.key, &request.range_end)) {
            if request.prev_kv && execution.is_answered {
                response.prev_kvs.extend(self.state.live(&key).cloned());
            }
            let lease = self.record(execution.begin, &key, None);
            if lease != 0 {
                lessor.detach(lease, &key);
            }
            response.deleted += 1;
        }
        response.header = self.state.header();
        response
    }

    /// Records a put of a value and a lease, or the delete of a live key. Returns the lease that
    /// the key was attached to.
    fn record(&mut self, begin: i64, key: &[u8], put: Option<(Bytes, i64)>) -> i64 {
        if self.state.revision == begin {
            self.state.revision += 1;
            self.last.clear();
        }
        let revision = Revision::new(self.state.revision, self.last.len() as i64);
        let mut lease_before = 0;
        let change =
            self.append(revision, put.is_none(), key, Known::default(), |key, previous| {
                let mut kv = KeyValue { key, mod_revision: revision.main, ..KeyValue::default() };
                lease_before = previous.map_or(0, |previous| previous.lease);
                if let Some((value, lease)) = put {
                    kv.create_revision = previous.map_or(revision.main, |kv| kv.create_revision);
                    kv.version = previous.map_or(0, |previous| previous.version) + 1;
                    kv.value = value;
                    kv.lease = lease;
                }
                kv
            });
        self.written.add(|| Written::Recorded(change.clone()));
        self.last.push(change);
        lease_before
    }

    /// Adds a change that is later than all others to the history. `kv_of` makes it of the key,
    /// shared with earlier changes, and what the key was before.
    pub(super) fn append(
        &mut self,
        revision: Revision,
        is_delete: bool,
        key: &[u8],
        known: Known,
        kv_of: impl FnOnce(Bytes, Option<&KeyValue>) -> KeyValue,
    ) -> Arc<Change> {
        let is_first = known.first.is_some();
        let history = if is_first { None } else { self.state.keys.get_mut(key) };
        let newest = history.as_deref().map(History::newest);
        let previous = newest.filter(|newest| !newest.is_delete);
        // Not a slice of the request, which would stay in memory as long as the key does.
        let shared = known.first.or_else(|| newest.map(|old| old.kv.key.clone()));
        let shared = shared.unwrap_or_else(|| Bytes::copy_from_slice(key));
        let kv = kv_of(shared.clone(), previous.map(|previous| &previous.kv));
        let digest = known.digest.unwrap_or_else(|| digests_of([(&kv, is_delete)])[0]);
        let replaced = previous.map_or(0, |previous| previous.digest);
        self.live_digest = self.live_digest.wrapping_sub(replaced);
        if !is_delete {
            self.live_digest = self.live_digest.wrapping_add(digest);
        }
        let link = Digest::of(1).u64(digest).u64(replaced).finish();
        self.trail = self.trail.wrapping_add(link);
        let change = Arc::new(Change { revision, is_delete, kv, digest, trail: self.trail });
        self.footprint.add(&change);
        match history {
            Some(history) => history.push(change.clone()),
            None if is_first => {}
            None => drop(self.state.keys.insert(shared, History::new(change.clone()))),
        }
        if revision.main < self.finished_compact_revision {
            self.state.base.insert(revision, change.clone());
        } else {
            self.state.log.push_back(change.clone());
        }
        change
    }
}

/// Digests of pairs, each with whether it is a delete's.
pub(super) fn digests_of<const N: usize>(pairs: [(&KeyValue, bool); N]) -> [u64; N] {
    let keys =
        pairs.map(|(kv, is_delete)| Digest::of(if is_delete { 3 } else { 2 }).bytes(&kv.key));
    let digests = Digest::bytes_each(keys, pairs.map(|(kv, _)| &kv.value[..]));
    array::from_fn(|place| {
        let (kv, _) = pairs[place];
        let digest = digests[place].i64(kv.create_revision).i64(kv.mod_revision);
        digest.i64(kv.version).i64(kv.lease).finish()
    })
}
