//! What a member starts from, and what its directory holds after snapshots come and go.

use std::rc::Rc;

use bytes::Bytes;

use super::*;
use crate::proto::raftpb::ConfState;
use crate::storage::database::{BucketChange, DatabaseNumber};
use crate::storage::disk::File;
use crate::storage::log::{EntryKind, HardState, LogEntry, LogImage, LogNumber, LogWrite};
use crate::storage::memory::MemoryDisk;
use crate::storage::schema::{self, bucket};
use crate::storage::snap;
use crate::storage::wal::WalSettings;

const WAL: WalSettings = WalSettings { segment_bytes: 1024, ..WalSettings::ETCD };
const DIR: &str = "d/member/snap";

/// Keeps all rows as text in the file, which is written anew by every commit.
#[derive(Debug)]
struct Plain;

#[derive(Debug)]
struct PlainDatabase {
    file: Box<dyn File>,
    disk: Rc<dyn Disk>,
    image: DatabaseImage,
}

fn text_of(image: &DatabaseImage) -> String {
    let mut text = "rows\n".to_owned();
    for (name, rows) in image.buckets() {
        for (key, value) in rows {
            let name = String::from_utf8_lossy(name);
            text += &format!("{name} {} {}\n", hex(key), hex(value));
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    "x".to_owned() + &bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
}

fn unhex(text: &str) -> Bytes {
    let pairs = text.as_bytes()[1..].chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn image_of(text: &str) -> Option<DatabaseImage> {
    let mut image = DatabaseImage::new();
    for line in text.strip_prefix("rows\n")?.lines() {
        let mut words = line.split(' ');
        let name = Bytes::copy_from_slice(words.next()?.as_bytes());
        image.insert(name, unhex(words.next()?), unhex(words.next()?));
    }
    Some(image)
}

impl Engine for Plain {
    fn create(&self, disk: &Rc<dyn Disk>, path: &Path) -> Result<(), DatabaseError> {
        let mut file = disk.create(path).map_err(DatabaseError::io("open", path))?;
        file.write_at(0, b"rows\n").map_err(DatabaseError::io("write", path))
    }

    fn open(&self, disk: &Rc<dyn Disk>, path: &Path) -> Result<Box<dyn Database>, DatabaseError> {
        let file = disk.open(path).map_err(DatabaseError::io("open", path))?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).map_err(DatabaseError::io("read", path))?;
        let image = std::str::from_utf8(&bytes).ok().and_then(image_of);
        let image = image.ok_or(DatabaseError::Invalid { path: path.to_owned() })?;
        Ok(Box::new(PlainDatabase { file, disk: Rc::clone(disk), image }))
    }
}

impl Database for PlainDatabase {
    fn commit(&mut self, changes: Vec<BucketChange>) -> Result<DatabaseSize, DatabaseError> {
        self.image.apply(&changes);
        let text = text_of(&self.image);
        self.file.set_len(0).map_err(DatabaseError::io("ftruncate", "db"))?;
        self.file.write_at(0, text.as_bytes()).map_err(DatabaseError::io("write", "db"))?;
        Ok(self.size())
    }

    fn size(&self) -> DatabaseSize {
        let bytes = text_of(&self.image).len() as u64;
        DatabaseSize { total_bytes: bytes, in_use_bytes: bytes }
    }

    fn image(&self) -> Result<DatabaseImage, DatabaseError> {
        Ok(self.image.clone())
    }

    fn pin(&mut self) -> Result<Box<dyn Pinned>, DatabaseError> {
        Ok(Box::new(PlainPin(self.image.clone())))
    }

    fn copy_into(&mut self, path: &Path) -> Result<(), DatabaseError> {
        let mut file = self.disk.create(path).map_err(DatabaseError::io("open", path))?;
        let text = text_of(&self.image);
        file.write_at(0, text.as_bytes()).map_err(DatabaseError::io("write", path))
    }
}

#[derive(Debug)]
struct PlainPin(DatabaseImage);

impl Pinned for PlainPin {
    fn meta(&self) -> Result<DatabaseImage, DatabaseError> {
        Ok(self.0.clone())
    }

    fn body(&self) -> Result<Body, DatabaseError> {
        let bytes = Bytes::from(text_of(&self.0));
        Ok(Body { size_bytes: bytes.len() as u64, bytes })
    }
}

fn layout() -> Layout {
    Layout {
        wal_dir: "d/member/wal".to_owned(),
        snap_dir: DIR.to_owned(),
        snap_dir_named: "/d/member/snap".to_owned(),
        max_wals: 1,
        max_snapshots: 2,
        compat: CompatVersion::V3_6,
    }
}

fn open_with(disk: &MemoryDisk, layout: Layout) -> (Result<Opened, Failure>, Vec<String>) {
    let disk: Rc<dyn Disk> = Rc::new(disk.clone());
    let engine: Rc<dyn Engine> = Rc::new(Plain);
    let mut lines = Vec::new();
    let opened = open(&disk, &engine, layout, WAL, &mut lines);
    (opened, lines.into_iter().map(|line| line.message).collect())
}

fn started(disk: &MemoryDisk) -> (Opened, Vec<String>) {
    let (opened, lines) = open_with(disk, layout());
    (opened.unwrap(), lines)
}

fn refusal(disk: &MemoryDisk) -> (u8, &'static str, String) {
    let failure = open_with(disk, layout()).0.unwrap_err();
    (failure.exit_code, failure.message, failure.to_string())
}

fn mark(index: u64) -> SnapshotMark {
    let conf_state = ConfState { voters: vec![1], auto_leave: Some(false), ..ConfState::default() };
    SnapshotMark { index, term: 1, conf_state: Some(conf_state) }
}

/// A write of a row `k` that holds the effects up to an index.
fn write(number: u64, index: u64) -> DatabaseWrite {
    let row = BucketChange::put(bucket::KEY, "k", index.to_string());
    let changes = schema::consistent(index, 1).into_iter().chain([row]).collect();
    DatabaseWrite { number: DatabaseNumber(number), consistent: (index, 1), changes }
}

/// Makes the log if there is none, and entries from `first` to `last`, committed, with payloads
/// that fill a segment each.
fn log(opened: &mut Opened, numbers: u64, entries: std::ops::RangeInclusive<u64>) {
    let writer = &mut opened.writer;
    if writer.wal().is_none() {
        let create = LogWrite::create(Bytes::from_static(b"m"));
        writer.append(LogNumber(numbers), &create).unwrap();
    }
    for index in entries {
        let data = Bytes::from(vec![7; 1024]);
        let entry = LogEntry { kind: EntryKind::Normal, term: 1, index, data };
        let hard_state = Some(HardState { term: 1, vote: 1, commit: index });
        let save = LogWrite::Save { entries: vec![entry], hard_state, sync: true };
        writer.append(LogNumber(numbers + index), &save).unwrap();
    }
    writer.commit().unwrap();
}

/// A member that applied ten entries and saved a snapshot of them.
fn with_snapshot() -> (MemoryDisk, Opened) {
    let disk = MemoryDisk::new();
    let (mut opened, _) = started(&disk);
    log(&mut opened, 1, 1..=10);
    let receipt = opened.backend.commit(vec![write(1, 4), write(2, 10)]).unwrap();
    assert_eq!((receipt.up_to(), receipt.consistent_index()), (DatabaseNumber(2), 10));
    opened.backend.save(&mut opened.writer, &mark(10)).unwrap();
    (disk, opened)
}

fn snap_files(disk: &MemoryDisk) -> Vec<String> {
    disk.list(DIR).unwrap()
}

fn image(opened: &Opened) -> &LogImage {
    opened.log.as_ref().unwrap()
}

fn row(image: &DatabaseImage) -> Option<&[u8]> {
    image.get(bucket::KEY, "k").map(|value| &value[..])
}

#[test]
fn a_new_member_has_an_empty_database_and_no_log() {
    let disk = MemoryDisk::new();
    let (opened, lines) = started(&disk);
    assert!(opened.log.is_none() && row(&opened.database).is_none());
    assert_eq!(snap_files(&disk), ["db"]);
    assert!(lines.is_empty());
}

#[test]
fn a_member_goes_on_from_the_snapshot_it_saved() {
    let (disk, mut opened) = with_snapshot();
    log(&mut opened, 20, 11..=12);
    opened.backend.commit(vec![write(3, 11)]).unwrap();
    drop(opened);
    assert_eq!(snap_files(&disk), ["0000000000000001-000000000000000a.snap", "db"]);
    let (opened, lines) = started(&disk);
    assert_eq!(image(&opened).snapshot, mark(10));
    let indices: Vec<u64> = image(&opened).entries.iter().map(|entry| entry.index).collect();
    assert_eq!(indices, [11, 12]);
    assert_eq!(opened.database.consistent_index().unwrap(), Some(11));
    assert_eq!(row(&opened.database), Some(&b"11"[..]));
    assert_eq!(lines, ["Skipping snapshot backend"]);
}

#[test]
fn a_purge_takes_what_saves_let_go_of_beyond_what_is_kept() {
    let (disk, mut opened) = with_snapshot();
    for (number, index) in [(3, 12), (4, 14), (5, 16)] {
        log(&mut opened, number * 100, index - 1..=index);
        opened.backend.commit(vec![write(number, index)]).unwrap();
        disk.put(&format!("{DIR}/{:016x}.snap.db", index - 1), "left");
        opened.backend.save(&mut opened.writer, &mark(index)).unwrap();
    }
    assert_eq!(snap_files(&disk).len(), 5, "saves purge nothing");
    let segments = disk.list("d/member/wal").unwrap();
    assert!(segments.len() > 2, "{segments:?}");
    opened.backend.purge(&mut opened.writer).unwrap();
    let kept = ["0000000000000001-000000000000000e.snap", "0000000000000001-0000000000000010.snap"];
    assert_eq!(snap_files(&disk), [kept[0], kept[1], "db"]);
    let segments = disk.list("d/member/wal").unwrap();
    assert!(segments.len() <= 2, "{segments:?}");
    drop(opened);
    let (opened, _) = started(&disk);
    assert_eq!((image(&opened).snapshot.index, image(&opened).entries.len()), (16, 0));
}

#[test]
fn a_purge_leaves_databases_that_may_still_be_installed() {
    let (disk, mut opened) = with_snapshot();
    for index in [30_u64, 31, 32, 33] {
        disk.put(&format!("{DIR}/{index:016x}.snap.db"), "left");
    }
    let mut other = DatabaseImage::new();
    other.apply(&write(1, 20).changes);
    opened.backend.receive(20, text_of(&other).as_bytes()).unwrap();
    opened.backend.purge(&mut opened.writer).unwrap();
    let received = |index: u64| format!("{index:016x}.snap.db");
    let mut left = snap_files(&disk);
    left.retain(|name| name.ends_with(".snap.db"));
    assert_eq!(left, [received(20), received(32), received(33)]);
    opened.backend.layout.max_snapshots = 0;
    opened.backend.purge(&mut opened.writer).unwrap();
    assert!(snap_files(&disk).contains(&received(32)), "zero keeps all");
}

#[test]
fn a_snapshot_that_the_log_does_not_know_counts_for_nothing() {
    let (disk, mut opened) = with_snapshot();
    opened.backend.write_snapshot(&mark(11)).unwrap();
    drop(opened);
    assert_eq!(image(&started(&disk).0).snapshot.index, 10);
}

#[test]
fn a_damaged_snapshot_is_put_aside_for_an_older_one() {
    let (disk, mut opened) = with_snapshot();
    log(&mut opened, 20, 11..=12);
    opened.backend.commit(vec![write(3, 12)]).unwrap();
    opened.backend.layout.max_wals = 0;
    opened.backend.save(&mut opened.writer, &mark(12)).unwrap();
    drop(opened);
    let damaged = format!("{DIR}/{}", snap::file_name(&mark(12)));
    let mut bytes = disk.read(&damaged).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    disk.put(&damaged, bytes);
    let (opened, lines) = started(&disk);
    assert_eq!((image(&opened).snapshot.index, image(&opened).entries.len()), (10, 2));
    assert!(lines.contains(&"renamed to a broken snap file".to_owned()), "{lines:?}");
    assert!(snap_files(&disk).contains(&format!("{}.broken", snap::file_name(&mark(12)))));
}

#[test]
fn since_3_7_the_log_alone_says_which_snapshot() {
    let (disk, opened) = with_snapshot();
    drop(opened);
    disk.remove(&format!("{DIR}/{}", snap::file_name(&mark(10)))).unwrap();
    let newer = Layout { compat: CompatVersion::V3_7, ..layout() };
    assert_eq!(image(&open_with(&disk, newer).0.unwrap()).snapshot.index, 10);
}

/// A member that received the snapshot at index 20 and recorded it.
fn with_received() -> (MemoryDisk, Opened, DatabaseImage) {
    let (disk, mut opened) = with_snapshot();
    let mut other = DatabaseImage::new();
    other.apply(&write(1, 20).changes);
    let body = text_of(&other);
    let image = opened.backend.receive(20, body.as_bytes()).unwrap();
    opened.backend.write_snapshot(&mark(20)).unwrap();
    opened.writer.append(LogNumber(50), &LogWrite::Snapshot(Box::new(mark(20)))).unwrap();
    let hard_state = Some(HardState { term: 1, vote: 1, commit: 20 });
    let save = LogWrite::Save { entries: Vec::new(), hard_state, sync: true };
    opened.writer.append(LogNumber(51), &save).unwrap();
    opened.writer.commit().unwrap();
    (disk, opened, image)
}

#[test]
fn a_snapshot_that_arrived_takes_the_databases_place() {
    let (disk, mut opened, image) = with_received();
    assert_eq!(row(&image), Some(&b"20"[..]));
    assert!(snap_files(&disk).contains(&"0000000000000014.snap.db".to_owned()));
    opened.backend.install(&mut opened.writer, 20).unwrap();
    assert!(!snap_files(&disk).contains(&"0000000000000014.snap.db".to_owned()));
    log(&mut opened, 60, 21..=21);
    opened.backend.commit(vec![write(9, 21)]).unwrap();
    drop(opened);
    let (opened, _) = started(&disk);
    assert_eq!(super::tests::image(&opened).snapshot.index, 20);
    assert_eq!(row(&opened.database), Some(&b"21"[..]));
}

#[test]
fn a_save_keeps_every_database_that_may_still_be_installed() {
    let (disk, mut opened) = with_snapshot();
    for index in [20, 30, 40] {
        let mut other = DatabaseImage::new();
        other.apply(&write(1, index).changes);
        opened.backend.receive(index, text_of(&other).as_bytes()).unwrap();
    }
    log(&mut opened, 20, 11..=12);
    opened.backend.commit(vec![write(3, 12)]).unwrap();
    opened.backend.save(&mut opened.writer, &mark(12)).unwrap();
    let staged = [Staged::new(LogNumber(50), LogWrite::Snapshot(Box::new(mark(20))), Vec::new())];
    opened.backend.write_log(&mut opened.writer, &staged).unwrap();
    assert!(!snap_files(&disk).contains(&"0000000000000014.snap.db".to_owned()));
    assert_eq!(row(&opened.backend.database.image().unwrap()), Some(&b"20"[..]));
}

#[test]
fn an_interrupted_install_is_finished_at_the_next_start() {
    let (disk, opened, _) = with_received();
    drop(opened);
    let (opened, lines) = started(&disk);
    assert_eq!(row(&opened.database), Some(&b"20"[..]));
    assert_eq!(lines, ["Recovering from snapshot backend"]);
    assert!(!snap_files(&disk).contains(&"0000000000000014.snap.db".to_owned()));
}

#[test]
fn without_the_snapshots_database_there_is_no_start() {
    let (disk, opened, _) = with_received();
    drop(opened);
    disk.remove(&format!("{DIR}/0000000000000014.snap.db")).unwrap();
    let text = "failed to find database snapshot file (snap: snapshot file doesn't exist)";
    let message = "failed to recover v3 backend from snapshot";
    assert_eq!(refusal(&disk), (2, message, text.to_owned()));
}

#[test]
fn a_database_older_than_the_snapshot_is_refused() {
    let (disk, opened, _) = with_received();
    drop(opened);
    let mut old = DatabaseImage::new();
    old.apply(&write(1, 15).changes);
    disk.put(&format!("{DIR}/0000000000000014.snap.db"), text_of(&old));
    let text = "database file (/d/member/snap/db index 15) does not match with snapshot (index 20)";
    assert_eq!(refusal(&disk), (1, "discovery failed", text.to_owned()));
}

#[test]
fn a_database_that_holds_more_than_the_log_is_refused() {
    let ahead = |last| {
        let text = format!(
            "database file (/d/member/snap/db index 11) is out of range [lastIndex({last})]. Was the raft \
             log corrupted, truncated, or lost?"
        );
        (2, "database is ahead of the raft log", text)
    };
    let (disk, mut opened) = with_snapshot();
    opened.backend.commit(vec![write(3, 11)]).unwrap();
    drop(opened);
    assert_eq!(refusal(&disk), ahead(10));
    disk.remove_dir_all("d/member/wal").unwrap();
    assert_eq!(refusal(&disk), ahead(0));
}

#[test]
fn a_database_that_is_missing_is_not_made_up() {
    let (disk, opened, _) = with_received();
    drop(opened);
    let mut known = DatabaseImage::new();
    known.apply(&write(1, 20).changes);
    known.apply(&[BucketChange::put(bucket::CLUSTER, "clusterVersion", "3.6.0")]);
    disk.put(&format!("{DIR}/0000000000000014.snap.db"), text_of(&known));
    disk.remove(&format!("{DIR}/db")).unwrap();
    let text = "database file (/d/member/snap/db) of the backend is missing";
    assert_eq!(refusal(&disk), (1, "discovery failed", text.to_owned()));
    assert!(!snap_files(&disk).contains(&"db".to_owned()));
}

#[test]
fn what_was_being_written_is_removed_at_the_start() {
    let (disk, opened) = with_snapshot();
    drop(opened);
    disk.put(&format!("{DIR}/tmp17"), "half");
    disk.put(&format!("{DIR}/db.tmp.3"), "half");
    let (_, lines) = started(&disk);
    assert!(lines.contains(&"found orphaned defragmentation file; deleting".to_owned()));
    assert!(!snap_files(&disk).iter().any(|name| name.contains("tmp")));
}

#[test]
fn a_pinned_state_stands_still() {
    let (_, mut opened) = with_snapshot();
    let backend = &mut opened.backend;
    assert_eq!(backend.pin(PinId(1)).unwrap().index, 10);
    backend.commit(vec![write(3, 11)]).unwrap();
    let body = backend.body(PinId(1)).unwrap().unwrap();
    let pinned = image_of(std::str::from_utf8(&body.bytes).unwrap()).unwrap();
    assert_eq!(row(&pinned), Some(&b"10"[..]));
    backend.unpin(PinId(1));
    assert_eq!(backend.body(PinId(1)).unwrap(), None);
}

#[test]
fn a_defragmented_database_goes_on_in_another_file() {
    let (disk, mut opened) = with_snapshot();
    let answer = opened.backend.perform(DatabaseTask::Defragment).unwrap();
    assert_eq!(answer, DatabaseAnswer::Defragmented(opened.backend.size()));
    log(&mut opened, 20, 11..=11);
    opened.backend.commit(vec![write(3, 11)]).unwrap();
    drop(opened);
    assert_eq!(row(&started(&disk).0.database), Some(&b"11"[..]));
    assert!(!snap_files(&disk).iter().any(|name| name.contains("tmp")));
}
