//! The loop world: members, disks, links and clients on one virtual clock, in one thread.
//!
//! Everything that happens is an event in one queue; virtual time moves only there. Members are
//! stepped one at a time; what they put out becomes further events. A run is a function of the
//! options, the seed, and the calls made on the world.
//!
//! What this world cannot see: threads and how they interleave within a process; HTTP/2 and its
//! flow control, keep-alives and cancellation races; encodings, unless `codec` is on; TCP's
//! acknowledgements, so that a link cut one way still carries the other way's traffic on
//! connections that stand; name resolution, TLS, permissions. `README.md` beside
//! this file says more.

mod backups;
mod calls;
mod client;
mod clock;
mod connection;
mod device;
mod exchange;
mod faults;
mod host;
mod kernel;
mod ledger;
mod logical;
mod machine;
mod meter;
mod network;
mod observer;
mod outline;
mod packet;
mod panic;
mod process;
mod program;
mod queue;
mod sending;
mod trace;
mod transport;
mod writing;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use detcd::config::Config;
use detcd::member::io::{LogLine, Outputs};
use detcd::planted::Defect;
use detcd::storage::backend::{BoltEngine, Engine};
use detcd::storage::bolt::BoltOptions;
use detcd::storage::memory::MemoryDisk;
use detcd::storage::wal::WalSettings;
use detsim_reports::record::{Call, ClientId, Internals, MemberName, OpId, Time};
use rand_chacha::ChaCha8Rng;

use self::client::Clients;
use self::connection::Connections;
use self::device::{Device, Done};
use self::host::Host;
use self::logical::LogicalEngine;
use self::network::Network;
use self::observer::Observer;
use self::packet::Event;
use self::queue::Queue;
use self::trace::Trace;
use super::tally::{Subject, Tally};
use super::{
    BackupDamage, ClockFault, DiskFault, Exit, Launch, LinkQuality, MemberStatus, NetworkFault,
    Restore, Trap, World, WorldError, WorldEvent,
};
use crate::disk::DiskTimes;
use crate::seed::Streams;

pub use self::faults::near;
pub use self::machine::{Beginning, Contents, Machine, Program};
pub use self::trace::{TraceHasher, first_difference};

/// Reads flags into settings, or says how the process ends instead, and what it logs.
pub type ParseFlags = fn(&[(String, String)]) -> Result<Config, (Exit, Vec<LogLine>)>;

/// What members keep beside their logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// Nothing: no log is ever truncated.
    None,
    /// A database whose rows the harness keeps.
    Logical,
    /// One in etcd's own file format.
    Pages,
}

/// As etcd's, with less in memory: a run has many of them.
const PAGES: BoltOptions = BoltOptions { cache_bytes: 1 << 20, ..BoltOptions::ETCD };

/// What a run in this world depends on, beside what is asked of the world later.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// Links between members.
    pub peers: LinkQuality,
    /// Links between clients and members.
    pub clients: LinkQuality,
    /// Bytes that a client's stream takes before the member must be told of more room.
    pub client_window_bytes: u64,
    /// Pass every raft message through its encoding.
    pub codec: bool,
    /// Virtual processor time of a step; 0 for none.
    pub step_ns: u64,
    /// Bounds of the time that work on a view takes.
    pub work: (Duration, Duration),
    /// Record what is seen from inside.
    pub observe: bool,
    /// How long disk operations take.
    pub disk: DiskTimes,
    /// How logs are laid out.
    pub wal: WalSettings,
    /// What members keep beside their logs.
    pub database: DatabaseKind,
    /// Reads flags.
    pub parse: ParseFlags,
    /// A planted defect of the members; needs a build with the `planted` feature.
    pub planted: Option<Defect>,
}

impl Options {
    /// Members of detcd in one data centre, on good disks.
    pub fn new(seed: u64) -> Options {
        Options {
            seed,
            peers: near(),
            clients: near(),
            client_window_bytes: 64 * 1024,
            codec: false,
            step_ns: 0,
            work: (Duration::from_micros(10), Duration::from_micros(200)),
            observe: true,
            disk: DiskTimes::SSD,
            wal: WalSettings { segment_bytes: 4_000_000, ..WalSettings::ETCD },
            database: DatabaseKind::None,
            parse: program::parse,
            planted: None,
        }
    }

    fn streams(&self) -> Streams {
        Streams::new(self.seed)
    }
}

