//! A stage for workloads under test: one model answers every call, leases expire when their time is
//! up, watches deliver what changes, and, if wanted, some calls fail or are never answered.
//!
//! Operations take effect at a drawn moment between invocation and completion, so that the calls of
//! several slots interleave.

use std::collections::BTreeMap;
use std::time::Duration;

use detsim_reports::record::{
    Body, Call, ClientId, Event, Header, History, OpId, Operation, Outcome, Reply, Time, Watch,
    WatchMessage, Watched,
};
use rand_chacha::ChaCha8Rng;

use super::{Clients, Workload, build};
use crate::language::value::Settings;
use crate::model::{Change, Model, Span};
use crate::seed::{Draw, Streams};

const MEMBERS: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(1);
const ON_THE_WAY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));
/// Between what a watch sees and its client's getting it; constant, so that order is kept.
const WATCH_DELAY: Duration = Duration::from_millis(2);

/// Something due.
enum Due {
    Arrive(OpId),
    Complete(OpId, Outcome),
    Ring(usize),
    Deliver(OpId, WatchMessage),
    Progress(OpId),
    Break(OpId),
}

/// A watch that is open; `next` is the first revision that it has not looked at.
struct Open {
    watch: Watch,
    next: i64,
}

/// The stage.
struct Stage {
    now: Time,
    due: BTreeMap<(Time, u64), Due>,
    placed: u64,
    streams: Vec<ChaCha8Rng>,
    clients: Vec<ClientId>,
    timers: Vec<Option<(Time, u64)>>,
    owners: BTreeMap<OpId, usize>,
    open: BTreeMap<OpId, Open>,
    model: Model,
    leases: BTreeMap<i64, Time>,
    automatic: i64,
    weather: ChaCha8Rng,
    trouble_per_10k: u32,
    is_settling: bool,
    history: History,
}

/// What a workload did.
pub(crate) struct Play {
    /// All that was seen.
    pub history: History,
    /// The state that it led to.
    pub model: Model,
}

/// Plays the workload of a kind with these parameters until so many operations were invoked; of
/// ten thousand calls, `trouble_per_10k` fail or stay unanswered.
pub(crate) fn play(
    kind: &str,
    given: &[(&str, &str)],
    operations: usize,
    trouble_per_10k: u32,
) -> Play {
    let mut workload = build(kind, &settings(kind, given)).expect("a kind");
    let streams = Streams::new(7);
    let mut stage = Stage {
        now: Time::ZERO,
        due: BTreeMap::new(),
        placed: 0,
        streams: (0..workload.slots()).map(|slot| streams.stream(&format!("{slot}"))).collect(),
        clients: (0..workload.slots()).map(|slot| ClientId(slot as u32)).collect(),
        timers: vec![None; workload.slots()],
        owners: BTreeMap::new(),
        open: BTreeMap::new(),
        model: Model::new(&History::default().settings),
        leases: BTreeMap::new(),
        automatic: 1 << 60,
        weather: streams.stream("weather"),
        trouble_per_10k,
        is_settling: false,
        history: History::default(),
    };
    stage.run(workload.as_mut(), operations);
    Play { history: stage.history, model: stage.model }
}

/// The entry's settings, with some of them given.
pub(super) fn settings(kind: &str, given: &[(&str, &str)]) -> Settings {
    let entry = super::KINDS.iter().find(|entry| entry.name == kind).expect("a kind");
    let read = |(name, text): &(&str, &str)| {
        let of_name = entry.parameters.iter().find(|parameter| parameter.name == *name);
        let parameter = of_name.expect("a parameter of the entry");
        ((*name).to_owned(), parameter.kind.read(text).expect("a legal value"))
    };
    Settings(given.iter().map(read).collect()).with_defaults(entry.parameters)
}

impl Stage {
    fn run(&mut self, workload: &mut dyn Workload, operations: usize) {
        workload.begin(self);
        while self.history.operations.len() < operations {
            assert!(self.step(workload), "the workload rests for ever");
        }
        workload.settle(self);
        self.is_settling = true;
        self.due.retain(|_, due| !matches!(due, Due::Ring(_)));
        for slot in 0..self.streams.len() {
            self.close(slot);
        }
        while self.step(workload) {}
        assert!(self.owners.is_empty(), "every operation ended");
        self.history.ended = self.now;
    }

    fn place(&mut self, after: Duration, due: Due) {
        self.placed += 1;
        self.due.insert((self.now.after(after), self.placed), due);
    }

