//! Snapshots that real etcd wrote (`scripts/database-fixtures.sh`): everything in them is read, and
//! hashes to what etcd said of it.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use detcd::backup::{Place, status};
use detcd::config::CompatVersion;
use detcd::lease::{Lessor, LessorConfig};
use detcd::member::membership::Membership;
use detcd::mvcc::Store;
use detcd::proto::etcdserverpb::RangeRequest;
use detcd::storage::bolt::{Bolt, BoltOptions};
use detcd::storage::disk::Disk;
use detcd::storage::memory::MemoryDisk;
use detcd::storage::schema::{DatabaseImage, HashScope};
use detcd::storage::snap;
use serde_json::Value;

const MINORS: [(&str, CompatVersion); 4] = [
    ("3.4", CompatVersion::V3_5),
    ("3.5", CompatVersion::V3_5),
    ("3.6", CompatVersion::V3_6),
    ("3.7", CompatVersion::V3_7),
];

fn folder(minor: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/database").join(minor)
}

fn said(minor: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(folder(minor).join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn disk(minor: &str) -> Rc<dyn Disk> {
    let disk = MemoryDisk::new();
    disk.put("snapshot.db", std::fs::read(folder(minor).join("snapshot.db")).unwrap());
    Rc::new(disk)
}

fn image(minor: &str) -> DatabaseImage {
    let bolt = Bolt::open(disk(minor), "snapshot.db", BoltOptions::ETCD).unwrap();
    DatabaseImage::read(&bolt.read()).unwrap()
}

fn load(image: &DatabaseImage) -> (Store, Lessor) {
    let retry = Duration::from_secs(7);
    let config = LessorConfig { ttl_seconds_min: 2, retry, checkpoint: false };
    let mut lessor = Lessor::restore(config, image).unwrap();
    let store = Store::restore(Store::new(), image, &mut lessor).unwrap();
    (store, lessor)
}

#[test]
fn a_status_is_what_etcdutl_says() {
    for (minor, compat) in MINORS {
        let file = Place::new("snapshot.db", "snapshot.db");
        let ours = status(&disk(minor), &file, compat).unwrap();
        let theirs = std::fs::read_to_string(folder(minor).join("STATUS")).unwrap();
        assert_eq!(ours.json(), theirs.trim_end(), "{minor}");
    }
}

#[test]
fn hashes_are_what_the_member_said() {
    for (minor, compat) in MINORS {
        let image = image(minor);
        let whole = said(minor, "HASH");
        let ours = image.hash(HashScope::Replicated(compat));
        assert_eq!(whole["hash"], ours, "{minor}: {whole}");
        let (store, _) = load(&image);
        let ours = store.view().hash_kv(0).unwrap();
        let keys = &said(minor, "HASHKV")[0]["HashKV"];
        assert_eq!(keys["hash"], ours.hash, "{minor}: {keys}");
        assert_eq!(keys["compact_revision"], ours.compact_revision, "{minor}");
        assert_eq!(keys["header"]["revision"], store.revision(), "{minor}");
    }
}

#[test]
fn a_member_is_loaded_with_all_that_it_had() {
    for (minor, compat) in MINORS {
        let image = image(minor);
        let (store, lessor) = load(&image);
        assert_eq!(store.compact_revision(), 90, "{minor}");
        assert_eq!(lessor.leases(), [7, 4660], "{minor}");
        assert_eq!(lessor.keys(7), ["leased"], "{minor}");
        assert_eq!(lessor.stored(7), Some((3600, 0)), "{minor}");
        let all = RangeRequest { key: "a".into(), range_end: "\0".into(), ..Default::default() };
        let kvs = store.range(&all).unwrap().kvs;
        assert!(kvs.iter().any(|kv| kv.key == "large" && kv.value.len() == 9000), "{minor}");
        assert!(!kvs.iter().any(|kv| kv.key.starts_with(b"key5")), "{minor}");
        let old = RangeRequest { key: "key50".into(), revision: 100, ..Default::default() };
        assert_eq!(store.range(&old).unwrap().kvs.len(), 1, "{minor}: history is there");

        let membership = Membership::restore(&image).unwrap();
        let members: Vec<_> = membership.members().collect();
        assert_eq!(members.len(), 2, "{minor}");
        let learner = members.iter().find(|member| member.is_learner).unwrap();
        assert_eq!(learner.peer_urls, ["http://127.0.0.1:1"], "{minor}");
        let version = membership.cluster_version().unwrap().short();
        assert_eq!(version, minor, "{minor}");
        let alarms: Vec<_> = image.alarms().map(Result::unwrap).collect();
        assert_eq!(alarms.len(), 1, "{minor}");
        assert_eq!((alarms[0].member_id, alarms[0].alarm), (5, 1), "{minor}");
        assert_eq!(image.auth_revision().unwrap(), Some(1), "{minor}");

        let stored = image.storage_version().unwrap().map(|version| version.short());
        let expected = (compat > CompatVersion::V3_5).then(|| minor.to_owned());
        assert_eq!(stored, expected, "{minor}");
        let mark = image.mark().unwrap();
        assert!(mark.index > 240, "{minor}: {mark:?}");
        if minor == "3.4" {
            assert_eq!((mark.term, mark.conf_state), (0, None), "3.4 stores neither");
            continue;
        }
        let conf_state = mark.conf_state.unwrap();
        assert_eq!(conf_state.learners, [learner.id.0], "{minor}");
        assert_eq!((mark.term, conf_state.voters.len()), (2, 1), "{minor}");
    }
}

#[test]
fn snapshot_files_say_where_the_log_stood() {
    for (minor, _) in MINORS {
        let names = std::fs::read_dir(folder(minor)).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let name = names.find(|name| name.ends_with(".snap")).unwrap();
        let bytes = std::fs::read(folder(minor).join(&name)).unwrap();
        let mark = snap::decode(&bytes).unwrap();
        assert_eq!(snap::file_name(&mark), name, "{minor}");
        let voters = mark.conf_state.unwrap().voters;
        let membership = Membership::restore(&image(minor)).unwrap();
        let ids: Vec<u64> = membership.voters().map(|member| member.id.0).collect();
        assert_eq!(voters, ids, "{minor}");
    }
}
