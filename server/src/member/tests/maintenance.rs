//! What a leader does by itself to keep a cluster in order: compaction of old history, and checks
//! whether members hold the same.

use std::time::Duration;

use super::cluster::Cluster;
use super::{get, put};
use crate::api::ApiError;
use crate::config::{AutoCompaction, Config};
use crate::member::id::MemberId;
use crate::member::io::{Request, Response};
use crate::proto::etcdserverpb as pb;
use crate::storage::schema::bucket;

const SECOND: Duration = Duration::from_secs(1);

fn compact(revision: i64) -> Request {
    Request::Compact(pb::CompactionRequest { revision, physical: true })
}

fn alarm(action: pb::alarm_request::AlarmAction, member: u64) -> Request {
    let (action, alarm) = (action as i32, pb::AlarmType::Corrupt as i32);
    Request::Alarm(pb::AlarmRequest { action, member_id: member, alarm })
}

/// Whom a member knows as corrupt.
fn corrupt(cluster: &mut Cluster, place: usize) -> Vec<MemberId> {
    let request = alarm(pb::alarm_request::AlarmAction::Get, 0);
    let Ok(Response::Alarm(response)) = cluster.ask(place, request) else { panic!("alarms") };
    response.alarms.iter().map(|alarm| MemberId(alarm.member_id)).collect()
}

fn lines(cluster: &Cluster, place: usize, text: &str) -> usize {
    cluster.host(place).lines.iter().filter(|line| line.contains(text)).count()
}

/// Members compare the hashes of compactions every second.
fn checking_compactions(config: &mut Config) {
    config.compact_hash_check = true;
    config.compact_hash_check_time = SECOND;
}

/// Members with databases of which the last one's has a bit that differs in the newest value, found
/// when it is started again.
fn diverged(size: usize, configure: impl Fn(&mut Config)) -> (Cluster, usize) {
    let mut cluster = Cluster::new(size);
    cluster.keeps_database = true;
    cluster.configs.iter_mut().for_each(configure);
    cluster.start_all();
    let place = (0..size).rev().find(|place| cluster.leader() != Some(*place)).expect("a follower");
    for value in ["1", "2", "3"] {
        cluster.ask(place, put("k", value)).expect("put");
    }
    cluster.run(SECOND);
    cluster.kill(place);
    let image = &mut cluster.database_mut(place).image;
    let (key, value) = image.rows(bucket::KEY).last().expect("a row");
    let (key, mut value) = (key.clone(), value.to_vec());
    let at = value.iter().rposition(|byte| *byte == b'3').expect("the value");
    value[at] ^= 1;
    image.apply(&[crate::storage::database::BucketChange {
        bucket: bucket::KEY,
        key,
        value: Some(value.into()),
    }]);
    (cluster, place)
}

fn id(cluster: &Cluster, place: usize) -> MemberId {
    cluster.host(place).member.id().expect("running")
}

#[test]
fn the_leader_compacts_what_is_older_than_the_period() {
    let mut cluster = Cluster::new(3);
    for config in &mut cluster.configs {
        config.auto_compaction = AutoCompaction::Periodic(10 * SECOND);
    }
    cluster.start_all();
    for _ in 0..6 {
        cluster.ask(0, put("k", "v")).expect("put");
        cluster.run(SECOND / 2);
    }
    cluster.run(10 * SECOND);
    let leader = cluster.leader().expect("elected");
    for place in 0..3 {
        let expected = usize::from(place == leader);
        assert_eq!(lines(&cluster, place, "starting auto periodic compaction"), expected);
        assert_eq!(lines(&cluster, place, "completed auto periodic compaction"), expected);
    }
    cluster.run(10 * SECOND);
    let compacted = Request::Range(pb::RangeRequest {
        key: "k".into(),
        revision: 2,
        ..pb::RangeRequest::default()
    });
    assert_eq!(cluster.ask(0, compacted), Err(ApiError::Compacted));
    cluster.ask(0, get("k")).expect("the newest is kept");
}

