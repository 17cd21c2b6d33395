//! Calls as etcd's requests.

use detcd::member::io::{Request, StreamKind, StreamMessage};
use detcd::proto::etcdserverpb as pb;
use detsim_reports::record::{
    Alarm, AlarmEntry, Call, Compare, DeleteRange, DowngradeAction, Operator, Put, Range,
    SortOrder, SortTarget, Target, Txn, TxnOp, Watch,
};

/// How a call reaches a member.
#[derive(Debug)]
pub enum Shape {
    /// One request, one answer.
    Unary(Box<Request>),
    /// A stream and its first message.
    Stream(StreamKind, Box<StreamMessage>),
}

/// Whether a call that failed without an answer surely changed nothing.
pub fn is_read(call: &Call) -> bool {
    match call {
        Call::Range(_)
        | Call::Watch(_)
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseLeases
        | Call::MemberList { .. }
        | Call::Status
        | Call::HashKv { .. }
        | Call::AlarmList
        | Call::Snapshot { .. } => true,
        Call::Txn(txn) => is_read_txn(txn),
        Call::Put(_)
        | Call::DeleteRange(_)
        | Call::Compact { .. }
        | Call::LeaseGrant { .. }
        | Call::LeaseRevoke { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::MemberAdd { .. }
        | Call::MemberRemove { .. }
        | Call::MemberUpdate { .. }
        | Call::MemberPromote { .. }
        | Call::MoveLeader { .. }
        | Call::AlarmRaise(_)
        | Call::AlarmDisarm(_)
        | Call::Defragment => false,
        Call::Downgrade { action, .. } => *action == DowngradeAction::Validate,
    }
}

fn is_read_txn(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match op {
        TxnOp::Range(_) => true,
        TxnOp::Put(_) | TxnOp::DeleteRange(_) => false,
        TxnOp::Txn(nested) => is_read_txn(nested),
    })
}

/// A call as it leaves a client.
pub fn shape(call: &Call) -> Shape {
    let request = match call {
        Call::Range(range) => Request::Range(range_request(range)),
        Call::Put(put) => Request::Put(put_request(put)),
        Call::DeleteRange(delete) => Request::DeleteRange(delete_request(delete)),
        Call::Txn(txn) => Request::Txn(txn_request(txn)),
        &Call::Compact { revision, physical } => {
            Request::Compact(pb::CompactionRequest { revision, physical })
        }
        &Call::LeaseGrant { id, ttl_s } => {
            Request::LeaseGrant(pb::LeaseGrantRequest { id, ttl: ttl_s })
        }
        &Call::LeaseRevoke { id } => Request::LeaseRevoke(pb::LeaseRevokeRequest { id }),
        &Call::LeaseTimeToLive { id, keys } => {
            Request::LeaseTimeToLive(pb::LeaseTimeToLiveRequest { id, keys })
        }
        Call::LeaseLeases => Request::LeaseLeases(pb::LeaseLeasesRequest {}),
        Call::MemberAdd { peer_urls, is_learner } => Request::MemberAdd(pb::MemberAddRequest {
            peer_ur_ls: peer_urls.clone(),
            is_learner: *is_learner,
        }),
        &Call::MemberRemove { id } => Request::MemberRemove(pb::MemberRemoveRequest { id }),
        Call::MemberUpdate { id, peer_urls } => {
            let peer_ur_ls = peer_urls.clone();
            Request::MemberUpdate(pb::MemberUpdateRequest { id: *id, peer_ur_ls })
        }
        &Call::MemberPromote { id } => Request::MemberPromote(pb::MemberPromoteRequest { id }),
        &Call::MemberList { linearizable } => {
            Request::MemberList(pb::MemberListRequest { linearizable })
        }
        &Call::MoveLeader { target } => {
            Request::MoveLeader(pb::MoveLeaderRequest { target_id: target })
        }
        Call::Status => Request::Status(pb::StatusRequest {}),
        &Call::HashKv { revision } => Request::HashKv(pb::HashKvRequest { revision }),
        Call::AlarmList => Request::Alarm(pb::AlarmRequest::default()),
        Call::AlarmRaise(entry) => alarm_request(*entry, pb::alarm_request::AlarmAction::Activate),
        Call::AlarmDisarm(entry) => {
            alarm_request(*entry, pb::alarm_request::AlarmAction::Deactivate)
        }
        Call::Defragment => Request::Defragment(pb::DefragmentRequest {}),
        Call::Downgrade { action, version } => Request::Downgrade(pb::DowngradeRequest {
            action: *action as i32,
            version: version.clone(),
        }),
        Call::Snapshot { .. } => {
            let message = StreamMessage::Snapshot(pb::SnapshotRequest {});
            return Shape::Stream(StreamKind::Snapshot, Box::new(message));
        }
        &Call::LeaseKeepAlive { id } => {
            let message = StreamMessage::KeepAlive(pb::LeaseKeepAliveRequest { id });
            return Shape::Stream(StreamKind::KeepAlive, Box::new(message));
        }
        Call::Watch(watch) => {
            let message = StreamMessage::Watch(watch_request(watch));
            return Shape::Stream(StreamKind::Watch, Box::new(message));
        }
    };
    Shape::Unary(Box::new(request))
}

