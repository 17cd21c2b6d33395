//! The checks of a request before it is proposed or served, in etcd's order, so that a request
//! with several faults is refused for the same one. Nothing here looks at the store, except
//! `compact`, which is told the two revisions that it depends on.
//!
//! Sources: contract-api.md, sections 2.4 to 2.10 and 4. That a serialised proposal is too large
//! is found where it is proposed; preconditions on keys and leases are found when it is applied.

use std::collections::{BTreeMap, BTreeSet};

use super::ApiError;
use crate::proto::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request as Op;

#[cfg(test)]
mod tests;

/// The largest time to live that a lease may ask for, in seconds.
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// What a lease grant counts against the quota, in bytes.
pub const LEASE_GRANT_COST: u64 = 64;

/// What a put counts against the quota beside its key and value, in bytes.
const PUT_OVERHEAD: u64 = 256;

/// Checks a range.
pub fn range(request: &pb::RangeRequest) -> Result<(), ApiError> {
    required(&request.key)?;
    if SortOrder::try_from(request.sort_order).is_err()
        || SortTarget::try_from(request.sort_target).is_err()
    {
        return Err(ApiError::InvalidSortOption);
    }
    Ok(())
}

/// Checks a range that is to be streamed: it has its keys' order and no revision bounds.
pub fn range_stream(request: &pb::RangeRequest) -> Result<(), ApiError> {
    range(request)?;
    let by_key = request.sort_target() == SortTarget::Key;
    match request.sort_order() {
        SortOrder::None => {}
        SortOrder::Ascend if by_key => {}
        _ => return Err(ApiError::RangeStreamSort),
    }
    let bounds = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if bounds.iter().any(|&bound| bound != 0) {
        return Err(ApiError::RangeStreamFilters);
    }
    Ok(())
}

/// Checks a put.
pub fn put(request: &pb::PutRequest) -> Result<(), ApiError> {
    required(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(ApiError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(ApiError::LeaseProvided);
    }
    Ok(())
}

/// Checks a deletion.
pub fn delete_range(request: &pb::DeleteRangeRequest) -> Result<(), ApiError> {
    required(&request.key)
}

/// Checks a lease grant.
pub fn lease_grant(request: &pb::LeaseGrantRequest) -> Result<(), ApiError> {
    if request.ttl > LEASE_TTL_MAX {
        return Err(ApiError::LeaseTtlTooLarge);
    }
    Ok(())
}

/// Checks a compaction against the store at the moment at which it is applied. A store that was
/// never compacted has compact revision -1.
pub fn compact(requested: i64, compacted: i64, now: i64) -> Result<(), ApiError> {
    if requested <= compacted {
        return Err(ApiError::Compacted);
    }
    if requested > now {
        return Err(ApiError::FutureRevision);
    }
    Ok(())
}

/// Checks a transaction of which each list may hold `max_ops` (`--max-txn-ops`).
pub fn txn(request: &pb::TxnRequest, max_ops: usize) -> Result<(), ApiError> {
    txn_shape(request, max_ops)?;
    // Only now, when the number of operations is known to be bounded.
    Changes::of(&request.success)?;
    Changes::of(&request.failure)?;
    Ok(())
}

/// Whether a transaction is served without a log entry: no put, no deletion and no nested
/// transaction in either branch.
pub fn is_read_only(request: &pb::TxnRequest) -> bool {
    branches(request).all(|op| matches!(op.request, Some(Op::RequestRange(_))))
}

/// Whether a read-only transaction may be answered from local state: every operation of both
/// branches is a serializable range.
pub fn is_serializable(request: &pb::TxnRequest) -> bool {
    branches(request)
        .all(|op| matches!(&op.request, Some(Op::RequestRange(range)) if range.serializable))
}

/// What a put counts against the quota, in bytes.
pub fn put_cost(request: &pb::PutRequest) -> u64 {
    version_cost(&request.key, &request.value)
}

/// The same of a version of a key.
pub fn version_cost(key: &[u8], value: &[u8]) -> u64 {
    PUT_OVERHEAD + key.len() as u64 + value.len() as u64
}

/// What a transaction counts against the quota, in bytes: its dearer branch. Nothing, if it puts
/// nothing.
pub fn txn_cost(request: &pb::TxnRequest) -> u64 {
    let cost = |ops: &[pb::RequestOp]| -> u64 {
        ops.iter()
            .map(|op| match &op.request {
                Some(Op::RequestPut(put)) => put_cost(put),
                Some(Op::RequestTxn(nested)) => txn_cost(nested),
                _ => 0,
            })
            .sum()
    };
    cost(&request.success).max(cost(&request.failure))
}

fn branches(request: &pb::TxnRequest) -> impl Iterator<Item = &pb::RequestOp> {
    request.success.iter().chain(&request.failure)
}

fn required(key: &[u8]) -> Result<(), ApiError> {
    if key.is_empty() { Err(ApiError::EmptyKey) } else { Ok(()) }
}

/// The limits and the operations of a transaction, each by itself. A nested transaction may use
/// what the longest list around it leaves.
fn txn_shape(request: &pb::TxnRequest, max_ops: usize) -> Result<(), ApiError> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = max_ops.checked_sub(longest).ok_or(ApiError::TooManyOps)?;
    for compare in &request.compare {
        required(&compare.key)?;
    }
    for op in branches(request) {
        match op.request.as_ref().ok_or(ApiError::KeyNotFound)? {
            Op::RequestRange(range_request) => range(range_request)?,
            Op::RequestPut(put_request) => put(put_request)?,
            Op::RequestDeleteRange(delete_request) => delete_range(delete_request)?,
            Op::RequestTxn(nested) => txn_shape(nested, left)?,
        }
    }
    Ok(())
}

