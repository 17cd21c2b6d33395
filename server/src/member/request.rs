//! Requests of the client API: which path each takes, and how reads are served.

use prost::Message as _;

use super::id::RequestId;
use super::io::{Output, Outputs, Request, Response};
use super::running::{Reader, Running, Waiter, Worker};
use super::time::Now;
use super::work::{Job, Work, WorkDone, WorkId, WorkResult};
use crate::api::{ApiError, check};
use crate::config::CompatVersion;
use crate::planted::Defect;
use crate::proto::etcdserverpb as pb;
use crate::storage::database::DatabaseTask;
use crate::storage::log::EntryKind;

/// Committed entries may be this far ahead of applied ones before new proposals are refused.
const APPLY_GAP_MAX: u64 = 5_000;

impl Running {
    /// Sends a request on its way; the reply follows now or later.
    pub(super) fn dispatch(
        &mut self,
        id: RequestId,
        request: Request,
        now: Now,
        out: &mut Outputs,
    ) {
        if self.refuse_for_space(id, &request, now, out) {
            return;
        }
        let result = self.route(id, request, now, out);
        if let Err(error) = result {
            self.reply(id, Err(error), out);
        }
    }

    fn route(
        &mut self,
        id: RequestId,
        request: Request,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        let internal = pb::InternalRaftRequest::default();
        match request {
            Request::Range(range) => {
                check::range(&range)?;
                let reader = Reader::Range(id, range);
                self.read(reader, now, out);
            }
            Request::Put(put) => {
                check::put(&put)?;
                let entry = pb::InternalRaftRequest { put: Some(put), ..internal };
                self.write(id, entry, now, out)?;
            }
            Request::DeleteRange(delete) => {
                check::delete_range(&delete)?;
                let entry = pb::InternalRaftRequest { delete_range: Some(delete), ..internal };
                self.write(id, entry, now, out)?;
            }
            Request::Txn(txn) => {
                check::txn(&txn, self.config.max_txn_ops)?;
                if check::is_read_only(&txn) {
                    self.read(Reader::Txn(id, txn), now, out);
                } else {
                    let entry = pb::InternalRaftRequest { txn: Some(txn), ..internal };
                    self.write(id, entry, now, out)?;
                }
            }
            Request::Compact(compaction) => {
                let entry = pb::InternalRaftRequest { compaction: Some(compaction), ..internal };
                self.write(id, entry, now, out)?;
            }
            Request::LeaseGrant(mut grant) => {
                check::lease_grant(&grant)?;
                if grant.id == 0 {
                    grant.id = self.ids.next_lease_id();
                }
                let entry = pb::InternalRaftRequest { lease_grant: Some(grant), ..internal };
                self.write(id, entry, now, out)?;
            }
            Request::LeaseRevoke(revoke) => {
                let entry = pb::InternalRaftRequest { lease_revoke: Some(revoke), ..internal };
                self.write(id, entry, now, out)?;
            }
            Request::Alarm(alarm) => self.alarm(id, alarm, now, out)?,
            Request::Downgrade(request) => self.downgrade(id, &request, now, out)?,
            Request::Auth(_)
            | Request::Lock(_)
            | Request::Unlock(_)
            | Request::Campaign(_)
            | Request::Proclaim(_)
            | Request::Leader(_)
            | Request::Resign(_) => return Err(ApiError::NotCapable),
            other => self.route_cluster(id, other, now, out)?,
        }
        Ok(())
    }

