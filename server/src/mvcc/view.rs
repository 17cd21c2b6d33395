//! A store pinned at a revision.

use super::hash;
use super::range;
use super::state::State;
use super::txn;
use crate::api::ApiError;
use crate::proto::etcdserverpb as pb;

/// An immutable view of the store, pinned at the revision at which it was taken.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) state: State,
}

impl View {
    /// The newest revision it shows.
    pub fn revision(&self) -> i64 {
        self.state.revision
    }

    /// The last compaction's revision, -1 before any.
    pub fn compact_revision(&self) -> i64 {
        self.state.compact_revision
    }

    /// Answers a range request; the header has only the revision.
    pub fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        range::range(&self.state, request, &mut 0)
    }

    /// Answers a transaction that `is_read_only`.
    pub fn read_txn(&self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        txn::read(&self.state, request, &mut 0)
    }

    /// Hash of the key space at a revision, 0 for the newest. The hashes of the last ten
    /// compactions are remembered and can be asked for although their revisions are compacted.
    pub fn hash_kv(&self, revision: i64) -> Result<pb::HashKvResponse, ApiError> {
        hash::hash_kv(&self.state, revision)
    }
}
