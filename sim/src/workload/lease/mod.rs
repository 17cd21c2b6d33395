//! `lease`: lives of leases. A slot grants one, attaches keys to it, renews it for a while, looks
//! at it, moves and detaches keys, and then revokes it or lets it expire, and reads the keys.
//!
//! Each slot has keys of its own, but moves some to the leases of others, whose end then takes
//! them. Reads and renewals that fail are repeated; no write is.

mod life;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use detsim_reports::record::{Blob, Body, Call, DeleteRange, Operation, Outcome, Put, Range};
use detsim_reports::record::{Txn, TxnOp};
use rand_chacha::ChaCha8Rng;

use self::life::{Act, Pause, Step};
use super::author::Author;
use super::pool::Pool;
use super::{Clients, Workload, is_refusal, is_repeatable, whom};
use crate::language::value::{Entry, Kind, Parameter, Settings};
use crate::model::Refusal;
use crate::seed::Draw;

/// What scripts may say of it.
pub const ENTRY: Entry = Entry {
    name: "lease",
    meaning: "clients grant leases, attach keys, renew, and revoke or let expire",
    parameters: &[
        Parameter { name: "clients", kind: Kind::Count, default: "4", meaning: "how many clients" },
        Parameter {
            name: "keys",
            kind: Kind::Count,
            default: "4",
            meaning: "how many keys each client has",
        },
        Parameter {
            name: "prefix",
            kind: Kind::Text,
            default: "l",
            meaning: "what keys and values begin with",
        },
        Parameter {
            name: "ttl",
            kind: Kind::Span,
            default: "2s..10s",
            meaning: "how long a lease is granted for, in whole seconds; short ones are likelier",
        },
        Parameter {
            name: "renewals",
            kind: Kind::Count,
            default: "6",
            meaning: "how often a lease is renewed at most, about every third of its time",
        },
        Parameter {
            name: "pause",
            kind: Kind::Span,
            default: "10ms..200ms",
            meaning: "how long a client rests between other operations",
        },
    ],
};

/// How often a read or renewal that failed is repeated.
const REPEATS_MAX: u32 = 3;
/// The shortest time to live, as far as a client knows before it is told.
const TTL_MIN_S: i64 = 2;

/// How far from its end a lease is renewed when it is on the brink.
const BRINK: Duration = Duration::from_millis(500);
/// How long after its end a slot looks for a lease that it let expire, at most.
const LATE: Duration = Duration::from_secs(4);

/// The workload.
pub struct Leasing {
    ttl_s: (u64, u64),
    renewals: u64,
    pause: (Duration, Duration),
    slots: Vec<Slot>,
}

/// A lease as its slot knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub id: i64,
    pub ttl_s: i64,
}

struct Slot {
    author: Author,
    keys: Pool,
    /// What is left of the life.
    steps: VecDeque<Step>,
    /// What comes after it, however it ends.
    after: VecDeque<Step>,
    /// What is to be done when the timer rings, or is being done.
    step: Option<Step>,
    held: Option<Held>,
    second: Option<Held>,
    repeats: u32,
}

impl Leasing {
    /// From settings that are complete.
    pub fn new(settings: &Settings) -> Leasing {
        let number = |name| settings.number(name).expect("every parameter is set");
        let span = |name| settings.span(name).expect("every parameter is set");
        let prefix = settings.text("prefix").expect("every parameter is set");
        let slot = |slot| Slot {
            author: Author::new(prefix, slot),
            keys: Pool::new(&format!("{prefix}{slot}-"), number("keys")),
            steps: VecDeque::new(),
            after: VecDeque::new(),
            step: None,
            held: None,
            second: None,
            repeats: 0,
        };
        let ttl = span("ttl");
        Leasing {
            ttl_s: (ttl.0.as_secs(), ttl.1.as_secs()),
            renewals: number("renewals"),
            pause: span("pause"),
            slots: (0..number("clients") as usize).map(slot).collect(),
        }
    }

    /// Takes the slot's next step and waits for its time.
    fn go_on(&mut self, slot: usize, clients: &mut dyn Clients) {
        let now = clients.now();
        let stream = clients.stream(slot);
        let state = &mut self.slots[slot];
        let mut step = state.steps.pop_front().or_else(|| state.after.pop_front());
        if step.is_none() {
            let life = life::draw(self.ttl_s, self.renewals, &state.keys, stream);
            (state.steps, state.after) = life;
            (state.held, state.second) = (None, None);
            step = state.steps.pop_front();
        }
        let step = step.expect("a life begins with a grant");
        let ttl_s = state.held.map_or(TTL_MIN_S, |held| held.ttl_s) as u64;
        let ttl = Duration::from_secs(ttl_s);
        let (low, high) = match step.pause {
            Pause::Short => self.pause,
            Pause::Third => (ttl * 4 / 15, ttl * 6 / 15),
            Pause::Brink => (ttl.saturating_sub(BRINK), ttl + BRINK),
            Pause::Over => (ttl, ttl + LATE),
        };
        let at = now.after(stream.duration(low, high));
        state.step = Some(step);
        clients.wake(slot, at);
    }

