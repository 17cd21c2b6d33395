//! etcd's database file, as bbolt lays it out (contract-cluster.md, section 6.6): buckets of rows
//! in trees of pages that are never changed in place.
//!
//! A transaction writes new pages, syncs, writes one of the two meta pages and syncs again: it is
//! there whole or not at all. Pages that it gave up are used again when no reader is left that may
//! look at them. The list of free pages is not written; opening a file looks at every page and
//! refuses one that is damaged. Not here: what the rows mean, when to write, and the buffer of
//! rows that are not written yet.

mod check;
mod compact;
mod edit;
mod error;
mod free;
mod meta;
mod node;
mod page;
mod pager;
mod read;
mod tree;
mod walk;
mod write;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub use check::{Finding, check};
pub use error::{BoltError, BucketFault, PageFault};
pub use read::{Leaves, ReadTx, Rows};

use super::database::BucketChange;
use super::disk::{Disk, Path, above, parent};
use free::{Extent, Freelist};
use meta::Meta;
use pager::Pager;
use walk::{LeavesByRoot, PageSet, Walk};
use write::{Made, Transaction};

/// How a database file is laid out and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoltOptions {
    /// The size of a page in a new file: a power of two from 512 to a mebibyte.
    pub page_bytes: u32,
    /// What bbolt would map at least. The file grows to the size of the map while that is not above
    /// `growth_bytes`, then by as much more than it needs.
    pub map_bytes: u64,
    /// How much the file grows at a time.
    pub growth_bytes: u64,
    /// How many bytes of pages are kept in memory.
    pub cache_bytes: usize,
    /// The bucket whose keys are put in ascending order: its pages are filled further.
    pub sequential: &'static str,
}

impl BoltOptions {
    /// As etcd: pages of 4 KiB, a map of 10 GiB, growth by 16 MiB.
    pub const ETCD: BoltOptions = BoltOptions {
        page_bytes: 4096,
        map_bytes: 10 << 30,
        growth_bytes: 16 << 20,
        cache_bytes: 32 << 20,
        sequential: "key",
    };
}

/// What a transaction made of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub txid: u64,
    /// All pages that were ever allocated.
    pub size_bytes: u64,
    /// The same without free pages. As etcd counts them those that this transaction gave up are in
    /// use until the next one begins.
    pub in_use_bytes: u64,
}

/// What the database and its readers have together.
#[derive(Debug)]
struct Shared {
    /// What was read when the file was opened and has cost no copies, until somebody takes it or a
    /// transaction begins. It ends before the pager, which would keep its pages.
    opened: LeavesByRoot,
    pager: Pager,
    meta: Meta,
    free: Freelist,
    /// Readers by the transaction whose state they see.
    readers: BTreeMap<u64, usize>,
    file_bytes: u64,
    map_bytes: u64,
    has_failed: bool,
}

/// A database, open for writing; it holds the file's lock.
#[derive(Debug)]
pub struct Bolt {
    shared: Rc<RefCell<Shared>>,
    options: BoltOptions,
}

impl Bolt {
    /// Opens a database that exists; a file without bytes becomes an empty one.
    pub fn open(disk: Rc<dyn Disk>, path: &Path, options: BoltOptions) -> Result<Bolt, BoltError> {
        Bolt::over(Bolt::pager(&*disk, path, options)?, options, false)
    }

    /// The same for somebody who is going to hold what all of its rows say: where the disk can do
    /// that, they share the pages of the file.
    pub fn open_mapped(
        disk: Rc<dyn Disk>,
        path: &Path,
        options: BoltOptions,
    ) -> Result<Bolt, BoltError> {
        Bolt::over(Bolt::pager(&*disk, path, options)?, options, true)
    }

    fn pager(disk: &dyn Disk, path: &Path, options: BoltOptions) -> Result<Pager, BoltError> {
        let mut pager = Pager::open(disk, path, options.cache_bytes)?;
        if pager.file_bytes()? == 0 {
            pager.format(options.page_bytes)?;
        }
        Ok(pager)
    }

