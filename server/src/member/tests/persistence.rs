//! Members with a database: what is in it, and what a restart makes of it at each point.

use std::time::Duration;

use super::cluster::Cluster;
use super::{get, put, value};
use crate::api::ApiError;
use crate::member::io::{Request, Response};
use crate::proto::etcdserverpb as pb;
use crate::storage::schema::{DatabaseImage, bucket};

const SECOND: Duration = Duration::from_secs(1);

/// Members with databases that take a snapshot after every twenty entries and keep five behind.
pub(super) fn ready(size: usize) -> Cluster {
    let mut cluster = Cluster::new(size);
    cluster.keeps_database = true;
    for config in &mut cluster.configs {
        config.snapshot_count = 20;
        config.snapshot_catchup_entries = 5;
    }
    cluster.start_all();
    cluster
}

pub(super) fn image(cluster: &mut Cluster, place: usize) -> DatabaseImage {
    cluster.database_mut(place).image.clone()
}

/// Everything that is replicated, as a database that has it all would hold it.
pub(super) fn state(cluster: &mut Cluster, place: usize) -> (Option<i64>, Vec<(i64, i64)>, u32) {
    let hash = cluster.ask(place, Request::Hash(pb::HashRequest::default())).expect("hashed");
    let Response::Hash(hash) = hash else { panic!("{hash:?}") };
    let member = &cluster.host(place).member;
    (member.revision(), member.leases(), hash.hash)
}

pub(super) fn puts(cluster: &mut Cluster, place: usize, count: usize) {
    for _ in 0..count {
        cluster.ask(place, put("k", "v")).expect("put");
    }
}

/// Whatever was applied a second ago is the same everywhere.
pub(super) fn assert_alike(cluster: &mut Cluster) {
    cluster.run(SECOND);
    let first = state(cluster, 0);
    for place in 1..cluster.hosts.len() {
        assert_eq!(state(cluster, place), first, "n{}", place + 1);
    }
}

fn lease(id: i64, ttl: i64) -> Request {
    Request::LeaseGrant(pb::LeaseGrantRequest { id, ttl })
}

fn leased(key: &'static str, lease: i64) -> Request {
    let (key, value) = (key.into(), "v".into());
    Request::Put(pb::PutRequest { key, value, lease, ..pb::PutRequest::default() })
}

fn compact(revision: i64) -> Request {
    Request::Compact(pb::CompactionRequest { revision, physical: false })
}

#[test]
fn what_is_applied_is_in_the_database_with_its_index() {
    let mut cluster = ready(1);
    cluster.ask(0, put("k", "v")).expect("put");
    cluster.ask(0, lease(7, 100)).expect("grant");
    cluster.run(SECOND);
    let image = image(&mut cluster, 0);
    let mark = image.mark().expect("readable");
    assert_eq!(mark.index, cluster.host(0).member.applied());
    assert_eq!(mark.term, 2);
    let id = cluster.host(0).member.id().expect("running").0;
    assert_eq!(mark.conf_state.map(|state| state.voters), Some(vec![id]));
    assert_eq!(image.rows(bucket::KEY).count(), 1);
    assert_eq!(image.leases().count(), 1);
    let members: Vec<_> = image.members().map(Result::unwrap).collect();
    assert_eq!(members, cluster.host(0).member.members());
    assert_eq!(
        image.cluster_version().expect("readable").map(|v| v.to_string()).as_deref(),
        Some("3.6.0")
    );
}

#[test]
fn changes_leave_in_batches_of_a_tenth_of_a_second() {
    let mut cluster = ready(1);
    cluster.run(SECOND);
    cluster.database_mut(0).is_hung = true;
    let first = cluster.host(0).member.applied();
    puts(&mut cluster, 0, 10);
    assert_eq!(cluster.host(0).member.applied(), first + 10);
    assert_eq!(cluster.database_mut(0).queued.len(), 0);
    cluster.run(Duration::from_millis(200));
    let queued = &cluster.database_mut(0).queued;
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].consistent.0, first + 10);
}

