//! Where the values of keys and the tables of pages are in a database's file, as far as damage
//! needs to know. What cannot be followed is left out.
//!
//! A page begins with its number, flags, how many elements it has and how many pages follow that
//! belong to it; then come elements of sixteen bytes, each with the place of its key, which counts
//! from the element. A bucket is an element whose value names its root page, or contains it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const HEADER: usize = 16;
const ELEMENT: usize = 16;
const META_BYTES: usize = HEADER + 64;
const MAGIC: u32 = 0xED0C_DAED;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const IS_BUCKET: u32 = 1;
/// Root page and sequence, before a page that lies within.
const BUCKET_HEAD: usize = 16;
/// Main and sub revision, with a line between them; what is longer is a deletion.
const REVISION_BYTES: usize = 17;
/// Fields of a stored pair.
const KEY_FIELD: u64 = 1;
const VALUE_FIELD: u64 = 5;

/// The newest state in a database's file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Database<'a> {
    bytes: &'a [u8],
    page_bytes: u64,
    root: u64,
    high_water: u64,
    /// Where the page begins that names this state.
    pub meta_at: u64,
}

/// Where a stored pair has its key and its value.
#[derive(Clone, Debug, Default)]
struct Pair {
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

/// An element of a leaf page.
#[derive(Clone, Debug)]
struct Row {
    is_bucket: bool,
    key: Range<usize>,
    value: Range<usize>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(N)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl<'a> Database<'a> {
    /// The state with the higher number of the two that a file names.
    pub fn find(bytes: &'a [u8]) -> Option<Database<'a>> {
        let places = std::iter::once(0).chain((9..17).map(|shift| 1 << shift));
        let metas = places.filter_map(|at| Database::at(bytes, at));
        let found = metas.take(2).max_by_key(|(transaction, _)| *transaction);
        found.map(|(_, database)| database)
    }

    fn at(bytes: &'a [u8], at: usize) -> Option<(u64, Database<'a>)> {
        let meta = bytes.get(at..at + META_BYTES)?;
        let field = |place: usize| number::<8>(meta, HEADER + place);
        let is_sound = number::<4>(meta, HEADER)? == u64::from(MAGIC)
            && field(56)? == checksum(&meta[HEADER..HEADER + 56]);
        let database = Database {
            bytes,
            page_bytes: number::<4>(meta, HEADER + 8)?,
            root: field(16)?,
            high_water: field(40)?,
            meta_at: at as u64,
        };
        is_sound.then_some((field(48)?, database))
    }

    /// How many bytes pages take.
    pub fn used(&self) -> u64 {
        (self.high_water * self.page_bytes).min(self.bytes.len() as u64)
    }

    /// The newest value of each key that has one, without what is empty.
    pub fn values(&self) -> Vec<Range<usize>> {
        let mut newest: BTreeMap<&[u8], Range<usize>> = BTreeMap::new();
        for row in self.rows_of(b"key") {
            let Some(Pair { key: Some(key), value }) = self.pair(&row.value) else { continue };
            newest.remove(&self.bytes[key.clone()]);
            if let (REVISION_BYTES, Some(value)) = (row.key.len(), value) {
                newest.insert(&self.bytes[key], value);
            }
        }
        newest.into_values().filter(|value| !value.is_empty()).collect()
    }

    /// Reads a stored pair as far as it can be read.
    fn pair(&self, place: &Range<usize>) -> Option<Pair> {
        let mut pair = Pair::default();
        let mut at = place.start;
        while at < place.end {
            let tag = self.varint(&mut at)?;
            let content = self.varint(&mut at)?;
            if tag & 7 == 0 {
                continue;
            }
            let end = at.checked_add(usize::try_from(content).ok()?)?;
            match tag {
                _ if tag & 7 != 2 || end > place.end => return None,
                _ if tag >> 3 == KEY_FIELD => pair.key = Some(at..end),
                _ if tag >> 3 == VALUE_FIELD => pair.value = Some(at..end),
                _ => {}
            }
            at = end;
        }
        Some(pair)
    }

    fn varint(&self, at: &mut usize) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(*at)?;
            *at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// The rows of a bucket, in order.
    fn rows_of(&self, name: &[u8]) -> Vec<Row> {
        let mut buckets = Vec::new();
        self.walk(self.root, &mut |page| buckets.extend(self.rows(page)));
        let mut rows = Vec::new();
        for bucket in buckets.iter().filter(|row| row.is_bucket) {
            if &self.bytes[bucket.key.clone()] != name {
                continue;
            }
            match number::<8>(self.bytes, bucket.value.start) {
                Some(0) => rows.extend(self.rows(bucket.value.start + BUCKET_HEAD)),
                Some(root) => {
                    self.walk(root, &mut |page| rows.extend(self.rows(page)));
                }
                None => {}
            }
        }
        rows
    }

    /// The bytes of the headers and tables of all branch pages below the buckets; of all leaf
    /// pages, where there is no branch.
    pub fn structure(&self) -> Vec<u64> {
        let mut leaves = Vec::new();
        self.walk(self.root, &mut |page| leaves.push(page));
        let buckets: Vec<Row> = leaves.iter().flat_map(|page| self.rows(*page)).collect();
        let mut branches = Vec::new();
        for bucket in buckets.iter().filter(|row| row.is_bucket) {
            if let Some(root @ 1..) = number::<8>(self.bytes, bucket.value.start) {
                branches.extend(self.walk(root, &mut |page| leaves.push(page)));
            }
        }
        let is_leaf = branches.is_empty();
        let pages = if is_leaf { leaves } else { branches };
        let table = |page: usize| {
            let count = number::<2>(self.bytes, page + 10).unwrap_or(0) as usize;
            let table = page + HEADER..page + HEADER + count * ELEMENT;
            // Of the flags of a leaf's element only one means something, and nothing tells how long
            // the last value should be.
            let (from, end) =
                if is_leaf { (4, table.end.saturating_sub(4)) } else { (0, table.end) };
            let elements = table.step_by(ELEMENT).flat_map(move |at| at + from..at + ELEMENT);
            let elements = elements.filter(move |at| *at < end);
            (page..page + HEADER).chain(elements).map(|at| at as u64)
        };
        let bytes = pages.into_iter().flat_map(table);
        bytes.filter(|at| *at < self.bytes.len() as u64).collect()
    }

    /// Visits the leaf pages below a page, in order; returns the branch pages above them.
    fn walk(&self, root: u64, visit: &mut dyn FnMut(usize)) -> Vec<usize> {
        let (mut seen, mut branches, mut waiting) = (BTreeSet::new(), Vec::new(), vec![root]);
        while let Some(page) = waiting.pop() {
            if page >= self.high_water || !seen.insert(page) {
                continue;
            }
            let at = (page * self.page_bytes) as usize;
            match number::<2>(self.bytes, at + 8).map(|flags| flags as u16) {
                Some(LEAF) => visit(at),
                Some(BRANCH) => {
                    branches.push(at);
                    let count = number::<2>(self.bytes, at + 10).unwrap_or(0) as usize;
                    let child = |index| number::<8>(self.bytes, at + HEADER + index * ELEMENT + 8);
                    waiting.extend((0..count).rev().filter_map(child));
                }
                _ => {}
            }
        }
        branches
    }

    /// The elements of the leaf page that begins here.
    fn rows(&self, page: usize) -> Vec<Row> {
        let count = number::<2>(self.bytes, page + 10).unwrap_or(0) as usize;
        let row = |index: usize| {
            let at = page + HEADER + index * ELEMENT;
            let field = |place: usize| number::<4>(self.bytes, at + place);
            let key = at + field(4)? as usize;
            let value = key + field(8)? as usize;
            let end = value + field(12)? as usize;
            let is_bucket = field(0)? & u64::from(IS_BUCKET) != 0;
            (end <= self.bytes.len()).then_some(Row {
                is_bucket,
                key: key..value,
                value: value..end,
            })
        };
        (0..count).filter_map(row).collect()
    }
}
