//! A database is sent, saved, looked at and restored, on a disk in memory; and what is said when
//! that cannot be.

use std::rc::Rc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::config::CompatVersion;
use crate::lease::{Lessor, LessorConfig};
use crate::member::id::MemberId;
use crate::member::io::LogLine;
use crate::member::membership::Membership;
use crate::mvcc::Store;
use crate::planted::Planted;
use crate::proto::etcdserverpb as pb;
use crate::storage::bolt::{Bolt, BoltOptions};
use crate::storage::database::BucketChange;
use crate::storage::disk::Disk;
use crate::storage::log::HardState;
use crate::storage::memory::MemoryDisk;
use crate::storage::schema::{self, DatabaseImage};
use crate::storage::snap;
use crate::storage::wal::{LogRecord, records};

fn lessor() -> Lessor {
    let retry = std::time::Duration::from_secs(7);
    Lessor::new(LessorConfig { ttl_seconds_min: 2, retry, checkpoint: false })
}

/// A database with a few keys, of which one is deleted, and members of its own.
fn database(disk: &Rc<dyn Disk>) -> (Bolt, Store) {
    let mut bolt =
        Bolt::open_or_create(Rc::clone(disk), "old/db", BoltOptions::ETCD).expect("opened");
    schema::initialize(&mut bolt).expect("initialized");
    let (mut store, mut lessor) = (Store::new(), lessor());
    store.note_written();
    for index in 0..200 {
        let request = pb::PutRequest {
            key: format!("key{}", index % 40).into(),
            value: format!("value {index}").repeat(40).into(),
            ..Default::default()
        };
        store.put(&request, &mut lessor).expect("put");
    }
    let request = pb::DeleteRangeRequest { key: "key7".into(), ..Default::default() };
    store.delete_range(&request, &mut lessor).expect("deleted");
    let mut changes = store.take_changes();
    let version = crate::member::version::Version::new(3, 6, 0);
    let old = crate::member::io::MemberInfo { id: MemberId(9), ..Default::default() };
    changes.extend(schema::consistent(300, 4));
    changes.extend([schema::storage_version(Some(&version)), schema::member_saved(&old)]);
    changes.extend(schema::member_removed(MemberId(8)));
    bolt.commit(&changes).expect("committed");
    (bolt, store)
}

fn disk() -> (Rc<MemoryDisk>, Rc<dyn Disk>) {
    let memory = Rc::new(MemoryDisk::new());
    (Rc::clone(&memory), memory)
}

fn file(path: &str) -> Place {
    Place::new(path, format!("/{path}"))
}

fn save_to(disk: &dyn Disk, bolt: &Bolt, path: &str) -> Result<Saved, BackupError> {
    let mut stream = SnapshotStream::new(bolt.read(), CompatVersion::V3_6)?;
    let messages = std::iter::from_fn(|| stream.next_message().map_err(Into::into).transpose());
    save(disk, &file(path), messages)
}

fn settings(snapshot: &str) -> RestoreSettings {
    RestoreSettings {
        snapshot: file(snapshot),
        data_dir: file("new"),
        wal_dir: None,
        name: "n1".to_owned(),
        initial_cluster: "n1=http://127.0.0.1:3,n2=http://127.0.0.1:5".to_owned(),
        token: "etcd-cluster".to_owned(),
        advertise_peer_urls: "http://127.0.0.1:3".to_owned(),
        hash_check: HashCheck::Required,
        bump_revision: 0,
        is_marked_compacted: false,
        map_bytes: 10 << 30,
        compat: CompatVersion::V3_6,
        planted: Planted::NONE,
    }
}

fn image(disk: &Rc<dyn Disk>, path: &str) -> DatabaseImage {
    let bolt = Bolt::open(Rc::clone(disk), path, BoltOptions::ETCD).expect("opened");
    DatabaseImage::read(&bolt.read()).expect("read")
}

fn load(image: &DatabaseImage) -> Store {
    Store::restore(Store::new(), image, &mut lessor()).expect("restored")
}

