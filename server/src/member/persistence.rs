//! What the member writes to its database: the rows that entries change, together with the index
//! up to which all effects are in them.
//!
//! Changes are collected for as long as etcd lets its own batch wait, and leave as one write.
//! Nothing is collected for a driver without a database. Writes that are not durable yet are
//! bounded: behind a full backlog entries wait to be applied, and clients hear of it by and by.

use std::collections::VecDeque;
use std::time::Duration;

use super::io::{Output, Outputs};
use super::running::Running;
use super::time::{Monotonic, Now};
use crate::planted::Defect;
use crate::storage::database::{
    BucketChange, DatabaseNumber, DatabaseReceipt, DatabaseSize, DatabaseWrite,
};
use crate::storage::schema;

/// etcd's batch interval and batch limit (contract-cluster.md, section 8.1).
const BATCH_INTERVAL: Duration = Duration::from_millis(100);
const BATCH_LIMIT: usize = 10_000;

/// What may be on its way to the database before entries wait.
const BACKLOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
const BACKLOG_CHANGES_MAX: usize = 100_000;

/// So many bytes and rows.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    bytes: u64,
    changes: usize,
}

impl Load {
    fn of(change: &BucketChange) -> Load {
        let value = change.value.as_ref().map_or(0, |value| value.len());
        Load { bytes: (change.key.len() + value) as u64, changes: 1 }
    }

    fn add(&mut self, other: Load) {
        self.bytes += other.bytes;
        self.changes += other.changes;
    }
}

/// The member's side of its database.
#[derive(Debug, Default)]
pub(super) struct Persistence {
    keeps: bool,
    /// Index and term of the last entry whose effects the replicated state has.
    consistent: (u64, u64),
    /// The same of the last write that left.
    written: u64,
    /// The same of the last receipt.
    durable: u64,
    collected: Vec<BucketChange>,
    /// Where those of the last entry begin.
    last_entry_at: usize,
    load: Load,
    /// Since when changes wait to leave.
    since: Option<Monotonic>,
    conf_changed: bool,
    /// What was collected does not wait for more.
    is_urgent: bool,
    /// What a planted defect claims to have.
    ahead: (u64, u64),
    last_number: u64,
    on_the_way: VecDeque<(DatabaseNumber, Load)>,
    size: DatabaseSize,
}

impl Persistence {
    /// At the start, with what the database holds.
    pub(super) fn new(keeps: bool, consistent: (u64, u64), size: DatabaseSize) -> Persistence {
        let mut persistence = Persistence { keeps, size, ..Persistence::default() };
        persistence.stand_at(consistent);
        persistence
    }

    fn stand_at(&mut self, consistent: (u64, u64)) {
        self.consistent = consistent;
        self.written = consistent.0;
        self.durable = consistent.0;
    }

    /// Another database has taken the place of the member's own. What has not left is void.
    pub(super) fn replaced(&mut self, consistent: (u64, u64)) {
        self.collected.clear();
        self.load = Load::default();
        self.since = None;
        self.conf_changed = false;
        self.is_urgent = false;
        self.on_the_way.clear();
        self.stand_at(consistent);
    }

    /// Whether the driver keeps a database.
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Index and term of the last entry that had an effect.
    pub(super) fn consistent(&self) -> (u64, u64) {
        self.consistent
    }

    /// What a planted defect does: the next write says that the database has less than it has.
    pub(super) fn overwrite(&mut self, consistent: (u64, u64)) {
        let (index, term) = consistent;
        self.advance(index, term);
        for row in schema::consistent(index, term) {
            self.record(|| row);
        }
    }

    /// What another planted defect does: the next write says that the database has what is still on
    /// its way to the log.
    pub(super) fn run_ahead(&mut self, consistent: (u64, u64)) {
        self.ahead = consistent;
        self.is_urgent = self.keeps;
    }

    /// Index of the last entry that had an effect: entries up to there have none any more.
    pub(super) fn consistent_index(&self) -> u64 {
        self.consistent.0
    }

    /// The last index that the database is known to cover.
    pub(super) fn durable_index(&self) -> u64 {
        self.durable
    }

    /// An entry is about to have its effects.
    pub(super) fn begin_entry(&mut self) {
        self.last_entry_at = self.collected.len();
    }

    /// An entry has had its effects.
    pub(super) fn advance(&mut self, index: u64, term: u64) {
        self.consistent = (index, term);
    }

    /// Raft's configuration was changed.
    pub(super) fn configured(&mut self) {
        self.conf_changed = true;
    }

    /// What was collected leaves at once: the beginning of a compaction does.
    pub(super) fn hurry(&mut self) {
        self.is_urgent = self.keeps;
    }

