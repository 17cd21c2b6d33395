//! Calls as JSON requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use detsim_reports::record::{
    Alarm, AlarmEntry, Blob, Call, Compare, DeleteRange, Operator, Put, Range, SortOrder,
    SortTarget, Target, Txn, TxnOp, Watch,
};
use serde_json::{Value, json};

/// The path that a call is posted to.
pub fn path(call: &Call) -> &'static str {
    match call {
        Call::Range(_) => "/v3/kv/range",
        Call::Put(_) => "/v3/kv/put",
        Call::DeleteRange(_) => "/v3/kv/deleterange",
        Call::Txn(_) => "/v3/kv/txn",
        Call::Compact { .. } => "/v3/kv/compaction",
        Call::LeaseGrant { .. } => "/v3/lease/grant",
        Call::LeaseRevoke { .. } => "/v3/lease/revoke",
        Call::LeaseKeepAlive { .. } => "/v3/lease/keepalive",
        Call::LeaseTimeToLive { .. } => "/v3/lease/timetolive",
        Call::LeaseLeases => "/v3/lease/leases",
        Call::Watch(_) => "/v3/watch",
        Call::MemberAdd { .. } => "/v3/cluster/member/add",
        Call::MemberRemove { .. } => "/v3/cluster/member/remove",
        Call::MemberUpdate { .. } => "/v3/cluster/member/update",
        Call::MemberPromote { .. } => "/v3/cluster/member/promote",
        Call::MemberList { .. } => "/v3/cluster/member/list",
        Call::MoveLeader { .. } => "/v3/maintenance/transfer-leadership",
        Call::Status => "/v3/maintenance/status",
        Call::HashKv { .. } => "/v3/maintenance/hashkv",
        Call::AlarmList | Call::AlarmRaise(_) | Call::AlarmDisarm(_) => "/v3/maintenance/alarm",
        Call::Defragment => "/v3/maintenance/defragment",
        Call::Downgrade { .. } => "/v3/maintenance/downgrade",
        Call::Snapshot { .. } => "/v3/maintenance/snapshot",
    }
}

/// The body of a call's request.
pub fn request(call: &Call) -> Value {
    match call {
        Call::Range(range) => range_request(range),
        Call::Put(put) => put_request(put),
        Call::DeleteRange(delete) => delete_request(delete),
        Call::Txn(txn) => txn_request(txn),
        Call::Compact { revision, physical } => {
            json!({"revision": revision.to_string(), "physical": physical})
        }
        Call::LeaseGrant { id, ttl_s } => json!({"ID": id.to_string(), "TTL": ttl_s.to_string()}),
        Call::LeaseRevoke { id } | Call::LeaseKeepAlive { id } => json!({"ID": id.to_string()}),
        Call::LeaseTimeToLive { id, keys } => json!({"ID": id.to_string(), "keys": keys}),
        Call::LeaseLeases | Call::Status | Call::Defragment | Call::Snapshot { .. } => json!({}),
        Call::Watch(watch) => watch_create(watch),
        Call::MemberAdd { peer_urls, is_learner } => {
            json!({"peerURLs": peer_urls, "isLearner": is_learner})
        }
        Call::MemberRemove { id } | Call::MemberPromote { id } => json!({"ID": id.to_string()}),
        Call::MemberUpdate { id, peer_urls } => {
            json!({"ID": id.to_string(), "peerURLs": peer_urls})
        }
        Call::MemberList { linearizable } => json!({"linearizable": linearizable}),
        Call::MoveLeader { target } => json!({"targetID": target.to_string()}),
        Call::HashKv { revision } => json!({"revision": revision.to_string()}),
        Call::Downgrade { action, version } => {
            json!({"action": action.word().to_uppercase(), "version": version})
        }
        Call::AlarmList => json!({"action": "GET"}),
        Call::AlarmRaise(entry) => alarm_request("ACTIVATE", *entry),
        Call::AlarmDisarm(entry) => alarm_request("DEACTIVATE", *entry),
    }
}

fn alarm_request(action: &str, entry: AlarmEntry) -> Value {
    let name = Alarm::NAMES.iter().find(|(alarm, _)| *alarm == entry.alarm);
    let (_, name) = name.expect("every alarm has a name");
    json!({"action": action, "memberID": entry.member.to_string(), "alarm": name})
}

/// The message that opens a watch.
pub fn watch_create(watch: &Watch) -> Value {
    let mut filters = Vec::new();
    if watch.no_put {
        filters.push("NOPUT");
    }
    if watch.no_delete {
        filters.push("NODELETE");
    }
    json!({"create_request": {
        "key": base64(&watch.key),
        "range_end": base64(&watch.range_end),
        "start_revision": watch.start_revision.to_string(),
        "progress_notify": watch.progress_notify,
        "filters": filters,
        "prev_kv": watch.prev_kv,
        "fragment": watch.fragment,
    }})
}

