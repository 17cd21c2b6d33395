//! The disk of a host with the writers of its log and of its database: what they are asked for
//! waits while the device is busy or hangs. Log writes then go together, and so do the writes of
//! the database.
//!
//! A job runs on the disk at once, in code, and takes its own virtual time: its receipt exists
//! from then on, and the member is told when the disk says that it is done. A kill or power loss in
//! between undoes what ends after it. Between two jobs for the database a log write may fall.
//! Long because one disk carries what a member, its clients and its operators ask of it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use detcd::backup::{self, BackupError, Place, RestoreSettings, SnapshotStream};
use detcd::config::{CompatVersion, Config};
use detcd::member::DiskImage;
use detcd::member::id::MemberId;
use detcd::member::io::{Level, LogLine, RaftMessage, Stop};
use detcd::proto::etcdserverpb::SnapshotResponse;
use detcd::storage::backend::{self, Backend, Body, Engine, Failure, Layout};
use detcd::storage::database::{
    DatabaseAnswer, DatabaseReceipt, DatabaseTask, DatabaseTaskId, DatabaseWrite, PinId,
    SnapshotTask,
};
use detcd::storage::directory;
use detcd::storage::log::{LogDurable, LogNumber, LogWrite, SnapshotMark, Staged};
use detcd::storage::schema::DatabaseImage;
use detcd::storage::wal::{LogWriter, WalSettings};
use detsim_reports::record::MemberName;
use rand_chacha::rand_core::RngCore;

use super::packet::Reception;
use crate::disk::{DiskTimes, Fault, Lines, OperationKind, OperationTime, VirtualDisk};
use crate::seed::Streams;
use crate::world::tally::{Deed, Tally};
use crate::world::{DiskFault, Occasion, Side, Trap};

/// Writes of the database wait this long for others, as etcd's do.
const COMMIT_INTERVAL_NS: u64 = 100_000_000;

/// So many changes do not wait.
const COMMIT_CHANGES: usize = 10_000;

/// A data directory that was read.
#[derive(Debug)]
pub struct Opened {
    /// What it holds.
    pub image: DiskImage,
    /// Why no member starts on it.
    pub refusal: Option<Stop>,
    /// What is wrong with its database, which nobody who opens it need notice.
    pub damage: Vec<String>,
}

/// Something for the database or its snapshots.
#[derive(Debug)]
enum Task {
    Write(DatabaseWrite),
    Save(SnapshotMark),
    Pin(PinId),
    Read(PinId),
    Purge,
    Send { to: MemberId, message: RaftMessage, pin: PinId },
    Whole(DatabaseTaskId, DatabaseTask),
    Receive(Box<Reception>),
}

/// Something that the device has done.
#[derive(Debug)]
pub enum Done {
    /// A log write.
    Log(LogDurable),
    /// Database writes.
    Database(DatabaseReceipt),
    /// A snapshot of the log is saved.
    Saved(SnapshotMark),
    /// A state of the database is held.
    Pinned(PinId, SnapshotMark),
    /// The next piece of a state that is held is read for a client, or cannot be.
    Piece(PinId, Result<SnapshotResponse, String>),
    /// A state that was held is read, unless it is no longer held.
    Read {
        /// For whom.
        to: MemberId,
        /// With what.
        message: RaftMessage,
        /// Which.
        pin: PinId,
        /// What it holds.
        body: Option<Body>,
    },
    /// Work on the whole database.
    Answered(DatabaseTaskId, DatabaseAnswer),
    /// The database of a peer's snapshot is on the disk, or could not be put there.
    Received(Box<Reception>, Result<Box<DatabaseImage>, String>),
}

/// What the device begins to do, for the trace, and what there is to say about it.
#[derive(Debug)]
pub struct Begun {
    /// What.
    pub what: &'static str,
    /// Log lines.
    pub lines: Vec<LogLine>,
}

