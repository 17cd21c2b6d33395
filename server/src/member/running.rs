//! A member after its bootstrap: raft, the replicated state, and who waits for what.
//!
//! One step is: take the input, let due timers fire, then settle: take what raft has ready, apply
//! a bounded slice of what is committed, serve whom that satisfies, until nothing more follows.
//! Long because it is one state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::alarms::Alarms;
use super::consensus::{Changes, Consensus, Fatal, Origin};
use super::database_tasks::DatabaseTasks;
use super::id::{CallId, ClusterId, MemberId, RequestId, StreamId};
use super::identity::RequestIds;
use super::io::{
    Input, Level, LogLine, Note, Output, Outputs, PeerChange, Request, Response, Stop, StreamKind,
};
use super::leases::LeaseTasks;
use super::membership::{Identity, Membership};
use super::persistence::Persistence;
use super::proposals::{Proposals, Unsent};
use super::publish::Publish;
use super::reads::{ReadAction, Reads};
use super::recovery::Recovered;
use super::snapshots::Snapshots;
use super::time::{Monotonic, Now};
use super::upkeep::Upkeep;
use super::versions::VersionMonitor;
use super::work::WorkId;
use crate::api::ApiError;
use crate::config::Config;
use crate::lease::{Lessor, LessorConfig};
use crate::mvcc::Store;
use crate::mvcc::watch::{WatchHub, WatchSettings};
use crate::planted::Defect;
use crate::proto::etcdserverpb as pb;
use crate::storage::database::DatabaseSize;
use crate::storage::log::{EntryKind, HardState, LogEntry, SnapshotMark};
use crate::storage::schema::{self, DatabaseImage};

/// Who waits for the result of an entry.
#[derive(Debug)]
pub(super) enum Waiter {
    Client(RequestId),
    /// A promotion that a follower asked this leader for.
    PeerPromote(CallId),
    /// The publication of this member's own attributes.
    Publish,
    /// The alarm that this member's quota is exceeded, and who was refused for it.
    NoSpace(Option<RequestId>),
    /// This member compacts by itself.
    Compactor,
    /// The begin or the end of a downgrade.
    Downgrade(super::downgrade::Asked),
    Nobody,
}

/// Who waits for a linearizable read.
#[derive(Debug)]
pub(super) enum Reader {
    Range(RequestId, pb::RangeRequest),
    Txn(RequestId, pb::TxnRequest),
    MemberList(RequestId),
    /// `GET /downgrade/enabled` of a peer.
    DowngradeEnabled(CallId),
    /// Whoever asked for a downgrade.
    Downgrade(super::downgrade::Asked),
    /// Lease work of a leader that is no longer sure that it leads.
    LeaseTask(u64),
    LeaseScan,
    CorruptionCheck,
}

/// Who waits for a piece of work on a view.
#[derive(Debug)]
pub(super) enum Worker {
    Client(RequestId),
    PeerHashKv(CallId),
    CorruptionCheck,
}

