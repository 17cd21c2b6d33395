//! Requests that wait in vain: in which of etcd's words each is answered.

use std::time::Duration;

use raft::eraftpb::MessageType;

use super::cluster::Cluster;
use super::{get, put};
use crate::api::ApiError;
use crate::member::id::MemberId;
use crate::member::io::{Input, Request, Response, Role, StreamItem, StreamKind, StreamMessage};
use crate::proto::etcdserverpb as pb;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

fn id(cluster: &Cluster, place: usize) -> MemberId {
    cluster.host(place).member.id().expect("running")
}

fn leader(cluster: &Cluster) -> usize {
    cluster.leader().expect("elected")
}

/// Tells a member that a peer is out of reach and, at once, within it again.
fn reconnect(cluster: &mut Cluster, place: usize, peer: MemberId) {
    cluster.run(TICK);
    cluster.input(place, Input::PeerUnreachable(peer));
    cluster.input(place, Input::PeerActive(peer));
}

#[test]
fn a_request_from_before_an_election_may_have_failed_with_the_old_leader() {
    let mut cluster = Cluster::ready(3);
    let old = leader(&cluster);
    let follower = (old + 1) % 3;
    cluster.isolate(old);
    cluster.run(SECOND / 2);
    let request = cluster.request(follower, put("k", "v"));
    cluster.run(8 * SECOND);
    assert_eq!(cluster.replies.remove(&request), Some(Err(ApiError::TimeoutLeaderFailure)));
}

#[test]
fn a_request_that_a_connected_leader_never_got_just_times_out() {
    let mut cluster = Cluster::ready(3);
    let follower = (leader(&cluster) + 1) % 3;
    cluster.lost = Some(MessageType::MsgPropose);
    assert_eq!(cluster.ask(follower, put("k", "v")), Err(ApiError::Timeout));
}

#[test]
fn a_request_from_before_a_reconnection_to_the_leader_may_have_been_lost_with_the_connection() {
    let mut cluster = Cluster::ready(3);
    let old = leader(&cluster);
    let follower = (old + 1) % 3;
    cluster.lost = Some(MessageType::MsgPropose);
    let request = cluster.request(follower, put("k", "v"));
    let peer = id(&cluster, old);
    reconnect(&mut cluster, follower, peer);
    cluster.run(8 * SECOND);
    assert_eq!(cluster.replies.remove(&request), Some(Err(ApiError::TimeoutConnectionLost)));
}

#[test]
fn a_leader_that_was_cut_off_from_its_quorum_blames_the_connection() {
    let mut cluster = Cluster::ready(3);
    let old = leader(&cluster);
    cluster.lost = Some(MessageType::MsgAppend);
    let connected = cluster.request(old, put("k", "1"));
    cluster.run(8 * SECOND);
    assert_eq!(leader(&cluster), old, "heartbeats keep it in office");
    assert_eq!(cluster.replies.remove(&connected), Some(Err(ApiError::Timeout)));
    let lost = cluster.request(old, put("k", "2"));
    for other in [(old + 1) % 3, (old + 2) % 3] {
        let peer = id(&cluster, other);
        reconnect(&mut cluster, old, peer);
    }
    cluster.run(8 * SECOND);
    assert_eq!(cluster.replies.remove(&lost), Some(Err(ApiError::TimeoutConnectionLost)));
}

#[test]
fn a_transfer_to_a_member_that_cannot_be_reached_takes_too_long() {
    let mut cluster = Cluster::ready(3);
    let old = leader(&cluster);
    let target = (old + 1) % 3;
    cluster.isolate(target);
    let target_id = id(&cluster, target).0;
    let request = Request::MoveLeader(pb::MoveLeaderRequest { target_id });
    assert_eq!(cluster.ask(old, request), Err(ApiError::TimeoutLeaderTransfer));
    assert_eq!(leader(&cluster), old);
}

#[test]
fn a_lease_question_waits_a_second_for_what_is_committed() {
    let mut cluster = Cluster::ready(3);
    let old = leader(&cluster);
    cluster.ask(old, Request::LeaseGrant(pb::LeaseGrantRequest { id: 7, ttl: 60 })).expect("grant");
    // The others commit what the leader itself cannot apply.
    cluster.host_mut(old).is_hung = true;
    cluster.request(old, put("k", "v"));
    let view = cluster.host(old).member.raft_view().expect("running");
    assert!(view.commit > cluster.host(old).member.applied());
    let ask = pb::LeaseTimeToLiveRequest { id: 7, keys: false };
    let request = cluster.request(old, Request::LeaseTimeToLive(ask));
    cluster.run(SECOND - Duration::from_millis(1));
    assert!(!cluster.replies.contains_key(&request));
    cluster.run(Duration::from_millis(2));
    assert_eq!(cluster.replies.remove(&request), Some(Err(ApiError::TimeoutWaitAppliedIndex)));
}

#[test]
fn a_lease_question_to_a_leader_that_is_deposed_is_answered_with_the_change() {
    let mut cluster = Cluster::ready(3);
    let old = leader(&cluster);
    cluster.ask(old, Request::LeaseGrant(pb::LeaseGrantRequest { id: 7, ttl: 60 })).expect("grant");
    cluster.host_mut(old).is_hung = true;
    cluster.request(old, put("k", "v"));
    // It does not tick while its disk hangs, and must confirm that it leads.
    cluster.run(5 * TICK);
    let ask = pb::LeaseTimeToLiveRequest { id: 7, keys: false };
    let request = cluster.request(old, Request::LeaseTimeToLive(ask));
    cluster.run(4 * SECOND);
    cluster.host_mut(old).is_hung = false;
    cluster.flush(old);
    cluster.run(SECOND);
    let view = cluster.host(old).member.raft_view().expect("running");
    assert_ne!(view.role, Role::Leader);
    assert_eq!(cluster.replies.remove(&request), Some(Err(ApiError::LeaderChanged)));
}

