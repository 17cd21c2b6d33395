//! Power losses and kills after every disk operation of a member's database and snapshots: it
//! starts again, from a database that covers the snapshot and holds what was promised.

use std::rc::Rc;

use bytes::Bytes;
use detcd::config::CompatVersion;
use detcd::proto::raftpb::ConfState;
use detcd::storage::backend::{self, BoltEngine, Engine, Layout, Opened};
use detcd::storage::bolt::{self, BoltOptions};
use detcd::storage::database::{BucketChange, DatabaseNumber, DatabaseTask, DatabaseWrite, PinId};
use detcd::storage::disk::Disk;
use detcd::storage::log::{EntryKind, HardState, LogEntry, LogNumber, LogWrite, SnapshotMark};
use detcd::storage::memory::MemoryDisk;
use detcd::storage::schema;
use detcd::storage::wal::WalSettings;
use detsim::disk::{DiskTimes, VirtualDisk};
use detsim::seed::Streams;

const WAL: WalSettings = WalSettings { segment_bytes: 2000, ..WalSettings::ETCD };
const PAGES: BoltOptions =
    BoltOptions { page_bytes: 512, map_bytes: 1 << 15, growth_bytes: 1 << 15, ..BoltOptions::ETCD };

/// From a moment on the database holds the effects up to an index.
#[derive(Clone, Copy, Debug)]
struct Promise {
    from: u64,
    consistent: u64,
}

fn layout() -> Layout {
    Layout {
        wal_dir: "d/member/wal".to_owned(),
        snap_dir: "d/member/snap".to_owned(),
        snap_dir_named: "d/member/snap".to_owned(),
        max_wals: 2,
        max_snapshots: 2,
        compat: CompatVersion::V3_6,
    }
}

fn open(disk: Rc<dyn Disk>) -> Result<Opened, String> {
    let engine: Rc<dyn Engine> = Rc::new(BoltEngine::new(PAGES));
    let mut lines = Vec::new();
    let opened = backend::open(&disk, &engine, layout(), WAL, &mut lines);
    opened.map_err(|failure| format!("{}: {failure}, after {lines:?}", failure.message))
}

fn mark(index: u64) -> SnapshotMark {
    let conf_state = ConfState { voters: vec![1], auto_leave: Some(false), ..ConfState::default() };
    SnapshotMark { index, term: 1, conf_state: Some(conf_state) }
}

/// What the entries up to an index have made of the row `k`.
fn value(index: u64) -> Vec<u8> {
    index.to_string().into_bytes().repeat(1 + index as usize % 7)
}

fn write(index: u64) -> DatabaseWrite {
    let row = BucketChange::put("key", "k", value(index));
    let other = BucketChange::put("key", format!("k{index}"), value(index));
    let rows = [row, other];
    let changes = schema::consistent(index, 1).into_iter().chain(rows).collect();
    DatabaseWrite { number: DatabaseNumber(index), consistent: (index, 1), changes }
}

/// A member's life, all of it asked for at moment 0, so that every moment can be gone back to.
struct Life {
    disk: VirtualDisk,
    opened: Opened,
    number: u64,
    promises: Vec<Promise>,
}

impl Life {
    fn begin(seed: u64) -> Life {
        let disk = VirtualDisk::new(DiskTimes::STEPS, Streams::new(seed).stream("disk"));
        disk.begin(0);
        let opened = open(Rc::new(disk.clone())).unwrap();
        let mut life = Life { disk, opened, number: 0, promises: Vec::new() };
        life.log(&[LogWrite::create(Bytes::from_static(b"m"))]);
        life
    }

    fn log(&mut self, writes: &[LogWrite]) {
        for write in writes {
            self.number += 1;
            self.opened.writer.append(LogNumber(self.number), write).unwrap();
        }
        self.opened.writer.commit().unwrap();
    }

    fn entries(&mut self, indices: std::ops::RangeInclusive<u64>) {
        for index in indices {
            let data = Bytes::from(vec![index as u8; 300]);
            let entries = vec![LogEntry { kind: EntryKind::Normal, term: 1, index, data }];
            let hard_state = Some(HardState { term: 1, vote: 1, commit: index });
            self.log(&[LogWrite::Save { entries, hard_state, sync: true }]);
        }
    }

