//! Snapshots of the log: when one is taken, how one is sent to a peer that is behind, and what
//! happens when one arrives (contract-cluster.md, sections 4.5 and 5.7).
//!
//! The log is not cut below an index before the database is known to cover it, nor while a peer is
//! being sent a snapshot that the log continues. There is never more than one install at a time,
//! and none while the database is being defragmented.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::consensus::Fatal;
use super::entry_version::entry_version;
use super::exports::Exports;
use super::id::MemberId;
use super::io::{Level, LogLine, Note, Output, Outputs, PeerChange, RaftMessage};
use super::membership::check_downgrade;
use super::recovery::Recovered;
use super::running::Running;
use super::time::{Monotonic, Now};
use super::version::Version;
use crate::config::CompatVersion;
use crate::planted::Defect;
use crate::proto::raftpb::ConfState;
use crate::storage::database::{PinId, SnapshotTask};
use crate::storage::log::SnapshotMark;
use crate::storage::schema::DatabaseImage;

/// Entries applied before the log in memory is looked at again, since 3.6.
const COMPACT_AFTER: u64 = 100;
/// How long the log is kept after a snapshot was delivered: the peer asks for what follows.
const HOLD_AFTER_SEND: Duration = Duration::from_secs(30);
/// How long a state of the database is held for a peer that does not take it.
const OFFER_LIMIT: Duration = Duration::from_secs(30);
/// How long sending may take.
const SEND_LIMIT: Duration = Duration::from_secs(600);

/// A state of the database that is held for a peer.
#[derive(Debug)]
struct Pin {
    to: MemberId,
    is_sent: bool,
    until: Monotonic,
}

/// A snapshot that is taken.
#[derive(Debug)]
struct Saving {
    mark: SnapshotMark,
    /// Whether the driver was told, which it is once the database covers the index.
    is_begun: bool,
}

/// The member's snapshots.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Index of the last one on the disk.
    saved: u64,
    saving: Option<Saving>,
    /// One is taken as soon as there is anything to take, however little.
    is_forced: bool,
    pins: BTreeMap<PinId, Pin>,
    /// States that are held for clients.
    pub(super) exports: Exports,
    last_pin: u64,
    /// The log is kept for a peer until then.
    hold_until: Option<Monotonic>,
    /// What was applied when the log was looked at last.
    compacted_at: u64,
}

impl Snapshots {
    /// At the start, behind the snapshot that the log follows.
    pub(super) fn new(saved: u64) -> Snapshots {
        Snapshots { saved, compacted_at: saved, ..Snapshots::default() }
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.pins.values().map(|pin| pin.until).min()
    }

    fn pin_for(&self, to: MemberId) -> Option<PinId> {
        self.pins.iter().find(|(_, pin)| pin.to == to).map(|(id, _)| *id)
    }

    /// Index of the newest one, how many states were ever held, and whether the log is kept.
    pub(super) fn figures(&self, now: Monotonic) -> (u64, u64, bool) {
        (self.saved, self.last_pin, self.holds_log(now))
    }

    /// Whether a peer needs the log as it is.
    fn holds_log(&self, now: Monotonic) -> bool {
        !self.pins.is_empty() || self.hold_until.is_some_and(|until| now < until)
    }
}

impl Running {
    /// Takes a snapshot when enough was applied since the last, and cuts the log.
    pub(super) fn take_snapshots(&mut self, now: Now, out: &mut Outputs) {
        if !self.persistence.keeps() {
            return;
        }
        let is_replaying = self.applied < self.persistence.consistent_index();
        let since = self.applied.saturating_sub(self.snapshots.saved);
        let is_enough =
            since > self.config.snapshot_count || (self.snapshots.is_forced && since > 0);
        let is_due = is_enough && !is_replaying;
        if is_due && self.snapshots.saving.is_none() {
            self.begin_saving(out);
        }
        self.save_covered(out);
        let applied = self.applied.saturating_sub(self.snapshots.compacted_at);
        if self.config.compat >= CompatVersion::V3_6 && applied > COMPACT_AFTER {
            self.compact_log(self.applied, now, out);
        }
    }

    /// The cluster's version was lowered: no entry that an older member would not understand may
    /// stay in the log that it will read.
    pub(super) fn force_snapshot(&mut self, from: &Version, to: &Version, out: &mut Outputs) {
        if self.config.compat < CompatVersion::V3_6 {
            return;
        }
        let line =
            LogLine::new(Level::Info, "Cluster version downgrade detected, forcing snapshot")
                .with("prev-cluster-version", from.to_string())
                .with("new-cluster-version", to.to_string());
        out.push(Output::LogLine(line));
        self.snapshots.is_forced = true;
    }

