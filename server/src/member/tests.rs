//! Members as clients and operators see them, without a world around them.

mod cluster;
mod database;
mod downgrades;
mod maintenance;
mod persistence;
mod quota;
mod rows;
mod snapshots;
mod texts;
mod timeouts;
mod versions;

use std::time::Duration;

use super::io::{Request, Response, StreamItem, StreamKind, StreamMessage};
use crate::api::ApiError;
use crate::config::ClusterState;
use crate::proto::etcdserverpb as pb;
use cluster::Cluster;

const SECOND: Duration = Duration::from_secs(1);

fn put(key: &'static str, value: &'static str) -> Request {
    Request::Put(pb::PutRequest {
        key: key.into(),
        value: value.into(),
        ..pb::PutRequest::default()
    })
}

fn get(key: &'static str) -> Request {
    Request::Range(pb::RangeRequest { key: key.into(), ..pb::RangeRequest::default() })
}

fn serializable(key: &'static str) -> Request {
    Request::Range(pb::RangeRequest {
        key: key.into(),
        serializable: true,
        ..pb::RangeRequest::default()
    })
}

fn value(response: Response) -> Option<String> {
    let Response::Range(range) = response else { panic!("not a range: {response:?}") };
    range.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}

#[test]
fn a_single_new_member_is_at_index_4_in_term_2() {
    let cluster = Cluster::ready(1);
    let view = cluster.host(0).member.raft_view().expect("running");
    assert_eq!((view.term, view.commit, view.last_index), (2, 4, 4));
    assert!(cluster.has_line(0, "set initial cluster version"));
}

#[test]
fn three_members_elect_a_leader_and_replicate() {
    let mut cluster = Cluster::ready(3);
    for place in 0..3 {
        let Ok(Response::Put(_)) = cluster.ask(place, put("k", "v")) else { panic!("put") };
    }
    for place in 0..3 {
        let response = cluster.ask(place, get("k")).expect("linearizable read");
        assert_eq!(value(response).as_deref(), Some("v"));
        assert_eq!(cluster.host(place).member.revision(), Some(4));
    }
}

#[test]
fn an_isolated_leader_serves_no_linearizable_read() {
    let mut cluster = Cluster::ready(3);
    let old = cluster.leader().expect("elected");
    cluster.ask(old, put("k", "1")).expect("put");
    cluster.isolate(old);
    let read = cluster.request(old, get("k"));
    cluster.run(3 * SECOND);
    let new = (0..3)
        .find(|place| *place != old && cluster.leader() == Some(*place))
        .or_else(|| cluster.leader().filter(|place| *place != old))
        .expect("the others elect");
    cluster.ask(new, put("k", "2")).expect("put at the majority");
    cluster.run(8 * SECOND);
    let result = cluster.replies.remove(&read).expect("it is answered");
    assert!(result.is_err(), "{result:?}");
    let stale = cluster.ask(old, serializable("k")).expect("serializable read");
    assert_eq!(value(stale).as_deref(), Some("1"));
    cluster.cut.clear();
    cluster.run(3 * SECOND);
    let fresh = cluster.ask(old, get("k")).expect("read after healing");
    assert_eq!(value(fresh).as_deref(), Some("2"));
}

#[test]
fn a_put_without_any_leader_waits_and_then_certainly_fails() {
    let mut cluster = Cluster::ready(3);
    cluster.kill(1);
    cluster.kill(2);
    cluster.run(4 * SECOND);
    let result = cluster.ask(0, put("k", "v"));
    assert_eq!(result, Err(ApiError::DeadlineExceeded));
}

#[test]
fn everything_survives_the_death_of_all() {
    let mut cluster = Cluster::ready(3);
    cluster.ask(0, put("k", "v")).expect("put");
    for place in 0..3 {
        cluster.kill(place);
    }
    for place in 0..3 {
        cluster.start(place);
    }
    cluster.run(6 * SECOND);
    let response = cluster.ask(1, get("k")).expect("read");
    assert_eq!(value(response).as_deref(), Some("v"));
}

#[test]
fn a_leader_with_a_hung_disk_is_replaced() {
    let mut cluster = Cluster::ready(3);
    let old = cluster.leader().expect("elected");
    cluster.host_mut(old).is_hung = true;
    let put_id = cluster.request(old, put("k", "v"));
    cluster.run(4 * SECOND);
    let leaders: Vec<usize> = (0..3)
        .filter(|place| *place != old)
        .filter(|place| {
            let view = cluster.host(*place).member.raft_view().expect("running");
            view.role == super::io::Role::Leader
        })
        .collect();
    assert_eq!(leaders.len(), 1, "one of the others leads");
    cluster.host_mut(old).is_hung = false;
    cluster.flush(old);
    cluster.run(6 * SECOND);
    assert!(cluster.replies.contains_key(&put_id));
    cluster.ask(old, put("k", "w")).expect("the old leader follows and forwards");
}

