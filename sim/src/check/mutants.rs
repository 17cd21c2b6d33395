//! Healthy histories of whole workloads, in which nothing is found, and the same with one defect
//! put into them, which is found under its name.

use detsim_reports::record::{
    Blob, Body, Call, CheckReport, History, KeyValue, OpId, Operation, Outcome, Put, Reply, Target,
    TxnOp, TxnOpReply,
};
use rand_chacha::ChaCha8Rng;

use super::fate::{Fate, fate, is_linearizable_read};
use super::steps::{Step, list, taken};
use super::{anomalies, headers, set_full};
use crate::seed::{Draw, Streams};
use crate::workload::stage::play;

const OPERATIONS: usize = 1_000;
const TROUBLE_PER_10K: u32 = 300;

type Check = fn(&History) -> CheckReport;

/// A history without defects, with headers as three members of one cluster would write them.
fn healthy(kind: &str) -> History {
    let mut history = play(kind, &[], OPERATIONS, TROUBLE_PER_10K).history;
    history.members =
        ["n1", "n2", "n3"].map(|name| detsim_reports::record::MemberName(name.to_owned())).to_vec();
    for operation in &mut history.operations {
        if let Some(Outcome::Ok(reply)) = &mut operation.outcome {
            reply.header.cluster_id = 1;
            reply.header.member_id = operation.member as u64 + 1;
            reply.header.raft_term = 2;
        }
    }
    history
}

fn reply(operation: &mut Operation) -> Option<&mut Reply> {
    match &mut operation.outcome {
        Some(Outcome::Ok(reply)) => Some(reply),
        _ => None,
    }
}

/// The only pair that a get of one key shows.
fn shown(operation: &mut Operation) -> Option<&mut KeyValue> {
    let is_one = matches!(&operation.call, Call::Range(range) if range.range_end.is_empty());
    match &mut reply(operation)?.body {
        Body::Range(range) if is_one => range.kvs.first_mut(),
        _ => None,
    }
}

/// Puts a defect into ten places of a healthy history, one at a time: wherever `spoil` finds
/// something to spoil, the checker must find one of these rules.
fn check(kind: &str, checker: Check, rules: &[&str], spoil: impl Fn(&mut History, usize) -> bool) {
    let healthy = healthy(kind);
    let mut draw: ChaCha8Rng = Streams::new(1).stream(kind);
    let mut places: Vec<usize> = (0..healthy.operations.len()).collect();
    draw.shuffle(&mut places);
    let mut spoiled = 0;
    for place in places {
        let mut history = healthy.clone();
        if !spoil(&mut history, place) {
            continue;
        }
        let report = checker(&history);
        assert!(
            report.findings.iter().any(|finding| rules.contains(&finding.rule.as_str())),
            "{kind}: none of {rules:?} but {:?}",
            report.findings
        );
        spoiled += 1;
        if spoiled == 10 {
            return;
        }
    }
    panic!("{kind}: {rules:?} could be put into {spoiled} places only");
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    for kind in ["append", "lease", "mixed", "register", "set", "watch", "wr"] {
        let history = healthy(kind);
        for checker in [anomalies::check, headers::check, set_full::check] {
            let report = checker(&history);
            assert_eq!(report.findings, [], "{kind}");
            // Every key of `watch` may be deleted, so that it has no elements.
            let is_idle = kind == "watch" && report.checker == "set-full";
            assert_eq!(report.checked.is_empty(), is_idle, "{kind}: {}", report.checker);
        }
    }
}

/// The value that a key had before the pair was written, with the revision of that.
fn previous(history: &History, kv: &KeyValue) -> Option<KeyValue> {
    let older = history.operations.iter().filter_map(|operation| match fate(operation) {
        Fate::Answered(reply) => Some(taken(&operation.call, reply).steps),
        _ => None,
    });
    let pairs = older.flatten().flat_map(|step| step.kvs().0.iter());
    let of_key = pairs.filter(|older| older.key == kv.key && older.version == kv.version - 1);
    of_key.last().cloned()
}

/// Whether the write at this revision had returned by the time the operation was invoked.
fn is_settled(history: &History, kv: &KeyValue, reader: usize) -> bool {
    let invoked = history.operations[reader].invoked;
    history.operations.iter().any(|operation| {
        let wrote = |reply: &Reply| {
            taken(&operation.call, reply).steps.iter().any(|step| {
                matches!(step, Step::Put { put, revision, .. }
                    if put.key == kv.key && *revision == kv.mod_revision)
            })
        };
        operation.completed < invoked && matches!(fate(operation), Fate::Answered(r) if wrote(r))
    })
}

#[test]
fn a_stale_read_is_found() {
    for kind in ["append", "wr"] {
        check(kind, anomalies::check, &["G-single-process", "G-single-realtime"], |history, at| {
            if !is_linearizable_read(&history.operations[at].call) {
                return false;
            }
            let mut reader = history.operations[at].clone();
            let Some(kv) = shown(&mut reader) else { return false };
            let Some(older) = previous(history, kv) else { return false };
            let is_settled = is_settled(history, kv, at);
            *kv = older;
            history.operations[at] = reader;
            is_settled
        });
    }
}

