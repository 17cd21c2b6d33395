//! A disk that can be broken: `VirtualDisk` implements `Disk` for the storage code, and lets the
//! world take time, power and bytes away from it.
//!
//! Storage code runs at one moment of virtual time and never waits; each of its operations gets a
//! moment of its own, one after another, at which the device has done it. The world says `begin`
//! before, asks `completion` after, and may kill the process or cut the power at any moment in
//! between: operations that end later then never happened. What a power loss leaves is lawful for
//! a real disk (see `inode` and `names`), and drawn from the disk's own stream.
//!
//! Invariants: equal calls on equal seeds leave equal disks and equal `trace_hash`es; a sync that
//! ended is kept by every power loss, unless a fault was asked for that breaks this promise.

mod harm;
mod inode;
mod names;
mod pages;
mod power;
mod rot;
mod rows;
mod state;
#[cfg(test)]
mod tests;
mod timing;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use detcd::storage::disk::{Disk, File, Path};
use rand_chacha::ChaCha8Rng;

pub use harm::{Change, Harm};
pub use timing::{DiskTimes, Kind as OperationKind, OperationTime};

use crate::seed::Draw;
use inode::SECTOR;
use names::Node;
use state::State;
pub use state::Suffered;

/// Something that goes wrong with a disk, until `VirtualDisk::recover` or once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Syncs take this long until recovery.
    SyncTime(OperationTime),
    /// Writes and new files fail for lack of space until recovery.
    Full,
    /// Everything that writes, syncs or opens a file fails until recovery or a power loss.
    ReadOnly,
    /// The next sync fails, and what it should have made durable may be lost though later syncs
    /// succeed.
    SyncError,
    /// The next write fails.
    WriteError,
    /// The next read fails.
    ReadError,
    /// The next write is not there after the next power loss, although it was synced.
    LostWrite,
    /// The same, and another sector of the file has its data instead.
    MisdirectedWrite,
    /// Syncs of files end well and make nothing durable, until recovery, which makes up for it.
    SyncsLie,
    /// The same for syncs of directories.
    NamesLie,
}

/// Which files a copy of a member's disk lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The oldest segment of the log.
    FirstSegment,
    /// The newest segment of the log.
    LastSegment,
    /// All segments of the log.
    Log,
}

impl Missing {
    /// Leaves what is missing of all segments in their order.
    pub fn of<T>(self, segments: &mut Vec<T>) {
        match self {
            Missing::FirstSegment => segments.truncate(1),
            Missing::LastSegment => drop(segments.drain(..segments.len().saturating_sub(1))),
            Missing::Log => {}
        }
    }
}

/// Lines for a reader, one for each event, that several write into.
pub type Lines = Rc<RefCell<Vec<String>>>;

/// A place where damage was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: String,
    /// The first byte.
    pub offset: u64,
}

/// A handle to a disk; clones share it. As a `Disk` it serves the process that runs now: after a
/// kill or power loss the next process needs a new handle, from `mount`.
#[derive(Clone, Debug)]
pub struct VirtualDisk {
    state: Rc<RefCell<State>>,
    epoch: u64,
}

impl VirtualDisk {
    /// An empty disk.
    pub fn new(times: DiskTimes, rng: ChaCha8Rng) -> VirtualDisk {
        VirtualDisk { state: Rc::new(RefCell::new(State::new(times, rng))), epoch: 0 }
    }

    /// A handle for a new process.
    #[must_use]
    pub fn mount(&self) -> VirtualDisk {
        VirtualDisk { state: Rc::clone(&self.state), epoch: self.state.borrow().epoch }
    }

    /// A disk of its own in the same state, whose faults are drawn from another seed. Handles to
    /// this disk do not lead to it.
    #[must_use]
    pub fn fork(&self, seed: u64) -> VirtualDisk {
        let mut state = self.state.borrow().clone();
        state.reseed(seed);
        VirtualDisk { state: Rc::new(RefCell::new(state)), epoch: self.epoch }
    }

    /// Operations from here on are asked for at this moment. Time does not go back.
    pub fn begin(&self, now_ns: u64) {
        self.state.borrow_mut().queue.begin(now_ns);
    }

    /// When the last operation since `begin` ends, or the moment of `begin` if there was none.
    pub fn completion(&self) -> u64 {
        self.state.borrow().queue.last_end()
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.state.borrow().operations()
    }

    /// How many of them changed something, or made it durable.
    pub fn changes(&self) -> u64 {
        self.state.borrow().changes()
    }

    /// How often faults did what until now.
    pub fn suffered(&self) -> Suffered {
        self.state.borrow().suffered
    }

    /// A digest of all operations with their contents and times.
    pub fn trace_hash(&self) -> u64 {
        self.state.borrow().trace()
    }

    /// Writes down every operation from here on, as a line of the disk at this place.
    pub fn tell(&self, place: usize, lines: Lines) {
        self.state.borrow_mut().tell(place, lines);
    }

    /// Changes the durations from here on.
    pub fn set_times(&self, times: DiskTimes) {
        self.state.borrow_mut().queue.times = times;
    }

