//! A few members in one room: messages arrive at once, logs and databases are durable at once, time
//! moves only when a test says so. What a test needs of a world and no more.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use raft::eraftpb::MessageType;

use super::database::{self, Database};
use crate::api::ApiError;
use crate::config::{ClusterState, Config};
use crate::member::Member;
use crate::member::id::{CallId, MemberId, RequestId, StreamId};
use crate::member::io::{
    CallOptions, Input, Output, Outputs, PeerCall, PeerCallError, PeerChange, RaftMessage, Request,
    Response, Stop, StreamItem, StreamKind,
};
use crate::member::time::{Monotonic, Now, Wall};
use crate::proto::etcdserverpb as pb;
use crate::storage::log::{LogImage, LogReceipt, LogWrite};
use crate::storage::schema::DatabaseImage;

pub(super) struct Host {
    pub member: Member,
    pub log: Option<LogImage>,
    pub stop: Option<Stop>,
    pub lines: Vec<String>,
    pub is_ready: bool,
    /// Writes are not confirmed while this is set.
    pub is_hung: bool,
    /// What the driver has of a database, if it keeps one.
    pub database: Option<Database>,
    pub staged: VecDeque<crate::storage::log::Staged>,
}

pub(super) struct Cluster {
    pub configs: Vec<Config>,
    pub hosts: Vec<Option<Host>>,
    pub now: Duration,
    /// Pairs of places between which nothing passes.
    pub cut: Vec<(usize, usize)>,
    /// Messages of this type never arrive.
    pub lost: Option<MessageType>,
    /// Whether members started from now on have a database.
    pub keeps_database: bool,
    /// Snapshots that arrived: at whom, from whom.
    pub arrived: Vec<(usize, MemberId, RaftMessage, DatabaseImage)>,
    pub replies: BTreeMap<RequestId, Result<Response, ApiError>>,
    pub items: BTreeMap<StreamId, Vec<StreamItem>>,
    pub ends: BTreeMap<StreamId, Result<(), ApiError>>,
    pub inputs: VecDeque<(usize, Input)>,
    /// Calls in flight: who asked under which id.
    calls: BTreeMap<CallId, (usize, CallId)>,
    next: u64,
}

const WALL_START: i64 = 1_700_000_000_000_000_000;

fn peer_url(place: usize) -> String {
    format!("http://10.0.0.{}:2380", place + 1)
}

impl Cluster {
    /// So many members, configured for one new cluster, none started.
    pub(super) fn new(size: usize) -> Cluster {
        let listed = (0..size).map(|place| format!("n{}={}", place + 1, peer_url(place)));
        let initial_cluster = listed.collect::<Vec<_>>().join(",");
        let config = |place: usize| Config {
            name: format!("n{}", place + 1),
            data_dir: "data".to_owned(),
            initial_cluster: initial_cluster.clone(),
            initial_advertise_peer_urls: vec![peer_url(place)],
            listen_peer_urls: vec![peer_url(place)],
            advertise_client_urls: vec![format!("http://10.0.0.{}:2379", place + 1)],
            ..Config::default()
        };
        Cluster {
            configs: (0..size).map(config).collect(),
            hosts: (0..size).map(|_| None).collect(),
            now: Duration::ZERO,
            cut: Vec::new(),
            lost: None,
            keeps_database: false,
            arrived: Vec::new(),
            replies: BTreeMap::new(),
            items: BTreeMap::new(),
            ends: BTreeMap::new(),
            inputs: VecDeque::new(),
            calls: BTreeMap::new(),
            next: 1,
        }
    }

    /// All started, with a leader, all serving clients.
    pub(super) fn ready(size: usize) -> Cluster {
        let mut cluster = Cluster::new(size);
        cluster.start_all();
        cluster
    }

    /// Starts everybody, until all serve clients.
    pub(super) fn start_all(&mut self) {
        for place in 0..self.hosts.len() {
            self.start(place);
        }
        self.run(Duration::from_secs(6));
        for place in 0..self.hosts.len() {
            assert!(self.host(place).is_ready, "n{} serves", place + 1);
        }
    }

    /// One more member, which the others know of and nobody has started yet.
    pub(super) fn add(&mut self, is_learner: bool) -> (usize, MemberId) {
        let place = self.hosts.len();
        let (name, url) = (format!("n{}", place + 1), peer_url(place));
        let mut config = self.configs[0].clone();
        config.initial_cluster += &format!(",{name}={url}");
        config.name = name;
        config.initial_advertise_peer_urls = vec![url.clone()];
        config.initial_cluster_state = ClusterState::Existing;
        self.configs.push(config);
        self.hosts.push(None);
        let add = pb::MemberAddRequest { peer_ur_ls: vec![url], is_learner };
        let added = self.ask(0, Request::MemberAdd(add)).expect("added");
        let Response::MemberAdd(added) = added else { panic!("{added:?}") };
        (place, MemberId(added.member.expect("the member").id))
    }

    pub(super) fn host(&self, place: usize) -> &Host {
        self.hosts[place].as_ref().expect("started")
    }

