//! What a driver does with a member's database and snapshots: the `snap` directory of one process.
//! Source: contract-cluster.md, sections 6.1, 6.4, 6.5 and 7; 8.1 and 8.4 for commits and
//! defragmentation.
//!
//! Invariants: a snapshot's file is durable before its record in the log, the database covers what
//! the record says before it is written, and a database that arrived replaces the member's own only
//! once the record of its snapshot is durable. So wherever a crash falls, the log's newest snapshot
//! with a file has a database, `db` or `.snap.db`, that covers it. Everything here blocks; when it
//! runs, and beside what, is the driver's business.

mod engine;
mod error;
mod files;
mod pages;
mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use engine::{Body, Database, DatabaseError, Engine, Pinned};
pub use error::{Cause, Failure, Place};
pub use pages::BoltEngine;
pub use start::{Opened, open};

use super::bolt::ReadTx;
use super::database::{
    DatabaseAnswer, DatabaseReceipt, DatabaseSize, DatabaseTask, DatabaseWrite, PinId,
};
use super::disk::{Disk, Path, join};
use super::log::{LogReceipt, LogWrite, SnapshotMark, Staged};
use super::schema::{DatabaseImage, HashScope};
use super::snap::MembersImage;
use super::wal::{LogWriter, WalError};
use crate::config::CompatVersion;
use crate::member::io::{Level, LogLine};
use crate::member::membership::Membership;
use crate::planted::{Defect, Planted};
use files::DATABASE;

/// Where a member's files are, on its disk and by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The log's directory.
    pub wal_dir: String,
    /// The directory of database and snapshots.
    pub snap_dir: String,
    /// The same as it was configured, for log lines.
    pub snap_dir_named: String,
    /// Segments of the log to keep at least; zero for all.
    pub max_wals: usize,
    /// Snapshots to keep; zero for all.
    pub max_snapshots: usize,
    /// Whose words and rules.
    pub compat: CompatVersion,
}

/// The database and the snapshots of a process that runs.
#[derive(Debug)]
pub struct Backend {
    disk: Rc<dyn Disk>,
    engine: Rc<dyn Engine>,
    layout: Layout,
    database: Box<dyn Database>,
    pins: BTreeMap<PinId, Box<dyn Pinned>>,
    /// The members in databases that arrived with snapshots, by the snapshots' indexes.
    arrived: BTreeMap<u64, Membership>,
    /// Temporary files made so far.
    building: u64,
    defect: Planted,
    /// What a planted defect has copied and not yet put in place.
    copied: Option<String>,
    lines: Vec<LogLine>,
}

impl Backend {
    /// Makes writes durable in one transaction. They come in the member's order.
    pub fn commit(&mut self, mut writes: Vec<DatabaseWrite>) -> Result<DatabaseReceipt, Failure> {
        self.settle_copy()?;
        let mut last = writes.pop().expect("there is something to commit");
        let mut changes = std::mem::take(&mut last.changes);
        if !writes.is_empty() {
            changes = writes.into_iter().flat_map(|write| write.changes).chain(changes).collect();
            if self.defect.is(Defect::BackendBufferDup) {
                changes.reverse();
            }
        }
        let size = self.database.commit(changes);
        Ok(last.committed(size.map_err(Failure::fatal("failed to commit tx"))?))
    }

    /// How large the database is.
    pub fn size(&self) -> DatabaseSize {
        self.database.size()
    }

    /// Holds the state that the database is in; says where that is.
    pub fn pin(&mut self, pin: PinId) -> Result<SnapshotMark, Failure> {
        let pinned = self.database.pin().map_err(Failure::fatal("failed to begin tx"))?;
        let meta = pinned.meta().map_err(Failure::fatal("failed to begin tx"))?;
        let mark = meta.mark().map_err(Failure::fatal("failed to begin tx"))?;
        self.pins.insert(pin, pinned);
        Ok(mark)
    }

    /// The body of a pinned state, if it is still held.
    pub fn body(&self, pin: PinId) -> Result<Option<Body>, Failure> {
        let body = self.pins.get(&pin).map(|pinned| pinned.body()).transpose();
        body.map_err(Failure::fatal("failed to read a snapshot's database"))
    }

    /// A pinned state, if it is still held and lies in a file of etcd's format.
    pub fn pages(&self, pin: PinId) -> Option<ReadTx> {
        self.pins.get(&pin).and_then(|pinned| pinned.pages())
    }

