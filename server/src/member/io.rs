//! Everything that goes into a member and comes out of it: two closed enums.
//!
//! The driver (the production shell or a simulated world) owns sockets, files, clocks and threads.
//! It owes the member: log writes performed in order and confirmed with receipts; database writes
//! and tasks in order, if it keeps a database; peer messages of one (sender, stream kind) in order;
//! a step at `Member::next_deadline` at the latest.
//!
//! Long because two closed enums with everything they hold are read side by side.

use bytes::Bytes;
use std::time::Duration;

use super::id::{CallId, ClusterId, MemberId, RequestId, StreamId};
use super::work::{Work, WorkDone};
use crate::api::CallError;
use crate::proto::etcdserverpb as pb;
use crate::proto::{v3electionpb, v3lockpb};
use crate::storage::database::{
    DatabaseAnswer, DatabaseReceipt, DatabaseTask, DatabaseTaskId, DatabaseWrite, PinId,
    SnapshotTask,
};
use crate::storage::log::{LogDurable, LogEntry, SnapshotMark, Staged};
use crate::storage::schema::DatabaseImage;

/// A raft message between two members. Inside a process it stays in raft-rs's form;
/// `encode` and `decode` speak etcd's `raftpb`. Boxed, because it passes from hand to hand.
#[derive(Clone, Debug, PartialEq)]
pub struct RaftMessage(pub(crate) Box<raft::eraftpb::Message>);

/// A unary client request. Those of auth, locks and elections are part of the shape, and refused
/// until the member has what they need.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Request {
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    DeleteRange(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    LeaseGrant(pb::LeaseGrantRequest),
    LeaseRevoke(pb::LeaseRevokeRequest),
    LeaseTimeToLive(pb::LeaseTimeToLiveRequest),
    LeaseLeases(pb::LeaseLeasesRequest),
    MemberAdd(pb::MemberAddRequest),
    MemberRemove(pb::MemberRemoveRequest),
    MemberUpdate(pb::MemberUpdateRequest),
    MemberPromote(pb::MemberPromoteRequest),
    MemberList(pb::MemberListRequest),
    Alarm(pb::AlarmRequest),
    Status(pb::StatusRequest),
    Defragment(pb::DefragmentRequest),
    Hash(pb::HashRequest),
    HashKv(pb::HashKvRequest),
    MoveLeader(pb::MoveLeaderRequest),
    Downgrade(pb::DowngradeRequest),
    /// Any request of the Auth service, as its marshalled `InternalRaftRequest`.
    Auth(Box<pb::InternalRaftRequest>),
    Lock(v3lockpb::LockRequest),
    Unlock(v3lockpb::UnlockRequest),
    Campaign(v3electionpb::CampaignRequest),
    Proclaim(v3electionpb::ProclaimRequest),
    Leader(v3electionpb::LeaderRequest),
    Resign(v3electionpb::ResignRequest),
}

/// The answer to the request of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Response {
    Range(pb::RangeResponse),
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Compact(pb::CompactionResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    LeaseTimeToLive(pb::LeaseTimeToLiveResponse),
    LeaseLeases(pb::LeaseLeasesResponse),
    MemberAdd(pb::MemberAddResponse),
    MemberRemove(pb::MemberRemoveResponse),
    MemberUpdate(pb::MemberUpdateResponse),
    MemberPromote(pb::MemberPromoteResponse),
    MemberList(pb::MemberListResponse),
    Alarm(pb::AlarmResponse),
    Status(Box<pb::StatusResponse>),
    Defragment(pb::DefragmentResponse),
    Hash(pb::HashResponse),
    HashKv(pb::HashKvResponse),
    MoveLeader(pb::MoveLeaderResponse),
    Downgrade(pb::DowngradeResponse),
    Auth(AuthResponse),
    Lock(v3lockpb::LockResponse),
    Unlock(v3lockpb::UnlockResponse),
    Campaign(v3electionpb::CampaignResponse),
    Proclaim(v3electionpb::ProclaimResponse),
    Leader(v3electionpb::LeaderResponse),
    Resign(v3electionpb::ResignResponse),
}

