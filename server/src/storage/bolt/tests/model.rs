//! Random transactions against a map.

use super::*;
use crate::storage::bolt::{BoltError, check};

fn reopened(disk: &MemoryDisk, options: BoltOptions) -> Bolt {
    Bolt::open(Rc::new(disk.clone()), PATH, options).unwrap()
}

fn run(seed: u64, commits: usize, options: BoltOptions) {
    let (disk, mut bolt) = created(options);
    let mut model = empty_model();
    let mut draw = Draw::new(seed);
    let mut pinned: Vec<(ReadTx, Model, Vec<u8>)> = Vec::new();
    for commit in 0..commits {
        let changes = draw.changes(&model);
        let committed = bolt.commit(&changes).unwrap();
        apply(&mut model, &changes);
        assert_eq!(committed.txid, commit as u64 + 3);
        assert_eq!(bolt.check().unwrap(), []);
        if draw.below(4) == 0 {
            let tx = bolt.read();
            assert_eq!((tx.size_bytes(), tx.txid()), (committed.size_bytes, committed.txid));
            let body = tx.body(1000).flat_map(Result::unwrap).collect();
            pinned.push((tx, model.clone(), body));
        }
        if pinned.len() > 3 {
            let (tx, then, body) = pinned.remove(draw.below(3) as usize);
            assert_eq!(content(&tx), then, "a reader's state stays as it was");
            let copy = MemoryDisk::new();
            copy.put(PATH, body);
            assert_eq!(content(&reopened(&copy, options).read()), then);
        }
        if draw.below(6) == 0 {
            assert_eq!(content(&bolt.read()), model);
        }
        if draw.below(10) == 0 {
            pinned.clear();
            drop(bolt);
            assert_eq!(check(&disk, PATH).unwrap(), []);
            bolt = reopened(&disk, options);
            assert_eq!(bolt.txid(), committed.txid);
            assert_eq!(bolt.size_bytes(), committed.size_bytes);
            assert!(bolt.in_use_bytes() <= committed.in_use_bytes);
        }
    }
    for (bucket, rows) in &model {
        for (key, value) in rows {
            assert_eq!(bolt.read().get(bucket.as_bytes(), key).unwrap().as_ref(), Some(value));
        }
    }
}

#[test]
fn the_database_holds_what_a_map_holds_with_small_pages() {
    (0..12).for_each(|seed| run(seed, 60, SMALL));
}

#[test]
fn the_database_holds_what_a_map_holds_with_etcds_pages() {
    (0..3).for_each(|seed| run(seed, 60, BoltOptions { cache_bytes: 0, ..BoltOptions::ETCD }));
}

#[test]
fn rows_from_a_key_begin_there() {
    let (_, mut bolt) = created(SMALL);
    let changes: Vec<_> = (0..500u32).map(|n| put("key", &(n * 2).to_be_bytes(), b"v")).collect();
    bolt.commit(&changes).unwrap();
    let tx = bolt.read();
    for from in 0..1000u32 {
        let mut rows = tx.rows_from(b"key", &from.to_be_bytes()).unwrap();
        let first = rows.next().map(|row| row.unwrap().0);
        let expected = Some(from.next_multiple_of(2)).filter(|&key| key < 1000);
        assert_eq!(first.as_deref(), expected.map(u32::to_be_bytes).as_ref().map(|key| &key[..]));
    }
}

#[test]
fn a_bucket_that_is_emptied_takes_no_page_and_its_pages_are_used_again() {
    let (_, mut bolt) = created(SMALL);
    let empty = bolt.commit(&[] as &[BucketChange]).unwrap().in_use_bytes;
    let all: Vec<_> = (0..2000u32).map(|n| put("key", &n.to_be_bytes(), b"value")).collect();
    let none: Vec<_> = (0..2000u32).map(|n| delete("key", &n.to_be_bytes())).collect();
    bolt.commit(&all).unwrap();
    let before = bolt.commit(&none).unwrap().in_use_bytes;
    let after = bolt.commit(&[] as &[BucketChange]).unwrap().in_use_bytes;
    assert!(before > after, "what a transaction gives up is in use until the next");
    assert!(after <= empty);
    let size = bolt.size_bytes();
    for _ in 0..5 {
        bolt.commit(&all).unwrap();
        bolt.commit(&none).unwrap();
    }
    assert_eq!(bolt.size_bytes(), size);
}

#[test]
fn a_pinned_state_keeps_its_pages_until_it_is_dropped() {
    let (_, mut bolt) = created(SMALL);
    let change = |n: u32| [put("meta", b"consistent_index", &[n as u8; 400])];
    bolt.commit(change(0)).unwrap();
    let tx = bolt.read();
    let sizes: Vec<u64> = (1..8).map(|n| bolt.commit(change(n)).unwrap().size_bytes).collect();
    assert_eq!(tx.get(b"meta", b"consistent_index").unwrap().unwrap()[..], [0; 400]);
    assert!(sizes.is_sorted() && sizes[6] > sizes[0], "{sizes:?}");
    drop(tx);
    let sizes: Vec<u64> = (1..8).map(|n| bolt.commit(change(n)).unwrap().size_bytes).collect();
    assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
}

#[test]
fn what_cannot_be_stored_is_refused_and_nothing_of_its_transaction_is_kept() {
    let (_, mut bolt) = created(SMALL);
    let good = put("key", b"a", b"1");
    let long = vec![b'k'; 32_769];
    let refused = [
        (put("key", b"", b"1"), "key required"),
        (put("key", &long, b"1"), "key too large"),
        (put("auth", b"a", b"1"), "bucket not found"),
        (delete("auth", b"a"), "bucket not found"),
    ];
    for (change, text) in refused {
        let error = bolt.commit([good.clone(), change]).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(content(&bolt.read()), empty_model());
    }
    let error = bolt.create_buckets(&[""]).unwrap_err();
    assert!(matches!(error, BoltError::BucketNameRequired));
    bolt.commit([put("key", &long[1..], b"1"), delete("key", b"none")]).unwrap();
    assert_eq!(bolt.check().unwrap(), []);
}

#[test]
fn new_files_and_their_growth_are_as_etcds() {
    let disk = MemoryDisk::new();
    let open = || Bolt::open_or_create(Rc::new(disk.clone()), PATH, BoltOptions::ETCD);
    let mut bolt = open().unwrap();
    assert_eq!((bolt.txid(), bolt.size_bytes(), bolt.in_use_bytes()), (1, 16_384, 16_384));
    assert_eq!(disk.read(PATH).unwrap().len(), 16_384);
    assert_eq!(open().unwrap_err().to_string(), "timeout", "one at a time");
    bolt.create_buckets(&["key", "meta"]).unwrap();
    assert_eq!(bolt.size_bytes(), 20_480);
    assert_eq!(disk.read(PATH).unwrap().len(), 16_801_792);
    drop(bolt);
    assert_eq!(open().unwrap().read().buckets().unwrap(), [&b"key"[..], b"meta"]);
}

#[test]
fn a_disk_of_a_small_map_grows_with_it() {
    let options = BoltOptions { map_bytes: 0, ..BoltOptions::ETCD };
    let (disk, mut bolt) = created(options);
    assert_eq!(disk.read(PATH).unwrap().len(), 32 << 10);
    bolt.commit([put("key", b"a", &[7; 40_000])]).unwrap();
    assert_eq!(disk.read(PATH).unwrap().len(), 64 << 10);
}
