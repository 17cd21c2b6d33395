//! What flags must satisfy together, in etcd's order and words.
//! Source: contract-cluster.md, section 1.4; where versions differ, the sources of each.

use super::features::Features;
use super::settings::Settings;
use crate::config::CompatVersion::{self, V3_5, V3_6, V3_7};
use crate::config::quote::{duration, quote};
use crate::config::url::{Url, parse_ip};

/// What is wrong, and whether etcd panics over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Text(String),
    Panic(String),
}

impl<T: Into<String>> From<T> for Wrong {
    fn from(text: T) -> Wrong {
        Wrong::Text(text.into())
    }
}

/// In 3.6, flags and the forerunners that they may not be given together with.
const REPLACED: [(&str, &str); 16] = [
    ("experimental-bootstrap-defrag-threshold-megabytes", "bootstrap-defrag-threshold-megabytes"),
    ("experimental-compact-hash-check-time", "compact-hash-check-time"),
    ("experimental-compaction-batch-limit", "compaction-batch-limit"),
    ("experimental-compaction-sleep-interval", "compaction-sleep-interval"),
    ("experimental-corrupt-check-time", "corrupt-check-time"),
    ("experimental-distributed-tracing-address", "distributed-tracing-address"),
    ("experimental-distributed-tracing-instance-id", "distributed-tracing-instance-id"),
    ("experimental-distributed-tracing-sampling-rate", "distributed-tracing-sampling-rate"),
    ("experimental-distributed-tracing-service-name", "distributed-tracing-service-name"),
    ("experimental-downgrade-check-time", "downgrade-check-time"),
    ("experimental-enable-distributed-tracing", "enable-distributed-tracing"),
    ("experimental-memory-mlock", "memory-mlock"),
    ("experimental-peer-skip-client-san-verification", "peer-skip-client-san-verification"),
    ("experimental-snapshot-catchup-entries", "snapshot-catchup-entries"),
    ("experimental-warning-apply-duration", "warning-apply-duration"),
    ("experimental-watch-progress-notify-interval", "watch-progress-notify-interval"),
];

/// The longest election timeout, in milliseconds.
const ELECTION_MAX_MS: u64 = 50_000;

pub(super) const NO_ADVERTISED_CLIENT_URLS: &str =
    "--advertise-client-urls is required when --listen-client-urls is set explicitly";

/// Verifies all settings. `initial_cluster` and the advertised client URLs are those after defaults
/// were taken away.
pub(super) fn verify(
    settings: &Settings,
    features: &Features,
    initial_cluster: &str,
    advertise_client_urls: Option<&[String]>,
    compat: CompatVersion,
) -> Result<(), Wrong> {
    if compat > V3_5 && settings.text("discovery-fallback") == "proxy" {
        return Err("v2 proxy is deprecated, and --discovery-fallback can't be configured as \
                    \"proxy\""
            .into());
    }
    let slow = ["warning-unary-request-duration", "experimental-warning-unary-request-duration"];
    if compat == V3_6 && slow.iter().all(|name| settings.nanos(name) != 0) {
        return Err("both --experimental-warning-unary-request-duration and \
                    --warning-unary-request-duration flags are set. \
                    Use only --warning-unary-request-duration"
            .into());
    }
    for (old, new) in REPLACED {
        if compat == V3_6 && settings.is_explicit(old) && settings.is_explicit(new) {
            return Err(format!(
                "cannot set --{old} and --{new} at the same time, please use --{new} only"
            )
            .into());
        }
    }
    logging(settings, compat)?;
    for name in
        ["listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"]
    {
        bindable(settings.list(name))?;
    }
    let peers = settings.list("initial-advertise-peer-urls");
    let form = "\"host:port\"";
    reachable("initial-advertise-peer-urls", form, peers, compat)?;
    let form = match compat {
        V3_5 | V3_6 => form,
        V3_7 => {
            "in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\""
        }
    };
    reachable("advertise-client-urls", form, advertise_client_urls.unwrap_or(&[]), compat)?;
    bootstrap(settings, initial_cluster, compat)?;
    timing(settings)?;
    if advertise_client_urls.is_none() {
        return Err(NO_ADVERTISED_CLIENT_URLS.into());
    }
    match settings.text("auto-compaction-mode") {
        "periodic" | "revision" => {}
        "" if compat == V3_5 => {}
        "" => return Err("undefined auto-compaction-mode".into()),
        mode => return Err(format!("unknown auto-compaction-mode {}", quote(mode)).into()),
    }
    if compat > V3_5 {
        tracing(settings)?;
    }
    checks(settings, features, compat)?;
    tls(settings)?;
    if compat == V3_5 {
        tracing(settings)?;
    }
    Ok(())
}

