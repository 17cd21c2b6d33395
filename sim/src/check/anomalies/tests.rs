//! Histories by hand: those that some order explains, and one for each anomaly.

use detsim_reports::record::{
    Blob, Body, Call, ClientId, Compare, DeleteRange, OpId, Operator, Put, Range, RangeReply,
    Target, Txn, TxnOp, TxnOpReply, TxnReply,
};

use super::*;
use crate::check::script::{Script, found_one, get, kv, put};

/// A step of a transaction with its answer.
enum Did {
    /// Read a version with this value, or nothing.
    Read(&'static str, Option<(&'static str, i64)>),
    /// Wrote a value at a revision.
    Wrote(&'static str, &'static str, i64),
}

/// A transaction on the condition that keys were modified at these revisions; it succeeded.
fn txn(script: &mut Script, from: u64, to: u64, guards: &[(&str, i64)], did: &[Did]) -> OpId {
    let compare = |&(key, modified): &(&str, i64)| Compare {
        key: Blob::text(key),
        range_end: Blob::default(),
        operator: Operator::Equal,
        target: Target::Mod(modified),
    };
    let op = |did: &Did| match did {
        Did::Read(key, _) => TxnOp::Range(Range { key: Blob::text(key), ..Range::default() }),
        Did::Wrote(key, value, _) => {
            TxnOp::Put(Put { key: Blob::text(key), value: Blob::text(value), ..Put::default() })
        }
    };
    let revision = did.iter().map(|did| match did {
        Did::Wrote(_, _, revision) => *revision,
        Did::Read(_, found) => found.map_or(1, |(_, modified)| modified),
    });
    let revision = revision.max().unwrap_or(1);
    let response = |did: &Did| match did {
        Did::Read(key, found) => {
            let kvs = found.map(|(value, modified)| kv(key, value, modified, modified, 1));
            let count = i64::from(kvs.is_some());
            let kvs = kvs.into_iter().collect();
            TxnOpReply::Range { revision, reply: RangeReply { kvs, more: false, count } }
        }
        Did::Wrote(_, _, revision) => TxnOpReply::Put { revision: *revision, prev_kv: None },
    };
    let call = Call::Txn(Box::new(Txn {
        compare: guards.iter().map(compare).collect(),
        success: did.iter().map(op).collect(),
        failure: Vec::new(),
    }));
    let responses = did.iter().map(response).collect();
    script.ok(from, to, call, revision, Body::Txn(TxnReply { succeeded: true, responses }))
}

fn read(script: &mut Script, from: u64, to: u64, key: &str, value: &str, modified: i64) -> OpId {
    script.get(from, to, key, Some(kv(key, value, modified, modified, 1)), modified)
}

/// What is found: rules with the operations that show them.
fn found(script: &Script) -> Vec<(String, Vec<u32>)> {
    let findings = check(&script.history).findings.into_iter();
    let ids = |ops: Vec<OpId>| {
        let mut ids: Vec<u32> = ops.into_iter().map(|op| op.0).collect();
        ids.sort_unstable();
        ids
    };
    findings.map(|finding| (finding.rule, ids(finding.operations))).collect()
}

fn expect(script: &Script, rule: &str, operations: &[u32]) {
    assert_eq!(found(script), [(rule.to_owned(), operations.to_vec())]);
}

#[test]
fn what_some_order_explains_is_no_anomaly() {
    let mut script = Script::new();
    txn(&mut script, 10, 20, &[("x", 0)], &[Did::Wrote("x", "[1]", 2)]);
    txn(
        &mut script,
        12,
        30,
        &[("x", 2), ("y", 0)],
        &[Did::Wrote("x", "[1 2]", 3), Did::Read("y", None), Did::Wrote("y", "[3]", 3)],
    );
    // Concurrent, and before the second one.
    read(&mut script, 11, 40, "x", "[1]", 2);
    txn(
        &mut script,
        41,
        50,
        &[],
        &[Did::Read("x", Some(("[1 2]", 3))), Did::Read("y", Some(("[3]", 3)))],
    );
    assert_eq!(found(&script), []);
}

