//! A database whose rows the harness keeps: on the virtual disk lies one sector that names a state.
//!
//! A commit is one small write and a sync, which decide after a crash which prefix of the commits
//! survived; states of commits that may be lost stay known, and share what they have in common.
//! A file that is copied, renamed or sent names the same state elsewhere. What is not there: pages,
//! and what can go wrong between them.

use std::cell::RefCell;
use std::hash::Hasher;
use std::rc::Rc;

use bytes::Bytes;
use detcd::storage::backend::{Body, Database, DatabaseError, Engine, Pinned};
use detcd::storage::database::{BucketChange, DatabaseSize};
use detcd::storage::disk::{Disk, File, Path};
use detcd::storage::schema::DatabaseImage;

use super::trace::TraceHasher;

/// What a file begins with.
const MAGIC: &[u8; 8] = b"detsimdb";
/// Magic, state, consistent index, checksum.
const FILE_BYTES: usize = 32;
/// Sizes are told in pages, as of a database in a file.
const PAGE: u64 = 4_096;
/// Pages of a database without rows.
const EMPTY_PAGES: u64 = 5;
/// What a row takes beside its key and value.
const ROW_BYTES: u64 = 24;

/// A state of a database.
#[derive(Clone, Debug, Default)]
struct State {
    image: DatabaseImage,
    /// Keys and values.
    row_bytes: u64,
    /// The most there ever were since the database was last copied densely.
    most_bytes: u64,
}

impl State {
    fn apply(&mut self, changes: &[BucketChange]) {
        for change in changes {
            let bytes = |value: &Bytes| (change.key.len() + value.len()) as u64 + ROW_BYTES;
            let before = self.image.get(change.bucket, &change.key).map_or(0, bytes);
            let after = change.value.as_ref().map_or(0, bytes);
            self.row_bytes = self.row_bytes + after - before;
        }
        self.image.apply(changes);
        self.most_bytes = self.most_bytes.max(self.row_bytes);
    }

    fn size(&self) -> DatabaseSize {
        let size = |bytes: u64| (EMPTY_PAGES + bytes.div_ceil(PAGE)) * PAGE;
        DatabaseSize { total_bytes: size(self.most_bytes), in_use_bytes: size(self.row_bytes) }
    }
}

/// States by their number, for all databases of a world.
type States = Rc<RefCell<Vec<State>>>;

/// Opens databases whose rows it keeps.
#[derive(Clone, Debug, Default)]
pub struct LogicalEngine {
    states: States,
}

impl LogicalEngine {
    fn add(&self, state: State) -> u64 {
        let mut states = self.states.borrow_mut();
        states.push(state);
        states.len() as u64 - 1
    }
}

impl Engine for LogicalEngine {
    fn create(&self, disk: &Rc<dyn Disk>, path: &Path) -> Result<(), DatabaseError> {
        let state = State { image: DatabaseImage::initial(), ..State::default() };
        let name = name_of(self.add(state), 0);
        write_new(&**disk, path, &name)
    }

    fn open(&self, disk: &Rc<dyn Disk>, path: &Path) -> Result<Box<dyn Database>, DatabaseError> {
        let mut file = disk.open(path).map_err(DatabaseError::io("open", path))?;
        file.try_lock().map_err(DatabaseError::io("flock", path))?;
        let mut bytes = [0; FILE_BYTES];
        let read = file.read_at(0, &mut bytes).map_err(DatabaseError::io("read", path))?;
        let number = number_in(&bytes[..read]);
        let state = number
            .and_then(|number| Some((number, self.states.borrow().get(number as usize)?.clone())));
        let Some((number, state)) = state else {
            return Err(DatabaseError::Invalid { path: path.to_owned() });
        };
        Ok(Box::new(LogicalDatabase {
            engine: self.clone(),
            disk: Rc::clone(disk),
            path: path.to_owned(),
            file,
            number,
            state,
            has_failed: false,
        }))
    }
}

/// The content of a file that names a state.
fn name_of(number: u64, consistent_index: u64) -> [u8; FILE_BYTES] {
    let mut bytes = [0; FILE_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..24].copy_from_slice(&consistent_index.to_le_bytes());
    let mut checksum = TraceHasher::default();
    checksum.write(&bytes[..24]);
    bytes[24..].copy_from_slice(&checksum.finish().to_le_bytes());
    bytes
}

/// The state that a file's content names.
fn number_in(bytes: &[u8]) -> Option<u64> {
    let bytes: &[u8; FILE_BYTES] = bytes.try_into().ok()?;
    let number = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
    let index = u64::from_le_bytes(bytes[16..24].try_into().ok()?);
    (name_of(number, index) == *bytes).then_some(number)
}

fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DatabaseError> {
    let mut file = disk.create(path).map_err(DatabaseError::io("open", path))?;
    file.write_at(0, bytes).map_err(DatabaseError::io("write", path))?;
    file.sync_data().map_err(DatabaseError::io("fdatasync", path))
}

fn consistent_index(image: &DatabaseImage) -> u64 {
    image.consistent_index().ok().flatten().unwrap_or(0)
}

#[derive(Debug)]
struct LogicalDatabase {
    engine: LogicalEngine,
    disk: Rc<dyn Disk>,
    path: String,
    file: Box<dyn File>,
    number: u64,
    state: State,
    has_failed: bool,
}

impl LogicalDatabase {
    fn name(&self) -> [u8; FILE_BYTES] {
        name_of(self.number, consistent_index(&self.state.image))
    }

    fn write(&mut self) -> Result<(), DatabaseError> {
        let name = self.name();
        self.file.write_at(0, &name).map_err(DatabaseError::io("write", &*self.path))?;
        self.file.sync_data().map_err(DatabaseError::io("fdatasync", &*self.path))
    }
}

impl Database for LogicalDatabase {
    fn commit(&mut self, changes: Vec<BucketChange>) -> Result<DatabaseSize, DatabaseError> {
        if self.has_failed {
            return Err(DatabaseError::Failed);
        }
        self.state.apply(&changes);
        self.number = self.engine.add(self.state.clone());
        let written = self.write();
        self.has_failed = written.is_err();
        written.map(|()| self.size())
    }

    fn size(&self) -> DatabaseSize {
        self.state.size()
    }

    fn image(&self) -> Result<DatabaseImage, DatabaseError> {
        Ok(self.state.image.clone())
    }

    fn pin(&mut self) -> Result<Box<dyn Pinned>, DatabaseError> {
        Ok(Box::new(PinnedState { name: self.name(), state: self.state.clone() }))
    }

    fn copy_into(&mut self, path: &Path) -> Result<(), DatabaseError> {
        let state = State { most_bytes: self.state.row_bytes, ..self.state.clone() };
        let index = consistent_index(&state.image);
        let name = name_of(self.engine.add(state), index);
        write_new(&*self.disk, path, &name)
    }
}

#[derive(Debug)]
struct PinnedState {
    name: [u8; FILE_BYTES],
    state: State,
}

impl Pinned for PinnedState {
    fn meta(&self) -> Result<DatabaseImage, DatabaseError> {
        Ok(self.state.image.clone())
    }

    fn body(&self) -> Result<Body, DatabaseError> {
        let size_bytes = self.state.size().total_bytes;
        Ok(Body { bytes: Bytes::copy_from_slice(&self.name), size_bytes })
    }
}
