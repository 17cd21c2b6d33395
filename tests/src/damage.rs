//! Damage to every file of a data directory, byte by byte: a member that starts from it has all
//! that was acknowledged, or refuses and says which file is wrong and how.
//!
//! Rows of a database are the exception, as in etcd: bbolt has no checksum for them. A flipped bit
//! of a value is served, and nothing else changes with it.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use detcd::config::{CompatVersion, Config};
use detcd::member::io::{Request, Response};
use detcd::proto::etcdserverpb as pb;
use detcd::proto::mvccpb::KeyValue;
use detcd::storage::bolt::{Bolt, BoltOptions};
use detcd::storage::disk::Disk;
use detcd::storage::memory::MemoryDisk;
use detcd::storage::schema::DatabaseImage;
use detcd::storage::wal::WalSettings;
use prost::Message;

use crate::driven::{Driven, Refusal};

const WAL: WalSettings = WalSettings { segment_bytes: 4096, ..WalSettings::ETCD };
const PAGES: BoltOptions =
    BoltOptions { page_bytes: 512, map_bytes: 1 << 13, growth_bytes: 1 << 12, ..BoltOptions::ETCD };
const LOG_DIR: &str = "d/member/wal";
const SNAP_DIR: &str = "d/member/snap";

fn config() -> Config {
    Config {
        name: "a".to_owned(),
        data_dir: "d".to_owned(),
        initial_cluster: "a=http://localhost:2380".to_owned(),
        snapshot_count: 12,
        snapshot_catchup_entries: 3,
        max_wals: 5,
        compat: CompatVersion::V3_6,
        ..Config::default()
    }
}

/// Starts a member from a disk.
fn start(disk: &MemoryDisk) -> Result<Driven, Refusal> {
    let disk: Rc<dyn Disk> = Rc::new(disk.clone());
    Driven::start(&disk, config(), PAGES, WAL)
}

fn put(member: &mut Driven, key: &str, value: impl Into<Bytes>) {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), value.into());
    member.ask(Request::Put(pb::PutRequest { key, value, ..Default::default() })).unwrap();
}

/// The revision and all pairs, by a read that is linearizable.
fn served(member: &mut Driven) -> Result<Content, Refusal> {
    let all = Bytes::from_static(b"\0");
    let range = pb::RangeRequest { key: all.clone(), range_end: all, ..Default::default() };
    match member.ask(Request::Range(range))? {
        Response::Range(answer) => {
            let revision = answer.header.map_or(0, |header| header.revision);
            let pairs = answer.kvs.into_iter().map(|pair| (pair.key.clone(), pair));
            Ok(Content { revision, pairs: pairs.collect() })
        }
        other => panic!("{other:?}"),
    }
}

/// What a member serves.
#[derive(Clone, Debug, PartialEq)]
struct Content {
    revision: i64,
    pairs: BTreeMap<Bytes, KeyValue>,
}

/// A member's data directory after some puts, with everything that it acknowledged.
struct Base {
    files: BTreeMap<String, Vec<u8>>,
    content: Content,
}

impl Base {
    fn new() -> Base {
        let disk = MemoryDisk::new();
        let mut member = start(&disk).unwrap();
        for round in 0..3 {
            for key in 0..5 {
                put(&mut member, &format!("k{key}"), format!("{round} {key} ").repeat(4 + key));
            }
        }
        put(&mut member, "large", vec![b'l'; 600]);
        member.rest();
        put(&mut member, "last", "x");
        member.rest();
        let content = served(&mut member).unwrap();
        drop(member);
        let mut files = BTreeMap::new();
        for dir in [LOG_DIR, SNAP_DIR] {
            for name in disk.list(dir).unwrap() {
                let path = format!("{dir}/{name}");
                files.insert(path.clone(), disk.read(&path).unwrap());
            }
        }
        Base { files, content }
    }

