//! Reads records across segments, and tells a torn tail from damage.
//!
//! Torn, and so repairable, is what a power loss can leave: in the last segment, a record one of
//! whose sectors was never written, or one that the end of the file cuts off. A record whose frame
//! disagrees with a body that is whole, or that is followed in the same sector by bytes where a
//! lost sector would have zeros, cannot be the work of a power loss: that is damage, and refused.

use super::error::WalError;
use super::record::{self, Frame, HEADER, Kind, Parsed, SECTOR};
use crate::storage::disk::File;

const WINDOW: u64 = 64 * 1024;

/// One segment to read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) file: Box<dyn File>,
}

/// A record in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) data: &'a [u8],
    /// The segment's name.
    pub(super) file: &'a str,
    /// Offset of its frame.
    pub(super) position: u64,
}

/// Reads the records of consecutive segments in order.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    sources: &'a [Source],
    current: usize,
    length: u64,
    /// Behind the last valid record of the current segment.
    offset: u64,
    /// The checksum so far; none before the first record, whose segment may continue others.
    chain: Option<u32>,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a [Source]) -> Result<Reader<'a>, WalError> {
        let mut reader = Reader {
            sources,
            current: 0,
            length: 0,
            offset: 0,
            chain: None,
            window: Vec::new(),
            window_start: 0,
        };
        reader.enter(0)?;
        Ok(reader)
    }

    /// Behind the last valid record of the segment that is being read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The checksum of the last valid record.
    pub(super) fn chain(&self) -> u32 {
        self.chain.unwrap_or(0)
    }

    fn enter(&mut self, segment: usize) -> Result<(), WalError> {
        self.current = segment;
        self.offset = 0;
        self.window.clear();
        self.window_start = 0;
        let source = &self.sources[segment];
        self.length = source.file.len().map_err(WalError::io("stat", &source.name))?;
        Ok(())
    }

    /// The bytes of the current segment from `at`, `wanted` of them unless the file ends before.
    fn bytes(&mut self, at: u64, wanted: u64) -> Result<&[u8], WalError> {
        let wanted = wanted.min(self.length.saturating_sub(at));
        let held = self.window_start..self.window_start + self.window.len() as u64;
        if !(held.start <= at && at + wanted <= held.end) {
            let size = wanted.max(WINDOW).min(self.length.saturating_sub(at));
            self.window.resize(size as usize, 0);
            let source = &self.sources[self.current];
            let read = source.file.read_at(at, &mut self.window);
            let read = read.map_err(WalError::io("read", &source.name))?;
            self.window.truncate(read);
            self.window_start = at;
        }
        let from = (at - self.window_start) as usize;
        let to = (from + wanted as usize).min(self.window.len());
        Ok(&self.window[from.min(to)..to])
    }

    /// The next record, or nothing at the end of the log.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, WalError> {
        let Some((frame, parsed, kind)) = self.advance()? else { return Ok(None) };
        let position = self.offset;
        self.offset += HEADER + frame.body();
        let source = &self.sources[self.current];
        let from = (position + HEADER - self.window_start) as usize;
        let data =
            parsed.data.map_or(&[][..], |data| &self.window[from + data.start..from + data.end]);
        Ok(Some(Record { kind, data, file: &source.name, position }))
    }

    /// Finds the next record, entering further segments, and takes it into the chain.
    fn advance(&mut self) -> Result<Option<(Frame, Parsed, Kind)>, WalError> {
        loop {
            if let Some(frame) = self.frame()? {
                let parsed = self.parse(frame)?;
                let kind = self.follow_chain(&parsed)?;
                return Ok(Some((frame, parsed, kind)));
            }
            if self.offset == 0 {
                return Err(self.damaged("a segment without records"));
            }
            if self.current + 1 == self.sources.len() {
                return Ok(None);
            }
            self.enter(self.current + 1)?;
        }
    }

    /// The frame at the offset, or nothing if the segment ends here.
    fn frame(&mut self) -> Result<Option<Frame>, WalError> {
        let at = self.offset;
        let header = self.bytes(at, HEADER)?;
        if header.is_empty() {
            return Ok(None);
        }
        let Ok(field) = <[u8; HEADER as usize]>::try_from(header) else {
            return Err(self.unexpected_eof(String::new()));
        };
        let field = u64::from_le_bytes(field);
        if field == 0 {
            // A lost sector is zero to its end; a frame never straddles two.
            let rest = (at + HEADER).next_multiple_of(SECTOR) - (at + HEADER);
            if self.bytes(at + HEADER, rest)?.iter().any(|&byte| byte != 0) {
                return Err(self.damaged("bytes after a length of zero"));
            }
            return Ok(None);
        }
        let frame = Frame::decode(field);
        let limit = self.length as i64 - at as i64 - frame.padding as i64;
        if i64::try_from(frame.record).is_ok_and(|record| record <= limit) {
            if frame.is_sound() {
                return Ok(Some(frame));
            }
            return Err(self.torn_or(frame, |reader| reader.damaged("wrong padding"))?);
        }
        if self.body_is_whole()? {
            return Err(self.damaged("the length does not fit the record"));
        }
        Err(self.unexpected_eof(format!(
            ": [wal] max entry size limit exceeded when reading \"{}\", recBytes: {}, \
             fileSize({}) - offset({at}) - padBytes({}) = entryLimit({limit})",
            self.sources[self.current].name, frame.record, self.length, frame.padding,
        )))
    }

    fn parse(&mut self, frame: Frame) -> Result<Parsed, WalError> {
        let body = self.bytes(self.offset + HEADER, frame.body())?;
        if (body.len() as u64) < frame.body() {
            if self.body_is_whole()? {
                return Err(self.damaged("the length does not fit the record"));
            }
            return Err(self.unexpected_eof(String::new()));
        }
        match record::parse(&body[..frame.record as usize]) {
            Ok(parsed) => {
                let from = (self.offset + HEADER - self.window_start) as usize;
                let data = parsed.data.clone().unwrap_or(0..0);
                let data = &self.window[from + data.start..from + data.end];
                let crc = crc32c::crc32c_append(self.chain(), data);
                if parsed.kind != 4 && crc != parsed.crc {
                    return Err(self.torn_or(frame, Reader::checksum)?);
                }
                Ok(parsed)
            }
            Err(cause) => Err(self.torn_or(frame, |reader| reader.damaged(cause))?),
        }
    }

    fn follow_chain(&mut self, parsed: &Parsed) -> Result<Kind, WalError> {
        let Some(kind) = Kind::from_number(parsed.kind) else {
            let file = self.sources[self.current].name.clone();
            return Err(WalError::UnexpectedKind { file, kind: parsed.kind });
        };
        if kind == Kind::Crc && self.chain.is_some_and(|chain| chain != parsed.crc) {
            return Err(self.checksum());
        }
        if (kind == Kind::Crc) != (self.offset == 0) {
            return Err(self.damaged("not a checksum record at the head of its segment"));
        }
        self.chain = Some(parsed.crc);
        Ok(kind)
    }

    /// Whether the bytes after the frame at the offset are a whole record that continues the
    /// chain, whatever the frame says.
    fn body_is_whole(&mut self) -> Result<bool, WalError> {
        let chain = self.chain();
        let rest = self.length - self.offset;
        let bytes = self.bytes(self.offset + HEADER, rest)?;
        Ok(record::begins_with_whole_record(bytes, chain))
    }

    /// For a record that cannot be read: the error of a torn tail if it may be one, else `error`.
    fn torn_or(
        &mut self,
        frame: Frame,
        error: impl FnOnce(&Reader<'a>) -> WalError,
    ) -> Result<WalError, WalError> {
        let is_last = self.current + 1 == self.sources.len();
        if !is_last || self.body_is_whole()? {
            return Ok(error(self));
        }
        let mut at = self.offset + HEADER;
        let end = at.saturating_add(frame.body()).min(self.length);
        while at < end {
            let next = (at + 1).next_multiple_of(SECTOR);
            if self.bytes(at, next - at)?.iter().all(|&byte| byte == 0) {
                return Ok(self.unexpected_eof(String::new()));
            }
            at = next;
        }
        Ok(error(self))
    }

    fn unexpected_eof(&self, detail: String) -> WalError {
        let file = self.sources[self.current].name.clone();
        WalError::UnexpectedEof { file, position: self.offset, detail }
    }

    fn damaged(&self, cause: &'static str) -> WalError {
        let file = self.sources[self.current].name.clone();
        WalError::Damaged { file, position: self.offset, cause }
    }

    fn checksum(&self) -> WalError {
        let file = self.sources[self.current].name.clone();
        WalError::Checksum { file, position: self.offset }
    }
}
