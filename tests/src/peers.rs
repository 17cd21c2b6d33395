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

fn find(minor: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/peers.sh");
    let output = Command::new(script).args(["--no-build", minor]).output().ok()?;
    let lines = String::from_utf8(output.stdout).ok()?;
    lines.lines().find_map(|line| line.strip_prefix(&format!("etcd-{minor}="))).map(PathBuf::from)
}
