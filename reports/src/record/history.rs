//! The history: who asked what when, and how it ended; and beside it what the harness did.

use serde::{Deserialize, Serialize};

use super::{Call, Effect, Incident, Outcome, WatchMessage};

/// Nanoseconds since the run began.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// The beginning of a run.
    pub const ZERO: Time = Time(0);
    /// Later than everything.
    pub const NEVER: Time = Time(u64::MAX);

    /// The time `by` later.
    #[must_use]
    pub const fn after(self, by: std::time::Duration) -> Time {
        Time(self.0.saturating_add(by.as_nanos() as u64))
    }

    /// How long ago `earlier` was; zero if it is not in the past.
    pub const fn since(self, earlier: Time) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// An operation, numbered from 0 in the order of invocation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct OpId(pub u32);

/// A logical client: a process in Jepsen's sense, sequential. After an unknown outcome it is
/// retired, and its successor has a new number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ClientId(pub u32);

/// A member's name in the scenario: `n1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberName(pub String);

/// A client operation from invocation to completion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number.
    pub id: OpId,
    /// Who asked.
    pub client: ClientId,
    /// Whom: a member's place in `History::members`.
    pub member: usize,
    /// When it was invoked.
    pub invoked: Time,
    /// What was asked.
    pub call: Call,
    /// When it ended; `Time::NEVER` while it has not.
    pub completed: Time,
    /// How it ended; `None` while it has not, which counts as unknown.
    pub outcome: Option<Outcome>,
}

/// A message that a watch received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The watch.
    pub op: OpId,
    /// When the client got it.
    pub at: Time,
    /// What it was.
    pub message: WatchMessage,
}

/// A member's process ended by itself. What the harness killed, cut off or asked to stop is an
/// incident, not an exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExit {
    /// When.
    pub at: Time,
    /// Whose: a member's place.
    pub member: usize,
    /// The process's exit code.
    pub code: i32,
    /// The fatal log line's `error` or message, or the panic's text.
    pub reason: String,
    /// The program panicked: never right, whatever the scenario expects.
    pub panicked: bool,
    /// The scenario expects it, or a disk fault that a member must not survive was injected.
    pub expected: bool,
}

/// What the cluster was configured to promise, as far as replies and bounds depend on it. The
/// defaults are those of etcd's flags, and generous bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `--max-txn-ops`.
    pub max_txn_ops: usize,
    /// `--max-learners`.
    pub max_learners: usize,
    /// The shortest TTL that a lease can have: 1.5 election timeouts, rounded up.
    pub lease_ttl_min_s: i64,
    /// After healing, every operation through a survivor must succeed once this has passed, and
    /// every watch must have delivered what was written before.
    pub recovery_within_ms: u64,
    /// `--quota-backend-bytes`: a database of this size takes no writes.
    pub quota_bytes: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_txn_ops: 128,
            max_learners: 1,
            lease_ttl_min_s: 2,
            recovery_within_ms: 10_000,
            quota_bytes: 2 << 30,
        }
    }
}

/// A cluster that began from a saved snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The operation that saved it.
    pub saved: OpId,
    /// By how much the newest revision was raised above the saved one; all below is compacted then.
    #[serde(default)]
    pub bumped: i64,
    /// How many members it began with: as many entries of its log are about them, and are in no
    /// snapshot.
    pub founders: u64,
    /// Members that belong to it from a time on: those whose disks were restored, and those that
    /// joined them.
    pub entered: Vec<(usize, Time)>,
}

/// Everything seen from outside. A black-box verdict rests on this alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Members by place.
    pub members: Vec<MemberName>,
    /// Operations by number.
    pub operations: Vec<Operation>,
    /// Watch messages in the order received.
    pub watched: Vec<Watched>,
    /// What happened to the cluster, in order.
    pub incidents: Vec<Incident>,
    /// Processes that ended by themselves, in order.
    #[serde(default)]
    pub exits: Vec<ProcessExit>,
    /// Clusters that began from saved snapshots, in order; the first one began from nothing.
    #[serde(default)]
    pub restored: Vec<Restored>,
    /// What the cluster was configured to promise.
    #[serde(default)]
    pub settings: Settings,
    /// What those faults did that lasted to the end, by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unended: Vec<(u32, Effect)>,
    /// When the last fault ended, if there was one.
    pub healed: Option<Time>,
    /// Members that must serve again after `healed`: those that run, are voters, and have intact
    /// disks. Empty unless they are a quorum that can talk, for then nothing is owed.
    #[serde(default)]
    pub survivors: Vec<usize>,
    /// When the run ended.
    pub ended: Time,
}
