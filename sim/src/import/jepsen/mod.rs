//! Jepsen's `history.edn`: invocations and completions, paired by process.
//!
//! | operations | of |
//! |---|---|
//! | `:read`, `:write`, `:cas` | one register, or independent keys, `[key value]` |
//! | `:txn` of `[:append k v]` and `[:r k [v ...]]` | lists |
//! | `:txn` of `[:w k v]` and `[:r k v]` | registers |
//! | `:add`, and `:read` beside it | one set, or independent ones |
//!
//! A `:fail` certainly had no effect, an `:info` may have. What no numbered process does is the
//! nemesis'. Any other function of a client is counted, and leaves the history undecided.

mod registers;
mod sets;
mod transactions;

use std::collections::BTreeMap;
use std::path::Path;

use detsim_reports::record::{Blob, Body, Call, ClientId, OpId, Operation, Outcome, Time};

use super::edn::{Edn, Reader};
use super::values::answered;
use super::{ImportError, Imported, Part};

/// What is wrong, and on which line.
type Wrong = (usize, String);

/// An operation from its invocation to its end.
struct Done {
    process: i64,
    function: String,
    /// The line of the invocation.
    line: usize,
    invoked: Time,
    completed: Time,
    asked: Edn,
    told: Told,
}

/// How an operation ended.
enum Told {
    Ok(Edn),
    Fail,
    Info,
}

/// An invocation that has not ended.
struct Open {
    at: Time,
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
    done: Vec<Done>,
    others: BTreeMap<String, usize>,
}

impl Gatherer {
    fn event(&mut self, number: usize, line: usize, event: &Edn) -> Result<(), String> {
        let field = |name: &str| {
            event.get(name).ok_or_else(|| format!("expected an operation with `:{name}`"))
        };
        let Some(process) = field("process")?.integer() else { return Ok(()) };
        let function = field("f")?.keyword().ok_or("expected a keyword as `:f`")?;
        if !matches!(function, "read" | "write" | "cas" | "txn" | "add") {
            *self.others.entry(function.to_owned()).or_default() += 1;
            return Ok(());
        }
        // Without times, the order in the file is what there is.
        let at = event.get("time").and_then(Edn::integer).unwrap_or(number as i64);
        let at = Time(u64::try_from(at).map_err(|_| "expected a `:time` of 0 or more")?);
        let value = event.get("value").cloned().unwrap_or(Edn::Nil);
        let told = match field("type")?.keyword() {
            Some("invoke") => {
                let open = Open { at, function: function.to_owned(), value, line };
                return match self.open.insert(process, open) {
                    Some(before) => Err(format!(
                        "process {process} invokes while its operation of line {} has not ended",
                        before.line
                    )),
                    None => Ok(()),
                };
            }
            Some("ok") => Told::Ok(value),
            Some("fail") => Told::Fail,
            Some("info") => Told::Info,
            _ => return Err("expected `:type` :invoke, :ok, :fail or :info".to_owned()),
        };
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
        self.end(process, open, at, told);
        Ok(())
    }

    fn end(&mut self, process: i64, open: Open, completed: Time, told: Told) {
        let Open { at: invoked, function, value: asked, line } = open;
        self.done.push(Done { process, function, line, invoked, completed, asked, told });
    }

    /// What never ended may have taken effect.
    fn finish(mut self) -> Result<Imported, Wrong> {
        for (process, open) in std::mem::take(&mut self.open) {
            self.end(process, open, Time::NEVER, Told::Info);
        }
        let is = |function: &'static str| move |done: &Done| done.function == function;
        let (txns, others): (Vec<Done>, Vec<Done>) = self.done.into_iter().partition(is("txn"));
        let mut parts = match others.iter().any(is("add")) {
            true => sets::parts(&others)?,
            false => registers::parts(&others)?,
        };
        parts.extend(transactions::part(&txns)?);
        let describe = |(function, count): (&String, &usize)| {
            format!(
                "{count} events of `:{function}`: only :read, :write, :cas, :txn and :add are \
                 understood"
            )
        };
        Ok(Imported {
            format: "Jepsen",
            parts,
            not_checked: self.others.iter().map(describe).collect(),
            ignored: self.others.values().sum(),
        })
    }
}

impl Done {
    /// The operation as one of ours, with the answer that it was told, if it was told one.
    fn operation(
        &self,
        call: Call,
        answer: impl FnOnce(&Edn) -> Result<Body, String>,
    ) -> Result<Operation, Wrong> {
        let wrong = |what: String| (self.line, what);
        let client = u32::try_from(self.process)
            .map_err(|_| wrong("expected a small `:process`".to_owned()))?;
        let outcome = match &self.told {
            Told::Ok(value) => answered(answer(value).map_err(wrong)?),
            Told::Fail => Outcome::Fail("failed".to_owned()),
            Told::Info => Outcome::Unknown("info".to_owned()),
        };
        let is_over = !matches!(outcome, Outcome::Unknown(_));
        Ok(Operation {
            id: OpId(0),
            client: ClientId(client),
            member: 0,
            invoked: self.invoked,
            call,
            completed: if is_over { self.completed } else { Time::NEVER },
            outcome: Some(outcome),
        })
    }
}

fn written(value: &Edn) -> Blob {
    Blob::text(&value.to_string())
}
