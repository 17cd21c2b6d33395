//! A host: one machine with a disk and clocks, and the process that runs on it, if one does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use detcd::config::{CompatVersion, Config};
use detcd::member::id::{CallId, ClusterId, MemberId};
use detcd::member::io::{LogLine, PeerHeader, RaftMessage};
use detcd::member::time::Monotonic;
use detcd::member::{DiskImage, RaftView};
use detcd::storage::backend::Body;
use detcd::storage::database::PinId;
use detsim_reports::record::{MemberName, OpId};

use super::clock::Clocks;
use super::connection::Peer;
use super::device::Device;
use super::machine::Machine;
use super::meter::Meter;
use super::packet::{Attempt, Event, ProcessRef};
use crate::world::convert::Shape;
use crate::world::tally::Tally;
use crate::world::{Exit, Trap};

/// Log lines kept of a process; older ones are forgotten.
const LINES_MAX: usize = 20_000;

/// A machine.
#[derive(Debug)]
pub struct Host {
    /// The member's name.
    pub name: MemberName,
    /// How many processes were started here.
    pub incarnation: u32,
    /// The machine has power.
    pub is_powered: bool,
    /// The process is frozen.
    pub is_paused: bool,
    /// What faults have done to it, other than its disk's.
    pub tally: Tally,
    /// How long a step takes the processor; zero for what is usual.
    pub step_ns: u64,
    /// The process is killed before or after a raft message of a class that is still to come.
    pub trap: Option<Trap>,
    /// The processor works until then.
    pub busy_until: u64,
    /// `Event::Free` is scheduled.
    pub will_be_free: bool,
    /// What waits for the processor, in order.
    pub waiting: VecDeque<Event>,
    /// Clocks.
    pub clocks: Clocks,
    /// The disk with its writer.
    pub device: Device,
    /// The process.
    pub process: Option<Process>,
    /// Who the last process was that knew it.
    pub identity: Option<(MemberId, ClusterId)>,
    /// How the last process ended.
    pub exit: Option<Exit>,
    /// Log lines of the process, or of the last one.
    pub lines: VecDeque<(u64, LogLine)>,
}

impl Host {
    /// A machine without a process.
    pub fn new(name: MemberName, device: Device) -> Host {
        Host {
            name,
            incarnation: 0,
            is_powered: true,
            is_paused: false,
            tally: Tally::default(),
            step_ns: 0,
            trap: None,
            busy_until: 0,
            will_be_free: false,
            waiting: VecDeque::new(),
            clocks: Clocks::default(),
            device,
            process: None,
            identity: None,
            exit: None,
            lines: VecDeque::new(),
        }
    }

    /// A process is there whose member has not begun.
    pub fn is_booting(&self) -> bool {
        self.process.as_ref().is_some_and(|it| !matches!(it.stage, Stage::Running(_)))
    }

    /// Adds a log line.
    pub fn log(&mut self, time: u64, line: LogLine) {
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back((time, line));
    }

    /// The process's name at `place`, if there is one.
    pub fn process_ref(&self, place: usize) -> Option<ProcessRef> {
        let incarnation = self.incarnation;
        self.process.as_ref().map(|_| ProcessRef { place, incarnation })
    }
}

/// Where the machine inside a process is.
pub enum Stage {
    /// The disk is to be read.
    Starting(Box<Config>),
    /// The disk is being read, with what it holds and what is wrong with its database.
    Booting(Box<(Config, DiskImage, Vec<String>)>),
    /// It takes inputs.
    Running(Box<dyn Machine>),
}

/// Somebody who waits for the member's answer over the peer port.
#[derive(Debug)]
pub enum Inbound {
    /// A dial.
    Dial {
        /// Whose.
        attempt: Attempt,
        /// Who the dialer says it is.
        from: MemberId,
    },
    /// A POST.
    Post {
        /// The sender's process.
        sender: ProcessRef,
        /// The sender's name for it.
        number: u64,
        /// Who the sender says it is.
        from: MemberId,
        /// The message, taken in once the sender is accepted.
        message: RaftMessage,
        /// The database that goes with a snapshot.
        body: Option<Body>,
    },
    /// A snapshot whose database is written to the disk.
    Snapshot {
        /// The sender's process.
        sender: ProcessRef,
        /// The sender's name for its POST.
        number: u64,
    },
    /// A call.
    Call {
        /// The caller's process.
        caller: ProcessRef,
        /// The caller's name for it.
        id: CallId,
    },
}

/// A POST without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// To whom.
    pub peer: MemberId,
    /// The state that it carries as a snapshot.
    pub snapshot: Option<PinId>,
    /// The sender is to be killed once it has arrived.
    pub springs: bool,
}

/// A process.
pub struct Process {
    /// What runs in it.
    pub stage: Stage,
    /// The version whose words it uses.
    pub compat: CompatVersion,
    /// It serves clients.
    pub is_ready: bool,
    /// It was asked to stop.
    pub is_stopping: bool,
    /// It gives up dialing a peer after this long.
    pub dial_timeout: Duration,
    /// Peers in the order they were added.
    pub peers: Vec<Peer>,
    /// Who waits for an answer of the member, by the world's own numbers.
    pub inbound: BTreeMap<CallId, Inbound>,
    /// Calls of the member that have not ended.
    pub calls: BTreeMap<CallId, Monotonic>,
    /// POSTs that have not ended.
    pub posts: BTreeMap<u64, Posted>,
    /// Numbers for inbound calls, dials and POSTs.
    pub next_number: u64,
    /// When a deadline is armed for, and which arming it is.
    pub armed: Option<(u64, u64)>,
    /// Client requests that came before the member served clients.
    pub early: Vec<(OpId, Shape)>,
    /// How much of its history a member keeps for slow followers, in entries of the log.
    pub catchup_entries: u64,
    /// The log is cut as entries are applied, and not only when a snapshot is saved.
    pub cuts_early: bool,
    /// How long a request may wait.
    pub request_timeout: Duration,
    /// What passes between it and its clients.
    pub meter: Meter,
    /// The raft state last recorded.
    pub recorded: Option<RaftView>,
    /// The identity, once known.
    pub identity: Option<(MemberId, ClusterId)>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Process {
    /// A process that has read its flags.
    pub fn starting(config: Config) -> Process {
        let election = Duration::from_millis(config.election_timeout_ms);
        Process {
            compat: config.compat,
            catchup_entries: config.snapshot_catchup_entries,
            cuts_early: config.compat >= CompatVersion::V3_6,
            request_timeout: Duration::from_secs(5) + 2 * election,
            meter: Meter::default(),
            stage: Stage::Starting(Box::new(config)),
            is_ready: false,
            is_stopping: false,
            dial_timeout: Duration::from_secs(1) + election,
            peers: Vec::new(),
            inbound: BTreeMap::new(),
            calls: BTreeMap::new(),
            posts: BTreeMap::new(),
            next_number: 0,
            armed: None,
            early: Vec::new(),
            recorded: None,
            identity: None,
        }
    }

    /// A fresh number.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The machine, once it takes inputs.
    pub fn machine(&mut self) -> Option<&mut Box<dyn Machine>> {
        match &mut self.stage {
            Stage::Starting(_) | Stage::Booting(_) => None,
            Stage::Running(machine) => Some(machine),
        }
    }

    /// A peer by its identity.
    pub fn peer(&mut self, id: MemberId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }

    /// What it says of itself to `to`, once it knows.
    pub fn header_to(&mut self, to: Option<MemberId>) -> Option<PeerHeader> {
        self.machine().and_then(|machine| machine.peer_header(to))
    }
}