#[test]
fn a_stale_read_is_a_cycle_with_real_time_of_two_operations_only() {
    let mut script = Script::new();
    for at in 0..20 {
        let revision = at as i64 + 2;
        script.put(at * 10, at * 10 + 1, "other", &format!("{at}"), revision);
    }
    script.put(300, 310, "x", "1", 30);
    script.put(320, 330, "x", "2", 31);
    read(&mut script, 400, 410, "x", "1", 30);
    expect(&script, "G-single-realtime", &[21, 22]);
    let report = check(&script.history);
    let text = &report.findings[0].explanation;
    assert!(text.contains("found \"x\" as of revision 30"), "{text}");
    assert!(text.contains("(rw)") && text.contains("(real time)"), "{text}");
}

#[test]
fn a_client_that_does_not_see_its_own_write_is_a_cycle_with_its_order() {
    let mut script = Script::new();
    script.put(10, 20, "x", "1", 2);
    script.get(30, 40, "x", None, 1);
    for operation in &mut script.history.operations {
        operation.client = ClientId(7);
    }
    expect(&script, "G-single-process", &[0, 1]);
}

#[test]
fn local_and_historic_reads_may_be_old_but_not_torn() {
    let mut script = Script::new();
    script.put(10, 20, "x", "1", 2);
    script.put(30, 40, "x", "2", 3);
    let range = Range { key: Blob::text("x"), ..Range::default() };
    for range in [Range { serializable: true, ..range.clone() }, Range { revision: 2, ..range }] {
        let body = found_one(Some(kv("x", "1", 2, 2, 1)));
        script.ok(50, 60, Call::Range(range), 3, body);
    }
    assert_eq!(found(&script), []);
    // What a local read showed was committed: whoever begins later must see it.
    let op = script.invoke(
        70,
        Call::Range(Range { key: Blob::text("y"), serializable: true, ..Range::default() }),
    );
    script.answer(op, 80, 4, found_one(Some(kv("y", "3", 4, 4, 1))));
    script.put(65, 200, "y", "3", 4);
    script.get(90, 100, "y", None, 3);
    expect(&script, "G-single-realtime", &[4, 5, 6]);
}

#[test]
fn two_that_changed_the_same_version_lost_an_update() {
    let mut script = Script::new();
    txn(&mut script, 10, 90, &[("x", 0)], &[Did::Wrote("x", "1", 2)]);
    txn(&mut script, 20, 90, &[("x", 2)], &[Did::Wrote("x", "2", 3)]);
    txn(&mut script, 30, 90, &[("x", 2)], &[Did::Wrote("x", "3", 4)]);
    expect(&script, "lost-update", &[1, 2]);
}

#[test]
fn writes_in_different_orders_are_g0() {
    let mut script = Script::new();
    txn(&mut script, 10, 90, &[], &[Did::Wrote("x", "1", 2), Did::Wrote("y", "1", 3)]);
    txn(&mut script, 10, 90, &[], &[Did::Wrote("x", "2", 3), Did::Wrote("y", "2", 2)]);
    expect(&script, "G0", &[0, 1]);
}

#[test]
fn a_write_before_one_that_was_over_is_g0_with_real_time() {
    let mut script = Script::new();
    script.put(10, 20, "x", "1", 5);
    script.put(30, 40, "x", "2", 4);
    expect(&script, "G0-realtime", &[0, 1]);
}

#[test]
fn two_that_see_each_other_are_g1c() {
    let mut script = Script::new();
    let second = [Did::Wrote("y", "2", 3), Did::Read("x", Some(("1", 2)))];
    txn(&mut script, 10, 90, &[], &[Did::Read("y", Some(("2", 3))), Did::Wrote("x", "1", 2)]);
    txn(&mut script, 10, 90, &[], &second);
    expect(&script, "G1c", &[0, 1]);
}

#[test]
fn half_of_a_transaction_is_g_single() {
    let mut script = Script::new();
    txn(&mut script, 10, 90, &[], &[Did::Wrote("x", "1", 2), Did::Wrote("y", "1", 2)]);
    txn(&mut script, 10, 90, &[], &[Did::Read("x", None), Did::Read("y", Some(("1", 2)))]);
    expect(&script, "G-single", &[0, 1]);
}

