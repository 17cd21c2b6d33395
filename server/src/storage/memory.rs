//! A disk in memory that does what it is told and forgets nothing: for tests, fuzzing and tools.
//!
//! Not a simulation: nothing is volatile, slow or broken. The simulator has a disk for that.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::rc::Rc;

use super::disk::{Disk, File, Path, parent};

type Inode = Rc<RefCell<Content>>;

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    is_locked: bool,
}

#[derive(Debug, Default)]
struct Tree {
    dirs: BTreeSet<String>,
    files: BTreeMap<String, Inode>,
}

/// A directory tree in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    tree: Rc<RefCell<Tree>>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// The bytes of a file, if it is there.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        Some(self.tree.borrow().files.get(path)?.borrow().bytes.clone())
    }

    /// Puts a file there, with its directories, whatever was there.
    pub fn put(&self, path: &Path, bytes: impl Into<Vec<u8>>) {
        let mut tree = self.tree.borrow_mut();
        tree.add_dirs(parent(path));
        let content = Content { bytes: bytes.into(), is_locked: false };
        tree.files.insert(path.to_owned(), Rc::new(RefCell::new(content)));
    }
}

impl Tree {
    fn add_dirs(&mut self, path: &Path) {
        for (at, _) in path.match_indices('/') {
            self.dirs.insert(path[..at].to_owned());
        }
        self.dirs.insert(path.to_owned());
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_empty() || self.dirs.contains(path)
    }

    fn require_parent(&self, path: &Path) -> io::Result<()> {
        if self.is_dir(parent(path)) { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }
}

/// Whether `path` lies below the directory `dir`, and its path from there.
fn below<'a>(path: &'a Path, dir: &Path) -> Option<&'a str> {
    if dir.is_empty() {
        return Some(path).filter(|path| !path.is_empty());
    }
    path.strip_prefix(dir)?.strip_prefix('/')
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let tree = self.tree.borrow();
        if tree.is_dir(path) {
            return Err(ErrorKind::IsADirectory.into());
        }
        let inode = tree.files.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile { inode: Rc::clone(inode), has_lock: false }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut tree = self.tree.borrow_mut();
        tree.require_parent(path)?;
        if tree.is_dir(path) || tree.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = Inode::default();
        tree.files.insert(path.to_owned(), Rc::clone(&inode));
        Ok(Box::new(MemoryFile { inode, has_lock: false }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.tree.borrow_mut().add_dirs(path);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree.borrow_mut();
        tree.require_parent(to)?;
        if let Some(inode) = tree.files.remove(from) {
            tree.files.insert(to.to_owned(), inode);
            return Ok(());
        }
        if !tree.dirs.remove(from) {
            return Err(ErrorKind::NotFound.into());
        }
        tree.dirs.insert(to.to_owned());
        let moved = |path: &str| below(path, from).map(|rest| format!("{to}/{rest}"));
        let dirs = std::mem::take(&mut tree.dirs);
        tree.dirs = dirs.into_iter().map(|path| moved(&path).unwrap_or(path)).collect();
        let files = std::mem::take(&mut tree.files);
        tree.files =
            files.into_iter().map(|(path, inode)| (moved(&path).unwrap_or(path), inode)).collect();
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.tree.borrow_mut().files.remove(path);
        removed.map(|_| ()).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree.borrow_mut();
        tree.dirs.retain(|dir| dir != path && below(dir, path).is_none());
        tree.files.retain(|file, _| below(file, path).is_none());
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let tree = self.tree.borrow();
        if tree.files.contains_key(path) {
            return Err(ErrorKind::NotADirectory.into());
        }
        if !tree.is_dir(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let all = tree.dirs.iter().chain(tree.files.keys());
        let names = all.filter_map(|entry| below(entry, path)).filter(|rest| !rest.contains('/'));
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        Ok(names.into_iter().collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.tree.borrow().is_dir(path) { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }
}

#[derive(Debug)]
struct MemoryFile {
    inode: Inode,
    has_lock: bool,
}

impl File for MemoryFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let content = self.inode.borrow();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.bytes.len());
        let size = buffer.len().min(content.bytes.len() - from);
        buffer[..size].copy_from_slice(&content.bytes[from..from + size]);
        Ok(size)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.inode.borrow_mut();
        let end = offset as usize + data.len();
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[offset as usize..end].copy_from_slice(data);
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.inode.borrow_mut().bytes.resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.inode.borrow().bytes.len() as u64)
    }

    fn try_lock(&mut self) -> io::Result<()> {
        let mut content = self.inode.borrow_mut();
        if content.is_locked && !self.has_lock {
            return Err(ErrorKind::WouldBlock.into());
        }
        content.is_locked = true;
        self.has_lock = true;
        Ok(())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if self.has_lock {
            self.inode.borrow_mut().is_locked = false;
        }
    }
}
