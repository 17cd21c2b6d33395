//! What members do with their logs and configurations, and what they promise each other: the facts
//! that raft's invariants over disks, quorums and logs are checked against.
//!
//! A place keeps what is known of its log until another process starts there. What a process does
//! before its identity is known is told once it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd::member::RaftView;
use detcd::member::id::MemberId;
use detcd::member::io::Role;
use detcd::storage::log::{LogImage, LogNumber, LogWrite, SnapshotMark, Staged};
use detsim_reports::record::{RaftEvent, RaftFact, Time};

use super::observer::{Log, Seen};
use super::outline::{Outline, WatchedLog, Written};

/// Questions for a read index that are remembered of a member. It takes the answer to one of a
/// round's, and asks less often than this in a round.
const ASKED_MAX: usize = 32;

/// What is known of the process at a place.
#[derive(Debug, Default)]
struct Watched {
    log: WatchedLog,
    /// Whose member it is, or was last, once that is known.
    cluster: Option<Log>,
    /// What its log begins with, which no other member's does.
    metadata: Bytes,
    /// How far its disk vouches for its database.
    vouched: u64,
    /// Its disk was made to lose something since it began, and vouches for nothing.
    is_damaged: bool,
    /// What it started from, until that is told.
    found: Vec<RaftEvent>,
    /// Questions for a read index, with what was committed when they were asked.
    asked: Vec<(u64, u64)>,
    /// The last read index told, with its floor.
    read: (u64, u64),
}

/// Records facts.
#[derive(Debug, Default)]
pub struct Ledger {
    facts: Vec<RaftFact>,
    places: Vec<Watched>,
    /// The highest commit index of any member, by cluster.
    commits: BTreeMap<Log, u64>,
}

impl Ledger {
    /// Hands over what was recorded so far.
    pub fn hand_over(&mut self) -> Vec<RaftFact> {
        std::mem::take(&mut self.facts)
    }

    fn record(&mut self, seen: Seen, event: RaftEvent) {
        self.facts.push(RaftFact {
            at: Time(seen.at),
            cluster: seen.identity.1.0,
            member: seen.member,
            identity: seen.identity.0.0,
            incarnation: seen.incarnation,
            event,
        });
    }

    fn at(&mut self, place: usize) -> &mut Watched {
        if self.places.len() <= place {
            self.places.resize_with(place + 1, Watched::default);
        }
        &mut self.places[place]
    }

    /// A place's disk holds another log from now on.
    pub fn forget(&mut self, place: usize) {
        *self.at(place) = Watched::default();
    }

    /// A process starts with what it found on its disk: its log, and how far its database is and
    /// what is wrong with it, if it has one.
    pub fn started(
        &mut self,
        place: usize,
        image: Option<&LogImage>,
        database: Option<(u64, Vec<String>)>,
    ) {
        let before = image.and_then(|image| self.up_to(place, &image.snapshot));
        let old = std::mem::take(self.at(place));
        let log = WatchedLog::found(image, before);
        let mut watched = Watched { cluster: old.cluster, ..Watched::default() };
        if let Some(image) = image {
            let (snapshot, last) = (image.snapshot.index, log.staged().last());
            // A member with another log is a new one.
            let is_same = image.metadata == old.metadata;
            watched.is_damaged = is_same && old.is_damaged;
            if is_same && !old.is_damaged {
                watched.vouched = old.vouched;
                watched.found.push(resumed(&old.log, &log, snapshot));
            }
            watched.metadata.clone_from(&image.metadata);
            watched.found.extend(database.map(|(consistent, mut damage)| {
                if watched.is_damaged {
                    damage.clear();
                }
                let promised = watched.vouched;
                RaftEvent::Found { snapshot, last, consistent, promised, damage }
            }));
        }
        *self.at(place) = Watched { log, ..watched };
    }

    /// A place's disk vouches for a database with the effects up to an index.
    pub fn database_durable(&mut self, place: usize, consistent: u64) {
        let watched = self.at(place);
        watched.vouched = watched.vouched.max(consistent);
    }

    /// A place's disk loses what it vouched for, now or later.
    pub fn damaged(&mut self, place: usize) {
        self.at(place).is_damaged = true;
    }

    /// A member hands a write to its disk.
    pub fn staged(&mut self, place: usize, staged: &Staged) {
        let before = match staged.write() {
            LogWrite::Snapshot(mark) => self.up_to(place, mark),
            LogWrite::Create { metadata, .. } => {
                self.at(place).metadata.clone_from(metadata);
                None
            }
            LogWrite::Save { .. } => None,
        };
        self.at(place).log.stage(staged, before);
    }

    /// What a log holds up to a snapshot, by its own account or that of another member of the
    /// cluster: where two logs hold the same entry, they hold the same before it.
    fn up_to(&mut self, place: usize, mark: &SnapshotMark) -> Option<Outline> {
        let cluster = self.at(place).cluster;
        let own = self.places[place..].iter().take(1);
        let others = self.places.iter().filter(|watched| watched.cluster == cluster);
        let mut logs = own.chain(others).map(|watched| watched.log.staged());
        logs.find(|log| log.holds(mark)).map(|log| log.up_to(mark))
    }

