//! The database against a map, against power cuts at every operation of the disk, and against files
//! that are damaged.

mod compact;
mod crash;
mod damage;
mod model;
mod mutation;

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Bolt, BoltOptions, ReadTx};
use crate::storage::database::BucketChange;
use crate::storage::memory::MemoryDisk;

const PATH: &str = "member/snap/db";
const BUCKETS: [&str; 4] = ["alarm", "key", "lease", "meta"];

/// Small pages, so that few rows make deep trees.
const SMALL: BoltOptions = BoltOptions {
    page_bytes: 512,
    map_bytes: 0,
    growth_bytes: 8 << 10,
    cache_bytes: 16 << 10,
    sequential: "key",
};

type Rows = BTreeMap<Bytes, Bytes>;
type Model = BTreeMap<&'static str, Rows>;

fn empty_model() -> Model {
    BUCKETS.iter().map(|&name| (name, Rows::new())).collect()
}

/// A database with all buckets on a disk of its own.
fn created(options: BoltOptions) -> (MemoryDisk, Bolt) {
    let disk = MemoryDisk::new();
    let mut bolt = Bolt::create(Rc::new(disk.clone()), PATH, options).unwrap();
    bolt.create_buckets(&BUCKETS).unwrap();
    (disk, bolt)
}

fn put(bucket: &'static str, key: &[u8], value: &[u8]) -> BucketChange {
    BucketChange::put(bucket, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))
}

fn delete(bucket: &'static str, key: &[u8]) -> BucketChange {
    BucketChange::delete(bucket, Bytes::copy_from_slice(key))
}

/// All that a state holds.
fn content(tx: &ReadTx) -> Model {
    BUCKETS.iter().map(|&name| (name, rows(tx, name))).collect()
}

fn rows(tx: &ReadTx, bucket: &str) -> Rows {
    let mut last = Bytes::new();
    let mut rows = Rows::new();
    for row in tx.rows(bucket.as_bytes()).unwrap() {
        let (key, value) = row.unwrap();
        assert!(last < key, "keys ascend");
        last = key.clone();
        rows.insert(key, value);
    }
    rows
}

fn apply(model: &mut Model, changes: &[BucketChange]) {
    for change in changes {
        let rows = model.get_mut(change.bucket).unwrap();
        match &change.value {
            Some(value) => rows.insert(change.key.clone(), value.clone()),
            None => rows.remove(&change.key),
        };
    }
}

/// Draws changes: puts in ascending and in random order, deletes of what is there and of what is
/// not, values up to several pages.
struct Draw {
    random: ChaCha8Rng,
    sequence: u64,
}

impl Draw {
    fn new(seed: u64) -> Draw {
        Draw { random: ChaCha8Rng::seed_from_u64(seed), sequence: 0 }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.below(20) {
            0 => self.below(3000),
            1..=4 => self.below(200),
            _ => self.below(30),
        };
        (0..len).map(|_| self.random.next_u32() as u8).collect()
    }

    fn changes(&mut self, model: &Model) -> Vec<BucketChange> {
        let count = match self.below(10) {
            0 => 0,
            1 => 200,
            2..=4 => 30,
            _ => 5,
        };
        let deletes = [0, 2, 5, 9][self.below(4) as usize];
        let sweep = self.below(8) == 0;
        let mut changes: Vec<BucketChange> =
            (0..count).map(|_| self.change(model, deletes)).collect();
        if sweep {
            let bucket = BUCKETS[self.below(4) as usize];
            let keep = self.below(4);
            let kept = |place: usize| (place as u64 % 4) < keep;
            let keys = model[bucket].keys().enumerate().filter(|(place, _)| !kept(*place));
            changes.extend(keys.map(|(_, key)| delete(bucket, key)));
        }
        changes
    }

    fn change(&mut self, model: &Model, deletes: u64) -> BucketChange {
        let bucket = BUCKETS[self.below(4) as usize];
        if self.below(10) < deletes {
            let at = self.below(1000).to_be_bytes();
            let after = model[bucket].range(Bytes::copy_from_slice(&at)..).next();
            return delete(bucket, after.map_or(&at[..], |(key, _)| key));
        }
        let mut key = if bucket == "key" {
            self.sequence += 1;
            self.sequence.to_be_bytes().to_vec()
        } else {
            self.below(1000).to_be_bytes().to_vec()
        };
        if self.below(10) == 0 {
            key.extend((0..self.below(300)).map(|place| place as u8));
        }
        let value = self.value();
        put(bucket, &key, &value)
    }
}
