//! Operations and replies in a reader's words: short, in one line, with the values that count. What
//! is long is cut, and says so.

use crate::record::{
    Alarm, AlarmEntry, Blob, Body, Call, Compare, Effect, Event, Incident, KeyValue, Mark,
    Operation, Operator, Outcome, Range, RangeReply, Reply, Target, Txn, TxnOp, TxnOpReply,
    TxnReply, WatchMessage,
};

/// Characters of a key or value that are shown.
const BLOB_CHARS_MAX: usize = 60;
/// Keys of a reply, or operations of a transaction, that are shown.
const LISTED_MAX: usize = 6;

/// A key or value: as it is where nothing can be mistaken, in quotes otherwise.
pub fn blob(blob: &Blob) -> String {
    let Ok(text) = std::str::from_utf8(&blob.0) else {
        let hex: String = blob.0.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let rest = if blob.0.len() > 16 { "…" } else { "" };
        return format!("\\x{hex}{rest} ({} bytes)", blob.0.len());
    };
    let is_plain = |it: char| it.is_alphanumeric() || "/._-:+@#".contains(it);
    let long = text.chars().count() > BLOB_CHARS_MAX;
    let shown: String = text.chars().take(BLOB_CHARS_MAX).collect();
    let cut = if long { format!("… ({} bytes)", text.len()) } else { String::new() };
    if !shown.is_empty() && shown.chars().all(is_plain) {
        return format!("{shown}{cut}");
    }
    format!("\"{}\"{cut}", shown.escape_debug().to_string().replace("\\'", "'"))
}

/// What was asked.
pub fn call(call: &Call) -> String {
    match call {
        Call::Range(it) => range(it),
        Call::Put(it) => {
            let mut text = match it.ignore_value {
                true => format!("put {} with its value", blob(&it.key)),
                false => format!("put {} = {}", blob(&it.key), blob(&it.value)),
            };
            if it.lease != 0 {
                text.push_str(&format!(" lease {}", it.lease));
            }
            text
        }
        Call::DeleteRange(it) => format!("delete {}", span(&it.key, &it.range_end)),
        Call::Txn(it) => txn(it),
        Call::Compact { revision, physical } => {
            format!("compact {revision}{}", if *physical { " physically" } else { "" })
        }
        Call::LeaseGrant { id, ttl_s } => format!("grant lease {id} for {ttl_s} s"),
        Call::LeaseRevoke { id } => format!("revoke lease {id}"),
        Call::LeaseKeepAlive { id } => format!("keep lease {id} alive"),
        Call::LeaseTimeToLive { id, .. } => format!("time to live of lease {id}"),
        Call::LeaseLeases => "list leases".to_owned(),
        Call::Watch(it) => {
            let from = match it.start_revision {
                0 => "now".to_owned(),
                start => format!("revision {start}"),
            };
            format!("watch {} from {from}", span(&it.key, &it.range_end))
        }
        Call::MemberAdd { peer_urls, is_learner } => {
            let what = if *is_learner { "learner" } else { "member" };
            format!("add {what} {}", peer_urls.join(" "))
        }
        Call::MemberRemove { id } => format!("remove member {id:x}"),
        Call::MemberUpdate { id, peer_urls } => {
            format!("update member {id:x} to {}", peer_urls.join(" "))
        }
        Call::MemberPromote { id } => format!("promote member {id:x}"),
        Call::MemberList { linearizable: true } => "list members".to_owned(),
        Call::MemberList { linearizable: false } => "list members locally".to_owned(),
        Call::MoveLeader { target } => format!("move leader to {target:x}"),
        Call::Status => "status".to_owned(),
        Call::Snapshot { into } => format!("save snapshot {into}"),
        Call::HashKv { revision: 0 } => "hash".to_owned(),
        Call::HashKv { revision } => format!("hash at {revision}"),
        Call::AlarmList => "list alarms".to_owned(),
        Call::AlarmRaise(entry) => format!("raise alarm {}", alarm(entry)),
        Call::AlarmDisarm(entry) => format!("disarm alarm {}", alarm(entry)),
        Call::Defragment => "defragment".to_owned(),
        Call::Downgrade { action, version } => {
            format!("downgrade {} {version}", action.word()).trim_end().to_owned()
        }
    }
}

