//! A script in memory: what a scenario or a plan says, line by line, comments included.
//!
//! The types hold what was meant, not how it was written: printing a script gives its canonical
//! text.

use std::time::Duration;

use detsim_reports::record::{Alarm, DowngradeAction};

use super::value::{Settings, word_for};
use crate::world::{BackupDamage, ClockFault, DiskFault, MessageClass, Trap};

/// A scenario or a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Its lines in order.
    pub lines: Vec<Line>,
}

/// One line: a statement, a comment, both, or neither.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Where it stands in the file, from 1; 0 when it was not read from one.
    pub number: u32,
    /// What it says.
    pub statement: Option<Statement>,
    /// Its comment, without the sign.
    pub comment: Option<String>,
}

impl Script {
    /// The statements with their lines' numbers.
    pub fn statements(&self) -> impl Iterator<Item = (u32, &Statement)> {
        self.lines.iter().filter_map(|line| Some((line.number, line.statement.as_ref()?)))
    }

    /// The comment lines before the first statement: what the scenario is about.
    pub fn story(&self) -> Vec<&str> {
        self.lines
            .iter()
            .take_while(|line| line.statement.is_none())
            .filter_map(|line| line.comment.as_deref())
            .map(str::trim)
            .collect()
    }
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// Only these worlds can express the scenario.
    Worlds(Vec<String>),
    /// The seed to replay with; written in plans.
    Seed(u64),
    /// Options of the run.
    Option(Settings),
    /// The members that the cluster begins with.
    Cluster {
        /// Their names.
        members: Vec<String>,
        /// How many of them, drawn by the seed; all when empty.
        sizes: Vec<usize>,
        /// Flags of every member.
        flags: Vec<Flag>,
    },
    /// A host with an empty disk that is not in the initial cluster.
    Member {
        /// Its name.
        name: String,
        /// Its flags.
        flags: Vec<Flag>,
    },
    /// Gives a name to what a target is now.
    Let {
        /// The name.
        name: String,
        /// What it stands for.
        target: Target,
    },
    /// Done to the cluster now.
    Do(Action),
    /// Done to the cluster during the next `run`, so long after its start.
    At(Duration, Action),
    /// Clients that work from now until `settle`, `converge`, `check` or the end.
    Workload(Named),
    /// A source of faults during the next `run`.
    Nemesis(Named),
    /// Time passes, with workloads and nemeses.
    Run(Duration),
    /// Time passes, with workloads only.
    Wait(Duration),
    /// Workloads end, and so do their outstanding operations.
    Settle,
    /// The cluster recovers, or could not.
    Converge {
        /// In so much time.
        within: Option<Duration>,
    },
    /// Checks the history.
    Check {
        /// By these checkers; by all when empty.
        checkers: Vec<String>,
    },
    /// Something that must hold.
    Expect(Expect),
    /// A finding of this checker or rule does not make the run fail.
    Allow(String),
    /// An operation of a client, by hand.
    Operation(Operation),
    /// Clusters begin from a saved snapshot: data directories are made from it.
    Restore(Restore),
    /// Databases of members that do not run are rewritten densely.
    DefragmentOffline {
        /// On whose hosts.
        targets: Targets,
        /// What must come of it; success when nothing is said.
        expect: Vec<Answer>,
    },
    /// A saved snapshot is damaged.
    Spoil {
        /// Which.
        backup: String,
        /// How.
        damage: BackupDamage,
    },
}

/// A workload or a nemesis: its kind, and what it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The kind.
    pub kind: String,
    /// Its parameters.
    pub settings: Settings,
}

/// A flag of etcd's with its value, or with values of which the seed draws one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: String,
    /// Its value; several to draw from.
    pub choices: Vec<String>,
}

impl Flag {
    /// A flag with one value.
    pub fn new(name: &str, value: &str) -> Flag {
        Flag { name: name.to_owned(), choices: vec![value.to_owned()] }
    }

    /// A member joins a cluster that exists.
    pub fn existing() -> Flag {
        Flag::new("initial-cluster-state", "existing")
    }
}

/// Some members.
pub type Targets = Vec<Target>;

