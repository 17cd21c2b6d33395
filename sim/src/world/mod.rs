//! What a scenario runs in: a world starts and breaks members, carries client operations, and moves
//! time. The loop world simulates; the process world drives real processes on loopback.

pub mod backup;
pub mod convert;
pub mod loop_world;
pub mod process;
pub mod tally;

use std::time::Duration;

use detsim_reports::record::{Call, ClientId, Internals, MemberName, OpId, Outcome, Time};
use thiserror::Error;

use crate::disk::{Harm, Missing};
use crate::language::ast::Statement;
use tally::{Subject, Tally};

/// A world cannot do what a scenario asks.
#[derive(Debug, Error)]
pub enum WorldError {
    /// The world has no means for it: the scenario is skipped there, with this reason.
    #[error("the {world} world cannot {what}")]
    Unsupported {
        /// The world's name.
        world: &'static str,
        /// What was asked, as a verb phrase.
        what: String,
    },
    /// The harness itself failed.
    #[error("{0}")]
    Harness(String),
}

/// Something that a world's servers are known to do wrong, which hides what else they may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownDefect {
    /// What a workload's parameter `avoid` says so as not to meet it.
    pub avoid: &'static str,
    /// What is wrong, and where that is written down.
    pub what: &'static str,
}

/// How to start a member: etcd's flags by name, `name` and URLs included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Flag name without dashes, and its value, in order.
    pub flags: Vec<(String, String)>,
    /// Start on an empty disk, whatever was there.
    pub wipe: bool,
}

/// How a saved snapshot is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupDamage {
    /// A byte in its middle is flipped.
    Corrupt,
    /// Its second half is missing.
    Truncate,
    /// Its hash is missing, as of a database that was copied from a member's directory.
    NoHash,
}

/// How a data directory is made from a saved snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// The snapshot.
    pub from: String,
    /// On an empty disk, whatever was there.
    pub wipe: bool,
    /// Flags of `etcdutl snapshot restore` by name, in order; switches have no value.
    pub flags: Vec<(String, String)>,
}

impl Restore {
    /// The value of a flag.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// By how much revisions are raised.
    pub fn bumped(&self) -> u64 {
        self.flag("bump-revision").and_then(|by| by.parse().ok()).unwrap_or(0)
    }
}

/// One direction of a link between two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A member, by its place in `World::members`.
    Member(usize),
    /// All clients.
    Clients,
}

/// Which raft or client messages a link fault touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum MessageClass {
    All,
    Heartbeats,
    Appends,
    Votes,
    ReadIndex,
    Snapshots,
}

/// The quality of one directed link. Rates are per 10,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkQuality {
    /// Uniform latency bounds.
    pub latency: (Duration, Duration),
    /// Chance that a message is delayed by a retransmission timeout instead of lost.
    pub loss_per_10k: u32,
    /// Chance of a second delivery; allows reordering. A harsher mode than TCP.
    pub duplicate_per_10k: u32,
    /// Chance that a message is overtaken. A harsher mode than TCP.
    pub reorder_per_10k: u32,
    /// Chance that the latency of a message doubles, and then again, until it is a second long: a
    /// heavy tail.
    pub tail_per_10k: u32,
    /// Bytes per second; 0 for no limit.
    pub bandwidth: u64,
}

/// A change of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkFault {
    /// Nothing of this class passes from one end to another.
    Cut {
        /// From.
        from: End,
        /// To.
        to: End,
        /// Which messages.
        class: MessageClass,
    },
    /// What was cut from one end to another passes again.
    Heal {
        /// From.
        from: End,
        /// To.
        to: End,
    },
    /// All cuts end and all qualities are the run's defaults again.
    HealAll,
    /// The connections between two ends are reset.
    Reset {
        /// One end.
        from: End,
        /// The other.
        to: End,
    },
    /// The connections between two members are gone, and one of them is not told.
    HalfOpen {
        /// Who still believes in them.
        from: End,
        /// Who does not.
        to: End,
    },
    /// A link's quality from now on.
    Quality {
        /// From.
        from: End,
        /// To.
        to: End,
        /// As this.
        quality: LinkQuality,
    },
}

