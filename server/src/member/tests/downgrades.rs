//! A cluster is made older: what is answered, what members do about it, and how it ends.

use std::time::Duration;

use prost::Message as _;

use super::cluster::Cluster;
use super::put;
use crate::api::ApiError;
use crate::config::CompatVersion;
use crate::member::io::{Request, Response};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::downgrade_request::DowngradeAction;
use crate::storage::log::{EntryKind, LogEntry};

const SECOND: Duration = Duration::from_secs(1);

fn cluster_of(size: usize, compat: CompatVersion) -> Cluster {
    let mut cluster = Cluster::new(size);
    cluster.keeps_database = true;
    cluster.configs.iter_mut().for_each(|config| config.compat = compat);
    cluster.start_all();
    cluster.run(6 * SECOND);
    cluster
}

fn request(action: i32, version: &str) -> Request {
    Request::Downgrade(pb::DowngradeRequest { action, version: version.to_owned() })
}

/// The version that is answered.
fn ask(
    cluster: &mut Cluster,
    place: usize,
    action: DowngradeAction,
    version: &str,
) -> Result<String, ApiError> {
    match cluster.ask(place, request(action as i32, version))? {
        Response::Downgrade(response) => {
            assert!(response.header.is_some_and(|header| header.revision > 0));
            Ok(response.version)
        }
        other => panic!("{other:?}"),
    }
}

fn info(cluster: &mut Cluster, place: usize) -> (String, pb::DowngradeInfo) {
    let request = Request::Status(pb::StatusRequest::default());
    let Ok(Response::Status(status)) = cluster.ask(place, request) else { panic!("status") };
    (status.storage_version, status.downgrade_info.unwrap_or_default())
}

#[test]
fn only_the_version_just_below_is_accepted_and_only_once() {
    for (compat, below, cluster_version) in
        [(CompatVersion::V3_6, "3.5", "3.6"), (CompatVersion::V3_7, "3.6", "3.7")]
    {
        let mut cluster = cluster_of(1, compat);
        let asked = &mut cluster;
        let validate = DowngradeAction::Validate;
        for accepted in [below.to_owned(), format!("{below}.7"), format!("{below}.7-rc")] {
            assert_eq!(ask(asked, 0, validate, &accepted).as_deref(), Ok(cluster_version));
        }
        for text in ["junk", "", "3", "v3.5"] {
            let wrong = Err(ApiError::WrongDowngradeFormat);
            assert_eq!(ask(asked, 0, validate, text), wrong, "{text}");
            assert_eq!(ask(asked, 0, DowngradeAction::Enable, text), wrong, "{text}");
        }
        for other in ["3.1", cluster_version, "4.5"] {
            let invalid = Err(ApiError::InvalidDowngradeTarget);
            assert_eq!(ask(asked, 0, DowngradeAction::Enable, other), invalid);
        }
        assert_eq!(asked.ask(0, request(7, below)).unwrap_err(), ApiError::UnknownMethod);
        let enabled = ask(asked, 0, DowngradeAction::Enable, below);
        assert_eq!(enabled.as_deref(), Ok(cluster_version));
        let told = info(asked, 0).1;
        assert_eq!((told.enabled, told.target_version), (true, format!("{below}.0")));
        let again = ask(asked, 0, DowngradeAction::Enable, below);
        assert_eq!(again, Err(ApiError::DowngradeInProcess));
        assert!(asked.has_line(
            0,
            "reject downgrade request error=etcdserver: cluster has a downgrade job in progress"
        ));
    }
}

#[test]
fn a_downgrade_that_is_cancelled_leaves_the_cluster_as_it_was() {
    let mut cluster = cluster_of(1, CompatVersion::V3_6);
    let cancel = DowngradeAction::Cancel;
    assert_eq!(ask(&mut cluster, 0, cancel, "").as_deref(), Ok("3.6"));
    let text = "failed to cancel downgrade error=etcdserver: no inflight downgrade job";
    assert!(cluster.has_line(0, text));
    ask(&mut cluster, 0, DowngradeAction::Enable, "3.5").expect("enabled");
    cluster.run(12 * SECOND);
    assert_eq!(info(&mut cluster, 0).0, "3.5.0");
    assert!(cluster.has_line(0, "Cluster version downgrade detected, forcing snapshot"));
    assert!(cluster.has_line(0, "snapshot-forced=true"));
    assert!(cluster.has_line(0, "remotes server has mismatching etcd version"));
    let lower = ask(&mut cluster, 0, DowngradeAction::Enable, "3.5");
    assert_eq!(lower, Err(ApiError::InvalidDowngradeTarget));
    assert_eq!(ask(&mut cluster, 0, cancel, "").as_deref(), Ok("3.5"));
    cluster.run(9 * SECOND);
    let (storage, told) = info(&mut cluster, 0);
    assert_eq!((storage.as_str(), told), ("3.6.0", pb::DowngradeInfo::default()));
    assert!(!cluster.has_line(0, "the cluster has been downgraded"));
}

