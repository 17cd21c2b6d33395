//! Faults in time: what a script's `at` lines and its nemeses do during a `run`.
//!
//! A nemesis waits, begins a fault, lets it last, ends it, and waits again. What a fault consists
//! of is drawn from the nemesis' own stream and written into the plan as `at` lines that name every
//! member, so that a replay draws nothing here.
//!
//! Faults are bounded so that what etcd promises stays provable: they touch members that are
//! healthy when they begin, and take what was durable from a minority at most, which then counts as
//! failed.

mod changes;
mod hosts;
mod kinds;
mod links;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::time::Duration;

use detsim_reports::record::Time;
use rand_chacha::ChaCha8Rng;

use super::actions::Source;
use super::member::{Member, Role};
use super::runner::{Runner, Stop};
use crate::language::ast::{Action, Named, Statement};
use crate::language::value::{Entry, Settings, meant};
use crate::seed::Draw;
use crate::world::End;

pub use kinds::KINDS;
use view::View;

/// Parts of a fault: how long after its beginning, and what.
type Parts = Vec<(Duration, Action)>;

/// What is due when, during a run.
#[derive(Default)]
pub struct Schedule {
    began: Time,
    ends: Time,
    pending: BTreeMap<(Time, u32), Pending>,
    numbered: u32,
    nemeses: Vec<Nemesis>,
    /// What was done, for the plan.
    done: Vec<(Duration, Action)>,
}

enum Pending {
    /// An `at` line.
    Timed(Action),
    /// A nemesis begins a fault.
    Begin(usize),
    /// A part of a nemesis' fault.
    Part(Action),
}

struct Nemesis {
    entry: &'static Entry,
    settings: Settings,
    stream: ChaCha8Rng,
}

impl Schedule {
    /// When something is due.
    pub fn next_at(&self) -> Time {
        self.pending.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at)
    }

    fn push(&mut self, at: Time, pending: Pending) {
        if at < self.ends {
            self.numbered += 1;
            self.pending.insert((at, self.numbered), pending);
        }
    }

    fn push_begin(&mut self, index: usize, after: Time) {
        let nemesis = &mut self.nemeses[index];
        let (low, high) = nemesis.settings.span("every").expect("every nemesis has it");
        let wait = nemesis.stream.duration(low, high).max(Duration::from_millis(1));
        self.push(after.after(wait), Pending::Begin(index));
    }
}

impl Runner<'_> {
    /// Lets time pass with faults.
    pub(super) fn run_for(&mut self, time: Duration) -> Result<(), Stop> {
        let began = self.world.now();
        let mut schedule = Schedule { began, ends: began.after(time), ..Schedule::default() };
        for statement in std::mem::take(&mut self.timed) {
            if let Statement::At(after, action) = statement {
                schedule.push(began.after(after), Pending::Timed(action));
            }
        }
        for (index, named) in std::mem::take(&mut self.nemeses).into_iter().enumerate() {
            schedule.nemeses.push(self.nemesis(index, &named)?);
            schedule.push_begin(index, began);
        }
        self.schedule = schedule;
        let passed = self.do_scheduled().and_then(|()| self.pass(time));
        self.find_accepted_damage();
        let schedule = std::mem::take(&mut self.schedule);
        for (after, action) in schedule.done {
            self.plan.push(Statement::At(after, action));
        }
        // Where it failed, the statement stays in the script's rest.
        if passed.is_ok() {
            self.plan.push(Statement::Run(time));
        }
        passed
    }

    fn nemesis(&self, index: usize, named: &Named) -> Result<Nemesis, Stop> {
        let entry = KINDS.iter().find(|entry| entry.name == named.kind);
        let Some(entry) = entry else {
            return Err(Stop::Harness(format!("there is no nemesis `{}`", named.kind)));
        };
        Ok(Nemesis {
            entry,
            settings: named.settings.with_defaults(entry.parameters),
            stream: self.streams.stream(&format!("nemesis/{index}/{}", named.kind)),
        })
    }

    /// Does what is due.
    pub(super) fn do_scheduled(&mut self) -> Result<(), Stop> {
        while self.schedule.next_at() <= self.world.now() {
            let Some(((at, _), pending)) = self.schedule.pending.pop_first() else { return Ok(()) };
            match pending {
                Pending::Timed(action) | Pending::Part(action) => self.do_fault(at, &action)?,
                Pending::Begin(index) => self.begin_fault(at, index),
            }
        }
        Ok(())
    }

    fn do_fault(&mut self, at: Time, action: &Action) -> Result<(), Stop> {
        self.in_fault = true;
        let done = self.act(action, Source::Fault);
        self.in_fault = false;
        if let Some(done) = done? {
            let after = at.since(self.schedule.began);
            self.schedule.done.push((after, done));
        }
        Ok(())
    }

    fn begin_fault(&mut self, at: Time, index: usize) {
        let view = self.view();
        let nemesis = &mut self.schedule.nemeses[index];
        let parts = draw(nemesis.entry.name, &nemesis.settings, &view, &mut nemesis.stream);
        let mut last = at;
        for (after, action) in parts {
            last = last.max(at.after(after));
            self.schedule.push(at.after(after), Pending::Part(action));
        }
        self.schedule.push_begin(index, last);
    }

    /// Members that serve have joined.
    pub(super) fn note_joined(&mut self) {
        for place in 0..self.members.len() {
            if self.members[place].is_joining && self.world.status(place).ready {
                self.members[place].is_joining = false;
            }
        }
    }

    /// What a nemesis may know.
    fn view(&mut self) -> View {
        let leader = self.leader();
        self.note_joined();
        let places = |test: &dyn Fn(&Member) -> bool| -> Vec<usize> {
            (0..self.members.len()).filter(|place| test(&self.members[*place])).collect()
        };
        let is_clients = |from: &End, to: &End| [from, to].contains(&&End::Clients);
        let cuts = || self.faults.cuts.iter().map(|(from, to, _)| (from, to));
        let bad = || self.faults.bad_links.iter().map(|(from, to)| (from, to));
        View {
            names: self.members.iter().map(|member| member.name.clone()).collect(),
            members: places(&|member| member.is_inside()).len(),
            healthy: places(&|member| member.is_inside() && member.is_healthy()),
            leader,
            has_cuts: cuts().chain(bad()).any(|(from, to)| !is_clients(from, to)),
            has_client_cuts: cuts().chain(bad()).any(|(from, to)| is_clients(from, to)),
            latency: self.world.link_quality().latency,
            voters: places(&|member| member.role == Role::Voter).len(),
            lost: places(&|member| {
                member.role == Role::Voter && (member.is_lost() || member.is_remembered)
            }),
            joining: places(&|member| {
                let is_new = member.is_joining || member.has_new_identity;
                member.role == Role::Voter && is_new && !member.is_lost()
            })
            .len(),
            spare: places(&|member| !member.is_inside() && !member.is_up),
            is_doubtful: self.is_config_doubtful || !self.is_config_known,
            is_changing: self.is_changing(),
            timing: self.members.iter().map(timing).collect(),
            flags: self.members.iter().map(flags).collect(),
        }
    }
}

