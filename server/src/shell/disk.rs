//! The operating system's files behind the `Disk` seam.
//!
//! Paths are taken below a root directory. Directories are made with mode 0700 and files with
//! 0600. Growing a file allocates its blocks where the file system can: a full disk is met then,
//! and later syncs of the data have no metadata to write.

use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::mapping::{MappedFile, Mapping};
use crate::storage::disk::{Disk, File, Mapped, Path};

/// A directory of the operating system.
#[derive(Clone, Debug)]
pub struct OsDisk {
    root: PathBuf,
}

impl OsDisk {
    /// The disk whose root is this directory; it is made when something is made in it.
    pub fn new(root: impl Into<PathBuf>) -> OsDisk {
        OsDisk { root: root.into() }
    }

    fn at(&self, path: &Path) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn open_with(&self, path: &Path, options: &mut OpenOptions) -> io::Result<Box<dyn File>> {
        let file = options.read(true).write(true).mode(0o600).open(self.at(path))?;
        Ok(Box::new(OsFile::new(file)))
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.open_with(path, &mut OpenOptions::new())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.open_with(path, OpenOptions::new().create_new(true))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.at(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(self.at(path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.at(path))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<String>>>()?;
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(self.at(path))?.sync_all()
    }
}

#[derive(Debug)]
struct OsFile {
    file: fs::File,
    is_locked: bool,
    mappings: Vec<Weak<Mapping>>,
}

impl OsFile {
    fn new(file: fs::File) -> OsFile {
        OsFile { file, is_locked: false, mappings: Vec::new() }
    }

    /// Mappings that somebody still has bytes of.
    fn mapped(&self) -> impl Iterator<Item = Arc<Mapping>> {
        self.mappings.iter().filter_map(Weak::upgrade)
    }
}

impl Drop for OsFile {
    /// Nobody knows who writes to the file from now on, so that what is mapped becomes memory.
    ///
    /// The lock belongs to all copies of the handle. A process that is being started has one until
    /// it runs its program, so that closing ours does not end the lock by itself.
    fn drop(&mut self) {
        self.mapped().for_each(|mapping| mapping.detach());
        if self.is_locked {
            // Where this fails the last copy's end unlocks.
            let _ = self.file.unlock();
        }
    }
}

impl File for OsFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        for mapping in self.mapped() {
            mapping.keep(offset, data.len())?;
        }
        self.file.write_all_at(data, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let held = self.len()?;
        if len <= held {
            self.mapped().for_each(|mapping| mapping.detach());
            return self.file.set_len(len);
        }
        match fallocate(&self.file, FallocateFlags::empty(), held, len - held) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.file.set_len(len),
            result => Ok(result?),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn try_lock(&mut self) -> io::Result<()> {
        self.file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        self.is_locked = true;
        Ok(())
    }

    fn map(&mut self, len: u64) -> Option<Box<dyn Mapped>> {
        let mapping = Mapping::of(&self.file, len)?;
        self.mappings.retain(|mapping| mapping.strong_count() > 0);
        self.mappings.push(Arc::downgrade(&mapping));
        Some(Box::new(MappedFile::new(mapping)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn disk(test: &str) -> OsDisk {
        let root = std::env::temp_dir().join(format!("detcd-disk-{test}-{}", std::process::id()));
        let disk = OsDisk::new(root);
        disk.remove_dir_all("").unwrap();
        disk.create_dir_all("").unwrap();
        disk
    }

    #[test]
    fn files_and_names_behave_as_the_seam_says() {
        let disk = disk("names");
        disk.create_dir_all("a/b").unwrap();
        let mut file = disk.create("a/b/f").unwrap();
        assert_eq!(disk.create("a/b/f").unwrap_err().kind(), ErrorKind::AlreadyExists);
        file.write_at(3, b"xyz").unwrap();
        file.set_len(10_000).unwrap();
        let mut bytes = [1; 8];
        assert_eq!(file.read_at(2, &mut bytes).unwrap(), 8);
        assert_eq!(bytes, *b"\0xyz\0\0\0\0");
        file.set_len(5).unwrap();
        assert_eq!(file.read_at(2, &mut bytes).unwrap(), 3);
        file.sync_data().unwrap();
        disk.rename("a/b", "c").unwrap();
        disk.sync_dir("").unwrap();
        assert_eq!(disk.list("").unwrap(), ["a", "c"]);
        assert_eq!(disk.list("c/f").unwrap_err().kind(), ErrorKind::NotADirectory);
        assert!(disk.exists("c/f").unwrap() && !disk.exists("c/g").unwrap());
        disk.remove("c/f").unwrap();
        file.write_at(0, b"still open").unwrap();
        disk.remove_dir_all("c").unwrap();
        disk.remove_dir_all("c").unwrap();
        assert_eq!(disk.list("c").unwrap_err().kind(), ErrorKind::NotFound);
        disk.remove_dir_all("").unwrap();
    }

    #[test]
    fn locks_exclude_other_handles_and_nobody_else_may_read() {
        let disk = disk("locks");
        disk.create_dir_all("d").unwrap();
        let file = fs::File::create(disk.at("d/g")).unwrap();
        let _copy = file.try_clone().unwrap();
        let mut copied = OsFile::new(file);
        copied.try_lock().unwrap();
        drop(copied);
        disk.open("d/g").unwrap().try_lock().unwrap();
        let mut first = disk.create("d/f").unwrap();
        let mut second = disk.open("d/f").unwrap();
        first.try_lock().unwrap();
        first.try_lock().unwrap();
        assert_eq!(second.try_lock().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(first);
        second.try_lock().unwrap();
        let mode = |path| fs::metadata(disk.at(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("d"), mode("d/f")), (0o700, 0o600));
        disk.remove_dir_all("").unwrap();
    }
}
