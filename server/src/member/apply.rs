//! Applying committed entries: the only place where replicated state changes.
//!
//! Every member applies the same entries in the same order with the same effect; only the member
//! that proposed one has somebody to answer (contract-cluster.md, section 4.9).

use std::time::Duration;

use prost::Message as _;
use raft::eraftpb::{Entry, EntryType};

use super::consensus::to_log_entry;
use super::entry_version::is_known;
use super::io::{Level, Note, Output, Outputs, Response, Stop};
use super::running::{Running, Waiter};
use super::time::Now;
use super::version::Version;
use crate::api::{ApiError, check};
use crate::config::CompatVersion;
use crate::planted::Defect;
use crate::proto::etcdserverpb as pb;
use crate::proto::{raftpb, v2pb};
use crate::storage::schema;

pub(super) type Applied = Result<Response, ApiError>;

impl Running {
    /// Applies one entry.
    pub(super) fn apply(&mut self, entry: &Entry, now: Now, out: &mut Outputs) {
        assert_eq!(entry.index, self.applied + 1, "unexpected committed entry index");
        if entry.index <= self.persistence.consistent_index() {
            return self.apply_again(entry, now, out);
        }
        self.persistence.begin_entry();
        match entry.entry_type {
            EntryType::EntryConfChange => self.apply_conf_change(entry, now, out),
            EntryType::EntryNormal if entry.data.is_empty() => self.apply_new_term(now, out),
            EntryType::EntryNormal => self.apply_normal(entry, now, out),
            EntryType::EntryConfChangeV2 => self.panic(
                "unknown entry type; must be either EntryNormal or EntryConfChange".to_owned(),
            ),
        }
        self.applied = entry.index;
        self.applied_term = entry.term;
        self.record_keys();
        self.persistence.advance(entry.index, entry.term);
        out.push(Output::Note(Note::Applied {
            entry: to_log_entry(entry),
            revision: self.store.revision(),
            digest: self.digest(),
        }));
        self.hub.notify(&self.store, now.monotonic, out);
    }

    /// The database has the effects of this entry already. Only a member that finds its own removal
    /// has something to do.
    fn apply_again(&mut self, entry: &Entry, now: Now, out: &mut Outputs) {
        self.applied = entry.index;
        self.applied_term = entry.term;
        if entry.entry_type == EntryType::EntryConfChange
            && let Ok(change) = raftpb::ConfChange::decode(entry.data.clone())
            && change.r#type() == raftpb::ConfChangeType::ConfChangeRemoveNode
            && change.node_id() == self.id().0
            && self.membership.is_removed(self.id())
        {
            self.removed(now, out);
        }
    }

    /// Digest of everything replicated.
    pub(super) fn digest(&self) -> u64 {
        let parts = [
            self.store.digest(),
            self.lessor.digest(),
            self.membership_digest,
            self.alarms.digest(),
        ];
        parts.iter().fold(0, |digest, part| digest.rotate_left(17) ^ part)
    }

    /// Stops as etcd does when it panics.
    pub(super) fn panic(&mut self, reason: String) {
        self.stopped = Some(Stop { exit_code: 2, reason });
    }

    /// The first entry of a term carries nothing; it says that the leader's log is committed.
    fn apply_new_term(&mut self, now: Now, out: &mut Outputs) {
        let action = self.reads.first_commit_in_term(now.monotonic);
        if action.is_some() {
            let text = "first commit in current term: resending ReadIndex request";
            self.log(Level::Info, text, out);
        }
        self.read_actions(action, now, out);
        if self.consensus.is_leader() {
            let extend = Duration::from_millis(self.config.election_timeout_ms);
            self.lessor.promote(now.monotonic, extend);
            self.versions.check_now();
        }
    }

