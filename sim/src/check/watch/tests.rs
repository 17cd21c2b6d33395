//! Watches by hand: one good, and one bad for each guarantee.

use detsim_reports::record::{
    Blob, Body, DeleteRange, Event, Incident, KeyValue, Put, Txn, TxnOp, TxnOpReply, TxnReply,
    WatchMessage,
};

use super::*;
use crate::check::linearizability;
use crate::check::script::{self, Script, kv, us};

/// A store in which `a` and `b` are put, `a` again, both in one transaction, and `a` is deleted, at
/// revisions 2 to 6.
fn store() -> Script {
    let mut script = Script::new();
    script.put(10, 11, "a", "1", 2);
    script.put(20, 21, "b", "2", 3);
    script.put(30, 31, "a", "3", 4);
    let put = |key: &str, value: &str| {
        TxnOp::Put(Put { key: Blob::text(key), value: Blob::text(value), ..Put::default() })
    };
    let call =
        Call::Txn(Box::new(Txn { success: vec![put("b", "4"), put("a", "5")], ..Txn::default() }));
    let done = TxnOpReply::Put { revision: 5, prev_kv: None };
    let body = Body::Txn(TxnReply { succeeded: true, responses: vec![done.clone(), done] });
    script.ok(40, 41, call, 5, body);
    let call = Call::DeleteRange(DeleteRange { key: Blob::text("a"), ..DeleteRange::default() });
    script.ok(50, 51, call, 6, Body::DeleteRange { deleted: 1, prev_kvs: Vec::new() });
    script
}

fn all() -> Watch {
    Watch {
        key: Blob::text("a"),
        range_end: Blob::text("\0"),
        start_revision: 2,
        ..Watch::default()
    }
}

fn created(revision: i64) -> WatchMessage {
    WatchMessage { created: true, revision, ..WatchMessage::default() }
}

fn batch(events: &[Event]) -> WatchMessage {
    let revision = events.iter().map(|event| event.kv.mod_revision).max().unwrap_or(0);
    WatchMessage { revision, events: events.to_vec(), ..WatchMessage::default() }
}

fn reported(revision: i64) -> WatchMessage {
    WatchMessage { revision, progress: true, ..WatchMessage::default() }
}

fn event(kv: KeyValue) -> Event {
    Event { is_delete: false, kv, prev_kv: None }
}

fn deleted(key: &str, revision: i64) -> Event {
    let kv = KeyValue { key: Blob::text(key), mod_revision: revision, ..KeyValue::default() };
    Event { is_delete: true, kv, prev_kv: None }
}

/// The five batches of a watch on everything.
fn batches() -> Vec<WatchMessage> {
    let at_5 = [event(kv("b", "4", 3, 5, 2)), event(kv("a", "5", 2, 5, 3))];
    vec![
        batch(&[event(kv("a", "1", 2, 2, 1))]),
        batch(&[event(kv("b", "2", 3, 3, 1))]),
        batch(&[event(kv("a", "3", 2, 4, 2))]),
        batch(&at_5),
        batch(&[deleted("a", 6)]),
    ]
}

fn watch(mut script: Script, watch: Watch, messages: Vec<WatchMessage>) -> CheckReport {
    let op = script.invoke(5, Call::Watch(watch));
    for (place, message) in messages.into_iter().enumerate() {
        script.watched(op, 60 + place as u64, message);
    }
    let timeline = linearizability::check(&script.history, None, 100_000).timeline;
    check(&script.history, Some(&timeline.expect("the store is linearizable")))
}

fn rules_of(messages: Vec<WatchMessage>) -> Vec<String> {
    rules(watch(store(), all(), messages))
}

fn rules(report: CheckReport) -> Vec<String> {
    report.findings.into_iter().map(|finding| finding.rule).collect()
}

fn with_created(batches: Vec<WatchMessage>) -> Vec<WatchMessage> {
    let mut messages = vec![created(2)];
    messages.extend(batches);
    messages
}

#[test]
fn a_watch_that_delivers_everything_passes() {
    let mut messages = with_created(batches());
    messages.push(reported(6));
    messages.push(WatchMessage { revision: 6, canceled: true, ..WatchMessage::default() });
    assert_eq!(rules_of(messages), Vec::<String>::new());
}

