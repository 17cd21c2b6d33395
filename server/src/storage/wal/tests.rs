//! Formats to the byte, repairs and refusals, on a disk in memory.

use std::rc::Rc;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;
use crate::proto::raftpb::ConfState;
use crate::storage::disk::Disk;
use crate::storage::log::{EntryKind, LogEntry, LogImage};
use crate::storage::memory::MemoryDisk;

const DIR: &str = "member/wal";
const FIRST: &str = "member/wal/0000000000000000-0000000000000000.wal";
const SMALL: WalSettings = WalSettings { segment_bytes: 8192, ..WalSettings::ETCD };

fn entry(term: u64, index: u64, data: &[u8]) -> LogEntry {
    LogEntry { kind: EntryKind::Normal, term, index, data: Bytes::copy_from_slice(data) }
}

fn save(entries: Vec<LogEntry>, state: Option<(u64, u64, u64)>) -> LogWrite {
    let hard_state = state.map(|(term, vote, commit)| HardState { term, vote, commit });
    let sync = !entries.is_empty();
    LogWrite::Save { entries, hard_state, sync }
}

fn snapshot(index: u64, term: u64) -> LogWrite {
    let conf_state = ConfState { voters: vec![1], auto_leave: Some(false), ..ConfState::default() };
    LogWrite::Snapshot(Box::new(SnapshotMark { index, term, conf_state: Some(conf_state) }))
}

fn create(disk: &MemoryDisk, metadata: &[u8]) -> Wal {
    Wal::create(Rc::new(disk.clone()), DIR, SMALL, Bytes::copy_from_slice(metadata)).unwrap()
}

fn open(disk: &MemoryDisk) -> Result<(Wal, LogImage, Vec<String>), WalError> {
    Wal::open(Rc::new(disk.clone()), DIR, SMALL)
}

/// Creates a log with these writes, each committed.
fn log(writes: &[LogWrite]) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, b"meta");
    for (write, number) in writes.iter().zip(1..) {
        wal.append(LogNumber(number), write).unwrap();
        assert_eq!(wal.commit().unwrap().up_to(), LogNumber(number));
    }
    disk
}

fn refusal(disk: &MemoryDisk) -> String {
    open(disk).unwrap_err().to_string()
}

#[test]
fn a_new_log_has_the_bytes_of_the_format() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, &[0x08, 0x01, 0x10, 0x02]);
    wal.append(LogNumber(1), &save(vec![entry(1, 1, b"x")], Some((1, 0, 1)))).unwrap();
    wal.commit().unwrap();
    let bytes = disk.read(FIRST).unwrap();
    assert_eq!(bytes.len(), 8192);
    // A length of 4 with 4 bytes of padding, then type 4 and checksum 0.
    assert_eq!(bytes[..16], [4, 0, 0, 0, 0, 0, 0, 0x84, 8, 4, 16, 0, 0, 0, 0, 0]);
    let mut found = Vec::new();
    let mut at = 16;
    while bytes[at] != 0 {
        let frame = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let record = record::Frame::decode(frame);
        let body = &bytes[at + 8..at + 8 + record.record as usize];
        let parsed = record::parse(body).unwrap();
        found.push((at, frame >> 56, parsed.kind, body[parsed.data.unwrap()].to_vec()));
        at += 8 + record.body() as usize;
    }
    let state = vec![8, 1, 16, 0, 24, 1];
    assert_eq!(
        found,
        [
            (16, 0x82, 1, vec![8, 1, 16, 2]),
            (40, 0x82, 5, vec![8, 0, 16, 0]),
            (64, 0x85, 2, vec![8, 0, 16, 1, 24, 1, 34, 1, b'x']),
            (96, 0, 3, state),
        ]
    );
}

#[test]
fn checksums_are_chained_over_data_alone() {
    let disk = log(&[save(vec![entry(1, 1, b"x")], Some((1, 0, 1)))]);
    let bytes = disk.read(FIRST).unwrap();
    let data = [&b"meta"[..], &[8, 0, 16, 0], &[8, 0, 16, 1, 24, 1, 34, 1, b'x']];
    let chain = data.iter().fold(0, |crc, data| crc32c::crc32c_append(crc, data));
    let last = record::parse(&bytes[104..104 + usize::from(bytes[96])]).unwrap();
    assert_eq!(last.crc, crc32c::crc32c_append(chain, &[8, 1, 16, 0, 24, 1]));
}