/// A simulated world.
#[derive(Debug)]
pub struct LoopWorld {
    options: Options,
    program: Rc<dyn Program>,
    /// How databases lie on disks, if there are any.
    engine: Option<Rc<dyn Engine>>,
    now: u64,
    /// How many events came at this moment.
    at_once: u32,
    queue: Queue<Event>,
    names: Vec<MemberName>,
    hosts: Vec<Host>,
    network: Network,
    connections: Connections,
    clients: Clients,
    /// Snapshots that clients saved, by name.
    backups: MemoryDisk,
    /// What nobody was told of yet.
    happened: VecDeque<WorldEvent>,
    observer: Observer,
    trace: Trace,
    /// Draws of timing that belong to no link.
    timing: ChaCha8Rng,
    /// Draws of how long work takes.
    work: ChaCha8Rng,
    outputs: Outputs,
    /// What a device has done, while it is told: empty otherwise.
    done: Vec<Done>,
    steps: u64,
}

impl LoopWorld {
    /// A world without members, at time zero.
    pub fn new(options: Options) -> LoopWorld {
        LoopWorld::with_program(options, Rc::new(program::Detcd))
    }

    /// A world with a cluster of so many founders, which are started.
    pub fn cluster(options: Options, of: usize) -> LoopWorld {
        let mut world = LoopWorld::new(options);
        for place in 0..of {
            world.add_member(&MemberName(format!("n{}", place + 1))).expect("a new name");
        }
        for place in 0..of {
            let launch = world.founder(place, of);
            world.start(place, &launch).expect("it does not run");
        }
        world
    }

    /// How a founder of a cluster of so many is started.
    pub fn founder(&self, place: usize, of: usize) -> Launch {
        let listed: Vec<String> =
            (0..of).map(|place| format!("n{}={}", place + 1, self.peer_url(place))).collect();
        let name = format!("n{}", place + 1);
        let flags = [
            ("data-dir", format!("{name}.etcd")),
            ("name", name),
            ("initial-cluster", listed.join(",")),
            ("initial-advertise-peer-urls", self.peer_url(place)),
            ("listen-peer-urls", self.peer_url(place)),
            ("advertise-client-urls", self.client_url(place)),
            ("listen-client-urls", self.client_url(place)),
        ];
        let flags = flags.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Launch { flags, wipe: false }
    }

    /// The same with another program in the members' place.
    pub fn with_program(options: Options, program: Rc<dyn Program>) -> LoopWorld {
        let streams = options.streams();
        LoopWorld {
            network: Network::new(streams, options.peers.clone(), options.clients.clone()),
            timing: streams.stream("network/timing"),
            work: streams.stream("scheduler/work"),
            engine: match options.database {
                DatabaseKind::None => None,
                DatabaseKind::Logical => Some(Rc::new(LogicalEngine::default())),
                DatabaseKind::Pages => Some(Rc::new(BoltEngine::new(PAGES))),
            },
            options,
            program,
            now: 0,
            at_once: 0,
            queue: Queue::default(),
            names: Vec::new(),
            hosts: Vec::new(),
            connections: Connections::default(),
            clients: Clients::default(),
            backups: MemoryDisk::new(),
            happened: VecDeque::new(),
            observer: Observer::default(),
            trace: Trace::default(),
            outputs: Outputs::new(),
            done: Vec::new(),
            steps: 0,
        }
    }

    /// How many inputs members took, and how many events were scheduled.
    pub fn counts(&self) -> (u64, u64) {
        (self.steps, self.queue.scheduled())
    }

    /// The log lines of a member's last process, with their times.
    pub fn lines(&self, place: usize) -> impl Iterator<Item = (Time, String)> {
        self.hosts[place].lines.iter().map(|(at, line)| {
            let fields: Vec<String> =
                line.fields.iter().map(|(name, value)| format!(" {name}={value:?}")).collect();
            (Time(*at), format!("{:?} {}{}", line.level, line.message, fields.concat()))
        })
    }
}