#[test]
fn so_many_revisions_are_kept() {
    let mut cluster = Cluster::new(1);
    cluster.configs[0].auto_compaction = AutoCompaction::Revisions(3);
    cluster.start_all();
    for _ in 0..9 {
        cluster.ask(0, put("k", "v")).expect("put");
    }
    cluster.run(301 * SECOND);
    let text = "completed auto revision compaction revision=7 revision-compaction-retention=3";
    assert!(cluster.has_line(0, text), "{:?}", cluster.host(0).lines);
    cluster.run(300 * SECOND);
    assert_eq!(lines(&cluster, 0, "starting auto revision compaction"), 1, "nothing is new");
}

#[test]
fn a_compaction_that_a_client_was_ahead_of_counts_as_done() {
    let mut cluster = Cluster::new(1);
    cluster.configs[0].auto_compaction = AutoCompaction::Periodic(10 * SECOND);
    cluster.start_all();
    cluster.ask(0, put("k", "v")).expect("put");
    cluster.ask(0, compact(2)).expect("compacted");
    cluster.run(10 * SECOND);
    assert!(
        cluster.has_line(0, "completed auto periodic compaction revision=1 compact-period=10s")
    );
}

#[test]
fn the_periodic_check_finds_the_member_that_differs() {
    let check = |config: &mut Config| config.corrupt_check_time = 3 * SECOND;
    let (mut cluster, place) = diverged(3, check);
    assert_eq!(lines(&cluster, place, "enabled corruption checking"), 1);
    cluster.start(place);
    cluster.run(9 * SECOND);
    let leader = cluster.leader().expect("elected");
    let wrong = id(&cluster, place);
    assert!(cluster.has_line(leader, "same compact revision then hashes must match"));
    for other in 0..3 {
        assert_eq!(corrupt(&mut cluster, other), [wrong], "n{}", other + 1);
        assert_eq!(cluster.ask(other, put("k", "4")), Err(ApiError::Corrupt));
        cluster.ask(other, get("k")).expect("reads are served");
    }
}

#[test]
fn equal_members_pass_every_check() {
    let mut cluster = Cluster::new(3);
    for config in &mut cluster.configs {
        config.corrupt_check_time = SECOND;
        checking_compactions(config);
    }
    cluster.start_all();
    for revision in 2..20 {
        cluster.ask(0, put("k", "v")).expect("put");
        cluster.ask(1, compact(revision)).expect("compacted");
        cluster.run(SECOND / 3);
    }
    cluster.run(2 * SECOND);
    let leader = cluster.leader().expect("elected");
    assert!(cluster.has_line(leader, "finished peer corruption check number-of-peers-checked=2"));
    assert!(cluster.has_line(leader, "successfully checked hash on whole cluster"));
    assert_eq!(corrupt(&mut cluster, 0), []);
    let before =
        lines(&cluster, leader, "finished compaction hash check number-of-hashes-checked=0");
    cluster.run(2 * SECOND);
    let after =
        lines(&cluster, leader, "finished compaction hash check number-of-hashes-checked=0");
    assert_eq!(after, before + 2, "what everybody agreed about is not asked for again");
}

#[test]
fn a_member_that_does_not_answer_is_not_blamed() {
    let mut cluster = Cluster::new(3);
    for config in &mut cluster.configs {
        config.corrupt_check_time = SECOND;
        checking_compactions(config);
    }
    cluster.start_all();
    let leader = cluster.leader().expect("elected");
    let silent = (leader + 1) % 3;
    cluster.kill(silent);
    cluster.ask(leader, put("k", "v")).expect("put");
    cluster.ask(leader, compact(2)).expect("compacted");
    cluster.run(3 * SECOND);
    assert!(cluster.has_line(leader, "finished peer corruption check number-of-peers-checked=1"));
    assert!(cluster.has_line(leader, "Skipped peer's hash"));
    assert!(cluster.has_line(leader, "skipped revision in compaction hash check"));
    assert_eq!(corrupt(&mut cluster, leader), []);
}

