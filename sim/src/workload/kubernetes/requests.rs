//! The requests that an API server of Kubernetes sends: objects are keys, their resource version is
//! the modification revision, and every write compares it.

use detsim_reports::record::{
    Blob, Body, Call, Compare, DeleteRange, KeyValue, Operator, Outcome, Put, Range, Target, Txn,
    TxnOp, TxnOpReply,
};

use crate::workload::author::prefix_end;

/// One object, linearizable.
pub(super) fn get(key: &Blob) -> Range {
    Range { key: key.clone(), ..Range::default() }
}

/// All objects below a prefix.
pub(super) fn all(prefix: &Blob) -> Range {
    Range { key: prefix.clone(), range_end: prefix_end(prefix), ..Range::default() }
}

/// A page of a list: the first at whatever revision is newest, the others at the first one's, from
/// the last key on.
pub(super) fn page(prefix: &Blob, limit: i64, after: Option<(&Blob, i64)>) -> Call {
    let first = Range { limit, ..all(prefix) };
    Call::Range(match after {
        None => first,
        Some((last, revision)) => {
            let key = Blob([last.0.as_ref(), b"\0"].concat().into());
            Range { key, revision, ..first }
        }
    })
}

/// Creates an object that does not exist.
pub(super) fn create(key: &Blob, value: Blob, lease: i64) -> Call {
    let put = Put { key: key.clone(), value, lease, ..Put::default() };
    txn(Target::Mod(0), key, TxnOp::Put(put), Vec::new())
}

/// Changes an object, if nobody else did; else reads it.
pub(super) fn update(key: &Blob, value: Blob, revision: i64) -> Call {
    let put = Put { key: key.clone(), value, ..Put::default() };
    txn(Target::Mod(revision), key, TxnOp::Put(put), vec![TxnOp::Range(get(key))])
}

/// Deletes an object, if nobody changed it; else reads it.
pub(super) fn delete(key: &Blob, revision: i64) -> Call {
    let delete = DeleteRange { key: key.clone(), ..DeleteRange::default() };
    txn(Target::Mod(revision), key, TxnOp::DeleteRange(delete), vec![TxnOp::Range(get(key))])
}

/// Writes the record of compactions, if it has this version; else reads it.
pub(super) fn record_compaction(key: &Blob, version: i64, revision: i64) -> Call {
    let value = Blob::text(&revision.to_string());
    let put = Put { key: key.clone(), value, ..Put::default() };
    txn(Target::Version(version), key, TxnOp::Put(put), vec![TxnOp::Range(get(key))])
}

fn txn(target: Target, key: &Blob, success: TxnOp, failure: Vec<TxnOp>) -> Call {
    let compare =
        Compare { key: key.clone(), range_end: Blob::default(), operator: Operator::Equal, target };
    Call::Txn(Box::new(Txn { compare: vec![compare], success: vec![success], failure }))
}

/// How a conditional write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// It was done, at this revision.
    Done(i64),
    /// The condition did not hold, and this is what is there, if the request asked.
    Conflict(Option<KeyValue>, i64),
    /// It failed, or nobody knows.
    Lost,
}

/// Reads how it ended.
pub(super) fn wrote(outcome: &Outcome) -> Wrote {
    let Outcome::Ok(reply) = outcome else { return Wrote::Lost };
    let revision = reply.header.revision;
    match &reply.body {
        Body::Txn(txn) if txn.succeeded => Wrote::Done(revision),
        Body::Txn(txn) => Wrote::Conflict(
            txn.responses.first().and_then(|response| match response {
                TxnOpReply::Range { reply, .. } => reply.kvs.first().cloned(),
                _ => None,
            }),
            revision,
        ),
        _ => Wrote::Lost,
    }
}

/// What a get found. `None` when it failed.
pub(super) fn found(outcome: &Outcome) -> Option<Option<KeyValue>> {
    match outcome {
        Outcome::Ok(reply) => match &reply.body {
            Body::Range(body) => Some(body.kvs.first().cloned()),
            _ => None,
        },
        _ => None,
    }
}
