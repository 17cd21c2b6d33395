//! The process world: real processes on loopback, `etcd` or `detcd`, each with a folder of its own.
//! It asks whether the simulation is honest, and what an expectation is worth against the real
//! thing.
//!
//! Time is the machine's. Calls travel through the JSON gateway on threads that report to one
//! channel; processes are started, signalled and reaped on the world's own thread, and none
//! outlives the world. Runs do not repeat. Power and clocks cannot be broken here; links can, if
//! relays carry them, and logs can be damaged. What the harness itself asks of a member passes no
//! relay.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "real processes live in real time, and a blocking call needs a thread"
)]

mod address;
mod backups;
mod client;
mod damage;
mod express;
mod gateway;
mod host;
mod known;
mod log;
mod relay;
mod server;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use detsim_reports::record::{Body, Call, ClientId, MemberName, OpId, Outcome, Time};
use ureq::Agent;

pub use self::express::obstacle;

use self::address::{Addresses, PLACES};
use self::host::Host;
use self::relay::{Dialers, Relays};
use self::server::Server;
use self::watch::Closer;
use super::tally::{Subject, Tally};
use super::{
    BackupDamage, ClockFault, DiskFault, End, KnownDefect, Launch, MemberStatus, MessageClass,
    NetworkFault, Restore, World, WorldError, WorldEvent,
};
use crate::language::ast::Statement;

/// How often processes are looked at for having ended.
const REAP_EVERY: Duration = Duration::from_millis(5);
/// How long a member may take over its status. It answers from memory or not at all.
const STATUS_TIMEOUT: Duration = Duration::from_millis(250);

/// What stays on this machine when a world ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Nothing.
    Nothing,
    /// Each member's log.
    Logs,
    /// Logs and data directories.
    Everything,
}

/// How members reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// By their own ports: nothing stands between them, and nothing can be cut.
    Direct,
    /// Through relays, which can be cut. A dead member's address then accepts connections and
    /// closes them instead of refusing them.
    Relayed,
}

/// Members as processes.
#[derive(Debug)]
pub struct ProcessWorld {
    server: Server,
    directory: PathBuf,
    leave: Leave,
    relays: Option<Relays>,
    addresses: Addresses,
    began: Instant,
    names: Vec<MemberName>,
    members: Vec<Member>,
    watches: BTreeMap<OpId, Closer>,
    waiting: VecDeque<WorldEvent>,
    reports: Receiver<WorldEvent>,
    reporter: Sender<WorldEvent>,
}

#[derive(Debug)]
struct Member {
    host: Host,
    agent: Agent,
    /// Where clients reach it.
    endpoint: String,
    /// Where it listens for them; the same, when no relay stands before it.
    direct: String,
    /// Where the log's segments lie.
    log: PathBuf,
    /// Where the database and the snapshots lie.
    snap: PathBuf,
    /// The identity that the running process gave itself, once it was asked.
    identity: Option<u64>,
}

impl ProcessWorld {
    /// A world whose members run `program`, with no members yet.
    pub fn new(program: &Path, links: Links, leave: Leave) -> Result<ProcessWorld, WorldError> {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let name = format!("detsim-{}-{number}", std::process::id());
        let (reporter, reports) = mpsc::channel();
        Ok(ProcessWorld {
            server: Server::identify(program)?,
            directory: std::env::temp_dir().join(name),
            leave,
            relays: (links == Links::Relayed).then(Relays::default),
            addresses: Addresses::find()?,
            began: Instant::now(),
            names: Vec::new(),
            members: Vec::new(),
            watches: BTreeMap::new(),
            waiting: VecDeque::new(),
            reports,
            reporter,
        })
    }

    /// Where logs and data directories lie while the world lives.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Decides anew what stays.
    pub fn leave(&mut self, leave: Leave) {
        self.leave = leave;
    }

