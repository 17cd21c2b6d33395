//! What the database costs without a medium: transactions of a few and of many small rows, as a
//! member makes them, and opening a file of a hundred megabytes and reading it whole.

use std::rc::Rc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use detcd::storage::bolt::{Bolt, BoltOptions};
use detcd::storage::database::BucketChange;
use detcd::storage::memory::MemoryDisk;
use detcd::storage::schema::bucket;

const PATH: &str = "member/snap/db";

fn created(disk: &MemoryDisk) -> Bolt {
    let disk = Rc::new(disk.clone());
    let mut bolt = Bolt::create(disk, PATH, BoltOptions::ETCD).expect("memory takes it");
    bolt.create_buckets(&bucket::CREATED).expect("memory takes it");
    bolt
}

/// Puts of revisions, and the index of the entry that made them.
fn puts(count: usize, revision: &mut u64, value_bytes: usize) -> Vec<BucketChange> {
    let row = |_| {
        // After so many it begins again, and the file grows no more.
        *revision = (*revision + 1) % 200_000;
        let key = [&revision.to_be_bytes()[..], b"_", &[0; 8]].concat();
        BucketChange::put(bucket::KEY, key, vec![b'v'; value_bytes])
    };
    let mut changes: Vec<BucketChange> = (0..count).map(row).collect();
    let index = Bytes::copy_from_slice(&revision.to_be_bytes());
    changes.push(BucketChange::put(bucket::META, "consistent_index", index));
    changes
}

fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("database");
    for count in [1, 10, 100, 10_000] {
        let mut bolt = created(&MemoryDisk::new());
        let mut revision = 0;
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("commit of {count} puts"), |bencher| {
            bencher.iter(|| {
                let changes = puts(count, &mut revision, 64);
                bolt.commit(changes).expect("memory takes it")
            });
        });
    }
    group.finish();
}

fn scans(criterion: &mut Criterion) {
    let disk = MemoryDisk::new();
    let mut bolt = created(&disk);
    let mut revision = 0;
    for _ in 0..19 {
        bolt.commit(puts(10_000, &mut revision, 450)).expect("memory takes it");
    }
    let size = bolt.size_bytes();
    drop(bolt);
    assert!(size > 90_000_000, "{size} bytes");
    let mut group = criterion.benchmark_group("database");
    group.sample_size(10).throughput(Throughput::Bytes(size));
    group.bench_function("open and read 100 MB", |bencher| {
        bencher.iter(|| {
            let bolt = Bolt::open(Rc::new(disk.clone()), PATH, BoltOptions::ETCD).expect("sound");
            let tx = bolt.read();
            let rows = tx.rows(b"key").expect("a bucket").filter(|row| row.is_ok()).count();
            assert_eq!(rows, 190_000);
        });
    });
    group.finish();
}

criterion_group!(benches, commits, scans);
criterion_main!(benches);
