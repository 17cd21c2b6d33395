//! Answers as etcd 3.6 writes them.

use detsim_reports::record::{DeleteRange, Put, Range};
use serde_json::json;

use super::*;

#[test]
fn a_range_is_read_with_its_header_and_defaults() {
    let answer = json!({
        "header": {"cluster_id": "17237436991929493444", "member_id": "9372538179322589801",
                   "revision": "3", "raft_term": "2"},
        "kvs": [{"key": "aw==", "create_revision": "2", "mod_revision": "3", "version": "2",
                 "value": "dg=="}],
        "count": "1"
    });
    let reply = reply(&Call::Range(Range::default()), &answer).unwrap();
    assert_eq!(reply.header.cluster_id, 17_237_436_991_929_493_444);
    let Body::Range(range) = reply.body else { panic!("not a range") };
    assert!(!range.more);
    assert_eq!(range.kvs[0].value, Blob::text("v"));
    assert_eq!(range.kvs[0].lease, 0);
}

#[test]
fn a_transaction_is_read_along_its_taken_branch() {
    let txn = Txn {
        compare: Vec::new(),
        success: vec![TxnOp::Put(Put::default()), TxnOp::DeleteRange(DeleteRange::default())],
        failure: Vec::new(),
    };
    let answer = json!({"header": {"revision": "4"}, "succeeded": true, "responses": [
        {"response_put": {"header": {"revision": "4"}}},
        {"response_delete_range": {"header": {"revision": "4"}, "deleted": "1"}}
    ]});
    let reply = reply(&Call::Txn(Box::new(txn.clone())), &answer).unwrap();
    let Body::Txn(read) = reply.body else { panic!("not a transaction") };
    assert_eq!(read.responses[0], TxnOpReply::Put { revision: 4, prev_kv: None });
    assert!(matches!(read.responses[1], TxnOpReply::DeleteRange { deleted: 1, .. }));

    let short = json!({"succeeded": true, "responses": []});
    let error = super::reply(&Call::Txn(Box::new(txn)), &short).unwrap_err();
    assert_eq!(error, "0 responses to 2 operations");
}

#[test]
fn a_streamed_keepalive_is_unwrapped() {
    let answer = json!({"result": {"header": {"revision": "1"}, "ID": "7", "TTL": "60"}});
    let reply = reply(&Call::LeaseKeepAlive { id: 7 }, &answer).unwrap();
    assert_eq!(reply.body, Body::LeaseKeepAlive { id: 7, ttl_s: 60 });
}

#[test]
fn a_watch_message_without_anything_is_progress() {
    let progress = watch_message(&json!({"header": {"revision": "9"}})).unwrap();
    assert!(progress.progress);
    assert_eq!(progress.revision, 9);
    let created = watch_message(&json!({"header": {}, "created": true})).unwrap();
    assert!(created.created && !created.progress);
    let deleted =
        json!({"events": [{"type": "DELETE", "kv": {"key": "aw==", "mod_revision": "5"}}]});
    let deleted = watch_message(&deleted).unwrap();
    assert!(deleted.events[0].is_delete);
    assert_eq!(deleted.events[0].kv.mod_revision, 5);
}

#[test]
fn a_field_of_another_shape_is_told() {
    let call = Call::Range(Range::default());
    let error = reply(&call, &json!({"count": "many"})).unwrap_err();
    assert_eq!(error, "count is \"many\", not a number");
    let error = reply(&call, &json!({"kvs": 3})).unwrap_err();
    assert_eq!(error, "kvs is 3, not a list");
    let error = reply(&call, &json!({"kvs": [{"key": "?"}]})).unwrap_err();
    assert!(error.starts_with("\"?\" is not base64"), "{error}");
}