    /// The command line of a member: the flags asked for, with addresses and folders of this world,
    /// and what a process needs not to meet another one.
    fn arguments(&self, member: usize, launch: &Launch) -> Result<Vec<String>, WorldError> {
        let host = &self.members[member].host;
        let mut flags = self.server.translate(launch.flags.clone())?;
        for (name, value) in &mut flags {
            *value = match name.as_str() {
                "data-dir" | "wal-dir" if !value.is_empty() => {
                    host.data(value).display().to_string()
                }
                _ => self.addresses.localize(value),
            };
        }
        let defaults = [
            ("name", self.names[member].0.clone()),
            ("data-dir", host.data("data").display().to_string()),
            ("listen-peer-urls", self.peer_url(member)),
            ("initial-advertise-peer-urls", self.peer_url(member)),
            ("listen-client-urls", self.client_url(member)),
            ("advertise-client-urls", self.client_url(member)),
        ];
        for (name, value) in defaults {
            if !flags.iter().any(|(flag, _)| flag == name) {
                flags.push((name.to_owned(), value));
            }
        }
        if self.relays.is_some() {
            let (relay, behind) =
                (self.addresses.peer(member), self.addresses.behind_relay(member));
            for (_, value) in flags.iter_mut().filter(|(name, _)| name == "listen-peer-urls") {
                *value = value.replace(&relay, &behind);
            }
            let (relay, behind) =
                (self.addresses.client(member), self.addresses.behind_client_relay(member));
            for (_, value) in flags.iter_mut().filter(|(name, _)| name == "listen-client-urls") {
                *value = value.replace(&relay, &behind);
            }
        }
        Ok(flags.into_iter().map(|(name, value)| format!("--{name}={value}")).collect())
    }

    fn unsupported<T>(&self, what: &str) -> Result<T, WorldError> {
        Err(WorldError::Unsupported { world: self.name(), what: what.to_owned() })
    }

    /// The host of a member whose process still runs. One that has just ended by itself is nothing
    /// to complain of: the event that says so is on its way.
    fn running(&mut self, member: usize) -> Option<&mut Host> {
        self.reap();
        Some(&mut self.members[member].host).filter(|host| host.is_running())
    }

    /// Queues the ends of processes that have ended by themselves.
    fn reap(&mut self) {
        for (place, member) in self.members.iter_mut().enumerate() {
            if let Some(exit) = member.host.reap() {
                self.waiting.push_back(WorldEvent::Exited { member: place, exit });
            }
        }
    }

    fn ask_status(&mut self, member: usize) -> Option<MemberStatus> {
        let member = &mut self.members[member];
        if !member.host.is_running() || member.host.is_paused() {
            return None;
        }
        let outcome = client::perform(&member.agent, &member.direct, &Call::Status, STATUS_TIMEOUT);
        let Outcome::Ok(reply) = outcome else { return None };
        let Body::Status { leader, raft_applied_index, .. } = reply.body else { return None };
        member.identity = Some(reply.header.member_id);
        Some(MemberStatus {
            running: true,
            ready: true,
            leader: self.place_of(leader),
            term: reply.header.raft_term,
            applied: raft_applied_index,
            revision: reply.header.revision,
            exit: None,
        })
    }

    /// The place of the member with this identity, if any running member claims it.
    fn place_of(&mut self, identity: u64) -> Option<usize> {
        if identity == 0 {
            return None;
        }
        let known = |world: &ProcessWorld| {
            world.members.iter().position(|member| member.identity == Some(identity))
        };
        known(self).or_else(|| {
            let strangers: Vec<usize> = (0..self.members.len())
                .filter(|place| self.members[*place].identity.is_none())
                .collect();
            for place in strangers {
                let member = &mut self.members[place];
                if !member.host.is_running() || member.host.is_paused() {
                    continue;
                }
                let outcome =
                    client::perform(&member.agent, &member.direct, &Call::Status, STATUS_TIMEOUT);
                if let Outcome::Ok(reply) = outcome {
                    member.identity = Some(reply.header.member_id);
                }
            }
            known(self)
        })
    }

    fn localized(&self, call: &Call) -> Call {
        let localize = |urls: &[String]| -> Vec<String> {
            urls.iter().map(|url| self.addresses.localize(url)).collect()
        };
        match call {
            Call::MemberAdd { peer_urls, is_learner } => {
                Call::MemberAdd { peer_urls: localize(peer_urls), is_learner: *is_learner }
            }
            Call::MemberUpdate { id, peer_urls } => {
                Call::MemberUpdate { id: *id, peer_urls: localize(peer_urls) }
            }
            other => other.clone(),
        }
    }
}

impl World for ProcessWorld {
    fn known_defects(&self) -> Vec<KnownDefect> {
        self.server.known_defects()
    }

