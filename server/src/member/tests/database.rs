//! The driver's side of a database for the members of a test: rows in memory, snapshots passed by
//! hand, and a choice at start as etcd makes it.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::MessageType;

use super::cluster::Cluster;
use crate::member::DiskImage;
use crate::member::id::MemberId;
use crate::member::io::{Input, RaftMessage};
use crate::proto::etcdserverpb::SnapshotResponse;
use crate::storage::database::{
    DatabaseAnswer, DatabaseSize, DatabaseTask, DatabaseTaskId, DatabaseWrite, PinId, SnapshotTask,
};
use crate::storage::log::{LogImage, LogWrite, SnapshotMark};
use crate::storage::schema::{DatabaseImage, HashScope};

/// What one host has of a database.
#[derive(Debug, Default)]
pub(super) struct Database {
    /// What is durable.
    pub image: DatabaseImage,
    /// Marks of snapshots in the log.
    pub marks: Vec<SnapshotMark>,
    /// Nothing becomes durable while this is set.
    pub is_hung: bool,
    /// Snapshots are asked for, but not saved, while this is set.
    pub holds_saves: bool,
    /// Tasks are begun, but not finished, while this is set.
    pub holds_tasks: bool,
    pub queued: VecDeque<DatabaseWrite>,
    tasks: VecDeque<(DatabaseTaskId, DatabaseTask)>,
    pub pins: BTreeMap<PinId, DatabaseImage>,
    /// Pieces of them that were read.
    reads: BTreeMap<PinId, u64>,
    /// How often files were to be purged.
    pub purges: usize,
    /// By the index of the snapshot they came with.
    received: BTreeMap<u64, DatabaseImage>,
    total_bytes: u64,
}

impl Database {
    /// A process ends: what was not durable is gone.
    pub(super) fn lose(&mut self) {
        self.queued.clear();
        self.pins.clear();
        self.reads.clear();
        self.tasks.clear();
        self.received.clear();
    }

    pub(super) fn queue(&mut self, write: DatabaseWrite) {
        let last = self.queued.back().map(|last| last.number.0 + 1);
        assert_eq!(last.unwrap_or(write.number.0), write.number.0, "no write is left out");
        self.queued.push_back(write);
    }

    /// Another database will take its place: what was queued for this one is void.
    pub(super) fn replace(&mut self) {
        self.queued.clear();
    }

    pub(super) fn install(&mut self, mark: &SnapshotMark) {
        self.image = self.received.remove(&mark.index).expect("it was received");
        self.marks.push(mark.clone());
    }

    pub(super) fn mark(&self) -> SnapshotMark {
        self.image.mark().expect("rows of our own")
    }

    fn size(&mut self) -> DatabaseSize {
        let rows = self.image.buckets().flat_map(|(_, rows)| rows.iter());
        let in_use_bytes = rows.map(|(key, value)| (key.len() + value.len()) as u64).sum();
        self.total_bytes = self.total_bytes.max(in_use_bytes);
        DatabaseSize { total_bytes: self.total_bytes, in_use_bytes }
    }
}

/// What a member is given at its start: the newest snapshot that the log's commit index covers,
/// what follows it, and the database.
pub(super) fn disk_image(log: Option<&LogImage>, database: Option<&Database>) -> DiskImage {
    let Some(database) = database else {
        return DiskImage { log: log.cloned(), ..DiskImage::default() };
    };
    let log = log.cloned().map(|mut log| {
        let usable = |mark: &&SnapshotMark| mark.index <= log.hard_state.commit;
        let newest = database.marks.iter().filter(usable).max_by_key(|mark| mark.index);
        log.snapshot = newest.cloned().unwrap_or_default();
        let above = log.entries.iter().filter(|entry| entry.index > log.snapshot.index);
        log.entries = above.cloned().collect();
        log
    });
    DiskImage {
        log,
        database: (database.mark().index > 0).then(|| database.image.clone()),
        database_size: DatabaseSize::default(),
        keeps_database: true,
    }
}

impl Cluster {
    pub(super) fn database_mut(&mut self, place: usize) -> &mut Database {
        self.host_mut(place).database.as_mut().expect("nobody asked for a database")
    }

