//! What becomes of leases on stage.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{Body, Call, History, Operation, Outcome, Put, TxnOp};

use crate::model::Refusal;
use crate::workload::stage::play;

fn put(op: &TxnOp) -> Option<&Put> {
    match op {
        TxnOp::Put(put) => Some(put),
        _ => None,
    }
}

fn puts(call: &Call) -> Vec<&Put> {
    match call {
        Call::Put(put) => vec![put],
        Call::Txn(txn) => txn.success.iter().filter_map(put).collect(),
        _ => Vec::new(),
    }
}

fn body(operation: &Operation) -> Option<&Body> {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) => Some(&reply.body),
        _ => None,
    }
}

fn refusal(operation: &Operation) -> Option<Refusal> {
    match &operation.outcome {
        Some(Outcome::Fail(text)) => Refusal::from_text(text),
        _ => None,
    }
}

/// The leases that were granted, with what their grants asked for.
fn grants(history: &History) -> BTreeMap<i64, (i64, i64)> {
    let grant = |operation: &Operation| match (&operation.call, body(operation)?) {
        (Call::LeaseGrant { id, ttl_s }, Body::LeaseGrant { id: granted, .. }) => {
            Some((*granted, (*id, *ttl_s)))
        }
        _ => None,
    };
    history.operations.iter().filter_map(grant).collect()
}

#[test]
fn everything_that_can_be_done_with_a_lease_is_done() {
    let history = play("lease", &[], 4_000, 0).history;
    let some = |what: &str, test: &dyn Fn(&Operation) -> bool| {
        let found = history.operations.iter().filter(|operation| test(operation)).count();
        assert!(found >= 8, "{what} occurs {found} times");
    };
    let put = |test: fn(&Put) -> bool| move |op: &Operation| puts(&op.call).into_iter().any(test);
    some("automatic id", &|op| matches!(op.call, Call::LeaseGrant { id: 0, .. }));
    some("chosen id", &|op| matches!(op.call, Call::LeaseGrant { id: 1.., .. }));
    some("negative id", &|op| matches!(op.call, Call::LeaseGrant { id: ..0, .. }));
    some("too short", &|op| matches!(op.call, Call::LeaseGrant { ttl_s: ..2, .. }));
    some("id that is taken", &|op| refusal(op) == Some(Refusal::LeaseExists));
    some("attach", &put(|put| put.lease != 0));
    some("attach several", &|op| matches!(&op.call, Call::Txn(txn) if txn.success.len() > 1));
    some("detach", &put(|put| put.lease == 0 && !put.ignore_lease));
    some("keep the lease", &put(|put| put.ignore_lease));
    some("delete", &|op| matches!(op.call, Call::DeleteRange(_)));
    some("renewal", &|op| matches!(body(op), Some(Body::LeaseKeepAlive { ttl_s: 1.., .. })));
    some("renewal too late", &|op| matches!(body(op), Some(Body::LeaseKeepAlive { ttl_s: 0, .. })));
    some("time to live", &|op| matches!(op.call, Call::LeaseTimeToLive { keys: false, .. }));
    some(
        "keys of a lease",
        &|op| matches!(body(op), Some(Body::LeaseTimeToLive { keys, .. }) if !keys.is_empty()),
    );
    some("time to live of what is gone", &|op| {
        matches!(body(op), Some(Body::LeaseTimeToLive { ttl_s: -1, .. }))
    });
    some("list of leases", &|op| matches!(op.call, Call::LeaseLeases));
    some("read", &|op| matches!(op.call, Call::Range(_)));
    some("revoke", &|op| matches!(body(op), Some(Body::LeaseRevoke)));
}

#[test]
fn about_as_many_leases_are_revoked_as_expire() {
    let play = play("lease", &[], 4_000, 0);
    let grants = grants(&play.history);
    let is_revoke = |operation: &&Operation| matches!(operation.call, Call::LeaseRevoke { .. });
    let revoked = play.history.operations.iter().filter(is_revoke).count();
    let share = revoked * 100 / grants.len();
    assert!((25..60).contains(&share), "{revoked} of {} are revoked", grants.len());
    assert!(grants.len() > 150);
    // What was neither revoked nor is alive has expired.
    let expired = grants.len() - revoked - play.model.leases().count();
    assert!(expired * 100 / grants.len() > 25, "{expired} of {} expired", grants.len());
}

#[test]
fn a_lease_is_renewed_every_third_of_its_time_through_all_members() {
    let history = play("lease", &[("ttl", "6s")], 4_000, 0).history;
    let mut renewed: BTreeMap<i64, &Operation> = BTreeMap::new();
    let mut members = BTreeSet::new();
    let (mut thirds, mut brinks) = (0, 0);
    for operation in &history.operations {
        let Some(&Body::LeaseKeepAlive { id, ttl_s }) = body(operation) else { continue };
        members.insert(operation.member);
        if let Some(before) = renewed.insert(id, operation)
            && ttl_s == 6
        {
            // Between two renewals there may be other steps, each with its pause.
            match operation.invoked.since(before.completed).as_millis() {
                1_600..3_500 => thirds += 1,
                5_500..8_000 => brinks += 1,
                gap => panic!("{gap} ms between renewals"),
            }
        }
    }
    assert_eq!(members.len(), 3);
    assert!(thirds > 100 && brinks > 2, "{thirds} and {brinks}");
}

#[test]
fn only_lost_leases_and_missing_keys_are_refused() {
    for trouble in [0, 500] {
        let history = play("lease", &[], 4_000, trouble).history;
        let mut refused = 0;
        for operation in &history.operations {
            let Some(refusal) = refusal(operation) else { continue };
            refused += 1;
            let is_lawful = match refusal {
                Refusal::LeaseNotFound => {
                    matches!(operation.call, Call::LeaseRevoke { .. })
                        || puts(&operation.call).iter().any(|put| put.lease != 0)
                }
                Refusal::LeaseExists => {
                    matches!(operation.call, Call::LeaseGrant { id, .. } if id != 0)
                }
                Refusal::KeyNotFound => puts(&operation.call).iter().any(|put| put.ignore_lease),
                _ => false,
            };
            assert!(is_lawful, "{refusal:?}: {:?}", operation.call);
        }
        assert!((10..400).contains(&refused), "{refused} of 4000 are refused");
    }
}

#[test]
fn no_value_is_written_twice_whatever_fails() {
    let history = play("lease", &[], 4_000, 1_000).history;
    let mut values = BTreeSet::new();
    for put in history.operations.iter().flat_map(|operation| puts(&operation.call)) {
        assert!(values.insert(&put.value), "{:?} is written twice", put.value);
    }
    assert!(values.len() > 500);
    let is_doubtful = |operation: &&Operation| {
        matches!(operation.call, Call::LeaseGrant { .. })
            && matches!(operation.outcome, Some(Outcome::Unknown(_)))
    };
    assert!(history.operations.iter().filter(is_doubtful).count() > 5);
}

#[test]
fn two_plays_are_equal() {
    let again = || play("lease", &[], 2_000, 300).history;
    assert_eq!(again(), again());
}
