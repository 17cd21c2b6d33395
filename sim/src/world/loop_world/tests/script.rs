//! A small program in a member's place: it beats to its peers, answers requests, and writes down
//! what it is told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use detcd::config::Config;
use detcd::member::id::{CallId, ClusterId, MemberId};
use detcd::member::io::{
    DialRefusal, Input, LogLine, Output, Outputs, PeerAnswer, PeerCall, PeerChange, PeerHeader,
    RaftMessage, Request, Response, Role, StreamItem, StreamMessage,
};
use detcd::member::time::{Monotonic, Now};
use detcd::member::{Figures, RaftView};
use detcd::proto::{etcdserverpb as pb, raftpb};
use detcd::storage::log::LogEntry;
use detsim_reports::record::{MemberName, Time};
use prost::Message as _;

use super::super::*;

/// How often a script beats.
const BEAT: Duration = Duration::from_millis(100);

/// What happened to scripts: when, to which name, what.
pub type Diary = Rc<RefCell<Vec<(u64, String, String)>>>;

#[derive(Debug)]
pub struct Scripts {
    pub diary: Diary,
}

impl Program for Scripts {
    fn start(&self, beginning: Beginning, out: &mut Outputs) -> Box<dyn Machine> {
        let mut script = Script {
            name: beginning.config.name.clone(),
            id: id_of(&beginning.config.name),
            cluster: ClusterId(beginning.config.initial_cluster_token.len() as u64),
            diary: Rc::clone(&self.diary),
            next_beat: beginning.now.monotonic.after(BEAT),
            beats: 0,
            peers: Vec::new(),
            watches: BTreeMap::new(),
        };
        script.write(beginning.now, "starts");
        for item in beginning.config.initial_cluster.split(',') {
            let (name, url) = item.split_once('=').expect("name=url");
            if name != script.name {
                let id = id_of(name);
                script.peers.push(id);
                out.push(Output::Peers(PeerChange::Add { id, urls: vec![url.to_owned()] }));
            }
        }
        if beginning.config.pre_vote {
            out.push(Output::Ready);
        }
        Box::new(script)
    }
}

pub fn id_of(name: &str) -> MemberId {
    MemberId(name.trim_start_matches('n').parse().expect("n1, n2, …"))
}

struct Script {
    name: String,
    id: MemberId,
    cluster: ClusterId,
    diary: Diary,
    next_beat: Monotonic,
    beats: u64,
    peers: Vec<MemberId>,
    watches: BTreeMap<u64, i64>,
}

impl Script {
    fn write(&self, now: Now, what: impl Into<String>) {
        let at = now.monotonic.as_nanos();
        self.diary.borrow_mut().push((at, self.name.clone(), what.into()));
    }

    /// A heartbeat whose commit index is its number.
    fn beat(&mut self, out: &mut Outputs) {
        self.beats += 1;
        for &peer in &self.peers {
            let message = raftpb::Message {
                r#type: Some(raftpb::MessageType::MsgHeartbeat as i32),
                to: Some(peer.0),
                from: Some(self.id.0),
                term: Some(1),
                commit: Some(self.beats),
                ..Default::default()
            };
            let message = RaftMessage::decode(Bytes::from(message.encode_to_vec()));
            out.push(Output::Send { to: peer, message: message.expect("it is well formed") });
        }
    }

    fn answer(&mut self, now: Now, request: Request) -> Option<Response> {
        let header = Some(pb::ResponseHeader { revision: 1, ..Default::default() });
        match request {
            Request::Put(put) if &put.key[..] == b"panic" => panic!("told to panic"),
            Request::Put(put) if &put.key[..] == b"silence" => {
                self.write(now, "put silence");
                None
            }
            Request::Put(_) => Some(Response::Put(pb::PutResponse { header, prev_kv: None })),
            _ => Some(Response::Range(pb::RangeResponse { header, ..Default::default() })),
        }
    }
}

