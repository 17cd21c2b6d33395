//! The disk of a host and the writer of its log: writes wait while the device is busy or hangs, and
//! then go together.
//!
//! A batch runs on the disk at once, in code, and takes its own virtual time: the receipt exists
//! from then on, and the member is told when the disk says that it would be done. A power loss in
//! between drops what comes after it.

use std::rc::Rc;

use detcd::storage::disk::Disk;
use detcd::storage::log::{LogDurable, LogImage, Staged};
use detcd::storage::wal::{LogWriter, WalError, WalSettings};

use super::medium::Medium;

/// A log that was read.
#[derive(Debug)]
pub struct Opened {
    /// What it holds, if there is one.
    pub log: Option<LogImage>,
    /// What there is to say about it.
    pub notes: Vec<String>,
    /// When the disk has done it.
    pub done_at: u64,
}

/// A disk with a log writer.
#[derive(Debug)]
pub struct Device {
    medium: Rc<dyn Medium>,
    settings: WalSettings,
    writer: Option<LogWriter>,
    /// What waits for the device.
    staged: Vec<Staged>,
    /// What the device does now.
    running: Vec<LogDurable>,
    is_busy: bool,
}

impl Device {
    /// An empty disk.
    pub fn new(medium: Rc<dyn Medium>, settings: WalSettings) -> Device {
        let (staged, running) = (Vec::new(), Vec::new());
        Device { medium, settings, writer: None, staged, running, is_busy: false }
    }

    /// The disk.
    pub fn medium(&self) -> &dyn Medium {
        &*self.medium
    }

    /// Reads the log in `dir`, if there is one.
    pub fn open(&mut self, now: u64, dir: &str) -> Result<Opened, WalError> {
        self.medium.begin(now);
        let disk: Rc<dyn Disk> = Rc::clone(&self.medium).as_disk();
        let (writer, log, notes) = LogWriter::open(disk, dir, self.settings)?;
        self.writer = Some(writer);
        Ok(Opened { log, notes, done_at: self.medium.completion().max(now) })
    }

    /// Takes a write.
    pub fn stage(&mut self, staged: Staged) {
        self.staged.push(staged);
    }

    /// Begins a batch of everything staged, unless the device is busy, hangs or has nothing to do.
    /// Returns when it will be done.
    pub fn begin(&mut self, now: u64) -> Result<Option<u64>, WalError> {
        if self.is_busy || self.staged.is_empty() || self.medium.is_hung() {
            return Ok(None);
        }
        let writer = self.writer.as_mut().expect("a process opens its log before it writes");
        self.medium.begin(now);
        for staged in &self.staged {
            writer.append(staged.number(), staged.write())?;
        }
        let receipt = writer.commit()?;
        self.running.extend(self.staged.drain(..).map(|staged| staged.release(receipt)));
        self.is_busy = true;
        Ok(Some(self.medium.completion().max(now)))
    }

    /// The batch is done.
    pub fn finish(&mut self) -> Vec<LogDurable> {
        self.is_busy = false;
        std::mem::take(&mut self.running)
    }

    /// The process is gone: its handles and what it had not written are, too.
    pub fn abandon(&mut self) {
        self.writer = None;
        self.staged.clear();
        self.running.clear();
        self.is_busy = false;
    }
}
