//! Bucket `key`: every version of every key by its revision.

use super::bucket::KEY;
use crate::mvcc::{Change, Revision};
use crate::storage::database::BucketChange;

/// A put or a delete has been recorded.
pub fn change_recorded(change: &Change) -> BucketChange {
    BucketChange::put(KEY, change.bucket_key(), change.bucket_value())
}

/// Compaction has removed a put or, where `is_delete`, a tombstone.
pub fn revision_removed(revision: Revision, is_delete: bool) -> BucketChange {
    let mut key = revision.bucket_key().to_vec();
    if is_delete {
        key.push(b't');
    }
    BucketChange::delete(KEY, key)
}
