//! Headers and pairs by hand: those that fit each other, and one for each that does not.

use detsim_reports::record::{
    Blob, Body, Event, KeyValue, OpId, Outcome, Put, Range, RangeReply, Txn, TxnOp, TxnOpReply,
    TxnReply, Watch, WatchMessage,
};

use super::*;
use crate::check::script::{Script, found_one, get, kv, put};

fn local(key: &str) -> Call {
    Call::Range(Range { key: Blob::text(key), serializable: true, ..Range::default() })
}

/// A local read through the second member.
fn old(script: &mut Script, at: u64, found: Option<KeyValue>, revision: i64) -> OpId {
    let op = script.invoke_at(1, at, local("a"));
    script.answer(op, at + 1, revision, found_one(found));
    op
}

/// `a` is put at revisions 2 and 3 by 21 us.
fn store() -> Script {
    let mut script = Script::new();
    script.put(10, 11, "a", "1", 2);
    script.put(20, 21, "a", "2", 3);
    script
}

fn spoil(script: &mut Script, op: OpId, spoil: impl FnOnce(&mut Header)) {
    match &mut script.history.operations[op.0 as usize].outcome {
        Some(Outcome::Ok(reply)) => spoil(&mut reply.header),
        _ => panic!("the operation was not answered"),
    }
}

fn rules(script: &Script) -> Vec<String> {
    check(&script.history).findings.into_iter().map(|finding| finding.rule).collect()
}

fn fits(script: &Script) {
    assert_eq!(rules(script), Vec::<String>::new());
}

#[test]
fn a_process_never_goes_back_but_its_successor_may() {
    let mut script = store();
    old(&mut script, 30, Some(kv("a", "2", 2, 3, 2)), 3);
    old(&mut script, 40, Some(kv("a", "1", 2, 2, 1)), 2);
    assert_eq!(rules(&script), ["revision-went-back"]);
    script.incident(35, 1, "partition n1 | n2");
    assert_eq!(rules(&script), ["revision-went-back"]);
    script.incident(35, 1, "kill n2");
    fits(&script);
}

#[test]
fn a_process_keeps_its_term_and_a_member_its_identity() {
    let mut script = store();
    old(&mut script, 30, None, 3);
    let last = old(&mut script, 40, None, 3);
    fits(&script);
    let mut earlier = script.clone();
    spoil(&mut earlier, last, |header| header.raft_term = 1);
    assert_eq!(rules(&earlier), ["term-went-back"]);
    spoil(&mut script, last, |header| header.member_id = 9);
    assert_eq!(rules(&script), ["header-identity"]);
    script.incident(35, 1, "restart n2");
    assert_eq!(rules(&script), ["header-identity"]);
    script.incident(36, 1, "start n2 wipe");
    fits(&script);
}

#[test]
fn no_two_members_are_the_same_one() {
    let mut script = store();
    let op = old(&mut script, 30, None, 3);
    spoil(&mut script, op, |header| header.member_id = 1);
    assert_eq!(rules(&script), ["shared-identity"]);
    spoil(&mut script, op, |header| header.cluster_id = 2);
    fits(&script);
}

#[test]
fn linearizable_answers_are_not_behind_what_was_told_before() {
    let mut script = store();
    let read = script.invoke_at(1, 30, get("a"));
    script.answer(read, 31, 2, found_one(Some(kv("a", "1", 2, 2, 1))));
    assert_eq!(rules(&script), ["revision-behind"]);
    // What was told while it was under way does not bind it.
    script.history.operations[read.0 as usize].invoked = crate::check::script::us(20);
    fits(&script);
    let write = script.invoke_at(2, 40, put("b", "1"));
    script.answer(write, 41, 3, Body::Put { prev_kv: None });
    assert_eq!(rules(&script), ["revision-behind", "shared-revision"]);
}

#[test]
fn steps_name_the_revision_from_the_first_change_on() {
    let range = Range { key: Blob::text("b"), ..Range::default() };
    let put = Put { key: Blob::text("c"), ..Put::default() };
    let success = vec![TxnOp::Range(range.clone()), TxnOp::Put(put), TxnOp::Range(range)];
    let call = Call::Txn(Box::new(Txn { success, ..Txn::default() }));
    let steps = |revisions: [i64; 3]| {
        let range = |revision| TxnOpReply::Range { revision, reply: RangeReply::default() };
        let [first, second, third] = revisions;
        let write = TxnOpReply::Put { revision: second, prev_kv: None };
        let responses = vec![range(first), write, range(third)];
        Body::Txn(TxnReply { succeeded: true, responses })
    };
    for (revisions, is_right) in
        [([3, 4, 4], true), ([4, 4, 4], false), ([3, 4, 3], false), ([3, 3, 4], false)]
    {
        let mut script = store();
        script.ok(30, 31, call.clone(), 4, steps(revisions));
        let expected: &[&str] = if is_right { &[] } else { &["step-revision"] };
        assert_eq!(rules(&script), expected, "{revisions:?}");
    }
}

