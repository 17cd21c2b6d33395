//! Every page that a state refers to, looked at once: what opening a file rests on to know its free
//! pages, and what a check reports. Nothing that a file says makes it loop or take more memory than
//! a bit for each of its pages and the pages on the way from the root.

use bytes::Bytes;
use std::collections::BTreeMap;

use super::error::{BoltError, PageFault};
use super::free::Extent;
use super::meta::{Meta, NO_FREELIST};
use super::page::{BucketValue, Page};
use super::pager::Pager;
use super::tree::DEPTH_MAX;

/// A set of pages below the high water mark.
#[derive(Debug)]
pub(super) struct PageSet {
    words: Vec<u64>,
}

impl PageSet {
    pub(super) fn new(pages: u64) -> PageSet {
        PageSet { words: vec![0; (pages as usize).div_ceil(64)] }
    }

    /// Adds a page; returns whether it was not there.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        let word = &mut self.words[(id / 64) as usize];
        let bit = 1 << (id % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.words[(id / 64) as usize] & 1 << (id % 64) != 0
    }
}

/// Who hears of a fault: it may end the walk by returning an error.
pub(super) type Report<'r> = &'r mut dyn FnMut(u64, PageFault) -> Result<(), BoltError>;

/// Leaf pages in order, by the root page of their bucket.
pub(super) type LeavesByRoot = BTreeMap<u64, Vec<Page>>;

/// A walk over all pages of a state.
pub(super) struct Walk<'a> {
    pager: &'a Pager,
    high_water: u64,
    reached: PageSet,
    report: Report<'a>,
    /// What was met, for whoever wants it.
    leaves: Option<&'a mut LeavesByRoot>,
    /// The root page of the bucket that is walked over.
    root: u64,
}

/// Between which keys a page lies: from the first on, below the second.
#[derive(Clone, Default)]
struct Bounds {
    from: Option<Bytes>,
    below: Option<Bytes>,
}

impl<'a> Walk<'a> {
    /// Walks over everything that `meta` refers to; returns the pages that were reached. Where a
    /// page cannot be read nothing below it is.
    pub(super) fn all(
        pager: &'a Pager,
        meta: &Meta,
        report: Report<'a>,
        leaves: Option<&'a mut LeavesByRoot>,
    ) -> Result<PageSet, BoltError> {
        let high_water = meta.high_water;
        let reached = PageSet::new(high_water);
        let root = meta.root;
        let mut walk = Walk { pager, high_water, reached, report, leaves, root };
        walk.reached.insert(0);
        walk.reached.insert(1);
        if meta.freelist != NO_FREELIST {
            match pager.read_freelist(meta.freelist, high_water) {
                Ok((_, pages)) => walk.reach(Extent { id: meta.freelist, pages })?,
                Err(error) => walk.heard(error)?,
            }
        }
        walk.page(meta.root, &Bounds::default(), 0)?;
        Ok(walk.reached)
    }

    /// Reports a page's fault; passes on what is none.
    fn heard(&mut self, error: BoltError) -> Result<(), BoltError> {
        match error {
            BoltError::Page { page, fault, .. } => (self.report)(page, fault),
            other => Err(other),
        }
    }

    fn reach(&mut self, extent: Extent) -> Result<(), BoltError> {
        for id in extent.id..extent.id + extent.pages {
            if !self.reached.insert(id) {
                (self.report)(id, PageFault::MultipleReferences)?;
            }
        }
        Ok(())
    }

    fn page(&mut self, id: u64, bounds: &Bounds, depth: usize) -> Result<(), BoltError> {
        if id < self.high_water && self.reached.contains(id) {
            return (self.report)(id, PageFault::MultipleReferences);
        }
        if depth == DEPTH_MAX {
            return (self.report)(id, PageFault::TooDeep);
        }
        let page = match self.pager.read(id, self.high_water) {
            Ok(page) => page,
            Err(error) => {
                // A page that is damaged is still in use.
                if (2..self.high_water).contains(&id) {
                    self.reached.insert(id);
                }
                return self.heard(error);
            }
        };
        let pages = (page.bytes().len() / self.pager.page_bytes()) as u64;
        self.reach(Extent { id, pages })?;
        self.bounds(&page, bounds)?;
        if page.is_leaf() {
            self.buckets(&page, depth)?;
            if let Some(leaves) = &mut self.leaves {
                leaves.entry(self.root).or_default().push(page);
            }
            return Ok(());
        }
        for index in 0..page.len() {
            let below = match index + 1 < page.len() {
                true => Some(page.key_bytes(index + 1)),
                false => bounds.below.clone(),
            };
            let bounds = Bounds { from: Some(page.key_bytes(index)), below };
            self.page(page.child(index), &bounds, depth + 1)?;
        }
        Ok(())
    }

    /// Whether a page's keys, which ascend, are those that lead to it.
    fn bounds(&mut self, page: &Page, bounds: &Bounds) -> Result<(), BoltError> {
        let Some(last) = page.len().checked_sub(1) else { return Ok(()) };
        if bounds.from.as_ref().is_some_and(|from| page.key(0) < &from[..]) {
            (self.report)(page.id(), PageFault::BelowAncestor)?;
        }
        if bounds.below.as_ref().is_some_and(|below| page.key(last) >= &below[..]) {
            (self.report)(page.id(), PageFault::AboveAncestor { index: last })?;
        }
        Ok(())
    }

    fn buckets(&mut self, page: &Page, depth: usize) -> Result<(), BoltError> {
        for index in (0..page.len()).filter(|&index| page.is_bucket(index)) {
            match BucketValue::parse(page.value(index)) {
                Ok(BucketValue { inline: Some(_), .. }) => {}
                Ok(BucketValue { root, .. }) => {
                    let outer = std::mem::replace(&mut self.root, root);
                    self.page(root, &Bounds::default(), depth + 1)?;
                    self.root = outer;
                }
                Err(cause) => (self.report)(page.id(), PageFault::Bucket { index, cause })?,
            }
        }
        Ok(())
    }
}