    /// A place's disk vouches for everything up to a number.
    pub fn durable(&mut self, place: usize, number: LogNumber) {
        self.at(place).log.durable_up_to(number);
    }

    /// Term and vote on a place's disk.
    pub fn durable_vote(&self, place: usize) -> Option<(u64, u64)> {
        Some(self.places.get(place)?.log.durable_vote())
    }

    /// A member applied an entry.
    pub fn applied(&mut self, seen: Seen, index: u64) {
        self.at(seen.member).log.applied = index;
    }

    /// A member tells a leader how far its log matches.
    pub fn acknowledged(&mut self, seen: Seen, to: MemberId, term: u64, index: u64) {
        let log = &mut self.at(seen.member).log;
        if (term, index) <= log.acknowledged || index == 0 {
            return;
        }
        log.acknowledged = (term, index);
        let is_past = term < log.staged_term();
        let durable = (!is_past).then(|| log.durable());
        self.record(seen, RaftEvent::Acknowledged { to: to.0, term, index, durable });
    }

    /// A configuration took effect.
    pub fn configured(
        &mut self,
        seen: Seen,
        index: u64,
        voters: &[MemberId],
        learners: &[MemberId],
    ) {
        let [voters, learners] =
            [voters, learners].map(|members| members.iter().map(|member| member.0).collect());
        self.record(seen, RaftEvent::Configured { index, voters, learners });
    }

    /// A configuration was found in a database.
    pub fn loaded(&mut self, seen: Seen, index: u64, voters: &[MemberId], learners: &[MemberId]) {
        let [voters, learners] =
            [voters, learners].map(|members| members.iter().map(|member| member.0).collect());
        self.record(seen, RaftEvent::Loaded { index, voters, learners });
    }

    /// A member asks for a read index.
    pub fn read_asked(&mut self, seen: Seen, context: u64) {
        let floor = self.commits.get(&seen.log()).copied().unwrap_or(0);
        let asked = &mut self.at(seen.member).asked;
        if asked.len() == ASKED_MAX {
            asked.remove(0);
        }
        asked.push((context, floor));
    }

    /// A member is given a read index.
    pub fn read_confirmed(&mut self, seen: Seen, context: u64, index: u64) {
        let watched = self.at(seen.member);
        let Some(at) = watched.asked.iter().rposition(|asked| asked.0 == context) else { return };
        let floor = watched.asked[at].1;
        watched.asked.drain(..=at);
        if watched.read != (index, floor) {
            watched.read = (index, floor);
            self.record(seen, RaftEvent::ReadIndex { index, floor });
        }
    }

    /// After a step, in which the member's raft state went from `before` to `view`: tells what was
    /// written.
    pub fn tell(&mut self, seen: Seen, before: Option<RaftView>, view: RaftView) {
        // What it started from is told first of all.
        if before.is_none() {
            for found in std::mem::take(&mut self.at(seen.member).found) {
                self.record(seen, found);
            }
        }
        if self.at(seen.member).log.untold.is_empty() {
            return;
        }
        let commit = before.map_or(0, |before| before.commit);
        for written in std::mem::take(&mut self.at(seen.member).log.untold) {
            let leads = |term: u64| view.role == Role::Leader && view.term == term;
            let event = match written {
                Written::Run { first, term, before } => RaftEvent::Run { first, term, before },
                Written::Replaced { first, last, term } => {
                    RaftEvent::Replaced { first, last, commit, leads: leads(term) }
                }
                Written::Change { index, term, before, applied } if leads(term) => {
                    RaftEvent::ChangeAppended { index, before, applied }
                }
                Written::Change { .. } => continue,
            };
            self.record(seen, event);
        }
    }

    /// A member's raft state is another than `before`.
    pub fn raft(&mut self, seen: Seen, before: Option<RaftView>, view: RaftView) {
        self.at(seen.member).cluster = Some(seen.log());
        let highest = self.commits.entry(seen.log()).or_insert(0);
        *highest = view.commit.max(*highest);
        if view.role != Role::Leader {
            return;
        }
        let log = &self.at(seen.member).log;
        let leads = before.is_some_and(|it| it.role == Role::Leader && it.term == view.term);
        let committed = before.is_some_and(|before| view.commit > before.commit);
        let committed = committed.then(|| RaftEvent::Committed {
            term: view.term,
            index: view.commit,
            entry_term: log.staged().term(view.commit),
            durable: log.durable(),
        });
        if !leads {
            let (log, last) = log.staged().before_term(view.term);
            self.record(seen, RaftEvent::Elected { term: view.term, log, last });
        }
        if let Some(committed) = committed {
            self.record(seen, committed);
        }
    }
}

/// A log that follows a snapshot, against what the disk had vouched for of the log before.
fn resumed(old: &WatchedLog, log: &WatchedLog, snapshot: u64) -> RaftEvent {
    let (promised, promised_term) = old.vouched();
    let found_term = match promised <= snapshot {
        true => promised_term,
        false => log.staged().term(promised),
    };
    RaftEvent::Resumed {
        last: log.staged().last(),
        promised,
        promised_term,
        found_term,
        promised_vote: old.durable_vote(),
        found_vote: log.durable_vote(),
    }
}