    /// What a member does that finds one of the files to be something else.
    fn with(&self, path: &str, bytes: Option<Vec<u8>>) -> Result<Content, Refusal> {
        let disk = MemoryDisk::new();
        for (name, content) in &self.files {
            match (name == path, &bytes) {
                (true, Some(bytes)) => disk.put(name, &bytes[..]),
                (true, None) => {}
                (false, _) => disk.put(name, &content[..]),
            }
        }
        served(&mut start(&disk)?)
    }
}

/// What came of a start.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    /// Everything is there.
    Whole,
    /// It refused.
    Refused(String),
    /// It serves something else.
    Differs(Content),
    /// It neither serves nor ends.
    Waits,
}

impl Base {
    fn outcome(&self, path: &str, bytes: Option<Vec<u8>>) -> Outcome {
        match self.with(path, bytes) {
            Ok(content) if content == self.content => Outcome::Whole,
            Ok(content) => Outcome::Differs(content),
            Err(Refusal::Waits) => Outcome::Waits,
            Err(Refusal::Ends(text)) => Outcome::Refused(text),
        }
    }

    fn path(&self, suffix: &str) -> (&str, &[u8]) {
        let file = self.files.iter().find(|(name, _)| name.ends_with(suffix));
        file.map(|(name, bytes)| (&**name, &**bytes)).expect("it has such a file")
    }

    /// The rows of a database, by bucket and key, if it can be opened.
    fn rows(bytes: &[u8]) -> BTreeMap<(Bytes, Bytes), Bytes> {
        let disk = MemoryDisk::new();
        disk.put("db", bytes);
        let bolt = Bolt::open(Rc::new(disk), "db", PAGES).unwrap();
        let image = DatabaseImage::read(&bolt.read()).unwrap();
        let rows = image.buckets().flat_map(|(name, rows)| {
            rows.iter().map(move |(key, value)| ((name.clone(), key.clone()), value.clone()))
        });
        rows.collect()
    }
}

/// Whether a refusal says which file is wrong, or which part of the database.
fn names_a_file(text: &str) -> bool {
    [LOG_DIR, SNAP_DIR, ".wal", "database"].iter().any(|name| text.contains(name))
}

/// The places to damage: all of them, or so manieth where there is less time.
fn places(end: usize, nth: usize) -> impl Iterator<Item = usize> {
    let nth = if std::env::var_os("DETCD_EVERY_BYTE").is_some() { 1 } else { nth };
    (0..end).step_by(nth)
}

/// Everything up to the last byte that is not zero.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn flipped(bytes: &[u8], offset: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    damaged[offset] ^= 1 << (offset % 8);
    damaged
}

