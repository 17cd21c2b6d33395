//! What becomes of verified flags: defaults that follow from others, what is checked only when the
//! server starts, and the settings of the member.
//! Source: contract-cluster.md, sections 1.1 and 1.4.

use std::time::Duration;

use super::features::Features;
use super::settings::Settings;
use crate::config::quote::quote;
use crate::config::url::Url;
use crate::config::value::parse_duration;
use crate::config::{AutoCompaction, ClusterState, CompatVersion, Config};
use crate::member::membership::MembershipError;

const DEFAULT_NAME: &str = "default";
const DEFAULT_CLUSTER: &str = "default=http://localhost:2380";
const DEFAULT_PEER_URL: &str = "http://localhost:2380";
const DEFAULT_CLIENT_URL: &str = "http://localhost:2379";

/// Names of TLS suites up to 1.2 and of 1.3, and two short forms that etcd knows.
const SUITES: [&str; 27] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

/// The URLs and the initial cluster after all derived defaults.
#[derive(Debug)]
pub(super) struct Derived {
    pub(super) advertise_peer_urls: Vec<String>,
    /// `None`: clients were to be told URLs of their own, and are not.
    pub(super) advertise_client_urls: Option<Vec<String>>,
    pub(super) initial_cluster: String,
}

impl Derived {
    /// Takes away the defaults that other flags rule out.
    pub(super) fn without_ruled_out(settings: &Settings) -> Derived {
        let advertised = settings.list("advertise-client-urls").to_vec();
        let is_missing = settings.is_explicit("listen-client-urls")
            && !settings.is_explicit("advertise-client-urls");
        let is_discovering = ["discovery", "discovery-srv", "discovery-srv-name"]
            .iter()
            .any(|name| !settings.text(name).is_empty())
            || !settings.list("discovery-endpoints").is_empty();
        let is_listed = !is_discovering || settings.is_explicit("initial-cluster");
        let initial_cluster = if is_listed { settings.text("initial-cluster") } else { "" };
        Derived {
            advertise_peer_urls: settings.list("initial-advertise-peer-urls").to_vec(),
            advertise_client_urls: (!is_missing).then_some(advertised),
            initial_cluster: initial_cluster.to_owned(),
        }
    }

    /// Puts in what follows from the name and from the machine's address, if that is known.
    pub(super) fn fill_in(&mut self, settings: &Settings, default_host: Option<&str>) {
        if let Some(host) = default_host {
            let peers = settings.list("listen-peer-urls");
            replace_host(&mut self.advertise_peer_urls, DEFAULT_PEER_URL, peers, host);
        }
        let name = settings.text("name");
        if name != DEFAULT_NAME && self.initial_cluster == DEFAULT_CLUSTER {
            let name = if name.is_empty() { DEFAULT_NAME } else { name };
            let pairs: Vec<String> =
                self.advertise_peer_urls.iter().map(|url| format!("{name}={url}")).collect();
            self.initial_cluster = pairs.join(",");
        }
        if let (Some(host), Some(urls)) = (default_host, &mut self.advertise_client_urls) {
            let clients = settings.list("listen-client-urls");
            replace_host(urls, DEFAULT_CLIENT_URL, clients, host);
        }
    }
}

fn replace_host(advertised: &mut [String], default: &str, listened: &[String], host: &str) {
    let [only] = advertised else { return };
    let first = listened.first().and_then(|url| Url::parse(url).ok());
    let listened = first.as_ref().and_then(Url::host_port);
    if let (true, Some(("0.0.0.0", port))) = (only == default, listened) {
        *only = format!("http://{host}:{port}");
    }
}

/// What etcd looks at only once it starts listening.
pub(super) fn check(settings: &Settings) -> Result<AutoCompaction, String> {
    let suites = settings.list("cipher-suites");
    if let Some(suite) = suites.iter().find(|suite| !SUITES.contains(&suite.as_str())) {
        return Err(format!("unexpected TLS cipher suite {}", quote(suite)));
    }
    let has_certificate = settings.is_on("auto-tls")
        || !settings.text("cert-file").is_empty()
        || !settings.text("key-file").is_empty();
    let clients = settings.list("listen-client-urls");
    let http = settings.list("listen-client-http-urls");
    for url in clients.iter().chain(http) {
        let is_secure = url.starts_with("https:") || url.starts_with("unixs:");
        if is_secure && !has_certificate {
            return Err(format!(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} \
                 with HTTPS scheme"
            ));
        }
    }
    let place = |url: &str| url.split_once("://").map(|(_, place)| place.to_owned());
    if let Some(url) = http.iter().find(|http| clients.iter().any(|url| place(url) == place(http)))
    {
        return Err(format!(
            "cannot bind both --listen-client-urls and --listen-client-http-urls on the same \
             url {url}"
        ));
    }
    let compaction = retention(
        settings.text("auto-compaction-mode"),
        settings.text("auto-compaction-retention"),
    )?;
    if settings.get("max-learners").is_some() && settings.int("max-learners") < 0 {
        return Err(MembershipError::TooManyLearners.to_string());
    }
    Ok(compaction)
}

