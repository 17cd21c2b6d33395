//! What the disk keeps, loses and breaks.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use super::*;
use crate::seed::Streams;

fn disk() -> VirtualDisk {
    seeded(1)
}

fn seeded(seed: u64) -> VirtualDisk {
    VirtualDisk::new(DiskTimes::STEPS, Streams::new(seed).stream("disk"))
}

/// A file of two sectors of `a`, durable with its name. Moments 1 to 4 are over.
fn with_file() -> (VirtualDisk, Box<dyn File>) {
    let disk = disk();
    disk.begin(0);
    let mut file = disk.create("f").unwrap();
    file.write_at(0, &[b'a'; 1024]).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir("").unwrap();
    assert_eq!(disk.completion(), 4);
    disk.begin(4);
    (disk, file)
}

/// The contents of `f` after power losses at `at` with many seeds.
fn outcomes(disk: &VirtualDisk, at: u64) -> BTreeSet<Vec<u8>> {
    (0..200)
        .map(|seed| {
            let fork = disk.fork(seed);
            fork.power_loss(at);
            fork.read_file("f").unwrap()
        })
        .collect()
}

fn sectors(contents: &[u8]) -> String {
    contents.chunks(512).map(|sector| char::from(sector[0])).collect()
}

#[test]
fn reads_see_writes_at_once_and_lengths_with_holes() {
    let disk = disk();
    let mut file = disk.create("f").unwrap();
    file.write_at(5000, b"xyz").unwrap();
    assert_eq!(file.len().unwrap(), 5003);
    let mut bytes = [1; 8];
    assert_eq!(file.read_at(4998, &mut bytes).unwrap(), 5);
    assert_eq!(&bytes[..5], b"\0\0xyz");
    file.set_len(5001).unwrap();
    file.set_len(64_000_000).unwrap();
    assert_eq!(file.read_at(4999, &mut bytes).unwrap(), 8);
    assert_eq!(bytes, *b"\0x\0\0\0\0\0\0");
    assert_eq!(file.len().unwrap(), 64_000_000);
}

#[test]
fn each_operation_has_its_own_moment_in_one_queue() {
    let (disk, mut file) = with_file();
    file.write_at(0, b"b").unwrap();
    assert_eq!(disk.completion(), 5);
    disk.begin(100);
    assert_eq!(disk.completion(), 100);
    file.sync_data().unwrap();
    disk.create("g").unwrap();
    assert_eq!(disk.completion(), 102);
    disk.inject(Fault::SyncTime(OperationTime::constant(50)));
    file.sync_data().unwrap();
    assert_eq!(disk.completion(), 152);
    disk.recover(152);
    file.sync_data().unwrap();
    assert_eq!(disk.completion(), 153);
}

#[test]
fn a_kill_keeps_what_was_done_and_takes_back_the_rest() {
    let (disk, mut file) = with_file();
    file.write_at(0, &[b'b'; 512]).unwrap();
    file.set_len(700).unwrap();
    disk.rename("f", "g").unwrap();
    for (at, name, expected) in [(4, "f", "aa"), (5, "f", "ba"), (7, "g", "ba")] {
        let fork = disk.fork(0);
        fork.kill(at);
        let contents = fork.read_file(name).unwrap();
        assert_eq!(sectors(&contents), expected);
        assert_eq!(contents.len(), if at == 7 { 700 } else { 1024 });
    }
    disk.kill(7);
    assert!(file.sync_data().is_err(), "the old process's handles are dead");
    assert!(disk.create("h").is_err());
    assert_eq!(disk.mount().list("").unwrap(), ["g"]);
}

#[test]
fn a_power_loss_leaves_every_sector_in_one_of_its_states() {
    let (disk, mut file) = with_file();
    file.write_at(0, &[b'b'; 1536]).unwrap();
    file.write_at(512, &[b'c'; 512]).unwrap();
    let seen: BTreeSet<String> =
        outcomes(&disk, 6).iter().map(|contents| sectors(contents)).collect();
    for expected in ["aa", "bc", "bcb", "ba", "ac", "ab", "bb", "aa\0"] {
        assert!(seen.contains(expected), "{expected:?} is lawful and never seen: {seen:?}");
    }
    assert!(seen.iter().all(|sectors| !sectors.starts_with('c')), "{seen:?}");
    let before: BTreeSet<String> =
        outcomes(&disk, 4).iter().map(|contents| sectors(contents)).collect();
    assert_eq!(before, BTreeSet::from(["aa".to_owned()]), "nothing was under way");
}