pub(super) struct Running {
    pub config: Config,
    pub identity: Identity,
    pub ids: RequestIds,
    pub consensus: Consensus,
    pub store: Store,
    pub lessor: Lessor,
    pub membership: Membership,
    /// Cached: the membership's digest changes rarely and is asked for at every entry.
    pub membership_digest: u64,
    pub alarms: Alarms,
    pub persistence: Persistence,
    pub snapshots: Snapshots,
    pub tasks: DatabaseTasks,
    pub hub: WatchHub,
    pub proposals: Proposals<Waiter>,
    pub reads: Reads<Reader>,
    pub work: BTreeMap<WorkId, Worker>,
    pub next_work: u64,
    pub next_call: u64,
    pub streams: BTreeMap<StreamId, OpenStream>,
    pub leases: LeaseTasks,
    pub publish: Publish,
    pub versions: VersionMonitor,
    pub upkeep: Upkeep,
    /// Promotions that this follower has passed on to the leader.
    pub forwarded: BTreeMap<CallId, RequestId>,
    /// Whom the transport talks to.
    pub peers: BTreeSet<MemberId>,
    pub active_since: BTreeMap<MemberId, Monotonic>,
    pub applied: u64,
    pub applied_term: u64,
    /// What was committed when the member started: it may have been applied before.
    pub replayed_to: u64,
    pub fast_forward: FastForward,
    pub leader: Option<MemberId>,
    pub leader_elected: Option<Monotonic>,
    pub leaderless_since: Option<Monotonic>,
    pub was_leader: bool,
    /// A leader that had not ticked for long must confirm that it leads before it touches leases.
    pub doubtful_since: Option<Monotonic>,
    pub transfers: Vec<Transfer>,
    pub compactions: Vec<(RequestId, Response)>,
    /// Index of the last compaction whose client waits for the physical removal.
    pub physical: u64,
    pub removed_at: Option<Monotonic>,
    pub stopping: Option<Stopping>,
    pub changes: Changes,
    pub is_ready: bool,
    pub stopped: Option<Stop>,
}

/// A client's stream that is not a watch keeps its requests here.
#[derive(Debug)]
pub(super) struct OpenStream {
    pub kind: StreamKind,
    pub require_leader: bool,
}

/// `MoveLeader` under way.
#[derive(Debug)]
pub(super) struct Transfer {
    pub request: Option<RequestId>,
    pub to: MemberId,
    pub until: Monotonic,
}

/// A graceful stop under way.
#[derive(Debug)]
pub(super) struct Stopping {
    pub until: Monotonic,
}

/// Whether the first election may come sooner (contract-cluster.md, section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FastForward {
    /// Until then, connected peers end the wait.
    Until(Monotonic),
    Done,
}

/// What a driver has in the way of a database.
#[derive(Debug, Default)]
pub(super) struct Database {
    pub image: Option<DatabaseImage>,
    pub size: DatabaseSize,
    /// Whether the driver keeps one.
    pub is_kept: bool,
}

/// What a member starts from after bootstrap.
pub(super) struct Start {
    pub identity: Identity,
    pub hard_state: HardState,
    /// The snapshot that the entries follow.
    pub snapshot: SnapshotMark,
    pub entries: Vec<LogEntry>,
    pub next_number: u64,
    pub database: Database,
    /// Calls before this one were made by the bootstrap.
    pub next_call: CallId,
    /// Peers known before the log tells of them: a joiner's cluster.
    pub remotes: Vec<super::io::MemberInfo>,
}

impl Start {
    /// Reads the database, if there is one.
    pub(super) fn recover(&self, config: &Config) -> Result<Option<Recovered>, Stop> {
        let Some(image) = &self.database.image else { return Ok(None) };
        let recovered = Recovered::load(image, config).map_err(|error| Stop {
            exit_code: 2,
            reason: format!("failed to recover from the database: {error}"),
        })?;
        let (found, needed) = (recovered.mark.index, self.snapshot.index);
        if found < needed && found > 0 {
            let reason = format!(
                "database file (index {found}) does not match with snapshot (index {needed})"
            );
            return Err(Stop { exit_code: 2, reason });
        }
        Ok(Some(recovered))
    }

    fn consensus(
        &self,
        config: &Config,
        recovered: Option<&Recovered>,
        entropy: ChaCha8Rng,
        now: Monotonic,
    ) -> Result<Consensus, Stop> {
        // The database may be further than the snapshot. Its configuration is the member's, and
        // changes that it covers are not made again. One that is not further may be a restored one,
        // with the configuration of the cluster that it was saved from.
        let is_further = |found: &&Recovered| {
            found.mark.index > self.snapshot.index || self.snapshot.conf_state.is_none()
        };
        let conf_state = recovered.filter(is_further).and_then(Recovered::conf_state);
        let origin = Origin {
            hard_state: self.hard_state,
            snapshot: &self.snapshot,
            conf_state: conf_state.as_ref().or(self.snapshot.conf_state.as_ref()),
            entries: &self.entries,
            next_number: self.next_number,
            syncs_commit: !self.database.is_kept,
        };
        Consensus::new(config, self.identity.member, &origin, entropy, now)
            .map_err(|Fatal(reason)| Stop { exit_code: 2, reason })
    }
}

