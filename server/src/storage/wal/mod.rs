//! etcd's write-ahead log (contract-cluster.md, sections 6.1 to 6.3).
//!
//! A directory of segments holding one chain of checksummed records. Invariants: a segment gets
//! its name only when its head is durable, and the name is durable before anything is confirmed
//! that lies in it; after a failed operation nothing more is written or confirmed; a power loss
//! costs unconfirmed writes only, and never keeps a member from starting.
//!
//! Not here: `.snap` files and the database, whose order with the log's snapshot records is their
//! writer's duty.

mod error;
mod open;
mod read;
mod record;
mod replay;
mod segment;
mod writer;

use std::rc::Rc;

use bytes::Bytes;

pub use error::WalError;
pub use open::{exists, records, snapshots};
pub use replay::LogRecord;
pub use writer::LogWriter;

use super::disk::{Disk, File, Path, above, join};
use super::log::{HardState, LogEntry, LogNumber, LogReceipt, LogWrite, SnapshotMark};
use crate::member::io::{Level, LogLine};
use crate::planted::{Defect, Planted};
use segment::{SegmentName, Tail};

/// How a log is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalSettings {
    /// Segments are preallocated to this size, and a new one is begun when a write passes it.
    pub segment_bytes: u64,
    /// A planted defect.
    pub planted: Planted,
}

impl WalSettings {
    /// As etcd: 64 times 1000 times 1000 bytes.
    pub const ETCD: WalSettings = WalSettings { segment_bytes: 64_000_000, planted: Planted::NONE };
}

/// A log open for appending; it holds the locks of its segments.
#[derive(Debug)]
pub struct Wal {
    disk: Rc<dyn Disk>,
    dir: String,
    settings: WalSettings,
    metadata: Bytes,
    state: HardState,
    /// Of the last entry written, or the last snapshot if that is higher.
    last_index: u64,
    /// Of the last snapshot written.
    snapshot_index: u64,
    /// Segments before the tail, with their locks.
    held: Vec<(SegmentName, Box<dyn File>)>,
    tail_name: SegmentName,
    tail: Tail,
    appended: LogNumber,
    needs_sync: bool,
    has_failed: bool,
    /// What there is to say and nobody has taken.
    lines: Vec<LogLine>,
}

impl Wal {
    /// Creates a log without entries.
    pub fn create(
        disk: Rc<dyn Disk>,
        dir: &Path,
        settings: WalSettings,
        metadata: Bytes,
    ) -> Result<Wal, WalError> {
        Wal::create_with(disk, dir, settings, metadata, &[], HardState::default())
    }

    /// Creates a log in `dir`, which must hold none: it appears there whole or not at all. `dir` is
    /// renamed into place, so it is not the disk's root.
    pub fn create_with(
        disk: Rc<dyn Disk>,
        dir: &Path,
        settings: WalSettings,
        metadata: Bytes,
        entries: &[LogEntry],
        state: HardState,
    ) -> Result<Wal, WalError> {
        assert!(!dir.is_empty(), "a log is not the root of its disk");
        if exists(&*disk, dir)? {
            return Err(WalError::AlreadyExists { dir: dir.to_owned() });
        }
        let building = format!("{dir}.tmp");
        disk.remove_dir_all(&building).map_err(WalError::io("remove", &building))?;
        disk.create_dir_all(&building).map_err(WalError::io("mkdir", &building))?;
        let tail_name = SegmentName { sequence: 0, first_index: 0 };
        let path = join(&building, &tail_name.to_string());
        let mut tail = Tail::create(&*disk, path, settings.segment_bytes, 0)?;
        tail.put(|encoder, buffer| {
            encoder.crc(buffer);
            encoder.metadata(buffer, &metadata);
            encoder.snapshot(buffer, &SnapshotMark::default());
            for entry in entries {
                encoder.entry(buffer, entry);
            }
            if state != HardState::default() {
                encoder.state(buffer, state);
            }
        })?;
        tail.sync()?;
        disk.sync_dir(&building).map_err(WalError::io("fsync", &building))?;
        disk.remove_dir_all(dir).map_err(WalError::io("remove", dir))?;
        disk.rename(&building, dir).map_err(WalError::io("rename", &building))?;
        for dir in above(dir) {
            disk.sync_dir(dir).map_err(WalError::io("fsync", dir))?;
        }
        tail.renamed(join(dir, &tail_name.to_string()));
        Ok(Wal {
            disk,
            dir: dir.to_owned(),
            settings,
            metadata,
            state,
            last_index: entries.last().map_or(0, |entry| entry.index),
            snapshot_index: 0,
            held: Vec::new(),
            tail_name,
            tail,
            appended: LogNumber(0),
            needs_sync: false,
            has_failed: false,
            lines: Vec::new(),
        })
    }

