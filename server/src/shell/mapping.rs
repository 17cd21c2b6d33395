//! Files as memory: pages that the system has read already are shared with it instead of copied,
//! which is what a member's start with a large database is made of.
//!
//! A mapping is private. The system gives it a page of its own when one is written to in memory,
//! and does not say what becomes of the others when the file is written to. So whoever writes to
//! the file has the pages made the mapping's own before (`keep`), those alone of which somebody
//! still has bytes; and before the file is cut, or its handle and with it the lock goes, all of
//! these become memory that has nothing to do with the file (`detach`). What nobody has any more is
//! given back page by page. Other processes that write to the file in spite of its lock are not
//! guarded against, nor is a medium that fails to read again what it has read before.
#![allow(
    unsafe_code,
    reason = "no safe interface maps files; what it rests on is said at each use"
)]

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use rustix::io::Errno;
use rustix::mm::{self, Advice, MapFlags, MremapFlags, ProtFlags};
use rustix::param::page_size;

use crate::storage::disk::Mapped;

/// A file's first bytes at an address. It ends with the last piece of it.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<c_void>,
    len: usize,
    page_bytes: usize,
    /// How many pieces lie on each page, wholly or in part.
    pieces: Box<[AtomicU32]>,
    /// No more pieces are taken.
    is_taken: AtomicBool,
    is_detached: AtomicBool,
}

// SAFETY: the address range belongs to the mapping alone, is never written to through it, and what
// changes besides is atomic.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a file's first bytes, all of which are read; none where the system refuses.
    pub(super) fn of(file: &fs::File, len: u64) -> Option<Arc<Mapping>> {
        let is_there = file.metadata().is_ok_and(|data| data.len() >= len);
        let len = usize::try_from(len).ok().filter(|&len| len > 0 && is_there)?;
        // SAFETY: a new address range, which nothing else refers to.
        let start =
            unsafe { mm::mmap(ptr::null_mut(), len, PROTECTION, MapFlags::PRIVATE, file, 0).ok()? };
        let page_bytes = page_size();
        let pieces = (0..len.div_ceil(page_bytes)).map(|_| AtomicU32::new(0)).collect();
        let start = NonNull::new(start)?;
        let (is_taken, is_detached) = (AtomicBool::new(false), AtomicBool::new(false));
        let mapping = Mapping { start, len, page_bytes, pieces, is_taken, is_detached };
        // What cannot be read is met here, where it is no fault of the memory.
        mapping.advise(0..mapping.pieces.len(), Advice::LinuxPopulateRead).ok()?;
        Some(Arc::new(mapping))
    }

    /// Before the file is written to: what somebody has of these bytes stays as it is.
    pub(super) fn keep(&self, offset: u64, len: usize) -> io::Result<()> {
        let Some(from) = usize::try_from(offset).ok().filter(|&from| from < self.len) else {
            return Ok(());
        };
        let pages = self.pages(&(from..from.saturating_add(len).min(self.len)));
        for run in self.runs(pages, |pieces| pieces > 0) {
            self.advise(run, Advice::LinuxPopulateWrite)?;
        }
        Ok(())
    }

    /// Makes memory of all pages that somebody has bytes of. Nothing is shared any more.
    pub(super) fn detach(&self) {
        let is_empty = self.runs(0..self.pieces.len(), |pieces| pieces > 0).next().is_none();
        if self.is_detached.swap(true, Ordering::Relaxed) || is_empty {
            return;
        }
        // SAFETY: a new address range. Pages at the same places in both are copied, of which the
        // mapping's are readable, and nobody knows the others yet. Then the new range takes the
        // mapping's place in one step: who reads there finds the same bytes before and after.
        let moved = unsafe {
            mm::mmap_anonymous(ptr::null_mut(), self.len, PROTECTION, MapFlags::PRIVATE).and_then(
                |fresh| {
                    for run in self.runs(0..self.pieces.len(), |pieces| pieces > 0) {
                        let bytes = self.bytes(run);
                        let (from, to) =
                            (self.start.byte_add(bytes.start), fresh.byte_add(bytes.start));
                        ptr::copy_nonoverlapping(
                            from.as_ptr().cast::<u8>(),
                            to.cast(),
                            bytes.len(),
                        );
                    }
                    let (flags, place) = (MremapFlags::MAYMOVE, self.start.as_ptr());
                    mm::mremap_fixed(fresh, self.len, self.len, flags, place)
                },
            )
        };
        moved.expect("there is memory for what is read of a file");
    }

    /// The pages on which bytes lie.
    fn pages(&self, bytes: &Range<usize>) -> Range<usize> {
        bytes.start / self.page_bytes..bytes.end.div_ceil(self.page_bytes)
    }

    /// The bytes of pages.
    fn bytes(&self, pages: Range<usize>) -> Range<usize> {
        pages.start * self.page_bytes..(pages.end * self.page_bytes).min(self.len)
    }

    /// Pages that follow one another and have a number of pieces that is wanted.
    fn runs(
        &self,
        pages: Range<usize>,
        is_wanted: impl Fn(u32) -> bool,
    ) -> impl Iterator<Item = Range<usize>> {
        let mut next = pages.start;
        std::iter::from_fn(move || {
            let wanted = |page: &usize| is_wanted(self.pieces[*page].load(Ordering::SeqCst));
            let from = (next..pages.end).find(wanted)?;
            next = (from..pages.end).find(|page| !wanted(page)).unwrap_or(pages.end);
            Some(from..next)
        })
    }

    fn advise(&self, pages: Range<usize>, advice: Advice) -> io::Result<()> {
        let bytes = self.bytes(pages);
        loop {
            // SAFETY: the range is the mapping's own. To populate leaves the bytes what they are;
            // to do without them is asked only for pages that nobody has bytes of.
            let done = unsafe {
                let start = self.start.byte_add(bytes.start).as_ptr();
                mm::madvise(start, bytes.len(), advice)
            };
            match done {
                Err(Errno::INTR | Errno::AGAIN) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Gives back pages that nobody has bytes of.
    fn release(&self, pages: Range<usize>) {
        // Where the system refuses they stay until the mapping ends.
        let _ = self.advise(pages, Advice::LinuxDontNeed);
    }
}

/// Readable, and writable for the system alone, which makes pages the mapping's own.
const PROTECTION: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping's own, and the last piece of it is gone.
        let _ = unsafe { mm::munmap(self.start.as_ptr(), self.len) };
    }
}

