//! One member over a directory of the operating system, driven by hand: writes are carried out at
//! once, and time moves only when the test says so. It has no peers and no clients but the test.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use detcd::api::ApiError;
use detcd::config::Config;
use detcd::member::id::RequestId;
use detcd::member::io::{CallOptions, Input, Output, Outputs, Request, Response};
use detcd::member::time::{Monotonic, Now, Wall};
use detcd::member::{DiskImage, Member};
use detcd::storage::backend::{self, Backend, BoltEngine, Engine, Layout};
use detcd::storage::bolt::BoltOptions;
use detcd::storage::database::SnapshotTask;
use detcd::storage::wal::{LogWriter, WalSettings};

use super::written::Work;

pub(super) struct Driven {
    member: Member,
    writer: LogWriter,
    backend: Backend,
    now: Duration,
    inputs: VecDeque<Input>,
    replies: BTreeMap<RequestId, Result<Response, ApiError>>,
    requests: u64,
    /// Marks of the snapshots that it saved.
    pub(super) saved: Vec<u64>,
}

const WALL_START: i64 = 1_795_411_601_195_000_000;

fn at(now: Duration) -> Now {
    let nanos = now.as_nanos() as u64;
    let wall = Wall::from_unix_nanos(WALL_START + nanos as i64);
    Now { monotonic: Monotonic::from_nanos(nanos), wall }
}

impl Driven {
    /// Starts on the data directory `data`, which may hold what etcd has left there.
    pub(super) fn start(work: &Work, config: Config) -> Driven {
        let layout = Layout {
            wal_dir: "data/member/wal".to_owned(),
            snap_dir: "data/member/snap".to_owned(),
            snap_dir_named: "data/member/snap".to_owned(),
            max_wals: config.max_wals,
            max_snapshots: config.max_snapshots,
            compat: config.compat,
        };
        let engine: Rc<dyn Engine> = Rc::new(BoltEngine::new(BoltOptions::ETCD));
        let mut lines = Vec::new();
        let opened = backend::open(&work.disk, &engine, layout, WalSettings::ETCD, &mut lines);
        let opened = opened.unwrap_or_else(|failure| panic!("{failure}: {lines:?}"));
        let image = DiskImage {
            log: opened.log,
            database: Some(opened.database),
            database_size: opened.backend.size(),
            keeps_database: true,
        };
        let mut out = Outputs::new();
        let member = Member::start(config, [7; 32], image, at(Duration::ZERO), &mut out);
        let mut driven = Driven {
            member,
            writer: opened.writer,
            backend: opened.backend,
            now: Duration::ZERO,
            inputs: VecDeque::new(),
            replies: BTreeMap::new(),
            requests: 0,
            saved: Vec::new(),
        };
        driven.outputs(&mut out);
        driven.run(Duration::from_secs(5));
        assert!(driven.member.is_ready(), "it serves");
        driven
    }

    /// Moves time on.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now += Duration::from_millis(1);
            let now = at(self.now);
            if self.member.next_deadline().is_some_and(|due| due <= now.monotonic) {
                self.inputs.push_back(Input::Deadline);
            }
            self.settle();
        }
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&mut self, request: Request) -> Response {
        self.requests += 1;
        let id = RequestId(self.requests);
        let options = CallOptions::default();
        self.inputs.push_back(Input::Request { id, request, options });
        for _ in 0..10_000 {
            self.settle();
            if let Some(result) = self.replies.remove(&id) {
                return result.unwrap();
            }
            self.run(Duration::from_millis(1));
        }
        panic!("no answer");
    }

    /// Ends it in good order: all that it wrote is on the disk.
    pub(super) fn stop(mut self) {
        self.run(Duration::from_secs(1));
        self.writer.close().unwrap();
    }

    fn settle(&mut self) {
        let mut out = Outputs::new();
        while let Some(input) = self.inputs.pop_front() {
            self.member.step(at(self.now), input, &mut out);
            self.outputs(&mut out);
        }
    }

    fn outputs(&mut self, out: &mut Outputs) {
        let outputs: Vec<Output> = out.drain().collect();
        for output in outputs {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Reply { id, result } => drop(self.replies.insert(id, result)),
            Output::Log(staged) => {
                self.writer.append(staged.number(), staged.write()).unwrap();
                let receipt = self.writer.commit().unwrap();
                self.inputs.push_back(Input::LogDurable(staged.release(receipt)));
            }
            Output::Database(write) => {
                let receipt = self.backend.commit(&[write]).unwrap();
                self.inputs.push_back(Input::DatabaseDurable(receipt));
            }
            Output::Snapshot(SnapshotTask::Save(mark)) => {
                self.backend.save(&mut self.writer, &mark).unwrap();
                self.saved.push(mark.index);
                self.inputs.push_back(Input::SnapshotDone(mark));
            }
            Output::Work(work) => self.inputs.push_back(Input::WorkDone(work.run())),
            Output::Stop(stop) => panic!("the member stopped: {}", stop.reason),
            Output::Peers(_) | Output::LogLine(_) | Output::Note(_) | Output::Ready => {}
            other => panic!("a member alone does not ask for {other:?}"),
        }
    }
}
