//! What three members cost one another: a replicated write from request to reply, and an idle
//! second, with real logs on disks in memory and messages that arrive at once. No network, no
//! clock, no checking: the floor under every simulated figure.

use std::collections::VecDeque;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use detcd::config::Config;
use detcd::member::id::{MemberId, RequestId};
use detcd::member::io::{CallOptions, Input, Output, Outputs, PeerCallError, PeerChange, Request};
use detcd::member::time::{Monotonic, Now, Wall};
use detcd::member::{DiskImage, Member};
use detcd::proto::etcdserverpb as pb;
use detcd::storage::memory::MemoryDisk;
use detcd::storage::wal::{LogWriter, WalSettings};

struct Room {
    members: Vec<Member>,
    logs: Vec<LogWriter>,
    inputs: VecDeque<(usize, Input)>,
    out: Outputs,
    now: u64,
    next_request: u64,
    replies: usize,
}

impl Room {
    fn new(size: usize) -> Room {
        let url = |place: usize| format!("http://10.0.0.{}:2380", place + 1);
        let listed: Vec<String> =
            (0..size).map(|place| format!("n{}={}", place + 1, url(place))).collect();
        let mut room = Room {
            members: Vec::new(),
            logs: Vec::new(),
            inputs: VecDeque::new(),
            out: Outputs::new(),
            now: 0,
            next_request: 1,
            replies: 0,
        };
        for place in 0..size {
            let config = Config {
                name: format!("n{}", place + 1),
                initial_cluster: listed.join(","),
                initial_advertise_peer_urls: vec![url(place)],
                ..Config::default()
            };
            let disk = MemoryDisk::new();
            let (writer, _, _) = LogWriter::open(
                std::rc::Rc::new(disk),
                "member/wal",
                WalSettings { segment_bytes: 4_000_000, ..WalSettings::ETCD },
            )
            .expect("an empty disk");
            room.logs.push(writer);
            let image = DiskImage::default();
            let seed = [place as u8 + 1; 32];
            let member = Member::start(config, seed, image, room.time(), &mut room.out);
            room.members.push(member);
            room.take(place);
        }
        room.settle();
        for _ in 0..60 {
            room.tick();
        }
        room
    }

    fn time(&self) -> Now {
        Now {
            monotonic: Monotonic::from_nanos(self.now),
            wall: Wall::from_unix_nanos(self.now as i64),
        }
    }

    /// A tenth of a second passes.
    fn tick(&mut self) {
        self.now += Duration::from_millis(100).as_nanos() as u64;
        for place in 0..self.members.len() {
            self.inputs.push_back((place, Input::Deadline));
        }
        self.settle();
    }

    fn put(&mut self, place: usize, key: u64) {
        let request = Request::Put(pb::PutRequest {
            key: format!("key-{key:08}").into_bytes().into(),
            value: vec![b'v'; 64].into(),
            ..pb::PutRequest::default()
        });
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.inputs.push_back((
            place,
            Input::Request { id, request: Box::new(request), options: CallOptions::default() },
        ));
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((place, input)) = self.inputs.pop_front() {
            let now = self.time();
            self.members[place].step(now, input, &mut self.out);
            self.take(place);
        }
    }

    fn place_of(&self, id: MemberId) -> Option<usize> {
        self.members.iter().position(|member| member.id() == Some(id))
    }

    fn take(&mut self, place: usize) {
        let outputs: Vec<Output> = self.out.drain().collect();
        for output in outputs {
            match output {
                Output::Reply { result, .. } => {
                    (*result).expect("the write is taken");
                    self.replies += 1;
                }
                Output::Send { to, message } => {
                    let from = self.members[place].id().expect("running");
                    if let Some(target) = self.place_of(to) {
                        self.inputs.push_back((target, Input::Raft { from, message }));
                    }
                }
                Output::Log(staged) => {
                    let log = &mut self.logs[place];
                    log.append(staged.number(), staged.write()).expect("memory takes it");
                    let receipt = log.commit().expect("memory takes it");
                    let durable = staged.release(receipt);
                    self.inputs.push_back((place, Input::LogDurable(durable)));
                }
                Output::Peers(PeerChange::Add { id, .. }) => {
                    self.inputs.push_back((place, Input::PeerActive(id)));
                }
                // Peers that do not tell their version leave the cluster at the lowest one.
                Output::PeerCall { id, .. } => {
                    let result = Err(PeerCallError::Unreachable("no network".to_owned()));
                    self.inputs
                        .push_back((place, Input::PeerCallDone { id, result: Box::new(result) }));
                }
                _ => {}
            }
        }
    }
}

fn writes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("three members");
    for keys in [16u64, 10_000] {
        let mut room = Room::new(3);
        let mut key = 0;
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("put over {keys} keys"), |bencher| {
            bencher.iter(|| {
                key = (key + 7919) % keys;
                let before = room.replies;
                room.put(0, key);
                assert!(room.replies > before, "the put is answered");
            });
        });
    }
    let mut room = Room::new(3);
    group.bench_function("idle tenth of a second", |bencher| bencher.iter(|| room.tick()));
    group.finish();
}

criterion_group!(benches, writes);
criterion_main!(benches);