/// The answer to a request of the Auth service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum AuthResponse {
    /// Of every request that answers with a header alone.
    Done(pb::ResponseHeader),
    Status(pb::AuthStatusResponse),
    Authenticate(pb::AuthenticateResponse),
    UserGet(pb::AuthUserGetResponse),
    UserList(pb::AuthUserListResponse),
    RoleGet(pb::AuthRoleGetResponse),
    RoleList(pb::AuthRoleListResponse),
}

/// What the caller's metadata asked for, beside the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallOptions {
    /// Metadata `hasleader: true`: fail at once when no leader is known.
    pub require_leader: bool,
    /// The auth token, when there was one.
    pub token: Option<Bytes>,
}

/// A streaming method that a client opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// `Watch.Watch`.
    Watch,
    /// `Lease.LeaseKeepAlive`.
    KeepAlive,
    /// `Maintenance.Snapshot`.
    Snapshot,
    /// `KV.RangeStream`.
    Range,
    /// `Election.Observe`.
    Observe,
}

/// A message from the client on an open stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum StreamMessage {
    Watch(pb::WatchRequest),
    KeepAlive(pb::LeaseKeepAliveRequest),
    Range(pb::RangeRequest),
    Snapshot(pb::SnapshotRequest),
    Observe(v3electionpb::LeaderRequest),
}

/// A message to the client on an open stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum StreamItem {
    Watch(pb::WatchResponse),
    KeepAlive(pb::LeaseKeepAliveResponse),
    Range(pb::RangeStreamResponse),
    Snapshot(pb::SnapshotResponse),
    Observe(v3electionpb::LeaderResponse),
}

/// What one member asks another, or a joiner asks a cluster, beside raft messages: etcd's peer
/// HTTP paths (contract-cluster.md, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerCall {
    /// `GET /members`.
    Members,
    /// `GET /version`.
    Version,
    /// `GET /downgrade/enabled`.
    DowngradeEnabled,
    /// `POST /members/promote/<id>`.
    Promote(MemberId),
    /// `POST /leases`: renew a lease at the leader.
    LeaseKeepAlive(pb::LeaseKeepAliveRequest),
    /// `POST /leases/internal`: ask the leader for a lease's remaining time.
    LeaseTimeToLive(pb::LeaseTimeToLiveRequest),
    /// `GET /members/hashkv`.
    HashKv {
        /// The caller's cluster, checked when present.
        cluster: Option<ClusterId>,
        /// At which revision.
        revision: i64,
    },
}

/// The SRV records of a service, for discovery by DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SrvQuestion {
    /// `etcd-server`, `etcd-server-ssl`, with a suffix if one is configured.
    pub service: String,
    /// Below which domain.
    pub domain: String,
}

/// A member as `GET /members` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemberInfo {
    /// Its identity.
    pub id: MemberId,
    /// Empty until it has published itself.
    pub name: String,
    /// Where peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has published itself.
    pub client_urls: Vec<String>,
    /// Whether it does not vote yet.
    pub is_learner: bool,
}

/// The answer to a `PeerCall` that was served.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAnswer {
    /// To `Members`.
    Members {
        /// The answering cluster.
        cluster: ClusterId,
        /// Ascending by id.
        members: Vec<MemberInfo>,
    },
    /// To `Version`.
    Version {
        /// Of the binary, `X.Y.Z`.
        server: String,
        /// Of the cluster, `X.Y.0` or `not_decided`.
        cluster: String,
    },
    /// To `DowngradeEnabled`.
    DowngradeEnabled(bool),
    /// To `Promote`: the members afterwards.
    Promoted(Vec<MemberInfo>),
    /// To `LeaseKeepAlive`.
    LeaseKeepAlive(pb::LeaseKeepAliveResponse),
    /// To `LeaseTimeToLive`.
    LeaseTimeToLive(pb::LeaseTimeToLiveResponse),
    /// To `HashKv`.
    HashKv(pb::HashKvResponse),
}

/// A `PeerCall` that was answered with an HTTP status other than success, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerCallError {
    /// Nobody answered in time, or the connection failed.
    Unreachable(String),
    /// The peer answered with this status and body.
    Refused {
        /// HTTP status.
        status: u16,
        /// Body, without its final newline.
        body: String,
    },
}

