//! A data directory goes from etcd to our member and back, with its log, its snapshots and its
//! database: whoever starts there has what the other had.

use detcd::config::{CompatVersion, Config};
use detcd::member::io::{Request, Response};
use detcd::proto::etcdserverpb as pb;
use detcd::storage::bolt::BoltOptions;
use detcd::storage::wal::WalSettings;
use serde_json::Value;

use super::start::{Member, ask, start};
use super::written::Work;
use crate::driven::Driven;
use crate::peers;

const TEST: &str = "a_directory_goes_from_etcd_to_our_member_and_back";

pub(super) fn config(compat: CompatVersion) -> Config {
    Config {
        name: "n1".to_owned(),
        data_dir: "data".to_owned(),
        initial_cluster: "n1=http://127.0.0.1:3".to_owned(),
        initial_advertise_peer_urls: vec!["http://127.0.0.1:3".to_owned()],
        listen_peer_urls: vec!["http://127.0.0.1:3".to_owned()],
        advertise_client_urls: vec!["http://127.0.0.1:9".to_owned()],
        snapshot_count: 10,
        snapshot_catchup_entries: 3,
        compat,
        ..Config::default()
    }
}

fn driven(work: &Work, compat: CompatVersion) -> Driven {
    Driven::start(&work.disk, config(compat), BoltOptions::ETCD, WalSettings::ETCD).unwrap()
}

fn put(key: &str, value: &str) -> Request {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    Request::Put(pb::PutRequest { key, value, ..Default::default() })
}

fn hash(member: &mut Driven) -> pb::HashKvResponse {
    match member.ask(Request::HashKv(pb::HashKvRequest::default())).unwrap() {
        Response::HashKv(hash) => hash,
        other => panic!("{other:?}"),
    }
}

/// Compares the hash of the key space as etcd's client has printed it.
fn check(theirs: &Value, ours: &pb::HashKvResponse, context: &str) {
    let theirs = &theirs[0]["HashKV"];
    assert_eq!(theirs["hash"], ours.hash, "{context}: {theirs}");
    assert_eq!(theirs["compact_revision"], ours.compact_revision, "{context}");
    let revision = ours.header.as_ref().map(|header| header.revision);
    assert_eq!(theirs["header"]["revision"].as_i64(), revision, "{context}");
}

/// Killed at once: what its database has not committed yet is in its log alone.
fn fill_and_kill(member: Member, etcdctl: &std::path::Path, work: &Work) -> Value {
    let run = |arguments: &[&str]| drop(ask(etcdctl, work, arguments));
    for index in 0..25 {
        let key = format!("key{}", index % 7);
        run(&["put", &key, &format!("value {index}")]);
    }
    run(&["lease", "grant", "3600"]);
    run(&["del", "key3"]);
    run(&["compaction", "9"]);
    run(&["put", "last", "of theirs"]);
    let hash = ask(etcdctl, work, &["endpoint", "hashkv"]);
    drop(member);
    hash
}

fn check_minor(minor: &str, compat: CompatVersion) {
    let Some(etcd) = peers::tool(TEST, "etcd", minor) else { return };
    let Some(etcdctl) = peers::tool(TEST, "etcdctl", minor) else { return };
    let work = Work::new(&format!("handover-{minor}"));
    let snapshots = ["--snapshot-count", "10"];
    let theirs = fill_and_kill(start(&etcd, &work, &snapshots), &etcdctl, &work);

    let mut member = driven(&work, compat);
    check(&theirs, &hash(&mut member), &format!("{minor}, ours after theirs"));
    for index in 0..40 {
        member.ask(put(&format!("ours{}", index % 9), &format!("value {index}"))).unwrap();
    }
    let leases = member.ask(Request::LeaseLeases(pb::LeaseLeasesRequest::default())).unwrap();
    let Response::LeaseLeases(leases) = leases else { panic!("{leases:?}") };
    assert_eq!(leases.leases.len(), 1, "{minor}: their lease is there");
    let ours = hash(&mut member);
    assert!(member.saved.len() > 2, "{minor}: snapshots of ours are there");
    member.stop();

    let again = start(&etcd, &work, &snapshots);
    let theirs = ask(&etcdctl, &work, &["endpoint", "hashkv"]);
    check(&theirs, &ours, &format!("{minor}, theirs after ours"));
    let leases = ask(&etcdctl, &work, &["lease", "list"]);
    assert_eq!(leases["leases"].as_array().map(Vec::len), Some(1), "{minor}: {leases}");
    ask(&etcdctl, &work, &["put", "key", "value"]);
    drop(again);

    let mut member = driven(&work, compat);
    let last = hash(&mut member);
    let revision = |hash: &pb::HashKvResponse| hash.header.as_ref().map(|header| header.revision);
    assert_eq!(revision(&last), revision(&ours).map(|revision| revision + 1), "{minor}");
    member.stop();
}

#[test]
fn a_directory_goes_from_etcd_to_our_member_and_back() {
    for (minor, compat) in
        [("3.5", CompatVersion::V3_5), ("3.6", CompatVersion::V3_6), ("3.7", CompatVersion::V3_7)]
    {
        check_minor(minor, compat);
    }
}