/// A change of one member's disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Syncs take this long.
    SyncLatency(Duration),
    /// Syncs do not end until `Recover`.
    Hang,
    /// The next sync fails with an input/output error.
    SyncError,
    /// The next write fails with an input/output error.
    WriteError,
    /// Writes fail for lack of space until `Recover`.
    Full,
    /// The file system is mounted read-only: nothing can be written or synced, nor opened for it,
    /// until a power loss or `Recover`.
    ReadOnly,
    /// What is there is a copy of the disk in which files are missing. Only while no process has it
    /// open.
    Lose(Missing),
    /// What is there is a copy of the disk in which the database or a snapshot is damaged. Only
    /// while no process has it open.
    Harm(Harm),
    /// Bytes of the newest log segment's unsynced or last record are torn off at 512-byte borders.
    TearLogTail,
    /// A byte in the middle of the log is flipped.
    CorruptLogMiddle,
    /// The next read fails with an input/output error.
    ReadError,
    /// A bit of some record's content, in any segment of the log, is flipped: the record's checksum
    /// tells.
    Rot,
    /// The next write is not there after the next power loss, though it was synced.
    LostWrite,
    /// The same, and another sector of its file has its data instead.
    MisdirectedWrite,
    /// Syncs of files end well and make nothing durable, until `Recover`.
    SyncsLie,
    /// Syncs of directories end well and make no name durable, until `Recover`.
    NamesLie,
    /// The disk's content is kept aside as it is now.
    Remember,
    /// The disk's content is again as it was when it was kept aside. Only while no process has it
    /// open.
    RollBack,
    /// Hangs, latencies, lies and lack of space end.
    Recover,
}

impl DiskFault {
    /// Whether something is lost, now or later, that was synced.
    pub fn loses(&self) -> bool {
        matches!(
            self,
            DiskFault::Lose(_)
                | DiskFault::Harm(_)
                | DiskFault::TearLogTail
                | DiskFault::CorruptLogMiddle
                | DiskFault::Rot
                | DiskFault::LostWrite
                | DiskFault::MisdirectedWrite
                | DiskFault::SyncsLie
                | DiskFault::NamesLie
                | DiskFault::RollBack
        )
    }
}

/// A change of one member's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFault {
    /// The wall clock jumps.
    JumpWall {
        /// By so many milliseconds, forwards or back.
        by_ms: i64,
    },
    /// Both clocks run this much faster, in parts per million.
    Drift {
        /// Negative: slower.
        ppm: i32,
    },
    /// The wall clock alone runs this much faster.
    DriftWall {
        /// Negative: slower.
        ppm: i32,
    },
    /// Both clocks stand still.
    Freeze,
    /// The wall clock stands still.
    FreezeWall,
}

/// What a process does that it can be killed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A write to a file.
    Write,
    /// A sync of a file or a directory.
    Sync,
    /// A change of names or lengths: a file is made, renamed, removed, cut.
    Name,
    /// Any of these.
    Disk,
    /// A raft message of this class is sent.
    Send(MessageClass),
}

/// Before or after, or half-way, which only disk operations have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Side {
    Before,
    Within,
    After,
}

/// The moment at which a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Before or after it.
    pub side: Side,
    /// What.
    pub occasion: Occasion,
    /// The so manieth time from now, from 1.
    pub count: u32,
    /// Its machine loses power then; otherwise only the process is killed.
    pub power: bool,
    /// It is started again so long afterwards, as it was.
    pub back: Option<Duration>,
}

/// How a member's process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The process's exit code; 137 when it was killed.
    pub code: i32,
    /// The `error` field or message of the fatal log line, or why it was ended.
    pub reason: String,
}