/// What a peer says of itself when it dials a raft stream or posts a message
/// (contract-cluster.md, section 5.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerHeader {
    /// `X-Server-From`.
    pub from: MemberId,
    /// `X-Raft-To`; absent on POSTs.
    pub to: Option<MemberId>,
    /// `X-Etcd-Cluster-ID`.
    pub cluster: ClusterId,
    /// `X-Server-Version`.
    pub version: String,
    /// `X-Min-Cluster-Version`.
    pub min_cluster_version: String,
    /// `X-PeerURLs`.
    pub peer_urls: Vec<String>,
}

/// Why a raft stream was refused (contract-cluster.md, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialRefusal {
    /// 412 `incompatible version`.
    IncompatibleVersion,
    /// 412 `cluster ID mismatch`.
    ClusterIdMismatch,
    /// 410 `removed member`: final for the dialer.
    Removed,
    /// 404 `error sender not found`.
    SenderNotFound,
    /// 412 `to field mismatch`.
    ToMismatch,
    /// The peer's handler is not serving (it is bootstrapping or stopping).
    NotServing,
}

/// Everything that can happen to a member.
#[derive(Debug)]
pub enum Input {
    /// A unary client request arrived.
    Request {
        /// Chosen by the driver; the reply carries it.
        id: RequestId,
        /// The call.
        request: Box<Request>,
        /// Its metadata.
        options: CallOptions,
    },
    /// The caller of a unary request gave up: nobody waits for its reply any more.
    Cancel(RequestId),
    /// A client opened a stream.
    StreamOpen {
        /// Chosen by the driver.
        id: StreamId,
        /// Which method.
        kind: StreamKind,
        /// Its metadata.
        options: CallOptions,
        /// How many bytes the member may send before it is told of more room.
        window_bytes: u64,
    },
    /// A message from the client of a stream.
    StreamMessage {
        /// The stream.
        id: StreamId,
        /// The message.
        message: Box<StreamMessage>,
    },
    /// The client took this many bytes of what was sent: the window grows by them.
    StreamWindow {
        /// The stream.
        id: StreamId,
        /// Bytes drained.
        bytes: u64,
    },
    /// The client closed or lost the stream.
    StreamClose(StreamId),
    /// A raft message from a peer whose stream or POST passed `Input::PeerDial`'s checks.
    Raft {
        /// The sender.
        from: MemberId,
        /// The message.
        message: RaftMessage,
    },
    /// A peer dials a raft stream, or posts; answered with `Output::DialAnswer`.
    PeerDial {
        /// Chosen by the driver.
        id: CallId,
        /// What it says of itself.
        header: Box<PeerHeader>,
    },
    /// A stream that this member dialed was refused.
    DialRefused {
        /// The peer that refused.
        peer: MemberId,
        /// Why.
        refusal: DialRefusal,
    },
    /// The peer can be reached: the first success after a failure.
    PeerActive(MemberId),
    /// A message to the peer was lost or its connection failed.
    PeerUnreachable(MemberId),
    /// A snapshot was delivered to the peer, or was not.
    SnapshotStatus {
        /// The receiver.
        peer: MemberId,
        /// Whether it has it.
        delivered: bool,
    },
    /// Somebody asks over the peer port; answered with `Output::PeerAnswer`.
    PeerCall {
        /// Chosen by the driver.
        id: CallId,
        /// The question.
        call: PeerCall,
    },
    /// The end of an `Output::PeerCall` of this member.
    PeerCallDone {
        /// As in the output.
        id: CallId,
        /// The answer.
        result: Box<Result<PeerAnswer, PeerCallError>>,
    },
    /// The end of an `Output::Resolve`.
    Resolved {
        /// As in the output.
        id: CallId,
        /// Hosts with their ports, by priority and weight; or the resolver's error.
        result: Result<Vec<(String, u16)>, String>,
    },
    /// A staged log write is durable.
    LogDurable(LogDurable),
    /// Database writes are durable.
    DatabaseDurable(DatabaseReceipt),
    /// A piece of work on the whole database is done.
    DatabaseTaskDone {
        /// As in the output.
        id: DatabaseTaskId,
        /// What came of it.
        answer: DatabaseAnswer,
    },
    /// A snapshot of the log at this mark is saved: its file, then its record in the log.
    SnapshotDone(SnapshotMark),
    /// A state of the database is held.
    SnapshotPinned {
        /// As in the output.
        pin: PinId,
        /// Where it stands, by its own account.
        mark: SnapshotMark,
    },
    /// The next piece of a state that is held is read, or cannot be.
    SnapshotRead {
        /// As in the output.
        pin: PinId,
        /// What `Maintenance.Snapshot` sends next.
        piece: Box<Result<pb::SnapshotResponse, String>>,
    },
    /// A peer's snapshot has arrived whole, with the database that came with it.
    SnapshotArrived {
        /// The sender.
        from: MemberId,
        /// Raft's message, to be stepped once the image is at hand.
        message: RaftMessage,
        /// The database, parsed.
        image: Box<DatabaseImage>,
    },
    /// A piece of work that left as `Output::Work` is done.
    WorkDone(Box<WorkDone>),
    /// Nothing happened but time: `Member::next_deadline` has come.
    Deadline,
    /// Stop gracefully: hand over leadership, then stop.
    Shutdown,
}