#[test]
fn a_stream_ends_in_the_hash_of_its_blobs() {
    let (_, disk) = disk();
    let (bolt, _) = database(&disk);
    let size = bolt.size_bytes();
    assert!(size > 2 * BLOB_BYTES as u64);
    let mut stream = SnapshotStream::new(bolt.read(), CompatVersion::V3_6).unwrap();
    let mut sent = 0;
    let mut messages = Vec::new();
    while let Some(message) = stream.next_message().unwrap() {
        messages.push(message);
    }
    let hash = messages.pop().unwrap();
    let sum = messages.iter().fold(Sha256::new(), |sum, message| sum.chain_update(&message.blob));
    assert_eq!((&hash.blob[..], hash.remaining_bytes), (&sum.finalize()[..], 0));
    for message in &messages {
        sent += message.blob.len() as u64;
        assert_eq!(message.remaining_bytes, size - sent);
        assert_eq!(message.version, "3.6.0");
        assert!(message.blob.len() == BLOB_BYTES || message.remaining_bytes == 0);
    }
    assert_eq!(sent, size);
    let mut old = SnapshotStream::new(bolt.read(), CompatVersion::V3_5).unwrap();
    assert_eq!(old.next_message().unwrap().unwrap().version, "");
}

#[test]
fn a_saved_snapshot_is_whole_or_not_there() {
    let (memory, disk) = disk();
    let (bolt, _) = database(&disk);
    disk.create_dir_all("backups").unwrap();
    let saved = save_to(&*disk, &bolt, "backups/one").unwrap();
    assert_eq!((saved.size_bytes, &*saved.version), (bolt.size_bytes() + 32, "3.6.0"));
    assert_eq!(memory.read("backups/one").unwrap().len() as u64, saved.size_bytes);
    let cut = pb::SnapshotResponse { blob: Bytes::from_static(&[0; 512]), ..Default::default() };
    let error = save(&*disk, &file("backups/two"), [Ok(cut)].into_iter()).unwrap_err();
    assert_eq!(error.to_string(), "sha256 checksum not found [bytes: 512]");
    assert_eq!(disk.list("backups").unwrap(), ["one"]);
    let error = save_to(&*disk, &bolt, "nowhere/one").unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(
        error.to_string(),
        "could not open /nowhere/one.part (open /nowhere/one.part: no such file or directory)"
    );
}

#[test]
fn a_status_tells_rows_or_keys_by_version() {
    let (memory, disk) = disk();
    let (bolt, store) = database(&disk);
    save_to(&*disk, &bolt, "one").unwrap();
    let hash = image_of(&bolt).hash(schema::HashScope::Everything);
    let rows: usize = image_of(&bolt).buckets().map(|(_, rows)| rows.iter().len()).sum();
    let of = |compat| status(&disk, &file("one"), compat).unwrap();
    let (old, new) = (of(CompatVersion::V3_5), of(CompatVersion::V3_6));
    assert_eq!((old.hash, new.hash), (hash, hash));
    assert_eq!((old.total_keys, new.total_keys), (rows as u64, 39));
    assert_eq!((new.revision, new.size_bytes), (store.revision(), bolt.size_bytes()));
    assert_eq!(new.version, "3.6.0");
    memory.put("junk", vec![7; 9000]);
    memory.put("empty", "");
    for name in ["junk", "empty"] {
        let error = status(&disk, &file(name), CompatVersion::V3_6).unwrap_err();
        assert_eq!((error.to_string(), error.exit_code()), ("invalid database".to_owned(), 1));
    }
    assert_eq!(memory.read("empty").unwrap(), b"", "looking at a file leaves it as it is");
    let error = status(&disk, &file("none"), CompatVersion::V3_6).unwrap_err();
    assert_eq!(error.to_string(), "stat /none: no such file or directory");
}

fn image_of(bolt: &Bolt) -> DatabaseImage {
    DatabaseImage::read(&bolt.read()).expect("read")
}

#[test]
fn a_restored_directory_has_new_members_and_the_old_keys() {
    let (memory, disk) = disk();
    let (bolt, store) = database(&disk);
    save_to(&*disk, &bolt, "one").unwrap();
    let mut lines = Vec::new();
    restore(&disk, &settings("one"), &mut lines).unwrap();
    let texts: Vec<&str> = lines.iter().map(|line: &LogLine| &line.message[..]).collect();
    let expected = [
        "restoring snapshot",
        "Trimming membership information from the backend...",
        "added member",
        "added member",
        "restored snapshot",
    ];
    assert_eq!(texts, expected);
    assert_eq!(lines[0].fields[1], ("wal-dir", "/new/member/wal".to_owned()));
    let restored = image(&disk, "new/member/snap/db");
    let mark = restored.mark().unwrap();
    assert_eq!((mark.index, mark.term), (2, 1));
    let membership = Membership::restore(&restored).unwrap();
    let names: Vec<&str> = membership.members().map(|member| &member.name[..]).collect();
    assert_eq!(names, ["n1", "n2"]);
    assert_eq!(membership.removed().count(), 0);
    assert_eq!(load(&restored).digest(), store.digest());
    let lowest = 0x4ec8_19aa_19b9_f4b5;
    let (snapshot, state) = log_of(&disk);
    assert_eq!(state, HardState { term: 1, vote: lowest, commit: 2 });
    let name = format!("new/member/snap/{}", snap::file_name(&snapshot));
    assert_eq!(name, "new/member/snap/0000000000000001-0000000000000002.snap");
    let snap_file = memory.read(&name).unwrap();
    assert_eq!(snap::decode(&snap_file).unwrap(), snapshot);
    assert_eq!(snapshot.conf_state.unwrap().voters, [lowest, 0xb7ca_6574_1f8c_e57d]);
}

