//! Which snapshot and which database a member starts from (contract-cluster.md, sections 6.3 and
//! 6.5): the newest snapshot that the log knows and that has a file, and the database that covers
//! it.

use std::rc::Rc;

use super::engine::{Database, Engine};
use super::error::{Cause, Failure};
use super::files::{self, DATABASE};
use super::{Backend, Layout, replace, take_received};
use crate::config::CompatVersion;
use crate::member::io::{Level, LogLine};
use crate::planted::{Defect, Planted};
use crate::storage::disk::{Disk, Path, join};
use crate::storage::log::{LogImage, SnapshotMark};
use crate::storage::schema::DatabaseImage;
use crate::storage::wal::{self, LogWriter, WalError, WalSettings};

/// What etcd says when it cannot begin.
const REFUSED: &str = "discovery failed";

/// What a member's disk holds.
#[derive(Debug)]
pub struct Opened {
    /// The log's writer.
    pub writer: LogWriter,
    /// The log, if there is one, from the chosen snapshot on.
    pub log: Option<LogImage>,
    /// Database and snapshots.
    pub backend: Backend,
    /// What the database holds.
    pub database: DatabaseImage,
}

/// Opens the log, the snapshots and the database of a member; an empty database is made where there
/// is none. What there is to say is added to `lines`, whatever comes of it.
pub fn open(
    disk: &Rc<dyn Disk>,
    engine: &Rc<dyn Engine>,
    layout: Layout,
    settings: WalSettings,
    lines: &mut Vec<LogLine>,
) -> Result<Opened, Failure> {
    let (wal_dir, database) = (layout.wal_dir.clone(), named(&layout));
    let opened = begin(disk, engine, layout, settings, lines);
    opened.map_err(|failure| failure.opening(&wal_dir, &database))
}

fn begin(
    disk: &Rc<dyn Disk>,
    engine: &Rc<dyn Engine>,
    layout: Layout,
    settings: WalSettings,
    lines: &mut Vec<LogLine>,
) -> Result<Opened, Failure> {
    let (dir, wal_dir) = (&*layout.snap_dir, &*layout.wal_dir);
    let defect = settings.planted;
    prepare(&**disk, dir, defect, lines).map_err(Failure::fatal(REFUSED))?;
    let path = join(dir, DATABASE);
    let existed = disk.exists(&path).map_err(Cause::io("stat", &*path));
    let existed = existed.map_err(Failure::fatal(REFUSED))?;
    let mut database = open_database(disk, engine, dir, existed)?;
    let has_log = wal::exists(&**disk, wal_dir)?;
    let mark = match has_log {
        true => choose(&**disk, &layout, defect, lines)?,
        false => SnapshotMark::default(),
    };
    let mut image = read(&*database)?;
    if mark.index > 0 {
        let index = mark.index;
        let start = Recovery { disk, engine, layout: &layout, existed, index, defect };
        (database, image) = start.recover(database, image, lines)?;
    } else if has_log {
        let text = "No snapshot found. Recovering WAL from scratch!";
        lines.push(LogLine::new(Level::Info, text));
    }
    let version = image.cluster_version().map_err(Failure::fatal(REFUSED))?;
    if !existed && version.is_some() {
        let removed = files::remove(&**disk, &path);
        removed.map_err(Failure::fatal(REFUSED))?;
        let path = named(&layout);
        return Err(Failure::fatal(REFUSED)(Cause::Missing { path }));
    }
    let (writer, log, notes) = LogWriter::open_at(Rc::clone(disk), wal_dir, settings, &mark)?;
    let last = log.as_ref().map_or(0, LogImage::last_index);
    let consistent = consistent_index(&image)?;
    if consistent > last {
        let cause = Cause::Ahead { path: named(&layout), consistent, last };
        return Err(Failure::panic("database is ahead of the raft log")(cause));
    }
    lines.extend(notes.into_iter().map(|note| LogLine::new(Level::Warn, note)));
    let backend = Backend {
        disk: Rc::clone(disk),
        engine: Rc::clone(engine),
        layout,
        database,
        pins: Default::default(),
        arrived: Default::default(),
        building: 0,
        defect,
        copied: None,
        lines: Vec::new(),
    };
    Ok(Opened { writer, log, backend, database: image })
}

/// The database's file as etcd names it.
fn named(layout: &Layout) -> String {
    format!("{}/{DATABASE}", layout.snap_dir_named)
}

/// The directory is there and holds nothing unfinished.
fn prepare(
    disk: &dyn Disk,
    dir: &Path,
    defect: Planted,
    lines: &mut Vec<LogLine>,
) -> Result<(), Cause> {
    files::make_dir(disk, dir)?;
    if defect.is(Defect::SnapTmpUsed) {
        files::take_temporary(disk, dir)?;
    }
    files::remove_temporary(disk, dir, lines)
}

