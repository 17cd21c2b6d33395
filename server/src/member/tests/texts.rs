//! What members say in their logs and how they end, in etcd's words.

use std::time::Duration;

use super::cluster::Cluster;
use super::put;
use crate::api::ApiError;
use crate::member::id::StreamId;
use crate::member::io::{CallOptions, DialRefusal, Input, StreamKind, StreamMessage};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::storage::log::SnapshotMark;

/// Control responses that may wait on a stream without room.
const CONTROL_MAX: usize = 65_536;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_removed_member_that_is_started_again_ends_as_a_failed_listener() {
    let mut cluster = Cluster::ready(3);
    let peer = cluster.host(0).member.id().expect("running");
    cluster.kill(2);
    cluster.isolate(2);
    cluster.start(2);
    cluster.input(2, Input::DialRefused { peer, refusal: DialRefusal::Removed });
    let stop = cluster.host(2).stop.clone().expect("it stops");
    assert_eq!((stop.exit_code, &*stop.reason), (1, "server is stopping"));
    let lines = &cluster.host(2).lines;
    assert_eq!(
        lines[lines.len() - 3..],
        [
            "server error error=the member has been permanently removed from the cluster",
            "data-dir used by this member must be removed",
            "listener failed error=server is stopping",
        ]
    );
}

#[test]
fn a_log_that_follows_a_snapshot_is_refused_with_the_snapshots_name() {
    let mut cluster = Cluster::ready(1);
    cluster.kill(0);
    let log = cluster.host_mut(0).log.as_mut().expect("it has a log");
    log.snapshot = SnapshotMark { index: 10, term: 3, conf_state: None };
    let before = log.clone();
    cluster.start(0);
    cluster.run(SECOND);
    let stop = cluster.host(0).stop.clone().expect("it stops");
    assert_eq!(stop.exit_code, 2);
    let file = "data/member/snap/0000000000000003-000000000000000a.snap";
    assert!(
        stop.reason.contains("snapshots are not supported without a database"),
        "{}",
        stop.reason
    );
    assert!(stop.reason.contains(file), "{}", stop.reason);
    assert!(cluster.has_line(0, "failed to recover v3 backend from snapshot error=snapshots"));
    assert_eq!(cluster.host(0).log.as_ref(), Some(&before), "nothing is written");
}

#[test]
fn a_leader_without_an_active_peer_stops_without_handing_over() {
    let mut cluster = Cluster::ready(3);
    let leader = cluster.leader().expect("elected");
    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        let peer = cluster.host(other).member.id().expect("running");
        cluster.input(leader, Input::PeerUnreachable(peer));
    }
    cluster.input(leader, Input::Shutdown);
    let stop = cluster.host(leader).stop.clone().expect("it stops at once");
    assert_eq!(stop.exit_code, 0);
    let line = "leadership transfer failed error=etcdserver: unhealthy cluster";
    assert!(cluster.has_line(leader, line));
}

#[test]
fn a_single_member_says_that_it_does_not_wait_for_others() {
    let cluster = Cluster::ready(1);
    let id = cluster.host(0).member.id().expect("running");
    let line = format!(
        "started as single-node; fast-forwarding election ticks local-member-id={id} \
         forward-ticks=9 forward-duration=900ms election-ticks=10 election-timeout=1s"
    );
    assert!(cluster.has_line(0, &line));
    assert!(cluster.has_line(0, "enabled backend quota with default value"));
}

#[test]
fn a_write_that_takes_long_is_told_of() {
    let mut cluster = Cluster::ready(1);
    let text = "slow fdatasync";
    cluster.host_mut(0).is_hung = true;
    cluster.request(0, put("k", "1"));
    cluster.run(SECOND);
    cluster.host_mut(0).is_hung = false;
    cluster.flush(0);
    cluster.settle();
    assert!(!cluster.has_line(0, text));
    cluster.host_mut(0).is_hung = true;
    cluster.request(0, put("k", "2"));
    cluster.run(SECOND / 2);
    cluster.request(0, put("k", "3"));
    cluster.run(SECOND);
    cluster.host_mut(0).is_hung = false;
    cluster.flush(0);
    cluster.settle();
    let lines = cluster.host(0).lines.iter().filter(|line| line.contains(text));
    assert_eq!(lines.collect::<Vec<_>>(), ["slow fdatasync took=1.5s expected-duration=1s"]);
}

#[test]
fn a_stream_that_the_member_ended_ends_once() {
    let mut cluster = Cluster::ready(1);
    let id = StreamId(1_000_000);
    let open = Input::StreamOpen {
        id,
        kind: StreamKind::Watch,
        options: CallOptions::default(),
        window_bytes: 0,
    };
    cluster.input(0, open);
    // A create request without a key is refused; the refusals find no room.
    for _ in 0..=CONTROL_MAX {
        let request = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(pb::WatchCreateRequest {
                start_revision: -1,
                ..Default::default()
            })),
        };
        let message = StreamMessage::Watch(request);
        cluster.input(0, Input::StreamMessage { id, message: Box::new(message) });
    }
    assert_eq!(cluster.ends.remove(&id), Some(Err(ApiError::TooManyRequests)));
    cluster.input(0, Input::Shutdown);
    assert!(cluster.host(0).stop.is_some());
    assert_eq!(cluster.ends.get(&id), None, "nobody is told of its end twice");
}
