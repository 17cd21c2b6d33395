//! The store that entries are applied to.

use bytes::Bytes;
use std::cell::Cell;
use std::sync::Arc;

use super::change::Change;
use super::view::View;
use crate::api::ApiError;
use crate::lease::Lessor;
use crate::proto::etcdserverpb as pb;

/// All keys with their uncompacted history.
#[derive(Debug)]
pub struct Store {
    view: View,
    last: Vec<Arc<Change>>,
    units: Cell<u64>,
}

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Store {
    /// An empty store, at revision 1.
    pub fn new() -> Store {
        let view = View { revision: 1, compact_revision: -1 };
        Store { view, last: Vec::new(), units: Cell::new(0) }
    }

    /// The revision of the last request that changed something.
    pub fn revision(&self) -> i64 {
        self.view.revision
    }

    /// The last compaction's revision, -1 before any.
    pub fn compact_revision(&self) -> i64 {
        self.view.compact_revision
    }

    /// Pins the current state, in constant time.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Answers a range request from the current state; the header has only the revision.
    pub fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        self.view.range(request)
    }

    /// Answers a transaction that `is_read_only` from the current state.
    pub fn read_txn(&self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        self.view.read_txn(request)
    }

    /// Applies a put.
    pub fn put(
        &mut self,
        _request: &pb::PutRequest,
        _lessor: &mut Lessor,
    ) -> Result<pb::PutResponse, ApiError> {
        Err(ApiError::NotCapable)
    }

    /// Applies a delete.
    pub fn delete_range(
        &mut self,
        _request: &pb::DeleteRangeRequest,
        _lessor: &mut Lessor,
    ) -> Result<pb::DeleteRangeResponse, ApiError> {
        Err(ApiError::NotCapable)
    }

    /// Applies a transaction: all of its taken path, or nothing.
    pub fn txn(
        &mut self,
        _request: &pb::TxnRequest,
        _lessor: &mut Lessor,
    ) -> Result<pb::TxnResponse, ApiError> {
        Err(ApiError::NotCapable)
    }

    /// Deletes the keys of a revoked lease, ascending, in one revision (none for no keys).
    pub fn delete_leased(&mut self, _keys: &[Bytes]) {}

    /// Makes everything older than `revision` unreadable; `compact_slice` removes it.
    pub fn compact(&mut self, _revision: i64) -> Result<pb::CompactionResponse, ApiError> {
        Err(ApiError::NotCapable)
    }

    /// Continues physical compaction for about `budget_units` visited changes. Returns what was
    /// spent and whether nothing is left to do.
    pub fn compact_slice(&mut self, _budget_units: u64) -> (u64, bool) {
        (0, true)
    }

    /// The changes of the newest revision that changed anything, in order.
    pub fn last_changes(&self) -> &[Arc<Change>] {
        &self.last
    }

    /// The uncompacted changes from a main revision on, in order.
    pub fn events(&self, _from_revision: i64) -> impl Iterator<Item = &Arc<Change>> {
        self.last.iter()
    }

    /// The put that a reader at `revision` finds under `key`; none if compacted.
    pub fn kv_at(&self, _key: &[u8], _revision: i64) -> Option<&Arc<Change>> {
        None
    }

    /// Digest of the logical state: equal on members whose states are equal, however far physical
    /// compaction has come on each.
    pub fn digest(&self) -> u64 {
        0
    }

    /// Units (changes and keys visited) since this was last asked.
    pub fn take_units(&self) -> u64 {
        self.units.take()
    }
}