fn logging(settings: &Settings, compat: CompatVersion) -> Result<(), Wrong> {
    match settings.text("logger") {
        "zap" => {}
        "capnslog" => return Err("--logger=capnslog is removed in v3.5".into()),
        other => return Err(format!("unknown logger option {}", quote(other)).into()),
    }
    let outputs = settings.list("log-outputs");
    if outputs.len() > 1 && outputs.iter().any(|output| output == "default") {
        return Err("multi logoutput for \"default\" is not supported yet".into());
    }
    if settings.is_on("enable-log-rotation") {
        let named = ["default", "stderr", "stdout"];
        let files = outputs.iter().filter(|output| !named.contains(&output.as_str())).count();
        if files > 1 || files == 0 && outputs.len() == 1 {
            return Err("--log-outputs requires a single file path when \
                        --log-rotate-config-json is defined"
                .into());
        }
        let json = settings.text("log-rotation-config-json");
        if let Err(error) = serde_json::from_str::<serde_json::Value>(json) {
            return Err(format!("improperly formatted log rotation config: {error}").into());
        }
    }
    let level = settings.text("log-level");
    let levels = ["", "debug", "info", "warn", "error", "dpanic", "panic", "fatal"];
    if !levels.contains(&level.to_ascii_lowercase().as_str()) {
        return Err(Wrong::Panic(format!("unrecognized level: {}", quote(level))));
    }
    let format = settings.text("log-format");
    if compat > V3_5 && !["", "json", "console"].contains(&format) {
        return Err(format!("unknown log format: {format}, supported values json, console").into());
    }
    Ok(())
}

/// A listener needs an address of this machine; nothing is looked up.
fn bindable(urls: &[String]) -> Result<(), Wrong> {
    for text in urls {
        let url = parsed(text);
        if url.is_unix() {
            continue;
        }
        let (host, _) = host_port(&url)?;
        if host != "localhost" && parse_ip(host).is_none() {
            return Err(format!("expected IP in URL for binding ({text})").into());
        }
    }
    Ok(())
}

fn reachable(name: &str, form: &str, urls: &[String], compat: CompatVersion) -> Result<(), Wrong> {
    for text in urls {
        let url = parsed(text);
        if url.is_unix() && compat == V3_7 {
            continue;
        }
        let why = match host_port(&url) {
            Ok(("", _)) => format!("unexpected empty host ({text})"),
            Ok(_) => continue,
            Err(why) => why,
        };
        let all = quote(&urls.join(","));
        return Err(format!("--{name} {all} must be {form} ({why})").into());
    }
    Ok(())
}

fn parsed(text: &str) -> Url {
    Url::parse(text).expect("a flag's URLs were parsed when it was read")
}

/// Only sockets of this machine can be without: others are refused when they are read.
fn host_port(url: &Url) -> Result<(&str, &str), String> {
    let missing = || match url.host.as_str() {
        "" => "missing port in address".to_owned(),
        host => format!("address {host}: missing port in address"),
    };
    url.host_port().ok_or_else(missing)
}

