//! Snapshots as raft has to do with them: one that arrives takes the place of the log, and one is
//! sent to a peer that needs entries which the log no longer holds.
//!
//! raft-rs asks for a snapshot while it sends, and goes on without one. So its log notes for whom
//! it asked, the member gets a state of the database held, and offers its mark here.

use raft::Ready;
use raft::eraftpb::{ConfState, MessageType};

use super::convert::to_raft_snapshot;
use super::{Consensus, Fatal};
use crate::member::id::MemberId;
use crate::member::io::{Outputs, RaftMessage};
use crate::member::time::Monotonic;
use crate::proto::raftpb;
use crate::storage::log::{LogEntry, LogWrite, SnapshotMark};

impl Consensus {
    /// Takes a message with a snapshot whose database is at hand. What raft makes of it shows in
    /// the next `Changes`; nothing, if the snapshot is older than what is committed here.
    pub(in crate::member) fn step_snapshot(&mut self, message: RaftMessage) -> Result<(), Fatal> {
        let is_snapshot = message.0.msg_type == MessageType::MsgSnapshot;
        let metadata = message.0.get_snapshot().get_metadata();
        if !is_snapshot || metadata.index == 0 || !is_sound(metadata.get_conf_state()) {
            return Ok(());
        }
        self.step(message)
    }

    /// Whether a snapshot is on its way to the disk: another one has to come again.
    pub(in crate::member) fn is_installing(&self) -> bool {
        self.installing.is_some()
    }

    /// The snapshot of a ready takes the place of the log. Nothing that was committed before is
    /// applied any more.
    pub(super) fn stage_install(
        &mut self,
        ready: &Ready,
        now: Monotonic,
        out: &mut Outputs,
    ) -> SnapshotMark {
        let mark = RaftMessage::mark_of(ready.snapshot());
        self.node.mut_store().install(mark.index, mark.term);
        self.to_apply.clear();
        self.installing = Some(mark.index);
        // The hard state that follows completes the ready: until then nothing of it is durable.
        let before = ready.number() - 1;
        self.stage(before, LogWrite::Snapshot(Box::new(mark.clone())), Vec::new(), now, out);
        mark
    }

    /// A snapshot counts as applied for raft once it is durable.
    pub(super) fn finish_install(&mut self) {
        let persisted = self.node.raft.raft_log.persisted;
        if let Some(index) = self.installing.take_if(|index| *index <= persisted) {
            self.node.advance_apply_to(index);
        }
    }

    /// The entries above an index, as far as they are in memory.
    pub(in crate::member) fn entries_after(&self, index: u64) -> impl Iterator<Item = &LogEntry> {
        self.node.store().after(index)
    }

    /// Forgets entries up to an index, at most those that are applied. Returns the last that went.
    pub(in crate::member) fn compact_log(&mut self, index: u64) -> Option<u64> {
        let index = index.min(self.node.raft.raft_log.applied);
        self.node.mut_store().compact(index).then(|| self.node.store().base())
    }

    /// The index that the log in memory follows.
    pub(in crate::member) fn log_base(&self) -> u64 {
        self.node.store().base()
    }

    /// Peers that need a snapshot and got none since the last call.
    pub(in crate::member) fn take_wanted_snapshots(&self) -> Vec<MemberId> {
        match self.node.store().take_wanted() {
            wanted if wanted.is_empty() => Vec::new(),
            wanted => wanted.into_iter().map(MemberId).collect(),
        }
    }

    /// Sends a peer this snapshot, if that still helps it. Returns whether it might.
    pub(in crate::member) fn offer_snapshot(&mut self, to: MemberId, mark: &SnapshotMark) -> bool {
        let is_complete = mark.index > 0 && mark.conf_state.is_some();
        let is_peer = self.is_leader() && self.node.raft.prs().get(to.0).is_some();
        if !is_complete || !is_peer || mark.index < self.node.store().base() {
            return false;
        }
        self.node.store().offer(to.0, to_raft_snapshot(mark));
        self.node.raft.send_append(to.0);
        true
    }

    /// An offer that raft has not taken is off.
    pub(in crate::member) fn withdraw_snapshot(&mut self, to: MemberId) {
        self.node.store().withdraw(to.0);
    }

    /// Messages with snapshots, which are sent together with a database.
    pub(in crate::member) fn take_snapshots(&mut self) -> Vec<(MemberId, RaftMessage)> {
        std::mem::take(&mut self.snapshots)
    }

    /// A snapshot was delivered, or was not.
    pub(in crate::member) fn report_snapshot(&mut self, peer: MemberId, delivered: bool) {
        let status =
            if delivered { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.node.report_snapshot(peer.0, status);
    }

    /// The configuration as it is stored.
    pub(in crate::member) fn conf_state(&self) -> raftpb::ConfState {
        let (voters, learners) = self.configuration();
        let ids = |members: Vec<MemberId>| members.into_iter().map(|id| id.0).collect();
        raftpb::ConfState {
            voters: ids(voters),
            learners: ids(learners),
            auto_leave: Some(false),
            ..raftpb::ConfState::default()
        }
    }
}

/// Whether a configuration can be etcd's: raft-rs dies of others. etcd has no joint ones.
fn is_sound(state: &ConfState) -> bool {
    let mut ids: Vec<u64> = state.voters.iter().chain(&state.learners).copied().collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    let is_simple =
        state.voters_outgoing.is_empty() && state.learners_next.is_empty() && !state.auto_leave;
    is_simple && !state.voters.is_empty() && ids.len() == count && ids[0] != 0
}
