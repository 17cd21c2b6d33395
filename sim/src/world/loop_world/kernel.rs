//! The event loop: takes the next event, steps a member, and turns what it puts out into events.

use std::hash::Hasher;

use detcd::member::RaftView;
use detcd::member::id::MemberId;
use detcd::member::io::{Input, Note, Output, STEP_BUDGET};
use detsim_reports::record::Internals;

use super::LoopWorld;
use super::host::{Host, Inbound, Process, Stage};
use super::observer::Seen;
use super::packet::{Dialed, Event, Packet, ProcessRef};
use super::panic;
use super::trace::TraceHasher;
use crate::seed::Draw;
use crate::world::tally::Deed;
use crate::world::{End, MemberStatus, WorldEvent};

/// A member's state is recorded in full whenever it has applied so many further entries.
const SAMPLED: u64 = 1_024;

/// So many events at one moment are a member that asks to be woken for ever.
const EVENTS_AT_ONCE_MAX: u32 = 1_000_000;

impl LoopWorld {
    /// Moves time until there is something to tell, but not past `until`.
    pub(super) fn run_until(&mut self, until: u64) -> WorldEvent {
        loop {
            if let Some(event) = self.happened.pop_front() {
                return event;
            }
            match self.queue.pop_until(until) {
                Some((at, event)) => {
                    assert!(at >= self.now, "time does not go back");
                    self.at_once = if at == self.now { self.at_once + 1 } else { 0 };
                    let stands = self.at_once >= EVENTS_AT_ONCE_MAX;
                    assert!(!stands, "time stands still at {at} with {event:?}");
                    self.now = at;
                    self.dispatch(event);
                }
                None => {
                    self.now = self.now.max(until);
                    return WorldEvent::Reached;
                }
            }
        }
    }

    /// An event happens, unless the host that must take it cannot now.
    fn dispatch(&mut self, event: Event) {
        let Some(place) = taker(&event) else { return self.happen(event) };
        let host = &mut self.hosts[place];
        if host.is_booting() {
            match event {
                // Looked for again when the process goes on.
                Event::DiskDone(_) if host.is_paused => {}
                Event::DiskDone(_) => self.happen(event),
                event => host.waiting.push_back(event),
            }
        } else if host.is_paused {
            host.tally.add(Deed::EventHeld);
            host.waiting.push_back(event);
        } else if host.busy_until > self.now || !host.waiting.is_empty() {
            host.waiting.push_back(event);
            self.let_free(place);
        } else {
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives { from, to: End::Member(place), packet } => {
                self.arrived_at_member(place, from, packet);
            }
            Event::Arrives { to: End::Clients, packet, .. } => self.arrived_at_clients(packet),
            Event::Deadline { place, generation } => self.deadline(place, generation),
            Event::DiskDone(at) => self.disk_done(at),
            Event::CommitDue(at) => {
                if self.runs(at) {
                    self.write_disk(at.place);
                }
            }
            Event::Trapped(at) => {
                if self.runs(at) {
                    self.sprung(at.place);
                }
            }
            Event::RestoreEnds { place, incarnation, result } => {
                self.restore_ended(place, incarnation, result);
            }
            Event::Tell(at, input) => {
                if self.runs(at) {
                    self.step(at.place, *input);
                }
            }
            Event::Connect { from, url, started, purpose } => {
                self.connect(from, url, started, purpose);
            }
            Event::GiveUp { from, what } => {
                if self.runs(from) {
                    self.give_up(from, what);
                }
            }
            Event::StreamBroke { at, conn } => self.stream_broke(at, conn),
            Event::Silence { conn, silence } => self.silence_ended(conn, silence),
            Event::Free { place } => self.free(place),
            Event::ClientTimeouts => self.client_timeouts(),
            Event::Drain(op) => self.drain(op),
            Event::Progress(op) => self.ask_progress(op),
        }
    }

    /// The processor of a host takes what waits for it, once it can.
    pub(super) fn let_free(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        if !host.will_be_free {
            host.will_be_free = true;
            self.queue.push(host.busy_until.max(self.now), Event::Free { place });
        }
    }