/// It has everything or says what is wrong.
fn assert_sound(outcome: &Outcome, what: &str) {
    match outcome {
        Outcome::Whole => {}
        Outcome::Refused(text) => assert!(names_a_file(text), "{what}: {text}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let disk = MemoryDisk::new();
    let mut first = start(&disk).unwrap();
    put(&mut first, "k", "v");
    let Err(Refusal::Ends(text)) = start(&disk) else { panic!("two members on one disk") };
    assert_eq!(text, "failed to open database path=d/member/snap/db error=timeout");
    put(&mut first, "k", "w");
    let content = served(&mut first).unwrap();
    assert_eq!(content.pairs[&b"k"[..]].value, "w");
    first.rest();
    drop(first);
    assert_eq!(start(&disk).ok().map(|mut next| served(&mut next).unwrap()), Some(content));
}

#[test]
fn a_log_that_is_damaged_or_cut_is_refused_or_has_everything() {
    let base = Base::new();
    let (path, bytes) = base.path(".wal");
    let mut refused = 0;
    for offset in places(used(bytes), 3) {
        let outcome = base.outcome(path, Some(flipped(bytes, offset)));
        assert_sound(&outcome, &format!("bit flipped at {offset}"));
        refused += usize::from(outcome != Outcome::Whole);
    }
    assert!(refused * 10 > used(bytes) * 2, "{refused} of {}", used(bytes));
    for len in places(used(bytes), 17) {
        let outcome = base.outcome(path, Some(bytes[..len].to_vec()));
        assert!(matches!(outcome, Outcome::Refused(_)), "cut at {len}: {outcome:?}");
        assert_sound(&outcome, &format!("cut at {len}"));
    }
    let outcome = base.outcome(path, None);
    assert!(matches!(&outcome, Outcome::Refused(text) if names_a_file(text)), "{outcome:?}");
}

#[test]
fn a_snapshot_that_is_damaged_or_gone_is_done_without() {
    let base = Base::new();
    let (path, bytes) = base.path(".snap");
    for offset in places(bytes.len(), 89) {
        let outcome = base.outcome(path, Some(flipped(bytes, offset)));
        assert_eq!(outcome, Outcome::Whole, "bit flipped at {offset}");
    }
    for len in places(bytes.len(), 401) {
        let outcome = base.outcome(path, Some(bytes[..len].to_vec()));
        assert_eq!(outcome, Outcome::Whole, "cut at {len}");
    }
    assert_eq!(base.outcome(path, None), Outcome::Whole);
}

#[test]
fn a_database_that_is_cut_is_refused() {
    let base = Base::new();
    let (path, bytes) = base.path("/db");
    for len in places(used(bytes), 23) {
        let outcome = base.outcome(path, Some(bytes[..len].to_vec()));
        assert!(matches!(outcome, Outcome::Refused(_)), "cut at {len}: {outcome:?}");
        assert_sound(&outcome, &format!("cut at {len}"));
    }
    for content in [None, Some(vec![0; bytes.len()])] {
        let outcome = base.outcome(path, content);
        assert!(matches!(&outcome, Outcome::Refused(text) if names_a_file(text)), "{outcome:?}");
    }
}

#[test]
fn a_flipped_bit_of_a_database_is_refused_or_changes_one_row_at_most() {
    let base = Base::new();
    let (path, bytes) = base.path("/db");
    let rows = Base::rows(bytes);
    let mut differing = 0;
    for offset in places(used(bytes), 3) {
        let damaged = flipped(bytes, offset);
        let outcome = base.outcome(path, Some(damaged.clone()));
        match &outcome {
            Outcome::Whole => continue,
            Outcome::Refused(text) if names_a_file(text) => continue,
            _ => {}
        }
        let after = Base::rows(&damaged);
        let changed: Vec<_> = rows.iter().filter(|row| after.get(row.0) != Some(row.1)).collect();
        let [((bucket, key), value)] = changed[..] else {
            panic!("bit flipped at {offset}: {} rows differ", changed.len());
        };
        match outcome {
            // Raft's configuration, in which the member no longer finds itself.
            Outcome::Waits => {
                assert_eq!((&bucket[..], &key[..]), (&b"meta"[..], &b"confState"[..]))
            }
            Outcome::Differs(content) => {
                assert_eq!(&bucket[..], b"key", "bit flipped at {offset}");
                let pair = KeyValue::decode(value.clone()).unwrap();
                let other = after.get(&(bucket.clone(), key.clone()));
                let other = other.map(|value| KeyValue::decode(value.clone()).unwrap());
                if other.is_some_and(|other| other.key == pair.key) {
                    assert_one_pair_differs(&base.content, &content, &pair.key);
                }
            }
            // What a row says, in etcd's words, rules a start out.
            Outcome::Refused(_) => assert_ne!(&bucket[..], b"key", "bit flipped at {offset}"),
            Outcome::Whole => unreachable!("it was looked at before"),
        }
        differing += 1;
    }
    assert!(differing > 50, "{differing}: values are not protected, and the test would not notice");
}

fn assert_one_pair_differs(before: &Content, after: &Content, key: &Bytes) {
    let (mut before, mut after) = (before.clone(), after.clone());
    assert_ne!(before.pairs.remove(key), after.pairs.remove(key));
    assert_eq!(before, after);
}
