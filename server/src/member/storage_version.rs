//! The version of the database's format, which follows the cluster's (contract-cluster.md, section
//! 6.8): each member since 3.6 looks after its own, when the cluster's version changes and every
//! four seconds.
//!
//! Between looks nothing but the cluster's version can make a difference, so that a member whose
//! versions agree is not woken.

use std::time::Duration;

use super::io::{Level, LogLine, Output, Outputs};
use super::running::Running;
use super::time::{Monotonic, Now};
use super::version::Version;
use crate::config::CompatVersion;
use crate::storage::schema;

const INTERVAL: Duration = Duration::from_secs(4);

/// What the database says, and when it is looked at.
#[derive(Debug, Default)]
pub(super) struct StorageVersion {
    /// As it is written there, since 3.6.
    stored: Option<Version>,
    next_at: Option<Monotonic>,
}

impl StorageVersion {
    /// The cluster's version has changed.
    pub(super) fn look_now(&mut self) {
        self.next_at = Some(Monotonic::ZERO);
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.next_at
    }
}

impl Running {
    /// The format's version: without being written there it is 3.5's, which wrote terms first.
    pub(super) fn storage_version(&self) -> Option<Version> {
        let unwritten =
            || (self.persistence.consistent().1 > 0).then_some(schema::UNWRITTEN_VERSION);
        self.upkeep.storage.stored.clone().or_else(unwritten)
    }

    /// A database was taken over: it is looked at in time, if there is anything to see.
    pub(super) fn adopt_storage_version(&mut self, stored: Option<Version>, now: Now) {
        self.upkeep.storage.stored = stored;
        self.upkeep.storage.next_at = self.wanted_version().map(|_| now.monotonic.after(INTERVAL));
    }

    /// The cluster's version, if the database's is another.
    fn wanted_version(&self) -> Option<Version> {
        let wanted = self.membership.cluster_version()?.major_minor();
        let is_known = self.config.compat >= CompatVersion::V3_6
            && wanted >= schema::UNWRITTEN_VERSION
            && self.storage_version().is_some_and(|stored| stored.major_minor() != wanted);
        is_known.then_some(wanted)
    }

    pub(super) fn storage_version_timer(&mut self, now: Now, out: &mut Outputs) {
        if self.upkeep.storage.next_at.take_if(|at| *at <= now.monotonic).is_none() {
            return;
        }
        let (Some(wanted), Some(stored)) = (self.wanted_version(), self.storage_version()) else {
            return;
        };
        let text = "cluster version differs from storage version.";
        out.push(Output::LogLine(
            LogLine::new(Level::Info, text)
                .with("cluster-version", wanted.to_string())
                .with("storage-version", stored.to_string()),
        ));
        if wanted < stored
            && let Some(newest) = self.log_version().filter(|newest| wanted < *newest)
        {
            let error = format!(
                "cannot downgrade storage, WAL contains newer entries, as the target version \
                 ({wanted}) is lower than the version ({newest}) detected from WAL logs"
            );
            out.push(Output::LogLine(
                LogLine::new(Level::Error, "failed to update storage version")
                    .with("cluster-version", wanted.to_string())
                    .with("error", error),
            ));
            self.upkeep.storage.next_at = Some(now.monotonic.after(INTERVAL));
            return;
        }
        for (step, change) in schema::migration(&stored, &wanted) {
            self.persistence.record(|| change);
            let line = LogLine::new(Level::Info, "updated storage version");
            out.push(Output::LogLine(line.with("new-storage-version", step.to_string())));
        }
        self.upkeep.storage.stored = (wanted > schema::UNWRITTEN_VERSION).then_some(wanted);
        let downgrade = self.membership.downgrade();
        if downgrade.enabled {
            self.ready_to_downgrade(&downgrade.target.clone(), out);
        }
    }

    /// Nothing of this member's stands against a restart as that version.
    pub(super) fn ready_to_downgrade(&self, target: &str, out: &mut Outputs) {
        let line = LogLine::new(Level::Info, "The server is ready to downgrade")
            .with("target-version", target)
            .with("server-version", self.config.compat.server_version());
        out.push(Output::LogLine(line));
    }
}
