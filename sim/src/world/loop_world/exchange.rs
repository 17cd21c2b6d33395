//! Client operations between clients and members: requests, answers, streams.

use detcd::api::CallError;
use detcd::member::id::{RequestId, StreamId};
use detcd::member::io::{CallOptions, Input, Response, StreamItem, StreamMessage};
use detcd::proto::etcdserverpb as pb;
use detsim_reports::record::{Body, Call, Header, OpId, Outcome, Reply, WatchMessage};

use super::LoopWorld;
use super::calls::Bounce;
use super::client::{self, Kind, Pending};
use super::packet::{Event, Packet};
use crate::world::convert::{self, Shape};
use crate::world::{End, WorldEvent};

/// What a request or answer takes on the wire beside its payload, about.
pub(super) const FRAME_BYTES: u64 = 120;

/// Gives a watch that is asked for the id that its client chose.
fn name_watch(shape: &mut Shape, id: i64) {
    if let Shape::Stream(_, message) = shape
        && let StreamMessage::Watch(request) = &mut **message
        && let Some(pb::watch_request::RequestUnion::CreateRequest(create)) =
            &mut request.request_union
    {
        create.watch_id = id;
    }
}

impl LoopWorld {
    /// A client sends an operation.
    pub(super) fn invoke_call(&mut self, op: OpId, member: usize, call: &Call, deadline: u64) {
        let bytes = FRAME_BYTES
            + match call {
                Call::Put(put) => (put.key.0.len() + put.value.0.len()) as u64,
                _ => 0,
            };
        let mut pending = Pending::new(call, member);
        let mut shape = convert::shape(call);
        if let Call::Watch(watch) = call {
            let (side, is_shared) = self.clients.join(op, member, watch);
            pending.watch = Some(Box::new(side));
            if is_shared {
                name_watch(&mut shape, client::watch_id(op));
            }
        }
        self.await_op(op, pending, deadline);
        self.send_up(op, bytes, Packet::Request(op, shape));
    }

    /// Sends a packet of an operation, or of a stream of watches, to its member.
    pub(super) fn send_up(&mut self, name: OpId, bytes: u64, packet: Packet) {
        let Some((member, lane)) = self.clients.lane(name) else { return };
        let (to, floor) = (End::Member(member), lane.up);
        let arrival = self.transmit(End::Clients, to, bytes, floor, packet);
        if let (Some(at), Some((_, lane))) = (arrival, self.clients.lane(name)) {
            lane.up = at;
        }
    }

    /// Sends a packet of an operation, or of a stream of watches, from a member to its client.
    fn send_down(&mut self, place: usize, name: OpId, bytes: u64, packet: Packet) {
        let floor = match self.clients.lane(name) {
            Some((member, lane)) if member == place => lane.down,
            // Nobody waits for it.
            _ => return,
        };
        let arrival = self.transmit(End::Member(place), End::Clients, bytes, floor, packet);
        if let (Some(at), Some((_, lane))) = (arrival, self.clients.lane(name)) {
            lane.down = at;
        }
    }

    /// An operation reaches its member's process.
    pub(super) fn request_arrived(&mut self, place: usize, op: OpId, shape: Shape) {
        let process = self.process(place);
        if !process.is_ready {
            process.early.push((op, shape));
            return;
        }
        if let Some(pending) = self.clients.get(op) {
            pending.has_arrived = true;
        }
        let options = CallOptions::default();
        match shape {
            Shape::Unary(request) => {
                let id = RequestId(u64::from(op.0));
                self.step(place, Input::Request { id, request, options });
            }
            Shape::Stream(kind, message) => {
                let name = self.clients.watch(op).map_or(op, |watch| watch.stream);
                let stream = self.clients.stream(name);
                let is_open =
                    stream.is_some_and(|stream| std::mem::replace(&mut stream.is_open, true));
                let id = StreamId(u64::from(name.0));
                let window_bytes = self.options.client_window_bytes;
                if !is_open {
                    self.step(place, Input::StreamOpen { id, kind, options, window_bytes });
                }
                self.step(place, Input::StreamMessage { id, message });
            }
        }
    }

    /// The member serves clients from now on: those who came early are served.
    pub(super) fn became_ready(&mut self, place: usize) {
        let process = self.process(place);
        process.is_ready = true;
        for (op, shape) in std::mem::take(&mut process.early) {
            let packet = Packet::Request(op, shape);
            let (from, to) = (End::Clients, End::Member(place));
            self.queue.push(self.now, Event::Arrives { from, to, packet });
        }
    }

