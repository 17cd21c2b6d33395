//! `watch`: some slots write, others watch what they write, from the past, from now on, from the
//! future, and from where the last watch ended; and one may compact history away under them.

mod compactor;
#[cfg(test)]
mod tests;
mod watcher;
mod writer;

use std::time::Duration;

use detsim_reports::record::{Operation, Outcome, WatchMessage};

use self::compactor::Compactor;
use self::watcher::{Habits, Watcher};
use self::writer::Writer;
use super::pool::Pool;
use super::{Clients, Pace, Workload, wake_within, whom};
use crate::language::value::{Entry, Kind, Parameter, Settings};
use crate::seed::Draw;

/// What scripts may say of it.
pub const ENTRY: Entry = Entry {
    name: "watch",
    meaning: "clients write keys, others watch them from past, present and future revisions",
    parameters: &[
        Parameter {
            name: "writers",
            kind: Kind::Count,
            default: "4",
            meaning: "clients that write",
        },
        Parameter {
            name: "watchers",
            kind: Kind::Count,
            default: "4",
            meaning: "clients that watch, each one watch after another",
        },
        Parameter {
            name: "rate",
            kind: Kind::Rate,
            default: "100/s",
            meaning: "writes per second of all writers together",
        },
        Parameter { name: "keys", kind: Kind::Count, default: "16", meaning: "how many keys" },
        Parameter {
            name: "prefix",
            kind: Kind::Text,
            default: "w",
            meaning: "what keys and values begin with",
        },
        Parameter {
            name: "large",
            kind: Kind::Size,
            default: "8KB",
            meaning: "bytes of the largest values, which one write in sixteen has",
        },
        Parameter {
            name: "open",
            kind: Kind::Span,
            default: "200ms..3s",
            meaning: "how long a watch is open, one in eight four times as long",
        },
        Parameter {
            name: "slow",
            kind: Kind::Size,
            default: "16KB",
            meaning: "bytes per second that a slow watcher takes, which one watch in six is",
        },
        Parameter {
            name: "whole",
            kind: Kind::Percent,
            default: "5%",
            meaning: "how many of the new watches begin with the first change ever",
        },
        Parameter {
            name: "invalid",
            kind: Kind::Percent,
            default: "1%",
            meaning: "how many watches are wrong on purpose",
        },
        Parameter {
            name: "shared",
            kind: Kind::Percent,
            default: "30%",
            meaning: "how many of the others share streams, two of them at each member",
        },
        Parameter {
            name: "slow-shared",
            kind: Kind::Percent,
            default: "0%",
            meaning: "how many of the slow ones share one stream, at each member",
        },
        Parameter {
            name: "compact",
            kind: Kind::Span,
            default: "",
            meaning: "how long one more client waits before it compacts; without it none does",
        },
    ],
};

/// Between the end of a watch and the next.
const BETWEEN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// Between the end of a watch that failed and the next.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// The workload. Slots are the writers, then the watchers, then the compactor.
pub struct Watching {
    pool: Pool,
    pace: Pace,
    writers: Vec<Writer>,
    watchers: Vec<Watcher>,
    habits: Habits,
    compactor: Option<Compactor>,
}

/// What a slot is there for.
enum Role<'a> {
    Writer(&'a mut Writer),
    Watcher(&'a mut Watcher),
    Compactor(&'a mut Compactor),
}

impl Watching {
    /// From settings that are complete.
    pub fn new(settings: &Settings) -> Watching {
        let number = |name| settings.number(name).expect("every parameter is set");
        let prefix = settings.text("prefix").expect("every parameter is set");
        let writers = number("writers") as usize;
        let large = number("large") as usize;
        let pool = Pool::new(prefix, number("keys"));
        Watching {
            pace: Pace::new(number("rate"), writers),
            writers: (0..writers).map(|slot| Writer::new(prefix, slot, large)).collect(),
            watchers: (0..number("watchers")).map(|_| Watcher::default()).collect(),
            habits: Habits {
                open: settings.span("open").expect("every parameter is set"),
                slow: number("slow"),
                whole_percent: number("whole") / 100,
                invalid_per_10k: number("invalid") as u32,
                shared_per_10k: number("shared") as u32,
                slow_shared_per_10k: number("slow-shared") as u32,
            },
            compactor: settings.span("compact").map(|every| Compactor::new(every, pool.all())),
            pool,
        }
    }

    fn role(&mut self, slot: usize) -> Role<'_> {
        if slot < self.writers.len() {
            return Role::Writer(&mut self.writers[slot]);
        }
        match self.watchers.get_mut(slot - self.writers.len()) {
            Some(watcher) => Role::Watcher(watcher),
            None => Role::Compactor(self.compactor.as_mut().expect("the last slot compacts")),
        }
    }
}

impl Workload for Watching {
    fn slots(&self) -> usize {
        self.writers.len() + self.watchers.len() + usize::from(self.compactor.is_some())
    }

    fn begin(&mut self, clients: &mut dyn Clients) {
        for slot in 0..self.slots() {
            match self.role(slot) {
                Role::Writer(_) => self.pace.rest(slot, clients),
                Role::Watcher(_) => wake_within(slot, BETWEEN, clients),
                Role::Compactor(compactor) => wake_within(slot, compactor.every(), clients),
            }
        }
    }

    fn woken(&mut self, slot: usize, clients: &mut dyn Clients) {
        let (pool, habits) = (self.pool.clone(), self.habits);
        let call = match self.role(slot) {
            Role::Writer(writer) => writer.call(&pool, clients.stream(slot)),
            Role::Compactor(compactor) => compactor.call(clients.stream(slot)),
            Role::Watcher(watcher) if watcher.is_open() => {
                clients.close(slot);
                return;
            }
            Role::Watcher(watcher) => {
                let call = watcher.call(&pool, &habits, clients.stream(slot));
                let long = if clients.stream(slot).below(8) == 0 { 4 } else { 1 };
                wake_within(slot, (habits.open.0 * long, habits.open.1 * long), clients);
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
        match self.role(slot) {
            Role::Writer(_) => self.pace.rest(slot, clients),
            Role::Watcher(watcher) => {
                let is_ok = matches!(outcome, Outcome::Ok(_));
                watcher.ended(is_ok);
                wake_within(slot, if is_ok { BETWEEN } else { AFTER_FAILURE }, clients);
            }
            Role::Compactor(compactor) => {
                let pause = compactor.completed(operation, outcome);
                wake_within(slot, pause, clients);
            }
        }
    }

    fn watched(&mut self, slot: usize, message: &WatchMessage, _clients: &mut dyn Clients) {
        if let Role::Watcher(watcher) = self.role(slot) {
            watcher.watched(message);
        }
    }
}
