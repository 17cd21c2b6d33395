//! Random but plausible log writes, and what a log must hold after any prefix of their records.

use bytes::Bytes;
use detcd::proto::raftpb::ConfState;
use detcd::storage::log::{EntryKind, HardState, LogEntry, LogImage, LogWrite, SnapshotMark};
use detsim::seed::{Draw, Streams};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// One record as it lies in the log.
#[derive(Clone, Debug)]
pub enum Record {
    Entry(LogEntry),
    State(HardState),
    Mark(SnapshotMark),
}

/// Writes of a member's life, in order. The first creates the log.
#[derive(Clone, Debug)]
pub struct Script {
    pub writes: Vec<LogWrite>,
    /// For each write, how many records the log has after it.
    pub records_after: Vec<usize>,
    pub records: Vec<Record>,
}

pub const METADATA: &[u8] = b"metadata";

/// A raft log's owner making up its mind.
struct Life {
    rng: ChaCha8Rng,
    state: HardState,
    last: u64,
    script: Script,
    snapshot: u64,
}

pub fn script(seed: u64, writes: usize) -> Script {
    let mut life = Life {
        rng: Streams::new(seed).stream("wal/script"),
        state: HardState { term: 1, vote: 0, commit: 0 },
        last: 0,
        script: Script { writes: Vec::new(), records_after: Vec::new(), records: Vec::new() },
        snapshot: 0,
    };
    life.push(LogWrite::create(Bytes::from_static(METADATA)));
    life.script.records.push(Record::Mark(SnapshotMark::default()));
    life.script.records_after[0] = 1;
    while life.script.writes.len() < writes {
        life.act();
    }
    life.script
}

impl Life {
    fn push(&mut self, write: LogWrite) {
        let records = &mut self.script.records;
        match &write {
            LogWrite::Create { .. } => {}
            LogWrite::Snapshot(mark) => {
                records.push(Record::Mark((**mark).clone()));
                self.snapshot = mark.index;
            }
            LogWrite::Save { entries, hard_state, .. } => {
                let commit = records.iter().rev().find_map(|record| match record {
                    Record::State(state) => Some(state.commit),
                    _ => None,
                });
                if !entries.is_empty() && self.snapshot > commit.unwrap_or(0) {
                    let state = hard_state.expect("a leader's snapshot comes with a state");
                    records.push(Record::State(HardState { commit: self.snapshot, ..state }));
                }
                records.extend(entries.iter().cloned().map(Record::Entry));
                records.extend(hard_state.map(Record::State));
            }
        }
        self.script.records_after.push(records.len());
        self.script.writes.push(write);
    }

    fn entry(&mut self, index: u64) -> LogEntry {
        let size = [0, 1, 40, 200, 511, 1400][self.rng.below(6) as usize];
        let mut data = vec![0; size];
        if self.rng.below(4) > 0 {
            self.rng.fill_bytes(&mut data);
        }
        LogEntry { kind: EntryKind::Normal, term: self.state.term, index, data: data.into() }
    }

    fn act(&mut self) {
        match self.rng.below(10) {
            0 => self.commit_only(),
            1 => self.local_snapshot(),
            2 => self.leaders_snapshot(),
            3 => self.new_leader(),
            _ => self.append(self.last + 1),
        }
    }

    fn append(&mut self, from: u64) {
        let count = 1 + self.rng.below(3);
        let entries = (from..from + count).map(|index| self.entry(index)).collect();
        self.last = from + count - 1;
        self.state.commit += self.rng.below(self.last - self.state.commit + 1);
        let hard_state = Some(self.state);
        self.push(LogWrite::Save { entries, hard_state, sync: true });
    }

    fn commit_only(&mut self) {
        self.state.commit = self.last;
        let hard_state = Some(self.state);
        self.push(LogWrite::Save { entries: Vec::new(), hard_state, sync: false });
    }

    fn new_leader(&mut self) {
        self.state.term += 1;
        self.state.vote = 1 + self.rng.below(3);
        let from = self.state.commit + 1 + self.rng.below(self.last - self.state.commit + 1);
        self.append(from);
    }

    fn mark(&self, index: u64) -> LogWrite {
        let conf_state =
            ConfState { voters: vec![1, 2, 3], auto_leave: Some(false), ..ConfState::default() };
        let term = self.state.term;
        let conf_state = Some(conf_state);
        LogWrite::Snapshot(Box::new(SnapshotMark { index, term, conf_state }))
    }

    fn local_snapshot(&mut self) {
        if self.state.commit > self.snapshot {
            let mark = self.mark(self.state.commit);
            self.push(mark);
        }
    }

    /// A snapshot from the leader, then what follows it, with or without entries.
    fn leaders_snapshot(&mut self) {
        let index = self.last + 1 + self.rng.below(50);
        let mark = self.mark(index);
        self.push(mark);
        (self.last, self.state.commit) = (index, index);
        if self.rng.below(2) == 0 {
            self.append(index + 1);
        } else {
            let hard_state = Some(self.state);
            self.push(LogWrite::Save { entries: Vec::new(), hard_state, sync: true });
        }
    }
}

impl Script {
    /// What a log holds that has the first `count` records.
    pub fn image(&self, count: usize) -> LogImage {
        let records = &self.records[..count];
        let states = records.iter().filter_map(|record| match record {
            Record::State(state) => Some(*state),
            _ => None,
        });
        let hard_state = states.last().unwrap_or_default();
        let marks = records.iter().filter_map(|record| match record {
            Record::Mark(mark) if mark.index <= hard_state.commit => Some(mark.clone()),
            _ => None,
        });
        let snapshot = marks.last().expect("a log has the mark {0, 0}");
        let mut entries: Vec<LogEntry> = Vec::new();
        for record in records {
            if let Record::Entry(entry) = record
                && entry.index > snapshot.index
            {
                entries.retain(|held| held.index < entry.index);
                entries.push(entry.clone());
            }
        }
        LogImage { metadata: Bytes::from_static(METADATA), hard_state, snapshot, entries }
    }
}
