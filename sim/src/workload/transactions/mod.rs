//! `append` and `wr`: transactions of several reads and writes over a few keys.
//!
//! In `append` a write puts elements at the end of a list; every element is appended by one attempt
//! only, and a key that was appended to often enough makes room for a new one. In `wr` a write puts
//! a value that nobody else puts. A transaction is done in one of two forms: `native`, as one
//! request, or `two-phase`, as one that reads and one that writes on the condition that what was
//! read still holds. A condition that fails ends the transaction, and nothing is ever repeated.

mod draft;
#[cfg(test)]
mod tests;

use detsim_reports::record::{Blob, Operation, Outcome};

use self::draft::{Draft, Step};
use super::seen::Seen;
use super::{Clients, Pace, Workload, whom};
use crate::language::value::{Entry, Kind, Parameter, Settings};
use crate::seed::Draw;

const CLIENTS: Parameter =
    Parameter { name: "clients", kind: Kind::Count, default: "6", meaning: "how many clients" };
const RATE: Parameter = Parameter {
    name: "rate",
    kind: Kind::Rate,
    default: "100/s",
    meaning: "requests per second of all clients together",
};
const KEYS: Parameter = Parameter {
    name: "keys",
    kind: Kind::Count,
    default: "3",
    meaning: "how many keys are in use at a time",
};
const OPS: Parameter = Parameter {
    name: "ops",
    kind: Kind::Count,
    default: "4",
    meaning: "reads and writes that a transaction has at most",
};
const FORMS: Parameter = Parameter {
    name: "forms",
    kind: Kind::Words(&["two-phase", "native"]),
    default: "two-phase,native",
    meaning: "how transactions are done",
};
const LOCAL: Parameter = Parameter {
    name: "local",
    kind: Kind::Percent,
    default: "10%",
    meaning: "how many of those that only read are answered from what the member has",
};

/// What scripts may say of `append`.
pub const APPEND: Entry = Entry {
    name: "append",
    meaning: "transactions that read lists and append to them",
    parameters: &[
        CLIENTS,
        RATE,
        KEYS,
        Parameter {
            name: "prefix",
            kind: Kind::Text,
            default: "a",
            meaning: "what keys begin with",
        },
        OPS,
        FORMS,
        LOCAL,
        Parameter {
            name: "appends",
            kind: Kind::Count,
            default: "32",
            meaning: "attempts to append to a key before it makes room for a new one",
        },
    ],
};

/// What scripts may say of `wr`.
pub const WR: Entry = Entry {
    name: "wr",
    meaning: "transactions that read and write registers",
    parameters: &[
        CLIENTS,
        RATE,
        KEYS,
        Parameter {
            name: "prefix",
            kind: Kind::Text,
            default: "t",
            meaning: "what keys and values begin with",
        },
        OPS,
        FORMS,
        LOCAL,
    ],
};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Lists,
    Registers,
}

/// How a transaction is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    TwoPhase,
    Native,
}

/// A read or a write of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Micro {
    Read(Blob),
    /// With the elements to append, or the number of the value.
    Write(Blob, Vec<u64>),
}

/// A key in use.
#[derive(Clone, Copy, Debug)]
struct Active {
    number: u64,
    writes: u64,
}

struct Slot {
    written: u64,
    seen: Seen,
    /// The transaction whose first phase is under way.
    under_way: Option<Vec<Micro>>,
}

/// The workload.
pub struct Transactions {
    written: Written,
    prefix: String,
    pace: Pace,
    ops: u64,
    forms: Vec<Form>,
    local_per_10k: u32,
    /// Writes that a key takes before it is replaced; 0 for any number.
    writes_per_key: u64,
    active: Vec<Active>,
    next_key: u64,
    slots: Vec<Slot>,
}

impl Transactions {
    /// `append`, from settings that are complete.
    pub fn append(settings: &Settings) -> Transactions {
        let writes_per_key = settings.number("appends").expect("every parameter is set").max(1);
        Transactions { writes_per_key, ..Transactions::new(Written::Lists, settings) }
    }