#[test]
fn what_was_written_is_read_back_with_overwrites() {
    let first = (1..=5).map(|index| entry(1, index, b"old")).collect();
    let disk = log(&[
        save(first, Some((1, 7, 2))),
        save(vec![entry(2, 4, b"new")], Some((2, 7, 2))),
        save(Vec::new(), Some((2, 7, 4))),
        save(vec![entry(2, 5, b"")], None),
    ]);
    let (_, image, notes) = open(&disk).unwrap();
    assert_eq!(image.metadata, "meta");
    assert_eq!(image.hard_state, HardState { term: 2, vote: 7, commit: 4 });
    assert_eq!(image.snapshot, SnapshotMark::default());
    let held: Vec<_> =
        image.entries.iter().map(|entry| (entry.term, entry.index, &entry.data[..])).collect();
    let old = &b"old"[..];
    assert_eq!(held, [(1, 1, old), (1, 2, old), (1, 3, old), (2, 4, b"new"), (2, 5, b"")]);
    assert!(notes.is_empty());
}

#[test]
fn a_commit_index_alone_is_neither_written_nor_synced() {
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, b"meta");
    let before = disk.read(FIRST).unwrap();
    wal.append(LogNumber(1), &save(Vec::new(), Some((1, 0, 0)))).unwrap();
    assert_eq!(wal.commit().unwrap().up_to(), LogNumber(1));
    assert_eq!(disk.read(FIRST).unwrap(), before);
    wal.append(LogNumber(2), &save(vec![entry(1, 1, b"x")], None)).unwrap();
    assert_eq!(wal.commit().unwrap().up_to(), LogNumber(2));
    drop(wal);
    assert_eq!(open(&disk).unwrap().1.hard_state.term, 1);
}

#[test]
fn a_segment_is_cut_at_its_size_and_continues_the_chain() {
    let writes: Vec<LogWrite> = (1..=8)
        .map(|index| save(vec![entry(3, index, &[7; 3000])], Some((3, 1, index - 1))))
        .collect();
    let disk = MemoryDisk::new();
    let mut wal = create(&disk, b"meta");
    for (write, number) in writes.iter().zip(1..) {
        wal.append(LogNumber(number), write).unwrap();
        wal.commit().unwrap();
    }
    let second = format!("{DIR}/0000000000000001-0000000000000004.wal");
    let line = LogLine::new(Level::Info, "created a new WAL segment").with("path", second);
    let lines = wal.take_lines();
    assert_eq!((lines.len(), &lines[0]), (2, &line));
    assert_eq!(wal.take_lines(), []);
    drop(wal);
    let names = disk.list(DIR).unwrap();
    assert_eq!(
        names,
        [
            "0000000000000000-0000000000000000.wal",
            "0000000000000001-0000000000000004.wal",
            "0000000000000002-0000000000000007.wal",
        ]
    );
    let first = disk.read(FIRST).unwrap();
    assert!(first.len() > 8192 && first.len() < 9600, "cut at its exact end: {}", first.len());
    let (mut wal, image, _) = open(&disk).unwrap();
    assert_eq!(image.entries.len(), 8);
    assert_eq!(image.hard_state.commit, 7);
    wal.append(LogNumber(1), &save(vec![entry(3, 9, b"more")], None)).unwrap();
    wal.commit().unwrap();
    drop(wal);
    assert_eq!(open(&disk).unwrap().1.entries.len(), 9);
}

#[test]
fn a_log_opens_at_its_newest_committed_snapshot() {
    let entries = (1..=7).map(|index| entry(1, index, &[1; 3000])).collect();
    let disk =
        log(&[save(entries, Some((1, 1, 5))), snapshot(3, 1), snapshot(5, 1), snapshot(6, 1)]);
    let marks: Vec<u64> = snapshots(&disk, DIR).unwrap().iter().map(|mark| mark.index).collect();
    assert_eq!(marks, [0, 3, 5], "index 6 is not known to be committed");
    let (_, image, _) = open(&disk).unwrap();
    assert_eq!(image.snapshot.index, 5);
    assert_eq!(image.snapshot.conf_state.unwrap().voters, [1]);
    let held: Vec<u64> = image.entries.iter().map(|entry| entry.index).collect();
    assert_eq!(held, [6, 7]);
}

