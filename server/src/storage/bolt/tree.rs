//! Changes of one tree of pages within a transaction: putting and deleting rows, bringing pages
//! together that became too small, and laying what changed out on new pages.
//!
//! Pages are never changed in place. What a node was read from is given up when the node is laid
//! out; both are undone by forgetting the `Work`.

use bytes::{Bytes, BytesMut};

use super::edit::{self, BranchEdit, LeafEdit, encode_branch_edit};
use super::error::{BoltError, PageFault};
use super::free::{Extent, Freelist};
use super::node::{
    Child, Elements, Link, Node, Place, Row, child_of, encode_branch, encode_leaf, split, stays_one,
};
use super::page::{ELEMENT, HEADER, Page};
use super::pager::Pager;

/// No sound tree is as deep: every branch has two children or more.
pub(super) const DEPTH_MAX: usize = 100;

/// What a transaction takes from the file and gives back to it.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub pager: &'a mut Pager,
    pub free: &'a mut Freelist,
    /// Of the state that the transaction began with: pages are read below it.
    pub base: u64,
    /// Where it is now.
    pub high_water: u64,
    pub allocated: Vec<Extent>,
    pub given_up: Vec<Extent>,
    /// Pages to write.
    pub pages: Vec<(u64, Bytes)>,
}

/// What is put.
pub(super) struct Put {
    pub key: Bytes,
    pub value: Bytes,
    pub is_bucket: bool,
}

/// A key holds a bucket where a value is meant, or the reverse.
pub(super) struct Incompatible;

