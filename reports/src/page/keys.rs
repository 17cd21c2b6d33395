//! The history of each key: its writes in the order of revisions, with the operation that wrote
//! each, whether that was acknowledged, where the log holds it, and which operations saw it.
//!
//! Three sources tell of a write: the reply to it, the committed log, and replies and watches that
//! show its result. A write that only one of them knows is what a finding is often about, so all
//! are kept, also when they contradict each other.

use std::collections::{BTreeMap, BTreeSet};

use super::observed;
use crate::record::{
    Blob, Body, Call, Command, OpId, Operation, Outcome, RunRecord, Txn, TxnOp, TxnOpReply,
    TxnReply,
};

/// Readers of a write that are listed, besides those that a finding names.
const READERS_MAX: usize = 12;

/// One write of a key, or its removal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// The cluster's identity; 0 where that is not known.
    pub cluster: u64,
    /// The revision; 0 for a write of unknown outcome that nobody saw.
    pub revision: i64,
    /// The value; nothing for a removal.
    pub value: Option<Blob>,
    /// The operation that wrote it, as far as known.
    pub op: Option<OpId>,
    /// The writer was told that it is done.
    pub is_acknowledged: bool,
    /// Index and term of its log entry, where the log is known.
    pub entry: Option<(u64, u64)>,
    /// What else wrote it: the expiry of a lease.
    pub by: String,
    /// Operations that saw it, some of them.
    pub readers: Vec<OpId>,
    /// How many saw it.
    pub seen: usize,
}

/// Writes by key, each in the order of revisions.
pub type Keys = BTreeMap<Blob, Vec<Write>>;

/// What the log says of a revision.
struct Entry {
    index: u64,
    term: u64,
    op: Option<OpId>,
    by: String,
}

type Rows = BTreeMap<Blob, BTreeMap<(u64, i64, Option<Blob>), Write>>;

/// Histories of all keys that a run touched.
pub fn keys(run: &RunRecord, proving: &BTreeSet<OpId>) -> Keys {
    let entries = entries(run);
    let seen = observed::all(&run.history);
    let mut rows = Rows::new();
    for operation in &run.history.operations {
        acknowledged(&mut rows, operation);
    }
    for seen in &seen {
        let at = (seen.cluster, seen.revision, seen.value.cloned());
        let row = rows.entry(seen.key.clone()).or_default().entry(at).or_default();
        row.seen += 1;
        if row.readers.len() < READERS_MAX || proving.contains(&seen.by) {
            row.readers.push(seen.by);
        }
    }
    logged(&mut rows, run, &entries);
    ranges_deleted(&mut rows, run, &entries);
    let mut keys = Keys::new();
    let mut doubtful = doubtful(run);
    for (key, rows) in rows {
        let mut writes = Vec::with_capacity(rows.len());
        for ((cluster, revision, value), row) in rows {
            let mut write = Write { cluster, revision, value, ..row };
            write.readers.dedup();
            if let Some(entry) = entries.get(&(cluster, revision)) {
                write.entry = Some((entry.index, entry.term));
                write.op = write.op.or(entry.op);
                write.by.clone_from(&entry.by);
            }
            attribute(&mut write, &key, &mut doubtful);
            writes.push(write);
        }
        keys.insert(key, writes);
    }
    never_seen(&mut keys, doubtful);
    keys
}

/// Which entry of the log made each revision of each cluster.
fn entries(run: &RunRecord) -> BTreeMap<(u64, i64), Entry> {
    let mut revisions: BTreeMap<(u64, u64), i64> = BTreeMap::new();
    for applied in &run.internals.applied {
        revisions.entry((applied.cluster, applied.index)).or_insert(applied.revision);
    }
    let mut entries = BTreeMap::new();
    for committed in &run.internals.committed {
        let at = (committed.cluster, committed.index);
        let Some(revision) = revisions.get(&at) else { continue };
        let before = revisions.range((committed.cluster, 0)..at).next_back();
        if before.map_or(1, |(_, before)| *before) >= *revision {
            continue;
        }
        let by = match &committed.command {
            Command::LeaseExpired { id } => format!("lease {id} expired"),
            Command::Client(Call::LeaseRevoke { id }) => format!("lease {id} was revoked"),
            _ => String::new(),
        };
        let (index, term, op) = (committed.index, committed.term, committed.op);
        let entry = Entry { index, term, op, by };
        entries.entry((committed.cluster, *revision)).or_insert(entry);
    }
    entries
}