    fn apply_normal(&mut self, entry: &Entry, now: Now, out: &mut Outputs) {
        let mut request = match pb::InternalRaftRequest::decode(entry.data.clone()) {
            Ok(request) if request.v2.is_none() => request,
            _ => return self.apply_v2(entry, now, out),
        };
        let header_id = request.header.as_ref().map_or(0, |header| header.id);
        let id = if request.id != 0 { request.id } else { header_id };
        if id == 0 {
            return self.panic("applyEntryNormal, could not find a header".to_owned());
        }
        // 3.5 answers nobody who asks for a downgrade: who did waits until the time is up.
        let is_unanswered =
            self.config.compat == CompatVersion::V3_5 && request.downgrade_info_set.is_some();
        let waiter = if is_unanswered { None } else { self.proposals.take(id) };
        if self.config.defect().is(Defect::ApplySkipRangeRemote)
            && waiter.is_none()
            && let Some(txn) = &mut request.txn
        {
            txn.success.retain(is_effective);
            txn.failure.retain(is_effective);
        }
        let result = self.apply_request(request, now, out);
        if self.has_just_exceeded(&result, entry.index) {
            self.quota_exceeded(waiter, now, out);
        } else if let Some(waiter) = waiter {
            self.finish(waiter, result, now, out);
        }
    }

    /// The requests that 3.4 and 3.5 still write in the form of their old store.
    fn apply_v2(&mut self, entry: &Entry, now: Now, out: &mut Outputs) {
        let request = match v2pb::Request::decode(entry.data.clone()) {
            Ok(request) => request,
            Err(error) => return self.panic(format!("unmarshal should never fail ({error})")),
        };
        let waiter = self.proposals.take(request.id());
        if let Err(stop) = self.apply_v2_request(&request, out) {
            self.stopped = Some(stop);
            return;
        }
        if let Some(waiter) = waiter {
            self.finish(waiter, Err(ApiError::UnknownMethod), now, out);
        }
    }

    fn finish(&mut self, waiter: Waiter, result: Applied, now: Now, out: &mut Outputs) {
        match waiter {
            Waiter::Client(id) => {
                // A physical compaction is answered when the old versions are gone.
                if let Ok(Response::Compact(response)) = &result
                    && self.store.compacting().is_some()
                    && self.physical == self.applied + 1
                {
                    self.compactions.push((id, Response::Compact(*response)));
                    return;
                }
                self.reply(id, result, out);
            }
            Waiter::PeerPromote(call) => self.promoted(call, result.err(), out),
            Waiter::Publish => self.published(now, out),
            Waiter::NoSpace(client) => self.no_space(client, out),
            Waiter::Compactor => self.auto_compacted(result, now, out),
            Waiter::Downgrade(asked) => self.downgrade_set(&asked, out),
            Waiter::Nobody => {}
        }
    }

    fn apply_request(
        &mut self,
        request: pb::InternalRaftRequest,
        now: Now,
        out: &mut Outputs,
    ) -> Applied {
        if let Some(set) = request.cluster_version_set {
            return self.apply_cluster_version(&set.ver, out);
        }
        if let Some(set) = request.cluster_member_attr_set {
            let attributes = set.member_attributes.unwrap_or_default();
            return self.apply_attributes(
                super::id::MemberId(set.member_id),
                attributes.name,
                attributes.client_urls,
                out,
            );
        }
        if let Some(set) = request.downgrade_info_set {
            let downgrade = super::membership::Downgrade { enabled: set.enabled, target: set.ver };
            self.persistence.record(|| schema::downgrade(&downgrade));
            if downgrade.enabled && self.config.compat == CompatVersion::V3_5 {
                self.ready_to_downgrade(&downgrade.target, out);
            }
            self.membership.set_downgrade(downgrade);
            self.membership_digest = self.membership.digest();
            return Ok(Response::Downgrade(pb::DowngradeResponse::default()));
        }
        if let Some(alarm) = request.alarm {
            return Ok(Response::Alarm(self.apply_alarm(&alarm, out)));
        }
        self.alarms_allow(&request)?;
        let has_space = self.has_space(super::quota::entry_cost(&request));
        let result = self.apply_store(request, now, out);
        // The effect stays: members have quotas and sizes of their own.
        if has_space { result } else { result.and(Err(ApiError::NoSpace)) }
    }