#[test]
fn the_hashes_of_compactions_tell_who_differs_from_a_quorum() {
    let (mut cluster, place) = diverged(3, checking_compactions);
    cluster.start(place);
    cluster.run(3 * SECOND);
    let leader = cluster.leader().expect("elected");
    assert_eq!(corrupt(&mut cluster, leader), [], "nothing was compacted");
    cluster.ask(leader, compact(4)).expect("compacted");
    cluster.run(3 * SECOND);
    assert!(cluster.has_line(leader, "Detected compaction hash mismatch leader-id"));
    assert_eq!(corrupt(&mut cluster, leader), [id(&cluster, place)]);
}

#[test]
fn two_that_differ_leave_nobody_to_blame() {
    let (mut cluster, place) = diverged(2, checking_compactions);
    cluster.start(place);
    cluster.run(3 * SECOND);
    let leader = cluster.leader().expect("elected");
    cluster.ask(leader, compact(4)).expect("compacted");
    cluster.run(3 * SECOND);
    assert!(cluster.has_line(leader, "so intentionally set the memberID as 0"));
    assert_eq!(corrupt(&mut cluster, leader), [MemberId(0)]);
}

#[test]
fn a_member_that_differs_refuses_to_start() {
    let (mut cluster, place) = diverged(3, |config| config.initial_corrupt_check = true);
    let wrong = id(&cluster, place);
    cluster.start(place);
    let stop = cluster.host(place).stop.clone().expect("it does not start");
    assert_eq!(stop.exit_code, 1);
    assert_eq!(stop.reason, format!("{wrong} found data inconsistency with peers"));
    assert!(cluster.has_line(place, "found different hash values from remote peer"));
    assert!(cluster.has_line(place, "checkInitialHashKV failed"));
}

#[test]
fn a_member_that_is_only_behind_starts() {
    let mut cluster = Cluster::new(3);
    cluster.keeps_database = true;
    cluster.configs.iter_mut().for_each(|config| config.initial_corrupt_check = true);
    cluster.start_all();
    let leader = cluster.leader().expect("elected");
    let place = (leader + 1) % 3;
    cluster.ask(leader, put("k", "1")).expect("put");
    cluster.run(SECOND);
    cluster.kill(place);
    for value in ["2", "3"] {
        cluster.ask(leader, put("k", value)).expect("put");
    }
    cluster.ask(leader, compact(4)).expect("compacted");
    cluster.start(place);
    let text = "cannot fetch hash from remote peer; local member is behind";
    assert_eq!(lines(&cluster, place, text), 2);
    cluster.run(6 * SECOND);
    assert!(cluster.has_line(place, "initial corruption checking passed; no corruption"));
    cluster.ask(place, get("k")).expect("it serves");
}

#[test]
fn a_member_that_cannot_ask_anybody_starts() {
    let (mut cluster, place) = diverged(3, |config| config.initial_corrupt_check = true);
    cluster.isolate(place);
    cluster.start(place);
    assert_eq!(lines(&cluster, place, "failed hash kv request"), 2);
    assert!(cluster.has_line(place, "initial corruption checking passed; no corruption"));
}

#[test]
fn the_corrupt_alarm_refuses_changes_until_it_is_disarmed_and_outlives_restarts() {
    use pb::alarm_request::AlarmAction::{Activate, Deactivate};
    let mut cluster = super::persistence::ready(3);
    cluster.ask(0, put("k", "v")).expect("put");
    let wrong = id(&cluster, 1).0;
    cluster.ask(0, alarm(Activate, wrong)).expect("raised");
    cluster.run(SECOND);
    cluster.restart(2);
    assert_eq!(corrupt(&mut cluster, 2), [MemberId(wrong)]);
    let txn = |success| Request::Txn(pb::TxnRequest { success, ..pb::TxnRequest::default() });
    let delete = pb::DeleteRangeRequest { key: "k".into(), ..Default::default() };
    let operation = pb::RequestOp {
        request: Some(pb::request_op::Request::RequestDeleteRange(delete.clone())),
    };
    let refused = [
        put("k", "w"),
        Request::DeleteRange(delete),
        txn(vec![operation]),
        compact(2),
        Request::LeaseGrant(pb::LeaseGrantRequest { id: 7, ttl: 60 }),
        Request::LeaseRevoke(pb::LeaseRevokeRequest { id: 7 }),
    ];
    for request in refused {
        assert_eq!(cluster.ask(2, request), Err(ApiError::Corrupt));
    }
    cluster.ask(2, txn(Vec::new())).expect("it changes nothing");
    cluster.ask(2, get("k")).expect("reads are served");
    cluster.ask(2, alarm(Deactivate, 0)).expect("nobody of this name is corrupt");
    assert_eq!(cluster.ask(2, put("k", "w")), Err(ApiError::Corrupt));
    cluster.ask(2, alarm(Deactivate, wrong)).expect("disarmed");
    cluster.ask(2, put("k", "w")).expect("put");
}

