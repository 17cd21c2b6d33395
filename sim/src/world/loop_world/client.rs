//! Clients: operations on their way, their patience, and the reading side of watches.
//!
//! A client speaks to the one member that it was told. It has a connection to it, so a request
//! leaves at once; requests to a member that does not serve clients yet wait there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use detcd::api::{ApiError, CallError};
use detcd::member::io::{StreamItem, StreamMessage};
use detcd::proto::etcdserverpb as pb;
use detsim_reports::record::{Call, Header, OpId, Outcome, Watch};

use super::LoopWorld;
use super::packet::{Event, Packet};
use crate::world::End;
use crate::world::convert;

/// The id of responses that are for all watches of a stream.
const TO_ALL: i64 = -1;

/// What kind of answer an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One answer.
    Unary,
    /// The first message of a keep-alive stream.
    KeepAlive,
    /// The messages of a snapshot, until the member ends them.
    Snapshot,
    /// Messages until it is closed.
    Watch,
}

/// The reading side of a watch.
#[derive(Debug)]
pub struct WatchSide {
    /// The operation that opened its stream, and names it.
    pub stream: OpId,
    /// The member confirmed it.
    pub is_created: bool,
    /// Asks for progress after so much silence; 0 for never.
    pub progress_ns: u64,
    /// When the last message was taken.
    pub last_message: u64,
    /// The last header.
    pub header: Header,
}

/// The reading side of a stream of watches, which may be one.
#[derive(Debug)]
pub struct WatchStream {
    member: usize,
    /// What watches that share it call it; 0 when no more may join.
    number: u32,
    is_shared: bool,
    /// The member's process has heard of it.
    pub is_open: bool,
    /// Its watches that have not ended.
    pub watches: BTreeSet<OpId>,
    lane: Lane,
    /// Bytes that the client takes per second; 0 for all at once.
    pub drain_bytes_per_s: u64,
    /// When the client has taken everything that arrived.
    pub free_at: u64,
    /// What arrived and was not taken.
    pub arrived: VecDeque<(StreamItem, u64)>,
    /// Bytes taken that the member was not told of.
    pub untold: u64,
}

/// How far packets have come that may not overtake each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lane {
    /// When the last packet to the member arrives.
    pub up: u64,
    /// When the last packet from the member arrives.
    pub down: u64,
}

/// The reading side of a snapshot.
#[derive(Debug, Default)]
pub struct SnapshotSide {
    /// Under which name it is kept.
    pub into: String,
    /// What arrived.
    pub pieces: Vec<pb::SnapshotResponse>,
    /// Bytes taken that the member was not told of.
    pub untold: u64,
}

/// An operation that has not ended.
#[derive(Debug)]
pub struct Pending {
    /// At which member.
    pub member: usize,
    /// What it waits for.
    pub kind: Kind,
    /// A failure changes nothing.
    pub is_read: bool,
    /// It reached a process that serves clients.
    pub has_arrived: bool,
    lane: Lane,
    /// Of a watch.
    pub watch: Option<Box<WatchSide>>,
    /// Of a snapshot.
    pub snapshot: Option<Box<SnapshotSide>>,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Clients {
    pending: BTreeMap<OpId, Pending>,
    streams: BTreeMap<OpId, WatchStream>,
    timeouts: BinaryHeap<Reverse<(u64, OpId)>>,
    /// When `Event::ClientTimeouts` comes next; 0 when it does not.
    armed: u64,
}

impl Pending {
    /// An operation that is being sent.
    pub fn new(call: &Call, member: usize) -> Pending {
        let kind = match call {
            Call::Watch(_) => Kind::Watch,
            Call::LeaseKeepAlive { .. } => Kind::KeepAlive,
            Call::Snapshot { .. } => Kind::Snapshot,
            _ => Kind::Unary,
        };
        let snapshot = match call {
            Call::Snapshot { into } => {
                Some(Box::new(SnapshotSide { into: into.clone(), ..SnapshotSide::default() }))
            }
            _ => None,
        };
        let (is_read, lane) = (convert::is_read(call), Lane::default());
        Pending { member, kind, is_read, has_arrived: false, lane, watch: None, snapshot }
    }

    /// How it ends when nobody answers it.
    pub fn unanswered(&self, why: &str) -> Outcome {
        if self.is_read { Outcome::Fail(why.to_owned()) } else { Outcome::Unknown(why.to_owned()) }
    }