    /// A client says something more about an operation.
    pub(super) fn client_says(&mut self, place: usize, packet: Packet) {
        if !self.process(place).is_ready {
            return;
        }
        let stream = |op: OpId| StreamId(u64::from(op.0));
        let input = match packet {
            Packet::Cancel(op) => Input::Cancel(RequestId(u64::from(op.0))),
            Packet::StreamMessage(op, message) => Input::StreamMessage { id: stream(op), message },
            Packet::Window(op, bytes) => Input::StreamWindow { id: stream(op), bytes },
            Packet::StreamClose(op) => Input::StreamClose(stream(op)),
            other => unreachable!("{other:?} is not said by clients"),
        };
        self.step(place, input);
    }

    /// The member answered a request.
    pub(super) fn replied(
        &mut self,
        place: usize,
        id: RequestId,
        result: Box<Result<Response, CallError>>,
    ) {
        let op = OpId(id.0 as u32);
        let bytes = FRAME_BYTES
            + match &*result {
                Ok(Response::Range(range)) => {
                    range.kvs.iter().map(|kv| (kv.key.len() + kv.value.len() + 20) as u64).sum()
                }
                _ => 0,
            };
        self.send_down(place, op, bytes, Packet::Reply(op, result));
    }

    /// The member sent a message on a client's stream.
    pub(super) fn streamed(
        &mut self,
        place: usize,
        id: StreamId,
        item: Box<StreamItem>,
        bytes: u64,
    ) {
        let op = OpId(id.0 as u32);
        self.send_down(place, op, FRAME_BYTES + bytes, Packet::Item(op, item, bytes));
    }

    /// The member ended a client's stream.
    pub(super) fn stream_ended(
        &mut self,
        place: usize,
        id: StreamId,
        result: Result<(), CallError>,
    ) {
        let op = OpId(id.0 as u32);
        self.send_down(place, op, FRAME_BYTES, Packet::StreamEnd(op, result));
    }

    /// A packet reaches the clients.
    pub(super) fn arrived_at_clients(&mut self, packet: Packet) {
        match packet {
            Packet::Reply(op, result) => {
                let Some(pending) = self.clients.get(op) else { return };
                let outcome = match *result {
                    Ok(response) => match convert::reply(response) {
                        Some(reply) => Outcome::Ok(reply),
                        None => pending.unanswered("an answer to another question"),
                    },
                    Err(error) => pending.refused(&error),
                };
                self.complete(op, outcome);
            }
            Packet::Refused(op) => {
                self.complete(op, Outcome::Fail("connection refused".to_owned()));
            }
            Packet::Lost(name) => {
                for op in self.clients.together(name) {
                    let Some(pending) = self.clients.get(op) else { continue };
                    let outcome = pending.unanswered("connection lost");
                    self.take_leave(op);
                    self.complete(op, outcome);
                }
            }
            Packet::Item(name, item, bytes) => self.item_arrived(name, *item, bytes),
            Packet::StreamEnd(name, result) => {
                for op in self.clients.together(name) {
                    self.ended_with_stream(op, result.clone());
                }
            }
            other => unreachable!("{other:?} does not go to clients"),
        }
    }

    fn ended_with_stream(&mut self, op: OpId, result: Result<(), CallError>) {
        let Some(pending) = self.clients.get(op) else { return };
        let outcome = match (result, pending.kind) {
            (Ok(()), Kind::Watch) => return self.watch_ended(op),
            (Ok(()), Kind::Snapshot) => return self.snapshot_ended(op),
            (Ok(()), _) => pending.unanswered("the stream ended without an answer"),
            (Err(error), _) => pending.refused(&error),
        };
        self.complete(op, outcome);
    }

    pub(super) fn complete(&mut self, op: OpId, outcome: Outcome) {
        if self.clients.take(op).is_some() {
            self.happened.push_back(WorldEvent::Completed { op, outcome });
        }
    }

    /// A client's patience is at its end.
    pub(super) fn client_gave_up(&mut self, op: OpId) {
        let Some(pending) = self.clients.get(op) else { return };
        if pending.watch.as_ref().is_some_and(|watch| watch.is_created) {
            return;
        }
        let member = pending.member;
        let mut outcome = pending.unanswered("context deadline exceeded");
        if let Some(process) = &mut self.hosts[member].process {
            let before = process.early.len();
            process.early.retain(|(early, _)| *early != op);
            if process.early.len() < before {
                let why = "context deadline exceeded while waiting for connections to become ready";
                outcome = Outcome::Fail(why.to_owned());
            }
        }
        self.take_leave(op);
        self.complete(op, outcome);
    }

    /// The member hears, if it can, that nobody waits for an operation any more.
    fn take_leave(&mut self, op: OpId) {
        if let Some((name, farewell)) = self.clients.farewell(op) {
            self.send_up(name, FRAME_BYTES, farewell);
        }
    }

