//! The space quota: refusals, the alarm's cycle, and what restarts make of both.

use std::time::Duration;

use super::cluster::Cluster;
use super::get;
use crate::api::ApiError;
use crate::config::CompatVersion;
use crate::member::io::{Request, Response};
use crate::proto::etcdserverpb as pb;

const SECOND: Duration = Duration::from_secs(1);
const QUOTA: i64 = 10_000;

/// A put that costs 4000 bytes.
fn put(key: &'static str) -> Request {
    let value = vec![b'v'; 4_000 - 256 - key.len()].into();
    Request::Put(pb::PutRequest { key: key.into(), value, ..Default::default() })
}

fn delete(key: &'static str) -> Request {
    Request::DeleteRange(pb::DeleteRangeRequest { key: key.into(), ..Default::default() })
}

fn compact(revision: i64) -> Request {
    Request::Compact(pb::CompactionRequest { revision, physical: true })
}

fn alarm(cluster: &Cluster, action: pb::alarm_request::AlarmAction) -> Request {
    Request::Alarm(pb::AlarmRequest {
        action: action as i32,
        member_id: cluster.host(0).member.id().expect("running").0,
        alarm: pb::AlarmType::Nospace as i32,
    })
}

fn disarm(cluster: &mut Cluster) {
    let request = alarm(cluster, pb::alarm_request::AlarmAction::Deactivate);
    cluster.ask(0, request).expect("disarmed");
}

fn alarms(cluster: &mut Cluster) -> usize {
    let request = alarm(cluster, pb::alarm_request::AlarmAction::Get);
    let Ok(Response::Alarm(response)) = cluster.ask(0, request) else { panic!("alarms") };
    response.alarms.len()
}

fn status(cluster: &mut Cluster, place: usize) -> pb::StatusResponse {
    let request = Request::Status(pb::StatusRequest::default());
    let Ok(Response::Status(status)) = cluster.ask(place, request) else { panic!("status") };
    *status
}

fn limited(size: usize, compat: CompatVersion) -> Cluster {
    let mut cluster = Cluster::new(size);
    for config in &mut cluster.configs {
        config.quota_backend_bytes = QUOTA;
        config.compat = compat;
    }
    cluster.start_all();
    cluster
}

#[test]
fn the_alarm_refuses_until_space_is_freed_and_it_is_disarmed() {
    let mut cluster = limited(1, CompatVersion::V3_6);
    for key in ["a", "b"] {
        cluster.ask(0, put(key)).expect("there is space");
    }
    assert_eq!(cluster.ask(0, put("c")), Err(ApiError::NoSpace));
    assert_eq!(alarms(&mut cluster), 1, "raised before the answer");
    let grant = Request::LeaseGrant(pb::LeaseGrantRequest { id: 1, ttl: 60 });
    assert_eq!(cluster.ask(0, grant.clone()), Err(ApiError::NoSpace), "though it would fit");
    cluster.ask(0, get("a")).expect("reads are served");
    cluster.ask(0, delete("a")).expect("deletes are served");
    disarm(&mut cluster);
    assert_eq!(cluster.ask(0, put("c")), Err(ApiError::NoSpace), "a delete frees nothing");
    assert_eq!(alarms(&mut cluster), 1);
    cluster.ask(0, compact(4)).expect("compacted");
    cluster.run(SECOND);
    let after = status(&mut cluster, 0);
    assert_eq!((after.db_size, after.db_size_in_use), (8_257, 4_257), "the tombstone stays");
    let defragment = Request::Defragment(pb::DefragmentRequest::default());
    cluster.ask(0, defragment).expect("defragmented");
    assert_eq!(status(&mut cluster, 0).db_size, 4_257);
    assert_eq!(cluster.ask(0, put("c")), Err(ApiError::NoSpace), "the alarm stays");
    disarm(&mut cluster);
    cluster.ask(0, grant).expect("granted");
    cluster.ask(0, put("c")).expect("there is space again");
}