/// A whole number means hours, or revisions; anything else is a duration, whose nanoseconds are
/// taken for revisions in that mode.
fn retention(mode: &str, text: &str) -> Result<AutoCompaction, String> {
    const HOUR: i64 = 3_600_000_000_000;
    let text = if text.is_empty() { "0" } else { text };
    let number: Option<i64> = text.parse().ok().filter(|number| *number >= 0);
    let amount = match (number, mode) {
        (Some(_), "") => return Err("--auto-compaction-mode is undefined".to_owned()),
        (Some(revisions), "revision") => revisions,
        (Some(hours), _) => hours.wrapping_mul(HOUR),
        (None, _) => parse_duration(text)
            .map_err(|error| format!("error parsing CompactionRetention: {error}"))?,
    };
    Ok(match (amount, mode) {
        (..=0, _) => AutoCompaction::Off,
        (revisions, "revision") => AutoCompaction::Revisions(revisions),
        (nanos, _) => AutoCompaction::Periodic(Duration::from_nanos(nanos.unsigned_abs())),
    })
}

/// The member's settings.
pub(super) fn config(
    settings: Settings,
    features: &Features,
    derived: Derived,
    auto_compaction: AutoCompaction,
    compat: CompatVersion,
) -> Config {
    let mut config = Config { auto_compaction, compat, ..cluster(&settings, derived) };
    limits(&mut config, &settings);
    upkeep(&mut config, &settings);
    config.fast_lease_keep_alive = features.is_on("FastLeaseKeepAlive");
    config.lease_checkpoint = features.is_on("LeaseCheckpoint");
    config.lease_checkpoint_persist = features.is_on("LeaseCheckpointPersist");
    config.initial_corrupt_check = features.is_on("InitialCorruptCheck");
    config.compact_hash_check = features.is_on("CompactHashCheck");
    config.flags = settings;
    config
}

/// Who the member is, where it is reached, and how it finds the others.
fn cluster(s: &Settings, derived: Derived) -> Config {
    let name = s.text("name").to_owned();
    let data_dir = match s.text("data-dir") {
        "" => format!("{name}.etcd"),
        dir => dir.to_owned(),
    };
    let state = match s.text("initial-cluster-state") {
        "existing" => ClusterState::Existing,
        _ => ClusterState::New,
    };
    Config {
        name,
        data_dir,
        wal_dir: s.text("wal-dir").to_owned(),
        initial_cluster: derived.initial_cluster,
        initial_cluster_state: state,
        initial_cluster_token: s.text("initial-cluster-token").to_owned(),
        initial_advertise_peer_urls: derived.advertise_peer_urls,
        listen_peer_urls: s.list("listen-peer-urls").to_vec(),
        advertise_client_urls: derived.advertise_client_urls.unwrap_or_default(),
        listen_client_urls: s.list("listen-client-urls").to_vec(),
        discovery: s.text("discovery").to_owned(),
        discovery_endpoints: s.list("discovery-endpoints").to_vec(),
        discovery_token: s.text("discovery-token").to_owned(),
        discovery_srv: s.text("discovery-srv").to_owned(),
        force_new_cluster: s.is_on("force-new-cluster"),
        heartbeat_interval_ms: s.uint("heartbeat-interval"),
        election_timeout_ms: s.uint("election-timeout"),
        initial_election_tick_advance: s.is_on("initial-election-tick-advance"),
        pre_vote: s.is_on("pre-vote"),
        strict_reconfig_check: s.is_on("strict-reconfig-check"),
        auth_token: s.text("auth-token").to_owned(),
        auth_token_ttl: Duration::from_secs(s.uint("auth-token-ttl")),
        bcrypt_cost: s.uint("bcrypt-cost"),
        unsafe_no_fsync: s.is_on("unsafe-no-fsync"),
        ..Config::default()
    }
}

/// How much of everything there may be.
fn limits(config: &mut Config, s: &Settings) {
    if s.get("max-learners").is_some() {
        config.max_learners = usize::try_from(s.int("max-learners")).unwrap_or(0);
    }
    config.max_txn_ops = s.uint("max-txn-ops") as usize;
    config.max_request_bytes = s.uint("max-request-bytes") as usize;
    config.quota_backend_bytes = s.int("quota-backend-bytes");
    config.snapshot_count = match (s.uint("snapshot-count"), config.compat) {
        (0, CompatVersion::V3_5) => 100_000,
        (0, _) => 10_000,
        (count, _) => count,
    };
    let catchup = s.heir("snapshot-catchup-entries", "experimental-snapshot-catchup-entries");
    config.snapshot_catchup_entries = s.uint(catchup);
    config.max_snapshots = s.uint("max-snapshots") as usize;
    config.max_wals = s.uint("max-wals") as usize;
    let batch = s.int(s.heir("compaction-batch-limit", "experimental-compaction-batch-limit"));
    if batch > 0 {
        config.compaction_batch_limit = batch.unsigned_abs() as usize;
    }
}

/// How often what is done.
fn upkeep(config: &mut Config, s: &Settings) {
    let span = |name, forerunner| positive(s.nanos(s.heir(name, forerunner)));
    let progress =
        span("watch-progress-notify-interval", "experimental-watch-progress-notify-interval");
    if !progress.is_zero() {
        config.watch_progress_notify_interval = progress;
    }
    let pause = span("compaction-sleep-interval", "experimental-compaction-sleep-interval");
    if !pause.is_zero() {
        config.compaction_sleep_interval = pause;
    }
    config.corrupt_check_time = span("corrupt-check-time", "experimental-corrupt-check-time");
    config.compact_hash_check_time =
        span("compact-hash-check-time", "experimental-compact-hash-check-time");
    config.downgrade_check_time = span("downgrade-check-time", "experimental-downgrade-check-time");
    config.warning_apply_duration =
        span("warning-apply-duration", "experimental-warning-apply-duration");
}

/// Negative spans never come: they count as none.
fn positive(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