/// One or some members, by name or by what they are at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Target {
    /// A member's name, or a name given by `let`.
    Name(String),
    All,
    Leader,
    /// One of the followers, drawn.
    Follower,
    Followers,
    /// As many as may fail, drawn.
    Minority,
    /// As many as make a quorum, drawn.
    Majority,
    /// One that runs, drawn.
    Any,
    /// All members that the other side does not name; where there is no other side, those that no
    /// `let` name stands for.
    Rest,
    /// All clients; only where links are meant.
    Clients,
}

/// One direction or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Direction {
    Both,
    OneWay,
}

/// The links between two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    /// From here.
    pub from: Targets,
    /// To there.
    pub to: Targets,
    /// And back?
    pub direction: Direction,
}

/// How a member is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartAction {
    /// Whom.
    pub targets: Targets,
    /// On an empty disk.
    pub wipe: bool,
    /// Flags beside the cluster's and the member's own.
    pub flags: Vec<Flag>,
}

impl StartAction {
    /// As they were started last, or first.
    pub fn plain(targets: Targets) -> StartAction {
        StartAction { targets, wipe: false, flags: Vec::new() }
    }
}

/// What can be done to a cluster.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Action {
    Start(StartAction),
    Restart(StartAction),
    Stop(Targets),
    Kill(Targets),
    /// At a moment to come, or no longer.
    KillAt(Targets, Option<Trap>),
    PowerLoss(Targets),
    Pause(Targets),
    Resume(Targets),
    Cut(Sides, MessageClass),
    /// Everything, or these links.
    Heal(Option<Sides>),
    Reset(Sides),
    HalfOpen(Sides),
    Link(Sides, Settings),
    Disk(Targets, DiskFault),
    Clock(Targets, ClockFault),
    /// Each step takes so long; zero for what is usual.
    Processor(Targets, Duration),
    /// A client's operation, for whose answer nobody waits.
    Ask(Box<Operation>),
}

/// A condition and how long it may take or must last.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Expect {
    /// The members end by themselves.
    Exits { targets: Targets, code: Option<i32>, log: Option<String>, within: Option<Duration> },
    /// The members' processes live, for this long.
    Running { targets: Targets, lasts: Option<Duration> },
    /// The members serve clients.
    Ready { targets: Targets, within: Option<Duration> },
    /// The members' logs hold this text.
    Log { targets: Targets, text: String, within: Option<Duration> },
    /// The members' logs do not hold it, for this long.
    NoLog { targets: Targets, text: String, lasts: Option<Duration> },
    /// The running members agree on a leader, which is one of these.
    Leader { among: Targets, within: Option<Duration> },
    /// These members know no leader, or one that does not know itself one.
    NoLeader { among: Targets, within: Option<Duration> },
    /// The members hold the same keys at the same revision.
    SameData { targets: Targets, within: Option<Duration> },
    /// They do not.
    DifferentData { targets: Targets },
    /// The members tell the same cluster's id.
    SameCluster { targets: Targets, within: Option<Duration> },
    /// They do not.
    DifferentCluster { targets: Targets },
    /// The member list holds these names and no other.
    Members { names: Vec<String>, via: Option<Target>, within: Option<Duration> },
    /// No member is in this term or a later one.
    TermBelow(u64),
    /// A finding of this checker or rule makes the run pass, and its absence makes it fail.
    Finding(String),
    /// A checker says that it has checked this, which a run that never came to it does not.
    Checked(String),
}

/// How data directories are made from a saved snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Restore {
    /// On whose hosts: the new cluster's members, unless it is told otherwise.
    pub targets: Targets,
    /// On empty disks.
    pub wipe: bool,
    /// What it is told: `from`, and flags of `etcdutl snapshot restore`.
    pub settings: Settings,
    /// What must come of it; success when nothing is said.
    pub expect: Vec<Answer>,
}

/// A client operation and what it must come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What is asked.
    pub request: Request,
    /// Whom; any member when not said.
    pub via: Option<Target>,
    /// How long the client waits.
    pub timeout: Option<Duration>,
    /// What the answer must be; `ok` when nothing is said.
    pub expect: Vec<Answer>,
}

