//! What watchers ask for, and that they go on where they left off.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{
    Blob, Call, History, Operation, Outcome, Put, TxnOp, Watch, WatchMessage,
};

use crate::workload::stage::play;

const WRITERS: u32 = 4;
const WATCHERS: u32 = 4;

/// A watch as it was asked for, and what it received.
type Seen<'a> = (&'a Operation, &'a Watch, Vec<&'a WatchMessage>);

/// The watches of each watcher, in order.
fn watches<'a>(history: &'a History, slots: u32) -> Vec<Vec<Seen<'a>>> {
    let mut messages: BTreeMap<_, Vec<&WatchMessage>> = BTreeMap::new();
    for watched in &history.watched {
        messages.entry(watched.op).or_default().push(&watched.message);
    }
    let of_slot = |slot: u32| {
        let own = move |operation: &&Operation| operation.client.0 % slots == slot;
        let watch = |operation: &'a Operation| {
            let Operation { call: Call::Watch(watch), id, .. } = operation else { return None };
            Some((operation, watch, messages.get(id).cloned().unwrap_or_default()))
        };
        history.operations.iter().filter(own).filter_map(watch).collect()
    };
    (WRITERS..WRITERS + WATCHERS).map(of_slot).collect()
}

fn is_same_request(a: &Watch, b: &Watch) -> bool {
    Watch { start_revision: 0, ..a.clone() } == Watch { start_revision: 0, ..b.clone() }
}

#[test]
fn every_kind_of_watch_occurs() {
    let parameters = [("rate", "50/s"), ("invalid", "5%")];
    let history = play("watch", &parameters, 12_000, 0).history;
    let all: Vec<_> = watches(&history, WRITERS + WATCHERS).into_iter().flatten().collect();
    let some = |what: &str, test: &dyn Fn(&Watch) -> bool| {
        let found = all.iter().filter(|(_, watch, _)| test(watch)).count();
        assert!(found >= 4, "{what} occurs {found} times among {}", all.len());
    };
    let zero = Blob::text("\0");
    some("one key", &|watch| watch.range_end.is_empty());
    some("the prefix", &|watch| watch.key == Blob::text("w") && watch.range_end == Blob::text("x"));
    some("everything", &|watch| watch.key == zero && watch.range_end == zero);
    some("from a key on", &|watch| watch.key != zero && watch.range_end == zero);
    some("from now", &|watch| watch.start_revision == 0);
    some("from a revision", &|watch| watch.start_revision > 0);
    some("from the beginning", &|watch| watch.start_revision == 1);
    some("an impossible revision", &|watch| watch.start_revision < 0);
    some("an empty range", &|watch| watch.range_end == Blob::text("w"));
    some("previous pairs", &|watch| watch.prev_kv);
    some("no puts", &|watch| watch.no_put);
    some("no deletes", &|watch| watch.no_delete);
    some("notifications", &|watch| watch.progress_notify);
    some("requests for progress", &|watch| watch.request_progress_ms > 0);
    some("fragments", &|watch| watch.fragment);
    some("slow", &|watch| watch.drain_bytes_per_s > 0);
    some("shared streams", &|watch| watch.stream > 0);
    let is_ahead = |(_, watch, messages): &Seen<'_>| {
        messages.first().is_some_and(|created| watch.start_revision > created.revision + 1)
    };
    assert!(all.iter().any(is_ahead), "no watch starts in the future");
}

#[test]
fn a_resumed_watch_misses_nothing_and_repeats_nothing_whole() {
    let history = play("watch", &[("rate", "50/s")], 12_000, 500).history;
    let (mut after_events, mut after_breaks) = (0, 0);
    for of_slot in watches(&history, WRITERS + WATCHERS) {
        for pair in of_slot.windows(2) {
            let [(before, asked, messages), (_, next, _)] = pair else { panic!("two") };
            let is_broken = matches!(before.outcome, Some(Outcome::Fail(_)));
            let known = messages.iter().rev().find_map(|message| match message.events.last() {
                Some(event) if message.fragment => Some(event.kv.mod_revision),
                Some(event) => Some(event.kv.mod_revision + 1),
                None if message.progress => Some(message.revision + 1),
                None if message.created && asked.start_revision == 0 => Some(message.revision + 1),
                None => None,
            });
            let expected = known.unwrap_or(asked.start_revision);
            let goes_on = is_same_request(asked, next) && next.start_revision == expected;
            assert!(goes_on || !is_broken, "{next:?} after {messages:?}");
            let has_events = messages.iter().any(|message| !message.events.is_empty());
            after_events += usize::from(goes_on && has_events && !is_broken);
            after_breaks += usize::from(is_broken);
        }
    }
    assert!(after_events > 20, "{after_events} watches go on after events");
    assert!(after_breaks > 5, "{after_breaks} watches go on after a break");
}

