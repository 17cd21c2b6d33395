//! Power cuts: a disk that writes down what is done to it, and every file that may be found after
//! the power was cut somewhere within. Between two syncs any of the writes may be missing, and any
//! may have reached the medium in part, by sectors of 512 bytes.

use std::cell::RefCell;
use std::io;

use super::*;
use crate::storage::bolt::{BoltError, check};
use crate::storage::disk::{Disk, File, Path};

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
    /// A transaction was confirmed.
    Confirmed,
}

/// A disk in memory whose files are written down together, and that fails from some step on.
#[derive(Clone, Debug)]
struct Recorder {
    disk: MemoryDisk,
    steps: Rc<RefCell<Vec<Step>>>,
    fails_at: usize,
}

#[derive(Debug)]
struct RecordedFile {
    file: Box<dyn File>,
    recorder: Recorder,
}

impl Recorder {
    fn new(disk: MemoryDisk) -> Recorder {
        Recorder { disk, steps: Rc::default(), fails_at: usize::MAX }
    }

    fn step(&self, step: Step) -> io::Result<()> {
        if self.steps.borrow().len() == self.fails_at {
            return Err(io::Error::other("broken"));
        }
        self.steps.borrow_mut().push(step);
        Ok(())
    }
}

impl Disk for Recorder {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RecordedFile { file: self.disk.open(path)?, recorder: self.clone() }))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RecordedFile { file: self.disk.create(path)?, recorder: self.clone() }))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
}

impl File for RecordedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.recorder.step(Step::Write(offset, data.to_vec()))?;
        self.file.write_at(offset, data)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        self.recorder.step(Step::Sync)
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.recorder.step(Step::SetLen(len))?;
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn try_lock(&mut self) -> io::Result<()> {
        self.file.try_lock()
    }
}

