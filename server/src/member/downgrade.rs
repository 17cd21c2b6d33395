//! Downgrades of the cluster: what clients ask for, and how one that is done ends
//! (contract-api.md, section 5.5).
//!
//! A downgrade is a word in the log and nothing more: the leader then lowers the cluster's version
//! (`versions`), members make their databases older (`storage_version`), and somebody restarts them
//! one after another as the older version. The leader looks whether all of them are, and cancels
//! the downgrade when they are.

use std::collections::BTreeMap;

use prost::Message as _;

use super::id::{CallId, MemberId, RequestId};
use super::io::{Level, LogLine, Output, Outputs, PeerAnswer, PeerCallError, Response};
use super::running::{Reader, Running, Waiter};
use super::time::{Monotonic, Now};
use super::version::Version;
use crate::api::ApiError;
use crate::config::CompatVersion;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::downgrade_request::DowngradeAction;
use crate::storage::log::EntryKind;

const CANCEL_FAILED: &str = "failed to cancel downgrade";

/// What is asked once the member has caught up with what was committed before.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// Whether the cluster could be made this version.
    Validate(RequestId, Version),
    /// That it shall be.
    Enable(RequestId, Version),
    /// That it shall not be any more; by the member itself where no client asks.
    Cancel(Option<RequestId>),
}

impl Asked {
    pub(super) fn client(&self) -> Option<RequestId> {
        match self {
            Asked::Validate(id, _) | Asked::Enable(id, _) => Some(*id),
            Asked::Cancel(id) => *id,
        }
    }
}

/// What a member says of its version, and of the cluster's.
type Told = Option<(String, String)>;

/// The leader's look at whether a downgrade is done. One round of questions at a time.
#[derive(Debug, Default)]
pub(super) struct DowngradeMonitor {
    next_at: Option<Monotonic>,
    asked: BTreeMap<CallId, MemberId>,
    told: BTreeMap<MemberId, Told>,
}

impl DowngradeMonitor {
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.next_at
    }
}

