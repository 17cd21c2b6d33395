//! Histories of other tools, which do not record every field of a reply. What they leave out holds
//! `UNRECORDED`, and agrees with anything.

use detsim_reports::record::{Body, KeyValue, TxnOpReply, TxnReply, UNRECORDED};

/// Whether a reply leaves something out.
pub(super) fn is_partial(body: &Body) -> bool {
    match body {
        Body::Range(reply) => reply.kvs.iter().any(has_gaps),
        Body::Put { prev_kv } => prev_kv.iter().any(has_gaps),
        Body::DeleteRange { prev_kvs, .. } => prev_kvs.iter().any(has_gaps),
        Body::Txn(reply) => is_partial_txn(reply),
        _ => false,
    }
}

fn is_partial_txn(reply: &TxnReply) -> bool {
    reply.responses.iter().any(|response| match response {
        TxnOpReply::Range { revision, reply } => {
            *revision == UNRECORDED || reply.kvs.iter().any(has_gaps)
        }
        TxnOpReply::Put { revision, prev_kv } => {
            *revision == UNRECORDED || prev_kv.iter().any(has_gaps)
        }
        TxnOpReply::DeleteRange { revision, prev_kvs, .. } => {
            *revision == UNRECORDED || prev_kvs.iter().any(has_gaps)
        }
        TxnOpReply::Txn(reply) => is_partial_txn(reply),
    })
}

fn has_gaps(kv: &KeyValue) -> bool {
    [kv.create_revision, kv.mod_revision, kv.version, kv.lease].contains(&UNRECORDED)
}

/// What the model expects, without what the reply does not record.
pub(super) fn forget(expected: &Body, got: &Body) -> Body {
    let mut expected = expected.clone();
    match (&mut expected, got) {
        (Body::Range(expected), Body::Range(got)) => key_values(&mut expected.kvs, &got.kvs),
        (Body::Txn(expected), Body::Txn(got)) => txn(expected, got),
        _ => {}
    }
    expected
}

/// Whether the key is what was seen of it, as far as that was recorded.
pub(super) fn bears_out(kv: &KeyValue, seen: &KeyValue) -> bool {
    if !has_gaps(seen) {
        return kv == seen;
    }
    let mut kv = kv.clone();
    key_value(&mut kv, seen);
    kv == *seen
}

fn txn(expected: &mut TxnReply, got: &TxnReply) {
    for (expected, got) in expected.responses.iter_mut().zip(&got.responses) {
        match (expected, got) {
            (
                TxnOpReply::Range { revision, reply },
                TxnOpReply::Range { revision: seen, reply: reply_seen },
            ) => {
                number(revision, *seen);
                key_values(&mut reply.kvs, &reply_seen.kvs);
            }
            (TxnOpReply::Put { revision, .. }, TxnOpReply::Put { revision: seen, .. })
            | (
                TxnOpReply::DeleteRange { revision, .. },
                TxnOpReply::DeleteRange { revision: seen, .. },
            ) => number(revision, *seen),
            (TxnOpReply::Txn(expected), TxnOpReply::Txn(got)) => txn(expected, got),
            _ => {}
        }
    }
}

fn key_values(expected: &mut [KeyValue], got: &[KeyValue]) {
    for (expected, got) in expected.iter_mut().zip(got) {
        key_value(expected, got);
    }
}

fn key_value(expected: &mut KeyValue, got: &KeyValue) {
    number(&mut expected.create_revision, got.create_revision);
    number(&mut expected.mod_revision, got.mod_revision);
    number(&mut expected.version, got.version);
    number(&mut expected.lease, got.lease);
}

fn number(expected: &mut i64, got: i64) {
    if got == UNRECORDED {
        *expected = UNRECORDED;
    }
}
