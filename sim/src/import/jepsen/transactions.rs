//! Transactions as Elle's workloads have them: `:txn` of lists, `[:append k v]` and `[:r k vs]`, or
//! of registers, `[:w k v]` and `[:r k v]`.
//!
//! Each is a transaction of ours, in all of its keys, so that the whole history is judged as one:
//! it has an order that explains every read, and keeps to real time. A list is a span of keys, one
//! for every element, read in the order of their creation; elements that one transaction appends
//! are created together, and their keys keep their order. No element may be appended twice, for
//! then nobody knows which one a read shows.

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, Call, KeyValue, Operation, Range, SortOrder, SortTarget, Txn, TxnOp, TxnOpReply,
    TxnReply, UNRECORDED,
};

use super::super::edn::Edn;
use super::super::values::{key_value, put, range_reply};
use super::{Done, Part, Told, Wrong, written};
use crate::check::Checker;

/// One operation of a transaction.
struct Step<'a> {
    kind: Kind,
    key: &'a Edn,
    value: &'a Edn,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Append,
}

/// The keys of elements, by list and element.
type Elements = BTreeMap<(String, String), Blob>;

/// All transactions as one history; nothing when there are none.
pub(super) fn part(done: &[Done]) -> Result<Option<Part>, Wrong> {
    if done.is_empty() {
        return Ok(None);
    }
    let mut elements = Elements::new();
    let (mut appends, mut writes) = (0, 0);
    for done in done {
        for (place, step) in steps_of(done, &done.asked)?.iter().enumerate() {
            appends += usize::from(step.kind == Kind::Append);
            writes += usize::from(step.kind == Kind::Write);
            if step.kind == Kind::Append && matches!(done.told, Told::Ok(_) | Told::Info) {
                append(&mut elements, place, step).map_err(|what| (done.line, what))?;
            }
        }
    }
    if appends > 0 && writes > 0 {
        let what = "expected transactions of lists, or of registers, found `:append` and `:w`";
        return Err((done[0].line, what.to_owned()));
    }
    let lists = (writes == 0).then_some(&elements);
    let operations = done.iter().map(|done| operation(done, lists));
    let operations = operations.collect::<Result<Vec<Operation>, Wrong>>()?;
    Ok(Some(Part::of(String::new(), "system", operations, &[Checker::Linearizability])))
}

fn steps_of<'a>(done: &Done, value: &'a Edn) -> Result<Vec<Step<'a>>, Wrong> {
    let step = |step: &'a Edn| match step.list() {
        Some([kind, key, value]) => {
            let kind = match kind.keyword() {
                Some("r") => Kind::Read,
                Some("w") => Kind::Write,
                Some("append") => Kind::Append,
                _ => return Err(format!("expected :r, :w or :append, found `{kind}`")),
            };
            Ok(Step { kind, key, value })
        }
        _ => Err(format!("expected `[:r key value]` or its like, found `{step}`")),
    };
    let steps = value.list().ok_or_else(|| format!("expected a transaction, found `{value}`"));
    let steps = steps.and_then(|steps| steps.iter().map(step).collect());
    steps.map_err(|what| (done.line, what))
}

fn append(elements: &mut Elements, place: usize, step: &Step<'_>) -> Result<(), String> {
    let name = (step.key.to_string(), step.value.to_string());
    let key = Blob::text(&format!("{} {place:04} {}", name.0, name.1));
    match elements.insert(name, key) {
        None => Ok(()),
        Some(_) => Err(format!("{} is appended to {} twice", step.value, step.key)),
    }
}

/// A transaction of ours; of lists if there are any.
fn operation(done: &Done, lists: Option<&Elements>) -> Result<Operation, Wrong> {
    let asked = steps_of(done, &done.asked)?;
    let ops = asked.iter().enumerate().map(|(place, step)| request(step, place, lists)).collect();
    let txn = Txn { compare: Vec::new(), success: ops, failure: Vec::new() };
    done.operation(Call::Txn(Box::new(txn)), |told| {
        let told = steps_of(done, told).map_err(|(_, what)| what)?;
        let is_same = |(asked, told): (&Step<'_>, &Step<'_>)| {
            (asked.kind, asked.key) == (told.kind, told.key)
        };
        if told.len() != asked.len() || !asked.iter().zip(&told).all(is_same) {
            return Err("a transaction is answered with other operations than it had".to_owned());
        }
        let responses = told.iter().map(|step| response(step, lists));
        let responses = responses.collect::<Result<Vec<TxnOpReply>, String>>()?;
        Ok(Body::Txn(TxnReply { succeeded: true, responses }))
    })
}

fn request(step: &Step<'_>, place: usize, lists: Option<&Elements>) -> TxnOp {
    let key = step.key.to_string();
    match (step.kind, lists) {
        // No name of a key begins with another one and a blank.
        (Kind::Read, Some(_)) => TxnOp::Range(Range {
            key: Blob::text(&format!("{key} ")),
            range_end: Blob::text(&format!("{key}!")),
            sort_order: SortOrder::Ascend,
            sort_target: SortTarget::Create,
            ..Range::default()
        }),
        (Kind::Read, None) => TxnOp::Range(Range { key: Blob::text(&key), ..Range::default() }),
        (Kind::Append, _) => {
            let key = Blob::text(&format!("{key} {place:04} {}", step.value));
            TxnOp::Put(put(&key, written(step.value)))
        }
        (Kind::Write, _) => TxnOp::Put(put(&Blob::text(&key), written(step.value))),
    }
}

fn response(step: &Step<'_>, lists: Option<&Elements>) -> Result<TxnOpReply, String> {
    if step.kind != Kind::Read {
        return Ok(TxnOpReply::Put { revision: UNRECORDED, prev_kv: None });
    }
    let name = step.key.to_string();
    let kvs: Vec<KeyValue> = match (step.value, lists) {
        (Edn::Nil, _) => Vec::new(),
        (value, None) => vec![key_value(Blob::text(&name), written(value), UNRECORDED)],
        (value, Some(lists)) => {
            let items = value.list().ok_or_else(|| format!("expected a list, found `{value}`"))?;
            let element = |item: &Edn| {
                let known = lists.get(&(name.clone(), item.to_string()));
                // What nobody appended has a key that nobody put.
                let key = || Blob::text(&format!("{name} ? {item}"));
                key_value(known.cloned().unwrap_or_else(key), written(item), UNRECORDED)
            };
            items.iter().map(element).collect()
        }
    };
    Ok(TxnOpReply::Range { revision: UNRECORDED, reply: range_reply(kvs) })
}
