//! What was seen from inside a simulated world. White-box checks read it; black-box verdicts never
//! depend on it, except that the log's order may serve as a witness, which is then verified.

use serde::{Deserialize, Serialize};

use super::{Call, KeyValue, MemberEntry, OpId, RaftFact, Time};

/// What a committed entry does to the replicated state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A client's write, as the log holds it. A lease grant carries the id that the server chose.
    Client(Call),
    /// The first entry of a term: nothing.
    TermStart,
    /// A configuration change.
    ConfChange {
        /// Its kind in words, `add 8e9e05c52164694d`.
        what: String,
        /// What it asks for, if the entry tells.
        #[serde(default)]
        change: Option<MembershipChange>,
    },
    /// A member publishes its name and where clients reach it.
    Attributes {
        /// Who.
        member: u64,
        /// Its name.
        name: String,
        /// Its client URLs.
        client_urls: Vec<String>,
    },
    /// The cluster version, a downgrade: no effect on keys, leases and members.
    Internal {
        /// Which.
        what: String,
    },
    /// The log begins from a snapshot of another cluster, with what that had applied. The newest
    /// revision is raised by so much, and all below is compacted if it is.
    Restored {
        /// By how much; 0 for not at all.
        bumped: i64,
    },
    /// The leader revokes an expired lease.
    LeaseExpired {
        /// Which.
        id: i64,
    },
}

/// What a configuration change asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipChange {
    /// A new member, a voter or a learner.
    Add(MemberEntry),
    /// A learner becomes a voter.
    Promote(u64),
    /// A member goes for good.
    Remove(u64),
    /// A member has other peer URLs.
    Update {
        /// Who.
        member: u64,
        /// Which.
        peer_urls: Vec<String>,
    },
}

/// One committed entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// When the first member applied it.
    pub at: Time,
    /// The cluster's identity: a run may hold several clusters, each with a log of its own.
    pub cluster: u64,
    /// Which of the run's clusters, where one began from another's snapshot: 0 for the first.
    #[serde(default)]
    pub era: usize,
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What it does.
    pub command: Command,
    /// The client operation that it is owed to, if it is owed to one.
    pub op: Option<OpId>,
}

/// A member's replicated state after an entry. Recorded after every entry whose effects were
/// applied, and once for the state that a member starts from or installs as a snapshot, under the
/// last index which that state holds. An entry that a member skips, because the state it started
/// from holds it already, is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// When.
    pub at: Time,
    /// The cluster's identity.
    pub cluster: u64,
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

/// A member's keys and leases after an entry, in full: what the model's state is compared with.
/// Recorded at a few indices, at least for every running member at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The cluster's identity.
    pub cluster: u64,
    /// Which of the run's clusters, as in `Committed`.
    #[serde(default)]
    pub era: usize,
    /// The member's place.
    pub member: usize,
    /// The last entry that the state holds.
    pub index: u64,
    /// The store's revision.
    pub revision: i64,
    /// The store's compact revision, -1 before the first compaction.
    pub compact_revision: i64,
    /// Live keys in ascending order.
    pub keys: Vec<KeyValue>,
    /// Leases in ascending order: identity and granted TTL in seconds.
    pub leases: Vec<(i64, i64)>,
}

/// A vote that left a member: a granted vote response, or the vote request of a candidate, which
/// votes for itself. Pre-votes are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteSent {
    /// When.
    pub at: Time,
    /// The cluster's identity.
    pub cluster: u64,
    /// The voter's place.
    pub member: usize,
    /// The voter's identity: a place that is wiped and added again has another one.
    pub identity: u64,
    /// In which term.
    pub term: u64,
    /// The candidate's identity.
    pub candidate: u64,
    /// Term and vote that the voter's disk held when this left, if it was watched.
    #[serde(default)]
    pub durable: Option<(u64, u64)>,
}

/// A member's raft state, recorded whenever it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RaftState {
    pub at: Time,
    pub cluster: u64,
    pub member: usize,
    /// The member's own identity.
    pub identity: u64,
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

/// A member that started cut off the end of its log, which a crash had torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// When.
    pub at: Time,
    /// The member's place.
    pub member: usize,
}

/// A member's log in memory, and what bounds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFigures {
    /// The index that it follows.
    pub base: u64,
    /// Its last index.
    pub last: u64,
    /// The last index that was applied.
    pub applied: u64,
    /// The last index whose effects the database on the disk has; none without a database.
    #[serde(default)]
    pub covered: Option<u64>,
    /// The index of the newest snapshot.
    pub snapshot: u64,
    /// How often a state of the database was held for somebody.
    pub holds: u64,
    /// It is kept as it is for a peer.
    pub is_held: bool,
    /// `--snapshot-catchup-entries`.
    pub catchup_entries: u64,
    /// It is cut every hundred entries, and not only when a snapshot is saved.
    pub is_cut_early: bool,
}

/// What a member keeps in memory, recorded about once a second, with what the world counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// When.
    pub at: Time,
    /// The cluster's identity.
    pub cluster: u64,
    /// The member's place.
    pub member: usize,
    /// How many times its process was started before.
    pub incarnation: u32,
    /// Its log in memory.
    pub log: LogFigures,
    /// Watch streams that it has, and those that clients have.
    pub streams: (u64, u64),
    /// Watchers that it has, and those that clients were told are there.
    pub watchers: (u64, u64),
    /// Answers to watch requests that wait for room.
    pub queued_answers: u64,
    /// Responses that left on streams without room, since the process began.
    pub without_room: u64,
    /// How far applying was behind at most when a client's write was taken.
    pub taken_behind: u64,
    /// How long the oldest proposal has waited, by the member's clock.
    pub longest_wait_ms: u64,
    /// How long one may.
    pub wait_limit_ms: u64,
    /// The size that is held against the quota.
    pub database_bytes: u64,
    /// The quota, if there is one.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
}

/// Everything seen from inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Internals {
    /// Committed entries by cluster and index, from the first member that applied each. Complete
    /// from index 1 on, for the model applies them on its own.
    pub committed: Vec<Committed>,
    /// Every application of an entry by a member, in order.
    pub applied: Vec<Applied>,
    /// Changes of raft state, in order.
    pub raft: Vec<RaftState>,
    /// Votes that left their members, in order.
    #[serde(default)]
    pub votes: Vec<VoteSent>,
    /// What members did with their logs and configurations, in order.
    #[serde(default)]
    pub facts: Vec<RaftFact>,
    /// Full states at some indices, in order.
    #[serde(default)]
    pub samples: Vec<Sample>,
    /// What members keep in memory, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Measured>,
    /// Repairs of torn logs, in order.
    #[serde(default)]
    pub repairs: Vec<Repair>,
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

impl CheckReport {
    /// A line of what was checked, or was not, with the checker's name in front of it once.
    pub fn named(&self, line: &str) -> String {
        let prefix = format!("{}: ", self.checker);
        if line.starts_with(&prefix) { line.to_owned() } else { prefix + line }
    }
}
