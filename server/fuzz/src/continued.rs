//! What every target asks of a segment: no panic, and that an accepted log can be continued.

use std::rc::Rc;

use bytes::Bytes;
use detcd::storage::log::{EntryKind, LogEntry, LogNumber, LogWrite};
use detcd::storage::memory::MemoryDisk;
use detcd::storage::wal::{Wal, WalSettings};

const DIR: &str = "member/wal";
const SEGMENT: &str = "member/wal/0000000000000000-0000000000000000.wal";
const SETTINGS: WalSettings = WalSettings { segment_bytes: 1 << 16, ..WalSettings::ETCD };

pub fn open_and_continue(segment: Vec<u8>) {
    let disk = MemoryDisk::new();
    disk.put(SEGMENT, segment);
    let open = || Wal::open(Rc::new(disk.clone()), DIR, SETTINGS);
    let Ok((mut wal, image, _)) = open() else { return };
    let (index, term) = match image.entries.last() {
        Some(last) => (last.index, last.term),
        None => (image.snapshot.index, image.snapshot.term),
    };
    let Some(index) = index.checked_add(1) else { return };
    let data = Bytes::from_static(b"next");
    let entries = vec![LogEntry { kind: EntryKind::Normal, term: term.max(1), index, data }];
    let save = LogWrite::Save { entries, hard_state: None, sync: true };
    wal.append(LogNumber(1), &save).expect("an accepted log takes entries");
    wal.close().expect("a disk in memory does not fail");
    let (_, again, _) = open().expect("what was accepted stays acceptable");
    assert_eq!(again.entries.len(), image.entries.len() + 1);
}