#[test]
fn an_entry_that_exceeds_the_quota_only_when_applied_has_its_effect_and_is_answered_with_none() {
    let mut cluster = limited(1, CompatVersion::V3_6);
    cluster.ask(0, put("a")).expect("there is space");
    cluster.host_mut(0).is_hung = true;
    let fits = cluster.request(0, put("b"));
    let exceeds = cluster.request(0, put("c"));
    cluster.host_mut(0).is_hung = false;
    cluster.flush(0);
    cluster.run(SECOND);
    assert!(cluster.replies.remove(&fits).expect("answered").is_ok());
    assert_eq!(cluster.replies.remove(&exceeds), Some(Err(ApiError::NoSpace)));
    assert_eq!(alarms(&mut cluster), 1);
    assert!(cluster.has_line(
        0,
        "message exceeded backend quota; raising alarm quota-size-bytes=10000 \
         quota-size=10 kB error=etcdserver: no space"
    ));
    let Ok(Response::Range(range)) = cluster.ask(0, get("c")) else { panic!("range") };
    assert_eq!(range.kvs.len(), 1, "it is there");
}

#[test]
fn an_alarm_that_was_disarmed_is_not_raised_again_by_a_restart() {
    let mut cluster = limited(1, CompatVersion::V3_6);
    cluster.host_mut(0).is_hung = true;
    for key in ["a", "b", "c"] {
        cluster.request(0, put(key));
    }
    cluster.host_mut(0).is_hung = false;
    cluster.flush(0);
    cluster.run(SECOND);
    assert_eq!(alarms(&mut cluster), 1);
    cluster.restart(0);
    assert_eq!(alarms(&mut cluster), 1, "it survives a restart");
    disarm(&mut cluster);
    cluster.restart(0);
    assert_eq!(alarms(&mut cluster), 0);
}

#[test]
fn without_a_quota_nothing_is_refused() {
    let mut cluster = Cluster::new(1);
    cluster.configs[0].quota_backend_bytes = -1;
    cluster.start_all();
    for key in ["a", "b", "c"] {
        cluster.ask(0, put(key)).expect("there is space");
    }
    let status = status(&mut cluster, 0);
    assert_eq!((status.db_size, status.db_size_quota), (12_000, 0));
}

#[test]
fn a_member_that_has_space_refuses_for_one_that_has_not() {
    let mut cluster = Cluster::new(3);
    cluster.configs[1].quota_backend_bytes = QUOTA;
    cluster.start_all();
    for key in ["a", "b", "c"] {
        cluster.ask(0, put(key)).expect("n1 has space");
    }
    cluster.run(SECOND);
    assert_eq!(cluster.ask(0, put("d")), Err(ApiError::NoSpace));
    let second = cluster.host(1).member.id().expect("running");
    let alarm = format!("memberID:{} alarm:NOSPACE ", second.0);
    assert_eq!(status(&mut cluster, 2).errors, [alarm]);
}

#[test]
fn each_version_tells_of_the_alarm_in_its_own_way() {
    for (compat, space, tells) in [
        (CompatVersion::V3_5, " ", true),
        (CompatVersion::V3_6, " ", false),
        (CompatVersion::V3_7, "", false),
    ] {
        let mut cluster = limited(1, compat);
        for key in ["a", "b"] {
            cluster.ask(0, put(key)).expect("there is space");
        }
        assert_eq!(cluster.ask(0, put("c")), Err(ApiError::NoSpace));
        let id = cluster.host(0).member.id().expect("running");
        let alarm = format!("memberID:{} alarm:NOSPACE{space}", id.0);
        assert_eq!(status(&mut cluster, 0).errors, [alarm]);
        disarm(&mut cluster);
        assert_eq!(status(&mut cluster, 0).errors, [""; 0]);
        for text in ["alarm raised", "alarm disarmed"] {
            let line = format!("{text} alarm=NOSPACE from={id}");
            assert_eq!(cluster.has_line(0, &line), tells, "{compat:?} {text}");
        }
    }
}
