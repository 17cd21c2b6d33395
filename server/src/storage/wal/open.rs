//! Opening a log: choosing the snapshot to start from, reading, and repairing a torn tail.

use std::io;
use std::rc::Rc;

use super::error::WalError;
use super::read::{Reader, Source};
use super::replay::{self, End, LogRecord, Survey, replay};
use super::segment::{self, SegmentName, Tail};
use super::{Wal, WalSettings};
use crate::planted::Defect;
use crate::storage::disk::{Disk, File, Path, join};
use crate::storage::log::{LogImage, LogNumber, SnapshotMark};

const COPY_BYTES: usize = 64 * 1024;

/// Whether a directory holds a log.
pub fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, WalError> {
    match disk.list(dir) {
        Ok(names) => Ok(names.iter().any(|name| name.ends_with(".wal"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(WalError::io("readdir", dir)(error)),
    }
}

/// The snapshots that a log may be started from, oldest first: those that it knows committed.
pub fn snapshots(disk: &dyn Disk, dir: &Path) -> Result<Vec<SnapshotMark>, WalError> {
    let (names, _) = segment::list(disk, dir)?;
    let survey = Survey::read(&open_all(disk, dir, &names)?)?;
    let mut marks = survey.snapshots;
    marks.retain(|mark| mark.index <= survey.state.commit);
    Ok(marks)
}

/// The newest snapshot that a log may be started from; {0, 0} where there is none.
pub(super) fn newest(disk: &dyn Disk, dir: &Path) -> Result<SnapshotMark, WalError> {
    let marks = snapshots(disk, dir).map_err(WalError::refused("discovery failed"))?;
    Ok(marks.last().cloned().unwrap_or_default())
}

/// Every record of a log in order, up to the end or a torn tail, without opening it for appending.
pub fn records(disk: &dyn Disk, dir: &Path) -> Result<Vec<LogRecord>, WalError> {
    let (names, _) = segment::list(disk, dir)?;
    replay::records(&open_all(disk, dir, &names)?)
}

impl Wal {
    /// Opens a log at its newest usable snapshot. Returns what it holds, and what there is to say
    /// about ignored files and repairs.
    pub fn open(
        disk: Rc<dyn Disk>,
        dir: &Path,
        settings: WalSettings,
    ) -> Result<(Wal, LogImage, Vec<String>), WalError> {
        let newest = newest(&*disk, dir)?;
        Wal::open_at(disk, dir, settings, &newest)
    }

    /// Opens a log at one of its `snapshots`.
    pub fn open_at(
        disk: Rc<dyn Disk>,
        dir: &Path,
        settings: WalSettings,
        snapshot: &SnapshotMark,
    ) -> Result<(Wal, LogImage, Vec<String>), WalError> {
        let (names, ignored) = segment::list(&*disk, dir)?;
        let mut notes: Vec<String> = ignored
            .iter()
            .map(|name| format!("ignored file in WAL directory: {}", join(dir, name)))
            .collect();
        let names =
            following(&names, snapshot.index).map_err(WalError::refused("failed to open WAL"))?;
        let mut has_repaired = settings.planted.is(Defect::WalFatalOnHole);
        loop {
            let sources =
                open_locked(&*disk, dir, names).map_err(WalError::refused("failed to open WAL"))?;
            match replay(&sources, snapshot) {
                Ok((image, end)) => {
                    let wal = Wal::resume(disk, dir, settings, names, sources, &image, &end)?;
                    return Ok((wal, image, notes));
                }
                Err(error @ WalError::UnexpectedEof { .. }) if !has_repaired => {
                    drop(sources);
                    repair(&*disk, dir, names, &error, &mut notes)
                        .map_err(WalError::refused("failed to repair WAL"))?;
                    has_repaired = true;
                }
                Err(error) => {
                    let message = "failed to read WAL, cannot be repaired";
                    return Err(WalError::refused(message)(error));
                }
            }
        }
    }

    fn resume(
        disk: Rc<dyn Disk>,
        dir: &Path,
        settings: WalSettings,
        names: &[SegmentName],
        sources: Vec<Source>,
        image: &LogImage,
        end: &End,
    ) -> Result<Wal, WalError> {
        let mut held: Vec<_> =
            names.iter().copied().zip(sources.into_iter().map(|source| source.file)).collect();
        let (tail_name, mut file) = held.pop().expect("a log that was read has a segment");
        let path = join(dir, &tail_name.to_string());
        let length = file.len().map_err(WalError::io("stat", &path))?;
        if end.offset < length {
            // What a power loss left behind the last record must not turn up behind the next one.
            file.set_len(end.offset).map_err(WalError::io("ftruncate", &path))?;
            file.set_len(length).map_err(WalError::io("fallocate", &path))?;
            file.sync_data().map_err(WalError::io("fdatasync", &path))?;
        }
        Ok(Wal {
            disk,
            dir: dir.to_owned(),
            settings,
            metadata: image.metadata.clone(),
            state: image.hard_state,
            last_index: end.last_index,
            snapshot_index: image.snapshot.index,
            held,
            tail_name,
            tail: Tail::new(file, path, end.offset, end.chain),
            appended: LogNumber(0),
            needs_sync: false,
            has_failed: false,
            lines: Vec::new(),
        })
    }
}

/// The segments from the last one that begins at or below `index`.
fn following(names: &[SegmentName], index: u64) -> Result<&[SegmentName], WalError> {
    let from = names.iter().rposition(|name| name.first_index <= index);
    let from = from.ok_or(WalError::NoSegment { index })?;
    let chosen = &names[from..];
    let is_continuous = chosen.windows(2).all(|two| two[0].sequence + 1 == two[1].sequence);
    if is_continuous { Ok(chosen) } else { Err(WalError::Sequence { from }) }
}

fn open_all(disk: &dyn Disk, dir: &Path, names: &[SegmentName]) -> Result<Vec<Source>, WalError> {
    let open = |name: &SegmentName| {
        let name = name.to_string();
        let path = join(dir, &name);
        let file = disk.open(&path).map_err(WalError::io("open", &path))?;
        Ok(Source { name, file })
    };
    names.iter().map(open).collect()
}

fn open_locked(
    disk: &dyn Disk,
    dir: &Path,
    names: &[SegmentName],
) -> Result<Vec<Source>, WalError> {
    let mut sources = open_all(disk, dir, names)?;
    for source in &mut sources {
        segment::lock(&mut *source.file, &join(dir, &source.name))?;
    }
    Ok(sources)
}

/// Cuts a torn record off the last segment, after a copy of the whole.
fn repair(
    disk: &dyn Disk,
    dir: &Path,
    names: &[SegmentName],
    error: &WalError,
    notes: &mut Vec<String>,
) -> Result<(), WalError> {
    let mut sources = open_locked(disk, dir, &names[names.len() - 1..])?;
    let path = join(dir, &sources[0].name);
    notes.push(format!("repairing: {path}"));
    let mut reader = Reader::new(&sources)?;
    let torn = loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(WalError::UnexpectedEof { .. }) => break Some(reader.offset()),
            Err(error) => return Err(error),
        }
    };
    if let Some(end) = torn {
        let file = &mut sources[0].file;
        copy(disk, &**file, &format!("{path}.broken"))?;
        file.set_len(end).map_err(WalError::io("ftruncate", &path))?;
        file.sync_data().map_err(WalError::io("fsync", &path))?;
        notes.push(format!("repaired: {path}: {error} at {end}"));
    }
    notes.push("repaired WAL".to_owned());
    Ok(())
}

/// Copies a file, leaving out blocks of zeros.
fn copy(disk: &dyn Disk, from: &dyn File, to: &Path) -> Result<(), WalError> {
    disk.remove_if_there(to).map_err(WalError::io("remove", to))?;
    let mut copy = disk.create(to).map_err(WalError::io("open", to))?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    loop {
        let read = from.read_at(at, &mut buffer).map_err(WalError::io("read", to))?;
        if read == 0 {
            return copy.set_len(at).map_err(WalError::io("ftruncate", to));
        }
        if buffer[..read].iter().any(|&byte| byte != 0) {
            copy.write_at(at, &buffer[..read]).map_err(WalError::io("write", to))?;
        }
        at += read as u64;
    }
}
