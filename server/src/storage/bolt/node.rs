//! A page that a transaction changes: its elements in memory, and how they become pages again.
//!
//! Nodes own the nodes below them; what was not touched stays a page number. Sizes, fill and the
//! fewest elements of a page are bbolt's, so that files grow as its files do.

use bytes::{BufMut, Bytes, BytesMut};

use super::edit::{BranchEdit, LeafEdit};
use super::free::Extent;
use super::page::{BRANCH, BUCKET, BUCKET_HEAD, ELEMENT, HEADER, Header, LEAF, Page};

/// The fewest elements of a page that was split off.
const KEYS_MIN: usize = 2;

/// Where a branch leads.
#[derive(Debug)]
pub(super) enum Link {
    Page(u64),
    Node(Box<Node>),
}

/// An element of a leaf.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub key: Bytes,
    pub value: Bytes,
    pub is_bucket: bool,
}

/// An element of a branch.
#[derive(Debug)]
pub(super) struct Child {
    pub key: Bytes,
    pub link: Link,
}

/// A page as it was read with what is new, or taken apart.
#[derive(Debug)]
pub(super) enum Elements {
    Leaf(Vec<Row>),
    Branch(Vec<Child>),
    EditedLeaf(LeafEdit),
    EditedBranch(BranchEdit),
}

#[derive(Debug)]
pub(super) struct Node {
    /// The pages that it was read from.
    pub source: Option<Extent>,
    pub elements: Elements,
    /// Something was taken from it: it may have become too small.
    pub is_unbalanced: bool,
}

impl Node {
    pub(super) fn empty_leaf() -> Node {
        Node { source: None, elements: Elements::Leaf(Vec::new()), is_unbalanced: false }
    }

    pub(super) fn from_page(page: Page, source: Option<Extent>) -> Node {
        let elements = match page.is_leaf() {
            true => Elements::EditedLeaf(LeafEdit::new(page)),
            false => Elements::EditedBranch(BranchEdit::new(page)),
        };
        Node { source, elements, is_unbalanced: false }
    }

    pub(super) fn is_leaf(&self) -> bool {
        matches!(self.elements, Elements::Leaf(_) | Elements::EditedLeaf(_))
    }

    /// Makes a list of what an edited page holds.
    pub(super) fn take_apart(&mut self) {
        let elements = std::mem::replace(&mut self.elements, Elements::Leaf(Vec::new()));
        self.elements = match elements {
            Elements::EditedLeaf(edit) => Elements::Leaf(edit.take_apart()),
            Elements::EditedBranch(edit) => Elements::Branch(edit.take_apart()),
            lists => lists,
        };
    }

    /// The rows of a leaf, taken apart.
    pub(super) fn rows(&mut self) -> &mut Vec<Row> {
        self.take_apart();
        match &mut self.elements {
            Elements::Leaf(rows) => rows,
            _ => unreachable!("it is a leaf"),
        }
    }

    /// Where a branch leads for a key.
    pub(super) fn below(&mut self, key: &[u8]) -> &mut Link {
        match &mut self.elements {
            Elements::Branch(children) => {
                let place = child_of(children, key);
                &mut children[place].link
            }
            Elements::EditedBranch(edit) => edit.link(key),
            _ => unreachable!("it is a branch"),
        }
    }

    /// Whether something was taken from it, or from a node below.
    pub(super) fn is_upset(&self) -> bool {
        let is_upset = |link: &Link| matches!(link, Link::Node(node) if node.is_upset());
        self.is_unbalanced
            || match &self.elements {
                Elements::Leaf(_) | Elements::EditedLeaf(_) => false,
                Elements::Branch(children) => children.iter().any(|child| is_upset(&child.link)),
                Elements::EditedBranch(edit) => edit.below.iter().any(|(_, link)| is_upset(link)),
            }
    }

