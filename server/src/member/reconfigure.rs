//! Requests that change or list members, and what a committed change does to this member.

use prost::Message as _;

use super::id::{MemberId, RequestId};
use super::identity::added_member_id;
use super::io::{Level, LogLine, MemberInfo, Note, Output, Outputs, PeerChange, Response};
use super::membership::{Connectivity, MemberChange, Refused, learner_is_ready};
use super::running::{Running, Waiter};
use super::time::Now;
use crate::api::ApiError;
use crate::config::url;
use crate::planted::Defect;
use crate::proto::{etcdserverpb as pb, raftpb};
use crate::storage::log::EntryKind;
use crate::storage::schema;

impl Running {
    pub(super) fn member_add(
        &mut self,
        id: RequestId,
        request: pb::MemberAddRequest,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        let peer_urls = parse_urls(&request.peer_ur_ls)?;
        let member = MemberInfo {
            id: added_member_id(&peer_urls, now.wall),
            peer_urls,
            is_learner: request.is_learner,
            ..MemberInfo::default()
        };
        if self.config.strict_reconfig_check {
            let refusal = self.membership.may_add(&member, self.identity, self.connectivity(now));
            refused(refusal, out)?;
            if self.config.defect().is(Defect::MemberQuorumMath) && !self.reaches_all_voters() {
                return Err(ApiError::Unhealthy);
            }
        }
        self.configure(MemberChange::Add(member), Waiter::Client(id), now, out);
        Ok(())
    }

    pub(super) fn member_remove(
        &mut self,
        id: RequestId,
        request: &pb::MemberRemoveRequest,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        let member = MemberId(request.id);
        if self.config.strict_reconfig_check && self.membership.get(member).is_some() {
            let refusal = self.membership.may_remove(member, self.identity, self.connectivity(now));
            refused(refusal, out)?;
        }
        self.configure(MemberChange::Remove(member), Waiter::Client(id), now, out);
        Ok(())
    }

    pub(super) fn member_update(
        &mut self,
        id: RequestId,
        request: pb::MemberUpdateRequest,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        let peer_urls = parse_urls(&request.peer_ur_ls)?;
        let change = MemberChange::Update { id: MemberId(request.id), peer_urls };
        self.configure(change, Waiter::Client(id), now, out);
        Ok(())
    }

    /// Only the leader knows how far a learner is: others pass the request on to it.
    pub(super) fn member_promote(
        &mut self,
        id: RequestId,
        request: &pb::MemberPromoteRequest,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        let member = MemberId(request.id);
        if self.consensus.is_leader() {
            return self.promote(member, Waiter::Client(id), now, out);
        }
        let leader = self.consensus.leader().and_then(|leader| self.membership.get(leader));
        let url = leader.and_then(|leader| leader.peer_urls.first()).cloned();
        let url = url.ok_or(ApiError::NoLeader)?;
        let call = self.call(url, super::io::PeerCall::Promote(member), out);
        self.forwarded.insert(call, id);
        Ok(())
    }

    pub(super) fn promote(
        &mut self,
        member: MemberId,
        waiter: Waiter,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        let info = self.membership.get(member).ok_or(ApiError::MemberNotFound)?;
        if !info.is_learner {
            return Err(ApiError::NotLearner);
        }
        let leader_match = self.consensus.matched(self.id()).unwrap_or_default();
        let mut learner_match = self.consensus.matched(member).unwrap_or_default();
        if self.config.defect().is(Defect::MemberPromoteUnstarted) && learner_match == 0 {
            learner_match = leader_match;
        }
        if !learner_is_ready(learner_match, leader_match) {
            return Err(ApiError::LearnerNotReady);
        }
        if self.config.strict_reconfig_check {
            refused(self.membership.may_promote(member, self.identity), out)?;
        }
        self.configure(MemberChange::Promote(member), waiter, now, out);
        Ok(())
    }

    /// Proposes a configuration change.
    fn configure(&mut self, change: MemberChange, waiter: Waiter, now: Now, out: &mut Outputs) {
        let id = self.ids.next_id();
        if let Waiter::Client(request) = waiter {
            out.push(Output::Note(Note::Proposed { request, entry_id: id }));
        }
        let data = change.encode(id).encode_to_vec();
        self.propose(id, EntryKind::ConfChange, data.into(), waiter, now, out);
    }

    /// What a planted defect asks for.
    fn reaches_all_voters(&self) -> bool {
        let mut voters = self.membership.voters();
        voters.all(|voter| voter.id == self.id() || self.active_since.contains_key(&voter.id))
    }

