//! Raft streams between members: which stand, and what each end knows of them.
//!
//! A stream is dialed by the one who reads it; messages flow from the other end, the server, to the
//! dialer. Both members of a pair dial both kinds of stream. A connection can be dead while an end
//! does not know it yet: what is sent meanwhile is lost, as in a socket's buffer.

use std::collections::VecDeque;

use detcd::member::id::MemberId;
use detcd::member::io::RaftMessage;

use super::packet::ProcessRef;

/// The kind of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Everything that may pass it by.
    Message,
    /// Log appends.
    Append,
}

impl Stream {
    /// Both.
    pub const ALL: [Stream; 2] = [Stream::Message, Stream::Append];
}

/// Names a connection; never names another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnRef {
    slot: u32,
    generation: u32,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// The end that sends.
    pub server: ProcessRef,
    /// The sender's identity.
    pub server_id: MemberId,
    /// The end that dialed and reads.
    pub dialer: ProcessRef,
    /// When the last message sent so far arrives: the next may not come before it.
    pub last_arrival: u64,
    /// Counts the times that something ended a silence.
    pub silence: u32,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Connections {
    slots: Vec<(u32, Option<Conn>)>,
    free: Vec<u32>,
}

impl Connections {
    /// Makes a connection.
    pub fn open(&mut self, conn: Conn) -> ConnRef {
        if let Some(slot) = self.free.pop() {
            let (generation, content) = &mut self.slots[slot as usize];
            *content = Some(conn);
            return ConnRef { slot, generation: *generation };
        }
        self.slots.push((0, Some(conn)));
        ConnRef { slot: self.slots.len() as u32 - 1, generation: 0 }
    }

    /// The connection, while it stands.
    pub fn get(&self, name: ConnRef) -> Option<&Conn> {
        let (generation, conn) = &self.slots[name.slot as usize];
        conn.as_ref().filter(|_| *generation == name.generation)
    }

    /// The connection, while it stands.
    pub fn get_mut(&mut self, name: ConnRef) -> Option<&mut Conn> {
        let (generation, conn) = &mut self.slots[name.slot as usize];
        conn.as_mut().filter(|_| *generation == name.generation)
    }

    /// Ends a connection: what is on its way is lost.
    pub fn close(&mut self, name: ConnRef) -> Option<Conn> {
        self.get(name)?;
        let (generation, conn) = &mut self.slots[name.slot as usize];
        *generation += 1;
        self.free.push(name.slot);
        conn.take()
    }

    /// The connections that a test holds for, in a fixed order.
    pub fn select(&self, test: impl Fn(&Conn) -> bool) -> Vec<ConnRef> {
        let mut found = Vec::new();
        for (slot, (generation, conn)) in self.slots.iter().enumerate() {
            if conn.as_ref().is_some_and(&test) {
                found.push(ConnRef { slot: slot as u32, generation: *generation });
            }
        }
        found
    }
}

/// A member's end of the streams to one peer.
#[derive(Debug)]
pub struct Peer {
    /// The peer.
    pub id: MemberId,
    /// Where it may be reached, tried in turn.
    pub urls: Vec<String>,
    /// Which URL is tried next.
    pub next_url: usize,
    /// The streams that this member dials, by kind.
    pub readers: [Reader; 2],
    /// The streams that the peer dialed, by kind.
    pub writers: [Option<ConnRef>; 2],
    /// Something succeeded after the last failure.
    pub is_active: bool,
    /// POSTs that have no answer yet, snapshots apart.
    pub posting: u32,
    /// Messages that wait for a POST.
    pub pipeline: VecDeque<RaftMessage>,
}

/// A stream that a member dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Being dialed, or waiting for the next attempt: the attempt's number.
    Dialing(u64),
    /// It stands, as far as is known.
    Up(ConnRef),
    /// The peer said that this member is removed, or is only answered.
    Stopped,
}

impl Peer {
    /// One that is not dialed yet.
    pub fn new(id: MemberId, urls: Vec<String>) -> Peer {
        Peer {
            id,
            urls,
            next_url: 0,
            readers: [Reader::Stopped; 2],
            writers: [None, None],
            is_active: false,
            posting: 0,
            pipeline: VecDeque::new(),
        }
    }

    /// The URL to try now.
    pub fn url(&self) -> Option<&String> {
        self.urls.get(self.next_url % self.urls.len().max(1))
    }
}
