//! Which server the members run, and its flags. Scenarios name flags as etcd 3.6 does; a 3.5 is
//! given the names that it had for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::known;
use crate::world::{KnownDefect, WorldError};

/// Flags of 3.6 that 3.5 knows with `experimental-` before them.
const EXPERIMENTAL: [&str; 11] = [
    "bootstrap-defrag-threshold-megabytes",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "corrupt-check-time",
    "downgrade-check-time",
    "memory-mlock",
    "peer-skip-client-san-verification",
    "snapshot-catchup-entries",
    "warning-apply-duration",
    "watch-progress-notify-interval",
];

/// Feature gates of 3.6 that were flags of 3.5.
const GATES: [(&str, &str); 6] = [
    ("CompactHashCheck", "experimental-compact-hash-check-enabled"),
    ("InitialCorruptCheck", "experimental-initial-corrupt-check"),
    ("LeaseCheckpoint", "experimental-enable-lease-checkpoint"),
    ("LeaseCheckpointPersist", "experimental-enable-lease-checkpoint-persist"),
    ("StopGRPCServiceOnDefrag", "experimental-stop-grpc-service-on-defrag"),
    ("TxnModeWriteWithSharedBuffer", "experimental-txn-mode-write-with-shared-buffer"),
];

/// A server's binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub program: PathBuf,
    /// For an etcd, the `6` of its 3.6; detcd is of every version.
    minor: Option<u32>,
}

impl Server {
    /// Asks a binary what it is.
    pub fn identify(program: &Path) -> Result<Server, WorldError> {
        let harness = |why: String| WorldError::Harness(format!("{}: {why}", program.display()));
        // A process starts in its own folder, where a relative path would mean something else.
        let program = program.canonicalize().map_err(|error| harness(error.to_string()))?;
        let output = Command::new(&program)
            .arg("--version")
            .env_clear()
            .output()
            .map_err(|error| harness(error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("detcd") {
            return Ok(Server { program, minor: None });
        }
        let minor =
            minor_of(&said).ok_or_else(|| harness("it is neither etcd nor detcd".into()))?;
        Ok(Server { program, minor: Some(minor) })
    }

    /// What it is known to do wrong.
    pub fn known_defects(&self) -> Vec<KnownDefect> {
        self.minor.map(known::of_etcd).unwrap_or_default()
    }

    /// The flags as this server names them.
    pub fn translate(
        &self,
        flags: Vec<(String, String)>,
    ) -> Result<Vec<(String, String)>, WorldError> {
        let Some(minor) = self.minor else { return Ok(flags) };
        let mut translated = Vec::new();
        for (name, value) in flags {
            match name.as_str() {
                "compat-version" if value == format!("3.{minor}") => {}
                "compat-version" => return Err(cannot(format!("make etcd 3.{minor} a {value}"))),
                "feature-gates" if minor < 6 => translated.extend(old_gates(&value)?),
                old if minor < 6 && EXPERIMENTAL.contains(&old) => {
                    translated.push((format!("experimental-{old}"), value));
                }
                _ => translated.push((name, value)),
            }
        }
        Ok(translated)
    }
}

fn cannot(what: String) -> WorldError {
    WorldError::Unsupported { world: "process", what }
}

/// The `6` in `etcd Version: 3.6.16`.
fn minor_of(said: &str) -> Option<u32> {
    let version = said.lines().find_map(|line| line.strip_prefix("etcd Version: 3."))?;
    version.split('.').next()?.parse().ok()
}

fn old_gates(gates: &str) -> Result<Vec<(String, String)>, WorldError> {
    let gates = gates.split(',').filter(|gate| !gate.is_empty());
    gates
        .map(|gate| {
            let (name, value) = gate.split_once('=').unwrap_or((gate, "true"));
            let old = GATES.iter().find(|(new, _)| *new == name).map(|(_, old)| *old);
            let old = old.ok_or_else(|| cannot(format!("set the gate {name} of etcd 3.5")))?;
            Ok((old.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(minor: u32, flag: &str, value: &str) -> Result<String, String> {
        let server = Server { program: PathBuf::new(), minor: Some(minor) };
        let flags = server.translate(vec![(flag.to_owned(), value.to_owned())]);
        let flags = flags.map_err(|error| error.to_string())?;
        Ok(flags
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn a_version_is_read_from_what_etcd_prints() {
        assert_eq!(minor_of("etcd Version: 3.6.16\nGit SHA: x\n"), Some(6));
        assert_eq!(minor_of("bash 5.2"), None);
    }

    #[test]
    fn an_older_etcd_gets_its_own_names() {
        assert_eq!(
            translated(5, "snapshot-catchup-entries", "10").unwrap(),
            "experimental-snapshot-catchup-entries=10"
        );
        assert_eq!(
            translated(5, "feature-gates", "InitialCorruptCheck=true,LeaseCheckpoint=false")
                .unwrap(),
            "experimental-initial-corrupt-check=true experimental-enable-lease-checkpoint=false"
        );
        assert_eq!(
            translated(5, "feature-gates", "FastLeaseKeepAlive=true").unwrap_err(),
            "the process world cannot set the gate FastLeaseKeepAlive of etcd 3.5"
        );
        assert_eq!(translated(6, "corrupt-check-time", "1s").unwrap(), "corrupt-check-time=1s");
    }

    #[test]
    fn etcd_cannot_be_another_version() {
        assert_eq!(translated(6, "compat-version", "3.6").unwrap(), "");
        assert_eq!(
            translated(6, "compat-version", "3.5").unwrap_err(),
            "the process world cannot make etcd 3.6 a 3.5"
        );
    }
}
