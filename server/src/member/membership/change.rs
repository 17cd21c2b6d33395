//! A change of the member set, and its form in a raft entry.

use bytes::Bytes;
use thiserror::Error;

use super::json;
use crate::member::id::MemberId;
use crate::member::io::MemberInfo;
use crate::proto::raftpb::{ConfChange, ConfChangeType};

/// A change of the member set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A new member: a voter, or a learner.
    Add(MemberInfo),
    /// A learner becomes a voter.
    Promote(MemberId),
    /// A member goes, for good.
    Remove(MemberId),
    /// A member is reached elsewhere.
    Update {
        /// The member.
        id: MemberId,
        /// Its new peer URLs.
        peer_urls: Vec<String>,
    },
}

/// A committed configuration change that no etcd writes: the log is damaged or foreign.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// Its context is not a member.
    #[error("failed to unmarshal confChangeContext")]
    Context(#[source] serde_json::Error),
    /// Entry and context name different members.
    #[error("got different member ID")]
    DifferentMember {
        /// In the entry.
        entry: MemberId,
        /// In the context.
        context: MemberId,
    },
    /// Its type has no meaning.
    #[error("unknown ConfChange type")]
    UnknownType(i32),
}

impl MemberChange {
    /// Whom it is about.
    pub fn id(&self) -> MemberId {
        match self {
            MemberChange::Add(member) => member.id,
            MemberChange::Promote(id) | MemberChange::Remove(id) => *id,
            MemberChange::Update { id, .. } => *id,
        }
    }

    /// The configuration change to propose, with all fields set, as writers up to 3.6 do.
    pub fn encode(&self, request_id: u64) -> ConfChange {
        let bare = |id| MemberInfo { id, ..MemberInfo::default() };
        let (kind, context) = match self {
            MemberChange::Add(member) if member.is_learner => {
                (ConfChangeType::ConfChangeAddLearnerNode, Some(json::encode_member(member)))
            }
            MemberChange::Add(member) => {
                (ConfChangeType::ConfChangeAddNode, Some(json::encode_member(member)))
            }
            MemberChange::Promote(id) => {
                (ConfChangeType::ConfChangeAddNode, Some(json::encode(&bare(*id), true)))
            }
            MemberChange::Remove(_) => (ConfChangeType::ConfChangeRemoveNode, None),
            MemberChange::Update { id, peer_urls } => {
                let member = MemberInfo { peer_urls: peer_urls.clone(), ..bare(*id) };
                (ConfChangeType::ConfChangeUpdateNode, Some(json::encode_member(&member)))
            }
        };
        ConfChange {
            id: Some(request_id),
            r#type: Some(kind as i32),
            node_id: Some(self.id().0),
            context: context.map(Bytes::from),
        }
    }

    /// Reads a committed configuration change.
    pub fn decode(change: &ConfChange) -> Result<MemberChange, ChangeError> {
        let entry = MemberId(change.node_id.unwrap_or_default());
        let kind = change.r#type.unwrap_or_default();
        let kind = ConfChangeType::try_from(kind).map_err(|_| ChangeError::UnknownType(kind))?;
        if kind == ConfChangeType::ConfChangeRemoveNode {
            return Ok(MemberChange::Remove(entry));
        }
        let context = change.context.as_deref().unwrap_or_default();
        let (member, is_promote) = json::decode(context).map_err(ChangeError::Context)?;
        if member.id != entry {
            return Err(ChangeError::DifferentMember { entry, context: member.id });
        }
        Ok(match kind {
            ConfChangeType::ConfChangeUpdateNode => {
                MemberChange::Update { id: entry, peer_urls: member.peer_urls }
            }
            _ if is_promote => MemberChange::Promote(entry),
            _ => MemberChange::Add(member),
        })
    }
}
