//! One transaction: changes gathered in memory, then new pages, a sync, the meta page, a sync.

use bytes::Bytes;

use super::error::{BoltError, PageFault};
use super::free::{Extent, Freelist};
use super::meta::{Meta, NO_FREELIST};
use super::node::{Link, Node};
use super::page::{BUCKET_HEAD, BucketValue};
use super::pager::Pager;
use super::tree::{Put, Work};

pub(super) const KEY_BYTES_MAX: usize = 32_768;
pub(super) const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

/// How far pages are filled when they are split.
const FILL_PERCENT: usize = 50;
/// The same where keys are put in ascending order.
pub(super) const FILL_PERCENT_SEQUENTIAL: usize = 90;

/// A bucket that the transaction changes.
#[derive(Debug)]
struct Open {
    name: Bytes,
    tree: Link,
    sequence: u64,
    fill_percent: usize,
    is_changed: bool,
}

/// What a transaction made, before any of it is written.
#[derive(Debug)]
pub(super) struct Made {
    pub meta: Meta,
    pub pages: Vec<(u64, Bytes)>,
    pub given_up: Vec<Extent>,
}

/// Changes that are not written yet.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    work: Work<'a>,
    meta: Meta,
    /// The bucket of buckets.
    root: Link,
    open: Vec<Open>,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(
        pager: &'a mut Pager,
        free: &'a mut Freelist,
        meta: Meta,
    ) -> Transaction<'a> {
        let high_water = meta.high_water;
        let work = Work {
            pager,
            free,
            base: high_water,
            high_water,
            allocated: Vec::new(),
            given_up: Vec::new(),
            pages: Vec::new(),
        };
        let root = Link::Page(meta.root);
        Transaction { work, meta, root, open: Vec::new() }
    }

    /// Puts a row into a bucket, which must be there.
    pub(super) fn put(&mut self, bucket: &[u8], key: Bytes, value: Bytes) -> Result<(), BoltError> {
        if key.is_empty() {
            return Err(BoltError::KeyRequired);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(BoltError::KeyTooLarge { size: key.len() });
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(BoltError::ValueTooLarge { size: value.len() });
        }
        let place = self.bucket(bucket)?;
        let put = Put { key, value, is_bucket: false };
        let open = &mut self.open[place];
        open.is_changed = true;
        let done = self.work.put(&mut open.tree, put)?;
        done.map_err(|_| incompatible(bucket))
    }

    /// Deletes a row of a bucket, which must be there.
    pub(super) fn delete(&mut self, bucket: &[u8], key: &[u8]) -> Result<(), BoltError> {
        let place = self.bucket(bucket)?;
        let open = &mut self.open[place];
        let done = self.work.delete(&mut open.tree, key)?;
        open.is_changed |= done.map_err(|_| incompatible(bucket))?;
        Ok(())
    }

    /// Fills pages of a bucket further from now on, as its keys come in ascending order.
    pub(super) fn fill_further(&mut self, bucket: &[u8]) -> Result<(), BoltError> {
        let place = self.bucket(bucket)?;
        self.open[place].fill_percent = FILL_PERCENT_SEQUENTIAL;
        Ok(())
    }

    /// Creates a bucket unless it is there.
    pub(super) fn create(&mut self, bucket: &[u8]) -> Result<(), BoltError> {
        if bucket.is_empty() {
            return Err(BoltError::BucketNameRequired);
        }
        if bucket.len() > KEY_BYTES_MAX {
            return Err(BoltError::KeyTooLarge { size: bucket.len() });
        }
        match self.bucket(bucket) {
            Err(BoltError::BucketNotFound { .. }) => {}
            other => return other.map(|_| ()),
        }
        let tree = Link::Node(Box::new(Node::empty_leaf()));
        let name = Bytes::copy_from_slice(bucket);
        let fill_percent = FILL_PERCENT;
        self.add(Open { name, tree, sequence: 0, fill_percent, is_changed: true });
        Ok(())
    }

    fn add(&mut self, open: Open) -> usize {
        self.open.push(open);
        self.open.len() - 1
    }

    /// The place of a bucket among the open ones.
    fn bucket(&mut self, name: &[u8]) -> Result<usize, BoltError> {
        // There are few.
        if let Some(place) = self.open.iter().position(|open| open.name == name) {
            return Ok(place);
        }
        let Some(row) = self.work.get(&self.root, name)? else {
            return Err(BoltError::BucketNotFound { bucket: text(name) });
        };
        if !row.is_bucket {
            return Err(incompatible(b""));
        }
        let page = self.meta.root;
        let value = BucketValue::parse(row.value)
            .map_err(|cause| self.work.pager.fault(page, PageFault::Bucket { index: 0, cause }))?;
        let tree = match value.inline {
            Some(page) => Link::Node(Box::new(Node::from_page(page, None))),
            None => Link::Page(value.root),
        };
        let (sequence, fill_percent) = (value.sequence, FILL_PERCENT);
        Ok(self.add(Open { name: row.key, tree, sequence, fill_percent, is_changed: false }))
    }

    /// Lays everything out on pages.
    pub(super) fn finish(mut self) -> Result<Made, (BoltError, Vec<Extent>)> {
        match self.lay_out() {
            Ok(meta) => {
                let Work { mut pages, given_up, .. } = self.work;
                pages.sort_by_key(|(id, _)| *id);
                Ok(Made { meta, pages, given_up })
            }
            Err(error) => Err((error, self.work.allocated)),
        }
    }

    fn lay_out(&mut self) -> Result<Meta, BoltError> {
        for mut open in std::mem::take(&mut self.open).into_iter().filter(|open| open.is_changed) {
            self.work.rebalance(&mut open.tree)?;
            let value = self.bucket_value(open.tree, open.sequence, open.fill_percent)?;
            let put = Put { key: open.name, value, is_bucket: true };
            let done = self.work.put(&mut self.root, put)?;
            done.map_err(|_| incompatible(b""))?;
        }
        self.work.rebalance(&mut self.root)?;
        let root = std::mem::replace(&mut self.root, Link::Page(0));
        let root = self.work.spill(root, FILL_PERCENT)?;
        if self.meta.freelist != NO_FREELIST {
            let (id, base) = (self.meta.freelist, self.work.base);
            let (_, pages) = self.work.pager.read_freelist(id, base)?;
            self.work.given_up.push(Extent { id, pages });
        }
        Ok(Meta {
            root,
            freelist: NO_FREELIST,
            high_water: self.work.high_water,
            txid: self.meta.txid + 1,
            ..self.meta
        })
    }

    /// The value of a bucket's element: the bucket itself if it is small, else its root page.
    fn bucket_value(
        &mut self,
        tree: Link,
        sequence: u64,
        fill_percent: usize,
    ) -> Result<Bytes, BoltError> {
        if let Link::Node(node) = &tree
            && let Some(value) = node.inline(sequence, self.work.pager.page_bytes())
        {
            self.work.given_up.extend(node.source);
            return Ok(value);
        }
        let root = self.work.spill(tree, fill_percent)?;
        let mut value = Vec::with_capacity(BUCKET_HEAD);
        value.extend_from_slice(&root.to_le_bytes());
        value.extend_from_slice(&sequence.to_le_bytes());
        Ok(value.into())
    }
}

pub(super) fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn incompatible(bucket: &[u8]) -> BoltError {
    BoltError::IncompatibleValue { bucket: text(bucket) }
}
