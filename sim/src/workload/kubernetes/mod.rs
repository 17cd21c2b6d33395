//! `kubernetes`: what API servers and controllers of Kubernetes do to their store. Writers change
//! objects on condition of what they saw, informers list in pages and watch from there, compactors
//! agree through a record, candidates elect a leader by another, and events live on leases.
//!
//! Every request has the shape that an API server gives it. Nothing is retried except as an
//! operation of its own.

mod candidate;
mod compactor;
mod informer;
mod requests;
#[cfg(test)]
mod tests;
mod writer;

use std::time::Duration;

use detsim_reports::record::{Operation, Outcome, WatchMessage};

use self::candidate::Candidate;
use self::compactor::Compactor;
use self::informer::Informer;
use self::writer::Writer;
use super::{Clients, Pace, Workload, wake_within, whom};
use crate::language::value::{Entry, Kind, Parameter, Settings};

/// What scripts may say of it.
pub const ENTRY: Entry = Entry {
    name: "kubernetes",
    meaning: "writers, informers, compactors and leader election as Kubernetes has them",
    parameters: &[
        Parameter {
            name: "writers",
            kind: Kind::Count,
            default: "4",
            meaning: "clients that create, change and delete objects",
        },
        Parameter {
            name: "rate",
            kind: Kind::Rate,
            default: "60/s",
            meaning: "operations per second of all writers together",
        },
        Parameter {
            name: "informers",
            kind: Kind::Count,
            default: "4",
            meaning: "clients that list and watch a resource",
        },
        Parameter {
            name: "resources",
            kind: Kind::Count,
            default: "2",
            meaning: "how many resources",
        },
        Parameter {
            name: "objects",
            kind: Kind::Count,
            default: "20",
            meaning: "how many objects a resource has at most",
        },
        Parameter {
            name: "page",
            kind: Kind::Count,
            default: "5",
            meaning: "how many objects a page of a list has",
        },
        Parameter {
            name: "open",
            kind: Kind::Span,
            default: "1s..8s",
            meaning: "how long a watch is open before the informer asks anew",
        },
        Parameter {
            name: "compactors",
            kind: Kind::Count,
            default: "2",
            meaning: "clients that compact, whoever comes first",
        },
        Parameter {
            name: "compact",
            kind: Kind::Span,
            default: "2s..3s",
            meaning: "how long a compactor waits between rounds",
        },
        Parameter {
            name: "candidates",
            kind: Kind::Count,
            default: "2",
            meaning: "clients that elect a leader by a record",
        },
        Parameter {
            name: "ttl",
            kind: Kind::Span,
            default: "4s..10s",
            meaning: "how long events live, in whole seconds",
        },
        Parameter {
            name: "prefix",
            kind: Kind::Text,
            default: "/registry/",
            meaning: "what keys and values begin with",
        },
    ],
};

/// What all have in common.
#[derive(Clone, Debug)]
struct Habits {
    prefix: String,
    resources: u64,
    objects: u64,
    page: i64,
    ttl_s: (u64, u64),
}

impl Habits {
    /// The prefix of a resource's objects.
    fn resource(&self, number: u64) -> String {
        format!("{}r{number}/", self.prefix)
    }
}

/// The workload. Slots are the writers, then the informers, the compactors and the candidates.
pub struct Kubernetes {
    habits: Habits,
    pace: Pace,
    open: (Duration, Duration),
    compact: (Duration, Duration),
    writers: Vec<Writer>,
    informers: Vec<Informer>,
    compactors: Vec<Compactor>,
    candidates: Vec<Candidate>,
}

