//! The log of a member whose directory may not be there yet: the first write of a new member
//! creates it.

use std::rc::Rc;

use super::open::newest;
use super::{Wal, WalError, WalSettings, exists};
use crate::member::io::LogLine;
use crate::storage::disk::{Disk, Path};
use crate::storage::log::{LogImage, LogNumber, LogReceipt, LogWrite, SnapshotMark};

/// Takes a member's log writes in order.
#[derive(Debug)]
pub struct LogWriter {
    disk: Rc<dyn Disk>,
    dir: String,
    settings: WalSettings,
    wal: Option<Wal>,
    /// Creation failed: what is on the disk is unknown.
    has_failed: bool,
}

impl LogWriter {
    /// Opens the log in `dir` if there is one. Returns what it holds, and what there is to say
    /// about ignored files and repairs.
    pub fn open(
        disk: Rc<dyn Disk>,
        dir: &Path,
        settings: WalSettings,
    ) -> Result<(LogWriter, Option<LogImage>, Vec<String>), WalError> {
        let newest = match exists(&*disk, dir)? {
            true => newest(&*disk, dir)?,
            false => SnapshotMark::default(),
        };
        LogWriter::open_at(disk, dir, settings, &newest)
    }

    /// The same from one of the log's snapshots on.
    pub fn open_at(
        disk: Rc<dyn Disk>,
        dir: &Path,
        settings: WalSettings,
        snapshot: &SnapshotMark,
    ) -> Result<(LogWriter, Option<LogImage>, Vec<String>), WalError> {
        let mut writer = LogWriter {
            disk: Rc::clone(&disk),
            dir: dir.to_owned(),
            settings,
            wal: None,
            has_failed: false,
        };
        if !exists(&*disk, dir)? {
            return Ok((writer, None, Vec::new()));
        }
        let (wal, image, notes) = Wal::open_at(disk, dir, settings, snapshot)?;
        writer.wal = Some(wal);
        Ok((writer, Some(image), notes))
    }

    /// Records a snapshot that the member took itself, durable when this returns with everything
    /// appended before.
    pub fn record(&mut self, mark: &SnapshotMark) -> Result<(), WalError> {
        match &mut self.wal {
            _ if self.has_failed => Err(WalError::Failed),
            Some(wal) => wal.record(mark),
            None => Err(WalError::NotCreated { number: 0 }),
        }
    }

    /// Appends a write, volatile until `commit`. `LogWrite::Create` comes first on a new member and
    /// never again.
    pub fn append(&mut self, number: LogNumber, write: &LogWrite) -> Result<(), WalError> {
        if self.has_failed {
            return Err(WalError::Failed);
        }
        match (&mut self.wal, write) {
            (Some(wal), write) => wal.append(number, write),
            (None, LogWrite::Create { metadata, entries, hard_state }) => {
                let created = Wal::create_with(
                    Rc::clone(&self.disk),
                    &self.dir,
                    self.settings,
                    metadata.clone(),
                    entries,
                    *hard_state,
                );
                self.has_failed = created.is_err();
                let mut wal = created?;
                wal.appended = number;
                self.wal = Some(wal);
                Ok(())
            }
            (None, _) => Err(WalError::NotCreated { number: number.0 }),
        }
    }

    /// Makes everything appended durable with one sync, if any of it is worth one. The receipt
    /// covers all numbers appended since the writer was opened; with none, it covers none.
    pub fn commit(&mut self) -> Result<LogReceipt, WalError> {
        match &mut self.wal {
            _ if self.has_failed => Err(WalError::Failed),
            Some(wal) => wal.commit(),
            None => Ok(LogReceipt::new(LogNumber(0))),
        }
    }

    /// Makes everything appended durable, commit indexes included, and lets go of the log.
    pub fn close(mut self) -> Result<LogReceipt, WalError> {
        match self.wal.take() {
            Some(wal) if !self.has_failed => wal.close(),
            _ => self.commit(),
        }
    }

    /// Takes the log lines that writing gave rise to since this was last asked.
    pub fn take_lines(&mut self) -> Vec<LogLine> {
        self.wal.as_mut().map(Wal::take_lines).unwrap_or_default()
    }

    /// The log, once it is there.
    pub fn wal(&mut self) -> Option<&mut Wal> {
        self.wal.as_mut()
    }
}
