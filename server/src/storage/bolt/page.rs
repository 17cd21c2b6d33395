//! Branch and leaf pages as they lie in the file, and the pages of inline buckets.
//!
//! A `Page` is checked when it is made: every element lies within it and keys ascend, so that
//! looking into it cannot fail. What it refers to is not looked at.

use std::ops::Range;

use bytes::{BufMut, Bytes};

use super::error::{BucketFault, PageFault};

pub(super) const HEADER: usize = 16;
pub(super) const ELEMENT: usize = 16;
pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const META: u16 = 0x04;
pub(super) const FREELIST: u16 = 0x10;
/// Of a leaf element that holds a bucket.
pub(super) const BUCKET: u32 = 0x01;
/// Root page and sequence, in front of a bucket's inline page.
pub(super) const BUCKET_HEAD: usize = 16;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// What every page begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub id: u64,
    pub flags: u16,
    pub count: u16,
    /// How many pages follow that belong to this one.
    pub overflow: u32,
}

impl Header {
    pub(super) fn decode(bytes: &[u8]) -> Header {
        Header {
            id: u64_at(bytes, 0),
            flags: u16_at(bytes, 8),
            count: u16_at(bytes, 10),
            overflow: u32_at(bytes, 12),
        }
    }

    pub(super) fn encode(&self, to: &mut impl BufMut) {
        to.put_u64_le(self.id);
        to.put_u16_le(self.flags);
        to.put_u16_le(self.count);
        to.put_u32_le(self.overflow);
    }
}

/// A branch or leaf page with all its overflow.
#[derive(Clone, Debug)]
pub(super) struct Page {
    id: u64,
    is_leaf: bool,
    count: usize,
    bytes: Bytes,
}

impl Page {
    /// Checks a page, whose header is known to be sound.
    pub(super) fn parse(id: u64, bytes: Bytes) -> Result<Page, PageFault> {
        let header = Header::decode(&bytes);
        let is_leaf = match header.flags {
            BRANCH => false,
            LEAF => true,
            flags => return Err(PageFault::InvalidType { flags }),
        };
        let page = Page { id, is_leaf, count: usize::from(header.count), bytes };
        page.check()?;
        Ok(page)
    }

    /// Takes over a page that was just encoded.
    pub(super) fn encoded(bytes: Bytes) -> Page {
        let header = Header::decode(&bytes);
        let is_leaf = header.flags == LEAF;
        Page { id: header.id, is_leaf, count: usize::from(header.count), bytes }
    }

    fn check(&self) -> Result<(), PageFault> {
        if HEADER + self.count * ELEMENT > self.bytes.len() {
            return Err(PageFault::Count { count: self.count as u64 });
        }
        if !self.is_leaf && self.count == 0 {
            return Err(PageFault::EmptyBranch);
        }
        let mut previous: &[u8] = &[];
        let table_end = (HEADER + self.count * ELEMENT) as u64;
        let mut end = table_end;
        for index in 0..self.count {
            let at = HEADER + index * ELEMENT;
            let (pos, sizes) = if self.is_leaf {
                let value = u64::from(u32_at(&self.bytes, at + 12));
                (u32_at(&self.bytes, at + 4), u64::from(u32_at(&self.bytes, at + 8)) + value)
            } else {
                (u32_at(&self.bytes, at), u64::from(u32_at(&self.bytes, at + 4)))
            };
            let from = at as u64 + u64::from(pos);
            if from < table_end || from + sizes > self.bytes.len() as u64 {
                return Err(PageFault::Element { index });
            }
            if from != end {
                return Err(PageFault::Gap { index });
            }
            end = from + sizes;
            let key = self.key(index);
            if key.is_empty() {
                return Err(PageFault::Element { index });
            }
            if key <= previous {
                return Err(PageFault::KeyOrder { index });
            }
            previous = key;
        }
        Ok(())
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.is_leaf
    }

    /// How many elements there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The page as it lies in the file.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    fn key_range(&self, index: usize) -> Range<usize> {
        let at = HEADER + index * ELEMENT;
        let field = if self.is_leaf { at + 4 } else { at };
        let from = at + u32_at(&self.bytes, field) as usize;
        from..from + u32_at(&self.bytes, field + 4) as usize
    }

    pub(super) fn value_range(&self, index: usize) -> Range<usize> {
        let from = self.key_range(index).end;
        from..from + self.value_len(index)
    }

    /// Where its last element ends: nothing follows.
    pub(super) fn used(&self) -> usize {
        match self.count {
            0 => HEADER,
            count if self.is_leaf => self.value_range(count - 1).end,
            count => self.key_range(count - 1).end,
        }
    }

    pub(super) fn key(&self, index: usize) -> &[u8] {
        &self.bytes[self.key_range(index)]
    }

    pub(super) fn last_key(&self) -> Option<&[u8]> {
        Some(self.key(self.count.checked_sub(1)?))
    }

    pub(super) fn key_bytes(&self, index: usize) -> Bytes {
        self.bytes.slice(self.key_range(index))
    }

    /// The value of a leaf's element.
    pub(super) fn value(&self, index: usize) -> Bytes {
        self.bytes.slice(self.value_range(index))
    }

    /// How long that is.
    pub(super) fn value_len(&self, index: usize) -> usize {
        u32_at(&self.bytes, HEADER + index * ELEMENT + 12) as usize
    }

    /// Whether a leaf's element is a bucket.
    pub(super) fn is_bucket(&self, index: usize) -> bool {
        u32_at(&self.bytes, HEADER + index * ELEMENT) & BUCKET != 0
    }

    /// The page that a branch's element leads to.
    pub(super) fn child(&self, index: usize) -> u64 {
        u64_at(&self.bytes, HEADER + index * ELEMENT + 8)
    }

    /// Where a key is, or where it would stand.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let mut low = 0;
        let mut high = self.count;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// The element of a branch below which a key is, or would stand.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        // Most keys are put behind all others.
        if self.last_key().is_some_and(|last| last <= key) {
            return self.count - 1;
        }
        self.find(key).unwrap_or_else(|after| after.saturating_sub(1))
    }
}

/// What a bucket's value says.
#[derive(Clone, Debug)]
pub(super) struct BucketValue {
    /// Its root page, 0 for none.
    pub root: u64,
    pub sequence: u64,
    /// Its only page, if it has no root page.
    pub inline: Option<Page>,
}

impl BucketValue {
    pub(super) fn parse(value: Bytes) -> Result<BucketValue, BucketFault> {
        if value.len() < BUCKET_HEAD {
            return Err(BucketFault::Short);
        }
        let (root, sequence) = (u64_at(&value, 0), u64_at(&value, 8));
        if root != 0 {
            return Ok(BucketValue { root, sequence, inline: None });
        }
        if value.len() < BUCKET_HEAD + HEADER {
            return Err(BucketFault::Short);
        }
        let bytes = value.slice(BUCKET_HEAD..);
        let flags = Header::decode(&bytes).flags;
        if flags != LEAF {
            return Err(BucketFault::InlineType { flags });
        }
        let inline = |fault| BucketFault::InlinePage { fault: Box::new(fault) };
        let page = Page::parse(0, bytes).map_err(inline)?;
        if (0..page.len()).any(|index| page.is_bucket(index)) {
            return Err(BucketFault::InlineBucket);
        }
        Ok(BucketValue { root, sequence, inline: Some(page) })
    }
}
