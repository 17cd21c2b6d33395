//! Pages that a transaction changes a little, without taking them apart: most leaves get rows
//! behind their own or a value of the size of the one before, most branches another number for the
//! page of a child. The new page is then the old one's bytes, shifted and patched.
//!
//! Whatever else is done to such a page takes it apart first (`node`). What is encoded here is, to
//! the byte, what would be encoded of its elements.

use bytes::{Bytes, BytesMut};

use super::node::{
    Child, Link, Place, Row, encode_header, put_branch_table, put_leaf_table, put_rows,
};
use super::page::{BRANCH, ELEMENT, HEADER, LEAF, Page, u32_at};

/// A leaf with other values in the places of some, and rows behind its own.
#[derive(Debug)]
pub(super) struct LeafEdit {
    page: Page,
    /// By place, each as long as the one before.
    values: Vec<(usize, Bytes)>,
    /// Ascending, and above all of the page.
    rows: Vec<Row>,
}

/// What became of a row.
pub(super) enum Put {
    Done,
    /// A bucket is where a value is meant, or the reverse.
    Incompatible,
    /// It is not put: for that the page must be taken apart.
    Refused(Row),
}

impl LeafEdit {
    pub(super) fn new(page: Page) -> LeafEdit {
        LeafEdit { page, values: Vec::new(), rows: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.page.len() + self.rows.len()
    }

    pub(super) fn size(&self) -> usize {
        self.page.used() + self.rows.iter().map(Row::size).sum::<usize>()
    }

    pub(super) fn has_buckets(&self) -> bool {
        (0..self.page.len()).any(|place| self.page.is_bucket(place))
            || self.rows.iter().any(|row| row.is_bucket)
    }

    fn value(&self, place: usize) -> Bytes {
        let changed = self.values.iter().find(|(at, _)| *at == place);
        changed.map_or_else(|| self.page.value(place), |(_, value)| value.clone())
    }

    fn row(&self, place: usize) -> Row {
        Row {
            key: self.page.key_bytes(place),
            value: self.value(place),
            is_bucket: self.page.is_bucket(place),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Row> {
        if let Ok(place) = self.page.find(key) {
            return Some(self.row(place));
        }
        let place = self.rows.binary_search_by(|row| row.key[..].cmp(key)).ok()?;
        Some(self.rows[place].clone())
    }

    pub(super) fn first_key(&self) -> Option<Bytes> {
        match self.page.len() {
            0 => self.rows.first().map(|row| row.key.clone()),
            _ => Some(self.page.key_bytes(0)),
        }
    }

    pub(super) fn put(&mut self, row: Row) -> Put {
        let last = self.rows.last().map(|last| &last.key[..]).or_else(|| self.page.last_key());
        if last.is_none_or(|last| last < &row.key[..]) {
            self.rows.push(row);
            return Put::Done;
        }
        let place = match self.page.find(&row.key) {
            Ok(place) => place,
            Err(place) if place < self.page.len() => return Put::Refused(row),
            Err(_) => return self.put_behind(row),
        };
        if self.page.is_bucket(place) != row.is_bucket {
            return Put::Incompatible;
        }
        if self.page.value_len(place) != row.value.len() {
            return Put::Refused(row);
        }
        match self.values.iter_mut().find(|(at, _)| *at == place) {
            Some((_, value)) => *value = row.value,
            None => self.values.push((place, row.value)),
        }
        Put::Done
    }

    fn put_behind(&mut self, row: Row) -> Put {
        match self.rows.binary_search_by(|held| held.key.cmp(&row.key)) {
            Ok(at) if self.rows[at].is_bucket != row.is_bucket => return Put::Incompatible,
            Ok(at) => self.rows[at] = row,
            Err(at) => self.rows.insert(at, row),
        }
        Put::Done
    }

    /// All rows.
    pub(super) fn take_apart(self) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.len());
        rows.extend((0..self.page.len()).map(|place| self.row(place)));
        rows.extend(self.rows);
        rows
    }

    /// Appends its new page.
    pub(super) fn encode(&self, to: &mut BytesMut, place: Place) {
        let begin = to.len();
        encode_header(to, place, LEAF, self.len());
        let shift = self.rows.len() * ELEMENT;
        copy_table(&self.page, to, 4, shift);
        let data = &self.page.bytes()[HEADER + self.page.len() * ELEMENT..self.page.used()];
        put_leaf_table(to, data.len() + shift, &self.rows);
        to.extend_from_slice(data);
        put_rows(to, &self.rows);
        for (changed, value) in &self.values {
            let range = self.page.value_range(*changed);
            let at = begin + shift;
            to[at + range.start..at + range.end].copy_from_slice(value);
        }
    }
}

/// Copies the elements of a page, whose keys lie further behind them. `field` is where in an
/// element it stands how far.
fn copy_table(page: &Page, to: &mut BytesMut, field: usize, shift: usize) {
    let begin = to.len();
    to.extend_from_slice(&page.bytes()[HEADER..HEADER + page.len() * ELEMENT]);
    if shift == 0 {
        return;
    }
    for element in to[begin..].chunks_exact_mut(ELEMENT) {
        let distance = u32_at(element, field) + shift as u32;
        element[field..field + 4].copy_from_slice(&distance.to_le_bytes());
    }
}

/// A branch below which something changed.
#[derive(Debug)]
pub(super) struct BranchEdit {
    pub page: Page,
    /// The children that were looked for, by their places, which ascend.
    pub below: Vec<(usize, Link)>,
}

impl BranchEdit {
    pub(super) fn new(page: Page) -> BranchEdit {
        BranchEdit { page, below: Vec::new() }
    }

