//! What the records of a log add up to.
//!
//! Checks more than etcd does where a damaged record type, which no checksum covers, could turn
//! one record into another: terms never go back, entries and states have the fields they must.

use bytes::Bytes;
use prost::Message;

use super::error::WalError;
use super::read::{Reader, Record, Source};
use super::record::Kind;
use crate::proto::{raftpb, walpb};
use crate::storage::log::{EntryKind, HardState, LogEntry, LogImage, SnapshotMark};

/// What a log says of its snapshots.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) snapshots: Vec<SnapshotMark>,
    pub(super) state: HardState,
}

impl Survey {
    /// Reads all segments; a torn tail is tolerated.
    pub(super) fn read(sources: &[Source]) -> Result<Survey, WalError> {
        let mut reader = Reader::new(sources)?;
        let mut replay = Replay::new(None);
        loop {
            match reader.next() {
                Ok(Some(record)) => replay.take(&record)?,
                Ok(None) | Err(WalError::UnexpectedEof { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Survey { snapshots: replay.snapshots, state: replay.state })
    }
}

/// Where a log that was read can be continued.
#[derive(Debug)]
pub(super) struct End {
    /// Behind the last record of the last segment.
    pub(super) offset: u64,
    /// The checksum so far.
    pub(super) chain: u32,
    /// The last entry or snapshot.
    pub(super) last_index: u64,
}

/// Reads everything from a snapshot on.
pub(super) fn replay(
    sources: &[Source],
    start: &SnapshotMark,
) -> Result<(LogImage, End), WalError> {
    let mut reader = Reader::new(sources)?;
    let mut replay = Replay::new(Some(start.clone()));
    while let Some(record) = reader.next()? {
        replay.take(&record)?;
    }
    let Some(snapshot) = replay.matched else {
        return Err(WalError::SnapshotNotFound { index: start.index });
    };
    let Some(metadata) = replay.metadata else {
        return Err(WalError::NoMetadata { file: sources[0].name.clone() });
    };
    let last_index = replay.last_index.max(snapshot.index);
    let end = End { offset: reader.offset(), chain: reader.chain(), last_index };
    let entries = replay.entries;
    Ok((LogImage { metadata, hard_state: replay.state, snapshot, entries }, end))
}

/// A record of a log, as it lies there. Records of checksums are left out.
#[derive(Clone, Debug, PartialEq)]
pub enum LogRecord {
    /// At the head of every segment.
    Metadata(Bytes),
    /// Replaces what an earlier record has at its index, and all that follows there.
    Entry(LogEntry),
    /// Replaces the earlier ones.
    State(HardState),
    /// That a snapshot was taken or received.
    Snapshot(SnapshotMark),
}

/// Every record of all segments in order, up to the end or a torn tail.
pub(super) fn records(sources: &[Source]) -> Result<Vec<LogRecord>, WalError> {
    let mut reader = Reader::new(sources)?;
    let mut records = Vec::new();
    loop {
        let record = match reader.next() {
            Ok(Some(record)) => record,
            Ok(None) | Err(WalError::UnexpectedEof { .. }) => return Ok(records),
            Err(error) => return Err(error),
        };
        records.push(match record.kind {
            Kind::Crc => continue,
            Kind::Metadata => LogRecord::Metadata(Bytes::copy_from_slice(record.data)),
            Kind::Entry => LogRecord::Entry(decode_entry(&record)?),
            Kind::State => LogRecord::State(decode_state(&record)?),
            Kind::Snapshot => LogRecord::Snapshot(decode_snapshot(&record)?),
        });
    }
}

#[derive(Debug)]
struct Replay {
    /// Where entries start to matter; none while only snapshots are looked for.
    start: Option<SnapshotMark>,
    matched: Option<SnapshotMark>,
    metadata: Option<Bytes>,
    state: HardState,
    entries: Vec<LogEntry>,
    last_index: u64,
    snapshots: Vec<SnapshotMark>,
}

impl Replay {
    fn new(start: Option<SnapshotMark>) -> Replay {
        Replay {
            start,
            matched: None,
            metadata: None,
            state: HardState::default(),
            entries: Vec::new(),
            last_index: 0,
            snapshots: Vec::new(),
        }
    }

    fn take(&mut self, record: &Record<'_>) -> Result<(), WalError> {
        match record.kind {
            Kind::Crc => Ok(()),
            Kind::Metadata => self.take_metadata(record),
            _ if self.metadata.is_none() => Err(damaged(record, "no metadata before it")),
            Kind::Entry => self.take_entry(record),
            Kind::State => self.take_state(record),
            Kind::Snapshot => self.take_snapshot(record),
        }
    }

    fn take_metadata(&mut self, record: &Record<'_>) -> Result<(), WalError> {
        match &self.metadata {
            Some(known) if known != record.data => {
                Err(WalError::ConflictingMetadata { file: record.file.to_owned() })
            }
            Some(_) => Ok(()),
            None => {
                self.metadata = Some(Bytes::copy_from_slice(record.data));
                Ok(())
            }
        }
    }

    fn take_entry(&mut self, record: &Record<'_>) -> Result<(), WalError> {
        let entry = decode_entry(record)?;
        let Some(start) = &self.start else { return Ok(()) };
        self.last_index = entry.index;
        if entry.index <= start.index {
            return Ok(());
        }
        let place = usize::try_from(entry.index - start.index - 1).unwrap_or(usize::MAX);
        if place > self.entries.len() {
            return Err(WalError::Gap {
                file: record.file.to_owned(),
                snapshot_index: start.index,
                snapshot_term: start.term,
                index: entry.index,
                term: entry.term,
                held: self.entries.len(),
            });
        }
        self.entries.truncate(place);
        if self.entries.last().is_some_and(|last| last.term > entry.term) {
            return Err(damaged(record, "an entry of an older term than the one before"));
        }
        self.entries.push(entry);
        Ok(())
    }

    fn take_state(&mut self, record: &Record<'_>) -> Result<(), WalError> {
        let state = decode_state(record)?;
        if state.term < self.state.term {
            return Err(damaged(record, "the term goes back"));
        }
        self.state = state;
        Ok(())
    }

    fn take_snapshot(&mut self, record: &Record<'_>) -> Result<(), WalError> {
        let mark = decode_snapshot(record)?;
        match &self.start {
            None => self.snapshots.push(mark),
            Some(start) if start.index != mark.index => {}
            Some(start) if start.term != mark.term => {
                return Err(WalError::SnapshotMismatch { file: record.file.to_owned() });
            }
            Some(_) => self.matched = Some(mark),
        }
        Ok(())
    }
}

fn decode_state(record: &Record<'_>) -> Result<HardState, WalError> {
    let decoded = raftpb::HardState::decode(record.data);
    let decoded = decoded.map_err(|_| damaged(record, "not a hard state"))?;
    let state = HardState { term: decoded.term(), vote: decoded.vote(), commit: decoded.commit() };
    if decoded.encoded_len() != record.data.len() {
        return Err(damaged(record, "a hard state with unknown fields"));
    }
    if state.term == 0 && state != HardState::default() {
        return Err(damaged(record, "a hard state without a term"));
    }
    Ok(state)
}

fn decode_snapshot(record: &Record<'_>) -> Result<SnapshotMark, WalError> {
    let decoded = walpb::Snapshot::decode(record.data);
    let decoded = decoded.map_err(|_| damaged(record, "not a snapshot record"))?;
    let (index, term) = (decoded.index(), decoded.term());
    Ok(SnapshotMark { index, term, conf_state: decoded.conf_state })
}

fn decode_entry(record: &Record<'_>) -> Result<LogEntry, WalError> {
    let decoded = raftpb::Entry::decode(Bytes::copy_from_slice(record.data));
    let decoded = decoded.map_err(|_| damaged(record, "not an entry"))?;
    let kind = match decoded.r#type.unwrap_or(0) {
        0 => EntryKind::Normal,
        1 if !decoded.data().is_empty() => EntryKind::ConfChange,
        1 => return Err(damaged(record, "a configuration change without content")),
        _ => return Err(damaged(record, "an entry of a type that etcd does not use")),
    };
    let (term, index) = (decoded.term(), decoded.index());
    if term == 0 || index == 0 {
        return Err(damaged(record, "an entry without term or index"));
    }
    Ok(LogEntry { kind, term, index, data: decoded.data.unwrap_or_default() })
}

fn damaged(record: &Record<'_>, cause: &'static str) -> WalError {
    WalError::Damaged { file: record.file.to_owned(), position: record.position, cause }
}
