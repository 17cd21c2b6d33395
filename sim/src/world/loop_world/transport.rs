//! Raft streams between members: they are dialed, stand and break.
//! Source: contract-cluster.md, sections 5.1 to 5.7.
//!
//! A stream dies when its reader hears nothing for five seconds, when either process ends, or when
//! it is reset; it is dialed again within 100 ms. A knock at a cut link is repeated as TCP repeats
//! it and given up after the dial timeout.

use detcd::member::id::{CallId, MemberId};
use detcd::member::io::{DialRefusal, Input, PeerChange};

use super::LoopWorld;
use super::connection::{Conn, ConnRef, Peer, Reader, Stream};
use super::host::Inbound;
use super::packet::{Attempt, Dialed, Event, Packet, Post, ProcessRef, Purpose, Waiting};
use crate::seed::Draw;
use crate::world::End;

/// A stream's reader waits this long for anything, its idle keep-alive included.
const READ_TIMEOUT_NS: u64 = 5_000_000_000;

/// An idle stream carries a keep-alive this often.
const KEEP_ALIVE_NS: u64 = READ_TIMEOUT_NS / 3;

/// Streams are dialed at most this often.
const REDIAL_NS: u64 = 100_000_000;

/// The first repetition of a knock comes after this long; each later one after twice as long.
const KNOCK_AGAIN_NS: u64 = 1_000_000_000;

/// What a dial, an answer or a call takes on the wire, about.
const SMALL_BYTES: u64 = 300;

impl LoopWorld {
    /// The peers of a member changed.
    pub(super) fn peers_changed(&mut self, place: usize, change: PeerChange) {
        let Some(at) = self.hosts[place].process_ref(place) else { return };
        let process = self.process(place);
        match change {
            PeerChange::Add { id, urls } => {
                match process.peer(id) {
                    Some(peer) => peer.urls = urls,
                    None => process.peers.push(Peer::new(id, urls)),
                }
                self.dial_stopped(at, id);
            }
            PeerChange::Remote { id, urls } => {
                if process.peer(id).is_none() {
                    process.peers.push(Peer::new(id, urls));
                }
            }
            PeerChange::Update { id, urls } => {
                if let Some(peer) = process.peer(id) {
                    peer.urls = urls;
                    peer.next_url = 0;
                }
            }
            PeerChange::Remove(id) => {
                let Some(index) = process.peers.iter().position(|peer| peer.id == id) else {
                    return;
                };
                let peer = process.peers.remove(index);
                let readers = peer.readers.into_iter().filter_map(|reader| match reader {
                    Reader::Up(conn) => Some(conn),
                    Reader::Dialing(_) | Reader::Stopped => None,
                });
                for conn in readers.chain(peer.writers.into_iter().flatten()).collect::<Vec<_>>() {
                    self.close_from(at, conn);
                }
            }
        }
    }

    /// Dials those streams of a peer that are not dialed.
    fn dial_stopped(&mut self, at: ProcessRef, id: MemberId) {
        let process = self.process(at.place);
        let readers = process.peer(id).map_or([Reader::Stopped; 2], |peer| peer.readers);
        let stopped = Stream::ALL.into_iter().zip(readers).filter(|(_, it)| *it == Reader::Stopped);
        let attempts: Vec<(Stream, u64)> =
            stopped.map(|(stream, _)| (stream, process.number())).collect();
        let Some(peer) = process.peer(id) else { return };
        for &(stream, number) in &attempts {
            peer.readers[stream as usize] = Reader::Dialing(number);
        }
        for (stream, number) in attempts {
            self.dial(Attempt { dialer: at, peer: id, stream, number });
        }
    }

    /// Begins an attempt to dial a stream, now.
    fn dial(&mut self, attempt: Attempt) {
        let process = self.process(attempt.dialer.place);
        let Some(url) = process.peer(attempt.peer).and_then(|peer| peer.url()).cloned() else {
            return;
        };
        self.knock(attempt.dialer, url, Purpose::Dial(attempt));
    }