    /// Where a key is, or would stand: the page, or what became of it.
    pub(super) fn find(&self, key: &[u8]) -> Result<&Link, u64> {
        let place = self.page.child_of(key);
        let held = self.below.binary_search_by_key(&place, |(place, _)| *place);
        held.map(|at| &self.below[at].1).map_err(|_| self.page.child(place))
    }

    /// The same, to be changed.
    pub(super) fn link(&mut self, key: &[u8]) -> &mut Link {
        let place = self.page.child_of(key);
        let held = self.below.binary_search_by_key(&place, |(place, _)| *place);
        let at = held.unwrap_or_else(|at| {
            self.below.insert(at, (place, Link::Page(self.page.child(place))));
            at
        });
        &mut self.below[at].1
    }

    /// All children.
    pub(super) fn take_apart(self) -> Vec<Child> {
        let page = self.page;
        let child = |at| Child { key: page.key_bytes(at), link: Link::Page(page.child(at)) };
        let mut children: Vec<Child> = (0..page.len()).map(child).collect();
        for (place, link) in self.below {
            children[place].link = link;
        }
        children
    }
}

/// What the children of a branch have become, in place of what they were: the first keys and the
/// numbers of pages, by the children's places, which ascend.
pub(super) type Spilled = [(usize, Vec<(Bytes, u64)>)];

/// The pages that come behind all others, if nothing else is new but numbers of pages.
pub(super) fn behind<'s>(page: &Page, spilled: &'s Spilled) -> Option<&'s [(Bytes, u64)]> {
    let mut behind: &[(Bytes, u64)] = &[];
    for (place, parts) in spilled {
        let (first, more) = parts.split_first()?;
        if first.0[..] != *page.key(*place) || (!more.is_empty() && *place + 1 < page.len()) {
            return None;
        }
        behind = more;
    }
    Some(behind)
}

/// The same as a list: all first keys and numbers.
pub(super) fn merged(page: &Page, spilled: Vec<(usize, Vec<(Bytes, u64)>)>) -> Vec<(Bytes, u64)> {
    let mut all = Vec::with_capacity(page.len() + 2);
    let mut spilled = spilled.into_iter().peekable();
    for place in 0..page.len() {
        match spilled.next_if(|(changed, _)| *changed == place) {
            Some((_, mut parts)) => all.append(&mut parts),
            None => all.push((page.key_bytes(place), page.child(place))),
        }
    }
    all
}

