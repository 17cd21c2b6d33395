//! Reads of the mix: one key or several, with every option, now or at a revision.

use detsim_reports::record::{Range, SortOrder, SortTarget};

use super::draft::Draft;
use crate::seed::Draw;

const ORDERS: [SortOrder; 3] = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
const TARGETS: [SortTarget; 5] =
    [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];

impl Draft<'_> {
    /// One key, rarely with options that make little sense for one.
    pub(super) fn get(&mut self) -> Range {
        let mut range = Range { key: self.pool.key(self.stream), ..Range::default() };
        if self.stream.below(16) == 0 {
            self.dress(&mut range);
        }
        range
    }

    /// Several keys.
    pub(super) fn list(&mut self) -> Range {
        let (key, range_end) = self.pool.span(self.stream);
        let mut range = Range { key, range_end, ..Range::default() };
        self.dress(&mut range);
        range
    }

    /// One key or several as they were.
    pub(super) fn historic(&mut self) -> Range {
        let mut range = if self.stream.below(2) == 0 { self.get() } else { self.list() };
        range.revision = self.sight.past(self.stream);
        range.serializable = self.stream.below(3) == 0;
        range
    }

    /// All keys of the workload, as they are.
    pub(super) fn overview(&self) -> Range {
        let (key, range_end) = self.pool.all();
        Range { key, range_end, ..Range::default() }
    }

    /// A read of a transaction.
    pub(super) fn inner_range(&mut self) -> Range {
        let mut range = if self.stream.below(2) == 0 { self.get() } else { self.list() };
        if self.stream.below(8) == 0 {
            range.revision = self.sight.past(self.stream);
        }
        range
    }

    fn dress(&mut self, range: &mut Range) {
        if self.stream.below(3) == 0 {
            range.limit = match self.stream.below(12) {
                0 => -1,
                _ => 1 + self.stream.below(self.pool.keys() + 1) as i64,
            };
        }
        if self.stream.below(3) == 0 {
            range.sort_order = *self.stream.pick(&ORDERS);
            range.sort_target = *self.stream.pick(&TARGETS);
        }
        range.keys_only = self.stream.below(6) == 0;
        range.count_only = self.stream.below(10) == 0;
        if self.stream.below(5) == 0 {
            let bound = self.sight.recent(self.stream);
            let bounded = match self.stream.below(4) {
                0 => &mut range.min_mod_revision,
                1 => &mut range.max_mod_revision,
                2 => &mut range.min_create_revision,
                _ => &mut range.max_create_revision,
            };
            *bounded = bound;
            if self.stream.below(4) == 0 {
                range.min_mod_revision = self.sight.recent(self.stream);
                range.max_mod_revision = self.sight.newest();
            }
        }
    }
}
