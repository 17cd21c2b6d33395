//! The scenarios as stages: in the loop world for many seeds, and with real etcd, whose behaviour
//! is the measure of every expectation.

use std::path::Path;
use std::process::Command;

use super::stage::{self, Ending, Stage};
use super::{Scope, cargo};

/// Scenarios that two fresh processes must agree on, event for event.
const REPEATED: [&str; 3] =
    ["bootstrap/token-collision-peer-hidden", "process/chaos", "partition/shapes"];

/// Scenarios that are ended at each of their disk operations in a full run, in every way. All of
/// them are some 21,000 runs, at 50 to 400 a second on one core.
const CRASHED: &[(&str, &[&str])] = &[
    ("crash/first-start", &[]),
    ("crash/write-load", &[]),
    ("crash/member-add", &[]),
    ("crash/compaction", &[]),
    ("crash/defragment", &[]),
    ("crash/defragment-offline", &["--members", "n1"]),
    ("crash/snapshot-save", &[]),
    ("crash/snapshot-receive", &[]),
    ("crash/save", &[]),
    // The hosts that are restored.
    ("crash/restore", &["--members", "n4,n5,n6"]),
];

/// Some of them for every change, which has no minutes to spare.
const CRASHED_A_LITTLE: &[(&str, &[&str])] =
    &[("crash/first-start", &["--every", "6"]), ("crash/snapshot-save", &["--every", "60"])];

/// What every version is asked, and the groups that a full run adds. Not among them: `clock`, for
/// real processes read this machine's clocks; `crash`, whose members end at operations of disks
/// that count them; `planted`, whose defects are ours.
const ASKED: &[&str] = &["bootstrap"];
const ASKED_IN_FULL: &[&str] = &[
    "bootstrap",
    "disaster",
    "disk",
    "findings",
    "kubernetes",
    "lease",
    "membership",
    "near-miss",
    "partition",
    "process",
    "snapshot",
];
/// What 3.5 is not asked: its checks for corruption name nobody in their alarms.
const ASKED_FROM_3_6: &[&str] = &["operations"];

/// Runs them simulated: their form, many seeds, and whether runs repeat.
pub fn in_the_loop(root: &Path, scope: Scope) -> Vec<Stage> {
    let seeds = match scope {
        Scope::Change => "1..3",
        Scope::Full => "1..50",
    };
    let crashed = match scope {
        Scope::Change => CRASHED_A_LITTLE,
        Scope::Full => CRASHED,
    };
    let crash = |(scenario, how): &(&str, &[&str])| {
        let mut enumerate = detsim(root, scope);
        stage::command(scenario, enumerate.args(["enumerate", scenario]).args(*how))
    };
    let mut repeated = detsim(root, scope);
    repeated.args(["run", "--check-determinism", "--seed", "1"]).args(REPEATED);
    let stages = vec![
        stage::command("scenario form", detsim(root, scope).args(["fmt", "--check"])),
        stage::command("loop world", detsim(root, scope).args(["run", "--seeds", seeds])),
        stage::command("determinism", &mut repeated),
    ];
    stages.into_iter().chain(crashed.iter().map(crash)).collect()
}

/// Tests the tester: every planted defect must be found.
pub fn planted(root: &Path) -> Stage {
    let mut planted = cargo(root);
    planted.args(["run", "--quiet", "--release", "--bin", "detsim", "--features", "planted"]);
    stage::command("planted", planted.args(["--", "planted"]))
}

/// Runs them with the real etcds of this machine.
pub fn with_peers(root: &Path, scope: Scope) -> Vec<Stage> {
    let (minors, groups): (&[&str], _) = match scope {
        Scope::Change => (&["3.6"], ASKED),
        Scope::Full => (&["3.6", "3.5", "3.7"], ASKED_IN_FULL),
    };
    let asked = |minor: &str| {
        let more = if scope == Scope::Full && minor != "3.5" { ASKED_FROM_3_6 } else { &[] };
        [groups, more].concat()
    };
    minors.iter().map(|minor| with_peer(root, scope, minor, &asked(minor))).collect()
}

fn with_peer(root: &Path, scope: Scope, minor: &str, groups: &[&str]) -> Stage {
    let name = format!("etcd {minor}");
    let Some(etcd) = etcd(root, minor) else {
        let why = format!("no etcd {minor} on this machine");
        return stage::function(&name, || Ending::Skipped(why));
    };
    let mut run = detsim(root, scope);
    let server = format!("etcd={etcd}");
    // Real processes wait more than they work.
    run.args(["run", "--seed", "1", "--jobs", "4", "--world", "process", "--server", &server]);
    stage::command(&name, run.args(groups))
}

/// The path of a server that `peers.sh` has found or built before.
fn etcd(root: &Path, minor: &str) -> Option<String> {
    let mut peers = Command::new(root.join("scripts/peers.sh"));
    let output = peers.args(["--no-build", minor]).output().ok()?;
    let lines = String::from_utf8(output.stdout).ok()?;
    let prefix = format!("etcd-{minor}=");
    lines.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
}

/// The `detsim` command: as the tests built it, or optimised where many seeds pay for the build.
fn detsim(root: &Path, scope: Scope) -> Command {
    let mut detsim = cargo(root);
    detsim.args(["run", "--quiet", "--bin", "detsim"]);
    if scope == Scope::Full {
        detsim.arg("--release");
    }
    detsim.arg("--");
    detsim
}