#[test]
fn entries_after_a_leaders_snapshot_follow_a_state_that_makes_it_usable() {
    let disk = log(&[
        save(vec![entry(1, 1, b"x")], Some((1, 0, 1))),
        snapshot(100, 4),
        LogWrite::Save {
            entries: vec![entry(4, 101, b"y")],
            hard_state: Some(HardState { term: 4, vote: 0, commit: 101 }),
            sync: true,
        },
    ]);
    let bytes = disk.read(FIRST).unwrap();
    let last_state = bytes.iter().rposition(|&byte| byte != 0).unwrap() / 8 * 8;
    let mut torn = bytes.clone();
    torn[last_state - 16..].fill(0);
    disk.put(FIRST, torn);
    let (_, image, _) = open(&disk).unwrap();
    assert_eq!((image.snapshot.index, image.hard_state.commit), (100, 100));
}

#[test]
fn released_segments_are_purged_oldest_first() {
    let writes: Vec<LogWrite> = (1..=12)
        .map(|index| save(vec![entry(3, index, &[7; 3000])], Some((3, 1, index))))
        .collect();
    let disk = log(&writes);
    let (mut wal, ..) = open(&disk).unwrap();
    wal.append(LogNumber(1), &snapshot(8, 3)).unwrap();
    wal.commit().unwrap();
    assert!(wal.purge(1).unwrap().is_empty(), "all are locked");
    wal.release_to(8).unwrap();
    assert_eq!(wal.purge(4).unwrap(), [FIRST]);
    assert_eq!(wal.purge(1).unwrap(), ["member/wal/0000000000000001-0000000000000004.wal"]);
    drop(wal);
    let (_, image, _) = open(&disk).unwrap();
    assert_eq!((image.snapshot.index, image.entries.len()), (8, 4));
}

#[test]
fn a_torn_record_is_cut_off_after_a_copy() {
    let writes = [save(vec![entry(1, 1, b"kept")], Some((1, 0, 1)))];
    let disk = log(&writes);
    let mut bytes = disk.read(FIRST).unwrap();
    let end = (bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1).next_multiple_of(8);
    bytes[end..end + 2].copy_from_slice(&2000u16.to_le_bytes());
    disk.put(FIRST, bytes.clone());
    let (mut wal, image, notes) = open(&disk).unwrap();
    assert_eq!(image.entries.len(), 1);
    let broken = format!("{FIRST}.broken");
    assert_eq!(disk.read(&broken).unwrap(), bytes);
    assert_eq!(
        notes,
        [
            format!("repairing: {FIRST}"),
            format!("repaired: {FIRST}: unexpected EOF at {end}"),
            "repaired WAL".to_owned()
        ]
    );
    wal.append(LogNumber(1), &save(vec![entry(1, 2, b"next")], None)).unwrap();
    wal.commit().unwrap();
    drop(wal);
    let (_, image, notes) = open(&disk).unwrap();
    assert_eq!(image.entries.len(), 2);
    assert_eq!(notes, [format!("ignored file in WAL directory: {broken}")]);
}

#[test]
fn unsynced_records_behind_a_hole_do_not_come_back() {
    let disk = log(&[
        save(vec![entry(1, 1, &[1; 600])], Some((1, 0, 1))),
        save(vec![entry(1, 2, &[2; 600])], None),
        save(vec![entry(1, 3, &[3; 600])], None),
    ]);
    let mut bytes = disk.read(FIRST).unwrap();
    bytes[1024..1536].fill(0);
    disk.put(FIRST, bytes);
    let (mut wal, image, _) = open(&disk).unwrap();
    assert_eq!(image.entries.len(), 1);
    wal.append(LogNumber(1), &save(vec![entry(1, 2, &[4; 600])], None)).unwrap();
    wal.commit().unwrap();
    drop(wal);
    let (_, image, _) = open(&disk).unwrap();
    assert_eq!(image.entries.len(), 2);
}

#[test]
fn what_lies_behind_a_lost_sector_does_not_follow_the_next_record() {
    let disk = log(&[save(vec![entry(1, 1, b"x")], Some((1, 0, 1)))]);
    let mut bytes = disk.read(FIRST).unwrap();
    bytes[1024..1032].copy_from_slice(&[4, 0, 0, 0, 0, 0, 0, 0x84]);
    disk.put(FIRST, bytes);
    let (mut wal, ..) = open(&disk).unwrap();
    let room = 1024 - wal.tail.offset() as usize;
    wal.append(LogNumber(1), &save(vec![entry(1, 2, &vec![5; room - 29])], None)).unwrap();
    assert_eq!(wal.tail.offset(), 1024, "the record ends where the remains begin");
    wal.commit().unwrap();
    drop(wal);
    let (_, image, notes) = open(&disk).unwrap();
    assert_eq!((image.entries.len(), notes.len()), (2, 0));
}

