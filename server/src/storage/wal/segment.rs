//! Segment files: their names, their order, and the one that is appended to.
//!
//! Appended bytes are buffered. What leaves the buffer before a sync ends at a 4 KiB page of the
//! file, so that after a power loss every 512-byte sector holds a prefix of what it should.

use super::error::WalError;
use super::record::Encoder;
use crate::storage::disk::{Disk, File, Path};

const PAGE: u64 = 4096;
const BUFFER_MAX: usize = 128 * 1024;

/// A segment's place in the log, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    /// Counts segments from 0.
    pub(super) sequence: u64,
    /// The first entry that the segment may hold.
    pub(super) first_index: u64,
}

impl SegmentName {
    pub(super) fn parse(name: &str) -> Option<SegmentName> {
        let (sequence, first_index) = name.strip_suffix(".wal")?.split_once('-')?;
        let number = |digits: &str| {
            let is_hex = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            if is_hex { u64::from_str_radix(digits, 16).ok() } else { None }
        };
        Some(SegmentName { sequence: number(sequence)?, first_index: number(first_index)? })
    }
}

impl std::fmt::Display for SegmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.sequence, self.first_index)
    }
}

/// The segments of a directory in order, and names that are neither segments nor temporary.
pub(super) fn list(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<(Vec<SegmentName>, Vec<String>), WalError> {
    let mut segments = Vec::new();
    let mut ignored = Vec::new();
    for name in disk.list(dir).map_err(WalError::io("readdir", dir))? {
        match SegmentName::parse(&name) {
            Some(segment) => segments.push(segment),
            None if name.ends_with(".tmp") => {}
            None => ignored.push(name),
        }
    }
    if segments.is_empty() {
        return Err(WalError::NoFile { dir: dir.to_owned() });
    }
    Ok((segments, ignored))
}

pub(super) fn lock(file: &mut dyn File, path: &Path) -> Result<(), WalError> {
    file.try_lock().map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => WalError::Locked { path: path.to_owned() },
        _ => WalError::io("flock", path)(error),
    })
}

/// The end of the log: the last segment, open for appending.
#[derive(Debug)]
pub(super) struct Tail {
    file: Box<dyn File>,
    path: String,
    written: u64,
    buffer: Vec<u8>,
    encoder: Encoder,
}

impl Tail {
    /// Appends to `file` from `offset`; what is there from there on must be zeros.
    pub(super) fn new(file: Box<dyn File>, path: String, offset: u64, chain: u32) -> Tail {
        let buffer = Vec::new();
        Tail { file, path, written: offset, buffer, encoder: Encoder::new(chain) }
    }

    /// Creates and preallocates a file that continues the chain.
    pub(super) fn create(
        disk: &dyn Disk,
        path: String,
        bytes: u64,
        chain: u32,
    ) -> Result<Tail, WalError> {
        let mut file = disk.create(&path).map_err(WalError::io("open", &path))?;
        lock(&mut *file, &path)?;
        file.set_len(bytes).map_err(WalError::io("fallocate", &path))?;
        Ok(Tail::new(file, path, 0, chain))
    }

    /// Where the next record goes.
    pub(super) fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// The checksum of all records so far.
    pub(super) fn chain(&self) -> u32 {
        self.encoder.chain()
    }

    /// Appends what `encode` writes, volatile until `sync`.
    pub(super) fn put(
        &mut self,
        encode: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) -> Result<(), WalError> {
        encode(&mut self.encoder, &mut self.buffer);
        if self.buffer.len() < BUFFER_MAX {
            return Ok(());
        }
        let partial = self.offset() % PAGE;
        self.write(self.buffer.len().saturating_sub(partial as usize))
    }

    fn write(&mut self, length: usize) -> Result<(), WalError> {
        if length == 0 {
            return Ok(());
        }
        let bytes = &self.buffer[..length];
        self.file.write_at(self.written, bytes).map_err(WalError::io("write", &self.path))?;
        self.written += length as u64;
        if length == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..length);
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) -> Result<(), WalError> {
        self.write(self.buffer.len())?;
        self.file.sync_data().map_err(WalError::io("fdatasync", &self.path))
    }

    /// Cuts the file off behind the last record and makes it durable.
    pub(super) fn finish(&mut self) -> Result<(), WalError> {
        let end = self.offset();
        self.write(self.buffer.len())?;
        self.file.set_len(end).map_err(WalError::io("ftruncate", &self.path))?;
        self.file.sync_data().map_err(WalError::io("fdatasync", &self.path))
    }

    /// The open file, which keeps its lock.
    pub(super) fn into_file(self) -> Box<dyn File> {
        self.file
    }

    /// The file has another name now.
    pub(super) fn renamed(&mut self, path: String) {
        self.path = path;
    }
}