/// A disk with its writers.
#[derive(Debug)]
pub struct Device {
    disk: VirtualDisk,
    settings: WalSettings,
    times: DiskTimes,
    /// How the database lies on the disk, if there is one.
    engine: Option<Rc<dyn Engine>>,
    /// Where the log is, or was when it was last opened.
    dir: String,
    /// Where the database and the snapshots are.
    snap_dir: String,
    writer: Option<LogWriter>,
    backend: Option<Backend>,
    /// Snapshots that are read for clients, as the version of the process has them.
    exports: BTreeMap<PinId, SnapshotStream>,
    compat: CompatVersion,
    /// Log writes that wait for the device.
    staged: Vec<Staged>,
    /// The last log write, and the last one that puts another database in place.
    last_staged: LogNumber,
    last_install: LogNumber,
    last_written: LogNumber,
    /// What else waits, each with the log write that must be on the disk before.
    tasks: VecDeque<(LogNumber, Task)>,
    /// When database writes that wait are due.
    commit_at: u64,
    /// The last job was one for the log.
    was_log: bool,
    /// What the device does now.
    running: Vec<Done>,
    /// When that is done; `None` when it does nothing.
    done_at: Option<u64>,
    /// Before or after the operation that the disk watches for.
    side: Option<Side>,
    /// The content as it was when it was kept aside.
    remembered: Option<VirtualDisk>,
    /// Where disk operations are written down, and as whose.
    told: Option<(usize, Lines)>,
    /// What faults have done, other than to the disk that is there now.
    tally: Tally,
    /// The hash of what was on disks that were wiped.
    past: u64,
    stream: rand_chacha::ChaCha8Rng,
}

impl Device {
    /// An empty disk.
    pub fn new(
        streams: &Streams,
        name: &MemberName,
        times: DiskTimes,
        settings: WalSettings,
        engine: Option<Rc<dyn Engine>>,
    ) -> Device {
        let mut stream = streams.stream(&format!("disk/{}", name.0));
        Device {
            disk: VirtualDisk::new(times, next_stream(&mut stream)),
            settings,
            times,
            engine,
            dir: String::new(),
            snap_dir: String::new(),
            writer: None,
            backend: None,
            exports: BTreeMap::new(),
            compat: CompatVersion::default(),
            staged: Vec::new(),
            last_staged: LogNumber(0),
            last_install: LogNumber(0),
            last_written: LogNumber(0),
            tasks: VecDeque::new(),
            commit_at: 0,
            was_log: false,
            running: Vec::new(),
            done_at: None,
            side: None,
            remembered: None,
            told: None,
            tally: Tally::default(),
            past: 0,
            stream,
        }
    }

    /// Replaces the disk by an empty one.
    pub fn wipe(&mut self) {
        self.past = self.past.rotate_left(1) ^ self.disk.trace_hash();
        self.tally = self.tally();
        self.disk = VirtualDisk::new(self.times, next_stream(&mut self.stream));
        if let Some((place, lines)) = &self.told {
            self.disk.tell(*place, lines.clone());
        }
    }

    /// Writes down every disk operation from here on, as a line of the disk at this place.
    pub fn tell(&mut self, place: usize, lines: Lines) {
        self.disk.tell(place, lines.clone());
        self.told = Some((place, lines));
    }

    /// Whether nothing on it comes to an end.
    pub fn is_hung(&self) -> bool {
        self.disk.is_hung()
    }

    /// Hash of every operation with its content and time.
    pub fn trace_hash(&self) -> u64 {
        self.past ^ self.disk.trace_hash()
    }

    /// Reads the data directory of a member, with its log and its database if there are any. It is
    /// read at `done_at`. What there is to say is added to `lines`.
    pub fn open(
        &mut self,
        now: u64,
        config: &Config,
        lines: &mut Vec<LogLine>,
    ) -> Result<Opened, Failure> {
        self.begin_anew(now);
        self.dir = path(&config.wal_dir());
        self.snap_dir = layout(config, &self.dir).snap_dir;
        self.compat = config.compat;
        let disk: Rc<dyn detcd::storage::disk::Disk> = Rc::new(self.disk.mount());
        let data_dir = &config.data_dir;
        let found = directory::inspect(&*disk, &path(data_dir), data_dir, config.compat);
        lines.extend(found.lines);
        if found.refusal.is_some() {
            let image = DiskImage::default();
            return Ok(Opened { image, refusal: found.refusal, damage: Vec::new() });
        }
        let damage = self.damage();
        let settings = WalSettings { planted: config.defect(), ..self.settings };
        let image = match &self.engine {
            None => {
                let (writer, log, notes) = LogWriter::open(disk, &self.dir, settings)?;
                lines.extend(notes.into_iter().map(|note| LogLine::new(Level::Warn, note)));
                self.writer = Some(writer);
                DiskImage { log, ..DiskImage::default() }
            }
            Some(engine) => {
                let layout = layout(config, &self.dir);
                let opened = backend::open(&disk, engine, layout, settings, lines)?;
                let database_size = opened.backend.size();
                self.writer = Some(opened.writer);
                self.backend = Some(opened.backend);
                let database = Some(opened.database);
                DiskImage { log: opened.log, database, database_size, keeps_database: true }
            }
        };
        self.done_at = Some(self.disk.completion().max(now));
        Ok(Opened { image, refusal: None, damage })
    }

