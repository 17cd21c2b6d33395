//! One member over a disk, driven by hand: writes are durable at once, and time moves to the next
//! deadline when nothing else is to be done. It has no peers and no clients but the test.

use std::collections::VecDeque;
use std::rc::Rc;

use detcd::config::{CompatVersion, Config};
use detcd::member::id::RequestId;
use detcd::member::io::{CallOptions, Input, LogLine, Output, Outputs, Request, Response};
use detcd::member::time::{Monotonic, Now, Wall};
use detcd::member::{DiskImage, Member};
use detcd::storage::backend::{self, Backend, BoltEngine, Engine, Failure, Layout};
use detcd::storage::bolt::BoltOptions;
use detcd::storage::database::SnapshotTask;
use detcd::storage::disk::Disk;
use detcd::storage::wal::{LogWriter, WalSettings};

/// A member that has not come so far in so many steps hangs.
const STEPS_MAX: usize = 400;

/// Why there is no member that serves.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// It ended; the last line of its log, with all fields.
    Ends(String),
    /// It does nothing that could be waited for.
    Waits,
}

/// A member with its disk: every write is durable at once.
pub(crate) struct Driven {
    writer: LogWriter,
    backend: Backend,
    member: Member,
    now: u64,
    inputs: VecDeque<Input>,
    reply: Option<Response>,
    last_line: String,
    stopped: bool,
    /// Indexes of the snapshots that it saved.
    pub(crate) saved: Vec<u64>,
}

fn told(line: &LogLine) -> String {
    let fields = line.fields.iter().map(|(name, value)| format!(" {name}={value}"));
    line.message.clone() + &fields.collect::<String>()
}

fn refusal(failure: Failure) -> Refusal {
    Refusal::Ends(told(&failure.line(CompatVersion::V3_6)))
}

impl Driven {
    /// Starts from what the data directory holds, and waits until it serves.
    pub(crate) fn start(
        disk: &Rc<dyn Disk>,
        config: Config,
        pages: BoltOptions,
        wal: WalSettings,
    ) -> Result<Driven, Refusal> {
        let layout = Layout {
            wal_dir: config.wal_dir(),
            snap_dir: config.snap_dir(),
            snap_dir_named: config.snap_dir(),
            max_wals: config.max_wals,
            max_snapshots: config.max_snapshots,
            compat: config.compat,
        };
        let engine: Rc<dyn Engine> = Rc::new(BoltEngine::new(pages));
        let mut lines = Vec::new();
        let opened = backend::open(disk, &engine, layout, wal, &mut lines).map_err(refusal)?;
        let image = DiskImage {
            log: opened.log,
            database: Some(opened.database),
            database_size: opened.backend.size(),
            keeps_database: true,
        };
        let (mut outputs, now) = (Outputs::new(), 0);
        let member = Member::start(config, [7; 32], image, at(now), &mut outputs);
        let mut driven = Driven {
            writer: opened.writer,
            backend: opened.backend,
            member,
            now,
            inputs: VecDeque::new(),
            reply: None,
            last_line: String::new(),
            stopped: false,
            saved: Vec::new(),
        };
        driven.take(&mut outputs)?;
        driven.settle(|driven| driven.member.is_ready())?;
        Ok(driven)
    }

    /// Does what the member asks for.
    fn take(&mut self, outputs: &mut Outputs) -> Result<(), Refusal> {
        for output in outputs.drain() {
            match output {
                Output::Log(staged) => {
                    self.writer.append(staged.number(), staged.write()).unwrap();
                    let receipt = self.writer.commit().unwrap();
                    if staged.is_awaited() {
                        self.inputs.push_back(Input::LogDurable(staged.release(receipt)));
                    }
                }
                Output::Database(write) => {
                    let receipt = self.backend.commit(vec![write]).map_err(refusal)?;
                    self.inputs.push_back(Input::DatabaseDurable(receipt));
                }
                Output::Snapshot(SnapshotTask::Save(mark)) => {
                    self.backend.save(&mut self.writer, &mark).map_err(refusal)?;
                    self.saved.push(mark.index);
                    self.inputs.push_back(Input::SnapshotDone(mark));
                }
                Output::Snapshot(SnapshotTask::Purge) => {
                    self.backend.purge(&mut self.writer).map_err(refusal)?;
                }
                Output::Work(work) => self.inputs.push_back(Input::WorkDone(Box::new(work.run()))),
                Output::Reply { result, .. } => self.reply = (*result).ok(),
                Output::LogLine(line) => self.last_line = told(&line),
                Output::Stop(stop) => {
                    self.last_line += &format!(" {}", stop.reason);
                    self.stopped = true;
                }
                Output::Peers(_) | Output::Note(_) | Output::Ready => {}
                other => panic!("a member alone does not ask for {other:?}"),
            }
        }
        Ok(())
    }

    /// Lets time pass until something is so; a member that stops before refuses.
    fn settle(&mut self, is_so: impl Fn(&Driven) -> bool) -> Result<(), Refusal> {
        let mut outputs = Outputs::new();
        for _ in 0..STEPS_MAX {
            if self.stopped {
                return Err(Refusal::Ends(self.last_line.clone()));
            }
            if self.inputs.is_empty() && is_so(self) {
                return Ok(());
            }
            let input = self.inputs.pop_front().unwrap_or_else(|| {
                let due = self.member.next_deadline().expect("it runs").as_nanos();
                self.now = self.now.max(due);
                Input::Deadline
            });
            self.member.step(at(self.now), input, &mut outputs);
            self.take(&mut outputs)?;
        }
        Err(Refusal::Waits)
    }

    /// Lets a second pass.
    pub(crate) fn rest(&mut self) {
        let until = self.now + 1_000_000_000;
        self.settle(|driven| driven.now >= until).unwrap();
    }

    pub(crate) fn ask(&mut self, request: Request) -> Result<Response, Refusal> {
        let (id, options) = (RequestId(self.now), CallOptions::default());
        let request = Box::new(request);
        self.reply = None;
        self.inputs.push_back(Input::Request { id, request, options });
        self.settle(|driven| driven.reply.is_some())?;
        Ok(self.reply.take().expect("it was waited for"))
    }

    /// Ends it in good order: all that it wrote is on the disk.
    pub(crate) fn stop(mut self) {
        self.rest();
        self.writer.close().unwrap();
    }
}

fn at(now: u64) -> Now {
    Now { monotonic: Monotonic::from_nanos(now), wall: Wall::from_unix_nanos(1 << 60) }
}