/// What kind of operation it is, in one letter: read, write, delete, transaction, watch, lease,
/// other.
pub const fn kind(call: &Call) -> char {
    match call {
        Call::Range(_) => 'r',
        Call::Put(_) => 'w',
        Call::DeleteRange(_) => 'd',
        Call::Txn(_) => 't',
        Call::Watch(_) => 'a',
        Call::LeaseGrant { .. }
        | Call::LeaseRevoke { .. }
        | Call::LeaseKeepAlive { .. }
        | Call::LeaseTimeToLive { .. }
        | Call::LeaseLeases => 'l',
        _ => 'o',
    }
}

fn alarm(entry: &AlarmEntry) -> String {
    let name = match entry.alarm {
        Alarm::NoSpace => "no space",
        Alarm::Corrupt => "corrupt",
    };
    format!("{name} of {:x}", entry.member)
}

fn span(key: &Blob, end: &Blob) -> String {
    match end.0.as_ref() {
        [] => blob(key),
        [0] if key.0.as_ref() == [0] => "all keys".to_owned(),
        [0] => format!("keys from {}", blob(key)),
        _ if is_prefix(key, end) => format!("{}*", blob(key)),
        _ => format!("[{}, {})", blob(key), blob(end)),
    }
}

/// Whether an interval holds what begins with its first key.
fn is_prefix(key: &Blob, end: &Blob) -> bool {
    match (key.0.split_last(), end.0.split_last()) {
        (Some((last, begin)), Some((end_last, end_begin))) => {
            begin == end_begin && last.checked_add(1) == Some(*end_last)
        }
        _ => false,
    }
}

fn range(range: &Range) -> String {
    let mut text = match (range.count_only, range.serializable) {
        (false, false) => "get ".to_owned(),
        (false, true) => "get locally ".to_owned(),
        (true, false) => "count ".to_owned(),
        (true, true) => "count locally ".to_owned(),
    };
    text.push_str(&span(&range.key, &range.range_end));
    if range.revision > 0 {
        text.push_str(&format!(" at revision {}", range.revision));
    }
    if range.limit > 0 {
        text.push_str(&format!(" limit {}", range.limit));
    }
    text
}

fn txn(txn: &Txn) -> String {
    let compares: Vec<String> = txn.compare.iter().map(compare).collect();
    let mut text = "txn".to_owned();
    if !compares.is_empty() {
        text.push_str(&format!(" if {}", compares.join(" and ")));
    }
    for (word, ops) in [("then", &txn.success), ("else", &txn.failure)] {
        if !ops.is_empty() {
            text.push_str(&format!(" {word} {}", listed(ops, txn_op)));
        }
    }
    text
}

fn compare(compare: &Compare) -> String {
    let (field, value) = match &compare.target {
        Target::Version(value) => ("version", value.to_string()),
        Target::Create(value) => ("create revision", value.to_string()),
        Target::Mod(value) => ("mod revision", value.to_string()),
        Target::Value(value) => ("value", blob(value)),
        Target::Lease(value) => ("lease", value.to_string()),
    };
    let sign = match compare.operator {
        Operator::Equal => "=",
        Operator::Greater => ">",
        Operator::Less => "<",
        Operator::NotEqual => "≠",
    };
    format!("{field} of {} {sign} {value}", span(&compare.key, &compare.range_end))
}

fn txn_op(op: &TxnOp) -> String {
    match op {
        TxnOp::Range(it) => range(it),
        TxnOp::Put(it) => format!("put {} = {}", blob(&it.key), blob(&it.value)),
        TxnOp::DeleteRange(it) => format!("delete {}", span(&it.key, &it.range_end)),
        TxnOp::Txn(it) => format!("({})", txn(it)),
    }
}

/// How an operation ended. The reply to a read of one key does not repeat the key.
pub fn outcome(operation: &Operation) -> String {
    match &operation.outcome {
        Some(Outcome::Ok(Reply { header, body: Body::Range(RangeReply { kvs, .. }) }))
            if is_of_one(&operation.call, kvs) =>
        {
            format!("{} · rev {}", valued(&kvs[0]), header.revision)
        }
        Some(Outcome::Ok(reply)) => self::reply(reply),
        Some(Outcome::Fail(text)) => format!("failed: {text}"),
        Some(Outcome::Unknown(text)) => format!("unknown: {text}"),
        None if matches!(operation.call, Call::Watch(_)) => "open when the run ended".to_owned(),
        None => "no answer before the run ended".to_owned(),
    }
}

fn is_of_one(call: &Call, kvs: &[KeyValue]) -> bool {
    match (call, kvs) {
        (Call::Range(range), [kv]) => range.range_end.is_empty() && range.key == kv.key,
        _ => false,
    }
}

