//! Transactions: which branches are taken, what they are refused for, and what they do.
//!
//! Comparisons, those of nested transactions on the taken path included, look at the state before
//! the transaction; so do the checks. Operations see the effects of earlier ones.

use detsim_reports::record::{
    Blob, Body, Compare, DeleteRange, KeyValue, Operator, Put, Range, Target, Txn, TxnOp,
    TxnOpReply, TxnReply,
};

use super::{Model, Refusal, Span};

/// Which branch each transaction takes: this one, and those nested in the taken branch, in order.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

/// Whether a transaction writes nothing on any path and may be served without the log.
pub fn is_read_only(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, TxnOp::Range(_)))
}

/// Whether a transaction is read-only and asks for nothing but local reads.
pub fn is_serializable(txn: &Txn) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.all(|op| matches!(op, TxnOp::Range(range) if range.serializable))
}

impl Model {
    /// Decides the path, checks it, and gives all that it would be refused for, in order.
    pub(super) fn txn_refusals(&self, txn: &Txn) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        self.check(txn, &self.decide(txn), &mut refusals);
        refusals
    }

    /// Executes a transaction that is not refused. Changes, if any, take one revision.
    pub(super) fn execute_txn(&mut self, txn: &Txn) -> Body {
        let path = self.decide(txn);
        Body::Txn(self.execute(txn, &path))
    }

    /// What a transaction without effects answers, if it is not refused.
    pub(super) fn read_txn(&self, txn: &Txn, revision: i64) -> TxnReply {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare, revision));
        let taken = if succeeded { &txn.success } else { &txn.failure };
        let answer = |op: &TxnOp| match op {
            TxnOp::Range(range) => {
                Some(TxnOpReply::Range { revision, reply: self.range_as_of(range, revision) })
            }
            _ => None,
        };
        TxnReply { succeeded, responses: taken.iter().filter_map(answer).collect() }
    }

    fn decide(&self, txn: &Txn) -> Path {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare, self.revision()));
        let nested = |op: &TxnOp| match op {
            TxnOp::Txn(nested) => Some(self.decide(nested)),
            _ => None,
        };
        Path { succeeded, nested: taken(txn, succeeded).iter().filter_map(nested).collect() }
    }

    /// Whether a comparison holds after `revision`: for every key of its span, and for an absent
    /// key when there is none.
    fn holds(&self, compare: &Compare, revision: i64) -> bool {
        let span = Span::new(&compare.key, &compare.range_end);
        let mut any = false;
        let all = self.visit(span, revision, |kv| {
            any = true;
            compare_one(compare, Some(kv))
        });
        if any { all } else { compare_one(compare, None) }
    }

    fn check(&self, txn: &Txn, path: &Path, refusals: &mut Vec<Refusal>) {
        let mut nested = path.nested.iter();
        for op in taken(txn, path.succeeded) {
            match op {
                TxnOp::Range(range) => refusals.extend(self.txn_range_refusal(range)),
                TxnOp::Put(put) => self.put_refusals(put, refusals),
                TxnOp::DeleteRange(_) => {}
                TxnOp::Txn(txn) => {
                    let path = nested.next().expect("each nested transaction has its path");
                    self.check(txn, path, refusals);
                }
            }
        }
    }

    /// In a transaction only 0 means the newest revision; a negative one is taken literally.
    fn txn_range_refusal(&self, range: &Range) -> Option<Refusal> {
        match range.revision {
            0 => None,
            revision if revision > self.revision() => Some(Refusal::FutureRevision),
            revision if revision < self.compact_revision() => Some(Refusal::Compacted),
            _ => None,
        }
    }

    fn execute(&mut self, txn: &Txn, path: &Path) -> TxnReply {
        let mut nested = path.nested.iter();
        let mut responses = Vec::new();
        for op in taken(txn, path.succeeded) {
            responses.push(match op {
                TxnOp::Range(range) => {
                    TxnOpReply::Range { revision: self.pending(), reply: self.range_now(range) }
                }
                TxnOp::Put(put) => self.execute_put(put),
                TxnOp::DeleteRange(delete) => self.execute_delete(delete),
                TxnOp::Txn(txn) => {
                    let path = nested.next().expect("each nested transaction has its path");
                    TxnOpReply::Txn(self.execute(txn, path))
                }
            });
        }
        TxnReply { succeeded: path.succeeded, responses }
    }

    fn execute_put(&mut self, put: &Put) -> TxnOpReply {
        let prev_kv = self.put(put);
        TxnOpReply::Put { revision: self.pending(), prev_kv }
    }

    fn execute_delete(&mut self, delete: &DeleteRange) -> TxnOpReply {
        let (deleted, prev_kvs) = self.delete_range(delete);
        TxnOpReply::DeleteRange { revision: self.pending(), deleted, prev_kvs }
    }
}

fn taken(txn: &Txn, succeeded: bool) -> &[TxnOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

fn compare_one(compare: &Compare, kv: Option<&KeyValue>) -> bool {
    let number = |stored: fn(&KeyValue) -> i64, given: i64| kv.map_or(0, stored).cmp(&given);
    let ordering = match &compare.target {
        Target::Version(given) => number(|kv| kv.version, *given),
        Target::Create(given) => number(|kv| kv.create_revision, *given),
        Target::Mod(given) => number(|kv| kv.mod_revision, *given),
        Target::Lease(given) => number(|kv| kv.lease, *given),
        Target::Value(given) => match kv {
            Some(kv) => Blob::cmp(&kv.value, given),
            None => return false,
        },
    };
    match compare.operator {
        Operator::Equal => ordering.is_eq(),
        Operator::Greater => ordering.is_gt(),
        Operator::Less => ordering.is_lt(),
        Operator::NotEqual => ordering.is_ne(),
    }
}
