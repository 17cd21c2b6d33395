//! etcd is killed under load: whatever it had come to, our member starts from the directory, and
//! etcd goes on from what our member leaves.

use std::path::Path;
use std::process::{Command, Stdio};

use detcd::config::{CompatVersion, Config};
use detcd::member::io::{Request, Response};
use detcd::proto::etcdserverpb as pb;
use detcd::storage::bolt::BoltOptions;
use detcd::storage::wal::WalSettings;

use super::handover::config;
use super::start::{CLIENT, Member, Process, ask, start};
use super::written::Work;
use crate::driven::Driven;
use crate::peers;

const TEST: &str = "our_member_starts_where_etcd_was_killed_under_load";

/// Names another number of kills than the usual.
const KILLS: &str = "DETCD_KILLS";

/// Writes as fast as it can until it is ended. The keys must be new.
fn begin_load(etcdctl: &Path, work: &Work, keys: &str) -> Process {
    let load = ["check", "perf", "--load", "xl", "--prefix", keys];
    let child = Command::new(etcdctl)
        .args(["--endpoints", CLIENT])
        .args(load)
        .current_dir(&work.root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Process(child)
}

/// Kills a member under load when its log has told of some snapshots, more or fewer each time. The
/// revision that it told before the load.
fn kill_under_load(mut member: Member, etcdctl: &Path, work: &Work, kill: usize) -> i64 {
    let told = ask(etcdctl, work, &["put", "told", "v"]);
    let load = begin_load(etcdctl, work, &format!("/load{kill}/"));
    let mut left = kill % 7 + 1;
    for line in member.log().map_while(Result::ok) {
        left -= usize::from(line.contains("triggering snapshot"));
        if left == 0 {
            break;
        }
    }
    assert_eq!(left, 0, "the load makes it take snapshots");
    drop(member);
    drop(load);
    told["header"]["revision"].as_i64().unwrap()
}

fn revision(member: &mut Driven) -> i64 {
    let request = Request::Status(pb::StatusRequest::default());
    match member.ask(request).unwrap() {
        Response::Status(status) => status.header.unwrap().revision,
        other => panic!("{other:?}"),
    }
}

#[test]
fn our_member_starts_where_etcd_was_killed_under_load() {
    let Some(etcd) = peers::tool(TEST, "etcd", "3.6") else { return };
    let Some(etcdctl) = peers::tool(TEST, "etcdctl", "3.6") else { return };
    let work = Work::new("killed");
    let kills = std::env::var(KILLS).map_or(3, |kills| kills.parse().unwrap());
    for kill in 1..=kills {
        let member = start(&etcd, &work, &["--snapshot-count", "100"]);
        let told = kill_under_load(member, &etcdctl, &work, kill);
        let settings = Config { snapshot_count: 100, ..config(CompatVersion::V3_6) };
        let ours = Driven::start(&work.disk, settings, BoltOptions::ETCD, WalSettings::ETCD);
        let mut ours = ours.unwrap_or_else(|refusal| panic!("kill {kill}: {refusal:?}"));
        let found = revision(&mut ours);
        assert!(found > told, "kill {kill}: the load wrote, and {found} is all that is there");
        ours.stop();
    }
}
