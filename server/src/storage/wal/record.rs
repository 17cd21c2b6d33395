//! The byte form of a log record: a little-endian length with the padding in its top byte, a
//! `walpb.Record`, and zeros up to 8 bytes (contract-cluster.md, section 6.2).
//!
//! Pure functions of bytes. The checksum covers a record's data and, through the chain, all data
//! before it; it covers neither the type nor the frame, so readers have more to check.

use std::ops::Range;

use crate::storage::log::{EntryKind, HardState, LogEntry, SnapshotMark};

/// Bytes of the length in front of each record.
pub(super) const HEADER: u64 = 8;

/// What a disk writes whole or not at all.
pub(super) const SECTOR: u64 = 512;

/// The type of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Metadata,
    Entry,
    State,
    Crc,
    Snapshot,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Metadata => 1,
            Kind::Entry => 2,
            Kind::State => 3,
            Kind::Crc => 4,
            Kind::Snapshot => 5,
        }
    }

    pub(super) fn from_number(number: i64) -> Option<Kind> {
        let kinds = [Kind::Metadata, Kind::Entry, Kind::State, Kind::Crc, Kind::Snapshot];
        kinds.into_iter().find(|kind| i64::from(kind.number()) == number)
    }
}

/// A length field: of the record, and of the padding after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) record: u64,
    pub(super) padding: u64,
}

impl Frame {
    pub(super) fn of(record: u64) -> Frame {
        Frame { record, padding: record.wrapping_neg() % 8 }
    }

    pub(super) fn decode(field: u64) -> Frame {
        let padding = if field >> 63 == 1 { field >> 56 & 7 } else { 0 };
        Frame { record: field & (u64::MAX >> 8), padding }
    }

    fn encode(self) -> u64 {
        match self.padding {
            0 => self.record,
            padding => self.record | (0x80 | padding) << 56,
        }
    }

    /// Whether a writer could have made it.
    pub(super) fn is_sound(self) -> bool {
        self == Frame::of(self.record)
    }

    /// Bytes after the length field.
    pub(super) fn body(self) -> u64 {
        self.record + self.padding
    }
}

/// A record found in a slice; `data` is a range of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) kind: i64,
    pub(super) crc: u32,
    pub(super) data: Option<Range<usize>>,
}

/// Reads a varint at the front of `bytes`, and how long it is.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        if at == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Takes a field off the front of `bytes`: its number, and its value or the range of its data.
fn field(bytes: &[u8], from: usize) -> Result<(u64, Field, usize), &'static str> {
    let (tag, length) = varint(&bytes[from..]).ok_or("bad field tag")?;
    let at = from + length;
    let fixed = |size: usize| match at + size <= bytes.len() {
        true => Ok((tag >> 3, Field::Fixed, at + size)),
        false => Err("a field reaches past the record"),
    };
    match tag & 7 {
        _ if tag >> 3 == 0 => Err("field number 0"),
        0 => {
            let (value, length) = varint(&bytes[at..]).ok_or("bad varint")?;
            Ok((tag >> 3, Field::Varint(value), at + length))
        }
        1 => fixed(8),
        2 => {
            let (size, length) = varint(&bytes[at..]).ok_or("bad length")?;
            let at = at + length;
            let size = usize::try_from(size).ok().filter(|size| *size <= bytes.len() - at);
            let size = size.ok_or("a field reaches past the record")?;
            Ok((tag >> 3, Field::Data(at..at + size), at + size))
        }
        5 => fixed(4),
        _ => Err("unknown wire type"),
    }
}

enum Field {
    Varint(u64),
    Data(Range<usize>),
    Fixed,
}

/// Parses a `walpb.Record` that fills `bytes`. Unknown fields are skipped.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, &'static str> {
    let mut parsed = Parsed { kind: 0, crc: 0, data: None };
    let mut at = 0;
    while at < bytes.len() {
        let (number, value, next) = field(bytes, at)?;
        match (number, value) {
            (1, Field::Varint(value)) => parsed.kind = value as i64,
            (2, Field::Varint(value)) => parsed.crc = value as u32,
            (3, Field::Data(range)) => parsed.data = Some(range),
            (1..=3, _) => return Err("wrong wire type"),
            _ => {}
        }
        at = next;
    }
    Ok(parsed)
}

