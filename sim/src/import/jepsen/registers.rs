//! Registers: `:read`, `:write` and `:cas`, of one register or of independent keys, `[key value]`.
//!
//! Registers know no revisions: a write is a put, a compare-and-set a transaction on the value.
//! jepsen.etcd writes `[version value]` for a value; the versions that reads tell are checked as
//! well.

use std::collections::BTreeMap;

use detsim_reports::record::{Blob, Body, Call, Operation, Range, UNRECORDED};

use super::super::edn::Edn;
use super::super::values::{REGISTER, key_value, parts_by_key, put, range_reply, swap, swapped};
use super::{Done, Part, Wrong, written};
use crate::check::Checker;

/// What a completion may tell of a value.
struct Versioned<'a> {
    version: i64,
    value: &'a Edn,
}

/// Each key's operations.
pub(super) fn parts(done: &[Done]) -> Result<Vec<Part>, Wrong> {
    let mut keys: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for done in done {
        let wrong = |what: String| (done.line, what);
        let (key, asked) = keyed(&done.function, &done.asked).map_err(wrong)?;
        let call = call(&key, &done.function, &asked).map_err(wrong)?;
        let operation = done.operation(call, |told| {
            let (_, told) = keyed(&done.function, told)?;
            Ok(answer(&key, &done.function, &told))
        })?;
        keys.entry(key.clone()).or_default().push(operation);
    }
    Ok(parts_by_key(keys, &[Checker::Linearizability]))
}

/// Splits `[key value]`. A value alone is of the only register; the arguments of a compare-and-set
/// alone are two values.
fn keyed(function: &str, value: &Edn) -> Result<(String, Edn), String> {
    let is_pair = |value: &Edn| value.list().is_some_and(|items| items.len() == 2);
    match value.list() {
        Some([key, inner]) if function != "cas" || is_pair(inner) => {
            Ok((key.to_string(), inner.clone()))
        }
        Some([_, _]) | None => Ok((REGISTER.to_owned(), value.clone())),
        Some(_) => Err(format!("expected a value or `[key value]`, found `{value}`")),
    }
}

/// `[version value]`, or a value alone.
fn versioned(value: &Edn) -> Versioned<'_> {
    match value.list() {
        Some([version, value]) => {
            Versioned { version: version.integer().unwrap_or(UNRECORDED), value }
        }
        _ => Versioned { version: UNRECORDED, value },
    }
}

/// Old and new value of a compare-and-set, with or without a version.
fn old_and_new(value: &Edn) -> Option<(&Edn, &Edn)> {
    match versioned(value) {
        Versioned { value: Edn::List(items), .. } => match items.as_slice() {
            [old, new] => Some((old, new)),
            _ => None,
        },
        // `[old new]` looks like `[version value]`.
        _ => match value.list()? {
            [old, new] => Some((old, new)),
            _ => None,
        },
    }
}

fn call(key: &str, function: &str, value: &Edn) -> Result<Call, String> {
    let key = Blob::text(key);
    Ok(match function {
        "read" => Call::Range(Range { key, ..Range::default() }),
        "write" => Call::Put(put(&key, written(versioned(value).value))),
        _ => {
            let (old, new) = old_and_new(value)
                .ok_or_else(|| format!("expected `[old new]` to swap, found `{value}`"))?;
            swap(&key, written(old), written(new))
        }
    })
}

fn answer(key: &str, function: &str, value: &Edn) -> Body {
    match function {
        "read" => {
            let Versioned { version, value } = versioned(value);
            let kvs = match value {
                Edn::Nil => Vec::new(),
                value => vec![key_value(Blob::text(key), written(value), version)],
            };
            Body::Range(range_reply(kvs))
        }
        "write" => Body::Put { prev_kv: None },
        _ => swapped(true),
    }
}