    fn commit(&mut self, index: u64) {
        let receipt = self.opened.backend.commit(vec![write(index - 1), write(index)]).unwrap();
        assert_eq!(receipt.consistent_index(), index);
        self.promise(index);
    }

    fn promise(&mut self, consistent: u64) {
        self.promises.push(Promise { from: self.disk.completion(), consistent });
    }

    fn save(&mut self, index: u64) {
        self.opened.backend.save(&mut self.opened.writer, &mark(index)).unwrap();
        self.opened.backend.purge(&mut self.opened.writer).unwrap();
    }

    fn install(&mut self, index: u64) {
        self.opened.backend.receive(index, &body(index)).unwrap();
        self.opened.backend.write_snapshot(&mark(index)).unwrap();
        let hard_state = Some(HardState { term: 1, vote: 1, commit: index });
        let save = LogWrite::Save { entries: Vec::new(), hard_state, sync: true };
        self.log(&[LogWrite::Snapshot(Box::new(mark(index))), save]);
        self.opened.backend.install(&mut self.opened.writer, index).unwrap();
        self.promise(index);
    }

    fn live(seed: u64) -> Life {
        let mut life = Life::begin(seed);
        for round in 1..=3 {
            life.entries(round * 6 - 5..=round * 6);
            life.commit(round * 6 - 2);
            life.commit(round * 6);
            life.save(round * 6);
        }
        life.install(40);
        life.entries(41..=44);
        life.commit(44);
        life.opened.backend.perform(DatabaseTask::Defragment).unwrap();
        life.save(44);
        life.install(60);
        life.entries(61..=62);
        life.commit(62);
        life
    }

    fn promised_at(&self, moment: u64) -> u64 {
        let kept = self.promises.iter().filter(|promise| promise.from <= moment);
        kept.map(|promise| promise.consistent).max().unwrap_or(0)
    }
}

/// The body of another member's snapshot.
fn body(index: u64) -> Bytes {
    let mut other = open(Rc::new(MemoryDisk::new())).unwrap();
    other.backend.commit(vec![write(index)]).unwrap();
    assert_eq!(other.backend.pin(PinId(1)).unwrap().index, index);
    other.backend.body(PinId(1)).unwrap().unwrap().bytes
}

/// Starts again on what is left.
fn restart(disk: &VirtualDisk, promised: u64, what: &str) {
    let opened = open(Rc::new(disk.mount())).unwrap_or_else(|error| panic!("{what}: {error}"));
    let image = &opened.database;
    let consistent = image.consistent_index().unwrap().unwrap_or(0);
    assert!(consistent >= promised, "{what}: {promised} was promised, {consistent} is there");
    if consistent > 0 {
        let row = image.get("key", "k").map(|value| value.to_vec());
        assert_eq!(row, Some(value(consistent)), "{what}");
    }
    if let Some(log) = &opened.log {
        assert!(log.snapshot.index <= consistent, "{what}: the snapshot is not covered");
        let indices = log.entries.iter().map(|entry| entry.index);
        assert!(indices.eq((log.snapshot.index + 1..).take(log.entries.len())), "{what}");
        let last = log.snapshot.index + log.entries.len() as u64;
        assert!(consistent <= last, "{what}: the database at {consistent}, the log at {last}");
    }
    drop(opened);
    let findings = bolt::check(&disk.mount(), "d/member/snap/db").unwrap();
    assert!(findings.is_empty(), "{what}: {findings:?}");
}

#[test]
fn a_member_starts_again_after_a_kill_at_any_operation() {
    let life = Life::live(1);
    for moment in 0..=life.disk.completion() {
        let fork = life.disk.fork(0);
        fork.kill(moment);
        restart(&fork, life.promised_at(moment), &format!("kill at {moment}"));
    }
}

#[test]
fn a_member_starts_again_after_a_power_loss_at_any_operation() {
    let life = Life::live(2);
    for moment in 0..=life.disk.completion() {
        for seed in 0..3 {
            let fork = life.disk.fork(seed);
            fork.power_loss(moment);
            let what = format!("power loss {seed} at {moment}");
            restart(&fork, life.promised_at(moment), &what);
        }
    }
}