#[test]
fn members_of_3_5_carry_it_out_and_answer_nobody() {
    let mut cluster = cluster_of(1, CompatVersion::V3_5);
    let cancelled = ask(&mut cluster, 0, DowngradeAction::Cancel, "");
    assert_eq!(cancelled, Err(ApiError::NoInflightDowngrade));
    let valid = ask(&mut cluster, 0, DowngradeAction::Validate, "3.4");
    assert_eq!(valid.as_deref(), Ok("3.5.0"));
    let enabled = ask(&mut cluster, 0, DowngradeAction::Enable, "3.4");
    assert_eq!(enabled, Err(ApiError::Timeout));
    let again = ask(&mut cluster, 0, DowngradeAction::Enable, "3.4");
    assert_eq!(again, Err(ApiError::DowngradeInProcess));
    assert!(cluster.has_line(0, "The server is ready to downgrade"));
    assert_eq!(ask(&mut cluster, 0, DowngradeAction::Cancel, ""), Err(ApiError::Timeout));
    let cancelled = ask(&mut cluster, 0, DowngradeAction::Cancel, "");
    assert_eq!(cancelled, Err(ApiError::NoInflightDowngrade));
}

#[test]
fn a_cluster_is_downgraded_member_by_member_and_upgraded_again() {
    for (new, old, target, again) in [
        (CompatVersion::V3_6, CompatVersion::V3_5, "3.5", "3.4"),
        (CompatVersion::V3_7, CompatVersion::V3_6, "3.6", "3.5"),
    ] {
        let mut cluster = cluster_of(3, new);
        cluster.ask(1, put("k", "v")).expect("put");
        ask(&mut cluster, 1, DowngradeAction::Enable, target).expect("enabled");
        cluster.run(10 * SECOND);
        for place in 0..3 {
            assert!(cluster.has_line(place, "The server is ready to downgrade"));
            cluster.configs[place].compat = old;
            cluster.restart(place);
            assert!(cluster.is_up(place), "{:?}", cluster.host(place).stop);
        }
        cluster.run(20 * SECOND);
        assert!((0..3).any(|place| cluster.has_line(place, "the cluster has been downgraded")));
        ask(&mut cluster, 2, DowngradeAction::Validate, again).expect("nothing is in progress");
        for place in 0..3 {
            cluster.configs[place].compat = new;
            cluster.restart(place);
        }
        cluster.run(6 * SECOND);
        ask(&mut cluster, 0, DowngradeAction::Validate, target).expect("it is as it was");
        cluster.ask(2, put("k", "w")).expect("put");
    }
}

/// Puts an entry at the end of a stopped member's log that only 3.6 knows.
fn append_newer(cluster: &mut Cluster, place: usize) {
    let log = cluster.host_mut(place).log.as_mut().expect("a log");
    let test = pb::DowngradeVersionTestRequest { ver: "3.6.0".to_owned() };
    let request = pb::InternalRaftRequest {
        header: Some(pb::RequestHeader { id: 77, ..pb::RequestHeader::default() }),
        downgrade_version_test: Some(Box::new(test)),
        ..pb::InternalRaftRequest::default()
    };
    let last = log.entries.last().expect("entries");
    let entry = LogEntry {
        kind: EntryKind::Normal,
        term: last.term,
        index: last.index + 1,
        data: request.encode_to_vec().into(),
    };
    log.entries.push(entry);
}

#[test]
fn a_log_with_newer_entries_is_put_behind_a_snapshot_first() {
    let mut cluster = cluster_of(1, CompatVersion::V3_6);
    cluster.kill(0);
    append_newer(&mut cluster, 0);
    cluster.start(0);
    cluster.run(6 * SECOND);
    ask(&mut cluster, 0, DowngradeAction::Enable, "3.5").expect("enabled");
    cluster.run(10 * SECOND);
    assert!(cluster.has_line(
        0,
        "failed to update storage version cluster-version=3.5.0 error=cannot downgrade storage, \
         WAL contains newer entries, as the target version (3.5.0) is lower than the version \
         (3.6.0) detected from WAL logs"
    ));
    assert!(cluster.has_line(0, "The server is ready to downgrade"));
    assert_eq!(info(&mut cluster, 0).0, "3.5.0");
}

#[test]
fn a_member_of_3_5_panics_at_what_only_3_6_knows() {
    for (compat, is_known) in [(CompatVersion::V3_5, false), (CompatVersion::V3_6, true)] {
        let mut cluster = cluster_of(1, compat);
        cluster.kill(0);
        append_newer(&mut cluster, 0);
        cluster.start(0);
        cluster.run(6 * SECOND);
        assert_eq!(cluster.is_up(0), is_known);
        if !is_known {
            let stop = cluster.host(0).stop.as_ref().expect("stopped");
            assert_eq!((stop.exit_code, stop.reason.as_str()), (2, "not implemented apply"));
        }
    }
}