#[test]
fn a_restart_finds_the_same_state_whatever_the_database_had_of_it() {
    for (hangs, holds_saves) in [(false, false), (false, true), (true, true)] {
        let mut cluster = ready(1);
        puts(&mut cluster, 0, 3);
        cluster.run(SECOND);
        cluster.database_mut(0).is_hung = hangs;
        cluster.database_mut(0).holds_saves = holds_saves;
        cluster.ask(0, lease(7, 100)).expect("grant");
        cluster.ask(0, leased("leased", 7)).expect("put");
        cluster.ask(0, compact(3)).expect("compacted");
        puts(&mut cluster, 0, 40);
        cluster.run(SECOND);
        let before = (cluster.host(0).member.revision(), cluster.host(0).member.leases());
        let digest = cluster.host(0).member.view().map(|view| view.hash_kv(0));
        cluster.database_mut(0).is_hung = false;
        cluster.kill(0);
        let mark = cluster.database_mut(0).mark().index;
        cluster.database_mut(0).holds_saves = false;
        cluster.start(0);
        cluster.run(6 * SECOND);
        assert_eq!((cluster.host(0).member.revision(), cluster.host(0).member.leases()), before);
        assert_eq!(cluster.host(0).member.view().map(|view| view.hash_kv(0)), digest);
        assert!(mark > 0 && cluster.host(0).member.applied() > mark);
        let after = state(&mut cluster, 0);
        cluster.restart(0);
        assert_eq!(state(&mut cluster, 0), after, "hangs: {hangs}, holds: {holds_saves}");
    }
}

#[test]
fn all_members_have_the_same_database() {
    let mut cluster = ready(3);
    puts(&mut cluster, 1, 30);
    assert_alike(&mut cluster);
}

#[test]
fn a_lease_outlives_a_restart_and_takes_its_keys_along_when_it_expires() {
    let mut cluster = ready(1);
    cluster.ask(0, lease(7, 10)).expect("grant");
    cluster.ask(0, leased("leased", 7)).expect("put");
    puts(&mut cluster, 0, 30);
    cluster.run(SECOND);
    cluster.kill(0);
    cluster.start(0);
    cluster.run(3 * SECOND);
    assert_eq!(cluster.host(0).member.leases(), [(7, 10)]);
    assert!(value(cluster.ask(0, get("leased")).expect("read")).is_some());
    cluster.run(15 * SECOND);
    assert_eq!(cluster.host(0).member.leases(), []);
    assert!(value(cluster.ask(0, get("leased")).expect("read")).is_none());
    cluster.run(SECOND);
    assert_eq!(image(&mut cluster, 0).leases().count(), 0);
}

/// So many changes of one key, more than a slice of a compaction visits.
fn many_changes(cluster: &mut Cluster, txns: usize) {
    for _ in 0..txns {
        let put = |number: usize| pb::PutRequest {
            key: format!("k{number}").into(),
            value: "v".into(),
            ..pb::PutRequest::default()
        };
        let op = |number: usize| pb::RequestOp {
            request: Some(pb::request_op::Request::RequestPut(put(number))),
        };
        let success = (0..128).map(op).collect();
        let txn = Request::Txn(pb::TxnRequest { success, ..pb::TxnRequest::default() });
        cluster.ask(0, txn).expect("put");
    }
}

#[test]
fn a_compaction_that_was_cut_short_is_resumed() {
    let mut cluster = ready(1);
    many_changes(&mut cluster, 60);
    cluster.run(SECOND);
    let revision = cluster.host(0).member.revision().expect("running");
    cluster.ask(0, compact(revision)).expect("compacted");
    cluster.kill(0);
    let before = image(&mut cluster, 0);
    assert_eq!(before.scheduled_compact_revision(), Ok(Some(revision)));
    assert_eq!(before.finished_compact_revision(), Ok(None));
    let left = before.rows(bucket::KEY).count();
    assert!((60 * 128 - 1_000..60 * 128).contains(&left), "one batch is gone of {left}");
    cluster.start(0);
    assert!(cluster.has_line(0, "resume scheduled compaction"));
    cluster.run(6 * SECOND);
    let after = image(&mut cluster, 0);
    assert_eq!(after.finished_compact_revision(), Ok(Some(revision)));
    assert_eq!(after.rows(bucket::KEY).count(), 128);
}

#[test]
fn entries_wait_behind_a_full_backlog_and_clients_hear_of_it() {
    let mut cluster = ready(1);
    cluster.database_mut(0).is_hung = true;
    let large = Request::Put(pb::PutRequest {
        key: "k".into(),
        value: vec![b'v'; 1 << 20].into(),
        ..pb::PutRequest::default()
    });
    for _ in 0..70 {
        cluster.request(0, large.clone());
    }
    cluster.run(SECOND);
    let stuck = cluster.host(0).member.applied();
    for _ in 0..6_000 {
        cluster.request(0, put("k", "v"));
    }
    assert_eq!(cluster.host(0).member.applied(), stuck);
    assert_eq!(cluster.ask(0, put("k", "v")), Err(ApiError::TooManyRequests));
    cluster.database_mut(0).is_hung = false;
    cluster.commit(0);
    cluster.run(SECOND);
    let view = cluster.host(0).member.raft_view().expect("running");
    assert_eq!(cluster.host(0).member.applied(), view.commit);
    cluster.ask(0, put("k", "w")).expect("put");
}