    pub(super) fn host_mut(&mut self, place: usize) -> &mut Host {
        self.hosts[place].as_mut().expect("started")
    }

    pub(super) fn time(&self) -> Now {
        let nanos = self.now.as_nanos() as u64;
        Now {
            monotonic: Monotonic::from_nanos(nanos),
            wall: Wall::from_unix_nanos(WALL_START + nanos as i64),
        }
    }

    pub(super) fn start(&mut self, place: usize) {
        let (log, database) = match self.hosts[place].take() {
            Some(host) => (host.log, host.database),
            None => (None, None),
        };
        let database = self.keeps_database.then(|| database.unwrap_or_default());
        let image = database::disk_image(log.as_ref(), database.as_ref());
        let mut out = Outputs::new();
        let seed = [place as u8 + 1; 32];
        let config = self.configs[place].clone();
        let member = Member::start(config, seed, image, self.time(), &mut out);
        self.hosts[place] = Some(Host {
            member,
            log,
            stop: None,
            lines: Vec::new(),
            is_ready: false,
            is_hung: false,
            database,
            staged: VecDeque::new(),
        });
        self.outputs(place, &mut out);
        self.settle();
    }

    /// Ends a process; its log stays.
    pub(super) fn kill(&mut self, place: usize) {
        if let Some(host) = &mut self.hosts[place] {
            host.stop = Some(Stop { exit_code: 137, reason: "killed".to_owned() });
            host.staged.clear();
            if let Some(database) = &mut host.database {
                database.lose();
            }
        }
        self.inputs.retain(|(target, _)| *target != place);
    }

    /// Ends a process and starts it again, until it has caught up.
    pub(super) fn restart(&mut self, place: usize) {
        self.kill(place);
        self.start(place);
        self.run(Duration::from_secs(6));
    }

    pub(super) fn wipe(&mut self, place: usize) {
        self.hosts[place] = None;
        self.configs[place].initial_cluster_state = ClusterState::New;
    }

    pub(super) fn is_up(&self, place: usize) -> bool {
        self.hosts[place].as_ref().is_some_and(|host| host.stop.is_none())
    }

