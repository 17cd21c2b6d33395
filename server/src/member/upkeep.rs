//! What a member does from time to time without being asked, while it leads.

use super::compactor::Compactor;
use super::corruption::{CompactCheck, PeriodicCheck};
use super::io::Outputs;
use super::membership::Identity;
use super::recovery::Recovered;
use super::running::Running;
use super::time::{Monotonic, Now};
use crate::config::Config;
use crate::mvcc::Store;

/// The tasks, each with its own timer.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub compactor: Compactor,
    pub periodic: PeriodicCheck,
    pub compact: CompactCheck,
    /// When the next batch of old versions is removed, if there are any.
    pub removal_at: Monotonic,
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
        };
        out.extend_lines(upkeep.periodic.line(identity.member));
        upkeep
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let tasks = [
            self.compactor.next_deadline(),
            self.periodic.next_deadline(),
            self.compact.next_deadline(),
        ];
        tasks.into_iter().flatten().min()
    }
}

impl Running {
    pub(super) fn upkeep_timers(&mut self, now: Now, out: &mut Outputs) {
        self.compactor_timer(now, out);
        self.periodic_check_timer(now, out);
        self.compact_check_timer(now, out);
    }
}
