//! Every flag of the server: what it takes, its default, and which etcd knows it.
//! Source: contract-cluster.md, sections 1.1 to 1.3.

use crate::config::CompatVersion;
use crate::config::value::Kind;

/// A flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its default, in the form in which it could be given; read unless it is empty.
    pub default: &'static str,
    first: CompatVersion,
    last: CompatVersion,
}

impl Flag {
    /// Whether this etcd has it.
    pub fn is_in(&self, compat: CompatVersion) -> bool {
        (self.first..=self.last).contains(&compat)
    }

    const fn until(self, last: CompatVersion) -> Flag {
        Flag { last, ..self }
    }

    const fn since(self, first: CompatVersion) -> Flag {
        Flag { first, ..self }
    }
}

const fn flag(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    Flag { name, kind, default, first: V3_5, last: V3_7 }
}

use CompatVersion::{V3_5, V3_6, V3_7};
use Kind::{
    Bool, Choice, Choices, Duration, Gates, Ignored, Int, List, Set, Text, Uint, Uint32, Urls,
    UrlsOrAll,
};

const FALLBACK: Kind = Choice(&["exit", "proxy"]);
const ROTATION: &str = concat!(
    r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "#,
    r#""localtime": false, "compress": false}"#
);

const V2_STAGES: &[&str] =
    &["not-yet", "write-only", "write-only-skip-check", "write-only-drop-data", "gone"];