/// A change of whom the transport talks to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerChange {
    /// Dial this member's URLs for raft streams, and keep them.
    Add {
        /// The peer.
        id: MemberId,
        /// Tried in turn.
        urls: Vec<String>,
    },
    /// A member that this one has not heard of talks to it: it can be answered by POST, and is not
    /// dialed, until it is added.
    Remote {
        /// Who it says it is.
        id: MemberId,
        /// Where it says it is, tried in turn.
        urls: Vec<String>,
    },
    /// It is reached elsewhere from now on.
    Update {
        /// The peer.
        id: MemberId,
        /// Tried in turn.
        urls: Vec<String>,
    },
    /// Stop talking to it.
    Remove(MemberId),
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// A line for the member's log, with etcd's message texts and field names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogLine {
    /// Severity.
    pub level: Level,
    /// etcd's `msg`.
    pub message: String,
    /// Fields in call order.
    pub fields: Vec<(&'static str, String)>,
}

impl LogLine {
    /// A line without fields.
    pub fn new(level: Level, message: impl Into<String>) -> LogLine {
        LogLine { level, message: message.into(), fields: Vec::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> LogLine {
        self.fields.push((name, value.into()));
        self
    }
}

/// Why a member stopped, with the exit code of the process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stop {
    /// 0 by itself or by signal, 1 failed to start or fatal, 2 panic of etcd's.
    pub exit_code: u8,
    /// etcd's error text.
    pub reason: String,
}

/// What the member did, for whoever watches it from inside: checkers that are labelled white-box.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// A client request was given a raft request ID and proposed.
    Proposed {
        /// The request.
        request: RequestId,
        /// `header.ID` of its entry.
        entry_id: u64,
    },
    /// An entry took effect.
    Applied {
        /// The entry. The log may have been cut behind it by the end of the step.
        entry: LogEntry,
        /// The store's revision afterwards.
        revision: i64,
        /// Digest of the replicated state afterwards (keys, leases, alarms, members).
        digest: u64,
    },
    /// The replicated state was taken from a database: at the start, or with a snapshot.
    Loaded {
        /// The last index whose effects it has.
        index: u64,
        /// Its term.
        term: u64,
        /// The store's revision.
        revision: i64,
        /// Digest of the replicated state.
        digest: u64,
        /// The voters, in ascending order.
        voters: Vec<MemberId>,
        /// The learners, in ascending order.
        learners: Vec<MemberId>,
    },
    /// A configuration change took effect.
    Configured {
        /// The entry's index.
        index: u64,
        /// The voters since, in ascending order.
        voters: Vec<MemberId>,
        /// The learners since, in ascending order.
        learners: Vec<MemberId>,
    },
    /// The leader is asked for an index at which linearizable reads may be served.
    ReadAsked {
        /// The question's id.
        context: u64,
    },
    /// A quorum confirmed the leader that answers.
    ReadConfirmed {
        /// The question's id.
        context: u64,
        /// The index.
        index: u64,
    },
    /// Role or term changed.
    Role {
        /// The new term.
        term: u64,
        /// The leader it knows, 0 for none.
        leader: MemberId,
        /// What it is now.
        role: Role,
    },
}