    fn name(&self) -> &'static str {
        "process"
    }

    fn now(&self) -> Time {
        Time::ZERO.after(self.began.elapsed())
    }

    fn members(&self) -> &[MemberName] {
        &self.names
    }

    fn peer_url(&self, member: usize) -> String {
        format!("http://{}", self.addresses.peer(member))
    }

    fn client_url(&self, member: usize) -> String {
        format!("http://{}", self.addresses.client(member))
    }

    fn add_member(&mut self, name: &MemberName) -> Result<usize, WorldError> {
        let place = self.members.len();
        if place == PLACES {
            return self.unsupported(&format!("hold more than {PLACES} members"));
        }
        let plain: String =
            name.0.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let host = Host::new(self.directory.join(format!("{place}-{plain}")))?;
        if let Some(relays) = &mut self.relays {
            let (at, upstream) = (self.addresses.peer(place), self.addresses.behind_relay(place));
            relays.add(place, Dialers::Peers, &at, &upstream)?;
            let at = self.addresses.client(place);
            let upstream = self.addresses.behind_client_relay(place);
            relays.add(place, Dialers::Clients, &at, &upstream)?;
        }
        let endpoint = self.addresses.client(place);
        let direct = endpoint.clone();
        let log = host.data("data/member/wal");
        let snap = host.data("data/member/snap");
        let (agent, identity) = (client::agent(), None);
        self.members.push(Member { host, agent, endpoint, direct, log, snap, identity });
        self.names.push(name.clone());
        Ok(place)
    }

    fn start(&mut self, member: usize, launch: &Launch) -> Result<(), WorldError> {
        self.reap();
        if self.members[member].host.is_running() {
            let name = &self.names[member].0;
            return Err(WorldError::Harness(format!("{name} runs already")));
        }
        let arguments = self.arguments(member, launch)?;
        let value = |flag: &str| arguments.iter().find_map(|given| given.strip_prefix(flag));
        let listens = value("--listen-client-urls=").expect("it has a default");
        let direct = listens.split(',').next().unwrap_or_default();
        let direct = direct.trim_start_matches("http://").to_owned();
        let is_relayed =
            self.relays.is_some() && direct == self.addresses.behind_client_relay(member);
        let endpoint = if is_relayed { self.addresses.client(member) } else { direct.clone() };
        let data = value("--data-dir=").expect("it has a default");
        let log = value("--wal-dir=").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let log = log.unwrap_or_else(|| Path::new(data).join("member/wal"));
        let snap = Path::new(data).join("member/snap");
        let program = self.server.program.clone();
        let place = member;
        let member = &mut self.members[place];
        if launch.wipe {
            member.host.wipe()?;
        }
        member.host.start(&program, &arguments)?;
        member.agent = client::agent();
        (member.endpoint, member.direct) = (endpoint, direct);
        (member.log, member.snap) = (log, snap);
        member.identity = None;
        if let Some(relays) = &self.relays {
            relays.process(place, member.host.pid());
        }
        Ok(())
    }

    fn kill(&mut self, member: usize) -> Result<(), WorldError> {
        if let Some(host) = self.running(member) {
            host.kill();
        }
        Ok(())
    }

    fn power_loss(&mut self, _members: &[usize]) -> Result<(), WorldError> {
        self.unsupported(express::POWER)
    }

    fn stop(&mut self, member: usize) -> Result<(), WorldError> {
        self.running(member).map_or(Ok(()), Host::terminate)
    }

    fn pause(&mut self, member: usize) -> Result<(), WorldError> {
        self.running(member).map_or(Ok(()), Host::pause)
    }

    fn resume(&mut self, member: usize) -> Result<(), WorldError> {
        self.running(member).map_or(Ok(()), Host::resume)
    }

    fn network(&mut self, fault: &NetworkFault) -> Result<(), WorldError> {
        let Some(relays) = &self.relays else {
            return match fault {
                NetworkFault::Heal { .. } | NetworkFault::HealAll => Ok(()),
                _ => self.unsupported("break links that no relay carries"),
            };
        };
        match fault {
            NetworkFault::HealAll => relays.heal_all(),
            NetworkFault::Heal { from, to } => relays.heal((*from, *to)),
            NetworkFault::Cut { class: MessageClass::All, from, to } => relays.cut((*from, *to)),
            NetworkFault::Cut { .. } => return self.unsupported(express::CLASSES),
            NetworkFault::Reset { from, to } => relays.reset((*from, *to)),
            NetworkFault::HalfOpen { from, to } => relays.half_open((*from, *to)),
            NetworkFault::Quality { from, to, quality } => {
                let is_bad = *quality != self.link_quality();
                relays.shape((*from, *to), is_bad.then(|| quality.clone()));
            }
        }
        Ok(())
    }

    fn disk(&mut self, member: usize, fault: &DiskFault) -> Result<(), WorldError> {
        let log = &self.members[member].log;
        let damaged = match fault {
            DiskFault::Recover => return Ok(()),
            DiskFault::TearLogTail => damage::tear_tail(log),
            DiskFault::CorruptLogMiddle | DiskFault::Rot => damage::corrupt_middle(log),
            DiskFault::Lose(missing) => damage::lose_segments(log, *missing),
            DiskFault::Harm(harm) => damage::harm(&self.members[member].snap, *harm),
            DiskFault::Remember => self.members[member].host.remember().map(|()| true),
            DiskFault::RollBack => self.members[member].host.roll_back().map(|()| true),
            _ => return self.unsupported(express::DISKS),
        };
        let harness = |error| WorldError::Harness(format!("{}: {error}", log.display()));
        damaged.map(|_| ()).map_err(harness)
    }

    fn clock(&mut self, _member: usize, _fault: ClockFault) -> Result<(), WorldError> {
        self.unsupported(express::CLOCKS)
    }

    fn tally(&self, subject: Subject) -> Tally {
        match (subject, &self.relays) {
            (Subject::Link(from, to), Some(relays)) => relays.tally((from, to)),
            _ => Tally::default(),
        }
    }

    fn cannot_express(&self, statement: &Statement) -> Option<&'static str> {
        express::obstacle(statement)
    }

    fn status(&mut self, member: usize) -> MemberStatus {
        self.reap();
        self.ask_status(member).unwrap_or_else(|| {
            let host = &self.members[member].host;
            MemberStatus {
                running: host.is_running(),
                exit: host.exit().cloned(),
                ..MemberStatus::default()
            }
        })
    }

    fn log_contains(&mut self, member: usize, text: &str) -> bool {
        log::contains(&self.members[member].host.log(), &self.addresses.localize(text))
    }

    fn invoke(
        &mut self,
        op: OpId,
        _client: ClientId,
        place: usize,
        call: &Call,
        timeout: Duration,
    ) {
        let member = &self.members[place];
        let (agent, endpoint) = (member.agent.clone(), member.endpoint.clone());
        let reports = self.reporter.clone();
        let link = (End::Clients, End::Member(place));
        let can_reach = self.relays.as_ref().is_some_and(|relays| relays.is_open(link));
        if endpoint != member.direct
            && can_reach
            && let Some(why) = client::refusal(&member.direct)
        {
            // A relay would accept it and hang up, and nobody would know that nothing was sent.
            let _ = reports.send(WorldEvent::Completed { op, outcome: Outcome::Fail(why) });
            return;
        }
        if let Call::Watch(watch) = call {
            let closer = Closer::default();
            self.watches.insert(op, closer.clone());
            let watch = watch.clone();
            std::thread::spawn(move || {
                watch::follow(&endpoint, op, &watch, timeout, &closer, &reports);
            });
            return;
        }
        if let Call::Snapshot { into } = call {
            let (tools, file) = (backups::tools(&self.server.program), self.backup_file(into));
            std::thread::spawn(move || {
                let outcome = match tools {
                    Ok((ctl, _)) => backups::save(&ctl, &endpoint, &file, timeout),
                    Err(error) => Outcome::Fail(error.to_string()),
                };
                let _ = reports.send(WorldEvent::Completed { op, outcome });
            });
            return;
        }
        let call = self.localized(call);
        std::thread::spawn(move || {
            let outcome = client::perform(&agent, &endpoint, &call, timeout);
            // The world may be gone; then nobody wants to know.
            let _ = reports.send(WorldEvent::Completed { op, outcome });
        });
    }

    fn can_save(&self) -> Result<(), WorldError> {
        backups::tools(&self.server.program).map(|_| ())
    }

    fn restore(&mut self, member: usize, restore: &Restore) -> Result<(), WorldError> {
        self.restore_host(member, restore)
    }

    fn defragment_offline(&mut self, member: usize, data_dir: &str) -> Result<(), WorldError> {
        self.defragment_host(member, data_dir)
    }

    fn spoil(&mut self, backup: &str, damage: BackupDamage) -> Result<(), WorldError> {
        self.spoil_file(backup, damage)
    }

    fn close(&mut self, op: OpId) {
        if let Some(closer) = self.watches.get(&op) {
            closer.close();
        }
    }

    fn advance(&mut self, until: Time) -> WorldEvent {
        loop {
            self.reap();
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            let left = until.since(self.now());
            if let Ok(event) = self.reports.recv_timeout(left.min(REAP_EVERY)) {
                if let WorldEvent::Completed { op, .. } = &event {
                    self.watches.remove(op);
                }
                return event;
            }
            if until <= self.now() {
                return WorldEvent::Reached;
            }
        }
    }
}

impl Drop for ProcessWorld {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.host.kill();
        }
        for closer in self.watches.values() {
            closer.close();
        }
        // What cannot be removed stays: it is the temporary directory's.
        match self.leave {
            Leave::Everything => {}
            Leave::Nothing => {
                let _ = std::fs::remove_dir_all(&self.directory);
            }
            Leave::Logs => {
                for member in &mut self.members {
                    let _ = member.host.wipe();
                }
            }
        }
    }
}
