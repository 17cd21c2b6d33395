//! Flipped and missing bytes at every place of a small log.
//!
//! The format cannot tell a damaged record of which a sector is all zeros from one that a power
//! loss tore, nor a last segment that was cut from one that is not full: the logs here have no
//! such record, and short last segments are let pass.

use std::rc::Rc;

use detcd::storage::disk::Disk;
use detcd::storage::log::{LogImage, LogNumber, LogWrite};
use detcd::storage::memory::MemoryDisk;
use detcd::storage::wal::{LogWriter, WalError, WalSettings};

use super::script::script;

const DIR: &str = "member/wal";
const SETTINGS: WalSettings = WalSettings { segment_bytes: 2048, ..WalSettings::ETCD };

/// A log of some segments with its image, and the segments' paths.
fn log(seed: u64) -> (MemoryDisk, LogImage, Vec<String>) {
    let disk = MemoryDisk::new();
    let (mut writer, ..) = LogWriter::open(Rc::new(disk.clone()), DIR, SETTINGS).unwrap();
    let script = script(seed, 12);
    // All is synced: a commit index that was not is no damage.
    for (write, number) in script.writes.iter().zip(1..) {
        let mut write = write.clone();
        if let LogWrite::Save { sync, .. } = &mut write {
            *sync = true;
        }
        writer.append(LogNumber(number), &write).unwrap();
        writer.commit().unwrap();
    }
    let names = disk.list(DIR).unwrap();
    assert!(names.len() > 1, "{names:?}");
    let paths = names.iter().map(|name| format!("{DIR}/{name}")).collect();
    (disk, script.image(script.records.len()), paths)
}

fn open(disk: &MemoryDisk) -> Result<LogImage, WalError> {
    Ok(LogWriter::open(Rc::new(disk.clone()), DIR, SETTINGS)?.1.expect("there is a log"))
}

/// A copy of the disk's log with other bytes in one segment.
fn with(disk: &MemoryDisk, paths: &[String], path: &str, bytes: Vec<u8>) -> MemoryDisk {
    let copy = MemoryDisk::new();
    for path in paths {
        copy.put(path, disk.read(path).unwrap());
    }
    copy.put(path, bytes);
    copy
}

/// Behind the last byte that is not zero, but within the file with 64 more.
fn used(bytes: &[u8]) -> usize {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    used.min(bytes.len().saturating_sub(64))
}

fn assert_clear(error: &WalError, what: &str) {
    assert!(error.file().is_some(), "{what}: the error names no file: {error:?}");
    assert!(error.to_string().len() > 10, "{what}: the error names no cause: {error:?}");
}

#[test]
fn a_flipped_byte_costs_nothing_or_is_refused_with_file_and_cause() {
    for seed in 0..2 {
        let (disk, image, paths) = log(seed);
        assert_eq!(open(&disk).unwrap(), image);
        let mut refused = 0;
        for path in &paths {
            let bytes = disk.read(path).unwrap();
            for at in 0..used(&bytes) + 64 {
                for mask in [0x01, 0x82, 0xff] {
                    let mut flipped = bytes.clone();
                    flipped[at] ^= mask;
                    let what = format!("seed {seed}, byte {at} of {path} with {mask:#x}");
                    match open(&with(&disk, &paths, path, flipped)) {
                        Err(error) => {
                            assert_clear(&error, &what);
                            refused += 1;
                        }
                        Ok(found) => assert_eq!(found, image, "{what}: lost without a word"),
                    }
                }
            }
        }
        assert!(refused > 1000, "{refused}");
    }
}

#[test]
fn a_short_segment_gives_a_prefix_or_is_refused_with_file_and_cause() {
    for seed in 0..4 {
        let (disk, image, paths) = log(seed);
        for path in &paths {
            let bytes = disk.read(path).unwrap();
            for len in 0..bytes.len() {
                let what = format!("seed {seed}, {path} cut at {len}");
                match open(&with(&disk, &paths, path, bytes[..len].to_vec())) {
                    Err(error) => assert_clear(&error, &what),
                    Ok(found) => {
                        assert_eq!(Some(path), paths.last(), "{what}: lost without a word");
                        assert_eq!(found.metadata, image.metadata, "{what}");
                        let newer = image.snapshot.index;
                        for entry in found.entries.iter().filter(|entry| entry.index > newer) {
                            let place = image.entries.iter().find(|held| held.index == entry.index);
                            assert!(place.is_none_or(|held| held.term >= entry.term), "{what}");
                        }
                    }
                }
            }
        }
    }
}