#[test]
fn status_tells_the_size_of_the_database() {
    let mut cluster = ready(1);
    puts(&mut cluster, 0, 10);
    cluster.run(SECOND);
    let status = |cluster: &mut Cluster| {
        let status = cluster.ask(0, Request::Status(pb::StatusRequest::default()));
        let Ok(Response::Status(status)) = status else { panic!("status") };
        (status.db_size, status.db_size_in_use)
    };
    let rows = |image: &DatabaseImage| -> usize {
        image.buckets().flat_map(|(_, rows)| rows).map(|(key, row)| key.len() + row.len()).sum()
    };
    let expected = rows(&image(&mut cluster, 0)) as i64;
    assert_eq!(status(&mut cluster), (expected, expected));
    cluster.ask(0, compact(9)).expect("compacted");
    cluster.run(SECOND);
    let less = rows(&image(&mut cluster, 0)) as i64;
    let (total, in_use) = status(&mut cluster);
    assert!(total >= expected && in_use == less && less < expected);
    let defragment = Request::Defragment(pb::DefragmentRequest::default());
    cluster.ask(0, defragment).expect("defragmented");
    assert_eq!(status(&mut cluster), (less, less));
}

#[test]
fn a_member_that_is_alone_by_force_keeps_what_the_database_has() {
    let mut cluster = ready(3);
    puts(&mut cluster, 0, 30);
    cluster.run(SECOND);
    let revision = cluster.host(0).member.revision();
    (0..3).for_each(|place| cluster.kill(place));
    cluster.configs[0].force_new_cluster = true;
    cluster.start(0);
    cluster.run(6 * SECOND);
    assert!(cluster.host(0).is_ready);
    assert_eq!(cluster.host(0).member.members().len(), 1);
    assert_eq!(cluster.host(0).member.revision(), revision);
    cluster.ask(0, put("k", "w")).expect("put");
    cluster.configs[0].force_new_cluster = false;
    cluster.restart(0);
    assert_eq!(cluster.host(0).member.members().len(), 1);
    assert_eq!(value(cluster.ask(0, get("k")).expect("read")).as_deref(), Some("w"));
}

#[test]
fn a_database_that_is_behind_its_snapshot_is_refused() {
    let mut cluster = ready(1);
    puts(&mut cluster, 0, 10);
    cluster.run(SECOND);
    let old = image(&mut cluster, 0);
    puts(&mut cluster, 0, 30);
    cluster.run(SECOND);
    cluster.kill(0);
    cluster.database_mut(0).image = old;
    cluster.start(0);
    let stop = cluster.host(0).stop.clone().expect("it stops");
    assert_eq!(stop.exit_code, 2);
    assert!(stop.reason.contains("does not match with snapshot"), "{}", stop.reason);
    cluster.database_mut(0).image = DatabaseImage::default();
    cluster.start(0);
    let stop = cluster.host(0).stop.clone().expect("it stops");
    assert!(stop.reason.ends_with("(snap: snapshot file doesn't exist)"), "{}", stop.reason);
}

#[test]
fn a_database_of_before_3_5_has_its_configuration_in_its_members() {
    let mut cluster = ready(3);
    puts(&mut cluster, 0, 30);
    cluster.run(SECOND);
    cluster.kill(0);
    let mut rows = DatabaseImage::new();
    for (name, bucket) in image(&mut cluster, 0).buckets() {
        rows.create_bucket(name.clone());
        for (key, value) in bucket.iter().filter(|(key, _)| key[..] != b"confState"[..]) {
            rows.insert(name.clone(), key.clone(), value.clone());
        }
    }
    cluster.database_mut(0).image = rows;
    cluster.database_mut(0).marks.clear();
    cluster.start(0);
    cluster.run(4 * SECOND);
    cluster.ask(0, put("k", "w")).expect("put");
    cluster.run(SECOND);
    let voters =
        image(&mut cluster, 0).mark().expect("readable").conf_state.map(|state| state.voters);
    assert_eq!(voters.map(|voters| voters.len()), Some(3));
    assert_alike(&mut cluster);
}

#[test]
fn a_commit_index_that_was_lost_is_found_again() {
    let mut cluster = ready(1);
    puts(&mut cluster, 0, 30);
    cluster.run(SECOND);
    let before = state(&mut cluster, 0);
    cluster.kill(0);
    let index = cluster.database_mut(0).mark().index;
    let marks = std::mem::take(&mut cluster.database_mut(0).marks);
    for lost in [4, marks[0].index] {
        cluster.database_mut(0).marks = marks.clone();
        let log = cluster.host_mut(0).log.as_mut().expect("kept");
        assert!(index > lost);
        log.hard_state.commit = lost;
        cluster.start(0);
        cluster.run(6 * SECOND);
        assert_eq!(state(&mut cluster, 0).0, before.0);
        assert!(cluster.host(0).member.applied() > index);
        cluster.kill(0);
    }
}
