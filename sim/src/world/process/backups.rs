//! Snapshots with etcd's own tools, which lie beside the server's binary: `etcdctl` saves them,
//! `etcdutl` makes data directories from them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use detsim_reports::record::{Body, Header, Outcome, Reply};

use super::ProcessWorld;
use crate::world::{BackupDamage, Exit, Restore, WorldError, WorldEvent, backup};

/// The tools of a server, if both are there.
pub fn tools(program: &Path) -> Result<(PathBuf, PathBuf), WorldError> {
    let [ctl, utl] = ["etcdctl", "etcdutl"].map(|name| program.with_file_name(name));
    let missing = [&ctl, &utl].into_iter().find(|tool| !tool.is_file()).cloned();
    match missing {
        None => Ok((ctl, utl)),
        Some(tool) => {
            let what = format!("save and restore snapshots: there is no {}", tool.display());
            Err(WorldError::Unsupported { world: "process", what })
        }
    }
}

/// The last words of a tool that failed.
fn last_words(stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    let mut errors = said.lines().filter_map(|line| line.strip_prefix("Error: "));
    match errors.next_back() {
        Some(error) => error.to_owned(),
        None => said.trim_end().lines().next_back().unwrap_or_default().to_owned(),
    }
}

/// Saves a snapshot of the member at `endpoint` into a file.
pub fn save(ctl: &Path, endpoint: &str, file: &Path, timeout: Duration) -> Outcome {
    let ran = Command::new(ctl)
        .arg(format!("--endpoints=http://{endpoint}"))
        .arg(format!("--command-timeout={}ms", timeout.as_millis()))
        .args(["snapshot", "save"])
        .arg(file)
        .env_clear()
        .stdin(Stdio::null())
        .output();
    match ran {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Outcome::Fail(last_words(&output.stderr)),
        Err(error) => return Outcome::Fail(error.to_string()),
    }
    let read = std::fs::read(file).map_err(|error| error.to_string()).and_then(|bytes| {
        let size_bytes = bytes.len() as u64;
        let content = backup::content(bytes).map_err(|error| error.to_string())?;
        Ok((size_bytes, content))
    });
    match read {
        Ok((size_bytes, backup::Content { revision, index })) => {
            let body = Body::Snapshot { size_bytes, version: String::new(), revision, index };
            Outcome::Ok(Reply { header: Header::default(), body })
        }
        Err(error) => Outcome::Fail(error),
    }
}

impl ProcessWorld {
    /// Where the snapshot of a name is kept.
    pub(super) fn backup_file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.db"))
    }

    pub(super) fn spoil_file(&self, name: &str, damage: BackupDamage) -> Result<(), WorldError> {
        let file = self.backup_file(name);
        let harness = |error| WorldError::Harness(format!("{}: {error}", file.display()));
        let mut bytes = std::fs::read(&file).map_err(harness)?;
        backup::spoil(&mut bytes, damage);
        std::fs::write(&file, bytes).map_err(harness)
    }

    /// Makes a data directory, and waits for it.
    pub(super) fn restore_host(
        &mut self,
        member: usize,
        restore: &Restore,
    ) -> Result<(), WorldError> {
        let (_, utl) = tools(&self.server.program)?;
        let is_switch = |name: &str| ["mark-compacted", "skip-hash-check"].contains(&name);
        let flags = self.server.translate(restore.flags.clone())?;
        let arguments = flags.iter().map(|(name, value)| match is_switch(name) {
            true => format!("--{name}"),
            false => format!("--{name}={}", self.addresses.localize(value)),
        });
        let arguments: Vec<String> = arguments.collect();
        let file = self.backup_file(&restore.from);
        let host = &mut self.members[member].host;
        if restore.wipe {
            host.wipe()?;
        }
        let mut command = Command::new(&utl);
        command.args(["snapshot", "restore"]).arg(&file).args(arguments);
        self.run_tool(member, command)
    }

    /// Rewrites the database in a data directory, and waits for it.
    pub(super) fn defragment_host(
        &mut self,
        member: usize,
        data_dir: &str,
    ) -> Result<(), WorldError> {
        let (_, utl) = tools(&self.server.program)?;
        let mut command = Command::new(utl);
        command.arg("defrag").arg(format!("--data-dir={data_dir}"));
        self.run_tool(member, command)
    }

    /// Runs a tool on a member's disk.
    fn run_tool(&mut self, member: usize, mut command: Command) -> Result<(), WorldError> {
        let disk = self.members[member].host.data("");
        let tool = PathBuf::from(command.get_program());
        let harness = |error| WorldError::Harness(format!("{}: {error}", tool.display()));
        std::fs::create_dir_all(&disk).map_err(harness)?;
        let ran = command.env_clear().current_dir(&disk).stdin(Stdio::null()).output();
        let output = ran.map_err(harness)?;
        let code = output.status.code().unwrap_or(-1);
        let result = match output.status.success() {
            true => Ok(()),
            false => Err(Exit { code, reason: last_words(&output.stderr) }),
        };
        self.waiting.push_back(WorldEvent::Restored { member, result });
        Ok(())
    }
}
