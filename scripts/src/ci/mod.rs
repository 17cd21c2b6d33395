//! What CI runs, in stages: each prints its time, all run even if one fails, and the last lines say
//! what became of them and what the test runners counted.

mod licence;
mod scenarios;
mod stage;

use std::path::Path;
use std::process::Command;

use self::stage::{Ending, Stage, Tally};
use crate::tidy::{self, Tree};

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What every change must pass.
    Change,
    /// Everything, with every peer.
    Full,
}

/// Runs all stages in the repository at `root`. Returns whether all passed.
pub fn run(root: &Path, scope: Scope) -> bool {
    let mut stages = vec![
        stage::command("format", cargo(root).args(["fmt", "--all", "--", "--check"])),
        stage::function("tidy", || tidy_stage(root)),
        stage::function("licences", || licence_stage(root)),
        stage::command("lint", lint(root).args(["--", "-D", "warnings"])),
        stage::command(
            "lint planted",
            lint(root).args(["--features", "detsim/planted", "--", "-D", "warnings"]),
        ),
    ];
    let peers = stage::command("peers", &mut peers(root, scope));
    let build = |name: &'static str| {
        let script = root.join("scripts").join(name).join("build.sh");
        stage::command(name, &mut Command::new(script))
    };
    let peers = [peers, build("walcheck"), build("boltcheck")];
    let has_peers = peers.iter().all(|stage| stage.ending == Ending::Passed);
    stages.extend(peers.map(without_peers));
    let mut test = cargo(root);
    test.args(["test", "--workspace"]);
    if has_peers {
        test.env("DETCD_REQUIRE_PEERS", "1");
    }
    if scope == Scope::Full {
        test.env("DETCD_EVERY_BYTE", "1");
    }
    stages.push(stage::command("test", &mut test));
    stages.extend(scenarios::in_the_loop(root, scope));
    stages.extend(scenarios::with_peers(root, scope));
    if scope == Scope::Full {
        stages.push(scenarios::planted(root));
        stages.push(stage::command("fuzz targets", &mut fuzz(root)));
    }
    report(&stages)
}

/// Runs all tests with leave to write their expected texts anew.
pub fn bless(root: &Path) -> bool {
    let test =
        stage::command("bless", cargo(root).args(["test", "--workspace"]).env("DETCD_BLESS", "1"));
    report(&[test])
}

fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).env("CARGO_TERM_COLOR", "never");
    cargo
}

fn lint(root: &Path) -> Command {
    let mut lint = cargo(root);
    lint.args(["clippy", "--quiet", "--workspace", "--all-targets"]);
    lint
}

/// The fuzz targets are a workspace of their own: here they are compiled, not run.
fn fuzz(root: &Path) -> Command {
    let mut check = cargo(root);
    check.args(["check", "--quiet", "--manifest-path", "server/fuzz/Cargo.toml"]);
    check.args(["--target-dir", "target/fuzz"]);
    check
}

fn peers(root: &Path, scope: Scope) -> Command {
    let mut peers = Command::new(root.join("scripts/peers.sh"));
    match scope {
        Scope::Change => peers.arg("3.6"),
        Scope::Full => peers.args(["--tools", "all"]),
    };
    peers
}

/// A machine without Go can still check everything else.
fn without_peers(stage: Stage) -> Stage {
    let ending = match stage.ending {
        Ending::Failed(_) => Ending::Skipped("no peer: nothing is compared with etcd".to_owned()),
        other => other,
    };
    Stage { ending, ..stage }
}

fn tidy_stage(root: &Path) -> Ending {
    let findings = match Tree::read(root) {
        Ok(tree) => tidy::check(&tree),
        Err(error) => return Ending::Failed(error.to_string()),
    };
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ending::Passed,
        count => Ending::Failed(format!("{count} findings")),
    }
}

fn licence_stage(root: &Path) -> Ending {
    let metadata = cargo(root).args(["metadata", "--format-version", "1", "--locked"]).output();
    let metadata = match metadata {
        Ok(output) => serde_json::from_slice(&output.stdout),
        Err(error) => return Ending::Failed(error.to_string()),
    };
    let refused = match metadata {
        Ok(metadata) => licence::refused(&metadata),
        Err(error) => return Ending::Failed(format!("cargo metadata: {error}")),
    };
    for package in &refused {
        println!("{package}");
    }
    match refused.len() {
        0 => Ending::Passed,
        count => Ending::Failed(format!("{count} licences that are not allowed")),
    }
}

/// Prints what became of the stages; the last line is the sum of the test runners' closing lines.
fn report(stages: &[Stage]) -> bool {
    println!();
    for stage in stages {
        let ending = match &stage.ending {
            Ending::Passed => "ok".to_owned(),
            Ending::Skipped(why) => format!("SKIPPED: {why}"),
            Ending::Failed(how) => format!("FAILED: {how}"),
        };
        println!("{:<14} {:>7.1} s  {ending}", stage.name, stage.took.as_secs_f64());
    }
    let total: f64 = stages.iter().map(|stage| stage.took.as_secs_f64()).sum();
    println!("{:<14} {total:>7.1} s", "all");
    let tests = stages.iter().fold(Tally::default(), |sum, stage| sum.and(stage.tests));
    println!("\n{} passed, {} failed, {} skipped", tests.passed, tests.failed, tests.skipped);
    stages.iter().all(|stage| !matches!(stage.ending, Ending::Failed(_)))
}
