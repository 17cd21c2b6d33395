//! How a database lies in a file: the seam between what a driver does with databases and their
//! format. Production has one format, etcd's; a simulation may keep rows elsewhere.

use std::fmt;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use thiserror::Error;

use crate::storage::bolt::{BoltError, ReadTx};
use crate::storage::database::{BucketChange, DatabaseSize};
use crate::storage::disk::{Disk, Path, words};
use crate::storage::schema::DatabaseImage;

/// The body of a snapshot, as it travels between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// What the receiver writes to its disk.
    pub bytes: Bytes,
    /// How many bytes a link is to carry for it.
    pub size_bytes: u64,
}

/// Opens databases.
pub trait Engine: fmt::Debug {
    /// Makes the database of a new member in a file that is not there yet, durable but for its
    /// name.
    fn create(&self, disk: &Rc<dyn Disk>, path: &Path) -> Result<(), DatabaseError>;
    /// Opens the database in a file.
    fn open(&self, disk: &Rc<dyn Disk>, path: &Path) -> Result<Box<dyn Database>, DatabaseError>;

    /// What is wrong with a file that nobody has open and that can be opened.
    fn check(&self, _disk: &dyn Disk, _path: &Path) -> Result<Vec<String>, DatabaseError> {
        Ok(Vec::new())
    }
}

/// An open database.
pub trait Database: fmt::Debug {
    /// Makes changes in their order, all of them or none, durable when this returns. After an
    /// error nothing more is committed.
    fn commit(&mut self, changes: Vec<BucketChange>) -> Result<DatabaseSize, DatabaseError>;
    /// How large it is.
    fn size(&self) -> DatabaseSize;
    /// Everything in it.
    fn image(&self) -> Result<DatabaseImage, DatabaseError>;
    /// Holds the state that it is in.
    fn pin(&mut self) -> Result<Box<dyn Pinned>, DatabaseError>;
    /// Copies it densely into a file that is not there yet, durable but for its name.
    fn copy_into(&mut self, path: &Path) -> Result<(), DatabaseError>;
}

/// A state of a database that stays readable while commits go on.
pub trait Pinned: fmt::Debug {
    /// The rows about the log and the cluster: buckets `meta`, `cluster` and those of members.
    fn meta(&self) -> Result<DatabaseImage, DatabaseError>;
    /// All of it, to be sent.
    fn body(&self) -> Result<Body, DatabaseError>;
    /// The state as a file in etcd's format has it, where it is one.
    fn pages(&self) -> Option<ReadTx> {
        None
    }
}

/// Why a database cannot be read or written.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The disk refused an operation.
    #[error("{operation} {path}: {}", words(source))]
    Io {
        /// The system call's name.
        operation: &'static str,
        /// On which file.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// The file holds no database, or a damaged one.
    #[error("invalid database")]
    Invalid {
        /// The file.
        path: String,
    },
    /// Every database has this bucket.
    #[error("{path}: bucket {bucket:?} is missing")]
    NoBucket {
        /// The file.
        path: String,
        /// The bucket's name.
        bucket: &'static str,
    },
    /// A file in etcd's format.
    #[error(transparent)]
    Bolt(#[from] BoltError),
    /// An earlier operation failed: what reached the medium is unknown.
    #[error("database: a write or sync failed before")]
    Failed,
}

impl DatabaseError {
    /// Which file is meant, where the text does not say so.
    pub fn path(&self) -> Option<&Path> {
        match self {
            DatabaseError::Invalid { path }
            | DatabaseError::Bolt(
                BoltError::Invalid { path }
                | BoltError::Version { path }
                | BoltError::Checksum { path }
                | BoltError::TooSmall { path, .. }
                | BoltError::Locked { path },
            ) => Some(path),
            _ => None,
        }
    }

    /// Says what the disk was asked for.
    pub fn io(
        operation: &'static str,
        path: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> DatabaseError {
        let path = path.into();
        move |source| DatabaseError::Io { operation, path, source }
    }
}
