//! Operations of tools that know values and no revisions, in requests and replies of ours: what
//! registers, sets and key-value stores have in common, whoever wrote their history.

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, Call, Compare, Header, KeyValue, Operation, Operator, Outcome, Put, RangeReply,
    Reply, Target, Txn, TxnOp, TxnOpReply, TxnReply, UNRECORDED,
};

use super::Part;
use crate::check::Checker;

/// The only key of a history without keys.
pub(super) const REGISTER: &str = "register";

/// A put.
pub(super) fn put(key: &Blob, value: Blob) -> Put {
    Put { key: key.clone(), value, ..Put::default() }
}

/// A compare-and-set, as a transaction on the value.
pub(super) fn swap(key: &Blob, old: Blob, new: Blob) -> Call {
    let (operator, target) = (Operator::Equal, Target::Value(old));
    let compare = Compare { key: key.clone(), range_end: Blob::default(), operator, target };
    let success = vec![TxnOp::Put(put(key, new))];
    Call::Txn(Box::new(Txn { compare: vec![compare], success, failure: Vec::new() }))
}

/// The answer to a compare-and-set.
pub(super) fn swapped(succeeded: bool) -> Body {
    let put = TxnOpReply::Put { revision: UNRECORDED, prev_kv: None };
    Body::Txn(TxnReply { succeeded, responses: if succeeded { vec![put] } else { Vec::new() } })
}

/// A key of which nothing but its value, and perhaps its version, is recorded.
pub(super) fn key_value(key: Blob, value: Blob, version: i64) -> KeyValue {
    KeyValue {
        key,
        value,
        create_revision: UNRECORDED,
        mod_revision: UNRECORDED,
        version,
        lease: UNRECORDED,
    }
}

/// All that a read found.
pub(super) fn range_reply(kvs: Vec<KeyValue>) -> RangeReply {
    RangeReply { count: kvs.len() as i64, kvs, more: false }
}

/// An answer without revision.
pub(super) fn answered(body: Body) -> Outcome {
    Outcome::Ok(Reply { header: Header { revision: UNRECORDED, ..Header::default() }, body })
}

/// Operations by the key that each is of, as parts to be judged alone.
pub(super) fn parts_by_key(
    keys: BTreeMap<String, Vec<Operation>>,
    checkers: &'static [Checker],
) -> Vec<Part> {
    let part = |(of, operations)| Part::of(of, "system", operations, checkers);
    keys.into_iter().map(part).collect()
}