    /// Another process begins with the disk: not before what the last one, on a slow processor,
    /// would have asked for when it ended.
    fn begin_anew(&mut self, now: u64) {
        self.disk.begin(now.max(self.disk.completion()));
    }

    /// Looks for damage of the database, without an operation of the disk.
    fn damage(&self) -> Vec<String> {
        let Some(engine) = &self.engine else { return Vec::new() };
        let file = format!("{}/db", self.snap_dir);
        if self.disk.read_file(&file).is_err() {
            return Vec::new();
        }
        // What cannot be opened at all is refused when it is opened.
        engine.check(&self.disk.fork(0), &file).unwrap_or_default()
    }

    /// Takes a log write. One that puts another database in place ends what waits for the one
    /// before.
    pub fn stage(&mut self, staged: Staged) {
        self.last_staged = staged.number();
        if let LogWrite::Snapshot(_) = staged.write() {
            self.last_install = staged.number();
            self.tasks.retain(|(_, task)| !matches!(task, Task::Write(_)));
        }
        self.staged.push(staged);
    }

    /// Takes a database write. Returns when it is due, if no other is due before.
    pub fn write_database(&mut self, now: u64, write: DatabaseWrite) -> Option<u64> {
        let waits = self.tasks.iter().any(|(_, task)| matches!(task, Task::Write(_)));
        self.tasks.push_back((self.last_install, Task::Write(write)));
        if waits {
            return None;
        }
        self.commit_at = now + COMMIT_INTERVAL_NS;
        Some(self.commit_at)
    }

    /// Takes something to do with snapshots.
    pub fn snapshot(&mut self, task: SnapshotTask) {
        let (after, task) = match task {
            SnapshotTask::Save(mark) => (self.last_staged, Task::Save(mark)),
            SnapshotTask::Pin(pin) => (self.last_install, Task::Pin(pin)),
            SnapshotTask::Read(pin) => (self.last_install, Task::Read(pin)),
            SnapshotTask::Send { to, message, pin } => {
                (self.last_install, Task::Send { to, message, pin })
            }
            SnapshotTask::Unpin(pin) => return self.unpin(pin),
            SnapshotTask::Purge => (self.last_install, Task::Purge),
        };
        self.tasks.push_back((after, task));
    }

    fn unpin(&mut self, unpinned: PinId) {
        self.tasks.retain(|(_, task)| match task {
            Task::Pin(pin) | Task::Read(pin) | Task::Send { pin, .. } => *pin != unpinned,
            _ => true,
        });
        self.running.retain(|done| match done {
            Done::Pinned(pin, _) | Done::Piece(pin, _) | Done::Read { pin, .. } => *pin != unpinned,
            _ => true,
        });
        self.exports.remove(&unpinned);
        if let Some(backend) = &mut self.backend {
            backend.unpin(unpinned);
        }
    }

    /// Takes work on the whole database.
    pub fn work(&mut self, id: DatabaseTaskId, task: DatabaseTask) {
        self.tasks.push_back((self.last_install, Task::Whole(id, task)));
    }

    /// Takes the database that a peer sent with its snapshot.
    pub fn receive(&mut self, reception: Reception) {
        self.tasks.push_back((LogNumber(0), Task::Receive(Box::new(reception))));
    }

    /// When what the device does now is done.
    pub fn done_at(&self) -> Option<u64> {
        self.done_at
    }

    /// Whether there is something to do, and the device is idle and does not hang.
    pub fn can_begin(&self, now: u64) -> bool {
        let is_idle = self.done_at.is_none() && !self.is_hung();
        is_idle && (self.ready_staged() > 0 || self.is_task_due(now))
    }

    /// How many of the log writes may go now. One that puts another database in place lets go first
    /// what was asked for before it.
    fn ready_staged(&self) -> usize {
        match self.staged.iter().position(is_install) {
            Some(place) if self.waits_before(self.staged[place].number()) => place,
            _ => self.staged.len(),
        }
    }