#[test]
fn write_skew_is_g2() {
    let mut script = Script::new();
    txn(&mut script, 10, 90, &[("y", 0)], &[Did::Wrote("x", "1", 2)]);
    txn(&mut script, 10, 90, &[("x", 0)], &[Did::Wrote("y", "1", 3)]);
    expect(&script, "G2-item", &[0, 1]);
}

#[test]
fn scans_that_saw_two_writes_in_different_orders_are_g2() {
    let mut script = Script::new();
    script.put(10, 90, "s1", "1", 2);
    script.put(10, 90, "s2", "2", 3);
    let all = Range { key: Blob::text("s"), range_end: Blob::text("t"), ..Range::default() };
    for (value, modified) in [("1", 2), ("2", 3)] {
        let kvs = vec![kv(&format!("s{value}"), value, modified, modified, 1)];
        let body = Body::Range(RangeReply { kvs, more: false, count: 1 });
        script.ok(10, 90, Call::Range(all.clone()), modified, body);
    }
    expect(&script, "G2-item", &[0, 1, 2, 3]);
    // Somebody deletes: absence says nothing any more.
    let op = script.invoke(
        10,
        Call::DeleteRange(DeleteRange {
            key: Blob::text("s"),
            range_end: Blob::text("t"),
            ..DeleteRange::default()
        }),
    );
    script.unknown(op, 95);
    assert_eq!(found(&script), []);
}

#[test]
fn what_failed_or_was_never_written_is_not_read() {
    let mut script = Script::new();
    let failed = script.invoke(10, put("x", "1"));
    script.fail(failed, 20, "etcdserver: no leader");
    read(&mut script, 30, 40, "x", "1", 2);
    expect(&script, "G1a", &[0, 1]);
    let mut script = Script::new();
    read(&mut script, 30, 40, "x", "1", 2);
    expect(&script, "garbage-read", &[0]);
}

#[test]
fn a_write_of_unknown_outcome_is_found_by_its_value() {
    let mut script = Script::new();
    let unknown = script.invoke(10, put("x", "1"));
    script.unknown(unknown, 20);
    read(&mut script, 30, 40, "x", "1", 2);
    assert_eq!(found(&script), []);
    // It took effect, so that later reads must see it.
    script.get(50, 60, "x", None, 1);
    expect(&script, "G-single-realtime", &[0, 1, 2]);
    // Twice is once too often.
    script.history.operations.pop();
    read(&mut script, 70, 80, "x", "1", 3);
    expect(&script, "duplicate-write", &[0, 2]);
}

#[test]
fn an_acknowledged_write_is_found_once_and_with_its_value() {
    let mut script = Script::new();
    script.put(10, 20, "x", "1", 2);
    read(&mut script, 30, 40, "x", "1", 3);
    expect(&script, "duplicate-write", &[0, 1]);
    let mut script = Script::new();
    script.put(10, 20, "x", "1", 2);
    read(&mut script, 30, 40, "x", "2", 2);
    expect(&script, "wrong-value", &[0, 1]);
    let mut script = Script::new();
    script.put(10, 20, "x", "1", 2);
    script.put(10, 20, "x", "2", 2);
    expect(&script, "two-writers", &[0, 1]);
}

#[test]
fn a_version_whose_value_may_be_a_copy_has_no_writer_by_its_value() {
    let mut script = Script::new();
    let first = script.invoke(10, put("x", "1"));
    script.unknown(first, 20);
    // It keeps the value of x in the version that it writes together with y.
    let keep = Put { key: Blob::text("x"), ignore_value: true, ..Put::default() };
    let both = vec![
        TxnOp::Put(keep),
        TxnOp::Put(Put { key: Blob::text("y"), value: Blob::text("2"), ..Put::default() }),
    ];
    let both = Txn { compare: Vec::new(), success: both, failure: Vec::new() };
    let both = script.invoke(10, Call::Txn(Box::new(both)));
    script.unknown(both, 20);
    read(&mut script, 30, 40, "x", "1", 3);
    read(&mut script, 30, 40, "y", "2", 3);
    assert_eq!(found(&script), []);
}

