//! What is certain about an operation: how it ended as far as its effect goes, and whether it must
//! be found in a linear order.

use detsim_reports::record::{Body, Call, History, Operation, Outcome, Reply};

use crate::model::{Refusal, is_read_only, is_serializable};

/// A write at the limit of its quota is applied and then refused with this text.
pub(super) const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// Whether the quota is why nothing came of it.
pub(crate) fn is_for_want_of_space(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fail(text) | Outcome::Unknown(text) if text == NO_SPACE)
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate<'a> {
    /// It was answered.
    Answered(&'a Reply),
    /// It was refused for a reason that lies in the request and the state at that moment.
    Refused(Refusal),
    /// It failed for a reason of the cluster's, and had no effect.
    Failed,
    /// It may have taken effect, may still, or never will.
    Unknown,
}

/// How the operation ended.
pub(super) fn fate(operation: &Operation) -> Fate<'_> {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) => Fate::Answered(reply),
        Some(Outcome::Fail(text)) => match Refusal::from_text(text) {
            Some(refusal) => Fate::Refused(refusal),
            None if text == NO_SPACE => Fate::Unknown,
            None => Fate::Failed,
        },
        Some(Outcome::Unknown(_)) | None => Fate::Unknown,
    }
}

/// Whether the request may change keys or leases.
pub(super) fn is_write(call: &Call) -> bool {
    match call {
        Call::Put(_)
        | Call::DeleteRange(_)
        | Call::Compact { .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseRevoke { .. } => true,
        Call::Txn(txn) => !is_read_only(txn),
        _ => false,
    }
}

/// Whether the request reads at the newest revision that its interval allows: neither a write nor
/// answered from whatever the member has.
pub(super) fn is_linearizable_read(call: &Call) -> bool {
    match call {
        Call::Range(range) => !range.serializable,
        Call::Txn(txn) => is_read_only(txn) && !is_serializable(txn),
        _ => false,
    }
}

/// Whether the request is answered from whatever state the member has.
pub(super) fn is_serializable_read(call: &Call) -> bool {
    match call {
        Call::Range(range) => range.serializable,
        Call::Txn(txn) => is_serializable(txn),
        _ => false,
    }
}

/// Whether all answers come from one cluster, as far as they tell.
pub(super) fn is_one_cluster(history: &History) -> bool {
    let mut clusters = history.operations.iter().filter_map(|operation| match &operation.outcome {
        Some(Outcome::Ok(reply)) => Some(reply.header.cluster_id).filter(|id| *id != 0),
        _ => None,
    });
    clusters.next().is_none_or(|first| clusters.all(|other| other == first))
}

/// The request with what the server chose filled in: the id of a lease. `None` when nobody knows
/// what it chose.
pub(super) fn resolved(operation: &Operation) -> Option<Call> {
    match (&operation.call, fate(operation)) {
        (&Call::LeaseGrant { id: 0, ttl_s }, Fate::Answered(reply)) => match reply.body {
            Body::LeaseGrant { id, .. } => Some(Call::LeaseGrant { id, ttl_s }),
            _ => None,
        },
        (Call::LeaseGrant { id: 0, .. }, _) => None,
        (call, _) => Some(call.clone()),
    }
}
