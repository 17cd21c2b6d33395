//! Leases: which exist, with their granted TTLs and attached keys. Time is not the model's: a lease
//! ends by a revoke or by an expiry that somebody else decided.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::Blob;

/// The longest TTL in seconds.
const TTL_MAX_S: i64 = 9_000_000_000;

/// A lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Its TTL in seconds, as granted.
    pub ttl_s: i64,
    /// Its keys.
    pub keys: BTreeSet<Blob>,
}

/// What must be done to take a grant or a removal back.
#[derive(Clone, Debug)]
enum Undo {
    Remove(i64),
    Restore { id: i64, ttl_s: i64 },
}

/// All leases.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    live: BTreeMap<i64, Lease>,
    journal: Vec<Undo>,
}

/// Whether a lease may be asked to live that long.
pub(super) fn ttl_is_too_large(ttl_s: i64) -> bool {
    ttl_s > TTL_MAX_S
}

impl Leases {
    /// The lease.
    pub fn get(&self, id: i64) -> Option<&Lease> {
        self.live.get(&id)
    }

    /// All leases, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.live.iter().map(|(&id, lease)| (id, lease))
    }

    /// Adds a lease that does not exist.
    pub fn grant(&mut self, id: i64, ttl_s: i64) {
        let before = self.live.insert(id, Lease { ttl_s, keys: BTreeSet::new() });
        assert!(before.is_none(), "a lease is granted once");
        self.journal.push(Undo::Remove(id));
    }

    /// Removes a lease whose keys are gone.
    pub fn remove(&mut self, id: i64) {
        let lease = self.live.remove(&id).expect("only leases that exist are removed");
        assert!(lease.keys.is_empty(), "a lease is removed after its keys");
        self.journal.push(Undo::Restore { id, ttl_s: lease.ttl_s });
    }

    /// A key changes its lease; 0 is none.
    pub fn reattach(&mut self, key: &Blob, from: i64, to: i64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.live.get_mut(&from) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.live.get_mut(&to) {
            lease.keys.insert(key.clone());
        }
    }

    /// How many grants and removals there were.
    pub fn steps(&self) -> usize {
        self.journal.len()
    }

    /// Takes the last grant or removal back.
    pub fn take_back(&mut self) {
        match self.journal.pop().expect("there is a step to take back") {
            Undo::Remove(id) => {
                self.live.remove(&id);
            }
            Undo::Restore { id, ttl_s } => {
                self.live.insert(id, Lease { ttl_s, keys: BTreeSet::new() });
            }
        }
    }
}
