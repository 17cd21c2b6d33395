//! The files of a member's `snap` directory beside the database: `.snap` files, databases that
//! arrived with snapshots, and what interrupted work leaves behind (contract-cluster.md, sections
//! 6.1 and 6.4).

use super::error::Cause;
use crate::member::io::{Level, LogLine};
use crate::storage::disk::{Disk, Path, above, join};
use crate::storage::log::SnapshotMark;
use crate::storage::snap::{self, MembersImage};

/// The database's name.
pub(super) const DATABASE: &str = "db";
/// How the names of databases begin that are being written.
pub(super) const BUILDING: &str = "tmp";
/// How the names of databases begin that a defragmentation is writing.
pub(super) const DEFRAGMENTING: &str = "db.tmp.";
const SNAPSHOT: &str = ".snap";
const RECEIVED: &str = ".snap.db";

/// The name of the database that arrived with the snapshot at an index.
pub(super) fn received(index: u64) -> String {
    format!("{index:016x}{RECEIVED}")
}

/// The index of a snapshot whose database a file holds.
fn received_index(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(RECEIVED)?, 16).ok()
}

/// Names in a directory, sorted.
fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, Cause> {
    disk.list(dir).map_err(Cause::io("readdir", dir))
}

/// Removes a file; one that is not there is fine.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), Cause> {
    disk.remove_if_there(path).map_err(Cause::io("remove", path))
}

/// Makes a directory and its parents, durably.
pub(super) fn make_dir(disk: &dyn Disk, dir: &Path) -> Result<(), Cause> {
    if disk.exists(dir).map_err(Cause::io("stat", dir))? {
        return Ok(());
    }
    disk.create_dir_all(dir).map_err(Cause::io("mkdir", dir))?;
    above(dir).try_for_each(|dir| disk.sync_dir(dir).map_err(Cause::io("fsync", dir)))
}

/// Removes what interrupted receptions and defragmentations left behind.
pub(super) fn remove_temporary(
    disk: &dyn Disk,
    dir: &Path,
    lines: &mut Vec<LogLine>,
) -> Result<(), Cause> {
    for name in list(disk, dir)? {
        let path = join(dir, &name);
        if name.starts_with(DEFRAGMENTING) {
            let text = "found orphaned defragmentation file; deleting";
            lines.push(LogLine::new(Level::Info, text).with("path", &*name));
        } else if !name.starts_with(BUILDING) {
            continue;
        }
        remove(disk, &path)?;
    }
    Ok(())
}

/// What a planted defect does with databases that were being written: they are the member's own.
pub(super) fn take_temporary(disk: &dyn Disk, dir: &Path) -> Result<(), Cause> {
    let names = list(disk, dir)?.into_iter().filter(|name| name.starts_with(BUILDING));
    names.into_iter().try_for_each(|name| {
        let path = join(dir, &name);
        disk.rename(&path, &join(dir, DATABASE)).map_err(Cause::io("rename", path))
    })
}

/// Writes a file, durable but for its name. One that is there is what an earlier attempt left.
pub(super) fn write_new(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), Cause> {
    remove(disk, path)?;
    let mut file = disk.create(path).map_err(Cause::io("open", path))?;
    file.write_at(0, content).map_err(Cause::io("write", path))?;
    file.sync_data().map_err(Cause::io("fsync", path))
}

/// Writes a `.snap` file, durable with its name.
pub(super) fn write_snapshot(
    disk: &dyn Disk,
    dir: &Path,
    mark: &SnapshotMark,
    members: &MembersImage,
) -> Result<(), Cause> {
    let path = join(dir, &snap::file_name(mark));
    // One from an earlier attempt was never recorded in the log.
    write_new(disk, &path, &snap::encode(mark, members))?;
    disk.sync_dir(dir).map_err(Cause::io("fsync", dir))
}

