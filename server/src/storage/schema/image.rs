//! A whole database in memory: all rows of all buckets, in order.
//!
//! Rows of buckets that are not known are kept like any other. Clones share everything, so that
//! one may stand still while changes go on in another.

use bytes::Bytes;
use imbl::{OrdMap, ordmap};
use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::auth;
use super::bucket;
use crate::storage::bolt::Leaves;
use crate::storage::database::BucketChange;

/// The rows of one bucket: as a file has them until somebody wants more than to go through them,
/// and a map then.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    leaves: Option<Leaves>,
    map: OnceLock<OrdMap<Bytes, Bytes>>,
}

impl Rows {
    /// Those of a file.
    pub(super) fn of(leaves: Leaves) -> Rows {
        Rows { leaves: Some(leaves), map: OnceLock::new() }
    }

    fn map(&self) -> &OrdMap<Bytes, Bytes> {
        let read = || self.leaves.iter().flat_map(Leaves::shared_rows).collect();
        self.map.get_or_init(read)
    }

    fn map_mut(&mut self) -> &mut OrdMap<Bytes, Bytes> {
        self.map();
        self.leaves = None;
        self.map.get_mut().expect("it was just made")
    }

    /// The rows, ascending by key.
    pub fn iter(&self) -> ordmap::Iter<'_, Bytes, Bytes, imbl::shared_ptr::DefaultSharedPtr> {
        self.map().iter()
    }

    /// Gives all rows to `take`, ascending by key, until that fails. Cheaper than `iter` where
    /// they come from a file.
    pub fn try_each<E>(
        &self,
        mut take: impl FnMut(&[u8], Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.leaves {
            Some(leaves) => leaves.rows().try_for_each(|(key, value)| take(key, value)),
            None => self.map().iter().try_for_each(|(key, value)| take(key, value.clone())),
        }
    }
}

impl<'r> IntoIterator for &'r Rows {
    type Item = (&'r Bytes, &'r Bytes);
    type IntoIter = ordmap::Iter<'r, Bytes, Bytes, imbl::shared_ptr::DefaultSharedPtr>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Rows {
    fn eq(&self, other: &Rows) -> bool {
        self.map() == other.map()
    }
}

impl Eq for Rows {}

/// All rows by bucket. What they mean is asked of it in the words of each bucket, where it is an
/// error if a row cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseImage {
    buckets: BTreeMap<Bytes, Rows>,
}

impl DatabaseImage {
    /// Without buckets: something to fill from a file.
    pub fn new() -> DatabaseImage {
        DatabaseImage::default()
    }

    /// What a new member has before it has applied anything.
    pub fn initial() -> DatabaseImage {
        let mut image = DatabaseImage::new();
        for name in bucket::CREATED {
            image.create_bucket(Bytes::from_static(name.as_bytes()));
        }
        image.apply(&[auth::auth_revision(1)]);
        image
    }

    /// Adds a bucket, if it is not there.
    pub fn create_bucket(&mut self, name: Bytes) {
        self.buckets.entry(name).or_default();
    }

    /// Adds a bucket with its rows, if it is not there.
    pub(super) fn add(&mut self, name: Bytes, rows: Rows) {
        self.buckets.entry(name).or_insert(rows);
    }

    /// Adds a row, and its bucket if that is not there.
    pub fn insert(&mut self, bucket: Bytes, key: Bytes, value: Bytes) {
        self.buckets.entry(bucket).or_default().map_mut().insert(key, value);
    }

    /// Carries out changes as a database does, in order.
    pub fn apply(&mut self, changes: &[BucketChange]) {
        for change in changes {
            let name = Bytes::from_static(change.bucket.as_bytes());
            let rows = self.buckets.entry(name).or_default().map_mut();
            match &change.value {
                Some(value) => drop(rows.insert(change.key.clone(), value.clone())),
                None => drop(rows.remove(&change.key)),
            }
        }
    }

    /// The value of a row.
    pub fn get(&self, bucket: &str, key: impl AsRef<[u8]>) -> Option<&Bytes> {
        self.bucket(bucket)?.map().get(key.as_ref())
    }

    /// The rows of a bucket, ascending by key; none if it is not there.
    pub fn rows(&self, bucket: &str) -> impl DoubleEndedIterator<Item = (&Bytes, &Bytes)> {
        self.bucket(bucket).into_iter().flatten()
    }

    /// The rows of a bucket, if it is there.
    pub fn bucket(&self, name: &str) -> Option<&Rows> {
        self.buckets.get(name.as_bytes())
    }

    /// All buckets with their rows, ascending by name.
    pub fn buckets(&self) -> impl Iterator<Item = (&Bytes, &Rows)> {
        self.buckets.iter()
    }
}
