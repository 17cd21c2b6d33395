//! Pages that hold nothing: free ones, and those that a transaction gave up and an older reader may
//! still look at. On the medium there is no list of them; opening a file finds them.

use std::collections::BTreeMap;

/// Pages that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub id: u64,
    pub pages: u64,
}

/// Free pages, lowest first, and pending ones by the transaction that gave them up.
#[derive(Debug, Default)]
pub(super) struct Freelist {
    /// First page and number of each run; runs do not touch.
    free: BTreeMap<u64, u64>,
    pending: BTreeMap<u64, Vec<Extent>>,
    /// How many pages are free.
    count: u64,
}

impl Freelist {
    /// Pages that are free; pending ones are not.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The pages that are free or will be, in no order.
    pub(super) fn pages(&self) -> Vec<u64> {
        let free = self.free.iter().flat_map(|(&from, &pages)| from..from + pages);
        let pending = self.pending.values().flatten();
        free.chain(pending.flat_map(|extent| extent.id..extent.id + extent.pages)).collect()
    }

    /// Frees pages at once.
    pub(super) fn add(&mut self, extent: Extent) {
        self.count += extent.pages;
        let (mut from, mut pages) = (extent.id, extent.pages);
        if let Some((&before, &size)) = self.free.range(..from).next_back()
            && before + size == from
        {
            self.free.remove(&before);
            from = before;
            pages += size;
        }
        if let Some(size) = self.free.remove(&(from + pages)) {
            pages += size;
        }
        self.free.insert(from, pages);
    }

    /// The lowest free pages that follow one another.
    pub(super) fn take(&mut self, pages: u64) -> Option<u64> {
        let (&from, &size) = self.free.iter().find(|&(_, &size)| size >= pages)?;
        self.free.remove(&from);
        if size > pages {
            self.free.insert(from + pages, size - pages);
        }
        self.count -= pages;
        Some(from)
    }

    /// Pages that nothing refers to from `txid` on.
    pub(super) fn give_up(&mut self, txid: u64, extents: Vec<Extent>) {
        self.pending.entry(txid).or_default().extend(extents);
    }

    /// Frees what transactions up to `txid` gave up: no reader is older.
    pub(super) fn release(&mut self, txid: u64) {
        while let Some(entry) = self.pending.first_entry()
            && *entry.key() <= txid
        {
            for extent in entry.remove() {
                self.add(extent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_run_and_the_lowest_fit_is_taken() {
        let mut list = Freelist::default();
        for id in [9, 5, 7, 6] {
            list.add(Extent { id, pages: 1 });
        }
        assert_eq!((list.take(4), list.take(3), list.take(1)), (None, Some(5), Some(9)));
        assert_eq!((list.take(1), list.count()), (None, 0));
    }

    #[test]
    fn what_a_transaction_gave_up_is_free_when_no_reader_is_older() {
        let mut list = Freelist::default();
        list.give_up(4, vec![Extent { id: 3, pages: 2 }]);
        list.give_up(6, vec![Extent { id: 8, pages: 1 }]);
        list.release(3);
        assert_eq!((list.take(1), list.count()), (None, 0));
        list.release(5);
        assert_eq!((list.count(), list.take(2), list.take(1)), (2, Some(3), None));
    }
}