#[test]
fn members_of_other_clusters_are_told_no_hash() {
    use crate::member::id::{CallId, ClusterId};
    use crate::member::io::{Input, Output, Outputs, PeerAnswer, PeerCall, PeerCallError};
    let mut cluster = Cluster::ready(1);
    let now = cluster.time();
    let ask = |cluster: Option<ClusterId>, host: &mut super::cluster::Host| {
        let (call, mut out) = (PeerCall::HashKv { cluster, revision: 0 }, Outputs::new());
        host.member.step(now, Input::PeerCall { id: CallId(9), call }, &mut out);
        for output in out.drain().collect::<Vec<_>>() {
            match output {
                Output::Work(work) => {
                    host.member.step(now, Input::WorkDone(Box::new(work.run())), &mut out);
                }
                Output::PeerAnswer { result, .. } => return result,
                _ => {}
            }
        }
        let answer = out.drain().find_map(|output| match output {
            Output::PeerAnswer { result, .. } => Some(result),
            _ => None,
        });
        answer.expect("an answer")
    };
    let host = cluster.host_mut(0);
    let own = host.member.cluster_id();
    let foreign = ask(Some(ClusterId(1)), host);
    let body = "cluster ID mismatch".to_owned();
    assert_eq!(foreign, Err(PeerCallError::Refused { status: 412, body }));
    assert!(matches!(ask(own, host), Ok(PeerAnswer::HashKv(_))));
    assert!(matches!(ask(None, host), Ok(PeerAnswer::HashKv(_))), "older ones do not say");
}

#[test]
fn before_3_6_nobody_is_told_which_revision_was_hashed_and_members_are_compared_all_the_same() {
    let (mut cluster, place) = diverged(3, |config| {
        config.compat = crate::config::CompatVersion::V3_5;
        config.corrupt_check_time = 3 * SECOND;
    });
    cluster.start(place);
    cluster.run(9 * SECOND);
    let hash = Request::HashKv(pb::HashKvRequest { revision: 3 });
    let Ok(Response::HashKv(hash)) = cluster.ask(0, hash) else { panic!("hash") };
    assert_eq!(hash.hash_revision, 0);
    assert_eq!(corrupt(&mut cluster, 0), [id(&cluster, place)]);
}

#[test]
fn files_are_purged_at_the_start_and_every_half_minute() {
    let mut cluster = Cluster::new(1);
    cluster.keeps_database = true;
    cluster.configs[0].max_snapshots = 0;
    cluster.start_all();
    assert_eq!(cluster.database_mut(0).purges, 1);
    assert_eq!(lines(&cluster, 0, "started to purge file"), 1, "snapshots are all kept");
    cluster.run(20 * SECOND);
    assert_eq!(cluster.database_mut(0).purges, 1);
    cluster.run(10 * SECOND);
    assert_eq!(cluster.database_mut(0).purges, 2);
    cluster.run(30 * SECOND);
    assert_eq!(cluster.database_mut(0).purges, 3);
}

#[test]
fn who_keeps_all_files_purges_none() {
    let mut cluster = Cluster::new(1);
    cluster.keeps_database = true;
    cluster.configs[0].max_snapshots = 0;
    cluster.configs[0].max_wals = 0;
    cluster.start_all();
    cluster.run(40 * SECOND);
    assert_eq!(cluster.database_mut(0).purges, 0);
    assert_eq!(lines(&cluster, 0, "started to purge file"), 0);
}
