//! Calls between members beside raft messages, and what arrives at a host.

use detcd::member::id::CallId;
use detcd::member::io::{Input, PeerAnswer, PeerCall, PeerCallError};
use detcd::member::time::Monotonic;
use std::time::Duration;

use super::LoopWorld;
use super::host::Inbound;
use super::packet::{Dialed, Event, Packet, ProcessRef, Purpose, Waiting};
use crate::world::End;
use crate::world::tally::Deed;

/// Why a packet comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounce {
    /// No process listens: it certainly had no effect.
    Refused,
    /// The connection broke: it may have arrived.
    Reset,
}

/// What a call and its answer take on the wire, about.
const CALL_BYTES: u64 = 500;

impl LoopWorld {
    /// A member calls another over the peer port.
    pub(super) fn call(
        &mut self,
        place: usize,
        id: CallId,
        url: &str,
        call: PeerCall,
        timeout: Duration,
    ) {
        let Some(from) = self.hosts[place].process_ref(place) else { return };
        let limit = self.hosts[place].clocks.at(self.now).monotonic.after(timeout);
        self.process(place).calls.insert(id, limit);
        self.await_call(from, id, limit);
        self.knock(from, url.to_owned(), Purpose::Call { id, call: Box::new(call) });
    }

    /// The answer to a call that nobody takes.
    pub(super) fn call_refused(&self, caller: ProcessRef, id: CallId) -> Packet {
        let error = PeerCallError::Unreachable("connect: connection refused".to_owned());
        Packet::CallAnswer { caller, id, result: Box::new(Err(error)) }
    }

    /// A call is given up when the caller's clock shows `limit`.
    fn await_call(&mut self, from: ProcessRef, id: CallId, limit: Monotonic) {
        let at = self.hosts[from.place].clocks.when(limit, self.now);
        self.queue.push(at, Event::GiveUp { from, what: Waiting::Call(id) });
    }

    /// A host's clocks run at another rate: what its process waits for comes earlier or later.
    pub(super) fn await_calls_again(&mut self, place: usize) {
        let Some(from) = self.hosts[place].process_ref(place) else { return };
        let calls: Vec<(CallId, Monotonic)> =
            self.process(place).calls.iter().map(|(id, limit)| (*id, *limit)).collect();
        for (id, limit) in calls {
            self.await_call(from, id, limit);
        }
    }

    /// A call took too long, unless the clock has been slowed since.
    pub(super) fn call_timed_out(&mut self, caller: ProcessRef, id: CallId) {
        let shown = self.hosts[caller.place].clocks.at(self.now).monotonic;
        let is_due = |limit: &Monotonic| *limit <= shown;
        if !self.runs(caller) || !self.process(caller.place).calls.get(&id).is_some_and(is_due) {
            return;
        }
        let error = PeerCallError::Unreachable("context deadline exceeded".to_owned());
        self.call_answered(caller, id, Err(error));
    }

    /// A call ended.
    pub(super) fn call_answered(
        &mut self,
        caller: ProcessRef,
        id: CallId,
        result: Result<PeerAnswer, PeerCallError>,
    ) {
        if self.runs(caller) && self.process(caller.place).calls.remove(&id).is_some() {
            let result = Box::new(result);
            self.step(caller.place, Input::PeerCallDone { id, result });
        }
    }

    /// The member answered a call of a peer.
    pub(super) fn call_served(
        &mut self,
        place: usize,
        id: CallId,
        result: Result<PeerAnswer, PeerCallError>,
    ) {
        let Some(Inbound::Call { caller, id }) = self.process(place).inbound.remove(&id) else {
            return;
        };
        let packet = Packet::CallAnswer { caller, id, result: Box::new(result) };
        self.transmit(End::Member(place), End::Member(caller.place), CALL_BYTES, 0, packet);
    }

    /// A packet cannot be delivered: its sender is told, where TCP tells it. `at` is where that
    /// shows.
    pub(super) fn bounce(&mut self, at: End, sender: End, packet: Packet, why: Bounce) {
        let answer = match packet {
            Packet::Dial { attempt, .. } => Packet::DialAnswer { attempt, result: Dialed::Failed },
            Packet::Post(post) => {
                let (sender, number) = (post.sender, post.number);
                Packet::PostAnswer { sender, number, result: Err(None) }
            }
            Packet::Call { caller, id, .. } => self.call_refused(caller, id),
            Packet::Request(op, _) if why == Bounce::Refused => Packet::Refused(op),
            Packet::Request(op, _) | Packet::StreamMessage(op, _) => Packet::Lost(op),
            Packet::Reply(op, _) | Packet::Item(op, ..) | Packet::StreamEnd(op, _) => {
                let at = self.now;
                let packet = Packet::Lost(op);
                let (from, to) = (sender, End::Clients);
                return self.queue.push(at, Event::Arrives { from, to, packet });
            }
            _ => return,
        };
        if self.network.is_open(at, sender) {
            let when = self.now + self.network.latency(at, sender);
            self.queue.push(when, Event::Arrives { from: at, to: sender, packet: answer });
        }
    }

