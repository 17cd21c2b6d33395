//! What is added, and that whole sets are read.

use std::collections::BTreeSet;

use detsim_reports::record::{Blob, Call, Operation, TxnOp};

use crate::workload::stage::play;

fn added(operation: &Operation) -> Option<Vec<u8>> {
    match &operation.call {
        Call::Put(put) => Some(put.value.0.to_vec()),
        Call::Txn(txn) => match txn.success.as_slice() {
            [TxnOp::Put(put)] => {
                let inner = put.value.0.strip_prefix(b"[")?.strip_suffix(b"]")?;
                Some(inner.rsplit(|byte| *byte == b' ').next()?.to_vec())
            }
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn every_element_is_added_once_and_every_way_of_reading_occurs() {
    let history = play("set", &[("elements", "50")], 3_000, 300).history;
    let mut elements = BTreeSet::new();
    for operation in &history.operations {
        if let Some(element) = added(operation) {
            assert!(elements.insert(element), "{:?} is added twice", operation.call);
        }
    }
    assert!(elements.len() > 1_000, "{} elements", elements.len());
    let some = |what: &str, test: &dyn Fn(&Call) -> bool| {
        let found = history.operations.iter().filter(|operation| test(&operation.call)).count();
        assert!(found >= 8, "{what} occurs {found} times");
    };
    let everything = Blob::text("s");
    some("a key for an element", &|call| matches!(call, Call::Put(_)));
    some("a list", &|call| matches!(call, Call::Txn(_)));
    some("everything", &|call| matches!(call, Call::Range(range) if range.key == everything));
    some("local", &|call| matches!(call, Call::Range(range) if range.serializable));
    some(
        "a set of keys",
        &|call| matches!(call, Call::Range(range) if range.key.0.ends_with(b"-")),
    );
    some(
        "a full set",
        &|call| matches!(call, Call::Range(range) if range.key == Blob::text("s0-")),
    );
}

#[test]
fn a_list_holds_what_its_guarded_writes_appended() {
    let play = play("set", &[("as", "list"), ("elements", "40")], 3_000, 300);
    let lists: Vec<_> = play.model.live().collect();
    assert!(lists.len() > 10);
    for kv in lists {
        let elements = kv.value.0.split(|byte| *byte == b' ').count() as i64;
        assert_eq!(elements, kv.version, "{kv:?}");
    }
}

#[test]
fn two_plays_are_equal() {
    assert_eq!(play("set", &[], 1_000, 300).history, play("set", &[], 1_000, 300).history);
}