    fn route_cluster(
        &mut self,
        id: RequestId,
        request: Request,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        match request {
            Request::LeaseTimeToLive(request) => self.lease_time_to_live(id, request, now, out),
            Request::LeaseLeases(_) => {
                let leases = self.lessor.leases().into_iter().map(|id| pb::LeaseStatus { id });
                let response = pb::LeaseLeasesResponse {
                    header: Some(self.header(self.store.revision())),
                    leases: leases.collect(),
                };
                self.reply(id, Ok(Response::LeaseLeases(response)), out);
            }
            Request::MemberAdd(request) => self.member_add(id, request, now, out)?,
            Request::MemberRemove(request) => self.member_remove(id, &request, now, out)?,
            Request::MemberUpdate(request) => self.member_update(id, request, now, out)?,
            Request::MemberPromote(request) => self.member_promote(id, &request, now, out)?,
            Request::MemberList(request) if request.linearizable => {
                self.register_read(Reader::MemberList(id), now, out);
            }
            Request::MemberList(_) => self.member_list(id, out),
            Request::Status(_) => {
                let status = self.status();
                self.reply(id, Ok(Response::Status(Box::new(status))), out);
            }
            Request::Defragment(_) if self.persistence.keeps() => {
                self.start_task(id, DatabaseTask::Defragment, out);
            }
            Request::Defragment(_) => {
                self.store.defragment();
                self.reply(id, Ok(Response::Defragment(pb::DefragmentResponse::default())), out);
            }
            Request::Hash(_) if self.persistence.keeps() => {
                self.start_task(id, DatabaseTask::Hash, out);
            }
            Request::Hash(_) => self.start_work(Worker::Client(id), Job::Hash, out),
            Request::HashKv(request) => {
                self.start_work(Worker::Client(id), Job::HashKv(request.revision), out);
            }
            Request::MoveLeader(request) => self.move_leader(id, request.target_id, now, out)?,
            _ => return Err(ApiError::UnknownMethod),
        }
        Ok(())
    }

    /// Whether new proposals are refused until more is applied.
    pub(super) fn has_apply_gap(&self) -> bool {
        let is_planted = self.config.defect().is(Defect::RaftNoBacklogLimit);
        self.consensus.commit() > self.applied + APPLY_GAP_MAX && !is_planted
    }

    /// Proposes a write of a client.
    pub(super) fn write(
        &mut self,
        request: RequestId,
        mut entry: pb::InternalRaftRequest,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        if self.has_apply_gap() {
            return Err(ApiError::TooManyRequests);
        }
        let id = self.ids.next_id();
        entry.header = Some(pb::RequestHeader { id, ..pb::RequestHeader::default() });
        let data = entry.encode_to_vec();
        if data.len() > self.config.max_request_bytes {
            return Err(ApiError::RequestTooLarge);
        }
        out.push(Output::Note(super::io::Note::Proposed { request, entry_id: id }));
        let waiter = Waiter::Client(request);
        self.propose(id, EntryKind::Normal, data.into(), waiter, now, out);
        Ok(())
    }

    fn alarm(
        &mut self,
        id: RequestId,
        alarm: pb::AlarmRequest,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        if self.config.defect().is(Defect::WalCiAhead) && self.consensus.is_leader() {
            let view = self.consensus.view();
            self.persistence.run_ahead((view.last_index + 1, view.term));
            self.write_changes(out);
        }
        let entry =
            pb::InternalRaftRequest { alarm: Some(alarm), ..pb::InternalRaftRequest::default() };
        self.write(id, entry, now, out)
    }

    /// Serves a serializable read at once, and registers any other.
    fn read(&mut self, reader: Reader, now: Now, out: &mut Outputs) {
        let is_serializable = match &reader {
            Reader::Range(_, range) => range.serializable,
            Reader::Txn(_, txn) => check::is_serializable(txn),
            _ => false,
        };
        let is_planted = self.config.defect().is(Defect::ReadLocal) && self.consensus.is_leader();
        if is_serializable || is_planted {
            self.serve_read(reader, now, out);
        } else {
            self.register_read(reader, now, out);
        }
    }

    pub(super) fn register_read(&mut self, reader: Reader, now: Now, out: &mut Outputs) {
        let action = self.reads.register(reader, now.monotonic);
        self.read_actions(action, now, out);
    }

    /// Answers a read from the present state.
    pub(super) fn serve_read(&mut self, reader: Reader, now: Now, out: &mut Outputs) {
        match reader {
            Reader::Range(id, range) if range.range_end.is_empty() => {
                let result = self.store.range(&range).map(|mut response| {
                    response.header = Some(self.header(self.store.revision()));
                    Response::Range(response)
                });
                out.spend(1);
                self.reply(id, result, out);
            }
            Reader::Range(id, range) => {
                self.start_work(Worker::Client(id), Job::Range(range), out);
            }
            Reader::Txn(id, txn) => {
                let result = self.store.read_txn(&txn).map(|mut response| {
                    response.header = Some(self.header(self.store.revision()));
                    Response::Txn(response)
                });
                self.reply(id, result, out);
            }
            Reader::MemberList(id) => self.member_list(id, out),
            Reader::DowngradeEnabled(call) => self.answer_downgrade_enabled(call, out),
            Reader::Downgrade(asked) => self.downgrade_confirmed(asked, now, out),
            Reader::LeaseTask(task) => self.lease_confirmed(task, now, out),
            Reader::LeaseScan => self.lease_scan(now, out),
            Reader::CorruptionCheck => self.check_confirmed(out),
        }
    }

