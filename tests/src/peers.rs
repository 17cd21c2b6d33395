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
    let found = find(&minor);
    if found.is_none() {
        let missing = format!("no etcd {minor} on this machine");
        skip(test, &missing, &format!("scripts/peers.sh {minor}"));
    }
    found
}

/// Says past the test runner's capture that a test is skipped, and what would get it to run; or
/// fails if nothing may be missing.
pub fn skip(test: &str, missing: &str, remedy: &str) {
    assert!(std::env::var_os(REQUIRE).is_none(), "{REQUIRE} is set and there is {missing}");
    let skipped = format!("\nSKIPPED {test}: {missing}. `{remedy}` gets one.\n");
    // A closed standard error is no reason to fail.
    let _ = std::io::stderr().write_all(skipped.as_bytes());
}

/// One of `etcd`, `etcdctl` and `etcdutl` of a minor version; a missing one is said as for `etcd`.
pub fn tool(test: &str, binary: &str, minor: &str) -> Option<PathBuf> {
    let found = look(&["--tools", "--no-build", minor], binary, minor);
    if found.is_none() {
        let missing = format!("no {binary} {minor} on this machine");
        skip(test, &missing, &format!("scripts/peers.sh --tools {minor}"));
    }
    found
}

fn find(minor: &str) -> Option<PathBuf> {
    look(&["--no-build", minor], "etcd", minor)
}

fn look(arguments: &[&str], binary: &str, minor: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/peers.sh");
    let output = Command::new(script).args(arguments).output().ok()?;
    let lines = String::from_utf8(output.stdout).ok()?;
    let wanted = format!("{binary}-{minor}=");
    lines.lines().find_map(|line| line.strip_prefix(&wanted)).map(PathBuf::from)
}
