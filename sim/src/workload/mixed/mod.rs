//! `mixed`: all of etcd's key-value and lease requests, with every option, in the shares of a busy
//! cluster; among them reads at past revisions, conditions that fail, and a few requests that are
//! wrong on purpose.
//!
//! Every put writes a value of its own. Only reads and renewals are repeated when they fail; after
//! a write of unknown outcome the slot looks at all keys, which shows what became of it.

mod avoid;
mod draft;
mod invalid;
mod reads;
mod sight;
#[cfg(test)]
mod tests;
mod txns;
mod writes;

use detsim_reports::record::{Blob, Body, Call, Operation, Outcome, Put};

use self::avoid::Avoid;
use self::draft::{Draft, Next, Shares};
use self::sight::Sight;
use super::author::Author;
use super::pool::Pool;
use super::{Clients, Pace, Workload, is_refusal, is_repeatable, whom};
use crate::language::value::{Entry, Kind, Parameter, Settings};
use crate::model::Refusal;

/// What scripts may say of it.
pub const ENTRY: Entry = Entry {
    name: "mixed",
    meaning: "clients use all key-value and lease requests, with every option",
    parameters: &[
        Parameter { name: "clients", kind: Kind::Count, default: "8", meaning: "how many clients" },
        Parameter {
            name: "rate",
            kind: Kind::Rate,
            default: "200/s",
            meaning: "operations per second of all clients together",
        },
        Parameter { name: "keys", kind: Kind::Count, default: "16", meaning: "how many keys" },
        Parameter {
            name: "prefix",
            kind: Kind::Text,
            default: "m",
            meaning: "what keys and values begin with",
        },
        Parameter {
            name: "value",
            kind: Kind::Size,
            default: "16",
            meaning: "bytes that a value has at least",
        },
        Parameter {
            name: "reads",
            kind: Kind::Percent,
            default: "45%",
            meaning: "how many operations read, a fifth of them at past revisions",
        },
        Parameter {
            name: "leases",
            kind: Kind::Percent,
            default: "6%",
            meaning: "how many operations grant, revoke, renew or look at leases",
        },
        Parameter {
            name: "compactions",
            kind: Kind::Percent,
            default: "0.5%",
            meaning: "how many operations compact",
        },
        Parameter {
            name: "deletes",
            kind: Kind::Percent,
            default: "0%",
            meaning: "how many operations delete, beside those writes that do",
        },
        Parameter {
            name: "invalid",
            kind: Kind::Percent,
            default: "1%",
            meaning: "how many operations are wrong on purpose; what is left of all writes",
        },
        Parameter {
            name: "avoid",
            kind: Kind::Words(avoid::WORDS),
            default: "nothing",
            meaning: "requests that are left out; against etcd those that it is known to answer wrongly",
        },
    ],
};

/// Writes that look alike and are in flight at a time, at most. When their outcomes are unknown,
/// nothing tells them apart, and every order of them would have to be thought of.
const FACELESS_MAX: usize = 3;
/// How often a read that failed is repeated.
const REPEATS_MAX: u32 = 2;

/// The workload.
pub struct Mixed {
    pool: Pool,
    value_bytes: usize,
    pace: Pace,
    shares: Shares,
    avoid: Avoid,
    slots: Vec<Slot>,
    /// Leases that were granted, or may have been, and not revoked.
    leases: Vec<i64>,
    /// Writes in flight that nothing distinguishes.
    faceless: usize,
}

struct Slot {
    author: Author,
    sight: Sight,
    /// The key to swap, after the read that is under way.
    swap: Option<Blob>,
    /// The outcome of its last write is unknown.
    has_doubts: bool,
    /// What to ask again.
    again: Option<Call>,
    repeats: u32,
}