impl Work<'_> {
    fn load(&mut self, id: u64) -> Result<Page, BoltError> {
        self.pager.load(id, self.base)
    }

    /// The node of a link, read now if it was not before.
    pub(super) fn node<'l>(&mut self, link: &'l mut Link) -> Result<&'l mut Node, BoltError> {
        if let Link::Page(id) = *link {
            let page = self.load(id)?;
            let pages = (page.bytes().len() / self.pager.page_bytes()) as u64;
            let node = Node::from_page(page, Some(Extent { id, pages }));
            *link = Link::Node(Box::new(node));
        }
        match link {
            Link::Node(node) => Ok(node),
            Link::Page(_) => unreachable!("it was read"),
        }
    }

    fn too_deep(&self, link: &Link) -> BoltError {
        let page = match link {
            Link::Page(id) => *id,
            Link::Node(node) => node.source.map_or(0, |extent| extent.id),
        };
        self.pager.fault(page, PageFault::TooDeep)
    }

    /// The row of a key.
    pub(super) fn get(&mut self, root: &Link, key: &[u8]) -> Result<Option<Row>, BoltError> {
        let mut link = root;
        for _ in 0..DEPTH_MAX {
            match link {
                Link::Page(id) => return self.get_from_page(*id, key),
                Link::Node(node) => match &node.elements {
                    Elements::Leaf(rows) => {
                        let place = rows.binary_search_by(|row| row.key[..].cmp(key));
                        return Ok(place.ok().map(|place| rows[place].clone()));
                    }
                    Elements::EditedLeaf(edit) => return Ok(edit.get(key)),
                    Elements::Branch(children) => link = &children[child_of(children, key)].link,
                    Elements::EditedBranch(edit) => match edit.find(key) {
                        Ok(below) => link = below,
                        Err(page) => return self.get_from_page(page, key),
                    },
                },
            }
        }
        Err(self.too_deep(link))
    }

    fn get_from_page(&mut self, mut id: u64, key: &[u8]) -> Result<Option<Row>, BoltError> {
        for _ in 0..DEPTH_MAX {
            let page = self.load(id)?;
            if !page.is_leaf() {
                id = page.child(page.child_of(key));
                continue;
            }
            return Ok(page.find(key).ok().map(|place| Row {
                key: page.key_bytes(place),
                value: page.value(place),
                is_bucket: page.is_bucket(place),
            }));
        }
        Err(self.pager.fault(id, PageFault::TooDeep))
    }

    /// The leaf in which a key is, or would stand, with all above it read.
    fn leaf<'l>(&mut self, root: &'l mut Link, key: &[u8]) -> Result<&'l mut Node, BoltError> {
        let mut link = root;
        for _ in 0..DEPTH_MAX {
            let node = self.node(link)?;
            if node.is_leaf() {
                return Ok(node);
            }
            link = node.below(key);
        }
        Err(self.too_deep(link))
    }

    /// Puts a row. A bucket never takes the place of a value, nor a value that of a bucket.
    pub(super) fn put(
        &mut self,
        root: &mut Link,
        put: Put,
    ) -> Result<Result<(), Incompatible>, BoltError> {
        let leaf = self.leaf(root, &put.key)?;
        let mut row = Row { key: put.key, value: put.value, is_bucket: put.is_bucket };
        if let Elements::EditedLeaf(edit) = &mut leaf.elements {
            row = match edit.put(row) {
                edit::Put::Done => return Ok(Ok(())),
                edit::Put::Incompatible => return Ok(Err(Incompatible)),
                edit::Put::Refused(row) => row,
            };
        }
        let rows = leaf.rows();
        // Most keys are put behind all others.
        if rows.last().is_none_or(|last| last.key < row.key) {
            rows.push(row);
            return Ok(Ok(()));
        }
        match rows.binary_search_by(|held| held.key.cmp(&row.key)) {
            Ok(place) if rows[place].is_bucket != row.is_bucket => return Ok(Err(Incompatible)),
            Ok(place) => rows[place] = row,
            Err(place) => rows.insert(place, row),
        }
        Ok(Ok(()))
    }

    /// Deletes a row, if it is there; returns whether it was.
    pub(super) fn delete(
        &mut self,
        root: &mut Link,
        key: &[u8],
    ) -> Result<Result<bool, Incompatible>, BoltError> {
        match self.get(root, key)? {
            None => return Ok(Ok(false)),
            Some(row) if row.is_bucket => return Ok(Err(Incompatible)),
            Some(_) => {}
        }
        let leaf = self.leaf(root, key)?;
        let rows = leaf.rows();
        if let Ok(place) = rows.binary_search_by(|row| row.key[..].cmp(key)) {
            rows.remove(place);
            leaf.is_unbalanced = true;
        }
        Ok(Ok(true))
    }

    fn give_up(&mut self, source: Option<Extent>) {
        self.given_up.extend(source);
    }

    /// Brings pages together from the root down, and makes the tree less deep where it can be.
    pub(super) fn rebalance(&mut self, root: &mut Link) -> Result<(), BoltError> {
        match root {
            Link::Node(node) if node.is_upset() => self.settle(node, 0)?,
            _ => return Ok(()),
        }
        loop {
            let Link::Node(node) = root else { return Ok(()) };
            node.take_apart();
            let Elements::Branch(children) = &mut node.elements else { return Ok(()) };
            if !node.is_unbalanced || children.len() > 1 {
                return Ok(());
            }
            match children.pop() {
                Some(mut only) => {
                    let source = node.source;
                    let below = self.node(&mut only.link)?;
                    below.is_unbalanced = true;
                    self.give_up(source);
                    *root = only.link;
                }
                None => node.elements = Elements::Leaf(Vec::new()),
            }
        }
    }

    /// Brings together the children of a branch that are too small with their neighbours.
    fn settle(&mut self, node: &mut Node, depth: usize) -> Result<(), BoltError> {
        node.take_apart();
        let Elements::Branch(children) = &mut node.elements else { return Ok(()) };
        if depth == DEPTH_MAX {
            return Err(self.too_deep(&Link::Page(node.source.map_or(0, |extent| extent.id))));
        }
        for child in children.iter_mut() {
            if let Link::Node(below) = &mut child.link
                && below.is_upset()
            {
                self.settle(below, depth + 1)?;
            }
        }
        let mut place = 0;
        while place < children.len() {
            let Link::Node(child) = &mut children[place].link else {
                place += 1;
                continue;
            };
            let is_unbalanced = std::mem::take(&mut child.is_unbalanced);
            if !is_unbalanced || child.is_sound(self.pager.page_bytes()) {
                place += 1;
            } else if child.len() == 0 {
                self.give_up(child.source);
                children.remove(place);
                node.is_unbalanced = true;
            } else if children.len() == 1 {
                place += 1;
            } else {
                let left = place.saturating_sub(1);
                self.join(children, left)?;
                node.is_unbalanced = true;
                place = left + 1;
            }
        }
        Ok(())
    }

    /// Takes the child behind `left` into it.
    fn join(&mut self, children: &mut Vec<Child>, left: usize) -> Result<(), BoltError> {
        let mut right = children.remove(left + 1);
        let right = self.node(&mut right.link)?;
        let node = self.node(&mut children[left].link)?;
        right.take_apart();
        node.take_apart();
        match (&mut node.elements, &mut right.elements) {
            (Elements::Leaf(rows), Elements::Leaf(more)) => rows.append(more),
            (Elements::Branch(below), Elements::Branch(more)) => below.append(more),
            _ => {
                let flags = if right.is_leaf() { 2 } else { 1 };
                let page = right.source.map_or(0, |extent| extent.id);
                return Err(self.pager.fault(page, PageFault::InvalidType { flags }));
            }
        }
        self.give_up(right.source);
        Ok(())
    }

    /// Lays a tree out on new pages as far as it changed; returns its root page.
    pub(super) fn spill(&mut self, root: Link, fill_percent: usize) -> Result<u64, BoltError> {
        let node = match root {
            Link::Page(id) => return Ok(id),
            Link::Node(node) => *node,
        };
        let mut parts = self.spill_node(node, fill_percent)?;
        while parts.len() > 1 {
            parts = self.write_branches(&parts, fill_percent);
        }
        match parts.pop() {
            Some((_, id)) => Ok(id),
            None => Ok(self.write_leaf(&[])),
        }
    }

    /// The first keys and the numbers of the pages that a node became; none for an empty one.
    fn spill_node(
        &mut self,
        node: Node,
        fill_percent: usize,
    ) -> Result<Vec<(Bytes, u64)>, BoltError> {
        self.give_up(node.source);
        match node.elements {
            Elements::EditedLeaf(edit) => Ok(self.spill_leaf_edit(edit, fill_percent)),
            Elements::EditedBranch(edit) => self.spill_branch_edit(edit, fill_percent),
            Elements::Leaf(rows) => Ok(self.write_leaves(&rows, fill_percent)),
            Elements::Branch(children) => {
                let mut below = Vec::with_capacity(children.len() + 2);
                for child in children {
                    match child.link {
                        Link::Page(id) => below.push((child.key, id)),
                        Link::Node(node) => {
                            below.append(&mut self.spill_node(*node, fill_percent)?)
                        }
                    }
                }
                Ok(self.write_branches(&below, fill_percent))
            }
        }
    }

    fn spill_leaf_edit(&mut self, edit: LeafEdit, fill_percent: usize) -> Vec<(Bytes, u64)> {
        let Some(first) = edit.first_key() else { return Vec::new() };
        let size = edit.size();
        if !stays_one(edit.len(), size, self.pager.page_bytes()) {
            return self.write_leaves(&edit.take_apart(), fill_percent);
        }
        let id = self.write_page(size, |page, place| edit.encode(page, place));
        vec![(first, id)]
    }

    fn spill_branch_edit(
        &mut self,
        edit: BranchEdit,
        fill_percent: usize,
    ) -> Result<Vec<(Bytes, u64)>, BoltError> {
        let BranchEdit { page, below } = edit;
        let mut spilled = Vec::with_capacity(below.len());
        for (place, link) in below {
            if let Link::Node(node) = link {
                spilled.push((place, self.spill_node(*node, fill_percent)?));
            }
        }
        if let Some(behind) = edit::behind(&page, &spilled) {
            let more = behind.iter().map(|(key, _)| ELEMENT + key.len()).sum::<usize>();
            let (len, size) = (page.len() + behind.len(), page.used() + more);
            if stays_one(len, size, self.pager.page_bytes()) {
                let encode =
                    |to: &mut _, place| encode_branch_edit(to, place, &page, &spilled, behind);
                let id = self.write_page(size, encode);
                return Ok(vec![(page.key_bytes(0), id)]);
            }
        }
        Ok(self.write_branches(&edit::merged(&page, spilled), fill_percent))
    }

    fn write_leaves(&mut self, mut rows: &[Row], fill_percent: usize) -> Vec<(Bytes, u64)> {
        if rows.is_empty() {
            return Vec::new();
        }
        let parts = split(rows.iter().map(Row::size), self.pager.page_bytes(), fill_percent);
        let mut written = Vec::with_capacity(parts.len());
        for part in parts {
            let (these, rest) = rows.split_at(part);
            written.push((these[0].key.clone(), self.write_leaf(these)));
            rows = rest;
        }
        written
    }

    fn write_leaf(&mut self, rows: &[Row]) -> u64 {
        let size = HEADER + rows.iter().map(Row::size).sum::<usize>();
        self.write_page(size, |page, place| encode_leaf(page, place, rows))
    }

    fn write_branches(
        &mut self,
        mut below: &[(Bytes, u64)],
        fill_percent: usize,
    ) -> Vec<(Bytes, u64)> {
        if below.is_empty() {
            return Vec::new();
        }
        let sizes = below.iter().map(|(key, _)| ELEMENT + key.len());
        let parts = split(sizes, self.pager.page_bytes(), fill_percent);
        let mut written = Vec::with_capacity(parts.len());
        for part in parts {
            let (these, rest) = below.split_at(part);
            let size = HEADER + these.iter().map(|(key, _)| ELEMENT + key.len()).sum::<usize>();
            let id = self.write_page(size, |page, place| encode_branch(page, place, these));
            written.push((these[0].0.clone(), id));
            below = rest;
        }
        written
    }

    fn write_page(&mut self, size: usize, encode: impl FnOnce(&mut BytesMut, Place)) -> u64 {
        let pages = size.div_ceil(self.pager.page_bytes());
        let id = self.allocate(pages as u64);
        let mut bytes = self.pager.buffer(pages);
        encode(&mut bytes, Place { id, overflow: (pages - 1) as u32 });
        bytes.resize(pages * self.pager.page_bytes(), 0);
        self.pages.push((id, bytes.freeze()));
        id
    }

    fn allocate(&mut self, pages: u64) -> u64 {
        if let Some(id) = self.free.take(pages) {
            self.allocated.push(Extent { id, pages });
            return id;
        }
        let id = self.high_water;
        self.high_water += pages;
        id
    }
}