    /// Commits what is queued, unless the database hangs or is about to be replaced.
    pub(super) fn commit(&mut self, place: usize) {
        let host = self.host_mut(place);
        let is_replaced =
            host.staged.iter().any(|staged| matches!(staged.write(), LogWrite::Snapshot(_)));
        let Some(database) = &mut host.database else { return };
        if database.is_hung || is_replaced {
            return;
        }
        let mut receipt = None;
        while let Some(write) = database.queued.pop_front() {
            database.image.apply(&write.changes);
            assert_eq!(database.mark().index, write.consistent.0);
            let size = database.size();
            receipt = Some(write.committed(size));
        }
        self.inputs.extend(receipt.map(|receipt| (place, Input::DatabaseDurable(receipt))));
    }

    pub(super) fn database_task(&mut self, place: usize, id: DatabaseTaskId, task: DatabaseTask) {
        self.commit(place);
        self.database_mut(place).tasks.push_back((id, task));
        self.finish_tasks(place);
    }

    /// Finishes what was begun, unless it takes longer.
    pub(super) fn finish_tasks(&mut self, place: usize) {
        let compat = self.configs[place].compat;
        while !self.database_mut(place).holds_tasks {
            let database = self.database_mut(place);
            let Some((id, task)) = database.tasks.pop_front() else { return };
            let answer = match task {
                DatabaseTask::Hash => {
                    DatabaseAnswer::Hash(database.image.hash(HashScope::Replicated(compat)))
                }
                DatabaseTask::Defragment => {
                    database.total_bytes = 0;
                    DatabaseAnswer::Defragmented(database.size())
                }
            };
            self.inputs.push_back((place, Input::DatabaseTaskDone { id, answer }));
        }
    }

    pub(super) fn snapshot_task(&mut self, place: usize, task: SnapshotTask) {
        if task == SnapshotTask::Purge {
            self.database_mut(place).purges += 1;
            return;
        }
        self.commit(place);
        let database = self.database_mut(place);
        match task {
            SnapshotTask::Save(mark) => {
                assert!(database.mark().index >= mark.index, "the database covers a snapshot");
                if !database.holds_saves {
                    database.marks.push(mark.clone());
                    self.inputs.push_back((place, Input::SnapshotDone(mark)));
                }
            }
            SnapshotTask::Pin(pin) => {
                database.pins.insert(pin, database.image.clone());
                let mark = database.mark();
                self.inputs.push_back((place, Input::SnapshotPinned { pin, mark }));
            }
            SnapshotTask::Send { to, message, pin } => {
                let image = database.pins[&pin].clone();
                self.deliver(place, to, message, image);
            }
            SnapshotTask::Read(pin) => {
                let sent = database.reads.entry(pin).or_insert(0);
                *sent += 1;
                // Three pieces, and the hash.
                let blob = vec![*sent as u8; if *sent > 3 { 32 } else { 32_768 }].into();
                let remaining_bytes = 32_768 * 3_u64.saturating_sub(*sent);
                let piece = SnapshotResponse { blob, remaining_bytes, ..Default::default() };
                self.inputs
                    .push_back((place, Input::SnapshotRead { pin, piece: Box::new(Ok(piece)) }));
            }
            SnapshotTask::Unpin(pin) => {
                assert!(database.pins.remove(&pin).is_some(), "it was held");
            }
            SnapshotTask::Purge => unreachable!("it was done above"),
        }
    }

    fn deliver(&mut self, from: usize, peer: MemberId, message: RaftMessage, image: DatabaseImage) {
        let target = self.place_of(peer).filter(|target| {
            self.is_up(*target)
                && !self.is_cut(from, *target)
                && self.lost != Some(MessageType::MsgSnapshot)
        });
        if let Some(target) = target {
            let sender = self.host(from).member.id().expect("running");
            self.arrived.push((target, sender, message.clone(), image.clone()));
            self.arrive(target, sender, message, image);
        }
        let status = Input::SnapshotStatus { peer, delivered: target.is_some() };
        self.inputs.push_back((from, status));
    }

    /// A snapshot arrives, perhaps once more.
    pub(super) fn arrive(
        &mut self,
        place: usize,
        from: MemberId,
        message: RaftMessage,
        image: DatabaseImage,
    ) {
        let index = message.snapshot().expect("a snapshot").index;
        self.database_mut(place).received.insert(index, image.clone());
        let arrived = Input::SnapshotArrived { from, message, image: Box::new(image) };
        self.inputs.push_back((place, arrived));
    }
}
