//! Local reads that are old, which is their right, and wrong, which is not.

use detsim_reports::record::{Blob, Body, Put, Range, RangeReply, TxnOpReply, TxnReply};

use super::*;
use crate::check::linearizability;
use crate::check::script::{Script, found_one, kv};

fn local(key: &str, revision: i64) -> Call {
    Call::Range(Range { key: Blob::text(key), serializable: true, revision, ..Range::default() })
}

/// `a` is put at revisions 2 and 3 by 21 us.
fn store() -> Script {
    let mut script = Script::new();
    script.put(10, 11, "a", "1", 2);
    script.put(20, 21, "a", "2", 3);
    script
}

fn rules(script: &Script) -> Vec<String> {
    let outcome = linearizability::check(&script.history, None, 10_000);
    assert!(outcome.timeline.is_some());
    let report = check(&script.history, outcome.timeline.as_ref());
    report.findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_local_read_may_be_old() {
    let mut script = store();
    let op = script.invoke_at(1, 30, local("a", 0));
    script.answer(op, 31, 2, found_one(Some(kv("a", "1", 2, 2, 1))));
    assert_eq!(rules(&script), Vec::<String>::new());
}

#[test]
fn a_local_read_may_not_be_wrong() {
    let mut script = store();
    let op = script.invoke_at(1, 30, local("a", 0));
    script.answer(op, 31, 2, found_one(Some(kv("a", "2", 2, 3, 2))));
    assert_eq!(rules(&script), ["wrong-local-read"]);
}

#[test]
fn a_local_read_sees_only_what_is_committed() {
    let mut script = store();
    let never = script.invoke_at(1, 30, local("b", 0));
    script.answer(never, 31, 4, found_one(None));
    let early = script.invoke_at(1, 12, local("b", 0));
    script.answer(early, 13, 3, found_one(None));
    assert_eq!(rules(&script), ["uncommitted-read", "uncommitted-read"]);
}

#[test]
fn where_a_refusal_took_effect_does_not_say_when_a_revision_began() {
    let mut script = store();
    // The put and the refusal overlap, and either may have come first.
    let put = Put { key: Blob::text("a"), value: Blob::text("3"), ..Put::default() };
    let put = script.invoke_at(1, 30, Call::Put(put));
    let absent = Put { key: Blob::text("b"), ignore_value: true, ..Put::default() };
    let refused = script.invoke_at(2, 37, Call::Put(absent));
    let early = script.invoke_at(3, 33, local("b", 0));
    script.answer(early, 35, 4, found_one(None));
    script.answer(put, 40, 4, Body::Put { prev_kv: None });
    script.fail(refused, 41, "etcdserver: key not found");
    assert_eq!(rules(&script), Vec::<String>::new());
}

#[test]
fn a_compaction_is_there_once_it_is_asked_for_whatever_revision_its_reply_tells() {
    let mut script = store();
    let compact = script.invoke_at(1, 30, Call::Compact { revision: 3, physical: false });
    let refused = script.invoke_at(2, 31, local("a", 2));
    script.fail(refused, 32, "etcdserver: mvcc: required revision has been compacted");
    script.put(33, 34, "a", "3", 4);
    script.answer(compact, 40, 4, Body::Compact);
    assert_eq!(rules(&script), Vec::<String>::new());
}

#[test]
fn a_historic_local_read_is_of_the_revision_asked_for() {
    let mut script = store();
    let good = script.invoke_at(1, 30, local("a", 2));
    script.answer(good, 31, 3, found_one(Some(kv("a", "1", 2, 2, 1))));
    assert_eq!(rules(&script), Vec::<String>::new());
    let bad = script.invoke_at(2, 30, local("a", 3));
    script.answer(bad, 31, 2, found_one(Some(kv("a", "1", 2, 2, 1))));
    assert_eq!(rules(&script), ["wrong-local-read"]);
}

#[test]
fn only_the_branch_that_was_taken_is_held_against_the_revision() {
    let later = Range { key: Blob::text("a"), serializable: true, revision: 3, ..Range::default() };
    let read = |success: Vec<TxnOp>, failure: Vec<TxnOp>| {
        Call::Txn(Box::new(Txn { success, failure, ..Txn::default() }))
    };
    let reply = RangeReply { kvs: vec![kv("a", "2", 2, 3, 2)], more: false, count: 1 };
    let responses = vec![TxnOpReply::Range { revision: 2, reply }];
    let mut script = store();
    let op = script.invoke_at(1, 30, read(Vec::new(), vec![TxnOp::Range(later.clone())]));
    script.answer(op, 31, 2, Body::Txn(TxnReply { succeeded: true, responses: Vec::new() }));
    assert_eq!(rules(&script), Vec::<String>::new());
    let op = script.invoke_at(2, 30, read(vec![TxnOp::Range(later)], Vec::new()));
    script.answer(op, 31, 2, Body::Txn(TxnReply { succeeded: true, responses }));
    assert_eq!(rules(&script), ["wrong-local-read"]);
}

#[test]
fn a_local_read_is_refused_only_for_what_was_compacted() {
    let mut script = store();
    let refused = script.invoke_at(1, 30, local("a", 2));
    script.fail(refused, 31, "etcdserver: mvcc: required revision has been compacted");
    assert_eq!(rules(&script), ["wrong-refusal"]);
    script.ok(22, 23, Call::Compact { revision: 3, physical: false }, 3, Body::Compact);
    assert_eq!(rules(&script), Vec::<String>::new());
}
