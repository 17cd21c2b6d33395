//! Committed log entries as commands of the record.

use bytes::Bytes;
use detcd::proto::{etcdserverpb as pb, raftpb, v2pb};
use detsim_reports::record::{
    AlarmEntry, Blob, Call, Command, Compare, DeleteRange, MemberEntry, MembershipChange, Operator,
    Put, Range, SortOrder, SortTarget, Target, Txn, TxnOp,
};
use prost::Message as _;
use serde::Deserialize;

use super::reply::alarm;

/// A decoded entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// What it does.
    pub command: Command,
    /// The request ID in its header; 0 when it has none.
    pub id: u64,
}

/// A normal entry: nothing, an `InternalRaftRequest`, or a v2 request of an old member.
pub fn decode_normal(data: &Bytes) -> Decoded {
    if data.is_empty() {
        return Decoded { command: Command::TermStart, id: 0 };
    }
    let Ok(request) = pb::InternalRaftRequest::decode(data.clone()) else {
        return decode_v2(data);
    };
    let header_id = request.header.as_ref().map_or(0, |header| header.id);
    let id = if request.id != 0 { request.id } else { header_id };
    Decoded { command: command(request), id }
}

fn decode_v2(data: &Bytes) -> Decoded {
    match v2pb::Request::decode(data.clone()) {
        Ok(request) => {
            let command = v2_attributes(&request).unwrap_or_else(|| {
                let what = format!("v2 {} {}", request.method(), request.path());
                Command::Internal { what }
            });
            Decoded { command, id: request.id() }
        }
        Err(error) => {
            Decoded { command: Command::Internal { what: format!("unreadable: {error}") }, id: 0 }
        }
    }
}

/// What a member publishes of itself in a cluster with old members.
fn v2_attributes(request: &v2pb::Request) -> Option<Command> {
    #[derive(Deserialize)]
    struct Attributes {
        #[serde(default)]
        name: String,
        #[serde(rename = "clientURLs", default)]
        client_urls: Option<Vec<String>>,
    }
    let member = request.path().strip_prefix("/0/members/")?.strip_suffix("/attributes")?;
    let member = u64::from_str_radix(member, 16).ok()?;
    let Attributes { name, client_urls } = serde_json::from_str(request.val()).ok()?;
    Some(Command::Attributes { member, name, client_urls: client_urls.unwrap_or_default() })
}

/// The context of a configuration change: the member that it is about.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: Option<Vec<String>>,
    #[serde(rename = "isLearner")]
    is_learner: bool,
    name: String,
    #[serde(rename = "clientURLs")]
    client_urls: Option<Vec<String>>,
    #[serde(rename = "isPromote")]
    is_promote: bool,
}

/// What a configuration change asks for; `None` where its context does not tell.
fn membership_change(change: &raftpb::ConfChange) -> Option<MembershipChange> {
    use raftpb::ConfChangeType as Kind;
    let member = change.node_id();
    if change.r#type() == Kind::ConfChangeRemoveNode {
        return Some(MembershipChange::Remove(member));
    }
    let context = serde_json::from_slice(change.context.as_deref()?);
    let context: Context = context.ok().filter(|context: &Context| context.id == member)?;
    let peer_urls = context.peer_urls.unwrap_or_default();
    Some(match change.r#type() {
        Kind::ConfChangeUpdateNode => MembershipChange::Update { member, peer_urls },
        _ if context.is_promote => MembershipChange::Promote(member),
        _ => MembershipChange::Add(MemberEntry {
            id: member,
            name: context.name,
            peer_urls,
            client_urls: context.client_urls.unwrap_or_default(),
            is_learner: context.is_learner,
        }),
    })
}

/// A configuration change in words, and what it asks for.
pub fn decode_conf_change(data: &Bytes) -> Decoded {
    use raftpb::ConfChangeType as Kind;
    let change = match raftpb::ConfChange::decode(data.clone()) {
        Ok(change) => change,
        Err(error) => {
            let what = format!("unreadable: {error}");
            return Decoded { command: Command::ConfChange { what, change: None }, id: 0 };
        }
    };
    let verb = match change.r#type() {
        Kind::ConfChangeAddNode => "add",
        Kind::ConfChangeRemoveNode => "remove",
        Kind::ConfChangeUpdateNode => "update",
        Kind::ConfChangeAddLearnerNode => "add learner",
    };
    let what = format!("{verb} {:x}", change.node_id());
    let command = Command::ConfChange { what, change: membership_change(&change) };
    Decoded { command, id: change.id() }
}