    pub(super) fn fail_read(&mut self, reader: Reader, error: ApiError, out: &mut Outputs) {
        match reader {
            Reader::Range(id, _) | Reader::Txn(id, _) | Reader::MemberList(id) => {
                self.reply(id, Err(error), out);
            }
            Reader::DowngradeEnabled(call) => self.refuse_downgrade_enabled(call, error, out),
            Reader::Downgrade(asked) => self.downgrade_refused(asked, error, out),
            Reader::LeaseTask(task) => self.lease_unconfirmed(task),
            // The next scan asks again.
            Reader::LeaseScan => self.leases.scan_is_confirming = false,
            Reader::CorruptionCheck => self.check_failed(error, out),
        }
    }

    pub(super) fn start_work(&mut self, worker: Worker, job: Job, out: &mut Outputs) {
        let id = WorkId(self.next_work);
        self.next_work += 1;
        self.work.insert(id, worker);
        out.push(Output::Work(Box::new(Work { id, view: self.store.view(), job })));
    }

    pub(super) fn work_done(&mut self, done: WorkDone, now: Now, out: &mut Outputs) {
        let Some(worker) = self.work.remove(&done.id) else { return };
        let id = match worker {
            Worker::PeerHashKv(call) => return self.answer_hash_kv(call, done.result, out),
            Worker::CorruptionCheck => return self.own_hash(done.result, now, out),
            Worker::Client(id) => id,
        };
        let result = done.result.map(|result| match result {
            WorkResult::Range(mut response) => {
                self.complete_header(&mut response.header);
                Response::Range(response)
            }
            WorkResult::HashKv(mut response) => {
                self.complete_header(&mut response.header);
                response.hash_revision = self.told_hash_revision(&response);
                Response::HashKv(response)
            }
            WorkResult::Hash(hash) => Response::Hash(pb::HashResponse {
                header: Some(self.header(self.store.revision())),
                hash,
            }),
        });
        self.reply(id, result, out);
    }

    /// Before 3.6 an answer does not say which revision was hashed.
    pub(super) fn told_hash_revision(&self, response: &pb::HashKvResponse) -> i64 {
        if self.config.compat == CompatVersion::V3_5 { 0 } else { response.hash_revision }
    }

    /// Fills in what a response that came from the store cannot know: everything but the revision.
    pub(super) fn complete_header(&self, header: &mut Option<pb::ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        *header = Some(self.header(revision));
    }

    fn downgrade_info(&self) -> pb::DowngradeInfo {
        let super::membership::Downgrade { enabled, target } = self.membership.downgrade().clone();
        pb::DowngradeInfo { enabled, target_version: target }
    }

    fn status(&self) -> pb::StatusResponse {
        let compat = self.config.compat;
        let mut errors = Vec::new();
        if self.consensus.leader().is_none() {
            errors.push(ApiError::NoLeader.text().to_owned());
        }
        for alarm in self.alarms.all() {
            let name = alarm.alarm().as_str_name();
            let end = if compat >= CompatVersion::V3_7 { "" } else { " " };
            errors.push(format!("memberID:{} alarm:{name}{end}", alarm.member_id));
        }
        let is_36 = compat >= CompatVersion::V3_6;
        let quota = super::quota::limit(&self.config).unwrap_or_default();
        let size = self.database_size();
        let view = self.consensus.view();
        pb::StatusResponse {
            header: Some(self.header(self.store.revision())),
            version: compat.server_version().to_owned(),
            leader: view.leader.0,
            raft_index: view.commit,
            raft_term: view.term,
            raft_applied_index: self.applied,
            errors,
            is_learner: self.is_learner(),
            storage_version: self
                .storage_version()
                .filter(|_| is_36)
                .map_or_else(String::new, |version| version.to_string()),
            db_size_quota: if is_36 { quota as i64 } else { 0 },
            downgrade_info: is_36.then(|| self.downgrade_info()),
            db_size: size.total_bytes as i64,
            db_size_in_use: size.in_use_bytes as i64,
        }
    }
}
