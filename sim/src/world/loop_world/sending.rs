//! Sending: packets over links, raft messages on streams, and POSTs in their place.
//!
//! Messages of one stream arrive in order, unless the link's quality lets them be overtaken. What
//! cannot be delivered is reported to the sender as unreachable.

use detcd::member::id::MemberId;
use detcd::member::io::{DialRefusal, Input, Level, LogLine, RaftMessage};
use detcd::proto::raftpb::MessageType;
use detcd::storage::backend::Body;
use detcd::storage::database::PinId;

use super::LoopWorld;
use super::calls::Bounce;
use super::connection::{ConnRef, Stream};
use super::host::Posted;
use super::network::{self, Held, Passage};
use super::packet::{Event, Packet, ProcessRef, Purpose};
use crate::world::End;

/// POSTs to one peer at a time.
const POSTS_MAX: u32 = 4;

/// Messages that wait for a POST before further ones are dropped.
const PIPELINE_MAX: usize = 64;

/// A snapshot that may be sent.
#[derive(Debug)]
pub struct SnapshotPost {
    /// To whom.
    pub to: MemberId,
    /// Raft's message.
    pub message: RaftMessage,
    /// The state that it speaks of.
    pub pin: PinId,
    /// That state.
    pub body: Body,
    /// The sender is to be killed once it has arrived.
    pub springs: bool,
}

impl LoopWorld {
    /// Sends a packet over a link. Packets of one flow carry the flow's last arrival as
    /// `not_before` and learn when they arrive; `None` when that is unknown.
    pub(super) fn transmit(
        &mut self,
        from: End,
        to: End,
        bytes: u64,
        not_before: u64,
        packet: Packet,
    ) -> Option<u64> {
        let leaves = self.leaves(from);
        let class = match &packet {
            Packet::Post(post) => network::class_of(post.message.kind()),
            _ => None,
        };
        match self.network.passage((from, to), leaves, bytes, class, false) {
            Passage::Arrives { at, .. } => {
                let at = at.max(not_before);
                self.queue.push(at, Event::Arrives { from, to, packet });
                Some(at)
            }
            Passage::Waits if self.network.can_hold(from, to) => {
                self.network.hold(from, to, Held { sent: leaves, packet });
                None
            }
            Passage::Vanishes => None,
            Passage::Waits | Passage::Resets => {
                self.bounce(to, from, packet, Bounce::Reset);
                None
            }
        }
    }

    /// A raft message leaves a member.
    pub(super) fn send(&mut self, place: usize, to: MemberId, message: RaftMessage) {
        let Some(sender) = self.hosts[place].process_ref(place) else { return };
        let message = if self.options.codec { self.through_codec(message) } else { message };
        let kind = message.kind();
        let Some(peer) = self.process(place).peer(to) else { return };
        let append = peer.writers[Stream::Append as usize].filter(|_| kind == MessageType::MsgApp);
        let writer = append.or(peer.writers[Stream::Message as usize]);
        match writer {
            Some(conn) if kind != MessageType::MsgSnap => {
                self.send_on(sender, to, conn, message);
            }
            _ => self.post(sender, to, message),
        }
    }

    /// A snapshot leaves a member, with the state of its database that it speaks of.
    pub(super) fn send_snapshot(&mut self, place: usize, post: SnapshotPost) {
        let Some(sender) = self.hosts[place].process_ref(place) else { return };
        let SnapshotPost { to, message, pin, body, springs } = post;
        let message = if self.options.codec { self.through_codec(message) } else { message };
        let process = self.process(place);
        let number = process.number();
        let Some(url) = process.peer(to).and_then(|peer| peer.url()).cloned() else {
            return self.tell(sender, Input::SnapshotStatus { peer: to, delivered: false });
        };
        process.posts.insert(number, Posted { peer: to, snapshot: Some(pin), springs });
        let line = LogLine::new(Level::Info, "sending database snapshot")
            .with("snapshot-index", message.snapshot_index().to_string())
            .with("remote-peer-id", to.to_string())
            .with("bytes", body.size_bytes.to_string());
        self.hosts[place].log(self.now, line);
        let body = Some(body);
        self.knock(sender, url, Purpose::Post { number, message, body });
    }

    /// Nobody needs a snapshot any more: its transfer ends.
    pub(super) fn give_up_snapshot(&mut self, place: usize, unpinned: PinId) {
        self.process(place).posts.retain(|_, posted| posted.snapshot != Some(unpinned));
    }

    /// Whether a POST has not ended for its sender.
    pub(super) fn is_posting(&mut self, sender: ProcessRef, number: u64) -> bool {
        self.runs(sender) && self.process(sender.place).posts.contains_key(&number)
    }

    /// Encodes and decodes a message as the wire would.
    fn through_codec(&mut self, message: RaftMessage) -> RaftMessage {
        let decoded = RaftMessage::decode(message.encode().into());
        decoded.expect("a member's own message can be decoded")
    }

