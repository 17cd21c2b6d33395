//! The whole state of a virtual disk behind its handles: the files, the names, the queue, the
//! faults and the trace.

use std::io::{self, ErrorKind};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::Lines;
use super::inode::{Delivery, Inode, SECTOR};
use super::names::{Names, Node, ROOT};
use super::pages::LENGTH_MAX;
use super::power::Survival;
use super::timing::{DiskTimes, Kind, Queue};
use crate::seed::Draw;

/// Faults that wait for the next operation, or last until recovery.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) next_sync: bool,
    pub(super) next_write: bool,
    pub(super) next_read: bool,
    pub(super) full: bool,
    pub(super) read_only: bool,
    pub(super) lost_write: bool,
    pub(super) misdirected_write: bool,
    pub(super) syncs_lie: bool,
    pub(super) names_lie: bool,
    pub(super) hung_since: Option<u64>,
}

/// How often faults did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suffered {
    /// Syncs took another time than usual.
    pub slowed: u64,
    /// Operations were refused for lack of space, or because nothing can be written.
    pub refused: u64,
    /// Operations failed.
    pub failed: u64,
    /// Syncs made nothing durable.
    pub faked: u64,
    /// Writes are nowhere, or elsewhere, after a power loss.
    pub lost: u64,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    /// Counts the ends of processes: handles from before are dead.
    pub(super) epoch: u64,
    pub(super) queue: Queue,
    pub(super) faults: Faults,
    pub(super) suffered: Suffered,
    /// The so manieth operation of these kinds from now, and when it began and ended once it did.
    pub(super) awaited: Option<(&'static [Kind], u32)>,
    pub(super) seen: Option<(u64, u64)>,
    pub(super) names: Names,
    files: Vec<Option<Inode>>,
    fault_rng: ChaCha8Rng,
    handles: u64,
    operations: u64,
    /// Those that change something, or make it durable.
    changes: u64,
    trace: u64,
    /// Where operations are written down for a reader, and as whose.
    told: Option<(usize, Lines)>,
}

/// What operations are called in lines for a reader, by their codes in the trace.
const NAMES: [&str; 13] = [
    "",
    "open",
    "create",
    "make directory",
    "rename",
    "remove",
    "remove directory",
    "list",
    "sync directory",
    "read",
    "write",
    "set length",
    "sync",
];