/// The keys that one branch puts and deletes, nested transactions included.
#[derive(Debug, Default)]
struct Changes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Deletes<'a>,
}

impl<'a> Changes<'a> {
    /// Fails if a key could be put twice, or put and deleted. The order of the three passes is
    /// etcd's and is visible: a nested put is compared with deletions of its own level and of
    /// *earlier* nested transactions only.
    fn of(ops: &'a [pb::RequestOp]) -> Result<Changes<'a>, ApiError> {
        let mut changes = Changes::default();
        for op in ops {
            if let Some(Op::RequestDeleteRange(delete)) = &op.request {
                changes.deletes.add(&delete.key, &delete.range_end);
            }
        }
        for op in ops {
            if let Some(Op::RequestTxn(nested)) = &op.request {
                changes.nest(Changes::of(&nested.success)?, Changes::of(&nested.failure)?)?;
            }
        }
        for op in ops {
            if let Some(Op::RequestPut(put)) = &op.request {
                changes.put(&put.key)?;
            }
        }
        Ok(changes)
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), ApiError> {
        if self.deletes.cover(key) || !self.puts.insert(key) {
            return Err(ApiError::DuplicateKey);
        }
        Ok(())
    }

    /// Takes in both branches of a nested transaction. As only one of them can run, they may put
    /// the same key.
    fn nest(&mut self, success: Changes<'a>, failure: Changes<'a>) -> Result<(), ApiError> {
        for key in success.puts.union(&failure.puts) {
            self.put(key)?;
        }
        self.deletes.extend(success.deletes);
        self.deletes.extend(failure.deletes);
        Ok(())
    }
}

/// A union of deleted keys and ranges; a range that ends where it begins, or before, holds nothing.
/// A range end is compared as it stands, also the one-byte end that elsewhere means "no end": etcd
/// accepts a put beside such a deletion of lower keys.
#[derive(Debug, Default)]
struct Deletes<'a> {
    keys: BTreeSet<&'a [u8]>,
    /// Disjoint: start to end.
    ranges: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Deletes<'a> {
    fn add(&mut self, key: &'a [u8], range_end: &'a [u8]) {
        if range_end.is_empty() {
            self.keys.insert(key);
        } else if key < range_end {
            self.add_range(key, range_end);
        }
    }

    fn add_range(&mut self, mut start: &'a [u8], mut end: &'a [u8]) {
        while let Some((&other, &other_end)) = self.ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.ranges.remove(other);
            start = start.min(other);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
    }

    fn extend(&mut self, other: Deletes<'a>) {
        self.keys.extend(other.keys);
        for (start, end) in other.ranges {
            self.add_range(start, end);
        }
    }

    fn cover(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
            || self.ranges.range(..=key).next_back().is_some_and(|(_, end)| key < *end)
    }
}