impl Mixed {
    /// From settings that are complete.
    pub fn new(settings: &Settings) -> Mixed {
        let number = |name| settings.number(name).expect("every parameter is set");
        let prefix = settings.text("prefix").expect("every parameter is set");
        let clients = number("clients") as usize;
        let slot = |slot| Slot {
            author: Author::new(prefix, slot),
            sight: Sight::default(),
            swap: None,
            has_doubts: false,
            again: None,
            repeats: 0,
        };
        Mixed {
            pool: Pool::new(prefix, number("keys")),
            value_bytes: number("value") as usize,
            pace: Pace::new(number("rate"), clients),
            shares: Shares {
                invalid: number("invalid"),
                compactions: number("compactions"),
                deletes: number("deletes"),
                leases: number("leases"),
                reads: number("reads"),
            },
            avoid: Avoid::of(settings.words("avoid")),
            slots: (0..clients).map(slot).collect(),
            leases: Vec::new(),
            faceless: 0,
        }
    }

    /// What the slot does now.
    fn next(&mut self, slot: usize, clients: &mut dyn Clients) -> Call {
        let Slot { author, sight, swap, has_doubts, again, .. } = &mut self.slots[slot];
        if let Some(call) = again.take() {
            return call;
        }
        let mut draft = Draft {
            stream: clients.stream(slot),
            pool: &self.pool,
            sight,
            author,
            leases: &self.leases,
            value_bytes: self.value_bytes,
        };
        if let Some(key) = swap.take() {
            return Call::Txn(Box::new(draft.swap(key)));
        }
        if std::mem::take(has_doubts) {
            return Call::Range(draft.overview());
        }
        let call = match draft.next(&self.shares) {
            Next::Call(call) => self.avoid.cleanse(call),
            Next::SwapAfter(range) => {
                *swap = Some(range.key.clone());
                Call::Range(range)
            }
        };
        if is_faceless(&call) && self.faceless >= FACELESS_MAX {
            return Call::Put(draft.plain_put());
        }
        call
    }

    /// Keeps track of the leases that can be used.
    fn note_leases(&mut self, call: &Call, outcome: &Outcome) {
        let is_missing = |text: &str| Refusal::from_text(text) == Some(Refusal::LeaseNotFound);
        match (call, outcome) {
            (Call::LeaseGrant { id, .. }, Outcome::Ok(_) | Outcome::Unknown(_))
                if !self.leases.contains(id) =>
            {
                self.leases.push(*id);
            }
            (Call::LeaseRevoke { id }, Outcome::Ok(_) | Outcome::Unknown(_)) => {
                self.leases.retain(|held| held != id);
            }
            (
                Call::LeaseRevoke { id: lost } | Call::Put(Put { lease: lost, .. }),
                Outcome::Fail(text),
            ) if is_missing(text) => self.leases.retain(|held| held != lost),
            (_, Outcome::Ok(reply)) => {
                if let Body::LeaseKeepAlive { id, ttl_s: 0 } = reply.body {
                    self.leases.retain(|held| *held != id);
                }
            }
            _ => {}
        }
    }
}

impl Workload for Mixed {
    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn begin(&mut self, clients: &mut dyn Clients) {
        for slot in 0..self.slots.len() {
            self.pace.rest(slot, clients);
        }
    }

    fn woken(&mut self, slot: usize, clients: &mut dyn Clients) {
        let call = self.next(slot, clients);
        self.faceless += usize::from(is_faceless(&call));
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
        let call = &operation.call;
        self.faceless -= usize::from(is_faceless(call));
        self.note_leases(call, outcome);
        let state = &mut self.slots[slot];
        state.sight.learn(call, outcome);
        let is_ok = matches!(outcome, Outcome::Ok(_));
        if !is_ok {
            state.swap = None;
        }
        let is_final = is_ok || matches!(outcome, Outcome::Fail(text) if is_refusal(text));
        if !is_final && is_repeatable(call) && state.repeats < REPEATS_MAX {
            state.repeats += 1;
            state.again = Some(call.clone());
        } else {
            state.repeats = 0;
            state.has_doubts = matches!(outcome, Outcome::Unknown(_));
        }
        self.pace.rest(slot, clients);
    }
}

/// Whether the effect of a write does not show whose it is.
fn is_faceless(call: &Call) -> bool {
    match call {
        Call::DeleteRange(_) | Call::LeaseRevoke { .. } => true,
        Call::Put(put) => put.ignore_value,
        _ => false,
    }
}