    /// The process ended: operations that end after `at_ns` never happened, all others stay. Its
    /// handles are dead.
    pub fn kill(&self, at_ns: u64) {
        self.state.borrow_mut().kill(at_ns);
    }

    /// The power went: operations that end after `at_ns` never happened, and of what no sync had
    /// made durable by then a lawful subset is kept. Handles are dead.
    pub fn power_loss(&self, at_ns: u64) {
        self.state.borrow_mut().lose_power(at_ns);
    }

    /// Breaks something.
    pub fn inject(&self, fault: Fault) {
        let mut state = self.state.borrow_mut();
        match fault {
            Fault::SyncTime(time) => state.queue.sync_fault = Some(time),
            Fault::Full => state.faults.full = true,
            Fault::ReadOnly => state.faults.read_only = true,
            Fault::SyncError => state.faults.next_sync = true,
            Fault::WriteError => state.faults.next_write = true,
            Fault::ReadError => state.faults.next_read = true,
            Fault::LostWrite => state.faults.lost_write = true,
            Fault::MisdirectedWrite => state.faults.misdirected_write = true,
            Fault::SyncsLie => state.faults.syncs_lie = true,
            Fault::NamesLie => state.faults.names_lie = true,
        }
    }

    /// The device stands still from this moment on: what it had not done ends only after
    /// `recover`. The driver starts nothing meanwhile.
    pub fn hang(&self, now_ns: u64) {
        self.state.borrow_mut().faults.hung_since.get_or_insert(now_ns);
    }

    /// Whether the device stands still.
    pub fn is_hung(&self) -> bool {
        self.state.borrow().faults.hung_since.is_some()
    }

    /// Lasting faults end. Returns by how much later everything ends that was under way when the
    /// device hung: 0 if it did not.
    pub fn recover(&self, now_ns: u64) -> u64 {
        self.state.borrow_mut().recover(now_ns)
    }

    /// Watches for the so manieth operation of these kinds from now on; `None` for none.
    pub fn await_operation(&self, awaited: Option<(&'static [OperationKind], u32)>) {
        let mut state = self.state.borrow_mut();
        state.awaited = awaited.filter(|(_, count)| *count > 0);
        state.seen = None;
    }

    /// When the awaited operation begins and ends, told once.
    pub fn take_awaited(&self) -> Option<(u64, u64)> {
        self.state.borrow_mut().seen.take()
    }

    /// Makes the content what another disk's is, its unsynced changes included. Handles are dead.
    pub fn take_content(&self, other: &VirtualDisk) {
        self.state.borrow_mut().take_content(&other.state.borrow());
    }

    /// Tears the end off the newest log segment in `dir`, at a border of sectors: up to three
    /// sectors turn to zeros. Nothing happens without a segment.
    pub fn tear_log_tail(&self, dir: &Path) -> Option<Damage> {
        let mut state = self.state.borrow_mut();
        let (path, node) = newest_segment(&state, dir)?;
        let last = state.file(node).used().checked_sub(1)? / SECTOR;
        let first = last.saturating_sub(state.fault_rng().below(3)).max(1.min(last));
        let offset = first * SECTOR;
        let torn = vec![0; ((last + 1) * SECTOR - offset) as usize];
        let end = state.file(node).len();
        let size = torn.len().min((end - offset) as usize);
        state.file_mut(node).overwrite(offset, &torn[..size]);
        Some(Damage { path, offset })
    }

    /// Flips bits of one byte in the middle half of what the newest log segment in `dir` holds.
    pub fn corrupt_log_middle(&self, dir: &Path) -> Option<Damage> {
        let (path, offset) = {
            let mut state = self.state.borrow_mut();
            let (path, node) = newest_segment(&state, dir)?;
            let used = state.file(node).used();
            let middle = (used / 2).max(1);
            (path, used / 4 + state.fault_rng().below(middle))
        };
        self.rot(&path, offset).then_some(Damage { path, offset })
    }

    /// Flips a bit in the content of some record, in some segment of the log in `dir`: only its
    /// checksum can tell. Nothing happens without a record.
    pub fn rot_log(&self, dir: &Path) -> Option<Damage> {
        let mut state = self.state.borrow_mut();
        let node = state.names.find(dir).ok()?;
        let mut records = Vec::new();
        for (name, node) in state.names.entries(node).filter(|(name, _)| name.ends_with(".wal")) {
            let file = state.file(node);
            records.extend(rot::contents(file).map(|offset| (name.to_owned(), node, offset)));
        }
        if records.is_empty() {
            return None;
        }
        let (name, node, offset) = state.fault_rng().pick(&records).clone();
        let bit = state.fault_rng().below(8);
        let mut byte = [0];
        state.file(node).read(offset, &mut byte);
        state.file_mut(node).overwrite(offset, &[byte[0] ^ 1 << bit]);
        let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
        Some(Damage { path, offset })
    }

    /// What is here is a copy, durable as it stands, in which segments of the log in `dir` are
    /// missing. Handles are dead. Returns the names of what is missing.
    pub fn lose_segments(&self, dir: &Path, missing: Missing) -> Vec<String> {
        let mut state = self.state.borrow_mut();
        let Ok(node) = state.names.find(dir) else { return Vec::new() };
        let segments = state.names.entries(node).filter(|(name, _)| name.ends_with(".wal"));
        let mut lost: Vec<String> = segments.map(|(name, _)| name.to_owned()).collect();
        missing.of(&mut lost);
        state.copy_without(node, &lost);
        lost
    }

    /// What is here is a copy, durable as it stands, with damage to a file in `dir`. Handles are
    /// dead. Nothing happens where there is nothing to damage.
    pub fn harm(&self, dir: &Path, harm: Harm) -> Option<Damage> {
        let mut state = self.state.borrow_mut();
        let dir_node = state.names.find(dir).ok()?;
        let names = state.names.entries(dir_node).map(|(name, _)| name.to_owned());
        let name = harm.file(&names.collect::<Vec<_>>())?;
        let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
        let node = state.find_file(&path).ok()?;
        let mut bytes = vec![0; state.file(node).len() as usize];
        state.file(node).read(0, &mut bytes);
        let change = harm.change(&bytes, |below| state.fault_rng().below(below))?;
        let (mut offset, mut lost) = (0, Vec::new());
        match change {
            Change::Flip { offset: at, mask } => {
                state.file_mut(node).overwrite(at, &[bytes[at as usize] ^ mask]);
                offset = at;
            }
            Change::Cut { len } => {
                let (now, end) = (state.queue.now(), state.queue.free_at());
                state.file_mut(node).set_len(len, now, end);
                offset = len;
            }
            Change::Zero => {
                bytes.truncate(state.file(node).used() as usize);
                bytes.fill(0);
                state.file_mut(node).overwrite(0, &bytes);
            }
            Change::Remove => lost.push(name),
        }
        state.copy_without(dir_node, &lost);
        Some(Damage { path, offset })
    }

    /// Flips bits of one byte. False if there is no such byte.
    pub fn rot(&self, path: &Path, offset: u64) -> bool {
        let mut state = self.state.borrow_mut();
        let Ok(node) = state.find_file(path) else { return false };
        let mut byte = [0];
        if state.file(node).read(offset, &mut byte) == 0 {
            return false;
        }
        byte[0] ^= 1 << state.fault_rng().below(8);
        state.file_mut(node).overwrite(offset, &byte);
        true
    }

    /// The bytes of a file as a process would read them now, for checkers: no operation.
    pub fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.borrow();
        let node = state.find_file(path)?;
        let mut bytes = vec![0; state.file(node).len() as usize];
        state.file(node).read(0, &mut bytes);
        Ok(bytes)
    }