const FAST_FORWARD_WINDOW: Duration = Duration::from_secs(5);
const REMOVED_LINGER: Duration = Duration::from_secs(1);
/// Entries applied in one step.
const APPLY_SLICE: usize = 1_000;

impl Running {
    pub(super) fn new(
        config: Config,
        seed: [u8; 32],
        start: Start,
        now: Now,
        out: &mut Outputs,
    ) -> Result<Running, Stop> {
        let entropy = |number: u64| stream(seed, number);
        let timeout = request_timeout(&config);
        let recovered = start.recover(&config)?;
        let consensus = start.consensus(&config, recovered.as_ref(), entropy(1), now.monotonic)?;
        let consistent =
            recovered.as_ref().map_or((0, 0), |found| (found.mark.index, found.mark.term));
        let settings = WatchSettings::of(&config);
        let hub = WatchHub::new(settings, entropy(2), Store::new().revision());
        let upkeep = Upkeep::new(&config, start.identity, recovered.as_ref(), now.monotonic, out);
        let mut running = Running {
            identity: start.identity,
            ids: RequestIds::new(start.identity.member, now.wall),
            consensus,
            store: Store::with_defect(config.defect()),
            lessor: Lessor::new(lessor_config(&config)),
            membership: Membership::default(),
            membership_digest: Membership::default().digest(),
            alarms: Alarms::default(),
            persistence: Persistence::new(start.database.is_kept, consistent, start.database.size),
            snapshots: Snapshots::new(start.snapshot.index),
            tasks: DatabaseTasks::default(),
            hub,
            proposals: Proposals::new(timeout),
            reads: Reads::new(timeout, config.defect()),
            work: BTreeMap::new(),
            next_work: 1,
            next_call: start.next_call.0,
            streams: BTreeMap::new(),
            leases: LeaseTasks::default(),
            publish: Publish::default(),
            versions: VersionMonitor::default(),
            upkeep,
            forwarded: BTreeMap::new(),
            peers: BTreeSet::new(),
            active_since: BTreeMap::new(),
            applied: start.snapshot.index,
            applied_term: start.snapshot.term,
            replayed_to: start.hard_state.commit.max(consistent.0),
            fast_forward: FastForward::Until(now.monotonic.after(FAST_FORWARD_WINDOW)),
            leader: None,
            leader_elected: None,
            leaderless_since: Some(now.monotonic),
            was_leader: false,
            doubtful_since: None,
            transfers: Vec::new(),
            compactions: Vec::new(),
            physical: 0,
            removed_at: None,
            stopping: None,
            changes: Changes::default(),
            is_ready: false,
            stopped: None,
            config,
        };
        if let Some(recovered) = recovered {
            running.adopt(recovered, now, out);
        } else if running.persistence.keeps() {
            running.store.note_written();
            running.persistence.record(|| schema::auth_revision(1));
        }
        for member in start.remotes.iter().filter(|peer| peer.id != start.identity.member) {
            let urls = member.peer_urls.clone();
            running.change_peers(PeerChange::Add { id: member.id, urls }, out);
        }
        running.begin(now, out);
        Ok(running)
    }

    /// Does what a member does once, when it starts.
    fn begin(&mut self, now: Now, out: &mut Outputs) {
        self.settle(now, out);
        self.fast_forward_alone(out);
        self.publish_attributes(now, out);
        self.begin_purging(now, out);
        self.settle(now, out);
    }