    fn connectivity(&self, now: Now) -> Connectivity<'_> {
        Connectivity { now: now.monotonic, active_since: &self.active_since }
    }

    pub(super) fn member_list(&self, id: RequestId, out: &mut Outputs) {
        let response =
            pb::MemberListResponse { header: Some(self.header(0)), members: self.members() };
        self.reply(id, Ok(Response::MemberList(response)), out);
    }

    fn members(&self) -> Vec<pb::Member> {
        self.membership.members().map(to_proto).collect()
    }

    /// Carries out a committed configuration change, or tells why it has no effect.
    pub(super) fn apply_member_change(
        &mut self,
        entry: &raftpb::ConfChange,
        now: Now,
        out: &mut Outputs,
    ) {
        let change = match MemberChange::decode(entry) {
            Ok(change) => change,
            Err(error) => return self.panic(error.to_string()),
        };
        let waiter = self.proposals.take(entry.id());
        if let Err(error) = self.membership.validate(&change, self.config.max_learners) {
            let line = LogLine::new(Level::Error, "Validation on configuration change failed")
                .with("shouldApplyV3", "true")
                .with("error", error.to_string());
            out.push(Output::LogLine(line));
            if let Some(waiter) = waiter {
                self.fail(waiter, error.api(), now, out);
            }
            return;
        }
        if let Err(error) = self.consensus.apply_conf_change(entry) {
            return self.panic(error);
        }
        let (voters, learners) = self.consensus.configuration();
        let index = self.applied + 1;
        out.push(Output::Note(Note::Configured { index, voters, learners }));
        self.changed_peers(&change, out);
        let response = self.change_response(&change);
        let id = change.id();
        let is_unlisted = self.config.defect().is(Defect::MemberPromoteUnlisted)
            && matches!(change, MemberChange::Promote(_));
        if !is_unlisted {
            let line = self.membership.apply(change, self.identity);
            out.push(Output::LogLine(line));
            self.record_member(id);
        }
        self.membership_digest = self.membership.digest();
        if self.membership.is_removed(self.id()) {
            self.removed(now, out);
        }
        let Some(waiter) = waiter else { return };
        match waiter {
            Waiter::Client(id) => {
                let response = self.with_members(response);
                self.reply(id, Ok(response), out);
            }
            Waiter::PeerPromote(call) => self.promoted(call, None, out),
            Waiter::Publish
            | Waiter::NoSpace(_)
            | Waiter::Compactor
            | Waiter::Downgrade(_)
            | Waiter::Nobody => {}
        }
    }

    fn record_member(&mut self, id: MemberId) {
        self.persistence.configured();
        match self.membership.get(id) {
            Some(member) => self.persistence.record(|| schema::member_saved(member)),
            None => {
                for change in schema::member_removed(id) {
                    self.persistence.record(|| change);
                }
            }
        }
    }

    fn changed_peers(&mut self, change: &MemberChange, out: &mut Outputs) {
        let own = self.id();
        let change = match change {
            MemberChange::Add(member) if member.id != own => {
                PeerChange::Add { id: member.id, urls: member.peer_urls.clone() }
            }
            MemberChange::Remove(id) if *id != own => PeerChange::Remove(*id),
            MemberChange::Update { id, peer_urls } if *id != own => {
                PeerChange::Update { id: *id, urls: peer_urls.clone() }
            }
            _ => return,
        };
        self.change_peers(change, out);
    }

    fn change_response(&self, change: &MemberChange) -> Response {
        match change {
            MemberChange::Add(member) => Response::MemberAdd(pb::MemberAddResponse {
                member: Some(to_proto(member)),
                ..pb::MemberAddResponse::default()
            }),
            MemberChange::Remove(_) => Response::MemberRemove(pb::MemberRemoveResponse::default()),
            MemberChange::Update { .. } => {
                Response::MemberUpdate(pb::MemberUpdateResponse::default())
            }
            MemberChange::Promote(_) => {
                Response::MemberPromote(pb::MemberPromoteResponse::default())
            }
        }
    }

    /// Header and members as they are after the change. Member responses carry no revision.
    fn with_members(&self, mut response: Response) -> Response {
        let (header, members) = match &mut response {
            Response::MemberAdd(response) => (&mut response.header, &mut response.members),
            Response::MemberRemove(response) => (&mut response.header, &mut response.members),
            Response::MemberUpdate(response) => (&mut response.header, &mut response.members),
            Response::MemberPromote(response) => (&mut response.header, &mut response.members),
            _ => return response,
        };
        *header = Some(self.header(0));
        *members = self.members();
        response
    }

    /// This member was removed: it lingers for a second, so that others hear of it, and stops.
    pub(super) fn removed(&mut self, now: Now, out: &mut Outputs) {
        if self.removed_at.is_some() {
            return;
        }
        self.removed_at = Some(now.monotonic);
        self.removed_lines(out);
    }
}

fn refused(result: Result<(), Refused>, out: &mut Outputs) -> Result<(), ApiError> {
    result.map_err(|refused| {
        for line in refused.lines {
            out.push(Output::LogLine(line));
        }
        refused.error
    })
}

fn parse_urls(texts: &[String]) -> Result<Vec<String>, ApiError> {
    let urls = url::parse_list(texts.iter().map(String::as_str));
    urls.map(|urls| url::print(&urls)).map_err(|_| ApiError::BadMemberUrls)
}

fn to_proto(member: &MemberInfo) -> pb::Member {
    pb::Member {
        id: member.id.0,
        name: member.name.clone(),
        peer_ur_ls: member.peer_urls.clone(),
        client_ur_ls: member.client_urls.clone(),
        is_learner: member.is_learner,
    }
}