fn reply(reply: &Reply) -> String {
    let body = body(&reply.body);
    let mut text = if body.is_empty() { String::new() } else { format!("{body} · ") };
    text.push_str(&format!("rev {}", reply.header.revision));
    text
}

/// What a reply says, beside its header.
pub fn body(body: &Body) -> String {
    match body {
        Body::Range(reply) => range_reply(reply),
        Body::Put { prev_kv } => prev_kv.as_ref().map_or(String::new(), over),
        Body::DeleteRange { deleted, .. } => format!("{deleted} deleted"),
        Body::Txn(reply) => txn_reply(reply),
        Body::LeaseGrant { id, ttl_s } => format!("lease {id} for {ttl_s} s"),
        Body::LeaseKeepAlive { ttl_s: 0, .. } => "the lease is gone".to_owned(),
        Body::LeaseKeepAlive { ttl_s, .. } => format!("{ttl_s} s"),
        Body::LeaseTimeToLive { ttl_s: -1, .. } => "the lease is gone".to_owned(),
        Body::LeaseTimeToLive { ttl_s, granted_ttl_s, .. } => {
            format!("{ttl_s} of {granted_ttl_s} s")
        }
        Body::LeaseLeases { ids } => format!("{} leases", ids.len()),
        Body::Members { members, .. } => listed(members, |it| format!("{} {:x}", it.name, it.id)),
        Body::Status { leader, raft_index, raft_applied_index, .. } => {
            format!("leader {leader:x} index {raft_index} applied {raft_applied_index}")
        }
        Body::HashKv { hash, hash_revision, .. } => format!("hash {hash:08x} at {hash_revision}"),
        Body::Snapshot { size_bytes, revision, index, .. } => {
            format!("{size_bytes} bytes at revision {revision}, index {index}")
        }
        Body::Downgrade { version } => format!("cluster version {version}"),
        Body::WatchClosed => "closed".to_owned(),
        Body::Alarms(alarms) if alarms.is_empty() => "no alarm".to_owned(),
        Body::Alarms(alarms) => listed(alarms, alarm),
        Body::Compact | Body::LeaseRevoke | Body::MoveLeader | Body::Defragment => String::new(),
    }
}

fn over(kv: &KeyValue) -> String {
    format!("over {}", blob(&kv.value))
}

fn range_reply(reply: &RangeReply) -> String {
    match reply.kvs.as_slice() {
        [] if reply.count == 0 => "none".to_owned(),
        [] => format!("count {}", reply.count),
        kvs => {
            let more = if reply.more { format!(" of {}", reply.count) } else { String::new() };
            format!("{}{more}", listed(kvs, key_value))
        }
    }
}

fn txn_reply(reply: &TxnReply) -> String {
    let what = if reply.succeeded { "succeeded" } else { "not succeeded" };
    let told: Vec<&TxnOpReply> = reply
        .responses
        .iter()
        .filter(|it| !matches!(it, TxnOpReply::Put { prev_kv: None, .. }))
        .collect();
    if told.is_empty() {
        return what.to_owned();
    }
    let each = |op: &&TxnOpReply| match op {
        TxnOpReply::Range { reply, .. } => range_reply(reply),
        TxnOpReply::Put { prev_kv, .. } => prev_kv.as_ref().map_or(String::new(), over),
        TxnOpReply::DeleteRange { deleted, .. } => format!("{deleted} deleted"),
        TxnOpReply::Txn(reply) => format!("({})", txn_reply(reply)),
    };
    format!("{what}: {}", listed(&told, each))
}

/// A key with its value and the revision that wrote it.
fn key_value(kv: &KeyValue) -> String {
    format!("{} = {}", blob(&kv.key), valued(kv))
}

fn valued(kv: &KeyValue) -> String {
    format!("{} @{}", blob(&kv.value), kv.mod_revision)
}

fn event(event: &Event) -> String {
    match event.is_delete {
        true => format!("delete {} @{}", blob(&event.kv.key), event.kv.mod_revision),
        false => format!("put {}", key_value(&event.kv)),
    }
}

/// What a watch received.
pub fn message(message: &WatchMessage) -> String {
    let mut parts = Vec::new();
    if message.created {
        parts.push("created".to_owned());
    }
    if message.canceled {
        let mut text = "cancelled".to_owned();
        if message.compact_revision > 0 {
            text.push_str(&format!(", compacted at {}", message.compact_revision));
        }
        if !message.cancel_reason.is_empty() {
            text.push_str(&format!(": {}", message.cancel_reason));
        }
        parts.push(text);
    }
    if message.progress {
        parts.push("progress".to_owned());
    }
    if !message.events.is_empty() {
        parts.push(listed(&message.events, event));
    }
    if message.fragment {
        parts.push("to be continued".to_owned());
    }
    parts.push(format!("rev {}", message.revision));
    parts.join(" · ")
}