    /// How it ends with an error of the member's.
    pub fn refused(&self, error: &CallError) -> Outcome {
        if error.api().is_some_and(is_definite) {
            Outcome::Fail(error.text().to_owned())
        } else {
            self.unanswered(error.text())
        }
    }
}

/// Whether a request that is answered with this error certainly had and will have no effect: it was
/// refused before it was proposed, or refused alike by every member that applies it.
fn is_definite(error: ApiError) -> bool {
    !matches!(
        error,
        ApiError::Timeout
            | ApiError::TimeoutLeaderFailure
            | ApiError::TimeoutConnectionLost
            | ApiError::TimeoutWaitAppliedIndex
            | ApiError::TimeoutLeaderTransfer
            | ApiError::LeaderChanged
            | ApiError::Stopped
            | ApiError::RequestCanceled
            | ApiError::ContextCanceled
            | ApiError::DeadlineExceeded
            // Applied all the same by the member that runs out of space while it applies.
            | ApiError::NoSpace
    )
}

impl Clients {
    /// An operation that has not ended.
    pub fn get(&mut self, op: OpId) -> Option<&mut Pending> {
        self.pending.get_mut(&op)
    }

    /// The reading side of a watch that has not ended.
    pub fn watch(&mut self, op: OpId) -> Option<&mut WatchSide> {
        self.get(op)?.watch.as_deref_mut()
    }

    /// The stream of this name.
    pub fn stream(&mut self, name: OpId) -> Option<&mut WatchStream> {
        self.streams.get_mut(&name)
    }

    /// Puts a watch on the stream of its number at its member, or on one of its own. Tells whether
    /// it shares it with others, that are there or may come.
    pub fn join(&mut self, op: OpId, member: usize, watch: &Watch) -> (WatchSide, bool) {
        let is_shared = watch.stream > 0;
        let mut open = self.streams.iter_mut();
        let joined =
            open.find(|(_, it)| is_shared && it.member == member && it.number == watch.stream);
        let stream = match joined {
            Some((name, stream)) => {
                stream.watches.insert(op);
                *name
            }
            None => {
                let stream = WatchStream {
                    member,
                    number: watch.stream,
                    is_shared,
                    is_open: false,
                    watches: BTreeSet::from([op]),
                    lane: Lane::default(),
                    drain_bytes_per_s: watch.drain_bytes_per_s,
                    free_at: 0,
                    arrived: VecDeque::new(),
                    untold: 0,
                };
                self.streams.insert(op, stream);
                op
            }
        };
        let side = WatchSide {
            stream,
            is_created: false,
            progress_ns: watch.request_progress_ms * 1_000_000,
            last_message: 0,
            header: Header::default(),
        };
        (side, is_shared)
    }

    /// The operations that end with this one, or with the stream of this name.
    pub fn together(&self, name: OpId) -> Vec<OpId> {
        let own = self.pending.get(&name).and_then(|it| it.watch.as_ref()).map(|it| it.stream);
        match self.streams.get(&own.unwrap_or(name)) {
            Some(stream) => stream.watches.iter().copied().collect(),
            None => self.pending.contains_key(&name).then_some(name).into_iter().collect(),
        }
    }

    /// The watches of a stream that a response is for.
    pub fn addressees(&self, name: OpId, response: &pb::WatchResponse) -> Vec<OpId> {
        let Some(stream) = self.streams.get(&name) else { return Vec::new() };
        let is_created = |op: &OpId| {
            let watch = self.pending.get(op).and_then(|pending| pending.watch.as_ref());
            watch.is_some_and(|watch| watch.is_created)
        };
        let watches = stream.watches.iter().copied();
        match response.watch_id {
            _ if !stream.is_shared => watches.collect(),
            // One that is refused gets no id; the member answers in order.
            TO_ALL if response.created => watches.filter(|op| !is_created(op)).take(1).collect(),
            TO_ALL => watches.filter(is_created).collect(),
            id => watches.filter(|op| watch_id(*op) == id).collect(),
        }
    }

    /// Nobody joins the streams to a member any more.
    pub fn break_streams(&mut self, member: usize) {
        for stream in self.streams.values_mut().filter(|stream| stream.member == member) {
            stream.number = 0;
        }
    }

    /// What a member hears of an operation for which nobody waits any more, and under which name.
    pub fn farewell(&self, op: OpId) -> Option<(OpId, Packet)> {
        let pending = self.pending.get(&op)?;
        let packet = match (pending.kind, &pending.watch) {
            (Kind::Unary, _) => Packet::Cancel(op),
            (_, Some(watch)) => {
                let name = watch.stream;
                let is_last = self.streams.get(&name).is_none_or(|it| it.watches.len() == 1);
                let farewell = match is_last {
                    true => Packet::StreamClose(name),
                    false => Packet::StreamMessage(name, Box::new(cancel(op))),
                };
                return Some((name, farewell));
            }
            _ => Packet::StreamClose(op),
        };
        Some((op, packet))
    }

    /// Ends an operation, and its stream with the last one.
    pub fn take(&mut self, op: OpId) -> Option<Pending> {
        let pending = self.pending.remove(&op)?;
        let name = pending.watch.as_ref().map(|watch| watch.stream);
        if let Some((name, stream)) = name.and_then(|name| Some((name, self.stream(name)?))) {
            stream.watches.remove(&op);
            if stream.watches.is_empty() {
                self.streams.remove(&name);
            }
        }
        Some(pending)
    }