    fn apply_store(
        &mut self,
        request: pb::InternalRaftRequest,
        now: Now,
        out: &mut Outputs,
    ) -> Applied {
        if !is_known(&request, self.config.compat) {
            self.panic("not implemented apply".to_owned());
            return Err(ApiError::UnknownMethod);
        }
        let mut response = if let Some(put) = request.put {
            self.store.put(&put, &mut self.lessor).map(Response::Put)
        } else if let Some(delete) = request.delete_range {
            self.store.delete_range(&delete, &mut self.lessor).map(Response::DeleteRange)
        } else if let Some(txn) = request.txn {
            self.store.txn(&txn, &mut self.lessor).map(Response::Txn)
        } else if let Some(compaction) = request.compaction {
            let response = self.store.compact(compaction.revision)?;
            self.persistence.hurry();
            if compaction.physical {
                self.physical = self.applied + 1;
            }
            Ok(Response::Compact(response))
        } else if let Some(grant) = request.lease_grant {
            let ttl = self.lessor.grant(grant.id, grant.ttl, now.monotonic)?;
            self.persistence.record(|| schema::lease_granted(grant.id, ttl, 0));
            let response = pb::LeaseGrantResponse {
                header: Some(self.header(self.store.revision())),
                id: grant.id,
                ttl,
                error: String::new(),
            };
            Ok(Response::LeaseGrant(response))
        } else if let Some(revoke) = request.lease_revoke {
            let keys = self.lessor.revoke(revoke.id)?;
            self.store.delete_leased(&keys);
            self.persistence.record(|| schema::lease_revoked(revoke.id));
            let header = Some(self.header(self.store.revision()));
            Ok(Response::LeaseRevoke(pb::LeaseRevokeResponse { header }))
        } else if let Some(checkpoint) = request.lease_checkpoint {
            for checkpoint in checkpoint.checkpoints {
                let (id, remaining) = (checkpoint.id, checkpoint.remaining_ttl);
                // A checkpoint of a lease that is gone has nothing to say.
                self.lessor.set_checkpoint(id, remaining, now.monotonic);
                if let Some((ttl, remaining)) = self.lessor.stored(id) {
                    self.persistence.record(|| schema::lease_granted(id, ttl, remaining));
                }
            }
            return Err(ApiError::UnknownMethod);
        } else {
            // Reads and auth requests in the log have no effect here.
            Err(ApiError::UnknownMethod)
        };
        out.spend(self.store.take_units());
        if let Ok(response) = &mut response {
            let header = match response {
                Response::Put(response) => &mut response.header,
                Response::DeleteRange(response) => &mut response.header,
                Response::Txn(response) => &mut response.header,
                Response::Compact(response) => &mut response.header,
                _ => return Ok(response.clone()),
            };
            let mut full = header.take();
            self.complete_header(&mut full);
            *header = full;
        }
        response
    }

    /// What active alarms forbid, alike on every member.
    fn alarms_allow(&self, request: &pb::InternalRaftRequest) -> Result<(), ApiError> {
        if self.alarms.is_active(pb::AlarmType::Corrupt) {
            let is_refused = request.put.is_some()
                || request.delete_range.is_some()
                || request.txn.as_ref().is_some_and(|txn| !check::is_read_only(txn))
                || request.compaction.is_some()
                || request.lease_grant.is_some()
                || request.lease_revoke.is_some();
            if is_refused {
                return Err(ApiError::Corrupt);
            }
        }
        if self.alarms.is_active(pb::AlarmType::Nospace) {
            let is_refused = request.put.is_some()
                || request.lease_grant.is_some()
                || request.txn.as_ref().is_some_and(|txn| check::txn_cost(txn) > 0);
            if is_refused {
                return Err(ApiError::NoSpace);
            }
        }
        Ok(())
    }

