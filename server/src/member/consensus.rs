//! Raft as etcd runs it: raft-rs's `RawNode` with ticks, staged writes and the hand-over to apply.
//!
//! Invariants: messages of a member that does not lead leave only after every write staged before
//! them is durable; an entry is handed to apply only when it is committed and durable here; a
//! member that does not lead does not tick while a write is outstanding, and a leader whose oldest
//! outstanding write is older than a heartbeat neither ticks nor sends (etcd's loop does both by
//! blocking). raft-rs is used as published; its one source of entropy, the election timeout, is
//! overwritten from the member's own stream after every reset.
//! Long because what touches raft-rs stands together; snapshots have a file of their own.
// Generated types have private fields, so they are filled in after their default.
#![allow(clippy::field_reassign_with_default)]

mod convert;
mod snapshots;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::{self, Entry, EntryType, MessageType};
use raft::{RawNode, StateRole};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

use super::id::MemberId;
use super::io::{Level, LogLine, Note, Output, Outputs, RaftMessage, Role};
use super::message::conf_state_from_raftpb;
use super::raftlog::RaftLog;
use super::time::Monotonic;
use crate::config::{CompatVersion, Config, quote};
use crate::planted::{Defect, Planted};
use crate::proto::raftpb;
use crate::storage::log::{
    EntryKind, HardState, LogDurable, LogEntry, LogNumber, LogWrite, SnapshotMark, Staged,
};
use convert::{addressed, into_log_entry, role, to_hard_state, to_raft_hard_state, to_raft_kind};
pub(super) use convert::{to_log_entry, to_raft_entry};

/// etcd's compile-time constants (contract-cluster.md, section 4.1).
const MAX_SIZE_PER_MESSAGE: u64 = 1024 * 1024;
const MAX_INFLIGHT: usize = 512;
/// As long as etcd lets changes of its database wait.
const COMMIT_SYNC_AFTER: Duration = Duration::from_millis(100);

/// A sync that takes longer is told of.
const SYNC_WARNING: Duration = Duration::from_secs(1);

/// A message that etcd's raft would die of, with etcd's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fatal(pub String);

/// raft refuses the proposal now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped;

/// A quorum confirmed that reads registered under `context` may be served at `index`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReadState {
    pub context: u64,
    pub index: u64,
}

struct Outstanding {
    number: LogNumber,
    ready: u64,
    since: Monotonic,
}

struct Behind {
    number: LogNumber,
    ready: u64,
    messages: Vec<(MemberId, RaftMessage)>,
}

/// Where everything that changed since the last look is told.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub read_states: Vec<ReadState>,
    /// The role or leader is another than before.
    pub soft_state: bool,
    /// Everything up to there is to be taken from the snapshot that was stepped.
    pub installed: Option<SnapshotMark>,
}

/// What raft starts from.
pub(super) struct Origin<'a> {
    pub hard_state: HardState,
    /// The snapshot that the entries follow.
    pub snapshot: &'a SnapshotMark,
    /// The configuration that the member has; `None` when it follows from the log.
    pub conf_state: Option<&'a raftpb::ConfState>,
    pub entries: &'a [LogEntry],
    /// Follows the last log write already staged.
    pub next_number: u64,
    /// Nothing else tells after a power cut what was committed.
    pub syncs_commit: bool,
}

/// Raft's view of itself, for white-box checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct RaftView {
    pub term: u64,
    pub vote: u64,
    pub role: Role,
    pub leader: MemberId,
    pub commit: u64,
    pub applied: u64,
    pub last_index: u64,
}

pub(super) struct Consensus {
    node: RawNode<RaftLog>,
    entropy: ChaCha8Rng,
    compat: CompatVersion,
    /// Term and role at the last draw of the election timeout.
    drawn_for: (u64, StateRole),
    election_ticks: usize,
    tick_interval: Duration,
    next_tick: Monotonic,
    last_tick: Monotonic,
    outstanding: VecDeque<Outstanding>,
    /// Messages without a write that is synced, behind the writes before them.
    behind: VecDeque<Behind>,
    /// An empty buffer of messages.
    spare: Vec<eraftpb::Message>,
    next_number: u64,
    tick_waits_for: Option<LogNumber>,
    /// Since when a commit index lies in the log without a sync behind it.
    commit_unsynced: Option<Monotonic>,
    /// When a write was last found durable: those that waited were begun then.
    synced_at: Monotonic,
    /// What a leader with a stuck disk would have sent.
    stuck: Vec<(MemberId, RaftMessage)>,
    to_apply: VecDeque<Entry>,
    /// Nothing but the log tells what was committed.
    syncs_commit: bool,
    /// Index of a snapshot from the leader whose install is not durable yet.
    installing: Option<u64>,
    /// Messages with snapshots, which leave on a way of their own.
    snapshots: Vec<(MemberId, RaftMessage)>,
    /// What a planted defect confirms without raft.
    unguarded: Vec<ReadState>,
    defect: Planted,
}