    fn step(&mut self, workload: &mut dyn Workload) -> bool {
        let Some(((at, _), due)) = self.due.pop_first() else { return false };
        self.now = at;
        self.expire();
        match due {
            Due::Arrive(op) => self.arrive(op),
            Due::Complete(op, outcome) => self.complete(op, outcome, workload),
            Due::Ring(slot) => {
                self.timers[slot] = None;
                workload.woken(slot, self);
            }
            Due::Deliver(op, message) => {
                if let Some(&slot) = self.owners.get(&op) {
                    let message = message.clone();
                    self.history.watched.push(Watched { op, at, message: message.clone() });
                    workload.watched(slot, &message, self);
                }
            }
            Due::Progress(op) => self.progress(op),
            Due::Break(op) => {
                if self.open.remove(&op).is_some() {
                    let outcome = Outcome::Fail("connection reset".to_owned());
                    self.place(WATCH_DELAY, Due::Complete(op, outcome));
                }
            }
        }
        self.deliver();
        true
    }

    fn complete(&mut self, op: OpId, outcome: Outcome, workload: &mut dyn Workload) {
        let slot = self.owners.remove(&op).expect("an operation ends once");
        let record = &mut self.history.operations[op.0 as usize];
        record.completed = self.now;
        record.outcome = Some(outcome.clone());
        let record = record.clone();
        if matches!(outcome, Outcome::Unknown(_)) {
            self.clients[slot].0 += self.streams.len() as u32;
        }
        workload.completed(slot, &record, &outcome, self);
    }

    fn on_the_way(&mut self) -> Duration {
        self.weather.duration(ON_THE_WAY.0, ON_THE_WAY.1)
    }

    fn arrive(&mut self, op: OpId) {
        let call = self.history.operations[op.0 as usize].call.clone();
        let is_in_trouble = self.weather.chance_per_10k(self.trouble_per_10k);
        let fate = self.weather.below(3);
        if let Call::Watch(watch) = call {
            if is_in_trouble {
                let broken_after = self.weather.duration(Duration::ZERO, TIMEOUT);
                self.place(broken_after, Due::Break(op));
            }
            return self.open_watch(op, &watch);
        }
        let after = self.on_the_way();
        if !is_in_trouble || fate == 0 {
            let outcome = self.apply(&call);
            if !is_in_trouble {
                return self.place(after, Due::Complete(op, outcome));
            }
        }
        let outcome = match fate {
            2 => Outcome::Fail("etcdserver: no leader".to_owned()),
            _ if super::is_read(&call) => Outcome::Fail("timed out".to_owned()),
            _ => Outcome::Unknown("timed out".to_owned()),
        };
        self.place(TIMEOUT, Due::Complete(op, outcome));
    }

    fn apply(&mut self, call: &Call) -> Outcome {
        let mut call = call.clone();
        if let Call::LeaseGrant { id: id @ 0, .. } = &mut call {
            self.automatic += 1;
            *id = self.automatic;
        }
        match self.model.apply(&call) {
            Err(refusal) => Outcome::Fail(refusal.text().to_owned()),
            Ok(mut answer) => {
                match &mut answer.body {
                    Body::LeaseGrant { id, ttl_s } | Body::LeaseKeepAlive { id, ttl_s }
                        if *ttl_s > 0 =>
                    {
                        let ttl = Duration::from_secs(*ttl_s as u64);
                        self.leases.insert(*id, self.now.after(ttl));
                    }
                    Body::LeaseTimeToLive { id, ttl_s, .. } if *ttl_s > 0 => {
                        *ttl_s = self.leases[id].since(self.now).as_secs() as i64;
                    }
                    _ => {}
                }
                let header = Header { revision: answer.revision, ..Header::default() };
                Outcome::Ok(Reply { header, body: answer.body })
            }
        }
    }

    fn expire(&mut self) {
        let is_over = |(id, end): (&i64, &Time)| (*end <= self.now).then_some(*id);
        for id in self.leases.iter().filter_map(is_over).collect::<Vec<i64>>() {
            self.leases.remove(&id);
            // It may have been revoked already.
            let _ = self.model.apply(&Call::LeaseRevoke { id });
        }
    }