/// The keys of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// One.
    #[default]
    Key,
    /// All that begin with it.
    Prefix,
    /// Up to another, which is not in it.
    To(String),
}

/// A request by hand.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Request {
    Put {
        key: String,
        value: String,
        /// The value is repeated up to so many bytes; 0 for the value as it is.
        size: u64,
        lease: i64,
        prev_kv: bool,
    },
    Get {
        key: String,
        extent: Extent,
        serializable: bool,
        revision: i64,
        limit: i64,
        count_only: bool,
    },
    Delete {
        key: String,
        extent: Extent,
        prev_kv: bool,
    },
    Txn {
        compare: Vec<Compare>,
        success: Vec<Request>,
        failure: Vec<Request>,
    },
    /// At the newest known revision when none is given.
    Compact {
        revision: Option<i64>,
        physical: bool,
    },
    LeaseGrant {
        id: i64,
        ttl_s: i64,
    },
    LeaseRevoke {
        id: i64,
    },
    LeaseKeepAlive {
        id: i64,
    },
    LeaseTimeToLive {
        id: i64,
        keys: bool,
    },
    LeaseList,
    MemberAdd {
        member: String,
        learner: bool,
        urls: Option<String>,
    },
    MemberRemove {
        member: String,
    },
    MemberUpdate {
        member: String,
        urls: String,
    },
    MemberPromote {
        member: String,
    },
    MemberList {
        serializable: bool,
    },
    MoveLeader {
        to: Target,
    },
    Status,
    Hash {
        revision: i64,
    },
    AlarmList,
    AlarmRaise(AlarmOf),
    /// Every alarm that is active when none is named.
    AlarmDisarm(Option<AlarmOf>),
    Defragment,
    /// What is asked about a downgrade, and to which version; to none where it is called off.
    Downgrade {
        action: DowngradeAction,
        version: String,
    },
    /// A snapshot, kept under a name.
    Save {
        backup: String,
    },
}

/// An alarm and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmOf {
    /// Which alarm.
    pub alarm: Alarm,
    /// The member's name; none for an alarm that is nobody's.
    pub member: Option<String>,
}

impl AlarmOf {
    /// The alarms by their words.
    pub const WORDS: [(&'static str, Alarm); 2] =
        [("nospace", Alarm::NoSpace), ("corrupt", Alarm::Corrupt)];

    /// What stands where no member does.
    pub const NOBODY: &'static str = "nobody";

    /// The alarm's word.
    pub fn word(&self) -> &'static str {
        word_for(&AlarmOf::WORDS, &self.alarm)
    }

    /// The member's name, or `nobody`.
    pub fn whose(&self) -> &str {
        self.member.as_deref().unwrap_or(AlarmOf::NOBODY)
    }
}

impl Request {
    /// The member that it adds, removes or promotes, where it changes the configuration.
    pub fn reconfigures(&self) -> Option<&str> {
        match self {
            Request::MemberAdd { member, .. }
            | Request::MemberRemove { member }
            | Request::MemberPromote { member } => Some(member),
            _ => None,
        }
    }
}

/// One comparison of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// `value`, `version`, `create`, `mod` or `lease`.
    pub field: String,
    /// Of this key.
    pub key: String,
    /// `=`, `!=`, `<` or `>`.
    pub operator: String,
    /// The given value; a number unless the field is `value`.
    pub operand: String,
}

/// What an answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Success.
    Ok,
    /// Certainly without effect, with this in the text.
    Fail(String),
    /// Nobody knows whether it took effect; with this in the text.
    Unknown(String),
    /// One of the two, with this in the text.
    Error(String),
    /// Anything.
    Any,
    /// The only key, or the key before, has this value.
    Value(String),
    /// No key.
    None,
    /// So many keys.
    Count(i64),
    /// The lease is granted for so many seconds.
    Ttl(i64),
    /// The answer's revision.
    Revision(i64),
    /// The cluster's version is told as this.
    ClusterVersion(String),
    /// This alarm is among those of the answer.
    Alarm(AlarmOf),
    /// The transaction took its first branch.
    Succeeded,
    /// It took its second.
    NotSucceeded,
}
