//! A data directory from a snapshot: the first of a new cluster's, whose members all begin from the
//! same file (contract-cluster.md, section 7.5).
//!
//! The new cluster has nothing of the old one's log and members. Its log holds the entries that add
//! its own members, which are committed and covered by a snapshot of the log.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;

use bytes::Bytes;
use prost::Message as _;

use super::copy::copy;
use super::{BackupError, Place};
use crate::config::CompatVersion;
use crate::member::bootstrap::{
    RestoredCluster, bootstrap_entries, bootstrap_state, encode_metadata, restored_cluster,
};
use crate::member::id::MemberId;
use crate::member::identity::cluster_id;
use crate::member::io::{Level, LogLine};
use crate::member::membership::{Identity, MemberChange, Membership};
use crate::mvcc::Revision;
use crate::planted::{Defect, Planted};
use crate::proto::mvccpb::KeyValue;
use crate::proto::raftpb::{ConfChange, ConfState};
use crate::storage::bolt::{Bolt, BoltOptions, ReadTx};
use crate::storage::database::BucketChange;
use crate::storage::disk::Disk;
use crate::storage::log::{HardState, LogEntry, LogNumber, LogWrite, SnapshotMark};
use crate::storage::schema::{self, bucket};
use crate::storage::snap::{self, MembersImage};
use crate::storage::wal::{Wal, WalSettings};

/// Whether a snapshot must be what was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashCheck {
    /// It must end in the hash of what comes before.
    Required,
    /// `--skip-hash-check`: for a database that was copied from a member's directory.
    Skipped,
}

/// The flags of `etcdutl snapshot restore`.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    /// The file.
    pub snapshot: Place,
    /// `--data-dir`.
    pub data_dir: Place,
    /// `--wal-dir`, if it is given.
    pub wal_dir: Option<Place>,
    /// `--name`.
    pub name: String,
    /// `--initial-cluster`.
    pub initial_cluster: String,
    /// `--initial-cluster-token`.
    pub token: String,
    /// `--initial-advertise-peer-urls`.
    pub advertise_peer_urls: String,
    /// `--skip-hash-check`.
    pub hash_check: HashCheck,
    /// `--bump-revision`; 0 leaves revisions as they are.
    pub bump_revision: u64,
    /// `--mark-compacted`: must be given with a bump, and only then.
    pub is_marked_compacted: bool,
    /// `--initial-memory-map-size`.
    pub map_bytes: u64,
    /// Whose files are written.
    pub compat: CompatVersion,
    /// A defect that the tool has.
    pub planted: Planted,
}

/// Makes the data directory. The lines are those of the command; after an error they tell how far
/// it came, and what it made stays.
pub fn restore(
    disk: &Rc<dyn Disk>,
    settings: &RestoreSettings,
    lines: &mut Vec<LogLine>,
) -> Result<(), BackupError> {
    if (settings.bump_revision > 0) != settings.is_marked_compacted {
        return Err(BackupError::BumpWithoutMark);
    }
    let token = match settings.planted.is(Defect::BackupSameToken) {
        true => "etcd-cluster",
        false => &settings.token,
    };
    let cluster = restored_cluster(
        &settings.name,
        &settings.initial_cluster,
        token,
        &settings.advertise_peer_urls,
        lines,
    )
    .map_err(BackupError::Cluster)?;
    check_directories(&**disk, settings)?;
    let snap_dir = settings.data_dir.below("member/snap");
    let wal_dir = settings.wal_dir.clone();
    let wal_dir = wal_dir.unwrap_or_else(|| settings.data_dir.below("member/wal"));
    let told = |text: &str| {
        LogLine::new(Level::Info, text)
            .with("path", &*settings.snapshot.named)
            .with("wal-dir", &*wal_dir.named)
            .with("data-dir", &*settings.data_dir.named)
            .with("snap-dir", &*snap_dir.named)
            .with("initial-memory-map-size", settings.map_bytes.to_string())
    };
    lines.push(told("restoring snapshot"));
    let database = snap_dir.below("db");
    copy(&**disk, &settings.snapshot, &database, settings.hash_check)?;
    let mark = mark(&cluster, settings.compat);
    change_database(disk, &database, settings, &cluster, &mark, lines)?;
    write_log(disk, &wal_dir, &snap_dir, settings, &cluster, &mark)?;
    lines.push(told("restored snapshot"));
    Ok(())
}