    /// The newest version of etcd that an entry behind the last snapshot needs, as far as entries
    /// are still in memory.
    pub(super) fn log_version(&self) -> Option<Version> {
        self.consensus.entries_after(self.snapshots.saved).filter_map(entry_version).max()
    }

    fn begin_saving(&mut self, out: &mut Outputs) {
        let mut line = LogLine::new(Level::Info, "triggering snapshot")
            .with("local-member-id", self.id().to_string())
            .with("local-member-applied-index", self.applied.to_string())
            .with("local-member-snapshot-index", self.snapshots.saved.to_string())
            .with("local-member-snapshot-count", self.config.snapshot_count.to_string());
        if self.config.compat >= CompatVersion::V3_6 {
            line = line.with("snapshot-forced", self.snapshots.is_forced.to_string());
        }
        self.snapshots.is_forced = false;
        out.push(Output::LogLine(line));
        let conf_state = Some(self.consensus.conf_state());
        let mark = SnapshotMark { index: self.applied, term: self.applied_term, conf_state };
        self.snapshots.saving = Some(Saving { mark, is_begun: false });
        if !self.config.defect().is(Defect::SnapRecordBeforeDb) {
            self.write_changes(out);
        }
    }

    /// Tells the driver of a snapshot once the database covers it.
    fn save_covered(&mut self, out: &mut Outputs) {
        let durable = match self.config.defect().is(Defect::SnapRecordBeforeDb) {
            true => self.applied,
            false => self.persistence.durable_index(),
        };
        if let Some(saving) = &mut self.snapshots.saving
            && !saving.is_begun
            && saving.mark.index <= durable
        {
            saving.is_begun = true;
            out.push(Output::Snapshot(SnapshotTask::Save(saving.mark.clone())));
        }
    }

    /// A snapshot is on the disk.
    pub(super) fn snapshot_saved(&mut self, mark: &SnapshotMark, now: Now, out: &mut Outputs) {
        if self.snapshots.saving.take_if(|saving| saving.mark == *mark).is_none() {
            return;
        }
        self.snapshots.saved = self.snapshots.saved.max(mark.index);
        let text = match self.config.compat {
            CompatVersion::V3_5 => "saved snapshot",
            _ => "saved snapshot to disk",
        };
        let line = LogLine::new(Level::Info, text).with("snapshot-index", mark.index.to_string());
        out.push(Output::LogLine(line));
        self.compact_log(mark.index, now, out);
    }

    /// Cuts the log so far behind an index as slow followers are given.
    fn compact_log(&mut self, index: u64, now: Now, out: &mut Outputs) {
        self.snapshots.compacted_at = self.applied;
        if self.snapshots.holds_log(now.monotonic) {
            let text = "skip compaction since there is an inflight snapshot";
            return self.log(Level::Info, text, out);
        }
        let kept = self.config.snapshot_catchup_entries;
        if self.config.defect().is(Defect::RaftLogKept) {
            return;
        }
        // A member that ends now applies again what its database does not have yet.
        let covered = index.min(self.persistence.durable_index());
        if let Some(index) = self.consensus.compact_log(covered.saturating_sub(kept).max(1)) {
            let level = match self.config.compat {
                CompatVersion::V3_5 => Level::Info,
                _ => Level::Debug,
            };
            out.push(Output::LogLine(
                LogLine::new(level, "compacted Raft logs").with("compact-index", index.to_string()),
            ));
        }
    }

    /// Has states of the database held for peers that need them, and sends what raft has made of
    /// those that are.
    pub(super) fn send_snapshots(&mut self, now: Now, out: &mut Outputs) {
        for to in self.consensus.take_wanted_snapshots() {
            if self.persistence.keeps() && self.snapshots.pin_for(to).is_none() {
                self.pin(to, now, out);
            }
        }
        for (to, message) in self.consensus.take_snapshots() {
            let Some(id) = self.snapshots.pin_for(to) else {
                self.consensus.report_snapshot(to, false);
                continue;
            };
            let pin = self.snapshots.pins.get_mut(&id).expect("found above");
            pin.is_sent = true;
            pin.until = now.monotonic.after(SEND_LIMIT);
            out.push(Output::Snapshot(SnapshotTask::Send { to, message, pin: id }));
        }
    }

    fn pin(&mut self, to: MemberId, now: Now, out: &mut Outputs) {
        let id = self.hold(out);
        let until = now.monotonic.after(OFFER_LIMIT);
        self.snapshots.pins.insert(id, Pin { to, is_sent: false, until });
    }

    /// Has a state of the database held that has the effects of everything applied so far.
    pub(super) fn hold(&mut self, out: &mut Outputs) -> PinId {
        self.write_changes(out);
        self.pin_written(out)
    }

