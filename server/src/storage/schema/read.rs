//! A database's rows out of its file.

use super::bucket::CREATED;
use super::hash::{DatabaseHasher, HashScope};
use super::image::{DatabaseImage, Rows};
use crate::storage::bolt::{Bolt, BoltError, ReadTx};

impl DatabaseImage {
    /// Everything that a state of a database holds.
    pub fn read(tx: &ReadTx) -> Result<DatabaseImage, BoltError> {
        DatabaseImage::read_where(tx, |_| true)
    }

    /// The rows of some buckets; those that are not there have none.
    pub fn read_buckets(tx: &ReadTx, names: &[&str]) -> Result<DatabaseImage, BoltError> {
        DatabaseImage::read_where(tx, |name| names.iter().any(|wanted| name == wanted.as_bytes()))
    }

    fn read_where(
        tx: &ReadTx,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<DatabaseImage, BoltError> {
        let mut image = DatabaseImage::new();
        for name in tx.buckets()?.into_iter().filter(|name| is_wanted(name)) {
            let rows = Rows::of(tx.leaves(&name)?);
            image.add(name, rows);
        }
        Ok(image)
    }
}

/// The hash of all rows of a state that count.
pub fn hash_rows(tx: &ReadTx, scope: HashScope) -> Result<u32, BoltError> {
    let mut hasher = DatabaseHasher::new(scope);
    for name in tx.buckets()? {
        hasher.bucket(&name);
        for row in tx.rows(&name)? {
            let (key, value) = row?;
            hasher.row(&key, &value);
        }
    }
    Ok(hasher.finish())
}

/// Gives an empty database what a new member has before it has applied anything.
pub fn initialize(database: &mut Bolt) -> Result<(), BoltError> {
    database.create_buckets(&CREATED)?;
    database.commit([super::auth_revision(1)])?;
    Ok(())
}
