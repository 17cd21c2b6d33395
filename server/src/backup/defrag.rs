//! A member's database copied densely while the member does not run: `etcdutl defrag`.

use std::rc::Rc;

use super::show::size;
use super::{BackupError, Place};
use crate::member::io::{Level, LogLine};
use crate::storage::bolt::{Bolt, BoltOptions};
use crate::storage::disk::Disk;

/// Rewrites the database of a data directory. The copy takes the database's place when it is whole.
pub fn defragment(
    disk: &Rc<dyn Disk>,
    data_dir: &Place,
    lines: &mut Vec<LogLine>,
) -> Result<(), BackupError> {
    let refuse = |cause: BackupError| BackupError::Defragment {
        data_dir: data_dir.clone(),
        cause: Box::new(cause),
    };
    rewrite(disk, data_dir, lines).map_err(refuse)
}

fn rewrite(
    disk: &Rc<dyn Disk>,
    data_dir: &Place,
    lines: &mut Vec<LogLine>,
) -> Result<(), BackupError> {
    let snap_dir = data_dir.below("member/snap");
    let (file, copy) = (snap_dir.below("db"), snap_dir.below("db.tmp.0"));
    disk.open(&file.path).map_err(BackupError::io("stat", &file))?;
    let database = Bolt::open(Rc::clone(disk), &file.path, BoltOptions::ETCD)?;
    let before = (database.size_bytes(), database.in_use_bytes());
    let line = LogLine::new(Level::Info, "defragmenting").with("path", &*file.named);
    lines.push(sizes(line, before));
    if disk.exists(&copy.path).map_err(BackupError::io("stat", &copy))? {
        disk.remove(&copy.path).map_err(BackupError::io("remove", &copy))?;
    }
    database.compact_into(Rc::clone(disk), &copy.path, BoltOptions::ETCD)?;
    drop(database);
    disk.rename(&copy.path, &file.path).map_err(BackupError::io("rename", &copy))?;
    disk.sync_dir(&snap_dir.path).map_err(BackupError::io("fsync", &snap_dir))?;
    let database = Bolt::open(Rc::clone(disk), &file.path, BoltOptions::ETCD)?;
    let after = (database.size_bytes(), database.in_use_bytes());
    let line = LogLine::new(Level::Info, "finished defragmenting directory");
    lines.push(compared(line.with("path", &*file.named), before, after));
    Ok(())
}

fn sizes(line: LogLine, (total, in_use): (u64, u64)) -> LogLine {
    line.with("current-db-size-bytes", total.to_string())
        .with("current-db-size", size(total))
        .with("current-db-size-in-use-bytes", in_use.to_string())
        .with("current-db-size-in-use", size(in_use))
}

fn compared(line: LogLine, before: (u64, u64), after: (u64, u64)) -> LogLine {
    let change = |before: u64, after: u64| (i128::from(after) - i128::from(before)).to_string();
    line.with("current-db-size-bytes-diff", change(before.0, after.0))
        .with("current-db-size-bytes", after.0.to_string())
        .with("current-db-size", size(after.0))
        .with("current-db-size-in-use-bytes-diff", change(before.1, after.1))
        .with("current-db-size-in-use-bytes", after.1.to_string())
        .with("current-db-size-in-use", size(after.1))
}