/// What a step that reached the medium makes of a file; of a write only the sectors that `reached`
/// is true for.
fn redo(bytes: &mut Vec<u8>, step: &Step, mut reached: impl FnMut() -> bool) {
    match step {
        Step::Write(offset, data) => {
            let end = *offset as usize + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            for (place, sector) in data.chunks(SECTOR).enumerate() {
                let at = *offset as usize + place * SECTOR;
                if reached() {
                    bytes[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        Step::SetLen(len) => {
            if reached() {
                bytes.resize(*len as usize, 0);
            }
        }
        Step::Sync | Step::Confirmed => {}
    }
}

/// Whether a file that was found is sound and holds one of the states that it may.
fn survives(bytes: Vec<u8>, states: &[Model], place: usize) {
    let disk = MemoryDisk::new();
    disk.put(PATH, bytes);
    assert_eq!(check(&disk, PATH).unwrap(), [], "step {place}");
    let mut bolt = Bolt::open(Rc::new(disk.clone()), PATH, SMALL).unwrap();
    let found = content(&bolt.read());
    assert!(states.contains(&found), "step {place}: neither the state before nor the one after");
    bolt.commit([put("meta", b"after", b"the crash")]).unwrap();
    assert_eq!(bolt.check().unwrap(), []);
}

/// Cuts the power before every step, and looks at files that may be found then. `states` has what
/// may be found after so many transactions were confirmed.
fn cut(start: Vec<u8>, steps: &[Step], states: &[&[Model]], seed: u64) {
    let mut draw = Draw::new(seed);
    let mut durable = start;
    let mut open: Vec<&Step> = Vec::new();
    let mut confirmed = 0;
    for (place, step) in steps.iter().enumerate() {
        let possible = states[confirmed];
        let variants = if open.is_empty() { 1 } else { 4 };
        for variant in 0..variants {
            let mut bytes = durable.clone();
            for step in &open {
                match variant {
                    0 => redo(&mut bytes, step, || true),
                    1 => {}
                    2 if draw.below(2) == 0 => redo(&mut bytes, step, || true),
                    2 => {}
                    _ => redo(&mut bytes, step, || draw.below(2) == 0),
                }
            }
            survives(bytes, possible, place);
        }
        match step {
            Step::Sync => {
                open.drain(..).for_each(|step| redo(&mut durable, step, || true));
            }
            Step::Confirmed => confirmed += 1,
            other => open.push(other),
        }
    }
    assert_eq!(confirmed + 1, states.len());
}

#[test]
fn after_a_power_cut_the_last_confirmed_state_or_the_next_is_found_whole() {
    for seed in 0..3 {
        let (disk, bolt) = created(SMALL);
        drop(bolt);
        let start = disk.read(PATH).unwrap();
        let recorder = Recorder::new(disk);
        let mut bolt = Bolt::open(Rc::new(recorder.clone()), PATH, SMALL).unwrap();
        let mut states = vec![empty_model()];
        let mut draw = Draw::new(seed);
        for _ in 0..25 {
            let mut next = states.last().unwrap().clone();
            let changes = draw.changes(&next);
            bolt.commit(&changes).unwrap();
            recorder.step(Step::Confirmed).unwrap();
            apply(&mut next, &changes);
            states.push(next);
        }
        let steps = recorder.steps.borrow().clone();
        let possible: Vec<&[Model]> =
            (0..states.len()).map(|at| &states[at..states.len().min(at + 2)]).collect();
        cut(start, &steps, &possible, seed);
    }
}

#[test]
fn a_process_that_died_before_a_sync_leaves_a_file_that_is_safe_to_continue() {
    let first = [put("key", b"a", &[1; 2000]), put("meta", b"b", b"2")];
    // It takes more pages than were free before the first.
    let second = BUCKETS.map(|bucket| put(bucket, b"c", &[3; 300]));
    let mut after = empty_model();
    apply(&mut after, &first);
    for fails_at in 0.. {
        let (disk, bolt) = created(SMALL);
        drop(bolt);
        let start = disk.read(PATH).unwrap();
        let mut recorder = Recorder { fails_at: usize::MAX, ..Recorder::new(disk) };
        let mut bolt = Bolt::open(Rc::new(recorder.clone()), PATH, SMALL).unwrap();
        let opened = recorder.steps.borrow().len();
        drop(bolt);
        recorder.fails_at = opened * 2 + fails_at;
        bolt = Bolt::open(Rc::new(recorder.clone()), PATH, SMALL).unwrap();
        if bolt.commit(&first).is_ok() {
            break;
        }
        drop(bolt);
        recorder.fails_at = usize::MAX;
        bolt = Bolt::open(Rc::new(recorder.clone()), PATH, SMALL).unwrap();
        let mut last = content(&bolt.read());
        bolt.commit(&second).unwrap();
        recorder.step(Step::Confirmed).unwrap();
        apply(&mut last, &second);
        let steps = recorder.steps.borrow().clone();
        let before = [empty_model(), after.clone(), last.clone()];
        (0..16).for_each(|seed| cut(start.clone(), &steps, &[&before, &[last.clone()]], seed));
    }
}

#[test]
fn after_an_error_of_the_disk_nothing_more_is_written_and_the_file_is_as_before_or_after() {
    let changes = [put("key", b"a", &[1; 2000]), put("meta", b"b", b"2")];
    let mut after = empty_model();
    apply(&mut after, &changes);
    let mut failures = 0;
    // The first step is the sync of opening.
    for fails_at in 1.. {
        let (disk, bolt) = created(SMALL);
        drop(bolt);
        let recorder = Recorder { fails_at, ..Recorder::new(disk.clone()) };
        let mut bolt = Bolt::open(Rc::new(recorder.clone()), PATH, SMALL).unwrap();
        let Err(error) = bolt.commit(&changes) else { break };
        failures += 1;
        assert!(matches!(error, BoltError::Io { .. }), "{error}");
        let steps = recorder.steps.borrow().len();
        assert!(matches!(bolt.commit(&[] as &[BucketChange]), Err(BoltError::Failed)));
        assert_eq!(recorder.steps.borrow().len(), steps);
        assert_eq!(content(&bolt.read()), empty_model());
        drop(bolt);
        survives(disk.read(PATH).unwrap(), &[empty_model(), after.clone()], fails_at);
    }
    assert!(failures >= 5, "{failures}: length, pages, sync, meta, sync");
}

#[test]
fn a_database_appears_whole_or_not_at_all() {
    for fails_at in 0..2 {
        let disk = MemoryDisk::new();
        let recorder = Recorder { fails_at, ..Recorder::new(disk.clone()) };
        assert!(Bolt::create(Rc::new(recorder), PATH, SMALL).is_err());
        assert_eq!(disk.read(PATH), None);
        let bolt = Bolt::open_or_create(Rc::new(disk.clone()), PATH, SMALL).unwrap();
        assert_eq!(bolt.txid(), 1);
        assert_eq!(disk.list("member/snap").unwrap(), ["db"]);
    }
}
