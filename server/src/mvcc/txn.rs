//! Transactions: which path is taken, and what it must satisfy before anything is executed
//! (contract-api.md, section 2.8).

use std::cmp::Ordering;

use super::keys::KeyRange;
use super::range;
use super::state::State;
use crate::api::ApiError;
use crate::lease::Lessor;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::mvccpb::KeyValue;

/// The outcomes of a transaction and of those nested in its taken path, in the order in which
/// they are met.
#[derive(Debug, Default)]
pub(super) struct Path {
    outcomes: Vec<bool>,
    walked: usize,
}

impl Path {
    /// All comparisons are made against the state before the transaction.
    pub(super) fn evaluate(state: &State, request: &pb::TxnRequest, units: &mut u64) -> Path {
        let mut path = Path::default();
        path.add(state, request, units);
        path
    }

    fn add(&mut self, state: &State, request: &pb::TxnRequest, units: &mut u64) {
        let succeeded = request.compare.iter().all(|compare| holds(state, compare, units));
        self.outcomes.push(succeeded);
        for op in branch(request, succeeded) {
            if let Some(Request::RequestTxn(nested)) = &op.request {
                self.add(state, nested, units);
            }
        }
    }

    /// Whether the transaction that is entered next succeeded.
    pub(super) fn enter(&mut self) -> bool {
        self.walked += 1;
        self.outcomes[self.walked - 1]
    }

    /// Goes back to the outermost transaction.
    pub(super) fn rewind(&mut self) {
        self.walked = 0;
    }
}

/// The operations that a transaction with this outcome executes.
pub(super) fn branch(request: &pb::TxnRequest, succeeded: bool) -> &[pb::RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

fn holds(state: &State, compare: &pb::Compare, units: &mut u64) -> bool {
    let holds_for = |kv: &KeyValue| satisfies(compare, ordering(compare, kv));
    // A key that is missing compares as zeros, but its value equals and differs from nothing.
    let missing =
        || compare.target != i32::from(CompareTarget::Value) && holds_for(&KeyValue::default());
    let range = KeyRange::new(&compare.key, &compare.range_end);
    if let KeyRange::One(key) = range {
        *units += 1;
        return state.live(key).map_or_else(missing, holds_for);
    }
    let mut found = state.live_range(range, state.revision, units).peekable();
    if found.peek().is_none() {
        return missing();
    }
    found.all(|change| holds_for(&change.kv))
}

/// How the stored value stands to the given one; a union field of another target gives zero.
fn ordering(compare: &pb::Compare, kv: &KeyValue) -> Ordering {
    let Ok(target) = CompareTarget::try_from(compare.target) else {
        return Ordering::Equal;
    };
    match (target, &compare.target_union) {
        (CompareTarget::Version, Some(TargetUnion::Version(given))) => kv.version.cmp(given),
        (CompareTarget::Version, _) => kv.version.cmp(&0),
        (CompareTarget::Create, Some(TargetUnion::CreateRevision(given))) => {
            kv.create_revision.cmp(given)
        }
        (CompareTarget::Create, _) => kv.create_revision.cmp(&0),
        (CompareTarget::Mod, Some(TargetUnion::ModRevision(given))) => kv.mod_revision.cmp(given),
        (CompareTarget::Mod, _) => kv.mod_revision.cmp(&0),
        (CompareTarget::Value, Some(TargetUnion::Value(given))) => kv.value.cmp(given),
        (CompareTarget::Value, _) => kv.value[..].cmp(&[]),
        (CompareTarget::Lease, Some(TargetUnion::Lease(given))) => kv.lease.cmp(given),
        (CompareTarget::Lease, _) => kv.lease.cmp(&0),
    }
}

fn satisfies(compare: &pb::Compare, ordering: Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering == Ordering::Equal,
        Ok(CompareResult::Greater) => ordering == Ordering::Greater,
        Ok(CompareResult::Less) => ordering == Ordering::Less,
        Ok(CompareResult::NotEqual) => ordering != Ordering::Equal,
        Err(_) => true,
    }
}

/// Checks everything on the taken path that could fail, against the state before the transaction.
pub(super) fn check(
    state: &State,
    request: &pb::TxnRequest,
    path: &mut Path,
    lessor: &Lessor,
) -> Result<(), ApiError> {
    for op in branch(request, path.enter()) {
        match &op.request {
            Some(Request::RequestRange(request)) => range::check_in_txn(state, request)?,
            Some(Request::RequestPut(request)) => check_put(state, request, lessor)?,
            Some(Request::RequestTxn(nested)) => check(state, nested, path, lessor)?,
            Some(Request::RequestDeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

fn check_put(state: &State, request: &pb::PutRequest, lessor: &Lessor) -> Result<(), ApiError> {
    let needs_previous = request.ignore_value || request.ignore_lease;
    if needs_previous && state.live(&request.key).is_none() {
        return Err(ApiError::KeyNotFound);
    }
    if request.lease != 0 && !lessor.exists(request.lease) {
        return Err(ApiError::LeaseNotFound);
    }
    Ok(())
}

/// Whether a transaction needs no log entry: neither branch has anything but ranges. One with a
/// nested transaction is not read-only, even if that only reads.
pub fn is_read_only(request: &pb::TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| matches!(op.request, Some(Request::RequestRange(_)) | None))
}

/// Whether a transaction may be answered from local state: every operation of both branches is a
/// serializable range.
pub fn is_serializable(request: &pb::TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| matches!(&op.request, Some(Request::RequestRange(range)) if range.serializable))
}

/// Answers a transaction that is read-only.
pub(super) fn read(
    state: &State,
    request: &pb::TxnRequest,
    units: &mut u64,
) -> Result<pb::TxnResponse, ApiError> {
    assert!(is_read_only(request), "the caller applies a transaction that writes");
    let succeeded = request.compare.iter().all(|compare| holds(state, compare, units));
    let ops = branch(request, succeeded);
    let ranges = ops.iter().map(|op| match &op.request {
        Some(Request::RequestRange(range)) => Some(range),
        _ => None,
    });
    for request in ranges.clone().flatten() {
        range::check_in_txn(state, request)?;
    }
    let mut responses = Vec::with_capacity(ops.len());
    for request in ranges {
        let response = match request {
            Some(request) => Some(Response::ResponseRange(range::range(state, request, units)?)),
            None => None,
        };
        responses.push(pb::ResponseOp { response });
    }
    Ok(pb::TxnResponse { header: state.header(), succeeded, responses })
}
