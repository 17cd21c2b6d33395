//! Pages from and to the file, and those of them that are kept in memory.
//!
//! The cache holds pages as they lie in the file and is limited in bytes; which go first depends
//! on the order of use alone. A page that is written takes its predecessor's place there.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;

use bytes::{Bytes, BytesMut};

use super::error::{BoltError, PageFault};
use super::meta::{META_END, Meta, MetaFault};
use super::page::{BRANCH, FREELIST, HEADER, Header, LEAF, Page, u64_at};
use crate::storage::disk::{Disk, File, Mapped};

/// Sizes that a page can have: powers of two between these.
const PAGE_BYTES_MIN: u32 = 512;
const PAGE_BYTES_MAX: u32 = 1 << 20;
/// Pages that lie side by side are written together up to this.
const RUN_BYTES_MAX: usize = 64 << 10;
/// Buffers of pages that left the cache, kept for pages to come.
const SPARE_MAX: usize = 8;

/// An open file of pages.
#[derive(Debug)]
pub(super) struct Pager {
    /// The pages as they were when the file was opened, until one is written.
    map: Option<Map>,
    file: Box<dyn File>,
    path: String,
    page_bytes: usize,
    cache: Cache,
    /// Pages that lie side by side, on their way to the file.
    run: Vec<u8>,
}

/// A file's pages in memory.
#[derive(Debug)]
struct Map {
    bytes: Box<dyn Mapped>,
    /// Every page that a state refers to was looked at.
    is_checked: bool,
}