/// Keys that a transaction's reply says were written, with their values.
fn written(txn: &Txn, reply: &TxnReply, writes: &mut Vec<(Blob, Option<Blob>)>) {
    let branch = if reply.succeeded { &txn.success } else { &txn.failure };
    for (op, reply) in branch.iter().zip(&reply.responses) {
        match (op, reply) {
            (TxnOp::Put(put), _) => writes.push((put.key.clone(), Some(put.value.clone()))),
            (TxnOp::DeleteRange(delete), TxnOpReply::DeleteRange { deleted, prev_kvs, .. }) => {
                if *deleted > 0 && delete.range_end.is_empty() {
                    writes.push((delete.key.clone(), None));
                } else {
                    writes.extend(prev_kvs.iter().map(|kv| (kv.key.clone(), None)));
                }
            }
            (TxnOp::Txn(txn), TxnOpReply::Txn(reply)) => written(txn, reply, writes),
            _ => {}
        }
    }
}

/// What the reply to an operation says that it wrote.
fn acknowledged(rows: &mut Rows, operation: &Operation) {
    let Some(Outcome::Ok(reply)) = &operation.outcome else { return };
    let mut writes = Vec::new();
    match (&operation.call, &reply.body) {
        (Call::Put(put), Body::Put { .. }) if !put.ignore_value => {
            writes.push((put.key.clone(), Some(put.value.clone())));
        }
        (Call::DeleteRange(delete), Body::DeleteRange { deleted, prev_kvs }) => {
            if delete.range_end.is_empty() && *deleted > 0 {
                writes.push((delete.key.clone(), None));
            }
            writes.extend(prev_kvs.iter().map(|kv| (kv.key.clone(), None)));
        }
        (Call::Txn(txn), Body::Txn(reply)) => written(txn, reply, &mut writes),
        _ => {}
    }
    for (key, value) in writes {
        let at = (reply.header.cluster_id, reply.header.revision, value);
        let row = rows.entry(key).or_default().entry(at).or_default();
        row.op = Some(operation.id);
        row.is_acknowledged = true;
    }
}

/// Writes that the log holds, also when nobody was told of them.
fn logged(rows: &mut Rows, run: &RunRecord, entries: &BTreeMap<(u64, i64), Entry>) {
    for ((cluster, revision), entry) in entries {
        let Some(operation) = operation(run, entry.op) else { continue };
        let (key, value) = match &operation.call {
            Call::Put(put) if !put.ignore_value => (put.key.clone(), Some(put.value.clone())),
            Call::DeleteRange(it) if it.range_end.is_empty() => (it.key.clone(), None),
            _ => continue,
        };
        rows.entry(key).or_default().entry((*cluster, *revision, value)).or_default();
    }
}

/// Keys that a deletion of an interval removed: those that were there before.
fn ranges_deleted(rows: &mut Rows, run: &RunRecord, entries: &BTreeMap<(u64, i64), Entry>) {
    let replied = run.history.operations.iter().filter_map(|it| match &it.outcome {
        Some(Outcome::Ok(reply)) => match reply.body {
            Body::DeleteRange { deleted: 0, .. } => None,
            _ => Some((reply.header.cluster_id, reply.header.revision, it)),
        },
        _ => None,
    });
    let logged = entries.iter().filter_map(|((cluster, revision), entry)| {
        Some((*cluster, *revision, operation(run, entry.op)?))
    });
    for (cluster, revision, operation) in replied.chain(logged) {
        let Call::DeleteRange(delete) = &operation.call else { continue };
        if delete.range_end.is_empty() {
            continue;
        }
        let is_inside = |key: &Blob| {
            *key >= delete.key && (delete.range_end.0.as_ref() == [0] || *key < delete.range_end)
        };
        for (_, rows) in rows.iter_mut().filter(|(key, _)| is_inside(key)) {
            let before = rows.range((cluster, 0, None)..(cluster, revision, None)).next_back();
            if before.is_some_and(|((_, _, value), _)| value.is_some()) {
                let row = rows.entry((cluster, revision, None)).or_default();
                row.op = Some(operation.id);
                row.is_acknowledged |= matches!(operation.outcome, Some(Outcome::Ok(_)));
            }
        }
    }
}

