//! A database's rows out of its file.

use super::bucket::CREATED;
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

/// Gives an empty database what a new member has before it has applied anything.
pub fn initialize(database: &mut Bolt) -> Result<(), BoltError> {
    database.create_buckets(&CREATED)?;
    database.commit([super::auth_revision(1)])?;
    Ok(())
}