    /// `wr`, from settings that are complete.
    pub fn wr(settings: &Settings) -> Transactions {
        Transactions::new(Written::Registers, settings)
    }

    fn new(written: Written, settings: &Settings) -> Transactions {
        let number = |name| settings.number(name).expect("every parameter is set");
        let clients = number("clients") as usize;
        let keys = number("keys").max(1);
        let form = |word: &String| match word.as_str() {
            "native" => Form::Native,
            _ => Form::TwoPhase,
        };
        Transactions {
            written,
            prefix: settings.text("prefix").expect("every parameter is set").to_owned(),
            pace: Pace::new(number("rate"), clients),
            ops: number("ops").max(1),
            forms: settings.words("forms").iter().map(form).collect(),
            local_per_10k: number("local") as u32,
            writes_per_key: 0,
            active: (0..keys).map(|number| Active { number, writes: 0 }).collect(),
            next_key: keys,
            slots: (0..clients)
                .map(|_| Slot { written: 0, seen: Seen::default(), under_way: None })
                .collect(),
        }
    }

    /// Draws a transaction: a key is written once at most, as etcd demands.
    fn micros(&mut self, slot: usize, clients: &mut dyn Clients) -> Vec<Micro> {
        let stream = clients.stream(slot);
        let mut micros: Vec<Micro> = Vec::new();
        for _ in 0..stream.within(1..=self.ops) {
            let place = stream.below(self.active.len() as u64) as usize;
            let key = Blob::text(&format!("{}{}", self.prefix, self.active[place].number));
            let is_written =
                micros.iter().any(|micro| matches!(micro, Micro::Write(k, _) if *k == key));
            if stream.chance_per_10k(5_000) || is_written {
                micros.push(Micro::Read(key));
                continue;
            }
            let elements = match self.written {
                Written::Lists => 1 + u64::from(stream.chance_per_10k(2_000)),
                Written::Registers => 1,
            };
            let numbers = (0..elements).map(|_| self.number(slot)).collect();
            micros.push(Micro::Write(key, numbers));
            self.active[place].writes += 1;
            if self.active[place].writes == self.writes_per_key {
                self.active[place] = Active { number: self.next_key, writes: 0 };
                self.next_key += 1;
            }
        }
        micros
    }

    /// A number that nobody else writes.
    fn number(&mut self, slot: usize) -> u64 {
        let clients = self.slots.len() as u64;
        self.slots[slot].written += 1;
        self.slots[slot].written * clients + slot as u64
    }
}

impl Workload for Transactions {
    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn begin(&mut self, clients: &mut dyn Clients) {
        for slot in 0..self.slots.len() {
            self.pace.rest(slot, clients);
        }
    }

    fn woken(&mut self, slot: usize, clients: &mut dyn Clients) {
        let micros = self.micros(slot, clients);
        let stream = clients.stream(slot);
        let form = *stream.pick(&self.forms);
        let serializable = stream.chance_per_10k(self.local_per_10k);
        let Slot { seen, under_way, .. } = &mut self.slots[slot];
        let draft = Draft { written: self.written, prefix: &self.prefix, seen };
        let call = match draft.first(&micros, form, serializable) {
            Step::Last(call) => call,
            Step::Read(call) => {
                *under_way = Some(micros);
                call
            }
        };
        let member = whom(slot, clients);
        clients.invoke(slot, member, call);
    }

    fn completed(
        &mut self,
        slot: usize,
        operation: &Operation,
        outcome: &Outcome,
        clients: &mut dyn Clients,
    ) {
        let Slot { seen, under_way, .. } = &mut self.slots[slot];
        seen.learn(&operation.call, outcome);
        if let (Some(micros), Outcome::Ok(_)) = (under_way.take(), outcome) {
            let draft = Draft { written: self.written, prefix: &self.prefix, seen };
            let call = draft.guarded(&micros);
            let member = whom(slot, clients);
            return clients.invoke(slot, member, call);
        }
        self.pace.rest(slot, clients);
    }
}