#[test]
fn a_member_that_is_far_behind_its_commits_refuses_more() {
    let mut cluster = Cluster::ready(3);
    let old = leader(&cluster);
    cluster.host_mut(old).is_hung = true;
    let applied = cluster.host(old).member.applied();
    for _ in 0..5_001 {
        cluster.request(old, put("k", "v"));
    }
    let view = cluster.host(old).member.raft_view().expect("running");
    assert_eq!(view.commit, applied + 5_001, "one more than may be");
    assert_eq!(cluster.replies.len(), 0);
    assert_eq!(cluster.ask(old, put("k", "v")), Err(ApiError::TooManyRequests));
}

#[test]
fn a_read_that_meets_a_new_leader_is_asked_again_after_its_first_commit() {
    let mut cluster = Cluster::ready(3);
    let old = leader(&cluster);
    let follower = (old + 1) % 3;
    cluster.kill(old);
    cluster.run(SECOND / 2);
    let first = cluster.request(follower, get("k"));
    let second = cluster.request(follower, get("k"));
    while !cluster.replies.contains_key(&first) {
        cluster.run(Duration::from_millis(1));
    }
    assert_eq!(cluster.replies.remove(&first), Some(Err(ApiError::LeaderChanged)));
    let result = cluster.replies.remove(&second).expect("served in the same moment");
    assert!(matches!(result, Ok(Response::Range(_))));
    let text = "first commit in current term: resending ReadIndex request";
    assert!(cluster.has_line(follower, text));
}

#[test]
fn a_renewal_is_told_with_the_revision_before_it() {
    let mut cluster = Cluster::ready(1);
    cluster.ask(0, Request::LeaseGrant(pb::LeaseGrantRequest { id: 7, ttl: 5 })).expect("grant");
    let attached = pb::PutRequest { key: "k".into(), lease: 7, ..Default::default() };
    cluster.ask(0, Request::Put(attached)).expect("put");
    let stream = cluster.open(0, StreamKind::KeepAlive);
    cluster.host_mut(0).is_hung = true;
    cluster.run(6 * SECOND);
    // The lease has expired, but its end is not in the log: the renewal waits for it.
    let message = StreamMessage::KeepAlive(pb::LeaseKeepAliveRequest { id: 7 });
    cluster.input(0, Input::StreamMessage { id: stream, message: Box::new(message) });
    assert_eq!(cluster.items.get(&stream), None);
    cluster.host_mut(0).is_hung = false;
    cluster.flush(0);
    cluster.run(SECOND);
    assert_eq!(cluster.host(0).member.revision(), Some(3), "its key is gone");
    let items = &cluster.items[&stream];
    let [StreamItem::KeepAlive(answer)] = &items[..] else { panic!("{items:?}") };
    let revision = answer.header.as_ref().map(|header| header.revision);
    assert_eq!((answer.ttl, revision), (0, Some(2)));
}

#[test]
fn since_3_7_a_known_lease_is_renewed_without_waiting_for_entries() {
    use crate::config::CompatVersion;
    let renewed = |compat, is_on| {
        let mut cluster = Cluster::new(3);
        for config in &mut cluster.configs {
            config.compat = compat;
            config.fast_lease_keep_alive = is_on;
        }
        cluster.start_all();
        let old = leader(&cluster);
        let grant = pb::LeaseGrantRequest { id: 7, ttl: 60 };
        cluster.ask(old, Request::LeaseGrant(grant)).expect("grant");
        let stream = cluster.open(old, StreamKind::KeepAlive);
        cluster.host_mut(old).is_hung = true;
        cluster.request(old, put("k", "v"));
        let message = StreamMessage::KeepAlive(pb::LeaseKeepAliveRequest { id: 7 });
        cluster.input(old, Input::StreamMessage { id: stream, message: Box::new(message) });
        cluster.items.contains_key(&stream)
    };
    assert!(renewed(CompatVersion::V3_7, true));
    assert!(!renewed(CompatVersion::V3_7, false));
    assert!(!renewed(CompatVersion::V3_6, true));
}

#[test]
fn a_leader_that_is_removed_before_it_published_asks_again_once_a_heartbeat() {
    let mut cluster = Cluster::ready(3);
    let old = leader(&cluster);
    let place = (old + 1) % 3;
    cluster.kill(place);
    // What it publishes through the leader never arrives.
    cluster.lost = Some(MessageType::MsgPropose);
    cluster.start(place);
    let began = cluster.now;
    cluster.run(6 * SECOND);
    assert!(!cluster.host(place).is_ready);
    let target_id = id(&cluster, place).0;
    let request = Request::MoveLeader(pb::MoveLeaderRequest { target_id });
    cluster.request(old, request);
    cluster.run(SECOND / 4);
    assert_eq!(cluster.leader(), Some(place));
    let remove = Request::MemberRemove(pb::MemberRemoveRequest { id: target_id });
    cluster.lost = None;
    let removed = cluster.request(old, remove);
    cluster.run(SECOND / 2);
    let reply = cluster.replies.remove(&removed);
    assert!(matches!(reply, Some(Ok(_))), "{reply:?}");
    assert!(cluster.now - began < 7 * SECOND, "it has not given up publishing before");
    cluster.run(2 * SECOND);
    let failed = |line: &&String| line.contains("failed to publish local member to cluster");
    let asked = cluster.host(place).lines.iter().filter(failed).count();
    assert!((2..=12).contains(&asked), "asked {asked} times in the second for which it lingers");
}
