//! The disk of a host and the writer of its log: writes wait while the device is busy or hangs, and
//! then go together.
//!
//! A batch runs on the disk at once, in code, and takes its own virtual time: the receipt exists
//! from then on, and the member is told when the disk says that it is done. A kill or power loss in
//! between undoes what ends after it.

use std::rc::Rc;

use detcd::config::Config;
use detcd::member::io::{Level, LogLine, Stop};
use detcd::storage::directory;
use detcd::storage::log::{LogDurable, LogImage, Staged};
use detcd::storage::wal::{LogWriter, WalError, WalSettings};
use detsim_reports::record::MemberName;
use rand_chacha::rand_core::RngCore;

use crate::disk::{DiskTimes, Fault, OperationKind, OperationTime, VirtualDisk};
use crate::seed::Streams;
use crate::world::{DiskFault, Occasion, Side, Trap};

/// A data directory that was read.
#[derive(Debug)]
pub struct Opened {
    /// What its log holds, if there is one.
    pub log: Option<LogImage>,
    /// What there is to say about it.
    pub lines: Vec<LogLine>,
    /// Why no member starts on it.
    pub refusal: Option<Stop>,
}

/// A disk with a log writer.
#[derive(Debug)]
pub struct Device {
    disk: VirtualDisk,
    settings: WalSettings,
    times: DiskTimes,
    /// Where the log is, or was when it was last opened.
    dir: String,
    writer: Option<LogWriter>,
    /// What waits for the device.
    staged: Vec<Staged>,
    /// What the device does now.
    running: Vec<LogDurable>,
    /// When that is done; `None` when it does nothing.
    done_at: Option<u64>,
    /// Before or after the operation that the disk watches for.
    side: Option<Side>,
    /// The content as it was when it was kept aside.
    remembered: Option<VirtualDisk>,
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
    ) -> Device {
        let mut stream = streams.stream(&format!("disk/{}", name.0));
        Device {
            disk: VirtualDisk::new(times, next_stream(&mut stream)),
            settings,
            times,
            dir: String::new(),
            writer: None,
            staged: Vec::new(),
            running: Vec::new(),
            done_at: None,
            side: None,
            remembered: None,
            past: 0,
            stream,
        }
    }

    /// Replaces the disk by an empty one.
    pub fn wipe(&mut self) {
        self.past = self.past.rotate_left(1) ^ self.disk.trace_hash();
        self.disk = VirtualDisk::new(self.times, next_stream(&mut self.stream));
    }

    /// Whether nothing on it comes to an end.
    pub fn is_hung(&self) -> bool {
        self.disk.is_hung()
    }

    /// Hash of every operation with its content and time.
    pub fn trace_hash(&self) -> u64 {
        self.past ^ self.disk.trace_hash()
    }

    /// Reads the data directory of a member, with its log if there is one. It is read at
    /// `done_at`.
    pub fn open(&mut self, now: u64, config: &Config) -> Result<Opened, WalError> {
        self.disk.begin(now);
        self.dir = path(&config.wal_dir());
        let disk = Rc::new(self.disk.mount());
        let data_dir = &config.data_dir;
        let found = directory::inspect(&*disk, &path(data_dir), data_dir, config.compat);
        let (mut lines, refusal) = (found.lines, found.refusal);
        if refusal.is_some() {
            return Ok(Opened { log: None, lines, refusal });
        }
        let (writer, log, notes) = LogWriter::open(disk, &self.dir, self.settings)?;
        lines.extend(notes.into_iter().map(|note| LogLine::new(Level::Warn, note)));
        self.writer = Some(writer);
        self.done_at = Some(self.disk.completion().max(now));
        Ok(Opened { log, lines, refusal })
    }

    /// Takes a write.
    pub fn stage(&mut self, staged: Staged) {
        self.staged.push(staged);
    }

    /// When what the device does now is done.
    pub fn done_at(&self) -> Option<u64> {
        self.done_at
    }

    /// Whether there is something to write, and the device is idle and does not hang.
    pub fn can_begin(&self) -> bool {
        !self.staged.is_empty() && self.done_at.is_none() && !self.is_hung()
    }

    /// Begins a batch of everything staged. Returns what there is to say about it.
    pub fn begin(&mut self, now: u64) -> Result<Vec<LogLine>, WalError> {
        assert!(self.can_begin());
        let writer = self.writer.as_mut().expect("a process opens its log before it writes");
        self.disk.begin(now);
        for staged in &self.staged {
            writer.append(staged.number(), staged.write())?;
        }
        let receipt = writer.commit()?;
        let lines = writer.take_lines();
        self.running.extend(self.staged.drain(..).map(|staged| staged.release(receipt)));
        self.done_at = Some(self.disk.completion().max(now));
        Ok(lines)
    }

    /// What the device did, if it is done with it. Nothing is done while it hangs.
    pub fn finish(&mut self, now: u64) -> Option<Vec<LogDurable>> {
        if self.is_hung() || self.done_at.is_none_or(|done_at| done_at > now) {
            return None;
        }
        self.done_at = None;
        Some(std::mem::take(&mut self.running))
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
            DiskFault::TearLogTail => {
                self.disk.tear_log_tail(&self.dir);
            }
            DiskFault::CorruptLogMiddle => {
                self.disk.corrupt_log_middle(&self.dir);
            }
            DiskFault::ReadError => self.disk.inject(Fault::ReadError),
            DiskFault::Rot => {
                self.disk.rot_log(&self.dir);
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
                }
            }
            DiskFault::Recover => {
                let later = self.disk.recover(now);
                self.done_at = self.done_at.map(|done_at| (done_at + later).max(now));
            }
        }
    }

    /// Watches for a disk operation; what is no disk operation ends the watch.
    pub fn await_occasion(&mut self, trap: Option<Trap>) {
        let awaited = trap.and_then(|trap| {
            let kind = match trap.occasion {
                Occasion::Write => OperationKind::Write,
                Occasion::Sync => OperationKind::Sync,
                Occasion::Name => OperationKind::Metadata,
                Occasion::Send(_) => return None,
            };
            Some((kind, trap.count))
        });
        self.side = trap.map(|trap| trap.side);
        self.disk.await_operation(awaited);
    }

    /// The moment before or after the operation watched for, told once.
    pub fn take_occasion(&mut self) -> Option<u64> {
        let (begins, ends) = self.disk.take_awaited()?;
        Some(if self.side == Some(Side::Before) { begins } else { ends })
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
        self.staged.clear();
        self.running.clear();
        self.done_at = None;
    }
}

/// A path of a setting, from the root of the disk.
fn path(dir: &str) -> String {
    let parts = dir.split('/').filter(|part| !matches!(*part, "" | "." | ".."));
    parts.collect::<Vec<_>>().join("/")
}

/// A stream for the next disk of a host.
fn next_stream(stream: &mut rand_chacha::ChaCha8Rng) -> rand_chacha::ChaCha8Rng {
    use rand_chacha::rand_core::SeedableRng;
    let mut key = [0; 32];
    stream.fill_bytes(&mut key);
    rand_chacha::ChaCha8Rng::from_seed(key)
}
