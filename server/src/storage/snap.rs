//! `.snap` files: the mark of a snapshot of the log, under a checksum of its own
//! (contract-cluster.md, section 6.4).

use bytes::Bytes;
use prost::Message;
use thiserror::Error;

use super::log::SnapshotMark;
use crate::proto::{raftpb, walpb};

/// Why a `.snap` file cannot be read. Displays are etcd's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapError {
    /// No checksum or no content.
    #[error("snap: empty snapshot")]
    Empty,
    /// The content is not what was written.
    #[error("snap: crc mismatch")]
    Checksum,
    /// Not protobuf.
    #[error(transparent)]
    Malformed(#[from] prost::DecodeError),
}

/// The name of the file of a snapshot.
pub fn file_name(mark: &SnapshotMark) -> String {
    format!("{:016x}-{:016x}.snap", mark.term, mark.index)
}

/// The content of the file of a snapshot.
pub fn encode(mark: &SnapshotMark) -> Vec<u8> {
    let metadata = raftpb::SnapshotMetadata {
        conf_state: mark.conf_state.clone(),
        index: Some(mark.index),
        term: Some(mark.term),
    };
    let snapshot = raftpb::Snapshot { data: None, metadata: Some(metadata) };
    let data = Bytes::from(snapshot.encode_to_vec());
    walpb::SnapFile { crc: Some(crc32c::crc32c(&data)), data: Some(data) }.encode_to_vec()
}

/// Reads the content of a `.snap` file.
pub fn decode(bytes: &[u8]) -> Result<SnapshotMark, SnapError> {
    let file = walpb::SnapFile::decode(bytes)?;
    let data = file.data.unwrap_or_default();
    match file.crc {
        None | Some(0) => return Err(SnapError::Empty),
        _ if data.is_empty() => return Err(SnapError::Empty),
        Some(crc) if crc != crc32c::crc32c(&data) => return Err(SnapError::Checksum),
        Some(_) => {}
    }
    let metadata = raftpb::Snapshot::decode(data)?.metadata.unwrap_or_default();
    let (index, term) = (metadata.index(), metadata.term());
    Ok(SnapshotMark { index, term, conf_state: metadata.conf_state })
}
