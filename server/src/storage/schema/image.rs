//! A whole database in memory: all rows of all buckets, in order.
//!
//! Rows of buckets that are not known are kept like any other. Clones share everything, so that
//! one may stand still while changes go on in another.

use bytes::Bytes;
use imbl::OrdMap;
use std::collections::BTreeMap;

use super::auth;
use super::bucket;
use crate::storage::database::BucketChange;

/// The rows of one bucket.
pub type Rows = OrdMap<Bytes, Bytes>;

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

    /// Adds a row, and its bucket if that is not there.
    pub fn insert(&mut self, bucket: Bytes, key: Bytes, value: Bytes) {
        self.buckets.entry(bucket).or_default().insert(key, value);
    }

    /// Carries out changes as a database does, in order.
    pub fn apply(&mut self, changes: &[BucketChange]) {
        for change in changes {
            let name = Bytes::from_static(change.bucket.as_bytes());
            let rows = self.buckets.entry(name).or_default();
            match &change.value {
                Some(value) => drop(rows.insert(change.key.clone(), value.clone())),
                None => drop(rows.remove(&change.key)),
            }
        }
    }

    /// The value of a row.
    pub fn get(&self, bucket: &str, key: impl AsRef<[u8]>) -> Option<&Bytes> {
        self.buckets.get(bucket.as_bytes())?.get(key.as_ref())
    }

    /// The rows of a bucket, ascending by key; none if it is not there.
    pub fn rows(&self, bucket: &str) -> impl DoubleEndedIterator<Item = (&Bytes, &Bytes)> {
        self.buckets.get(bucket.as_bytes()).into_iter().flatten()
    }

    /// All buckets with their rows, ascending by name.
    pub fn buckets(&self) -> impl Iterator<Item = (&Bytes, &Rows)> {
        self.buckets.iter()
    }
}
