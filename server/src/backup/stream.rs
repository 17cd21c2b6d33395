//! A database on its way to a client: the messages that `Maintenance.Snapshot` answers with.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::stored_version;
use crate::config::CompatVersion;
use crate::proto::etcdserverpb::SnapshotResponse;
use crate::storage::bolt::{BoltError, ReadTx};

/// How many bytes of the database one message carries.
pub const BLOB_BYTES: usize = 32_768;

/// A snapshot that is being sent. It holds its state of the database until it is dropped.
#[derive(Debug)]
pub struct SnapshotStream {
    tx: ReadTx,
    version: String,
    sent: u64,
    hash: Option<Sha256>,
}

impl SnapshotStream {
    /// Of a state of the database, as a server of this version sends it.
    pub fn new(tx: ReadTx, compat: CompatVersion) -> Result<SnapshotStream, BoltError> {
        let version = match compat > CompatVersion::V3_5 {
            true => stored_version(&tx)?,
            false => String::new(),
        };
        Ok(SnapshotStream { tx, version, sent: 0, hash: Some(Sha256::new()) })
    }

    /// The next message; none after the one with the hash.
    pub fn next_message(&mut self) -> Result<Option<SnapshotResponse>, BoltError> {
        let Some(hash) = &mut self.hash else { return Ok(None) };
        let left = self.tx.size_bytes() - self.sent;
        let blob = if left == 0 {
            let hash = self.hash.take().expect("it was just there");
            Bytes::copy_from_slice(&hash.finalize())
        } else {
            let mut piece = vec![0; left.min(BLOB_BYTES as u64) as usize];
            self.tx.read_body(self.sent, &mut piece)?;
            hash.update(&piece);
            self.sent += piece.len() as u64;
            piece.into()
        };
        let remaining_bytes = self.tx.size_bytes() - self.sent;
        let version = self.version.clone();
        Ok(Some(SnapshotResponse { header: None, remaining_bytes, blob, version }))
    }
}
