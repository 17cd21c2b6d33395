//! `register`: clients read, write, delete and compare-and-swap a few keys. Every written value is
//! written once, so that a read tells whose write it saw.

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, Call, Compare, DeleteRange, Operation, Operator, Outcome, Put, Range, Target, Txn,
    TxnOp,
};

use super::{Clients, Pace, Workload, whom};
use crate::language::value::{Entry, Kind, Parameter, Settings};
use crate::seed::Draw;

/// What scripts may say of it.
pub const ENTRY: Entry = Entry {
    name: "register",
    meaning: "clients read, write, delete and compare-and-swap a few keys",
    parameters: &[
        Parameter { name: "clients", kind: Kind::Count, default: "4", meaning: "how many clients" },
        Parameter {
            name: "rate",
            kind: Kind::Rate,
            default: "100/s",
            meaning: "operations per second of all clients together",
        },
        Parameter { name: "keys", kind: Kind::Count, default: "4", meaning: "how many keys" },
    ],
};

/// The workload.
pub struct Register {
    clients: usize,
    keys: u64,
    pace: Pace,
    /// Values written by each slot.
    written: Vec<u64>,
    /// The value that a slot saw last, by key.
    seen: Vec<BTreeMap<Blob, Blob>>,
}

impl Register {
    /// From settings that are complete.
    pub fn new(settings: &Settings) -> Register {
        let number = |name| settings.number(name).expect("every parameter is set");
        let clients = number("clients") as usize;
        Register {
            clients,
            keys: number("keys").max(1),
            pace: Pace::new(number("rate"), clients),
            written: vec![0; clients],
            seen: vec![BTreeMap::new(); clients],
        }
    }

    fn value(&mut self, slot: usize) -> Blob {
        self.written[slot] += 1;
        Blob::text(&format!("c{slot}-{}", self.written[slot]))
    }

    fn call(&mut self, slot: usize, clients: &mut dyn Clients) -> Call {
        let stream = clients.stream(slot);
        let key = Blob::text(&format!("r{}", stream.below(self.keys)));
        match stream.below(100) {
            0..35 => Call::Range(Range { key, ..Range::default() }),
            35..45 => Call::Range(Range { key, serializable: true, ..Range::default() }),
            45..80 => Call::Put(Put { key, value: self.value(slot), ..Put::default() }),
            80..85 => Call::DeleteRange(DeleteRange { key, ..DeleteRange::default() }),
            _ => self.swap(slot, key),
        }
    }

    /// If the key holds what the slot saw last, write something new, else read.
    fn swap(&mut self, slot: usize, key: Blob) -> Call {
        let target = match self.seen[slot].get(&key) {
            Some(value) => Target::Value(value.clone()),
            None => Target::Version(0),
        };
        let compare = Compare {
            key: key.clone(),
            range_end: Blob::default(),
            operator: Operator::Equal,
            target,
        };
        let put = Put { key: key.clone(), value: self.value(slot), ..Put::default() };
        Call::Txn(Box::new(Txn {
            compare: vec![compare],
            success: vec![TxnOp::Put(put)],
            failure: vec![TxnOp::Range(Range { key, ..Range::default() })],
        }))
    }
}

impl Workload for Register {
    fn slots(&self) -> usize {
        self.clients
    }

    fn begin(&mut self, clients: &mut dyn Clients) {
        for slot in 0..self.clients {
            self.pace.rest(slot, clients);
        }
    }

    fn woken(&mut self, slot: usize, clients: &mut dyn Clients) {
        let call = self.call(slot, clients);
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
        if let (Call::Range(range), Outcome::Ok(reply)) = (&operation.call, outcome)
            && let Body::Range(body) = &reply.body
        {
            match body.kvs.first() {
                Some(kv) => self.seen[slot].insert(range.key.clone(), kv.value.clone()),
                None => self.seen[slot].remove(&range.key),
            };
        }
        self.pace.rest(slot, clients);
    }
}