/// A raft role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// Everything a member can do to the world.
#[derive(Debug)]
pub enum Output {
    /// The answer to a unary request.
    Reply {
        /// The request.
        id: RequestId,
        /// Its answer.
        result: Box<Result<Response, CallError>>,
    },
    /// A message on a client's stream.
    StreamItem {
        /// The stream.
        id: StreamId,
        /// The message.
        item: Box<StreamItem>,
        /// What it takes from the stream's window.
        bytes: u64,
    },
    /// The member ended a client's stream.
    StreamEnd {
        /// The stream.
        id: StreamId,
        /// The status, or success.
        result: Result<(), CallError>,
    },
    /// A raft message that may leave now.
    Send {
        /// The receiver.
        to: MemberId,
        /// The message.
        message: RaftMessage,
    },
    /// A log write, and what may be sent only after it. The member is told when it is durable if
    /// it waits for that (`Staged::is_awaited`).
    Log(Staged),
    /// A database write; `Input::DatabaseDurable` follows.
    Database(DatabaseWrite),
    /// Work on the whole database; `Input::DatabaseTaskDone` follows.
    DatabaseTask {
        /// Chosen by the member.
        id: DatabaseTaskId,
        /// What to do.
        task: DatabaseTask,
    },
    /// A snapshot to save or send.
    Snapshot(SnapshotTask),
    /// The transport's peers changed.
    Peers(PeerChange),
    /// The answer to `Input::PeerDial`.
    DialAnswer {
        /// The dial.
        id: CallId,
        /// Accepted, or why not.
        result: Result<(), DialRefusal>,
    },
    /// Ask somebody over the peer port; `Input::PeerCallDone` ends it.
    PeerCall {
        /// Chosen by the member.
        id: CallId,
        /// One peer URL.
        url: String,
        /// The question.
        call: PeerCall,
        /// Give up after this long.
        timeout: Duration,
    },
    /// Ask the resolver; `Input::Resolved` ends it.
    Resolve {
        /// Chosen by the member.
        id: CallId,
        /// The question.
        question: SrvQuestion,
        /// Give up after this long.
        timeout: Duration,
    },
    /// The answer to `Input::PeerCall`.
    PeerAnswer {
        /// The call.
        id: CallId,
        /// The answer, or an HTTP refusal.
        result: Result<PeerAnswer, PeerCallError>,
    },
    /// Work on an immutable view, to be done elsewhere.
    Work(Box<Work>),
    /// A line for the member's log.
    LogLine(LogLine),
    /// The member serves clients from now on.
    Ready,
    /// The member is at its end: no further input is accepted.
    Stop(Stop),
    /// For white-box checkers.
    Note(Note),
}

/// Where a step puts its outputs, with the account of what the step cost.
#[derive(Debug, Default)]
pub struct Outputs {
    items: Vec<Output>,
    spent: u64,
}

/// Units a step may spend: a unit is one key, entry, event or watcher visited. One request may cost
/// more by itself when etcd's limits allow it (a large transaction); background work may not.
pub const STEP_BUDGET: u64 = 20_000;

impl Outputs {
    /// Empty.
    pub fn new() -> Outputs {
        Outputs::default()
    }

    /// Adds an output.
    pub fn push(&mut self, output: Output) {
        self.items.push(output);
    }

    /// Adds lines for the log.
    pub(super) fn extend_lines(&mut self, lines: impl IntoIterator<Item = LogLine>) {
        self.items.extend(lines.into_iter().map(Output::LogLine));
    }

    /// Accounts for visited units.
    pub fn spend(&mut self, units: u64) {
        self.spent += units;
    }

    /// Units spent since the last `take_spent`.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// The same, and begins to count anew.
    pub fn take_spent(&mut self) -> u64 {
        std::mem::take(&mut self.spent)
    }

    /// Takes the outputs in the order they were made.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Output> {
        self.items.drain(..)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They are moved at every step, several times: beyond this it takes a call of `memcpy`.
    const BYTES_MAX: usize = 128;

    #[test]
    fn inputs_and_outputs_are_small_enough_to_be_moved() {
        assert!(size_of::<Input>() <= BYTES_MAX, "inputs take {} bytes", size_of::<Input>());
        assert!(size_of::<Output>() <= BYTES_MAX, "outputs take {} bytes", size_of::<Output>());
    }
}
