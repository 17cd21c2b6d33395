//! What a slot has seen: the newest revision in any reply, how far history is compacted, and keys
//! as they were. It is what a client would know, and may be out of date.

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, Call, KeyValue, Outcome, Range, RangeReply, Txn, TxnOp, TxnOpReply, TxnReply,
};
use rand_chacha::ChaCha8Rng;

use crate::model::Refusal;
use crate::seed::Draw;

/// How far behind the newest revision a slot usually looks.
const BEHIND: u64 = 50;

/// What a slot has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    newest: i64,
    compacted: i64,
    kvs: BTreeMap<Blob, KeyValue>,
}

impl Sight {
    /// The newest revision seen; 0 at first.
    pub fn newest(&self) -> i64 {
        self.newest
    }

    /// The highest revision that is known to be compacted; 0 at first.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// A key as it was seen last.
    pub fn get(&self, key: &Blob) -> Option<&KeyValue> {
        self.kvs.get(key)
    }

    /// One of the keys that were seen last.
    pub fn key(&self, stream: &mut ChaCha8Rng) -> Option<&Blob> {
        let place = stream.below(self.kvs.len().max(1) as u64);
        self.kvs.keys().nth(place as usize)
    }

    /// A revision not far behind the newest, at least 1.
    pub fn recent(&self, stream: &mut ChaCha8Rng) -> i64 {
        (self.newest - stream.below(BEHIND) as i64).max(1)
    }

    /// A revision to read at: mostly a recent one, sometimes one that is long past, compacted, at
    /// the border, not reached yet, or below all.
    pub fn past(&self, stream: &mut ChaCha8Rng) -> i64 {
        let newest = self.newest.max(1);
        match stream.below(100) {
            0..66 => self.recent(stream),
            66..76 => newest,
            76..82 => self.compacted.max(1),
            82..89 => 1 + stream.below(self.compacted.max(1) as u64) as i64,
            89..94 => 1 + stream.below(newest as u64) as i64,
            94..99 => newest + 1 + stream.below(5) as i64,
            _ => -1,
        }
    }

    /// Takes in how an operation ended.
    pub fn learn(&mut self, call: &Call, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(reply) => {
                self.newest = self.newest.max(reply.header.revision);
                match (call, &reply.body) {
                    (Call::Range(range), Body::Range(body)) => self.range(range, body),
                    (Call::Txn(txn), Body::Txn(body)) => self.txn(txn, body),
                    (Call::Compact { revision, .. }, _) => self.compacted_to(*revision),
                    _ => {}
                }
            }
            Outcome::Fail(text) if Refusal::from_text(text) == Some(Refusal::Compacted) => {
                match call {
                    // The oldest revision that can be read is a higher one.
                    Call::Range(range) => self.compacted_to(range.revision + 1),
                    Call::Compact { revision, .. } => self.compacted_to(*revision),
                    _ => {}
                }
            }
            Outcome::Fail(_) | Outcome::Unknown(_) => {}
        }
    }

    fn compacted_to(&mut self, revision: i64) {
        self.compacted = self.compacted.max(revision);
    }

    fn txn(&mut self, txn: &Txn, reply: &TxnReply) {
        let taken = if reply.succeeded { &txn.success } else { &txn.failure };
        for (op, response) in taken.iter().zip(&reply.responses) {
            match (op, response) {
                (TxnOp::Range(range), TxnOpReply::Range { reply, .. }) => self.range(range, reply),
                (TxnOp::Txn(txn), TxnOpReply::Txn(reply)) => self.txn(txn, reply),
                _ => {}
            }
        }
    }

    /// What is old is as good as new: it will be compared with what is, and differ.
    fn range(&mut self, range: &Range, reply: &RangeReply) {
        if range.keys_only || range.count_only {
            return;
        }
        if range.range_end.is_empty() && reply.kvs.is_empty() {
            self.kvs.remove(&range.key);
        }
        for kv in &reply.kvs {
            self.kvs.insert(kv.key.clone(), kv.clone());
        }
    }
}