    /// The only member of a cluster need not wait for others before it stands for election.
    fn fast_forward_alone(&mut self, out: &mut Outputs) {
        if self.membership.members().len() == 1
            && self.membership.get(self.identity.member).is_some()
        {
            let text = "started as single-node; fast-forwarding election ticks";
            let line = self.fast_forward_line(text, self.election_ticks() - 1);
            out.push(Output::LogLine(line));
            self.consensus.fast_forward(self.election_ticks() - 1);
            self.fast_forward = FastForward::Done;
        }
    }

    pub(super) fn election_ticks(&self) -> usize {
        (self.config.election_timeout_ms / self.config.heartbeat_interval_ms) as usize
    }

    pub(super) fn request_timeout(&self) -> Duration {
        request_timeout(&self.config)
    }

    pub(super) fn cluster_id(&self) -> ClusterId {
        self.identity.cluster
    }

    /// What this member says of itself to peers.
    pub(super) fn peer_header(&self, to: Option<MemberId>) -> super::io::PeerHeader {
        super::io::PeerHeader {
            from: self.id(),
            to,
            cluster: self.cluster_id(),
            version: self.config.compat.server_version().to_owned(),
            min_cluster_version: super::version::Version::MIN_CLUSTER.to_string(),
            peer_urls: self.config.initial_advertise_peer_urls.clone(),
        }
    }

    pub(super) fn id(&self) -> MemberId {
        self.identity.member
    }

    pub(super) fn header(&self, revision: i64) -> pb::ResponseHeader {
        pb::ResponseHeader {
            cluster_id: self.identity.cluster.0,
            member_id: self.identity.member.0,
            revision,
            raft_term: self.consensus.term(),
        }
    }

    pub(super) fn log(&self, level: Level, message: &str, out: &mut Outputs) {
        out.push(Output::LogLine(LogLine::new(level, message)));
    }

    pub(super) fn step(&mut self, now: Now, input: Input, out: &mut Outputs) {
        let tick = Duration::from_millis(self.config.heartbeat_interval_ms);
        let silent = now.monotonic.since(self.consensus.last_tick());
        if self.consensus.is_leader() && silent > 3 * tick {
            self.doubtful_since = Some(now.monotonic);
        }
        self.input(now, input, out);
        self.timers(now, out);
        self.settle(now, out);
    }

    fn input(&mut self, now: Now, input: Input, out: &mut Outputs) {
        match input {
            Input::Request { id, request, options } => {
                self.request(id, *request, &options, now, out);
            }
            Input::Cancel(id) => self.cancel(id),
            Input::StreamOpen { id, kind, options, window_bytes } => {
                self.stream_open(id, kind, &options, window_bytes, now, out);
            }
            Input::StreamMessage { id, message } => self.stream_message(id, *message, now, out),
            Input::StreamWindow { id, bytes } => {
                self.hub.window(id, bytes, now.monotonic, out);
                self.export_window(id, bytes, out);
            }
            Input::StreamClose(id) => self.stream_close(id, out),
            Input::Raft { from, message } => {
                let is_foreign = message.to() != self.id()
                    && !self.config.defect().is(Defect::RaftAcceptForeignTo);
                // A snapshot comes with its database or not at all.
                if self.membership.is_removed(from) || is_foreign || message.snapshot().is_some() {
                    return;
                }
                if let Err(Fatal(reason)) = self.consensus.step(message) {
                    self.panic(reason);
                }
            }
            Input::PeerDial { id, header } => self.peer_dial(id, &header, out),
            Input::DialRefused { peer, refusal } => self.dial_refused(peer, refusal, out),
            Input::PeerActive(peer) => self.peer_active(peer, now, out),
            Input::PeerUnreachable(peer) => {
                self.active_since.remove(&peer);
                self.consensus.report_unreachable(peer);
            }
            Input::SnapshotStatus { peer, delivered } => {
                self.snapshot_status(peer, delivered, now, out);
            }
            Input::DatabaseDurable(receipt) => self.persistence.received(receipt),
            Input::DatabaseTaskDone { id, answer } => self.task_done(id, answer, out),
            Input::SnapshotDone(mark) => self.snapshot_saved(&mark, now, out),
            Input::SnapshotPinned { pin, mark } => {
                self.snapshot_pinned(pin, &mark, out);
                self.export_held(pin, out);
            }
            Input::SnapshotRead { pin, piece } => self.export_read(pin, *piece, out),
            Input::SnapshotArrived { from, message, image } => {
                self.snapshot_arrived(from, message, &image, now, out);
            }
            Input::PeerCall { id, call } => self.peer_call(id, call, now, out),
            Input::PeerCallDone { id, result } => self.peer_call_done(id, *result, now, out),
            Input::LogDurable(durable) => self.consensus.durable(durable, now.monotonic, out),
            // Discovery is refused: nobody asked a resolver.
            Input::Resolved { .. } => {}
            Input::WorkDone(done) => self.work_done(*done, now, out),
            Input::Deadline => {}
            Input::Shutdown => self.shutdown(now, out),
        }
    }

