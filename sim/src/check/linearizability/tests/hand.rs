//! Histories by hand: one for each rule, good and bad.

use detsim_reports::record::{Blob, Body, Call, Command, OpId, Range, Txn, TxnOp};

use super::*;
use crate::check::script::{Script, get, kv, put};

/// Rules found by search, then by witness if a log was written.
fn rules(script: &Script) -> (Vec<String>, Vec<String>) {
    let by_rule = |report: CheckReport| -> Vec<String> {
        report.findings.into_iter().map(|finding| finding.rule).collect()
    };
    let alone = check(&script.history, None, 100_000);
    assert!(!alone.linearizability.undecided);
    let with_log = check(&script.history, Some(&script.internals), 100_000);
    assert_eq!(
        alone.linearizability.findings, with_log.linearizability.findings,
        "the log has no say in the black-box verdict"
    );
    (by_rule(alone.linearizability), by_rule(with_log.log))
}

fn rule(rule: &str) -> Vec<String> {
    vec![rule.to_owned()]
}

#[test]
fn a_read_may_see_either_side_of_a_concurrent_write() {
    for (found, revision) in [(None, 1), (Some(kv("a", "1", 2, 2, 1)), 2)] {
        let mut script = Script::new();
        let write = script.put(10, 30, "a", "1", 2);
        script.get(15, 20, "a", found, revision);
        script.log(25, write);
        assert_eq!(rules(&script), (vec![], vec![]));
    }
}

#[test]
fn a_read_after_a_write_must_see_it() {
    let mut script = Script::new();
    let write = script.put(10, 20, "a", "1", 2);
    script.get(30, 40, "a", None, 1);
    script.log(15, write);
    assert_eq!(rules(&script), (rule("stale-read"), rule("stale-read")));
    let outcome = check(&script.history, Some(&script.internals), 1_000);
    assert_eq!(
        outcome.log.findings[0].explanation,
        "op 1 (get \"a\") does not see op 0 (put \"a\"=\"1\"), which had returned 10000 ns before \
         it was invoked"
    );
    assert_eq!(outcome.log.findings[0].operations, [OpId(0), OpId(1)]);
}

#[test]
fn two_reads_may_not_go_back_in_time() {
    let mut script = Script::new();
    let write = script.put(10, 90, "a", "1", 2);
    script.get(20, 30, "a", Some(kv("a", "1", 2, 2, 1)), 2);
    script.get(40, 50, "a", None, 1);
    script.log(15, write);
    assert_eq!(rules(&script), (rule("stale-read"), rule("stale-read")));
}

#[test]
fn a_read_of_what_was_not_yet_asked_for_is_from_the_future() {
    let mut script = Script::new();
    script.get(10, 20, "a", Some(kv("a", "1", 2, 2, 1)), 2);
    let write = script.put(30, 40, "a", "1", 2);
    script.log(35, write);
    let (searched, witnessed) = rules(&script);
    assert_eq!(searched.len(), 1);
    assert_eq!(witnessed, rule("future-read"));
}

#[test]
fn an_acknowledged_write_that_is_not_in_the_log_is_lost() {
    let mut script = Script::new();
    let first = script.put(10, 20, "a", "1", 2);
    script.put(30, 40, "a", "2", 3);
    script.log(15, first);
    assert_eq!(rules(&script), (vec![], rule("lost-write")));
    script.get(50, 60, "a", Some(kv("a", "1", 2, 2, 1)), 2);
    assert_eq!(rules(&script), (rule("stale-read"), rule("lost-write")));
}

