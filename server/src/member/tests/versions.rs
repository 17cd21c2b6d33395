//! The version of a database's format follows that of the cluster.

use std::time::Duration;

use super::cluster::Cluster;
use crate::config::CompatVersion;
use crate::member::io::{Request, Response};
use crate::member::membership::Downgrade;
use crate::proto::etcdserverpb as pb;
use crate::storage::schema;

const SECOND: Duration = Duration::from_secs(1);

fn alone(compat: CompatVersion) -> Cluster {
    let mut cluster = Cluster::new(1);
    cluster.keeps_database = true;
    cluster.configs[0].compat = compat;
    cluster.start_all();
    cluster
}

/// As the database has it, and as the member tells.
fn versions(cluster: &mut Cluster) -> (Option<String>, String) {
    cluster.run(SECOND);
    let stored = cluster.database_mut(0).image.storage_version().expect("a version");
    let request = Request::Status(pb::StatusRequest::default());
    let Ok(Response::Status(status)) = cluster.ask(0, request) else { panic!("status") };
    (stored.map(|version| version.to_string()), status.storage_version)
}

fn both(version: &str) -> (Option<String>, String) {
    (Some(version.to_owned()), version.to_owned())
}

fn updates(cluster: &Cluster) -> usize {
    let lines = cluster.host(0).lines.iter();
    lines.filter(|line| line.contains("updated storage version")).count()
}

#[test]
fn a_new_cluster_writes_its_version_and_3_7_goes_through_3_6() {
    let mut old = alone(CompatVersion::V3_5);
    assert_eq!(versions(&mut old), (None, String::new()));
    assert_eq!(updates(&old), 0);
    let mut new = alone(CompatVersion::V3_6);
    assert_eq!(versions(&mut new), both("3.6.0"));
    assert_eq!(updates(&new), 1);
    let mut newest = alone(CompatVersion::V3_7);
    assert_eq!(versions(&mut newest), both("3.7.0"));
    assert_eq!(updates(&newest), 2);
    assert!(newest.has_line(0, "cluster version differs from storage version."));
}

#[test]
fn an_upgraded_member_has_the_old_version_until_the_cluster_is_raised() {
    let mut cluster = alone(CompatVersion::V3_5);
    cluster.run(SECOND);
    cluster.kill(0);
    cluster.configs[0].compat = CompatVersion::V3_6;
    cluster.start(0);
    let request = Request::Status(pb::StatusRequest::default());
    let Ok(Response::Status(status)) = cluster.ask(0, request) else { panic!("status") };
    assert_eq!(status.storage_version, "3.5.0");
    cluster.run(6 * SECOND);
    assert_eq!(versions(&mut cluster), both("3.6.0"));
}

#[test]
fn a_version_that_was_not_written_before_a_crash_is_written_within_four_seconds() {
    let mut cluster = alone(CompatVersion::V3_6);
    cluster.run(SECOND);
    cluster.kill(0);
    cluster.database_mut(0).image.apply(&[schema::storage_version(None)]);
    cluster.start(0);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.database_mut(0).image.storage_version(), Ok(None));
    cluster.run(3 * SECOND);
    assert_eq!(versions(&mut cluster), both("3.6.0"));
}

#[test]
fn a_downgrade_takes_the_version_back() {
    for (compat, target, expected) in [
        (CompatVersion::V3_6, "3.5.0", (None, "3.5.0".to_owned())),
        (CompatVersion::V3_7, "3.6.0", both("3.6.0")),
    ] {
        let mut cluster = alone(compat);
        cluster.run(SECOND);
        cluster.kill(0);
        let downgrade = Downgrade { enabled: true, target: target.to_owned() };
        cluster.database_mut(0).image.apply(&[schema::downgrade(&downgrade)]);
        cluster.start(0);
        cluster.run(6 * SECOND);
        assert_eq!(versions(&mut cluster), expected);
        assert!(cluster.has_line(0, "The server is ready to downgrade"));
        let version = cluster.database_mut(0).image.cluster_version().expect("a version");
        assert_eq!(version.map(|version| version.to_string()).as_deref(), Some(target));
    }
}