fn check_directories(disk: &dyn Disk, settings: &RestoreSettings) -> Result<(), BackupError> {
    let is_free = match disk.list(&settings.data_dir.path) {
        Ok(names) => names.is_empty(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if !is_free {
        return Err(BackupError::DataDir(settings.data_dir.clone()));
    }
    let Some(wal_dir) = &settings.wal_dir else { return Ok(()) };
    match disk.exists(&wal_dir.path).map_err(BackupError::io("stat", wal_dir))? {
        true => Err(BackupError::WalDir(wal_dir.clone())),
        false => Ok(()),
    }
}

/// The snapshot of the log that covers the entries which add the members.
fn mark(cluster: &RestoredCluster, compat: CompatVersion) -> SnapshotMark {
    let conf_state = ConfState {
        voters: cluster.members.iter().map(|member| member.id.0).collect(),
        auto_leave: (compat < CompatVersion::V3_7).then_some(false),
        ..ConfState::default()
    };
    let index = cluster.members.len() as u64;
    SnapshotMark { index, term: 1, conf_state: Some(conf_state) }
}

fn change_database(
    disk: &Rc<dyn Disk>,
    file: &Place,
    settings: &RestoreSettings,
    cluster: &RestoredCluster,
    mark: &SnapshotMark,
    lines: &mut Vec<LogLine>,
) -> Result<(), BackupError> {
    let options = BoltOptions { map_bytes: settings.map_bytes, ..BoltOptions::ETCD };
    let mut database = Bolt::open(Rc::clone(disk), &file.path, options)?;
    database.create_buckets(&[
        bucket::CLUSTER,
        bucket::KEY,
        bucket::MEMBERS,
        bucket::MEMBERS_REMOVED,
        bucket::META,
    ])?;
    let tx = database.read();
    let mut changes = Vec::new();
    let text = "Trimming membership information from the backend...";
    lines.push(LogLine::new(Level::Info, text));
    for name in [bucket::MEMBERS, bucket::MEMBERS_REMOVED] {
        for row in tx.rows(name.as_bytes())? {
            changes.push(BucketChange::delete(name, row?.0));
        }
    }
    if settings.planted.is(Defect::BackupLeasesLost) {
        for row in tx.rows(bucket::LEASE.as_bytes())? {
            changes.push(BucketChange::delete(bucket::LEASE, row?.0));
        }
    }
    if settings.planted.is(Defect::BackupHistoryLost) {
        forget_history(&tx, &mut changes)?;
    }
    if settings.bump_revision > 0 && !settings.planted.is(Defect::BackupBumpLost) {
        bump(&tx, settings, &mut changes, lines)?;
    }
    let ids = cluster.members.iter().map(|member| member.id);
    let identity = Identity { cluster: cluster_id(ids), member: MemberId(0) };
    let mut membership = Membership::default();
    for member in &cluster.members {
        lines.push(membership.apply(MemberChange::Add(member.clone()), identity));
        changes.push(schema::member_saved(member));
    }
    changes.extend(schema::consistent(mark.index, mark.term));
    drop(tx);
    database.commit(&changes)?;
    Ok(())
}

/// Leaves of each key its newest row.
fn forget_history(tx: &ReadTx, changes: &mut Vec<BucketChange>) -> Result<(), BackupError> {
    let mut newest = BTreeMap::new();
    for row in tx.rows(bucket::KEY.as_bytes())? {
        let (revision, value) = row?;
        let unreadable = |error| BackupError::Row(format!("row {revision:?}: {error}"));
        let key = KeyValue::decode(value).map_err(unreadable)?.key;
        if let Some(older) = newest.insert(key, revision) {
            changes.push(BucketChange::delete(bucket::KEY, older));
        }
    }
    Ok(())
}

/// Lets revisions go on far above the snapshot's, so that no client that has seen later ones
/// meets them again; all below is compacted when the member starts.
fn bump(
    tx: &ReadTx,
    settings: &RestoreSettings,
    changes: &mut Vec<BucketChange>,
    lines: &mut Vec<LogLine>,
) -> Result<(), BackupError> {
    let by = settings.bump_revision;
    let latest = latest_revision(tx)?;
    let too_large = || BackupError::BumpTooLarge { latest, by };
    let amount = i64::try_from(by).map_err(|_| too_large())?;
    let bumped = latest.checked_add(amount).ok_or_else(too_large)?;
    lines.push(
        LogLine::new(Level::Info, "bumping latest revision")
            .with("latest-revision", latest.to_string())
            .with("bump-amount", by.to_string())
            .with("new-latest-revision", bumped.to_string()),
    );
    let key = Bytes::copy_from_slice(&Revision::new(bumped, 0).bucket_key());
    changes.push(BucketChange::put(bucket::KEY, key, Bytes::new()));
    if settings.planted.is(Defect::BackupUnmarked) {
        return Ok(());
    }
    let line = LogLine::new(Level::Info, "marking revision compacted");
    lines.push(line.with("revision", bumped.to_string()));
    changes.push(schema::scheduled_compact_revision(bumped));
    Ok(())
}

fn latest_revision(tx: &ReadTx) -> Result<i64, BackupError> {
    let mut latest = 0;
    for row in tx.rows(bucket::KEY.as_bytes())? {
        let (key, _) = row?;
        let unreadable = || BackupError::Row(format!("key {key:?} of bucket key is no revision"));
        let (revision, _) = Revision::from_bucket_key(&key).ok_or_else(unreadable)?;
        latest = latest.max(revision.main);
    }
    Ok(latest)
}

/// The entries that add the members. Changes that nobody waits for have the ID 0, which 3.7 leaves
/// out.
fn entries(cluster: &RestoredCluster, compat: CompatVersion) -> Vec<LogEntry> {
    let mut entries = bootstrap_entries(&cluster.members);
    if compat < CompatVersion::V3_7 {
        return entries;
    }
    for entry in &mut entries {
        let change = ConfChange::decode(entry.data.clone()).expect("it was just encoded");
        entry.data = ConfChange { id: None, ..change }.encode_to_vec().into();
    }
    entries
}

/// The log of a member that has committed the entries of a new cluster and saved a snapshot.
fn write_log(
    disk: &Rc<dyn Disk>,
    wal_dir: &Place,
    snap_dir: &Place,
    settings: &RestoreSettings,
    cluster: &RestoredCluster,
    mark: &SnapshotMark,
) -> Result<(), BackupError> {
    let ids = cluster.members.iter().map(|member| member.id);
    let metadata = encode_metadata(cluster.local, cluster_id(ids));
    let mut wal = Wal::create(Rc::clone(disk), &wal_dir.path, WalSettings::ETCD, metadata)?;
    let vote = cluster.members.first().map_or(0, |member| member.id.0);
    let hard_state = HardState { vote, ..bootstrap_state(&cluster.members) };
    let entries = entries(cluster, settings.compat);
    let saved = LogWrite::Save { entries, hard_state: Some(hard_state), sync: true };
    wal.append(LogNumber(1), &saved)?;
    wal.commit()?;
    let lookups_failed = u64::from(settings.compat > CompatVersion::V3_5);
    let members = MembersImage::founded(&cluster.members, lookups_failed);
    let file = snap_dir.below(&snap::file_name(mark));
    let content = snap::encode(mark, &members);
    let mut opened = disk.create(&file.path).map_err(BackupError::io("open", &file))?;
    opened.write_at(0, &content).map_err(BackupError::io("write", &file))?;
    opened.sync_data().map_err(BackupError::io("fsync", &file))?;
    disk.sync_dir(&snap_dir.path).map_err(BackupError::io("fsync", snap_dir))?;
    wal.append(LogNumber(2), &LogWrite::Snapshot(Box::new(mark.clone())))?;
    wal.close()?;
    Ok(())
}