    /// Lets a pinned state go.
    pub fn unpin(&mut self, pin: PinId) {
        self.pins.remove(&pin);
    }

    /// Appends to the log and makes it durable with one sync, if any of it is worth one. Where a
    /// snapshot is among it, its file is there before its record, and its database takes the place
    /// of the member's own behind it.
    pub fn write_log(
        &mut self,
        log: &mut LogWriter,
        staged: &[Staged],
    ) -> Result<LogReceipt, Failure> {
        let mut installed = None;
        for staged in staged {
            if let LogWrite::Snapshot(mark) = staged.write() {
                self.write_snapshot(mark)?;
                installed = Some(mark.index);
            }
            log.append(staged.number(), staged.write())?;
        }
        if let Some(index) = installed
            && self.defect.is(Defect::WalReleaseBeforeSync)
        {
            self.release(log, index)?;
            self.purge(log)?;
        }
        let receipt = log.commit()?;
        if let Some(index) = installed {
            self.install(log, index)?;
        }
        Ok(receipt)
    }

    /// Saves a snapshot of the log at a mark that the database covers: its file, its record, and
    /// then what is older than others need goes. Every log write staged before it is durable.
    pub fn save(&mut self, log: &mut LogWriter, mark: &SnapshotMark) -> Result<(), Failure> {
        let is_late = self.defect.is(Defect::SnapOrder);
        if !is_late {
            self.write_snapshot(mark)?;
        }
        log.record(mark).map_err(Failure::panic("failed to save snapshot"))?;
        if is_late {
            self.write_snapshot(mark)?;
        }
        self.release(log, mark.index)
    }

    /// Writes the `.snap` file of a snapshot, whose record may be written then.
    pub fn write_snapshot(&mut self, mark: &SnapshotMark) -> Result<(), Failure> {
        let failed = "failed to save Raft snapshot";
        let own;
        let membership = match self.arrived.get(&mark.index) {
            Some(arrived) => arrived,
            None => {
                let pinned = self.database.pin().map_err(Failure::fatal(failed))?;
                let meta = pinned.meta().map_err(Failure::fatal(failed))?;
                own = Membership::restore(&meta).map_err(Failure::fatal(failed))?;
                &own
            }
        };
        let members = MembersImage::at(mark, membership);
        let written = files::write_snapshot(&*self.disk, &self.layout.snap_dir, mark, &members);
        written.map_err(Failure::fatal(failed))
    }

    /// Lets go of what is older than a snapshot whose record is durable.
    fn release(&mut self, log: &mut LogWriter, index: u64) -> Result<(), Failure> {
        let released = |error: WalError| Failure::panic("failed to release WAL")(error);
        let Some(wal) = log.wal() else { return Ok(()) };
        wal.release_to(index).map_err(released)?;
        files::remove_orphans(&*self.disk, &self.layout.snap_dir, index, &mut self.lines)
            .map_err(Failure::fatal("failed to release Raft snapshots"))
    }

    /// Removes snapshots and segments that nobody starts from, beyond those that are to be kept. A
    /// database that has arrived and may still be installed stays.
    pub fn purge(&mut self, log: &mut LogWriter) -> Result<(), Failure> {
        let Layout { snap_dir, max_wals, max_snapshots, .. } = &self.layout;
        let (disk, lines) = (&*self.disk, &mut self.lines);
        let is_awaited = |index: u64| self.arrived.contains_key(&index);
        files::purge_received(disk, snap_dir, *max_snapshots, is_awaited, lines)
            .map_err(Failure::fatal("failed to purge snap db file"))?;
        files::purge_snapshots(disk, snap_dir, *max_snapshots, lines)
            .map_err(Failure::fatal("failed to purge snap file"))?;
        let Some(wal) = log.wal().filter(|_| *max_wals > 0) else { return Ok(()) };
        let purged = wal.purge(*max_wals);
        for path in purged.map_err(Failure::fatal::<WalError>("failed to purge wal file"))? {
            lines.push(LogLine::new(Level::Info, "purged").with("path", path));
        }
        Ok(())
    }

