//! Porcupine's operations as Go's `encoding/json` writes them, one a line or all in an array:
//! `{"ClientId":0,"Input":…,"Call":10,"Output":…,"Return":20}`.
//!
//! What inputs and outputs are is the model's business. Those of etcd's robustness tests have a
//! `Type` and a reader of their own. Of others, key-value stores and registers are understood
//! (`Request`). As in Porcupine's own models, a key holds the empty text before its first put, and
//! a register 0. An operation without `Return`, or with one before `Call`, may have taken effect.

use std::collections::BTreeMap;
use std::path::Path;

use detsim_reports::record::{
    Blob, Body, Call, ClientId, DeleteRange, OpId, Operation, Outcome, Range, Time, UNRECORDED,
};
use serde::Deserialize;
use serde_json::Value;

use super::values::{REGISTER, answered, key_value, parts_by_key, put, range_reply, swap, swapped};
use super::{ImportError, Imported, robustness};
use crate::check::Checker;

/// When the first operation may be invoked: what a key holds at first is put before.
const BEGIN: u64 = 2;

/// One operation as the file has it.
pub(super) struct Record {
    /// The line on which it is, or on which its array begins.
    pub line: usize,
    /// Its number in an array, from 1.
    nth: Option<usize>,
    pub value: Value,
}

impl Record {
    /// An error at this operation.
    pub fn wrong(&self, path: &Path, what: impl std::fmt::Display) -> ImportError {
        let what = match self.nth {
            Some(nth) => format!("operation {nth}: {what}"),
            None => what.to_string(),
        };
        ImportError { path: path.to_owned(), line: Some(self.line), what }
    }
}

