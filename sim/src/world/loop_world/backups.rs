//! Snapshots that clients save, and data directories that are made from them: the operations of
//! etcdctl and etcdutl, on a disk of the clients' own and on those of hosts.
//!
//! A snapshot arrives over its client's link. It is kept when it is whole, and not at all
//! otherwise.

use detcd::backup::{self, BackupError, HashCheck, Place, RestoreSettings};
use detcd::config::Config;
use detcd::member::io::{Level, LogLine};
use detcd::planted::Planted;
use detcd::proto::etcdserverpb::SnapshotResponse;
use detcd::storage::bolt::BoltOptions;
use detsim_reports::record::{Body, Header, OpId, Outcome, Reply};

use super::device;
use super::exchange::FRAME_BYTES;
use super::packet::{Event, Packet};
use super::{DatabaseKind, LoopWorld};
use crate::world::backup::{Content, content, spoil};
use crate::world::{BackupDamage, Exit, Restore, WorldError, WorldEvent};

fn place(name: &str) -> Place {
    Place::new(name, format!("{name}.db"))
}

/// What the tool is told, by its flags.
fn settings(config: &Config, restore: &Restore, planted: Planted) -> RestoreSettings {
    let dir = |named: &str| Place::new(device::path(named), named);
    let file = &restore.from;
    RestoreSettings {
        snapshot: Place::new(format!("backups/{file}"), format!("{file}.db")),
        data_dir: dir(&config.data_dir),
        wal_dir: restore.flag("wal-dir").map(dir),
        name: config.name.clone(),
        initial_cluster: config.initial_cluster.clone(),
        token: config.initial_cluster_token.clone(),
        advertise_peer_urls: config.initial_advertise_peer_urls.join(","),
        hash_check: match restore.flag("skip-hash-check") {
            Some(_) => HashCheck::Skipped,
            None => HashCheck::Required,
        },
        bump_revision: restore.bumped(),
        is_marked_compacted: restore.flag("mark-compacted").is_some(),
        map_bytes: BoltOptions::ETCD.map_bytes,
        compat: config.compat,
        planted,
    }
}

impl LoopWorld {
    /// A piece of a snapshot arrives: its client takes it, and makes room for more.
    pub(super) fn snapshot_piece(&mut self, op: OpId, piece: SnapshotResponse, bytes: u64) {
        let enough = self.options.client_window_bytes / 4;
        let Some(pending) = self.clients.get(op) else { return };
        let Some(snapshot) = &mut pending.snapshot else { return };
        snapshot.pieces.push(piece);
        snapshot.untold += bytes;
        if snapshot.untold >= enough {
            let told = std::mem::take(&mut snapshot.untold);
            self.send_up(op, FRAME_BYTES, Packet::Window(op, told));
        }
    }

    /// The member has sent all of it: it is kept under its name.
    pub(super) fn snapshot_ended(&mut self, op: OpId) {
        let Some(pending) = self.clients.get(op) else { return };
        let Some(snapshot) = pending.snapshot.take() else { return };
        let (file, pieces) = (place(&snapshot.into), snapshot.pieces.into_iter().map(Ok));
        let kept = backup::save(&self.backups, &file, pieces);
        let file = self.backups.read(&file.path).unwrap_or_default();
        let read = kept.and_then(|saved| Ok((saved, content(file)?)));
        self.complete(
            op,
            match read {
                Ok((saved, Content { revision, index })) => {
                    let (size_bytes, version) = (saved.size_bytes, saved.version);
                    let body = Body::Snapshot { size_bytes, version, revision, index };
                    Outcome::Ok(Reply { header: Header::default(), body })
                }
                Err(error) => Outcome::Fail(error.to_string()),
            },
        );
    }

    /// What is wrong with asking this world for a snapshot, if anything.
    pub(super) fn lacks_pages(&self) -> Option<WorldError> {
        (self.options.database != DatabaseKind::Pages).then(|| WorldError::Unsupported {
            world: "loop",
            what: "save, restore or defragment files without `option database=pages`".to_owned(),
        })
    }

    /// Damages a snapshot that was saved.
    pub(super) fn spoil_backup(
        &mut self,
        name: &str,
        damage: BackupDamage,
    ) -> Result<(), WorldError> {
        self.trace.fact(self.now, ("spoil", name, format!("{damage:?}")));
        let mut bytes = self.saved(name)?;
        spoil(&mut bytes, damage);
        self.backups.put(name, bytes);
        Ok(())
    }

