//! Informers by hand: a good one, one bad for each rule, and mutants of played ones.

use detsim_reports::record::{Event, RangeReply};

use super::*;
use crate::check::linearizability;
use crate::check::script::{Script, kv, put, us};

const NOTHING: [&str; 0] = [];

/// A store in which `p1` and `p2` are put at revisions 2 and 3, `p1` again at 4, and `p2` is
/// deleted at 5.
fn store() -> Script {
    let mut script = Script::new();
    script.put(10, 11, "p1", "a", 2);
    script.put(20, 21, "p2", "b", 3);
    script.put(60, 61, "p1", "c", 4);
    let delete =
        detsim_reports::record::DeleteRange { key: Blob::text("p2"), ..Default::default() };
    let body = Body::DeleteRange { deleted: 1, prev_kvs: Vec::new() };
    script.ok(70, 71, Call::DeleteRange(delete), 5, body);
    script
}

/// Invokes as the one informer.
fn invoke(script: &mut Script, at: u64, call: Call) -> OpId {
    let op = script.invoke(at, call);
    script.history.operations[op.0 as usize].client = ClientId(99);
    op
}

fn page(
    script: &mut Script,
    at: u64,
    after: Option<(&str, i64)>,
    found: &[KeyValue],
    more: bool,
    header: i64,
) {
    let key = after.map_or("p".to_owned(), |(last, _)| format!("{last}\0"));
    let range = Range {
        key: Blob::text(&key),
        range_end: Blob::text("q"),
        limit: 1,
        revision: after.map_or(0, |(_, revision)| revision),
        ..Range::default()
    };
    let op = invoke(script, at, Call::Range(range));
    let count = found.len() as i64 + i64::from(more);
    script.answer(op, at + 1, header, Body::Range(RangeReply { kvs: found.to_vec(), more, count }));
}

/// Lists at revision 3 in two pages.
fn list(script: &mut Script) {
    page(script, 30, None, &[kv("p1", "a", 2, 2, 1)], true, 3);
    page(script, 40, Some(("p1", 3)), &[kv("p2", "b", 3, 3, 1)], false, 3);
}

fn watch(script: &mut Script, at: u64, start_revision: i64, messages: &[WatchMessage]) -> OpId {
    let call = Call::Watch(Watch {
        key: Blob::text("p"),
        range_end: Blob::text("q"),
        start_revision,
        ..Watch::default()
    });
    let op = invoke(script, at, call);
    for message in messages {
        script.watched(op, at + 40, message.clone());
    }
    script.answer(op, at + 60, 5, Body::WatchClosed);
    op
}

fn changed(kv: KeyValue) -> WatchMessage {
    let event = Event { is_delete: false, kv, prev_kv: None };
    WatchMessage { revision: event.kv.mod_revision, events: vec![event], ..WatchMessage::default() }
}

fn deleted(key: &str, revision: i64) -> WatchMessage {
    let kv = KeyValue { key: Blob::text(key), mod_revision: revision, ..KeyValue::default() };
    let events = vec![Event { is_delete: true, kv, prev_kv: None }];
    WatchMessage { revision, events, ..WatchMessage::default() }
}

fn progress(revision: i64) -> WatchMessage {
    WatchMessage { revision, progress: true, ..WatchMessage::default() }
}

fn events() -> Vec<WatchMessage> {
    vec![changed(kv("p1", "c", 2, 4, 2)), deleted("p2", 5)]
}

fn report(script: &Script) -> CheckReport {
    let timeline = linearizability::check(&script.history, None, 100_000).timeline;
    assert!(timeline.is_some(), "the store is linearizable");
    check(&script.history, timeline.as_ref())
}

fn rules(script: &Script) -> Vec<String> {
    report(script).findings.into_iter().map(|finding| finding.rule).collect()
}

/// What the history alone shows.
fn rules_without(script: &Script) -> Vec<String> {
    check(&script.history, None).findings.into_iter().map(|finding| finding.rule).collect()
}

/// A list and one watch with these messages, judged without a timeline.
fn watched(messages: &[WatchMessage]) -> Vec<String> {
    let mut script = store();
    list(&mut script);
    watch(&mut script, 50, 4, messages);
    rules_without(&script)
}

#[test]
fn a_cache_that_follows_everything_passes() {
    let mut script = store();
    list(&mut script);
    watch(&mut script, 50, 4, &events()[..1]);
    watch(&mut script, 120, 5, &events()[1..]);
    watch(&mut script, 190, 6, &[progress(5)]);
    let report = report(&script);
    assert_eq!(report.findings, Vec::new());
    assert_eq!(
        report.checked[..3],
        [
            "1 caches of informers, from their lists on",
            "3 watches of informers",
            "2 events taken into caches"
        ]
    );
}

#[test]
fn a_cache_never_goes_back() {
    let [first, second] = &events()[..] else { panic!("two") };
    assert_eq!(watched(&[first.clone(), second.clone()]), NOTHING);
    assert_eq!(watched(&[first.clone(), first.clone()]), ["went-back"]);
    assert_eq!(watched(&[progress(4), first.clone()]), ["went-back"]);
    assert_eq!(watched(&[first.clone(), progress(3)]), ["went-back"]);
    assert_eq!(watched(&[changed(kv("p2", "b", 3, 3, 1))]), ["went-back"]);
}

