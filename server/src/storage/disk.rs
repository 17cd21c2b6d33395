//! The seam between storage code and the world: every byte to or from a disk passes these traits.
//!
//! Assumptions about the medium, which a virtual disk may use to the full: a write is volatile
//! until `sync_data`; unsynced writes may be lost, torn at 512 bytes, or reordered between syncs; a
//! new, renamed or removed name is volatile until `sync_dir` of its directory. An open handle is an
//! inode: it survives rename and unlink.

use std::ops::Range;
use std::{fmt, io, iter};

use bytes::Bytes;

/// A path below the disk's root: `/`-separated, relative, without `.` and `..`. The root itself is
/// the empty path. A member's log is in `member/wal`.
pub type Path = str;

/// An error of the operating system in the words that Go has for it.
pub(crate) fn words(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::AlreadyExists => "file exists",
        io::ErrorKind::IsADirectory => "is a directory",
        io::ErrorKind::NotADirectory => "not a directory",
        io::ErrorKind::StorageFull => "no space left on device",
        io::ErrorKind::InvalidInput => "invalid argument",
        _ => return error.to_string(),
    };
    text.to_owned()
}

/// A file's path in a directory.
pub(crate) fn join(dir: &Path, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The directories above `path`, from its parent to the root; none above the root.
pub(crate) fn above(path: &Path) -> impl Iterator<Item = &Path> {
    iter::successors(Some(path), |path| (!path.is_empty()).then(|| parent(path))).skip(1)
}

/// One device with its directory tree.
pub trait Disk: fmt::Debug {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Creates a file, which must not exist, and opens it.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Creates a directory and its missing parents; an existing one is fine.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all below it; a missing one is fine.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted bytewise. A missing directory is `NotFound`.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Whether a file or directory is there.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.list(path) {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(true),
            Err(error) => return Err(error),
        }
        match self.open(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a file; a missing one is fine.
    fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// An open file. Dropping it releases its lock.
pub trait File: fmt::Debug {
    /// Reads into `buffer` at `offset`; returns the bytes read, fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `data` at `offset`, extending the file as needed. Volatile until synced.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Truncates, or extends with zeros.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Takes the exclusive advisory lock, or fails with `WouldBlock` when another handle has it.
    fn try_lock(&mut self) -> io::Result<()>;

    /// The file's first `len` bytes without a copy, where the system can do that and they can all
    /// be read: whoever asks has the lock, and reads the file where there are none.
    fn map(&mut self, _len: u64) -> Option<Box<dyn Mapped>> {
        None
    }

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The bytes of a file that is mapped: those it had then.
pub trait Mapped: fmt::Debug {
    /// Some of them. They stay what they are as long as somebody has them, whatever becomes of the
    /// file through its handle. To be asked for before that writes or is dropped.
    fn share(&self, range: Range<usize>) -> Bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_above_every_path_but_itself() {
        let all = |path| above(path).collect::<Vec<_>>();
        assert_eq!(all("a/b/c"), ["a/b", "a", ""]);
        assert_eq!(all("a"), [""]);
        assert_eq!(all(""), [""; 0]);
        assert_eq!((&*join("", "a"), &*join("a", "b")), ("a", "a/b"));
    }
}
