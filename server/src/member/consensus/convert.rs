//! Between raft-rs's types and those of the log and of etcd.
// Generated types have private fields, so they are filled in after their default.
#![allow(clippy::field_reassign_with_default)]

use raft::StateRole;
use raft::eraftpb::{self, Entry, EntryType};

use crate::member::id::MemberId;
use crate::member::io::{RaftMessage, Role};
use crate::member::message::conf_state_from_raftpb;
use crate::storage::log::{EntryKind, HardState, LogEntry, SnapshotMark};

pub(super) fn role(state: StateRole) -> Role {
    match state {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}

pub(super) fn addressed(
    messages: &mut Vec<eraftpb::Message>,
) -> impl Iterator<Item = (MemberId, RaftMessage)> {
    messages.drain(..).map(|message| (MemberId(message.to), RaftMessage(Box::new(message))))
}

pub(super) fn to_raft_kind(kind: EntryKind) -> EntryType {
    match kind {
        EntryKind::Normal => EntryType::EntryNormal,
        EntryKind::ConfChange => EntryType::EntryConfChange,
    }
}

pub(in crate::member) fn to_raft_entry(entry: &LogEntry) -> Entry {
    let mut result = Entry::default();
    result.entry_type = to_raft_kind(entry.kind);
    result.term = entry.term;
    result.index = entry.index;
    result.data = entry.data.clone();
    result
}

pub(super) fn to_hard_state(state: &eraftpb::HardState) -> HardState {
    HardState { term: state.term, vote: state.vote, commit: state.commit }
}

pub(in crate::member) fn to_log_entry(entry: &Entry) -> LogEntry {
    into_log_entry(entry.clone())
}

pub(super) fn into_log_entry(entry: Entry) -> LogEntry {
    LogEntry {
        kind: match entry.entry_type {
            EntryType::EntryNormal => EntryKind::Normal,
            _ => EntryKind::ConfChange,
        },
        term: entry.term,
        index: entry.index,
        data: entry.data,
    }
}

pub(super) fn to_raft_hard_state(state: HardState) -> eraftpb::HardState {
    let mut result = eraftpb::HardState::default();
    result.term = state.term;
    result.vote = state.vote;
    result.commit = state.commit;
    result
}

pub(super) fn to_raft_snapshot(mark: &SnapshotMark) -> eraftpb::Snapshot {
    let mut result = eraftpb::Snapshot::default();
    let metadata = result.mut_metadata();
    metadata.index = mark.index;
    metadata.term = mark.term;
    if let Some(state) = mark.conf_state.clone() {
        metadata.set_conf_state(conf_state_from_raftpb(state));
    }
    result
}
