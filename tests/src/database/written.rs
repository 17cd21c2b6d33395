//! A database that we write, as a member would: random requests, compactions and leases.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use detcd::backup::{BackupError, HashCheck, Place, RestoreSettings, SnapshotStream, save};
use detcd::config::CompatVersion;
use detcd::lease::{Lessor, LessorConfig};
use detcd::member::id::MemberId;
use detcd::member::io::MemberInfo;
use detcd::member::time::Monotonic;
use detcd::member::version::Version;
use detcd::mvcc::Store;
use detcd::planted::Planted;
use detcd::proto::etcdserverpb::{DeleteRangeRequest, PutRequest};
use detcd::shell::disk::OsDisk;
use detcd::storage::bolt::{Bolt, BoltOptions};
use detcd::storage::disk::Disk;
use detcd::storage::schema;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A directory of the operating system that goes with the test.
pub(super) struct Work {
    pub(super) root: PathBuf,
    pub(super) disk: Rc<dyn Disk>,
}

impl Work {
    pub(super) fn new(name: &str) -> Work {
        let root = std::env::temp_dir().join(format!("detcd-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).unwrap();
        let disk = Rc::new(OsDisk::new(&root));
        Work { root, disk }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

pub(super) fn lessor() -> Lessor {
    let retry = Duration::from_secs(7);
    Lessor::new(LessorConfig { ttl_seconds_min: 2, retry, checkpoint: false })
}

/// Whether keys are attached to leases.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Leases {
    Some,
    None,
}

/// Commits a few hundred requests in several transactions and saves the database as the snapshot
/// `saved`. Returns the store that made it.
pub(super) fn save_snapshot(
    work: &Work,
    compat: CompatVersion,
    leases: Leases,
    seed: u64,
) -> Store {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |bound: u64| draw.next_u64() % bound;
    let (mut store, mut lessor) = (Store::new(), lessor());
    store.note_written();
    let mut bolt =
        Bolt::open_or_create(Rc::clone(&work.disk), "source/db", BoltOptions::ETCD).unwrap();
    schema::initialize(&mut bolt).unwrap();
    let granted = lessor.grant(7, 3600, Monotonic::ZERO).unwrap();
    let mut changes = vec![schema::lease_granted(7, granted, 0)];
    for index in 1..=400u64 {
        let key = format!("key{}", below(60)).into();
        if below(6) == 0 {
            let request = DeleteRangeRequest { key, ..Default::default() };
            store.delete_range(&request, &mut lessor).unwrap();
        } else {
            let value = vec![b'v'; below(300) as usize].into();
            let lease = if below(9) == 0 && leases == Leases::Some { 7 } else { 0 };
            let request = PutRequest { key, value, lease, ..Default::default() };
            store.put(&request, &mut lessor).unwrap();
        }
        if index % 150 == 0 {
            store.compact(store.revision() - 40).unwrap();
        }
        store.compact_slice(1 + below(4));
        changes.extend(store.take_changes());
        if index % 40 == 0 {
            changes.extend(schema::consistent(index, 2));
            bolt.commit(std::mem::take(&mut changes)).unwrap();
        }
    }
    while !store.compact_slice(50).1 {}
    changes.extend(store.take_changes());
    let version = Version::parse(compat.cluster_version()).unwrap();
    let old = MemberInfo {
        id: MemberId(0xabc),
        name: "old".to_owned(),
        peer_urls: vec!["http://127.0.0.1:1".to_owned()],
        ..MemberInfo::default()
    };
    changes.extend([schema::cluster_version(&version), schema::member_saved(&old)]);
    changes.extend(schema::member_removed(MemberId(0xdef)));
    if compat > CompatVersion::V3_5 {
        changes.push(schema::storage_version(Some(&version)));
    }
    bolt.commit(&changes).unwrap();
    let mut stream = SnapshotStream::new(bolt.read(), compat).unwrap();
    let messages =
        std::iter::from_fn(|| stream.next_message().map_err(BackupError::from).transpose());
    save(&*work.disk, &Place::new("saved", "saved"), messages).unwrap();
    store
}

/// The flags with which a cluster of one member is restored into `data`.
pub(super) fn settings(data: &str, compat: CompatVersion) -> RestoreSettings {
    RestoreSettings {
        snapshot: Place::new("saved", "saved"),
        data_dir: Place::new(data, data),
        wal_dir: None,
        name: "n1".to_owned(),
        initial_cluster: "n1=http://127.0.0.1:3".to_owned(),
        token: "t".to_owned(),
        advertise_peer_urls: "http://127.0.0.1:3".to_owned(),
        hash_check: HashCheck::Required,
        bump_revision: 0,
        is_marked_compacted: false,
        map_bytes: 10 << 30,
        compat,
        planted: Planted::NONE,
    }
}
