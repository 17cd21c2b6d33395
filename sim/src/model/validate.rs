//! What a request is refused for before the state is looked at.

use std::collections::BTreeSet;

use detsim_reports::record::{Blob, Call, DeleteRange, Put, Range, Txn, TxnOp};

use super::lease::ttl_is_too_large;
use super::{Refusal, Span};

/// Refuses what no state could accept.
pub(super) fn validate(call: &Call, max_txn_ops: usize) -> Result<(), Refusal> {
    match call {
        Call::Range(range) => check_range(range),
        Call::Put(put) => check_put(put),
        Call::DeleteRange(delete) => check_delete(delete),
        Call::Txn(txn) => {
            check_txn(txn, max_txn_ops)?;
            check_overlaps(&txn.success)?;
            check_overlaps(&txn.failure)?;
            Ok(())
        }
        Call::LeaseGrant { ttl_s, .. } if ttl_is_too_large(*ttl_s) => {
            Err(Refusal::LeaseTtlTooLarge)
        }
        _ => Ok(()),
    }
}

fn check_range(range: &Range) -> Result<(), Refusal> {
    require_key(&range.key)
}

fn check_put(put: &Put) -> Result<(), Refusal> {
    require_key(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

fn check_delete(delete: &DeleteRange) -> Result<(), Refusal> {
    require_key(&delete.key)
}

fn require_key(key: &Blob) -> Result<(), Refusal> {
    if key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

/// A nested transaction may hold as many operations as its parent left of the limit.
fn check_txn(txn: &Txn, limit: usize) -> Result<(), Refusal> {
    let longest = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let Some(rest) = limit.checked_sub(longest) else { return Err(Refusal::TooManyOps) };
    for compare in &txn.compare {
        require_key(&compare.key)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Range(range) => check_range(range)?,
            TxnOp::Put(put) => check_put(put)?,
            TxnOp::DeleteRange(delete) => check_delete(delete)?,
            TxnOp::Txn(nested) => check_txn(nested, rest)?,
        }
    }
    Ok(())
}

/// What a branch may put and delete, nested transactions included.
#[derive(Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a Blob>,
    deletes: Vec<Span<'a>>,
}

impl<'a> Touched<'a> {
    fn put(&mut self, key: &'a Blob) -> Result<(), Refusal> {
        if self.deleted(key) || !self.puts.insert(key) {
            return Err(Refusal::DuplicateKey);
        }
        Ok(())
    }

    /// A delete without an upper end is not seen by this check, as in etcd.
    fn deleted(&self, key: &Blob) -> bool {
        self.deletes.iter().any(|span| !matches!(span, Span::From(_)) && span.holds(key))
    }
}

/// No key may be put twice, nor put and deleted. The two branches of one nested transaction may put
/// the same key; the deletes of a nested transaction are held against what follows it, and against
/// this level's puts.
fn check_overlaps(ops: &[TxnOp]) -> Result<Touched<'_>, Refusal> {
    let mut touched = Touched::default();
    for op in ops {
        if let TxnOp::DeleteRange(delete) = op {
            touched.deletes.push(Span::new(&delete.key, &delete.range_end));
        }
    }
    for op in ops {
        let TxnOp::Txn(nested) = op else { continue };
        let success = check_overlaps(&nested.success)?;
        let failure = check_overlaps(&nested.failure)?;
        for key in &success.puts {
            touched.put(key)?;
        }
        for key in &failure.puts {
            if touched.deleted(key) {
                return Err(Refusal::DuplicateKey);
            }
            if !touched.puts.insert(key) && !success.puts.contains(key) {
                return Err(Refusal::DuplicateKey);
            }
        }
        touched.deletes.extend(success.deletes);
        touched.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let TxnOp::Put(put) = op {
            touched.put(&put.key)?;
        }
    }
    Ok(touched)
}
