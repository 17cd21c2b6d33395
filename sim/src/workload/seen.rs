//! Keys as a slot saw them last, and writes on the condition that they still are as they were:
//! what a client does that changes a key depending on what it read. Lists are values like
//! `[3 1 4]`, to which elements are appended.

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, Call, Compare, KeyValue, Operator, Outcome, Put, Range, RangeReply, Target, TxnOp,
    TxnOpReply, TxnReply,
};

/// What a slot has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    kvs: BTreeMap<Blob, Version>,
}

#[derive(Clone, Debug)]
struct Version {
    modified: i64,
    value: Blob,
}

impl Seen {
    /// The value seen last, if the key existed.
    pub fn value(&self, key: &Blob) -> Option<&Blob> {
        self.kvs.get(key).map(|version| &version.value)
    }

    /// The condition that the key is as it was seen: modified at that revision, or absent.
    pub fn guard(&self, key: &Blob) -> Compare {
        let modified = self.kvs.get(key).map_or(0, |version| version.modified);
        Compare {
            key: key.clone(),
            range_end: Blob::default(),
            operator: Operator::Equal,
            target: Target::Mod(modified),
        }
    }

    /// The list that the key held, with more at its end.
    pub fn extended(&self, key: &Blob, elements: &[u64]) -> Blob {
        let held = self.value(key).and_then(|value| std::str::from_utf8(&value.0).ok());
        let held = held.and_then(|text| text.strip_prefix('[')?.strip_suffix(']')).unwrap_or("");
        let added: Vec<String> = elements.iter().map(u64::to_string).collect();
        let blank = if held.is_empty() || added.is_empty() { "" } else { " " };
        Blob::text(&format!("[{held}{blank}{}]", added.join(" ")))
    }

    /// Takes in how an operation ended.
    pub fn learn(&mut self, call: &Call, outcome: &Outcome) {
        let Outcome::Ok(reply) = outcome else { return };
        match (call, &reply.body) {
            (Call::Range(range), Body::Range(body)) => self.range(range, body),
            (Call::Put(put), Body::Put { .. }) => self.put(put, reply.header.revision),
            (Call::Txn(txn), Body::Txn(body)) => {
                self.branch(if body.succeeded { &txn.success } else { &txn.failure }, body);
            }
            _ => {}
        }
    }

    fn branch(&mut self, ops: &[TxnOp], body: &TxnReply) {
        for pair in ops.iter().zip(&body.responses) {
            match pair {
                (TxnOp::Range(range), TxnOpReply::Range { reply, .. }) => self.range(range, reply),
                (TxnOp::Put(put), TxnOpReply::Put { revision, .. }) => self.put(put, *revision),
                _ => {}
            }
        }
    }

    fn put(&mut self, put: &Put, modified: i64) {
        self.kvs.insert(put.key.clone(), Version { modified, value: put.value.clone() });
    }

    fn range(&mut self, range: &Range, reply: &RangeReply) {
        if range.range_end.is_empty() {
            self.kvs.remove(&range.key);
        }
        for KeyValue { key, value, mod_revision, .. } in &reply.kvs {
            let version = Version { modified: *mod_revision, value: value.clone() };
            self.kvs.insert(key.clone(), version);
        }
    }
}

/// A get of one key.
pub(super) fn get(key: &Blob, serializable: bool) -> Range {
    Range { key: key.clone(), serializable, ..Range::default() }
}

#[cfg(test)]
mod tests {
    use detsim_reports::record::{Header, Reply};

    use super::*;

    #[test]
    fn lists_grow_at_their_end_and_guards_name_what_was_seen() {
        let key = Blob::text("a");
        let mut seen = Seen::default();
        assert_eq!(seen.extended(&key, &[1, 2]), Blob::text("[1 2]"));
        assert_eq!(seen.guard(&key).target, Target::Mod(0));
        let put = Put { key: key.clone(), value: Blob::text("[1 2]"), ..Put::default() };
        let reply = |revision, body| {
            Outcome::Ok(Reply { header: Header { revision, ..Header::default() }, body })
        };
        seen.learn(&Call::Put(put), &reply(7, Body::Put { prev_kv: None }));
        assert_eq!(seen.extended(&key, &[3]), Blob::text("[1 2 3]"));
        assert_eq!(seen.guard(&key).target, Target::Mod(7));
        let none = Body::Range(RangeReply::default());
        seen.learn(&Call::Range(get(&key, false)), &reply(8, none));
        assert_eq!(seen.guard(&key).target, Target::Mod(0));
    }
}