impl Consensus {
    /// Starts from what is durable.
    pub(super) fn new(
        config: &Config,
        id: MemberId,
        origin: &Origin<'_>,
        entropy: ChaCha8Rng,
        now: Monotonic,
    ) -> Result<Consensus, Fatal> {
        let base = (origin.snapshot.index, origin.snapshot.term);
        let last = origin.entries.last().map_or(base.0, |entry| entry.index);
        let commit = origin.hard_state.commit;
        if !(base.0..=last).contains(&commit) {
            return Err(Fatal(format!(
                "{id} state.commit {commit} is out of range [{}, {last}]",
                base.0
            )));
        }
        let log = RaftLog::new(
            to_raft_hard_state(origin.hard_state),
            origin.conf_state.cloned().map(conf_state_from_raftpb).unwrap_or_default(),
            base,
            origin.entries.to_vec(),
        );
        let election_ticks = (config.election_timeout_ms / config.heartbeat_interval_ms) as usize;
        let settings = raft::Config {
            id: id.0,
            election_tick: election_ticks,
            heartbeat_tick: 1,
            applied: base.0,
            max_size_per_msg: MAX_SIZE_PER_MESSAGE,
            max_inflight_msgs: MAX_INFLIGHT,
            check_quorum: true,
            pre_vote: config.pre_vote,
            min_election_tick: election_ticks,
            max_election_tick: 2 * election_ticks,
            max_committed_size_per_ready: MAX_SIZE_PER_MESSAGE,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&settings, log, &logger)
            .map_err(|error| Fatal(format!("raft cannot start: {error}")))?;
        let tick_interval = Duration::from_millis(config.heartbeat_interval_ms);
        let mut consensus = Consensus {
            drawn_for: (u64::MAX, StateRole::Follower),
            node,
            entropy,
            compat: config.compat,
            election_ticks,
            tick_interval,
            next_tick: now.after(tick_interval),
            last_tick: now,
            outstanding: VecDeque::new(),
            behind: VecDeque::new(),
            spare: Vec::new(),
            next_number: origin.next_number,
            tick_waits_for: None,
            commit_unsynced: None,
            synced_at: now,
            stuck: Vec::new(),
            to_apply: VecDeque::new(),
            syncs_commit: origin.syncs_commit,
            installing: None,
            snapshots: Vec::new(),
            unguarded: Vec::new(),
            defect: config.defect(),
        };
        consensus.draw_election_timeout();
        Ok(consensus)
    }

    pub(super) fn next_tick(&self) -> Monotonic {
        self.next_tick
    }

    /// When raft last ticked: a leader that has not for three intervals may have been deposed
    /// without knowing.
    pub(super) fn last_tick(&self) -> Monotonic {
        self.last_tick
    }

    /// Ticks once if a tick is due, however many were missed.
    pub(super) fn tick_if_due(&mut self, now: Monotonic) {
        if now < self.next_tick {
            return;
        }
        let missed = now.since(self.next_tick).as_nanos() / self.tick_interval.as_nanos();
        self.next_tick = self.next_tick.after(self.tick_interval * (missed as u32 + 1));
        if self.is_leader() {
            if self.is_stuck(now) {
                return;
            }
        } else if let Some(last) = self.outstanding.back() {
            self.tick_waits_for.get_or_insert(last.number);
            return;
        }
        self.tick(now);
    }

    fn tick(&mut self, now: Monotonic) {
        self.last_tick = now;
        self.node.tick();
        self.draw_election_timeout();
    }