    /// The processor of a host is free.
    fn free(&mut self, place: usize) {
        self.hosts[place].will_be_free = false;
        loop {
            let host = &mut self.hosts[place];
            if host.is_paused || host.is_booting() {
                return;
            }
            if host.busy_until > self.now {
                break;
            }
            let Some(event) = host.waiting.pop_front() else { return };
            self.happen(event);
        }
        if !self.hosts[place].waiting.is_empty() {
            self.let_free(place);
        }
    }

    /// Gives a member an input.
    pub(super) fn step(&mut self, place: usize, input: Input) {
        let host = &mut self.hosts[place];
        let Some(process) = host.process.as_mut() else { return };
        let Stage::Running(machine) = &mut process.stage else { return };
        self.trace.input(self.now, place, &input);
        self.steps += 1;
        let is_background = is_background(&input);
        let now = host.clocks.at(self.now);
        process.meter.input(&input, process.recorded);
        let outputs = &mut self.outputs;
        if let Err(panic) = panic::guard(|| machine.step(now, input, outputs)) {
            return self.panicked(place, panic);
        }
        host.busy_until = self.now + self.options.step_ns.max(host.step_ns);
        if host.step_ns > 0 {
            host.tally.add(Deed::StepSlowed);
        }
        let spent = self.outputs.take_spent();
        if is_background && spent > STEP_BUDGET {
            let reason = format!("a step spent {spent} units of its budget of {STEP_BUDGET}");
            return self.panicked(place, reason);
        }
        self.after_step(place);
    }

    /// Turns what a member put out into events, records its state, and arms its deadline.
    pub(super) fn after_step(&mut self, place: usize) {
        let incarnation = self.hosts[place].incarnation;
        let mut outputs = std::mem::take(&mut self.outputs);
        self.learn_identity(place);
        for output in outputs.drain() {
            // A stop ends the process; nothing that follows it has a meaning.
            if self.hosts[place].process.is_none() {
                break;
            }
            self.trace.output(self.now, place, &output);
            self.process(place).meter.output(&output);
            self.perform(place, output);
        }
        self.outputs = outputs;
        let at = ProcessRef { place, incarnation };
        if self.runs(at) {
            self.write_disk(place);
            self.observe(place);
            self.arm(place);
        }
    }

    fn perform(&mut self, place: usize, output: Output) {
        match output {
            Output::Reply { id, result } => self.replied(place, id, result),
            Output::StreamItem { id, item, bytes } => self.streamed(place, id, item, bytes),
            Output::StreamEnd { id, result } => self.stream_ended(place, id, result),
            Output::Send { to, message } => {
                if self.options.observe
                    && let Some(seen) = self.seen(place)
                {
                    self.observer.sent(seen, to, &message);
                }
                self.send_past_trap(place, to, message);
            }
            Output::Log(staged) => {
                if self.options.observe {
                    self.observer.ledger.staged(place, &staged);
                }
                self.hosts[place].device.stage(staged);
            }
            Output::Database(write) => self.write_database(place, write),
            Output::DatabaseTask { id, task } => self.hosts[place].device.work(id, task),
            Output::Snapshot(task) => self.snapshot(place, task),
            Output::Resolve { .. } => unreachable!("members refuse discovery"),
            Output::Peers(change) => self.peers_changed(place, change),
            Output::DialAnswer { id, result } => self.dial_decided(place, id, result),
            Output::PeerCall { id, url, call, timeout } => {
                self.call(place, id, &url, call, timeout);
            }
            Output::PeerAnswer { id, result } => self.call_served(place, id, result),
            Output::Work(work) => {
                let (low, high) = self.options.work;
                let takes = self.work.duration(low, high).as_nanos() as u64;
                let at = self.hosts[place].process_ref(place).expect("it was stepped");
                let done = Box::new(Input::WorkDone(Box::new(work.run())));
                self.queue.push(self.now + takes, Event::Tell(at, done));
            }
            Output::LogLine(line) => self.hosts[place].log(self.now, line),
            Output::Ready => self.became_ready(place),
            Output::Stop(stop) => self.stopped(place, stop),
            Output::Note(note) => self.noted(place, &note),
        }
    }