fn base64(blob: &Blob) -> String {
    STANDARD.encode(&blob.0)
}

fn range_request(range: &Range) -> Value {
    json!({
        "key": base64(&range.key),
        "range_end": base64(&range.range_end),
        "limit": range.limit.to_string(),
        "revision": range.revision.to_string(),
        "sort_order": match range.sort_order {
            SortOrder::None => "NONE",
            SortOrder::Ascend => "ASCEND",
            SortOrder::Descend => "DESCEND",
        },
        "sort_target": match range.sort_target {
            SortTarget::Key => "KEY",
            SortTarget::Version => "VERSION",
            SortTarget::Create => "CREATE",
            SortTarget::Mod => "MOD",
            SortTarget::Value => "VALUE",
        },
        "serializable": range.serializable,
        "keys_only": range.keys_only,
        "count_only": range.count_only,
        "min_mod_revision": range.min_mod_revision.to_string(),
        "max_mod_revision": range.max_mod_revision.to_string(),
        "min_create_revision": range.min_create_revision.to_string(),
        "max_create_revision": range.max_create_revision.to_string(),
    })
}

fn put_request(put: &Put) -> Value {
    json!({
        "key": base64(&put.key),
        "value": base64(&put.value),
        "lease": put.lease.to_string(),
        "prev_kv": put.prev_kv,
        "ignore_value": put.ignore_value,
        "ignore_lease": put.ignore_lease,
    })
}

fn delete_request(delete: &DeleteRange) -> Value {
    json!({
        "key": base64(&delete.key),
        "range_end": base64(&delete.range_end),
        "prev_kv": delete.prev_kv,
    })
}

fn txn_request(txn: &Txn) -> Value {
    let operations = |branch: &[TxnOp]| -> Vec<Value> { branch.iter().map(operation).collect() };
    json!({
        "compare": txn.compare.iter().map(compare).collect::<Vec<_>>(),
        "success": operations(&txn.success),
        "failure": operations(&txn.failure),
    })
}

fn operation(operation: &TxnOp) -> Value {
    match operation {
        TxnOp::Range(range) => json!({"request_range": range_request(range)}),
        TxnOp::Put(put) => json!({"request_put": put_request(put)}),
        TxnOp::DeleteRange(delete) => json!({"request_delete_range": delete_request(delete)}),
        TxnOp::Txn(txn) => json!({"request_txn": txn_request(txn)}),
    }
}

fn compare(compare: &Compare) -> Value {
    let (target, field, value) = match &compare.target {
        Target::Version(version) => ("VERSION", "version", version.to_string()),
        Target::Create(revision) => ("CREATE", "create_revision", revision.to_string()),
        Target::Mod(revision) => ("MOD", "mod_revision", revision.to_string()),
        Target::Value(value) => ("VALUE", "value", base64(value)),
        Target::Lease(lease) => ("LEASE", "lease", lease.to_string()),
    };
    let result = match compare.operator {
        Operator::Equal => "EQUAL",
        Operator::Greater => "GREATER",
        Operator::Less => "LESS",
        Operator::NotEqual => "NOT_EQUAL",
    };
    json!({
        "key": base64(&compare.key),
        "range_end": base64(&compare.range_end),
        "result": result,
        "target": target,
        field: value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_names_its_comparisons_and_branches() {
        let txn = Txn {
            compare: vec![Compare {
                key: Blob::text("k"),
                range_end: Blob::default(),
                operator: Operator::Less,
                target: Target::Mod(7),
            }],
            success: vec![TxnOp::Put(Put {
                key: Blob::text("k"),
                value: Blob::text("v"),
                ..Put::default()
            })],
            failure: vec![TxnOp::Txn(Txn::default())],
        };
        let body = request(&Call::Txn(Box::new(txn)));
        assert_eq!(body["compare"][0]["target"], "MOD");
        assert_eq!(body["compare"][0]["mod_revision"], "7");
        assert_eq!(body["compare"][0]["result"], "LESS");
        assert_eq!(body["success"][0]["request_put"]["value"], "dg==");
        assert_eq!(body["failure"][0]["request_txn"]["success"], json!([]));
    }

    #[test]
    fn a_watch_names_what_it_leaves_out() {
        let watch = Watch { key: Blob::text("k"), no_delete: true, ..Watch::default() };
        assert_eq!(watch_create(&watch)["create_request"]["filters"], json!(["NODELETE"]));
    }

    #[test]
    fn identities_beyond_the_sign_bit_stay_positive() {
        assert_eq!(request(&Call::MemberRemove { id: u64::MAX })["ID"], "18446744073709551615");
    }
}
