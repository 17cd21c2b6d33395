//! JSON answers as replies. A field that is missing has its default; a field of another shape makes
//! the answer unreadable, which is told instead of guessed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use detsim_reports::record::{
    Alarm, AlarmEntry, Blob, Body, Call, Event, Header, KeyValue, MemberEntry, RangeReply, Reply,
    Txn, TxnOp, TxnOpReply, TxnReply, WatchMessage,
};
use serde_json::Value;

/// What is wrong with an answer.
type Unreadable = String;

/// The reply that an answer to a call holds.
pub fn reply(call: &Call, answer: &Value) -> Result<Reply, Unreadable> {
    // The only streamed answer besides a watch's comes wrapped.
    let answer = answer.get("result").unwrap_or(answer);
    Ok(Reply { header: header(answer)?, body: body(call, answer)? })
}

/// A message of a watch.
pub fn watch_message(result: &Value) -> Result<WatchMessage, Unreadable> {
    let mut message = WatchMessage {
        revision: integer(&result["header"], "revision")?,
        created: flag(result, "created")?,
        canceled: flag(result, "canceled")?,
        cancel_reason: text(result, "cancel_reason")?,
        compact_revision: integer(result, "compact_revision")?,
        fragment: flag(result, "fragment")?,
        progress: false,
        events: list(result, "events")?.iter().map(event).collect::<Result<_, _>>()?,
    };
    message.progress = !message.created && !message.canceled && message.events.is_empty();
    Ok(message)
}

fn body(call: &Call, answer: &Value) -> Result<Body, Unreadable> {
    Ok(match call {
        Call::Range(_) => Body::Range(range_reply(answer)?),
        Call::Put(_) => Body::Put { prev_kv: prev_kv(answer)? },
        Call::DeleteRange(_) => Body::DeleteRange {
            deleted: integer(answer, "deleted")?,
            prev_kvs: key_values(answer, "prev_kvs")?,
        },
        Call::Txn(txn) => Body::Txn(txn_reply(txn, answer)?),
        Call::Compact { .. } => Body::Compact,
        Call::LeaseGrant { .. } => {
            Body::LeaseGrant { id: integer(answer, "ID")?, ttl_s: integer(answer, "TTL")? }
        }
        Call::LeaseRevoke { .. } => Body::LeaseRevoke,
        Call::LeaseKeepAlive { .. } => {
            Body::LeaseKeepAlive { id: integer(answer, "ID")?, ttl_s: integer(answer, "TTL")? }
        }
        Call::LeaseTimeToLive { .. } => Body::LeaseTimeToLive {
            id: integer(answer, "ID")?,
            ttl_s: integer(answer, "TTL")?,
            granted_ttl_s: integer(answer, "grantedTTL")?,
            keys: list(answer, "keys")?.iter().map(blob).collect::<Result<_, _>>()?,
        },
        Call::LeaseLeases => Body::LeaseLeases {
            ids: list(answer, "leases")?
                .iter()
                .map(|lease| integer(lease, "ID"))
                .collect::<Result<_, _>>()?,
        },
        Call::Watch(_) => Body::WatchClosed,
        Call::MemberAdd { .. } => Body::Members {
            added: Some(unsigned(&answer["member"], "ID")?),
            members: members(answer)?,
        },
        Call::MemberRemove { .. }
        | Call::MemberUpdate { .. }
        | Call::MemberPromote { .. }
        | Call::MemberList { .. } => Body::Members { added: None, members: members(answer)? },
        Call::MoveLeader { .. } => Body::MoveLeader,
        Call::Status => Body::Status {
            leader: unsigned(answer, "leader")?,
            raft_index: unsigned(answer, "raftIndex")?,
            raft_applied_index: unsigned(answer, "raftAppliedIndex")?,
            is_learner: flag(answer, "isLearner")?,
        },
        Call::Snapshot { .. } => return Err("a snapshot is saved by a tool".to_owned()),
        Call::HashKv { .. } => Body::HashKv {
            hash: unsigned(answer, "hash")?
                .try_into()
                .map_err(|_| "hash is wider than 32 bits".to_owned())?,
            compact_revision: integer(answer, "compact_revision")?,
            hash_revision: integer(answer, "hash_revision")?,
        },
        Call::AlarmList | Call::AlarmRaise(_) | Call::AlarmDisarm(_) => {
            Body::Alarms(alarms(answer)?)
        }
        Call::Defragment => Body::Defragment,
        Call::Downgrade { .. } => Body::Downgrade { version: text(answer, "version")?.to_owned() },
    })
}

/// Who answered, and how far its store was.
pub fn header(answer: &Value) -> Result<Header, Unreadable> {
    let header = &answer["header"];
    Ok(Header {
        cluster_id: unsigned(header, "cluster_id")?,
        member_id: unsigned(header, "member_id")?,
        revision: integer(header, "revision")?,
        raft_term: unsigned(header, "raft_term")?,
    })
}

fn range_reply(answer: &Value) -> Result<RangeReply, Unreadable> {
    Ok(RangeReply {
        kvs: key_values(answer, "kvs")?,
        more: flag(answer, "more")?,
        count: integer(answer, "count")?,
    })
}