/// A database appears under its name whole or not at all.
fn open_database(
    disk: &Rc<dyn Disk>,
    engine: &Rc<dyn Engine>,
    dir: &Path,
    existed: bool,
) -> Result<Box<dyn Database>, Failure> {
    let failed = "failed to open database";
    let path = join(dir, DATABASE);
    if !existed {
        let building = join(dir, &format!("{}0", files::BUILDING));
        engine.create(disk, &building).map_err(Failure::panic(failed))?;
        replace(&**disk, dir, &building, &path).map_err(Failure::panic(failed))?;
    }
    engine.open(disk, &path).map_err(Failure::panic(failed))
}

fn read(database: &dyn Database) -> Result<DatabaseImage, Failure> {
    database.image().map_err(Failure::panic("failed to open database"))
}

/// Where in the log a database stands, by its own account.
fn consistent_index(image: &DatabaseImage) -> Result<u64, Failure> {
    let index = image.consistent_index().map_err(Failure::fatal(REFUSED))?;
    Ok(index.unwrap_or(0))
}

/// The snapshot to start from; {0, 0} for none.
fn choose(
    disk: &dyn Disk,
    layout: &Layout,
    defect: Planted,
    lines: &mut Vec<LogLine>,
) -> Result<SnapshotMark, Failure> {
    let mut marks =
        wal::snapshots(disk, &layout.wal_dir).map_err(Failure::fatal::<WalError>(REFUSED))?;
    let last = marks.last().map_or(0, |mark| mark.index);
    if defect.is(Defect::SnapOrder) {
        marks.retain(|mark| mark.index == last);
    }
    let newest = match layout.compat {
        CompatVersion::V3_5 | CompatVersion::V3_6 => {
            let newest = files::newest_snapshot(disk, &layout.snap_dir, &marks, lines);
            newest.map_err(Failure::fatal(REFUSED))?
        }
        CompatVersion::V3_7 => marks.last().cloned(),
    };
    if newest.is_none() && last > 0 && defect.is(Defect::SnapOrder) {
        return Err(Failure::fatal(REFUSED)(Cause::NoSnapshotDatabase { index: last }));
    }
    Ok(newest.unwrap_or_default())
}

/// A start from a snapshot.
struct Recovery<'a> {
    disk: &'a Rc<dyn Disk>,
    engine: &'a Rc<dyn Engine>,
    layout: &'a Layout,
    /// The database was there.
    existed: bool,
    /// The snapshot's index.
    index: u64,
    defect: Planted,
}

impl Recovery<'_> {
    /// The database that covers the snapshot: the member's own, or the one that came with it.
    fn recover(
        &self,
        own: Box<dyn Database>,
        image: DatabaseImage,
        lines: &mut Vec<LogLine>,
    ) -> Result<(Box<dyn Database>, DatabaseImage), Failure> {
        let consistent = consistent_index(&image)?;
        let tell = |text: &str| {
            LogLine::new(Level::Info, text)
                .with("consistent-index", consistent.to_string())
                .with("snapshot-index", self.index.to_string())
        };
        let (database, image) = if self.index <= consistent {
            lines.push(tell("Skipping snapshot backend"));
            (own, image)
        } else {
            lines.push(tell("Recovering from snapshot backend"));
            drop(own);
            let Recovery { disk, engine, layout, index, .. } = *self;
            let taken = take_received(disk, engine, &layout.snap_dir, index);
            if matches!(taken, Err(Cause::NoSnapshotDatabase { .. })) {
                let line = LogLine::new(Level::Warn, "failed to find [SNAPSHOT-INDEX].snap.db");
                let path = format!("{}/{}", layout.snap_dir_named, files::received(index));
                let line = line.with("snapshot-index", index.to_string());
                let line = line.with("snapshot-file-path", path);
                lines.push(line.with("error", "snap: snapshot file doesn't exist"));
            }
            let failed = "failed to recover v3 backend from snapshot";
            let database = taken.map_err(Failure::panic(failed))?;
            let image = match self.defect.is(Defect::SnapStaleTx) {
                true => image,
                false => read(&*database)?,
            };
            (database, image)
        };
        let consistent = consistent_index(&image)?;
        if self.existed && consistent < self.index {
            if consistent != 0 {
                let path = named(self.layout);
                let cause = Cause::Mismatch { path, consistent, snapshot: self.index };
                return Err(Failure::fatal(REFUSED)(cause));
            }
            let line = LogLine::new(Level::Warn, "consistent index was never saved");
            lines.push(line.with("snapshot-index", self.index.to_string()));
        }
        Ok((database, image))
    }
}