#[test]
fn catching_up_may_take_several_revisions_at_once() {
    let events: Vec<Event> = batches().into_iter().flat_map(|batch| batch.events).collect();
    assert_eq!(rules_of(with_created(vec![batch(&events)])), Vec::<String>::new());
}

#[test]
fn created_comes_first_and_nothing_comes_last() {
    assert_eq!(rules_of(batches()), ["created-first"]);
    let cancel = WatchMessage { revision: 6, canceled: true, ..WatchMessage::default() };
    let mut messages = with_created(vec![cancel]);
    messages.extend(batches().into_iter().take(1));
    assert_eq!(rules_of(messages), ["after-cancel"]);
}

#[test]
fn order_and_repetition_are_noticed() {
    let mut swapped = batches();
    swapped.swap(1, 2);
    assert_eq!(rules_of(with_created(swapped)), ["reliable", "header", "ordered"]);
    let mut repeated = batches();
    repeated.insert(1, repeated[0].clone());
    assert_eq!(rules_of(with_created(repeated)), ["unique"]);
    let mut turned = batches();
    turned[3].events.reverse();
    assert_eq!(rules_of(with_created(turned)), ["ordered"]);
}

#[test]
fn gaps_are_noticed_at_the_start_and_in_the_middle() {
    let mut headless = batches();
    headless.remove(0);
    assert_eq!(rules_of(with_created(headless)), ["resumable"]);
    let mut holed = batches();
    holed.remove(2);
    assert_eq!(rules_of(with_created(holed)), ["reliable"]);
}

#[test]
fn a_revision_comes_in_one_response() {
    let mut split = batches();
    let rest = split[3].events.split_off(1);
    split.insert(4, batch(&rest));
    assert_eq!(rules_of(with_created(split.clone())), ["atomic", "atomic"]);
    split[3].fragment = true;
    let fragmented = Watch { fragment: true, ..all() };
    let report = watch(store(), fragmented, with_created(split));
    assert_eq!(rules(report), Vec::<String>::new());
}

#[test]
fn progress_promises_that_all_before_it_was_delivered() {
    let mut messages = with_created(batches());
    messages.insert(3, reported(4));
    assert_eq!(rules_of(messages), ["bookmarkable", "bookmarkable"]);
    let mut messages = with_created(batches());
    messages.insert(4, reported(4));
    assert_eq!(rules_of(messages), Vec::<String>::new());
    let late = Watch { start_revision: 5, ..all() };
    let report = watch(store(), late, vec![created(2), reported(3)]);
    assert_eq!(rules(report), ["bookmarkable"]);
}

#[test]
fn events_are_what_happened() {
    let mut wrong = batches();
    wrong[2].events[0].kv.value = Blob::text("x");
    assert_eq!(rules_of(with_created(wrong)), ["wrong-event"]);
    let mut reborn = batches();
    reborn[2].events[0].kv.version = 1;
    assert_eq!(rules_of(with_created(reborn)), ["is-create", "wrong-event"]);
}

#[test]
fn filters_hold() {
    let mut messages = with_created(batches());
    let only_deletes = Watch { no_put: true, ..all() };
    let report = watch(store(), only_deletes.clone(), std::mem::take(&mut messages));
    assert!(rules(report).iter().all(|rule| rule == "filter"));
    let report = watch(store(), only_deletes, vec![created(2), batch(&[deleted("a", 6)])]);
    assert_eq!(rules(report), Vec::<String>::new());
    let one = Watch { range_end: Blob::default(), ..all() };
    let messages = with_created(batches().into_iter().take(2).collect());
    assert_eq!(rules(watch(store(), one, messages)), ["filter"]);
}