    pub(super) fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one, other)) || self.cut.contains(&(other, one))
    }

    /// Cuts one member off from all others; they notice.
    pub(super) fn isolate(&mut self, place: usize) {
        for other in 0..self.hosts.len() {
            if other != place {
                self.cut.push((place, other));
            }
        }
    }

    /// Moves time on in ticks of a millisecond.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now += Duration::from_millis(1);
            for place in 0..self.hosts.len() {
                let now = self.time().monotonic;
                let due = self.is_up(place)
                    && self.host(place).member.next_deadline().is_some_and(|at| at <= now);
                if due {
                    self.inputs.push_back((place, Input::Deadline));
                }
            }
            self.settle();
        }
    }

    pub(super) fn settle(&mut self) {
        let mut out = Outputs::new();
        while let Some((place, input)) = self.inputs.pop_front() {
            if !self.is_up(place) {
                continue;
            }
            let now = self.time();
            self.host_mut(place).member.step(now, input, &mut out);
            self.outputs(place, &mut out);
        }
    }

    pub(super) fn input(&mut self, place: usize, input: Input) {
        self.inputs.push_back((place, input));
        self.settle();
    }

    fn outputs(&mut self, place: usize, out: &mut Outputs) {
        let outputs: Vec<Output> = out.drain().collect();
        for output in outputs {
            self.output(place, output);
        }
        self.commit(place);
    }

    fn output(&mut self, place: usize, output: Output) {
        match output {
            Output::Reply { id, result } => {
                let result =
                    (*result).map_err(|error| error.api().expect("no disk refuses anything"));
                assert!(self.replies.insert(id, result).is_none(), "one reply a request");
            }
            Output::StreamItem { id, item, .. } => self.items.entry(id).or_default().push(*item),
            Output::StreamEnd { id, result } => {
                let result = result.map_err(|error| error.api().expect("no disk refuses anything"));
                assert!(self.ends.insert(id, result).is_none(), "a stream ends once");
            }
            Output::Send { to, message } => self.send(place, to, message),
            Output::Log(staged) => {
                if matches!(staged.write(), LogWrite::Snapshot(_)) {
                    self.database_mut(place).replace();
                }
                self.host_mut(place).staged.push_back(staged);
                self.flush(place);
            }
            Output::Peers(PeerChange::Add { id, .. }) => {
                self.inputs.push_back((place, Input::PeerActive(id)));
            }
            Output::Peers(_) | Output::DialAnswer { .. } | Output::Note(_) => {}
            Output::PeerCall { id, url, call, .. } => self.peer_call(place, id, &url, call),
            Output::PeerAnswer { id, result } => {
                if let Some((asker, id)) = self.calls.remove(&id) {
                    self.inputs
                        .push_back((asker, Input::PeerCallDone { id, result: Box::new(result) }));
                }
            }
            Output::Work(work) => {
                self.inputs.push_back((place, Input::WorkDone(Box::new(work.run()))));
            }
            Output::LogLine(line) => {
                let fields = line.fields.iter().map(|(name, value)| format!(" {name}={value}"));
                let text = line.message.clone() + &fields.collect::<String>();
                self.host_mut(place).lines.push(text);
            }
            other @ Output::Resolve { .. } => panic!("nobody asked for {other:?}"),
            Output::Database(write) => self.database_mut(place).queue(write),
            Output::DatabaseTask { id, task } => self.database_task(place, id, task),
            Output::Snapshot(task) => self.snapshot_task(place, task),
            Output::Ready => self.host_mut(place).is_ready = true,
            Output::Stop(stop) => self.host_mut(place).stop = Some(stop),
        }
    }

    /// Confirms what is staged, unless the disk hangs.
    pub(super) fn flush(&mut self, place: usize) {
        while !self.host(place).is_hung && self.flush_one(place) {}
    }

    /// Makes the oldest staged write durable.
    pub(super) fn flush_one(&mut self, place: usize) -> bool {
        let host = self.host_mut(place);
        let Some(staged) = host.staged.pop_front() else { return false };
        write(&mut host.log, staged.write());
        if let LogWrite::Snapshot(mark) = staged.write() {
            host.database.as_mut().expect("a snapshot has a database").install(mark);
        }
        if !staged.is_awaited() {
            return true;
        }
        let receipt = LogReceipt::for_test(staged.number());
        let confirmed = Input::LogDurable(staged.release(receipt));
        self.inputs.push_back((place, confirmed));
        true
    }

    pub(super) fn place_of(&self, id: MemberId) -> Option<usize> {
        (0..self.hosts.len()).find(|place| {
            self.hosts[*place].as_ref().is_some_and(|host| host.member.id() == Some(id))
        })
    }

    fn send(&mut self, from: usize, to: MemberId, message: RaftMessage) {
        let Some(target) = self.place_of(to).filter(|_| self.lost != Some(message.0.msg_type))
        else {
            return;
        };
        let id = self.host(from).member.id().expect("running");
        if !self.is_cut(from, target) && self.is_up(target) {
            self.inputs.push_back((target, Input::Raft { from: id, message }));
        }
    }

    fn peer_call(&mut self, from: usize, id: CallId, url: &str, call: PeerCall) {
        let target = (0..self.hosts.len()).find(|place| peer_url(*place) == url);
        match target.filter(|target| self.is_up(*target) && !self.is_cut(from, *target)) {
            Some(target) => {
                let call_id = CallId(1_000_000 + self.next);
                self.next += 1;
                self.calls.insert(call_id, (from, id));
                self.inputs.push_back((target, Input::PeerCall { id: call_id, call }));
            }
            None => {
                let result = Err(PeerCallError::Unreachable("connection refused".to_owned()));
                self.inputs.push_back((from, Input::PeerCallDone { id, result: Box::new(result) }));
            }
        }
    }

    pub(super) fn request(&mut self, place: usize, request: Request) -> RequestId {
        let id = RequestId(self.next);
        self.next += 1;
        let request = Box::new(request);
        self.input(place, Input::Request { id, request, options: CallOptions::default() });
        id
    }

    /// Asks and waits for at most ten seconds.
    pub(super) fn ask(&mut self, place: usize, request: Request) -> Result<Response, ApiError> {
        let id = self.request(place, request);
        for _ in 0..10_000 {
            if let Some(result) = self.replies.remove(&id) {
                return result;
            }
            self.run(Duration::from_millis(1));
        }
        panic!("no reply within ten seconds")
    }

    pub(super) fn open(&mut self, place: usize, kind: StreamKind) -> StreamId {
        self.open_with(place, kind, 1 << 20)
    }

    pub(super) fn open_with(
        &mut self,
        place: usize,
        kind: StreamKind,
        window_bytes: u64,
    ) -> StreamId {
        let id = StreamId(self.next);
        self.next += 1;
        let options = CallOptions::default();
        self.input(place, Input::StreamOpen { id, kind, options, window_bytes });
        id
    }

    pub(super) fn leader(&self) -> Option<usize> {
        (0..self.hosts.len()).filter(|place| self.is_up(*place)).find(|place| {
            let view = self.host(*place).member.raft_view();
            view.is_some_and(|view| view.role == crate::member::io::Role::Leader)
        })
    }

    pub(super) fn has_line(&self, place: usize, text: &str) -> bool {
        self.host(place).lines.iter().any(|line| line.contains(text))
    }
}

/// What a log would hold after a write.
fn write(log: &mut Option<LogImage>, write: &LogWrite) {
    if let LogWrite::Create { metadata, .. } = write {
        *log = Some(LogImage { metadata: metadata.clone(), ..LogImage::default() });
    }
    let log = log.as_mut().expect("created first");
    let (entries, hard_state) = write.content();
    if let Some(first) = entries.first() {
        log.entries.retain(|entry| entry.index < first.index);
        log.entries.extend_from_slice(entries);
    }
    log.hard_state = hard_state.unwrap_or(log.hard_state);
}