/// Something that happened while time moved.
#[derive(Clone, Debug, PartialEq)]
pub enum WorldEvent {
    /// A client operation ended.
    Completed {
        /// Which.
        op: OpId,
        /// How.
        outcome: Outcome,
    },
    /// A message arrived on an open watch.
    Watched {
        /// The operation that opened it.
        op: OpId,
        /// The message.
        message: detsim_reports::record::WatchMessage,
    },
    /// A member's process ended by itself.
    Exited {
        /// Its place.
        member: usize,
        /// How.
        exit: Exit,
    },
    /// A member's process was killed, or its power cut, at the moment that `World::trap` had named.
    Trapped {
        /// Its place.
        member: usize,
    },
    /// A data directory was made from a snapshot, or could not be.
    Restored {
        /// Whose.
        member: usize,
        /// What the tool said when it failed.
        result: Result<(), Exit>,
    },
    /// Time reached what was asked for.
    Reached,
}

/// What can be known of a member from outside: its process and its Status answer, or, in a
/// simulated world, the same facts read directly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its process runs.
    pub running: bool,
    /// It serves clients.
    pub ready: bool,
    /// Whom it thinks leader, if anyone: a member's place.
    pub leader: Option<usize>,
    /// Its raft term.
    pub term: u64,
    /// Its applied index.
    pub applied: u64,
    /// Its store's revision.
    pub revision: i64,
    /// How its last process ended, if it did.
    pub exit: Option<Exit>,
}