    /// Tells a member something at once, after what is happening now.
    pub(super) fn tell(&mut self, at: ProcessRef, input: Input) {
        self.queue.push(self.now, Event::Tell(at, Box::new(input)));
    }

    /// A member's deadline may have come.
    fn deadline(&mut self, place: usize, generation: u64) {
        let host = &mut self.hosts[place];
        let Some(process) = host.process.as_mut() else { return };
        if process.armed.is_none_or(|(_, armed)| armed != generation) {
            return;
        }
        process.armed = None;
        let due = process.machine().and_then(|machine| machine.next_deadline());
        if due.is_some_and(|due| due <= host.clocks.at(self.now).monotonic) {
            self.step(place, Input::Deadline);
        } else {
            self.arm(place);
        }
    }

    /// Schedules a member's deadline, unless an earlier look at it is scheduled already.
    pub(super) fn arm(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        let Some(process) = host.process.as_mut() else { return };
        let Stage::Running(machine) = &process.stage else { return };
        let Some(due) = machine.next_deadline() else { return };
        let at = host.clocks.when(due, self.now);
        if process.armed.is_some_and(|(armed, _)| armed <= at) {
            return;
        }
        process.next_number += 1;
        let generation = process.next_number | (u64::from(host.incarnation) << 40);
        process.armed = Some((at, generation));
        // Nothing ever comes of a deadline on a clock that stands still.
        if at == u64::MAX {
            return;
        }
        self.queue.push(at, Event::Deadline { place, generation });
    }

    /// When what an end sends now leaves it.
    pub(super) fn leaves(&self, end: End) -> u64 {
        match end {
            End::Clients => self.now,
            End::Member(place) => self.hosts[place].busy_until.max(self.now),
        }
    }

    /// Whether this very process runs.
    pub(super) fn runs(&self, at: ProcessRef) -> bool {
        let host = &self.hosts[at.place];
        host.process.is_some() && host.incarnation == at.incarnation
    }

    /// The process at a place where one runs.
    pub(super) fn process(&mut self, place: usize) -> &mut Process {
        self.hosts[place].process.as_mut().expect("a process runs there")
    }

    /// Peers that wait for an answer of a process that is gone are told.
    pub(super) fn inbound_orphaned(&mut self, place: usize) {
        let here = End::Member(place);
        for inbound in std::mem::take(&mut self.process(place).inbound).into_values() {
            let (to, packet) = match inbound {
                Inbound::Dial { attempt, .. } => {
                    let packet = Packet::DialAnswer { attempt, result: Dialed::Failed };
                    (attempt.dialer.place, packet)
                }
                Inbound::Post { sender, number, .. } | Inbound::Snapshot { sender, number } => {
                    let packet = Packet::PostAnswer { sender, number, result: Err(None) };
                    (sender.place, packet)
                }
                Inbound::Call { caller, id } => (caller.place, self.call_refused(caller, id)),
            };
            self.transmit(here, End::Member(to), 0, 0, packet);
        }
    }

    fn learn_identity(&mut self, place: usize) {
        let Some(process) = self.hosts[place].process.as_mut() else { return };
        if process.identity.is_some() {
            return;
        }
        let Some(identity) = process.machine().and_then(|machine| machine.identity()) else {
            return;
        };
        process.identity = Some(identity);
        self.hosts[place].identity = Some(identity);
        self.observer.identified(place, identity.0);
    }

    fn seen(&self, place: usize) -> Option<Seen> {
        let host = &self.hosts[place];
        let identity = host.process.as_ref()?.identity?;
        let era = self.observer.era(place);
        let incarnation = host.incarnation - 1;
        Some(Seen { at: self.now, member: place, incarnation, era, identity })
    }

