//! Databases in the operating system's files: what was read of one stays what it was, whatever
//! becomes of the file, although its pages are shared and not copied.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use detcd::shell::disk::OsDisk;
use detcd::storage::bolt::{Bolt, BoltOptions};
use detcd::storage::database::BucketChange;
use detcd::storage::disk::Disk;
use detcd::storage::schema::DatabaseImage;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const ROWS: u64 = 3_000;
const BUCKET: &str = "key";

/// A folder, removed when the test ends well.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = format!("detcd-mapped-{name}-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(folder));
        let _ = std::fs::remove_dir_all(&folder.0);
        folder
    }

    fn disk(&self) -> Rc<dyn Disk> {
        Rc::new(OsDisk::new(&self.0))
    }
}

fn options(page_bytes: u32) -> BoltOptions {
    BoltOptions { page_bytes, map_bytes: 0, growth_bytes: 1 << 20, ..BoltOptions::ETCD }
}

/// A row whose value is of one byte, now and then more than a page of it.
fn put(random: &mut ChaCha8Rng) -> BucketChange {
    let draw = random.next_u64();
    let len = if draw.is_multiple_of(50) { 9_000 } else { 20 + draw % 300 };
    let key = format!("row-{:06}", (draw >> 20) % ROWS);
    BucketChange::put(BUCKET, key, vec![(draw >> 50) as u8; len as usize])
}

fn commit(bolt: &mut Bolt, random: &mut ChaCha8Rng, rows: u64) {
    let mut changes: Vec<BucketChange> = (0..rows).map(|_| put(random)).collect();
    let gone = format!("row-{:06}", random.next_u64() % ROWS);
    changes.push(BucketChange::delete(BUCKET, gone));
    bolt.commit(&changes).unwrap();
}

fn read(bolt: &Bolt) -> Vec<(Vec<u8>, Bytes)> {
    let image = DatabaseImage::read(&bolt.read()).unwrap();
    let mut rows = Vec::new();
    let taken = image.bucket(BUCKET).unwrap().try_each(|key, value| {
        rows.push((key.to_vec(), value));
        Ok::<(), ()>(())
    });
    taken.unwrap();
    rows
}

#[test]
fn values_outlive_the_pages_that_they_were_read_from() {
    for (seed, page_bytes) in [(1, 512), (2, 4096), (3, 16_384)] {
        let folder = Folder::new(&format!("outlive-{page_bytes}"));
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bolt = Bolt::create(folder.disk(), "d/db", options(page_bytes)).unwrap();
        bolt.create_buckets(&[BUCKET]).unwrap();
        commit(&mut bolt, &mut random, 2 * ROWS);
        drop(bolt);
        let mut bolt = Bolt::open_mapped(folder.disk(), "d/db", options(page_bytes)).unwrap();
        let mut held = read(&bolt);
        assert!(held.len() > ROWS as usize / 2);
        let copies: BTreeMap<Vec<u8>, Vec<u8>> =
            held.iter().map(|(key, value)| (key.clone(), value.to_vec())).collect();
        let unchanged =
            |held: &[(Vec<u8>, Bytes)]| held.iter().all(|(key, value)| copies[key] == *value);
        for round in 0..40 {
            commit(&mut bolt, &mut random, 200);
            held.retain(|_| !random.next_u64().is_multiple_of(20));
            assert!(unchanged(&held), "{page_bytes} {round}");
        }
        let now = read(&bolt);
        let is_old =
            |row: &&(Vec<u8>, Bytes)| copies.get(&row.0).is_some_and(|copy| *copy == row.1);
        assert!(now.iter().filter(is_old).count() < now.len() / 2, "it was rewritten");
        bolt.compact_into(folder.disk(), "d/copy", options(page_bytes)).unwrap();
        folder.disk().rename("d/copy", "d/db").unwrap();
        drop(bolt);
        assert!(unchanged(&held), "{page_bytes}: its file is gone");
        let bolt = Bolt::open_mapped(folder.disk(), "d/db", options(page_bytes)).unwrap();
        assert_eq!(read(&bolt), now);
        assert!(bolt.check().unwrap().is_empty());
        drop(bolt);
        std::fs::remove_dir_all(&folder.0).unwrap();
        assert!(unchanged(&held));
    }
}

#[test]
fn a_file_that_another_handle_goes_on_to_write_does_not_change_what_was_read() {
    let folder = Folder::new("handles");
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut bolt = Bolt::create(folder.disk(), "d/db", options(4096)).unwrap();
    bolt.create_buckets(&[BUCKET]).unwrap();
    commit(&mut bolt, &mut random, ROWS);
    drop(bolt);
    let bolt = Bolt::open_mapped(folder.disk(), "d/db", options(4096)).unwrap();
    let held = read(&bolt);
    drop(bolt);
    let copies: Vec<Vec<u8>> = held.iter().map(|(_, value)| value.to_vec()).collect();
    let mut bolt = Bolt::open_mapped(folder.disk(), "d/db", options(4096)).unwrap();
    for _ in 0..20 {
        commit(&mut bolt, &mut random, ROWS);
    }
    assert!(held.iter().zip(&copies).all(|((_, value), copy)| value == copy));
    drop(bolt);
    std::fs::remove_dir_all(&folder.0).unwrap();
}