fn listed<T>(items: &[T], word: impl Fn(&T) -> String) -> String {
    let mut words: Vec<String> = items.iter().take(LISTED_MAX).map(word).collect();
    if items.len() > LISTED_MAX {
        words.push(format!("{} more", items.len() - LISTED_MAX));
    }
    words.join(", ")
}

/// What a fault did, most first: `12 messages lost`.
pub fn effect(effect: &Effect) -> Vec<String> {
    let mut said: Vec<(&String, &u64)> = effect.iter().collect();
    said.sort_by_key(|(_, many)| std::cmp::Reverse(**many));
    said.into_iter().map(|(what, many)| format!("{many} {what}")).collect()
}

/// An incident, with what the faults did that it ends: `heal (12 messages held)`.
pub fn incident(incident: &Incident) -> String {
    let mut done = Effect::new();
    for (what, many) in incident.marks.iter().filter_map(Mark::effect).flatten() {
        *done.entry(what.clone()).or_default() += many;
    }
    match effect(&done).as_slice() {
        [] => incident.what.clone(),
        done => format!("{} ({})", incident.what, done.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ClientId, Header, OpId, Put, Time};

    fn get(key: &str, end: &[u8]) -> Call {
        let range_end = Blob(bytes::Bytes::copy_from_slice(end));
        Call::Range(Range { key: Blob::text(key), range_end, ..Range::default() })
    }

    #[test]
    fn intervals_are_named_by_what_they_mean() {
        assert_eq!(call(&get("a", b"")), "get a");
        assert_eq!(call(&get("jobs/", b"jobs0")), "get jobs/*");
        assert_eq!(call(&get("a", b"c")), "get [a, c)");
        assert_eq!(call(&get("b", &[0])), "get keys from b");
        assert_eq!(call(&get("\0", &[0])), "get all keys");
    }

    #[test]
    fn long_and_strange_values_are_cut_and_quoted() {
        let long = Blob::text(&"x".repeat(200));
        assert_eq!(blob(&long), format!("{}… (200 bytes)", "x".repeat(60)));
        assert_eq!(blob(&Blob::text("")), "\"\"");
        assert_eq!(blob(&Blob::text("a \u{202e}\"")), "\"a \\u{202e}\\\"\"");
        assert_eq!(blob(&Blob(bytes::Bytes::from_static(&[0xff, 1]))), "\\xff01 (2 bytes)");
    }

    #[test]
    fn outcomes_say_what_was_answered() {
        let header = Header { revision: 9, ..Header::default() };
        let kv = KeyValue {
            key: Blob::text("a"),
            value: Blob::text("1"),
            mod_revision: 7,
            ..KeyValue::default()
        };
        let ended = |call: Call, end: Option<Outcome>| {
            let at = Time::ZERO;
            super::outcome(&Operation {
                id: OpId(0),
                client: ClientId(0),
                member: 0,
                invoked: at,
                call,
                completed: at,
                outcome: end,
            })
        };
        let saw = |kvs: Vec<KeyValue>| {
            let body = Body::Range(RangeReply { count: kvs.len() as i64, more: false, kvs });
            Some(Outcome::Ok(Reply { header, body }))
        };
        let text = ended(get("a", b"c"), saw(vec![kv.clone(); 8]));
        assert!(text.starts_with("a = 1 @7, a = 1 @7"), "{text}");
        assert!(text.ends_with("2 more · rev 9"), "{text}");
        assert_eq!(ended(get("a", b""), saw(vec![kv])), "1 @7 · rev 9");
        assert_eq!(ended(get("a", b""), saw(Vec::new())), "none · rev 9");
        assert_eq!(ended(get("a", b""), None), "no answer before the run ended");
        let put = Put { key: Blob::text("a"), value: Blob::text("2"), lease: 5, ..Put::default() };
        assert_eq!(call(&Call::Put(put.clone())), "put a = 2 lease 5");
        let reply = Reply { header, body: Body::Put { prev_kv: None } };
        assert_eq!(ended(Call::Put(put), Some(Outcome::Ok(reply))), "rev 9");
    }
}
