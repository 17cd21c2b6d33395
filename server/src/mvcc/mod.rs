//! The multi-version store.

use crate::api::ApiError;
use crate::proto::etcdserverpb as pb;

/// An immutable view of the store, pinned at the revision at which it was taken.
#[derive(Clone, Debug)]
pub struct View {}

impl View {
    /// Answers a range request.
    pub fn range(&self, _request: &pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        Err(ApiError::NotCapable)
    }

    /// Hash of the key space at a revision.
    pub fn hash_kv(&self, _revision: i64) -> Result<pb::HashKvResponse, ApiError> {
        Err(ApiError::NotCapable)
    }
}
