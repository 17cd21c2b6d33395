//! Power losses and kills after every disk operation of short lives.

use std::rc::Rc;

use bytes::Bytes;
use detcd::storage::log::{EntryKind, LogEntry, LogImage, LogNumber, LogWrite};
use detcd::storage::wal::{LogWriter, WalSettings};
use detsim::disk::{DiskTimes, VirtualDisk};
use detsim::seed::{Draw, Streams};

use super::script::{Script, script};

const DIR: &str = "member/wal";
const SETTINGS: WalSettings = WalSettings { segment_bytes: 3000, ..WalSettings::ETCD };

/// A promise: from this moment on, so many records are durable.
#[derive(Clone, Copy, Debug)]
struct Promise {
    from: u64,
    records: usize,
}

/// Performs a script in random groups, all asked for at moment 0, so that every moment up to the
/// disk's completion can be gone back to.
fn perform(script: &Script, seed: u64) -> (VirtualDisk, Vec<Promise>) {
    let streams = Streams::new(seed);
    let mut rng = streams.stream("wal/groups");
    let disk = VirtualDisk::new(DiskTimes::STEPS, streams.stream("disk"));
    disk.begin(0);
    let (mut writer, ..) = LogWriter::open(Rc::new(disk.clone()), DIR, SETTINGS).unwrap();
    let mut promises = Vec::new();
    let mut owed = None;
    for (at, write) in script.writes.iter().enumerate() {
        let number = LogNumber(at as u64 + 1);
        writer.append(number, write).unwrap();
        if write.needs_sync() {
            owed = Some(script.records_after[at]);
        }
        if at + 1 == script.writes.len() || rng.below(3) > 0 {
            assert_eq!(writer.commit().unwrap().up_to(), number);
            if let Some(records) = owed.take() {
                promises.push(Promise { from: disk.completion(), records });
            }
        }
    }
    (disk, promises)
}

/// Opens what is left. It must hold what was promised, and nothing but a prefix of what was
/// written. Returns how many records that is.
fn reopen(disk: &VirtualDisk, script: &Script, promised: usize, what: &str) -> usize {
    let opened = LogWriter::open(Rc::new(disk.mount()), DIR, SETTINGS);
    let (_, image, _) = opened.unwrap_or_else(|error| panic!("{what}: refused: {error}"));
    let Some(image) = image else {
        assert_eq!(promised, 0, "{what}: the log is gone");
        return 0;
    };
    let fits = |count: &usize| script.image(*count) == image;
    let held = (promised.max(1)..=script.records.len()).find(fits);
    held.unwrap_or_else(|| {
        let earlier = (1..promised).rfind(fits);
        panic!("{what}: {promised} records were promised, there are {earlier:?}: {image:?}")
    })
}

fn promised_at(promises: &[Promise], moment: u64) -> usize {
    let kept = promises.iter().filter(|promise| promise.from <= moment);
    kept.map(|promise| promise.records).max().unwrap_or(0)
}

#[test]
fn no_power_loss_takes_what_a_receipt_promised() {
    let mut shortest = 0;
    for seed in 0..8 {
        let script = script(seed, 14);
        let (disk, promises) = perform(&script, seed);
        for moment in 0..=disk.completion() {
            let promised = promised_at(&promises, moment);
            for fault_seed in 0..4 {
                let fork = disk.fork(fault_seed);
                fork.power_loss(moment);
                let what = format!("seed {seed}, power loss {fault_seed} at {moment}");
                shortest += usize::from(reopen(&fork, &script, promised, &what) <= promised);
            }
        }
    }
    assert!(shortest > 100, "power losses cost something: {shortest}");
}

#[test]
fn no_kill_takes_what_a_receipt_promised() {
    for seed in 100..108 {
        let script = script(seed, 14);
        let (disk, promises) = perform(&script, seed);
        for moment in 0..=disk.completion() {
            let fork = disk.fork(0);
            fork.kill(moment);
            let what = format!("seed {seed}, kill at {moment}");
            reopen(&fork, &script, promised_at(&promises, moment), &what);
        }
    }
}

/// After a power loss: opens the log and appends to it, and returns what it held.
fn recover(disk: &VirtualDisk) -> Option<LogImage> {
    let (mut writer, image, _) = LogWriter::open(Rc::new(disk.mount()), DIR, SETTINGS).unwrap();
    let mut number = 0;
    let mut append = |write: &LogWrite| {
        number += 1;
        writer.append(LogNumber(number), write).unwrap();
        writer.commit().unwrap();
    };
    if image.is_none() {
        append(&LogWrite::create(Bytes::from_static(super::script::METADATA)));
    }
    let image = image.unwrap_or_default();
    let (index, term) = match image.entries.last() {
        Some(last) => (last.index + 1, last.term + 1),
        None => (image.snapshot.index + 1, image.snapshot.term + 1),
    };
    let data = Bytes::from(vec![9; 700]);
    let entries = vec![LogEntry { kind: EntryKind::Normal, term, index, data }];
    append(&LogWrite::Save { entries, hard_state: None, sync: true });
    Some(image)
}

#[test]
fn recovery_survives_power_losses_of_its_own() {
    for seed in 200..203 {
        let script = script(seed, 10);
        let (disk, promises) = perform(&script, seed);
        for moment in 0..=disk.completion() {
            let promised = promised_at(&promises, moment);
            let once = disk.fork(moment);
            once.power_loss(moment);
            let recovered = once.fork(0);
            recovered.begin(moment);
            let before = recover(&recovered).unwrap();
            let end = recovered.completion();
            for second in moment..=end {
                let twice = recovered.fork(second);
                twice.power_loss(second);
                let opened = LogWriter::open(Rc::new(twice.mount()), DIR, SETTINGS);
                let what = format!("seed {seed}, power losses at {moment} and {second}");
                let (_, image, _) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
                let Some(image) = image else {
                    assert_eq!(promised, 0, "{what}: the log is gone");
                    continue;
                };
                let kept = image.entries.len() == before.entries.len() + 1;
                assert!(kept || second < end, "{what}: the new entry is gone");
                let shared = before.entries.len().min(image.entries.len());
                assert_eq!(image.entries[..shared], before.entries[..], "{what}");
                assert_eq!(image.snapshot.index, before.snapshot.index, "{what}");
            }
        }
    }
}
