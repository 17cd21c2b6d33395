//! What is seen of members from inside: committed entries with the operations they are owed to,
//! every application, raft states and votes. What concerns logs, disks and configurations is kept
//! in a ledger.
//!
//! Recording costs a comparison per step where nothing changed.

use std::collections::BTreeMap;

use detcd::member::RaftView;
use detcd::member::id::{ClusterId, MemberId, RequestId};
use detcd::member::io::{Note, RaftMessage, Role};
use detcd::member::time::Monotonic;
use detcd::proto::raftpb::MessageType;
use detcd::storage::log::{EntryKind, LogEntry};
use detsim_reports::record::{
    Applied, Call, Command, Committed, Internals, LogFigures, Measured, OpId, RaftRole, RaftState,
    Repair, Sample, Time, VoteSent,
};

use super::host::{Process, Stage};
use super::ledger::Ledger;
use super::machine::Machine;
use crate::world::convert::{decode_conf_change, decode_normal};

/// Who is seen, and when.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When.
    pub at: u64,
    /// The member's place.
    pub member: usize,
    /// How many times its process was started before.
    pub incarnation: u32,
    /// Which of the run's clusters it belongs to.
    pub era: usize,
    /// Who it is.
    pub identity: (MemberId, ClusterId),
}

/// Names a log: the era, and the cluster's identity.
pub type Log = (usize, ClusterId);

impl Seen {
    /// The log that its cluster writes.
    pub fn log(&self) -> Log {
        (self.era, self.identity.1)
    }
}

/// Records what is seen.
#[derive(Debug, Default)]
pub struct Observer {
    internals: Internals,
    /// Entries that requests were proposed as, until the entry is committed.
    proposed: BTreeMap<(Log, u64), OpId>,
    /// The last index recorded as committed, by cluster.
    committed: BTreeMap<Log, u64>,
    /// The era of each place.
    eras: Vec<usize>,
    /// Logs, disks, configurations and reads.
    pub ledger: Ledger,
}

impl Observer {
    /// Hands over what was recorded so far.
    pub fn hand_over(&mut self) -> Internals {
        let identities = self.internals.identities.clone();
        self.internals.facts = self.ledger.hand_over();
        std::mem::replace(&mut self.internals, Internals { identities, ..Internals::default() })
    }

    /// A member told what it did.
    pub fn note(&mut self, seen: Seen, note: &Note, machine: &dyn Machine) {
        match note {
            Note::Proposed { request: RequestId(op), entry_id } => {
                self.proposed.insert((seen.log(), *entry_id), OpId(*op as u32));
            }
            Note::Applied { entry, revision, digest } => {
                self.applied(seen, (entry.index, entry.term), (*revision, *digest));
                self.commit(seen, entry.index - 1, machine);
                self.commit_entry(seen, entry);
            }
            Note::Loaded { index, term, revision, digest, voters, learners } => {
                self.ledger.loaded(seen, *index, voters, learners);
                self.founded(seen, (*index, *term), voters);
                self.applied(seen, (*index, *term), (*revision, *digest));
                self.commit(seen, *index, machine);
            }
            Note::Configured { index, voters, learners } => {
                self.ledger.configured(seen, *index, voters, learners);
            }
            Note::ReadAsked { context } => self.ledger.read_asked(seen, *context),
            Note::ReadConfirmed { context, index } => {
                self.ledger.read_confirmed(seen, *context, *index);
            }
            Note::Role { .. } => {}
        }
    }

    /// The first member of a cluster that began from a snapshot tells what it started from: the
    /// entries that added its founders are in no log that can be asked.
    fn founded(&mut self, seen: Seen, (index, term): (u64, u64), voters: &[MemberId]) {
        let is_new = seen.era > 0 && !self.committed.contains_key(&seen.log());
        if !is_new || index != voters.len() as u64 {
            return;
        }
        for (index, voter) in (1..).zip(voters) {
            self.internals.committed.push(Committed {
                at: Time(seen.at),
                cluster: seen.identity.1.0,
                era: seen.era,
                index,
                term,
                command: Command::ConfChange { what: format!("add {voter}"), change: None },
                op: None,
            });
        }
        self.committed.insert(seen.log(), index);
    }

    /// A place belongs to another of the run's clusters from now on: nothing is known of its log.
    pub fn enter(&mut self, place: usize, era: usize) {
        self.eras.resize(self.eras.len().max(place + 1), 0);
        self.eras[place] = era;
        self.ledger.forget(place);
    }

    /// Which of the run's clusters a place belongs to.
    pub fn era(&self, place: usize) -> usize {
        self.eras.get(place).copied().unwrap_or(0)
    }

    /// A member has the effects of everything up to an entry.
    fn applied(&mut self, seen: Seen, (index, term): (u64, u64), (revision, digest): (i64, u64)) {
        self.internals.applied.push(Applied {
            at: Time(seen.at),
            cluster: seen.identity.1.0,
            member: seen.member,
            incarnation: seen.incarnation,
            index,
            term,
            revision,
            digest,
        });
        self.ledger.applied(seen, index);
    }

