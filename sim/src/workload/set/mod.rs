//! `set`: clients add elements, each once, and read whole sets; a set that is full makes room for
//! the next one.
//!
//! A set is a key for each element, or one key that holds a list to which elements are appended on
//! the condition that it still is as it was read. Reads are of the set in use, of one that is full
//! already, or of all keys. An addition that fails is not repeated.

#[cfg(test)]
mod tests;

use detsim_reports::record::{Blob, Call, Operation, Outcome, Put, Range, Txn, TxnOp};

use super::author::prefix_end;
use super::seen::{Seen, get};
use super::{Clients, Pace, Workload, whom};
use crate::language::value::{Entry, Kind, Parameter, Settings};
use crate::seed::Draw;

/// What scripts may say of it.
pub const ENTRY: Entry = Entry {
    name: "set",
    meaning: "clients add elements to sets and read whole sets",
    parameters: &[
        Parameter { name: "clients", kind: Kind::Count, default: "5", meaning: "how many clients" },
        Parameter {
            name: "rate",
            kind: Kind::Rate,
            default: "60/s",
            meaning: "requests per second of all clients together",
        },
        Parameter {
            name: "prefix",
            kind: Kind::Text,
            default: "s",
            meaning: "what keys begin with",
        },
        Parameter {
            name: "elements",
            kind: Kind::Count,
            default: "100",
            meaning: "elements of a set before the next one begins",
        },
        Parameter {
            name: "reads",
            kind: Kind::Percent,
            default: "35%",
            meaning: "how many operations read",
        },
        Parameter {
            name: "local",
            kind: Kind::Percent,
            default: "10%",
            meaning: "how many reads are answered from what the member has",
        },
        Parameter {
            name: "as",
            kind: Kind::Words(&["keys", "list"]),
            default: "keys,list",
            meaning: "what sets are, in turn: a key for each element, or one list",
        },
    ],
};

/// What a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Keys,
    List,
}

/// Which set is read.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    InUse,
    Full,
    Everything,
}

const WANTED: [(u64, Wanted); 3] =
    [(70, Wanted::InUse), (27, Wanted::Full), (3, Wanted::Everything)];

#[derive(Default)]
struct Slot {
    seen: Seen,
    /// The list that is read, and the element that is to be appended to it.
    under_way: Option<(Blob, u64)>,
}

/// The workload.
pub struct Sets {
    prefix: String,
    pace: Pace,
    capacity: u64,
    reads_per_10k: u32,
    local_per_10k: u32,
    forms: Vec<Form>,
    /// Elements that anybody set out to add, to all sets.
    elements: u64,
    slots: Vec<Slot>,
}

impl Sets {
    /// From settings that are complete.
    pub fn new(settings: &Settings) -> Sets {
        let number = |name| settings.number(name).expect("every parameter is set");
        let clients = number("clients") as usize;
        let form = |word: &String| match word.as_str() {
            "list" => Form::List,
            _ => Form::Keys,
        };
        Sets {
            prefix: settings.text("prefix").expect("every parameter is set").to_owned(),
            pace: Pace::new(number("rate"), clients),
            capacity: number("elements").max(1),
            reads_per_10k: number("reads") as u32,
            local_per_10k: number("local") as u32,
            forms: settings.words("as").iter().map(form).collect(),
            elements: 0,
            slots: (0..clients).map(|_| Slot::default()).collect(),
        }
    }

    fn form(&self, set: u64) -> Form {
        self.forms[(set % self.forms.len() as u64) as usize]
    }

    /// The key of a list, or what the keys of a set's elements begin with.
    fn name(&self, set: u64) -> Blob {
        match self.form(set) {
            Form::Keys => Blob::text(&format!("{}{set}-", self.prefix)),
            Form::List => Blob::text(&format!("{}{set}", self.prefix)),
        }
    }

    fn read(&self, slot: usize, clients: &mut dyn Clients) -> Call {
        let stream = clients.stream(slot);
        let serializable = stream.chance_per_10k(self.local_per_10k);
        let in_use = self.elements / self.capacity;
        let set = match stream.weigh(&WANTED) {
            Wanted::Everything => {
                let key = Blob::text(&self.prefix);
                let range_end = prefix_end(&key);
                return Call::Range(Range { key, range_end, serializable, ..Range::default() });
            }
            Wanted::Full if in_use > 0 => stream.below(in_use),
            _ => in_use,
        };
        let key = self.name(set);
        match self.form(set) {
            Form::List => Call::Range(get(&key, serializable)),
            Form::Keys => {
                let range_end = prefix_end(&key);
                Call::Range(Range { key, range_end, serializable, ..Range::default() })
            }
        }
    }

    /// Adds the next element, or reads the list that it is to be added to.
    fn add(&mut self, slot: usize) -> Call {
        let element = self.elements;
        let set = element / self.capacity;
        self.elements += 1;
        let name = self.name(set);
        match self.form(set) {
            Form::Keys => {
                let mut key = name.0.to_vec();
                key.extend_from_slice(element.to_string().as_bytes());
                let value = Blob::text(&element.to_string());
                Call::Put(Put { key: Blob(key.into()), value, ..Put::default() })
            }
            Form::List => {
                self.slots[slot].under_way = Some((name.clone(), element));
                Call::Range(get(&name, false))
            }
        }
    }
}

impl Workload for Sets {
    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn begin(&mut self, clients: &mut dyn Clients) {
        for slot in 0..self.slots.len() {
            self.pace.rest(slot, clients);
        }
    }

    fn woken(&mut self, slot: usize, clients: &mut dyn Clients) {
        let is_read = clients.stream(slot).chance_per_10k(self.reads_per_10k);
        let call = if is_read { self.read(slot, clients) } else { self.add(slot) };
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
        let Slot { seen, under_way } = &mut self.slots[slot];
        seen.learn(&operation.call, outcome);
        if let (Some((key, element)), Outcome::Ok(_)) = (under_way.take(), outcome) {
            let value = seen.extended(&key, &[element]);
            let call = Call::Txn(Box::new(Txn {
                compare: vec![seen.guard(&key)],
                success: vec![TxnOp::Put(Put { key, value, ..Put::default() })],
                failure: Vec::new(),
            }));
            let member = whom(slot, clients);
            return clients.invoke(slot, member, call);
        }
        self.pace.rest(slot, clients);
    }
}
