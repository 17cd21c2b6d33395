//! What transactions ask for, and that nothing is asked twice.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{
    Blob, Body, Call, History, Operator, Outcome, Put, Range, Target, Txn, TxnOp,
};

use crate::model::is_read_only;
use crate::workload::stage::{Play, play};

fn ops(call: &Call) -> Vec<&TxnOp> {
    match call {
        Call::Txn(txn) => txn.success.iter().chain(&txn.failure).collect(),
        _ => Vec::new(),
    }
}

fn puts(call: &Call) -> Vec<&Put> {
    fn of_op(op: &TxnOp) -> Option<&Put> {
        match op {
            TxnOp::Put(put) => Some(put),
            _ => None,
        }
    }
    match call {
        Call::Put(put) => vec![put],
        call => ops(call).into_iter().filter_map(of_op).collect(),
    }
}

fn ranges(call: &Call) -> Vec<&Range> {
    fn of_op(op: &TxnOp) -> Option<&Range> {
        match op {
            TxnOp::Range(range) => Some(range),
            _ => None,
        }
    }
    match call {
        Call::Range(range) => vec![range],
        call => ops(call).into_iter().filter_map(of_op).collect(),
    }
}

fn writing(history: &History) -> Vec<&Txn> {
    fn txn(call: &Call) -> Option<&Txn> {
        match call {
            Call::Txn(txn) if !is_read_only(txn) => Some(txn),
            _ => None,
        }
    }
    history.operations.iter().filter_map(|operation| txn(&operation.call)).collect()
}

fn taken(history: &History, branch: bool) -> usize {
    let is_taken = |outcome: &Option<Outcome>| match outcome {
        Some(Outcome::Ok(reply)) => {
            matches!(&reply.body, Body::Txn(body) if body.succeeded == branch)
        }
        _ => false,
    };
    history.operations.iter().filter(|operation| is_taken(&operation.outcome)).count()
}

fn elements(value: &Blob) -> Vec<String> {
    let text = std::str::from_utf8(&value.0).expect("a list is text");
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).expect("a list");
    inner.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn no_request_names_a_revision_and_both_kinds_of_read_occur() {
    for kind in ["append", "wr"] {
        let history = play(kind, &[], 3_000, 300).history;
        let all: Vec<&Range> = history.operations.iter().flat_map(|op| ranges(&op.call)).collect();
        assert!(all.iter().all(|range| range.revision == 0));
        let local = all.iter().filter(|range| range.serializable).count();
        assert!(local > 50 && local < all.len() / 5, "{kind}: {local} of {}", all.len());
        let singles = |op: &&detsim_reports::record::Operation| matches!(op.call, Call::Range(_));
        assert!(history.operations.iter().filter(singles).count() > 50, "{kind}");
        let is_local = |op: &TxnOp| matches!(op, TxnOp::Range(range) if range.serializable);
        assert!(writing(&history).iter().all(|txn| !txn.success.iter().any(is_local)));
    }
}

#[test]
fn every_write_of_a_list_is_guarded_and_extends_what_the_guard_names() {
    let Play { history, model } = play("append", &[], 4_000, 300);
    let mut extended = 0;
    for txn in writing(&history) {
        for put in txn.success.iter().filter_map(|op| match op {
            TxnOp::Put(put) => Some(put),
            _ => None,
        }) {
            let guard = txn.compare.iter().find(|compare| compare.key == put.key).expect("a guard");
            assert_eq!(guard.operator, Operator::Equal);
            let Target::Mod(modified) = guard.target else { panic!("a guard of another kind") };
            let new = elements(&put.value);
            let old = model.get_at(&put.key, modified);
            let old = old.map_or(Vec::new(), |kv| elements(&kv.value));
            assert!(new.len() > old.len() && new.starts_with(&old), "{old:?} before {new:?}");
            extended += usize::from(!old.is_empty());
        }
        assert!(txn.failure.iter().all(|op| matches!(op, TxnOp::Range(_))));
    }
    assert!(extended > 300, "{extended} lists grew");
    assert!(taken(&history, true) > 300, "{} succeeded", taken(&history, true));
    assert!(taken(&history, false) > 50, "{} did not", taken(&history, false));
}

#[test]
fn no_element_and_no_value_is_written_by_two_attempts() {
    let history = play("append", &[], 4_000, 500).history;
    let mut longest: BTreeMap<&Blob, Vec<String>> = BTreeMap::new();
    let mut last = BTreeSet::new();
    for put in history.operations.iter().flat_map(|op| puts(&op.call)) {
        let elements = elements(&put.value);
        let newest = elements.last().expect("not empty").clone();
        assert!(last.insert(newest), "an element is appended twice: {elements:?}");
        longest.insert(&put.key, elements);
    }
    assert!(longest.len() > 20, "{} keys were in use", longest.len());
    let history = play("wr", &[], 4_000, 500).history;
    let mut values = BTreeSet::new();
    for put in history.operations.iter().flat_map(|op| puts(&op.call)) {
        assert!(values.insert(&put.value), "{:?} is written twice", put.value);
    }
    assert!(values.len() > 1_000);
}

#[test]
fn forms_are_those_that_were_asked_for() {
    let unguarded =
        |history: &History| writing(history).iter().filter(|txn| txn.compare.is_empty()).count();
    let blind = |history: &History| {
        history.operations.iter().filter(|op| matches!(op.call, Call::Put(_))).count()
    };
    let native = play("wr", &[("forms", "native")], 2_000, 0).history;
    assert_eq!(unguarded(&native), writing(&native).len());
    assert!(unguarded(&native) > 300 && blind(&native) > 100);
    let two_phase = play("wr", &[("forms", "two-phase")], 2_000, 0).history;
    assert!(!writing(&two_phase).is_empty());
    assert_eq!((unguarded(&two_phase), blind(&two_phase)), (0, 0));
    let reads_first = |history: &History| {
        let of_client = |client| history.operations.iter().filter(move |op| op.client == client);
        history
            .operations
            .iter()
            .filter(|op| matches!(&op.call, Call::Txn(txn) if !is_read_only(txn)))
            .all(|writer| {
                let before = of_client(writer.client).filter(|op| op.id < writer.id).last();
                before.is_some_and(|read| read.completed == writer.invoked)
            })
    };
    assert!(reads_first(&two_phase));
    assert!(!reads_first(&native));
}

#[test]
fn two_plays_are_equal() {
    for kind in ["append", "wr"] {
        assert_eq!(play(kind, &[], 1_000, 300).history, play(kind, &[], 1_000, 300).history);
    }
}