    /// A packet reaches a member's host.
    pub(super) fn arrived_at_member(&mut self, place: usize, from: End, packet: Packet) {
        if self.hosts[place].process.is_none() {
            if self.hosts[place].is_powered {
                self.bounce(End::Member(place), from, packet, Bounce::Refused);
            }
            return;
        }
        match packet {
            Packet::Raft { conn, message } => self.raft_arrived(place, conn, message),
            Packet::Dial { attempt, header } => {
                let (id, from) = (self.inbound_id(place), header.from);
                let inbound = Inbound::Dial { attempt, from };
                self.knocked(place, inbound, Input::PeerDial { id, header });
            }
            Packet::DialAnswer { attempt, result } => self.dial_answered(attempt, result),
            Packet::Post(post) => {
                let id = self.inbound_id(place);
                let (from, header) = (post.header.from, Box::new(post.header));
                let (sender, number, message) = (post.sender, post.number, post.message);
                let body = post.body;
                if body.is_some() && !self.is_posting(sender, number) {
                    // The connection ended before the database did.
                    return;
                }
                let inbound = Inbound::Post { sender, number, from, message, body };
                self.knocked(place, inbound, Input::PeerDial { id, header });
            }
            Packet::PostAnswer { sender, number, result } => {
                self.post_answered(sender, number, result);
            }
            Packet::Call { caller, id, call } => {
                let inbound = Inbound::Call { caller, id };
                let id = self.inbound_id(place);
                self.knocked(place, inbound, Input::PeerCall { id, call: *call });
            }
            Packet::CallAnswer { caller, id, result } => self.call_answered(caller, id, *result),
            Packet::Request(op, shape) => self.request_arrived(place, op, shape),
            Packet::Cancel(_)
            | Packet::StreamMessage(..)
            | Packet::Window(..)
            | Packet::StreamClose(_) => self.client_says(place, packet),
            Packet::Reply(..)
            | Packet::Item(..)
            | Packet::StreamEnd(..)
            | Packet::Refused(_)
            | Packet::Lost(_) => unreachable!("answers go to clients"),
        }
    }

    /// The connections between two ends are reset: streams break, requests are lost.
    pub(super) fn reset(&mut self, one: End, other: End) {
        match (one, other) {
            (End::Member(one), End::Member(other)) => {
                let pair = [(one, other), (other, one)];
                let between = self
                    .connections
                    .select(|conn| pair.contains(&(conn.server.place, conn.dialer.place)));
                let broken = between.len();
                let ends = (End::Member(one), End::Member(other));
                self.network.note(ends.0, ends.1, Deed::ConnectionBroken, broken);
                for conn in between {
                    self.break_stream(conn);
                }
                for (from, to) in pair {
                    self.snapshots_reset(from, to);
                }
            }
            (End::Clients, End::Member(place)) | (End::Member(place), End::Clients) => {
                let broken = self.clients_reset(place);
                self.network.note(one, other, Deed::ConnectionBroken, broken);
            }
            (End::Clients, End::Clients) => {}
        }
        for (from, to) in [(one, other), (other, one)] {
            for held in self.network.take_held(from, to) {
                if !matches!(held.packet, Packet::Raft { .. }) {
                    self.bounce(to, from, held.packet, Bounce::Reset);
                }
            }
        }
    }

    /// Who waits to hear that a snapshot is saved never does. The receiver has all of it, and goes
    /// on.
    fn snapshots_reset(&mut self, from: usize, to: usize) {
        let Some(process) = &self.hosts[to].process else { return };
        let received = process.inbound.values().filter_map(|inbound| match inbound {
            Inbound::Snapshot { sender, number } if sender.place == from => {
                Some((*sender, *number))
            }
            _ => None,
        });
        for (sender, number) in received.collect::<Vec<_>>() {
            self.post_answered(sender, number, Err(None));
        }
    }
}