/// What a slot is there for.
enum Role<'a> {
    Writer(&'a mut Writer),
    Informer(&'a mut Informer),
    Compactor(&'a mut Compactor),
    Candidate(&'a mut Candidate),
}

impl Kubernetes {
    /// From settings that are complete.
    pub fn new(settings: &Settings) -> Kubernetes {
        let number = |name| settings.number(name).expect("every parameter is set");
        let span = |name| settings.span(name).expect("every parameter is set");
        let prefix = settings.text("prefix").expect("every parameter is set");
        let ttl = span("ttl");
        let habits = Habits {
            prefix: prefix.to_owned(),
            resources: number("resources").max(1),
            objects: number("objects"),
            page: number("page").max(1) as i64,
            ttl_s: (ttl.0.as_secs(), ttl.1.as_secs()),
        };
        let writers = number("writers") as usize;
        let informer = |place| Informer::new(&habits.resource(place % habits.resources));
        Kubernetes {
            pace: Pace::new(number("rate"), writers),
            open: span("open"),
            compact: span("compact"),
            writers: (0..writers).map(|slot| Writer::new(prefix, slot)).collect(),
            informers: (0..number("informers")).map(informer).collect(),
            compactors: (0..number("compactors")).map(|_| Compactor::new(prefix)).collect(),
            candidates: (0..number("candidates") as usize)
                .map(|place| Candidate::new(prefix, writers + place))
                .collect(),
            habits,
        }
    }

    fn role(&mut self, slot: usize) -> Role<'_> {
        let informers = self.writers.len();
        let compactors = informers + self.informers.len();
        let candidates = compactors + self.compactors.len();
        if slot < informers {
            Role::Writer(&mut self.writers[slot])
        } else if slot < compactors {
            Role::Informer(&mut self.informers[slot - informers])
        } else if slot < candidates {
            Role::Compactor(&mut self.compactors[slot - compactors])
        } else {
            Role::Candidate(&mut self.candidates[slot - candidates])
        }
    }

    /// How long a slot that has nothing to hurry for rests.
    fn rest(&mut self, slot: usize, clients: &mut dyn Clients) {
        let (pace, compact) = (self.pace, self.compact);
        let bounds = match self.role(slot) {
            Role::Writer(_) => return pace.rest(slot, clients),
            Role::Informer(_) => (Duration::ZERO, Duration::from_millis(500)),
            Role::Compactor(_) => compact,
            Role::Candidate(_) => candidate::EVERY,
        };
        wake_within(slot, bounds, clients);
    }
}

impl Workload for Kubernetes {
    fn slots(&self) -> usize {
        self.writers.len() + self.informers.len() + self.compactors.len() + self.candidates.len()
    }

    fn begin(&mut self, clients: &mut dyn Clients) {
        for slot in 0..self.slots() {
            self.rest(slot, clients);
        }
    }

    fn woken(&mut self, slot: usize, clients: &mut dyn Clients) {
        let (habits, open, now) = (self.habits.clone(), self.open, clients.now());
        let call = match self.role(slot) {
            Role::Writer(writer) => writer.call(&habits, now, clients.stream(slot)),
            Role::Compactor(compactor) => compactor.call(),
            Role::Candidate(candidate) => candidate.call(now),
            Role::Informer(informer) if informer.is_open() => {
                clients.close(slot);
                return;
            }
            Role::Informer(informer) => {
                let call = informer.call(&habits, clients.stream(slot));
                if informer.is_open() {
                    wake_within(slot, open, clients);
                }
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
        let now = clients.now();
        match self.role(slot) {
            Role::Writer(writer) => writer.completed(&operation.call, outcome, now),
            Role::Candidate(candidate) => candidate.completed(outcome, now),
            Role::Informer(informer) => {
                let pause = informer.completed(outcome, clients.stream(slot));
                return wake_within(slot, pause, clients);
            }
            Role::Compactor(compactor) => {
                if compactor.completed(&operation.call, outcome) {
                    return clients.wake(slot, now);
                }
            }
        }
        self.rest(slot, clients);
    }

    fn watched(&mut self, slot: usize, message: &WatchMessage, _clients: &mut dyn Clients) {
        if let Role::Informer(informer) = self.role(slot) {
            informer.watched(message);
        }
    }
}