impl Machine for Script {
    fn step(&mut self, now: Now, input: Input, out: &mut Outputs) {
        match input {
            Input::Deadline => {
                while self.next_beat <= now.monotonic {
                    self.next_beat = now.monotonic.after(BEAT);
                    self.beat(out);
                }
            }
            Input::PeerDial { id, header } => {
                let result = if header.cluster == self.cluster {
                    Ok(())
                } else {
                    Err(DialRefusal::ClusterIdMismatch)
                };
                out.push(Output::DialAnswer { id, result });
            }
            Input::Raft { from, message } => {
                self.write(now, format!("beat {} of {from}", message.commit()));
            }
            Input::PeerActive(peer) => self.write(now, format!("active {peer}")),
            Input::PeerUnreachable(peer) => self.write(now, format!("unreachable {peer}")),
            Input::DialRefused { peer, refusal } => {
                self.write(now, format!("refused by {peer}: {refusal:?}"));
            }
            Input::Request { id, request, .. } => match *request {
                // A range asks the member to call a peer: the key is the URL.
                Request::Range(range) if !range.key.is_empty() => {
                    let url = String::from_utf8(range.key.to_vec()).expect("a URL");
                    let (call, timeout) = (PeerCall::DowngradeEnabled, Duration::from_secs(3));
                    out.push(Output::PeerCall { id: CallId(id.0), url, call, timeout });
                }
                request => {
                    if let Some(response) = self.answer(now, request) {
                        out.push(Output::Reply { id, result: Box::new(Ok(response)) });
                    }
                }
            },
            Input::Cancel(id) => self.write(now, format!("cancel {}", id.0)),
            Input::PeerCall { id, .. } => {
                let result = Ok(PeerAnswer::DowngradeEnabled(true));
                out.push(Output::PeerAnswer { id, result });
            }
            Input::PeerCallDone { result, .. } => self.write(now, format!("called {result:?}")),
            Input::StreamMessage { id, message } if matches!(*message, StreamMessage::Watch(_)) => {
                for (created, revision) in [(true, 1), (false, 2)] {
                    let header = Some(pb::ResponseHeader { revision, ..Default::default() });
                    let item = pb::WatchResponse { header, created, ..Default::default() };
                    let item = Box::new(StreamItem::Watch(item));
                    out.push(Output::StreamItem { id, item, bytes: 8192 });
                }
                *self.watches.entry(id.0).or_default() += 1;
            }
            Input::StreamMessage { id, message } => {
                let StreamMessage::KeepAlive(ask) = *message else { return };
                let item = pb::LeaseKeepAliveResponse { header: None, id: ask.id, ttl: 9 };
                let item = Box::new(StreamItem::KeepAlive(item));
                out.push(Output::StreamItem { id, item, bytes: 10 });
            }
            Input::StreamClose(id) => self.write(now, format!("closed {}", id.0)),
            Input::StreamWindow { bytes, .. } => self.write(now, format!("window {bytes}")),
            Input::Shutdown => {
                let stop = detcd::member::io::Stop { exit_code: 0, reason: String::new() };
                out.push(Output::Stop(stop));
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        Some(self.next_beat)
    }

    fn identity(&self) -> Option<(MemberId, ClusterId)> {
        Some((self.id, self.cluster))
    }

    fn raft(&self) -> Option<RaftView> {
        Some(RaftView {
            term: 1,
            vote: 0,
            role: Role::Follower,
            leader: MemberId(1),
            commit: self.beats,
            applied: 0,
            last_index: 0,
        })
    }

    fn revision(&self) -> i64 {
        1
    }

    fn entry(&self, _index: u64) -> Option<LogEntry> {
        None
    }

    fn contents(&self) -> Option<Contents> {
        None
    }

    fn figures(&self, _: Monotonic) -> Option<Figures> {
        None
    }

    fn peer_header(&self, to: Option<MemberId>) -> Option<PeerHeader> {
        Some(PeerHeader {
            from: self.id,
            to,
            cluster: self.cluster,
            version: "3.6.0".to_owned(),
            min_cluster_version: "3.0.0".to_owned(),
            peer_urls: Vec::new(),
        })
    }
}

/// Flags of scripts: `pre-vote=false` makes one that never becomes ready.
fn parse(flags: &[(String, String)]) -> Result<Config, (Exit, Vec<LogLine>)> {
    let mut config = Config::default();
    for (name, value) in flags {
        match name.as_str() {
            "name" => config.name.clone_from(value),
            "initial-cluster" => config.initial_cluster.clone_from(value),
            "initial-cluster-token" => config.initial_cluster_token.clone_from(value),
            "listen-peer-urls" => config.listen_peer_urls = vec![value.clone()],
            "pre-vote" => config.pre_vote = value == "true",
            other => {
                let reason = format!("flag provided but not defined: -{other}");
                return Err((Exit { code: 2, reason }, Vec::new()));
            }
        }
    }
    Ok(config)
}

/// The flags of the member at a place in a cluster of so many.
pub fn launch(world: &LoopWorld, place: usize, of: usize) -> Launch {
    let cluster: Vec<String> =
        (0..of).map(|place| format!("n{}={}", place + 1, world.peer_url(place))).collect();
    let flags = [
        ("name", format!("n{}", place + 1)),
        ("initial-cluster", cluster.join(",")),
        ("listen-peer-urls", world.peer_url(place)),
    ];
    let flags = flags.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Launch { flags, wipe: false }
}

/// A world with so many scripts, started or not, and their diary.
pub fn world(seed: u64, members: usize) -> (LoopWorld, Diary) {
    let diary = Diary::default();
    let options = Options { parse, ..Options::new(seed) };
    let program = Rc::new(Scripts { diary: Rc::clone(&diary) });
    let mut world = LoopWorld::with_program(options, program);
    for place in 0..members {
        world.add_member(&MemberName(format!("n{}", place + 1))).expect("a new name");
    }
    (world, diary)
}

/// The same, all started, after a second.
pub fn running(seed: u64, members: usize) -> (LoopWorld, Diary) {
    let (mut world, diary) = world(seed, members);
    for place in 0..members {
        let launch = launch(&world, place, members);
        world.start(place, &launch).expect("it does not run");
    }
    run(&mut world, 1_000);
    (world, diary)
}

/// Moves time by milliseconds and gives back what happened.
pub fn run(world: &mut LoopWorld, ms: u64) -> Vec<WorldEvent> {
    let until = world.now().after(Duration::from_millis(ms));
    let mut seen = Vec::new();
    loop {
        match world.advance(until) {
            WorldEvent::Reached => return seen,
            event => seen.push(event),
        }
    }
}

/// What a diary says of one script from a time on, where `test` holds.
pub fn said(diary: &Diary, name: &str, since: Time, test: impl Fn(&str) -> bool) -> Vec<String> {
    let entries = diary.borrow();
    let of_name = entries.iter().filter(|(at, who, _)| who == name && *at >= since.0);
    of_name.map(|(_, _, what)| what.clone()).filter(|what| test(what)).collect()
}

/// The numbers of the beats of `from` that a script got, in order, from a time on.
pub fn beats(diary: &Diary, name: &str, from: u64, since: Time) -> Vec<u64> {
    let suffix = format!(" of {from}");
    let told =
        said(diary, name, since, |what| what.starts_with("beat ") && what.ends_with(&suffix));
    told.iter().map(|what| what[5..what.len() - suffix.len()].parse().expect("a number")).collect()
}
