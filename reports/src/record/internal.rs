//! What was seen from inside a simulated world. White-box checks read it; black-box verdicts never
//! depend on it, except that the log's order may serve as a witness, which is then verified.

use serde::{Deserialize, Serialize};

use super::{Call, OpId, Time};

/// What a committed entry does to the replicated state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A client's write, as the log holds it. A lease grant carries the id that the server chose.
    Client(Call),
    /// The first entry of a term: nothing.
    TermStart,
    /// A configuration change.
    ConfChange {
        /// Its effect in words, `add 8e9e05c52164694d`.
        what: String,
    },
    /// A member's own attributes, the cluster version, an alarm: no effect on keys and leases.
    Internal {
        /// Which.
        what: String,
    },
    /// The leader revokes an expired lease.
    LeaseExpired {
        /// Which.
        id: i64,
    },
}

/// One committed entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What it does.
    pub command: Command,
    /// The client operation that it is owed to, if it is owed to one.
    pub op: Option<OpId>,
}

/// A member's replicated state after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The member's place.
    pub member: usize,
    /// How many times its process was started before: a restart applies its log again.
    pub incarnation: u32,
    /// The entry's index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The store's revision afterwards.
    pub revision: i64,
    /// Digest of the replicated state afterwards.
    pub digest: u64,
}

/// A member's raft state, recorded whenever it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RaftState {
    pub at: Time,
    pub member: usize,
    pub incarnation: u32,
    pub term: u64,
    /// Identity voted for in this term, 0 for nobody.
    pub vote: u64,
    pub role: RaftRole,
    /// Identity of the known leader, 0 for none.
    pub leader: u64,
    pub commit: u64,
    pub last_index: u64,
}

/// A raft role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RaftRole {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// Everything seen from inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Internals {
    /// Committed entries by index, from the first member that applied each.
    pub committed: Vec<Committed>,
    /// Every application of an entry by a member, in order.
    pub applied: Vec<Applied>,
    /// Changes of raft state, in order.
    pub raft: Vec<RaftState>,
    /// Identities by member's place, as far as known.
    pub identities: Vec<u64>,
}

/// How bad a finding is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A promise was broken.
    Safety,
    /// The cluster did not recover though it could have.
    Liveness,
    /// A member crashed by its own fault.
    Crash,
    /// The harness is wrong, or a run was not deterministic.
    Harness,
}

/// What a checker found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The checker: `linearizability`.
    pub checker: String,
    /// The rule it broke: `stale-read`.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// One or two sentences with the values that prove it.
    pub explanation: String,
    /// The operations that prove it.
    pub operations: Vec<OpId>,
    /// The members concerned.
    pub members: Vec<usize>,
    /// When it shows.
    pub at: Time,
}

impl Finding {
    /// What stays the same while a failure is shrunk: checker, rule.
    pub fn signature(&self) -> String {
        format!("{}/{}", self.checker, self.rule)
    }
}

/// A checker's result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The checker: `linearizability`.
    pub checker: String,
    /// What it found.
    pub findings: Vec<Finding>,
    /// What it checked, counted: `4211 operations by witness`.
    pub checked: Vec<String>,
    /// What it could not check, and why.
    pub not_checked: Vec<String>,
    /// It ran out of its bound: neither passed nor failed.
    pub undecided: bool,
}