#[test]
fn previous_values_are_those_before() {
    let wants = Watch { prev_kv: true, start_revision: 3, ..all() };
    let mut messages: Vec<WatchMessage> = batches().into_iter().skip(1).collect();
    messages[1].events[0].prev_kv = Some(kv("a", "1", 2, 2, 1));
    messages[2].events[0].prev_kv = Some(kv("b", "2", 3, 3, 1));
    messages[2].events[1].prev_kv = Some(kv("a", "3", 2, 4, 2));
    messages[3].events[0].prev_kv = Some(kv("a", "5", 2, 5, 3));
    let run = |messages| rules(watch(store(), wants.clone(), with_created(messages)));
    assert_eq!(run(messages.clone()), Vec::<String>::new());
    let mut wrong = messages.clone();
    wrong[1].events[0].prev_kv = Some(kv("a", "0", 2, 2, 1));
    assert_eq!(run(wrong), ["prev-kv"]);
    let mut missing = messages.clone();
    missing[3].events[0].prev_kv = None;
    assert_eq!(run(missing), ["prev-kv"]);
    let unwanted = watch(store(), Watch { start_revision: 3, ..all() }, with_created(messages));
    assert_eq!(rules(unwanted), ["prev-kv"; 4]);
}

#[test]
fn headers_name_revisions_that_exist_and_never_go_back() {
    assert_eq!(rules_of(vec![created(9)]), ["header"]);
    let mut messages = with_created(batches());
    messages[0].revision = 4;
    assert_eq!(rules_of(messages), ["header", "header"]);
}

#[test]
fn a_cancellation_needs_a_reason() {
    let compacted = |revision| WatchMessage {
        canceled: true,
        compact_revision: revision,
        ..WatchMessage::default()
    };
    let run = |script: Script, start_revision, message| {
        let start = Watch { start_revision, ..all() };
        rules(watch(script, start, vec![created(6), message]))
    };
    assert_eq!(run(store(), 2, compacted(4)), ["cancel-reason"]);
    let with_compaction = || {
        let mut script = store();
        script.ok(52, 53, Call::Compact { revision: 4, physical: false }, 6, Body::Compact);
        script
    };
    assert_eq!(run(with_compaction(), 2, compacted(4)), Vec::<String>::new());
    assert_eq!(run(with_compaction(), 4, compacted(4)), ["cancel-reason"]);
    let refused = |text: &str| WatchMessage {
        created: true,
        canceled: true,
        revision: 6,
        cancel_reason: text.to_owned(),
        ..WatchMessage::default()
    };
    let alone = |watched: Watch, message| rules(watch(store(), watched, vec![message]));
    let empty = Watch { key: Blob::text("c"), range_end: Blob::text("a"), ..all() };
    assert_eq!(alone(empty, refused("mvcc: watcher range is empty")), Vec::<String>::new());
    assert_eq!(alone(all(), refused("mvcc: watcher range is empty")), ["cancel-reason"]);
}

#[test]
fn what_was_acknowledged_is_delivered_once_the_cluster_is_healed() {
    let mut script = store();
    script.history.settings.recovery_within_ms = 1;
    script.history.healed = Some(us(100));
    script.history.survivors = vec![0, 1, 2];
    script.history.ended = us(2_000);
    let complete = with_created(batches());
    let mut partial = complete.clone();
    partial.pop();
    assert_eq!(rules(watch(script.clone(), all(), complete)), Vec::<String>::new());
    let report = watch(script, all(), partial);
    assert_eq!(report.findings[0].severity, Severity::Liveness);
    assert_eq!(rules(report), ["undelivered"]);
}

#[test]
fn a_watch_on_a_host_that_lost_its_power_is_owed_nothing() {
    let report = |at: u64, what: &str| {
        let mut script = store();
        script.history.settings.recovery_within_ms = 1;
        script.history.healed = Some(us(100));
        script.history.survivors = vec![0, 1, 2];
        script.history.ended = us(2_000);
        let incident = Incident::plain(us(at), vec![0], what);
        script.history.incidents.push(incident);
        let mut partial = with_created(batches());
        partial.pop();
        rules(watch(script, all(), partial))
    };
    assert_eq!(report(70, "power-loss n1"), Vec::<String>::new());
    assert_eq!(report(70, "pause n1"), ["undelivered"]);
    assert_eq!(report(1, "power-loss n1"), ["undelivered"]);
}