#[test]
fn what_a_sync_ended_is_kept_and_what_it_had_not_ended_is_not() {
    let (disk, mut file) = with_file();
    file.write_at(0, &[b'b'; 1024]).unwrap();
    file.sync_data().unwrap();
    assert!(outcomes(&disk, 5).len() > 1);
    let kept: Vec<String> = outcomes(&disk, 6).iter().map(|bytes| sectors(bytes)).collect();
    assert_eq!(kept, ["bb"]);
}

#[test]
fn writes_after_a_truncation_that_was_lost_are_lost_with_it() {
    let (disk, mut file) = with_file();
    file.set_len(512).unwrap();
    file.write_at(512, &[b'b'; 512]).unwrap();
    let seen: BTreeSet<String> =
        outcomes(&disk, 6).iter().map(|contents| sectors(contents)).collect();
    assert_eq!(seen, BTreeSet::from(["a", "aa", "ab", "a\0"].map(str::to_owned)));
}

#[test]
fn names_are_volatile_until_their_directory_is_synced() {
    let disk = disk();
    disk.create_dir_all("d").unwrap();
    disk.sync_dir("").unwrap();
    disk.create("d/x").unwrap();
    disk.rename("d/x", "d/y").unwrap();
    disk.create("d/z").unwrap();
    disk.begin(5);
    let lists = |disk: &VirtualDisk, at| -> BTreeSet<String> {
        let after = (0..100).map(|seed| {
            let fork = disk.fork(seed);
            fork.power_loss(at);
            fork.mount().list("d").unwrap().join("")
        });
        after.collect()
    };
    assert_eq!(lists(&disk, 5), BTreeSet::from(["", "x", "y", "z", "xz", "yz"].map(str::to_owned)));
    disk.sync_dir("d").unwrap();
    assert_eq!(lists(&disk, 6), BTreeSet::from(["yz".to_owned()]));
}

#[test]
fn an_open_file_survives_rename_and_unlink() {
    let (disk, mut file) = with_file();
    disk.rename("f", "g").unwrap();
    disk.remove("g").unwrap();
    disk.sync_dir("").unwrap();
    disk.begin(100);
    disk.create("other").unwrap();
    file.write_at(0, b"z").unwrap();
    let mut byte = [0];
    file.read_at(0, &mut byte).unwrap();
    assert_eq!(byte, [b'z']);
    assert_eq!(disk.list("").unwrap(), ["other"]);
}

