//! A snapshot into a file: whole under its name, or not there.

use super::{BackupError, Place, has_hash};
use crate::proto::etcdserverpb::SnapshotResponse;
use crate::storage::disk::{Disk, parent};

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The version that the server said; empty before 3.6.
    pub version: String,
}

/// Writes a snapshot to a file. Until it is whole it has a name that ends in `.part`, which is gone
/// afterwards whatever happens.
pub fn save(
    disk: &dyn Disk,
    file: &Place,
    messages: impl Iterator<Item = Result<SnapshotResponse, BackupError>>,
) -> Result<Saved, BackupError> {
    let part = file.beside(".part");
    let saved = receive(disk, &part, messages).and_then(|saved| {
        let renamed = disk.rename(&part.path, &file.path);
        renamed.map_err(BackupError::io("rename", &part)).map_err(|cause| {
            let (from, to) = (part.clone(), file.clone());
            BackupError::Rename { from, to, cause: Box::new(cause) }
        })?;
        disk.sync_dir(parent(&file.path)).map_err(BackupError::io("fsync", file))?;
        Ok(saved)
    });
    if saved.is_err() {
        // It may not be there; what went wrong before is what counts.
        let _ = disk.remove(&part.path);
    }
    saved
}

fn receive(
    disk: &dyn Disk,
    part: &Place,
    messages: impl Iterator<Item = Result<SnapshotResponse, BackupError>>,
) -> Result<Saved, BackupError> {
    let _ = disk.remove(&part.path);
    let opened = disk.create(&part.path).map_err(BackupError::io("open", part));
    let mut file = opened
        .map_err(|cause| BackupError::Part { place: part.clone(), cause: Box::new(cause) })?;
    let failed = |error| BackupError::Write(Box::new(error));
    let mut saved = Saved { size_bytes: 0, version: String::new() };
    for message in messages {
        let message = message.map_err(failed)?;
        let written = file.write_at(saved.size_bytes, &message.blob);
        written.map_err(BackupError::io("write", part)).map_err(failed)?;
        saved.size_bytes += message.blob.len() as u64;
        saved.version = message.version;
    }
    if !has_hash(saved.size_bytes) {
        return Err(BackupError::HashNotFound(saved.size_bytes));
    }
    file.sync_data().map_err(BackupError::io("fsync", part)).map_err(failed)?;
    Ok(saved)
}
