//! Random small histories with the log that caused them: concurrent clients against the model, each
//! operation taking effect at a random moment of its interval, some with unknown outcome; and
//! defects put into them.

use detsim_reports::record::{
    Blob, Body, Call, Command, Compare, DeleteRange, OpId, Operator, Outcome, Put, Range, Reply,
    SortOrder, SortTarget, Target, Txn, TxnOp,
};
use rand_chacha::ChaCha8Rng;

use crate::check::fate::is_write;
use crate::check::script::Script;
use crate::model::{Answer, Model, Refusal};
use crate::seed::{Draw, Streams};

/// What is wrong with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// An acknowledged write never takes effect.
    DroppedWrite,
    /// A write takes effect twice.
    DoubledWrite,
    /// A failed write takes effect.
    FailedWriteApplied,
    /// A read is answered from the past.
    StaleRead,
    /// Two clients get each other's replies.
    SwappedReplies,
    /// A header's revision is off by one.
    WrongRevision,
    /// A value in a reply is wrong.
    WrongValue,
    /// A previous value is missing.
    MissingPrevKv,
    /// A read stands in the log's order before it, although it returned earlier.
    EarlyReturn,
}

impl Defect {
    pub const ALL: [Defect; 9] = [
        Defect::DroppedWrite,
        Defect::DoubledWrite,
        Defect::FailedWriteApplied,
        Defect::StaleRead,
        Defect::SwappedReplies,
        Defect::WrongRevision,
        Defect::WrongValue,
        Defect::MissingPrevKv,
        Defect::EarlyReturn,
    ];
}

/// An operation's fate, drawn before it runs.
struct Planned {
    op: OpId,
    effect: Option<u64>,
    ends: u64,
    is_unknown: bool,
}

/// A run of a few clients with a few operations each. Nothing, when the defect found no operation
/// that it could spoil.
pub fn run(seed: u64, clients: u64, operations: u64, defect: Option<Defect>) -> Option<Script> {
    let mut draw = Streams::new(seed).stream("history");
    let mut script = Script::new();
    let mut planned = plan(&mut draw, &mut script, clients, operations);
    let spoiled = match defect {
        Some(Defect::DroppedWrite | Defect::DoubledWrite | Defect::FailedWriteApplied) => {
            let writes: Vec<usize> = (0..planned.len())
                .filter(|&at| {
                    let call = &script.history.operations[planned[at].op.0 as usize].call;
                    is_write(call) && !planned[at].is_unknown
                })
                .collect();
            if writes.is_empty() {
                return None;
            }
            Some(planned[*draw.pick(&writes)].op)
        }
        _ => None,
    };
    script.entry(0, Command::TermStart, None);
    planned.sort_by_key(|planned| planned.effect);
    let mut model = Model::new(&script.history.settings);
    for planned in &planned {
        if draw.chance_per_10k(300) {
            expire(&mut draw, &mut model, &mut script, planned.effect.unwrap_or(0));
        }
        execute(planned, &mut model, &mut script, defect.filter(|_| Some(planned.op) == spoiled));
    }
    match defect {
        Some(defect) if spoiled.is_none() => {
            spoil(&mut draw, &mut script, &model, defect).then_some(script)
        }
        _ => Some(script),
    }
}

