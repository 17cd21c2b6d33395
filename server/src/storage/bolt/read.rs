//! A state of the database that stays readable while transactions go on: its pages are not used
//! again as long as it lives.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::Shared;
use super::error::{BoltError, PageFault};
use super::meta::Meta;
use super::page::{BucketValue, Page};
use super::tree::DEPTH_MAX;
use super::write::text;

/// A read transaction. It stays valid when the database is dropped, and when its file is renamed
/// or removed; the file stays locked as long as it lives.
#[derive(Debug)]
pub struct ReadTx {
    shared: Rc<RefCell<Shared>>,
    meta: Meta,
    in_use_bytes: u64,
}

/// Where a bucket's rows begin.
enum Start {
    Root(u64),
    Inline(Page),
}

impl ReadTx {
    pub(super) fn pin(shared: Rc<RefCell<Shared>>) -> ReadTx {
        let (meta, in_use_bytes) = {
            let mut held = shared.borrow_mut();
            let meta = held.meta;
            *held.readers.entry(meta.txid).or_insert(0) += 1;
            (meta, held.in_use_bytes())
        };
        ReadTx { shared, meta, in_use_bytes }
    }

    /// The transaction whose state this is.
    pub fn txid(&self) -> u64 {
        self.meta.txid
    }

    /// The size of the database: all pages that were ever allocated.
    pub fn size_bytes(&self) -> u64 {
        self.meta.size_bytes()
    }

    /// The size without free pages.
    pub fn in_use_bytes(&self) -> u64 {
        self.in_use_bytes
    }

    /// The names of all buckets, in order.
    pub fn buckets(&self) -> Result<Vec<Bytes>, BoltError> {
        let rows = Rows::begin(self, Start::Root(self.meta.root), b"");
        let mut names = Vec::new();
        for row in rows.elements() {
            let (key, _, is_bucket) = row?;
            if is_bucket {
                names.push(key);
            }
        }
        Ok(names)
    }

    /// The value of a key; nothing if there is none, or a bucket.
    pub fn get(&self, bucket: &[u8], key: &[u8]) -> Result<Option<Bytes>, BoltError> {
        let leaf = match self.start(bucket)? {
            Start::Inline(page) => page,
            Start::Root(root) => self.leaf(root, key)?,
        };
        let place = leaf.find(key).ok().filter(|&place| !leaf.is_bucket(place));
        Ok(place.map(|place| leaf.value(place)))
    }

    /// All rows of a bucket, by key; buckets within it are left out.
    pub fn rows(&self, bucket: &[u8]) -> Result<Rows<'_>, BoltError> {
        self.rows_from(bucket, b"")
    }

    /// The rows of a bucket from a key on.
    pub fn rows_from(&self, bucket: &[u8], key: &[u8]) -> Result<Rows<'_>, BoltError> {
        Ok(Rows::begin(self, self.start(bucket)?, key))
    }

    /// All rows of a bucket, read at once.
    pub fn leaves(&self, bucket: &[u8]) -> Result<Leaves, BoltError> {
        let start = self.start(bucket)?;
        let opened = match start {
            Start::Root(root) => self.shared.borrow_mut().opened.remove(&root),
            Start::Inline(_) => None,
        };
        if let Some(pages) = opened {
            return Ok(Leaves { pages });
        }
        let mut rows = Rows::begin(self, start, b"");
        let mut pages = Vec::new();
        while let Some(page) = rows.leaf()? {
            pages.push(page);
        }
        Ok(Leaves { pages })
    }

    /// Reads the body of a snapshot at an offset below `size_bytes`: the state's own meta page and
    /// the one that would have been before it, then all pages as they are. Returns how much was
    /// read; that is less than the buffer holds only at the body's end.
    pub fn read_body(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, BoltError> {
        let wanted = self.size_bytes().saturating_sub(offset).min(buffer.len() as u64) as usize;
        let metas_end = 2 * u64::from(self.meta.page_bytes);
        let from_metas = metas_end.saturating_sub(offset).min(wanted as u64) as usize;
        if from_metas > 0 {
            let from = offset as usize;
            buffer[..from_metas].copy_from_slice(&self.metas()[from..from + from_metas]);
        }
        let rest = &mut buffer[from_metas..wanted];
        let at = offset + from_metas as u64;
        let shared = self.shared.borrow();
        if shared.pager.read_at(at, rest)? < rest.len() {
            let page = at / u64::from(self.meta.page_bytes);
            return Err(shared.pager.fault(page, PageFault::PastEnd));
        }
        Ok(wanted)
    }

    /// The body of a snapshot in pieces of `piece_bytes`, of which the last may be shorter.
    pub fn body(&self, piece_bytes: usize) -> impl Iterator<Item = Result<Bytes, BoltError>> + '_ {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let left = self.size_bytes() - offset;
            if left == 0 {
                return None;
            }
            let mut piece = vec![0; left.min(piece_bytes as u64) as usize];
            let read = self.read_body(offset, &mut piece);
            offset += piece.len() as u64;
            if read.is_err() {
                offset = self.size_bytes();
            }
            Some(read.map(|_| piece.into()))
        })
    }

    fn metas(&self) -> BytesMut {
        let mut bytes = self.meta.encode(0);
        let before = Meta { txid: self.meta.txid.saturating_sub(1), ..self.meta };
        before.encode_to(1, &mut bytes);
        bytes
    }

    fn load(&self, id: u64) -> Result<Page, BoltError> {
        self.shared.borrow_mut().pager.load(id, self.meta.high_water)
    }

    fn fault(&self, page: u64, fault: PageFault) -> BoltError {
        self.shared.borrow().pager.fault(page, fault)
    }

    fn leaf(&self, mut id: u64, key: &[u8]) -> Result<Page, BoltError> {
        for _ in 0..DEPTH_MAX {
            let page = self.load(id)?;
            if page.is_leaf() {
                return Ok(page);
            }
            id = page.child(page.child_of(key));
        }
        Err(self.fault(id, PageFault::TooDeep))
    }

    fn start(&self, bucket: &[u8]) -> Result<Start, BoltError> {
        let leaf = self.leaf(self.meta.root, bucket)?;
        let index = leaf.find(bucket).ok().filter(|&index| leaf.is_bucket(index));
        let index = index.ok_or_else(|| BoltError::BucketNotFound { bucket: text(bucket) })?;
        let value = BucketValue::parse(leaf.value(index))
            .map_err(|cause| self.fault(leaf.id(), PageFault::Bucket { index, cause }))?;
        Ok(value.inline.map_or(Start::Root(value.root), Start::Inline))
    }
}

