//! Jepsen's `history.edn`: invocations and completions of registers, `:read`, `:write` and `:cas`,
//! of one register or of independent keys, `[key value]`.
//!
//! A `:fail` certainly had no effect, an `:info` may have. Registers know no revisions: a write is
//! a put, a compare-and-set a transaction on the value. jepsen.etcd writes `[version value]` for a
//! value; the versions that reads tell are checked as well.

use std::collections::BTreeMap;
use std::path::Path;

use detsim_reports::record::{
    Blob, Body, Call, ClientId, Compare, Header, KeyValue, OpId, Operation, Operator, Outcome, Put,
    Range, RangeReply, Reply, Target, Time, Txn, TxnOp, TxnOpReply, TxnReply, UNRECORDED,
};

use super::edn::{Edn, Reader};
use super::{ImportError, Imported, Part};

/// The only key of a history without keys.
const REGISTER: &str = "register";

/// What a completion may tell of a value.
struct Told<'a> {
    version: i64,
    value: &'a Edn,
}

/// An invocation that has not ended.
struct Open {
    at: Time,
    key: String,
    function: String,
    value: Edn,
    line: usize,
}

/// Reads a history.
pub(super) fn import(path: &Path, text: &str) -> Result<Imported, ImportError> {
    let fail =
        |line: usize, what: String| ImportError { path: path.to_owned(), line: Some(line), what };
    let mut reader = Reader::new(text);
    let mut events = Vec::new();
    while let Some((line, value)) = reader.next().map_err(|error| fail(error.line, error.what))? {
        match value {
            Edn::List(items) => events.extend(items.into_iter().map(|item| (line, item))),
            event => events.push((line, event)),
        }
    }
    let mut gatherer = Gatherer::default();
    for (number, (line, event)) in events.iter().enumerate() {
        gatherer.event(number, *line, event).map_err(|what| fail(*line, what))?;
    }
    gatherer.finish().map_err(|(line, what)| fail(line, what))
}

#[derive(Default)]
struct Gatherer {
    open: BTreeMap<i64, Open>,
    keys: BTreeMap<String, Vec<Operation>>,
    others: BTreeMap<String, usize>,
}

impl Gatherer {
    fn event(&mut self, number: usize, line: usize, event: &Edn) -> Result<(), String> {
        let field = |name: &str| {
            event.get(name).ok_or_else(|| format!("expected an operation with `:{name}`"))
        };
        // What is not by a numbered process is the nemesis'.
        let Some(process) = field("process")?.integer() else { return Ok(()) };
        let function = field("f")?.keyword().ok_or("expected a keyword as `:f`")?;
        if !matches!(function, "read" | "write" | "cas") {
            *self.others.entry(function.to_owned()).or_default() += 1;
            return Ok(());
        }
        // Without times, the order in the file is what there is.
        let at = event.get("time").and_then(Edn::integer).unwrap_or(number as i64);
        let at = Time(u64::try_from(at).map_err(|_| "expected a `:time` of 0 or more")?);
        let value = event.get("value").cloned().unwrap_or(Edn::Nil);
        match field("type")?.keyword() {
            Some("invoke") => {
                let (key, value) = keyed(function, &value)?;
                let open = Open { at, key, function: function.to_owned(), value, line };
                if let Some(before) = self.open.insert(process, open) {
                    return Err(format!(
                        "process {process} invokes while its operation of line {} has not ended",
                        before.line
                    ));
                }
            }
            Some(kind @ ("ok" | "fail" | "info")) => {
                let open = self
                    .open
                    .remove(&process)
                    .ok_or_else(|| format!("process {process} ends what it did not begin"))?;
                if open.function != function {
                    return Err(format!(
                        "process {process} ends `:{function}` but began `:{}`",
                        open.function
                    ));
                }
                self.end(process, &open, kind, at, &value)?;
            }
            _ => return Err("expected `:type` :invoke, :ok, :fail or :info".to_owned()),
        }
        Ok(())
    }

