//! The database against bbolt itself: it checks and reads what we wrote, and we check, read and
//! continue what it wrote.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use bytes::Bytes;
use detcd::shell::disk::OsDisk;
use detcd::storage::bolt::{Bolt, BoltOptions, ReadTx, check};
use detcd::storage::database::BucketChange;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};

use crate::{hex, peers};

const DB: &str = "member/snap/db";
const BUCKETS: [&str; 3] = ["key", "lease", "meta"];

type Rows = BTreeMap<(String, Bytes), Bytes>;
type Transaction = Vec<BucketChange>;

/// A directory with a database, removed when the test ends well.
struct Room {
    boltcheck: PathBuf,
    root: PathBuf,
    options: BoltOptions,
    /// bbolt takes the first free pages that fit, not any.
    is_ordered: bool,
    random: ChaCha8Rng,
    sequence: u64,
    expected: Rows,
}

impl Room {
    fn new(boltcheck: &Path, seed: u64, page_bytes: u32) -> Room {
        let name = format!("detcd-bolt-{seed}-{page_bytes}-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("member/snap")).unwrap();
        Room {
            boltcheck: boltcheck.to_owned(),
            root,
            options: BoltOptions { page_bytes, map_bytes: 0, ..BoltOptions::ETCD },
            is_ordered: false,
            random: ChaCha8Rng::seed_from_u64(seed),
            sequence: 0,
            expected: Rows::new(),
        }
    }

    fn disk(&self) -> Rc<OsDisk> {
        Rc::new(OsDisk::new(&self.root))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    /// Draws transactions, and expects what they do.
    fn draw(&mut self, count: usize) -> Vec<Transaction> {
        (0..count).map(|_| self.transaction()).collect()
    }

    fn transaction(&mut self) -> Transaction {
        let count = [1, 10, 100][self.below(3) as usize];
        let deletes = [0, 3, 9][self.below(3) as usize];
        let mut changes = Vec::new();
        for _ in 0..count {
            let bucket = BUCKETS[self.below(3) as usize];
            let change = if self.below(10) < deletes {
                let at = Bytes::copy_from_slice(&self.below(2000).to_be_bytes());
                let mut after = self.expected.range((bucket.to_owned(), at.clone())..);
                let found = after.next().filter(|((name, _), _)| name == bucket);
                let key = found.map_or(at, |((_, key), _)| key.clone());
                BucketChange { bucket, key, value: None }
            } else {
                self.sequence += 1;
                let number = if bucket == "key" { self.sequence } else { self.below(2000) };
                let key = Bytes::copy_from_slice(&number.to_be_bytes());
                let len = if self.below(30) == 0 { 20_000 } else { 60 };
                let value = vec![number as u8; self.below(len) as usize];
                BucketChange { bucket, key, value: Some(value.into()) }
            };
            match &change.value {
                Some(value) => {
                    let key = (bucket.to_owned(), change.key.clone());
                    self.expected.insert(key, value.clone())
                }
                None => self.expected.remove(&(bucket.to_owned(), change.key.clone())),
            };
            changes.push(change);
        }
        changes
    }

    /// Has bbolt create or continue a file; returns size and use after each transaction.
    fn bbolt_writes(&self, is_synced: bool, transactions: &[Transaction]) -> Vec<(u64, u64)> {
        let mut command = Command::new(&self.boltcheck);
        command.args(["write", "-page", &self.options.page_bytes.to_string()]);
        if is_synced {
            command.arg("-synced");
        }
        if self.is_ordered {
            command.arg("-ordered");
        }
        command.arg(self.root.join(DB)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let row = |change: &BucketChange| {
            let value = change.value.as_deref().map(hex::encode);
            json!({"bucket": change.bucket, "key": hex::encode(&change.key), "value": value})
        };
        let mut stdin = child.stdin.take().unwrap();
        for transaction in transactions {
            let rows: Vec<Value> = transaction.iter().map(row).collect();
            writeln!(stdin, "{}", Value::from(rows)).unwrap();
        }
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "bbolt refuses to write");
        let number = |line: &Value, name: &str| line[name].as_u64().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.map(|line| (number(&line, "size"), number(&line, "in_use"))).collect()
    }

    /// Has bbolt check and read a file, which holds what is expected; returns its size.
    fn bbolt_reads(&self, path: &str) -> u64 {
        let file = self.root.join(path);
        let output = Command::new(&self.boltcheck).arg("read").arg(file).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "bbolt refuses the file: {complaint}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let mut size = 0;
        let mut rows = Rows::new();
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            match line["size"].as_u64() {
                Some(found) => size = found,
                None => {
                    let text = |name: &str| line[name].as_str().unwrap();
                    let key = (text("bucket").to_owned(), hex::decode(text("key")));
                    rows.insert(key, hex::decode(text("value")));
                }
            }
        }
        assert!(rows == self.expected, "bbolt reads other rows");
        size
    }

    fn we_write(&self, transactions: &[Transaction]) {
        let mut bolt = Bolt::open_or_create(self.disk(), DB, self.options).unwrap();
        bolt.create_buckets(&BUCKETS).unwrap();
        for transaction in transactions {
            bolt.commit(transaction).unwrap();
        }
        assert_eq!(bolt.check().unwrap(), []);
    }

    fn we_read(&self) {
        assert_eq!(check(&*self.disk(), DB).unwrap(), []);
        let bolt = Bolt::open(self.disk(), DB, self.options).unwrap();
        assert!(rows(&bolt.read()) == self.expected, "we read other rows");
    }

    fn end(self) {
        std::fs::remove_dir_all(&self.root).unwrap();
    }
}

fn rows(tx: &ReadTx) -> Rows {
    let mut rows = Rows::new();
    for bucket in tx.buckets().unwrap() {
        let name = String::from_utf8(bucket.to_vec()).unwrap();
        for row in tx.rows(&bucket).unwrap() {
            let (key, value) = row.unwrap();
            rows.insert((name.clone(), key), value);
        }
    }
    rows
}

#[test]
fn bbolt_finds_nothing_wrong_in_our_files_and_reads_what_we_wrote() {
    let test = "bbolt_finds_nothing_wrong_in_our_files_and_reads_what_we_wrote";
    let Some(boltcheck) = peers::go_program(test, "boltcheck") else { return };
    for (seed, page_bytes) in [(1, 1024), (2, 4096), (3, 16_384), (4, 4096)] {
        let mut room = Room::new(&boltcheck, seed, page_bytes);
        let transactions = room.draw(40);
        room.we_write(&transactions);
        let size = room.bbolt_reads(DB);
        let bolt = Bolt::open(room.disk(), DB, room.options).unwrap();
        assert_eq!(bolt.size_bytes(), size);
        let copy = bolt.compact_into(room.disk(), "copy", room.options).unwrap();
        let size = copy.size_bytes();
        drop((bolt, copy));
        assert_eq!(room.bbolt_reads("copy"), size);
        room.end();
    }
}

#[test]
fn what_bbolt_wrote_is_read_and_continued_by_us_and_read_by_it_again() {
    let test = "what_bbolt_wrote_is_read_and_continued_by_us_and_read_by_it_again";
    let Some(boltcheck) = peers::go_program(test, "boltcheck") else { return };
    for (seed, page_bytes) in [(11, 1024), (12, 4096), (13, 65_536), (14, 4096)] {
        let mut room = Room::new(&boltcheck, seed, page_bytes);
        for is_synced in [true, false, true] {
            let transactions = room.draw(15);
            room.bbolt_writes(is_synced, &transactions);
            room.we_read();
            let transactions = room.draw(15);
            room.we_write(&transactions);
            room.we_read();
            room.bbolt_reads(DB);
        }
        room.end();
    }
}

#[test]
fn the_body_of_a_snapshot_is_a_file_for_bbolt() {
    let test = "the_body_of_a_snapshot_is_a_file_for_bbolt";
    let Some(boltcheck) = peers::go_program(test, "boltcheck") else { return };
    let mut room = Room::new(&boltcheck, 21, 4096);
    let transactions = room.draw(20);
    room.we_write(&transactions);
    let mut bolt = Bolt::open(room.disk(), DB, room.options).unwrap();
    let tx = bolt.read();
    let mut body = Vec::new();
    for piece in tx.body(32 << 10) {
        body.extend_from_slice(&piece.unwrap());
        bolt.commit([BucketChange {
            bucket: "meta",
            key: Bytes::from_static(b"later"),
            value: Some(body.clone().into()),
        }])
        .unwrap();
    }
    std::fs::write(room.root.join("body"), body).unwrap();
    assert_eq!(room.bbolt_reads("body"), tx.size_bytes());
    room.end();
}

#[test]
fn our_files_grow_as_bbolts_do() {
    let test = "our_files_grow_as_bbolts_do";
    let Some(boltcheck) = peers::go_program(test, "boltcheck") else { return };
    let mut ours = Room::new(&boltcheck, 31, 4096);
    let mut theirs = Room::new(&boltcheck, 32, 4096);
    theirs.is_ordered = true;
    drop(Bolt::create(ours.disk(), DB, ours.options).unwrap());
    theirs.bbolt_writes(false, &[]);
    let file = |room: &Room| std::fs::read(room.root.join(DB)).unwrap();
    assert!(file(&ours) == file(&theirs), "an empty file is the same byte by byte");
    let create: Transaction = BUCKETS
        .iter()
        .map(|bucket| BucketChange { bucket, key: Bytes::from_static(b"none"), value: None })
        .collect();
    theirs.bbolt_writes(false, &[create]);
    for _ in 0..10 {
        let transactions = ours.draw(4);
        ours.we_write(&transactions);
        theirs.bbolt_writes(false, &transactions);
        theirs.expected = ours.expected.clone();
        // Which of the fitting free pages are taken is no part of the format: sizes differ by some.
        let (size, wanted) = (ours.bbolt_reads(DB), theirs.bbolt_reads(DB));
        assert!(size.abs_diff(wanted) * 20 <= wanted, "{size} bytes and {wanted}");
    }
    ours.end();
    theirs.end();
}

#[test]
fn what_is_reported_after_each_transaction_is_what_bbolt_reports() {
    let test = "what_is_reported_after_each_transaction_is_what_bbolt_reports";
    let Some(boltcheck) = peers::go_program(test, "boltcheck") else { return };
    let room = Room::new(&boltcheck, 41, 4096);
    let number = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
    let created: Transaction = BUCKETS
        .iter()
        .map(|bucket| BucketChange { bucket, key: Bytes::from_static(b"none"), value: None })
        .collect();
    // All pages are single ones, so that it does not matter which of the free ones are taken.
    let puts = |round: u64| -> Transaction {
        let row = |place| BucketChange {
            bucket: "key",
            key: number(round * 20 + place),
            value: Some(vec![b'v'; 60].into()),
        };
        let index = BucketChange {
            bucket: "meta",
            key: Bytes::from_static(b"consistent_index"),
            value: Some(number(round)),
        };
        (0..20).map(row).chain([index]).collect()
    };
    let deletes = |round| -> Transaction {
        let delete = |change| BucketChange { value: None, ..change };
        puts(round).into_iter().map(delete).collect()
    };
    let transactions: Vec<Transaction> =
        (0..30).map(puts).chain((5..30).rev().map(deletes)).collect();
    let theirs = room.bbolt_writes(false, &[vec![created], transactions.clone()].concat());
    std::fs::remove_file(room.root.join(DB)).unwrap();
    let mut bolt = Bolt::create(room.disk(), DB, room.options).unwrap();
    let mut ours = vec![bolt.create_buckets(&BUCKETS).unwrap()];
    ours.extend(transactions.iter().map(|changes| bolt.commit(changes).unwrap()));
    let ours: Vec<(u64, u64)> =
        ours.iter().map(|made| (made.size_bytes, made.in_use_bytes)).collect();
    assert_eq!(ours, theirs);
    room.end();
}
