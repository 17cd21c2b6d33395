//! Defragmentation: a copy of all rows in a new file, as etcd makes it. Putting the copy in the
//! original's place is the caller's part.

use std::rc::Rc;

use bytes::Bytes;

use super::error::BoltError;
use super::write::{Transaction, text};
use super::{Bolt, BoltOptions};
use crate::storage::disk::{Disk, Path};

/// A transaction of the copy ends after so many rows.
const PUTS_PER_TRANSACTION: usize = 10_000;

/// A step of the copy.
enum Copy {
    Bucket(Bytes),
    Row { bucket: Bytes, key: Bytes, value: Bytes },
}

impl Bolt {
    /// Copies the state after the last transaction to a new file on `disk`, which takes `path` over
    /// from a file that may be there. Etcd's buckets hold no buckets; a file with nested ones is
    /// refused.
    pub fn compact_into(
        &self,
        disk: Rc<dyn Disk>,
        path: &Path,
        options: BoltOptions,
    ) -> Result<Bolt, BoltError> {
        let tx = self.read();
        let mut copy = Bolt::create(disk, path, options)?;
        let mut batch = Vec::new();
        let mut puts = 0;
        for bucket in tx.buckets()? {
            batch.push(Copy::Bucket(bucket.clone()));
            for element in tx.rows(&bucket)?.elements() {
                let (key, value, is_bucket) = element?;
                if is_bucket {
                    return Err(BoltError::IncompatibleValue { bucket: text(&bucket) });
                }
                if puts == PUTS_PER_TRANSACTION {
                    copy.transact(|transaction| write(transaction, &mut batch))?;
                    puts = 0;
                }
                puts += 1;
                batch.push(Copy::Row { bucket: bucket.clone(), key, value });
            }
        }
        copy.transact(|transaction| write(transaction, &mut batch))?;
        Ok(copy)
    }
}

fn write(transaction: &mut Transaction<'_>, batch: &mut Vec<Copy>) -> Result<(), BoltError> {
    for step in batch.drain(..) {
        match step {
            Copy::Bucket(name) => transaction.create(&name)?,
            Copy::Row { bucket, key, value } => {
                transaction.put(&bucket, key, value)?;
                transaction.fill_further(&bucket)?;
            }
        }
    }
    Ok(())
}
