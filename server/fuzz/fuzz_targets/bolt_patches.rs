//! The input is a list of patches to a sound database file: a place, a length, and so many bytes
//! each. Meta pages get correct checksums, so that what lies behind them is reached.
#![no_main]

use std::rc::Rc;
use std::sync::LazyLock;

use bytes::Bytes;
use detcd::storage::bolt::{Bolt, BoltOptions, check};
use detcd::storage::database::BucketChange;
use detcd::storage::memory::MemoryDisk;

const PATH: &str = "member/snap/db";
const PAGE: usize = 512;
const OPTIONS: BoltOptions = BoltOptions {
    page_bytes: PAGE as u32,
    map_bytes: 0,
    growth_bytes: 1,
    cache_bytes: 4096,
    sequential: "key",
};

fn put(bucket: &'static str, key: &[u8], value: &[u8]) -> BucketChange {
    BucketChange::put(bucket, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))
}

/// Some levels of pages, an inline bucket, a value over several pages, and free pages.
fn sound() -> Vec<u8> {
    let disk = MemoryDisk::new();
    let mut bolt = Bolt::create(Rc::new(disk.clone()), PATH, OPTIONS).expect("memory takes it");
    bolt.create_buckets(&["key", "lease", "meta"]).expect("memory takes it");
    for round in 0..4u8 {
        let mut changes = vec![put("meta", b"consistent_index", &[round; 8])];
        changes.push(put("lease", &[round], &[round; 700]));
        changes.extend((0..40).map(|place| put("key", &[round, place], &[place; 20])));
        bolt.commit(&changes).expect("memory takes it");
    }
    drop(bolt);
    disk.read(PATH).expect("it is there")
}

fn seal(bytes: &mut [u8]) {
    for page in bytes.chunks_exact_mut(PAGE).take(2) {
        let checksum = page[16..72].iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        page[72..80].copy_from_slice(&checksum.to_le_bytes());
    }
}

fn patched(input: &[u8]) -> Vec<u8> {
    static SOUND: LazyLock<Vec<u8>> = LazyLock::new(sound);
    let mut bytes = SOUND.clone();
    let mut rest = input;
    while let [low, high, length, tail @ ..] = rest {
        let (patch, next) = tail.split_at((*length as usize % 17).min(tail.len()));
        let at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
        let size = patch.len().min(bytes.len() - at);
        bytes[at..at + size].copy_from_slice(&patch[..size]);
        rest = next;
    }
    seal(&mut bytes);
    bytes
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let disk = MemoryDisk::new();
    disk.put(PATH, patched(input));
    let open = || Bolt::open(Rc::new(disk.clone()), PATH, OPTIONS);
    let findings = check(&disk, PATH);
    let Ok(mut bolt) = open() else {
        assert!(findings.is_err() || findings.is_ok_and(|findings| !findings.is_empty()));
        return;
    };
    let tx = bolt.read();
    for bucket in tx.buckets().expect("it was looked at when it was opened") {
        for row in tx.rows(&bucket).expect("a bucket") {
            row.expect("it was looked at when it was opened");
        }
    }
    drop(tx);
    // The bucket may have been renamed or become a value.
    if bolt.commit(&[put("key", b"next", b"value")]).is_ok() {
        assert_eq!(bolt.check().expect("memory does not fail"), []);
        drop(bolt);
        let again = open().expect("what was continued stays acceptable");
        let value = again.read().get(b"key", b"next").expect("it can be read");
        assert_eq!(value.as_deref(), Some(&b"value"[..]));
    }
});