impl Running {
    /// A client's request.
    pub(super) fn downgrade(
        &mut self,
        id: RequestId,
        request: &pb::DowngradeRequest,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        let asked = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => Asked::Validate(id, target(&request.version)?),
            Ok(DowngradeAction::Enable) => match target(&request.version) {
                Ok(version) => Asked::Enable(id, version),
                Err(error) => return Err(rejected(error, out)),
            },
            Ok(DowngradeAction::Cancel) => Asked::Cancel(Some(id)),
            Err(_) => return Err(ApiError::UnknownMethod),
        };
        self.register_read(Reader::Downgrade(asked), now, out);
        Ok(())
    }

    /// The member knows what was committed when it was asked.
    pub(super) fn downgrade_confirmed(&mut self, asked: Asked, now: Now, out: &mut Outputs) {
        let set = match &asked {
            Asked::Validate(id, version) => {
                let result = self.may_downgrade(version).map(|()| self.downgrade_response());
                return self.reply(*id, result, out);
            }
            Asked::Enable(_, version) => self
                .may_downgrade(version)
                .map(|()| pb::DowngradeInfoSetRequest { enabled: true, ver: version.to_string() }),
            Asked::Cancel(_) if self.membership.downgrade().enabled => {
                Ok(pb::DowngradeInfoSetRequest::default())
            }
            Asked::Cancel(_) => Err(ApiError::NoInflightDowngrade),
        };
        let set = match set {
            Ok(set) => set,
            Err(error) => return self.downgrade_refused(asked, error, out),
        };
        let id = self.ids.next_id();
        let entry = pb::InternalRaftRequest {
            header: Some(pb::RequestHeader { id, ..pb::RequestHeader::default() }),
            downgrade_info_set: Some(set),
            ..pb::InternalRaftRequest::default()
        };
        if let Some(request) = asked.client() {
            out.push(Output::Note(super::io::Note::Proposed { request, entry_id: id }));
        }
        let data = entry.encode_to_vec().into();
        self.propose(id, EntryKind::Normal, data, Waiter::Downgrade(asked), now, out);
    }

    /// Nothing comes of it. Since 3.6 a client that cancels is never told.
    pub(super) fn downgrade_refused(&mut self, asked: Asked, error: ApiError, out: &mut Outputs) {
        let is_lenient = self.config.compat >= CompatVersion::V3_6;
        match asked {
            Asked::Validate(id, _) => self.reply(id, Err(error), out),
            Asked::Enable(id, _) => {
                let error = rejected(error, out);
                self.reply(id, Err(error), out);
            }
            Asked::Cancel(Some(id)) if !is_lenient => self.reply(id, Err(error), out),
            Asked::Cancel(client) => {
                let line = LogLine::new(Level::Warn, CANCEL_FAILED).with("error", error.text());
                out.push(Output::LogLine(line));
                if let Some(id) = client {
                    let response = self.downgrade_response();
                    self.reply(id, Ok(response), out);
                }
            }
        }
    }

    /// It is in the log and applied.
    pub(super) fn downgrade_set(&mut self, asked: &Asked, out: &mut Outputs) {
        if let Some(id) = asked.client() {
            let response = self.downgrade_response();
            self.reply(id, Ok(response), out);
        }
    }

    fn downgrade_response(&self) -> Response {
        let compat = self.config.compat;
        let show = |version: &Version| match compat {
            CompatVersion::V3_5 => version.to_string(),
            _ => version.short(),
        };
        Response::Downgrade(pb::DowngradeResponse {
            header: Some(self.header(self.store.revision())),
            version: self.membership.cluster_version().map_or_else(String::new, show),
        })
    }

    /// Only the version just below the cluster's will do, and only one at a time.
    fn may_downgrade(&self, target: &Version) -> Result<(), ApiError> {
        let Some(cluster) = self.membership.cluster_version() else {
            return Err(ApiError::ClusterVersionUnavailable);
        };
        if target.next_minor() != cluster.major_minor() {
            return Err(ApiError::InvalidDowngradeTarget);
        }
        if self.membership.downgrade().enabled {
            return Err(ApiError::DowngradeInProcess);
        }
        Ok(())
    }

    /// Asks all members for their versions while a downgrade is going on.
    pub(super) fn downgrade_timer(&mut self, now: Now, out: &mut Outputs) {
        let period = self.config.downgrade_check_time;
        let is_watched = self.membership.downgrade().enabled && !period.is_zero();
        if !is_watched || !self.consensus.is_leader() {
            if self.upkeep.downgrades.next_at.is_some() {
                self.upkeep.downgrades = DowngradeMonitor::default();
            }
            return;
        }
        let at = *self.upkeep.downgrades.next_at.get_or_insert(now.monotonic.after(period));
        if now.monotonic < at {
            return;
        }
        self.upkeep.downgrades.next_at = Some(now.monotonic.after(period));
        let cluster = self.membership.cluster_version().map(Version::to_string);
        let own = (self.config.compat.server_version().to_owned(), cluster.unwrap_or_default());
        let (asked, unreachable) = self.ask_versions(out);
        let mut told = BTreeMap::from([(self.id(), Some(own))]);
        told.extend(unreachable.into_iter().map(|peer| (peer, None)));
        (self.upkeep.downgrades.asked, self.upkeep.downgrades.told) = (asked, told);
        self.end_downgrade(now, out);
    }

    /// Takes an answer; true if it was to a question of this round.
    pub(super) fn downgrade_answer(
        &mut self,
        call: CallId,
        result: &Result<PeerAnswer, PeerCallError>,
        now: Now,
        out: &mut Outputs,
    ) -> bool {
        let Some(peer) = self.upkeep.downgrades.asked.remove(&call) else { return false };
        let told = match result {
            Ok(PeerAnswer::Version { server, cluster }) => Some((server.clone(), cluster.clone())),
            _ => None,
        };
        self.upkeep.downgrades.told.insert(peer, told);
        self.end_downgrade(now, out);
        true
    }

    /// When all have answered, or cannot, cancels a downgrade that is done.
    fn end_downgrade(&mut self, now: Now, out: &mut Outputs) {
        let target = self.membership.downgrade().target.clone();
        if !self.upkeep.downgrades.asked.is_empty() || self.upkeep.downgrades.told.is_empty() {
            return;
        }
        let told = std::mem::take(&mut self.upkeep.downgrades.told);
        let Ok(wanted) = Version::parse(&target) else { return };
        // 3.5 is content when all know that the cluster is older.
        let is_of_cluster = self.config.compat == CompatVersion::V3_5;
        for (member, told) in told {
            let Some((server, cluster)) = told else { return };
            let text = if is_of_cluster { &cluster } else { &server };
            let version = match Version::parse(text) {
                Ok(version) if is_of_cluster => version,
                Ok(version) => version.major_minor(),
                Err(error) => {
                    let text = "failed to parse server version of the remote member";
                    out.push(Output::LogLine(
                        LogLine::new(Level::Warn, text)
                            .with("remote-member-id", member.to_string())
                            .with("remote-member-version", server)
                            .with("error", error.to_string()),
                    ));
                    return;
                }
            };
            if version != wanted {
                let line = LogLine::new(Level::Warn, "remotes server has mismatching etcd version")
                    .with("remote-member-id", member.to_string())
                    .with("current-server-version", version.to_string())
                    .with("target-version", wanted.to_string());
                return out.push(Output::LogLine(line));
            }
        }
        let line = LogLine::new(Level::Info, "the cluster has been downgraded")
            .with("cluster-version", target);
        out.push(Output::LogLine(line));
        self.register_read(Reader::Downgrade(Asked::Cancel(None)), now, out);
    }
}

/// `X.Y` or `X.Y.Z`, of which only the first two count.
fn target(text: &str) -> Result<Version, ApiError> {
    Version::parse(text)
        .or_else(|_| Version::parse(&format!("{text}.0")))
        .map(|version| version.major_minor())
        .map_err(|_| ApiError::WrongDowngradeFormat)
}

fn rejected(error: ApiError, out: &mut Outputs) -> ApiError {
    let text = "reject downgrade request";
    out.push(Output::LogLine(LogLine::new(Level::Warn, text).with("error", error.text())));
    error
}