impl World for LoopWorld {
    fn name(&self) -> &'static str {
        "loop"
    }

    fn now(&self) -> Time {
        Time(self.now)
    }

    fn members(&self) -> &[MemberName] {
        &self.names
    }

    fn add_member(&mut self, name: &MemberName) -> Result<usize, WorldError> {
        if self.names.contains(name) {
            return Err(WorldError::Harness(format!("there is a member {} already", name.0)));
        }
        let Options { disk, wal, .. } = self.options;
        let engine = self.engine.clone();
        let mut device = Device::new(&self.options.streams(), name, disk, wal, engine);
        if let Some(lines) = self.trace.lines() {
            device.tell(self.names.len(), lines.clone());
        }
        self.hosts.push(Host::new(name.clone(), device));
        self.names.push(name.clone());
        self.network.add_member();
        Ok(self.names.len() - 1)
    }

    fn start(&mut self, member: usize, launch: &Launch) -> Result<(), WorldError> {
        self.check_place(member)?;
        self.start_process(member, launch)
    }

    fn kill(&mut self, member: usize) -> Result<(), WorldError> {
        self.check_place(member)?;
        self.kill_process(member)
    }

    fn power_loss(&mut self, members: &[usize]) -> Result<(), WorldError> {
        for &member in members {
            self.check_place(member)?;
        }
        for &member in members {
            self.cut_power(member);
        }
        Ok(())
    }

    fn stop(&mut self, member: usize) -> Result<(), WorldError> {
        self.check_place(member)?;
        self.stop_process(member)
    }

    fn pause(&mut self, member: usize) -> Result<(), WorldError> {
        self.check_place(member)?;
        self.pause_process(member)
    }

    fn resume(&mut self, member: usize) -> Result<(), WorldError> {
        self.check_place(member)?;
        self.resume_process(member)
    }

    fn network(&mut self, fault: &NetworkFault) -> Result<(), WorldError> {
        self.network_fault(fault)
    }

    fn disk(&mut self, member: usize, fault: &DiskFault) -> Result<(), WorldError> {
        self.disk_fault(member, fault)
    }

    fn clock(&mut self, member: usize, fault: ClockFault) -> Result<(), WorldError> {
        self.clock_fault(member, fault)
    }

    fn trap(&mut self, member: usize, trap: Option<Trap>) -> Result<(), WorldError> {
        self.check_place(member)?;
        self.set_trap(member, trap);
        Ok(())
    }

    fn disk_changes(&self, member: usize) -> Option<u64> {
        self.hosts.get(member).map(|host| host.device.changes())
    }

    fn tally(&self, subject: Subject) -> Tally {
        self.tally_of(subject)
    }

    fn processor(&mut self, member: usize, step: Duration) -> Result<(), WorldError> {
        self.check_place(member)?;
        self.trace.fact(self.now, ("processor", member, step));
        self.hosts[member].step_ns = step.as_nanos() as u64;
        Ok(())
    }

    fn can_save(&self) -> Result<(), WorldError> {
        self.lacks_pages().map_or(Ok(()), Err)
    }

    fn restore(&mut self, member: usize, restore: &Restore) -> Result<(), WorldError> {
        self.check_place(member)?;
        self.restore_host(member, restore)
    }

    fn defragment_offline(&mut self, member: usize, data_dir: &str) -> Result<(), WorldError> {
        self.check_place(member)?;
        self.defragment_host(member, data_dir)
    }

    fn spoil(&mut self, backup: &str, damage: BackupDamage) -> Result<(), WorldError> {
        self.spoil_backup(backup, damage)
    }

    fn enter(&mut self, member: usize, era: usize) {
        self.observer.enter(member, era);
    }

    fn status(&mut self, member: usize) -> MemberStatus {
        self.status_of(member)
    }

    fn log_contains(&mut self, member: usize, text: &str) -> bool {
        self.hosts[member].lines.iter().any(|(_, line)| {
            line.message.contains(text) || line.fields.iter().any(|(_, value)| value.contains(text))
        })
    }

    fn invoke(
        &mut self,
        op: OpId,
        _client: ClientId,
        member: usize,
        call: &Call,
        timeout: Duration,
    ) {
        let deadline = Time(self.now).after(timeout).0;
        self.invoke_call(op, member, call, deadline);
    }

    fn close(&mut self, op: OpId) {
        self.close_watch(op);
    }

    fn advance(&mut self, until: Time) -> WorldEvent {
        self.run_until(until.0)
    }

    fn link_quality(&self) -> LinkQuality {
        self.options.peers.clone()
    }

    fn trace_hash(&self) -> Option<u64> {
        Some(self.hash())
    }

    fn keep_trace(&mut self) {
        self.trace.keep_lines();
        for (place, host) in self.hosts.iter_mut().enumerate() {
            if let Some(lines) = self.trace.lines() {
                host.device.tell(place, lines.clone());
            }
        }
    }

    fn trace(&self) -> Vec<String> {
        self.trace.lines().map(|lines| lines.borrow().clone()).unwrap_or_default()
    }

    fn internals(&mut self) -> Internals {
        self.seen_from_inside()
    }
}
