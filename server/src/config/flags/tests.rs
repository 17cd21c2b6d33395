//! Flags against the texts, exit codes and defaults of etcd.

use std::time::Duration;

use super::*;
use crate::config::{AutoCompaction, ClusterState};

fn pairs(line: &str) -> Vec<(String, String)> {
    line.split_whitespace()
        .map(|word| word.split_once('=').unwrap_or((word, "true")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Flags in a line, each `name=value`, values without spaces.
fn with(line: &str) -> Result<Config, ConfigError> {
    parse(&pairs(line))
}

fn good(line: &str) -> Config {
    with(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// The exit code and text with which flags are refused.
fn refused(line: &str) -> (u8, String) {
    let error = with(line).expect_err(line);
    (error.exit_code, error.text)
}

fn check(exit_code: u8, table: &[(&str, &str)]) {
    for (line, text) in table {
        assert_eq!(refused(line), (exit_code, (*text).to_owned()), "{line}");
    }
}

#[test]
fn no_flags_give_the_defaults() {
    let parsed = good("");
    let defaults = Config { data_dir: "default.etcd".to_owned(), ..Config::default() };
    assert_eq!(Config { flags: Settings::default(), ..parsed }, defaults);
    let old = good("compat-version=3.5");
    assert_eq!(old.snapshot_count, 100_000);
    assert_eq!(good("compat-version=3.5 snapshot-count=0").snapshot_count, 100_000);
}

#[test]
fn every_default_is_valid_in_its_own_version() {
    for compat in ["3.5", "3.6", "3.7"] {
        let config = good(&format!("compat-version={compat}"));
        for flag in TABLE.iter().filter(|flag| flag.is_in(config.compat)) {
            let is_given = flag.kind != Kind::Ignored;
            assert_eq!(config.flags.get(flag.name).is_some(), is_given, "{}", flag.name);
        }
    }
}

#[test]
fn the_table_names_each_flag_once_for_each_version() {
    for compat in [CompatVersion::V3_5, CompatVersion::V3_6, CompatVersion::V3_7] {
        let names: Vec<&str> =
            TABLE.iter().filter(|flag| flag.is_in(compat)).map(|flag| flag.name).collect();
        assert!(names.is_sorted_by(|left, right| left < right), "{compat:?}");
    }
}

#[test]
fn settings_reach_the_member() {
    let config = good(
        "name=a data-dir=d wal-dir=w initial-cluster=a=http://10.0.0.1:2380,b=http://10.0.0.2:1 \
         initial-cluster-state=existing initial-cluster-token=t \
         initial-advertise-peer-urls=http://10.0.0.1:2380 listen-peer-urls=http://10.0.0.1:2380 \
         listen-client-urls=http://10.0.0.1:2379,http://127.0.0.1:2379 \
         advertise-client-urls=http://10.0.0.1:2379 force-new-cluster heartbeat-interval=0x64 \
         election-timeout=5000 initial-election-tick-advance=f pre-vote=False \
         strict-reconfig-check=0 max-learners=3 max-txn-ops=7 max-request-bytes=8 \
         quota-backend-bytes=-1 snapshot-count=9 snapshot-catchup-entries=10 \
         watch-progress-notify-interval=1m30s compaction-batch-limit=11 \
         compaction-sleep-interval=5ms corrupt-check-time=1h compact-hash-check-time=2h \
         downgrade-check-time=3s max-snapshots=1 max-wals=2 unsafe-no-fsync bcrypt-cost=4 \
         auth-token=jwt,x auth-token-ttl=60 feature-gates=LeaseCheckpoint=true,CompactHashCheck=1",
    );
    let expected = Config {
        name: "a".to_owned(),
        data_dir: "d".to_owned(),
        wal_dir: "w".to_owned(),
        initial_cluster: "a=http://10.0.0.1:2380,b=http://10.0.0.2:1".to_owned(),
        initial_cluster_state: ClusterState::Existing,
        initial_cluster_token: "t".to_owned(),
        initial_advertise_peer_urls: vec!["http://10.0.0.1:2380".to_owned()],
        listen_peer_urls: vec!["http://10.0.0.1:2380".to_owned()],
        advertise_client_urls: vec!["http://10.0.0.1:2379".to_owned()],
        listen_client_urls: vec![
            "http://10.0.0.1:2379".to_owned(),
            "http://127.0.0.1:2379".to_owned(),
        ],
        force_new_cluster: true,
        heartbeat_interval_ms: 100,
        election_timeout_ms: 5000,
        initial_election_tick_advance: false,
        pre_vote: false,
        strict_reconfig_check: false,
        max_learners: 3,
        max_txn_ops: 7,
        max_request_bytes: 8,
        quota_backend_bytes: -1,
        snapshot_count: 9,
        snapshot_catchup_entries: 10,
        watch_progress_notify_interval: Duration::from_secs(90),
        lease_checkpoint: true,
        compaction_batch_limit: 11,
        compaction_sleep_interval: Duration::from_millis(5),
        corrupt_check_time: Duration::from_secs(3600),
        compact_hash_check: true,
        compact_hash_check_time: Duration::from_secs(7200),
        downgrade_check_time: Duration::from_secs(3),
        max_snapshots: 1,
        max_wals: 2,
        unsafe_no_fsync: true,
        auth_token: "jwt,x".to_owned(),
        auth_token_ttl: Duration::from_secs(60),
        bcrypt_cost: 4,
        flags: config.flags.clone(),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

const UNREADABLE: &[(&str, &str)] = &[
    ("foo=1", "flag provided but not defined: -foo"),
    (
        "listen-peer-urls=ftp://127.0.0.1:2380",
        "invalid value \"ftp://127.0.0.1:2380\" for flag -listen-peer-urls: \
                 URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:2380",
    ),
    (
        "listen-peer-urls=http://127.0.0.1",
        "invalid value \"http://127.0.0.1\" for flag -listen-peer-urls: \
                 URL address does not have the form \"host:port\": http://127.0.0.1",
    ),
    (
        "listen-peer-urls=http://127.0.0.1:2380/abc",
        "invalid value \"http://127.0.0.1:2380/abc\" for flag -listen-peer-urls: \
                 URL must not contain a path: http://127.0.0.1:2380/abc",
    ),
    (
        "cors=foo",
        "invalid value \"foo\" for flag -cors: \
                 URL scheme must be http, https, unix, or unixs: foo",
    ),
    (
        "initial-cluster-state=foo",
        "invalid value \"foo\" for flag -initial-cluster-state: invalid value",
    ),
    ("heartbeat-interval=fast", "invalid value \"fast\" for flag -heartbeat-interval: parse error"),
    ("heartbeat-interval=-1", "invalid value \"-1\" for flag -heartbeat-interval: parse error"),
    (
        "snapshot-count=99999999999999999999",
        "invalid value \"99999999999999999999\" for flag -snapshot-count: \
                 value out of range",
    ),
    (
        "max-concurrent-streams=4294967296",
        "invalid value \"4294967296\" for flag -max-concurrent-streams: \
                 strconv.ParseUint: parsing \"4294967296\": value out of range",
    ),
    ("pre-vote=yes", "invalid boolean value \"yes\" for -pre-vote: parse error"),
    ("corrupt-check-time=5", "invalid value \"5\" for flag -corrupt-check-time: parse error"),
    (
        "feature-gates=Foo=true",
        "invalid value \"Foo=true\" for flag -feature-gates: \
                 unrecognized feature gate: Foo",
    ),
    (
        "feature-gates=LeaseCheckpoint",
        "invalid value \"LeaseCheckpoint\" for flag -feature-gates: \
                 missing bool value for LeaseCheckpoint",
    ),
    (
        "feature-gates=LeaseCheckpoint=x",
        "invalid value \"LeaseCheckpoint=x\" for flag -feature-gates: \
                 invalid value of LeaseCheckpoint=x, err: \
                 strconv.ParseBool: parsing \"x\": invalid syntax",
    ),
    ("compat-version=4", "invalid value \"4\" for flag -compat-version: invalid value"),
    ("log-level=foo", "unrecognized level: \"foo\""),
    (
        "v2-deprecation=not-yet",
        "invalid value \"not-yet\" for flag -v2-deprecation: invalid value \"not-yet\"",
    ),
];

#[test]
fn a_command_line_that_cannot_be_read_ends_with_two() {
    check(2, UNREADABLE);
}

#[test]
fn flags_come_and_go_with_versions() {
    let undefined = |line: &str| refused(line).1.starts_with("flag provided but not defined: -");
    for (first, last, flag) in [
        (5, 5, "enable-v2"),
        (5, 5, "proxy=off"),
        (5, 6, "experimental-enable-lease-checkpoint"),
        (5, 6, "discovery="),
        (5, 7, "max-snapshots=1"),
        (6, 6, "experimental-warning-unary-request-duration=1s"),
        (6, 7, "max-learners=2"),
        (6, 7, "feature-gates="),
        (6, 7, "log-format=console"),
    ] {
        for minor in 5..=7 {
            let line = format!("compat-version=3.{minor} {flag}");
            if (first..=last).contains(&minor) {
                good(&line);
            } else {
                assert!(undefined(&line), "{line}");
            }
        }
    }
    assert_eq!(good("compat-version=3.5 v2-deprecation=not-yet").compat, CompatVersion::V3_5);
}

const UNFIT: &[(&str, &str)] = &[
    (
        "listen-client-urls=http://example.com:2379",
        "expected IP in URL for binding (http://example.com:2379)",
    ),
    ("listen-metrics-urls=http://:1", "expected IP in URL for binding (http://:1)"),
    (
        "initial-advertise-peer-urls=http://:2380",
        "--initial-advertise-peer-urls \"http://:2380\" must be \"host:port\" \
                 (unexpected empty host (http://:2380))",
    ),
    (
        "advertise-client-urls=http://:2379",
        "--advertise-client-urls \"http://:2379\" must be \"host:port\" \
                 (unexpected empty host (http://:2379))",
    ),
    (
        "compat-version=3.7 advertise-client-urls=http://:2379",
        "--advertise-client-urls \"http://:2379\" must be in the format \"host:port\", \
                 \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" \
                 (unexpected empty host (http://:2379))",
    ),
    (
        "initial-cluster=a=http://a:1 discovery-endpoints=x discovery-token=t",
        "multiple discovery or bootstrap flags are set. Choose one of \
                 \"initial-cluster\", \"discovery\", \"discovery-endpoints\" or \"discovery-srv\"",
    ),
    (
        "compat-version=3.5 initial-cluster=a=http://a:1 discovery=x",
        "multiple discovery or bootstrap flags are set. Choose one of \
                 \"initial-cluster\", \"discovery\" or \"discovery-srv\"",
    ),
    (
        "compat-version=3.7 discovery-srv=d discovery-endpoints=x discovery-token=t",
        "multiple discovery or bootstrap flags are set. Choose one of \
                 \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\"",
    ),
    ("discovery-token=t", "both --discovery-token and --discovery-endpoints must be set"),
    (
        "discovery-token=t discovery-endpoints=a,",
        "--discovery-endpoints must not contain empty endpoints",
    ),
    (
        "discovery-fallback=proxy",
        "v2 proxy is deprecated, and --discovery-fallback can't be configured as \
                 \"proxy\"",
    ),
    ("heartbeat-interval=0", "--heartbeat-interval must be >0 (set to 0ms)"),
    ("election-timeout=0", "--election-timeout must be >0 (set to 0ms)"),
    (
        "heartbeat-interval=300",
        "--election-timeout[1000ms] should be at least as 5 times as \
                 --heartbeat-interval[300ms]",
    ),
    (
        "election-timeout=60000",
        "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
    ),
    (
        "listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls is required when --listen-client-urls is set explicitly",
    ),
    ("auto-compaction-mode=foo", "unknown auto-compaction-mode \"foo\""),
    ("auto-compaction-mode=", "undefined auto-compaction-mode"),
    (
        "enable-distributed-tracing distributed-tracing-sampling-rate=1000001",
        "distributed tracing configurition is not valid: \
                 (tracing sampling rate must be less than 1000000)",
    ),
    (
        "feature-gates=LeaseCheckpointPersist=true",
        "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                 LeaseCheckpoint",
    ),
    (
        "compat-version=3.5 experimental-enable-lease-checkpoint-persist",
        "setting experimental-enable-lease-checkpoint-persist requires \
                 experimental-enable-lease-checkpoint",
    ),
    (
        "feature-gates=LeaseCheckpoint=true experimental-enable-lease-checkpoint=false",
        "cannot specify both flags: --experimental-enable-lease-checkpoint=false and \
                 --feature-gates=LeaseCheckpoint=true at the same time, please just use \
                 --feature-gates=LeaseCheckpoint=true",
    ),
    (
        "corrupt-check-time=1s experimental-corrupt-check-time=1s",
        "cannot set --experimental-corrupt-check-time and --corrupt-check-time at the \
                 same time, please use --corrupt-check-time only",
    ),
    (
        "warning-unary-request-duration=1s experimental-warning-unary-request-duration=1s",
        "both --experimental-warning-unary-request-duration and \
                 --warning-unary-request-duration flags are set. \
                 Use only --warning-unary-request-duration",
    ),
    ("compact-hash-check-time=0", "--compact-hash-check-time must be >0 (set to 0s)"),
    (
        "compat-version=3.5 experimental-compact-hash-check-time=-1m",
        "--experimental-compact-hash-check-time must be >0 (set to -1m0s)",
    ),
    ("tls-min-version=TLS9", "unexpected TLS version \"TLS9\" (must be one of: TLS1.2, TLS1.3)"),
    (
        "tls-min-version=TLS1.3 tls-max-version=TLS1.2",
        "min version (TLS1.3) is greater than max version (TLS1.2)",
    ),
    (
        "tls-min-version=TLS1.3 cipher-suites=FOO",
        "cipher suites cannot be configured when only TLS1.3 is enabled",
    ),
    ("log-format=xml", "unknown log format: xml, supported values json, console"),
    ("logger=capnslog", "--logger=capnslog is removed in v3.5"),
    ("logger=foo", "unknown logger option \"foo\""),
    ("log-outputs=default,stdout", "multi logoutput for \"default\" is not supported yet"),
    (
        "enable-log-rotation",
        "--log-outputs requires a single file path when --log-rotate-config-json is \
                 defined",
    ),
];

#[test]
fn flags_that_do_not_go_together_end_with_one() {
    check(1, UNFIT);
}

#[test]
fn what_is_checked_only_at_the_start_ends_with_one_and_a_fatal_line() {
    let table = [
        (
            "auto-compaction-retention=abc",
            "error parsing CompactionRetention: time: invalid duration \"abc\"",
        ),
        (
            "listen-client-urls=https://127.0.0.1:1 advertise-client-urls=https://127.0.0.1:1",
            "TLS key/cert (--cert-file, --key-file) must be provided for client url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        ("cipher-suites=FOO", "unexpected TLS cipher suite \"FOO\""),
        ("max-learners=-1", "membership: too many learner members in cluster"),
        (
            "listen-client-http-urls=http://localhost:2379",
            "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url \
             http://localhost:2379",
        ),
    ];
    check(1, &table);
    let lines = with(table[0].0).unwrap_err().lines();
    assert_eq!(lines[0].message, "discovery failed");
    assert_eq!(lines[0].fields, [("error", table[0].1.to_owned())]);
}

#[test]
fn refused_flags_are_told_in_the_log() {
    let error = with("listen-client-urls=http://127.0.0.1:1").unwrap_err();
    let messages: Vec<String> = error.lines().into_iter().map(|line| line.message).collect();
    assert_eq!(messages, ["failed to verify flags", "advertise client URLs are not set"]);
    assert_eq!(with("foo=1").unwrap_err().lines(), []);
}

#[test]
fn the_earliest_rule_that_is_broken_is_told() {
    let (_, text) = refused("heartbeat-interval=0 listen-peer-urls=http://example.com:1");
    assert_eq!(text, "expected IP in URL for binding (http://example.com:1)");
    let (code, text) = refused("heartbeat-interval=0 log-level=foo");
    assert_eq!((code, text.as_str()), (2, "unrecognized level: \"foo\""));
    let (code, text) = refused("heartbeat-interval=0 foo=1");
    assert_eq!((code, text.as_str()), (2, "flag provided but not defined: -foo"));
}

#[test]
fn a_name_alone_lists_this_member_at_its_advertised_urls() {
    assert_eq!(good("name=n1").initial_cluster, "n1=http://localhost:2380");
    assert_eq!(good("name=n1").data_dir, "n1.etcd");
    let urls = "initial-advertise-peer-urls=http://b:1,http://a:1";
    assert_eq!(good(&format!("name=n1 {urls}")).initial_cluster, "n1=http://a:1,n1=http://b:1");
    assert_eq!(good(urls).initial_cluster, "default=http://localhost:2380");
    assert_eq!(good("name=n1 initial-cluster=").initial_cluster, "");
    assert_eq!(good("name= ").initial_cluster, "default=http://localhost:2380");
}

#[test]
fn discovery_takes_the_default_cluster_away() {
    let config = good("name=n1 discovery-endpoints=e2,e1 discovery-token=t");
    assert_eq!(config.initial_cluster, "");
    assert_eq!(config.discovery_endpoints, ["e1", "e2"]);
    assert_eq!(good("discovery-srv=example.com").initial_cluster, "");
}

#[test]
fn a_known_host_replaces_a_default_that_nobody_could_reach() {
    let flags = pairs(
        "name=n1 listen-peer-urls=http://0.0.0.0:12380 listen-client-urls=http://0.0.0.0:12379 \
         advertise-client-urls=http://localhost:2379",
    );
    let config = parse_on(&flags, Some("10.1.2.3")).unwrap();
    assert_eq!(config.initial_advertise_peer_urls, ["http://10.1.2.3:12380"]);
    assert_eq!(config.initial_cluster, "n1=http://10.1.2.3:12380");
    assert_eq!(config.advertise_client_urls, ["http://10.1.2.3:12379"]);
    let config = parse_on(&pairs("name=n1"), Some("10.1.2.3")).unwrap();
    assert_eq!(config.initial_advertise_peer_urls, ["http://localhost:2380"]);
}

#[test]
fn an_empty_list_of_urls_leaves_the_default() {
    let config = good("listen-metrics-urls= listen-peer-urls=");
    assert_eq!(config.listen_peer_urls, ["http://localhost:2380"]);
    assert_eq!(config.flags.list("listen-metrics-urls"), [] as [String; 0]);
}

#[test]
fn the_last_of_repeated_flags_counts() {
    assert_eq!(good("name=a name=b").name, "b");
    let gates = "feature-gates=LeaseCheckpoint=true feature-gates=CompactHashCheck=true";
    let config = good(gates);
    assert!(config.lease_checkpoint && config.compact_hash_check);
}

#[test]
fn gates_of_a_stage_are_set_together() {
    let config = good("feature-gates=AllAlpha=true,LeaseCheckpoint=false,LeaseCheckpointPersist=0");
    assert!(config.compact_hash_check && config.initial_corrupt_check);
    assert!(!config.lease_checkpoint);
}

#[test]
fn older_names_feed_the_same_settings() {
    for compat in ["3.5", "3.6"] {
        let config = good(&format!(
            "compat-version={compat} experimental-enable-lease-checkpoint \
             experimental-corrupt-check-time=7s experimental-snapshot-catchup-entries=8 \
             experimental-compaction-batch-limit=9 experimental-initial-corrupt-check"
        ));
        assert!(config.lease_checkpoint && config.initial_corrupt_check);
        assert_eq!(config.corrupt_check_time, Duration::from_secs(7));
        assert_eq!(config.snapshot_catchup_entries, 8);
        assert_eq!(config.compaction_batch_limit, 9);
    }
}

#[test]
fn retention_counts_hours_or_revisions() {
    let hour = Duration::from_secs(3600);
    for (flags, expected) in [
        ("auto-compaction-retention=0", AutoCompaction::Off),
        ("auto-compaction-retention=", AutoCompaction::Off),
        ("auto-compaction-retention=-0", AutoCompaction::Off),
        ("auto-compaction-retention=2", AutoCompaction::Periodic(2 * hour)),
        ("auto-compaction-retention=90m", AutoCompaction::Periodic(hour * 3 / 2)),
        (
            "auto-compaction-mode=revision auto-compaction-retention=1000",
            AutoCompaction::Revisions(1000),
        ),
        (
            "auto-compaction-mode=revision auto-compaction-retention=1us",
            AutoCompaction::Revisions(1000),
        ),
    ] {
        assert_eq!(good(flags).auto_compaction, expected, "{flags}");
    }
    let (_, text) = refused("auto-compaction-retention=-1");
    assert_eq!(text, "error parsing CompactionRetention: time: missing unit in duration \"-1\"");
    let (_, text) = refused("compat-version=3.5 auto-compaction-mode=");
    assert_eq!(text, "--auto-compaction-mode is undefined");
}

#[test]
fn questionable_settings_are_warned_of() {
    let messages = |line: &str| -> Vec<String> {
        warnings(&good(line)).into_iter().map(|line| line.message).collect()
    };
    let all = messages("feature-gates=LeaseCheckpoint=true");
    assert_eq!(all.len(), 4);
    assert!(all[0].starts_with("Running http and grpc server on single port."));
    assert!(all[1].ends_with("Consider enabling feature gate LeaseCheckpointPersist"));
    assert!(all[2].starts_with("it isn't recommended to use default name"));
    assert_eq!(all[3], "'data-dir' was empty; using default");
    let none = "name=a data-dir=d listen-client-http-urls=http://127.0.0.1:1";
    assert_eq!(messages(none), [] as [String; 0]);
}