#[test]
fn a_lock_is_exclusive_until_its_handle_or_process_goes() {
    let (disk, mut file) = with_file();
    file.try_lock().unwrap();
    file.try_lock().unwrap();
    let mut second = disk.open("f").unwrap();
    assert_eq!(second.try_lock().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(file);
    second.try_lock().unwrap();
    disk.kill(10);
    let disk = disk.mount();
    disk.open("f").unwrap().try_lock().unwrap();
    drop(second);
    disk.open("f").unwrap().try_lock().unwrap();
}

#[test]
fn errors_are_injected_once_and_a_full_disk_until_recovery() {
    let (disk, mut file) = with_file();
    disk.inject(Fault::WriteError);
    assert!(file.write_at(0, b"b").is_err());
    file.write_at(0, b"c").unwrap();
    disk.inject(Fault::ReadError);
    assert!(file.read_at(0, &mut [0]).is_err());
    disk.inject(Fault::Full);
    assert_eq!(file.write_at(0, b"d").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.create("g").unwrap_err().kind(), ErrorKind::StorageFull);
    disk.recover(10);
    file.write_at(0, b"d").unwrap();
}

#[test]
fn a_disk_that_is_mounted_read_only_is_read_until_its_host_loses_power() {
    let read_only = |result: std::io::Result<()>| result.unwrap_err().kind();
    let (disk, mut file) = with_file();
    file.write_at(0, b"b").unwrap();
    file.sync_data().unwrap();
    disk.inject(Fault::ReadOnly);
    assert_eq!(read_only(file.write_at(0, b"c")), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(read_only(file.sync_data()), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(read_only(file.set_len(0)), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(read_only(disk.create("g").map(drop)), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(read_only(disk.open("f").map(drop)), ErrorKind::ReadOnlyFilesystem);
    assert_eq!(read_only(disk.remove("f")), ErrorKind::ReadOnlyFilesystem);
    let mut byte = [0];
    file.read_at(0, &mut byte).unwrap();
    assert_eq!((byte, disk.list("").unwrap()), ([b'b'], vec!["f".to_owned()]));
    let at = disk.completion();
    disk.kill(at);
    assert!(disk.mount().open("f").is_err(), "another process finds it no better");
    disk.power_loss(at);
    disk.mount().open("f").unwrap().write_at(0, b"d").unwrap();
}

#[test]
fn a_copy_lacks_segments_and_is_durable_as_it_stands() {
    let left = |missing| {
        let disk = disk();
        disk.begin(0);
        disk.create_dir_all("wal").unwrap();
        for name in ["0-0.wal", "1-5.wal", "2-9.wal", "2.tmp"] {
            disk.create(&format!("wal/{name}")).unwrap().write_at(0, b"b").unwrap();
        }
        let at = disk.completion();
        disk.kill(at);
        disk.lose_segments("wal", missing);
        disk.power_loss(at);
        let disk = disk.mount();
        let names = disk.list("wal").unwrap();
        for name in &names {
            assert_eq!(disk.read_file(&format!("wal/{name}")).unwrap(), b"b");
        }
        names.join(" ")
    };
    assert_eq!(left(Missing::FirstSegment), "1-5.wal 2-9.wal 2.tmp");
    assert_eq!(left(Missing::LastSegment), "0-0.wal 1-5.wal 2.tmp");
    assert_eq!(left(Missing::Log), "2.tmp");
}

#[test]
fn after_a_failed_sync_a_later_one_does_not_save_what_it_missed() {
    let (disk, mut file) = with_file();
    file.write_at(0, &[b'b'; 1024]).unwrap();
    disk.inject(Fault::SyncError);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(sectors(&disk.read_file("f").unwrap()), "bb");
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let (disk, mut file) = with_file();
        file.write_at(0, &[b'b'; 1024]).unwrap();
        let disk = disk.fork(seed);
        drop(file);
        let mut file = disk.open("f").unwrap();
        disk.inject(Fault::SyncError);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        disk.power_loss(disk.completion());
        seen.insert(sectors(&disk.read_file("f").unwrap()));
    }
    assert!(seen.contains("aa") && seen.contains("bb"), "{seen:?}");
}

#[test]
fn lost_and_misdirected_writes_show_after_the_next_power_loss() {
    let (disk, mut file) = with_file();
    disk.inject(Fault::LostWrite);
    file.write_at(0, &[b'b'; 512]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(sectors(&disk.read_file("f").unwrap()), "ba");
    let kept: Vec<String> = outcomes(&disk, 6).iter().map(|bytes| sectors(bytes)).collect();
    assert_eq!(kept, ["aa"]);
    disk.inject(Fault::MisdirectedWrite);
    file.write_at(512, &[b'c'; 512]).unwrap();
    file.sync_data().unwrap();
    let kept: BTreeSet<String> = outcomes(&disk, 8).iter().map(|bytes| sectors(bytes)).collect();
    assert!(kept.is_subset(&BTreeSet::from(["ca", "ac"].map(str::to_owned))), "{kept:?}");
}

#[test]
fn a_hung_device_ends_its_work_after_recovery_or_never() {
    let (disk, mut file) = with_file();
    file.write_at(0, &[b'b'; 1024]).unwrap();
    file.sync_data().unwrap();
    disk.hang(5);
    assert!(disk.is_hung());
    let lost = disk.fork(0);
    lost.kill(1_000);
    assert_eq!(sectors(&lost.read_file("f").unwrap()), "bb");
    assert!(outcomes(&disk, 1_000).len() > 1, "the sync has not ended");
    assert_eq!(disk.recover(2_000), 1_995);
    assert_eq!(disk.completion(), 2_001);
    assert_eq!(outcomes(&disk, 2_001).len(), 1);
}

#[test]
fn damage_is_done_where_it_says() {
    let disk = disk();
    disk.create_dir_all("wal").unwrap();
    assert_eq!(disk.tear_log_tail("wal"), None);
    for name in ["wal/0-0.wal", "wal/1-1.wal"] {
        let mut file = disk.create(name).unwrap();
        file.set_len(64_000_000).unwrap();
        file.write_at(0, &[7; 3000]).unwrap();
    }
    let flipped = disk.corrupt_log_middle("wal").unwrap();
    assert_eq!(flipped.path, "wal/1-1.wal");
    let bytes = disk.read_file("wal/1-1.wal").unwrap();
    let changed: Vec<u64> = (0..3000).filter(|at| bytes[*at as usize] != 7).collect();
    assert_eq!(changed, [flipped.offset]);
    let torn = disk.tear_log_tail("wal").unwrap();
    assert_eq!(torn.offset % 512, 0);
    let bytes = disk.read_file("wal/1-1.wal").unwrap();
    assert_eq!(bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1, torn.offset);
    assert!(!disk.rot("wal/2", 0));
    assert!(!disk.rot("wal/1-1.wal", 64_000_000));
}

#[test]
fn equal_runs_have_equal_traces_and_others_have_not() {
    let run = |seed, data: &[u8]| {
        let disk = VirtualDisk::new(DiskTimes::SSD, Streams::new(seed).stream("disk"));
        let mut file = disk.create("f").unwrap();
        file.write_at(0, data).unwrap();
        file.sync_data().unwrap();
        (disk.trace_hash(), disk.completion())
    };
    assert_eq!(run(1, b"data"), run(1, b"data"));
    assert_ne!(run(1, b"data").0, run(2, b"data").0);
    assert_ne!(run(1, b"data").0, run(1, b"dat").0);
    assert_ne!(run(1, b"data \0").0, run(1, b"data \0\0").0);
}

#[test]
fn a_sync_that_lies_is_found_out_by_a_power_loss_unless_the_disk_makes_up_for_it() {
    let written = |makes_up: bool| {
        (0..20).filter(move |seed| {
            let disk = seeded(*seed);
            disk.begin(0);
            disk.inject(Fault::SyncsLie);
            let mut file = disk.create("a").expect("there is room");
            file.write_at(0, b"kept").expect("there is room");
            file.sync_data().expect("it says so");
            disk.sync_dir("").expect("names are kept");
            let now = disk.completion();
            if makes_up {
                disk.recover(now);
            }
            disk.power_loss(now + 1_000_000_000);
            disk.read_file("a").is_ok_and(|bytes| bytes == b"kept")
        })
    };
    assert_eq!(written(true).count(), 20);
    assert!(written(false).count() < 20);
}

#[test]
fn names_that_a_lying_disk_synced_may_be_gone() {
    let kept = (0..20).filter(|seed| {
        let disk = seeded(*seed);
        disk.begin(0);
        disk.inject(Fault::NamesLie);
        disk.create("a").expect("there is room");
        disk.sync_dir("").expect("it says so");
        disk.power_loss(disk.completion());
        disk.read_file("a").is_ok()
    });
    assert!((1..20).contains(&kept.count()));
}

#[test]
fn content_kept_aside_comes_back() {
    let disk = disk();
    disk.begin(0);
    let mut file = disk.create("a").expect("there is room");
    file.write_at(0, b"old").expect("there is room");
    let aside = disk.fork(7);
    file.write_at(0, b"new").expect("there is room");
    disk.create("b").expect("there is room");
    disk.kill(disk.completion());
    disk.take_content(&aside);
    assert_eq!(disk.read_file("a").expect("it is there"), b"old");
    assert!(disk.read_file("b").is_err());
    let again = disk.mount();
    assert!(again.open("a").is_ok(), "nobody holds it");
}

#[test]
fn the_awaited_operation_is_told_with_its_beginning_and_its_end() {
    let disk = disk();
    disk.begin(100);
    disk.await_operation(Some((&[OperationKind::Sync], 2)));
    let mut file = disk.create("a").expect("there is room");
    file.sync_data().expect("it can");
    assert_eq!(disk.take_awaited(), None);
    file.write_at(0, b"x").expect("there is room");
    file.sync_data().expect("it can");
    assert_eq!(disk.take_awaited(), Some((103, 104)));
    file.sync_data().expect("it can");
    assert_eq!(disk.take_awaited(), None);
}
