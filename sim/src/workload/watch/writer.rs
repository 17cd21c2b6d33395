//! The writing side: single puts and deletes, deletes of several keys, and transactions that change
//! several keys in one revision, in an order that is not the keys'.

use detsim_reports::record::{Blob, Call, DeleteRange, Put, Txn, TxnOp};
use rand_chacha::ChaCha8Rng;

use crate::seed::Draw;
use crate::workload::author::Author;
use crate::workload::pool::Pool;

/// Keys that a transaction changes at most.
const TXN_KEYS_MAX: u64 = 6;

#[derive(Clone, Copy)]
enum Kind {
    Put,
    Delete,
    DeleteFew,
    DeleteAll,
    Txn,
}

const KINDS: [(u64, Kind); 5] = [
    (56, Kind::Put),
    (14, Kind::Delete),
    (5, Kind::DeleteFew),
    (1, Kind::DeleteAll),
    (24, Kind::Txn),
];

/// A slot that writes.
pub(super) struct Writer {
    author: Author,
    large: usize,
}

impl Writer {
    /// Some of its values have up to `large` bytes.
    pub fn new(prefix: &str, slot: usize, large: usize) -> Writer {
        Writer { author: Author::new(prefix, slot), large }
    }

    /// What it writes next. Nothing of it is ever refused.
    pub fn call(&mut self, pool: &Pool, stream: &mut ChaCha8Rng) -> Call {
        match stream.weigh(&KINDS) {
            Kind::Put => {
                let key = pool.key(stream);
                Call::Put(self.put(key, stream))
            }
            Kind::Delete => Call::DeleteRange(delete((pool.key(stream), Blob::default()))),
            Kind::DeleteFew => Call::DeleteRange(delete(pool.few(stream))),
            Kind::DeleteAll => Call::DeleteRange(delete(pool.all())),
            Kind::Txn => self.txn(pool, stream),
        }
    }

    fn put(&mut self, key: Blob, stream: &mut ChaCha8Rng) -> Put {
        let bytes = match stream.below(16) {
            0 => stream.within(self.large as u64 / 2..=self.large as u64) as usize,
            _ => 0,
        };
        Put { key, value: self.author.value(bytes), ..Put::default() }
    }

    /// Each key is drawn as often as it is, and taken once, for a transaction may not put it twice.
    fn txn(&mut self, pool: &Pool, stream: &mut ChaCha8Rng) -> Call {
        let mut keys: Vec<Blob> = Vec::new();
        for _ in 0..stream.within(2..=TXN_KEYS_MAX) {
            let key = pool.key(stream);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let mut op = |key| match stream.below(10) {
            0..3 => TxnOp::DeleteRange(delete((key, Blob::default()))),
            _ => TxnOp::Put(self.put(key, stream)),
        };
        let success = keys.into_iter().map(&mut op).collect();
        Call::Txn(Box::new(Txn { success, ..Txn::default() }))
    }
}

fn delete((key, range_end): (Blob, Blob)) -> DeleteRange {
    DeleteRange { key, range_end, prev_kv: false }
}
