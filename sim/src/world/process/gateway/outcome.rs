//! What an error says about the effect of a call: certainly none, or nobody knows.
//!
//! A call that only reads has no effect whatever happens. A call that writes had none when it never
//! left the client, or when the member refused it before proposing it or while applying it. Every
//! other error leaves it open: the entry may be in the log already.

use detsim_reports::record::{Call, Outcome, TxnOp};

/// gRPC codes with which etcd refuses a call for good: invalid argument, not found, already exists,
/// permission denied, resource exhausted, failed precondition, out of range, unimplemented,
/// unauthenticated.
const REFUSALS: [i64; 9] = [3, 5, 6, 7, 8, 9, 11, 12, 16];

/// Refusals whose code says less than their text.
const REFUSAL_TEXTS: [&str; 4] = [
    "etcdserver: no leader",
    "etcdserver: unhealthy cluster",
    "etcdserver: corrupt cluster",
    "raft proposal dropped",
];

/// Whether a call cannot change anything.
fn is_read_only(call: &Call) -> bool {
    match call {
        Call::Range(_)
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseLeases
        | Call::Watch(_)
        | Call::MemberList { .. }
        | Call::Status
        | Call::HashKv { .. } => true,
        Call::Txn(txn) => txn.success.iter().chain(&txn.failure).all(is_read_only_op),
        Call::Put(_)
        | Call::DeleteRange(_)
        | Call::Compact { .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseRevoke { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::MemberAdd { .. }
        | Call::MemberRemove { .. }
        | Call::MemberUpdate { .. }
        | Call::MemberPromote { .. }
        | Call::MoveLeader { .. } => false,
    }
}

fn is_read_only_op(op: &TxnOp) -> bool {
    match op {
        TxnOp::Range(_) => true,
        TxnOp::Put(_) | TxnOp::DeleteRange(_) => false,
        TxnOp::Txn(txn) => txn.success.iter().chain(&txn.failure).all(is_read_only_op),
    }
}

/// The outcome of a call that was answered with an error.
pub fn of_refusal(call: &Call, code: i64, text: String) -> Outcome {
    let is_refused = REFUSALS.contains(&code) || REFUSAL_TEXTS.contains(&text.as_str());
    if is_refused || is_read_only(call) { Outcome::Fail(text) } else { Outcome::Unknown(text) }
}

/// The outcome of a call that left the client and was not answered.
pub fn without_answer(call: &Call, why: String) -> Outcome {
    if is_read_only(call) { Outcome::Fail(why) } else { Outcome::Unknown(why) }
}

#[cfg(test)]
mod tests {
    use detsim_reports::record::{Put, Range, Txn};

    use super::*;

    fn put() -> Call {
        Call::Put(Put::default())
    }

    #[test]
    fn a_timed_out_write_is_unknown_and_a_timed_out_read_failed() {
        let text = "etcdserver: request timed out";
        assert_eq!(of_refusal(&put(), 14, text.into()), Outcome::Unknown(text.into()));
        let read = Call::Range(Range::default());
        assert_eq!(of_refusal(&read, 14, text.into()), Outcome::Fail(text.into()));
        assert_eq!(without_answer(&put(), "reset".into()), Outcome::Unknown("reset".into()));
    }

    #[test]
    fn a_refused_write_failed() {
        for (code, text) in [(3, "etcdserver: key is not provided"), (14, "etcdserver: no leader")]
        {
            assert_eq!(of_refusal(&put(), code, text.into()), Outcome::Fail(text.into()));
        }
    }

    #[test]
    fn a_transaction_reads_only_if_both_branches_do() {
        let reads = Txn { success: vec![TxnOp::Range(Range::default())], ..Txn::default() };
        assert!(is_read_only(&Call::Txn(Box::new(reads.clone()))));
        let nested = Txn { failure: vec![TxnOp::Txn(reads)], ..Txn::default() };
        assert!(is_read_only(&Call::Txn(Box::new(nested.clone()))));
        let writes = Txn { success: vec![TxnOp::Put(Put::default())], ..nested };
        assert!(!is_read_only(&Call::Txn(Box::new(writes))));
    }
}