    /// Holds the state that the database has when all that has left is written.
    pub(super) fn pin_written(&mut self, out: &mut Outputs) -> PinId {
        self.snapshots.last_pin += 1;
        let id = PinId(self.snapshots.last_pin);
        out.push(Output::Snapshot(SnapshotTask::Pin(id)));
        id
    }

    /// A state of the database is held: raft may send its mark.
    pub(super) fn snapshot_pinned(&mut self, id: PinId, mark: &SnapshotMark, out: &mut Outputs) {
        let Some(pin) = self.snapshots.pins.get(&id) else { return };
        if !self.consensus.offer_snapshot(pin.to, mark) {
            self.unpin(id, out);
        }
    }

    fn unpin(&mut self, id: PinId, out: &mut Outputs) {
        if let Some(pin) = self.snapshots.pins.remove(&id) {
            self.consensus.withdraw_snapshot(pin.to);
            out.push(Output::Snapshot(SnapshotTask::Unpin(id)));
        }
    }

    /// The driver's word on a snapshot that was sent.
    pub(super) fn snapshot_status(
        &mut self,
        peer: MemberId,
        delivered: bool,
        now: Now,
        out: &mut Outputs,
    ) {
        let sent = self.snapshots.pins.iter().find(|(_, pin)| pin.to == peer && pin.is_sent);
        if let Some(id) = sent.map(|(id, _)| *id) {
            self.unpin(id, out);
            if delivered {
                self.snapshots.hold_until = Some(now.monotonic.after(HOLD_AFTER_SEND));
            }
        }
        self.consensus.report_snapshot(peer, delivered);
    }

    /// Gives up what has taken too long.
    pub(super) fn snapshot_timers(&mut self, now: Now, out: &mut Outputs) {
        let is_late = |pin: &Pin| now.monotonic >= pin.until;
        let pins = &self.snapshots.pins;
        if pins.is_empty() {
            return;
        }
        let late: Vec<PinId> =
            pins.iter().filter(|(_, pin)| is_late(pin)).map(|(id, _)| *id).collect();
        for id in late {
            let pin = &self.snapshots.pins[&id];
            let (to, is_sent) = (pin.to, pin.is_sent);
            self.unpin(id, out);
            if is_sent {
                self.consensus.report_snapshot(to, false);
            }
        }
    }

    /// A peer's snapshot has come with its database.
    pub(super) fn snapshot_arrived(
        &mut self,
        from: MemberId,
        message: RaftMessage,
        image: &DatabaseImage,
        now: Now,
        out: &mut Outputs,
    ) {
        let Some(snapshot) = message.snapshot() else { return };
        let defect = self.config.defect();
        let is_racing = self.tasks.is_defragmenting() && !defect.is(Defect::SnapDefragRace);
        let is_busy = self.consensus.is_installing() || is_racing;
        let is_foreign = message.to() != self.id() || self.membership.is_removed(from);
        if !self.persistence.keeps() || is_busy || is_foreign {
            return;
        }
        // What is older than the commit index is answered and has no effect: it is not even read.
        let is_old = snapshot.index < self.consensus.commit();
        let recovered = match is_old && !defect.is(Defect::RaftOldSnapshot) {
            true => None,
            false => match self.readable(&snapshot, image) {
                Ok(recovered) => Some(recovered),
                Err(line) => return out.push(Output::LogLine(line)),
            },
        };
        if let Err(Fatal(reason)) = self.consensus.step_snapshot(message) {
            return self.panic(reason);
        }
        self.pump(now, out);
        if let Some(mark) = self.changes.installed.take() {
            let recovered = recovered.expect("raft installs nothing older than its commit index");
            self.install(&mark, recovered, now, out);
        } else if let Some(recovered) = recovered.filter(|_| is_old) {
            self.install_old(&snapshot, recovered, now, out);
        }
    }

    /// What a planted defect does with a snapshot that is older than the log: the state goes back,
    /// and the log does not.
    fn install_old(
        &mut self,
        mark: &SnapshotMark,
        recovered: Recovered,
        now: Now,
        out: &mut Outputs,
    ) {
        let reached = (self.applied, self.applied_term);
        self.install(mark, recovered, now, out);
        (self.applied, self.applied_term) = reached;
    }

    /// Reads the database of a snapshot. It may be further than the snapshot says, and then knows
    /// so itself; it is of no use when it is not as far.
    fn readable(
        &self,
        snapshot: &SnapshotMark,
        image: &DatabaseImage,
    ) -> Result<Recovered, LogLine> {
        let recovered = Recovered::load(image, &self.config).map_err(|error| {
            LogLine::new(Level::Error, "failed to read the database of a snapshot")
                .with("error", error.to_string())
        })?;
        if recovered.mark.index < snapshot.index {
            return Err(LogLine::new(Level::Error, "database snapshot is older than its message")
                .with("consistent-index", recovered.mark.index.to_string())
                .with("snapshot-index", snapshot.index.to_string()));
        }
        Ok(recovered)
    }

