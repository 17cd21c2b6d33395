//! Operations and replies in a reader's words, for explanations: short, with the values that count.

use detsim_reports::record::{
    Body, Call, Command, History, KeyValue, Operation, Range, RangeReply, Txn, TxnOp, TxnOpReply,
    UNRECORDED,
};
use detsim_reports::words;

/// A member's name in the scenario.
pub(super) fn member(history: &History, member: usize) -> String {
    history.members.get(member).map_or_else(|| format!("#{member}"), |name| name.0.clone())
}

/// Members' identities as etcd writes them: `[8211f1d0f64f3269 91bc3c398fb3c146]`.
pub(super) fn identities(identities: &[u64]) -> String {
    let names: Vec<_> = identities.iter().map(|identity| format!("{identity:x}")).collect();
    format!("[{}]", names.join(" "))
}

/// An operation with its number: `op 4 (put "a"="1")`.
pub(super) fn operation(operation: &Operation) -> String {
    format!("op {} ({})", operation.id.0, call(&operation.call))
}

/// A request.
pub(super) fn call(call: &Call) -> String {
    match call {
        Call::Range(range) => self::range(range),
        Call::Put(put) => {
            let lease =
                if put.lease == 0 { String::new() } else { format!(" lease {}", put.lease) };
            format!("put {:?}={:?}{lease}", put.key, put.value)
        }
        Call::DeleteRange(delete) => format!("delete {}", span(&delete.key, &delete.range_end)),
        Call::Txn(txn) => self::txn(txn),
        Call::Compact { revision, .. } => format!("compact {revision}"),
        Call::LeaseGrant { id, ttl_s } => format!("grant lease {id} for {ttl_s} s"),
        Call::LeaseRevoke { id } => format!("revoke lease {id}"),
        Call::LeaseKeepAlive { id } => format!("keep lease {id} alive"),
        Call::LeaseTimeToLive { id, .. } => format!("time to live of lease {id}"),
        Call::LeaseLeases => "list leases".to_owned(),
        Call::Watch(watch) => {
            format!(
                "watch {} from {}",
                span(&watch.key, &watch.range_end),
                match watch.start_revision {
                    0 => "now".to_owned(),
                    start => format!("revision {start}"),
                }
            )
        }
        other => words::call(other),
    }
}

/// What an entry of the log asks for.
pub(super) fn command(command: &Command) -> String {
    match command {
        Command::Client(call) => self::call(call),
        Command::TermStart => "a term begins".to_owned(),
        Command::ConfChange { what, .. } => format!("member change: {what}"),
        Command::Attributes { member, name, .. } => format!("member {member:x} is {name}"),
        Command::Internal { what } => what.clone(),
        Command::Restored { bumped: 0 } => "what a snapshot held".to_owned(),
        Command::Restored { bumped } => {
            format!("what a snapshot held, {bumped} revisions higher")
        }
        Command::LeaseExpired { id } => format!("lease {id} expires"),
    }
}

fn span(key: &detsim_reports::record::Blob, end: &detsim_reports::record::Blob) -> String {
    if end.is_empty() { format!("{key:?}") } else { format!("[{key:?}, {end:?})") }
}

fn range(range: &Range) -> String {
    let what = if range.serializable { "get locally" } else { "get" };
    let at = if range.revision > 0 { format!(" at {}", range.revision) } else { String::new() };
    format!("{what} {}{at}", span(&range.key, &range.range_end))
}

fn txn(txn: &Txn) -> String {
    let ops = |ops: &[TxnOp]| {
        let ops: Vec<String> = ops
            .iter()
            .map(|op| match op {
                TxnOp::Range(range) => self::range(range),
                TxnOp::Put(put) => format!("put {:?}={:?}", put.key, put.value),
                TxnOp::DeleteRange(delete) => {
                    format!("delete {}", span(&delete.key, &delete.range_end))
                }
                TxnOp::Txn(nested) => self::txn(nested),
            })
            .collect();
        ops.join(", ")
    };
    let compares: Vec<String> = txn
        .compare
        .iter()
        .map(|compare| {
            format!(
                "{} {:?} {:?}",
                span(&compare.key, &compare.range_end),
                compare.operator,
                compare.target
            )
        })
        .collect();
    format!(
        "txn if [{}] then [{}] else [{}]",
        compares.join(" and "),
        ops(&txn.success),
        ops(&txn.failure)
    )
}

/// A reply's body.
pub(super) fn body(body: &Body) -> String {
    match body {
        Body::Range(reply) => range_reply(reply),
        Body::Put { prev_kv: None } => "a put without previous value".to_owned(),
        Body::Put { prev_kv: Some(kv) } => format!("a put over {}", key_value(kv)),
        Body::DeleteRange { deleted, prev_kvs } => {
            format!("{deleted} deleted{}", listed(prev_kvs))
        }
        Body::Txn(reply) => {
            let responses: Vec<String> = reply.responses.iter().map(op_reply).collect();
            format!("succeeded={} [{}]", reply.succeeded, responses.join(", "))
        }
        other => words::body(other),
    }
}

fn op_reply(reply: &TxnOpReply) -> String {
    match reply {
        TxnOpReply::Range { revision, reply } => {
            format!("{}{}", range_reply(reply), recorded(" at", *revision))
        }
        TxnOpReply::Put { revision, prev_kv } => {
            let over = prev_kv.as_ref().map_or(String::new(), |kv| format!(" {}", key_value(kv)));
            format!("put{}{over}", recorded(" at", *revision))
        }
        TxnOpReply::DeleteRange { revision, deleted, prev_kvs } => {
            format!("{deleted} deleted{}{}", recorded(" at", *revision), listed(prev_kvs))
        }
        TxnOpReply::Txn(reply) => body(&Body::Txn(reply.clone())),
    }
}

fn range_reply(reply: &RangeReply) -> String {
    let more = if reply.more { " and more" } else { "" };
    format!("count {}{}{more}", reply.count, listed(&reply.kvs))
}

fn listed(kvs: &[KeyValue]) -> String {
    /// Enough to see what is meant.
    const SHOWN_MAX: usize = 4;
    if kvs.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = kvs.iter().take(SHOWN_MAX).map(key_value).collect();
    let rest = match kvs.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        rest => format!(", {rest} more"),
    };
    format!(" ({}{rest})", shown.join(", "))
}

/// A key with its counters, as far as they are recorded.
pub(super) fn key_value(kv: &KeyValue) -> String {
    let lease = if kv.lease == 0 { String::new() } else { recorded(" lease", kv.lease) };
    format!(
        "{:?}={:?}{}{}{}{lease}",
        kv.key,
        kv.value,
        recorded(" created", kv.create_revision),
        recorded(" modified", kv.mod_revision),
        recorded(" version", kv.version)
    )
}

/// A number with what it is; nothing where another tool's history leaves it out.
fn recorded(what: &str, number: i64) -> String {
    if number == UNRECORDED { String::new() } else { format!("{what} {number}") }
}