    fn send_on(&mut self, sender: ProcessRef, to: MemberId, name: ConnRef, message: RaftMessage) {
        // A dead connection that its writer does not know to be dead: the message is lost.
        let Some(conn) = self.connections.get(name) else { return };
        let ends = (End::Member(sender.place), End::Member(conn.dialer.place));
        let not_before = conn.last_arrival;
        let class = network::class_of(message.kind());
        let bytes = message.wire_bytes() as u64;
        let leaves = self.leaves(ends.0);
        // A forwarded proposal that arrived twice would take effect twice: that it does not is what
        // etcd's transport owes to raft.
        let may_repeat = message.kind() != MessageType::MsgProp;
        match self.network.passage(ends, leaves, bytes, class, may_repeat) {
            Passage::Arrives { at, again, overtakes } => {
                let at = if overtakes { at } else { at.max(not_before) };
                if let Some(conn) = self.connections.get_mut(name)
                    && !overtakes
                {
                    conn.last_arrival = at;
                }
                let arrives = |message| Event::Arrives {
                    from: ends.0,
                    to: ends.1,
                    packet: Packet::Raft { conn: name, message },
                };
                if let Some(again) = again {
                    self.queue.push(again.max(not_before), arrives(message.clone()));
                }
                self.queue.push(at, arrives(message));
            }
            Passage::Vanishes => {}
            Passage::Waits if self.network.can_hold(ends.0, ends.1) => {
                let packet = Packet::Raft { conn: name, message };
                self.network.hold(ends.0, ends.1, Held { sent: leaves, packet });
            }
            Passage::Waits => self.lost(sender, to, true),
            Passage::Resets => self.break_stream(name),
        }
    }

    /// Sends a raft message by a request of its own, as soon as one may be made.
    fn post(&mut self, sender: ProcessRef, to: MemberId, message: RaftMessage) {
        let Some(peer) = self.process(sender.place).peer(to) else { return };
        if peer.posting < POSTS_MAX {
            self.post_now(sender, to, message);
        } else if peer.pipeline.len() < PIPELINE_MAX {
            peer.pipeline.push_back(message);
        } else {
            self.lost(sender, to, true);
        }
    }

    fn post_now(&mut self, sender: ProcessRef, to: MemberId, message: RaftMessage) {
        let process = self.process(sender.place);
        let number = process.number();
        let Some(peer) = process.peer(to) else { return };
        let Some(url) = peer.url().cloned() else { return };
        peer.posting += 1;
        process.posts.insert(number, Posted { peer: to, snapshot: None, springs: false });
        self.knock(sender, url, Purpose::Post { number, message, body: None });
    }

    /// A POST ended.
    pub(super) fn post_answered(
        &mut self,
        sender: ProcessRef,
        number: u64,
        result: Result<(), Option<DialRefusal>>,
    ) {
        if !self.runs(sender) {
            return;
        }
        let process = self.process(sender.place);
        let Some(posted) = process.posts.remove(&number) else { return };
        let Some(peer) = process.peer(posted.peer) else { return };
        if posted.snapshot.is_none() {
            peer.posting -= 1;
            if let Some(next) = peer.pipeline.pop_front() {
                self.post_now(sender, posted.peer, next);
            }
        }
        match result {
            Ok(()) => self.reached(sender, posted.peer),
            Err(refusal) => {
                if let Some(peer) = self.process(sender.place).peer(posted.peer) {
                    peer.next_url = peer.next_url.wrapping_add(1);
                }
                if let Some(refusal) = refusal {
                    self.tell(sender, Input::DialRefused { peer: posted.peer, refusal });
                }
                self.lost(sender, posted.peer, true);
            }
        }
        if posted.snapshot.is_some() {
            let delivered = result.is_ok();
            let line = match delivered {
                true => LogLine::new(Level::Info, "sent database snapshot"),
                false => LogLine::new(Level::Warn, "failed to send database snapshot"),
            };
            let line = line.with("remote-peer-id", posted.peer.to_string());
            self.hosts[sender.place].log(self.now, line);
            self.tell(sender, Input::SnapshotStatus { peer: posted.peer, delivered });
        }
        if posted.springs {
            self.queue.push(self.now, Event::Trapped(sender));
        }
    }

    /// A message arrives on a stream.
    pub(super) fn raft_arrived(&mut self, place: usize, name: ConnRef, message: RaftMessage) {
        let Some(conn) = self.connections.get(name) else { return };
        let from = conn.server_id;
        self.step(place, Input::Raft { from, message });
    }

    /// A link carries messages again: what waited is sent again, each flow in its order.
    pub(super) fn flush(&mut self, from: End, to: End) {
        let held = self.network.take_held(from, to);
        let is_raft = |held: &&Held| matches!(held.packet, Packet::Raft { .. });
        let first_raft = held.iter().find(is_raft).map(|held| held.sent);
        for Held { sent, packet, .. } in held {
            // Messages of streams stand behind the first one that was not acknowledged.
            let sent = match &packet {
                Packet::Raft { .. } => first_raft.expect("this is one"),
                _ => sent,
            };
            let again = network::retransmission(sent, self.now);
            let mut at = again + self.network.latency(from, to);
            let floor = match &packet {
                Packet::Raft { conn, .. } => {
                    self.connections.get_mut(*conn).map(|conn| &mut conn.last_arrival)
                }
                other => other.op().and_then(|op| self.clients.floor(op, to)),
            };
            if let Some(floor) = floor {
                at = at.max(*floor);
                *floor = at;
            }
            self.queue.push(at, Event::Arrives { from, to, packet });
        }
    }
}