    /// Advances the election clock at start, when peers are connected or there are none.
    pub(super) fn fast_forward(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.node.tick();
            self.draw_election_timeout();
        }
    }

    fn is_stuck(&self, now: Monotonic) -> bool {
        let oldest = self.outstanding.front();
        oldest.is_some_and(|write| now.since(write.since) > self.tick_interval)
    }

    /// raft-rs draws a timeout of its own at each reset; a reset shows as a new term or role.
    fn draw_election_timeout(&mut self) {
        let at = (self.node.raft.term, self.node.raft.state);
        if at == self.drawn_for {
            return;
        }
        let same_term = at.0 == self.drawn_for.0;
        self.drawn_for = at;
        if same_term && at.1 == StateRole::PreCandidate {
            return;
        }
        let spread = self.entropy.next_u32() as usize % self.election_ticks;
        self.node.raft.set_randomized_election_timeout(self.election_ticks + spread);
    }

    /// Takes a message from a peer. `Fatal` is what etcd panics with.
    pub(super) fn step(&mut self, message: RaftMessage) -> Result<(), Fatal> {
        let message = *message.0;
        self.survives(&message)?;
        if message.msg_type == MessageType::MsgAppendResponse && self.is_removed_leader() {
            return Ok(());
        }
        let last_index = self.node.raft.raft_log.last_index();
        let persisted = self.node.raft.raft_log.persisted;
        if message.msg_type == MessageType::MsgTimeoutNow && persisted < last_index {
            // Campaigning on entries that are not durable yet is what raft-rs dies of when this
            // is the only voter; the transfer is tried again or given up by the leader.
            return Ok(());
        }
        // Refusals concern messages of unknown or removed peers, which raft drops as well.
        if message.msg_type == MessageType::MsgPropose {
            let _ = self.step_proposal(message);
        } else {
            let _ = self.node.step(message);
        }
        self.draw_election_timeout();
        Ok(())
    }

    /// Whether etcd's raft survives a message. It does not when a peer knows of entries that this
    /// log does not have: a follower that has lost some of its log hears so from its leader, and
    /// a leader whose cluster reuses another's identities from a member of that one. The leader
    /// looks for the term of what it does not have, which is an error since 3.6, and falls back on
    /// a snapshot, of which there is none as long as its log is whole.
    fn survives(&self, message: &eraftpb::Message) -> Result<(), Fatal> {
        let raft = &self.node.raft;
        let last_index = raft.raft_log.last_index();
        match message.msg_type {
            MessageType::MsgHeartbeat
                if message.term >= raft.term && message.commit > last_index =>
            {
                Err(Fatal(format!(
                    "tocommit({}) is out of range [lastIndex({last_index})]. \
                     Was the raft log corrupted, truncated, or lost?",
                    message.commit
                )))
            }
            MessageType::MsgAppendResponse
                if raft.state == StateRole::Leader
                    && message.term == raft.term
                    && !message.reject
                    && message.index > last_index
                    && self.compat >= CompatVersion::V3_6
                    && raft.raft_log.first_index() == 1 =>
            {
                Err(Fatal("need non-empty snapshot".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Appends, or forwards to the leader, fire and forget.
    pub(super) fn propose(&mut self, kind: EntryKind, data: Bytes) -> Result<(), Dropped> {
        let mut entry = Entry::default();
        entry.entry_type = to_raft_kind(kind);
        entry.data = data;
        let mut message = eraftpb::Message::default();
        message.msg_type = MessageType::MsgPropose;
        message.from = self.node.raft.id;
        message.entries = vec![entry].into();
        self.step_proposal(message)
    }

    /// raft-rs reads the configuration changes it is asked to append, in its own numbering, and
    /// drops those of etcd's that it cannot read. A leader therefore appends them here, by the
    /// rule that raft-rs would have kept: one unapplied change at a time, others become nothing.
    fn step_proposal(&mut self, mut message: eraftpb::Message) -> Result<(), Dropped> {
        let raft = &mut self.node.raft;
        let is_change = |entry: &Entry| entry.entry_type != EntryType::EntryNormal;
        if raft.state != StateRole::Leader || !message.entries.iter().any(is_change) {
            return raft.step(message).map_err(|_| Dropped);
        }
        if raft.prs().get(raft.id).is_none() || raft.lead_transferee.is_some() {
            return Err(Dropped);
        }
        let ignores_pending = self.defect.is(Defect::RaftMultiPendingCc)
            || self.defect.is(Defect::RaftCcBeforeTermCommit) && !raft.commit_to_current_term();
        let mut index = raft.raft_log.last_index();
        for entry in message.entries.iter_mut() {
            index += 1;
            if !is_change(entry) {
                continue;
            }
            if raft.has_pending_conf() && !ignores_pending {
                *entry = Entry::default();
            } else {
                raft.pending_conf_index = index;
            }
        }
        if !raft.append_entry(&mut message.entries) {
            return Err(Dropped);
        }
        raft.bcast_append();
        Ok(())
    }

    /// Asks for a read index under `context`; without a leader nothing comes of it.
    pub(super) fn read_index(&mut self, context: u64) {
        if self.defect.is(Defect::ReadNoTermCommit)
            && self.is_leader()
            && !self.node.raft.commit_to_current_term()
        {
            self.unguarded.push(ReadState { context, index: self.commit() });
            return;
        }
        self.node.read_index(context.to_be_bytes().to_vec());
    }

    /// Tells raft to hand leadership to a voter.
    pub(super) fn transfer_leader(&mut self, to: MemberId) {
        self.node.transfer_leader(to.0);
    }

    pub(super) fn report_unreachable(&mut self, peer: MemberId) {
        self.node.report_unreachable(peer.0);
    }

    /// A staged write is durable.
    pub(super) fn durable(&mut self, durable: LogDurable, now: Monotonic, out: &mut Outputs) {
        let number = durable.number();
        self.note_sync(now, out);
        let mut ready = None;
        while self.outstanding.front().is_some_and(|write| write.number <= number) {
            ready = self.outstanding.pop_front().map(|write| write.ready);
        }
        let mut released = durable.into_held();
        while self.behind.front().is_some_and(|behind| behind.number <= number) {
            let behind = self.behind.pop_front().expect("checked above");
            ready = Some(behind.ready);
            released.extend(behind.messages);
        }
        if let Some(ready) = ready {
            self.persisted(ready);
            self.finish_install();
        }
        if !self.is_stuck(now) {
            let stuck = std::mem::take(&mut self.stuck);
            self.send(stuck, out);
        }
        self.send(released, out);
        if self.tick_waits_for.is_some_and(|waits_for| waits_for <= number) {
            self.tick_waits_for = None;
            self.tick(now);
        }
    }

    /// Tells of a write that took long. One that came while another was under way began after it.
    fn note_sync(&mut self, now: Monotonic, out: &mut Outputs) {
        if let Some(oldest) = self.outstanding.front() {
            let took = now.since(oldest.since.max(self.synced_at));
            if took > SYNC_WARNING {
                let nanos = |span: Duration| quote::duration(span.as_nanos() as i64);
                out.push(Output::LogLine(
                    LogLine::new(Level::Warn, "slow fdatasync")
                        .with("took", nanos(took))
                        .with("expected-duration", nanos(SYNC_WARNING)),
                ));
            }
        }
        self.synced_at = now;
    }

    /// Tells raft what is durable.
    fn persisted(&mut self, ready: u64) {
        if !self.is_removed_leader() {
            self.node.on_persist_ready(ready);
        }
    }

    /// Whether this is a leader that was removed. raft-rs keeps no account of it any more, and dies
    /// of looking for that when something becomes durable or is acknowledged.
    fn is_removed_leader(&self) -> bool {
        let raft = &self.node.raft;
        raft.state == StateRole::Leader && raft.prs().get(raft.id).is_none()
    }

    /// Takes everything that raft has ready: stages writes, sends what may be sent, queues what is
    /// to be applied.
    pub(super) fn pump(&mut self, now: Monotonic, out: &mut Outputs, changes: &mut Changes) {
        changes.read_states.append(&mut self.unguarded);
        if self.defect.is(Defect::RaftCommitOldTerm) {
            self.commit_old_term();
        }
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            changes.soft_state |= ready.ss().is_some();
            if ready.ss().is_some() || ready.hs().is_some_and(|_| ready.must_sync()) {
                out.push(Output::Note(self.role_note()));
            }
            for state in ready.take_read_states() {
                if let Ok(context) = state.request_ctx.as_slice().try_into() {
                    let context = u64::from_be_bytes(context);
                    changes.read_states.push(ReadState { context, index: state.index });
                }
            }
            let mut immediate = ready.take_messages();
            if self.is_stuck(now) {
                self.stuck.extend(addressed(&mut immediate));
            } else {
                self.send(addressed(&mut immediate), out);
            }
            let mut persisted = ready.take_persisted_messages();
            // raft-rs has given its buffer away, and would allocate another.
            self.node.raft.msgs =
                if self.is_leader() { immediate } else { std::mem::take(&mut self.spare) };
            if self.defect.is(Defect::RaftSendBeforePersist) {
                self.send(addressed(&mut persisted), out);
            }
            let hard_state = ready.hs().map(to_hard_state);
            let ballot = self.ballot();
            if let Some(state) = ready.hs() {
                let state = state.clone();
                self.node.mut_store().set_hard_state(state);
            }
            if !ready.snapshot().is_empty() {
                changes.installed = Some(self.stage_install(&ready, now, out));
            }
            let entries = ready.take_entries();
            self.to_apply.extend(ready.take_committed_entries());
            let number = ready.number();
            let sync = ready.must_sync() && !self.skips_sync(ballot);
            let entries: Vec<_> = entries.into_iter().map(into_log_entry).collect();
            self.node.mut_store().append(&entries);
            self.node.advance_append_async(ready);
            let is_nothing = entries.is_empty() && hard_state.is_none();
            let write = LogWrite::Save { entries, hard_state, sync };
            if is_nothing {
                self.follow(number, &mut persisted, out);
            } else if write.is_commit() {
                self.note_commit(write, now, out);
                self.follow(number, &mut persisted, out);
            } else {
                let held = addressed(&mut persisted).collect();
                self.stage(number, write, held, now, out);
            }
            self.spare = persisted;
            if is_nothing {
                continue;
            }
            if self.defect.is(Defect::WalApplyBeforeFsync) {
                self.node.on_persist_ready(number);
            }
        }
        self.sync_commit(now, out);
    }

    /// Term and vote, as they were staged last.
    fn ballot(&self) -> (u64, u64) {
        let state = self.node.store().hard_state();
        (state.term, state.vote)
    }

    /// What a planted defect does: a follower's entries are not synced, if there is no new term or
    /// vote with them.
    fn skips_sync(&self, before: (u64, u64)) -> bool {
        self.defect.is(Defect::WalSkipFsyncFollower) && !self.is_leader() && self.ballot() == before
    }

    /// Stages what is to be written for a ready.
    fn stage(
        &mut self,
        ready: u64,
        write: LogWrite,
        held: Vec<(MemberId, RaftMessage)>,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        self.commit_unsynced = None;
        let number = self.next_write();
        self.outstanding.push_back(Outstanding { number, ready, since: now });
        out.push(Output::Log(Staged::new(number, write, held)));
    }

    /// Hands the disk a write that nothing waits for.
    fn note_commit(&mut self, write: LogWrite, now: Monotonic, out: &mut Outputs) {
        if self.syncs_commit {
            self.commit_unsynced.get_or_insert(now);
        }
        out.push(Output::Log(Staged::new(self.next_write(), write, Vec::new())));
    }

    /// Makes the commit index durable when no other write has. Without a database it stands in for
    /// the consistent index: `--force-new-cluster` keeps what was committed.
    fn sync_commit(&mut self, now: Monotonic, out: &mut Outputs) {
        let is_due = self.commit_unsynced.is_some_and(|at| now.since(at) >= COMMIT_SYNC_AFTER);
        if !is_due || !self.outstanding.is_empty() {
            return;
        }
        self.commit_unsynced = None;
        let hard_state = Some(to_hard_state(self.node.store().hard_state()));
        let entries = Vec::new();
        let write = LogWrite::Save { entries, hard_state, sync: true };
        out.push(Output::Log(Staged::new(self.next_write(), write, Vec::new())));
    }

    fn next_write(&mut self) -> LogNumber {
        let number = LogNumber(self.next_number);
        self.next_number += 1;
        number
    }

    /// What a planted defect does with the entries that an elected leader holds of older terms: it
    /// takes the votes for acknowledgements.
    fn commit_old_term(&mut self) {
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && !raft.commit_to_current_term() {
            let term = raft.term;
            let log = &mut raft.raft_log;
            let is_old = |index: &u64| log.term(*index).is_ok_and(|of| of < term);
            let old = (log.committed..=log.last_index()).take_while(is_old).last();
            log.commit_to(old.unwrap_or(0));
        }
    }

    /// Sends what may be sent now.
    fn send(
        &mut self,
        messages: impl IntoIterator<Item = (MemberId, RaftMessage)>,
        out: &mut Outputs,
    ) {
        for (to, message) in messages {
            if message.0.msg_type == MessageType::MsgSnapshot {
                self.snapshots.push((to, message));
            } else {
                out.push(Output::Send { to, message });
            }
        }
    }

    /// A ready without a write that is synced keeps its place behind the writes before it.
    fn follow(&mut self, ready: u64, held: &mut Vec<eraftpb::Message>, out: &mut Outputs) {
        match self.outstanding.back() {
            Some(last) => {
                let messages = addressed(held).collect();
                self.behind.push_back(Behind { number: last.number, ready, messages });
            }
            None => {
                self.persisted(ready);
                self.send(addressed(held), out);
            }
        }
    }

    /// The next entry to apply.
    pub(super) fn next_to_apply(&mut self) -> Option<Entry> {
        self.to_apply.pop_front()
    }

    pub(super) fn has_to_apply(&self) -> bool {
        !self.to_apply.is_empty()
    }

    /// Everything up to `index` is applied.
    pub(super) fn applied_to(&mut self, index: u64) {
        self.node.advance_apply_to(index);
    }

    /// Applies a configuration change that was committed.
    pub(super) fn apply_conf_change(&mut self, change: &raftpb::ConfChange) -> Result<(), String> {
        let mut single = eraftpb::ConfChange::default();
        single.node_id = change.node_id();
        single.change_type = match change.r#type() {
            raftpb::ConfChangeType::ConfChangeAddNode => eraftpb::ConfChangeType::AddNode,
            raftpb::ConfChangeType::ConfChangeRemoveNode => eraftpb::ConfChangeType::RemoveNode,
            raftpb::ConfChangeType::ConfChangeAddLearnerNode => {
                eraftpb::ConfChangeType::AddLearnerNode
            }
            raftpb::ConfChangeType::ConfChangeUpdateNode => return Ok(()),
        };
        self.node.apply_conf_change(&single).map_err(|error| error.to_string())?;
        self.draw_election_timeout();
        Ok(())
    }

    pub(super) fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    pub(super) fn leader(&self) -> Option<MemberId> {
        let leader = self.node.raft.leader_id;
        (leader != 0).then_some(MemberId(leader))
    }

    pub(super) fn term(&self) -> u64 {
        self.node.raft.term
    }

    pub(super) fn commit(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// How far a peer's log matches this leader's, as far as it knows.
    pub(super) fn matched(&self, peer: MemberId) -> Option<u64> {
        self.node.raft.prs().get(peer.0).map(|progress| progress.matched)
    }

    pub(super) fn is_voter(&self, peer: MemberId) -> bool {
        self.node.raft.prs().conf().voters().contains(peer.0)
    }

    /// Voters and learners, in ascending order.
    pub(super) fn configuration(&self) -> (Vec<MemberId>, Vec<MemberId>) {
        let conf = self.node.raft.prs().conf();
        let mut voters: Vec<_> = conf.voters().ids().iter().map(MemberId).collect();
        let mut learners: Vec<_> = conf.learners().iter().copied().map(MemberId).collect();
        voters.sort_unstable();
        learners.sort_unstable();
        (voters, learners)
    }

    /// The entry at an index of the log.
    pub(super) fn entry(&self, index: u64) -> Option<LogEntry> {
        self.node.store().get(index).cloned()
    }

    pub(super) fn view(&self) -> RaftView {
        let raft = &self.node.raft;
        RaftView {
            term: raft.term,
            vote: raft.vote,
            role: role(raft.state),
            leader: MemberId(raft.leader_id),
            commit: raft.raft_log.committed,
            applied: raft.raft_log.applied,
            last_index: raft.raft_log.last_index(),
        }
    }

    fn role_note(&self) -> Note {
        let view = self.view();
        Note::Role { term: view.term, leader: view.leader, role: view.role }
    }
}