impl Pager {
    /// Opens and locks a file. There are no pages until `read_meta` or `format` told their size.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &str,
        cache_bytes: usize,
    ) -> Result<Pager, BoltError> {
        let file = disk.open(path).map_err(BoltError::io("open", path))?;
        Pager::over(file, path, cache_bytes)
    }

    /// Takes an open file.
    pub(super) fn over(
        mut file: Box<dyn File>,
        path: &str,
        cache_bytes: usize,
    ) -> Result<Pager, BoltError> {
        match file.try_lock() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(BoltError::Locked { path: path.to_owned() });
            }
            Err(error) => return Err(BoltError::io("flock", path)(error)),
        }
        let cache = Cache::new(cache_bytes);
        let run = Vec::new();
        Ok(Pager { map: None, file, path: path.to_owned(), page_bytes: 0, cache, run })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn renamed(&mut self, path: &str) {
        path.clone_into(&mut self.path);
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    pub(super) fn file_bytes(&self) -> Result<u64, BoltError> {
        self.file.len().map_err(BoltError::io("stat", &*self.path))
    }

    /// Writes the pages of an empty database: two metas, an empty freelist, an empty bucket.
    pub(super) fn format(&mut self, page_bytes: u32) -> Result<(), BoltError> {
        let sizes = PAGE_BYTES_MIN..=PAGE_BYTES_MAX;
        assert!(page_bytes.is_power_of_two() && sizes.contains(&page_bytes), "a page's size");
        self.page_bytes = page_bytes as usize;
        let (root_sequence, freelist) = (0, 2);
        let meta =
            |txid| Meta { page_bytes, root: 3, root_sequence, freelist, high_water: 4, txid };
        let mut bytes = meta(0).encode(0);
        meta(1).encode_to(1, &mut bytes);
        for (id, flags) in [(2, FREELIST), (3, LEAF)] {
            Header { id, flags, count: 0, overflow: 0 }.encode(&mut bytes);
            bytes.resize((id as usize + 1) * self.page_bytes, 0);
        }
        self.write_at(0, &bytes)?;
        self.sync()
    }

    /// Finds the newest meta page that is whole.
    pub(super) fn read_meta(&mut self) -> Result<Meta, BoltError> {
        let mut bytes = [0; META_END];
        let first = self.decode_meta(0, &mut bytes)?;
        let places = match first {
            Ok(meta) => vec![u64::from(meta.page_bytes)],
            Err(_) => (9..=20).map(|power| 1 << power).collect(),
        };
        let mut best = first;
        for place in places {
            let second = self.decode_meta(place, &mut bytes)?;
            let Ok(second) = second else { continue };
            if first.is_err() && u64::from(second.page_bytes) != place {
                continue;
            }
            if best.is_err() || best.is_ok_and(|best| best.txid < second.txid) {
                best = Ok(second);
            }
        }
        let meta = best.map_err(|fault| fault.at(&self.path))?;
        self.accept(&meta)?;
        self.page_bytes = meta.page_bytes as usize;
        Ok(meta)
    }

    fn decode_meta(
        &self,
        at: u64,
        bytes: &mut [u8; META_END],
    ) -> Result<Result<Meta, MetaFault>, BoltError> {
        let read = self.file.read_at(at, bytes).map_err(BoltError::io("read", &*self.path))?;
        Ok(Meta::decode(&bytes[..read]))
    }

    /// Whether a meta page speaks of a database that this file can hold.
    fn accept(&self, meta: &Meta) -> Result<(), BoltError> {
        let invalid = || BoltError::Invalid { path: self.path.clone() };
        let sizes = PAGE_BYTES_MIN..=PAGE_BYTES_MAX;
        if !meta.page_bytes.is_power_of_two() || !sizes.contains(&meta.page_bytes) {
            return Err(invalid());
        }
        if meta.txid >= u64::MAX / 2 || meta.high_water < 3 {
            return Err(invalid());
        }
        let size = self.file_bytes()?;
        let wanted = meta.high_water.checked_mul(u64::from(meta.page_bytes));
        if wanted.is_none_or(|wanted| wanted > size) {
            return Err(BoltError::TooSmall { path: self.path.clone(), size });
        }
        Ok(())
    }

    /// Has the pages of a state in memory without copies, where the disk can do that.
    pub(super) fn map(&mut self, meta: &Meta) {
        let bytes = self.file.map(meta.size_bytes());
        self.map = bytes.map(|bytes| Map { bytes, is_checked: false });
    }

    /// Whether pages are in memory without copies.
    pub(super) fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// Every page that the state refers to which was mapped was read without a fault.
    pub(super) fn checked(&mut self) {
        if let Some(map) = &mut self.map {
            map.is_checked = true;
        }
    }

    /// A branch or leaf page.
    pub(super) fn load(&mut self, id: u64, high_water: u64) -> Result<Page, BoltError> {
        if self.map.is_some() {
            return self.read(id, high_water);
        }
        if let Some(page) = self.cache.get(id) {
            return Ok(page);
        }
        let page = self.read(id, high_water)?;
        self.cache.put(page.clone());
        Ok(page)
    }

    /// A branch or leaf page from the file, which is not kept.
    pub(super) fn read(&self, id: u64, high_water: u64) -> Result<Page, BoltError> {
        let bytes = self.read_raw(id, high_water, &[BRANCH, LEAF])?;
        if self.map.as_ref().is_some_and(|map| map.is_checked) {
            return Ok(Page::encoded(bytes));
        }
        Page::parse(id, bytes).map_err(|fault| self.fault(id, fault))
    }

    /// The ids that a freelist page holds, and how many pages it has.
    pub(super) fn read_freelist(
        &self,
        id: u64,
        high_water: u64,
    ) -> Result<(Vec<u64>, u64), BoltError> {
        let bytes = self.read_raw(id, high_water, &[FREELIST])?;
        let header = Header::decode(&bytes);
        let (from, count) = match header.count {
            u16::MAX => (HEADER + 8, u64_at(&bytes, HEADER)),
            count => (HEADER, u64::from(count)),
        };
        if count > (bytes.len() - from) as u64 / 8 {
            return Err(self.fault(id, PageFault::Count { count }));
        }
        let ids = (0..count as usize).map(|place| u64_at(&bytes, from + place * 8)).collect();
        Ok((ids, u64::from(header.overflow) + 1))
    }

    /// A page with its overflow, of a type that is expected.
    fn read_raw(&self, id: u64, high_water: u64, types: &[u16]) -> Result<Bytes, BoltError> {
        if id < 2 || id >= high_water {
            return Err(self.fault(id, PageFault::OutOfBounds { high_water }));
        }
        let mut bytes = Vec::new();
        let mapped = self.mapped(id, 1);
        if mapped.is_none() {
            bytes = vec![0; self.page_bytes];
            self.fill(id, &mut bytes, 0)?;
        }
        let header = Header::decode(mapped.as_deref().unwrap_or(&bytes));
        if header.id != id {
            return Err(self.fault(id, PageFault::WrongId { found: header.id }));
        }
        if !types.contains(&header.flags) {
            return Err(self.fault(id, PageFault::InvalidType { flags: header.flags }));
        }
        let overflow = header.overflow;
        if u64::from(overflow) >= high_water - id {
            return Err(self.fault(id, PageFault::Overflow { overflow, high_water }));
        }
        if let Some(mapped) = mapped {
            let all = || self.mapped(id, u64::from(overflow) + 1);
            return Ok(if overflow == 0 { mapped } else { all().expect("it is mapped") });
        }
        if overflow > 0 {
            bytes.reserve_exact(overflow as usize * self.page_bytes);
            bytes.resize((overflow as usize + 1) * self.page_bytes, 0);
            self.fill(id, &mut bytes, self.page_bytes)?;
        }
        Ok(bytes.into())
    }

    /// Pages that follow one another, if they are mapped.
    fn mapped(&self, id: u64, pages: u64) -> Option<Bytes> {
        let from = id as usize * self.page_bytes;
        let map = self.map.as_ref()?;
        Some(map.bytes.share(from..from + pages as usize * self.page_bytes))
    }

    /// Fills a page's buffer from `from` on.
    fn fill(&self, id: u64, bytes: &mut [u8], from: usize) -> Result<(), BoltError> {
        let at = id * self.page_bytes as u64 + from as u64;
        let wanted = bytes.len() - from;
        if self.read_at(at, &mut bytes[from..])? < wanted {
            return Err(self.fault(id, PageFault::PastEnd));
        }
        Ok(())
    }

    /// Bytes of the file, whatever they are; fewer only at its end.
    pub(super) fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<usize, BoltError> {
        self.file.read_at(at, buffer).map_err(BoltError::io("read", &*self.path))
    }

    pub(super) fn fault(&self, page: u64, fault: PageFault) -> BoltError {
        BoltError::Page { path: self.path.clone(), page, fault }
    }

    /// An empty buffer with room for so many pages.
    pub(super) fn buffer(&mut self, pages: usize) -> BytesMut {
        let spare = if pages == 1 { self.cache.spare.pop() } else { None };
        spare.unwrap_or_else(|| BytesMut::with_capacity(pages * self.page_bytes))
    }

    /// Writes pages, which ascend; what lies side by side goes in one write.
    pub(super) fn write_pages(&mut self, pages: &[(u64, Bytes)]) -> Result<(), BoltError> {
        let mut run = std::mem::take(&mut self.run);
        run.clear();
        let mut from = 0;
        for (place, (id, bytes)) in pages.iter().enumerate() {
            let at = id * self.page_bytes as u64;
            let next = pages.get(place + 1).map(|(id, _)| id * self.page_bytes as u64);
            let is_joined = next == Some(at + bytes.len() as u64);
            if run.is_empty() && (!is_joined || bytes.len() > RUN_BYTES_MAX) {
                self.write_at(at, bytes)?;
                continue;
            }
            if run.is_empty() {
                from = at;
            }
            run.extend_from_slice(bytes);
            if !is_joined || run.len() > RUN_BYTES_MAX {
                self.write_at(from, &run)?;
                run.clear();
            }
        }
        self.run = run;
        Ok(())
    }

    /// Writes a meta page at its place.
    pub(super) fn write_meta(&mut self, meta: &Meta) -> Result<(), BoltError> {
        let place = meta.txid % 2;
        let mut page = self.buffer(1);
        meta.encode_to(place, &mut page);
        let written = self.write_at(place * u64::from(meta.page_bytes), &page);
        self.cache.keep_spare(page);
        written
    }

    /// Takes written pages into the cache.
    pub(super) fn keep(&mut self, pages: Vec<(u64, Bytes)>) {
        for (_, bytes) in pages {
            self.cache.put(Page::encoded(bytes));
        }
    }

    pub(super) fn write_at(&mut self, at: u64, bytes: &[u8]) -> Result<(), BoltError> {
        self.map = None;
        self.file.write_at(at, bytes).map_err(BoltError::io("write", &*self.path))
    }

    pub(super) fn set_len(&mut self, len: u64) -> Result<(), BoltError> {
        self.file.set_len(len).map_err(BoltError::io("truncate", &*self.path))
    }

    pub(super) fn sync(&mut self) -> Result<(), BoltError> {
        self.file.sync_data().map_err(BoltError::io("fdatasync", &*self.path))
    }
}