    /// A row was changed.
    pub(super) fn record(&mut self, change: impl FnOnce() -> BucketChange) {
        if !self.keeps {
            return;
        }
        let change = change();
        self.load.add(Load::of(&change));
        self.collected.push(change);
    }

    fn backlog(&self) -> Load {
        let mut backlog = self.load;
        self.on_the_way.iter().for_each(|(_, load)| backlog.add(*load));
        backlog
    }

    /// Whether entries must wait until something becomes durable.
    pub(super) fn is_full(&self) -> bool {
        let backlog = self.backlog();
        let is_full = backlog.bytes >= BACKLOG_BYTES_MAX || backlog.changes >= BACKLOG_CHANGES_MAX;
        is_full && !self.on_the_way.is_empty()
    }

    /// Whether changes leave now. Those that were collected since the last look wait from now on.
    fn is_due(&mut self, now: Monotonic) -> bool {
        if self.load.changes > 0 {
            self.since.get_or_insert(now);
        }
        let is_old = self.since.is_some_and(|since| now >= since.after(BATCH_INTERVAL));
        is_old
            || self.is_urgent
            || self.load.changes >= BATCH_LIMIT
            || self.load.bytes >= BACKLOG_BYTES_MAX
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.since.map(|since| since.after(BATCH_INTERVAL))
    }

    /// Writes are durable.
    pub(super) fn received(&mut self, receipt: DatabaseReceipt) {
        while self.on_the_way.front().is_some_and(|(number, _)| *number <= receipt.up_to()) {
            self.on_the_way.pop_front();
        }
        self.durable = self.durable.max(receipt.consistent_index());
        self.size = receipt.size();
    }

    pub(super) fn resized(&mut self, size: DatabaseSize) {
        self.size = size;
    }

    /// How large the database is, if that is known: what the last receipt said and an estimate of
    /// what has come since. New rows fill free pages first.
    pub(super) fn size(&self) -> Option<DatabaseSize> {
        if self.size.total_bytes == 0 {
            return None;
        }
        let in_use_bytes = self.size.in_use_bytes + self.backlog().bytes;
        let total_bytes = self.size.total_bytes.max(in_use_bytes);
        Some(DatabaseSize { total_bytes, in_use_bytes })
    }
}

impl Running {
    /// Collects what the store has changed.
    pub(super) fn record_keys(&mut self) {
        if self.persistence.keeps() {
            for change in self.store.take_changes() {
                self.persistence.record(|| change);
            }
        }
    }

    /// Lets collected changes leave when it is time.
    pub(super) fn write_due(&mut self, now: Now, out: &mut Outputs) {
        if self.persistence.is_due(now.monotonic) {
            self.write_changes(out);
        }
    }

    /// Lets everything leave that the database lacks, be it the consistent index alone.
    pub(super) fn write_changes(&mut self, out: &mut Outputs) {
        let is_partial = self.config.defect().is(Defect::ApplyCiBeforeData);
        self.write_up_to(is_partial, out);
    }

    /// The same before the database is copied.
    pub(super) fn write_before_copy(&mut self, out: &mut Outputs) {
        let is_partial = self.config.defect().is(Defect::BackendDefragCi);
        self.write_up_to(is_partial, out);
    }

    /// `is_partial`: a planted defect keeps back what the last entry changed.
    fn write_up_to(&mut self, is_partial: bool, out: &mut Outputs) {
        let conf_state = self.persistence.conf_changed.then(|| self.consensus.conf_state());
        let persistence = &mut self.persistence;
        let consistent = persistence.consistent.max(persistence.ahead);
        let is_behind = consistent.0 > persistence.written;
        if !persistence.keeps || (persistence.collected.is_empty() && !is_behind) {
            return;
        }
        persistence.since = None;
        persistence.is_urgent = false;
        persistence.conf_changed = false;
        persistence.written = consistent.0;
        persistence.last_number += 1;
        let number = DatabaseNumber(persistence.last_number);
        persistence.on_the_way.push_back((number, std::mem::take(&mut persistence.load)));
        let (index, term) = consistent;
        // The next write will be about as large.
        let room = Vec::with_capacity(persistence.collected.len() + 3);
        let mut changes = std::mem::replace(&mut persistence.collected, room);
        if is_partial {
            persistence.collected = changes.split_off(persistence.last_entry_at.min(changes.len()));
            persistence.last_entry_at = 0;
        }
        changes.extend(schema::consistent(index, term));
        changes.extend(conf_state.as_ref().map(schema::conf_state));
        out.push(Output::Database(DatabaseWrite { number, consistent, changes }));
    }
}