    fn open_watch(&mut self, op: OpId, watch: &Watch) {
        let revision = self.model.revision();
        let mut created = WatchMessage { revision, created: true, ..WatchMessage::default() };
        let span = Span::new(&watch.key, &watch.range_end);
        let is_empty = span.bounds().is_none();
        created.canceled = is_empty || watch.start_revision < 0;
        let is_compacted =
            watch.start_revision > 0 && watch.start_revision < self.model.compact_revision();
        let ends = created.canceled || is_compacted || self.is_settling;
        self.place(WATCH_DELAY, Due::Deliver(op, created));
        if is_compacted {
            let compact_revision = self.model.compact_revision();
            let end = WatchMessage { canceled: true, compact_revision, ..WatchMessage::default() };
            self.place(WATCH_DELAY, Due::Deliver(op, end));
        }
        if ends {
            return self.end_watch(op);
        }
        let next = if watch.start_revision == 0 { revision + 1 } else { watch.start_revision };
        self.open.insert(op, Open { watch: watch.clone(), next });
        if watch.request_progress_ms > 0 {
            self.place(Duration::from_millis(watch.request_progress_ms), Due::Progress(op));
        }
    }

    fn end_watch(&mut self, op: OpId) {
        let header = Header { revision: self.model.revision(), ..Header::default() };
        let outcome = Outcome::Ok(Reply { header, body: Body::WatchClosed });
        self.place(WATCH_DELAY, Due::Complete(op, outcome));
    }

    fn progress(&mut self, op: OpId) {
        let Some(open) = self.open.get(&op) else { return };
        let again = Duration::from_millis(open.watch.request_progress_ms);
        let revision = self.model.revision();
        if open.next == revision + 1 {
            let message = WatchMessage { revision, progress: true, ..WatchMessage::default() };
            self.place(WATCH_DELAY, Due::Deliver(op, message));
        }
        self.place(again, Due::Progress(op));
    }

    fn deliver(&mut self) {
        let revision = self.model.revision();
        let mut messages = Vec::new();
        for (&op, Open { watch, next }) in &mut self.open {
            if *next > revision {
                continue;
            }
            let wanted = |change: &&Change| {
                let is_filtered = if change.is_delete { watch.no_delete } else { watch.no_put };
                !is_filtered && Span::new(&watch.key, &watch.range_end).holds(&change.kv.key)
            };
            let event = |change: &Change| Event {
                is_delete: change.is_delete,
                kv: change.kv.clone(),
                prev_kv: None,
            };
            let changes = self.model.changes_between(*next, revision).iter();
            let events: Vec<Event> = changes.filter(wanted).map(event).collect();
            *next = revision + 1;
            let pieces = if watch.fragment { events.len().div_ceil(2) } else { events.len() };
            let mut rest = events.chunks(pieces.max(1)).peekable();
            while let Some(piece) = rest.next() {
                let fragment = rest.peek().is_some();
                let events = piece.to_vec();
                messages
                    .push((op, WatchMessage { revision, fragment, events, ..Default::default() }));
            }
        }
        for (op, message) in messages {
            self.place(WATCH_DELAY, Due::Deliver(op, message));
        }
    }
}

impl Clients for Stage {
    fn now(&self) -> Time {
        self.now
    }

    fn members(&self) -> usize {
        MEMBERS
    }

    fn stream(&mut self, slot: usize) -> &mut ChaCha8Rng {
        &mut self.streams[slot]
    }

    fn invoke(&mut self, slot: usize, member: usize, call: Call) {
        if self.is_settling {
            return;
        }
        assert!(member < MEMBERS, "only members are asked");
        assert!(
            self.owners.values().all(|busy| *busy != slot),
            "a slot does one operation at a time"
        );
        let id = OpId(self.history.operations.len() as u32);
        self.owners.insert(id, slot);
        self.history.operations.push(Operation {
            id,
            client: self.clients[slot],
            member,
            invoked: self.now,
            call,
            completed: Time::NEVER,
            outcome: None,
        });
        let after = self.on_the_way();
        self.place(after, Due::Arrive(id));
    }

    fn close(&mut self, slot: usize) {
        let owned = self.owners.iter().find(|(_, owner)| **owner == slot).map(|(op, _)| *op);
        if let Some(op) = owned.filter(|op| self.open.remove(op).is_some()) {
            self.end_watch(op);
        }
    }

    fn wake(&mut self, slot: usize, at: Time) {
        if self.is_settling {
            return;
        }
        if let Some(old) = self.timers[slot].take() {
            self.due.remove(&old);
        }
        self.place(at.since(self.now), Due::Ring(slot));
        self.timers[slot] = Some((at.max(self.now), self.placed));
    }
}
