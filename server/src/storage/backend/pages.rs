//! Databases in etcd's own file format.

use std::rc::Rc;

use super::engine::{Body, Database, DatabaseError, Engine, Pinned};
use crate::storage::bolt::{self, Bolt, BoltOptions, ReadTx};
use crate::storage::database::{BucketChange, DatabaseSize};
use crate::storage::disk::{Disk, Path};
use crate::storage::schema::{self, DatabaseImage, bucket};

/// The body of a snapshot is read in pieces of so many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Opens bbolt files.
#[derive(Clone, Copy, Debug)]
pub struct BoltEngine {
    options: BoltOptions,
}

impl BoltEngine {
    /// Files that are laid out and read like this.
    pub fn new(options: BoltOptions) -> BoltEngine {
        BoltEngine { options }
    }
}

impl Engine for BoltEngine {
    fn create(&self, disk: &Rc<dyn Disk>, path: &Path) -> Result<(), DatabaseError> {
        let mut bolt = Bolt::create(Rc::clone(disk), path, self.options)?;
        Ok(schema::initialize(&mut bolt)?)
    }

    fn open(&self, disk: &Rc<dyn Disk>, path: &Path) -> Result<Box<dyn Database>, DatabaseError> {
        let mut bolt = Bolt::open_mapped(Rc::clone(disk), path, self.options)?;
        let buckets = bolt.read().buckets()?;
        // A file without bytes is an empty database, to etcd too.
        if buckets.is_empty() {
            schema::initialize(&mut bolt)?;
        } else if let Some(bucket) =
            bucket::CREATED.into_iter().find(|name| buckets.iter().all(|it| it != name.as_bytes()))
        {
            // To make it anew would be to lose its rows silently.
            return Err(DatabaseError::NoBucket { path: path.to_owned(), bucket });
        }
        Ok(Box::new(BoltDatabase { bolt, disk: Rc::clone(disk), options: self.options }))
    }

    fn check(&self, disk: &dyn Disk, path: &Path) -> Result<Vec<String>, DatabaseError> {
        Ok(bolt::check(disk, path)?.iter().map(ToString::to_string).collect())
    }
}

#[derive(Debug)]
struct BoltDatabase {
    bolt: Bolt,
    disk: Rc<dyn Disk>,
    options: BoltOptions,
}

impl Database for BoltDatabase {
    fn commit(&mut self, changes: Vec<BucketChange>) -> Result<DatabaseSize, DatabaseError> {
        let made = self.bolt.commit(changes)?;
        Ok(DatabaseSize { total_bytes: made.size_bytes, in_use_bytes: made.in_use_bytes })
    }

    fn size(&self) -> DatabaseSize {
        let (total_bytes, in_use_bytes) = (self.bolt.size_bytes(), self.bolt.in_use_bytes());
        DatabaseSize { total_bytes, in_use_bytes }
    }

    fn image(&self) -> Result<DatabaseImage, DatabaseError> {
        Ok(DatabaseImage::read(&self.bolt.read())?)
    }

    fn pin(&mut self) -> Result<Box<dyn Pinned>, DatabaseError> {
        Ok(Box::new(PinnedPages { state: self.bolt.read() }))
    }

    fn copy_into(&mut self, path: &Path) -> Result<(), DatabaseError> {
        self.bolt.compact_into(Rc::clone(&self.disk), path, self.options)?;
        Ok(())
    }
}

#[derive(Debug)]
struct PinnedPages {
    state: ReadTx,
}

impl Pinned for PinnedPages {
    fn meta(&self) -> Result<DatabaseImage, DatabaseError> {
        let names = [bucket::CLUSTER, bucket::MEMBERS, bucket::MEMBERS_REMOVED, bucket::META];
        Ok(DatabaseImage::read_buckets(&self.state, &names)?)
    }

    fn body(&self) -> Result<Body, DatabaseError> {
        let mut bytes = Vec::with_capacity(self.state.size_bytes() as usize);
        for piece in self.state.body(PIECE_BYTES) {
            bytes.extend_from_slice(&piece?);
        }
        Ok(Body { size_bytes: bytes.len() as u64, bytes: bytes.into() })
    }

    fn pages(&self) -> Option<ReadTx> {
        Some(self.state.clone())
    }
}
