//! Leases at the edge of the member: expiry, renewals and remaining time, which only the leader
//! knows. Others pass the question on to it (contract-api.md, section 4).
//!
//! Each renewal or question is a task that goes through: confirm that this leader leads (only when
//! it has been silent), wait until what was committed at its arrival is applied, answer; or call
//! the leader, and again after a pause, until the request timeout.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use prost::Message as _;

use super::id::{CallId, RequestId, StreamId};
use super::io::{Output, Outputs, PeerAnswer, PeerCall, PeerCallError, Response, StreamItem};
use super::peers::refuse;
use super::running::{Reader, Running};
use super::time::{Monotonic, Now};
use crate::api::ApiError;
use crate::config::CompatVersion;
use crate::lease::{LeaseId, RenewError, SCAN_INTERVAL, SCAN_LIMIT};
use crate::planted::Defect;
use crate::proto::etcdserverpb as pb;
use crate::storage::log::EntryKind;

const APPLY_WAIT: Duration = Duration::from_secs(1);
const CALL_PAUSE: Duration = Duration::from_millis(50);

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// A keep-alive stream of this member; it answers in order.
    Stream(StreamId),
    /// `LeaseTimeToLive` of a client.
    Client(RequestId),
    /// A follower.
    Peer(CallId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Renew,
    TimeToLive { keys: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// To be looked at.
    Start,
    /// A read index shows whether this leader leads.
    Confirming,
    /// Until this index is applied, or this time.
    Applying(u64, Monotonic),
    /// The lease has expired here: its revocation is on the way.
    Expiring,
    /// A checkpoint says how long the lease has left, and the entry that clears it is on the way:
    /// a later leader would otherwise end a lease early whose renewal was acknowledged.
    Clearing,
    /// The leader is asked.
    Calling(CallId),
    /// Until another try.
    Pausing(Monotonic),
}

#[derive(Clone, Debug)]
struct Task {
    asker: Asker,
    question: Question,
    lease: LeaseId,
    until: Monotonic,
    stage: Stage,
    /// As it was when the task began: never of a revision newer than the renewal.
    header: pb::ResponseHeader,
    /// This member led when it took the task up.
    led: bool,
}

/// Tasks under way, and the requests of keep-alive streams behind them.
#[derive(Debug, Default)]
pub(super) struct LeaseTasks {
    tasks: BTreeMap<u64, Task>,
    next: u64,
    /// Per stream the requests after the one under way.
    queues: BTreeMap<StreamId, VecDeque<LeaseId>>,
    next_scan: Monotonic,
    pub scan_is_confirming: bool,
    /// What a planted defect revoked while nobody confirmed that this member leads.
    stale: Vec<LeaseId>,
}

enum Answer {
    Renewed(i64),
    TimeToLive(pb::LeaseTimeToLiveResponse),
    Failed(ApiError),
}

impl Running {
    /// A client's question for a lease's remaining time.
    pub(super) fn lease_time_to_live(
        &mut self,
        id: RequestId,
        request: pb::LeaseTimeToLiveRequest,
        now: Now,
        out: &mut Outputs,
    ) {
        let question = Question::TimeToLive { keys: request.keys };
        self.lease_task(Asker::Client(id), question, request.id, now, out);
    }

    /// A client's renewal on a stream.
    pub(super) fn keep_alive(
        &mut self,
        stream: StreamId,
        lease: LeaseId,
        now: Now,
        out: &mut Outputs,
    ) {
        let is_busy = self.leases.tasks.values().any(|task| task.asker == Asker::Stream(stream));
        if is_busy {
            self.leases.queues.entry(stream).or_default().push_back(lease);
        } else {
            self.lease_task(Asker::Stream(stream), Question::Renew, lease, now, out);
        }
    }

    pub(super) fn keep_alive_close(&mut self, stream: StreamId) {
        self.leases.queues.remove(&stream);
        self.leases.tasks.retain(|_, task| task.asker != Asker::Stream(stream));
    }

    pub(super) fn lease_cancel(&mut self, id: RequestId) {
        self.leases.tasks.retain(|_, task| task.asker != Asker::Client(id));
    }

    pub(super) fn peer_keep_alive(
        &mut self,
        id: CallId,
        request: &pb::LeaseKeepAliveRequest,
        now: Now,
        out: &mut Outputs,
    ) {
        self.lease_task(Asker::Peer(id), Question::Renew, request.id, now, out);
    }

    pub(super) fn peer_time_to_live(
        &mut self,
        id: CallId,
        request: pb::LeaseTimeToLiveRequest,
        now: Now,
        out: &mut Outputs,
    ) {
        let question = Question::TimeToLive { keys: request.keys };
        self.lease_task(Asker::Peer(id), question, request.id, now, out);
    }

    fn lease_task(
        &mut self,
        asker: Asker,
        question: Question,
        lease: LeaseId,
        now: Now,
        out: &mut Outputs,
    ) {
        let until = now.monotonic.after(self.request_timeout());
        let id = self.leases.next;
        self.leases.next += 1;
        let header = self.header(self.store.revision());
        let task = Task { asker, question, lease, until, stage: Stage::Start, header, led: false };
        self.leases.tasks.insert(id, task);
        self.lease_advance(id, now, out);
    }

    /// Moves one task on as far as it goes now.
    fn lease_advance(&mut self, id: u64, now: Now, out: &mut Outputs) {
        let Some(task) = self.leases.tasks.get(&id).cloned() else { return };
        if now.monotonic >= task.until {
            let error = match task.stage {
                _ if self.consensus.leader().is_none() => ApiError::NoLeader,
                _ => ApiError::Timeout,
            };
            return self.lease_finish(id, Answer::Failed(error), now, out);
        }
        let asks_client = matches!(task.asker, Asker::Client(_));
        if task.led && asks_client && !self.consensus.is_leader() {
            return self.lease_finish(id, Answer::Failed(ApiError::LeaderChanged), now, out);
        }
        let stage = match task.stage {
            Stage::Start => self.lease_start(&task, now, out),
            Stage::Applying(index, _) if self.applied >= index => {
                return self.lease_answer_here(id, &task, now, out);
            }
            Stage::Applying(_, until) if now.monotonic >= until => {
                let answer = Answer::Failed(ApiError::TimeoutWaitAppliedIndex);
                return self.lease_finish(id, answer, now, out);
            }
            Stage::Expiring if !self.lessor.exists(task.lease) => {
                return self.lease_finish(id, Answer::Renewed(0), now, out);
            }
            Stage::Clearing if !self.lessor.is_checkpointed(task.lease, now.monotonic) => {
                return self.lease_answer_here(id, &task, now, out);
            }
            Stage::Expiring | Stage::Clearing if !self.consensus.is_leader() => Stage::Start,
            Stage::Pausing(until) if now.monotonic >= until => Stage::Start,
            other => other,
        };
        if stage == task.stage {
            return;
        }
        if let Some(task) = self.leases.tasks.get_mut(&id) {
            task.stage = stage;
            task.led |= matches!(stage, Stage::Confirming | Stage::Applying(..));
        }
        match stage {
            Stage::Confirming => self.register_read(Reader::LeaseTask(id), now, out),
            Stage::Start | Stage::Applying(..) => self.lease_advance(id, now, out),
            _ => {}
        }
    }

    /// The first stage of a task, by this member's role.
    fn lease_start(&mut self, task: &Task, now: Now, out: &mut Outputs) -> Stage {
        if self.consensus.is_leader() {
            if self.doubtful_since.is_some() {
                return Stage::Confirming;
            }
            if task.question == Question::Renew && self.renews_at_once(task.lease) {
                return Stage::Applying(0, now.monotonic);
            }
            let is_racing = self.config.defect().is(Defect::LeaseGrantRace);
            let index = if is_racing { 0 } else { self.consensus.commit() };
            return Stage::Applying(index, now.monotonic.after(APPLY_WAIT));
        }
        let pause = Stage::Pausing(now.monotonic.after(CALL_PAUSE));
        if matches!(task.asker, Asker::Peer(_)) {
            // Whoever asked finds the leader by itself: this answer is a refusal.
            return Stage::Applying(0, now.monotonic);
        }
        let Some(leader) = self.consensus.leader() else {
            return pause;
        };
        let leader = self.membership.get(leader).and_then(|leader| leader.peer_urls.first());
        let Some(url) = leader.cloned() else { return pause };
        let call = match task.question {
            Question::Renew => {
                PeerCall::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id: task.lease })
            }
            Question::TimeToLive { keys } => {
                PeerCall::LeaseTimeToLive(pb::LeaseTimeToLiveRequest { id: task.lease, keys })
            }
        };
        Stage::Calling(self.call(url, call, out))
    }

    /// Whether a lease that is known is renewed without waiting for what is committed.
    fn renews_at_once(&self, lease: LeaseId) -> bool {
        let is_on = self.config.fast_lease_keep_alive;
        is_on && self.config.compat >= CompatVersion::V3_7 && self.lessor.exists(lease)
    }

    /// The leader answers from its own lessor.
    fn lease_answer_here(&mut self, id: u64, task: &Task, now: Now, out: &mut Outputs) {
        match task.question {
            Question::Renew if self.lessor.is_checkpointed(task.lease, now.monotonic) => {
                self.propose_checkpoint(&[(task.lease, 0)]);
                self.set_stage(id, Stage::Clearing);
            }
            Question::Renew => match self.lessor.renew(task.lease, now.monotonic) {
                Ok(ttl_seconds) => {
                    self.lease_finish(id, Answer::Renewed(ttl_seconds), now, out);
                }
                Err(RenewError::NotFound) => {
                    self.lease_finish(id, Answer::Renewed(0), now, out);
                }
                Err(RenewError::Expired) => self.set_stage(id, Stage::Expiring),
                Err(RenewError::NotPrimary) => self.lease_not_primary(id, task, now, out),
            },
            Question::TimeToLive { .. } if !self.lessor.is_primary() => match task.asker {
                Asker::Client(_) if self.lessor.exists(task.lease) => {
                    self.lease_finish(id, Answer::Failed(ApiError::LeaderChanged), now, out);
                }
                _ => self.lease_not_primary(id, task, now, out),
            },
            Question::TimeToLive { keys } => {
                let mut response = pb::LeaseTimeToLiveResponse {
                    header: Some(self.header(self.store.revision())),
                    id: task.lease,
                    ttl: -1,
                    granted_ttl: 0,
                    keys: Vec::new(),
                };
                if let Some(left) = self.lessor.time_to_live(task.lease, now.monotonic) {
                    response.ttl = left.ttl_seconds;
                    response.granted_ttl = left.granted_seconds;
                    if keys {
                        response.keys = self.lessor.keys(task.lease);
                    }
                }
                self.lease_finish(id, Answer::TimeToLive(response), now, out);
            }
        }
    }

    fn lease_not_primary(&mut self, id: u64, task: &Task, now: Now, out: &mut Outputs) {
        if let Asker::Peer(call) = task.asker {
            self.leases.tasks.remove(&id);
            return refuse(call, 400, "not a primary lessor", out);
        }
        self.set_stage(id, Stage::Pausing(now.monotonic.after(CALL_PAUSE)));
    }

    fn set_stage(&mut self, id: u64, stage: Stage) {
        if let Some(task) = self.leases.tasks.get_mut(&id) {
            task.stage = stage;
        }
    }

    pub(super) fn lease_confirmed(&mut self, id: u64, now: Now, out: &mut Outputs) {
        let until = now.monotonic.after(APPLY_WAIT);
        let stage = if self.consensus.is_leader() {
            Stage::Applying(self.consensus.commit(), until)
        } else {
            Stage::Start
        };
        self.set_stage(id, stage);
        self.lease_advance(id, now, out);
    }

    pub(super) fn lease_unconfirmed(&mut self, id: u64) {
        self.set_stage(id, Stage::Pausing(Monotonic::ZERO));
    }

    /// The leader answered, or did not.
    pub(super) fn lease_answer(
        &mut self,
        call: CallId,
        result: Result<PeerAnswer, PeerCallError>,
        now: Now,
        out: &mut Outputs,
    ) {
        let asked = self.leases.tasks.iter().find(|(_, task)| task.stage == Stage::Calling(call));
        let Some((&id, task)) = asked else { return };
        let lease = task.lease;
        let answer = match result {
            Ok(PeerAnswer::LeaseKeepAlive(response)) => Answer::Renewed(response.ttl),
            Ok(PeerAnswer::LeaseTimeToLive(mut response)) => {
                response.header = Some(self.header(self.store.revision()));
                Answer::TimeToLive(response)
            }
            Err(PeerCallError::Refused { status: 404, .. }) => match task.question {
                Question::Renew => Answer::Renewed(0),
                Question::TimeToLive { .. } => Answer::TimeToLive(pb::LeaseTimeToLiveResponse {
                    header: Some(self.header(self.store.revision())),
                    id: lease,
                    ttl: -1,
                    ..pb::LeaseTimeToLiveResponse::default()
                }),
            },
            _ => {
                return self.set_stage(id, Stage::Pausing(now.monotonic.after(CALL_PAUSE)));
            }
        };
        self.lease_finish(id, answer, now, out);
    }

    fn lease_finish(&mut self, id: u64, answer: Answer, now: Now, out: &mut Outputs) {
        let Some(task) = self.leases.tasks.remove(&id) else { return };
        match task.asker {
            Asker::Stream(stream) => self.keep_alive_answer(stream, &task, answer, now, out),
            Asker::Client(request) => {
                let result = match answer {
                    Answer::TimeToLive(response) => Ok(Response::LeaseTimeToLive(response)),
                    Answer::Failed(error) => Err(error),
                    Answer::Renewed(_) => Err(ApiError::UnknownMethod),
                };
                self.reply(request, result, out);
            }
            Asker::Peer(call) => match answer {
                Answer::Renewed(0) => refuse(call, 404, "lease not found", out),
                Answer::Renewed(ttl) => {
                    let response = pb::LeaseKeepAliveResponse { header: None, id: task.lease, ttl };
                    let result = Ok(PeerAnswer::LeaseKeepAlive(response));
                    out.push(Output::PeerAnswer { id: call, result });
                }
                Answer::TimeToLive(response) => {
                    let result = Ok(PeerAnswer::LeaseTimeToLive(response));
                    out.push(Output::PeerAnswer { id: call, result });
                }
                Answer::Failed(_) => refuse(
                    call,
                    408,
                    "waiting for node to catch up its applied index has timed out",
                    out,
                ),
            },
        }
    }

    fn keep_alive_answer(
        &mut self,
        stream: StreamId,
        task: &Task,
        answer: Answer,
        now: Now,
        out: &mut Outputs,
    ) {
        let ttl = match answer {
            Answer::Renewed(ttl) => ttl,
            Answer::TimeToLive(_) => 0,
            Answer::Failed(error) => {
                self.streams.remove(&stream);
                self.keep_alive_close(stream);
                return out.push(Output::StreamEnd { id: stream, result: Err(error.into()) });
            }
        };
        let response =
            pb::LeaseKeepAliveResponse { header: Some(task.header), id: task.lease, ttl };
        let bytes = response.encoded_len() as u64;
        let item = Box::new(StreamItem::KeepAlive(response));
        out.push(Output::StreamItem { id: stream, item, bytes });
        let next = self.leases.queues.get_mut(&stream).and_then(VecDeque::pop_front);
        if let Some(lease) = next {
            self.lease_task(Asker::Stream(stream), Question::Renew, lease, now, out);
        }
    }

    /// Entries were applied, or the leader changed: tasks may go on.
    pub(super) fn lease_progress(&mut self, now: Now, out: &mut Outputs) {
        if self.leases.tasks.is_empty() {
            return;
        }
        let ids: Vec<u64> = self.leases.tasks.keys().copied().collect();
        for id in ids {
            self.lease_advance(id, now, out);
        }
    }

    pub(super) fn lease_timers(&mut self, now: Now, out: &mut Outputs) {
        self.lease_progress(now, out);
        let is_due = self.lessor.next_expiry().is_some_and(|expiry| expiry <= now.monotonic);
        if is_due && now.monotonic >= self.leases.next_scan && !self.leases.scan_is_confirming {
            let is_reckless = self.config.defect().is(Defect::LeaseStaleRevoke);
            if self.doubtful_since.is_some() && !is_reckless {
                self.leases.scan_is_confirming = true;
                self.register_read(Reader::LeaseScan, now, out);
            } else {
                self.lease_scan(now, out);
            }
        }
        if self.lessor.next_checkpoint().is_some_and(|at| at <= now.monotonic) {
            let due = self.lessor.due_checkpoints(now.monotonic, CHECKPOINTS_MAX);
            self.propose_checkpoint(&due);
        }
    }

    /// Proposes the end of expired leases. Only what this leader appends itself counts: nothing is
    /// forwarded, so a deposed leader's opinion dies with its term.
    pub(super) fn lease_scan(&mut self, now: Now, out: &mut Outputs) {
        self.leases.scan_is_confirming = false;
        self.leases.next_scan = now.monotonic.after(SCAN_INTERVAL);
        if !self.consensus.is_leader() {
            return;
        }
        let expired = self.lessor.expired(now.monotonic, SCAN_LIMIT);
        out.spend(expired.len() as u64);
        let is_reckless = self.config.defect().is(Defect::LeaseStaleRevoke);
        if is_reckless && self.doubtful_since.is_some() {
            self.leases.stale.extend(&expired);
        }
        for id in expired {
            self.propose_revoke(id);
        }
    }

    fn propose_revoke(&mut self, id: LeaseId) {
        let entry = pb::InternalRaftRequest {
            header: Some(self.internal_header()),
            lease_revoke: Some(pb::LeaseRevokeRequest { id }),
            ..pb::InternalRaftRequest::default()
        };
        // If it is refused now, the lease is due again after the request timeout.
        let _ = self.consensus.propose(EntryKind::Normal, entry.encode_to_vec().into());
    }

    /// What a planted defect does when there is another leader: its revocations go there.
    pub(super) fn revoke_stale(&mut self) {
        for id in std::mem::take(&mut self.leases.stale) {
            self.propose_revoke(id);
        }
    }

    fn propose_checkpoint(&mut self, checkpoints: &[(LeaseId, i64)]) {
        let is_deposed =
            !self.consensus.is_leader() && !self.config.defect().is(Defect::LeaseCkptAfterDemote);
        if is_deposed || checkpoints.is_empty() {
            return;
        }
        let checkpoints = checkpoints
            .iter()
            .map(|&(id, remaining_ttl)| pb::LeaseCheckpoint { id, remaining_ttl })
            .collect();
        let entry = pb::InternalRaftRequest {
            header: Some(self.internal_header()),
            lease_checkpoint: Some(pb::LeaseCheckpointRequest { checkpoints }),
            ..pb::InternalRaftRequest::default()
        };
        let _ = self.consensus.propose(EntryKind::Normal, entry.encode_to_vec().into());
    }

    fn internal_header(&mut self) -> pb::RequestHeader {
        pb::RequestHeader { id: self.ids.next_id(), ..pb::RequestHeader::default() }
    }

    pub(super) fn lease_deadline(&self) -> Option<Monotonic> {
        let scan = self
            .lessor
            .next_expiry()
            .filter(|_| !self.leases.scan_is_confirming)
            .map(|expiry| expiry.max(self.leases.next_scan));
        let tasks = self.leases.tasks.values().map(|task| match task.stage {
            Stage::Applying(_, at) | Stage::Pausing(at) => at.min(task.until),
            _ => task.until,
        });
        scan.into_iter().chain(self.lessor.next_checkpoint()).chain(tasks).min()
    }

    pub(super) fn lease_fail_all(&mut self, error: ApiError, out: &mut Outputs) {
        for (_, task) in std::mem::take(&mut self.leases.tasks) {
            match task.asker {
                Asker::Client(request) => self.reply(request, Err(error), out),
                Asker::Peer(call) => refuse(call, 400, error.text(), out),
                // The stream has ended.
                Asker::Stream(_) => {}
            }
        }
        self.leases.queues.clear();
    }
}

/// Leases per checkpoint entry.
const CHECKPOINTS_MAX: usize = 1_000;