    /// Appends a write, volatile until `commit`. Numbers ascend.
    pub fn append(&mut self, number: LogNumber, write: &LogWrite) -> Result<(), WalError> {
        assert!(number > self.appended, "log writes come in order");
        self.guarded(|wal| match write {
            LogWrite::Create { .. } => Err(WalError::AlreadyExists { dir: wal.dir.clone() }),
            LogWrite::Save { .. } => wal.save(write),
            LogWrite::Snapshot(mark) => wal.save_snapshot(mark),
        })?;
        self.appended = number;
        Ok(())
    }

    /// Makes everything appended durable with one sync, if any of it is worth one.
    pub fn commit(&mut self) -> Result<LogReceipt, WalError> {
        self.guarded(Wal::sync)?;
        Ok(LogReceipt::new(self.appended))
    }

    /// Records a snapshot that the member took itself, at an index that it has applied. It is
    /// durable when this returns, with everything appended before, and usable: nothing older is
    /// needed any more.
    pub fn record(&mut self, mark: &SnapshotMark) -> Result<(), WalError> {
        self.guarded(|wal| {
            if mark.index > wal.state.commit {
                wal.save_state(HardState { commit: mark.index, ..wal.state })?;
            }
            wal.save_snapshot(mark)?;
            wal.sync()
        })
    }

    /// Makes everything appended durable, commit indexes included, and lets go of the log.
    pub fn close(mut self) -> Result<LogReceipt, WalError> {
        self.needs_sync = true;
        self.commit()
    }

    /// Unlocks segments that lie wholly below a snapshot's index, so that `purge` may take them.
    /// What was appended is made durable first: segments must not go before it.
    pub fn release_to(&mut self, index: u64) -> Result<(), WalError> {
        if !self.settings.planted.is(Defect::WalReleaseBeforeSync) {
            self.guarded(|wal| {
                wal.needs_sync = true;
                wal.sync()
            })?;
        }
        let later = self.held.iter().skip(1).map(|(name, _)| name).chain([&self.tail_name]);
        let below = later.take_while(|name| name.first_index <= index).count();
        self.held.drain(..below.min(self.held.len()));
        Ok(())
    }

    /// Removes unlocked segments, oldest first, while there are more than `keep`. Returns their
    /// names. Each removal is durable before the next, so that no segment goes from between others.
    pub fn purge(&mut self, keep: usize) -> Result<Vec<String>, WalError> {
        self.guarded(|wal| {
            let (mut segments, _) = segment::list(&*wal.disk, &wal.dir)?;
            let first_held = wal.held.first().map_or(wal.tail_name, |(name, _)| *name);
            let excess = segments.len().saturating_sub(keep);
            segments.truncate(excess);
            let mut removed = Vec::new();
            for name in segments.iter().take_while(|name| **name < first_held) {
                let path = join(&wal.dir, &name.to_string());
                wal.disk.remove(&path).map_err(WalError::io("remove", &path))?;
                wal.disk.sync_dir(&wal.dir).map_err(WalError::io("fsync", &wal.dir))?;
                removed.push(path);
            }
            Ok(removed)
        })
    }