    /// Begins to make a connection, now.
    pub(super) fn knock(&mut self, from: ProcessRef, url: String, purpose: Purpose) {
        let started = self.leaves(End::Member(from.place));
        self.queue.push(started, Event::Connect { from, url, started, purpose });
    }

    /// Tries to make a connection.
    pub(super) fn connect(
        &mut self,
        from: ProcessRef,
        url: String,
        started: u64,
        purpose: Purpose,
    ) {
        if !self.is_wanted(from, &purpose) {
            return;
        }
        let here = End::Member(from.place);
        let Some(place) = self.network.resolve(&url) else {
            let at = self.now + self.network.latency(here, here);
            return self.connect_failed(from, at, purpose);
        };
        let there = End::Member(place);
        let round_trip = |world: &mut LoopWorld| {
            world.network.latency(here, there) + world.network.latency(there, here)
        };
        if !self.network.can_connect(here, there) || !self.hosts[place].is_powered {
            self.network.note_unheard(here, there);
            return self.knock_again(from, url, started, purpose);
        }
        let after_handshake = self.now + round_trip(self);
        if self.hosts[place].process.is_none() {
            return self.connect_failed(from, after_handshake, purpose);
        }
        let limit = after_handshake + READ_TIMEOUT_NS;
        let process = self.process(from.place);
        let (packet, what) = match purpose {
            Purpose::Dial(attempt) => {
                let Some(header) = process.header_to(Some(attempt.peer)) else { return };
                let header = Box::new(header);
                (Packet::Dial { attempt, header }, Some(Waiting::Dial(attempt)))
            }
            Purpose::Post { number, message, body } => {
                let Some(header) = process.header_to(None) else { return };
                // How long a snapshot takes is not limited: patience counts from its arrival.
                let limit = body.is_none().then_some(Waiting::Post(number));
                let post = Post { sender: from, number, header, message, body };
                (Packet::Post(Box::new(post)), limit)
            }
            Purpose::Call { id, call } => (Packet::Call { caller: from, id, call }, None),
        };
        if let Some(what) = what {
            self.queue.push(limit.max(self.now), Event::GiveUp { from, what });
        }
        let bytes = SMALL_BYTES + packet.raft_bytes();
        let snapshot = match &packet {
            Packet::Post(post) => post.body.as_ref().map(|_| Waiting::Post(post.number)),
            _ => None,
        };
        let arrival = self.transmit(here, there, bytes, after_handshake, packet);
        if let Some(what) = snapshot {
            let limit = arrival.unwrap_or(after_handshake) + READ_TIMEOUT_NS;
            self.queue.push(limit, Event::GiveUp { from, what });
        }
    }

    /// Nothing answers at the address: knocks again, as long as there is patience.
    fn knock_again(&mut self, from: ProcessRef, url: String, started: u64, purpose: Purpose) {
        let waited = self.now - started;
        let next = started + 2 * waited + KNOCK_AGAIN_NS;
        let clocks = &self.hosts[from.place].clocks;
        let patience = match &self.hosts[from.place].process {
            Some(process) => clocks.stretch(process.dial_timeout),
            None => return,
        };
        // A process that was paused may notice late that its patience is at its end.
        let limit = (started + patience).max(self.now);
        let what = match &purpose {
            // The call has a limit of its own.
            Purpose::Call { .. } => None,
            Purpose::Dial(attempt) => Some(Waiting::Dial(*attempt)),
            Purpose::Post { number, .. } => Some(Waiting::Post(*number)),
        };
        match what {
            // A process that was paused meanwhile finds its patience long spent.
            Some(what) if next >= limit => {
                self.queue.push(limit.max(self.now), Event::GiveUp { from, what });
            }
            _ => self.queue.push(next, Event::Connect { from, url, started, purpose }),
        }
    }

    /// Whether the one who began to make a connection still wants it.
    fn is_wanted(&mut self, from: ProcessRef, purpose: &Purpose) -> bool {
        if !self.runs(from) {
            return false;
        }
        let process = self.process(from.place);
        match purpose {
            Purpose::Dial(attempt) => process.peer(attempt.peer).is_some_and(|peer| {
                peer.readers[attempt.stream as usize] == Reader::Dialing(attempt.number)
            }),
            Purpose::Post { number, .. } => process.posts.contains_key(number),
            Purpose::Call { id, .. } => process.calls.contains_key(id),
        }
    }