#[test]
fn swapped_replies_are_found() {
    let rules = ["G-single-process", "G-single-realtime", "G1c-process", "G1c-realtime"];
    check("wr", anomalies::check, &rules, |history, at| {
        let mut first = history.operations[at].clone();
        let Some(kv) = shown(&mut first).cloned() else { return false };
        let later = history.operations[at + 1..].iter().position(|other| {
            let mut copy = other.clone();
            copy.call == first.call
                && other.invoked > first.completed
                && shown(&mut copy).is_some_and(|newer| {
                    newer.mod_revision > kv.mod_revision
                        && is_settled(history, newer, other.id.0 as usize)
                })
        });
        let Some(later) = later.map(|later| later + at + 1) else { return false };
        if !is_linearizable_read(&first.call) {
            return false;
        }
        let outcome = history.operations[later].outcome.take();
        history.operations[later].outcome = history.operations[at].outcome.take();
        history.operations[at].outcome = outcome;
        true
    });
}

#[test]
fn a_read_of_what_failed_is_found() {
    for kind in ["append", "wr", "register"] {
        check(kind, anomalies::check, &["G1a"], |history, at| {
            let (key, revision) = match fate(&history.operations[at]) {
                Fate::Answered(reply) => {
                    let steps = taken(&history.operations[at].call, reply).steps;
                    match steps.iter().find(|step| matches!(step, Step::Put { .. })) {
                        Some(&Step::Put { put, revision, .. }) => (put.key.clone(), revision),
                        _ => return false,
                    }
                }
                _ => return false,
            };
            let is_read = history.operations.iter().any(|operation| match fate(operation) {
                Fate::Answered(reply) if operation.id.0 as usize != at => {
                    let steps = taken(&operation.call, reply).steps;
                    let mut kvs = steps.iter().flat_map(|step| step.kvs().0);
                    kvs.any(|kv| kv.key == key && kv.mod_revision == revision)
                }
                _ => false,
            });
            let text = "etcdserver: no leader".to_owned();
            history.operations[at].outcome = Some(Outcome::Fail(text));
            is_read
        });
    }
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    check("wr", anomalies::check, &["wrong-value", "garbage-read"], |history, at| {
        let Some(kv) = shown(&mut history.operations[at]) else { return false };
        kv.value = Blob::text("never");
        true
    });
}

/// The put of a guarded transaction that succeeded, and what its guard names.
fn append(operation: &Operation) -> Option<(Put, i64, i64)> {
    let Call::Txn(txn) = &operation.call else { return None };
    let Fate::Answered(reply) = fate(operation) else { return None };
    let steps = taken(&operation.call, reply).steps;
    let put = steps.iter().find_map(|step| match step {
        Step::Put { put, revision, .. } => Some(((*put).clone(), *revision)),
        _ => None,
    });
    let (put, revision) = put?;
    let guard = txn.compare.iter().find(|compare| compare.key == put.key)?;
    match guard.target {
        Target::Mod(read) => Some((put, read, revision)),
        _ => None,
    }
}

#[test]
fn an_append_that_was_overwritten_is_found() {
    check("append", anomalies::check, &["lost-update"], |history, at| {
        let Some((put, read, revision)) = append(&history.operations[at]) else { return false };
        let next = history.operations.iter().position(|operation| {
            append(operation)
                .is_some_and(|(later, guard, _)| later.key == put.key && guard == revision)
        });
        let Some(next) = next else { return false };
        let Call::Txn(txn) = &mut history.operations[next].call else { return false };
        for guard in txn.compare.iter_mut().filter(|guard| guard.key == put.key) {
            guard.target = Target::Mod(read);
        }
        // What it read itself must not give it away.
        txn.success.iter().all(|op| matches!(op, TxnOp::Put(_)))
    });
}

#[test]
fn an_element_that_is_missing_from_a_later_list_is_found() {
    check("append", anomalies::check, &["incompatible-order"], |history, at| {
        let Some((put, ..)) = append(&history.operations[at]) else { return false };
        let Some(items) = list(&put.value) else { return false };
        let (1.., Some(last)) = (items.len(), items.last()) else { return false };
        let last = String::from_utf8_lossy(last).into_owned();
        let without = |value: &mut Blob| {
            let text = String::from_utf8_lossy(&value.0).into_owned();
            let shorter = text.replace(&format!("{last} "), "");
            let is_shorter = shorter.len() < text.len();
            *value = Blob::text(&shorter);
            is_shorter
        };
        let mut removed = false;
        for operation in history.operations.iter_mut().filter(|op| op.id.0 as usize != at) {
            if let Call::Txn(txn) = &mut operation.call {
                for op in &mut txn.success {
                    if let TxnOp::Put(later) = op
                        && later.key == put.key
                    {
                        removed |= without(&mut later.value);
                    }
                }
            }
            for kv in pairs(operation).into_iter().filter(|kv| kv.key == put.key) {
                without(&mut kv.value);
            }
        }
        removed && is_read(history, &put, OpId(at as u32))
    });
}