    /// The bytes that its page would take.
    pub(super) fn size(&self) -> usize {
        match &self.elements {
            Elements::Leaf(rows) => HEADER + rows.iter().map(Row::size).sum::<usize>(),
            Elements::Branch(children) => {
                HEADER + children.iter().map(|child| ELEMENT + child.key.len()).sum::<usize>()
            }
            Elements::EditedLeaf(edit) => edit.size(),
            Elements::EditedBranch(edit) => edit.page.used(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.elements {
            Elements::Leaf(rows) => rows.len(),
            Elements::Branch(children) => children.len(),
            Elements::EditedLeaf(edit) => edit.len(),
            Elements::EditedBranch(edit) => edit.page.len(),
        }
    }

    /// Whether it is large enough to stay as it is.
    pub(super) fn is_sound(&self, page_bytes: usize) -> bool {
        let keys_min = if self.is_leaf() { 1 } else { 2 };
        self.len() > keys_min && self.size() > page_bytes / 4
    }

    /// The value of a bucket that holds nothing but this node, if it is small enough.
    pub(super) fn inline(&self, sequence: u64, page_bytes: usize) -> Option<Bytes> {
        if !self.is_leaf() || self.size() > page_bytes / 4 {
            return None;
        }
        let has_buckets = match &self.elements {
            Elements::EditedLeaf(edit) => edit.has_buckets(),
            Elements::Leaf(rows) => rows.iter().any(|row| row.is_bucket),
            _ => false,
        };
        if has_buckets {
            return None;
        }
        let mut value = BytesMut::with_capacity(BUCKET_HEAD + self.size());
        value.put_u64_le(0);
        value.put_u64_le(sequence);
        let place = Place { id: 0, overflow: 0 };
        match &self.elements {
            Elements::EditedLeaf(edit) => edit.encode(&mut value, place),
            Elements::Leaf(rows) => encode_leaf(&mut value, place, rows),
            _ => return None,
        }
        Some(value.freeze())
    }
}

/// The element of a branch below which a key is, or would stand.
pub(super) fn child_of(children: &[Child], key: &[u8]) -> usize {
    match children.binary_search_by(|child| child.key[..].cmp(key)) {
        Ok(place) => place,
        Err(after) => after.saturating_sub(1),
    }
}

impl Row {
    pub(super) fn size(&self) -> usize {
        ELEMENT + self.key.len() + self.value.len()
    }
}

/// Whether elements of this number and size, which comes with the header, stay on one page.
pub(super) fn stays_one(len: usize, size: usize, page_bytes: usize) -> bool {
    len <= KEYS_MIN * 2 || size < page_bytes
}

/// How many elements each page gets when elements of these sizes are laid out: a page is filled up
/// to `fill_percent`, and the last takes what fits in a whole one.
pub(super) fn split(
    mut sizes: impl ExactSizeIterator<Item = usize> + Clone,
    page_bytes: usize,
    fill_percent: usize,
) -> Vec<usize> {
    let mut parts = Vec::new();
    let threshold = page_bytes * fill_percent / 100;
    loop {
        let len = sizes.len();
        let mut total = HEADER;
        let fits = sizes.clone().all(|size| {
            total += size;
            total < page_bytes
        });
        if len <= KEYS_MIN * 2 || fits {
            parts.push(len);
            return parts;
        }
        let mut size = HEADER;
        let mut taken = 0;
        for (place, element) in sizes.clone().take(len - KEYS_MIN).enumerate() {
            taken = place;
            if place >= KEYS_MIN && size + element > threshold {
                break;
            }
            size += element;
        }
        parts.push(taken);
        sizes.nth(taken - 1);
    }
}

/// Where a page is encoded to.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub id: u64,
    pub overflow: u32,
}

fn count(elements: usize) -> u16 {
    u16::try_from(elements).expect("a page of the largest size holds fewer elements")
}

pub(super) fn encode_header(to: &mut BytesMut, place: Place, flags: u16, elements: usize) {
    let header = Header { id: place.id, flags, count: count(elements), overflow: place.overflow };
    header.encode(to);
}

/// Appends the page of a leaf.
pub(super) fn encode_leaf(to: &mut BytesMut, place: Place, rows: &[Row]) {
    encode_header(to, place, LEAF, rows.len());
    put_leaf_table(to, ELEMENT * rows.len(), rows);
    put_rows(to, rows);
}

/// Appends the elements of rows; from where the first stands it is so far to its key.
pub(super) fn put_leaf_table(to: &mut BytesMut, mut distance: usize, rows: &[Row]) {
    for row in rows {
        to.put_u32_le(if row.is_bucket { BUCKET } else { 0 });
        to.put_u32_le(distance as u32);
        to.put_u32_le(row.key.len() as u32);
        to.put_u32_le(row.value.len() as u32);
        distance = distance + row.key.len() + row.value.len() - ELEMENT;
    }
}

pub(super) fn put_rows(to: &mut BytesMut, rows: &[Row]) {
    for row in rows {
        to.put_slice(&row.key);
        to.put_slice(&row.value);
    }
}

/// Appends the page of a branch.
pub(super) fn encode_branch(to: &mut BytesMut, place: Place, children: &[(Bytes, u64)]) {
    encode_header(to, place, BRANCH, children.len());
    put_branch_table(to, ELEMENT * children.len(), children);
    for (key, _) in children {
        to.put_slice(key);
    }
}

/// Appends the elements of children; from where the first stands it is so far to its key.
pub(super) fn put_branch_table(to: &mut BytesMut, mut distance: usize, children: &[(Bytes, u64)]) {
    for (key, id) in children {
        to.put_u32_le(distance as u32);
        to.put_u32_le(key.len() as u32);
        to.put_u64_le(*id);
        distance = distance + key.len() - ELEMENT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(sizes: &[usize], fill_percent: usize) -> Vec<usize> {
        split(sizes.iter().copied(), 4096, fill_percent)
    }

    #[test]
    fn pages_are_filled_to_the_percentage_and_the_last_as_far_as_it_goes() {
        assert_eq!(parts(&[100; 40], 50), [40]);
        assert_eq!(parts(&[100; 41], 50), [20, 21]);
        assert_eq!(parts(&[100; 41], 90), [36, 5]);
        assert_eq!(parts(&[100; 100], 50), [20, 20, 20, 40]);
    }

    #[test]
    fn few_or_large_elements_stay_together() {
        assert_eq!(parts(&[], 50), [0]);
        assert_eq!(parts(&[5000; 4], 50), [4]);
        assert_eq!(parts(&[5000; 5], 50), [2, 3]);
        assert_eq!(parts(&[5000; 9], 90), [2, 2, 2, 3]);
    }
}