#[test]
fn part_of_an_append_is_g1b() {
    let mut script = Script::new();
    txn(&mut script, 10, 20, &[("x", 0)], &[Did::Wrote("x", "[1 2]", 2)]);
    read(&mut script, 30, 40, "x", "[1]", 2);
    expect(&script, "G1b", &[0, 1]);
}

#[test]
fn lists_that_do_not_continue_each_other_are_out_of_order() {
    let mut script = Script::new();
    txn(&mut script, 10, 20, &[("x", 0)], &[Did::Wrote("x", "[1]", 2)]);
    txn(&mut script, 30, 40, &[("x", 2)], &[Did::Wrote("x", "[2]", 3)]);
    expect(&script, "incompatible-order", &[0, 1]);
}

#[test]
fn a_list_that_somebody_may_have_deleted_begins_anew() {
    let mut script = Script::new();
    txn(&mut script, 10, 20, &[("x", 0)], &[Did::Wrote("x", "[1]", 2)]);
    let delete =
        DeleteRange { key: Blob::text("w"), range_end: Blob::text("z"), ..DeleteRange::default() };
    let body = Body::DeleteRange { deleted: 1, prev_kvs: Vec::new() };
    script.ok(30, 40, Call::DeleteRange(delete), 3, body);
    txn(&mut script, 50, 60, &[("x", 0)], &[Did::Wrote("x", "[2]", 4)]);
    assert_eq!(found(&script), []);
}

#[test]
fn a_transaction_agrees_with_itself() {
    let mut script = Script::new();
    script.put(1, 2, "x", "1", 2);
    txn(&mut script, 10, 20, &[], &[Did::Wrote("x", "2", 3), Did::Read("x", Some(("2", 3)))]);
    assert_eq!(found(&script), []);
    let mut torn = script.clone();
    txn(&mut torn, 30, 40, &[], &[Did::Wrote("x", "3", 4), Did::Read("x", Some(("2", 3)))]);
    expect(&torn, "internal", &[2]);
    txn(&mut script, 30, 40, &[("x", 2)], &[Did::Read("x", Some(("2", 3)))]);
    let rules: Vec<String> = found(&script).into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(rules, ["internal", "G-single-realtime"]);
}

#[test]
fn a_key_that_a_transaction_deletes_with_others_is_gone_for_it() {
    let mut script = Script::new();
    script.put(1, 2, "x", "1", 2);
    let delete =
        DeleteRange { key: Blob::text("a"), range_end: Blob::text("z"), ..DeleteRange::default() };
    let range = Range { key: Blob::text("x"), ..Range::default() };
    let compare = Compare {
        key: Blob::text("x"),
        range_end: Blob::default(),
        operator: Operator::Equal,
        target: Target::Mod(2),
    };
    let success = vec![TxnOp::DeleteRange(delete), TxnOp::Range(range)];
    let call = Call::Txn(Box::new(Txn { compare: vec![compare], success, failure: Vec::new() }));
    let deleted = TxnOpReply::DeleteRange { revision: 3, deleted: 1, prev_kvs: Vec::new() };
    let gone = TxnOpReply::Range { revision: 3, reply: RangeReply::default() };
    let reply = TxnReply { succeeded: true, responses: vec![deleted, gone] };
    script.ok(10, 20, call, 3, Body::Txn(reply));
    assert_eq!(found(&script), []);
}

#[test]
fn several_clusters_are_not_compared() {
    let mut script = Script::new();
    script.put(10, 20, "x", "1", 2);
    script.get(30, 40, "x", None, 1);
    if let Some(detsim_reports::record::Outcome::Ok(reply)) =
        &mut script.history.operations[1].outcome
    {
        reply.header.cluster_id = 2;
    }
    let report = check(&script.history);
    assert_eq!(report.findings, []);
    assert_eq!(report.not_checked.len(), 1);
    assert_eq!(get("x"), script.history.operations[1].call);
}