/// Whether anybody is told of a longer list than this one.
fn is_read(history: &History, put: &Put, writer: OpId) -> bool {
    history.operations.iter().filter(|operation| operation.id != writer).any(|operation| {
        append(operation).is_some_and(|(later, ..)| {
            later.key == put.key && later.value.0.len() > put.value.0.len()
        })
    })
}

/// All pairs that a reply shows.
fn pairs(operation: &mut Operation) -> Vec<&mut KeyValue> {
    match reply(operation).map(|reply| &mut reply.body) {
        Some(Body::Range(range)) => range.kvs.iter_mut().collect(),
        Some(Body::Txn(txn)) => {
            fn of_step(step: &mut TxnOpReply) -> std::slice::IterMut<'_, KeyValue> {
                match step {
                    TxnOpReply::Range { reply, .. } => reply.kvs.iter_mut(),
                    _ => [].iter_mut(),
                }
            }
            txn.responses.iter_mut().flat_map(of_step).collect()
        }
        _ => Vec::new(),
    }
}

/// Takes a key out of a range, if others are left that were there before.
fn take_key(operation: &mut Operation, key: &Blob) -> bool {
    match reply(operation).map(|reply| &mut reply.body) {
        Some(Body::Range(range)) => {
            let before = range.kvs.len();
            range.kvs.retain(|kv| kv.key != *key);
            range.count -= (before - range.kvs.len()) as i64;
            range.kvs.len() < before
        }
        _ => false,
    }
}

#[test]
fn an_element_that_a_read_misses_is_found() {
    let rules = ["stale-element", "lost-element"];
    check("set", set_full::check, &rules, |history, at| {
        if !is_linearizable_read(&history.operations[at].call) {
            return false;
        }
        let Some(first) = pairs(&mut history.operations[at]).first().map(|kv| (**kv).clone())
        else {
            return false;
        };
        let is_settled = is_settled(history, &first, at);
        is_settled && take_key(&mut history.operations[at], &first.key)
    });
    check("set", anomalies::check, &["G-single-realtime", "G-single-process"], |history, at| {
        if !is_linearizable_read(&history.operations[at].call) {
            return false;
        }
        let Some(last) = pairs(&mut history.operations[at]).last().map(|kv| (**kv).clone()) else {
            return false;
        };
        last.version == 1
            && is_settled(history, &last, at)
            && take_key(&mut history.operations[at], &last.key)
    });
}

#[test]
fn an_element_that_vanishes_is_found() {
    check("set", set_full::check, &["lost-element"], |history, at| {
        let Call::Put(put) = &history.operations[at].call else { return false };
        let (key, since) = (put.key.clone(), history.operations[at].completed);
        if !matches!(fate(&history.operations[at]), Fate::Answered(_)) {
            return false;
        }
        let mut missing = 0;
        for operation in &mut history.operations {
            let is_later = operation.invoked > since && is_linearizable_read(&operation.call);
            missing += usize::from(take_key(operation, &key) && is_later);
        }
        missing > 0
    });
}

#[test]
fn an_element_that_is_there_twice_is_found() {
    check("set", set_full::check, &["duplicated-element"], |history, at| {
        match reply(&mut history.operations[at]).map(|reply| &mut reply.body) {
            Some(Body::Range(range)) if !range.kvs.is_empty() => {
                let first = range.kvs[0].clone();
                range.kvs.push(first);
                range.count += 1;
                true
            }
            _ => false,
        }
    });
}

#[test]
fn headers_and_counters_that_do_not_fit_are_found() {
    let spoil_reply = |spoil: fn(&mut Reply) -> bool| {
        move |history: &mut History, at: usize| {
            let is_write = matches!(history.operations[at].call, Call::Put(_));
            is_write && reply(&mut history.operations[at]).is_some_and(spoil)
        }
    };
    check(
        "wr",
        headers::check,
        &["shared-revision"],
        spoil_reply(|reply| {
            reply.header.revision -= 1;
            reply.header.revision > 2
        }),
    );
    check(
        "wr",
        headers::check,
        &["revision-behind", "revision-went-back"],
        spoil_reply(|reply| {
            reply.header.revision += 1_000;
            true
        }),
    );
    check(
        "wr",
        headers::check,
        &["header-identity"],
        spoil_reply(|reply| {
            reply.header.member_id = 9;
            true
        }),
    );
    check(
        "wr",
        headers::check,
        &["term-went-back"],
        spoil_reply(|reply| {
            reply.header.raft_term = 9;
            true
        }),
    );
    let spoil_pair = |spoil: fn(&mut KeyValue)| {
        move |history: &mut History, at: usize| {
            shown(&mut history.operations[at]).map(spoil).is_some()
        }
    };
    let rules = ["pair-changed", "version-order", "impossible-pair"];
    check("wr", headers::check, &rules, spoil_pair(|kv| kv.version += 1));
    check("wr", headers::check, &rules, spoil_pair(|kv| kv.create_revision += 1));
    check("wr", headers::check, &["impossible-pair"], spoil_pair(|kv| kv.mod_revision += 1_000));
}