    /// Nobody listens there: the one who knocked is told at `at`.
    fn connect_failed(&mut self, from: ProcessRef, at: u64, purpose: Purpose) {
        let here = End::Member(from.place);
        let packet = match purpose {
            Purpose::Dial(attempt) => Packet::DialAnswer { attempt, result: Dialed::Failed },
            Purpose::Post { number, .. } => {
                Packet::PostAnswer { sender: from, number, result: Err(None) }
            }
            Purpose::Call { id, .. } => self.call_refused(from, id),
        };
        self.queue.push(at, Event::Arrives { from: here, to: here, packet });
    }

    /// Patience is at its end.
    pub(super) fn give_up(&mut self, from: ProcessRef, what: Waiting) {
        match what {
            Waiting::Dial(attempt) => self.dial_answered(attempt, Dialed::Failed),
            Waiting::Post(number) => self.post_answered(from, number, Err(None)),
            Waiting::Call(id) => self.call_timed_out(from, id),
        }
    }

    /// A dial or POST reaches a process, whose member decides.
    pub(super) fn knocked(&mut self, place: usize, inbound: Inbound, input: Input) {
        let id = match &input {
            Input::PeerDial { id, .. } | Input::PeerCall { id, .. } => *id,
            other => unreachable!("{other:?} does not come from a peer's call"),
        };
        self.process(place).inbound.insert(id, inbound);
        self.step(place, input);
    }

    /// A number for somebody who waits for the member's answer.
    pub(super) fn inbound_id(&mut self, place: usize) -> CallId {
        CallId(self.process(place).number())
    }

    /// The member answered a dial or the header of a POST.
    pub(super) fn dial_decided(
        &mut self,
        place: usize,
        id: CallId,
        result: Result<(), DialRefusal>,
    ) {
        let Some(server) = self.hosts[place].process_ref(place) else { return };
        match self.process(place).inbound.remove(&id) {
            Some(Inbound::Dial { attempt, from }) => {
                self.stream_decided(server, attempt, from, result);
            }
            Some(Inbound::Post { sender, number, from, message, body: Some(body) })
                if result.is_ok() =>
            {
                self.receive_snapshot(place, (sender, number), from, message, body);
            }
            Some(Inbound::Post { sender, number, from, message, .. }) => {
                let result = result.map_err(Some);
                if result.is_ok() {
                    self.tell(server, Input::Raft { from, message });
                    self.reached(server, from);
                }
                self.answer_post(place, sender, number, result);
            }
            Some(Inbound::Call { .. } | Inbound::Snapshot { .. }) | None => {}
        }
    }

    /// Who sent a POST is told how it ended.
    pub(super) fn answer_post(
        &mut self,
        place: usize,
        sender: ProcessRef,
        number: u64,
        result: Result<(), Option<DialRefusal>>,
    ) {
        let answer = Packet::PostAnswer { sender, number, result };
        let (here, there) = (End::Member(place), End::Member(sender.place));
        self.transmit(here, there, SMALL_BYTES, 0, answer);
    }

    /// A member decided on a stream that a peer wants to read.
    fn stream_decided(
        &mut self,
        server: ProcessRef,
        attempt: Attempt,
        from: MemberId,
        result: Result<(), DialRefusal>,
    ) {
        let (here, there) = (End::Member(server.place), End::Member(attempt.dialer.place));
        let process = self.process(server.place);
        let known = process.peer(from).is_some();
        let identity = process.identity.filter(|_| known);
        let result = match (result, identity) {
            (Ok(()), Some((server_id, _))) => {
                let conn = self.connections.open(Conn {
                    server,
                    server_id,
                    dialer: attempt.dialer,
                    last_arrival: 0,
                    silence: 0,
                });
                let peer = self.process(server.place).peer(from).expect("known");
                let before = peer.writers[attempt.stream as usize].replace(conn);
                if let Some(before) = before {
                    self.close_from(server, before);
                }
                self.reached(server, from);
                Dialed::Up(conn)
            }
            (Ok(()), None) => Dialed::Refused(DialRefusal::SenderNotFound),
            (Err(refusal), _) => Dialed::Refused(refusal),
        };
        let answer = Packet::DialAnswer { attempt, result };
        let arrival = self.transmit(here, there, SMALL_BYTES, 0, answer);
        if let Dialed::Up(conn) = result
            && let Some(conn) = self.connections.get_mut(conn)
        {
            conn.last_arrival = arrival.unwrap_or(0);
        }
    }

