//! How much space a store is taken to need.
//!
//! This stands in for the size of a database file until there is one: every version that is held
//! counts as a put does against the quota, its key, its value and a margin. As in a file, what
//! compaction frees can be used again and is given back only by defragmentation. It depends on how
//! far physical compaction had come on this member: members with the same state may differ.

use super::change::Change;
use crate::api::check;

/// Bytes that a store is taken to need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    in_use: u64,
    allocated: u64,
}

impl Footprint {
    /// Of the versions that are held.
    pub fn in_use(&self) -> u64 {
        self.in_use
    }

    /// The most that was in use since the last defragmentation.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    pub(super) fn add(&mut self, change: &Change) {
        self.in_use += bytes(change);
        self.allocated = self.allocated.max(self.in_use);
    }

    pub(super) fn remove(&mut self, change: &Change) {
        self.in_use -= bytes(change);
    }

    pub(super) fn defragment(&mut self) {
        self.allocated = self.in_use;
    }
}

fn bytes(change: &Change) -> u64 {
    check::version_cost(&change.kv.key, &change.kv.value)
}

#[cfg(test)]
mod tests {
    use crate::lease::{Lessor, LessorConfig};
    use crate::mvcc::Store;
    use crate::proto::etcdserverpb as pb;

    #[test]
    fn compaction_frees_what_only_defragmentation_gives_back() {
        let retry = std::time::Duration::from_secs(7);
        let config = LessorConfig { ttl_seconds_min: 2, retry, checkpoint: false };
        let (mut store, mut lessor) = (Store::new(), Lessor::new(config));
        let put = pb::PutRequest { key: "k".into(), value: "value".into(), ..Default::default() };
        for _ in 0..3 {
            store.put(&put, &mut lessor).expect("put");
        }
        let one = 256 + 1 + 5;
        let sizes = |store: &Store| (store.footprint().allocated(), store.footprint().in_use());
        assert_eq!(sizes(&store), (3 * one, 3 * one));
        store.compact(4).expect("compacted");
        assert_eq!(sizes(&store), (3 * one, 3 * one), "nothing is removed yet");
        assert!(store.compact_slice(1_000).1);
        assert_eq!(sizes(&store), (3 * one, one));
        store.put(&put, &mut lessor).expect("put");
        assert_eq!(sizes(&store), (3 * one, 2 * one), "freed space is used again");
        store.defragment();
        assert_eq!(sizes(&store), (2 * one, 2 * one));
        let delete = pb::DeleteRangeRequest { key: "k".into(), ..Default::default() };
        store.delete_range(&delete, &mut lessor).expect("deleted");
        assert_eq!(sizes(&store), (2 * one + 257, 2 * one + 257));
    }
}