    /// The leader's state takes the place of the member's own.
    fn install(&mut self, mark: &SnapshotMark, recovered: Recovered, now: Now, out: &mut Outputs) {
        let told = |text: &str, snapshots: &Snapshots, applied: u64| {
            LogLine::new(Level::Info, text)
                .with("current-snapshot-index", snapshots.saved.to_string())
                .with("current-applied-index", applied.to_string())
                .with("incoming-leader-snapshot-index", mark.index.to_string())
                .with("incoming-leader-snapshot-term", mark.term.to_string())
        };
        let applied = self.applied;
        out.push(Output::LogLine(told("applying snapshot", &self.snapshots, applied)));
        let consistent = (recovered.mark.index, recovered.mark.term);
        out.push(Output::LogLine(
            LogLine::new(Level::Info, "restored mvcc store")
                .with("consistent-index", consistent.0.to_string()),
        ));
        let before = self.persistence.consistent();
        self.persistence.replaced(consistent);
        if self.config.defect().is(Defect::SnapCiOverwrite) {
            self.persistence.overwrite(before);
            self.write_changes(out);
            self.persistence.advance(consistent.0, consistent.1);
        }
        (self.applied, self.applied_term) = (mark.index, mark.term);
        self.snapshots.saving = None;
        self.adopt(recovered, now, out);
        out.push(Output::LogLine(told("applied snapshot", &self.snapshots, applied)));
        self.snapshots.saved = mark.index;
        self.snapshots.compacted_at = mark.index;
        let actions = self.reads.applied(self.applied, now.monotonic);
        self.read_actions(actions, now, out);
    }

    /// Takes over what a database holds, at the start or in the place of what was there.
    pub(super) fn adopt(&mut self, recovered: Recovered, now: Now, out: &mut Outputs) {
        for line in recovered.lines(self.identity) {
            out.push(Output::LogLine(line));
        }
        self.store = recovered.store;
        self.store.note_written();
        self.lessor = recovered.lessor;
        self.alarms = recovered.alarms;
        let membership = std::mem::replace(&mut self.membership, recovered.membership);
        self.membership_digest = self.membership.digest();
        if let Some(version) = self.membership.cluster_version()
            && let Err(stop) = check_downgrade(self.config.compat, version)
        {
            self.stopped = Some(stop);
        }
        self.adopt_storage_version(recovered.storage_version, now);
        self.adopt_peers(&membership, out);
        let SnapshotMark { index, term, .. } = recovered.mark;
        if index > 0 {
            let (revision, digest) = (self.store.revision(), self.digest());
            let (voters, learners) = self.consensus.configuration();
            let is_known = |known: &ConfState| {
                let ids = |ids: &[MemberId]| ids.iter().map(|id| id.0).collect::<BTreeSet<u64>>();
                let known_ids = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
                known_ids(&known.voters) == ids(&voters)
                    && known_ids(&known.learners) == ids(&learners)
            };
            if !recovered.mark.conf_state.as_ref().is_some_and(is_known) {
                self.persistence.configured();
            }
            let note = Note::Loaded { index, term, revision, digest, voters, learners };
            out.push(Output::Note(note));
        }
        self.hub.on_snapshot_installed(&self.store, now.monotonic);
        if let Some(revision) = self.store.compacting() {
            let line = LogLine::new(Level::Info, "resume scheduled compaction")
                .with("scheduled-compact-revision", revision.to_string());
            out.push(Output::LogLine(line));
        } else {
            self.compacted(out);
        }
    }

    /// The transport talks to the members there are now.
    fn adopt_peers(&mut self, before: &super::membership::Membership, out: &mut Outputs) {
        let mut changes = Vec::new();
        for id in self.peers.iter().filter(|id| self.membership.get(**id).is_none()) {
            changes.push(PeerChange::Remove(*id));
        }
        for member in self.membership.members().filter(|member| member.id != self.id()) {
            let (id, urls) = (member.id, member.peer_urls.clone());
            let is_moved = before.get(id).is_none_or(|known| known.peer_urls != urls);
            match self.peers.contains(&id) {
                false => changes.push(PeerChange::Add { id, urls }),
                true if is_moved => changes.push(PeerChange::Update { id, urls }),
                true => {}
            }
        }
        changes.into_iter().for_each(|change| self.change_peers(change, out));
    }
}