    /// An attempt to dial ended.
    pub(super) fn dial_answered(&mut self, attempt: Attempt, result: Dialed) {
        let wanted = self.is_wanted(attempt.dialer, &Purpose::Dial(attempt));
        if !wanted {
            if let Dialed::Up(conn) = result {
                self.close_from(attempt.dialer, conn);
            }
            return;
        }
        let place = attempt.dialer.place;
        let stream = attempt.stream as usize;
        let peer = self.process(place).peer(attempt.peer).expect("it is wanted");
        match result {
            Dialed::Up(conn) => {
                peer.readers[stream] = Reader::Up(conn);
                if self.connections.get(conn).is_none() {
                    return self.stream_broke(attempt.dialer, conn);
                }
                self.reached(attempt.dialer, attempt.peer);
            }
            Dialed::Refused(refusal) => {
                peer.next_url = peer.next_url.wrapping_add(1);
                if refusal == DialRefusal::Removed {
                    peer.readers[stream] = Reader::Stopped;
                } else {
                    self.dial_again(attempt);
                }
                self.lost(attempt.dialer, attempt.peer, false);
                self.tell(attempt.dialer, Input::DialRefused { peer: attempt.peer, refusal });
            }
            Dialed::Failed => {
                peer.next_url = peer.next_url.wrapping_add(1);
                self.dial_again(attempt);
                self.lost(attempt.dialer, attempt.peer, false);
            }
        }
    }

    /// Dials a stream again after the pause between attempts.
    fn dial_again(&mut self, attempt: Attempt) {
        let process = self.process(attempt.dialer.place);
        let number = process.number();
        let Some(peer) = process.peer(attempt.peer) else { return };
        peer.readers[attempt.stream as usize] = Reader::Dialing(number);
        let Some(url) = peer.url().cloned() else { return };
        let started = self.now + REDIAL_NS;
        let purpose = Purpose::Dial(Attempt { number, ..attempt });
        self.queue.push(started, Event::Connect { from: attempt.dialer, url, started, purpose });
    }

    /// Something reached a peer, or came from it.
    pub(super) fn reached(&mut self, at: ProcessRef, peer: MemberId) {
        if let Some(peer) = self.process(at.place).peer(peer)
            && !peer.is_active
        {
            peer.is_active = true;
            let id = peer.id;
            self.tell(at, Input::PeerActive(id));
        }
    }

    /// A connection to a peer failed; `message_lost` when a raft message went with it.
    pub(super) fn lost(&mut self, at: ProcessRef, peer: MemberId, message_lost: bool) {
        let Some(peer) = self.process(at.place).peer(peer) else { return };
        let was_active = std::mem::replace(&mut peer.is_active, false);
        let id = peer.id;
        if was_active || message_lost {
            self.tell(at, Input::PeerUnreachable(id));
        }
    }

    /// A process notices that its end of a stream is broken.
    pub(super) fn stream_broke(&mut self, at: ProcessRef, name: ConnRef) {
        if !self.runs(at) {
            return;
        }
        let process = self.process(at.place);
        let reads = |peer: &Peer| peer.readers.iter().position(|r| *r == Reader::Up(name));
        let writes = |peer: &Peer| peer.writers.iter().position(|w| *w == Some(name));
        for peer in &mut process.peers {
            let id = peer.id;
            if let Some(stream) = reads(peer) {
                let stream = Stream::ALL[stream];
                self.dial_again(Attempt { dialer: at, peer: id, stream, number: 0 });
                return self.lost(at, id, false);
            }
            if let Some(stream) = writes(peer) {
                peer.writers[stream] = None;
                return self.lost(at, id, false);
            }
        }
    }