fn alarm_request(entry: AlarmEntry, action: pb::alarm_request::AlarmAction) -> Request {
    let alarm = match entry.alarm {
        Alarm::NoSpace => pb::AlarmType::Nospace,
        Alarm::Corrupt => pb::AlarmType::Corrupt,
    };
    Request::Alarm(pb::AlarmRequest {
        action: action as i32,
        member_id: entry.member,
        alarm: alarm as i32,
    })
}

fn range_request(range: &Range) -> pb::RangeRequest {
    use pb::range_request as wire;
    let sort_order = match range.sort_order {
        SortOrder::None => wire::SortOrder::None,
        SortOrder::Ascend => wire::SortOrder::Ascend,
        SortOrder::Descend => wire::SortOrder::Descend,
    };
    let sort_target = match range.sort_target {
        SortTarget::Key => wire::SortTarget::Key,
        SortTarget::Version => wire::SortTarget::Version,
        SortTarget::Create => wire::SortTarget::Create,
        SortTarget::Mod => wire::SortTarget::Mod,
        SortTarget::Value => wire::SortTarget::Value,
    };
    pb::RangeRequest {
        key: range.key.0.clone(),
        range_end: range.range_end.0.clone(),
        limit: range.limit,
        revision: range.revision,
        sort_order: sort_order as i32,
        sort_target: sort_target as i32,
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
        min_mod_revision: range.min_mod_revision,
        max_mod_revision: range.max_mod_revision,
        min_create_revision: range.min_create_revision,
        max_create_revision: range.max_create_revision,
    }
}

fn put_request(put: &Put) -> pb::PutRequest {
    pb::PutRequest {
        key: put.key.0.clone(),
        value: put.value.0.clone(),
        lease: put.lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

fn delete_request(delete: &DeleteRange) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: delete.key.0.clone(),
        range_end: delete.range_end.0.clone(),
        prev_kv: delete.prev_kv,
    }
}

fn txn_request(txn: &Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compare.iter().map(compare).collect(),
        success: txn.success.iter().map(request_op).collect(),
        failure: txn.failure.iter().map(request_op).collect(),
    }
}

fn request_op(op: &TxnOp) -> pb::RequestOp {
    use pb::request_op::Request as Wire;
    pb::RequestOp {
        request: Some(match op {
            TxnOp::Range(range) => Wire::RequestRange(range_request(range)),
            TxnOp::Put(put) => Wire::RequestPut(put_request(put)),
            TxnOp::DeleteRange(delete) => Wire::RequestDeleteRange(delete_request(delete)),
            TxnOp::Txn(txn) => Wire::RequestTxn(Box::new(txn_request(txn))),
        }),
    }
}

fn compare(compare: &Compare) -> pb::Compare {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let result = match compare.operator {
        Operator::Equal => CompareResult::Equal,
        Operator::Greater => CompareResult::Greater,
        Operator::Less => CompareResult::Less,
        Operator::NotEqual => CompareResult::NotEqual,
    };
    let (target, union) = match &compare.target {
        Target::Version(version) => (CompareTarget::Version, TargetUnion::Version(*version)),
        Target::Create(revision) => (CompareTarget::Create, TargetUnion::CreateRevision(*revision)),
        Target::Mod(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(*revision)),
        Target::Value(value) => (CompareTarget::Value, TargetUnion::Value(value.0.clone())),
        Target::Lease(lease) => (CompareTarget::Lease, TargetUnion::Lease(*lease)),
    };
    pb::Compare {
        result: result as i32,
        target: target as i32,
        key: compare.key.0.clone(),
        range_end: compare.range_end.0.clone(),
        target_union: Some(union),
    }
}

fn watch_request(watch: &Watch) -> pb::WatchRequest {
    use pb::watch_create_request::FilterType;
    let mut filters = Vec::new();
    if watch.no_put {
        filters.push(FilterType::Noput as i32);
    }
    if watch.no_delete {
        filters.push(FilterType::Nodelete as i32);
    }
    let create = pb::WatchCreateRequest {
        key: watch.key.0.clone(),
        range_end: watch.range_end.0.clone(),
        start_revision: watch.start_revision,
        progress_notify: watch.progress_notify,
        filters,
        prev_kv: watch.prev_kv,
        watch_id: 0,
        fragment: watch.fragment,
    };
    pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) }
}
