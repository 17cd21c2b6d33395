//! The life of a process: it starts, reads its disk, runs, and ends in one of several ways.

use detcd::config::Config;
use detcd::member::id::MemberId;
use detcd::member::io::{Input, RaftMessage, Stop};
use detcd::storage::backend::Failure;
use detcd::storage::schema::DatabaseImage;
use rand_chacha::rand_core::RngCore;

use super::LoopWorld;
use super::host::{Process, Stage};
use super::machine::Beginning;
use super::network::class_of;
use super::packet::{Event, Packet, ProcessRef};
use super::panic;
use crate::world::{Exit, Launch, MessageClass, Occasion, Side, Trap, WorldError, WorldEvent};

/// The exit code of a process that was killed.
const KILLED: i32 = 137;

/// The exit code of a process that ended because it was asked to.
const TERMINATED: i32 = 143;

/// The exit code of a program of ours that panicked.
const PANICKED: i32 = 101;

/// What the storage says when it has cut off a torn end of the log.
const REPAIRED: &str = "repaired WAL";

/// How a process comes to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    /// By itself.
    Exits(Exit),
    /// By a signal that it cannot catch.
    Killed,
    /// With its machine.
    PowerLost,
}

impl LoopWorld {
    /// Starts a process.
    pub(super) fn start_process(
        &mut self,
        place: usize,
        launch: &Launch,
    ) -> Result<(), WorldError> {
        let host = &mut self.hosts[place];
        if host.process.is_some() {
            return Err(WorldError::Harness(format!("{} runs already", host.name.0)));
        }
        self.trace.fact(self.now, ("start", place, &launch.flags, launch.wipe));
        host.incarnation += 1;
        host.exit = None;
        host.lines.clear();
        host.is_powered = true;
        host.is_paused = false;
        host.busy_until = self.now;
        host.waiting.clear();
        if launch.wipe {
            host.device.wipe();
        }
        let config = match (self.options.parse)(&launch.flags) {
            Ok(config) => Config { planted: self.options.planted, ..config },
            Err((exit, lines)) => {
                for line in lines {
                    self.hosts[place].log(self.now, line);
                }
                self.exited_at_start(place, exit);
                return Ok(());
            }
        };
        self.boot(place, config);
        Ok(())
    }

    /// The settings are read: takes its addresses and reads its disk.
    fn boot(&mut self, place: usize, config: Config) {
        let hosts = &self.hosts;
        let runs = |other: usize| hosts[other].process.is_some();
        let is_wildcard = |url: &String| url.contains("//0.0.0.0:") || url.contains("//[::]:");
        let urls = if config.listen_peer_urls.iter().any(is_wildcard) {
            &config.initial_advertise_peer_urls
        } else {
            &config.listen_peer_urls
        };
        if let Err(address) = self.network.listen(place, urls, runs) {
            let reason = format!("listen tcp {address}: bind: address already in use");
            return self.exited_at_start(place, Exit { code: 1, reason });
        }
        self.hosts[place].process = Some(Process::starting(config));
        self.read_disk(place);
    }