#[test]
fn watchers_see_writes_of_other_members() {
    let mut cluster = Cluster::ready(3);
    let stream = cluster.open(2, StreamKind::Watch);
    let create = pb::WatchCreateRequest { key: "k".into(), ..Default::default() };
    let message = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
    };
    let message = StreamMessage::Watch(message);
    cluster.input(2, super::io::Input::StreamMessage { id: stream, message: Box::new(message) });
    cluster.ask(0, put("k", "v")).expect("put");
    cluster.run(SECOND);
    let items = &cluster.items[&stream];
    let StreamItem::Watch(event) = &items[1] else { panic!("{items:?}") };
    assert_eq!(event.events.len(), 1);
    assert_eq!(event.header.as_ref().map(|header| header.revision), Some(2));
    assert_ne!(event.header.as_ref().map(|header| header.member_id), Some(0));
}

#[test]
fn a_lease_expires_with_its_keys_and_is_renewed_through_any_member() {
    let mut cluster = Cluster::ready(3);
    let grant = pb::LeaseGrantRequest { id: 7, ttl: 5 };
    cluster.ask(0, Request::LeaseGrant(grant)).expect("grant");
    let attached = pb::PutRequest {
        key: "k".into(),
        value: "v".into(),
        lease: 7,
        ..pb::PutRequest::default()
    };
    cluster.ask(1, Request::Put(attached)).expect("put");
    let stream = cluster.open(2, StreamKind::KeepAlive);
    for _ in 0..3 {
        cluster.run(3 * SECOND);
        let message = StreamMessage::KeepAlive(pb::LeaseKeepAliveRequest { id: 7 });
        cluster
            .input(2, super::io::Input::StreamMessage { id: stream, message: Box::new(message) });
    }
    cluster.run(SECOND);
    let ttl = |item: &StreamItem| match item {
        StreamItem::KeepAlive(response) => response.ttl,
        other => panic!("{other:?}"),
    };
    assert_eq!(cluster.items[&stream].iter().map(ttl).collect::<Vec<_>>(), [5, 5, 5]);
    assert!(value(cluster.ask(0, get("k")).expect("read")).is_some());
    cluster.run(6 * SECOND);
    assert!(value(cluster.ask(0, get("k")).expect("read")).is_none());
    let ask = pb::LeaseTimeToLiveRequest { id: 7, keys: true };
    for place in 0..3 {
        let response = cluster.ask(place, Request::LeaseTimeToLive(ask)).expect("ttl");
        let Response::LeaseTimeToLive(response) = response else { panic!() };
        assert_eq!((response.id, response.ttl), (7, -1));
    }
}

#[test]
fn leadership_moves_on_request() {
    let mut cluster = Cluster::ready(3);
    let old = cluster.leader().expect("elected");
    let new = (old + 1) % 3;
    let target_id = cluster.host(new).member.id().expect("running").0;
    let request = Request::MoveLeader(pb::MoveLeaderRequest { target_id });
    assert_eq!(cluster.ask(new, request.clone()), Err(ApiError::NotLeader));
    cluster.ask(old, request).expect("moved");
    assert_eq!(cluster.leader(), Some(new));
}

#[test]
fn an_added_learner_joins_and_is_promoted() {
    let mut cluster = Cluster::ready(3);
    let (place, id) = cluster.add(true);
    let promote = Request::MemberPromote(pb::MemberPromoteRequest { id: id.0 });
    assert_eq!(cluster.ask(1, promote.clone()), Err(ApiError::LearnerNotReady));
    cluster.start(place);
    cluster.run(4 * SECOND);
    assert_eq!(cluster.ask(place, get("k")), Err(ApiError::NotSupportedForLearner));
    let Ok(Response::MemberPromote(promoted)) = cluster.ask(2, promote) else { panic!("promote") };
    assert_eq!(promoted.members.len(), 4);
    assert!(promoted.members.iter().all(|member| !member.is_learner));
    cluster.ask(place, put("k", "v")).expect("the new voter serves");
}

#[test]
fn a_removed_member_stops_by_itself() {
    let mut cluster = Cluster::ready(3);
    let id = cluster.host(2).member.id().expect("running").0;
    let remove = Request::MemberRemove(pb::MemberRemoveRequest { id });
    cluster.ask(0, remove).expect("removed");
    cluster.run(2 * SECOND);
    let stop = cluster.host(2).stop.clone().expect("it stops");
    assert_eq!(stop.exit_code, 0);
    assert!(cluster.has_line(2, "the member has been permanently removed from the cluster"));
}

#[test]
fn a_wiped_member_that_joins_under_its_old_id_dies_as_etcd_does() {
    let mut cluster = Cluster::ready(3);
    cluster.ask(0, put("k", "v")).expect("put");
    let leader = cluster.leader().expect("elected");
    let wiped = (leader + 1) % 3;
    cluster.wipe(wiped);
    cluster.configs[wiped].initial_cluster_state = ClusterState::Existing;
    cluster.start(wiped);
    cluster.run(SECOND);
    let stop = cluster.host(wiped).stop.clone().expect("it dies");
    assert_eq!(stop.exit_code, 2);
    assert!(stop.reason.contains("is out of range [lastIndex(0)]"), "{}", stop.reason);
}