#[test]
fn progress_that_is_asked_for_is_given() {
    let mut script = store();
    script.history.settings.recovery_within_ms = 1_000;
    script.history.healed = Some(us(100));
    script.history.survivors = vec![0];
    script.history.ended = us(2_000_000);
    let asking = Watch { request_progress_ms: 100, ..all() };
    let report = watch(script.clone(), asking.clone(), with_created(batches()));
    assert_eq!(rules(report), ["progress-unanswered"]);
    let op = script.invoke(5, Call::Watch(asking));
    for (place, message) in with_created(batches()).into_iter().enumerate() {
        script.watched(op, 60 + place as u64, message);
    }
    script.watched(op, 1_900_000, reported(6));
    script.history.ended = us(2_000_000);
    let timeline = linearizability::check(&script.history, None, 100_000).timeline;
    assert_eq!(rules(check(&script.history, timeline.as_ref())), Vec::<String>::new());
}

#[test]
fn without_a_timeline_messages_are_held_against_each_other() {
    let mut script = store();
    let op = script.invoke(5, Call::Watch(all()));
    let mut messages = with_created(batches());
    messages.insert(2, messages[1].clone());
    messages.swap(3, 4);
    for (place, message) in messages.into_iter().enumerate() {
        script.watched(op, 60 + place as u64, message);
    }
    let report = check(&script.history, None);
    assert!(report.not_checked[0].starts_with("events against the state"));
    assert_eq!(rules(report), ["unique", "header", "ordered"]);
}

/// Revision 7 is something that nobody saw: a put whose outcome is unknown explains it, and so
/// would the end of a lease.
#[test]
fn what_only_an_unknown_outcome_explains_is_not_owed() {
    let later = |is_seen: bool| {
        let mut script = store();
        let op = script.invoke(55, script::put("b", "6"));
        script.unknown(op, 90);
        script.put(70, 71, "c", "7", 8);
        if is_seen {
            let found = Some(kv("b", "6", 3, 7, 3));
            script.get(75, 76, "b", found, 8);
        }
        let mut messages = with_created(batches());
        messages.push(batch(&[event(kv("c", "7", 8, 8, 1))]));
        let op = script.invoke(5, Call::Watch(all()));
        for (place, message) in messages.into_iter().enumerate() {
            script.watched(op, 60 + 10 * place as u64, message);
        }
        let timeline = linearizability::check(&script.history, None, 100_000).timeline;
        rules(check(&script.history, Some(&timeline.expect("the store is linearizable"))))
    };
    assert_eq!(later(false), Vec::<String>::new());
    assert_eq!(later(true), ["reliable"]);
}

/// Nor is it what the next change of its key counts, or had before it.
#[test]
fn what_only_an_unknown_outcome_explains_is_no_previous_value() {
    let with = |before: KeyValue, is_delete: bool| {
        let mut script = store();
        let op = script.invoke(55, script::put("b", "6"));
        script.unknown(op, 90);
        let mut last = event(kv("b", "7", 3, 8, 3));
        if is_delete {
            last = deleted("b", 8);
            let key = Blob::text("b");
            let call = Call::DeleteRange(DeleteRange { key, ..DeleteRange::default() });
            let body = Body::DeleteRange { deleted: 1, prev_kvs: Vec::new() };
            script.ok(70, 71, call, 8, body);
        } else {
            script.put(70, 71, "b", "7", 8);
        }
        last.prev_kv = Some(before);
        let asking = Watch { prev_kv: true, start_revision: 8, ..all() };
        let op = script.invoke(72, Call::Watch(asking));
        for (place, message) in [created(8), batch(&[last])].into_iter().enumerate() {
            script.watched(op, 80 + place as u64, message);
        }
        let timeline = linearizability::check(&script.history, None, 100_000).timeline;
        rules(check(&script.history, Some(&timeline.expect("the store is linearizable"))))
    };
    for is_delete in [false, true] {
        assert_eq!(with(kv("b", "4", 3, 5, 2), is_delete), Vec::<String>::new());
        assert_eq!(with(kv("b", "2", 3, 3, 1), is_delete), ["prev-kv"]);
    }
}
