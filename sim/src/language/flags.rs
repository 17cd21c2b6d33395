//! The names of etcd's flags, so that a misspelt one is an error in the script and not a member
//! that ignores it or fails for the wrong reason; and their values, where that is as plain. Source:
//! contract-cluster.md, sections 1.2, 1.3.

/// Short names that scripts use for long flags.
pub const SHORT: [(&str, &str); 2] =
    [("state", "initial-cluster-state"), ("token", "initial-cluster-token")];

/// The flag that a name stands for.
pub fn long(name: &str) -> &str {
    SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long)
}

/// The name that scripts use for a flag.
pub fn short(flag: &str) -> &str {
    SHORT.iter().find(|(_, long)| *long == flag).map_or(flag, |(short, _)| short)
}

/// Whether etcd of any version has the flag.
pub fn is_flag(name: &str) -> bool {
    NAMES.contains(&name) || name.starts_with("experimental-") || name == "compat-version"
}

/// What etcd takes as a flag's value, where a misspelt one would only be told when a member starts.
/// Source: contract-cluster.md, sections 1.2, 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Anything, as far as scripts are checked.
    Any,
    /// One of these.
    Words(&'static [&'static str]),
    /// A whole number.
    Number,
}

/// What a flag takes.
pub fn values(name: &str) -> Values {
    match name {
        "initial-cluster-state" => Values::Words(&["new", "existing"]),
        "auto-compaction-mode" => Values::Words(&["periodic", "revision"]),
        "backend-bbolt-freelist-type" => Values::Words(&["array", "map"]),
        "discovery-fallback" => Values::Words(&["exit", "proxy"]),
        "log-format" => Values::Words(&["json", "console"]),
        "log-level" => Values::Words(&["debug", "info", "warn", "error", "panic", "fatal"]),
        "metrics" => Values::Words(&["basic", "extensive"]),
        "auto-tls"
        | "client-cert-auth"
        | "enable-grpc-gateway"
        | "enable-pprof"
        | "force-new-cluster"
        | "initial-election-tick-advance"
        | "memory-mlock"
        | "peer-auto-tls"
        | "peer-client-cert-auth"
        | "pre-vote"
        | "strict-reconfig-check"
        | "unsafe-no-fsync" => Values::Words(&["true", "false"]),
        "auth-token-ttl"
        | "backend-batch-limit"
        | "bcrypt-cost"
        | "compaction-batch-limit"
        | "election-timeout"
        | "heartbeat-interval"
        | "max-concurrent-streams"
        | "max-learners"
        | "max-request-bytes"
        | "max-snapshots"
        | "max-txn-ops"
        | "max-wals"
        | "quota-backend-bytes"
        | "snapshot-catchup-entries"
        | "snapshot-count" => Values::Number,
        _ => Values::Any,
    }
}

impl Values {
    /// Whether this is one of them.
    pub fn hold(self, value: &str) -> bool {
        match self {
            Values::Any => true,
            Values::Words(words) => words.contains(&value),
            Values::Number => value.parse::<i64>().is_ok(),
        }
    }

    /// In words for a reader.
    pub fn describe(self) -> String {
        match self {
            Values::Any => "a value".to_owned(),
            Values::Words(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
            }
            Values::Number => "a whole number".to_owned(),
        }
    }
}

/// Flags of etcd 3.5 to 3.8 that scenarios may set.
pub const NAMES: [&str; 80] = [
    "advertise-client-urls",
    "auth-token",
    "auth-token-ttl",
    "auto-compaction-mode",
    "auto-compaction-retention",
    "auto-tls",
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "bcrypt-cost",
    "bootstrap-defrag-threshold-megabytes",
    "cert-file",
    "cipher-suites",
    "client-cert-auth",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "config-file",
    "corrupt-check-time",
    "cors",
    "data-dir",
    "discovery",
    "discovery-dial-timeout",
    "discovery-endpoints",
    "discovery-fallback",
    "discovery-request-timeout",
    "discovery-srv",
    "discovery-srv-name",
    "discovery-token",
    "downgrade-check-time",
    "election-timeout",
    "enable-grpc-gateway",
    "enable-pprof",
    "feature-gates",
    "force-new-cluster",
    "grpc-keepalive-interval",
    "grpc-keepalive-min-time",
    "grpc-keepalive-timeout",
    "heartbeat-interval",
    "host-whitelist",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-election-tick-advance",
    "key-file",
    "listen-client-http-urls",
    "listen-client-urls",
    "listen-metrics-urls",
    "listen-peer-urls",
    "log-format",
    "log-level",
    "log-outputs",
    "max-concurrent-streams",
    "max-learners",
    "max-request-bytes",
    "max-snapshots",
    "max-txn-ops",
    "max-wals",
    "memory-mlock",
    "metrics",
    "name",
    "peer-auto-tls",
    "peer-cert-file",
    "peer-client-cert-auth",
    "peer-key-file",
    "pre-vote",
    "quota-backend-bytes",
    "raft-read-timeout",
    "raft-write-timeout",
    "snapshot-catchup-entries",
    "snapshot-count",
    "strict-reconfig-check",
    "tls-max-version",
    "tls-min-version",
    "unsafe-no-fsync",
    "v2-deprecation",
    "wal-dir",
    "warning-apply-duration",
    "watch-progress-notify-interval",
];
