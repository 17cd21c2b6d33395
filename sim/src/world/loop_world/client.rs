//! Clients: operations on their way, their patience, and the reading side of watches.
//!
//! A client speaks to the one member that it was told. It has a connection to it, so a request
//! leaves at once; requests to a member that does not serve clients yet wait there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use detcd::api::ApiError;
use detcd::member::io::StreamItem;
use detsim_reports::record::{Call, Header, OpId, Outcome};

use super::LoopWorld;
use super::packet::Event;
use crate::world::End;
use crate::world::convert;

/// Bytes that a client's stream takes before it must be told of more room.
pub const WINDOW_BYTES: u64 = 64 * 1024;

/// What kind of answer an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One answer.
    Unary,
    /// The first message of a keep-alive stream.
    KeepAlive,
    /// Messages until it is closed.
    Watch,
}

/// The reading side of a watch.
#[derive(Debug, Default)]
pub struct WatchSide {
    /// The member confirmed it.
    pub is_created: bool,
    /// Asks for progress after so much silence; 0 for never.
    pub progress_ns: u64,
    /// Bytes that the client takes per second; 0 for all at once.
    pub drain_bytes_per_s: u64,
    /// When the last message was taken.
    pub last_message: u64,
    /// When the client has taken everything that arrived.
    pub free_at: u64,
    /// What arrived and was not taken.
    pub arrived: VecDeque<(StreamItem, u64)>,
    /// Bytes taken that the member was not told of.
    pub untold: u64,
    /// The last header.
    pub header: Header,
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
    /// When the last packet to the member arrives.
    pub up: u64,
    /// When the last packet from the member arrives.
    pub down: u64,
    /// Of a watch.
    pub watch: Option<Box<WatchSide>>,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Clients {
    pending: BTreeMap<OpId, Pending>,
    timeouts: BinaryHeap<Reverse<(u64, OpId)>>,
    /// When `Event::ClientTimeouts` comes next; 0 when it does not.
    armed: u64,
}

impl Pending {
    /// An operation that is being sent.
    pub fn new(call: &Call, member: usize) -> Pending {
        let (kind, watch) = match call {
            Call::Watch(watch) => {
                let side = WatchSide {
                    progress_ns: watch.request_progress_ms * 1_000_000,
                    drain_bytes_per_s: watch.drain_bytes_per_s,
                    ..WatchSide::default()
                };
                (Kind::Watch, Some(Box::new(side)))
            }
            Call::LeaseKeepAlive { .. } => (Kind::KeepAlive, None),
            _ => (Kind::Unary, None),
        };
        let is_read = convert::is_read(call);
        Pending { member, kind, is_read, has_arrived: false, up: 0, down: 0, watch }
    }

    /// How it ends when nobody answers it.
    pub fn unanswered(&self, why: &str) -> Outcome {
        if self.is_read { Outcome::Fail(why.to_owned()) } else { Outcome::Unknown(why.to_owned()) }
    }

    /// How it ends with an error of the member's.
    pub fn refused(&self, error: ApiError) -> Outcome {
        if is_definite(error) {
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

    /// Ends an operation.
    pub fn take(&mut self, op: OpId) -> Option<Pending> {
        self.pending.remove(&op)
    }

    /// Operations at a member for which a test holds, in order.
    pub fn select(&self, member: usize, test: impl Fn(&Pending) -> bool) -> Vec<OpId> {
        let at_member = self.pending.iter().filter(|(_, pending)| pending.member == member);
        at_member.filter(|(_, pending)| test(pending)).map(|(op, _)| *op).collect()
    }

    /// What a packet of an operation that goes to `to` may not overtake.
    pub fn floor(&mut self, op: OpId, to: End) -> Option<&mut u64> {
        let pending = self.pending.get_mut(&op)?;
        Some(if to == End::Clients { &mut pending.down } else { &mut pending.up })
    }
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
            assert!(matches!(read.refused(*error), Outcome::Fail(_)));
        }
        assert!(matches!(write.refused(ApiError::LeaderChanged), Outcome::Unknown(_)));
        assert!(matches!(write.refused(ApiError::NoSpace), Outcome::Unknown(_)));
        assert!(matches!(write.refused(ApiError::TooManyRequests), Outcome::Fail(_)));
        assert!(matches!(write.refused(ApiError::LeaseNotFound), Outcome::Fail(_)));
    }
}