    fn waits_before(&self, number: LogNumber) -> bool {
        self.tasks.iter().any(|(after, _)| *after < number)
    }

    /// Whether the first task can be done now.
    fn is_task_due(&self, now: u64) -> bool {
        match self.tasks.front() {
            Some((after, _)) if *after > self.last_written => false,
            Some((_, Task::Write(_))) => {
                let mut changes = 0;
                now >= self.commit_at
                    || self.tasks.iter().any(|(_, task)| match task {
                        // What follows waits for the writes before it.
                        Task::Write(write) => {
                            changes += write.changes.len();
                            changes >= COMMIT_CHANGES
                        }
                        _ => true,
                    })
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Begins with everything staged for the log, or with the next task: in turn, where both wait.
    pub fn begin(&mut self, now: u64) -> Result<Begun, Failure> {
        self.disk.begin(now);
        let is_task = self.is_task_due(now) && (self.was_log || self.ready_staged() == 0);
        self.was_log = !is_task;
        let what = if is_task { self.begin_task()? } else { self.begin_log()? };
        let ends = self.disk.completion();
        // What nobody waits for, and takes no time, is done.
        self.done_at = (ends > now || !self.running.is_empty()).then_some(ends.max(now));
        let lines = self.backend.as_mut().map(Backend::take_lines).unwrap_or_default();
        let written = self.writer.as_mut().map(LogWriter::take_lines).unwrap_or_default();
        Ok(Begun { what, lines: [written, lines].concat() })
    }

    fn begin_log(&mut self) -> Result<&'static str, Failure> {
        let ready = self.ready_staged();
        let writer = self.writer.as_mut().expect("a process opens its log before it writes");
        let staged = &self.staged[..ready];
        let installs = staged.iter().any(is_install);
        let receipt = match &mut self.backend {
            Some(backend) => backend.write_log(writer, staged)?,
            None => {
                for staged in staged {
                    writer.append(staged.number(), staged.write())?;
                }
                writer.commit()?
            }
        };
        self.last_written = self.staged[..ready].last().expect("there is something").number();
        let awaited = self.staged.drain(..ready).filter(Staged::is_awaited);
        self.running.extend(awaited.map(|staged| Done::Log(staged.release(receipt))));
        Ok(if installs { "install" } else { "log" })
    }

    fn begin_task(&mut self) -> Result<&'static str, Failure> {
        let (_, task) = self.tasks.pop_front().expect("one is due");
        if let Task::Read(pin) = task {
            let piece = self.read_piece(pin);
            self.running.push(Done::Piece(pin, piece));
            return Ok("read piece");
        }
        let (writer, backend) = (self.writer.as_mut(), self.backend.as_mut());
        let (writer, backend) = writer.zip(backend).expect("only members with a database ask");
        let (what, done) = match task {
            Task::Write(write) => {
                let mut writes = vec![write];
                while let Some((_, Task::Write(_))) = self.tasks.front() {
                    let Some((_, Task::Write(write))) = self.tasks.pop_front() else { break };
                    writes.push(write);
                }
                ("database", Done::Database(backend.commit(writes)?))
            }
            Task::Save(mark) => {
                backend.save(writer, &mark)?;
                ("save", Done::Saved(mark))
            }
            Task::Purge => {
                backend.purge(writer)?;
                return Ok("purge");
            }
            Task::Pin(pin) => ("pin", Done::Pinned(pin, backend.pin(pin)?)),
            Task::Read(_) => unreachable!("it was done above"),
            Task::Send { to, message, pin } => {
                let body = backend.body(pin)?;
                ("read snapshot", Done::Read { to, message, pin, body })
            }
            Task::Whole(id, task) => ("whole", Done::Answered(id, backend.perform(task)?)),
            Task::Receive(reception) => {
                let received = backend.receive(reception.index(), &reception.body);
                let result = received.map(Box::new).map_err(|error| error.to_string());
                ("receive snapshot", Done::Received(reception, result))
            }
        };
        self.running.push(done);
        Ok(what)
    }

    /// Reads what a client gets next of a state that is held.
    fn read_piece(&mut self, pin: PinId) -> Result<SnapshotResponse, String> {
        let none = || "there is no file to read".to_owned();
        if !self.exports.contains_key(&pin) {
            let pages = self.backend.as_ref().and_then(|backend| backend.pages(pin));
            let stream = SnapshotStream::new(pages.ok_or_else(none)?, self.compat);
            self.exports.insert(pin, stream.map_err(|error| error.to_string())?);
        }
        let stream = self.exports.get_mut(&pin).expect("it was just put there");
        stream.next_message().map_err(|error| error.to_string())?.ok_or_else(none)
    }

    /// Makes a data directory from a snapshot file that is copied to the disk before. It is done at
    /// `done_at`.
    pub fn restore(
        &mut self,
        now: u64,
        snapshot: &[u8],
        settings: &RestoreSettings,
        lines: &mut Vec<LogLine>,
    ) -> Result<(), BackupError> {
        self.begin_anew(now);
        let disk: Rc<dyn detcd::storage::disk::Disk> = Rc::new(self.disk.mount());
        let copied = put_file(&*disk, &settings.snapshot.path, snapshot);
        let restored = copied
            .map_err(|error| BackupError::io("write", &settings.snapshot)(error))
            .and_then(|()| backup::restore(&disk, settings, lines));
        self.done_at = Some(self.disk.completion().max(now));
        restored
    }

    /// Rewrites the database in a data directory. It is done at `done_at`.
    pub fn defragment_offline(
        &mut self,
        now: u64,
        data_dir: &Place,
        lines: &mut Vec<LogLine>,
    ) -> Result<(), BackupError> {
        self.begin_anew(now);
        let disk: Rc<dyn detcd::storage::disk::Disk> = Rc::new(self.disk.mount());
        let rewritten = backup::defragment(&disk, data_dir, lines);
        self.done_at = Some(self.disk.completion().max(now));
        rewritten
    }

    /// Hands over what the device did, if it is done with it. Nothing is done while it hangs.
    pub fn finish(&mut self, now: u64, done: &mut Vec<Done>) -> bool {
        if self.is_hung() || self.done_at.is_none_or(|done_at| done_at > now) {
            return false;
        }
        self.done_at = None;
        done.append(&mut self.running);
        true
    }

    /// What faults have done until now.
    pub fn tally(&self) -> Tally {
        let suffered = self.disk.suffered();
        let mut tally = self.tally;
        for (deed, many) in [
            (Deed::SyncSlowed, suffered.slowed),
            (Deed::OperationRefused, suffered.refused),
            (Deed::OperationFailed, suffered.failed),
            (Deed::SyncFaked, suffered.faked),
            (Deed::WriteLost, suffered.lost),
        ] {
            tally.add_many(deed, many as i64);
        }
        tally
    }

    fn note_damage(&mut self, is_done: bool) {
        self.tally.add_many(Deed::Damage, i64::from(is_done));
    }

    /// Breaks something, or mends it.
    pub fn fault(&mut self, now: u64, fault: &DiskFault) {
        match fault {
            DiskFault::SyncLatency(latency) => {
                let time = OperationTime::constant(latency.as_nanos() as u64);
                self.disk.inject(Fault::SyncTime(time));
            }
            DiskFault::Hang => self.disk.hang(now),
            DiskFault::SyncError => self.disk.inject(Fault::SyncError),
            DiskFault::WriteError => self.disk.inject(Fault::WriteError),
            DiskFault::Full => self.disk.inject(Fault::Full),
            DiskFault::ReadOnly => self.disk.inject(Fault::ReadOnly),
            DiskFault::Lose(missing) => {
                let lost = self.disk.lose_segments(&self.dir, *missing);
                self.note_damage(!lost.is_empty());
            }
            DiskFault::Harm(harm) => {
                let damage = self.disk.harm(&self.snap_dir, *harm);
                self.note_damage(damage.is_some());
            }
            DiskFault::TearLogTail => {
                let damage = self.disk.tear_log_tail(&self.dir);
                self.note_damage(damage.is_some());
            }
            DiskFault::CorruptLogMiddle => {
                let damage = self.disk.corrupt_log_middle(&self.dir);
                self.note_damage(damage.is_some());
            }
            DiskFault::ReadError => self.disk.inject(Fault::ReadError),
            DiskFault::Rot => {
                let damage = self.disk.rot_log(&self.dir);
                self.note_damage(damage.is_some());
            }
            DiskFault::LostWrite => self.disk.inject(Fault::LostWrite),
            DiskFault::MisdirectedWrite => self.disk.inject(Fault::MisdirectedWrite),
            DiskFault::SyncsLie => self.disk.inject(Fault::SyncsLie),
            DiskFault::NamesLie => self.disk.inject(Fault::NamesLie),
            DiskFault::Remember => {
                self.remembered = Some(self.disk.fork(self.stream.next_u64()));
            }
            DiskFault::RollBack => {
                if let Some(old) = self.remembered.take() {
                    self.disk.take_content(&old);
                    self.note_damage(true);
                }
            }
            DiskFault::Recover => {
                if self.is_hung() {
                    let waiting = self.running.len() + self.staged.len() + self.tasks.len();
                    self.tally.add_many(Deed::OperationHung, waiting as i64);
                }
                let later = self.disk.recover(now);
                self.done_at = self.done_at.map(|done_at| (done_at + later).max(now));
            }
        }
    }

    /// Watches for a disk operation; what is no disk operation ends the watch.
    pub fn await_occasion(&mut self, trap: Option<Trap>) {
        let awaited = trap.and_then(|trap| {
            let kinds: &[OperationKind] = match trap.occasion {
                Occasion::Write => &[OperationKind::Write],
                Occasion::Sync => &[OperationKind::Sync],
                Occasion::Name => &[OperationKind::Metadata],
                Occasion::Disk => {
                    &[OperationKind::Write, OperationKind::Sync, OperationKind::Metadata]
                }
                Occasion::Send(_) => return None,
            };
            Some((kinds, trap.count))
        });
        self.side = trap.map(|trap| trap.side);
        self.disk.await_operation(awaited);
    }

    /// The moment before, within or after the operation watched for, told once.
    pub fn take_occasion(&mut self) -> Option<u64> {
        let (begins, ends) = self.disk.take_awaited()?;
        Some(match self.side {
            Some(Side::Before) => begins,
            Some(Side::Within) => begins + (ends - begins) / 2,
            Some(Side::After) | None => ends,
        })
    }

    /// Operations so far that changed what is on the disk, or made it durable.
    pub fn changes(&self) -> u64 {
        self.disk.changes()
    }

    /// The process is killed: its handles and what it had not handed over are gone.
    pub fn kill(&mut self, now: u64) {
        self.disk.kill(now);
        self.abandon();
    }

    /// The power goes.
    pub fn power_loss(&mut self, now: u64) {
        self.disk.power_loss(now);
        self.abandon();
    }

    fn abandon(&mut self) {
        self.writer = None;
        self.backend = None;
        self.exports.clear();
        self.staged.clear();
        self.tasks.clear();
        self.running.clear();
        for number in [&mut self.last_staged, &mut self.last_install, &mut self.last_written] {
            *number = LogNumber(0);
        }
        self.done_at = None;
    }
}

/// Puts a file on a disk, whatever was there, durable but for its name.
fn put_file(
    disk: &dyn detcd::storage::disk::Disk,
    at: &str,
    content: &[u8],
) -> std::io::Result<()> {
    if let Some((above, _)) = at.rsplit_once('/') {
        disk.create_dir_all(above)?;
    }
    if disk.exists(at)? {
        disk.remove(at)?;
    }
    let mut file = disk.create(at)?;
    file.write_at(0, content)?;
    file.sync_data()
}

/// Whether a log write puts another database in place.
fn is_install(staged: &Staged) -> bool {
    matches!(staged.write(), LogWrite::Snapshot(_))
}

/// A path of a setting, from the root of the disk.
pub fn path(dir: &str) -> String {
    let parts = dir.split('/').filter(|part| !matches!(*part, "" | "." | ".."));
    parts.collect::<Vec<_>>().join("/")
}

/// Where a member's files are.
fn layout(config: &Config, wal_dir: &str) -> Layout {
    let snap_dir_named = config.snap_dir();
    Layout {
        wal_dir: wal_dir.to_owned(),
        snap_dir: path(&snap_dir_named),
        snap_dir_named,
        max_wals: config.max_wals,
        max_snapshots: config.max_snapshots,
        compat: config.compat,
    }
}

/// A stream for the next disk of a host.
fn next_stream(stream: &mut rand_chacha::ChaCha8Rng) -> rand_chacha::ChaCha8Rng {
    use rand_chacha::rand_core::SeedableRng;
    let mut key = [0; 32];
    stream.fill_bytes(&mut key);
    rand_chacha::ChaCha8Rng::from_seed(key)
}