#[test]
fn refusals_say_what_etcd_says() {
    let writes: Vec<LogWrite> =
        (1..=8).map(|index| save(vec![entry(3, index, &[7; 3000])], Some((3, 1, index)))).collect();
    let disk = log(&writes);
    let middle = "member/wal/0000000000000001-0000000000000004.wal";
    let last = "member/wal/0000000000000002-0000000000000007.wal";

    let mut bytes = disk.read(FIRST).unwrap();
    bytes[4000] ^= 1;
    let whole = disk.read(FIRST).unwrap();
    disk.put(FIRST, bytes);
    let error = open(&disk).unwrap_err();
    assert_eq!(error.fatal_message(), "discovery failed");
    assert_eq!(
        error.to_string(),
        "walpb: crc mismatch: in file '0000000000000000-0000000000000000.wal' at position: 3120"
    );
    disk.put(FIRST, whole);

    let (wal, ..) = open(&disk).unwrap();
    assert_eq!(refusal(&disk), "fileutil: file already locked");
    drop(wal);

    let held = disk.read(middle).unwrap();
    disk.remove(middle).unwrap();
    let mark = SnapshotMark { index: 3, term: 3, conf_state: None };
    let at = |mark: &SnapshotMark| {
        Wal::open_at(Rc::new(disk.clone()), DIR, SMALL, mark).unwrap_err().to_string()
    };
    assert_eq!(
        at(&mark),
        "wal: file sequence numbers (starting from 0) do not increase continuously"
    );
    disk.put(middle, held);
    assert_eq!(at(&mark), "wal: snapshot not found");

    disk.remove(FIRST).unwrap();
    assert_eq!(at(&mark), "wal: file not found which matches the snapshot index '3'");
    disk.remove(middle).unwrap();
    disk.remove(last).unwrap();
    assert_eq!(refusal(&disk), "wal: file not found");
}

#[test]
fn contents_that_contradict_each_other_are_refused() {
    let gap = log(&[save(vec![entry(1, 1, b"")], None), save(vec![entry(1, 3, b"")], None)]);
    assert_eq!(
        refusal(&gap),
        "wal: slice bounds out of range, snapshot[Index: 0, Term: 0], \
         current entry[Index: 3, Term: 1], len(ents): 1"
    );
    let disk = log(&[save(vec![entry(1, 1, b"x")], Some((1, 0, 1))), snapshot(1, 1)]);
    let other_term = SnapshotMark { index: 1, term: 2, conf_state: None };
    let error = Wal::open_at(Rc::new(disk), DIR, SMALL, &other_term).unwrap_err();
    assert_eq!(error.to_string(), "wal: snapshot mismatch");
    let backwards = log(&[save(Vec::new(), Some((2, 0, 0))), save(Vec::new(), Some((1, 0, 0)))]);
    assert!(open(&backwards).unwrap().1.entries.is_empty(), "commit-only saves were not synced");

    let disk = MemoryDisk::new();
    let mut wal = create(&disk, b"meta");
    let mark = SnapshotMark { index: 4, term: 2, conf_state: None };
    let bare = LogWrite::Snapshot(Box::new(mark));
    assert_eq!(
        wal.append(LogNumber(1), &bare).unwrap_err().to_string(),
        "Saved (not-initial) snapshot is missing ConfState: index:4 term:2 "
    );
    assert!(matches!(wal.commit(), Err(WalError::Failed)));
}

#[test]
fn a_writer_creates_its_log_with_the_first_write() {
    let disk: Rc<dyn Disk> = Rc::new(MemoryDisk::new());
    let (mut writer, image, _) = LogWriter::open(Rc::clone(&disk), DIR, SMALL).unwrap();
    assert_eq!(image, None);
    assert!(!exists(&*disk, DIR).unwrap());
    let put = save(vec![entry(1, 1, b"x")], Some((1, 0, 1)));
    assert!(matches!(writer.append(LogNumber(1), &put), Err(WalError::NotCreated { number: 1 })));
    let metadata = Bytes::from_static(b"meta");
    writer.append(LogNumber(1), &LogWrite::create(metadata)).unwrap();
    writer.append(LogNumber(2), &put).unwrap();
    assert_eq!(writer.commit().unwrap().up_to(), LogNumber(2));
    drop(writer);
    assert!(exists(&*disk, DIR).unwrap());
    let (_, image, _) = LogWriter::open(disk, DIR, SMALL).unwrap();
    assert_eq!(image.unwrap().entries.len(), 1);
}