fn command(request: pb::InternalRaftRequest) -> Command {
    if let Some(put) = request.put {
        return Command::Client(Call::Put(put_call(put)));
    }
    if let Some(txn) = request.txn {
        return Command::Client(Call::Txn(Box::new(txn_call(txn))));
    }
    if let Some(delete) = request.delete_range {
        return Command::Client(Call::DeleteRange(delete_call(delete)));
    }
    if let Some(range) = request.range {
        return Command::Client(Call::Range(range_call(*range)));
    }
    if let Some(compact) = request.compaction {
        let pb::CompactionRequest { revision, physical } = compact;
        return Command::Client(Call::Compact { revision, physical });
    }
    if let Some(grant) = request.lease_grant {
        return Command::Client(Call::LeaseGrant { id: grant.id, ttl_s: grant.ttl });
    }
    if let Some(revoke) = request.lease_revoke {
        return Command::Client(Call::LeaseRevoke { id: revoke.id });
    }
    if let Some(call) = request.alarm.as_ref().and_then(alarm_call) {
        return Command::Client(call);
    }
    if let Some(set) = request.cluster_member_attr_set {
        let attributes = set.member_attributes.unwrap_or_default();
        let (name, client_urls) = (attributes.name, attributes.client_urls);
        return Command::Attributes { member: set.member_id, name, client_urls };
    }
    Command::Internal { what: internal(&request) }
}

fn alarm_call(request: &pb::AlarmRequest) -> Option<Call> {
    use pb::alarm_request::AlarmAction;
    let entry = || {
        let alarm = alarm(request.alarm())?;
        Some(AlarmEntry { member: request.member_id, alarm })
    };
    match request.action() {
        AlarmAction::Get => Some(Call::AlarmList),
        AlarmAction::Activate => entry().map(Call::AlarmRaise),
        AlarmAction::Deactivate => entry().map(Call::AlarmDisarm),
    }
}

fn internal(request: &pb::InternalRaftRequest) -> String {
    if let Some(version) = &request.cluster_version_set {
        return format!("cluster version {}", version.ver);
    }
    if let Some(downgrade) = &request.downgrade_info_set {
        return format!("downgrade to {}, enabled {}", downgrade.ver, downgrade.enabled);
    }
    if let Some(alarm) = &request.alarm {
        let (action, kind) = (alarm.action, alarm.alarm);
        return format!("alarm {kind} of {:x}, action {action}", alarm.member_id);
    }
    if let Some(checkpoint) = &request.lease_checkpoint {
        return format!("checkpoint of {} leases", checkpoint.checkpoints.len());
    }
    "request of another service".to_owned()
}

fn put_call(put: pb::PutRequest) -> Put {
    Put {
        key: Blob(put.key),
        value: Blob(put.value),
        lease: put.lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

fn delete_call(delete: pb::DeleteRangeRequest) -> DeleteRange {
    DeleteRange {
        key: Blob(delete.key),
        range_end: Blob(delete.range_end),
        prev_kv: delete.prev_kv,
    }
}

fn range_call(range: pb::RangeRequest) -> Range {
    use pb::range_request as wire;
    let sort_order = match range.sort_order() {
        wire::SortOrder::None => SortOrder::None,
        wire::SortOrder::Ascend => SortOrder::Ascend,
        wire::SortOrder::Descend => SortOrder::Descend,
    };
    let sort_target = match range.sort_target() {
        wire::SortTarget::Key => SortTarget::Key,
        wire::SortTarget::Version => SortTarget::Version,
        wire::SortTarget::Create => SortTarget::Create,
        wire::SortTarget::Mod => SortTarget::Mod,
        wire::SortTarget::Value => SortTarget::Value,
    };
    Range {
        key: Blob(range.key),
        range_end: Blob(range.range_end),
        limit: range.limit,
        revision: range.revision,
        sort_order,
        sort_target,
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
        min_mod_revision: range.min_mod_revision,
        max_mod_revision: range.max_mod_revision,
        min_create_revision: range.min_create_revision,
        max_create_revision: range.max_create_revision,
    }
}

fn txn_call(txn: pb::TxnRequest) -> Txn {
    Txn {
        compare: txn.compare.into_iter().filter_map(compare).collect(),
        success: txn.success.into_iter().filter_map(txn_op).collect(),
        failure: txn.failure.into_iter().filter_map(txn_op).collect(),
    }
}

fn txn_op(op: pb::RequestOp) -> Option<TxnOp> {
    use pb::request_op::Request as Wire;
    Some(match op.request? {
        Wire::RequestRange(range) => TxnOp::Range(range_call(range)),
        Wire::RequestPut(put) => TxnOp::Put(put_call(put)),
        Wire::RequestDeleteRange(delete) => TxnOp::DeleteRange(delete_call(delete)),
        Wire::RequestTxn(txn) => TxnOp::Txn(txn_call(*txn)),
    })
}

fn compare(compare: pb::Compare) -> Option<Compare> {
    use pb::compare::{CompareResult, TargetUnion};
    let operator = match compare.result() {
        CompareResult::Equal => Operator::Equal,
        CompareResult::Greater => Operator::Greater,
        CompareResult::Less => Operator::Less,
        CompareResult::NotEqual => Operator::NotEqual,
    };
    let target = match compare.target_union? {
        TargetUnion::Version(version) => Target::Version(version),
        TargetUnion::CreateRevision(revision) => Target::Create(revision),
        TargetUnion::ModRevision(revision) => Target::Mod(revision),
        TargetUnion::Value(value) => Target::Value(Blob(value)),
        TargetUnion::Lease(lease) => Target::Lease(lease),
    };
    let (key, range_end) = (Blob(compare.key), Blob(compare.range_end));
    Some(Compare { key, range_end, operator, target })
}
