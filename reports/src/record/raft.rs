//! What members were seen to do with their logs and configurations: the facts that raft's
//! invariants over disks, quorums and logs are checked against.
//!
//! Recorded at changes only. "Durable" is what the disk's receipts cover, or what a process found
//! on its disk when it started.

use serde::{Deserialize, Serialize};

use super::Time;

/// Something that a member was seen to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftFact {
    /// When.
    pub at: Time,
    /// The cluster's identity.
    pub cluster: u64,
    /// The member's place.
    pub member: usize,
    /// The member's identity.
    pub identity: u64,
    /// How many times its process was started before.
    pub incarnation: u32,
    /// What.
    pub event: RaftEvent,
}

/// What a member did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftEvent {
    /// Its log holds entries of another term from an index on: as it found them when it started,
    /// or as it handed them to its disk.
    Run {
        /// The first of them.
        first: u64,
        /// Their term.
        term: u64,
        /// The term of the entry before them, 0 at the log's head.
        before: u64,
    },
    /// It wrote an entry where its log held another.
    Replaced {
        /// The first index that was replaced.
        first: u64,
        /// The last one.
        last: u64,
        /// How far it knew the log to be committed.
        commit: u64,
        /// It leads in the term of what it wrote.
        leads: bool,
    },
    /// It told a leader how far its log matches the leader's. Recorded when that is further than
    /// before.
    Acknowledged {
        /// The leader.
        to: u64,
        /// In which term.
        term: u64,
        /// How far.
        index: u64,
        /// How far its disk held the same log; `None` if its log had gone on to a later term, so
        /// that the disk no longer says what it held for this one.
        durable: Option<u64>,
    },
    /// It became leader.
    Elected {
        /// In which term.
        term: u64,
        /// Its log before its own entries: where each term begins, and which.
        log: Vec<(u64, u64)>,
        /// The last index of that log.
        last: u64,
    },
    /// As leader, it took the log for committed up to an index.
    Committed {
        /// In which term it leads.
        term: u64,
        /// Up to where.
        index: u64,
        /// The term of the entry there.
        entry_term: u64,
        /// How far its own disk held its log.
        durable: u64,
    },
    /// As leader, it appended a configuration change.
    ChangeAppended {
        /// Its index.
        index: u64,
        /// The last change in its log before, 0 for none.
        before: u64,
        /// How far it had applied its log.
        applied: u64,
    },
    /// A configuration took effect with an entry that it applied.
    Configured {
        /// The entry's index.
        index: u64,
        /// Identities of voters, in ascending order.
        voters: Vec<u64>,
        /// Identities of learners, in ascending order.
        learners: Vec<u64>,
    },
    /// It took its configuration from a database: at its start, or with a leader's snapshot.
    Loaded {
        /// The last entry whose effects are in it.
        index: u64,
        /// Identities of voters, in ascending order.
        voters: Vec<u64>,
        /// Identities of learners, in ascending order.
        learners: Vec<u64>,
    },
    /// It started from a log of which its disk had vouched for something before.
    Resumed {
        /// The last index of the log.
        last: u64,
        /// The last index that its disk vouched for,
        promised: u64,
        /// the term of the entry there,
        promised_term: u64,
        /// and the term of what the log holds there now, 0 for nothing.
        found_term: u64,
        /// Term and vote that its disk vouched for.
        promised_vote: (u64, u64),
        /// Term and vote that it found.
        found_vote: (u64, u64),
    },
    /// It started from a log and a database.
    Found {
        /// The snapshot that the log follows.
        snapshot: u64,
        /// The last index of the log.
        last: u64,
        /// The last entry whose effects are in the database.
        consistent: u64,
        /// How far its disk vouched for the database before.
        promised: u64,
        /// What is wrong with the database's file, if its format can tell.
        #[serde(default)]
        damage: Vec<String>,
    },
    /// It was given an index to serve linearizable reads at. Recorded when either number is
    /// another than before.
    ReadIndex {
        /// The index.
        index: u64,
        /// The highest commit index that any member of the cluster had when it asked.
        floor: u64,
    },
}