#[test]
fn a_pair_that_cannot_be_is_found() {
    let wrong = [
        kv("a", "", 3, 2, 1),
        kv("a", "", 2, 4, 2),
        kv("a", "", 2, 3, 0),
        kv("a", "", 2, 3, 1),
        kv("a", "", 3, 3, 2),
        kv("a", "", 2, 3, 3),
        kv("a", "", 1, 3, 2),
    ];
    for wrong in wrong {
        let mut script = Script::new();
        script.get(30, 31, "a", Some(wrong.clone()), 3);
        assert_eq!(rules(&script), ["impossible-pair"], "{wrong:?}");
    }
    let mut script = Script::new();
    script.get(30, 31, "a", Some(kv("a", "", 2, 3, 2)), 3);
    fits(&script);
}

#[test]
fn a_past_revision_shows_nothing_newer() {
    let mut script = store();
    let range = Range { key: Blob::text("a"), revision: 2, ..Range::default() };
    let op = script.invoke(30, Call::Range(range));
    script.answer(op, 31, 3, found_one(Some(kv("a", "1", 2, 2, 1))));
    fits(&script);
    script.answer(op, 31, 3, found_one(Some(kv("a", "2", 2, 3, 2))));
    assert_eq!(rules(&script), ["impossible-pair"]);
}

#[test]
fn versions_of_a_key_follow_its_revisions() {
    let show = |pairs: [KeyValue; 2]| {
        let mut script = Script::new();
        for (at, pair) in pairs.into_iter().enumerate() {
            let op = script.invoke_at(1, 10 * at as u64, local("a"));
            script.answer(op, 10 * at as u64 + 1, 9, found_one(Some(pair)));
        }
        rules(&script)
    };
    assert_eq!(show([kv("a", "", 2, 3, 2), kv("a", "", 2, 6, 3)]), Vec::<String>::new());
    assert_eq!(show([kv("a", "", 2, 3, 2), kv("a", "", 5, 6, 2)]), Vec::<String>::new());
    assert_eq!(show([kv("a", "", 2, 4, 3), kv("a", "", 2, 6, 3)]), ["version-order"]);
    assert_eq!(show([kv("a", "", 2, 4, 2), kv("a", "", 2, 5, 4)]), ["version-order"]);
    assert_eq!(show([kv("a", "", 2, 4, 2), kv("a", "", 3, 6, 2)]), ["version-order"]);
    assert_eq!(show([kv("a", "", 2, 4, 2), kv("a", "", 2, 4, 3)]), ["pair-changed"]);
}

#[test]
fn a_range_shows_what_it_was_asked_for() {
    let range = Range { key: Blob::text("a"), range_end: Blob::text("c"), ..Range::default() };
    let show = |range: &Range, keys: &[&str], count: i64| {
        let mut script = Script::new();
        let kvs = keys.iter().map(|key| kv(key, "", 2, 2, 1)).collect();
        let body = Body::Range(RangeReply { kvs, more: false, count });
        script.ok(10, 11, Call::Range(range.clone()), 2, body);
        rules(&script)
    };
    assert_eq!(show(&range, &["a", "b"], 2), Vec::<String>::new());
    assert_eq!(show(&range, &["a", "c"], 2), ["impossible-range"]);
    assert_eq!(show(&range, &["a", "a"], 2), ["impossible-range"]);
    assert_eq!(show(&range, &["a", "b"], 1), ["impossible-range"]);
    assert_eq!(show(&Range { limit: 1, ..range.clone() }, &["a", "b"], 2), ["impossible-range"]);
    assert_eq!(show(&Range { count_only: true, ..range }, &["a"], 1), ["impossible-range"]);
}

#[test]
fn events_fit_their_message_and_the_pairs_of_replies() {
    let watch = Call::Watch(Watch { key: Blob::text("a"), ..Watch::default() });
    let show = |revision: i64, event: Event| {
        let mut script = store();
        script.get(30, 31, "a", Some(kv("a", "2", 2, 3, 2)), 3);
        let op = script.invoke(1, watch.clone());
        let message = WatchMessage { revision, events: vec![event], ..WatchMessage::default() };
        script.watched(op, 40, message);
        rules(&script)
    };
    let event = |kv: KeyValue, prev_kv| Event { is_delete: false, kv, prev_kv };
    let second = kv("a", "2", 2, 3, 2);
    assert_eq!(show(3, event(second.clone(), Some(kv("a", "1", 2, 2, 1)))), Vec::<String>::new());
    assert_eq!(show(2, event(second.clone(), None)), ["impossible-event", "impossible-pair"]);
    assert_eq!(show(3, event(second.clone(), Some(second.clone()))), ["impossible-pair"]);
    assert_eq!(show(3, event(kv("a", "2", 3, 3, 1), None)), ["pair-changed"]);
    let deletion =
        |version| Event { is_delete: true, kv: kv("a", "", 0, 4, version), prev_kv: None };
    assert_eq!(show(4, deletion(0)), Vec::<String>::new());
    assert_eq!(show(4, deletion(1)), ["impossible-event"]);
}

#[test]
fn what_other_tools_leave_out_is_not_held_against_them() {
    let mut script = Script::new();
    let unrecorded = detsim_reports::record::UNRECORDED;
    script.get(30, 31, "a", Some(kv("a", "", unrecorded, 3, 2)), 2);
    let report = check(&script.history);
    assert_eq!((report.findings.len(), report.not_checked.len()), (0, 1));
}