    /// Operations at a member for which a test holds, in order.
    pub fn select(&self, member: usize, test: impl Fn(&Pending) -> bool) -> Vec<OpId> {
        let at_member = self.pending.iter().filter(|(_, pending)| pending.member == member);
        at_member.filter(|(_, pending)| test(pending)).map(|(op, _)| *op).collect()
    }

    /// The member that packets of an operation or stream pass to and from, and how far they came.
    pub fn lane(&mut self, name: OpId) -> Option<(usize, &mut Lane)> {
        let stream = match self.pending.get(&name) {
            Some(pending) => pending.watch.as_ref().map(|watch| watch.stream),
            None => Some(name),
        };
        match stream {
            Some(stream) => {
                let stream = self.streams.get_mut(&stream)?;
                Some((stream.member, &mut stream.lane))
            }
            None => {
                let pending = self.pending.get_mut(&name)?;
                Some((pending.member, &mut pending.lane))
            }
        }
    }

    /// What travels between a member and clients arrives at `by` at the latest.
    pub fn hasten(&mut self, from: End, to: End, by: u64) {
        let ((End::Member(member), _) | (_, End::Member(member))) = (from, to) else { return };
        if ![from, to].contains(&End::Clients) {
            return;
        }
        let pending = self.pending.values_mut();
        let pending = pending.filter(|it| it.member == member).map(|it| &mut it.lane);
        let streams = self.streams.values_mut();
        let streams = streams.filter(|it| it.member == member).map(|it| &mut it.lane);
        for lane in pending.chain(streams) {
            let floor = if to == End::Clients { &mut lane.down } else { &mut lane.up };
            *floor = by.min(*floor);
        }
    }

    /// What a packet of an operation that goes to `to` may not overtake.
    pub fn floor(&mut self, op: OpId, to: End) -> Option<&mut u64> {
        let (_, lane) = self.lane(op)?;
        Some(if to == End::Clients { &mut lane.down } else { &mut lane.up })
    }
}

/// The id that a client gives to a watch on a shared stream.
pub fn watch_id(op: OpId) -> i64 {
    i64::from(op.0) + 1
}

/// Ends one watch of a shared stream.
fn cancel(op: OpId) -> StreamMessage {
    let request = pb::WatchCancelRequest { watch_id: watch_id(op) };
    let request = pb::watch_request::RequestUnion::CancelRequest(request);
    StreamMessage::Watch(pb::WatchRequest { request_union: Some(request) })
}

impl LoopWorld {
    /// Remembers an operation and until when its client waits.
    pub(super) fn await_op(&mut self, op: OpId, pending: Pending, deadline: u64) {
        self.clients.pending.insert(op, pending);
        self.clients.timeouts.push(Reverse((deadline, op)));
        self.arm_timeouts();
    }

    /// Schedules the next look at the clients' patience.
    fn arm_timeouts(&mut self) {
        let clients = &mut self.clients;
        while let Some(Reverse((_, op))) = clients.timeouts.peek()
            && !clients.pending.contains_key(op)
        {
            clients.timeouts.pop();
        }
        let Some(Reverse((deadline, _))) = clients.timeouts.peek() else { return };
        if clients.armed == 0 || *deadline < clients.armed {
            clients.armed = *deadline;
            self.queue.push(*deadline, Event::ClientTimeouts);
        }
    }

    /// Ends the operations whose clients waited long enough.
    pub(super) fn client_timeouts(&mut self) {
        // Armed for an earlier time since this look was scheduled.
        if self.clients.armed != self.now {
            return;
        }
        self.clients.armed = 0;
        while let Some(Reverse((deadline, op))) = self.clients.timeouts.peek().copied()
            && deadline <= self.now
        {
            self.clients.timeouts.pop();
            self.client_gave_up(op);
        }
        self.arm_timeouts();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detsim_reports::record::{Put, Range};

    #[test]
    fn a_write_that_may_have_been_proposed_is_unknown_and_a_read_never_is() {
        let write = Pending::new(&Call::Put(Put::default()), 0);
        let read = Pending::new(&Call::Range(Range::default()), 0);
        for error in ApiError::ALL {
            assert!(matches!(read.refused(&(*error).into()), Outcome::Fail(_)));
        }
        let refused = |error: ApiError| write.refused(&error.into());
        assert!(matches!(refused(ApiError::LeaderChanged), Outcome::Unknown(_)));
        assert!(matches!(refused(ApiError::NoSpace), Outcome::Unknown(_)));
        assert!(matches!(refused(ApiError::TooManyRequests), Outcome::Fail(_)));
        assert!(matches!(refused(ApiError::LeaseNotFound), Outcome::Fail(_)));
        let of_disk = CallError::Disk("no space left on device".to_owned());
        assert!(matches!(write.refused(&of_disk), Outcome::Unknown(_)));
    }
}