/// Bytes of a mapping that somebody has.
struct Piece {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        let start = self.mapping.start.cast::<u8>();
        // SAFETY: the range lies within the mapping, and its pages have a piece, so that nothing
        // changes them as long as it lives.
        unsafe { slice::from_raw_parts(start.add(self.range.start).as_ptr(), self.range.len()) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        for page in self.mapping.pages(&self.range) {
            let is_last = self.mapping.pieces[page].fetch_sub(1, Ordering::SeqCst) == 1;
            if is_last && self.mapping.is_taken.load(Ordering::SeqCst) {
                self.mapping.release(page..page + 1);
            }
        }
    }
}

/// A mapping while pieces are taken from it. Afterwards pages without one are given back.
#[derive(Debug)]
pub(super) struct MappedFile {
    mapping: Arc<Mapping>,
}

impl MappedFile {
    pub(super) fn new(mapping: Arc<Mapping>) -> MappedFile {
        MappedFile { mapping }
    }
}

impl Mapped for MappedFile {
    fn share(&self, range: Range<usize>) -> Bytes {
        let mapping = &self.mapping;
        assert!(range.start <= range.end && range.end <= mapping.len, "bytes of the mapping");
        assert!(!mapping.is_detached.load(Ordering::Relaxed), "its file is open");
        for page in mapping.pages(&range) {
            mapping.pieces[page].fetch_add(1, Ordering::SeqCst);
        }
        Bytes::from_owner(Piece { mapping: Arc::clone(mapping), range })
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        let mapping = &self.mapping;
        mapping.is_taken.store(true, Ordering::SeqCst);
        for run in mapping.runs(0..mapping.pieces.len(), |pieces| pieces == 0) {
            mapping.release(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    const PAGES: usize = 8;

    /// A file whose pages are filled with their numbers.
    fn file(test: &str) -> (fs::File, std::path::PathBuf) {
        let name = format!("detcd-mapping-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let bytes: Vec<u8> = (0..PAGES).flat_map(|page| vec![page as u8; page_size()]).collect();
        fs::write(&path, bytes).unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        (file, path)
    }

    fn mapped(file: &fs::File) -> (Arc<Mapping>, MappedFile) {
        let mapping = Mapping::of(file, (PAGES * page_size()) as u64).unwrap();
        (Arc::clone(&mapping), MappedFile::new(mapping))
    }

    fn pages(mapped: &MappedFile, pages: Range<usize>) -> Bytes {
        mapped.share(pages.start * page_size()..pages.end * page_size())
    }

    #[test]
    fn bytes_stay_what_they_were_when_the_file_is_written_cut_and_closed() {
        let (file, path) = file("stay");
        let (mapping, taken) = mapped(&file);
        let (early, late) = (pages(&taken, 1..3), pages(&taken, 5..6).slice(7..9));
        drop(taken);
        let offset = page_size() as u64 * 2;
        mapping.keep(offset, page_size() * 4).unwrap();
        file.write_all_at(&vec![0xEE; page_size() * 4], offset).unwrap();
        let unchanged = |early: &Bytes| {
            let (first, second) = early.split_at(page_size());
            first.iter().all(|&byte| byte == 1) && second.iter().all(|&byte| byte == 2)
        };
        assert!(unchanged(&early));
        assert_eq!(late[..], [5, 5]);
        mapping.detach();
        mapping.detach();
        file.set_len(0).unwrap();
        drop(file);
        fs::remove_file(path).unwrap();
        assert!(unchanged(&early));
        assert_eq!(late[..], [5, 5]);
        let clone = early.slice(page_size() - 1..page_size() + 1);
        drop(early);
        assert_eq!(clone[..], [1, 2], "a page lives with the last piece of it");
    }

    #[test]
    fn pages_that_nobody_has_are_not_kept() {
        let (file, path) = file("release");
        let (mapping, taken) = mapped(&file);
        let counts = || mapping.runs(0..PAGES, |pieces| pieces > 0).collect::<Vec<_>>();
        let (first, second) = (taken.share(10..20), pages(&taken, 0..2));
        let third = taken.share(4 * page_size() - 1..4 * page_size() + 1);
        assert_eq!(counts(), [0..2, 3..5]);
        drop(second);
        assert_eq!(counts(), [0..1, 3..5], "one is held by another piece");
        drop((first, third));
        assert!(counts().is_empty());
        mapping.keep(0, usize::MAX).unwrap();
        mapping.keep(1 << 40, 1).unwrap();
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_is_shorter_or_empty_is_not_mapped() {
        let (file, path) = file("short");
        assert!(Mapping::of(&file, (PAGES * page_size()) as u64 + 1).is_none());
        assert!(Mapping::of(&file, 0).is_none());
        fs::remove_file(path).unwrap();
    }
}