/// Draws a fault. Empty if there is nobody to do it to. Settings are complete.
fn draw(kind: &str, settings: &Settings, view: &View, stream: &mut ChaCha8Rng) -> Parts {
    if view.healthy.is_empty() {
        return Vec::new();
    }
    let lasts = match settings.span("for") {
        Some((low, high)) => stream.duration(low, high),
        None => Duration::ZERO,
    };
    match kind {
        "slow-link" | "lossy" | "heavy-tail" | "narrow" if are_clients(settings, stream) => {
            match view.has_client_cuts {
                true => Vec::new(),
                false => links::bad_for_clients(kind, settings, view, stream, lasts),
            }
        }
        "partition" | "one-way" | "flapping" | "messages" | "slow-link" | "lossy"
        | "heavy-tail" | "narrow" | "reset" | "half-open" => {
            match view.has_cuts || view.healthy.len() < 2 {
                true => Vec::new(),
                false => links::draw(kind, settings, view, stream, lasts),
            }
        }
        "clients" if view.has_client_cuts => Vec::new(),
        "clients" => links::clients(settings, view, stream, lasts),
        "membership" => changes::membership(settings, view, stream, lasts),
        "defragment" => changes::defragment(settings, view, stream),
        "move-leader" => changes::move_leader(view, stream),
        "calls" => changes::call(settings, view, stream),
        _ => hosts::draw(kind, settings, view, stream, lasts),
    }
}

/// Whether a fault is one of clients' links, by the setting that says how often.
fn are_clients(settings: &Settings, stream: &mut ChaCha8Rng) -> bool {
    let rate = settings.number("clients").expect("it has a default") as u32;
    rate > 0 && stream.chance_per_10k(rate)
}

/// The flags that a member was started with.
fn flags(member: &Member) -> Vec<(String, String)> {
    member.launch.as_ref().map(|launch| launch.flags.clone()).unwrap_or_default()
}

/// A member's heartbeat interval and election timeout in milliseconds.
fn timing(member: &Member) -> (u64, u64) {
    let flags = member.launch.as_ref().map_or(&[][..], |launch| launch.flags.as_slice());
    let of = |wanted: &str, default| {
        let value = flags.iter().find(|(name, _)| name == wanted);
        value.and_then(|(_, value)| value.parse().ok()).unwrap_or(default)
    };
    (of("heartbeat-interval", 100), of("election-timeout", 1_000))
}

/// What one of a setting's words stands for by a table that has all of them.
fn drawn<T: Copy>(
    table: &[(&str, T)],
    settings: &Settings,
    name: &str,
    stream: &mut ChaCha8Rng,
) -> T {
    let word = stream.pick(settings.words(name));
    meant(table, word).expect("a setting holds only words of its table")
}

/// A fault that comes and goes while it lasts, for `period=` each time.
fn to_and_fro(
    begin: &Action,
    end: &Action,
    settings: &Settings,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    let (low, high) = settings.span("period").expect("it has a default");
    let least = Duration::from_millis(1);
    let mut parts = Vec::new();
    let mut at = Duration::ZERO;
    while at < lasts {
        parts.push((at, begin.clone()));
        at += stream.duration(low, high).max(least);
        parts.push((at.min(lasts), end.clone()));
        at += stream.duration(low, high).max(least);
    }
    parts
}
