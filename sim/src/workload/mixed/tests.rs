//! What the mix holds, and that it holds together.

use std::collections::BTreeSet;

use detsim_reports::record::{
    Blob, Call, Compare, History, Operation, Operator, Outcome, Put, Range, SortOrder, SortTarget,
    Target, Txn, TxnOp,
};

use crate::model::{Model, Refusal, is_read_only, is_serializable};
use crate::workload::stage::play;

const SORT_TARGETS: [SortTarget; 5] =
    [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];

fn ranges(call: &Call) -> Vec<&Range> {
    match call {
        Call::Range(range) => vec![range],
        Call::Txn(txn) => ops(txn)
            .into_iter()
            .filter_map(|op| match op {
                TxnOp::Range(range) => Some(range),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn puts(call: &Call) -> Vec<&Put> {
    match call {
        Call::Put(put) => vec![put],
        Call::Txn(txn) => ops(txn)
            .into_iter()
            .filter_map(|op| match op {
                TxnOp::Put(put) => Some(put),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// All operations of both branches, those of nested transactions included.
fn ops(txn: &Txn) -> Vec<&TxnOp> {
    let mut all = Vec::new();
    for op in txn.success.iter().chain(&txn.failure) {
        all.push(op);
        if let TxnOp::Txn(nested) = op {
            all.extend(ops(nested));
        }
    }
    all
}

fn compares(call: &Call) -> Vec<&Compare> {
    let Call::Txn(txn) = call else { return Vec::new() };
    let nested = ops(txn).into_iter().filter_map(|op| match op {
        TxnOp::Txn(nested) => Some(&nested.compare),
        _ => None,
    });
    std::iter::once(&txn.compare).chain(nested).flatten().collect()
}

/// How many operations the test holds for.
fn count(history: &History, test: impl Fn(&Call) -> bool) -> usize {
    history.operations.iter().filter(|operation| test(&operation.call)).count()
}

fn refusal(operation: &Operation) -> Option<Refusal> {
    match &operation.outcome {
        Some(Outcome::Fail(text)) => Refusal::from_text(text),
        _ => None,
    }
}

#[test]
fn every_option_of_a_read_occurs() {
    let history = play("mixed", &[], 8_000, 0).history;
    let some = |what: &str, test: &dyn Fn(&Range) -> bool| {
        let found = count(&history, |call| ranges(call).into_iter().any(test));
        assert!(found >= 8, "{what} occurs {found} times");
    };
    let zero = Blob::text("\0");
    some("linearizable", &|range| !range.serializable);
    some("serializable", &|range| range.serializable);
    some("one key", &|range| range.range_end.is_empty());
    some("from a key on", &|range| range.range_end == zero && range.key != zero);
    some("everything", &|range| range.range_end == zero && range.key == zero);
    some("an empty range", &|range| {
        !range.range_end.is_empty() && range.range_end != zero && range.range_end <= range.key
    });
    some("limit", &|range| range.limit > 0);
    some("no limit", &|range| range.limit < 0);
    some("keys only", &|range| range.keys_only);
    some("count only", &|range| range.count_only);
    some("least mod revision", &|range| range.min_mod_revision > 0);
    some("greatest mod revision", &|range| range.max_mod_revision > 0);
    some("least create revision", &|range| range.min_create_revision > 0);
    some("greatest create revision", &|range| range.max_create_revision > 0);
    some("past revision", &|range| range.revision > 0);
    some("past revision, serializable", &|range| range.revision > 0 && range.serializable);
    some("negative revision", &|range| range.revision < 0);
    for target in SORT_TARGETS {
        for order in [SortOrder::Ascend, SortOrder::Descend] {
            some("a sort order", &|range| range.sort_target == target && range.sort_order == order);
        }
        let unordered = |range: &Range| range.sort_order == SortOrder::None;
        some("a sort target", &|range| range.sort_target == target && unordered(range));
    }
}

#[test]
fn every_option_of_a_write_occurs() {
    let history = play("mixed", &[("leases", "20%")], 8_000, 0).history;
    let some = |what: &str, test: &dyn Fn(&Call) -> bool| {
        let found = count(&history, test);
        assert!(found >= 8, "{what} occurs {found} times");
    };
    let put = |test: fn(&Put) -> bool| move |call: &Call| puts(call).into_iter().any(test);
    some("put with the previous pair", &put(|put| put.prev_kv));
    some("put that keeps the value", &put(|put| put.ignore_value));
    some("put that keeps the lease", &put(|put| put.ignore_lease));
    some("put with a lease", &put(|put| put.lease != 0));
    let delete = |call: &Call, test: fn(&detsim_reports::record::DeleteRange) -> bool| match call {
        Call::DeleteRange(delete) => test(delete),
        _ => false,
    };
    some("delete", &|call| delete(call, |delete| delete.range_end.is_empty()));
    some("delete of several", &|call| delete(call, |delete| !delete.range_end.is_empty()));
    some("delete with previous pairs", &|call| delete(call, |delete| delete.prev_kv));
    some("physical compaction", &|call| matches!(call, Call::Compact { physical: true, .. }));
    some("grant", &|call| matches!(call, Call::LeaseGrant { .. }));
    some("revoke", &|call| matches!(call, Call::LeaseRevoke { .. }));
    some("keepalive", &|call| matches!(call, Call::LeaseKeepAlive { .. }));
    some("time to live", &|call| matches!(call, Call::LeaseTimeToLive { keys: true, .. }));
    some("leases", &|call| matches!(call, Call::LeaseLeases));
}

#[test]
fn every_kind_of_transaction_occurs() {
    let history = play("mixed", &[], 8_000, 0).history;
    let some = |what: &str, test: &dyn Fn(&Txn) -> bool| {
        let found = count(&history, |call| matches!(call, Call::Txn(txn) if test(txn)));
        assert!(found >= 8, "{what} occurs {found} times");
    };
    let has = |txn: &Txn, test: fn(&TxnOp) -> bool| ops(txn).into_iter().any(test);
    some("read-only", &|txn| is_read_only(txn) && !is_serializable(txn));
    some("serializable", &|txn| is_serializable(txn) && !ops(txn).is_empty());
    some("nested", &|txn| has(txn, |op| matches!(op, TxnOp::Txn(_))));
    some("nested twice", &|txn| {
        has(txn, |op| match op {
            TxnOp::Txn(inner) => ops(inner).iter().any(|op| matches!(op, TxnOp::Txn(_))),
            _ => false,
        })
    });
    some("of many operations", &|txn| ops(txn).len() > 6);
    some("delete and range", &|txn| {
        has(txn, |op| matches!(op, TxnOp::DeleteRange(_)))
            && has(txn, |op| matches!(op, TxnOp::Range(_)))
    });
    some("range at a past revision in a writing one", &|txn| {
        !is_read_only(txn) && has(txn, |op| matches!(op, TxnOp::Range(range) if range.revision > 0))
    });
    let compare = |what: &str, test: &dyn Fn(&Compare) -> bool| {
        let found = count(&history, |call| compares(call).into_iter().any(test));
        assert!(found >= 8, "{what} is compared {found} times");
    };
    compare("a range", &|compare| !compare.range_end.is_empty());
    compare("a version", &|compare| matches!(compare.target, Target::Version(_)));
    compare("a create revision", &|compare| matches!(compare.target, Target::Create(_)));
    compare("a mod revision", &|compare| matches!(compare.target, Target::Mod(_)));
    compare("a value", &|compare| matches!(compare.target, Target::Value(_)));
    compare("a lease", &|compare| matches!(compare.target, Target::Lease(_)));
    for operator in [Operator::Equal, Operator::Greater, Operator::Less, Operator::NotEqual] {
        compare("an operator", &|compare| compare.operator == operator);
    }
    let branch = |taken: bool| {
        let of_branch = |operation: &&Operation| match &operation.outcome {
            Some(Outcome::Ok(reply)) => match &reply.body {
                detsim_reports::record::Body::Txn(reply) => reply.succeeded == taken,
                _ => false,
            },
            _ => false,
        };
        history.operations.iter().filter(of_branch).count()
    };
    assert!(branch(true) > 100, "the first branch is taken {} times", branch(true));
    assert!(branch(false) > 100, "the second branch is taken {} times", branch(false));
}

#[test]
fn every_refusal_is_provoked_and_most_requests_are_served() {
    let history = play("mixed", &[], 8_000, 0).history;
    for wanted in [
        Refusal::EmptyKey,
        Refusal::KeyNotFound,
        Refusal::ValueProvided,
        Refusal::LeaseProvided,
        Refusal::TooManyOps,
        Refusal::DuplicateKey,
        Refusal::Compacted,
        Refusal::FutureRevision,
        Refusal::LeaseNotFound,
        Refusal::LeaseExists,
        Refusal::LeaseTtlTooLarge,
    ] {
        let found = history.operations.iter().filter(|op| refusal(op) == Some(wanted)).count();
        assert!(found > 0, "{wanted:?} is never provoked");
    }
    let refused = history.operations.iter().filter(|op| refusal(op).is_some()).count();
    assert!((100..800).contains(&refused), "{refused} of 8000 are refused");
}

/// What the request is at the mercy of; what is not may not be refused.
fn may_be_refused_for(call: &Call) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if ranges(call).iter().any(|range| range.revision != 0) {
        refusals.extend([Refusal::Compacted, Refusal::FutureRevision]);
    }
    if puts(call).iter().any(|put| put.ignore_value || put.ignore_lease) {
        refusals.push(Refusal::KeyNotFound);
    }
    if puts(call).iter().any(|put| put.lease != 0) {
        refusals.push(Refusal::LeaseNotFound);
    }
    match call {
        Call::Compact { .. } => refusals.extend([Refusal::Compacted, Refusal::FutureRevision]),
        Call::LeaseRevoke { .. } => refusals.push(Refusal::LeaseNotFound),
        _ => {}
    }
    refusals
}

#[test]
fn without_invalid_requests_only_the_state_refuses() {
    for trouble in [0, 500] {
        let history = play("mixed", &[("invalid", "0%")], 5_000, trouble).history;
        for operation in &history.operations {
            if let Some(refusal) = refusal(operation) {
                let lawful = may_be_refused_for(&operation.call);
                assert!(lawful.contains(&refusal), "{refusal:?}: {:?}", operation.call);
            }
        }
    }
}

#[test]
fn what_is_avoided_is_asked_otherwise_and_by_nobody() {
    let beside_writes = |call: &Call| matches!(call, Call::Txn(txn) if !is_read_only(txn));
    let met = |avoid: &str| {
        let history = play("mixed", &[("avoid", avoid)], 4_000, 0).history;
        let calls = || history.operations.iter().map(|operation| &operation.call);
        let ranges_of = |call| ranges(call).into_iter();
        let past = calls().filter(|call| beside_writes(call)).flat_map(ranges_of);
        let past = past.filter(|range| range.revision != 0).count();
        (past, calls().flat_map(ranges_of).filter(|range| range.keys_only).count())
    };
    let (past, keys_only) = met("nothing");
    assert!(past > 20 && keys_only > 100, "{past} and {keys_only}");
    let (past, keys_only) = met("past-in-txn");
    assert!(past == 0 && keys_only > 100, "{past} and {keys_only}");
    let (past, keys_only) = met("keys-only");
    assert!(past > 20 && keys_only == 0, "{past} and {keys_only}");
}

#[test]
fn shares_are_what_was_asked_for() {
    let parameters =
        [("reads", "30%"), ("leases", "10%"), ("compactions", "2%"), ("invalid", "0%")];
    let history = play("mixed", &parameters, 6_000, 0).history;
    let leases = count(&history, |call| {
        Model::covers(call)
            && !matches!(call, Call::Range(_) | Call::Put(_) | Call::DeleteRange(_) | Call::Txn(_))
            && !matches!(call, Call::Compact { .. })
    });
    let compactions = count(&history, |call| matches!(call, Call::Compact { .. }));
    let reads = count(&history, |call| match call {
        Call::Range(_) => true,
        Call::Txn(txn) => is_read_only(txn),
        _ => false,
    });
    assert!((450..700).contains(&leases), "{leases} of leases");
    assert!((80..160).contains(&compactions), "{compactions} compactions");
    // With those that precede a swap.
    assert!((1_800..2_700).contains(&reads), "{reads} reads");
}

#[test]
fn no_value_is_written_by_two_attempts() {
    let history = play("mixed", &[("value", "100")], 4_000, 500).history;
    let mut values = BTreeSet::new();
    for operation in &history.operations {
        for put in puts(&operation.call).into_iter().filter(|put| !put.value.is_empty()) {
            assert_eq!(put.value.0.len(), 100);
            assert!(values.insert(&put.value), "{:?} is written twice", put.value);
        }
    }
    assert!(values.len() > 1_000);
}

#[test]
fn after_trouble_reads_are_repeated_and_writes_are_not() {
    let history = play("mixed", &[("clients", "1")], 3_000, 2_000).history;
    let mut repeated = 0;
    for pair in history.operations.windows(2) {
        let [before, after] = pair else { panic!("windows are of two") };
        if crate::workload::is_repeatable(&before.call) {
            let is_over = matches!(before.outcome, Some(Outcome::Ok(_)));
            repeated += usize::from(!is_over && before.call == after.call);
        } else if matches!(before.outcome, Some(Outcome::Unknown(_))) {
            let (key, range_end) = (Blob::text("m"), Blob::text("n"));
            let overview = Call::Range(Range { key, range_end, ..Range::default() });
            assert_eq!(after.call, overview, "after {:?}", before.call);
        }
    }
    assert!(repeated > 50, "{repeated} repetitions");
}

#[test]
fn two_plays_are_equal() {
    let (first, second) = (play("mixed", &[], 2_000, 300), play("mixed", &[], 2_000, 300));
    assert_eq!(first.history, second.history);
    assert!(first.model.revision() > 300);
}
