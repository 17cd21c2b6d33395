//! Real etcd binaries to compare with. They are looked for and never built here: a test run
//! downloads nothing. `scripts/peers.sh 3.6` builds what is missing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set to make a missing peer a failure instead of a skipped test.
pub const REQUIRE: &str = "DETCD_REQUIRE_PEERS";

/// Names another minor version than 3.6 to compare with.
pub const MINOR: &str = "DETCD_PEER_MINOR";

/// An etcd server, 3.6 unless the environment names another minor version. Without one the caller
/// has nothing to compare with and returns; that `test` is skipped is said past the test runner's
/// capture.
pub fn etcd(test: &str) -> Option<PathBuf> {
    let minor = std::env::var(MINOR).unwrap_or_else(|_| "3.6".to_owned());
    let found = look(&["--no-build", &minor], "etcd", &minor);
    or_skip(found, test, &format!("etcd {minor}"), &format!("scripts/peers.sh {minor}"))
}

/// One of `etcd`, `etcdctl` and `etcdutl` of a minor version; a missing one is said as for `etcd`.
pub fn tool(test: &str, binary: &str, minor: &str) -> Option<PathBuf> {
    let found = look(&["--tools", "--no-build", minor], binary, minor);
    let remedy = format!("scripts/peers.sh --tools {minor}");
    or_skip(found, test, &format!("{binary} {minor}"), &remedy)
}

/// A program around a package of etcd's, by its folder in `scripts`; a missing one is said as for
/// `etcd`.
pub fn go_program(test: &str, name: &str) -> Option<PathBuf> {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../scripts/{name}/build.sh"));
    let output = Command::new(build).arg("--no-build").output().expect("the script runs");
    let path = String::from_utf8(output.stdout).expect("a path in UTF-8");
    let found = Some(path.trim_end()).filter(|path| !path.is_empty()).map(PathBuf::from);
    or_skip(found, test, name, &format!("scripts/{name}/build.sh"))
}

/// Says past the test runner's capture that a test is skipped, and what would get it to run; or
/// fails if nothing may be missing.
fn skip(test: &str, missing: &str, remedy: &str) {
    assert!(std::env::var_os(REQUIRE).is_none(), "{REQUIRE} is set and there is {missing}");
    let skipped = format!("\nSKIPPED {test}: {missing}. `{remedy}` gets one.\n");
    // A closed standard error is no reason to fail.
    let _ = std::io::stderr().write_all(skipped.as_bytes());
}

fn or_skip(found: Option<PathBuf>, test: &str, what: &str, remedy: &str) -> Option<PathBuf> {
    if found.is_none() {
        skip(test, &format!("no {what} on this machine"), remedy);
    }
    found
}

fn look(arguments: &[&str], binary: &str, minor: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/peers.sh");
    let output = Command::new(script).args(arguments).output().ok()?;
    let lines = String::from_utf8(output.stdout).ok()?;
    let wanted = format!("{binary}-{minor}=");
    lines.lines().find_map(|line| line.strip_prefix(&wanted)).map(PathBuf::from)
}