/// The operations of a file: the items of an array, or one a line.
pub(super) fn records(path: &Path, text: &str) -> Result<Vec<Record>, ImportError> {
    let fail = |line: usize, error: &serde_json::Error| ImportError {
        path: path.to_owned(),
        line: Some(line),
        what: error.to_string(),
    };
    if text.trim_start().starts_with('[') {
        let items: Vec<Value> =
            serde_json::from_str(text).map_err(|error| fail(error.line(), &error))?;
        let record = |(value, nth)| Record { line: 1, nth: Some(nth), value };
        return Ok(items.into_iter().zip(1..).map(record).collect());
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let record = |(number, line): (usize, &str)| {
        let value = serde_json::from_str(line).map_err(|error| fail(number + 1, &error))?;
        Ok(Record { line: number + 1, nth: None, value })
    };
    lines.map(record).collect()
}

#[derive(Deserialize)]
struct Line {
    #[serde(alias = "ClientId", alias = "ClientID", alias = "clientId", default)]
    client: u32,
    #[serde(alias = "Input", alias = "input")]
    asked: Value,
    #[serde(alias = "Call", alias = "call")]
    called: i64,
    #[serde(alias = "Output", alias = "output", default)]
    told: Value,
    #[serde(alias = "Return", alias = "return")]
    returned: Option<i64>,
}

/// Reads a history, whatever its model is.
pub(super) fn import(path: &Path, text: &str) -> Result<Imported, ImportError> {
    let records = records(path, text)?;
    let is_robustness =
        |record: &Record| record.value.get("Input").is_some_and(|it| it.get("Type").is_some());
    if records.first().is_some_and(is_robustness) {
        return robustness::import(vec![(path.to_owned(), records)]);
    }
    let mut lines = Vec::new();
    for record in &records {
        let line = Line::deserialize(&record.value).map_err(|error| record.wrong(path, error))?;
        lines.push((record, line));
    }
    let first = lines.iter().map(|(_, line)| line.called).min().unwrap_or_default();
    let mut keys: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for (record, line) in &lines {
        let request = Request::of(&line.asked).map_err(|what| record.wrong(path, what))?;
        let operation = request.operation(line, first).map_err(|what| record.wrong(path, what))?;
        let key = request.key.clone();
        let of_key = keys.entry(key.clone()).or_insert_with(|| vec![initial(&key, &request)]);
        of_key.push(operation);
    }
    Ok(Imported {
        format: "Porcupine",
        parts: parts_by_key(keys, &[Checker::Linearizability]),
        not_checked: Vec::new(),
        ignored: 0,
    })
}

/// What a model's input asks for. Names of fields may be in any case.
///
/// | input | output |
/// |---|---|
/// | `{"Op":"get","Key":"k"}`, or `"Op":0` | `"v"`, or `{"Value":"v"}` |
/// | `{"Op":"put","Key":"k","Value":"v"}`, or `"Op":1` | anything |
/// | `{"Op":"cas","Key":"k","From":"v","To":"w"}` | `true`, or `{"Ok":true}`; or `false` |
/// | `{"Op":"delete","Key":"k"}` | anything |
/// | `{"Op":true}`, a register's read | `5`, or `{"Value":5}` |
/// | `{"Op":false,"Value":5}`, its write | anything |
struct Request {
    key: String,
    kind: Kind,
    is_register: bool,
}

enum Kind {
    Get,
    Put(Blob),
    Cas { from: Blob, to: Blob },
    Delete,
}

/// A field, whatever the case of its name.
fn field<'a>(of: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = of.as_object()?;
    fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A text as it is, anything else as JSON writes it.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Request {
    fn of(input: &Value) -> Result<Request, String> {
        let op = field(input, "op")
            .ok_or_else(|| format!("expected an `Input` with `Type` or `Op`, found `{input}`"))?;
        let value = |name: &str| match field(input, name) {
            Some(value) => Ok(Blob::text(&text(value))),
            None => Err(format!("expected an `Input` with `{name}`, found `{input}`")),
        };
        let word = match op {
            Value::Bool(true) => "get".to_owned(),
            Value::Bool(false) => "put".to_owned(),
            Value::Number(number) => match number.as_u64() {
                Some(0) => "get".to_owned(),
                Some(1) => "put".to_owned(),
                _ => text(op),
            },
            op => text(op).to_lowercase(),
        };
        let kind = match word.as_str() {
            "get" | "read" => Kind::Get,
            "put" | "write" | "set" => Kind::Put(value("Value")?),
            "cas" => Kind::Cas { from: value("From")?, to: value("To")? },
            "delete" => Kind::Delete,
            _ => {
                return Err(format!(
                    "expected an `Op` get, put, cas or delete, 0 for get, 1 for put, or true and \
                     false for a register's read and write, found `{op}`"
                ));
            }
        };
        let key = field(input, "key");
        let is_register = key.is_none();
        let key = key.map_or_else(|| REGISTER.to_owned(), text);
        Ok(Request { key, kind, is_register })
    }

    fn call(&self) -> Call {
        let key = Blob::text(&self.key);
        match &self.kind {
            Kind::Get => Call::Range(Range { key, ..Range::default() }),
            Kind::Put(value) => Call::Put(put(&key, value.clone())),
            Kind::Delete => Call::DeleteRange(DeleteRange { key, ..DeleteRange::default() }),
            Kind::Cas { from, to } => swap(&key, from.clone(), to.clone()),
        }
    }

    /// What the model's output says, as far as it says something.
    fn body(&self, output: &Value) -> Result<Body, String> {
        let told = field(output, "value").unwrap_or(output);
        Ok(match &self.kind {
            Kind::Get if told.is_object() || told.is_array() => {
                return Err(format!("expected an `Output` with a `Value`, found `{output}`"));
            }
            Kind::Get => {
                let kvs = match told {
                    Value::Null => Vec::new(),
                    told => {
                        let [key, value] = [&self.key, &text(told)].map(|text| Blob::text(text));
                        vec![key_value(key, value, UNRECORDED)]
                    }
                };
                Body::Range(range_reply(kvs))
            }
            Kind::Put(_) => Body::Put { prev_kv: None },
            Kind::Delete => Body::DeleteRange { deleted: 1, prev_kvs: Vec::new() },
            Kind::Cas { .. } => {
                let is_done = field(output, "ok").unwrap_or(output).as_bool();
                swapped(is_done.ok_or_else(|| {
                    format!("expected an `Output` true or false, or with `Ok`, found `{output}`")
                })?)
            }
        })
    }

    fn operation(&self, line: &Line, first: i64) -> Result<Operation, String> {
        let since = |at: i64| Time((i128::from(at) - i128::from(first)) as u64 + BEGIN);
        let returned = line.returned.filter(|returned| *returned >= line.called);
        let outcome = match returned {
            Some(_) => answered(self.body(&line.told)?),
            None => Outcome::Unknown("it did not return".to_owned()),
        };
        Ok(Operation {
            id: OpId(0),
            client: ClientId(line.client),
            member: 0,
            invoked: since(line.called),
            call: self.call(),
            completed: returned.map_or(Time::NEVER, since),
            outcome: Some(outcome),
        })
    }
}

/// What a key holds before its first operation.
fn initial(key: &str, request: &Request) -> Operation {
    let value = Blob::text(if request.is_register { "0" } else { "" });
    Operation {
        id: OpId(0),
        client: ClientId(u32::MAX),
        member: 0,
        invoked: Time::ZERO,
        call: Call::Put(put(&Blob::text(key), value)),
        completed: Time(BEGIN - 1),
        outcome: Some(answered(Body::Put { prev_kv: None })),
    }
}
