//! What a member does from time to time without being asked: some of it only while it leads.

use std::time::Duration;

use super::compactor::Compactor;
use super::corruption::{CompactCheck, PeriodicCheck};
use super::downgrade::DowngradeMonitor;
use super::io::{Level, LogLine, Output, Outputs};
use super::membership::Identity;
use super::recovery::Recovered;
use super::running::Running;
use super::storage_version::StorageVersion;
use super::time::{Monotonic, Now};
use crate::config::Config;
use crate::mvcc::Store;
use crate::storage::database::SnapshotTask;

/// How long old snapshots and segments of the log stay at most once they are too many.
const PURGE_INTERVAL: Duration = Duration::from_secs(30);

/// The tasks, each with its own timer.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub compactor: Compactor,
    pub periodic: PeriodicCheck,
    pub compact: CompactCheck,
    /// When the next batch of old versions is removed, if there are any.
    pub removal_at: Monotonic,
    pub storage: StorageVersion,
    pub downgrades: DowngradeMonitor,
    /// When files are purged next, if the member keeps any and not all.
    purge_at: Option<Monotonic>,
}

impl Upkeep {
    /// At the start of a member on what was recovered.
    pub(super) fn new(
        config: &Config,
        identity: Identity,
        recovered: Option<&Recovered>,
        now: Monotonic,
        out: &mut Outputs,
    ) -> Upkeep {
        let empty = || Store::new().revision();
        let revision = recovered.map_or_else(empty, |found| found.store.revision());
        let compact = config.compact_hash_check.then_some(config.compact_hash_check_time);
        let upkeep = Upkeep {
            compactor: Compactor::new(config.auto_compaction, revision, now),
            periodic: PeriodicCheck::new(config.corrupt_check_time, now),
            compact: CompactCheck::new(compact, now),
            removal_at: Monotonic::ZERO,
            storage: StorageVersion::default(),
            downgrades: DowngradeMonitor::default(),
            purge_at: None,
        };
        out.extend_lines(upkeep.periodic.line(identity.member));
        upkeep
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let tasks = [
            self.compactor.next_deadline(),
            self.periodic.next_deadline(),
            self.compact.next_deadline(),
            self.storage.next_deadline(),
            self.downgrades.next_deadline(),
            self.purge_at,
        ];
        tasks.into_iter().flatten().min()
    }
}

impl Running {
    /// Purges what an earlier process has left, and says what will be purged from then on.
    pub(super) fn begin_purging(&mut self, now: Now, out: &mut Outputs) {
        let Config { max_snapshots, max_wals, .. } = self.config;
        if !self.persistence.keeps() || max_snapshots.max(max_wals) == 0 {
            return;
        }
        let (snap_dir, wal_dir) = (self.config.snap_dir(), self.config.wal_dir());
        let purged = [
            (&snap_dir, "snap.db", max_snapshots),
            (&snap_dir, "snap", max_snapshots),
            (&wal_dir, "wal", max_wals),
        ];
        for (dir, suffix, max) in purged.into_iter().filter(|(_, _, max)| *max > 0) {
            let line = LogLine::new(Level::Info, "started to purge file")
                .with("dir", &**dir)
                .with("suffix", suffix)
                .with("max", max.to_string())
                .with("interval", format!("{}s", PURGE_INTERVAL.as_secs()));
            out.push(Output::LogLine(line));
        }
        self.purge(now, out);
    }

    fn purge(&mut self, now: Now, out: &mut Outputs) {
        self.upkeep.purge_at = Some(now.monotonic.after(PURGE_INTERVAL));
        out.push(Output::Snapshot(SnapshotTask::Purge));
    }

    pub(super) fn upkeep_timers(&mut self, now: Now, out: &mut Outputs) {
        if self.upkeep.purge_at.is_some_and(|at| at <= now.monotonic) {
            self.purge(now, out);
        }
        self.storage_version_timer(now, out);
        self.downgrade_timer(now, out);
        self.compactor_timer(now, out);
        self.periodic_check_timer(now, out);
        self.compact_check_timer(now, out);
    }
}
