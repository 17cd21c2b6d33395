//! One etcd member as a deterministic, synchronous state machine.
//!
//! `Member::step(now, input, outputs)` is the only way anything happens. The member never reads a
//! clock, entropy, the order of a hash map, a socket or a file: time arrives as `Now`, entropy as a
//! seed, and `next_deadline` says when it wants to be woken.
//!
//! ```text
//! booting ──decision──▶ creating ──log durable──▶ running ──▶ stopped
//!    └──────────a log exists──▶ checking ─────────▲  │           ▲
//!    └──────────refused──────────────────────────────┴───────────┘
//! ```

pub(crate) mod alarms;
mod apply;
pub mod bootstrap;
mod compactor;
mod consensus;
mod corruption;
mod database_tasks;
pub mod dial;
mod downgrade;
mod entry_version;
mod exports;
mod figures;
pub mod id;
pub mod identity;
pub mod io;
mod leases;
pub mod membership;
mod message;
mod peers;
mod persistence;
mod proposals;
mod publish;
mod quota;
mod raftlog;
mod reads;
mod reconfigure;
mod recovery;
mod request;
mod running;
mod snapshots;
mod storage_version;
mod streams;
pub mod time;
mod transfer;
mod upkeep;
pub mod version;
mod versions;
pub mod work;

#[cfg(test)]
mod tests;

pub use consensus::RaftView;
pub use figures::Figures;

use std::collections::VecDeque;

use crate::config::Config;
use crate::lease::{LeaseId, Lessor};
use crate::mvcc::{Store, View};
use crate::storage::database::DatabaseSize;
use crate::storage::log::{
    HardState, LogDurable, LogEntry, LogImage, LogNumber, LogWrite, SnapshotMark, Staged,
};
use crate::storage::schema::DatabaseImage;
use bootstrap::{Action, Bootstrap, Decision, Event};
use corruption::{InitialCheck, Progress};
use id::{CallId, ClusterId, MemberId, RequestId};
use io::{Input, Level, MemberInfo, Output, Outputs, PeerAnswer, PeerCallError, Stop};
use membership::{Identity, Membership};
use running::{Database, Running, Start};
use time::{Monotonic, Now};

/// What a member finds on its disk when it starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskImage {
    /// The write-ahead log, if there is one.
    pub log: Option<LogImage>,
    /// The database that goes with it, if there is one.
    pub database: Option<DatabaseImage>,
    /// How large that database is.
    pub database_size: DatabaseSize,
    /// Whether the driver keeps a database: without one the log is never truncated.
    pub keeps_database: bool,
}

/// Requests that a member holds while it does not serve clients yet.
const HELD_MAX: usize = 4_096;

/// One member, from the start of its process to its end.
pub struct Member {
    config: Config,
    seed: [u8; 32],
    phase: Phase,
    /// Waits for the bootstrap to be over.
    database: Database,
    /// Client inputs that came before the member was ready: its listeners accept connections, but
    /// nothing is served (contract-cluster.md, section 2.7).
    held: VecDeque<Input>,
}

enum Phase {
    Booting(Box<Bootstrap>),
    /// The log's first records are on their way to the disk.
    Creating(Box<Start>),
    /// What the database holds is compared with what others hold; what was staged meanwhile has
    /// become durable.
    Checking(Box<Start>, Box<InitialCheck>, Vec<LogDurable>),
    Running(Box<Running>),
    Stopped,
}

impl Member {
    /// Starts a member on what its disk holds.
    pub fn start(
        config: Config,
        seed: [u8; 32],
        disk: DiskImage,
        now: Now,
        out: &mut Outputs,
    ) -> Member {
        let database = Database {
            image: disk.database,
            size: disk.database_size,
            is_kept: disk.keeps_database,
        };
        let (phase, held) = (Phase::Stopped, VecDeque::new());
        let mut member = Member { config, seed, phase, database, held };
        let metadata = disk.log.as_ref().map(|log| &log.metadata[..]);
        let (bootstrap, actions) = Bootstrap::start(&member.config, metadata, now.monotonic);
        member.phase = Phase::Booting(Box::new(bootstrap));
        member.boot(actions, disk.log, now, out);
        member
    }

