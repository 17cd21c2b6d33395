//! What members say in their logs and how they end, in etcd's words.

use std::time::Duration;

use super::cluster::Cluster;
use crate::member::io::{DialRefusal, Input};
use crate::storage::log::SnapshotMark;

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
    assert!(stop.reason.contains("snapshots are not supported yet"), "{}", stop.reason);
    assert!(stop.reason.contains(file), "{}", stop.reason);
    assert!(cluster.has_line(0, "failed to recover v3 backend from snapshot error=snapshots"));
    assert_eq!(cluster.host(0).log.as_ref(), Some(&before), "nothing is written");
}