/// The last snapshot record and the last hard state of the restored log.
fn log_of(disk: &Rc<dyn Disk>) -> (crate::storage::log::SnapshotMark, HardState) {
    let (mut mark, mut state) = (None, None);
    for record in records(&**disk, "new/member/wal").expect("the log can be read") {
        match record {
            LogRecord::Snapshot(snapshot) => mark = Some(snapshot),
            LogRecord::State(hard_state) => state = Some(hard_state),
            _ => {}
        }
    }
    (mark.expect("there is a snapshot"), state.expect("there is a state"))
}

#[test]
fn a_bump_compacts_everything_below_itself() {
    let (_, disk) = disk();
    let (bolt, store) = database(&disk);
    save_to(&*disk, &bolt, "one").unwrap();
    let one = RestoreSettings { bump_revision: 1000, ..settings("one") };
    let error = restore(&disk, &one, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "--mark-compacted required if --revision-bump > 0");
    assert_eq!(error.exit_code(), 128);
    let one = RestoreSettings { is_marked_compacted: true, ..one };
    restore(&disk, &one, &mut Vec::new()).unwrap();
    let bumped = load(&image(&disk, "new/member/snap/db"));
    let revision = store.revision() + 1000;
    assert_eq!((bumped.revision(), bumped.compact_revision()), (revision, revision));
    assert!(bumped.is_live(b"key1") && !bumped.is_live(b"key7"));
}

#[test]
fn a_snapshot_is_restored_only_as_it_was_saved() {
    let (memory, disk) = disk();
    let (bolt, _) = database(&disk);
    save_to(&*disk, &bolt, "one").unwrap();
    let saved = memory.read("one").unwrap();
    let mut bare = saved.clone();
    bare.truncate(saved.len() - 32);
    memory.put("bare", bare);
    let mut bad = saved.clone();
    bad[5000] ^= 1;
    memory.put("bad", bad);
    memory.put("abc", "abc");
    let text = |settings: &RestoreSettings| {
        let error = restore(&disk, settings, &mut Vec::new()).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        error.to_string()
    };
    assert_eq!(text(&settings("none")), "open /none: no such file or directory");
    assert_eq!(text(&settings("abc")), "seek /abc: invalid argument");
    let mismatch = text(&settings("bad"));
    assert!(mismatch.starts_with("expected sha256 ["), "{mismatch}");
    assert!(mismatch.contains("], got ["), "{mismatch}");
    assert_eq!(text(&settings("bad")), "data-dir \"/new\" not empty or could not be read");
    disk.remove_dir_all("new").unwrap();
    let missing = "snapshot missing hash but --skip-hash-check=false";
    assert_eq!(text(&settings("bare")), missing);
    disk.remove_dir_all("new").unwrap();
    disk.create_dir_all("w").unwrap();
    let elsewhere = RestoreSettings { wal_dir: Some(file("w")), ..settings("bare") };
    assert_eq!(text(&elsewhere), "wal-dir \"/w\" exists");
    let skipped = RestoreSettings { hash_check: HashCheck::Skipped, ..settings("bare") };
    restore(&disk, &skipped, &mut Vec::new()).unwrap();
    assert!(disk.exists("new/member/wal").unwrap());
}

