//! Logs that real etcd wrote (`scripts/wal-fixtures.sh`): read, and written again to the byte.

use std::path::Path;
use std::rc::Rc;

use detcd::proto::v2pb::Metadata;
use detcd::storage::log::{LogImage, LogNumber, LogWrite, SnapshotMark};
use detcd::storage::memory::MemoryDisk;
use detcd::storage::wal::{LogRecord, LogWriter, Wal, WalSettings, records, snapshots};
use prost::Message;

const DIR: &str = "member/wal";
const SEGMENT: &str = "member/wal/0000000000000000-0000000000000000.wal";
/// Longer than any fixture, so that a rewritten one is not cut.
const SETTINGS: WalSettings = WalSettings { segment_bytes: 100_000, ..WalSettings::ETCD };

fn fixture(minor: &str) -> (MemoryDisk, Vec<u8>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wal").join(minor);
    let bytes = std::fs::read(folder.join("0000000000000000-0000000000000000.wal")).unwrap();
    let disk = MemoryDisk::new();
    disk.put(SEGMENT, bytes.clone());
    (disk, bytes)
}

fn open_at(disk: &MemoryDisk, mark: &SnapshotMark) -> LogImage {
    let (_, image, notes) = Wal::open_at(Rc::new(disk.clone()), DIR, SETTINGS, mark).unwrap();
    assert_eq!(notes, [""; 0]);
    image
}

/// The used bytes of a log to which these records were written one by one.
fn rewrite(from: &[LogRecord]) -> Vec<u8> {
    let disk = MemoryDisk::new();
    let (mut writer, ..) = LogWriter::open(Rc::new(disk.clone()), DIR, SETTINGS).unwrap();
    let writes = from.iter().filter_map(|record| match record.clone() {
        LogRecord::Metadata(metadata) => Some(LogWrite::create(metadata)),
        LogRecord::Snapshot(mark) if mark.index == 0 => None,
        LogRecord::Snapshot(mark) => Some(LogWrite::Snapshot(Box::new(mark))),
        LogRecord::Entry(entry) => {
            Some(LogWrite::Save { entries: vec![entry], hard_state: None, sync: true })
        }
        LogRecord::State(state) => {
            let hard_state = Some(state);
            Some(LogWrite::Save { entries: Vec::new(), hard_state, sync: true })
        }
    });
    for (write, number) in writes.zip(1..) {
        writer.append(LogNumber(number), &write).unwrap();
    }
    writer.close().unwrap();
    let mut bytes = disk.read(SEGMENT).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    bytes.truncate(used.next_multiple_of(8));
    bytes
}

#[test]
fn logs_of_every_minor_version_are_read_in_full() {
    for minor in ["3.5", "3.6", "3.7"] {
        let (disk, _) = fixture(minor);
        let image = open_at(&disk, &SnapshotMark::default());
        let metadata = Metadata::decode(image.metadata).unwrap();
        assert_ne!((metadata.node_id(), metadata.cluster_id()), (0, 0), "{minor}");
        let indexes: Vec<u64> = image.entries.iter().map(|entry| entry.index).collect();
        let last = *indexes.last().unwrap();
        assert_eq!(indexes, (1..=last).collect::<Vec<_>>(), "{minor}");
        let state = image.hard_state;
        assert_eq!((state.term, state.vote), (2, metadata.node_id()), "{minor}");
        assert!(last >= 23 && state.commit >= last - 1, "{minor}: {last}, {state:?}");
        assert!(image.entries.iter().any(|entry| entry.data.len() > 3000), "{minor}");

        let marks = snapshots(&disk, DIR).unwrap();
        assert!(marks.len() > 2, "{minor}: {marks:?}");
        let newest = open_at(&disk, marks.last().unwrap());
        let voters = newest.snapshot.conf_state.unwrap().voters;
        assert_eq!(voters, [metadata.node_id()], "{minor}");
        assert_eq!(newest.entries[0].index, newest.snapshot.index + 1, "{minor}");
    }
}

#[test]
fn logs_of_3_5_and_3_6_are_written_again_to_the_byte() {
    for minor in ["3.5", "3.6"] {
        let (disk, bytes) = fixture(minor);
        let records = records(&disk, DIR).unwrap();
        assert!(records.len() > 40, "{minor}: {}", records.len());
        assert!(rewrite(&records) == bytes, "{minor}: the bytes differ");
    }
}

#[test]
fn a_log_of_3_7_omits_zeros_and_means_the_same_when_written_again() {
    let (disk, bytes) = fixture("3.7");
    let held = records(&disk, DIR).unwrap();
    let again = rewrite(&held);
    assert!(again.len() > bytes.len());
    disk.put(SEGMENT, again);
    let known = |record: LogRecord| match record {
        LogRecord::Snapshot(mut mark) => {
            if let Some(conf) = &mut mark.conf_state {
                conf.auto_leave.get_or_insert(false);
            }
            LogRecord::Snapshot(mark)
        }
        other => other,
    };
    let held: Vec<LogRecord> = held.into_iter().map(known).collect();
    assert_eq!(records(&disk, DIR).unwrap(), held);
}

#[test]
fn a_log_of_etcd_can_be_continued() {
    let (disk, _) = fixture("3.6");
    let (mut wal, image, _) = Wal::open(Rc::new(disk.clone()), DIR, SETTINGS).unwrap();
    let mut entry = image.entries.last().unwrap().clone();
    entry.index += 1;
    let entries = vec![entry];
    let write = LogWrite::Save { entries, hard_state: Some(image.hard_state), sync: true };
    wal.append(LogNumber(1), &write).unwrap();
    wal.close().unwrap();
    let (_, again, _) = Wal::open(Rc::new(disk), DIR, SETTINGS).unwrap();
    assert_eq!(again.entries.len(), image.entries.len() + 1);
}