    /// A stream breaks in the middle: both ends notice, the sender when it is told.
    pub(super) fn break_stream(&mut self, name: ConnRef) {
        let Some(conn) = self.connections.close(name) else { return };
        let (dialer, server) = (End::Member(conn.dialer.place), End::Member(conn.server.place));
        self.queue.push(self.now, Event::StreamBroke { at: conn.dialer, conn: name });
        let delay = if self.network.is_open(dialer, server) {
            self.network.latency(dialer, server)
        } else {
            0
        };
        self.queue.push(self.now + delay, Event::StreamBroke { at: conn.server, conn: name });
    }

    /// The streams between two members are gone, and one of them is not told: as a reader it finds
    /// out by silence, as a writer when the other dials anew.
    pub(super) fn half_close(&mut self, believer: usize, other: usize) -> usize {
        let pair = [(believer, other), (other, believer)];
        let between =
            self.connections.select(|conn| pair.contains(&(conn.server.place, conn.dialer.place)));
        let many = between.len();
        for name in between {
            let silence = self.silence();
            let Some(conn) = self.connections.close(name) else { continue };
            for at in [conn.server, conn.dialer] {
                if at.place == other {
                    self.queue.push(self.now, Event::StreamBroke { at, conn: name });
                } else if at == conn.dialer {
                    self.queue.push(self.now + silence, Event::StreamBroke { at, conn: name });
                }
            }
        }
        many
    }

    /// One end closes a stream in good order; the other is told, or finds out by itself.
    fn close_from(&mut self, at: ProcessRef, name: ConnRef) {
        let Some(conn) = self.connections.close(name) else { return };
        let other = if conn.dialer == at { conn.server } else { conn.dialer };
        let (here, there) = (End::Member(at.place), End::Member(other.place));
        let delay = if self.network.is_open(here, there) {
            self.network.latency(here, there)
        } else {
            self.silence()
        };
        self.queue.push(self.now + delay, Event::StreamBroke { at: other, conn: name });
    }

    /// A process is gone. Its kernel closes its streams; without power, their other ends find out
    /// by themselves.
    pub(super) fn streams_orphaned(&mut self, gone: ProcessRef, has_power: bool) {
        let orphans = self.connections.select(|conn| conn.server == gone || conn.dialer == gone);
        for name in orphans {
            if has_power {
                self.close_from(gone, name);
            } else if let Some(conn) = self.connections.close(name) {
                let other = if conn.dialer == gone { conn.server } else { conn.dialer };
                let at = self.now + self.silence();
                self.queue.push(at, Event::StreamBroke { at: other, conn: name });
            }
        }
    }

    /// How long a reader still waits when nothing comes any more: the last keep-alive came within
    /// one of its intervals.
    fn silence(&mut self) -> u64 {
        READ_TIMEOUT_NS - self.timing.below(KEEP_ALIVE_NS)
    }

    /// Nothing comes any more on the streams that a test holds for.
    pub(super) fn fall_silent(&mut self, test: impl Fn(&Conn) -> bool) {
        for name in self.connections.select(test) {
            let at = self.now + self.silence();
            let conn = self.connections.get(name).expect("selected");
            self.queue.push(at, Event::Silence { conn: name, silence: conn.silence });
        }
    }

    /// The streams that a test holds for carry messages again.
    pub(super) fn end_silence(&mut self, test: impl Fn(&Conn) -> bool) {
        for name in self.connections.select(test) {
            if let Some(conn) = self.connections.get_mut(name) {
                conn.silence += 1;
            }
        }
    }

    /// A reader has heard nothing for too long, unless the silence ended.
    pub(super) fn silence_ended(&mut self, name: ConnRef, silence: u32) {
        if self.connections.get(name).is_some_and(|conn| conn.silence == silence) {
            self.break_stream(name);
        }
    }
}
