//! Answers and watch messages as the history records them.

use detcd::member::io::Response;
use detcd::proto::{etcdserverpb as pb, mvccpb};
use detsim_reports::record::{
    Alarm, AlarmEntry, Blob, Body, Event, Header, KeyValue, MemberEntry, RangeReply, Reply,
    TxnOpReply, TxnReply, WatchMessage,
};

/// A unary answer. `None` for answers to requests that no call makes.
pub fn reply(response: Response) -> Option<Reply> {
    let (header, body) = match response {
        Response::Range(mut r) => (r.header.take(), Body::Range(range_reply(r))),
        Response::Put(r) => (r.header, Body::Put { prev_kv: r.prev_kv.map(key_value) }),
        Response::DeleteRange(r) => {
            let prev_kvs = r.prev_kvs.into_iter().map(key_value).collect();
            (r.header, Body::DeleteRange { deleted: r.deleted, prev_kvs })
        }
        Response::Txn(mut r) => (r.header.take(), Body::Txn(txn_reply(r))),
        Response::Compact(r) => (r.header, Body::Compact),
        Response::LeaseGrant(r) => (r.header, Body::LeaseGrant { id: r.id, ttl_s: r.ttl }),
        Response::LeaseRevoke(r) => (r.header, Body::LeaseRevoke),
        Response::LeaseTimeToLive(r) => {
            let body = Body::LeaseTimeToLive {
                id: r.id,
                ttl_s: r.ttl,
                granted_ttl_s: r.granted_ttl,
                keys: r.keys.into_iter().map(Blob).collect(),
            };
            (r.header, body)
        }
        Response::LeaseLeases(r) => {
            (r.header, Body::LeaseLeases { ids: r.leases.iter().map(|lease| lease.id).collect() })
        }
        Response::MemberAdd(r) => {
            let added = r.member.map(|member| member.id);
            (r.header, Body::Members { added, members: members(r.members) })
        }
        Response::MemberRemove(r) => (r.header, member_list(r.members)),
        Response::MemberUpdate(r) => (r.header, member_list(r.members)),
        Response::MemberPromote(r) => (r.header, member_list(r.members)),
        Response::MemberList(r) => (r.header, member_list(r.members)),
        Response::MoveLeader(r) => (r.header, Body::MoveLeader),
        Response::Status(r) => {
            let body = Body::Status {
                leader: r.leader,
                raft_index: r.raft_index,
                raft_applied_index: r.raft_applied_index,
                is_learner: r.is_learner,
            };
            (r.header, body)
        }
        Response::HashKv(r) => {
            let body = Body::HashKv {
                hash: r.hash,
                compact_revision: r.compact_revision,
                hash_revision: r.hash_revision,
            };
            (r.header, body)
        }
        Response::Alarm(r) => (r.header, Body::Alarms(alarms(&r.alarms))),
        Response::Defragment(r) => (r.header, Body::Defragment),
        Response::Downgrade(r) => (r.header, Body::Downgrade { version: r.version }),
        Response::Hash(_)
        | Response::Auth(_)
        | Response::Lock(_)
        | Response::Unlock(_)
        | Response::Campaign(_)
        | Response::Proclaim(_)
        | Response::Leader(_)
        | Response::Resign(_) => return None,
    };
    Some(Reply { header: self::header(header), body })
}

fn alarms(active: &[pb::AlarmMember]) -> Vec<AlarmEntry> {
    let known = active.iter().filter_map(|active| {
        Some(AlarmEntry { member: active.member_id, alarm: alarm(active.alarm())? })
    });
    known.collect()
}

/// An alarm, if it is one.
pub(super) fn alarm(kind: pb::AlarmType) -> Option<Alarm> {
    match kind {
        pb::AlarmType::None => None,
        pb::AlarmType::Nospace => Some(Alarm::NoSpace),
        pb::AlarmType::Corrupt => Some(Alarm::Corrupt),
    }
}

/// The answer to one keep-alive.
pub fn keep_alive(response: &pb::LeaseKeepAliveResponse) -> Reply {
    let body = Body::LeaseKeepAlive { id: response.id, ttl_s: response.ttl };
    Reply { header: header(response.header), body }
}

/// A message on a watch. A message without events that neither creates nor cancels is progress.
pub fn watch_message(response: pb::WatchResponse) -> WatchMessage {
    let is_progress = response.events.is_empty()
        && !response.created
        && !response.canceled
        && response.compact_revision == 0
        && !response.fragment;
    WatchMessage {
        revision: header(response.header).revision,
        created: response.created,
        canceled: response.canceled,
        cancel_reason: response.cancel_reason,
        compact_revision: response.compact_revision,
        fragment: response.fragment,
        progress: is_progress,
        events: response.events.into_iter().map(event).collect(),
    }
}

fn event(event: mvccpb::Event) -> Event {
    Event {
        is_delete: event.r#type() == mvccpb::event::EventType::Delete,
        kv: event.kv.map(key_value).unwrap_or_default(),
        prev_kv: event.prev_kv.map(key_value),
    }
}

/// A header; empty when there is none.
pub fn header(header: Option<pb::ResponseHeader>) -> Header {
    let header = header.unwrap_or_default();
    Header {
        cluster_id: header.cluster_id,
        member_id: header.member_id,
        revision: header.revision,
        raft_term: header.raft_term,
    }
}

/// A key with its value and counters.
pub fn key_value(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: Blob(kv.key),
        value: Blob(kv.value),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

fn range_reply(response: pb::RangeResponse) -> RangeReply {
    RangeReply {
        kvs: response.kvs.into_iter().map(key_value).collect(),
        more: response.more,
        count: response.count,
    }
}

fn txn_reply(response: pb::TxnResponse) -> TxnReply {
    TxnReply {
        succeeded: response.succeeded,
        responses: response.responses.into_iter().filter_map(op_reply).collect(),
    }
}

fn op_reply(op: pb::ResponseOp) -> Option<TxnOpReply> {
    use pb::response_op::Response as Wire;
    Some(match op.response? {
        Wire::ResponseRange(mut r) => {
            let revision = header(r.header.take()).revision;
            TxnOpReply::Range { revision, reply: range_reply(r) }
        }
        Wire::ResponsePut(r) => TxnOpReply::Put {
            revision: header(r.header).revision,
            prev_kv: r.prev_kv.map(key_value),
        },
        Wire::ResponseDeleteRange(r) => TxnOpReply::DeleteRange {
            revision: header(r.header).revision,
            deleted: r.deleted,
            prev_kvs: r.prev_kvs.into_iter().map(key_value).collect(),
        },
        Wire::ResponseTxn(r) => TxnOpReply::Txn(txn_reply(*r)),
    })
}

fn member_list(list: Vec<pb::Member>) -> Body {
    Body::Members { added: None, members: members(list) }
}

fn members(list: Vec<pb::Member>) -> Vec<MemberEntry> {
    list.into_iter()
        .map(|member| MemberEntry {
            id: member.id,
            name: member.name,
            peer_urls: member.peer_ur_ls,
            client_urls: member.client_ur_ls,
            is_learner: member.is_learner,
        })
        .collect()
}
