//! What clients saw of keys: every key with its value and revision in a reply or on a watch.

use std::collections::BTreeMap;

use crate::record::{
    Blob, Body, Call, History, KeyValue, OpId, Operation, Outcome, Put, Txn, TxnOp, TxnOpReply,
    TxnReply,
};

/// A key as an operation saw it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The cluster's identity.
    pub cluster: u64,
    /// The key.
    pub key: &'a Blob,
    /// The revision that wrote it.
    pub revision: i64,
    /// Its value; nothing for a removal.
    pub value: Option<&'a Blob>,
    /// Who saw it.
    pub by: OpId,
}

/// Everything that was seen, in the order of operations, then what watches received.
pub fn all(history: &History) -> Vec<Seen<'_>> {
    let mut all = Vec::new();
    // A watch's messages do not name their cluster: it is the one that the member was last in.
    let mut clusters: BTreeMap<usize, u64> = BTreeMap::new();
    for operation in &history.operations {
        let Some(Outcome::Ok(reply)) = &operation.outcome else { continue };
        let cluster = reply.header.cluster_id;
        clusters.insert(operation.member, cluster);
        let seen = |kv| seen(cluster, operation.id, kv);
        all.extend(kvs(operation).into_iter().map(seen));
    }
    for watched in &history.watched {
        let watch = history.operations.get(watched.op.0 as usize);
        let cluster = watch.and_then(|it| clusters.get(&it.member)).copied().unwrap_or(0);
        for event in &watched.message.events {
            let value = (!event.is_delete).then_some(&event.kv.value);
            all.push(Seen { value, ..seen(cluster, watched.op, &event.kv) });
            all.extend(event.prev_kv.iter().map(|kv| seen(cluster, watched.op, kv)));
        }
    }
    all
}

fn seen(cluster: u64, by: OpId, kv: &KeyValue) -> Seen<'_> {
    Seen { cluster, key: &kv.key, revision: kv.mod_revision, value: Some(&kv.value), by }
}

/// Keys in an operation's reply that come with their values.
pub fn kvs(operation: &Operation) -> Vec<&KeyValue> {
    let Some(Outcome::Ok(reply)) = &operation.outcome else { return Vec::new() };
    let mut found = Vec::new();
    match (&operation.call, &reply.body) {
        (Call::Range(range), Body::Range(reply)) if !range.keys_only => found.extend(&reply.kvs),
        (_, Body::Put { prev_kv }) => found.extend(prev_kv),
        (_, Body::DeleteRange { prev_kvs, .. }) => found.extend(prev_kvs),
        (Call::Txn(txn), Body::Txn(reply)) => in_txn(txn, reply, &mut found),
        _ => {}
    }
    found
}

fn in_txn<'a>(txn: &Txn, reply: &'a TxnReply, found: &mut Vec<&'a KeyValue>) {
    let branch = if reply.succeeded { &txn.success } else { &txn.failure };
    for (op, reply) in branch.iter().zip(&reply.responses) {
        match (op, reply) {
            (TxnOp::Range(range), TxnOpReply::Range { reply, .. }) if !range.keys_only => {
                found.extend(&reply.kvs);
            }
            (_, TxnOpReply::Put { prev_kv, .. }) => found.extend(prev_kv),
            (_, TxnOpReply::DeleteRange { prev_kvs, .. }) => found.extend(prev_kvs),
            (TxnOp::Txn(txn), TxnOpReply::Txn(reply)) => in_txn(txn, reply, found),
            _ => {}
        }
    }
}

/// Puts of a transaction, of both branches.
pub fn puts<'a>(txn: &'a Txn, found: &mut Vec<&'a Put>) {
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Put(put) => found.push(put),
            TxnOp::Txn(txn) => puts(txn, found),
            _ => {}
        }
    }
}

/// Keys that an operation names or saw, at most so many.
pub fn touched(operation: &Operation, max: usize) -> Vec<&Blob> {
    let mut keys = Vec::new();
    match &operation.call {
        Call::Range(it) if it.range_end.is_empty() => keys.push(&it.key),
        Call::Put(it) => keys.push(&it.key),
        Call::DeleteRange(it) if it.range_end.is_empty() => keys.push(&it.key),
        Call::Watch(it) if it.range_end.is_empty() => keys.push(&it.key),
        Call::Txn(it) => named(it, &mut keys),
        _ => {}
    }
    keys.extend(kvs(operation).into_iter().map(|kv| &kv.key));
    keys.sort();
    keys.dedup();
    keys.truncate(max);
    keys
}

fn named<'a>(txn: &'a Txn, keys: &mut Vec<&'a Blob>) {
    keys.extend(txn.compare.iter().map(|it| &it.key));
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Range(it) if it.range_end.is_empty() => keys.push(&it.key),
            TxnOp::Put(it) => keys.push(&it.key),
            TxnOp::DeleteRange(it) if it.range_end.is_empty() => keys.push(&it.key),
            TxnOp::Txn(it) => named(it, keys),
            _ => {}
        }
    }
}
