//! The mix: which operation comes next, and the hand that drafts it.
//!
//! All that is drawn comes from the slot's own stream, so that what one slot does shifts no other's
//! draws; what it draws from is what the slot has seen, and the leases that all slots hold.

use detsim_reports::record::{Call, Range};
use rand_chacha::ChaCha8Rng;

use super::sight::Sight;
use crate::seed::Draw;
use crate::workload::author::Author;
use crate::workload::pool::Pool;

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    SerializableGet,
    List,
    SerializableList,
    Historic,
    Put,
    Attach,
    Delete,
    DeleteSeveral,
    Swap,
    SwapLater,
    Several,
    Nested,
    Reading,
    Grant,
    Revoke,
    KeepAlive,
    TimeToLive,
    Leases,
}

const READS: [(u64, Kind); 6] = [
    (34, Kind::Get),
    (12, Kind::SerializableGet),
    (16, Kind::List),
    (10, Kind::SerializableList),
    (22, Kind::Historic),
    (6, Kind::Reading),
];

const WRITES: [(u64, Kind); 8] = [
    (48, Kind::Put),
    (6, Kind::Attach),
    (10, Kind::Delete),
    (3, Kind::DeleteSeveral),
    (5, Kind::Swap),
    (11, Kind::SwapLater),
    (13, Kind::Several),
    (4, Kind::Nested),
];

const DELETES: [(u64, Kind); 2] = [(3, Kind::Delete), (1, Kind::DeleteSeveral)];

const LEASES: [(u64, Kind); 5] = [
    (30, Kind::Grant),
    (20, Kind::Revoke),
    (20, Kind::KeepAlive),
    (20, Kind::TimeToLive),
    (10, Kind::Leases),
];

/// How many operations of ten thousand are what; the rest are writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Wrong on purpose.
    pub invalid: u64,
    /// Compactions.
    pub compactions: u64,
    /// Deletes, beside those among the writes.
    pub deletes: u64,
    /// Of leases.
    pub leases: u64,
    /// Reads.
    pub reads: u64,
}

/// What a slot does next.
pub(super) enum Next {
    /// This.
    Call(Call),
    /// It reads a key, and swaps it when it knows what the key holds.
    SwapAfter(Range),
}

/// The hand that drafts one operation.
pub(super) struct Draft<'a> {
    /// The slot's draws.
    pub stream: &'a mut ChaCha8Rng,
    /// The keys.
    pub pool: &'a Pool,
    /// What the slot has seen.
    pub sight: &'a Sight,
    /// What it writes with.
    pub author: &'a mut Author,
    /// Leases that somebody holds.
    pub leases: &'a [i64],
    /// The least length of a value.
    pub value_bytes: usize,
}

impl Draft<'_> {
    /// An operation of the mix.
    pub(super) fn next(&mut self, shares: &Shares) -> Next {
        let mut at = self.stream.below(10_000);
        let mut falls_in = |share: u64| {
            let is_here = at < share;
            at = at.saturating_sub(share);
            is_here
        };
        if falls_in(shares.invalid) {
            return Next::Call(self.invalid());
        }
        if falls_in(shares.compactions) {
            return Next::Call(self.compact());
        }
        let kind = if falls_in(shares.deletes) {
            self.stream.weigh(&DELETES)
        } else if falls_in(shares.leases) {
            self.stream.weigh(&LEASES)
        } else if falls_in(shares.reads) {
            self.stream.weigh(&READS)
        } else {
            self.stream.weigh(&WRITES)
        };
        self.of_kind(*kind)
    }

    fn of_kind(&mut self, kind: Kind) -> Next {
        let txn = |txn| Call::Txn(Box::new(txn));
        Next::Call(match kind {
            Kind::Get => Call::Range(self.get()),
            Kind::SerializableGet => Call::Range(Range { serializable: true, ..self.get() }),
            Kind::List => Call::Range(self.list()),
            Kind::SerializableList => Call::Range(Range { serializable: true, ..self.list() }),
            Kind::Historic => Call::Range(self.historic()),
            Kind::Put => Call::Put(self.put()),
            Kind::Attach => Call::Put(self.attach()),
            Kind::Delete => Call::DeleteRange(self.delete()),
            Kind::DeleteSeveral => Call::DeleteRange(self.delete_several()),
            Kind::Swap => {
                let key = self.known_key();
                txn(self.swap(key))
            }
            Kind::SwapLater => {
                let key = self.pool.key(self.stream);
                return Next::SwapAfter(Range { key, ..Range::default() });
            }
            Kind::Several => txn(self.several()),
            Kind::Nested => txn(self.nested()),
            Kind::Reading => txn(self.reading()),
            Kind::Grant => self.grant(),
            Kind::Revoke => self.revoke(),
            Kind::KeepAlive => self.keep_alive(),
            Kind::TimeToLive => self.time_to_live(),
            Kind::Leases => Call::LeaseLeases,
        })
    }
}