/// Whether `bytes` begin with a record as every writer forms it, told from the record's own fields
/// alone, whose checksum continues `chain`. Then a frame that says otherwise is the damaged part.
pub(super) fn begins_with_whole_record(bytes: &[u8], chain: u32) -> bool {
    let Some(rest) = bytes.strip_prefix(&[0x08]) else { return false };
    let Some((kind, length)) = varint(rest) else { return false };
    if i64::try_from(kind).ok().and_then(Kind::from_number).is_none() {
        return false;
    }
    let Some(rest) = rest[length..].strip_prefix(&[0x10]) else { return false };
    let Some((crc, length)) = varint(rest) else { return false };
    let Some(rest) = rest[length..].strip_prefix(&[0x1a]) else { return false };
    let Some((size, length)) = varint(rest) else { return false };
    let data = usize::try_from(size).ok().and_then(|size| rest[length..].get(..size));
    data.is_some_and(|data| u64::from(crc32c::crc32c_append(chain, data)) == crc)
}

fn put_varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

fn varint_len(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

pub(super) fn put_frame(buffer: &mut Vec<u8>, kind: Kind, crc: u32, data: Option<[&[u8]; 2]>) {
    let size = data.map(|parts| (parts[0].len() + parts[1].len()) as u64);
    let field = size.map_or(0, |size| 1 + varint_len(size) + size);
    let frame = Frame::of(2 + 1 + varint_len(u64::from(crc)) + field);
    buffer.reserve((HEADER + frame.body()) as usize);
    buffer.extend_from_slice(&frame.encode().to_le_bytes());
    buffer.extend_from_slice(&[0x08, kind.number(), 0x10]);
    put_varint(buffer, u64::from(crc));
    if let (Some(size), Some(parts)) = (size, data) {
        buffer.push(0x1a);
        put_varint(buffer, size);
        buffer.extend_from_slice(parts[0]);
        buffer.extend_from_slice(parts[1]);
    }
    buffer.extend_from_slice(&[0; 7][..frame.padding as usize]);
}

/// Encodes records, keeping the checksum's chain.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    chain: u32,
    scratch: Vec<u8>,
}

impl Encoder {
    /// Continues after a record with this checksum.
    pub(super) fn new(chain: u32) -> Encoder {
        Encoder { chain, scratch: Vec::with_capacity(64) }
    }

    pub(super) fn chain(&self) -> u32 {
        self.chain
    }

    fn put(&mut self, buffer: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
        self.chain = crc32c::crc32c_append(self.chain, &self.scratch);
        self.chain = crc32c::crc32c_append(self.chain, payload);
        put_frame(buffer, kind, self.chain, Some([&self.scratch, payload]));
    }

    /// The record at the head of a segment: the checksum of all that came before.
    pub(super) fn crc(&mut self, buffer: &mut Vec<u8>) {
        put_frame(buffer, Kind::Crc, self.chain, None);
    }

    pub(super) fn metadata(&mut self, buffer: &mut Vec<u8>, metadata: &[u8]) {
        self.scratch.clear();
        self.put(buffer, Kind::Metadata, metadata);
    }

    pub(super) fn entry(&mut self, buffer: &mut Vec<u8>, entry: &LogEntry) {
        self.scratch.clear();
        let kind = match entry.kind {
            EntryKind::Normal => 0,
            EntryKind::ConfChange => 1,
        };
        self.scratch.extend_from_slice(&[0x08, kind, 0x10]);
        put_varint(&mut self.scratch, entry.term);
        self.scratch.push(0x18);
        put_varint(&mut self.scratch, entry.index);
        if !entry.data.is_empty() {
            self.scratch.push(0x22);
            put_varint(&mut self.scratch, entry.data.len() as u64);
        }
        self.put(buffer, Kind::Entry, &entry.data);
    }

    pub(super) fn state(&mut self, buffer: &mut Vec<u8>, state: HardState) {
        self.scratch.clear();
        for (tag, value) in [(0x08, state.term), (0x10, state.vote), (0x18, state.commit)] {
            self.scratch.push(tag);
            put_varint(&mut self.scratch, value);
        }
        self.put(buffer, Kind::State, &[]);
    }

    pub(super) fn snapshot(&mut self, buffer: &mut Vec<u8>, mark: &SnapshotMark) {
        let mut configuration = Vec::new();
        if let Some(conf) = &mark.conf_state {
            for (tag, ids) in [
                (0x08, &conf.voters),
                (0x10, &conf.learners),
                (0x18, &conf.voters_outgoing),
                (0x20, &conf.learners_next),
            ] {
                for &id in ids {
                    configuration.push(tag);
                    put_varint(&mut configuration, id);
                }
            }
            if let Some(auto_leave) = conf.auto_leave {
                configuration.extend_from_slice(&[0x28, u8::from(auto_leave)]);
            }
        }
        self.scratch.clear();
        self.scratch.push(0x08);
        put_varint(&mut self.scratch, mark.index);
        self.scratch.push(0x10);
        put_varint(&mut self.scratch, mark.term);
        if mark.conf_state.is_some() {
            self.scratch.push(0x1a);
            put_varint(&mut self.scratch, configuration.len() as u64);
        }
        self.put(buffer, Kind::Snapshot, &configuration);
    }
}