/// All flags by name. One whose default changed is there once for each.
pub const TABLE: &[Flag] = &[
    flag("advertise-client-urls", Urls, "http://localhost:2379"),
    flag("auth-token", Text, "simple"),
    flag("auth-token-ttl", Uint, "300"),
    flag("auto-compaction-mode", Text, "periodic"),
    flag("auto-compaction-retention", Text, "0"),
    flag("auto-tls", Bool, "false"),
    flag("backend-batch-interval", Duration, "0s"),
    flag("backend-batch-limit", Int, "0"),
    flag("backend-bbolt-freelist-type", Text, ""),
    flag("bcrypt-cost", Uint, "10"),
    flag("bootstrap-defrag-threshold-megabytes", Uint, "0").since(V3_6),
    flag("cert-file", Text, ""),
    flag("cipher-suites", List, ""),
    flag("client-cert-allowed-hostname", List, ""),
    flag("client-cert-auth", Bool, "false"),
    flag("client-cert-file", Text, ""),
    flag("client-crl-file", Text, ""),
    flag("client-key-file", Text, ""),
    flag("cluster-active-size", Ignored, ""),
    flag("cluster-remove-delay", Ignored, ""),
    flag("cluster-sync-interval", Ignored, ""),
    flag("compact-hash-check-time", Duration, "1m").since(V3_6),
    flag("compaction-batch-limit", Int, "0").since(V3_6),
    flag("compaction-sleep-interval", Duration, "0s").since(V3_6),
    flag("compat-version", Choice(&["3.5", "3.6", "3.7"]), "3.6"),
    flag("config", Ignored, ""),
    flag("config-file", Text, ""),
    flag("corrupt-check-time", Duration, "0s").since(V3_6),
    flag("cors", UrlsOrAll, "*"),
    flag("data-dir", Text, ""),
    flag("discovery", Text, "").until(V3_6),
    flag("discovery-cacert", Text, "").since(V3_6),
    flag("discovery-cert", Text, "").since(V3_6),
    flag("discovery-dial-timeout", Duration, "2s").since(V3_6),
    flag("discovery-endpoints", Set, "").since(V3_6),
    flag("discovery-fallback", FALLBACK, "proxy").until(V3_5),
    flag("discovery-fallback", FALLBACK, "exit").since(V3_6),
    flag("discovery-insecure-skip-tls-verify", Bool, "false").since(V3_6),
    flag("discovery-insecure-transport", Bool, "true").since(V3_6),
    flag("discovery-keepalive-time", Duration, "2s").since(V3_6),
    flag("discovery-keepalive-timeout", Duration, "6s").since(V3_6),
    flag("discovery-key", Text, "").since(V3_6),
    flag("discovery-password", Text, "").since(V3_6),
    flag("discovery-proxy", Text, "").until(V3_6),
    flag("discovery-request-timeout", Duration, "5s").since(V3_6),
    flag("discovery-srv", Text, ""),
    flag("discovery-srv-name", Text, ""),
    flag("discovery-token", Text, "").since(V3_6),
    flag("discovery-user", Text, "").since(V3_6),
    flag("distributed-tracing-address", Text, "localhost:4317").since(V3_6),
    flag("distributed-tracing-instance-id", Text, "").since(V3_6),
    flag("distributed-tracing-sampling-rate", Int, "0").since(V3_6),
    flag("distributed-tracing-service-name", Text, "etcd").since(V3_6),
    flag("downgrade-check-time", Duration, "5s").since(V3_6),
    flag("election-timeout", Uint, "1000"),
    flag("enable-distributed-tracing", Bool, "false").since(V3_6),
    flag("enable-grpc-gateway", Bool, "true"),
    flag("enable-log-rotation", Bool, "false"),
    flag("enable-pprof", Bool, "false"),
    flag("enable-v2", Bool, "false").until(V3_5),
    flag("experimental-bootstrap-defrag-threshold-megabytes", Uint, "0").until(V3_6),
    flag("experimental-compact-hash-check-enabled", Bool, "false").until(V3_6),
    flag("experimental-compact-hash-check-time", Duration, "1m").until(V3_6),
    flag("experimental-compaction-batch-limit", Int, "0").until(V3_6),
    flag("experimental-compaction-sleep-interval", Duration, "0s").until(V3_6),
    flag("experimental-corrupt-check-time", Duration, "0s").until(V3_6),
    flag("experimental-distributed-tracing-address", Text, "localhost:4317").until(V3_6),
    flag("experimental-distributed-tracing-instance-id", Text, "").until(V3_6),
    flag("experimental-distributed-tracing-sampling-rate", Int, "0").until(V3_6),
    flag("experimental-distributed-tracing-service-name", Text, "etcd").until(V3_6),
    flag("experimental-downgrade-check-time", Duration, "5s").until(V3_6),
    flag("experimental-enable-distributed-tracing", Bool, "false").until(V3_6),
    flag("experimental-enable-lease-checkpoint", Bool, "false").until(V3_6),
    flag("experimental-enable-lease-checkpoint-persist", Bool, "false").until(V3_6),
    flag("experimental-enable-v2v3", Text, "").until(V3_5),
    flag("experimental-initial-corrupt-check", Bool, "false").until(V3_6),
    flag("experimental-memory-mlock", Bool, "false").until(V3_6),
    flag("experimental-peer-skip-client-san-verification", Bool, "false").until(V3_6),
    flag("experimental-snapshot-catchup-entries", Uint, "5000").until(V3_6),
    flag("experimental-stop-grpc-service-on-defrag", Bool, "false").until(V3_6),
    flag("experimental-txn-mode-write-with-shared-buffer", Bool, "true").until(V3_6),
    flag("experimental-warning-apply-duration", Duration, "100ms").until(V3_6),
    flag("experimental-warning-unary-request-duration", Duration, "0s").since(V3_6).until(V3_6),
    flag("experimental-watch-progress-notify-interval", Duration, "0s").until(V3_6),
    flag("feature-gates", Gates, "").since(V3_6),
    flag("force", Ignored, ""),
    flag("force-new-cluster", Bool, "false"),
    flag("grpc-keepalive-interval", Duration, "2h"),
    flag("grpc-keepalive-min-time", Duration, "5s"),
    flag("grpc-keepalive-timeout", Duration, "20s"),
    flag("heartbeat-interval", Uint, "100"),
    flag("host-whitelist", Set, "*"),
    flag("initial-advertise-peer-urls", Urls, "http://localhost:2380"),
    flag("initial-cluster", Text, "default=http://localhost:2380"),
    flag("initial-cluster-state", Choice(&["new", "existing"]), "new"),
    flag("initial-cluster-token", Text, "etcd-cluster"),
    flag("initial-election-tick-advance", Bool, "true"),
    flag("key-file", Text, ""),
    flag("listen-client-http-urls", Urls, ""),
    flag("listen-client-urls", Urls, "http://localhost:2379"),
    flag("listen-metrics-urls", Urls, ""),
    flag("listen-peer-urls", Urls, "http://localhost:2380"),
    flag("log-format", Text, "json").since(V3_6),
    flag("log-level", Text, "info"),
    flag("log-outputs", Set, "default"),
    flag("log-rotation-config-json", Text, ROTATION),
    flag("logger", Text, "zap"),
    flag("max-concurrent-streams", Uint32, "4294967295"),
    flag("max-learners", Int, "1").since(V3_6),
    flag("max-request-bytes", Uint, "1572864"),
    flag("max-result-buffer", Ignored, ""),
    flag("max-retry-attempts", Ignored, ""),
    flag("max-snapshots", Uint, "5"),
    flag("max-txn-ops", Uint, "128"),
    flag("max-wals", Uint, "5"),
    flag("memory-mlock", Bool, "false").since(V3_6),
    flag("metrics", Text, "basic"),
    flag("name", Text, "default"),
    flag("peer-auto-tls", Bool, "false"),
    flag("peer-cert-allowed-cn", List, ""),
    flag("peer-cert-allowed-hostname", List, ""),
    flag("peer-cert-file", Text, ""),
    flag("peer-client-cert-auth", Bool, "false"),
    flag("peer-client-cert-file", Text, ""),
    flag("peer-client-key-file", Text, ""),
    flag("peer-crl-file", Text, ""),
    flag("peer-election-timeout", Ignored, ""),
    flag("peer-heartbeat-interval", Ignored, ""),
    flag("peer-key-file", Text, ""),
    flag("peer-skip-client-san-verification", Bool, "false").since(V3_6),
    flag("peer-trusted-ca-file", Text, ""),
    flag("pre-vote", Bool, "true"),
    flag("proxy", Choice(&["off", "readonly", "on"]), "off").until(V3_5),
    flag("proxy-dial-timeout", Uint, "1000").until(V3_5),
    flag("proxy-failure-wait", Uint, "5000").until(V3_5),
    flag("proxy-read-timeout", Uint, "0").until(V3_5),
    flag("proxy-refresh-interval", Uint, "30000").until(V3_5),
    flag("proxy-write-timeout", Uint, "5000").until(V3_5),
    flag("quota-backend-bytes", Int, "0"),
    flag("raft-read-timeout", Duration, "5s"),
    flag("raft-write-timeout", Duration, "5s"),
    flag("retry-interval", Ignored, ""),
    flag("self-signed-cert-validity", Uint, "1"),
    flag("snapshot", Ignored, ""),
    flag("snapshot-catchup-entries", Uint, "5000").since(V3_6),
    flag("snapshot-count", Uint, "100000").until(V3_5),
    flag("snapshot-count", Uint, "10000").since(V3_6),
    flag("socket-reuse-address", Bool, "false"),
    flag("socket-reuse-port", Bool, "false"),
    flag("strict-reconfig-check", Bool, "true"),
    flag("test.coverprofile", Ignored, ""),
    flag("test.outputdir", Ignored, ""),
    flag("tls-max-version", Text, ""),
    flag("tls-min-version", Text, "TLS1.2"),
    flag("trusted-ca-file", Text, ""),
    flag("unsafe-no-fsync", Bool, "false"),
    flag("v", Ignored, ""),
    flag("v2-deprecation", Choices(V2_STAGES), "not-yet").until(V3_5),
    flag("v2-deprecation", Choices(V2_STAGES.split_at(1).1), "write-only").since(V3_6),
    flag("version", Bool, "false"),
    flag("vv", Ignored, ""),
    flag("wal-dir", Text, ""),
    flag("warning-apply-duration", Duration, "100ms").since(V3_6),
    flag("warning-unary-request-duration", Duration, "0s").since(V3_6),
    flag("watch-progress-notify-interval", Duration, "0s").since(V3_6),
];
