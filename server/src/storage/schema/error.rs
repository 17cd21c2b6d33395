//! Rows that no etcd writes: which, and what is wrong with them.

use bytes::Bytes;
use std::fmt::Write as _;
use thiserror::Error;

use crate::member::version::Version;
use crate::mvcc::RestoreError;

/// A row that cannot be read. The key is shown as text where it is text, else in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("bucket {bucket}, key {}: {problem}", shown(.key))]
pub struct SchemaError {
    /// The bucket.
    pub bucket: &'static str,
    /// The row's key.
    pub key: Bytes,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// A number or a revision of another length.
    #[error("{found} bytes instead of {expected}")]
    Length {
        /// How many it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// Seventeen bytes that are not a revision.
    #[error("not a revision")]
    Revision,
    /// A key that is not a member's ID in hexadecimal.
    #[error("not a member id")]
    MemberId,
    /// A member whose JSON names another.
    #[error("holds member {0:x}")]
    OtherMember(u64),
    /// A text that is not what it should be.
    #[error("{0}")]
    Text(String),
    /// Bytes that are not the message they should be.
    #[error("not a message of type {0}")]
    Message(&'static str),
    /// A pair that does not continue the history.
    #[error(transparent)]
    History(#[from] RestoreError),
}

impl SchemaError {
    pub(super) fn new(bucket: &'static str, key: &[u8], problem: Problem) -> SchemaError {
        SchemaError { bucket, key: Bytes::copy_from_slice(key), problem }
    }
}

fn shown(key: &[u8]) -> String {
    if !key.is_empty() && key.iter().all(u8::is_ascii_graphic) {
        return String::from_utf8_lossy(key).into_owned();
    }
    key.iter().fold(String::from("0x"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes all");
        text
    })
}

/// The eight bytes of a big-endian number.
pub(super) fn number(bucket: &'static str, key: &[u8], value: &[u8]) -> Result<u64, SchemaError> {
    let bytes = value.try_into().map_err(|_| {
        SchemaError::new(bucket, key, Problem::Length { expected: 8, found: value.len() })
    })?;
    Ok(u64::from_be_bytes(bytes))
}

/// A version as text.
pub(super) fn version(
    bucket: &'static str,
    key: &str,
    value: &[u8],
) -> Result<Version, SchemaError> {
    Version::parse(&String::from_utf8_lossy(value))
        .map_err(|error| SchemaError::new(bucket, key.as_bytes(), Problem::Text(error.to_string())))
}
