//! Elements by hand: those that are there, and those that were lost, late or doubled.

use detsim_reports::record::{
    Blob, Body, Call, Compare, DeleteRange, Operator, Put, Range, RangeReply, Target, Txn, TxnOp,
    TxnOpReply, TxnReply,
};

use super::*;
use crate::check::script::{Script, kv};

/// Reads all keys that begin with `s`, and finds these.
fn all(script: &mut Script, from: u64, to: u64, serializable: bool, found: &[(&str, &str)]) {
    let kvs: Vec<KeyValue> = found.iter().map(|(key, value)| kv(key, value, 2, 2, 1)).collect();
    let range = Range {
        key: Blob::text("s"),
        range_end: Blob::text("t"),
        serializable,
        ..Range::default()
    };
    let count = kvs.len() as i64;
    script.ok(from, to, Call::Range(range), 9, Body::Range(RangeReply { kvs, more: false, count }));
}

/// A list on the condition that it is as it was.
fn append(script: &mut Script, from: u64, to: u64, read: i64, value: &str, revision: i64) {
    let key = Blob::text("s");
    let compare = Compare {
        key: key.clone(),
        range_end: Blob::default(),
        operator: Operator::Equal,
        target: Target::Mod(read),
    };
    let put = Put { key, value: Blob::text(value), ..Put::default() };
    let (compare, success) = (vec![compare], vec![TxnOp::Put(put)]);
    let call = Call::Txn(Box::new(Txn { compare, success, failure: Vec::new() }));
    let responses = vec![TxnOpReply::Put { revision, prev_kv: None }];
    script.ok(from, to, call, revision, Body::Txn(TxnReply { succeeded: true, responses }));
}

fn rules(script: &Script) -> Vec<String> {
    check(&script.history).findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn what_is_known_is_there() {
    let mut script = Script::new();
    script.put(10, 20, "s1", "1", 2);
    all(&mut script, 15, 30, false, &[]);
    all(&mut script, 30, 40, false, &[("s1", "1")]);
    let unknown = script.invoke(10, crate::check::script::put("s2", "2"));
    script.unknown(unknown, 20);
    all(&mut script, 50, 60, false, &[("s1", "1")]);
    assert_eq!(rules(&script), Vec::<String>::new());
    let report = check(&script.history);
    assert!(report.checked.contains(&"1 elements that every later read shows".to_owned()));
}

#[test]
fn an_element_that_vanishes_is_lost_and_one_that_comes_back_was_stale() {
    let mut script = Script::new();
    script.put(10, 20, "s1", "1", 2);
    all(&mut script, 30, 40, false, &[]);
    assert_eq!(rules(&script), ["lost-element"]);
    all(&mut script, 50, 60, false, &[("s1", "1")]);
    assert_eq!(rules(&script), ["stale-element"]);
    all(&mut script, 70, 80, false, &[]);
    assert_eq!(rules(&script), ["lost-element"]);
}

#[test]
fn a_read_makes_an_element_known_and_a_local_read_may_miss_it() {
    let mut script = Script::new();
    let unknown = script.invoke(10, crate::check::script::put("s1", "1"));
    script.unknown(unknown, 20);
    all(&mut script, 30, 40, true, &[("s1", "1")]);
    all(&mut script, 50, 60, true, &[]);
    assert_eq!(rules(&script), Vec::<String>::new());
    all(&mut script, 70, 80, false, &[]);
    assert_eq!(rules(&script), ["lost-element"]);
}

#[test]
fn keys_that_somebody_deletes_are_no_elements() {
    let mut script = Script::new();
    script.put(10, 20, "s1", "1", 2);
    all(&mut script, 30, 40, false, &[]);
    let delete = DeleteRange { key: Blob::text("s1"), ..DeleteRange::default() };
    let op = script.invoke(15, Call::DeleteRange(delete));
    script.unknown(op, 25);
    assert_eq!(rules(&script), Vec::<String>::new());
    script.fail(op, 25, "etcdserver: no leader");
    assert_eq!(rules(&script), ["lost-element"]);
}

#[test]
fn elements_of_lists_are_elements() {
    let mut script = Script::new();
    append(&mut script, 10, 20, 0, "[7]", 2);
    append(&mut script, 30, 40, 2, "[7 8]", 3);
    all(&mut script, 35, 50, false, &[("s", "[7]")]);
    all(&mut script, 50, 60, false, &[("s", "[7 8]")]);
    assert_eq!(rules(&script), Vec::<String>::new());
    all(&mut script, 70, 80, false, &[("s", "[8]")]);
    let report = check(&script.history);
    assert_eq!(report.findings.len(), 1);
    assert!(report.findings[0].explanation.starts_with("element 7 of \"s\" was known since op 0"));
    // A blind put makes it an ordinary key.
    script.put(1, 90, "s", "[8]", 4);
    assert_eq!(rules(&script), Vec::<String>::new());
}

#[test]
fn nothing_is_there_twice() {
    let mut script = Script::new();
    append(&mut script, 10, 20, 0, "[7]", 2);
    all(&mut script, 30, 40, false, &[("s", "[7 7]")]);
    assert_eq!(rules(&script), ["duplicated-element"]);
    let mut script = Script::new();
    all(&mut script, 30, 40, false, &[("s1", "7"), ("s1", "7")]);
    assert_eq!(rules(&script), ["duplicated-element"]);
}