fn operation(run: &RunRecord, op: Option<OpId>) -> Option<&Operation> {
    run.history.operations.get(op?.0 as usize)
}

/// Puts of unknown outcome by key and value.
type Doubtful = BTreeMap<(Blob, Blob), Vec<OpId>>;

fn doubtful(run: &RunRecord) -> Doubtful {
    let mut doubtful = Doubtful::new();
    for operation in &run.history.operations {
        if !matches!(operation.outcome, Some(Outcome::Unknown(_)) | None) {
            continue;
        }
        let mut puts = Vec::new();
        match &operation.call {
            Call::Put(put) => puts.push(put),
            Call::Txn(txn) => observed::puts(txn, &mut puts),
            _ => {}
        }
        for put in puts.into_iter().filter(|put| !put.ignore_value) {
            let at = (put.key.clone(), put.value.clone());
            doubtful.entry(at).or_default().push(operation.id);
        }
    }
    doubtful
}

/// Finds the writer of what was seen without one: the only one of unknown outcome that wanted it.
fn attribute(write: &mut Write, key: &Blob, doubtful: &mut Doubtful) {
    let Some(value) = &write.value else { return };
    let Some(ops) = doubtful.get_mut(&(key.clone(), value.clone())) else { return };
    match write.op {
        Some(op) => ops.retain(|it| *it != op),
        None => {
            if let [only] = ops.as_slice() {
                write.op = Some(*only);
                ops.clear();
            }
        }
    }
}

/// Writes of unknown outcome that nobody saw stand at the end.
fn never_seen(keys: &mut Keys, doubtful: Doubtful) {
    let known: BTreeSet<OpId> = keys.values().flatten().filter_map(|write| write.op).collect();
    for ((key, value), ops) in doubtful {
        let writes = keys.entry(key).or_default();
        writes.extend(ops.into_iter().filter(|op| !known.contains(op)).map(|op| Write {
            value: Some(value.clone()),
            op: Some(op),
            ..Write::default()
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{History, stale_read};

    #[test]
    fn writes_stand_in_the_order_of_revisions_with_writer_and_readers() {
        let run = stale_read();
        let keys = keys(&run, &BTreeSet::from([OpId(4)]));
        let rows: Vec<(i64, Option<OpId>, bool, usize)> = keys[&Blob::text("x")]
            .iter()
            .map(|it| (it.revision, it.op, it.is_acknowledged, it.seen))
            .collect();
        assert_eq!(
            rows,
            [
                (2, Some(OpId(0)), true, 2),
                (3, Some(OpId(2)), true, 1),
                (0, Some(OpId(5)), false, 0)
            ]
        );
        assert_eq!(keys[&Blob::text("x")][1].entry, Some((4, 3)));
    }

    #[test]
    fn a_write_that_was_seen_belongs_to_the_only_one_that_may_have_written_it() {
        let mut history = History::new(1);
        let put = history.put(0, 10, "k", "v");
        history.unknown(put, 20);
        let get = history.get(0, 30, "k");
        history.read(get, 40, 2, "k", Some(("v", 2)));
        let keys = keys(&history.run, &BTreeSet::new());
        let write = &keys[&Blob::text("k")][0];
        assert_eq!((write.revision, write.op, write.is_acknowledged), (2, Some(put), false));
        assert_eq!(write.readers, [get]);
        assert_eq!(keys[&Blob::text("k")].len(), 1);
    }

    #[test]
    fn an_interval_that_is_deleted_removes_what_was_there() {
        let mut history = History::new(1);
        for (at, key) in [(10, "a"), (20, "b"), (30, "z")] {
            let put = history.put(0, at, key, "v");
            history.wrote(put, at + 5, i64::try_from(at).unwrap() / 10 + 1);
        }
        let delete = history.delete(0, 40, "a", "c");
        history.deleted(delete, 45, 5, 2);
        let keys = keys(&history.run, &BTreeSet::new());
        let last = |key: &str| keys[&Blob::text(key)].last().unwrap().clone();
        assert_eq!((last("a").revision, last("a").value, last("a").op), (5, None, Some(delete)));
        assert_eq!(last("b").value, None);
        assert!(last("z").value.is_some());
    }
}
