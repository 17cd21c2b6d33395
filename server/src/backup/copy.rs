//! A snapshot's database into a file of its own, its hash verified and left behind.

use sha2::{Digest as _, Sha256};

use super::restore::HashCheck;
use super::{BackupError, HASH_BYTES, Place, has_hash};
use crate::storage::disk::{Disk, File, parent};

const PIECE_BYTES: u64 = 1 << 16;

/// Copies it, durable but for its name. When the hash is wrong or missing the copy stays, as
/// etcd's does: the next attempt says that something is there.
pub(super) fn copy(
    disk: &dyn Disk,
    from: &Place,
    to: &Place,
    check: HashCheck,
) -> Result<(), BackupError> {
    let source = disk.open(&from.path).map_err(BackupError::io("open", from))?;
    let size_bytes = source.len().map_err(BackupError::io("stat", from))?;
    if size_bytes < HASH_BYTES {
        let invalid = std::io::ErrorKind::InvalidInput.into();
        return Err(BackupError::io("seek", from)(invalid));
    }
    let is_hashed = has_hash(size_bytes);
    let body_bytes = if is_hashed { size_bytes - HASH_BYTES } else { size_bytes };
    let mut expected = [0; HASH_BYTES as usize];
    fill(&*source, from, size_bytes - HASH_BYTES, &mut expected)?;
    let above = parent(&to.path);
    disk.create_dir_all(above).map_err(BackupError::io("mkdir", to))?;
    let mut target = disk.create(&to.path).map_err(BackupError::io("open", to))?;
    let mut hash = Sha256::new();
    let mut offset = 0;
    while offset < body_bytes {
        let mut piece = vec![0; PIECE_BYTES.min(body_bytes - offset) as usize];
        fill(&*source, from, offset, &mut piece)?;
        hash.update(&piece);
        target.write_at(offset, &piece).map_err(BackupError::io("write", to))?;
        offset += piece.len() as u64;
    }
    target.sync_data().map_err(BackupError::io("fsync", to))?;
    disk.sync_dir(above).map_err(BackupError::io("fsync", to))?;
    if check == HashCheck::Skipped {
        return Ok(());
    }
    if !is_hashed {
        return Err(BackupError::HashMissing);
    }
    let found: [u8; 32] = hash.finalize().into();
    if expected != found {
        return Err(BackupError::HashMismatch { expected, found });
    }
    Ok(())
}

/// Reads all that is asked for; the file was measured before.
fn fill(file: &dyn File, place: &Place, offset: u64, buffer: &mut [u8]) -> Result<(), BackupError> {
    let read = file.read_at(offset, buffer).map_err(BackupError::io("read", place))?;
    if read < buffer.len() {
        let short = std::io::ErrorKind::UnexpectedEof.into();
        return Err(BackupError::io("read", place)(short));
    }
    Ok(())
}