    /// Takes the lines that were written since this was last asked.
    pub fn take_lines(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines)
    }

    /// Runs an operation unless an earlier one failed.
    fn guarded<T>(
        &mut self,
        operation: impl FnOnce(&mut Wal) -> Result<T, WalError>,
    ) -> Result<T, WalError> {
        if self.has_failed {
            return Err(WalError::Failed);
        }
        let result = operation(self);
        self.has_failed = result.is_err();
        result
    }

    fn sync(&mut self) -> Result<(), WalError> {
        if self.needs_sync {
            self.tail.sync()?;
            self.needs_sync = false;
        }
        Ok(())
    }

    fn save(&mut self, write: &LogWrite) -> Result<(), WalError> {
        let LogWrite::Save { entries, hard_state, sync } = write else {
            unreachable!("only saves come here")
        };
        if !entries.is_empty() && self.snapshot_index > self.state.commit {
            self.save_commit_of_snapshot(hard_state.unwrap_or(self.state))?;
        }
        for entry in entries {
            self.tail.put(|encoder, buffer| encoder.entry(buffer, entry))?;
            self.last_index = entry.index;
        }
        if let Some(state) = hard_state {
            self.save_state(*state)?;
        }
        self.needs_sync |= sync;
        if self.tail.offset() >= self.settings.segment_bytes { self.cut() } else { Ok(()) }
    }

    /// After a snapshot from the leader, entries that follow it must not be durable before a hard
    /// state that makes the snapshot usable: else a torn tail leaves entries that follow nothing.
    fn save_commit_of_snapshot(&mut self, coming: HardState) -> Result<(), WalError> {
        let state = HardState { commit: self.snapshot_index, ..coming };
        if state.term == 0 { Ok(()) } else { self.save_state(state) }
    }

    fn save_state(&mut self, state: HardState) -> Result<(), WalError> {
        if state == HardState::default() {
            return Ok(());
        }
        self.state = state;
        self.tail.put(|encoder, buffer| encoder.state(buffer, state))
    }

    fn save_snapshot(&mut self, mark: &SnapshotMark) -> Result<(), WalError> {
        if mark.index > 0 && mark.conf_state.is_none() {
            return Err(WalError::MissingConfState { index: mark.index, term: mark.term });
        }
        self.tail.put(|encoder, buffer| encoder.snapshot(buffer, mark))?;
        self.last_index = self.last_index.max(mark.index);
        self.snapshot_index = mark.index;
        self.needs_sync = true;
        Ok(())
    }

    /// Ends the tail and begins a segment, durable with all before it when this returns.
    fn cut(&mut self) -> Result<(), WalError> {
        self.tail.finish()?;
        let name = SegmentName {
            sequence: self.tail_name.sequence + 1,
            first_index: self.last_index.saturating_add(1),
        };
        let building = join(&self.dir, &format!("{}.tmp", name.sequence % 2));
        self.disk.remove_if_there(&building).map_err(WalError::io("remove", &building))?;
        let (bytes, chain) = (self.settings.segment_bytes, self.tail.chain());
        let mut tail = Tail::create(&*self.disk, building.clone(), bytes, chain)?;
        tail.put(|encoder, buffer| {
            encoder.crc(buffer);
            encoder.metadata(buffer, &self.metadata);
            if self.state != HardState::default() {
                encoder.state(buffer, self.state);
            }
        })?;
        tail.sync()?;
        let path = join(&self.dir, &name.to_string());
        self.disk.rename(&building, &path).map_err(WalError::io("rename", &building))?;
        if !self.settings.planted.is(Defect::WalNoDirsync) {
            self.disk.sync_dir(&self.dir).map_err(WalError::io("fsync", &self.dir))?;
        }
        let line = LogLine::new(Level::Info, "created a new WAL segment");
        self.lines.push(line.with("path", &*path));
        tail.renamed(path);
        let ended = std::mem::replace(&mut self.tail, tail).into_file();
        self.held.push((std::mem::replace(&mut self.tail_name, name), ended));
        self.needs_sync = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