    /// The request of a step.
    fn call(&mut self, slot: usize, act: &Act, stream: &mut ChaCha8Rng) -> Call {
        let others: Vec<i64> =
            self.slots.iter().filter_map(|slot| slot.held).map(|h| h.id).collect();
        let state = &mut self.slots[slot];
        let own = state.held.map_or(0, |held| held.id);
        let mut put = |key: &Blob, lease: i64| {
            let value = state.author.value(0);
            Put { key: key.clone(), value, lease, ..Put::default() }
        };
        match act {
            Act::Grant { ttl_s, is_automatic: true } => Call::LeaseGrant { id: 0, ttl_s: *ttl_s },
            Act::Grant { ttl_s, .. } | Act::GrantSecond { ttl_s } => {
                let id = state.author.lease();
                let id = if stream.below(10) == 0 { -id } else { id };
                Call::LeaseGrant { id, ttl_s: *ttl_s }
            }
            Act::GrantAgain => Call::LeaseGrant { id: own, ttl_s: TTL_MIN_S },
            Act::Attach(key) => Call::Put(put(key, own)),
            Act::AttachAll(keys) => {
                let success = keys.iter().map(|key| TxnOp::Put(put(key, own))).collect();
                Call::Txn(Box::new(Txn { success, ..Txn::default() }))
            }
            Act::Detach(key) => Call::Put(put(key, 0)),
            Act::Move(key) => {
                let other = others.get(stream.below(others.len().max(1) as u64) as usize);
                let other = other.copied().unwrap_or(own);
                Call::Put(put(key, state.second.map_or(other, |second| second.id)))
            }
            Act::Retain(key) => Call::Put(Put { ignore_lease: true, ..put(key, 0) }),
            Act::Delete(key) => {
                Call::DeleteRange(DeleteRange { key: key.clone(), ..DeleteRange::default() })
            }
            Act::Renew => Call::LeaseKeepAlive { id: own },
            Act::Look { keys } => Call::LeaseTimeToLive { id: own, keys: *keys },
            Act::List => Call::LeaseLeases,
            Act::Read => {
                let (key, range_end) = state.keys.all();
                Call::Range(Range { key, range_end, ..Range::default() })
            }
            Act::Revoke => Call::LeaseRevoke { id: own },
            Act::RevokeSecond => {
                Call::LeaseRevoke { id: state.second.map_or(own, |second| second.id) }
            }
        }
    }
}

impl Slot {
    /// Takes in how a step ended.
    fn learn(&mut self, step: Step, call: &Call, outcome: &Outcome) {
        let is_ok = matches!(outcome, Outcome::Ok(_));
        let is_final = is_ok || matches!(outcome, Outcome::Fail(text) if is_refusal(text));
        if !is_final && is_repeatable(call) && self.repeats < REPEATS_MAX {
            self.repeats += 1;
            self.steps.push_front(Step { pause: Pause::Short, ..step });
            return;
        }
        self.repeats = 0;
        match step.act {
            Act::Grant { .. } => {
                self.held = granted(call, outcome);
                if self.held.is_none() {
                    self.steps.clear();
                    self.after.clear();
                }
            }
            Act::GrantSecond { .. } => self.second = granted(call, outcome),
            Act::Renew if is_gone(outcome) => self.steps.clear(),
            Act::Attach(_) | Act::AttachAll(_) if is_missing(outcome) => self.steps.clear(),
            _ => {}
        }
    }
}

/// The lease that a grant made, or may have made.
pub(super) fn granted(call: &Call, outcome: &Outcome) -> Option<Held> {
    match (call, outcome) {
        (_, Outcome::Ok(reply)) => match reply.body {
            Body::LeaseGrant { id, ttl_s } => Some(Held { id, ttl_s }),
            _ => None,
        },
        (&Call::LeaseGrant { id, ttl_s }, Outcome::Unknown(_)) if id != 0 => {
            Some(Held { id, ttl_s: ttl_s.max(TTL_MIN_S) })
        }
        _ => None,
    }
}

/// Whether a renewal came too late.
pub(super) fn is_gone(outcome: &Outcome) -> bool {
    let Outcome::Ok(reply) = outcome else { return false };
    matches!(reply.body, Body::LeaseKeepAlive { ttl_s: 0, .. })
}

/// Whether it was refused because the lease does not exist.
pub(super) fn is_missing(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fail(text)
        if Refusal::from_text(text) == Some(Refusal::LeaseNotFound))
}

impl Workload for Leasing {
    fn slots(&self) -> usize {
        self.slots.len()
    }

    fn begin(&mut self, clients: &mut dyn Clients) {
        for slot in 0..self.slots.len() {
            self.go_on(slot, clients);
        }
    }

    fn woken(&mut self, slot: usize, clients: &mut dyn Clients) {
        let step = self.slots[slot].step.clone().expect("a slot that waits has a step");
        let call = self.call(slot, &step.act, clients.stream(slot));
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
        let state = &mut self.slots[slot];
        let step = state.step.take().expect("a slot that was busy has a step");
        state.learn(step, &operation.call, outcome);
        self.go_on(slot, clients);
    }
}
