//! `.snap` files: the mark of a snapshot of the log, under a checksum of its own
//! (contract-cluster.md, section 6.4). The database that goes with it is another file.

mod members;

use bytes::Bytes;
use prost::Message;
use thiserror::Error;

use super::log::SnapshotMark;
use crate::proto::{raftpb, walpb};

pub use members::MembersImage;

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

/// The content of the file of a snapshot, with the members that etcd before 3.7 reads from it.
pub fn encode(mark: &SnapshotMark, members: &MembersImage) -> Vec<u8> {
    let metadata = raftpb::SnapshotMetadata {
        conf_state: mark.conf_state.clone(),
        index: Some(mark.index),
        term: Some(mark.term),
    };
    let data = Some(members.to_json().into());
    let snapshot = raftpb::Snapshot { data, metadata: Some(metadata) };
    let data = Bytes::from(snapshot.encode_to_vec());
    walpb::SnapFile { crc: Some(crc32c::crc32c(&data)), data: Some(data) }.encode_to_vec()
}

/// Reads the content of a `.snap` file.
pub fn decode(bytes: &[u8]) -> Result<SnapshotMark, SnapError> {
    let file = match walpb::SnapFile::decode(bytes) {
        Ok(_) if bytes.is_empty() => return Err(SnapError::Empty),
        file => file?,
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> SnapshotMark {
        let voters = vec![0x1d, 0xfffe_0000_0000_0001];
        let conf_state =
            raftpb::ConfState { voters, auto_leave: Some(false), ..Default::default() };
        SnapshotMark { index: 0x7e, term: 2, conf_state: Some(conf_state) }
    }

    #[test]
    fn a_snapshot_file_says_what_was_written() {
        assert_eq!(file_name(&mark()), "0000000000000002-000000000000007e.snap");
        assert_eq!(decode(&encode(&mark(), &MembersImage::default())), Ok(mark()));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_in_etcds_words() {
        let text = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(text(b""), "snap: empty snapshot");
        let zero = walpb::SnapFile { crc: Some(0), data: Some(Bytes::from_static(b"x")) };
        assert_eq!(text(&zero.encode_to_vec()), "snap: empty snapshot");
        let no_data = walpb::SnapFile { crc: Some(1), data: None };
        assert_eq!(text(&no_data.encode_to_vec()), "snap: empty snapshot");
        let mut bytes = encode(&mark(), &MembersImage::default());
        *bytes.last_mut().expect("it has bytes") ^= 1;
        assert_eq!(text(&bytes), "snap: crc mismatch");
        assert!(matches!(decode(b"\xff"), Err(SnapError::Malformed(_))));
    }
}