    fn noted(&mut self, place: usize, note: &Note) {
        if !self.options.observe {
            return;
        }
        let Some(seen) = self.seen(place) else { return };
        if let Note::Proposed { request, .. } = note {
            self.process(place).meter.proposed(*request);
        }
        let process = self.hosts[place].process.as_ref().expect("it is seen");
        if let Stage::Running(machine) = &process.stage {
            self.observer.note(seen, note, &**machine);
        }
    }

    fn observe(&mut self, place: usize) {
        if !self.options.observe {
            return;
        }
        let Some(seen) = self.seen(place) else { return };
        let host = &mut self.hosts[place];
        let process = host.process.as_mut().expect("it is seen");
        let Stage::Running(machine) = &process.stage else { return };
        if process.meter.is_due(self.now) {
            self.observer.measure(seen, process, host.clocks.at(self.now).monotonic);
        }
        let Some(view) = machine.raft() else { return };
        let before = process.recorded.replace(view);
        self.observer.ledger.tell(seen, before, view);
        if before.map(|before| RaftView { applied: view.applied, ..before }) != Some(view) {
            self.observer.raft(seen, before, view);
        }
        if before.is_some_and(|before| before.applied / SAMPLED < view.applied / SAMPLED) {
            self.observer.sample(seen, &**machine);
        }
    }

    /// What was recorded, with the states of running members as they are now.
    pub(super) fn seen_from_inside(&mut self) -> Internals {
        for place in 0..self.hosts.len() {
            let Some(seen) = self.seen(place) else { continue };
            let stage = self.hosts[place].process.as_ref().map(|process| &process.stage);
            if let Some(Stage::Running(machine)) = stage {
                self.observer.sample(seen, &**machine);
            }
        }
        let mut internals = self.observer.hand_over();
        internals.identities.resize(self.hosts.len(), 0);
        internals
    }

    /// The trace hash with those of the disks.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = TraceHasher::default();
        hasher.write_u64(self.now);
        hasher.write_u64(self.trace.hash());
        for host in &self.hosts {
            hasher.write_u64(host.device.trace_hash());
        }
        hasher.finish()
    }

    /// What is known of a member.
    pub(super) fn status_of(&mut self, place: usize) -> MemberStatus {
        let mut status = MemberStatus::default();
        let host = &self.hosts[place];
        status.exit = host.exit.clone();
        let Some(process) = &host.process else { return status };
        status.running = true;
        status.ready = process.is_ready;
        let Stage::Running(machine) = &process.stage else { return status };
        status.revision = machine.revision();
        if let Some(view) = machine.raft() {
            status.term = view.term;
            status.applied = view.applied;
            status.leader = self.place_of(process, view.leader);
        }
        status
    }

    /// The place of a member of a process's own cluster: where it runs, or ran last.
    fn place_of(&self, process: &Process, id: MemberId) -> Option<usize> {
        let wanted = Some((id, process.identity?.1));
        let runs = |host: &Host| host.process.as_ref().is_some_and(|it| it.identity == wanted);
        let running = self.hosts.iter().position(runs);
        running.or_else(|| self.hosts.iter().position(|host| host.identity == wanted))
    }
}

/// The host whose processor must take an event.
fn taker(event: &Event) -> Option<usize> {
    match event {
        Event::Arrives { to: End::Member(place), .. } | Event::Deadline { place, .. } => {
            Some(*place)
        }
        Event::DiskDone(at)
        | Event::CommitDue(at)
        | Event::Tell(at, _)
        | Event::StreamBroke { at, .. } => Some(at.place),
        Event::Connect { from, .. } | Event::GiveUp { from, .. } => Some(from.place),
        Event::Arrives { to: End::Clients, .. }
        | Event::Silence { .. }
        | Event::Free { .. }
        | Event::Trapped(_)
        | Event::RestoreEnds { .. }
        | Event::ClientTimeouts
        | Event::Drain(_)
        | Event::Progress(_) => None,
    }
}

/// Whether an input is nobody's request, so that its step must keep to the budget. Applying what
/// clients wrote is theirs.
fn is_background(input: &Input) -> bool {
    !matches!(
        input,
        Input::Request { .. }
            | Input::StreamMessage { .. }
            | Input::Raft { .. }
            | Input::LogDurable(_)
    )
}
