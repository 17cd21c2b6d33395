//! What passes between members beside raft messages: dials, calls and their answers
//! (contract-cluster.md, sections 5.1 to 5.3).

use std::time::Duration;

use super::dial::{Local, check_dial, refusal_line, refused_line};
use super::id::{CallId, MemberId};
use super::io::{
    DialRefusal, Level, LogLine, Output, Outputs, PeerAnswer, PeerCall, PeerCallError, PeerChange,
    PeerHeader, Response, Stop,
};
use super::running::{FastForward, Running, Waiter, Worker};
use super::time::Now;
use super::work::{Job, WorkResult};
use crate::api::ApiError;
use crate::config::quote;
use crate::planted::Defect;
use crate::proto::etcdserverpb as pb;

const REMOVED: &str = "the member has been permanently removed from the cluster";

impl Running {
    /// Asks a peer; the answer comes as `Input::PeerCallDone` under the returned id.
    pub(super) fn call(&mut self, url: String, call: PeerCall, out: &mut Outputs) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        let dial = Duration::from_millis(1_000 + self.config.election_timeout_ms);
        let timeout = match call {
            PeerCall::Promote(_) | PeerCall::HashKv { .. } => self.request_timeout(),
            _ => dial,
        };
        out.push(Output::PeerCall { id, url, call, timeout });
        id
    }

    pub(super) fn peer_dial(&mut self, id: CallId, header: &PeerHeader, out: &mut Outputs) {
        let local = Local {
            identity: self.identity,
            compat: self.config.compat,
            is_removed: &|member| self.membership.is_removed(member),
            is_peer: &|member| self.peers.contains(&member),
        };
        let result = check_dial(local, header);
        if let Err(refusal) = result
            && let Some(line) = refusal_line(local, header, refusal)
        {
            out.push(Output::LogLine(line));
        }
        self.remember_remote(header, result, out);
        out.push(Output::DialAnswer { id, result });
    }

    /// Who is unknown can be answered all the same: a member that has lost, or not yet got, the
    /// entries that name the others would get them from nobody otherwise.
    fn remember_remote(
        &self,
        header: &PeerHeader,
        result: Result<(), DialRefusal>,
        out: &mut Outputs,
    ) {
        let is_unknown = !self.peers.contains(&header.from) && header.from != self.id();
        let is_heard = matches!(result, Ok(()) | Err(DialRefusal::SenderNotFound));
        let is_removed = self.membership.is_removed(header.from);
        if is_unknown && is_heard && !is_removed && !header.peer_urls.is_empty() {
            let (id, urls) = (header.from, header.peer_urls.clone());
            out.push(Output::Peers(PeerChange::Remote { id, urls }));
        }
    }

    pub(super) fn dial_refused(&mut self, peer: MemberId, refusal: DialRefusal, out: &mut Outputs) {
        self.active_since.remove(&peer);
        if let Some(line) = refused_line(self.identity, peer, refusal) {
            out.push(Output::LogLine(line));
        }
        if refusal == DialRefusal::Removed && self.removed_at.is_none() {
            self.removed_by_peers(out);
        }
    }

    /// Keeps the account of whom the transport talks to.
    pub(super) fn change_peers(&mut self, change: PeerChange, out: &mut Outputs) {
        match &change {
            PeerChange::Add { id, .. } => {
                self.peers.insert(*id);
            }
            PeerChange::Remove(id) => {
                self.peers.remove(id);
                self.active_since.remove(id);
            }
            PeerChange::Remote { .. } | PeerChange::Update { .. } => {}
        }
        out.push(Output::Peers(change));
    }

    /// A peer says that this member was removed: it stops at once.
    fn removed_by_peers(&mut self, out: &mut Outputs) {
        self.removed_lines(out);
        self.stop_removed(out);
    }

    pub(super) fn removed_lines(&self, out: &mut Outputs) {
        out.push(Output::LogLine(LogLine::new(Level::Warn, "server error").with("error", REMOVED)));
        self.log(Level::Warn, "data-dir used by this member must be removed", out);
    }

    /// Ends a removed member. Before it serves clients that is a failed start.
    pub(super) fn stop_removed(&mut self, out: &mut Outputs) {
        if self.is_ready {
            self.stopped = Some(Stop { exit_code: 0, reason: REMOVED.to_owned() });
            return;
        }
        let reason = "server is stopping";
        let line = LogLine::new(Level::Fatal, "listener failed").with("error", reason);
        out.push(Output::LogLine(line));
        self.stopped = Some(Stop { exit_code: 1, reason: reason.to_owned() });
    }

    pub(super) fn peer_active(&mut self, peer: MemberId, now: Now, out: &mut Outputs) {
        if self.active_since.insert(peer, now.monotonic).is_none() {
            out.push(Output::LogLine(
                LogLine::new(Level::Info, "peer became active").with("peer-id", peer.to_string()),
            ));
        }
        let FastForward::Until(until) = self.fast_forward else { return };
        if now.monotonic > until || !self.config.initial_election_tick_advance {
            self.fast_forward = FastForward::Done;
        } else if self.active_since.len() > 1 && self.consensus.leader().is_none() {
            self.fast_forward = FastForward::Done;
            let text = "initialized peer connections; fast-forwarding election ticks";
            let line = self.fast_forward_line(text, self.election_ticks() - 2);
            let active = self.active_since.len().to_string();
            out.push(Output::LogLine(line.with("active-remote-members", active)));
            self.consensus.fast_forward(self.election_ticks() - 2);
        }
    }

    /// Says by how much the first election comes sooner.
    pub(super) fn fast_forward_line(&self, text: &str, ticks: usize) -> LogLine {
        let tick_nanos = self.config.heartbeat_interval_ms as i64 * 1_000_000;
        let duration = |ticks: usize| quote::duration(ticks as i64 * tick_nanos);
        LogLine::new(Level::Info, text)
            .with("local-member-id", self.id().to_string())
            .with("forward-ticks", ticks.to_string())
            .with("forward-duration", duration(ticks))
            .with("election-ticks", self.election_ticks().to_string())
            .with("election-timeout", duration(self.election_ticks()))
    }

    /// Serves a call of a peer.
    pub(super) fn peer_call(&mut self, id: CallId, call: PeerCall, now: Now, out: &mut Outputs) {
        let answer = match call {
            PeerCall::Members => PeerAnswer::Members {
                cluster: self.cluster_id(),
                members: self.membership.members().cloned().collect(),
            },
            PeerCall::Version => PeerAnswer::Version {
                server: self.config.compat.server_version().to_owned(),
                cluster: self
                    .membership
                    .cluster_version()
                    .map_or_else(|| "not_decided".to_owned(), ToString::to_string),
            },
            PeerCall::DowngradeEnabled => {
                let reader = super::running::Reader::DowngradeEnabled(id);
                return self.register_read(reader, now, out);
            }
            PeerCall::Promote(member) => {
                let result = if self.consensus.is_leader() {
                    self.promote(member, Waiter::PeerPromote(id), now, out)
                } else {
                    Err(ApiError::NotLeader)
                };
                if let Err(error) = result {
                    self.promote_refused(id, error, out);
                }
                return;
            }
            PeerCall::LeaseKeepAlive(request) => {
                return self.peer_keep_alive(id, &request, now, out);
            }
            PeerCall::LeaseTimeToLive(request) => {
                return self.peer_time_to_live(id, request, now, out);
            }
            PeerCall::HashKv { cluster, revision } => {
                let is_foreign = cluster.is_some_and(|cluster| cluster != self.cluster_id());
                if is_foreign && !self.config.defect().is(Defect::HashNoClusterId) {
                    return refuse(id, 412, "cluster ID mismatch", out);
                }
                return self.start_work(Worker::PeerHashKv(id), Job::HashKv(revision), out);
            }
        };
        out.push(Output::PeerAnswer { id, result: Ok(answer) });
    }

    pub(super) fn answer_downgrade_enabled(&self, id: CallId, out: &mut Outputs) {
        let enabled = self.membership.downgrade().enabled;
        let result = Ok(PeerAnswer::DowngradeEnabled(enabled));
        out.push(Output::PeerAnswer { id, result });
    }

    pub(super) fn refuse_downgrade_enabled(&self, id: CallId, error: ApiError, out: &mut Outputs) {
        refuse(id, 500, &format!("failed linearized read: {error}"), out);
    }

    pub(super) fn answer_hash_kv(
        &self,
        id: CallId,
        result: Result<WorkResult, ApiError>,
        out: &mut Outputs,
    ) {
        match result {
            Ok(WorkResult::HashKv(mut response)) => {
                response.hash_revision = self.told_hash_revision(&response);
                let result = Ok(PeerAnswer::HashKv(response));
                out.push(Output::PeerAnswer { id, result });
            }
            Ok(_) => refuse(id, 500, "unexpected result", out),
            // The peer path answers without the API's prefix.
            Err(error) => refuse(id, 400, error.text().trim_start_matches("etcdserver: "), out),
        }
    }

    pub(super) fn promoted(&mut self, id: CallId, error: Option<ApiError>, out: &mut Outputs) {
        match error {
            Some(error) => self.promote_refused(id, error, out),
            None => {
                let members = self.membership.members().cloned().collect();
                out.push(Output::PeerAnswer { id, result: Ok(PeerAnswer::Promoted(members)) });
            }
        }
    }

    pub(super) fn promote_refused(&self, id: CallId, error: ApiError, out: &mut Outputs) {
        let status = match error {
            ApiError::MemberNotFound => 404,
            ApiError::Timeout
            | ApiError::TimeoutLeaderFailure
            | ApiError::TimeoutConnectionLost => 408,
            _ => 412,
        };
        let text = match error {
            ApiError::MemberNotFound => "membership: ID not found",
            other => other.text(),
        };
        refuse(id, status, text, out);
    }

    pub(super) fn peer_call_done(
        &mut self,
        id: CallId,
        result: Result<PeerAnswer, PeerCallError>,
        now: Now,
        out: &mut Outputs,
    ) {
        if let Some(request) = self.forwarded.remove(&id) {
            let result = self.promote_answer(result);
            return self.reply(request, result, out);
        }
        if self.version_answer(id, &result)
            || self.downgrade_answer(id, &result, now, out)
            || self.corruption_answer(id, &result, now, out)
        {
            return;
        }
        self.lease_answer(id, result, now, out);
    }

    fn promote_answer(
        &self,
        result: Result<PeerAnswer, PeerCallError>,
    ) -> Result<Response, ApiError> {
        match result {
            Ok(PeerAnswer::Promoted(members)) => {
                let members = members.iter().map(|member| pb::Member {
                    id: member.id.0,
                    name: member.name.clone(),
                    peer_ur_ls: member.peer_urls.clone(),
                    client_ur_ls: member.client_urls.clone(),
                    is_learner: member.is_learner,
                });
                Ok(Response::MemberPromote(pb::MemberPromoteResponse {
                    header: Some(self.header(0)),
                    members: members.collect(),
                }))
            }
            Err(PeerCallError::Refused { status: 404, .. }) => Err(ApiError::MemberNotFound),
            Err(PeerCallError::Refused { body, .. }) => {
                Err(ApiError::from_text(&body).unwrap_or(ApiError::Timeout))
            }
            _ => Err(ApiError::Timeout),
        }
    }
}

/// Answers a call with an HTTP status and a text.
pub(super) fn refuse(id: CallId, status: u16, text: &str, out: &mut Outputs) {
    let result = Err(PeerCallError::Refused { status, body: text.to_owned() });
    out.push(Output::PeerAnswer { id, result });
}
