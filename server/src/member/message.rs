//! Raft messages at the edge: raft-rs's types inside the process, etcd's `raftpb` on the wire.
//!
//! Wire numbers agree except for fields that etcd does not have; those are never sent
//! (contract-cluster.md, section 5.9). Bytes from the network are parsed by prost alone.
// Generated types have private fields, so they are filled in after their default.
#![allow(clippy::field_reassign_with_default)]

use std::hash::{Hash, Hasher};

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb;

use super::id::MemberId;
use super::io::RaftMessage;
use crate::proto::raftpb;
use crate::storage::log::SnapshotMark;

/// A peer sent bytes that are no raft message this member may see.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not protobuf, or a value out of range.
    #[error("raft message cannot be decoded: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A type that never travels, or that this version does not know.
    #[error("raft message of type {0} never travels")]
    Type(i32),
}

/// Over everything that travels, so that equal digests of two runs mean equal messages.
impl Hash for RaftMessage {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let message = &self.0;
        (message.msg_type as i32, message.to, message.from, message.term).hash(state);
        (message.log_term, message.index, message.commit).hash(state);
        (message.reject, message.reject_hint, &message.context[..]).hash(state);
        message.entries.len().hash(state);
        for entry in message.entries.iter() {
            (entry.entry_type as i32, entry.term, entry.index, &entry.data[..]).hash(state);
        }
        if let Some(snapshot) = message.snapshot.as_ref() {
            let metadata = snapshot.get_metadata();
            (metadata.index, metadata.term, &snapshot.data[..]).hash(state);
            let conf_state = metadata.get_conf_state();
            (&conf_state.voters, &conf_state.learners).hash(state);
        }
    }
}

impl RaftMessage {
    /// Who sent it.
    pub fn from(&self) -> MemberId {
        MemberId(self.0.from)
    }

    /// For whom it is.
    pub fn to(&self) -> MemberId {
        MemberId(self.0.to)
    }

    /// What it is, in etcd's words.
    pub fn kind(&self) -> raftpb::MessageType {
        raftpb::MessageType::try_from(self.0.msg_type as i32)
            .expect("raft-rs numbers its messages as etcd does")
    }

    /// The sender's term; 0 for forwarded proposals and reads.
    pub fn term(&self) -> u64 {
        self.0.term
    }

    /// The log index it speaks of.
    pub fn index(&self) -> u64 {
        self.0.index
    }

    /// The commit index it carries.
    pub fn commit(&self) -> u64 {
        self.0.commit
    }

    /// The index of the snapshot that it carries, 0 without one.
    pub fn snapshot_index(&self) -> u64 {
        self.0.get_snapshot().get_metadata().index
    }

    /// Whether it refuses.
    pub fn is_reject(&self) -> bool {
        self.0.reject
    }

    /// Index, term and payload of the entries it carries.
    pub fn entries(&self) -> impl Iterator<Item = (u64, u64, &[u8])> {
        self.0.entries.iter().map(|entry| (entry.index, entry.term, &entry.data[..]))
    }

    /// The context: a read request's id, or the mark of a forced campaign.
    pub fn context(&self) -> &[u8] {
        &self.0.context
    }

    /// Where the snapshot that it carries stands, if it carries one.
    pub fn snapshot(&self) -> Option<SnapshotMark> {
        (self.snapshot_index() > 0).then(|| RaftMessage::mark_of(self.0.get_snapshot()))
    }

    pub(super) fn mark_of(snapshot: &eraftpb::Snapshot) -> SnapshotMark {
        let metadata = snapshot.get_metadata();
        SnapshotMark {
            index: metadata.index,
            term: metadata.term,
            conf_state: Some(conf_state_to_raftpb(metadata.get_conf_state())),
        }
    }

    /// About how many bytes it takes on the wire.
    pub fn wire_bytes(&self) -> usize {
        48 + self.0.entries.iter().map(|entry| entry.data.len() + 16).sum::<usize>()
            + self.0.context.len()
    }

    /// As etcd's `raftpb.Message`, with every scalar present as writers up to 3.6 do.
    pub fn to_raftpb(&self) -> raftpb::Message {
        let message = &self.0;
        raftpb::Message {
            r#type: Some(message.msg_type as i32),
            to: Some(message.to),
            from: Some(message.from),
            term: Some(message.term),
            log_term: Some(message.log_term),
            index: Some(message.index),
            entries: message.entries.iter().map(entry_to_raftpb).collect(),
            commit: Some(message.commit),
            snapshot: Some(snapshot_to_raftpb(message.get_snapshot())),
            reject: Some(message.reject),
            reject_hint: Some(message.reject_hint),
            context: (!message.context.is_empty()).then(|| message.context.clone()),
            vote: None,
            responses: Vec::new(),
        }
    }