fn bootstrap(
    settings: &Settings,
    initial_cluster: &str,
    compat: CompatVersion,
) -> Result<(), Wrong> {
    let endpoints = settings.list("discovery-endpoints");
    let ways = [
        !settings.text("discovery").is_empty(),
        !initial_cluster.is_empty(),
        !settings.text("discovery-srv").is_empty(),
        !endpoints.is_empty(),
    ];
    if ways.into_iter().filter(|is_used| *is_used).count() > 1 {
        let choice = match compat {
            V3_5 => "\"initial-cluster\", \"discovery\" or \"discovery-srv\"",
            V3_6 => {
                "\"initial-cluster\", \"discovery\", \"discovery-endpoints\" or \"discovery-srv\""
            }
            V3_7 => "\"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\"",
        };
        return Err(format!(
            "multiple discovery or bootstrap flags are set. Choose one of {choice}"
        )
        .into());
    }
    let newer = ["token", "cert", "key", "cacert", "user", "password"];
    let is_newer = !endpoints.is_empty()
        || newer.iter().any(|name| !settings.text(&format!("discovery-{name}")).is_empty());
    if is_newer && !settings.text("discovery-proxy").is_empty() {
        return Err("both v2 discovery settings (discovery, discovery-proxy) and v3 discovery \
                    settings (discovery-token, discovery-endpoints, discovery-cert, \
                    discovery-key, discovery-cacert, discovery-user, discovery-password) are set"
            .into());
    }
    if settings.text("discovery-token").is_empty() != endpoints.is_empty() {
        return Err("both --discovery-token and --discovery-endpoints must be set".into());
    }
    if endpoints.iter().any(|endpoint| endpoint.trim().is_empty()) {
        return Err("--discovery-endpoints must not contain empty endpoints".into());
    }
    Ok(())
}

fn timing(settings: &Settings) -> Result<(), Wrong> {
    let heartbeat = settings.uint("heartbeat-interval");
    let election = settings.uint("election-timeout");
    if heartbeat == 0 {
        return Err("--heartbeat-interval must be >0 (set to 0ms)".into());
    }
    if election == 0 {
        return Err("--election-timeout must be >0 (set to 0ms)".into());
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat}ms]"
        )
        .into());
    }
    if election > ELECTION_MAX_MS {
        return Err(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than \
             {ELECTION_MAX_MS}ms"
        )
        .into());
    }
    Ok(())
}

fn tracing(settings: &Settings) -> Result<(), Wrong> {
    let names = ("enable-distributed-tracing", "experimental-enable-distributed-tracing");
    if !settings.is_on(settings.heir(names.0, names.1)) {
        return Ok(());
    }
    let name = settings.heir(
        "distributed-tracing-sampling-rate",
        "experimental-distributed-tracing-sampling-rate",
    );
    let rate = settings.int(name);
    let why = match rate {
        0..=1_000_000 => return Ok(()),
        ..0 => "tracing sampling rate must be positive",
        _ => "tracing sampling rate must be less than 1000000",
    };
    Err(format!("distributed tracing configurition is not valid: ({why})").into())
}

fn checks(settings: &Settings, features: &Features, compat: CompatVersion) -> Result<(), Wrong> {
    if features.is_on("LeaseCheckpointPersist") && !features.is_on("LeaseCheckpoint") {
        return Err(match compat {
            V3_5 => {
                "setting experimental-enable-lease-checkpoint-persist requires \
                     experimental-enable-lease-checkpoint"
            }
            V3_6 | V3_7 => {
                "enabling feature gate LeaseCheckpointPersist requires enabling \
                            feature gate LeaseCheckpoint"
            }
        }
        .into());
    }
    for name in ["experimental-compact-hash-check-time", "compact-hash-check-time"] {
        if settings.get(name).is_none() {
            continue;
        }
        let nanos = settings.nanos(name);
        if nanos <= 0 {
            return Err(format!("--{name} must be >0 (set to {})", duration(nanos)).into());
        }
    }
    Ok(())
}

fn tls(settings: &Settings) -> Result<(), Wrong> {
    let (lowest, highest) = (settings.text("tls-min-version"), settings.text("tls-max-version"));
    for version in [lowest, highest] {
        if !["", "TLS1.2", "TLS1.3"].contains(&version) {
            return Err(format!(
                "unexpected TLS version {} (must be one of: TLS1.2, TLS1.3)",
                quote(version)
            )
            .into());
        }
    }
    if !highest.is_empty() && lowest > highest {
        return Err(
            format!("min version ({lowest}) is greater than max version ({highest})").into()
        );
    }
    if lowest == "TLS1.3" && !settings.list("cipher-suites").is_empty() {
        return Err("cipher suites cannot be configured when only TLS1.3 is enabled".into());
    }
    Ok(())
}