#[test]
fn a_write_may_take_effect_once() {
    let mut script = Script::new();
    let write = script.invoke(10, put("a", "1"));
    script.unknown(write, 20);
    script.get(30, 40, "a", Some(kv("a", "1", 2, 3, 2)), 3);
    script.log(12, write);
    script.log(13, write);
    let (searched, witnessed) = rules(&script);
    assert_eq!(searched.len(), 1);
    assert_eq!(witnessed, rule("double-write"));
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never() {
    for effect in [false, true] {
        let mut script = Script::new();
        let write = script.invoke(10, put("a", "1"));
        script.unknown(write, 20);
        script.get(30, 40, "a", None, 1);
        if effect {
            script.get(50, 60, "a", Some(kv("a", "1", 2, 2, 1)), 2);
            script.log(45, write);
        } else {
            script.entry(45, Command::TermStart, None);
        }
        assert_eq!(rules(&script), (vec![], vec![]));
    }
}

#[test]
fn a_failed_write_must_not_take_effect() {
    let mut script = Script::new();
    let write = script.invoke(10, put("a", "1"));
    script.fail(write, 20, "etcdserver: too many requests");
    script.get(30, 40, "a", Some(kv("a", "1", 2, 2, 1)), 2);
    script.log(15, write);
    let (searched, witnessed) = rules(&script);
    assert_eq!(searched.len(), 1);
    assert_eq!(witnessed, rule("failed-write-applied"));
}

#[test]
fn a_failed_transaction_that_changes_nothing_may_be_applied_late() {
    let mut script = Script::new();
    let reading = Txn {
        success: vec![TxnOp::Range(Range { key: Blob::text("a"), ..Range::default() })],
        ..Txn::default()
    };
    let nested = Txn { success: vec![TxnOp::Txn(reading)], ..Txn::default() };
    let read = script.invoke(10, Call::Txn(Box::new(nested)));
    script.fail(read, 20, "context deadline exceeded");
    let write = script.put(30, 40, "a", "1", 2);
    script.log(35, write);
    script.log(50, read);
    let later = script.put(60, 70, "a", "2", 3);
    script.log(65, later);
    assert_eq!(rules(&script), (vec![], vec![]));
}

#[test]
fn a_write_at_the_limit_of_the_quota_may_take_effect() {
    let mut script = Script::new();
    let write = script.invoke(10, put("a", "1"));
    script.fail(write, 20, "etcdserver: mvcc: database space exceeded");
    script.get(30, 40, "a", Some(kv("a", "1", 2, 2, 1)), 2);
    script.log(15, write);
    assert_eq!(rules(&script), (vec![], vec![]));
}

#[test]
fn an_entry_without_an_operation_is_owed_to_nobody() {
    let mut script = Script::new();
    script.entry(5, Command::Client(put("a", "1")), None);
    script.get(10, 20, "a", Some(kv("a", "1", 2, 2, 1)), 2);
    let (searched, witnessed) = rules(&script);
    assert_eq!(searched.len(), 1);
    assert_eq!(witnessed, rule("unowed-write"));
}

#[test]
fn a_refusal_needs_its_reason_within_the_interval() {
    let grant = Call::LeaseGrant { id: 7, ttl_s: 10 };
    let attach = Call::Put(detsim_reports::record::Put {
        lease: 7,
        key: detsim_reports::record::Blob::text("a"),
        ..Default::default()
    });
    for (invoked, good) in [(15, true), (25, false)] {
        let mut script = Script::new();
        let body = Body::LeaseGrant { id: 7, ttl_s: 10 };
        let granted = script.ok(10, 20, grant.clone(), 1, body);
        let refused = script.invoke(invoked, attach.clone());
        script.fail(refused, 30, "etcdserver: requested lease not found");
        // Nothing but an expiry, which nobody logged, could explain the late refusal.
        script.log(18, granted);
        let (searched, witnessed) = rules(&script);
        assert_eq!(searched, Vec::<String>::new());
        assert_eq!(witnessed, if good { vec![] } else { rule("wrong-reply") });
    }
}

#[test]
fn a_reply_without_state_behind_it_is_wrong() {
    let mut script = Script::new();
    script.ok(10, 20, get(""), 1, crate::check::script::found_one(None));
    script.entry(5, Command::TermStart, None);
    let (searched, witnessed) = rules(&script);
    assert_eq!((searched, witnessed), (rule("wrong-reply"), rule("wrong-reply")));
}