    /// A decision on the cluster's version.
    pub(super) fn apply_cluster_version(&mut self, text: &str, out: &mut Outputs) -> Applied {
        let Ok(version) = Version::parse(text) else {
            self.panic(format!("{text} is not in dotted-tri format"));
            return Err(ApiError::UnknownMethod);
        };
        let before = self.membership.cluster_version().cloned();
        let set =
            self.membership.set_cluster_version(version.clone(), self.identity, self.config.compat);
        match set {
            Ok(line) => {
                out.push(Output::LogLine(line));
                if let Some(before) = before.filter(|before| version < *before) {
                    self.force_snapshot(&before, &version, out);
                }
            }
            Err(stop) => self.stopped = Some(stop),
        }
        self.membership_digest = self.membership.digest();
        if let Some(version) = self.membership.cluster_version() {
            self.persistence.record(|| schema::cluster_version(version));
            self.upkeep.storage.look_now();
        }
        Ok(Response::Downgrade(pb::DowngradeResponse::default()))
    }

    /// A member told its name and client URLs.
    pub(super) fn apply_attributes(
        &mut self,
        id: super::id::MemberId,
        name: String,
        client_urls: Vec<String>,
        out: &mut Outputs,
    ) -> Applied {
        match self.membership.set_attributes(id, name, client_urls, self.identity) {
            Ok(line) => {
                if let Some(line) = line {
                    out.push(Output::LogLine(line));
                }
            }
            Err(stop) => self.stopped = Some(stop),
        }
        self.membership_digest = self.membership.digest();
        if let Some(member) = self.membership.get(id) {
            self.persistence.record(|| schema::member_saved(member));
        }
        Ok(Response::Downgrade(pb::DowngradeResponse::default()))
    }

    fn apply_v2_request(&mut self, request: &v2pb::Request, out: &mut Outputs) -> Result<(), Stop> {
        let path = request.path();
        let attributes = path
            .strip_prefix("/0/members/")
            .and_then(|rest| rest.strip_suffix("/attributes"))
            .and_then(|hex| u64::from_str_radix(hex, 16).ok());
        match (request.method(), attributes) {
            ("PUT", Some(id)) => {
                let parsed: Result<V2Attributes, _> = serde_json::from_str(request.val());
                let attributes = parsed.map_err(|error| Stop {
                    exit_code: 2,
                    reason: format!("failed to unmarshal: {error}"),
                })?;
                let id = super::id::MemberId(id);
                let (name, urls) = (attributes.name, attributes.client_urls);
                let _ = self.apply_attributes(id, name, urls, out);
                Ok(())
            }
            ("PUT", None) if path == "/0/version" => {
                let _ = self.apply_cluster_version(request.val(), out);
                Ok(())
            }
            ("SYNC" | "QGET" | "DELETE" | "POST" | "PUT", _) => Ok(()),
            (method, _) => Err(Stop {
                exit_code: 2,
                reason: format!("unmarshal should never fail (unknown method {method:?})"),
            }),
        }
    }

    fn apply_conf_change(&mut self, entry: &Entry, now: Now, out: &mut Outputs) {
        match raftpb::ConfChange::decode(entry.data.clone()) {
            Ok(change) => self.apply_member_change(&change, now, out),
            Err(error) => self.panic(format!("unmarshal should never fail ({error})")),
        }
    }
}

/// Whether an operation of a transaction can change anything.
fn is_effective(op: &pb::RequestOp) -> bool {
    !matches!(op.request, Some(pb::request_op::Request::RequestRange(_)))
}

#[derive(serde::Deserialize)]
struct V2Attributes {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "clientURLs")]
    client_urls: Vec<String>,
}
