//! Why a database cannot be read or written. Where bbolt has words for it they are used; where it
//! would panic or read past its map, the text is ours and names the page.

use std::io;

use thiserror::Error;

use crate::storage::disk::words;

/// A failure of the database.
#[derive(Debug, Error)]
pub enum BoltError {
    /// The disk refused an operation.
    #[error("{operation} {path}: {}", words(source))]
    Io {
        /// The system call's name.
        operation: &'static str,
        /// On which file or directory.
        path: String,
        /// What it said.
        source: io::Error,
    },
    /// Somebody else has the file open.
    #[error("timeout")]
    Locked {
        /// The file.
        path: String,
    },
    /// Neither meta page is one of a database, or what both say is impossible.
    #[error("invalid database")]
    Invalid {
        /// The file.
        path: String,
    },
    /// Another version of the format.
    #[error("version mismatch")]
    Version {
        /// The file.
        path: String,
    },
    /// Neither meta page has the checksum of its content.
    #[error("checksum error")]
    Checksum {
        /// The file.
        path: String,
    },
    /// The file ends before the pages that its meta page counts.
    #[error("file size too small {size}")]
    TooSmall {
        /// The file.
        path: String,
        /// Its length in bytes.
        size: u64,
    },
    /// A page that cannot be what it is referred to as.
    #[error("{path}: page {page}: {fault}")]
    Page {
        /// The file.
        path: String,
        /// The page.
        page: u64,
        /// What is wrong with it.
        fault: PageFault,
    },
    /// No bucket of that name.
    #[error("bucket not found")]
    BucketNotFound {
        /// The name.
        bucket: String,
    },
    /// A bucket needs a name.
    #[error("bucket name required")]
    BucketNameRequired,
    /// Keys have at least one byte.
    #[error("key required")]
    KeyRequired,
    /// A key above 32,768 bytes.
    #[error("key too large")]
    KeyTooLarge {
        /// Its length.
        size: usize,
    },
    /// A value above what the format can count.
    #[error("value too large")]
    ValueTooLarge {
        /// Its length.
        size: usize,
    },
    /// The key is a bucket's name where a value is wanted, or the reverse.
    #[error("incompatible value")]
    IncompatibleValue {
        /// The bucket in which it is.
        bucket: String,
    },
    /// An earlier write or sync failed: what reached the medium is unknown, and nothing more is
    /// written.
    #[error("bolt: a write or sync failed before")]
    Failed,
}

/// What can be wrong with a page.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PageFault {
    /// A reference to a page that cannot be there.
    #[error("out of bounds: {high_water}")]
    OutOfBounds {
        /// The first page that was never allocated.
        high_water: u64,
    },
    /// Two references lead to it.
    #[error("multiple references")]
    MultipleReferences,
    /// A reference leads to it, and the freelist holds it.
    #[error("reachable freed")]
    ReachableFreed,
    /// The freelist holds it twice.
    #[error("already freed")]
    AlreadyFreed,
    /// No reference leads to it, and the freelist does not hold it.
    #[error("unreachable unfreed")]
    UnreachableUnfreed,
    /// The file ends within it.
    #[error("past the end of the file")]
    PastEnd,
    /// The page says that it is another one.
    #[error("page id {found} in its header")]
    WrongId {
        /// What it says.
        found: u64,
    },
    /// Not of a type that can stand there.
    #[error("invalid type: unknown<{flags:02x}>")]
    InvalidType {
        /// The type as it is written.
        flags: u16,
    },
    /// It says that it goes on past the last page.
    #[error("overflow of {overflow} pages is out of bounds: {high_water}")]
    Overflow {
        /// How many pages it wants behind its first.
        overflow: u32,
        /// The first page that was never allocated.
        high_water: u64,
    },
    /// It has no room for as many elements as it counts.
    #[error("no room for {count} elements")]
    Count {
        /// What it counts.
        count: u64,
    },
    /// A branch page without children.
    #[error("branch page without elements")]
    EmptyBranch,
    /// An element whose key or value does not lie within the page.
    #[error("element {index} is out of bounds")]
    Element {
        /// Its place on the page.
        index: usize,
    },
    /// An element whose key does not begin where what is before it ends. bbolt leaves no gaps, and
    /// would serve fewer rows without a word.
    #[error("element {index} does not begin where what is before it ends")]
    Gap {
        /// Its place on the page.
        index: usize,
    },
    /// A key that is not above the one before it.
    #[error("key[{index}] needs to be > than previous element")]
    KeyOrder {
        /// Its place on the page.
        index: usize,
    },
    /// A first key below the one that leads to the page.
    #[error("the first key[0] needs to be >= the key in the ancestor")]
    BelowAncestor,
    /// A key that belongs to a later page.
    #[error("key[{index}] needs to be < than key of the next element in ancestor")]
    AboveAncestor {
        /// Its place on the page.
        index: usize,
    },
    /// A bucket whose head, or whose inline page, is damaged.
    #[error("bucket[{index}]: {cause}")]
    Bucket {
        /// The place of its element on the page.
        index: usize,
        /// What is wrong with it.
        cause: BucketFault,
    },
    /// Deeper below its root than any tree of the format's size.
    #[error("too deep")]
    TooDeep,
    /// The freelist holds a page that cannot be free.
    #[error("freelist holds page {page}")]
    FreeOutOfBounds {
        /// That page.
        page: u64,
    },
}

/// What can be wrong with a bucket's value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BucketFault {
    /// Too short for the head, or for the inline page behind it.
    #[error("value too short")]
    Short,
    /// An inline page that is no leaf.
    #[error("inline page of type unknown<{flags:02x}>")]
    InlineType {
        /// The type as it is written.
        flags: u16,
    },
    /// An inline page cannot hold buckets.
    #[error("bucket in an inline page")]
    InlineBucket,
    /// An inline page whose elements are damaged.
    #[error("inline page: {fault}")]
    InlinePage {
        /// How.
        fault: Box<PageFault>,
    },
}

impl BoltError {
    pub(super) fn io(
        operation: &'static str,
        path: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> BoltError {
        let path = path.into();
        move |source| BoltError::Io { operation, path, source }
    }
}
