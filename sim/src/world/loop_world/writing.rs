//! Between members and their disks: what members ask for is handed to the device, and what the
//! device has done is told to them, one by one.

use detcd::member::id::MemberId;
use detcd::member::io::{Input, Level, LogLine, RaftMessage};
use detcd::storage::backend::Body;
use detcd::storage::database::{DatabaseWrite, PinId, SnapshotTask};
use detcd::storage::schema::DatabaseImage;

use super::LoopWorld;
use super::device::{Begun, Done};
use super::host::{Inbound, Stage};
use super::packet::{Event, ProcessRef, Reception};
use super::panic;
use super::sending::SnapshotPost;
use crate::world::{End, Side};

impl LoopWorld {
    /// Lets the disk begin with something, if it can.
    pub(super) fn write_disk(&mut self, place: usize) {
        let leaves = self.leaves(End::Member(place));
        let host = &mut self.hosts[place];
        let Some(at) = host.process_ref(place) else { return };
        while self.hosts[place].device.can_begin(leaves) {
            let device = &mut self.hosts[place].device;
            let Begun { what, lines } = match panic::guard(|| device.begin(leaves)) {
                Ok(Ok(begun)) => begun,
                Ok(Err(failure)) => return self.disk_failed(place, &failure),
                Err(panic) => return self.panicked(place, panic),
            };
            for line in lines {
                self.hosts[place].log(self.now, line);
            }
            if what != "log" {
                self.trace.fact(self.now, (what, place));
            }
            self.watch_disk(place, at);
            self.disk_busy(place, at);
        }
    }

    /// The disk is done with what it did: the member begins, or is told of it.
    pub(super) fn disk_done(&mut self, at: ProcessRef) {
        if !self.runs(at) {
            return;
        }
        if !self.hosts[at.place].device.finish(self.now, &mut self.done) {
            return;
        }
        if matches!(self.process(at.place).stage, Stage::Booting(_)) {
            return self.booted(at);
        }
        let mut done = std::mem::take(&mut self.done);
        let last = done.iter().rev().find_map(|done| match done {
            Done::Log(durable) => Some(durable.number()),
            _ => None,
        });
        if let Some(last) = last.filter(|_| self.options.observe) {
            self.observer.ledger.durable(at.place, last);
        }
        for done in done.drain(..) {
            if self.runs(at) {
                self.disk_did(at, done);
            }
        }
        self.done = done;
        self.write_disk(at.place);
    }

    fn disk_did(&mut self, at: ProcessRef, done: Done) {
        let input = match done {
            Done::Log(durable) => Input::LogDurable(durable),
            Done::Database(receipt) => {
                if self.options.observe {
                    let consistent = receipt.consistent_index();
                    self.observer.ledger.database_durable(at.place, consistent);
                }
                Input::DatabaseDurable(receipt)
            }
            Done::Saved(mark) => Input::SnapshotDone(mark),
            Done::Pinned(pin, mark) => Input::SnapshotPinned { pin, mark },
            Done::Piece(pin, piece) => Input::SnapshotRead { pin, piece: Box::new(piece) },
            Done::Answered(id, answer) => Input::DatabaseTaskDone { id, answer },
            Done::Read { to, message, pin, body: Some(body) } => {
                return self.send_snapshot_past_trap(at.place, to, (message, body), pin);
            }
            Done::Read { to, body: None, .. } => {
                Input::SnapshotStatus { peer: to, delivered: false }
            }
            Done::Received(reception, result) => {
                return self.snapshot_received(at, *reception, result);
            }
        };
        self.step(at.place, input);
    }

    /// A member writes to its database.
    pub(super) fn write_database(&mut self, place: usize, write: DatabaseWrite) {
        let host = &mut self.hosts[place];
        let Some(at) = host.process_ref(place) else { return };
        if let Some(due) = host.device.write_database(self.now, write) {
            self.queue.push(due, Event::CommitDue(at));
        }
    }

    /// A member has something done with a snapshot.
    pub(super) fn snapshot(&mut self, place: usize, task: SnapshotTask) {
        if let SnapshotTask::Unpin(pin) = &task {
            self.give_up_snapshot(place, *pin);
        }
        self.hosts[place].device.snapshot(task);
    }

    /// Sends a snapshot, unless the process is to be killed before it.
    fn send_snapshot_past_trap(
        &mut self,
        place: usize,
        to: MemberId,
        (message, body): (RaftMessage, Body),
        pin: PinId,
    ) {
        let sprung = self.count_message(place, &message);
        if sprung == Some(Side::Before) {
            return self.sprung(place);
        }
        let springs = sprung == Some(Side::After);
        self.send_snapshot(place, SnapshotPost { to, message, pin, body, springs });
    }

    /// A snapshot of a peer that may send one has arrived: its database goes to the disk.
    pub(super) fn receive_snapshot(
        &mut self,
        place: usize,
        (sender, number): (ProcessRef, u64),
        from: MemberId,
        message: RaftMessage,
        body: Body,
    ) {
        let line = LogLine::new(Level::Info, "receiving database snapshot")
            .with("remote-snapshot-sender-id", from.to_string())
            .with("incoming-snapshot-index", message.snapshot_index().to_string());
        self.hosts[place].log(self.now, line);
        let id = self.inbound_id(place);
        self.process(place).inbound.insert(id, Inbound::Snapshot { sender, number });
        let reception = Reception { id, from, message, body: body.bytes };
        self.hosts[place].device.receive(reception);
        self.write_disk(place);
    }

    /// The database of a snapshot is on the disk, or could not be put there: the member is told,
    /// and then the sender.
    fn snapshot_received(
        &mut self,
        at: ProcessRef,
        reception: Reception,
        result: Result<Box<DatabaseImage>, String>,
    ) {
        let Reception { id, from, message, .. } = reception;
        let inbound = self.process(at.place).inbound.remove(&id);
        let is_saved = result.is_ok();
        match result {
            Ok(image) => {
                let line = LogLine::new(Level::Info, "received and saved database snapshot")
                    .with("incoming-snapshot-index", message.snapshot_index().to_string());
                self.hosts[at.place].log(self.now, line);
                self.step(at.place, Input::SnapshotArrived { from, message, image });
            }
            Err(error) => {
                let text = "failed to save incoming database snapshot";
                let line = LogLine::new(Level::Warn, text).with("error", error);
                self.hosts[at.place].log(self.now, line);
            }
        }
        let Some(Inbound::Snapshot { sender, number }) = inbound else { return };
        let result = if is_saved && self.runs(at) { Ok(()) } else { Err(None) };
        if result.is_ok() {
            self.reached(at, from);
        }
        self.answer_post(at.place, sender, number, result);
    }
}