#[test]
fn a_watch_that_compaction_cancelled_goes_on_at_the_compact_revision() {
    let history = play("watch", &[("rate", "50/s"), ("compact", "200ms..1s")], 12_000, 0).history;
    let mut resumed = 0;
    for of_slot in watches(&history, WRITERS + WATCHERS + 1) {
        for pair in of_slot.windows(2) {
            let [(_, asked, messages), (_, next, _)] = pair else { panic!("two") };
            if let Some(last) = messages.last().filter(|last| last.compact_revision > 0) {
                assert_eq!(next.start_revision, last.compact_revision);
                assert!(is_same_request(asked, next));
                resumed += 1;
            }
        }
    }
    assert!(resumed > 5, "{resumed} watches were cancelled by compaction");
    let compactions = history.operations.iter().filter(|operation| {
        matches!(operation.call, Call::Compact { .. })
            && matches!(operation.outcome, Some(Outcome::Ok(_)))
    });
    assert!(compactions.count() > 20);
}

#[test]
fn writers_change_keys_one_by_one_and_together_and_are_never_refused() {
    let history = play("watch", &[], 4_000, 0).history;
    let writes =
        history.operations.iter().filter(|op| op.client.0 % (WRITERS + WATCHERS) < WRITERS);
    let (mut puts, mut deletes, mut txns, mut large) = (0, 0, 0, 0);
    let mut values = BTreeSet::new();
    let mut write = |put: &Put| {
        assert!(values.insert(put.value.clone()), "{:?} is written twice", put.value);
        large += usize::from(put.value.0.len() >= 4096);
        assert!(put.value.0.len() <= 8192);
    };
    for operation in writes {
        assert!(matches!(operation.outcome, Some(Outcome::Ok(_))), "{operation:?}");
        match &operation.call {
            Call::Put(put) => {
                write(put);
                puts += 1;
            }
            Call::DeleteRange(_) => deletes += 1,
            Call::Txn(txn) => {
                let own = txn.success.iter().filter_map(|op| match op {
                    TxnOp::Put(put) => Some(put),
                    _ => None,
                });
                own.for_each(&mut write);
                txns += 1;
            }
            other => panic!("{other:?} is no write"),
        }
    }
    let total = puts + deletes + txns;
    assert!((total * 50 / 100..total * 62 / 100).contains(&puts), "{puts} of {total}");
    assert!((total * 15 / 100..total * 25 / 100).contains(&deletes), "{deletes} of {total}");
    assert!(large > 50, "{large} large values");
}

#[test]
fn watches_are_open_as_long_as_asked_for() {
    let history = play("watch", &[("open", "100ms..200ms")], 4_000, 0).history;
    let mut long = 0;
    let mut of_slots = watches(&history, WRITERS + WATCHERS);
    for of_slot in &mut of_slots {
        // The end of the play may have closed it.
        of_slot.pop();
    }
    for (operation, _, messages) in of_slots.into_iter().flatten() {
        if messages.last().is_some_and(|message| message.canceled) {
            continue;
        }
        let open_ms = operation.completed.since(operation.invoked).as_millis();
        assert!((100..820).contains(&open_ms), "open for {open_ms} ms");
        long += usize::from(open_ms > 210);
    }
    assert!(long > 0, "none is open longer");
}

#[test]
fn two_plays_are_equal() {
    let again = || play("watch", &[("compact", "200ms..1s")], 3_000, 300).history;
    assert_eq!(again(), again());
}
