//! A member's settings, as etcd's flags name them.
//! Source: contract-cluster.md, section 1.

pub mod flags;
pub mod quote;
pub mod url;
pub mod value;

use std::time::Duration;

use self::flags::Settings;
use crate::planted::{Defect, Planted};

/// Which etcd the member says it is, and behaves like where versions differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum CompatVersion {
    V3_5,
    #[default]
    V3_6,
    V3_7,
}

impl CompatVersion {
    /// The version of the binary that is reported, `X.Y.Z`.
    pub const fn server_version(self) -> &'static str {
        match self {
            CompatVersion::V3_5 => "3.5.30",
            CompatVersion::V3_6 => "3.6.14",
            CompatVersion::V3_7 => "3.7.1",
        }
    }

    /// The cluster version that such a member proposes, `X.Y.0`.
    pub const fn cluster_version(self) -> &'static str {
        match self {
            CompatVersion::V3_5 => "3.5.0",
            CompatVersion::V3_6 => "3.6.0",
            CompatVersion::V3_7 => "3.7.0",
        }
    }
}

/// `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ClusterState {
    #[default]
    New,
    Existing,
}

/// When history is compacted without being asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Never.
    #[default]
    Off,
    /// Keep what is younger than this.
    Periodic(Duration),
    /// Keep so many revisions.
    Revisions(i64),
}

/// The settings that the member itself acts on. Listeners, TLS and log outputs belong to the shell.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Config {
    pub name: String,
    pub data_dir: String,
    /// Empty: `<data-dir>/member/wal`.
    pub wal_dir: String,
    /// As given, `name=url,...`.
    pub initial_cluster: String,
    pub initial_cluster_state: ClusterState,
    pub initial_cluster_token: String,
    pub initial_advertise_peer_urls: Vec<String>,
    pub listen_peer_urls: Vec<String>,
    pub advertise_client_urls: Vec<String>,
    pub listen_client_urls: Vec<String>,
    /// The service that tells 3.4 to 3.6 their members; empty for none.
    pub discovery: String,
    /// The etcd cluster that tells members of each other; empty for none.
    pub discovery_endpoints: Vec<String>,
    pub discovery_token: String,
    /// The domain whose SRV records list the members; empty for none.
    pub discovery_srv: String,
    pub force_new_cluster: bool,
    pub heartbeat_interval_ms: u64,
    pub election_timeout_ms: u64,
    pub initial_election_tick_advance: bool,
    pub pre_vote: bool,
    pub strict_reconfig_check: bool,
    pub max_learners: usize,
    pub max_txn_ops: usize,
    pub max_request_bytes: usize,
    /// 0: 2 GiB; negative: none.
    pub quota_backend_bytes: i64,
    pub snapshot_count: u64,
    pub snapshot_catchup_entries: u64,
    pub watch_progress_notify_interval: Duration,
    /// Whether, since 3.7, a known lease is renewed without waiting for entries to be applied.
    pub fast_lease_keep_alive: bool,
    pub lease_checkpoint: bool,
    pub lease_checkpoint_persist: bool,
    pub auto_compaction: AutoCompaction,
    pub compaction_batch_limit: usize,
    pub compaction_sleep_interval: Duration,
    pub initial_corrupt_check: bool,
    /// Zero: never.
    pub corrupt_check_time: Duration,
    pub compact_hash_check: bool,
    pub compact_hash_check_time: Duration,
    pub downgrade_check_time: Duration,
    pub warning_apply_duration: Duration,
    /// Snapshot files to keep, 0 for all.
    pub max_snapshots: usize,
    /// Log segments to keep, 0 for all.
    pub max_wals: usize,
    pub unsafe_no_fsync: bool,
    pub auth_token: String,
    pub auth_token_ttl: Duration,
    pub bcrypt_cost: u64,
    pub compat: CompatVersion,
    /// Every flag as it was given or defaulted, for whoever listens and logs; empty when the
    /// settings do not come from flags.
    pub flags: Settings,
    /// A planted defect; has an effect only in a build with the `planted` feature.
    pub planted: Option<Defect>,
}

impl Config {
    /// The defect that is switched on, in a build that can have one.
    pub fn defect(&self) -> Planted {
        Planted::new(self.planted)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name: "default".to_owned(),
            data_dir: String::new(),
            wal_dir: String::new(),
            initial_cluster: "default=http://localhost:2380".to_owned(),
            initial_cluster_state: ClusterState::New,
            initial_cluster_token: "etcd-cluster".to_owned(),
            initial_advertise_peer_urls: vec!["http://localhost:2380".to_owned()],
            listen_peer_urls: vec!["http://localhost:2380".to_owned()],
            advertise_client_urls: vec!["http://localhost:2379".to_owned()],
            listen_client_urls: vec!["http://localhost:2379".to_owned()],
            discovery: String::new(),
            discovery_endpoints: Vec::new(),
            discovery_token: String::new(),
            discovery_srv: String::new(),
            force_new_cluster: false,
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1000,
            initial_election_tick_advance: true,
            pre_vote: true,
            strict_reconfig_check: true,
            max_learners: 1,
            max_txn_ops: 128,
            max_request_bytes: 1_572_864,
            quota_backend_bytes: 0,
            snapshot_count: 10_000,
            snapshot_catchup_entries: 5_000,
            watch_progress_notify_interval: Duration::from_secs(600),
            fast_lease_keep_alive: true,
            lease_checkpoint: false,
            lease_checkpoint_persist: false,
            auto_compaction: AutoCompaction::Off,
            compaction_batch_limit: 1000,
            compaction_sleep_interval: Duration::from_millis(10),
            initial_corrupt_check: false,
            corrupt_check_time: Duration::ZERO,
            compact_hash_check: false,
            compact_hash_check_time: Duration::from_secs(60),
            downgrade_check_time: Duration::from_secs(5),
            warning_apply_duration: Duration::from_millis(100),
            max_snapshots: 5,
            max_wals: 5,
            unsafe_no_fsync: false,
            auth_token: "simple".to_owned(),
            auth_token_ttl: Duration::from_secs(300),
            bcrypt_cost: 10,
            compat: CompatVersion::V3_6,
            flags: Settings::default(),
            planted: None,
        }
    }
}

impl Config {
    /// Whether a discovery service is to name the members.
    pub fn discovers(&self) -> bool {
        !self.discovery.is_empty() || !self.discovery_endpoints.is_empty()
    }

    /// Where the log is.
    pub fn wal_dir(&self) -> String {
        if self.wal_dir.is_empty() {
            format!("{}/member/wal", self.data_dir)
        } else {
            self.wal_dir.clone()
        }
    }

    /// Where snapshots and the database are.
    pub fn snap_dir(&self) -> String {
        format!("{}/member/snap", self.data_dir)
    }
}