    /// Fires what is due.
    fn timers(&mut self, now: Now, out: &mut Outputs) {
        self.consensus.tick_if_due(now.monotonic);
        while let Some(expired) = self.proposals.expire(now.monotonic) {
            let error = if expired.unsent {
                ApiError::DeadlineExceeded
            } else {
                self.timeout_error(expired.since)
            };
            self.fail(expired.waiter, error, now, out);
        }
        let actions = self.reads.deadline(now.monotonic, out);
        self.read_actions(actions, now, out);
        self.publish_timer(now, out);
        self.version_timer(now, out);
        self.lease_timers(now, out);
        self.transfer_timers(now, out);
        self.stream_timers(now, out);
        self.snapshot_timers(now, out);
        self.upkeep_timers(now, out);
        if self.may_compact() && self.upkeep.removal_at <= now.monotonic {
            self.compact_slice(now, out);
        }
        if self.removed_at.is_some_and(|at| now.monotonic >= at.after(REMOVED_LINGER)) {
            self.stop_removed(out);
        }
    }

    /// When the member wants to be woken at the latest.
    pub(super) fn next_deadline(&self) -> Monotonic {
        let mut next = self.consensus.next_tick();
        let mut consider = |at: Option<Monotonic>| {
            if let Some(at) = at {
                next = next.min(at);
            }
        };
        if self.may_apply() {
            return Monotonic::ZERO;
        }
        consider(self.may_compact().then_some(self.upkeep.removal_at));
        consider(self.persistence.next_deadline());
        consider(self.snapshots.next_deadline());
        consider(self.proposals.next_deadline());
        consider(self.reads.next_deadline());
        consider(self.hub.next_deadline());
        consider(self.lease_deadline());
        consider(self.publish.next_deadline());
        consider(self.upkeep.next_deadline());
        consider(self.versions.next_deadline(self.consensus.is_leader()));
        consider(self.removed_at.map(|at| at.after(REMOVED_LINGER)));
        next
    }

    /// Lets everything that follows from the input happen.
    pub(super) fn settle(&mut self, now: Now, out: &mut Outputs) {
        let mut slice = APPLY_SLICE;
        let spent_max = out.spent() + super::io::STEP_BUDGET / 2;
        while self.stopped.is_none() {
            self.pump(now, out);
            if self.proposals.has_unsent() && self.consensus.leader().is_some() {
                self.send_unsent(now, out);
                continue;
            }
            let is_enough = slice == 0 || (slice < APPLY_SLICE && out.spent() >= spent_max);
            if is_enough || !self.may_apply() {
                break;
            }
            let applied = self.apply_slice(slice, spent_max, now, out);
            slice -= applied;
        }
        if self.stopped.is_none() {
            self.take_snapshots(now, out);
            self.write_due(now, out);
        }
        self.after_settling(now, out);
    }

    /// Whether entries wait to be applied and nothing is in their way.
    fn may_apply(&self) -> bool {
        self.consensus.has_to_apply()
            && !self.persistence.is_full()
            && !self.tasks.is_defragmenting()
    }