    /// Creates an empty database, with the directory it is in: it appears there whole or not at
    /// all. A file that is there is replaced.
    pub fn create(
        disk: Rc<dyn Disk>,
        path: &Path,
        options: BoltOptions,
    ) -> Result<Bolt, BoltError> {
        let building = format!("{path}.tmp.new");
        let dir = parent(path);
        if !dir.is_empty() {
            disk.create_dir_all(dir).map_err(BoltError::io("mkdir", dir))?;
        }
        disk.remove_if_there(&building).map_err(BoltError::io("remove", &*building))?;
        let file = disk.create(&building).map_err(BoltError::io("open", &*building))?;
        let mut pager = Pager::over(file, &building, options.cache_bytes)?;
        pager.format(options.page_bytes)?;
        disk.rename(&building, path).map_err(BoltError::io("rename", &*building))?;
        for dir in above(path) {
            disk.sync_dir(dir).map_err(BoltError::io("fsync", dir))?;
        }
        pager.renamed(path);
        Bolt::over(pager, options, false)
    }

    /// Opens a database, or creates it where there is none.
    pub fn open_or_create(
        disk: Rc<dyn Disk>,
        path: &Path,
        options: BoltOptions,
    ) -> Result<Bolt, BoltError> {
        match disk.exists(path).map_err(BoltError::io("stat", path))? {
            true => Bolt::open(disk, path, options),
            false => Bolt::create(disk, path, options),
        }
    }

    fn over(mut pager: Pager, options: BoltOptions, is_mapped: bool) -> Result<Bolt, BoltError> {
        let meta = pager.read_meta()?;
        // Whoever wrote this meta page may have died before its sync. Pages that it gave up must
        // not be used again while the medium may still hold the meta page before it.
        pager.sync()?;
        if is_mapped {
            pager.map(&meta);
        }
        let path = pager.path().to_owned();
        let mut refuse = |page, fault| {
            let path = path.clone();
            Err(BoltError::Page { path, page, fault })
        };
        let mut opened = LeavesByRoot::new();
        let leaves = pager.is_mapped().then_some(&mut opened);
        let reached = Walk::all(&pager, &meta, &mut refuse, leaves)?;
        pager.checked();
        let free = unreached(&reached, meta.high_water);
        let file_bytes = pager.file_bytes()?;
        let map_bytes = map_size(options.map_bytes.max(file_bytes));
        let readers = BTreeMap::new();
        let has_failed = false;
        let shared =
            Shared { pager, meta, free, readers, file_bytes, map_bytes, has_failed, opened };
        Ok(Bolt { shared: Rc::new(RefCell::new(shared)), options })
    }

    /// Makes changes of buckets, in order and durably, in one transaction. After an error of the
    /// disk nothing more can be written: the file holds this transaction or the one before it.
    pub fn commit<C: Into<BucketChange>>(
        &mut self,
        changes: impl IntoIterator<Item = C>,
    ) -> Result<Committed, BoltError> {
        let sequential = self.options.sequential;
        self.transact(|transaction| {
            let mut is_sequential = false;
            for change in changes {
                let BucketChange { bucket, key, value } = change.into();
                let name = bucket.as_bytes();
                let Some(value) = value else {
                    transaction.delete(name, &key)?;
                    continue;
                };
                transaction.put(name, key, value)?;
                if bucket == sequential && !is_sequential {
                    transaction.fill_further(name)?;
                    is_sequential = true;
                }
            }
            Ok(())
        })
    }

    /// Creates those buckets that are not there, durably.
    pub fn create_buckets(&mut self, names: &[&str]) -> Result<Committed, BoltError> {
        self.transact(|transaction| {
            names.iter().try_for_each(|name| transaction.create(name.as_bytes()))
        })
    }