/// Mixes the content of an operation into eight bytes. Words go to lanes in turn, which do not wait
/// for each other; like a step of one lane, bringing them together loses no difference in one.
fn digest(bytes: &[u8]) -> u64 {
    const LANES: usize = 4;
    let (words, rest) = bytes.as_chunks::<8>();
    let (rows, words) = words.as_chunks::<LANES>();
    let mut lanes: [u64; LANES] = [bytes.len() as u64, 1, 2, 3];
    for row in rows {
        for (lane, word) in lanes.iter_mut().zip(row) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
    let hash = lanes.into_iter().reduce(mix).expect("there are lanes");
    let hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, &byte| mix(hash, u64::from(byte)))
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// An operation for a reader: a name with its path, or bytes by their place, number and digest.
fn line(place: usize, what: &[u64], content: &[u8], (begun, end): (u64, u64)) -> String {
    let seconds = |at: u64| format!("{:4}.{:09}", at / 1_000_000_000, at % 1_000_000_000);
    let (code, rest) = what.split_first().expect("an operation has a code");
    let content = match *code {
        1..=8 => format!("{:?}", String::from_utf8_lossy(content)),
        _ => format!("file and place {rest:?}, {} bytes {:016x}", content.len(), digest(content)),
    };
    let (name, begun, end) = (NAMES[*code as usize], seconds(begun), seconds(end));
    format!("{begun} {place} disk {name} {content} until {}", end.trim_start())
}

fn injected() -> io::Error {
    io::Error::other("input/output error")
}

impl State {
    pub(super) fn new(times: DiskTimes, mut rng: ChaCha8Rng) -> State {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        State {
            epoch: 0,
            queue: Queue::new(times, rng),
            faults: Faults::default(),
            suffered: Suffered::default(),
            awaited: None,
            seen: None,
            names: Names::new(),
            files: vec![None],
            fault_rng: ChaCha8Rng::from_seed(key),
            handles: 0,
            operations: 0,
            changes: 0,
            trace: 0,
            told: None,
        }
    }

    pub(super) fn reseed(&mut self, seed: u64) {
        self.fault_rng = ChaCha8Rng::seed_from_u64(seed);
    }

    pub(super) fn tell(&mut self, place: usize, lines: Lines) {
        self.told = Some((place, lines));
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace
    }

    /// Takes an operation into the queue and the trace; returns when it ends.
    fn operation(&mut self, kind: Kind, what: &[u64], content: &[u8]) -> u64 {
        self.operations += 1;
        self.changes += u64::from(kind != Kind::Read);
        let is_slowed = kind == Kind::Sync && self.queue.sync_fault.is_some();
        self.suffered.slowed += u64::from(is_slowed);
        let begun = self.queue.free_at();
        let end = self.queue.add(kind, content.len());
        if let Some((awaited, left)) = &mut self.awaited
            && awaited.contains(&kind)
        {
            *left -= 1;
            if *left == 0 {
                self.awaited = None;
                self.seen = Some((begun, end));
            }
        }
        let trace = what.iter().fold(self.trace, |trace, &word| mix(trace, word));
        self.trace = mix(mix(trace, end), digest(content));
        if let Some((place, lines)) = &self.told {
            lines.borrow_mut().push(line(*place, what, content, (begun, end)));
        }
        end
    }

    fn name_operation(&mut self, code: u64, path: &str) -> u64 {
        self.operation(Kind::Metadata, &[code], path.as_bytes())
    }

    fn require_writable(&mut self) -> io::Result<()> {
        self.suffered.refused += u64::from(self.faults.read_only);
        if self.faults.read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    /// Room for more, on a disk that can be written.
    fn require_space(&mut self) -> io::Result<()> {
        self.require_writable()?;
        self.suffered.refused += u64::from(self.faults.full);
        if self.faults.full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    pub(super) fn file(&self, node: Node) -> &Inode {
        self.files[node].as_ref().expect("an open or named file is in the table")
    }

    pub(super) fn file_mut(&mut self, node: Node) -> &mut Inode {
        self.files[node].as_mut().expect("an open or named file is in the table")
    }

    /// The file at a path.
    pub(super) fn find_file(&self, path: &str) -> io::Result<Node> {
        let node = self.names.find(path)?;
        if self.names.is_dir(node) { Err(ErrorKind::IsADirectory.into()) } else { Ok(node) }
    }

    /// Opens a file; returns it and the new handle's number.
    pub(super) fn open(&mut self, path: &str) -> io::Result<(Node, u64)> {
        let node = self.find_file(path)?;
        self.name_operation(1, path);
        self.require_writable()?;
        Ok((node, self.add_handle(node)))
    }

    fn add_handle(&mut self, node: Node) -> u64 {
        self.file_mut(node).handles += 1;
        self.handles += 1;
        self.handles
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<(Node, u64)> {
        let (dir, name) = self.names.find_parent(path)?;
        if self.names.get(dir, name).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.require_space()?;
        let end = self.name_operation(2, path);
        self.collect();
        let node = self.files.len();
        self.files.push(Some(Inode::default()));
        self.names.set(dir, name, Some(node), end);
        Ok((node, self.add_handle(node)))
    }

    pub(super) fn create_dir_all(&mut self, path: &str) -> io::Result<()> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for path in ends.map(|end| &path[..end]).filter(|path| !path.is_empty()) {
            let (dir, name) = self.names.find_parent(path)?;
            match self.names.get(dir, name) {
                Some(node) if self.names.is_dir(node) => {}
                Some(_) => return Err(ErrorKind::AlreadyExists.into()),
                None => {
                    self.require_space()?;
                    let end = self.name_operation(3, path);
                    let node = self.files.len();
                    self.files.push(None);
                    self.names.add_dir(node);
                    self.names.set(dir, name, Some(node), end);
                }
            }
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let moved = self.names.find(from)?;
        let from_parent = self.names.find_parent(from)?;
        let to_parent = self.names.find_parent(to)?;
        if from_parent == to_parent {
            return Ok(());
        }
        if to.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
            return Err(ErrorKind::InvalidInput.into());
        }
        if let Some(replaced) = self.names.get(to_parent.0, to_parent.1) {
            match (self.names.is_dir(moved), self.names.is_dir(replaced)) {
                (false, false) => {}
                (true, true) if self.names.entries(replaced).next().is_none() => {}
                (true, true) => return Err(ErrorKind::DirectoryNotEmpty.into()),
                (false, true) => return Err(ErrorKind::IsADirectory.into()),
                (true, false) => return Err(ErrorKind::NotADirectory.into()),
            }
        }
        self.require_writable()?;
        let end = self.name_operation(4, from);
        self.trace = mix(self.trace, digest(to.as_bytes()));
        self.names.rename(from_parent, to_parent, end);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.find_file(path)?;
        self.require_writable()?;
        let (dir, name) = self.names.find_parent(path)?;
        let end = self.name_operation(5, path);
        self.names.set(dir, name, None, end);
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &str) -> io::Result<()> {
        let node = match self.names.find(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if !self.names.is_dir(node) {
            return Err(ErrorKind::NotADirectory.into());
        }
        let below: Vec<String> = self.names.entries(node).map(|(name, _)| name.into()).collect();
        for name in below {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            match self.find_file(&path) {
                Ok(_) => self.remove(&path)?,
                Err(_) => self.remove_dir_all(&path)?,
            }
        }
        self.require_writable()?;
        if node != ROOT {
            let (dir, name) = self.names.find_parent(path)?;
            let end = self.name_operation(6, path);
            self.names.set(dir, name, None, end);
        }
        Ok(())
    }

    pub(super) fn list(&mut self, path: &str) -> io::Result<Vec<String>> {
        let node = self.names.find(path)?;
        if !self.names.is_dir(node) {
            return Err(ErrorKind::NotADirectory.into());
        }
        self.name_operation(7, path);
        Ok(self.names.entries(node).map(|(name, _)| name.to_owned()).collect())
    }

    pub(super) fn sync_dir(&mut self, path: &str) -> io::Result<()> {
        let node = self.names.find(path)?;
        let end = self.operation(Kind::Sync, &[8], path.as_bytes());
        self.require_writable()?;
        if std::mem::take(&mut self.faults.next_sync) {
            self.suffered.failed += 1;
            return Err(injected());
        }
        self.suffered.faked += u64::from(self.faults.names_lie);
        if !self.faults.names_lie {
            self.names.sync(node, end);
        }
        Ok(())
    }

    pub(super) fn read(&mut self, node: Node, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.file(node).read(offset, buffer);
        self.operation(Kind::Read, &[9, node as u64, offset], &buffer[..size]);
        if std::mem::take(&mut self.faults.next_read) {
            self.suffered.failed += 1;
            return Err(injected());
        }
        Ok(size)
    }

    pub(super) fn write(&mut self, node: Node, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > LENGTH_MAX) {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let end = self.operation(Kind::Write, &[10, node as u64, offset], data);
        self.require_space()?;
        if std::mem::take(&mut self.faults.next_write) {
            self.suffered.failed += 1;
            return Err(injected());
        }
        let delivery = self.delivery(node, offset);
        let now = self.queue.now();
        self.file_mut(node).write(offset, data, delivery, now, end);
        Ok(())
    }

    fn delivery(&mut self, node: Node, offset: u64) -> Delivery {
        let is_lost = self.faults.lost_write || self.faults.misdirected_write;
        self.suffered.lost += u64::from(is_lost);
        if std::mem::take(&mut self.faults.lost_write) {
            return Delivery::Lost;
        }
        if !std::mem::take(&mut self.faults.misdirected_write) {
            return Delivery::Faithful;
        }
        let sectors = self.file(node).len().max(offset).div_ceil(SECTOR);
        match sectors {
            0 => Delivery::Lost,
            _ => Delivery::Misdirected { to_sector: self.fault_rng.below(sectors) },
        }
    }

    pub(super) fn set_len(&mut self, node: Node, len: u64) -> io::Result<()> {
        if len > LENGTH_MAX {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let end = self.operation(Kind::Metadata, &[11, node as u64, len], &[]);
        match len > self.file(node).len() {
            true => self.require_space()?,
            false => self.require_writable()?,
        }
        let now = self.queue.now();
        self.file_mut(node).set_len(len, now, end);
        Ok(())
    }

    pub(super) fn sync(&mut self, node: Node) -> io::Result<()> {
        let end = self.operation(Kind::Sync, &[12, node as u64], &[]);
        self.require_writable()?;
        let now = self.queue.now();
        if std::mem::take(&mut self.faults.next_sync) {
            self.suffered.failed += 1;
            let inode = self.files[node].as_mut().expect("an open file is in the table");
            inode.fail_sync(now, end, &mut self.fault_rng);
            return Err(injected());
        }
        self.suffered.faked += u64::from(self.faults.syncs_lie);
        if !self.faults.syncs_lie {
            self.file_mut(node).sync(now, end);
        }
        Ok(())
    }

    pub(super) fn try_lock(&mut self, node: Node, handle: u64) -> io::Result<()> {
        let inode = self.file_mut(node);
        match inode.locked_by {
            Some(holder) if holder != handle => Err(ErrorKind::WouldBlock.into()),
            _ => {
                inode.locked_by = Some(handle);
                Ok(())
            }
        }
    }

    pub(super) fn close(&mut self, node: Node, handle: u64) {
        let inode = self.file_mut(node);
        inode.handles -= 1;
        if inode.locked_by == Some(handle) {
            inode.locked_by = None;
        }
    }

    /// Frees what neither a name nor a handle leads to, nor can lead to again.
    fn collect(&mut self) {
        if !self.names.prune(self.queue.now()) {
            return;
        }
        let reachable = self.names.reachable();
        self.names.retain(&reachable);
        for (node, file) in self.files.iter_mut().enumerate() {
            if file.as_ref().is_some_and(|file| file.handles == 0) && !reachable.contains(&node) {
                *file = None;
            }
        }
    }

    /// Moments count only until the device hung.
    fn effective(&self, at: u64) -> u64 {
        self.faults.hung_since.map_or(at, |since| at.min(since))
    }

    fn end_process(&mut self, at: u64) {
        self.epoch += 1;
        self.queue.clear(at);
        self.faults.hung_since = self.faults.hung_since.map(|since| since.max(at));
        for file in self.files.iter_mut().flatten() {
            file.handles = 0;
            file.locked_by = None;
        }
    }

    pub(super) fn kill(&mut self, at: u64) {
        let done = self.effective(at);
        self.names.roll_back(done);
        self.files.iter_mut().flatten().for_each(|file| file.roll_back(done));
        self.end_process(at);
    }

    pub(super) fn lose_power(&mut self, at: u64) {
        let done = self.effective(at);
        self.kill(at);
        self.faults.read_only = false;
        let mut ends: Vec<u64> = self.names.volatile_ends().collect();
        ends.extend(self.files.iter().flatten().flat_map(Inode::volatile_ends));
        let survival = Survival::draw(&ends, &mut self.fault_rng);
        self.names.lose_power(done, survival, &mut self.fault_rng);
        for file in self.files.iter_mut().flatten() {
            file.lose_power(done, survival, &mut self.fault_rng);
        }
    }

    pub(super) fn recover(&mut self, now: u64) -> u64 {
        self.queue.sync_fault = None;
        self.faults.full = false;
        self.faults.read_only = false;
        self.faults.next_read = false;
        self.faults.next_write = false;
        self.faults.next_sync = false;
        self.keep_promises(now);
        let Some(since) = self.faults.hung_since.take() else { return 0 };
        let by = now.saturating_sub(since);
        self.queue.delay(since, by);
        self.names.delay(since, by);
        self.files.iter_mut().flatten().for_each(|file| file.delay(since, by));
        by
    }

    /// What syncs said to be durable, and what came after it, is.
    fn keep_promises(&mut self, now: u64) {
        if std::mem::take(&mut self.faults.names_lie) {
            let end = self.queue.free_at().max(now);
            self.names.sync_all(end);
        }
        if std::mem::take(&mut self.faults.syncs_lie) {
            let end = self.queue.free_at().max(now);
            let begun = self.queue.now();
            self.files.iter_mut().flatten().for_each(|file| file.sync(begun, end));
        }
    }

    /// Everything is as another disk has it, except time and what counts operations. No process
    /// has this disk open.
    pub(super) fn take_content(&mut self, other: &State) {
        self.names = other.names.clone();
        self.files.clone_from(&other.files);
        for file in self.files.iter_mut().flatten() {
            file.handles = 0;
            file.locked_by = None;
        }
        self.epoch += 1;
        self.trace = mix(self.trace, other.trace);
    }

    /// Everything is durable as it stands, but for some names of a directory, which are gone. No
    /// process has this disk open.
    pub(super) fn copy_without(&mut self, dir: Node, missing: &[String]) {
        let (begun, end) = (self.queue.now(), self.queue.free_at());
        for name in missing {
            self.names.set(dir, name, None, end);
            self.trace = mix(self.trace, digest(name.as_bytes()));
        }
        self.names.sync_all(end);
        self.files.iter_mut().flatten().for_each(|file| file.sync(begun, end));
        self.epoch += 1;
    }

    pub(super) fn fault_rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.fault_rng
    }
}
