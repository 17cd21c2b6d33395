//! Whether two lists of URLs mean the same places, names resolved. IP addresses and `localhost`
//! need no resolver; other names have none here, and are retried until time is up, as etcd does.
//! Source: contract-cluster.md, sections 2.3 and 2.5.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::quote::{quote, quote_list};
use crate::config::url::{Url, parse_ip};
use crate::member::io::{Level, LogLine};
use crate::member::time::Monotonic;

/// How long names are retried in all.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Whether there is time left for a name that does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    Left,
    Up,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    /// And why.
    Different(String),
    /// A name stands in the way.
    Unresolved(Unresolved),
}

/// A URL whose host has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unresolved {
    url: String,
    host: String,
    error: String,
}

impl Unresolved {
    /// The comparison's outcome when time is up.
    pub(super) fn cause(&self) -> String {
        format!("failed to resolve {} ({})", quote(&self.url), self.error)
    }

    fn line(&self, text: &str) -> LogLine {
        LogLine::new(Level::Warn, text)
            .with("url", self.url.as_str())
            .with("host", self.host.as_str())
            .with("retry-interval", "1s")
            .with("error", self.error.as_str())
    }
}

/// Waiting for a name until time is up.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub(super) name: Unresolved,
    until: Monotonic,
    retry: Monotonic,
}

impl Wait {
    /// Begins to wait after a first attempt, which the line tells.
    pub(super) fn new(name: Unresolved, now: Monotonic, until: Monotonic) -> (Wait, LogLine) {
        let line = name.line("failed to resolve URL Host");
        (Wait { name, until, retry: now.after(RETRY_INTERVAL) }, line)
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Monotonic {
        self.retry.min(self.until)
    }

    /// Tries again, or gives up: whether the wait is over, and the lines of what was done.
    pub(super) fn advance(&mut self, now: Monotonic) -> (Time, Vec<LogLine>) {
        let mut lines = Vec::new();
        while self.retry < self.until && self.retry <= now {
            lines.push(self.name.line("failed to resolve URL Host"));
            self.retry = self.retry.after(RETRY_INTERVAL);
        }
        if now < self.until {
            return (Time::Left, lines);
        }
        lines.push(self.name.line("failed to resolve URL Host; returning"));
        (Time::Up, lines)
    }
}

/// Compares two lists of URLs; their order does not matter.
pub(super) fn compare(
    left: &[String],
    right: &[String],
    time: Time,
    lines: &mut Vec<LogLine>,
) -> Comparison {
    if left.len() != right.len() {
        let (left, right) = (quote_list(left), quote_list(right));
        return Comparison::Different(format!("len({left}) != len({right})"));
    }
    let (left, right) = match (parse(left), parse(right)) {
        (Ok(left), Ok(right)) => (left, right),
        (Err(cause), _) | (_, Err(cause)) => return Comparison::Different(cause),
    };
    if left == right {
        return Comparison::Equal;
    }
    let mut resolved = [Vec::new(), Vec::new()];
    for (urls, resolved) in [left, right].into_iter().zip(&mut resolved) {
        for url in urls {
            match resolve(&url, time, lines) {
                Ok(url) => resolved.push(url.to_string()),
                Err(unresolved) if time == Time::Up => {
                    return Comparison::Different(unresolved.cause());
                }
                Err(unresolved) => return Comparison::Unresolved(unresolved),
            }
        }
        resolved.sort_unstable();
    }
    let [left, right] = resolved;
    match left.iter().zip(&right).find(|(left, right)| left != right) {
        None => Comparison::Equal,
        Some((left, right)) => {
            let (left, right) = (quote(left), quote(right));
            Comparison::Different(format!("resolved urls: {left} != {right}"))
        }
    }
}

fn parse(texts: &[String]) -> Result<Vec<Url>, String> {
    let mut urls = Vec::new();
    for text in texts {
        let url = Url::parse(text);
        urls.push(url.map_err(|_| format!("failed to parse string to URL: {}", quote(text)))?);
    }
    urls.sort_by_cached_key(Url::to_string);
    Ok(urls)
}

fn resolve(url: &Url, time: Time, lines: &mut Vec<LogLine>) -> Result<Url, Unresolved> {
    if url.is_unix() {
        return Ok(url.clone());
    }
    let fail = |error: String| Unresolved { url: url.to_string(), host: url.host.clone(), error };
    let Some((host, port)) = url.host_port() else {
        return Err(fail(format!("address {}: missing port in address", url.host)));
    };
    if host == "localhost" {
        return Ok(url.clone());
    }
    if time == Time::Up {
        return Err(fail("context deadline exceeded".to_owned()));
    }
    let port: u16 = match port {
        "" => 0,
        port => port.parse().map_err(|_| fail(format!("address {port}: invalid port")))?,
    };
    let ip = parse_ip(host).ok_or_else(|| fail(format!("lookup {host}: no such host")))?;
    let address = SocketAddr::new(ip.to_canonical(), port).to_string();
    lines.push(
        LogLine::new(Level::Info, "resolved URL Host")
            .with("url", url.to_string())
            .with("host", url.host.as_str())
            .with("resolved-addr", address.as_str()),
    );
    Ok(url.with_host(address))
}
