//! What contenders do on stage.

use std::collections::BTreeSet;

use detsim_reports::record::{
    Body, Call, History, Operation, Operator, Outcome, Range, SortOrder, Target, Txn, TxnOp,
};

use crate::workload::stage::play;

fn body(operation: &Operation) -> Option<&Body> {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) => Some(&reply.body),
        _ => None,
    }
}

/// A transaction with its comparison's create revision, and whether it succeeded.
fn guarded(operation: &Operation) -> Option<(&Txn, i64, bool)> {
    let (Call::Txn(txn), Body::Txn(reply)) = (&operation.call, body(operation)?) else {
        return None;
    };
    match txn.compare.first()?.target {
        Target::Create(revision) => Some((txn, revision, reply.succeeded)),
        _ => None,
    }
}

fn count(history: &History, test: impl Fn(&Operation) -> bool) -> usize {
    history.operations.iter().filter(|operation| test(operation)).count()
}

fn is_look(range: &Range) -> bool {
    range.sort_order == SortOrder::Descend && range.max_create_revision > 0
}

#[test]
fn everything_that_a_lock_goes_through_occurs() {
    let history = play("lock", &[], 6_000, 0).history;
    let some = |what: &str, test: &dyn Fn(&Operation) -> bool| {
        let found = count(&history, test);
        assert!(found >= 5, "{what} occurs {found} times");
    };
    some("entering", &|op| matches!(guarded(op), Some((_, 0, true))));
    some("looking for the one before", &|op| matches!(&op.call, Call::Range(r) if is_look(r)));
    some("waiting by watch", &|op| matches!(op.call, Call::Watch(_)));
    some("renewal", &|op| matches!(body(op), Some(Body::LeaseKeepAlive { ttl_s: 1.., .. })));
    some("fenced write", &|op| matches!(guarded(op), Some((_, 1.., true))));
    some("fenced write refused", &|op| matches!(guarded(op), Some((_, 1.., false))));
    some("unfenced write", &|op| matches!(op.call, Call::Put(_)));
    some("unlocking", &|op| matches!(body(op), Some(Body::DeleteRange { deleted: 1, .. })));
    some("unlocking too late", &|op| {
        matches!(body(op), Some(Body::DeleteRange { deleted: 0, .. }))
    });
    some("end of a session", &|op| matches!(body(op), Some(Body::LeaseRevoke)));
}

#[test]
fn everything_that_an_election_goes_through_occurs() {
    let history = play("election", &[("elections", "2")], 6_000, 0).history;
    let some = |what: &str, test: &dyn Fn(&Operation) -> bool| {
        let found = count(&history, test);
        assert!(found >= 5, "{what} occurs {found} times");
    };
    let first = |op: &Operation, succeeded: bool, test: fn(&TxnOp) -> bool| {
        let Some((txn, 1.., answered)) = guarded(op) else { return false };
        answered == succeeded && txn.success.first().is_some_and(test)
    };
    some("campaign", &|op| matches!(guarded(op), Some((_, 0, true))));
    some("proclamation", &|op| first(op, true, |op| matches!(op, TxnOp::Put(_))));
    some("stale proclamation", &|op| first(op, false, |op| matches!(op, TxnOp::Put(_))));
    some("resignation", &|op| first(op, true, |op| matches!(op, TxnOp::DeleteRange(_))));
    some("observation", &|op| {
        matches!(&op.call, Call::Range(range)
            if range.sort_order == SortOrder::Ascend && range.limit == 1)
    });
    some("watch of the contenders", &|op| {
        let Call::Watch(watch) = &op.call else { return false };
        !watch.range_end.is_empty() && watch.prev_kv
    });
}

#[test]
fn fences_follow_each_other_in_the_order_of_create_revisions() {
    for trouble in [0, 500] {
        let history = play("lock", &[("locks", "1")], 6_000, trouble).history;
        let mut successes: Vec<(i64, i64)> = history
            .operations
            .iter()
            .filter_map(|operation| {
                let Some(Outcome::Ok(reply)) = &operation.outcome else { return None };
                match guarded(operation)? {
                    (_, token @ 1.., true) => Some((reply.header.revision, token)),
                    _ => None,
                }
            })
            .collect();
        successes.sort_unstable();
        assert!(successes.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{successes:?}");
        let tokens: BTreeSet<i64> = successes.iter().map(|&(_, token)| token).collect();
        assert!(tokens.len() > 10, "{} held the lock", tokens.len());
    }
}

#[test]
fn a_fence_compares_the_create_revision_of_the_key_that_the_lease_names() {
    let history = play("lock", &[], 2_000, 200).history;
    let mut fences = 0;
    for operation in &history.operations {
        let Call::Txn(txn) = &operation.call else { continue };
        let compare = &txn.compare[0];
        assert_eq!(compare.operator, Operator::Equal);
        if let [TxnOp::Put(put), TxnOp::Range(_)] = txn.success.as_slice() {
            let key = String::from_utf8(compare.key.0.to_vec()).expect("text");
            assert!(key.ends_with(&format!("/{:x}", put.lease)), "{key} and {}", put.lease);
            fences += 1;
        }
    }
    assert!(fences > 50);
}

#[test]
fn two_plays_are_equal() {
    for kind in ["lock", "election"] {
        let again = || play(kind, &[], 2_000, 300).history;
        assert_eq!(again(), again());
    }
}
