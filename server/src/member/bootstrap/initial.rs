//! `--initial-cluster`: who is to be in a cluster at its start, by name, and whether that can be.
//! Source: contract-cluster.md, section 2.3.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use thiserror::Error;

use crate::config::quote::quote;
use crate::config::url::{self, Url, UrlError};
use crate::member::id::MemberId;
use crate::member::identity::bootstrap_member_id;
use crate::member::io::MemberInfo;

/// Members by name, each with its URLs in sorted order. A name that is given twice is one member
/// with both URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InitialCluster {
    members: BTreeMap<String, Vec<Url>>,
}

/// The listed members cannot make a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum InitialError {
    #[error("couldn't find local name {} in the initial cluster configuration", quote(.0))]
    NoLocalName(String),
    #[error("initial cluster {0} has duplicate url")]
    DuplicateUrl(String),
    #[error(
        "member exists with identical ID &{{{} {{[{}] false}} {{{} []}}}}",
        .0.id, .0.peer_urls.join(" "), .0.name
    )]
    IdenticalId(MemberInfo),
    #[error("cannot use 0 as member id")]
    ZeroId,
}

impl InitialCluster {
    /// Reads `name=url,...`. An item without `=` is a member with an empty URL, and so an error.
    pub(super) fn parse(text: &str) -> Result<InitialCluster, UrlError> {
        let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (name, url) = item.split_once('=').unwrap_or((item, ""));
            texts.entry(name).or_default().push(url);
        }
        let mut members = BTreeMap::new();
        for (name, urls) in texts {
            members.insert(name.to_owned(), url::parse_list(urls)?);
        }
        Ok(InitialCluster { members })
    }

    /// One member alone.
    pub(super) fn single(name: &str, urls: Vec<Url>) -> InitialCluster {
        InitialCluster { members: BTreeMap::from([(name.to_owned(), urls)]) }
    }

    /// A member's URLs, sorted.
    pub(super) fn urls(&self, name: &str) -> Result<Vec<String>, InitialError> {
        let urls = self.members.get(name);
        let urls = urls.ok_or_else(|| InitialError::NoLocalName(name.to_owned()))?;
        Ok(url::print(urls))
    }

    /// That no URL is listed twice, whoever lists it.
    pub(super) fn check_urls_differ(&self) -> Result<(), InitialError> {
        let mut seen = BTreeSet::new();
        let mut urls = self.members.values().flatten();
        if urls.all(|url| seen.insert(url.to_string())) {
            return Ok(());
        }
        Err(InitialError::DuplicateUrl(self.to_string()))
    }

    /// The members with their IDs, ascending.
    pub(super) fn identify(&self, token: &str) -> Result<Vec<MemberInfo>, InitialError> {
        let mut members: BTreeMap<MemberId, MemberInfo> = BTreeMap::new();
        for (name, urls) in &self.members {
            let peer_urls = url::print(urls);
            let id = bootstrap_member_id(&peer_urls, token);
            let member = MemberInfo { id, name: name.clone(), peer_urls, ..MemberInfo::default() };
            if id == MemberId(0) {
                return Err(InitialError::ZeroId);
            }
            if members.contains_key(&id) {
                return Err(InitialError::IdenticalId(member));
            }
            members.insert(id, member);
        }
        Ok(members.into_values().collect())
    }
}

impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pairs: Vec<String> = Vec::new();
        for (name, urls) in &self.members {
            pairs.extend(urls.iter().map(|url| format!("{name}={url}")));
        }
        pairs.sort_unstable();
        f.write_str(&pairs.join(","))
    }
}

/// Why a member's advertised URLs are not the ones listed for it; both lists are sorted.
pub(super) fn mismatch(name: &str, advertised: &[String], listed: &[String], why: &str) -> String {
    let map: Vec<String> = advertised.iter().map(|url| format!("{name}={url}")).collect();
    let (map, advertised_text) = (map.join(","), advertised.join(","));
    let missing = |these: &[String], in_those: &[String]| -> Vec<String> {
        let mut missing: Vec<String> =
            these.iter().filter(|url| !in_those.contains(url)).cloned().collect();
        missing.dedup();
        missing
    };
    let unadvertised = missing(listed, advertised);
    if !unadvertised.is_empty() {
        let pairs: Vec<String> = unadvertised.iter().map(|url| format!("{name}={url}")).collect();
        return format!(
            "--initial-cluster has {} but missing from \
             --initial-advertise-peer-urls={advertised_text} ({why})",
            pairs.join(",")
        );
    }
    let unlisted = missing(advertised, listed);
    if !unlisted.is_empty() {
        return format!(
            "--initial-advertise-peer-urls has {} but missing from --initial-cluster={map}",
            unlisted.join(",")
        );
    }
    format!("failed to resolve {advertised_text} to match --initial-cluster={map} ({why})")
}