    /// Records the entries up to `index` that no member applied before, as far as the log has them.
    fn commit(&mut self, seen: Seen, index: u64, machine: &dyn Machine) {
        let mut last = self.committed.get(&seen.log()).copied().unwrap_or(0);
        while last < index {
            let Some(entry) = machine.entry(last + 1) else { return };
            last += 1;
            self.commit_entry(seen, &entry);
        }
    }

    /// Records an entry, if it is the next.
    fn commit_entry(&mut self, seen: Seen, entry: &LogEntry) {
        let log = seen.log();
        let last = self.committed.entry(log).or_insert(0);
        if entry.index != *last + 1 {
            return;
        }
        *last += 1;
        let decoded = match entry.kind {
            EntryKind::Normal => decode_normal(&entry.data),
            EntryKind::ConfChange => decode_conf_change(&entry.data),
        };
        let op = self.proposed.remove(&(log, decoded.id)).filter(|_| decoded.id != 0);
        let command = match (decoded.command, op) {
            // Nobody asked for it: the leader revokes what expired.
            (Command::Client(Call::LeaseRevoke { id }), None) => Command::LeaseExpired { id },
            (command, _) => command,
        };
        self.internals.committed.push(Committed {
            at: Time(seen.at),
            cluster: seen.identity.1.0,
            era: seen.era,
            index: entry.index,
            term: entry.term,
            command,
            op,
        });
    }

    /// A raft message leaves a member: votes and acknowledgements are remembered.
    pub fn sent(&mut self, seen: Seen, to: MemberId, message: &RaftMessage) {
        let candidate = match message.kind() {
            MessageType::MsgVote => seen.identity.0,
            MessageType::MsgVoteResp if !message.is_reject() => to,
            MessageType::MsgAppResp if !message.is_reject() => {
                return self.ledger.acknowledged(seen, to, message.term(), message.index());
            }
            _ => return,
        };
        self.internals.votes.push(VoteSent {
            at: Time(seen.at),
            cluster: seen.identity.1.0,
            member: seen.member,
            identity: seen.identity.0.0,
            term: message.term(),
            candidate: candidate.0,
            durable: self.ledger.durable_vote(seen.member),
        });
    }

    /// A member's raft state is another than `before`.
    pub fn raft(&mut self, seen: Seen, before: Option<RaftView>, view: RaftView) {
        self.ledger.raft(seen, before, view);
        self.internals.raft.push(RaftState {
            at: Time(seen.at),
            cluster: seen.identity.1.0,
            member: seen.member,
            identity: seen.identity.0.0,
            incarnation: seen.incarnation,
            term: view.term,
            vote: view.vote,
            role: match view.role {
                Role::Follower => RaftRole::Follower,
                Role::PreCandidate => RaftRole::PreCandidate,
                Role::Candidate => RaftRole::Candidate,
                Role::Leader => RaftRole::Leader,
            },
            leader: view.leader.0,
            commit: view.commit,
            last_index: view.last_index,
        });
    }

    /// A member repaired the torn end of its log.
    pub fn repaired(&mut self, at: u64, member: usize) {
        self.internals.repairs.push(Repair { at: Time(at), member });
    }

    /// A member's identity became known.
    pub fn identified(&mut self, place: usize, identity: MemberId) {
        let identities = &mut self.internals.identities;
        identities.resize(identities.len().max(place + 1), 0);
        identities[place] = identity.0;
    }

    /// Records what a member keeps in memory, and what the world counted of it.
    pub fn measure(&mut self, seen: Seen, process: &Process, now: Monotonic) {
        let Stage::Running(machine) = &process.stage else { return };
        let Some(figures) = machine.figures(now) else { return };
        let counted = process.meter.reading();
        self.internals.measured.push(Measured {
            at: Time(seen.at),
            cluster: seen.identity.1.0,
            member: seen.member,
            incarnation: seen.incarnation,
            log: LogFigures {
                base: figures.log_base,
                last: figures.log_last,
                applied: figures.applied,
                covered: figures.covered,
                snapshot: figures.snapshot,
                holds: figures.holds,
                is_held: figures.is_log_held,
                catchup_entries: process.catchup_entries,
                is_cut_early: process.cuts_early,
            },
            streams: (figures.streams, counted.streams),
            watchers: (figures.watchers, counted.watchers),
            queued_answers: figures.queued_answers,
            without_room: counted.without_room,
            taken_behind: counted.taken_behind,
            longest_wait_ms: figures.longest_wait.as_millis() as u64,
            wait_limit_ms: process.request_timeout.as_millis() as u64,
            database_bytes: figures.database_bytes,
            quota_bytes: figures.quota_bytes,
        });
    }

    /// Records a member's state in full.
    pub fn sample(&mut self, seen: Seen, machine: &dyn Machine) {
        let Some((contents, raft)) = machine.contents().zip(machine.raft()) else { return };
        self.internals.samples.push(Sample {
            cluster: seen.identity.1.0,
            era: seen.era,
            member: seen.member,
            index: raft.applied,
            revision: contents.revision,
            compact_revision: contents.compact_revision,
            keys: contents.keys,
            leases: contents.leases,
        });
    }
}
