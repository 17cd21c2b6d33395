//! A member writes the rows that etcd writes: it takes the requests of the database fixtures
//! (`scripts/database-fixtures.sh`) under the same name and URLs, and every row is compared with
//! those of the real member.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::cluster::Cluster;
use crate::config::CompatVersion;
use crate::member::io::{MemberInfo, Request};
use crate::member::membership::json;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op;
use crate::storage::bolt::{Bolt, BoltOptions};
use crate::storage::memory::MemoryDisk;
use crate::storage::schema::{DatabaseImage, bucket};

/// The database of a real member of that minor version.
fn theirs(minor: &str) -> DatabaseImage {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/database");
    let disk = MemoryDisk::new();
    let bytes = std::fs::read(folder.join(minor).join("snapshot.db")).expect("it is checked in");
    disk.put("snapshot.db", bytes);
    let bolt = Bolt::open(Rc::new(disk), "snapshot.db", BoltOptions::ETCD).expect("opened");
    DatabaseImage::read(&bolt.read()).expect("read")
}

fn members(image: &DatabaseImage) -> (MemberInfo, MemberInfo) {
    let members: Vec<MemberInfo> = image.members().map(Result::unwrap).collect();
    let (learners, voters): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| member.is_learner);
    (voters[0].clone(), learners[0].clone())
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>, lease: i64) -> Request {
    let (key, value) = (key.into(), value.into());
    Request::Put(pb::PutRequest { key, value, lease, ..Default::default() })
}

fn delete(key: &'static str, range_end: &'static str) -> pb::DeleteRangeRequest {
    let (key, range_end) = (key.into(), range_end.into());
    pb::DeleteRangeRequest { key, range_end, ..Default::default() }
}

/// What the script asks for, in order.
fn requests() -> Vec<Request> {
    let grant = |id, ttl| Request::LeaseGrant(pb::LeaseGrantRequest { id, ttl });
    let compact = |revision| Request::Compact(pb::CompactionRequest { revision, physical: true });
    let mut requests = vec![grant(7, 3600), grant(4660, 60)];
    for index in 1..=240 {
        requests.push(put(format!("key{}", index % 80), format!("value {index}"), 0));
    }
    requests.push(put("large", vec![0; 9000], 0));
    requests.push(put("leased", "", 7));
    let ops = [
        request_op::Request::RequestPut(pb::PutRequest { key: "t".into(), ..Default::default() }),
        request_op::Request::RequestDeleteRange(delete("key1", "key3")),
    ];
    let success = ops.into_iter().map(|op| pb::RequestOp { request: Some(op) }).collect();
    requests.push(Request::Txn(pb::TxnRequest { success, ..Default::default() }));
    requests.push(compact(60));
    requests.push(Request::DeleteRange(delete("key5", "key6")));
    requests.push(compact(90));
    requests.push(Request::MemberAdd(pb::MemberAddRequest {
        peer_ur_ls: vec!["http://127.0.0.1:1".to_owned()],
        is_learner: true,
    }));
    requests.push(Request::Alarm(pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate.into(),
        member_id: 5,
        alarm: pb::AlarmType::Nospace.into(),
    }));
    requests
}

fn ours(compat: CompatVersion, local: &MemberInfo) -> DatabaseImage {
    let mut cluster = Cluster::new(1);
    cluster.keeps_database = true;
    let config = &mut cluster.configs[0];
    config.compat = compat;
    config.name.clone_from(&local.name);
    config.initial_cluster = format!("{}={}", local.name, local.peer_urls[0]);
    config.initial_advertise_peer_urls.clone_from(&local.peer_urls);
    config.advertise_client_urls.clone_from(&local.client_urls);
    cluster.start_all();
    for request in requests() {
        cluster.ask(0, request.clone()).unwrap_or_else(|error| panic!("{request:?}: {error}"));
    }
    cluster.run(Duration::from_secs(2));
    cluster.database_mut(0).image.clone()
}

/// A row as it is compared: an added member's ID depends on the second in which it was added.
fn text(bytes: &[u8], learner: &MemberInfo) -> String {
    let text: String = bytes.iter().flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    let hex = learner.id.to_string();
    text.replace(&hex, "LEARNER").replace(&learner.id.0.to_string(), "LEARNER")
}

fn rows(image: &DatabaseImage, name: &str) -> Vec<(String, String)> {
    let (_, learner) = members(image);
    let mut rows: Vec<(String, String)> =
        image.rows(name).map(|(key, value)| (text(key, &learner), text(value, &learner))).collect();
    rows.sort();
    rows
}

#[test]
fn a_members_rows_are_those_of_etcd() {
    let minors =
        [("3.5", CompatVersion::V3_5), ("3.6", CompatVersion::V3_6), ("3.7", CompatVersion::V3_7)];
    for (minor, compat) in minors {
        let theirs = theirs(minor);
        let (local, _) = members(&theirs);
        assert!(theirs.rows(bucket::KEY).count() > 100, "{minor}");
        assert!(theirs.rows(bucket::META).count() >= 5, "{minor}");
        let ours = ours(compat, &local);
        for name in bucket::CREATED {
            let expected = rows(&theirs, name);
            assert_eq!(rows(&ours, name), expected, "{minor}, bucket {name}");
        }
        let (member, _) = members(&ours);
        assert_eq!(json::encode_member(&member), json::encode_member(&local), "{minor}");
    }
}