    /// The same of old versions and their removal.
    fn may_compact(&self) -> bool {
        self.store.compacting().is_some() && !self.persistence.is_full()
    }

    /// Takes what raft has ready, and lets it have its consequences short of applying entries.
    pub(super) fn pump(&mut self, now: Now, out: &mut Outputs) {
        self.consensus.pump(now.monotonic, out, &mut self.changes);
        self.hub.set_header(self.cluster_id(), self.id(), self.consensus.term());
        let soft_state = std::mem::take(&mut self.changes.soft_state);
        let read_states = std::mem::take(&mut self.changes.read_states);
        // The change of leader comes first: what the old one confirmed is not taken then.
        if soft_state {
            self.leadership(now, out);
        }
        for state in read_states {
            let (context, index) = (state.context, state.index);
            out.push(Output::Note(Note::ReadConfirmed { context, index }));
            let applied = self.applied;
            let actions = self.reads.confirmed(context, index, applied, now.monotonic, out);
            self.read_actions(actions, now, out);
        }
        self.send_snapshots(now, out);
    }

    fn after_settling(&mut self, now: Now, out: &mut Outputs) {
        for id in self.hub.take_ended() {
            self.streams.remove(&id);
        }
        if let Some(stop) = &self.stopped {
            if stop.exit_code == 0 {
                self.write_changes(out);
            }
            self.fail_everyone(ApiError::Stopped, now, out);
        }
    }

    /// Applies up to `limit` entries, fewer when they are dear but at least one, and serves who
    /// waited for them.
    fn apply_slice(&mut self, limit: usize, spent_max: u64, now: Now, out: &mut Outputs) -> usize {
        let mut count = 0;
        let is_affordable = |count: usize, out: &Outputs| count == 0 || out.spent() < spent_max;
        while count < limit && is_affordable(count, out) && self.stopped.is_none() {
            let Some(entry) = self.consensus.next_to_apply() else { break };
            self.apply(&entry, now, out);
            count += 1;
        }
        out.spend(count as u64);
        self.consensus.applied_to(self.applied);
        let actions = self.reads.applied(self.applied, now.monotonic);
        self.read_actions(actions, now, out);
        self.lease_progress(now, out);
        count
    }

    /// Role or leader changed.
    fn leadership(&mut self, now: Now, out: &mut Outputs) {
        let leader = self.consensus.leader();
        let is_leader = self.consensus.is_leader();
        let is_primary_still = self.config.defect().is(Defect::LeaseCkptAfterDemote);
        if self.was_leader && !is_leader && !is_primary_still {
            self.lessor.demote();
        }
        self.was_leader = is_leader;
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        self.doubtful_since = None;
        match leader {
            Some(_) => {
                self.leader_elected = Some(now.monotonic);
                self.leaderless_since = None;
                if self.config.defect().is(Defect::LeaseStaleRevoke) && !is_leader {
                    self.revoke_stale();
                }
                let actions = self.reads.leader_changed(now.monotonic);
                self.read_actions(actions, now, out);
            }
            None => self.leaderless_since = Some(now.monotonic),
        }
        self.lease_progress(now, out);
        self.transfer_timers(now, out);
    }

    pub(super) fn read_actions(
        &mut self,
        actions: impl IntoIterator<Item = ReadAction<Reader>>,
        now: Now,
        out: &mut Outputs,
    ) {
        for action in actions {
            match action {
                ReadAction::Ask => {
                    let context = match self.config.defect().is(Defect::ReadReuseCtx) {
                        true => self.identity.member.0,
                        false => self.ids.next_id(),
                    };
                    self.reads.asked(context);
                    out.push(Output::Note(Note::ReadAsked { context }));
                    self.consensus.read_index(context);
                }
                ReadAction::Serve { batch, started } => {
                    self.doubtful_since.take_if(|since| *since <= started);
                    for reader in batch {
                        self.serve_read(reader, now, out);
                    }
                }
                ReadAction::Fail(batch, error) => {
                    for reader in batch {
                        self.fail_read(reader, error, out);
                    }
                }
            }
        }
    }

