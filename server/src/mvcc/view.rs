//! A store pinned at a revision.

use crate::api::ApiError;
use crate::proto::etcdserverpb as pb;

/// An immutable view of the store, pinned at the revision at which it was taken.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) revision: i64,
    pub(super) compact_revision: i64,
}

impl View {
    /// The newest revision it shows.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The last compaction's revision, -1 before any.
    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    /// Answers a range request; the header has only the revision.
    pub fn range(&self, _request: &pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        Err(ApiError::NotCapable)
    }

    /// Answers a transaction that `is_read_only`.
    pub fn read_txn(&self, _request: &pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        Err(ApiError::NotCapable)
    }

    /// Hash of the key space at a revision, 0 for the newest.
    pub fn hash_kv(&self, _revision: i64) -> Result<pb::HashKvResponse, ApiError> {
        Err(ApiError::NotCapable)
    }
}