    fn run<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.borrow_mut();
        if state.epoch == self.epoch { operation(&mut state) } else { Err(dead()) }
    }

    fn handle(&self, (node, handle): (Node, u64)) -> Box<dyn File> {
        let state = Rc::clone(&self.state);
        Box::new(VirtualFile { state, epoch: self.epoch, node, handle })
    }
}

fn dead() -> io::Error {
    io::Error::other("the process that had this disk open has ended")
}

/// The last segment by name, which is the last in order.
fn newest_segment(state: &State, dir: &Path) -> Option<(String, Node)> {
    let node = state.names.find(dir).ok()?;
    let segments = state.names.entries(node).filter(|(name, _)| name.ends_with(".wal"));
    let (name, node) = segments.last()?;
    Some((if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }, node))
}

impl Disk for VirtualDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.handle(self.run(|state| state.open(path))?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.handle(self.run(|state| state.create(path))?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.run(|state| state.create_dir_all(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(|state| state.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(|state| state.remove(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.run(|state| state.remove_dir_all(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.run(|state| state.list(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.run(|state| state.sync_dir(path))
    }
}

/// An open file: an inode, whatever names lead to it.
#[derive(Debug)]
struct VirtualFile {
    state: Rc<RefCell<State>>,
    epoch: u64,
    node: Node,
    handle: u64,
}

impl VirtualFile {
    fn run<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.borrow_mut();
        if state.epoch == self.epoch { operation(&mut state) } else { Err(dead()) }
    }
}

impl File for VirtualFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.run(|state| state.read(self.node, offset, buffer))
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.run(|state| state.write(self.node, offset, data))
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.run(|state| state.sync(self.node))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.run(|state| state.set_len(self.node, len))
    }

    fn len(&self) -> io::Result<u64> {
        self.run(|state| Ok(state.file(self.node).len()))
    }

    fn try_lock(&mut self) -> io::Result<()> {
        self.run(|state| state.try_lock(self.node, self.handle))
    }
}

impl Drop for VirtualFile {
    fn drop(&mut self) {
        // A handle may be dropped by a panic in the middle of an operation.
        if let Ok(mut state) = self.state.try_borrow_mut()
            && state.epoch == self.epoch
        {
            state.close(self.node, self.handle);
        }
    }
}