    fn end(
        &mut self,
        process: i64,
        open: &Open,
        kind: &str,
        at: Time,
        value: &Edn,
    ) -> Result<(), String> {
        let call = call(&open.key, &open.function, &open.value)?;
        let outcome = match kind {
            "ok" => {
                let (_, value) = keyed(&open.function, value)?;
                answer(&open.key, &open.function, &value)
            }
            "fail" => Outcome::Fail("failed".to_owned()),
            _ => Outcome::Unknown("info".to_owned()),
        };
        let is_over = !matches!(outcome, Outcome::Unknown(_));
        self.keys.entry(open.key.clone()).or_default().push(Operation {
            id: OpId(0),
            client: ClientId(u32::try_from(process).map_err(|_| "expected a small `:process`")?),
            member: 0,
            invoked: open.at,
            call,
            completed: if is_over { at } else { Time::NEVER },
            outcome: Some(outcome),
        });
        Ok(())
    }

    /// What never ended may have taken effect.
    fn finish(mut self) -> Result<Imported, (usize, String)> {
        for (process, open) in std::mem::take(&mut self.open) {
            self.end(process, &open, "info", Time::NEVER, &Edn::Nil)
                .map_err(|what| (open.line, what))?;
        }
        let part = |(of, operations)| Part::of(of, "system", operations);
        let describe = |(function, count): (String, usize)| {
            format!("{count} events of `:{function}`: only :read, :write and :cas are understood")
        };
        Ok(Imported {
            format: "Jepsen",
            is_complete: false,
            parts: self.keys.into_iter().map(part).collect(),
            not_checked: self.others.into_iter().map(describe).collect(),
        })
    }
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
fn told(value: &Edn) -> Told<'_> {
    match value.list() {
        Some([version, value]) => Told { version: version.integer().unwrap_or(UNRECORDED), value },
        _ => Told { version: UNRECORDED, value },
    }
}

fn written(value: &Edn) -> Blob {
    Blob::text(&value.to_string())
}

/// Old and new value of a compare-and-set, with or without a version.
fn swap(value: &Edn) -> Option<(&Edn, &Edn)> {
    match told(value) {
        Told { value: Edn::List(items), .. } => match items.as_slice() {
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
    let put = |value: &Edn| Put { key: key.clone(), value: written(value), ..Put::default() };
    Ok(match function {
        "read" => Call::Range(Range { key, ..Range::default() }),
        "write" => Call::Put(put(told(value).value)),
        _ => {
            let (old, new) = swap(value)
                .ok_or_else(|| format!("expected `[old new]` to swap, found `{value}`"))?;
            let (operator, target) = (Operator::Equal, Target::Value(written(old)));
            let compare =
                Compare { key: key.clone(), range_end: Blob::default(), operator, target };
            let success = vec![TxnOp::Put(put(new))];
            Call::Txn(Box::new(Txn { compare: vec![compare], success, failure: Vec::new() }))
        }
    })
}

fn reply(body: Body) -> Outcome {
    Outcome::Ok(Reply { header: Header { revision: UNRECORDED, ..Header::default() }, body })
}

fn answer(key: &str, function: &str, value: &Edn) -> Outcome {
    match function {
        "read" => {
            let Told { version, value } = told(value);
            let kv = |value| KeyValue {
                key: Blob::text(key),
                value,
                create_revision: UNRECORDED,
                mod_revision: UNRECORDED,
                version,
                lease: UNRECORDED,
            };
            let kvs = match value {
                Edn::Nil => Vec::new(),
                value => vec![kv(written(value))],
            };
            let count = kvs.len() as i64;
            reply(Body::Range(RangeReply { kvs, more: false, count }))
        }
        "write" => reply(Body::Put { prev_kv: None }),
        _ => {
            let put = TxnOpReply::Put { revision: UNRECORDED, prev_kv: None };
            reply(Body::Txn(TxnReply { succeeded: true, responses: vec![put] }))
        }
    }
}
