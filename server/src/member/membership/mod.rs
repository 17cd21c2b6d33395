//! The cluster's member set as replicated state: who is in it, who was, and at which version it
//! runs. Changed only by applied entries, and equal on all members at equal applied indices.
//!
//! A change is validated when it is applied, against the state at that moment; the checks before a
//! proposal (`reconfigure`) only keep a cluster from losing its quorum.
//! Source: contract-cluster.md, sections 2.9, 4.9, 5.8 and 6.8; contract-api.md, section 5.1.

mod change;
pub mod json;
mod reconfigure;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

pub use change::{ChangeError, MemberChange};
pub(crate) use reconfigure::describe;
pub use reconfigure::{Connectivity, HEALTH_INTERVAL, Refused, learner_is_ready};

use super::id::{ClusterId, MemberId};
use super::io::{Level, LogLine, MemberInfo, Stop};
use super::version::Version;
use crate::api::ApiError;
use crate::config::CompatVersion;

/// Who is speaking in a log line about members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member whose log it is.
    pub member: MemberId,
}

impl Identity {
    /// A line with the two fields that open every line about members.
    pub fn line(self, level: Level, message: &str) -> LogLine {
        LogLine::new(level, message)
            .with("cluster-id", self.cluster.to_string())
            .with("local-member-id", self.member.to_string())
    }
}

/// Why a committed change of members has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum MembershipError {
    #[error("membership: ID removed")]
    IdRemoved,
    #[error("membership: ID exists")]
    IdExists,
    #[error("membership: ID not found")]
    IdNotFound,
    #[error("membership: peerURL exists")]
    PeerUrlExists,
    #[error("membership: can only promote a learner member")]
    NotLearner,
    #[error("membership: too many learner members in cluster")]
    TooManyLearners,
}

impl MembershipError {
    /// What the client that asked for the change is answered.
    pub fn api(self) -> ApiError {
        match self {
            MembershipError::IdRemoved | MembershipError::IdNotFound => ApiError::MemberNotFound,
            MembershipError::IdExists => ApiError::MemberExists,
            MembershipError::PeerUrlExists => ApiError::PeerUrlExists,
            MembershipError::NotLearner => ApiError::NotLearner,
            MembershipError::TooManyLearners => ApiError::TooManyLearners,
        }
    }
}

/// A downgrade of the cluster that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downgrade {
    /// Whether one is going on.
    pub enabled: bool,
    /// To which version; empty when none is going on.
    pub target: String,
}

/// The member set, the IDs that may never come back, and the cluster's version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    members: BTreeMap<MemberId, MemberInfo>,
    removed: BTreeSet<MemberId>,
    cluster_version: Option<Version>,
    downgrade: Downgrade,
}

impl Membership {
    /// The state as the database or a snapshot holds it.
    pub fn from_parts(
        members: impl IntoIterator<Item = MemberInfo>,
        removed: impl IntoIterator<Item = MemberId>,
        cluster_version: Option<Version>,
        downgrade: Downgrade,
    ) -> Membership {
        Membership {
            members: members.into_iter().map(|member| (member.id, member)).collect(),
            removed: removed.into_iter().collect(),
            cluster_version,
            downgrade,
        }
    }

