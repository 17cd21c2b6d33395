//! Real members on directories that we restored. They listen on sockets in the directory, and
//! their own log says when they are ready.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::rc::Rc;

use detcd::backup::{RestoreSettings, restore};
use detcd::config::CompatVersion;
use detcd::mvcc::Store;
use detcd::storage::bolt::{Bolt, BoltOptions};
use detcd::storage::schema::DatabaseImage;
use serde_json::Value;

use super::written::{Leases, Work, lessor, save_snapshot, settings};
use crate::peers;

pub(super) const CLIENT: &str = "unix://client:1";

/// Is ended when nobody has it any more, with the test at the latest.
pub(super) struct Process(pub(super) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A member that serves. Nobody reads its log to the end, but it must stay open.
pub(super) struct Member {
    process: Process,
    log: Option<Lines<BufReader<ChildStderr>>>,
}

impl Member {
    /// What it writes to its log from now on.
    pub(super) fn log(&mut self) -> &mut Lines<BufReader<ChildStderr>> {
        self.log.as_mut().expect("it serves")
    }
}

/// Starts a member on the directory `data` and returns when it serves; says so if it ends instead.
pub(super) fn start(etcd: &Path, work: &Work, flags: &[&str]) -> Member {
    let arguments = [
        ["--name", "n1"],
        ["--data-dir", "data"],
        ["--listen-client-urls", CLIENT],
        ["--advertise-client-urls", "http://127.0.0.1:9"],
        ["--listen-peer-urls", "unix://peer:1"],
        ["--initial-advertise-peer-urls", "http://127.0.0.1:3"],
        ["--initial-cluster", "n1=http://127.0.0.1:3"],
    ];
    let child = Command::new(etcd)
        .args(arguments.as_flattened())
        .args(flags)
        .current_dir(&work.root)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut member = Member { process: Process(child), log: None };
    let mut lines = BufReader::new(member.process.0.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        if line.contains("ready to serve client requests") {
            member.log = Some(lines);
            return member;
        }
        seen.push(line);
    }
    panic!("the member ended: {}", seen.join("\n"));
}

pub(super) fn ask(etcdctl: &Path, work: &Work, arguments: &[&str]) -> Value {
    let output = Command::new(etcdctl)
        .args(["--endpoints", CLIENT, "-w", "json"])
        .args(arguments)
        .current_dir(&work.root)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    // Some commands answer in plain words whatever the form that is asked for.
    let words = || String::from_utf8_lossy(&output.stdout).into_owned().into();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| words())
}

fn loaded(work: &Work) -> Store {
    let bolt = Bolt::open(Rc::clone(&work.disk), "data/member/snap/db", BoltOptions::ETCD).unwrap();
    let image = DatabaseImage::read(&bolt.read()).unwrap();
    Store::restore(Store::new(), &image, &mut lessor()).unwrap()
}

#[test]
fn etcd_starts_from_what_we_restored_and_has_our_keys() {
    let minors =
        [("3.5", CompatVersion::V3_5), ("3.6", CompatVersion::V3_6), ("3.7", CompatVersion::V3_7)];
    for ((minor, compat), bump_revision) in minors.into_iter().zip([0, 1000, 0]) {
        let test = "etcd_starts_from_what_we_restored_and_has_our_keys";
        let Some(etcd) = peers::tool(test, "etcd", minor) else { continue };
        let Some(etcdctl) = peers::tool(test, "etcdctl", minor) else { continue };
        let work = Work::new(&format!("start-{minor}"));
        let wrote = save_snapshot(&work, compat, Leases::Some, 5);
        let settings = RestoreSettings {
            bump_revision,
            is_marked_compacted: bump_revision > 0,
            ..settings("data", compat)
        };
        restore(&work.disk, &settings, &mut Vec::new()).unwrap();
        let ours = loaded(&work);
        assert_eq!(ours.revision(), wrote.revision() + bump_revision as i64);
        let member = start(&etcd, &work, &[]);
        let theirs = ask(&etcdctl, &work, &["endpoint", "hashkv"]);
        let theirs = &theirs[0]["HashKV"];
        let hash = ours.view().hash_kv(0).unwrap();
        assert_eq!(theirs["header"]["revision"], ours.revision(), "{minor}");
        assert_eq!(theirs["compact_revision"], ours.compact_revision(), "{minor}");
        assert_eq!(theirs["hash"], hash.hash, "{minor}: {theirs}");
        let members = ask(&etcdctl, &work, &["member", "list"]);
        assert_eq!(members["members"].as_array().unwrap().len(), 1, "{minor}: {members}");
        assert_eq!(members["members"][0]["name"], "n1", "{minor}");
        drop(member);
        // What etcd has done to the database since, we read again.
        let again = loaded(&work);
        let hash_again = again.view().hash_kv(0).unwrap();
        assert_eq!((hash_again.hash, again.revision()), (hash.hash, ours.revision()), "{minor}");
    }
}