    fn saved(&self, name: &str) -> Result<Vec<u8>, WorldError> {
        let none = || WorldError::Harness(format!("no snapshot {name} was saved"));
        self.backups.read(name).filter(|bytes| !bytes.is_empty()).ok_or_else(none)
    }

    /// Makes a data directory from a snapshot.
    pub(super) fn restore_host(
        &mut self,
        member: usize,
        restore: &Restore,
    ) -> Result<(), WorldError> {
        if let Some(lacking) = self.lacks_pages() {
            return Err(lacking);
        }
        let file = self.saved(&restore.from)?;
        self.tool_begins(member)?;
        self.trace.fact(self.now, ("restore", member, format!("{restore:?}")));
        let host = &mut self.hosts[member];
        if restore.wipe {
            host.device.wipe();
        }
        // The flags of a start that this one knows are meant alike.
        let known = restore.flags.iter().filter(|(name, _)| {
            !["bump-revision", "mark-compacted", "skip-hash-check"].contains(&name.as_str())
        });
        let known: Vec<(String, String)> = known.cloned().collect();
        let planted = Planted::new(self.options.planted);
        let result = match (self.options.parse)(&known) {
            Err((exit, _)) => Err(exit),
            Ok(config) => {
                let host = &mut self.hosts[member];
                let mut lines = Vec::new();
                let settings = settings(&config, restore, planted);
                let restored = host.device.restore(self.now, &file, &settings, &mut lines);
                self.tool_says(member, lines, restored)
            }
        };
        self.tool_ends(member, result);
        Ok(())
    }

    /// Rewrites the database in a data directory.
    pub(super) fn defragment_host(
        &mut self,
        member: usize,
        data_dir: &str,
    ) -> Result<(), WorldError> {
        if let Some(lacking) = self.lacks_pages() {
            return Err(lacking);
        }
        self.tool_begins(member)?;
        self.trace.fact(self.now, ("defragment", member, data_dir.to_owned()));
        let mut lines = Vec::new();
        let dir = Place::new(device::path(data_dir), data_dir);
        let rewritten = self.hosts[member].device.defragment_offline(self.now, &dir, &mut lines);
        let result = self.tool_says(member, lines, rewritten);
        self.tool_ends(member, result);
        Ok(())
    }

    /// A tool begins on a host, where nothing runs.
    fn tool_begins(&mut self, member: usize) -> Result<(), WorldError> {
        let host = &mut self.hosts[member];
        if host.process.is_some() || host.device.is_hung() {
            let what = format!("{} runs, or its disk hangs: no tool can work", host.name.0);
            return Err(WorldError::Harness(what));
        }
        host.is_powered = true;
        host.incarnation += 1;
        host.lines.clear();
        Ok(())
    }

    /// What a tool says, and how it exits.
    fn tool_says(
        &mut self,
        member: usize,
        lines: Vec<LogLine>,
        result: Result<(), BackupError>,
    ) -> Result<(), Exit> {
        let host = &mut self.hosts[member];
        for line in lines {
            host.log(self.now, line);
        }
        result.map_err(|error| {
            let text = format!("Error: {error}");
            host.log(self.now, LogLine::new(Level::Error, text));
            Exit { code: error.exit_code().into(), reason: error.to_string() }
        })
    }

    /// A tool ends when the disk is done with it, or is killed at the moment that was named.
    fn tool_ends(&mut self, member: usize, result: Result<(), Exit>) {
        let incarnation = self.hosts[member].incarnation;
        let device = &mut self.hosts[member].device;
        let ends = device.done_at().unwrap_or(self.now).max(self.now);
        let (at, result) = match device.take_occasion() {
            Some(moment) => (moment.max(self.now), None),
            None => (ends, Some(result)),
        };
        self.queue.push(at, Event::RestoreEnds { place: member, incarnation, result });
    }

    /// The tool ends by itself, or is killed at the moment that was named.
    pub(super) fn restore_ended(
        &mut self,
        place: usize,
        incarnation: u32,
        result: Option<Result<(), Exit>>,
    ) {
        let host = &mut self.hosts[place];
        if host.incarnation != incarnation || host.process.is_some() {
            return;
        }
        match result {
            Some(result) => {
                host.device.kill(self.now);
                self.happened.push_back(WorldEvent::Restored { member: place, result });
            }
            None => self.sprung(place),
        }
    }
}