    /// From etcd's form.
    pub fn from_raftpb(message: raftpb::Message) -> Result<RaftMessage, MessageError> {
        let mut result = eraftpb::Message::default();
        result.msg_type = message_type(message.r#type())?;
        result.to = message.to();
        result.from = message.from();
        result.term = message.term();
        result.log_term = message.log_term();
        result.index = message.index();
        result.commit = message.commit();
        result.reject = message.reject();
        result.reject_hint = message.reject_hint();
        result.context = message.context.unwrap_or_default();
        if let Some(snapshot) = message.snapshot
            && snapshot.metadata.as_ref().is_some_and(|metadata| metadata.index() > 0)
        {
            result.set_snapshot(snapshot_from_raftpb(snapshot));
        }
        result.entries =
            message.entries.into_iter().map(entry_from_raftpb).collect::<Vec<_>>().into();
        Ok(RaftMessage(Box::new(result)))
    }

    /// The protobuf bytes that etcd reads.
    pub fn encode(&self) -> Vec<u8> {
        self.to_raftpb().encode_to_vec()
    }

    /// From protobuf bytes that etcd wrote.
    pub fn decode(bytes: Bytes) -> Result<RaftMessage, MessageError> {
        RaftMessage::from_raftpb(raftpb::Message::decode(bytes)?)
    }
}

fn message_type(kind: raftpb::MessageType) -> Result<eraftpb::MessageType, MessageError> {
    use eraftpb::MessageType as To;
    use raftpb::MessageType as From;
    Ok(match kind {
        From::MsgProp => To::MsgPropose,
        From::MsgApp => To::MsgAppend,
        From::MsgAppResp => To::MsgAppendResponse,
        From::MsgVote => To::MsgRequestVote,
        From::MsgVoteResp => To::MsgRequestVoteResponse,
        From::MsgSnap => To::MsgSnapshot,
        From::MsgHeartbeat => To::MsgHeartbeat,
        From::MsgHeartbeatResp => To::MsgHeartbeatResponse,
        From::MsgTransferLeader => To::MsgTransferLeader,
        From::MsgTimeoutNow => To::MsgTimeoutNow,
        From::MsgReadIndex => To::MsgReadIndex,
        From::MsgReadIndexResp => To::MsgReadIndexResp,
        From::MsgPreVote => To::MsgRequestPreVote,
        From::MsgPreVoteResp => To::MsgRequestPreVoteResponse,
        other => return Err(MessageError::Type(other as i32)),
    })
}

fn entry_to_raftpb(entry: &eraftpb::Entry) -> raftpb::Entry {
    raftpb::Entry {
        r#type: Some(entry.entry_type as i32),
        term: Some(entry.term),
        index: Some(entry.index),
        data: (!entry.data.is_empty()).then(|| entry.data.clone()),
    }
}

fn entry_from_raftpb(entry: raftpb::Entry) -> eraftpb::Entry {
    let mut result = eraftpb::Entry::default();
    result.entry_type = match entry.r#type() {
        raftpb::EntryType::EntryNormal => eraftpb::EntryType::EntryNormal,
        raftpb::EntryType::EntryConfChange => eraftpb::EntryType::EntryConfChange,
        raftpb::EntryType::EntryConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    };
    result.term = entry.term();
    result.index = entry.index();
    result.data = entry.data.unwrap_or_default();
    result
}

fn snapshot_to_raftpb(snapshot: &eraftpb::Snapshot) -> raftpb::Snapshot {
    let metadata = snapshot.get_metadata();
    raftpb::Snapshot {
        data: (!snapshot.data.is_empty()).then(|| snapshot.data.clone()),
        metadata: Some(raftpb::SnapshotMetadata {
            conf_state: Some(conf_state_to_raftpb(metadata.get_conf_state())),
            index: Some(metadata.index),
            term: Some(metadata.term),
        }),
    }
}

fn snapshot_from_raftpb(snapshot: raftpb::Snapshot) -> eraftpb::Snapshot {
    let mut result = eraftpb::Snapshot::default();
    result.data = snapshot.data.unwrap_or_default();
    let metadata = snapshot.metadata.unwrap_or_default();
    let target = result.mut_metadata();
    target.index = metadata.index();
    target.term = metadata.term();
    target.set_conf_state(conf_state_from_raftpb(metadata.conf_state.unwrap_or_default()));
    result
}

fn conf_state_to_raftpb(state: &eraftpb::ConfState) -> raftpb::ConfState {
    raftpb::ConfState {
        voters: state.voters.clone(),
        learners: state.learners.clone(),
        voters_outgoing: state.voters_outgoing.clone(),
        learners_next: state.learners_next.clone(),
        auto_leave: Some(state.auto_leave),
    }
}

pub(super) fn conf_state_from_raftpb(state: raftpb::ConfState) -> eraftpb::ConfState {
    let mut result = eraftpb::ConfState::default();
    result.auto_leave = state.auto_leave();
    result.voters = state.voters;
    result.learners = state.learners;
    result.voters_outgoing = state.voters_outgoing;
    result.learners_next = state.learners_next;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire() {
        let mut message = eraftpb::Message::default();
        message.msg_type = eraftpb::MessageType::MsgAppend;
        (message.to, message.from, message.term) = (1, 2, 3);
        (message.log_term, message.index, message.commit) = (2, 7, 6);
        let mut entry = eraftpb::Entry::default();
        (entry.term, entry.index) = (3, 8);
        entry.data = Bytes::from_static(b"payload");
        message.entries = vec![entry].into();
        let message = RaftMessage(Box::new(message));
        let back = RaftMessage::decode(message.encode().into()).expect("our own bytes decode");
        assert_eq!(back, message);
    }

    #[test]
    fn a_link_heartbeat_of_etcd_decodes() {
        let bytes = [0x08, 0x08];
        let message = RaftMessage::decode(Bytes::copy_from_slice(&bytes)).expect("valid");
        assert_eq!(message.kind(), raftpb::MessageType::MsgHeartbeat);
        assert_eq!(message.to(), MemberId(0));
    }

    #[test]
    fn local_types_are_refused() {
        for kind in [0, 1, 10, 11, 12, 19, 20, 21, 22, 23] {
            let bytes = [0x08, kind];
            let error = RaftMessage::decode(Bytes::copy_from_slice(&bytes)).expect_err("local");
            assert!(matches!(error, MessageError::Type(refused) if refused == i32::from(kind)));
        }
    }
}
