//! Informers by hand that go on with a restored cluster.

use detsim_reports::record::{Blob, Command, Event, KeyValue, RangeReply};

use super::*;
use crate::check::script::{Script, kv, put, us};
use crate::check::{Selection, all};

const NOTHING: [&str; 0] = [];

/// The one informer.
const INFORMER: ClientId = ClientId(99);

/// `p1` is put at revision 2 and saved, and `p2` at 3, which comes too late. Members are restored
/// from what was saved at 100 us.
fn restored(bumped: i64) -> Script {
    let mut script = Script::new();
    let first = script.put(10, 12, "p1", "a", 2);
    script.log(11, first);
    let save = script.save(20, 22, 2, 1);
    script.restore(100, save, bumped);
    script
}

/// What was written too late.
fn late(script: &mut Script) {
    let late = script.put(30, 32, "p2", "b", 3);
    script.log(31, late);
}

fn list(script: &mut Script, at: u64, found: &[KeyValue], revision: i64) {
    let range = Range { key: Blob::text("p"), range_end: Blob::text("q"), ..Range::default() };
    let op = script.invoke(at, Call::Range(range));
    script.history.operations[op.0 as usize].client = INFORMER;
    let count = found.len() as i64;
    let body = Body::Range(RangeReply { kvs: found.to_vec(), more: false, count });
    script.answer(op, at + 1, revision, body);
}

/// A watch that is accepted at a revision, with what comes then.
fn watch(script: &mut Script, at: u64, start: i64, told: i64, then: &[WatchMessage]) {
    let call = Call::Watch(Watch {
        key: Blob::text("p"),
        range_end: Blob::text("q"),
        start_revision: start,
        ..Watch::default()
    });
    let op = script.invoke(at, call);
    script.history.operations[op.0 as usize].client = INFORMER;
    let created = WatchMessage { revision: told, created: true, ..WatchMessage::default() };
    for message in std::iter::once(&created).chain(then) {
        script.watched(op, at + 1, message.clone());
    }
    script.answer(op, at + 2, told, Body::WatchClosed);
}

fn event(kv: KeyValue) -> WatchMessage {
    let event = Event { is_delete: false, kv, prev_kv: None };
    WatchMessage { revision: event.kv.mod_revision, events: vec![event], ..WatchMessage::default() }
}

fn progress(revision: i64) -> WatchMessage {
    WatchMessage { revision, progress: true, ..WatchMessage::default() }
}

fn gone(revision: i64) -> WatchMessage {
    WatchMessage { revision, canceled: true, compact_revision: revision, ..WatchMessage::default() }
}

fn report(script: &Script) -> CheckReport {
    let reports = all(&script.history, Some(&script.internals), &Selection::all());
    reports.into_iter().find(|report| report.checker == "informers").expect("it is one of them")
}

fn rules(script: &Script) -> Vec<String> {
    report(script).findings.into_iter().map(|finding| finding.rule).collect()
}

/// A list of everything at revision 3, and the watch that follows it.
fn knows_more(script: &mut Script) {
    late(script);
    list(script, 40, &[kv("p1", "a", 2, 2, 1), kv("p2", "b", 3, 3, 1)], 3);
    watch(script, 50, 4, 3, &[]);
}

#[test]
fn a_cache_that_was_saved_with_the_store_goes_on() {
    let mut script = restored(0);
    list(&mut script, 15, &[kv("p1", "a", 2, 2, 1)], 2);
    watch(&mut script, 17, 3, 2, &[]);
    late(&mut script);
    script.founded(101);
    let other = script.put(105, 107, "p2", "c", 3);
    script.restored_entry(106, Command::Client(put("p2", "c")), Some(other));
    watch(&mut script, 110, 3, 3, &[event(kv("p2", "c", 3, 3, 1))]);
    let report = report(&script);
    assert_eq!(report.findings, Vec::new());
    assert!(report.checked.contains(&"1 caches carried to a restored cluster".to_owned()));
}

#[test]
fn a_cache_that_is_ahead_of_its_new_cluster_waits_for_nothing() {
    let mut script = restored(0);
    knows_more(&mut script);
    script.founded(101);
    watch(&mut script, 110, 4, 2, &[]);
    assert_eq!(rules(&script), ["ahead-of-cluster"]);
}

#[test]
fn a_cache_of_another_past_is_wrong_once_its_cluster_is_as_far() {
    let goes_on = |then: &[WatchMessage]| {
        let mut script = restored(0);
        knows_more(&mut script);
        script.founded(101);
        let other = script.put(105, 107, "p3", "c", 3);
        script.restored_entry(106, Command::Client(put("p3", "c")), Some(other));
        watch(&mut script, 110, 4, 3, then);
        rules(&script)
    };
    assert_eq!(goes_on(&[progress(3)]), ["stale-cache"]);
    assert_eq!(goes_on(&[]), ["stale-cache"]);
}

#[test]
fn who_is_refused_lists_again() {
    let mut script = restored(1000);
    knows_more(&mut script);
    script.founded(101);
    watch(&mut script, 110, 4, 1002, &[gone(1002)]);
    list(&mut script, 120, &[kv("p1", "a", 2, 2, 1)], 1002);
    watch(&mut script, 130, 1003, 1002, &[]);
    let report = report(&script);
    assert_eq!(report.findings, Vec::new());
    for line in ["1 of them refused, because history is gone there", "1 lists after a refusal"] {
        assert!(report.checked.iter().any(|it| it == line), "{:?}", report.checked);
    }
}

#[test]
fn who_needs_what_was_compacted_is_not_served() {
    let mut script = restored(1000);
    knows_more(&mut script);
    script.founded(101);
    watch(&mut script, 110, 4, 1002, &[progress(1002)]);
    assert_eq!(rules(&script), ["not-refused"]);
}

#[test]
fn who_was_refused_and_never_lists_again_is_stuck() {
    let stuck = |lists: bool| {
        let mut script = restored(1000);
        knows_more(&mut script);
        script.founded(101);
        watch(&mut script, 110, 4, 1002, &[gone(1002)]);
        script.history.healed = Some(us(105));
        script.history.survivors = vec![0, 1, 2];
        if lists {
            list(&mut script, 120, &[kv("p1", "a", 2, 2, 1)], 1002);
        }
        watch(&mut script, 30_000_000, 4, 1002, &[gone(1002)]);
        script.history.ended = us(40_000_000);
        rules(&script)
    };
    assert_eq!(stuck(false), ["not-listed-again"]);
    assert_eq!(stuck(true), NOTHING);
}
