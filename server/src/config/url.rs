//! URLs as etcd's flags take them: parsed as Go's `net/url` does, with its error texts, and printed
//! in its normal form, which is what IDs hash and members compare.
//! Source: contract-cluster.md, sections 1.4, 2.3 and 3.1.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use super::quote::quote;

/// A text is not a URL, or not one that a member can be reached at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Go's parser refuses it.
    #[error("parse {}: {cause}", quote(url))]
    Parse {
        /// The text.
        url: String,
        /// Why.
        cause: String,
    },
    /// An empty list.
    #[error("no valid URLs given")]
    NoUrls,
    /// Host or port is missing.
    #[error("URL address does not have the form \"host:port\": {0}")]
    NotHostPort(String),
    /// A path, though it be only `/`.
    #[error("URL must not contain a path: {0}")]
    HasPath(String),
    /// Another scheme.
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
}

/// A parsed URL. Compares and sorts as its printed form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// In lower case.
    pub scheme: String,
    /// What follows the scheme when that is not a `/`.
    opaque: String,
    user: Option<String>,
    /// Host and port, in brackets if IPv6.
    pub host: String,
    /// From the first `/` on.
    pub path: String,
    no_authority: bool,
    query: Option<String>,
    fragment: Option<String>,
}

impl Url {
    /// Parses what Go would take for a URL, of any scheme.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let (body, fragment) = match text.split_once('#') {
            Some((body, fragment)) => (body, Some(fragment.to_owned())),
            None => (text, None),
        };
        let fail = |cause| UrlError::Parse { url: body.to_owned(), cause };
        let mut url = parse_body(body).map_err(fail)?;
        url.fragment = fragment.filter(|fragment| !fragment.is_empty());
        Ok(url)
    }

    /// Whether its host is a file on this machine.
    pub fn is_unix(&self) -> bool {
        matches!(self.scheme.as_str(), "unix" | "unixs")
    }

    /// Host and port, if both are there.
    pub fn host_port(&self) -> Option<(&str, &str)> {
        split_host_port(&self.host)
    }

    /// The same URL at another host and port.
    #[must_use]
    pub fn with_host(&self, host: String) -> Url {
        Url { host, ..self.clone() }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            let has_authority = !self.host.is_empty() || self.user.is_some();
            let omitted = self.no_authority && !has_authority;
            if !omitted && (has_authority || !self.scheme.is_empty() && !self.path.is_empty()) {
                f.write_str("//")?;
            }
            if let Some(user) = &self.user {
                write!(f, "{user}@")?;
            }
            f.write_str(&escape(&self.host, |byte| byte.is_ascii()))?;
            f.write_str(&escape(&self.path, is_path_byte))?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        if let Some(fragment) = &self.fragment {
            write!(f, "#{fragment}")?;
        }
        Ok(())
    }
}

/// Parses a list of URLs that a member listens on or is reached at: sorted by their printed form.
pub fn parse_list<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Url>, UrlError> {
    let mut urls = Vec::new();
    for text in texts {
        let text = text.trim();
        let url = Url::parse(text)?;
        match url.scheme.as_str() {
            "http" | "https" => {
                if url.host_port().is_none() {
                    return Err(UrlError::NotHostPort(text.to_owned()));
                }
                if !url.path.is_empty() {
                    return Err(UrlError::HasPath(text.to_owned()));
                }
            }
            "unix" | "unixs" => {}
            _ => return Err(UrlError::Scheme(text.to_owned())),
        }
        urls.push(url);
    }
    if urls.is_empty() {
        return Err(UrlError::NoUrls);
    }
    urls.sort_by_cached_key(Url::to_string);
    Ok(urls)
}

/// Parses a flag's comma-separated list of URLs: sorted, without duplicates.
pub fn parse_set(list: &str) -> Result<Vec<Url>, UrlError> {
    let mut urls = parse_list(list.split(','))?;
    urls.dedup_by_key(|url| url.to_string());
    Ok(urls)
}

/// URLs in their printed form.
pub fn print(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}

/// Splits `host:port`, `[host]:port` or `:port`, the brackets dropped.
pub fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let colon = text.rfind(':')?;
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    let bare = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let bracketed = bare.contains(['[', ']']) || port.contains(['[', ']']);
    (!bracketed).then_some((bare, port))
}

/// The IP address that a host is, if it is one.
pub fn parse_ip(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

fn parse_body(text: &str) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if text == "*" {
        return Ok(Url { path: "*".to_owned(), ..Url::default() });
    }
    let (scheme, rest) = split_scheme(text)?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query.to_owned())),
        None => (rest, None),
    };
    let mut url = Url { scheme: scheme.to_ascii_lowercase(), query, ..Url::default() };
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let with_authority = !url.scheme.is_empty() || !rest.starts_with("///");
    let path = match rest.strip_prefix("//").filter(|_| with_authority) {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (url.user, url.host) = parse_authority(authority)?;
            path
        }
        None => {
            url.no_authority = !url.scheme.is_empty() && rest.starts_with('/');
            rest
        }
    };
    check_escapes(path)?;
    url.path = path.to_owned();
    Ok(url)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn parse_authority(authority: &str) -> Result<(Option<String>, String), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, authority),
    };
    check_host(host)?;
    if user.as_deref().is_some_and(|user| !user.bytes().all(is_user_byte)) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    Ok((user, host.to_owned()))
}

fn check_host(host: &str) -> Result<(), String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        &host[host.rfind(':').unwrap_or(host.len())..]
    };
    let digits = port.strip_prefix(':').unwrap_or("x");
    if !port.is_empty() && !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    if let Some(at) = host.find('%') {
        let escape: String = host[at..].chars().take(3).collect();
        return Err(format!("invalid URL escape {}", quote(&escape)));
    }
    match host.chars().find(|c| c.is_ascii() && !is_host_byte(*c as u8)) {
        Some(bad) => Err(format!("invalid character {} in host name", quote(&bad.to_string()))),
        None => Ok(()),
    }
}

fn check_escapes(path: &str) -> Result<(), String> {
    for (at, _) in path.match_indices('%') {
        let digits = path.as_bytes().get(at + 1..at + 3).unwrap_or_default();
        if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            let escape: String = path[at..].chars().take(3).collect();
            return Err(format!("invalid URL escape {}", quote(&escape)));
        }
    }
    Ok(())
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

fn is_user_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte)
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]/%".contains(&byte)
}

fn escape(text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if keep(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