    /// Takes one input. Outputs are appended in the order in which they take effect.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Outputs) {
        match &mut self.phase {
            Phase::Stopped => {}
            Phase::Running(running) if running.is_ready || !is_from_client(&input) => {
                running.step(now, input, out);
                self.after_running(now, out);
            }
            _ => self.step_unready(now, input, out),
        }
    }

    fn step_unready(&mut self, now: Now, input: Input, out: &mut Outputs) {
        match input {
            Input::Cancel(id) => self.held.retain(|held| !is_request(held, id)),
            input if is_from_client(&input) => {
                // Beyond the limit a caller is left to its own deadline, as behind a full backlog.
                self.held.push_back(input);
                self.held.truncate(HELD_MAX);
            }
            Input::Shutdown => {
                // Signal handlers are installed with readiness: before, a signal just ends it.
                let stop = Stop { exit_code: 143, reason: "terminated".to_owned() };
                self.stop(stop, out);
            }
            // Peer listeners are open, but their handler serves only after bootstrap.
            Input::PeerDial { id, .. } => {
                let result = Err(io::DialRefusal::NotServing);
                out.push(Output::DialAnswer { id, result });
            }
            Input::PeerCall { id, .. } => {
                let result = Err(PeerCallError::Unreachable("not serving".to_owned()));
                out.push(Output::PeerAnswer { id, result });
            }
            Input::LogDurable(durable) => self.created(durable, now, out),
            Input::PeerCallDone { id, result } if matches!(self.phase, Phase::Checking(..)) => {
                self.check_answered(id, &result, now, out);
            }
            Input::PeerCallDone { id, result } => {
                self.boot_event(Event::Answer { id, result: *result }, now, out);
            }
            Input::Deadline => self.boot_event(Event::Deadline, now, out),
            _ => {}
        }
    }

    fn boot_event(&mut self, event: Event, now: Now, out: &mut Outputs) {
        if let Phase::Booting(bootstrap) = &mut self.phase {
            let actions = bootstrap.step(now.monotonic, event);
            self.boot(actions, None, now, out);
        }
    }

    /// When the member wants to be woken at the latest; `None` once it has stopped.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match &self.phase {
            Phase::Booting(bootstrap) => bootstrap.next_deadline(),
            Phase::Running(running) => Some(running.next_deadline()),
            Phase::Creating(_) | Phase::Checking(..) | Phase::Stopped => None,
        }
    }

    fn boot(
        &mut self,
        actions: Vec<Action>,
        mut log: Option<LogImage>,
        now: Now,
        out: &mut Outputs,
    ) {
        for action in actions {
            match action {
                Action::Ask { id, url, call, timeout } => {
                    out.push(Output::PeerCall { id, url, call, timeout });
                }
                Action::Log(line) => out.push(Output::LogLine(line)),
                Action::Failed(stop) => self.stop(stop, out),
                Action::Finished(decision) => self.decided(decision, log.take(), now, out),
            }
        }
    }

    fn decided(&mut self, decision: Decision, log: Option<LogImage>, now: Now, out: &mut Outputs) {
        let next_call = match &self.phase {
            Phase::Booting(bootstrap) => bootstrap.next_call(),
            _ => CallId(1),
        };
        match decision {
            Decision::New { id, cluster, members } => {
                let identity = Identity { cluster, member: id };
                self.create(identity, &members, Vec::new(), next_call, out);
            }
            Decision::Join { id, cluster, members } => {
                let identity = Identity { cluster, member: id };
                self.create(identity, &[], members, next_call, out);
            }
            Decision::Restart { id, cluster } => {
                let identity = Identity { cluster, member: id };
                let log = log.expect("a member restarts from its log");
                self.restart(identity, log, next_call, now, out);
            }
        }
    }

    /// Stages the log's first records: metadata, and for a new cluster its members.
    fn create(
        &mut self,
        identity: Identity,
        founders: &[MemberInfo],
        remotes: Vec<MemberInfo>,
        next_call: CallId,
        out: &mut Outputs,
    ) {
        let (entries, hard_state) = match founders {
            [] => (Vec::new(), HardState::default()),
            _ => (bootstrap::bootstrap_entries(founders), bootstrap::bootstrap_state(founders)),
        };
        let create = LogWrite::Create {
            metadata: bootstrap::encode_metadata(identity.member, identity.cluster),
            entries: entries.clone(),
            hard_state,
        };
        out.push(Output::Log(Staged::new(LogNumber(1), create, Vec::new())));
        let start = Start {
            identity,
            hard_state,
            snapshot: SnapshotMark::default(),
            entries,
            next_number: 2,
            database: std::mem::take(&mut self.database),
            next_call,
            remotes,
        };
        self.phase = Phase::Creating(Box::new(start));
    }

    /// The log is there: raft may start.
    fn created(&mut self, durable: LogDurable, now: Now, out: &mut Outputs) {
        if let Phase::Checking(_, _, written) = &mut self.phase {
            return written.push(durable);
        }
        if matches!(self.phase, Phase::Creating(_))
            && let Phase::Creating(start) = std::mem::replace(&mut self.phase, Phase::Stopped)
        {
            self.run(*start, now, out);
        }
    }

    fn restart(
        &mut self,
        identity: Identity,
        mut log: LogImage,
        next_call: CallId,
        now: Now,
        out: &mut Outputs,
    ) {
        let database = std::mem::take(&mut self.database);
        if database.image.is_none()
            && let Some(refusal) =
                bootstrap::refuse_snapshot(&self.config, &log.snapshot, database.is_kept)
        {
            out.push(Output::LogLine(refusal.line));
            return self.stop(refusal.stop, out);
        }
        let mut next_number = 1;
        if self.config.force_new_cluster {
            // Rows that cannot be read are told of when the database is loaded.
            let consistent = database.image.as_ref().map(DatabaseImage::consistent_index);
            let consistent = consistent.and_then(Result::ok).flatten().unwrap_or_default();
            let forced = match bootstrap::force_new_cluster(log, identity, consistent) {
                Ok(forced) => forced,
                Err(stop) => return self.stop(stop, out),
            };
            for line in forced.lines {
                out.push(Output::LogLine(line));
            }
            let write = LogWrite::Save {
                entries: forced.appended,
                hard_state: Some(forced.image.hard_state),
                sync: true,
            };
            out.push(Output::Log(Staged::new(LogNumber(1), write, Vec::new())));
            next_number = 2;
            log = forced.image;
        } else {
            out.push(Output::LogLine(
                identity
                    .line(Level::Info, "restarting local member")
                    .with("commit-index", log.hard_state.commit.to_string()),
            ));
        }
        let start = Start {
            identity,
            hard_state: log.hard_state,
            snapshot: log.snapshot,
            entries: log.entries,
            next_number,
            database,
            next_call,
            remotes: Vec::new(),
        };
        if self.config.initial_corrupt_check {
            return self.check(start, now, out);
        }
        self.run(start, now, out);
    }

    /// Compares what the database holds with what others hold. One that cannot be read is told of
    /// when the member runs.
    fn check(&mut self, start: Start, now: Now, out: &mut Outputs) {
        let (store, membership) = match start.recover(&self.config) {
            Ok(Some(found)) => (found.store, found.membership),
            Ok(None) => (Store::new(), Membership::default()),
            Err(_) => return self.run(start, now, out),
        };
        let timeout = running::request_timeout(&self.config);
        let members = membership.members();
        let (identity, next_call) = (start.identity, start.next_call);
        let mut check =
            InitialCheck::new(identity, timeout, &store.view(), members, next_call, out);
        let progress = check.advance(out);
        self.phase = Phase::Checking(Box::new(start), Box::new(check), Vec::new());
        self.checked(progress, now, out);
    }

    fn check_answered(
        &mut self,
        id: CallId,
        result: &Result<PeerAnswer, PeerCallError>,
        now: Now,
        out: &mut Outputs,
    ) {
        let Phase::Checking(_, check, _) = &mut self.phase else { return };
        let progress = check.answered(id, result, out);
        self.checked(progress, now, out);
    }

    /// A check has come on: the member may start, or it may not.
    fn checked(&mut self, progress: Progress, now: Now, out: &mut Outputs) {
        match progress {
            Progress::Asking => {}
            Progress::Failed(stop) => self.stop(stop, out),
            Progress::Passed => {
                let phase = std::mem::replace(&mut self.phase, Phase::Stopped);
                let Phase::Checking(mut start, check, written) = phase else { return };
                start.next_call = check.next_call();
                self.run(*start, now, out);
                for durable in written {
                    self.step(now, Input::LogDurable(durable), out);
                }
            }
        }
    }

    fn run(&mut self, start: Start, now: Now, out: &mut Outputs) {
        for line in quota::lines(&self.config) {
            out.push(Output::LogLine(line));
        }
        match Running::new(self.config.clone(), self.seed, start, now, out) {
            Ok(running) => {
                self.phase = Phase::Running(Box::new(running));
                self.after_running(now, out);
            }
            Err(stop) => self.stop(stop, out),
        }
    }

    /// A member that has become ready takes the requests that waited; one that must stop, stops.
    fn after_running(&mut self, now: Now, out: &mut Outputs) {
        while let Phase::Running(running) = &mut self.phase {
            if let Some(stop) = running.stopped.take() {
                return self.stop(stop, out);
            }
            if !running.is_ready {
                return;
            }
            let Some(input) = self.held.pop_front() else { return };
            running.step(now, input, out);
        }
    }

    fn stop(&mut self, stop: Stop, out: &mut Outputs) {
        self.phase = Phase::Stopped;
        self.held.clear();
        out.push(Output::Stop(stop));
    }

    fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Running(running) => Some(running),
            _ => None,
        }
    }

    /// Its identity, once it is decided.
    pub fn id(&self) -> Option<MemberId> {
        self.running().map(Running::id)
    }

    /// Its cluster, once it is decided.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.running().map(Running::cluster_id)
    }

    /// Whether it serves clients.
    pub fn is_ready(&self) -> bool {
        self.running().is_some_and(|running| running.is_ready)
    }

    /// What it says of itself to peers: the header of a dial or post to `to`.
    pub fn peer_header(&self, to: Option<MemberId>) -> Option<io::PeerHeader> {
        self.running().map(|running| running.peer_header(to))
    }

    /// White box: raft's state.
    pub fn raft_view(&self) -> Option<RaftView> {
        self.running().map(|running| running.consensus.view())
    }

    /// White box: the store's revision.
    pub fn revision(&self) -> Option<i64> {
        self.running().map(|running| running.store.revision())
    }

    /// White box: the index up to which its state has the effects of entries. After a restart that
    /// is what the database had, also while raft comes to these entries again.
    pub fn applied(&self) -> u64 {
        self.running()
            .map_or(0, |running| running.applied.max(running.persistence.consistent_index()))
    }

    /// White box: an entry of its log.
    pub fn log_entry(&self, index: u64) -> Option<LogEntry> {
        self.running()?.consensus.entry(index)
    }

    /// White box: its keys as they are now.
    pub fn view(&self) -> Option<View> {
        self.running().map(|running| running.store.view())
    }

    /// White box: its leases with their granted TTL in seconds, ascending.
    pub fn leases(&self) -> Vec<(LeaseId, i64)> {
        let lessor = self.running().map(|running| &running.lessor);
        let stored = |lessor: &Lessor, id| lessor.stored(id).map(|(ttl, _)| (id, ttl));
        let all = |lessor: &Lessor| -> Vec<_> {
            lessor.leases().into_iter().filter_map(|id| stored(lessor, id)).collect()
        };
        lessor.map(all).unwrap_or_default()
    }

    /// White box: the members of its cluster as it knows them.
    pub fn members(&self) -> Vec<MemberInfo> {
        self.running()
            .map_or_else(Vec::new, |running| running.membership.members().cloned().collect())
    }
}

fn is_from_client(input: &Input) -> bool {
    matches!(
        input,
        Input::Request { .. }
            | Input::Cancel(_)
            | Input::StreamOpen { .. }
            | Input::StreamMessage { .. }
            | Input::StreamWindow { .. }
            | Input::StreamClose(_)
    )
}

fn is_request(input: &Input, id: RequestId) -> bool {
    matches!(input, Input::Request { id: held, .. } if *held == id)
}
