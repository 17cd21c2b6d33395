//! Bucket `lease`: what was granted, and what was left at the last checkpoint. Which keys a lease
//! has is read off the keys.

use bytes::Bytes;
use prost::Message as _;

use super::bucket::LEASE;
use super::error::{Problem, SchemaError, number};
use super::image::DatabaseImage;
use crate::lease::LeaseId;
use crate::proto::leasepb;
use crate::storage::database::BucketChange;

/// A lease was granted, or its remaining TTL (0 for none) was checkpointed.
pub fn lease_granted(id: LeaseId, ttl_seconds: i64, remaining_seconds: i64) -> BucketChange {
    let lease =
        leasepb::Lease { id, ttl: ttl_seconds, remaining_ttl: remaining_seconds }.encode_to_vec();
    BucketChange::put(LEASE, bucket_key(id), lease)
}

/// A lease was revoked.
pub fn lease_revoked(id: LeaseId) -> BucketChange {
    BucketChange::delete(LEASE, bucket_key(id))
}

fn bucket_key(id: LeaseId) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

impl DatabaseImage {
    /// All leases, with the ids as the messages have them.
    pub fn leases(&self) -> impl Iterator<Item = Result<leasepb::Lease, SchemaError>> {
        self.rows(LEASE).map(|(key, value)| {
            number(LEASE, key, key)?;
            leasepb::Lease::decode(&value[..])
                .map_err(|_| SchemaError::new(LEASE, key, Problem::Message("Lease")))
        })
    }
}