/// A world.
pub trait World {
    /// `loop` or `process`.
    fn name(&self) -> &'static str;
    /// Time since the run began; virtual in simulated worlds.
    fn now(&self) -> Time;
    /// Why no run here can do what a statement says, whatever happens before; as a verb phrase.
    fn cannot_express(&self, _statement: &Statement) -> Option<&'static str> {
        None
    }
    /// The members of the run by place; grows with `add_member`.
    fn members(&self) -> &[MemberName];
    /// Where peers reach the member of this place; places that are not taken yet included.
    fn peer_url(&self, member: usize) -> String {
        format!("http://10.0.0.{}:2380", member + 1)
    }
    /// Where clients reach the member of this place.
    fn client_url(&self, member: usize) -> String {
        format!("http://10.0.0.{}:2379", member + 1)
    }
    /// What workloads avoid here unless a script says otherwise.
    fn known_defects(&self) -> Vec<KnownDefect> {
        Vec::new()
    }
    /// Makes room for a member: a host with an empty disk. Returns its place.
    fn add_member(&mut self, name: &MemberName) -> Result<usize, WorldError>;
    /// Starts a member's process.
    fn start(&mut self, member: usize, launch: &Launch) -> Result<(), WorldError>;
    /// Kills processes at once; what they wrote to the operating system stays.
    fn kill(&mut self, member: usize) -> Result<(), WorldError>;
    /// Cuts the power of members at the same moment: unsynced writes may be lost.
    fn power_loss(&mut self, members: &[usize]) -> Result<(), WorldError>;
    /// Asks a member to stop gracefully.
    fn stop(&mut self, member: usize) -> Result<(), WorldError>;
    /// Freezes a process.
    fn pause(&mut self, member: usize) -> Result<(), WorldError>;
    /// Lets it go on.
    fn resume(&mut self, member: usize) -> Result<(), WorldError>;
    /// Changes the network.
    fn network(&mut self, fault: &NetworkFault) -> Result<(), WorldError>;
    /// The quality of a link between members when nothing is wrong.
    fn link_quality(&self) -> LinkQuality {
        LinkQuality {
            latency: (Duration::from_micros(200), Duration::from_millis(1)),
            loss_per_10k: 0,
            duplicate_per_10k: 0,
            reorder_per_10k: 0,
            tail_per_10k: 0,
            bandwidth: 0,
        }
    }
    /// Changes a member's disk.
    fn disk(&mut self, member: usize, fault: &DiskFault) -> Result<(), WorldError>;
    /// Changes a member's clocks.
    fn clock(&mut self, member: usize, fault: ClockFault) -> Result<(), WorldError>;
    /// Kills a member's process at a moment that is still to come, once; `None` forgets it.
    fn trap(&mut self, _member: usize, trap: Option<Trap>) -> Result<(), WorldError> {
        let what = "kill a process at a chosen moment".to_owned();
        match trap {
            None => Ok(()),
            Some(_) => Err(WorldError::Unsupported { world: self.name(), what }),
        }
    }
    /// How many operations have changed what is on a member's disk, or made it durable; where that
    /// is known.
    fn disk_changes(&self, _member: usize) -> Option<u64> {
        None
    }
    /// What faults have done to a member or a link until now; nothing where that is not counted.
    fn tally(&self, _subject: Subject) -> Tally {
        Tally::default()
    }
    /// How long each step of a member takes its processor; zero for what is usual.
    fn processor(&mut self, _member: usize, step: Duration) -> Result<(), WorldError> {
        let what = "slow a processor down".to_owned();
        match step.is_zero() {
            true => Ok(()),
            false => Err(WorldError::Unsupported { world: self.name(), what }),
        }
    }
    /// Whether clients can save snapshots here.
    fn can_save(&self) -> Result<(), WorldError> {
        let what = "save a snapshot".to_owned();
        Err(WorldError::Unsupported { world: self.name(), what })
    }
    /// Begins to make a data directory from a saved snapshot on the host of a member that does not
    /// run. Ends with `WorldEvent::Restored`, or `Trapped`.
    fn restore(&mut self, _member: usize, _restore: &Restore) -> Result<(), WorldError> {
        let what = "restore a snapshot".to_owned();
        Err(WorldError::Unsupported { world: self.name(), what })
    }
    /// Begins to rewrite the database in a data directory of a member that does not run. Ends with
    /// `WorldEvent::Restored`, or `Trapped`.
    fn defragment_offline(&mut self, _member: usize, _data_dir: &str) -> Result<(), WorldError> {
        let what = "defragment the database of a member that does not run".to_owned();
        Err(WorldError::Unsupported { world: self.name(), what })
    }
    /// Damages a saved snapshot.
    fn spoil(&mut self, _backup: &str, _damage: BackupDamage) -> Result<(), WorldError> {
        let what = "damage a snapshot".to_owned();
        Err(WorldError::Unsupported { world: self.name(), what })
    }
    /// From its next start on, a member belongs to another of the run's clusters: 0 is the first,
    /// others began from snapshots.
    fn enter(&mut self, _member: usize, _era: usize) {}
    /// What is known of a member.
    fn status(&mut self, member: usize) -> MemberStatus;
    /// Whether a line with this text is in the member's log since its last start: in the message
    /// or in a field.
    fn log_contains(&mut self, member: usize, text: &str) -> bool;
    /// Sends a client operation; it ends with `WorldEvent::Completed`. A watch stays open until
    /// `close`, and completes with its end.
    fn invoke(&mut self, op: OpId, client: ClientId, member: usize, call: &Call, timeout: Duration);
    /// Ends a watch.
    fn close(&mut self, op: OpId);
    /// Moves time until something happens, but not past `until`.
    fn advance(&mut self, until: Time) -> WorldEvent;
    /// Hash of every input and output of every member, every message and every disk operation with
    /// its content, so far; `None` in worlds whose runs do not repeat.
    fn trace_hash(&self) -> Option<u64> {
        None
    }
    /// Keeps, from now on, what goes into the trace hash as lines for a reader.
    fn keep_trace(&mut self) {}
    /// The lines kept, one for each event.
    fn trace(&self) -> Vec<String> {
        Vec::new()
    }
    /// Hands over what was seen from inside so far, and the members' states as they are now; empty
    /// where nothing can be seen.
    fn internals(&mut self) -> Internals {
        Internals::default()
    }
}
