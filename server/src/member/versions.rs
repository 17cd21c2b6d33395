//! The leader's watch over the cluster's version: it asks every member for its own, and raises the
//! cluster's to the lowest of them, or lowers it to that of a downgrade that is going on
//! (contract-cluster.md, section 4.2).

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;

use super::id::{CallId, MemberId};
use super::io::{Outputs, PeerAnswer, PeerCall, PeerCallError};
use super::publish::v2_put;
use super::running::Running;
use super::time::{Monotonic, Now};
use super::version::Version;
use crate::config::CompatVersion;
use crate::proto::etcdserverpb as pb;
use crate::storage::log::EntryKind;

const INTERVAL: Duration = Duration::from_secs(4);

/// One round of questions at a time.
#[derive(Debug, Default)]
pub(super) struct VersionMonitor {
    next_at: Option<Monotonic>,
    is_due: bool,
    asked: BTreeMap<CallId, MemberId>,
    /// Of the members that answered in this round; `None` once one did not.
    answers: Option<Vec<Version>>,
}

impl VersionMonitor {
    /// A round is due at once: the leader has committed in its term.
    pub(super) fn check_now(&mut self) {
        self.is_due = true;
    }

    fn is_at_rest(&self) -> bool {
        let VersionMonitor { next_at, is_due, asked, answers } = self;
        next_at.is_none() && !is_due && asked.is_empty() && answers.is_none()
    }

    pub(super) fn next_deadline(&self, is_leader: bool) -> Option<Monotonic> {
        if !is_leader {
            return None;
        }
        if self.is_due { Some(Monotonic::ZERO) } else { self.next_at }
    }
}

impl Running {
    pub(super) fn version_timer(&mut self, now: Now, out: &mut Outputs) {
        if !self.consensus.is_leader() {
            if !self.versions.is_at_rest() {
                self.versions = VersionMonitor::default();
            }
            return;
        }
        let next_at = *self.versions.next_at.get_or_insert(now.monotonic.after(INTERVAL));
        if !self.versions.is_due && now.monotonic < next_at {
            return;
        }
        self.versions.is_due = false;
        self.versions.next_at = Some(now.monotonic.after(INTERVAL));
        let own = Version::parse(self.config.compat.server_version());
        self.versions.answers = Some(own.into_iter().collect());
        let (asked, unreachable) = self.ask_versions(out);
        self.versions.asked = asked;
        if !unreachable.is_empty() {
            self.versions.answers = None;
        }
        self.decide_version();
    }

    /// Asks all others for their versions. Gives whom which call asks, and who has no address.
    pub(super) fn ask_versions(
        &mut self,
        out: &mut Outputs,
    ) -> (BTreeMap<CallId, MemberId>, Vec<MemberId>) {
        let others = self.membership.members().filter(|member| member.id != self.id());
        let others: Vec<(MemberId, Option<String>)> =
            others.map(|member| (member.id, member.peer_urls.first().cloned())).collect();
        let (mut asked, mut unreachable) = (BTreeMap::new(), Vec::new());
        for (peer, url) in others {
            match url {
                Some(url) => {
                    asked.insert(self.call(url, PeerCall::Version, out), peer);
                }
                None => unreachable.push(peer),
            }
        }
        (asked, unreachable)
    }

    /// Takes an answer; true if it was to a question of this round.
    pub(super) fn version_answer(
        &mut self,
        call: CallId,
        result: &Result<PeerAnswer, PeerCallError>,
    ) -> bool {
        if self.versions.asked.remove(&call).is_none() {
            return false;
        }
        let version = match result {
            Ok(PeerAnswer::Version { server, .. }) => Version::parse(server).ok(),
            _ => None,
        };
        match (version, &mut self.versions.answers) {
            (Some(version), Some(answers)) => answers.push(version),
            _ => self.versions.answers = None,
        }
        self.decide_version();
        true
    }

    /// When all have answered, or cannot, decides.
    fn decide_version(&mut self) {
        if !self.versions.asked.is_empty() || !self.consensus.is_leader() {
            return;
        }
        let lowest = self.versions.answers.take().and_then(|answers| answers.into_iter().min());
        let downgrade = self.membership.downgrade();
        let target = match (self.membership.cluster_version(), lowest) {
            // 3.5 follows the lowest, one version down as well as up.
            (Some(version), Some(lowest)) if self.config.compat == CompatVersion::V3_5 => {
                let lowest = lowest.major_minor();
                match *version < lowest || lowest.next_minor() == *version {
                    true => lowest,
                    false => return,
                }
            }
            (Some(version), Some(lowest)) if downgrade.enabled => {
                match Version::parse(&downgrade.target) {
                    Ok(target)
                        if target.next_minor() == *version
                            && target.next_minor() == lowest.major_minor() =>
                    {
                        target.major_minor()
                    }
                    _ => return,
                }
            }
            (None, lowest) => lowest.unwrap_or(Version::MIN_CLUSTER).major_minor(),
            (Some(version), Some(lowest)) if *version < lowest.major_minor() => {
                lowest.major_minor()
            }
            _ => return,
        };
        let id = self.ids.next_id();
        let data = if self.config.compat == CompatVersion::V3_5 {
            v2_put(id, "/0/version".to_owned(), target.to_string())
        } else {
            pb::InternalRaftRequest {
                header: Some(pb::RequestHeader { id, ..pb::RequestHeader::default() }),
                cluster_version_set: Some(pb::ClusterVersionSetRequest { ver: target.to_string() }),
                ..pb::InternalRaftRequest::default()
            }
            .encode_to_vec()
        };
        // Nobody waits: if it is lost, the next round proposes it again.
        let _ = self.consensus.propose(EntryKind::Normal, data.into());
    }
}