/// Changes of a segment that keep some of it meaningful.
fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..=rng.next_u32() % 3 {
        let at = rng.next_u32() as usize % bytes.len();
        let other = rng.next_u32() as usize % bytes.len();
        let size = (rng.next_u32() as usize % 64).min(bytes.len() - at.max(other));
        match rng.next_u32() % 6 {
            0 => bytes[at] ^= 1 << (rng.next_u32() % 8),
            1 => bytes[at] = rng.next_u32() as u8,
            2 => rng.fill_bytes(&mut bytes[at..at + size]),
            3 => bytes.copy_within(other..other + size, at),
            4 => bytes.truncate(at.max(1)),
            _ => bytes[at..at + size].fill(0),
        }
    }
}

/// Appends to a log that was opened; it must open again with the entry.
fn continue_log(disk: &MemoryDisk, mut wal: Wal, image: &LogImage, round: u32) {
    let (index, term) = match image.entries.last() {
        Some(last) => (last.index, last.term),
        None => (image.snapshot.index, image.snapshot.term),
    };
    let Some(index) = index.checked_add(1) else { return };
    wal.append(LogNumber(1), &save(vec![entry(term.max(1), index, b"next")], None)).unwrap();
    wal.close().unwrap();
    let (_, again, _) = open(disk).unwrap_or_else(|error| panic!("round {round}: {error}"));
    assert_eq!(again.entries.len(), image.entries.len() + 1, "round {round}");
}

#[test]
fn no_segment_makes_the_reader_panic_and_what_it_accepts_can_be_continued() {
    let disk = log(&[
        save(vec![entry(1, 1, b"first"), entry(1, 2, &[9; 300])], Some((1, 2, 1))),
        snapshot(1, 1),
        save((3..6).map(|index| entry(2, index, &[3; 90])).collect(), Some((2, 0, 4))),
        snapshot(4, 2),
        save(vec![entry(2, 5, b"again")], None),
    ]);
    let mut whole = disk.read(FIRST).unwrap();
    whole.truncate(2048);
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let mut accepted = 0;
    for round in 0..20_000 {
        let mut bytes = whole.clone();
        mutate(&mut bytes, &mut rng);
        disk.put(FIRST, bytes);
        let Ok((wal, image, _)) = open(&disk) else { continue };
        accepted += 1;
        continue_log(&disk, wal, &image, round);
    }
    assert!((2_000..18_000).contains(&accepted), "{accepted}");
}

/// One of the records that follow the head in `no_records_…`, sound or nearly so.
fn some_record(index: u8, rng: &mut ChaCha8Rng) -> (record::Kind, Vec<u8>) {
    let (kind, mut data) = match rng.next_u32() % 4 {
        0 | 1 => (record::Kind::Entry, vec![8, 0, 16, 1, 24, index, 34, 2, 5, 6]),
        2 => (record::Kind::State, vec![8, 1, 16, 7, 24, index]),
        _ => (record::Kind::Snapshot, vec![8, index, 16, 1, 26, 4, 8, 7, 40, 0]),
    };
    if rng.next_u32().is_multiple_of(4) {
        let at = rng.next_u32() as usize % data.len();
        data[at] = rng.next_u32() as u8;
    }
    if rng.next_u32().is_multiple_of(30) {
        return (record::Kind::Metadata, data);
    }
    (kind, data)
}

#[test]
fn no_records_with_right_checksums_make_the_reader_panic() {
    let disk = MemoryDisk::new();
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    let mut accepted = 0;
    for round in 0..20_000 {
        let (mut segment, mut chain) = (Vec::new(), 0);
        let mut put = |kind, data: &[u8]| {
            chain = crc32c::crc32c_append(chain, data);
            record::put_frame(&mut segment, kind, chain, Some([data, &[]]));
        };
        put(record::Kind::Crc, b"");
        put(record::Kind::Metadata, b"meta");
        put(record::Kind::Snapshot, &[8, 0, 16, 0]);
        for index in 1..5 {
            let (kind, data) = some_record(index, &mut rng);
            put(kind, &data);
        }
        disk.put(FIRST, segment);
        let Ok((wal, image, _)) = open(&disk) else { continue };
        accepted += 1;
        continue_log(&disk, wal, &image, round);
    }
    assert!((1_000..19_000).contains(&accepted), "{accepted}");
}