/// Draws who asks what when, and when it takes effect and ends.
fn plan(draw: &mut ChaCha8Rng, script: &mut Script, clients: u64, operations: u64) -> Vec<Planned> {
    let mut free_at = vec![0; clients as usize];
    let mut calls = Vec::new();
    for _ in 0..operations {
        let client = draw.below(clients) as usize;
        let invoked = free_at[client] + draw.within(1..=20);
        let effect = invoked + draw.within(0..=20);
        let mut ends = effect + draw.within(0..=20);
        let is_unknown = draw.chance_per_10k(1_500);
        let effect = match is_unknown {
            false => Some(effect),
            true => {
                ends = invoked + draw.within(1..=20);
                draw.chance_per_10k(6_000).then(|| invoked + draw.within(0..=80))
            }
        };
        free_at[client] = ends + 1;
        calls.push((invoked, effect, ends, is_unknown, call(draw)));
    }
    calls.sort_by_key(|planned| planned.0);
    calls
        .into_iter()
        .map(|(invoked, effect, ends, is_unknown, call)| {
            let op = script.invoke(invoked, call);
            Planned { op, effect, ends, is_unknown }
        })
        .collect()
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn key(draw: &mut ChaCha8Rng) -> Blob {
    Blob::text(KEYS[draw.below(3) as usize])
}

fn call(draw: &mut ChaCha8Rng) -> Call {
    match draw.below(20) {
        0..=5 => Call::Put(put(draw)),
        6..=7 => Call::DeleteRange(delete(draw)),
        8..=12 => Call::Range(range(draw)),
        13..=16 => Call::Txn(Box::new(txn(draw))),
        17 => Call::Compact { revision: draw.below(6) as i64, physical: false },
        18 => Call::LeaseGrant { id: 1 + draw.below(2) as i64, ttl_s: 10 },
        _ => Call::LeaseRevoke { id: 1 + draw.below(2) as i64 },
    }
}

fn put(draw: &mut ChaCha8Rng) -> Put {
    let ignore_value = draw.chance_per_10k(800);
    let value = match ignore_value {
        true => Blob::default(),
        false => Blob::text(&draw.below(1_000).to_string()),
    };
    let lease = if draw.chance_per_10k(1_500) { 1 + draw.below(2) as i64 } else { 0 };
    Put {
        key: key(draw),
        value,
        lease,
        prev_kv: draw.below(2) == 0,
        ignore_value,
        ..Put::default()
    }
}

fn delete(draw: &mut ChaCha8Rng) -> DeleteRange {
    let range_end = if draw.chance_per_10k(2_500) { Blob::text("\0") } else { Blob::default() };
    DeleteRange { key: key(draw), range_end, prev_kv: draw.below(2) == 0 }
}

fn range(draw: &mut ChaCha8Rng) -> Range {
    let range_end = if draw.below(2) == 0 { Blob::text("\0") } else { Blob::default() };
    let revision = if draw.chance_per_10k(2_000) { draw.below(6) as i64 } else { 0 };
    let sort_target =
        *draw.pick(&[SortTarget::Key, SortTarget::Key, SortTarget::Version, SortTarget::Value]);
    let sort_order = *draw.pick(&[SortOrder::None, SortOrder::Descend]);
    let limit = draw.below(4) as i64;
    let count_only = draw.chance_per_10k(1_000);
    let key = key(draw);
    Range {
        key,
        range_end,
        limit,
        revision,
        sort_order,
        sort_target,
        count_only,
        ..Range::default()
    }
}

fn txn(draw: &mut ChaCha8Rng) -> Txn {
    let target = match draw.below(3) {
        0 => Target::Mod(draw.below(5) as i64),
        1 => Target::Version(draw.below(3) as i64),
        _ => Target::Create(draw.below(4) as i64),
    };
    let operator = *draw.pick(&[Operator::Equal, Operator::Greater, Operator::NotEqual]);
    let compare = Compare { key: key(draw), range_end: Blob::default(), operator, target };
    let op = |draw: &mut ChaCha8Rng| match draw.below(4) {
        0..=1 => TxnOp::Put(put(draw)),
        2 => TxnOp::DeleteRange(delete(draw)),
        _ => TxnOp::Range(range(draw)),
    };
    Txn { compare: vec![compare], success: vec![op(draw), op(draw)], failure: vec![op(draw)] }
}

/// A lease that exists expires.
fn expire(draw: &mut ChaCha8Rng, model: &mut Model, script: &mut Script, at: u64) {
    let ids: Vec<i64> = model.leases().map(|(id, _)| id).collect();
    if !ids.is_empty() {
        let command = Command::LeaseExpired { id: *draw.pick(&ids) };
        model.apply_command(&command);
        script.entry(at, command, None);
    }
}

/// An operation takes effect, as it should or not, and ends.
fn execute(planned: &Planned, model: &mut Model, script: &mut Script, defect: Option<Defect>) {
    let op = planned.op;
    let call = script.history.operations[op.0 as usize].call.clone();
    let Some(effect) = planned.effect else {
        script.unknown(op, planned.ends);
        return;
    };
    let mark = model.mark();
    let result = model.apply(&call);
    let is_logged = is_write(&call) && !matches!(&result, Err(refusal) if refusal.is_static());
    match defect {
        Some(Defect::DroppedWrite) => model.take_back(mark),
        Some(Defect::DoubledWrite) if is_logged => {
            script.log(effect, op);
            script.log(effect, op);
            let _ = model.apply(&call);
        }
        _ if is_logged => script.log(effect, op),
        _ => {}
    }
    if planned.is_unknown {
        script.unknown(op, planned.ends);
    } else if defect == Some(Defect::FailedWriteApplied) {
        script.fail(op, planned.ends, "etcdserver: too many requests");
    } else {
        end(script, op, planned.ends, result);
    }
}

fn end(script: &mut Script, op: OpId, at: u64, result: Result<Answer, Refusal>) {
    match result {
        Ok(answer) => script.answer(op, at, answer.revision, answer.body),
        Err(refusal) => script.fail(op, at, refusal.text()),
    }
}

/// Spoils a reply or an interval. False when none is fit for it.
fn spoil(draw: &mut ChaCha8Rng, script: &mut Script, model: &Model, defect: Defect) -> bool {
    let answered: Vec<usize> = (0..script.history.operations.len())
        .filter(|&at| matches!(script.history.operations[at].outcome, Some(Outcome::Ok(_))))
        .collect();
    if answered.is_empty() {
        return false;
    }
    let at = *draw.pick(&answered);
    let other = *draw.pick(&answered);
    let operations = &mut script.history.operations;
    let call = operations[at].call.clone();
    if defect == Defect::EarlyReturn {
        let invoked = operations[at].invoked;
        let is_overlapped = operations[at].completed > invoked;
        operations[at].completed = invoked;
        return is_overlapped;
    }
    if defect == Defect::SwappedReplies {
        let (first, second) = (operations[at].outcome.clone(), operations[other].outcome.clone());
        let differ = first != second;
        operations[at].outcome = second;
        operations[other].outcome = first;
        return differ;
    }
    let Some(Outcome::Ok(reply)) = &mut operations[at].outcome else { return false };
    let before = reply.clone();
    match (defect, &mut reply.body) {
        (Defect::StaleRead, Body::Range(_)) if reply.header.revision > 1 => {
            let Call::Range(range) = &call else { return false };
            if range.revision != 0 {
                return false;
            }
            let revision = 1 + draw.below(reply.header.revision as u64 - 1) as i64;
            let Answer { revision, body } = model.read_at(&call, revision);
            *reply = Reply { header: reply.header, body };
            reply.header.revision = revision;
        }
        (Defect::WrongRevision, _) => {
            reply.header.revision += if draw.below(2) == 0 { 1 } else { -1 }
        }
        (Defect::WrongValue, Body::Range(range)) => {
            let Some(kv) = range.kvs.first_mut() else { return false };
            kv.value = Blob::text("never written");
        }
        (Defect::MissingPrevKv, Body::Put { prev_kv }) => *prev_kv = None,
        (Defect::MissingPrevKv, Body::DeleteRange { prev_kvs, .. }) => prev_kvs.clear(),
        _ => return false,
    }
    before != *reply
}