    /// Proposes under a fresh id; without a leader the proposal is held back.
    pub(super) fn propose(
        &mut self,
        id: u64,
        kind: EntryKind,
        data: bytes::Bytes,
        waiter: Waiter,
        now: Now,
        out: &mut Outputs,
    ) {
        self.proposals.register(id, waiter, now.monotonic);
        self.send_proposal(Unsent { id, kind, data }, now, out);
    }

    fn send_proposal(&mut self, unsent: Unsent, now: Now, out: &mut Outputs) {
        if self.consensus.leader().is_none() {
            self.proposals.hold(unsent);
            return;
        }
        if self.consensus.propose(unsent.kind, unsent.data).is_err()
            && let Some(waiter) = self.proposals.take(unsent.id)
        {
            self.fail(waiter, ApiError::ProposalDropped, now, out);
        }
    }

    fn send_unsent(&mut self, now: Now, out: &mut Outputs) {
        for unsent in self.proposals.take_unsent() {
            self.send_proposal(unsent, now, out);
        }
    }

    pub(super) fn fail(&mut self, waiter: Waiter, error: ApiError, now: Now, out: &mut Outputs) {
        match waiter {
            Waiter::Client(id) => self.reply(id, Err(error), out),
            Waiter::PeerPromote(id) => self.promote_refused(id, error, out),
            Waiter::Publish => self.publish_failed(error, now, out),
            Waiter::NoSpace(client) => self.no_space(client, out),
            Waiter::Compactor => self.auto_compacted(Err(error), now, out),
            Waiter::Downgrade(asked) => self.downgrade_refused(asked, error, out),
            Waiter::Nobody => {}
        }
    }

    /// Which of etcd's words a timeout deserves (contract-cluster.md, section 4.6).
    pub(super) fn timeout_error(&self, since: Monotonic) -> ApiError {
        if let Some(elected) = self.leader_elected {
            let lost = Duration::from_millis(2 * self.config.election_timeout_ms);
            if since < elected && elected.since(since) < lost {
                return ApiError::TimeoutLeaderFailure;
            }
        }
        let connected_since =
            |peer: MemberId| self.active_since.get(&peer).is_some_and(|active| *active <= since);
        match self.consensus.leader() {
            None => ApiError::Timeout,
            Some(leader) if leader == self.id() => {
                let voters: Vec<MemberId> =
                    self.membership.voters().map(|member| member.id).collect();
                let connected = voters
                    .iter()
                    .filter(|voter| **voter == self.id() || connected_since(**voter))
                    .count();
                if connected > voters.len() / 2 {
                    ApiError::Timeout
                } else {
                    ApiError::TimeoutConnectionLost
                }
            }
            Some(leader) if connected_since(leader) => ApiError::Timeout,
            Some(_) => ApiError::TimeoutConnectionLost,
        }
    }

    /// Everybody who waits is told, and streams end.
    fn fail_everyone(&mut self, error: ApiError, now: Now, out: &mut Outputs) {
        for waiter in self.proposals.drain() {
            if !matches!(waiter, Waiter::Publish) {
                self.fail(waiter, error, now, out);
            }
        }
        for reader in self.reads.drain() {
            self.fail_read(reader, error, out);
        }
        for (id, _) in std::mem::take(&mut self.streams) {
            self.export_close(id, out);
            out.push(Output::StreamEnd { id, result: Err(error.into()) });
        }
        for (_, request) in std::mem::take(&mut self.forwarded) {
            self.reply(request, Err(error), out);
        }
        for (id, _) in std::mem::take(&mut self.compactions) {
            self.reply(id, Err(error), out);
        }
        for transfer in std::mem::take(&mut self.transfers) {
            if let Some(id) = transfer.request {
                self.reply(id, Err(error), out);
            }
        }
        for id in self.tasks.take_waiters() {
            self.reply(id, Err(error), out);
        }
        self.lease_fail_all(error, out);
    }

