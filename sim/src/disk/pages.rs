//! The bytes of one file, sparse: pages that were never written cost nothing and read as zeros.
//!
//! Invariant: bytes at and behind the length are zeros.

const PAGE: usize = 4096;

type Page = Box<[u8; PAGE]>;

/// Files end here: far enough for any database, near enough that a stray offset is an error.
pub(super) const LENGTH_MAX: u64 = 1 << 36;

/// The content of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    pages: Vec<Option<Page>>,
    len: u64,
}

/// What a truncation took away.
#[derive(Clone, Debug)]
pub(super) struct Taken(Vec<(usize, Page)>);

/// The parts of `offset..offset + len` by page: page number, offset in it, length.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let within = (at % PAGE as u64) as usize;
        let size = (PAGE - within).min((end - at) as usize);
        let page = (at / PAGE as u64) as usize;
        at += size as u64;
        Some((page, within, size))
    })
}

impl Pages {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Copies bytes out, zeros where nothing is; the length does not matter.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) {
        let mut done = 0;
        for (page, within, size) in parts(offset, buffer.len()) {
            let into = &mut buffer[done..done + size];
            match self.pages.get(page) {
                Some(Some(bytes)) => into.copy_from_slice(&bytes[within..within + size]),
                _ => into.fill(0),
            }
            done += size;
        }
    }

    /// Appends bytes to `buffer`, zeros where nothing is.
    pub(super) fn append_to(&self, offset: u64, len: usize, buffer: &mut Vec<u8>) {
        for (page, within, size) in parts(offset, len) {
            match self.pages.get(page) {
                Some(Some(bytes)) => buffer.extend_from_slice(&bytes[within..within + size]),
                _ => buffer.resize(buffer.len() + size, 0),
            }
        }
    }

    /// Writes bytes; the length is left to `set_len` and `grow`.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        for (page, within, size) in parts(offset, data.len()) {
            self.page(page)[within..within + size].copy_from_slice(&data[done..done + size]);
            done += size;
        }
    }

    /// Exchanges bytes with `data`.
    pub(super) fn swap(&mut self, offset: u64, data: &mut [u8]) {
        let mut done = 0;
        for (page, within, size) in parts(offset, data.len()) {
            let bytes = &mut self.page(page)[within..within + size];
            bytes.swap_with_slice(&mut data[done..done + size]);
            done += size;
        }
    }

    fn page(&mut self, page: usize) -> &mut [u8; PAGE] {
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        self.pages[page].get_or_insert_with(|| Box::new([0; PAGE]))
    }

    /// Extends the file to `len` if it is shorter.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Sets the length; returns what lay behind it.
    pub(super) fn set_len(&mut self, len: u64) -> Taken {
        self.len = len;
        let (first, within) = ((len / PAGE as u64) as usize, (len % PAGE as u64) as usize);
        let mut taken = Vec::new();
        if self.pages.len() > first {
            if within > 0
                && let Some(page) = &mut self.pages[first]
            {
                taken.push((first, page.clone()));
                page[within..].fill(0);
            }
            let from = if within > 0 { first + 1 } else { first };
            let behind = self.pages.drain(from..).enumerate();
            taken.extend(behind.filter_map(|(at, page)| Some((from + at, page?))));
        }
        Taken(taken)
    }

    /// Undoes `set_len`.
    pub(super) fn restore(&mut self, len: u64, taken: Taken) {
        self.len = len;
        for (at, page) in taken.0 {
            self.page(at).copy_from_slice(&page[..]);
        }
    }

    /// Behind the last byte that is not zero.
    pub(super) fn used(&self) -> u64 {
        let pages = self.pages.iter().enumerate().rev();
        let mut ends = pages.filter_map(|(at, page)| {
            let last = page.as_ref()?.iter().rposition(|&byte| byte != 0)?;
            Some((at * PAGE + last + 1) as u64)
        });
        ends.next().unwrap_or(0)
    }
}
