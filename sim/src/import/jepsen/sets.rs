//! Sets: `:add` of an element, `:read` of all, of one set or of independent ones, `[key element]`.
//!
//! Each set is a history of its own, and an element a key of it: to add it is to put it, to read
//! the set is to read all keys. Nothing is ever taken away, so that the checker of sets judges who
//! misses what.

use std::collections::BTreeMap;

use detsim_reports::record::{Blob, Body, Call, Operation, Range, UNRECORDED};

use super::super::edn::Edn;
use super::super::values::{key_value, parts_by_key, put, range_reply};
use super::{Done, Part, Wrong, written};
use crate::check::Checker;

/// The only set of a history without keys.
const SET: &str = "set";
/// From the first possible key to the last.
const ALL_KEYS: &str = "\0";

/// Each set's operations.
pub(super) fn parts(done: &[Done]) -> Result<Vec<Part>, Wrong> {
    let mut adds = done.iter().filter(|done| done.function == "add");
    let is_keyed = adds.all(|add| add.asked.list().is_some_and(|pair| pair.len() == 2));
    let mut sets: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for done in done {
        let wrong = |what: String| (done.line, what);
        let split = |value: &Edn| match value.list() {
            _ if !is_keyed => Ok((SET.to_owned(), value.clone())),
            Some([key, inner]) => Ok((key.to_string(), inner.clone())),
            _ => Err(format!("expected `[key value]`, found `{value}`")),
        };
        let (set, asked) = split(&done.asked).map_err(wrong)?;
        let operation = match done.function.as_str() {
            "add" => {
                let element = written(&asked);
                let call = Call::Put(put(&element, element.clone()));
                done.operation(call, |_| Ok(Body::Put { prev_kv: None }))?
            }
            "read" => {
                let [key, range_end] = [ALL_KEYS; 2].map(Blob::text);
                let range = Range { key, range_end, ..Range::default() };
                let all = |told: &Edn| elements(&split(told)?.1);
                done.operation(Call::Range(range), all)?
            }
            other => return Err(wrong(format!("`:{other}` is no operation of a set"))),
        };
        sets.entry(set).or_default().push(operation);
    }
    Ok(parts_by_key(sets, &[Checker::Linearizability, Checker::SetFull]))
}

/// What a read of a set showed, in the order of keys.
fn elements(told: &Edn) -> Result<Body, String> {
    let items = match told {
        Edn::Nil => &[],
        told => told.list().ok_or_else(|| format!("expected a set, found `{told}`"))?,
    };
    let mut elements: Vec<Blob> = items.iter().map(written).collect();
    elements.sort();
    let kv = |element: Blob| key_value(element.clone(), element, UNRECORDED);
    Ok(Body::Range(range_reply(elements.into_iter().map(kv).collect())))
}