#[test]
fn a_gap_in_versions_is_a_missed_event() {
    assert_eq!(watched(&[changed(kv("p1", "d", 2, 6, 3))]), ["missed-event"]);
    assert_eq!(watched(&[changed(kv("p1", "d", 6, 6, 1))]), ["missed-event"]);
    assert_eq!(watched(&[changed(kv("p3", "d", 6, 7, 2))]), ["missed-event"]);
    assert_eq!(watched(&[deleted("p3", 6)]), ["missed-event"]);
    assert_eq!(watched(&[changed(kv("p3", "d", 6, 6, 1))]), NOTHING);
}

#[test]
fn a_previous_value_is_the_cached_one() {
    let mut message = changed(kv("p1", "c", 2, 4, 2));
    message.events[0].prev_kv = Some(kv("p1", "a", 2, 2, 1));
    assert_eq!(watched(&[message.clone()]), NOTHING);
    message.events[0].prev_kv = Some(kv("p1", "x", 2, 2, 1));
    assert_eq!(watched(&[message]), ["wrong-previous"]);
}

#[test]
fn a_cache_holds_what_the_store_held() {
    let mut script = store();
    list(&mut script);
    watch(&mut script, 50, 4, &[changed(kv("p1", "x", 2, 4, 2))]);
    assert_eq!(rules(&script), ["diverged"]);
    assert_eq!(rules_without(&script), NOTHING);
    let mut script = store();
    list(&mut script);
    // The last event is missing, and progress says that there is none.
    watch(&mut script, 50, 4, &[events()[0].clone(), progress(5)]);
    assert_eq!(rules(&script), ["diverged"]);
}

#[test]
fn caches_at_one_revision_are_equal() {
    let mut script = store();
    list(&mut script);
    watch(&mut script, 50, 4, &events());
    page(&mut script, 200, None, &[kv("p1", "x", 2, 4, 2)], false, 5);
    watch(&mut script, 210, 6, &[]);
    assert_eq!(rules_without(&script), ["caches-differ"]);
}

#[test]
fn pages_are_of_one_revision_and_in_order() {
    let listed = |second: KeyValue| {
        let mut script = store();
        page(&mut script, 30, None, &[kv("p1", "a", 2, 2, 1)], true, 3);
        page(&mut script, 40, Some(("p1", 3)), &[second], false, 4);
        watch(&mut script, 50, 4, &[]);
        rules_without(&script)
    };
    assert_eq!(listed(kv("p2", "b", 3, 3, 1)), NOTHING);
    assert_eq!(listed(kv("p2", "b", 3, 4, 2)), ["page-from-future"]);
    assert_eq!(listed(kv("p1", "a", 2, 2, 1)), ["pages-out-of-order"]);
}

#[test]
fn a_new_list_is_not_behind_the_cache() {
    let mut script = store();
    list(&mut script);
    watch(&mut script, 50, 4, &events());
    let both = [kv("p1", "c", 2, 4, 2), kv("p2", "b", 3, 3, 1)];
    page(&mut script, 200, None, &both, false, 4);
    watch(&mut script, 210, 5, &[]);
    assert_eq!(rules_without(&script), ["went-back"]);
}

#[test]
fn what_was_acknowledged_arrives_once_all_is_well() {
    let mut script = store();
    list(&mut script);
    let op = watch(&mut script, 50, 4, &events()[..1]);
    script.history.healed = Some(us(80));
    script.history.survivors = vec![0, 1, 2];
    assert_eq!(rules(&script), NOTHING, "it was not open for long enough");
    let end = us(30_000_000);
    script.history.operations[op.0 as usize].completed = end;
    script.history.ended = end;
    assert_eq!(rules(&script), ["not-converged"]);
}

#[test]
fn who_did_not_list_is_no_informer() {
    let mut script = store();
    watch(&mut script, 50, 4, &[events()[0].clone(), events()[0].clone()]);
    let op = script.invoke(300, put("x", "y"));
    script.unknown(op, 310);
    assert_eq!(rules_without(&script), NOTHING);
}

#[test]
fn played_informers_pass_and_their_mutants_do_not() {
    use crate::workload::stage::play;
    for trouble in [0, 300] {
        let history = play("kubernetes", &[], 4_000, trouble).history;
        assert_eq!(check(&history, None).findings, Vec::new());
        let with_events: Vec<usize> = (0..history.watched.len())
            .filter(|at| !history.watched[*at].message.events.is_empty())
            .collect();
        let (mut repeated, mut lost) = (0, 0);
        for at in with_events.iter().step_by(with_events.len() / 10) {
            let mut mutant = history.clone();
            let again = mutant.watched[*at].clone();
            mutant.watched.insert(at + 1, again);
            let found = check(&mutant, None).findings;
            repeated += usize::from(found.iter().any(|finding| finding.rule == "went-back"));
            let mut mutant = history.clone();
            mutant.watched.remove(*at);
            lost += usize::from(!check(&mutant, None).findings.is_empty());
        }
        assert!(repeated >= 9, "{repeated} repeated events are found");
        assert!(lost >= 5, "{lost} lost events are found");
    }
}
