//! A joiner against the cluster it finds: which listed member is which existing one, and whether
//! the versions go together.
//! Source: contract-cluster.md, section 2.5.

use super::resolve::{Comparison, Time, Unresolved, compare};
use crate::member::id::{ClusterId, MemberId};
use crate::member::io::{Level, LogLine, MemberInfo};
use crate::member::membership::describe;
use crate::member::version::Version;

/// The cluster that answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Existing {
    pub(super) cluster: ClusterId,
    /// Ascending by id.
    pub(super) members: Vec<MemberInfo>,
}

impl Existing {
    /// As Go prints the structure.
    fn describe(&self) -> String {
        let members: Vec<String> =
            self.members.iter().map(|member| format!("&{}", describe(member))).collect();
        let (cluster, members) = (self.cluster, members.join(" "));
        format!("{{ClusterID:{cluster} Members:[{members}] RemovedMemberIDs:[]}}")
    }

    fn invalid(&self, why: &str) -> String {
        format!("error validating peerURLs {}: {why}", self.describe())
    }
}

/// Gives the listed members the IDs of the existing ones with the same URLs.
#[derive(Clone, Debug)]
pub(super) struct Matching {
    pub(super) existing: Existing,
    /// Ascending by computed ID; their IDs are replaced as they are found.
    pub(super) listed: Vec<MemberInfo>,
    /// Which existing member is looked for, and which listed one it is compared with next.
    at: (usize, usize),
    time: Time,
    last_error: String,
}

/// How far the matching got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Matched,
    Failed(String),
    /// It goes on after `Matching::give_up`.
    Blocked(Unresolved),
}

impl Matching {
    pub(super) fn new(existing: Existing, listed: Vec<MemberInfo>) -> Matching {
        let (at, last_error) = ((0, 0), String::new());
        Matching { existing, listed, at, time: Time::Left, last_error }
    }

    /// Compares until all are matched, one is not, or a name stands in the way.
    pub(super) fn advance(&mut self, lines: &mut Vec<LogLine>) -> Progress {
        if self.existing.members.len() != self.listed.len() {
            return Progress::Failed(self.existing.invalid("member count is unequal"));
        }
        while let Some(existing) = self.existing.members.get(self.at.0) {
            let Some(listed) = self.listed.get_mut(self.at.1) else {
                let why = format!(
                    "PeerURLs: no match found for existing member ({}, [{}]), \
                     last resolver error ({})",
                    existing.id,
                    existing.peer_urls.join(" "),
                    self.last_error
                );
                return Progress::Failed(self.existing.invalid(&why));
            };
            match compare(&existing.peer_urls, &listed.peer_urls, self.time, lines) {
                Comparison::Equal => {
                    listed.id = existing.id;
                    self.at = (self.at.0 + 1, 0);
                }
                Comparison::Different(cause) => self.pass_over(cause),
                Comparison::Unresolved(name) => return Progress::Blocked(name),
            }
        }
        Progress::Matched
    }

    /// Time is up for the name that blocked, and for all after it.
    pub(super) fn give_up(&mut self, name: &Unresolved) {
        self.time = Time::Up;
        self.pass_over(name.cause());
    }

    fn pass_over(&mut self, cause: String) {
        self.last_error = cause;
        self.at.1 += 1;
    }
}

/// What one member of the cluster says of its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) member: MemberId,
    pub(super) cluster_version: String,
}

/// Whether a member of this version may join: nobody who answers may be outside the range, and
/// somebody must be inside. While a downgrade goes on, only the version just above may be met.
pub(super) fn is_compatible(
    heard: &[Heard],
    local: &Version,
    is_downgrading: bool,
    lines: &mut Vec<LogLine>,
) -> bool {
    let (lowest, highest) = if is_downgrading {
        (local.next_minor(), local.next_minor())
    } else {
        (Version::MIN_CLUSTER, local.major_minor())
    };
    let mut is_met = false;
    for Heard { member, cluster_version } in heard {
        let line = |text: &str| {
            LogLine::new(Level::Warn, text)
                .with("remote-member-id", member.to_string())
                .with("remote-member-cluster-version", cluster_version.as_str())
        };
        let version = match Version::parse(cluster_version) {
            Ok(version) => version,
            Err(error) => {
                let line = line("failed to parse cluster version of remote member");
                lines.push(line.with("error", error.to_string()));
                continue;
            }
        };
        if version < lowest {
            let line = line("cluster version of remote member is not compatible; too low");
            lines.push(line.with("minimum-cluster-version-supported", lowest.to_string()));
            return false;
        }
        if highest < version {
            let line = line("cluster version of remote member is not compatible; too high");
            lines.push(line.with("maximum-cluster-version-supported", highest.to_string()));
            return false;
        }
        is_met = true;
    }
    is_met
}