#[test]
fn keys_are_hashed_without_touching_the_file() {
    let (memory, disk) = disk();
    let (bolt, store) = database(&disk);
    save_to(&*disk, &bolt, "one").unwrap();
    let before = memory.read("one");
    let of = |revision| hash_keys(&disk, &file("one"), revision, CompatVersion::V3_6);
    let theirs = store.view().hash_kv(50).unwrap();
    let ours = of(50).unwrap();
    assert_eq!((ours.hash, ours.revision, ours.compact_revision), (theirs.hash, 50, -1));
    assert_eq!(of(0).unwrap().revision, store.revision());
    assert_eq!(of(9_999).unwrap_err().to_string(), "mvcc: required revision is a future revision");
    assert_eq!(memory.read("one"), before);
    let shown =
        KeysHash { hash: 4_036_673_928, revision: 18, compact_revision: 3, compat: ours.compat };
    assert_eq!(shown.simple(), "4036673928, 18, 3");
    assert_eq!(shown.json(), r#"{"hash":4036673928,"hashRevision":18,"compactRevision":3}"#);
    assert_eq!(
        shown.fields(),
        "\"Hash\" : 4036673928\n\"Hash revision\" : 18\n\"Compact revision\" : 3"
    );
    let table = "\
+------------+---------------+------------------+
|    HASH    | HASH REVISION | COMPACT REVISION |
+------------+---------------+------------------+
| 4036673928 |            18 |                3 |
+------------+---------------+------------------+";
    assert_eq!(shown.table(), table);
}

#[test]
fn a_defragmented_database_holds_the_same_in_less() {
    let (_, disk) = disk();
    let (bolt, _) = database(&disk);
    let image = image_of(&bolt);
    disk.create_dir_all("old/member/snap").unwrap();
    drop(bolt);
    disk.rename("old/db", "old/member/snap/db").unwrap();
    let mut bolt = Bolt::open(Rc::clone(&disk), "old/member/snap/db", BoltOptions::ETCD).unwrap();
    let filler = |value: Option<Bytes>| {
        let key = |index: usize| Bytes::from(format!("filler{index}"));
        let change = |index| match &value {
            Some(value) => BucketChange::put("auth", key(index), value.clone()),
            None => BucketChange::delete("auth", key(index)),
        };
        (0..100).map(change).collect::<Vec<_>>()
    };
    bolt.commit(filler(Some(vec![1; 3000].into()))).unwrap();
    bolt.commit(filler(None)).unwrap();
    let before = bolt.size_bytes();
    drop(bolt);
    let mut lines = Vec::new();
    defragment(&disk, &file("old"), &mut lines).unwrap();
    let bolt = Bolt::open(Rc::clone(&disk), "old/member/snap/db", BoltOptions::ETCD).unwrap();
    assert!(bolt.size_bytes() < before - 100_000);
    assert_eq!(image_of(&bolt), image);
    assert_eq!(disk.list("old/member/snap").unwrap(), ["db"]);
    let texts: Vec<&str> = lines.iter().map(|line| &line.message[..]).collect();
    assert_eq!(texts, ["defragmenting", "finished defragmenting directory"]);
    let diff = (bolt.size_bytes() as i64 - before as i64).to_string();
    assert_eq!(lines[1].fields[1], ("current-db-size-bytes-diff", diff));
    let error = defragment(&disk, &file("none"), &mut lines).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Failed to defragment etcd data[/none] \
         (stat /none/member/snap/db: no such file or directory)"
    );
}

#[test]
fn the_cluster_is_checked_before_anything_is_written() {
    let (_, disk) = disk();
    let check = |change: &dyn Fn(&mut RestoreSettings), expected: &str| {
        let mut settings = settings("none");
        change(&mut settings);
        let error = restore(&disk, &settings, &mut Vec::new()).unwrap_err();
        assert_eq!((error.to_string(), error.exit_code()), (expected.to_owned(), 1));
    };
    check(
        &|settings| settings.name = "zz".to_owned(),
        "couldn't find local name \"zz\" in the initial cluster configuration",
    );
    check(
        &|settings| settings.initial_cluster = "foo".to_owned(),
        "URL scheme must be http, https, unix, or unixs: ",
    );
    check(
        &|settings| settings.advertise_peer_urls = "foo".to_owned(),
        "URL scheme must be http, https, unix, or unixs: foo",
    );
    check(
        &|settings| {
            settings.initial_cluster = "n1=http://127.0.0.1:3,b=http://127.0.0.1:3".to_owned()
        },
        "initial cluster b=http://127.0.0.1:3,n1=http://127.0.0.1:3 has duplicate url",
    );
    check(
        &|settings| settings.initial_cluster = "n1=http://127.0.0.1:4".to_owned(),
        "--initial-cluster has n1=http://127.0.0.1:4 but missing from \
         --initial-advertise-peer-urls=http://127.0.0.1:3 (resolved urls: \
         \"http://127.0.0.1:3\" != \"http://127.0.0.1:4\")",
    );
}
