//! Transactions of the mix: compare-and-swap, several operations, nested ones, reads only. They are
//! made so that no key is put twice or put and deleted, which would be refused.

use detsim_reports::record::{Blob, Compare, KeyValue, Operator, Put, Range, Target, Txn, TxnOp};

use super::draft::Draft;
use crate::model::Span;
use crate::seed::Draw;

/// How many operations a branch has at most.
const BRANCH_LEN_MAX: u64 = 5;

const OPERATORS: [(u64, Operator); 4] = [
    (70, Operator::Equal),
    (10, Operator::Greater),
    (10, Operator::Less),
    (10, Operator::NotEqual),
];

/// The keys that a branch puts and deletes already.
#[derive(Clone, Debug, Default)]
struct Claims {
    puts: Vec<Blob>,
    deletes: Vec<(Blob, Blob)>,
}

impl Claims {
    /// Whether the key may be put; then it is claimed.
    fn put(&mut self, key: &Blob) -> bool {
        let is_free = !self.puts.contains(key)
            && !self.deletes.iter().any(|(start, end)| Span::new(start, end).holds(key));
        if is_free {
            self.puts.push(key.clone());
        }
        is_free
    }

    /// Whether the span may be deleted; then it is claimed.
    fn delete(&mut self, key: &Blob, range_end: &Blob) -> bool {
        let span = Span::new(key, range_end);
        // What has no upper end escapes the server's check.
        let is_free =
            !matches!(span, Span::From(_)) && !self.puts.iter().any(|key| span.holds(key));
        if is_free {
            self.deletes.push((key.clone(), range_end.clone()));
        }
        is_free
    }
}

impl Draft<'_> {
    /// Puts if the key is as it was seen, and reads it otherwise.
    pub(super) fn swap(&mut self, key: Blob) -> Txn {
        let compare = self.as_seen(key.clone());
        let mut put = Put { key: key.clone(), value: self.value(), ..Put::default() };
        put.prev_kv = self.stream.below(4) == 0;
        if self.stream.below(16) == 0 {
            put.lease = self.held_or_none();
        }
        Txn {
            compare: vec![compare],
            success: vec![TxnOp::Put(put)],
            failure: vec![TxnOp::Range(Range { key, ..Range::default() })],
        }
    }

    /// Several operations, half of the time under conditions.
    pub(super) fn several(&mut self) -> Txn {
        self.txn(0, &mut Claims::default())
    }

    /// Several operations, and transactions among them.
    pub(super) fn nested(&mut self) -> Txn {
        let depth = 1 + self.stream.below(2);
        self.txn(depth, &mut Claims::default())
    }

    /// Reads only, a third of the time of whatever the member has.
    pub(super) fn reading(&mut self) -> Txn {
        let serializable = self.stream.below(3) == 0;
        let ranges = |draft: &mut Draft<'_>, most: u64| {
            let len = draft.stream.below(most + 1);
            let range = |_| TxnOp::Range(Range { serializable, ..draft.inner_range() });
            (0..len).map(range).collect::<Vec<_>>()
        };
        let success = ranges(self, 3);
        let failure = ranges(self, 2);
        Txn { compare: self.compares(), success, failure }
    }

    fn txn(&mut self, depth: u64, claims: &mut Claims) -> Txn {
        let compare = self.compares();
        // The branches exclude each other, so both may put the same keys.
        let mut others = claims.clone();
        let success = self.branch(depth, claims);
        let failure = match self.stream.below(3) {
            0 => Vec::new(),
            _ => self.branch(depth, &mut others),
        };
        claims.puts.append(&mut others.puts);
        claims.deletes.append(&mut others.deletes);
        Txn { compare, success, failure }
    }

    fn branch(&mut self, depth: u64, claims: &mut Claims) -> Vec<TxnOp> {
        let len = 1 + self.stream.below(BRANCH_LEN_MAX);
        let nested_at = if depth > 0 { self.stream.below(len) } else { len };
        let mut ops = Vec::new();
        for place in 0..len {
            ops.push(if place == nested_at {
                TxnOp::Txn(self.txn(depth - 1, claims))
            } else {
                self.op(claims)
            });
        }
        ops
    }

    fn op(&mut self, claims: &mut Claims) -> TxnOp {
        match self.stream.below(100) {
            0..50 => {
                let put = self.inner_put();
                if claims.put(&put.key) {
                    return TxnOp::Put(put);
                }
            }
            50..60 => {
                let delete = self.delete();
                if claims.delete(&delete.key, &delete.range_end) {
                    return TxnOp::DeleteRange(delete);
                }
            }
            60..66 => {
                let delete = self.delete_several();
                if claims.delete(&delete.key, &delete.range_end) {
                    return TxnOp::DeleteRange(delete);
                }
            }
            _ => {}
        }
        TxnOp::Range(self.inner_range())
    }

    /// What would fail would take the whole transaction with it, so conditions are rare.
    fn inner_put(&mut self) -> Put {
        match self.stream.below(16) {
            0 => self.put(),
            1 => self.attach(),
            _ => self.plain_put(),
        }
    }

    fn compares(&mut self) -> Vec<Compare> {
        let len = match self.stream.below(8) {
            0..3 => 0,
            3..6 => 1,
            6 => 2,
            _ => 3,
        };
        (0..len).map(|_| self.compare()).collect()
    }

    fn compare(&mut self) -> Compare {
        if self.stream.below(4) != 0 {
            let key = self.known_key();
            return self.as_seen(key);
        }
        let (key, range_end) = self.pool.span(self.stream);
        let (operator, target) = match self.stream.below(6) {
            0 => (Operator::Less, Target::Mod(self.sight.recent(self.stream) + 5)),
            1 => (Operator::Greater, Target::Create(self.sight.recent(self.stream) - 40)),
            2 => (Operator::Greater, Target::Version(0)),
            3 => (Operator::Equal, Target::Lease(0)),
            4 => (Operator::NotEqual, Target::Lease(self.held_or_none())),
            _ => (Operator::NotEqual, Target::Value(self.value())),
        };
        Compare { key, range_end, operator, target }
    }

    /// Compares a key with what was seen of it.
    fn as_seen(&mut self, key: Blob) -> Compare {
        let absent = KeyValue::default();
        let kv = self.sight.get(&key).unwrap_or(&absent);
        let target = match self.stream.below(8) {
            0..3 => Target::Mod(kv.mod_revision),
            3 | 4 => Target::Version(kv.version),
            5 => Target::Create(kv.create_revision),
            6 => Target::Lease(kv.lease),
            _ => Target::Value(kv.value.clone()),
        };
        let operator = *self.stream.weigh(&OPERATORS);
        Compare { key, range_end: Blob::default(), operator, target }
    }
}
