//! What API servers do on stage.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{
    Blob, Body, Call, ClientId, History, Operation, Outcome, Range, Target, TxnOp, Watch,
    WatchMessage,
};

use crate::model::Refusal;
use crate::workload::stage::play;

const SLOTS: u32 = 4 + 4 + 2 + 2;

fn body(operation: &Operation) -> Option<&Body> {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) => Some(&reply.body),
        _ => None,
    }
}

/// What a transaction compares, does, and whether it did.
fn guarded(operation: &Operation) -> Option<(&Target, &TxnOp, bool)> {
    match (&operation.call, body(operation)?) {
        (Call::Txn(txn), Body::Txn(reply)) => {
            Some((&txn.compare.first()?.target, txn.success.first()?, reply.succeeded))
        }
        _ => None,
    }
}

fn of_slot(history: &History, slot: u32) -> Vec<&Operation> {
    let is_own = |operation: &&Operation| operation.client.0 % SLOTS == ClientId(slot).0;
    history.operations.iter().filter(is_own).collect()
}

#[test]
fn everything_that_kubernetes_does_occurs() {
    let history = play("kubernetes", &[], 8_000, 0).history;
    let some = |what: &str, test: &dyn Fn(&Operation) -> bool| {
        let found = history.operations.iter().filter(|operation| test(operation)).count();
        assert!(found >= 5, "{what} occurs {found} times");
    };
    some("create", &|op| matches!(guarded(op), Some((Target::Mod(0), TxnOp::Put(_), true))));
    some("what exists", &|op| matches!(guarded(op), Some((Target::Mod(0), _, false))));
    some("update", &|op| matches!(guarded(op), Some((Target::Mod(1..), TxnOp::Put(_), true))));
    some("conflict", &|op| matches!(guarded(op), Some((Target::Mod(1..), _, false))));
    some("delete", &|op| {
        matches!(guarded(op), Some((Target::Mod(1..), TxnOp::DeleteRange(_), true)))
    });
    some("event", &|op| matches!(guarded(op), Some((_, TxnOp::Put(put), true)) if put.lease != 0));
    some("lease of events", &|op| matches!(op.call, Call::LeaseGrant { id: 0, .. }));
    some(
        "first page",
        &|op| matches!(&op.call, Call::Range(range) if range.limit > 0 && range.revision == 0),
    );
    some(
        "next page",
        &|op| matches!(&op.call, Call::Range(range) if range.limit > 0 && range.revision > 0),
    );
    some("count", &|op| matches!(&op.call, Call::Range(Range { count_only: true, .. })));
    some("local list", &|op| matches!(&op.call, Call::Range(Range { serializable: true, .. })));
    some(
        "watch",
        &|op| matches!(&op.call, Call::Watch(watch) if watch.prev_kv && watch.progress_notify),
    );
    some("compaction record", &|op| matches!(guarded(op), Some((Target::Version(_), _, true))));
    some("lost race", &|op| matches!(guarded(op), Some((Target::Version(_), _, false))));
    some("compaction", &|op| matches!(body(op), Some(Body::Compact)));
}

#[test]
fn a_watch_begins_where_the_list_or_the_watch_before_ended() {
    for trouble in [0, 300] {
        let history = play("kubernetes", &[], 8_000, trouble).history;
        let mut messages: BTreeMap<_, Vec<&WatchMessage>> = BTreeMap::new();
        for watched in &history.watched {
            messages.entry(watched.op).or_default().push(&watched.message);
        }
        let (mut after_lists, mut after_watches, mut relists) = (0, 0, 0);
        for slot in 4..8 {
            for pair in of_slot(&history, slot).windows(2) {
                let [before, next] = pair else { panic!("two") };
                let Call::Watch(Watch { start_revision, .. }) = next.call else {
                    relists += usize::from(matches!(before.call, Call::Watch(_)));
                    continue;
                };
                if let (Call::Range(range), Some(Outcome::Ok(reply))) =
                    (&before.call, &before.outcome)
                {
                    let listed =
                        if range.revision > 0 { range.revision } else { reply.header.revision };
                    assert_eq!(start_revision, listed + 1);
                    after_lists += 1;
                } else if let Call::Watch(watch) = &before.call {
                    let received = messages.get(&before.id).map_or(&[][..], Vec::as_slice);
                    let newest = received.iter().filter_map(|message| {
                        let event = message.events.last().map(|event| event.kv.mod_revision);
                        event.or(message.progress.then_some(message.revision))
                    });
                    let known = newest.max().unwrap_or(watch.start_revision - 1);
                    assert_eq!(start_revision, known + 1);
                    after_watches += 1;
                }
            }
        }
        assert!(after_lists > 5, "{after_lists} watches follow lists");
        assert!(after_watches > 10, "{after_watches} watches follow watches");
        assert!(relists > 3, "{relists} lists follow watches");
    }
}

#[test]
fn compactors_never_compact_the_same_revision_twice() {
    let history = play("kubernetes", &[], 12_000, 0).history;
    let mut compacted = BTreeSet::new();
    for operation in &history.operations {
        let Call::Compact { revision, .. } = operation.call else { continue };
        assert!(compacted.insert(revision), "revision {revision} is compacted twice");
        assert_eq!(body(operation), Some(&Body::Compact));
    }
    assert!(compacted.len() > 10, "{} compactions", compacted.len());
}

#[test]
fn only_pages_of_lost_history_and_events_of_lost_leases_are_refused() {
    let history = play("kubernetes", &[("ttl", "4s")], 8_000, 200).history;
    for operation in &history.operations {
        let Some(Outcome::Fail(text)) = &operation.outcome else { continue };
        let is_lawful = match Refusal::from_text(text) {
            None => true,
            Some(Refusal::Compacted) => {
                matches!(&operation.call, Call::Range(range) if range.revision > 0)
                    || matches!(operation.call, Call::Compact { .. })
            }
            Some(Refusal::LeaseNotFound) => matches!(operation.call, Call::Txn(_)),
            Some(_) => false,
        };
        assert!(is_lawful, "{text}: {:?}", operation.call);
    }
}

#[test]
fn the_record_of_the_leader_changes_hands_only_when_it_is_old() {
    let history = play("kubernetes", &[("candidates", "2")], 8_000, 0).history;
    let record = Blob::text("/registry/leases/manager");
    let mut writes = 0;
    let mut holders: Vec<u32> = Vec::new();
    for operation in &history.operations {
        if let Some((_, TxnOp::Put(put), true)) = guarded(operation)
            && put.key == record
        {
            writes += 1;
            holders.push(operation.client.0 % SLOTS);
        }
    }
    holders.dedup();
    assert!(writes > 20, "{writes} renewals");
    assert_eq!(holders.len(), 1, "a leader that renews in time keeps its record");
}

#[test]
fn two_plays_are_equal() {
    let again = || play("kubernetes", &[], 3_000, 300).history;
    assert_eq!(again(), again());
}