    fn transact(
        &mut self,
        gather: impl FnOnce(&mut Transaction<'_>) -> Result<(), BoltError>,
    ) -> Result<Committed, BoltError> {
        self.shared.borrow_mut().transact(&self.options, gather)
    }

    /// The state after the last transaction, pinned.
    pub fn read(&self) -> ReadTx {
        ReadTx::pin(Rc::clone(&self.shared))
    }

    /// Looks for damage, as `check` does, and whether the pages that are held to be free are those
    /// that nothing refers to.
    pub fn check(&self) -> Result<Vec<Finding>, BoltError> {
        let shared = self.shared.borrow();
        let free = shared.free.pages();
        check::state(&shared.pager, &shared.meta, Some(&free))
    }

    /// The number of the last transaction.
    pub fn txid(&self) -> u64 {
        self.shared.borrow().meta.txid
    }

    /// All pages that were ever allocated: what etcd calls the size.
    pub fn size_bytes(&self) -> u64 {
        self.shared.borrow().meta.size_bytes()
    }

    /// The size without free pages.
    pub fn in_use_bytes(&self) -> u64 {
        self.shared.borrow().in_use_bytes()
    }
}

impl Shared {
    fn in_use_bytes(&self) -> u64 {
        (self.meta.high_water - self.free.count()) * u64::from(self.meta.page_bytes)
    }

    fn transact(
        &mut self,
        options: &BoltOptions,
        gather: impl FnOnce(&mut Transaction<'_>) -> Result<(), BoltError>,
    ) -> Result<Committed, BoltError> {
        if self.has_failed {
            return Err(BoltError::Failed);
        }
        self.opened.clear();
        let oldest = self.readers.first_key_value().map_or(self.meta.txid, |(txid, _)| *txid);
        self.free.release(oldest);
        let mut transaction = Transaction::begin(&mut self.pager, &mut self.free, self.meta);
        gather(&mut transaction)?;
        let made = match transaction.finish() {
            Ok(made) => made,
            Err((error, allocated)) => {
                allocated.into_iter().for_each(|extent| self.free.add(extent));
                return Err(error);
            }
        };
        self.has_failed = true;
        self.write(options, &made)?;
        self.has_failed = false;
        let Made { meta, pages, given_up } = made;
        self.meta = meta;
        self.pager.keep(pages);
        self.free.give_up(meta.txid, given_up);
        let (txid, size_bytes) = (meta.txid, meta.size_bytes());
        Ok(Committed { txid, size_bytes, in_use_bytes: self.in_use_bytes() })
    }

    fn write(&mut self, options: &BoltOptions, made: &Made) -> Result<(), BoltError> {
        let meta = made.meta;
        if meta.high_water > self.meta.high_water {
            self.grow((meta.high_water + 1) * u64::from(meta.page_bytes), options)?;
        }
        if !made.pages.is_empty() {
            self.pager.write_pages(&made.pages)?;
            self.pager.sync()?;
        }
        self.pager.write_meta(&meta)?;
        self.pager.sync()
    }

    /// Makes the file long enough, and longer, as bbolt does.
    fn grow(&mut self, wanted: u64, options: &BoltOptions) -> Result<(), BoltError> {
        if wanted >= self.map_bytes {
            self.map_bytes = map_size(wanted.max(self.file_bytes));
        }
        if wanted <= self.file_bytes {
            return Ok(());
        }
        let len = match self.map_bytes <= options.growth_bytes {
            true => self.map_bytes,
            false => wanted + options.growth_bytes,
        };
        self.pager.set_len(len)?;
        self.file_bytes = len;
        Ok(())
    }
}

/// What bbolt maps for a file of a size: a power of two from 32 KiB to 1 GiB, then whole GiB.
fn map_size(bytes: u64) -> u64 {
    match bytes <= 1 << 30 {
        true => bytes.next_power_of_two().max(1 << 15),
        false => bytes.next_multiple_of(1 << 30),
    }
}

fn unreached(reached: &PageSet, high_water: u64) -> Freelist {
    let mut free = Freelist::default();
    for id in (2..high_water).filter(|&id| !reached.contains(id)) {
        free.add(Extent { id, pages: 1 });
    }
    free
}

#[cfg(test)]
mod tests;
