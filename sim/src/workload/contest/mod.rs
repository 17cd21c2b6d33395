//! `lock` and `election`: clients that contend by etcd's recipes over keys and leases.
//!
//! A client is two slots: the contender, and the keeper of its session's lease, as sessions have a
//! keeper that works beside their user. Elections have observers too. Holders of a lock write to
//! what it guards: most with a fence, which is a comparison of the lock key's create revision, some
//! without. A careless contender lets its lease expire and goes on as if it held what it had won.

mod contender;
mod observer;
mod recipe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use detsim_reports::record::{Call, Operation, Outcome, WatchMessage};

use self::contender::{Contender, Habits};
use self::observer::Observer;
use self::recipe::Recipe;
use super::lease::is_gone;
use super::{Clients, Workload, wake_within, whom};
use crate::language::value::{Entry, Kind, Parameter, Settings};

const CLIENTS: Parameter = Parameter {
    name: "clients",
    kind: Kind::Count,
    default: "4",
    meaning: "how many clients contend",
};
const TTL: Parameter = Parameter {
    name: "ttl",
    kind: Kind::Span,
    default: "2s..5s",
    meaning: "how long a session's lease is granted for, in whole seconds",
};
const PAUSE: Parameter = Parameter {
    name: "pause",
    kind: Kind::Span,
    default: "10ms..200ms",
    meaning: "how long a client rests between operations",
};
const PATIENCE: Parameter = Parameter {
    name: "patience",
    kind: Kind::Span,
    default: "3s..15s",
    meaning: "how long a client watches for its turn before it gives up",
};
const CARELESS: Parameter = Parameter {
    name: "careless",
    kind: Kind::Percent,
    default: "15%",
    meaning: "how many sessions are not kept alive while their holders go on",
};

/// What scripts may say of locks.
pub const LOCK: Entry = Entry {
    name: "lock",
    meaning: "clients take locks by etcd's recipe and write to what they guard, with and without a \
              fence",
    parameters: &[
        CLIENTS,
        Parameter { name: "locks", kind: Kind::Count, default: "2", meaning: "how many locks" },
        Parameter {
            name: "prefix",
            kind: Kind::Text,
            default: "lock",
            meaning: "what keys and values begin with",
        },
        TTL,
        PAUSE,
        PATIENCE,
        Parameter {
            name: "writes",
            kind: Kind::Count,
            default: "6",
            meaning: "how often a holder uses the lock at most before it leaves",
        },
        CARELESS,
    ],
};

/// What scripts may say of elections.
pub const ELECTION: Entry = Entry {
    name: "election",
    meaning: "clients campaign, proclaim and resign by etcd's recipe, and others observe",
    parameters: &[
        CLIENTS,
        Parameter {
            name: "observers",
            kind: Kind::Count,
            default: "2",
            meaning: "how many clients observe",
        },
        Parameter {
            name: "elections",
            kind: Kind::Count,
            default: "1",
            meaning: "how many elections",
        },
        Parameter {
            name: "prefix",
            kind: Kind::Text,
            default: "elect",
            meaning: "what keys and values begin with",
        },
        TTL,
        PAUSE,
        PATIENCE,
        Parameter {
            name: "writes",
            kind: Kind::Count,
            default: "4",
            meaning: "how often a leader proclaims at most before it resigns",
        },
        CARELESS,
    ],
};

/// How long a keeper waits where there is nothing to keep, and after a failure.
const IDLE: Duration = Duration::from_millis(200);

/// Either workload. Slots are the contenders, then their keepers, then the observers.
pub struct Contest {
    habits: Habits,
    contenders: Vec<Contender>,
    observers: Vec<Observer>,
}

/// What a slot is there for.
#[derive(Clone, Copy)]
enum Role {
    Contender(usize),
    /// Of this contender's session.
    Keeper(usize),
    Observer(usize),
}

impl Contest {
    /// A lock's, from settings that are complete.
    pub fn locks(settings: &Settings) -> Contest {
        Contest::new(settings, Recipe::Lock, "locks", 0)
    }

    /// An election's, from settings that are complete.
    pub fn elections(settings: &Settings) -> Contest {
        let observers = settings.number("observers").expect("every parameter is set");
        Contest::new(settings, Recipe::Election, "elections", observers as usize)
    }

    fn new(settings: &Settings, recipe: Recipe, contests: &str, observers: usize) -> Contest {
        let number = |name| settings.number(name).expect("every parameter is set");
        let span = |name| settings.span(name).expect("every parameter is set");
        let ttl = span("ttl");
        let habits = Habits {
            recipe,
            prefix: settings.text("prefix").expect("every parameter is set").to_owned(),
            contests: number(contests),
            ttl_s: (ttl.0.as_secs(), ttl.1.as_secs()),
            pause: span("pause"),
            patience: span("patience"),
            writes: number("writes"),
            careless_per_10k: number("careless") as u32,
        };
        let clients = number("clients") as usize;
        Contest {
            contenders: (0..clients).map(|slot| Contender::new(&habits, slot)).collect(),
            observers: (0..observers).map(|_| Observer::default()).collect(),
            habits,
        }
    }

    fn role(&self, slot: usize) -> Role {
        let clients = self.contenders.len();
        match slot / clients.max(1) {
            0 if clients > 0 => Role::Contender(slot),
            1 if clients > 0 => Role::Keeper(slot - clients),
            _ => Role::Observer(slot - 2 * clients),
        }
    }
}

/// Renews the session's lease, or waits for one.
fn keep(contender: &Contender, slot: usize, clients: &mut dyn Clients) {
    match contender.kept() {
        Some(held) => {
            let member = whom(slot, clients);
            clients.invoke(slot, member, Call::LeaseKeepAlive { id: held.id });
        }
        None => clients.wake(slot, clients.now().after(IDLE)),
    }
}

impl Workload for Contest {
    fn slots(&self) -> usize {
        2 * self.contenders.len() + self.observers.len()
    }

    fn begin(&mut self, clients: &mut dyn Clients) {
        for slot in 0..self.slots() {
            wake_within(slot, self.habits.pause, clients);
        }
    }

    fn woken(&mut self, slot: usize, clients: &mut dyn Clients) {
        match self.role(slot) {
            Role::Contender(at) => self.contenders[at].woken(slot, &self.habits, clients),
            Role::Keeper(at) => keep(&self.contenders[at], slot, clients),
            Role::Observer(at) => self.observers[at].woken(slot, &self.habits, clients),
        }
    }

    fn completed(
        &mut self,
        slot: usize,
        operation: &Operation,
        outcome: &Outcome,
        clients: &mut dyn Clients,
    ) {
        match self.role(slot) {
            Role::Contender(at) => {
                self.contenders[at].completed(slot, operation, outcome, &self.habits, clients);
            }
            Role::Keeper(at) => {
                if let Call::LeaseKeepAlive { id } = operation.call
                    && is_gone(outcome)
                {
                    self.contenders[at].lose(id);
                }
                let third = match (self.contenders[at].kept(), outcome) {
                    (Some(held), Outcome::Ok(_)) => {
                        Duration::from_millis(held.ttl_s as u64 * 1_000 / 3)
                    }
                    _ => IDLE,
                };
                clients.wake(slot, clients.now().after(third));
            }
            Role::Observer(at) => {
                self.observers[at].completed(slot, outcome, &self.habits, clients);
            }
        }
    }

    fn watched(&mut self, slot: usize, message: &WatchMessage, clients: &mut dyn Clients) {
        if let Role::Contender(at) = self.role(slot) {
            self.contenders[at].watched(slot, message, clients);
        }
    }
}
