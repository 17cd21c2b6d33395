//! What a client asks comes out of the log as it was asked.

use bytes::Bytes;
use detcd::member::io::Request;
use detcd::proto::{etcdserverpb as pb, raftpb};
use detsim_reports::record::{
    Blob, Call, Command, Compare, DeleteRange, MemberEntry, MembershipChange, Operator, Put, Range,
    SortOrder, SortTarget, Target, Txn, TxnOp,
};
use prost::Message as _;

use super::*;

/// Passes a call through its request and an entry of the log.
fn through_the_log(call: &Call) -> Decoded {
    let Shape::Unary(request) = shape(call) else { panic!("{call:?} is a stream") };
    let mut entry = pb::InternalRaftRequest {
        header: Some(pb::RequestHeader { id: 77, ..Default::default() }),
        ..Default::default()
    };
    match *request {
        Request::Range(range) => entry.range = Some(Box::new(range)),
        Request::Put(put) => entry.put = Some(put),
        Request::DeleteRange(delete) => entry.delete_range = Some(delete),
        Request::Txn(txn) => entry.txn = Some(txn),
        Request::Compact(compact) => entry.compaction = Some(compact),
        Request::LeaseGrant(grant) => entry.lease_grant = Some(grant),
        Request::LeaseRevoke(revoke) => entry.lease_revoke = Some(revoke),
        other => panic!("{other:?} is not a write"),
    }
    decode_normal(&Bytes::from(entry.encode_to_vec()))
}

fn put(key: &str) -> Put {
    let (key, value) = (Blob::text(key), Blob::text("v"));
    Put { key, value, lease: 5, prev_kv: true, ignore_value: false, ignore_lease: false }
}

fn range() -> Range {
    Range {
        key: Blob::text("a"),
        range_end: Blob::text("z"),
        limit: 3,
        revision: 9,
        sort_order: SortOrder::Descend,
        sort_target: SortTarget::Mod,
        keys_only: true,
        min_mod_revision: 1,
        max_mod_revision: 2,
        min_create_revision: 3,
        max_create_revision: 4,
        ..Range::default()
    }
}

#[test]
fn writes_come_out_of_the_log_as_they_were_asked() {
    let target = [
        Target::Version(1),
        Target::Create(2),
        Target::Mod(3),
        Target::Value(Blob::text("old")),
        Target::Lease(4),
    ];
    let operators =
        [Operator::Equal, Operator::Greater, Operator::Less, Operator::NotEqual, Operator::Equal];
    let compare = target
        .into_iter()
        .zip(operators)
        .map(|(target, operator)| Compare {
            key: Blob::text("k"),
            range_end: Blob::text("l"),
            operator,
            target,
        })
        .collect();
    let delete = DeleteRange { key: Blob::text("k"), range_end: Blob::text("m"), prev_kv: true };
    let nested = Txn { compare: vec![], success: vec![TxnOp::Put(put("n"))], failure: vec![] };
    let txn = Txn {
        compare,
        success: vec![TxnOp::Put(put("k")), TxnOp::Range(range()), TxnOp::Txn(nested)],
        failure: vec![TxnOp::DeleteRange(delete.clone())],
    };
    let calls = [
        Call::Put(put("k")),
        Call::DeleteRange(delete),
        Call::Txn(Box::new(txn)),
        Call::Compact { revision: 8, physical: true },
        Call::LeaseGrant { id: 6, ttl_s: 30 },
        Call::LeaseRevoke { id: 6 },
    ];
    for call in calls {
        let decoded = through_the_log(&call);
        assert_eq!(decoded, Decoded { command: Command::Client(call), id: 77 });
    }
}

#[test]
fn only_transactions_that_write_are_writes() {
    let txn = |op| Call::Txn(Box::new(Txn { success: vec![op], ..Txn::default() }));
    assert!(is_read(&txn(TxnOp::Range(range()))));
    assert!(!is_read(&txn(TxnOp::Put(put("k")))));
    let nested = Txn { failure: vec![TxnOp::Put(put("k"))], ..Txn::default() };
    assert!(!is_read(&txn(TxnOp::Txn(nested))));
}

#[test]
fn other_entries_are_told_in_words() {
    assert_eq!(decode_normal(&Bytes::new()).command, Command::TermStart);
    let version = pb::InternalRaftRequest {
        cluster_version_set: Some(pb::ClusterVersionSetRequest { ver: "3.6.0".to_owned() }),
        ..Default::default()
    };
    let decoded = decode_normal(&Bytes::from(version.encode_to_vec()));
    assert_eq!(decoded.command, Command::Internal { what: "cluster version 3.6.0".to_owned() });
    let change = raftpb::ConfChange {
        id: Some(3),
        r#type: Some(raftpb::ConfChangeType::ConfChangeAddLearnerNode as i32),
        node_id: Some(0xab),
        context: None,
    };
    let decoded = decode_conf_change(&Bytes::from(change.encode_to_vec()));
    let what = "add learner ab".to_owned();
    assert_eq!(decoded.command, Command::ConfChange { what, change: None });
    assert_eq!(decoded.id, 3);
}

#[test]
fn what_a_configuration_change_asks_for_is_told() {
    use raftpb::ConfChangeType as Kind;
    let told = |kind: Kind, context: &str| {
        let change = raftpb::ConfChange {
            id: Some(3),
            r#type: Some(kind as i32),
            node_id: Some(0xab),
            context: Some(Bytes::copy_from_slice(context.as_bytes())),
        };
        match decode_conf_change(&Bytes::from(change.encode_to_vec())).command {
            Command::ConfChange { change, .. } => change,
            other => panic!("{other:?}"),
        }
    };
    let urls = vec!["http://10.0.0.1:2380".to_owned()];
    let entry = MemberEntry {
        id: 0xab,
        peer_urls: urls.clone(),
        is_learner: true,
        ..MemberEntry::default()
    };
    assert_eq!(
        told(
            Kind::ConfChangeAddLearnerNode,
            r#"{"id":171,"peerURLs":["http://10.0.0.1:2380"],"isLearner":true}"#
        ),
        Some(MembershipChange::Add(entry))
    );
    assert_eq!(
        told(Kind::ConfChangeAddNode, r#"{"id":171,"peerURLs":null,"isPromote":true}"#),
        Some(MembershipChange::Promote(0xab))
    );
    assert_eq!(
        told(Kind::ConfChangeUpdateNode, r#"{"id":171,"peerURLs":["http://10.0.0.1:2380"]}"#),
        Some(MembershipChange::Update { member: 0xab, peer_urls: urls })
    );
    assert_eq!(told(Kind::ConfChangeRemoveNode, ""), Some(MembershipChange::Remove(0xab)));
    assert_eq!(told(Kind::ConfChangeAddNode, r#"{"id":172}"#), None);
}

#[test]
fn a_message_without_events_is_progress_unless_it_creates_or_cancels() {
    let header = Some(pb::ResponseHeader { revision: 4, ..Default::default() });
    let message = |created, canceled| {
        watch_message(pb::WatchResponse { header, created, canceled, ..Default::default() })
    };
    assert!(message(false, false).progress);
    assert_eq!(message(false, false).revision, 4);
    assert!(!message(true, false).progress);
    assert!(!message(false, true).progress);
}