/// The newest of some snapshots, oldest first, whose `.snap` file can be read. Files that cannot
/// be are put aside.
pub(super) fn newest_snapshot(
    disk: &dyn Disk,
    dir: &Path,
    marks: &[SnapshotMark],
    lines: &mut Vec<LogLine>,
) -> Result<Option<SnapshotMark>, Cause> {
    let names = list(disk, dir)?;
    for name in names.iter().rev().filter(|name| name.ends_with(SNAPSHOT)) {
        let path = join(dir, name);
        let known = match read_snapshot(disk, &path) {
            Ok(known) => known,
            Err(error) => {
                let broken = format!("{path}.broken");
                let line = LogLine::new(Level::Warn, "failed to read a snap file");
                lines.push(line.with("path", &*path).with("error", error));
                disk.rename(&path, &broken).map_err(Cause::io("rename", &*path))?;
                let line = LogLine::new(Level::Warn, "renamed to a broken snap file");
                lines.push(line.with("path", &*path).with("broken-path", broken));
                continue;
            }
        };
        let is_known = |mark: &&SnapshotMark| (mark.index, mark.term) == (known.index, known.term);
        if let Some(mark) = marks.iter().rev().find(is_known) {
            return Ok(Some(mark.clone()));
        }
    }
    Ok(None)
}

/// What a `.snap` file says, or why it cannot be read.
fn read_snapshot(disk: &dyn Disk, path: &Path) -> Result<SnapshotMark, String> {
    let bytes = read(disk, path).map_err(|error| error.to_string())?;
    snap::decode(&bytes).map_err(|error| error.to_string())
}

/// All bytes of a file.
fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, Cause> {
    let file = disk.open(path).map_err(Cause::io("open", path))?;
    let mut bytes = vec![0; file.len().map_err(Cause::io("stat", path))? as usize];
    let read = file.read_at(0, &mut bytes).map_err(Cause::io("read", path))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Removes databases that arrived with snapshots below an index: nobody starts from them.
pub(super) fn remove_orphans(
    disk: &dyn Disk,
    dir: &Path,
    index: u64,
    lines: &mut Vec<LogLine>,
) -> Result<(), Cause> {
    for name in list(disk, dir)? {
        if received_index(&name).is_some_and(|received| received < index) {
            let path = join(dir, &name);
            let text = "found orphaned .snap.db file; deleting";
            lines.push(LogLine::new(Level::Info, text).with("path", &*path));
            remove(disk, &path)?;
        }
    }
    Ok(())
}

/// Removes the oldest `.snap` files while there are more than `keep`; zero keeps all.
pub(super) fn purge_snapshots(
    disk: &dyn Disk,
    dir: &Path,
    keep: usize,
    lines: &mut Vec<LogLine>,
) -> Result<(), Cause> {
    let names = list(disk, dir)?;
    let files = names.iter().filter(|name| name.ends_with(SNAPSHOT)).collect();
    purge(disk, dir, files, keep, lines)
}

/// Removes the oldest databases that arrived with snapshots while there are more than `keep`, but
/// none that is awaited; zero keeps all.
pub(super) fn purge_received(
    disk: &dyn Disk,
    dir: &Path,
    keep: usize,
    is_awaited: impl Fn(u64) -> bool,
    lines: &mut Vec<LogLine>,
) -> Result<(), Cause> {
    let names = list(disk, dir)?;
    let is_left = |name: &&String| received_index(name).is_some_and(|index| !is_awaited(index));
    let files = names.iter().filter(is_left).collect();
    purge(disk, dir, files, keep, lines)
}

fn purge(
    disk: &dyn Disk,
    dir: &Path,
    files: Vec<&String>,
    keep: usize,
    lines: &mut Vec<LogLine>,
) -> Result<(), Cause> {
    let excess = if keep == 0 { 0 } else { files.len().saturating_sub(keep) };
    for name in &files[..excess] {
        let path = join(dir, name);
        remove(disk, &path)?;
        lines.push(LogLine::new(Level::Info, "purged").with("path", path));
    }
    Ok(())
}