    /// A process that was started reads its disk, once that does anything.
    pub(super) fn read_disk(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        let Some(at) = host.process_ref(place) else { return };
        let Some(Process { stage, .. }) = &mut host.process else { return };
        let Stage::Starting(config) = stage else { return };
        if host.device.is_hung() {
            return;
        }
        let config = std::mem::take(&mut **config);
        let (device, now) = (&mut host.device, self.now);
        let mut lines = Vec::new();
        let opened = panic::guard(|| device.open(now, &config, &mut lines));
        for line in lines {
            if line.message == REPAIRED {
                self.observer.repaired(self.now, place);
            }
            host.log(self.now, line);
        }
        let opened = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(failure)) => return self.disk_failed(place, &failure),
            Err(panic) => return self.panicked(place, panic),
        };
        if let Some(process) = &mut host.process {
            process.stage = Stage::Booting(Box::new((config, opened.image, opened.damage)));
        }
        match opened.refusal {
            Some(stop) => self.stopped(place, stop),
            None => {
                self.watch_disk(place, at);
                self.disk_busy(place, at);
            }
        }
    }

    /// Schedules the end of what a process's disk does now.
    pub(super) fn disk_busy(&mut self, place: usize, at: ProcessRef) {
        if let Some(done_at) = self.hosts[place].device.done_at() {
            self.queue.push(done_at.max(self.now), Event::DiskDone(at));
        }
    }

    /// The disk is read: the member begins.
    pub(super) fn booted(&mut self, at: ProcessRef) {
        let host = &mut self.hosts[at.place];
        let Some(process) = host.process.as_mut() else { return };
        let Stage::Booting(boot) = &mut process.stage else { return };
        let (config, disk, damage) = std::mem::take(&mut **boot);
        let name = format!("member/{}/{}", host.name.0, host.incarnation);
        let mut entropy = [0; 32];
        self.options.streams().stream(&name).fill_bytes(&mut entropy);
        if self.options.observe {
            let index =
                |image: &DatabaseImage| image.consistent_index().ok().flatten().unwrap_or(0);
            let database = disk.database.as_ref().map(|image| (index(image), damage));
            self.observer.ledger.started(at.place, disk.log.as_ref(), database);
        }
        let beginning = Beginning { config, entropy, disk, now: host.clocks.at(self.now) };
        let (program, outputs) = (&self.program, &mut self.outputs);
        match panic::guard(|| program.start(beginning, outputs)) {
            Ok(machine) => process.stage = Stage::Running(machine),
            Err(panic) => return self.panicked(at.place, panic),
        }
        // What booting costs is not the next step's.
        self.outputs.take_spent();
        self.after_step(at.place);
        self.let_free(at.place);
    }

    /// A member panicked, or broke a rule that it must never break.
    pub(super) fn panicked(&mut self, place: usize, reason: String) {
        self.outputs.drain().for_each(drop);
        self.outputs.take_spent();
        self.end(place, Ending::Exits(Exit { code: PANICKED, reason }));
    }

    /// The member is at its end by itself.
    pub(super) fn stopped(&mut self, place: usize, stop: Stop) {
        let is_asked = self.process(place).is_stopping;
        let code = if is_asked && stop.exit_code == 0 { TERMINATED } else { stop.exit_code.into() };
        self.end(place, Ending::Exits(Exit { code, reason: stop.reason }));
    }

    /// The disk failed under the process, which dies of it as etcd does.
    pub(super) fn disk_failed(&mut self, place: usize, failure: &Failure) {
        let process = self.hosts[place].process.as_ref();
        let compat = process.map_or(Config::default().compat, |process| process.compat);
        self.hosts[place].log(self.now, failure.line(compat));
        let exit = Exit { code: failure.exit_code.into(), reason: failure.text(compat) };
        if self.hosts[place].process.is_some() {
            self.end(place, Ending::Exits(exit));
        } else {
            self.exited_at_start(place, exit);
        }
    }

    /// A process ended before there was anything of it but its log lines.
    fn exited_at_start(&mut self, place: usize, exit: Exit) {
        self.hosts[place].device.kill(self.now);
        self.record_exit(place, exit);
    }

    fn record_exit(&mut self, place: usize, exit: Exit) {
        self.trace.fact(self.now, ("exit", place, exit.code, &exit.reason));
        self.hosts[place].exit = Some(exit.clone());
        self.happened.push_back(WorldEvent::Exited { member: place, exit });
    }

    /// Asks a process to stop. Before it serves clients it has no handler for the signal.
    pub(super) fn stop_process(&mut self, place: usize) -> Result<(), WorldError> {
        self.check_runs(place)?;
        self.trace.fact(self.now, ("stop", place));
        let host = &mut self.hosts[place];
        let at = host.process_ref(place).expect("it runs");
        let process = host.process.as_mut().expect("it runs");
        if process.is_ready {
            process.is_stopping = true;
            self.tell(at, Input::Shutdown);
        } else {
            let reason = "signal: terminated".to_owned();
            self.end(place, Ending::Exits(Exit { code: TERMINATED, reason }));
        }
        Ok(())
    }

    /// Kills a process.
    pub(super) fn kill_process(&mut self, place: usize) -> Result<(), WorldError> {
        self.check_runs(place)?;
        self.trace.fact(self.now, ("kill", place));
        self.end(place, Ending::Killed);
        Ok(())
    }

    /// Kills a process at a moment to come.
    pub(super) fn set_trap(&mut self, place: usize, trap: Option<Trap>) {
        self.trace.fact(self.now, ("trap", place, format!("{trap:?}")));
        let host = &mut self.hosts[place];
        host.device.await_occasion(trap);
        host.trap = trap;
    }

    /// The disk may have been asked for what its process is to be killed at.
    pub(super) fn watch_disk(&mut self, place: usize, at: ProcessRef) {
        if let Some(moment) = self.hosts[place].device.take_occasion() {
            self.queue.push(moment.max(self.now), Event::Trapped(at));
        }
    }

    /// Whether a process is to be killed before or after this message.
    pub(super) fn count_message(&mut self, place: usize, message: &RaftMessage) -> Option<Side> {
        let class = class_of(message.kind());
        let is_meant = |wanted: MessageClass| wanted == MessageClass::All || class == Some(wanted);
        match &mut self.hosts[place].trap {
            Some(Trap { side, occasion: Occasion::Send(wanted), count, .. })
                if *count > 0 && is_meant(*wanted) =>
            {
                *count -= 1;
                (*count == 0).then_some(*side)
            }
            _ => None,
        }
    }

    /// Sends a raft message, unless the process is to be killed before it.
    pub(super) fn send_past_trap(&mut self, place: usize, to: MemberId, message: RaftMessage) {
        let sprung = self.count_message(place, &message);
        if sprung != Some(Side::Before) {
            self.send(place, to, message);
        }
        match sprung {
            Some(Side::Before) => self.sprung(place),
            Some(Side::Within | Side::After) => self.spring_when_arrived(place, to),
            None => {}
        }
    }

    /// A kill takes with it what is on its way: it waits until a peer has got what was sent last.
    fn spring_when_arrived(&mut self, place: usize, to: MemberId) {
        let Some(at) = self.hosts[place].process_ref(place) else { return };
        let writers = self.process(place).peer(to).map(|peer| peer.writers).unwrap_or_default();
        let arrivals = writers.into_iter().flatten();
        let arrivals = arrivals.filter_map(|name| self.connections.get(name));
        let arrival = arrivals.map(|conn| conn.last_arrival).max().unwrap_or(self.now);
        self.queue.push(arrival.max(self.now), Event::Trapped(at));
    }

    /// A process does what it was to be killed at.
    pub(super) fn sprung(&mut self, place: usize) {
        let trap = self.hosts[place].trap.take();
        self.trace.fact(self.now, ("trapped", place));
        match trap {
            Some(Trap { power: true, .. }) => self.cut_power(place),
            _ => self.end(place, Ending::Killed),
        }
        self.happened.push_back(WorldEvent::Trapped { member: place });
    }

    /// Cuts the power of a machine.
    pub(super) fn cut_power(&mut self, place: usize) {
        self.trace.fact(self.now, ("power loss", place));
        self.hosts[place].is_powered = false;
        self.end(place, Ending::PowerLost);
    }

    /// Fails unless a process runs there.
    pub(super) fn check_runs(&self, place: usize) -> Result<(), WorldError> {
        let host = &self.hosts[place];
        match host.process {
            Some(_) => Ok(()),
            None => Err(WorldError::Harness(format!("{} does not run", host.name.0))),
        }
    }

    /// A process ends.
    fn end(&mut self, place: usize, ending: Ending) {
        let has_power = ending != Ending::PowerLost;
        let gone = self.hosts[place].process_ref(place);
        let not_taken = self.not_taken(place);
        if let Some(gone) = gone {
            self.streams_orphaned(gone, has_power);
            if has_power {
                self.inbound_orphaned(place);
            }
        }
        let host = &mut self.hosts[place];
        host.process = None;
        host.is_paused = false;
        match &ending {
            Ending::PowerLost => host.device.power_loss(self.now),
            Ending::Exits(_) | Ending::Killed => host.device.kill(self.now),
        }
        if has_power {
            self.clients_orphaned(place, not_taken);
        }
        match ending {
            Ending::Exits(exit) => self.record_exit(place, exit),
            Ending::Killed => {
                let reason = "signal: killed".to_owned();
                self.hosts[place].exit = Some(Exit { code: KILLED, reason });
            }
            Ending::PowerLost if gone.is_some() => {
                let reason = "power loss".to_owned();
                self.hosts[place].exit = Some(Exit { code: KILLED, reason });
            }
            Ending::PowerLost => {}
        }
    }

    /// Client requests that reached the host and not the member.
    fn not_taken(&mut self, place: usize) -> Vec<Packet> {
        let host = &mut self.hosts[place];
        let early = host.process.as_mut().map(|process| std::mem::take(&mut process.early));
        let early = early.unwrap_or_default().into_iter();
        let waiting = std::mem::take(&mut host.waiting).into_iter();
        let waiting = waiting.filter_map(|event| match event {
            Event::Arrives { packet: packet @ Packet::Request(..), .. } => Some(packet),
            _ => None,
        });
        early.map(|(op, shape)| Packet::Request(op, shape)).chain(waiting).collect()
    }
}