    /// A message arrives on a stream.
    fn item_arrived(&mut self, name: OpId, item: StreamItem, bytes: u64) {
        if let StreamItem::KeepAlive(response) = &item {
            self.take_leave(name);
            return self.complete(name, Outcome::Ok(convert::keep_alive(response)));
        }
        if let StreamItem::Snapshot(piece) = item {
            return self.snapshot_piece(name, piece, bytes);
        }
        let now = self.now;
        let Some(stream) = self.clients.stream(name) else { return };
        if stream.drain_bytes_per_s == 0 {
            return self.take_item(name, item, bytes);
        }
        let rate = u128::from(stream.drain_bytes_per_s);
        let takes = u128::from(bytes.max(1)) * 1_000_000_000 / rate;
        stream.free_at = stream.free_at.max(now) + takes as u64;
        stream.arrived.push_back((item, bytes));
        self.queue.push(stream.free_at, Event::Drain(name));
    }

    /// A slow client takes the next message.
    pub(super) fn drain(&mut self, name: OpId) {
        let next = self.clients.stream(name).and_then(|stream| stream.arrived.pop_front());
        if let Some((item, bytes)) = next {
            self.take_item(name, item, bytes);
        }
    }

    /// A client takes a message of a stream of watches.
    fn take_item(&mut self, name: OpId, item: StreamItem, bytes: u64) {
        let StreamItem::Watch(response) = item else { return };
        let enough = self.options.client_window_bytes / 4;
        let Some(stream) = self.clients.stream(name) else { return };
        stream.untold += bytes;
        let told = if stream.untold >= enough { std::mem::take(&mut stream.untold) } else { 0 };
        let watches = self.clients.addressees(name, &response);
        let header = convert::header(response.header);
        let message = convert::watch_message(response);
        let has_ended = message.canceled;
        if let Some((last, others)) = watches.split_last() {
            for op in others {
                self.watch_message_taken(*op, header, message.clone());
            }
            self.watch_message_taken(*last, header, message);
        }
        if told > 0 {
            self.send_up(name, FRAME_BYTES, Packet::Window(name, told));
        }
        for op in watches.into_iter().filter(|_| has_ended) {
            self.close_watch(op);
        }
    }

    fn watch_message_taken(&mut self, op: OpId, header: Header, message: WatchMessage) {
        let now = self.now;
        let Some(watch) = self.clients.watch(op) else { return };
        watch.header = header;
        watch.last_message = now;
        let progress = watch.progress_ns;
        let is_first = !std::mem::replace(&mut watch.is_created, true);
        if is_first && progress > 0 {
            self.queue.push(now + progress, Event::Progress(op));
        }
        self.happened.push_back(WorldEvent::Watched { op, message });
    }

    /// Asks a silent watch for progress.
    pub(super) fn ask_progress(&mut self, op: OpId) {
        let now = self.now;
        let Some(watch) = self.clients.watch(op) else { return };
        let due = watch.last_message + watch.progress_ns;
        if due > now {
            self.queue.push(due, Event::Progress(op));
            return;
        }
        let again = now + watch.progress_ns;
        let request = pb::watch_request::RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        let message = StreamMessage::Watch(pb::WatchRequest { request_union: Some(request) });
        let name = watch.stream;
        self.send_up(name, FRAME_BYTES, Packet::StreamMessage(name, Box::new(message)));
        self.queue.push(again, Event::Progress(op));
    }

    /// The client ends a watch.
    pub(super) fn close_watch(&mut self, op: OpId) {
        if self.clients.watch(op).is_some() {
            self.take_leave(op);
            self.watch_ended(op);
        }
    }

    fn watch_ended(&mut self, op: OpId) {
        let Some(watch) = self.clients.watch(op) else { return };
        let reply = Reply { header: watch.header, body: Body::WatchClosed };
        self.complete(op, Outcome::Ok(reply));
    }

    /// The connections of clients to a member are reset. Tells how many operations that ends.
    pub(super) fn clients_reset(&mut self, place: usize) -> usize {
        self.clients.break_streams(place);
        let all = self.clients.select(place, |_| true);
        let many = all.len();
        for op in all {
            let (from, to) = (End::Member(place), End::Clients);
            let packet = Packet::Lost(op);
            self.queue.push(self.now, Event::Arrives { from, to, packet });
        }
        many
    }

    /// A process is gone: its kernel resets the clients' connections. What it had not taken in
    /// certainly had no effect.
    pub(super) fn clients_orphaned(&mut self, place: usize, not_taken: Vec<Packet>) {
        let here = End::Member(place);
        self.clients.break_streams(place);
        for packet in not_taken {
            self.bounce(here, End::Clients, packet, Bounce::Refused);
        }
        for op in self.clients.select(place, |pending| pending.has_arrived) {
            self.send_down(place, op, FRAME_BYTES, Packet::Lost(op));
        }
    }
}