    /// Writes the database that came with a peer's snapshot to the disk, durable with its name, and
    /// reads it. One that is there already is kept.
    pub fn receive(&mut self, index: u64, body: &[u8]) -> Result<DatabaseImage, Cause> {
        let dir = &*self.layout.snap_dir;
        let path = join(dir, &files::received(index));
        if !self.disk.exists(&path).map_err(Cause::io("stat", &*path))? {
            self.building += 1;
            let building = join(dir, &format!("{}{}", files::BUILDING, self.building));
            files::write_new(&*self.disk, &building, body)?;
            replace(&*self.disk, dir, &building, &path)?;
            if self.defect.is(Defect::SnapGcPending) {
                files::remove_orphans(&*self.disk, dir, index, &mut self.lines)?;
            }
        }
        let image = self.engine.open(&self.disk, &path)?.image()?;
        self.arrived.insert(index, Membership::restore(&image)?);
        Ok(image)
    }

    /// Puts the database that came with a snapshot in place of the member's own, whose states are
    /// no longer held. The record of the snapshot is durable.
    pub fn install(&mut self, log: &mut LogWriter, index: u64) -> Result<(), Failure> {
        self.pins.clear();
        self.arrived.clear();
        let taken = take_received(&self.disk, &self.engine, &self.layout.snap_dir, index);
        self.database = taken.map_err(Failure::panic("failed to open snapshot backend"))?;
        self.settle_copy()?;
        self.release(log, index)
    }

    /// Works on the whole database.
    pub fn perform(&mut self, task: DatabaseTask) -> Result<DatabaseAnswer, Failure> {
        match task {
            DatabaseTask::Defragment => self.defragment(),
            DatabaseTask::Hash => {
                let image = self.database.image().map_err(Failure::fatal("failed to begin tx"))?;
                Ok(DatabaseAnswer::Hash(image.hash(HashScope::Replicated(self.layout.compat))))
            }
        }
    }

    /// Copies the database densely and goes on with the copy. What fails before the database is
    /// closed leaves it as it was.
    fn defragment(&mut self) -> Result<DatabaseAnswer, Failure> {
        self.building += 1;
        let copy = self.at(&format!("{}{}", files::DEFRAGMENTING, self.building));
        let copied =
            files::remove(&*self.disk, &copy).and_then(|()| Ok(self.database.copy_into(&copy)?));
        if let Err(error) = copied {
            let text = error.to_string();
            if let Err(error) = files::remove(&*self.disk, &copy) {
                let line = LogLine::new(
                    Level::Error,
                    "failed to remove db.tmp after defragmentation completed",
                );
                self.lines.push(line.with("error", error.to_string()));
            }
            return Ok(DatabaseAnswer::Failed(text));
        }
        if self.defect.is(Defect::SnapDefragRace) {
            self.copied = Some(copy);
        } else {
            self.take_copy(&copy)?;
        }
        Ok(DatabaseAnswer::Defragmented(self.size()))
    }

    /// Goes on with a copy of the database.
    fn take_copy(&mut self, copy: &Path) -> Result<(), Failure> {
        let path = self.at(DATABASE);
        replace(&*self.disk, &self.layout.snap_dir, copy, &path)
            .map_err(Failure::fatal("failed to rename tmp database"))?;
        let opened = self.engine.open(&self.disk, &path);
        self.database = opened.map_err(Failure::fatal("failed to open database"))?;
        Ok(())
    }

    /// What a planted defect has put off until the database changes, however it changes.
    fn settle_copy(&mut self) -> Result<(), Failure> {
        self.copied.take().map_or(Ok(()), |copy| self.take_copy(&copy))
    }

    /// Takes the lines that were written since this was last asked.
    pub fn take_lines(&mut self) -> Vec<LogLine> {
        std::mem::take(&mut self.lines)
    }

    fn at(&self, name: &str) -> String {
        join(&self.layout.snap_dir, name)
    }
}

/// Puts the database that came with the snapshot at an index in place of the member's own, and
/// opens it.
fn take_received(
    disk: &Rc<dyn Disk>,
    engine: &Rc<dyn Engine>,
    dir: &Path,
    index: u64,
) -> Result<Box<dyn Database>, Cause> {
    let (from, to) = (join(dir, &files::received(index)), join(dir, DATABASE));
    if !disk.exists(&from).map_err(Cause::io("stat", &*from))? {
        return Err(Cause::NoSnapshotDatabase { index });
    }
    replace(&**disk, dir, &from, &to)?;
    Ok(engine.open(disk, &to)?)
}

/// Puts a file in the place of another, durably.
fn replace(disk: &dyn Disk, dir: &Path, from: &Path, to: &Path) -> Result<(), Cause> {
    disk.rename(from, to).map_err(Cause::io("rename", from))?;
    disk.sync_dir(dir).map_err(Cause::io("fsync", dir))
}