    /// Nobody waits for this request any more.
    fn cancel(&mut self, id: RequestId) {
        self.proposals.retain(|waiter| match waiter {
            Waiter::Client(client) | Waiter::NoSpace(Some(client)) => *client != id,
            Waiter::Downgrade(asked) => asked.client() != Some(id),
            _ => true,
        });
        self.reads.retain(|reader| match reader {
            Reader::Range(client, _) | Reader::Txn(client, _) | Reader::MemberList(client) => {
                *client != id
            }
            Reader::Downgrade(asked) => asked.client() != Some(id),
            _ => true,
        });
        self.work.retain(|_, worker| !matches!(worker, Worker::Client(client) if *client == id));
        self.forwarded.retain(|_, client| *client != id);
        self.compactions.retain(|(client, _)| *client != id);
        self.transfers.retain(|transfer| transfer.request != Some(id));
        self.tasks.cancel(id);
        self.lease_cancel(id);
    }

    /// Removes a batch of old versions, commits it, and pauses.
    fn compact_slice(&mut self, now: Now, out: &mut Outputs) {
        let batch = self.config.compaction_batch_limit as u64;
        let (spent, done) = self.store.compact_slice(batch.min(super::io::STEP_BUDGET / 4));
        out.spend(spent);
        self.record_keys();
        self.persistence.hurry();
        self.upkeep.removal_at = now.monotonic.after(self.config.compaction_sleep_interval);
        if done {
            self.compacted(out);
        }
    }

    /// Old versions are gone: who waited for that is answered.
    pub(super) fn compacted(&mut self, out: &mut Outputs) {
        for (id, response) in std::mem::take(&mut self.compactions) {
            self.reply(id, Ok(response), out);
        }
    }

    pub(super) fn reply(
        &self,
        id: RequestId,
        result: Result<Response, ApiError>,
        out: &mut Outputs,
    ) {
        out.push(Output::Reply { id, result: Box::new(result.map_err(Into::into)) });
    }

    /// A request of the client API: the checks that come before everything else.
    fn request(
        &mut self,
        id: RequestId,
        request: Request,
        options: &super::io::CallOptions,
        now: Now,
        out: &mut Outputs,
    ) {
        if let Err(error) = self.admit(&request, options) {
            return self.reply(id, Err(error), out);
        }
        self.dispatch(id, request, now, out);
    }

    fn admit(&self, request: &Request, options: &super::io::CallOptions) -> Result<(), ApiError> {
        if self.stopping.is_some() {
            return Err(ApiError::Stopped);
        }
        if self.membership.cluster_version().is_none() {
            return Err(ApiError::NotCapable);
        }
        if self.is_learner() {
            let is_served = match request {
                Request::Status(_) => true,
                Request::Range(range) => range.serializable,
                _ => false,
            };
            if !is_served {
                return Err(ApiError::NotSupportedForLearner);
            }
        }
        if options.require_leader && self.consensus.leader().is_none() {
            return Err(ApiError::NoLeader);
        }
        Ok(())
    }

    pub(super) fn is_learner(&self) -> bool {
        self.membership.get(self.id()).is_some_and(|member| member.is_learner)
    }
}

/// One of the streams of random numbers that a member draws from.
fn stream(seed: [u8; 32], number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::from_seed(seed);
    rng.set_stream(number);
    rng
}

pub(super) fn lessor_config(config: &Config) -> LessorConfig {
    LessorConfig {
        ttl_seconds_min: (config.election_timeout_ms * 3).div_ceil(2_000) as i64,
        retry: request_timeout(config),
        checkpoint: config.lease_checkpoint,
    }
}

/// 5 s and two election timeouts (contract-cluster.md, section 4.2).
pub(super) fn request_timeout(config: &Config) -> Duration {
    Duration::from_secs(5) + Duration::from_millis(2 * config.election_timeout_ms)
}