impl Clone for ReadTx {
    fn clone(&self) -> ReadTx {
        *self.shared.borrow_mut().readers.entry(self.meta.txid).or_insert(0) += 1;
        ReadTx { shared: Rc::clone(&self.shared), meta: self.meta, in_use_bytes: self.in_use_bytes }
    }
}

impl Drop for ReadTx {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        if let Some(count) = shared.readers.get_mut(&self.meta.txid) {
            *count -= 1;
            if *count == 0 {
                shared.readers.remove(&self.meta.txid);
            }
        }
    }
}

/// The rows of a bucket, by key. After an error there are no more.
pub struct Rows<'t> {
    tx: &'t ReadTx,
    /// Pages from the root down, each with the place of what comes next there.
    stack: Vec<(Page, usize)>,
    /// What was met while the first row was looked for.
    failed: Option<BoltError>,
}

impl<'t> Rows<'t> {
    fn begin(tx: &'t ReadTx, start: Start, key: &[u8]) -> Rows<'t> {
        let mut rows = Rows { tx, stack: Vec::new(), failed: None };
        match start {
            Start::Inline(page) => {
                let place = page.find(key).unwrap_or_else(|place| place);
                rows.stack.push((page, place));
            }
            Start::Root(root) => rows.failed = rows.descend(root, key).err(),
        }
        rows
    }

    fn descend(&mut self, mut id: u64, key: &[u8]) -> Result<(), BoltError> {
        while self.stack.len() < DEPTH_MAX {
            let page = self.tx.load(id)?;
            // Pages that are gone through from their beginning are not searched.
            let is_first = key.is_empty();
            if page.is_leaf() {
                let place = if is_first { 0 } else { page.find(key).unwrap_or_else(|place| place) };
                self.stack.push((page, place));
                return Ok(());
            }
            let place = if is_first { 0 } else { page.child_of(key) };
            id = page.child(place);
            self.stack.push((page, place + 1));
        }
        Err(self.tx.fault(id, PageFault::TooDeep))
    }

    /// The next element, buckets included.
    fn element(&mut self) -> Result<Option<(Bytes, Bytes, bool)>, BoltError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while let Some((page, place)) = self.stack.last_mut() {
            if *place == page.len() {
                self.stack.pop();
                continue;
            }
            let at = *place;
            *place += 1;
            if page.is_leaf() {
                return Ok(Some((page.key_bytes(at), page.value(at), page.is_bucket(at))));
            }
            let child = page.child(at);
            self.descend(child, b"")?;
        }
        Ok(None)
    }

    /// The next leaf, of which nothing was taken.
    fn leaf(&mut self) -> Result<Option<Page>, BoltError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while let Some((page, place)) = self.stack.pop() {
            if page.is_leaf() {
                return Ok(Some(page));
            }
            if place < page.len() {
                let child = page.child(place);
                self.stack.push((page, place + 1));
                self.descend(child, b"")?;
            }
        }
        Ok(None)
    }

    pub(super) fn elements(
        mut self,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes, bool), BoltError>> {
        std::iter::from_fn(move || self.element().inspect_err(|_| self.stack.clear()).transpose())
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<(Bytes, Bytes), BoltError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.element() {
                Ok(Some((_, _, true))) => {}
                Ok(Some((key, value, false))) => return Some(Ok((key, value))),
                Ok(None) => return None,
                Err(error) => {
                    self.stack.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The rows of a bucket in memory, as the pages of the file have them. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Leaves {
    pages: Vec<Page>,
}

impl Leaves {
    /// The rows by key; buckets within the bucket are left out.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], Bytes)> {
        self.places().map(|(page, place)| (page.key(place), page.value(place)))
    }

    /// The same with keys that share the pages.
    pub fn shared_rows(&self) -> impl Iterator<Item = (Bytes, Bytes)> {
        self.places().map(|(page, place)| (page.key_bytes(place), page.value(place)))
    }

    /// Where rows are.
    fn places(&self) -> impl Iterator<Item = (&Page, usize)> {
        self.pages.iter().flat_map(|page| {
            let places = (0..page.len()).filter(|&place| !page.is_bucket(place));
            places.map(move |place| (page, place))
        })
    }
}