    /// All members, ascending by id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &MemberInfo> {
        self.members.values()
    }

    /// The members that vote, ascending by id.
    pub fn voters(&self) -> impl Iterator<Item = &MemberInfo> {
        self.members().filter(|member| !member.is_learner)
    }

    /// The member with this ID.
    pub fn get(&self, id: MemberId) -> Option<&MemberInfo> {
        self.members.get(&id)
    }

    /// Whether the ID belonged to a member that is gone for good.
    pub fn is_removed(&self, id: MemberId) -> bool {
        self.removed.contains(&id)
    }

    /// All removed IDs, ascending.
    pub fn removed(&self) -> impl ExactSizeIterator<Item = MemberId> {
        self.removed.iter().copied()
    }

    /// The cluster's version, once it is decided.
    pub fn cluster_version(&self) -> Option<&Version> {
        self.cluster_version.as_ref()
    }

    /// The downgrade that is going on, or not.
    pub fn downgrade(&self) -> &Downgrade {
        &self.downgrade
    }

    /// Whether a change may take effect in this state.
    pub fn validate(
        &self,
        change: &MemberChange,
        max_learners: usize,
    ) -> Result<(), MembershipError> {
        let id = change.id();
        if self.is_removed(id) {
            return Err(MembershipError::IdRemoved);
        }
        match change {
            MemberChange::Promote(_) => {
                let member = self.get(id).ok_or(MembershipError::IdNotFound)?;
                if !member.is_learner {
                    return Err(MembershipError::NotLearner);
                }
            }
            MemberChange::Add(member) => {
                if self.members.contains_key(&id) {
                    return Err(MembershipError::IdExists);
                }
                self.check_urls_free(id, &member.peer_urls)?;
                if member.is_learner {
                    self.check_learners(max_learners, 1)?;
                }
            }
            MemberChange::Remove(_) => {
                self.get(id).ok_or(MembershipError::IdNotFound)?;
            }
            MemberChange::Update { peer_urls, .. } => {
                self.get(id).ok_or(MembershipError::IdNotFound)?;
                self.check_urls_free(id, peer_urls)?;
            }
        }
        Ok(())
    }

    /// Whether the learners, with so many more, are within the limit.
    pub fn check_learners(&self, max_learners: usize, more: usize) -> Result<(), MembershipError> {
        let learners = self.members().filter(|member| member.is_learner).count();
        if learners + more > max_learners {
            return Err(MembershipError::TooManyLearners);
        }
        Ok(())
    }

    fn check_urls_free(&self, id: MemberId, peer_urls: &[String]) -> Result<(), MembershipError> {
        let used = self
            .members()
            .filter(|member| member.id != id)
            .any(|member| member.peer_urls.iter().any(|url| peer_urls.contains(url)));
        if used { Err(MembershipError::PeerUrlExists) } else { Ok(()) }
    }

    /// Carries out a change that `validate` has passed, and tells it.
    pub fn apply(&mut self, change: MemberChange, identity: Identity) -> LogLine {
        match change {
            MemberChange::Add(member) => {
                let line = identity
                    .line(Level::Info, "added member")
                    .with("added-peer-id", member.id.to_string())
                    .with("added-peer-peer-urls", json::list(&member.peer_urls))
                    .with("added-peer-is-learner", member.is_learner.to_string());
                self.members.insert(member.id, member);
                line
            }
            MemberChange::Promote(id) => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.is_learner = false;
                }
                identity
                    .line(Level::Info, "promote member")
                    .with("promoted-member-id", id.to_string())
            }
            MemberChange::Remove(id) => {
                self.removed.insert(id);
                removed_line(identity, id, self.members.remove(&id).as_ref())
            }
            MemberChange::Update { id, peer_urls } => {
                let is_learner = self.get(id).is_some_and(|member| member.is_learner);
                let line = identity
                    .line(Level::Info, "updated member")
                    .with("updated-remote-peer-id", id.to_string())
                    .with("updated-remote-peer-urls", json::list(&peer_urls))
                    .with("updated-remote-peer-is-learner", is_learner.to_string());
                if let Some(member) = self.members.get_mut(&id) {
                    member.peer_urls = peer_urls;
                }
                line
            }
        }
    }

    /// Carries out a member's publication of its name and client URLs. For a member that is gone
    /// it has no effect, and a line says so; for one that never was, the log is not this cluster's.
    pub fn set_attributes(
        &mut self,
        id: MemberId,
        name: String,
        client_urls: Vec<String>,
        identity: Identity,
    ) -> Result<Option<LogLine>, Stop> {
        if let Some(member) = self.members.get_mut(&id) {
            member.name = name;
            member.client_urls = client_urls;
            return Ok(None);
        }
        if self.is_removed(id) {
            let line = identity
                .line(Level::Warn, "skipped attributes update of removed member")
                .with("updated-peer-id", id.to_string());
            return Ok(Some(line));
        }
        Err(Stop { exit_code: 2, reason: "failed to update; member unknown".to_owned() })
    }

    /// Carries out a decision on the cluster's version. A member that is older than it must stop.
    pub fn set_cluster_version(
        &mut self,
        version: Version,
        identity: Identity,
        local: CompatVersion,
    ) -> Result<LogLine, Stop> {
        let line = match &self.cluster_version {
            Some(before) => identity
                .line(Level::Info, "updated cluster version")
                .with("from", before.short())
                .with("to", version.short()),
            None => identity
                .line(Level::Info, "set initial cluster version")
                .with("cluster-version", version.short()),
        };
        check_downgrade(local, &version)?;
        self.cluster_version = Some(version);
        Ok(line)
    }

    /// Carries out the start or end of a downgrade.
    pub fn set_downgrade(&mut self, downgrade: Downgrade) {
        self.downgrade = downgrade;
    }

    /// A digest of everything replicated here: equal states have equal digests.
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        for member in self.members() {
            digest.add(json::encode_member(member).as_bytes());
        }
        for id in self.removed() {
            digest.add(&id.0.to_be_bytes());
        }
        let version = self.cluster_version.as_ref().map(Version::to_string).unwrap_or_default();
        digest.add(version.as_bytes());
        digest.add(self.downgrade.target.as_bytes());
        digest.add(&[u8::from(self.downgrade.enabled)]);
        digest.0
    }
}

/// Whether a member of this version may run in a cluster of that version. 3.5 ends with a fatal
/// line, later versions panic.
pub fn check_downgrade(local: CompatVersion, cluster: &Version) -> Result<(), Stop> {
    let server = Version::parse(local.cluster_version()).expect("a constant of ours");
    if server >= *cluster {
        return Ok(());
    }
    Err(Stop {
        exit_code: if local == CompatVersion::V3_5 { 1 } else { 2 },
        reason: "invalid downgrade; server version is lower than determined cluster version"
            .to_owned(),
    })
}

fn removed_line(identity: Identity, id: MemberId, member: Option<&MemberInfo>) -> LogLine {
    let Some(member) = member else {
        return identity
            .line(Level::Warn, "skipped removing already removed member")
            .with("removed-remote-peer-id", id.to_string());
    };
    identity
        .line(Level::Info, "removed member")
        .with("removed-remote-peer-id", id.to_string())
        .with("removed-remote-peer-urls", json::list(&member.peer_urls))
        .with("removed-remote-peer-is-learner", member.is_learner.to_string())
}

/// FNV-1a over length-prefixed pieces.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, piece: &[u8]) {
        let length = (piece.len() as u64).to_be_bytes();
        for byte in length.iter().chain(piece) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
