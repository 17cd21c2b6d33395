//! What etcd's own tools make of our snapshots.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use detcd::backup::{Place, RestoreSettings, hash_keys, restore, status};
use detcd::config::CompatVersion;
use detcd::storage::bolt::{Bolt, BoltOptions};
use detcd::storage::schema::DatabaseImage;
use detcd::storage::snap;

use super::written::{Leases, Work, save_snapshot, settings};
use crate::peers;

const MINORS: [(&str, CompatVersion); 3] =
    [("3.5", CompatVersion::V3_5), ("3.6", CompatVersion::V3_6), ("3.7", CompatVersion::V3_7)];

fn run(tool: &Path, work: &Work, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).current_dir(&work.root).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool:?} {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn etcdutl_says_of_our_snapshots_what_we_say() {
    for (minor, compat) in MINORS {
        let test = "etcdutl_says_of_our_snapshots_what_we_say";
        let Some(etcdutl) = peers::tool(test, "etcdutl", minor) else { continue };
        let work = Work::new(&format!("status-{minor}"));
        let store = save_snapshot(&work, compat, Leases::Some, 1);
        let ours = status(&work.disk, &Place::new("saved", "saved"), compat).unwrap();
        assert_eq!(ours.revision, store.revision());
        let forms = [
            ("simple", ours.simple()),
            ("json", ours.json()),
            ("fields", ours.fields()),
            ("table", ours.table()),
        ];
        for (form, ours) in forms {
            let theirs = run(&etcdutl, &work, &["snapshot", "status", "saved", "-w", form]);
            assert_eq!(ours, theirs.trim_end(), "{minor} {form}");
        }
    }
}

#[test]
fn etcdutl_hashes_our_keys_as_we_do() {
    // It cannot be asked for keys with leases: it ends in a panic for want of a lessor.
    for (minor, compat) in &MINORS[1..] {
        let test = "etcdutl_hashes_our_keys_as_we_do";
        let Some(etcdutl) = peers::tool(test, "etcdutl", minor) else { continue };
        let work = Work::new(&format!("hash-{minor}"));
        let store = save_snapshot(&work, *compat, Leases::None, 4);
        let view = store.view();
        for revision in [0, view.compact_revision() + 7, view.revision() - 3] {
            let file = Place::new("saved", "saved");
            let read = hash_keys(&work.disk, &file, revision, *compat).unwrap();
            assert_eq!(read.hash, view.hash_kv(revision).unwrap().hash, "{minor}, at {revision}");
            let rev = revision.to_string();
            let theirs = run(&etcdutl, &work, &["hashkv", "saved", "--rev", &rev, "-w", "json"]);
            assert_eq!(read.json(), theirs.trim_end(), "{minor}, at {revision}");
        }
    }
}

/// The used bytes of a restored log.
fn log(work: &Work, data: &str) -> Vec<u8> {
    let name = "member/wal/0000000000000000-0000000000000000.wal";
    let mut bytes = std::fs::read(work.root.join(data).join(name)).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    bytes.truncate(used.next_multiple_of(8));
    bytes
}

fn image(work: &Work, data: &str) -> DatabaseImage {
    let path = format!("{data}/member/snap/db");
    let bolt = Bolt::open(Rc::clone(&work.disk), &path, BoltOptions::ETCD).unwrap();
    DatabaseImage::read(&bolt.read()).unwrap()
}

fn compare_restored(work: &Work, minor: &str, settings: &RestoreSettings, flags: &[&str]) {
    let test = "a_directory_that_we_restore_is_the_one_that_etcdutl_restores";
    let Some(etcdutl) = peers::tool(test, "etcdutl", minor) else { return };
    let bump = settings.bump_revision.to_string();
    let mut arguments = vec!["snapshot", "restore", "saved", "--data-dir", "theirs"];
    arguments.extend(["--name", "n1", "--initial-cluster", &settings.initial_cluster]);
    arguments.extend(["--initial-cluster-token", "t"]);
    arguments.extend(["--initial-advertise-peer-urls", "http://127.0.0.1:3"]);
    if settings.bump_revision > 0 {
        arguments.extend(["--bump-revision", &bump]);
    }
    arguments.extend(flags);
    run(&etcdutl, work, &arguments);
    restore(&work.disk, settings, &mut Vec::new()).unwrap();
    let members = settings.initial_cluster.split(',').count();
    let name = format!("member/snap/{:016x}-{members:016x}.snap", 1);
    let snap_of = |data: &str| std::fs::read(work.root.join(data).join(&name)).unwrap();
    let (ours, theirs) = (snap_of("ours"), snap_of("theirs"));
    if members == 1 || settings.compat == CompatVersion::V3_5 {
        assert_eq!(ours, theirs, "{minor}: the .snap files");
    } else {
        // Since 3.6 the order in which it adds the members is that of Go's maps.
        assert_eq!(snap::decode(&ours), snap::decode(&theirs), "{minor}: the .snap files");
    }
    assert_eq!(log(work, "ours"), log(work, "theirs"), "{minor}: the logs");
    let (ours, theirs) = (image(work, "ours"), image(work, "theirs"));
    for ((name, ours), (other, theirs)) in ours.buckets().zip(theirs.buckets()) {
        assert_eq!((name, ours), (other, theirs), "{minor}");
    }
    assert_eq!(ours, theirs, "{minor}");
}

#[test]
fn a_directory_that_we_restore_is_the_one_that_etcdutl_restores() {
    for (minor, compat) in MINORS {
        let work = Work::new(&format!("restore-{minor}"));
        save_snapshot(&work, compat, Leases::Some, 2);
        let two = RestoreSettings {
            initial_cluster: "n1=http://127.0.0.1:3,n2=http://127.0.0.1:5".to_owned(),
            ..settings("ours", compat)
        };
        compare_restored(&work, minor, &two, &[]);
        let work = Work::new(&format!("bump-{minor}"));
        save_snapshot(&work, compat, Leases::Some, 3);
        let bumped = RestoreSettings {
            bump_revision: 1_000_000,
            is_marked_compacted: true,
            ..settings("ours", compat)
        };
        compare_restored(&work, minor, &bumped, &["--mark-compacted"]);
    }
}