/// Appends the new page of a branch of which only numbers changed, and what comes `behind`.
pub(super) fn encode_branch_edit(
    to: &mut BytesMut,
    place: Place,
    page: &Page,
    spilled: &Spilled,
    behind: &[(Bytes, u64)],
) {
    let begin = to.len() + HEADER;
    encode_header(to, place, BRANCH, page.len() + behind.len());
    let shift = behind.len() * ELEMENT;
    copy_table(page, to, 0, shift);
    for (changed, parts) in spilled {
        let at = begin + changed * ELEMENT + 8;
        to[at..at + 8].copy_from_slice(&parts[0].1.to_le_bytes());
    }
    let data = &page.bytes()[HEADER + page.len() * ELEMENT..page.used()];
    put_branch_table(to, data.len() + shift, behind);
    to.extend_from_slice(data);
    behind.iter().for_each(|(key, _)| to.extend_from_slice(key));
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    use super::*;
    use crate::storage::bolt::node::{encode_branch, encode_leaf};

    const PLACE: Place = Place { id: 7, overflow: 0 };

    fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
        let mut bytes = BytesMut::from(&b"before"[..]);
        encode(&mut bytes);
        bytes.freeze().slice(6..)
    }

    fn key(number: u32) -> Bytes {
        let len = 4 + number as usize % 3;
        number.to_be_bytes().iter().copied().chain([b'k'; 3]).take(len).collect()
    }

    fn row(number: u32, value: &[u8]) -> Row {
        let is_bucket = number.is_multiple_of(5);
        Row { key: key(number), value: Bytes::copy_from_slice(value), is_bucket }
    }

    #[test]
    fn an_edited_leaf_is_encoded_as_its_rows_are() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut below = |limit: u32| random.next_u32() % limit;
        let mut done = [0; 3];
        for round in 0..300 {
            let rows: Vec<Row> = (0..below(8)).map(|n| row(10 * n + 1, &[1; 4])).collect();
            let page = encoded(|to| encode_leaf(to, PLACE, &rows));
            let mut edit = LeafEdit::new(Page::parse(7, page).unwrap());
            let mut expected = rows;
            for _ in 0..below(8) {
                let number = [10 * below(12) + 1, below(120)][below(2) as usize];
                let value = &[round as u8; 6][..[4, 4, below(7) as usize][below(3) as usize]];
                let mut new = row(number, value);
                new.is_bucket ^= below(10) == 0;
                let key = new.key.clone();
                let place = expected.binary_search_by(|held| held.key.cmp(&new.key));
                match (edit.put(new.clone()), place) {
                    (Put::Done, Ok(place)) => expected[place] = new,
                    (Put::Done, Err(place)) => expected.insert(place, new),
                    (Put::Incompatible, place) => {
                        assert_ne!(expected[place.unwrap()].is_bucket, new.is_bucket);
                        done[1] += 1;
                    }
                    (Put::Refused(_), _) => done[2] += 1,
                }
                done[0] += 1;
                let place = expected.binary_search_by(|held| held.key.cmp(&key)).ok();
                let found = edit.get(&key).map(|row| (row.value, row.is_bucket));
                assert_eq!(
                    found,
                    place.map(|at| &expected[at]).map(|row| (row.value.clone(), row.is_bucket))
                );
            }
            let whole = encoded(|to| encode_leaf(to, PLACE, &expected));
            assert_eq!((edit.len(), edit.size()), (expected.len(), whole.len()));
            assert_eq!(edit.first_key(), expected.first().map(|row| row.key.clone()));
            assert_eq!(encoded(|to| edit.encode(to, PLACE)), whole);
            assert_eq!(encoded(|to| encode_leaf(to, PLACE, &edit.take_apart())), whole);
        }
        assert!(done[1] > 10 && done[2] > 50 && done[0] > done[2] + 300, "{done:?}");
    }

    #[test]
    fn an_edited_branch_is_encoded_as_its_children_are() {
        let children: Vec<_> = (0..9).map(|n| (key(n * 7), u64::from(n) + 100)).collect();
        let page = encoded(|to| encode_branch(to, PLACE, &children));
        let page = Page::parse(7, page).unwrap();
        let first = |place: usize, id| (children[place].0.clone(), id);
        let more = [(key(60), 203), (key(66), 204)];
        for last in [vec![first(8, 202)], [&[first(8, 202)][..], &more].concat()] {
            let spilled = vec![(0, vec![first(0, 200)]), (5, vec![first(5, 201)]), (8, last)];
            let behind = behind(&page, &spilled).unwrap();
            let edited = encoded(|to| encode_branch_edit(to, PLACE, &page, &spilled, behind));
            let merged = merged(&page, spilled.clone());
            assert_eq!(edited, encoded(|to| encode_branch(to, PLACE, &merged)));
        }
        let in_between = vec![(5, [&[first(5, 201)][..], &more].concat())];
        let other_key = vec![(5, vec![(key(36), 201)])];
        for spilled in [in_between, other_key, vec![(5, Vec::new())]] {
            assert_eq!(behind(&page, &spilled), None);
            assert_eq!(merged(&page, spilled.clone()).len(), 8 + spilled[0].1.len());
        }
    }
}