fn txn_reply(txn: &Txn, answer: &Value) -> Result<TxnReply, Unreadable> {
    let succeeded = flag(answer, "succeeded")?;
    let branch = if succeeded { &txn.success } else { &txn.failure };
    let responses = list(answer, "responses")?;
    if responses.len() != branch.len() {
        return Err(format!("{} responses to {} operations", responses.len(), branch.len()));
    }
    let responses: Result<_, _> =
        branch.iter().zip(responses).map(|(op, response)| txn_op_reply(op, response)).collect();
    Ok(TxnReply { succeeded, responses: responses? })
}

fn txn_op_reply(op: &TxnOp, response: &Value) -> Result<TxnOpReply, Unreadable> {
    let of_kind = |kind: &str| response.get(kind).ok_or_else(|| format!("no {kind} in {response}"));
    let revision = |body: &Value| integer(&body["header"], "revision");
    Ok(match op {
        TxnOp::Range(_) => {
            let body = of_kind("response_range")?;
            TxnOpReply::Range { revision: revision(body)?, reply: range_reply(body)? }
        }
        TxnOp::Put(_) => {
            let body = of_kind("response_put")?;
            TxnOpReply::Put { revision: revision(body)?, prev_kv: prev_kv(body)? }
        }
        TxnOp::DeleteRange(_) => {
            let body = of_kind("response_delete_range")?;
            TxnOpReply::DeleteRange {
                revision: revision(body)?,
                deleted: integer(body, "deleted")?,
                prev_kvs: key_values(body, "prev_kvs")?,
            }
        }
        TxnOp::Txn(txn) => TxnOpReply::Txn(txn_reply(txn, of_kind("response_txn")?)?),
    })
}

fn alarms(answer: &Value) -> Result<Vec<AlarmEntry>, Unreadable> {
    let entry = |active: &Value| {
        let name = text(active, "alarm")?;
        let known = Alarm::NAMES.iter().find(|(_, known)| *known == name);
        let (alarm, _) = known.ok_or_else(|| format!("{name} is no alarm"))?;
        Ok(AlarmEntry { member: unsigned(active, "memberID")?, alarm: *alarm })
    };
    list(answer, "alarms")?.iter().map(entry).collect()
}

fn members(answer: &Value) -> Result<Vec<MemberEntry>, Unreadable> {
    list(answer, "members")?
        .iter()
        .map(|member| {
            Ok(MemberEntry {
                id: unsigned(member, "ID")?,
                name: text(member, "name")?,
                peer_urls: texts(member, "peerURLs")?,
                client_urls: texts(member, "clientURLs")?,
                is_learner: flag(member, "isLearner")?,
            })
        })
        .collect()
}

fn event(event: &Value) -> Result<Event, Unreadable> {
    let kv = event.get("kv").ok_or("an event without a key")?;
    Ok(Event { is_delete: event["type"] == "DELETE", kv: key_value(kv)?, prev_kv: prev_kv(event)? })
}

fn prev_kv(answer: &Value) -> Result<Option<KeyValue>, Unreadable> {
    answer.get("prev_kv").filter(|kv| !kv.is_null()).map(key_value).transpose()
}

fn key_values(answer: &Value, field: &str) -> Result<Vec<KeyValue>, Unreadable> {
    list(answer, field)?.iter().map(key_value).collect()
}

fn key_value(kv: &Value) -> Result<KeyValue, Unreadable> {
    Ok(KeyValue {
        key: blob(&kv["key"])?,
        value: blob(&kv["value"])?,
        create_revision: integer(kv, "create_revision")?,
        mod_revision: integer(kv, "mod_revision")?,
        version: integer(kv, "version")?,
        lease: integer(kv, "lease")?,
    })
}

fn blob(value: &Value) -> Result<Blob, Unreadable> {
    match value {
        Value::Null => Ok(Blob::default()),
        Value::String(text) => STANDARD
            .decode(text)
            .map(|bytes| Blob(bytes.into()))
            .map_err(|error| format!("{text:?} is not base64: {error}")),
        other => Err(format!("{other} is not bytes")),
    }
}

fn integer(object: &Value, field: &str) -> Result<i64, Unreadable> {
    number(object, field, Value::as_i64)
}

fn unsigned(object: &Value, field: &str) -> Result<u64, Unreadable> {
    number(object, field, Value::as_u64)
}

fn number<N: std::str::FromStr + Default>(
    object: &Value,
    field: &str,
    plain: fn(&Value) -> Option<N>,
) -> Result<N, Unreadable> {
    let value = match &object[field] {
        Value::Null => return Ok(N::default()),
        Value::String(text) => text.parse().ok(),
        value => plain(value),
    };
    value.ok_or_else(|| format!("{field} is {}, not a number", object[field]))
}

fn flag(object: &Value, field: &str) -> Result<bool, Unreadable> {
    match &object[field] {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        other => Err(format!("{field} is {other}, not true or false")),
    }
}

fn text(object: &Value, field: &str) -> Result<String, Unreadable> {
    match &object[field] {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{field} is {other}, not a text")),
    }
}

fn texts(object: &Value, field: &str) -> Result<Vec<String>, Unreadable> {
    list(object, field)?
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or(format!("{field} holds {item}")))
        .collect()
}

fn list<'a>(object: &'a Value, field: &str) -> Result<&'a [Value], Unreadable> {
    match &object[field] {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        other => Err(format!("{field} is {other}, not a list")),
    }
}

#[cfg(test)]
mod tests;