/// Pages in memory, at most so many bytes of them. One that was used since it was last considered
/// gets another round.
#[derive(Debug)]
struct Cache {
    limit: usize,
    held: usize,
    pages: BTreeMap<u64, Slot>,
    round: VecDeque<u64>,
    /// Empty buffers of one page.
    spare: Vec<BytesMut>,
}

#[derive(Debug)]
struct Slot {
    page: Page,
    is_used: bool,
}

impl Cache {
    fn new(limit: usize) -> Cache {
        let (pages, round) = (BTreeMap::new(), VecDeque::new());
        Cache { limit, held: 0, pages, round, spare: Vec::new() }
    }

    fn get(&mut self, id: u64) -> Option<Page> {
        let slot = self.pages.get_mut(&id)?;
        slot.is_used = true;
        Some(slot.page.clone())
    }

    fn put(&mut self, page: Page) {
        let id = page.id();
        self.held += page.bytes().len();
        match self.pages.insert(id, Slot { page, is_used: false }) {
            Some(old) => self.gone(old),
            None => self.round.push_back(id),
        }
        while self.held > self.limit {
            let Some(id) = self.round.pop_front() else { break };
            match self.pages.get_mut(&id) {
                Some(slot) if slot.is_used => {
                    slot.is_used = false;
                    self.round.push_back(id);
                }
                _ => {
                    if let Some(slot) = self.pages.remove(&id) {
                        self.gone(slot);
                    }
                }
            }
        }
    }

    /// A page has left. If nobody else looks at it, its buffer is used again; a long one is not.
    fn gone(&mut self, slot: Slot) {
        let bytes = slot.page.into_bytes();
        self.held -= bytes.len();
        if Header::decode(&bytes).overflow == 0
            && let Ok(buffer) = bytes.try_into_mut()
        {
            self.keep_spare(buffer);
        }
    }

    fn keep_spare(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        if self.spare.len() < SPARE_MAX {
            self.spare.push(buffer);
        }
    }
}
