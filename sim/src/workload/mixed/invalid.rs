//! Requests that are wrong on purpose: each must be refused with one certain text, unless the state
//! happens to allow it.

use detsim_reports::record::{Blob, Call, Compare, DeleteRange, Operator, Put, Range, Target};
use detsim_reports::record::{Txn, TxnOp};

use super::draft::Draft;
use super::writes::TTL_S;
use crate::seed::Draw;

/// More operations than a transaction may have by default.
const TOO_MANY: usize = 129;
/// One second more than a lease may live.
const TTL_TOO_LARGE_S: i64 = 9_000_000_001;

impl Draft<'_> {
    /// Something that a server must refuse.
    pub(super) fn invalid(&mut self) -> Call {
        match self.stream.below(16) {
            0 => Call::Range(Range::default()),
            1 => Call::Put(Put { value: self.value(), ..Put::default() }),
            2 => Call::DeleteRange(DeleteRange::default()),
            3 => Call::Put(Put { ignore_value: true, ..self.plain_put() }),
            4 => Call::Put(Put { ignore_lease: true, lease: 1, ..self.plain_put() }),
            5 => self.absent(),
            6 => Call::Put(Put { lease: self.author.lease(), ..self.plain_put() }),
            7 => self.twice(),
            8 => self.put_and_deleted(),
            9 => self.too_many(),
            10 => self.empty_key_in_txn(),
            11 => self.unknown_lease_in_txn(),
            12 => Call::LeaseGrant { id: self.author.lease(), ttl_s: TTL_TOO_LARGE_S },
            13 => match self.held() {
                Some(id) => Call::LeaseGrant { id, ttl_s: TTL_S.0 as i64 },
                None => Call::LeaseRevoke { id: self.author.lease() },
            },
            14 => Call::LeaseRevoke { id: self.author.lease() },
            _ => Call::Compact { revision: self.sight.newest() + 100_000, physical: false },
        }
    }

    /// Keeps what a key has that never exists.
    fn absent(&mut self) -> Call {
        let key = self.pool.stranger();
        let keeps_value = self.stream.below(2) == 0;
        let value = if keeps_value { Blob::default() } else { self.value() };
        let (ignore_value, ignore_lease) = (keeps_value, !keeps_value);
        Call::Put(Put { key, value, ignore_value, ignore_lease, ..Put::default() })
    }

    /// Puts a key twice, the second time perhaps deeper.
    fn twice(&mut self) -> Call {
        let first = self.plain_put();
        let second = TxnOp::Put(Put { value: self.value(), ..first.clone() });
        let second = match self.stream.below(2) {
            0 => second,
            _ => TxnOp::Txn(Txn { success: vec![second], ..Txn::default() }),
        };
        let ops = vec![TxnOp::Put(first), second];
        self.in_a_branch(ops)
    }

    fn put_and_deleted(&mut self) -> Call {
        let (key, range_end) = self.pool.all();
        let delete = DeleteRange { key, range_end, prev_kv: false };
        let ops = vec![TxnOp::Put(self.plain_put()), TxnOp::DeleteRange(delete)];
        self.in_a_branch(ops)
    }

    fn too_many(&mut self) -> Call {
        let ops = vec![TxnOp::Range(self.get()); TOO_MANY];
        self.in_a_branch(ops)
    }

    fn empty_key_in_txn(&mut self) -> Call {
        if self.stream.below(2) == 0 {
            return self.in_a_branch(vec![TxnOp::Range(Range::default())]);
        }
        let compare = Compare {
            key: Blob::default(),
            range_end: Blob::default(),
            operator: Operator::Equal,
            target: Target::Version(0),
        };
        Call::Txn(Box::new(Txn { compare: vec![compare], ..Txn::default() }))
    }

    /// Refused only if its branch is taken.
    fn unknown_lease_in_txn(&mut self) -> Call {
        let put = Put { lease: self.author.lease(), ..self.plain_put() };
        let ops = vec![TxnOp::Put(self.plain_put()), TxnOp::Put(put)];
        self.in_a_branch(ops)
    }

    /// A transaction with these operations in the branch that is taken, or in the other.
    fn in_a_branch(&mut self, ops: Vec<TxnOp>) -> Call {
        let txn = match self.stream.below(2) {
            0 => Txn { success: ops, ..Txn::default() },
            _ => Txn { failure: ops, ..Txn::default() },
        };
        Call::Txn(Box::new(txn))
    }
}
