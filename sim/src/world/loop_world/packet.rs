//! What travels between hosts and clients, and everything that the event queue holds.

use bytes::Bytes;
use detcd::api::CallError;
use detcd::member::id::{CallId, MemberId};
use detcd::member::io::{
    DialRefusal, Input, PeerAnswer, PeerCall, PeerCallError, PeerHeader, RaftMessage, Response,
    StreamItem, StreamMessage,
};
use detcd::storage::backend::Body;
use detsim_reports::record::OpId;

use super::connection::{ConnRef, Stream};
use crate::world::convert::Shape;
use crate::world::{End, Exit};

/// One start of one member's process, at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRef {
    /// The member's place.
    pub place: usize,
    /// Which start.
    pub incarnation: u32,
}

/// An attempt to dial a raft stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The dialer.
    pub dialer: ProcessRef,
    /// Whom it dials.
    pub peer: MemberId,
    /// Which stream.
    pub stream: Stream,
    /// Unique in the dialer's process.
    pub number: u64,
}

/// A raft message sent by a request of its own, as it travels.
#[derive(Debug)]
pub struct Post {
    /// The sender's process.
    pub sender: ProcessRef,
    /// Unique in the sender's process.
    pub number: u64,
    /// What it says of itself.
    pub header: PeerHeader,
    /// The message.
    pub message: RaftMessage,
    /// The database that goes with a snapshot.
    pub body: Option<Body>,
}

/// A snapshot that has arrived and is to be written to the disk.
#[derive(Debug)]
pub struct Reception {
    /// Under which the sender waits for an answer.
    pub id: CallId,
    /// Who the sender says it is.
    pub from: MemberId,
    /// Raft's message.
    pub message: RaftMessage,
    /// The database.
    pub body: Bytes,
}

impl Reception {
    /// The snapshot's index.
    pub fn index(&self) -> u64 {
        self.message.snapshot_index()
    }
}

/// How the answer to a dial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialed {
    /// The stream stands.
    Up(ConnRef),
    /// The peer refused it.
    Refused(DialRefusal),
    /// There was no connection, or it broke.
    Failed,
}

/// What travels over a link.
#[derive(Debug)]
pub enum Packet {
    /// A raft message on a stream.
    Raft {
        /// The stream.
        conn: ConnRef,
        /// The message.
        message: RaftMessage,
    },
    /// A dial of a raft stream.
    Dial {
        /// The attempt.
        attempt: Attempt,
        /// What the dialer says of itself.
        header: Box<PeerHeader>,
    },
    /// The answer to a dial.
    DialAnswer {
        /// The attempt.
        attempt: Attempt,
        /// How it ended.
        result: Dialed,
    },
    /// A raft message by POST.
    Post(Box<Post>),
    /// The answer to a POST: accepted, refused, or failed without an answer.
    PostAnswer {
        /// Whose.
        sender: ProcessRef,
        /// Which.
        number: u64,
        /// `Err(None)` when there was no answer.
        result: Result<(), Option<DialRefusal>>,
    },
    /// A call to a peer.
    Call {
        /// Who asks.
        caller: ProcessRef,
        /// The caller's name for it.
        id: CallId,
        /// The question.
        call: Box<PeerCall>,
    },
    /// The end of a call to a peer.
    CallAnswer {
        /// Who asked.
        caller: ProcessRef,
        /// The caller's name for it.
        id: CallId,
        /// The answer.
        result: Box<Result<PeerAnswer, PeerCallError>>,
    },
    /// A client's request, or the opening of its stream.
    Request(OpId, Shape),
    /// The client gave up.
    Cancel(OpId),
    /// A further message on a client's stream.
    StreamMessage(OpId, Box<StreamMessage>),
    /// The client took this many bytes.
    Window(OpId, u64),
    /// The client closed its stream.
    StreamClose(OpId),
    /// The answer to a client's request.
    Reply(OpId, Box<Result<Response, CallError>>),
    /// A message on a client's stream, with what it takes from the window.
    Item(OpId, Box<StreamItem>, u64),
    /// The member ended a client's stream.
    StreamEnd(OpId, Result<(), CallError>),
    /// Nobody listens at the member's client address.
    Refused(OpId),
    /// The client's connection was reset.
    Lost(OpId),
}

impl Packet {
    /// The bytes of the raft message within, if there is one.
    pub fn raft_bytes(&self) -> u64 {
        match self {
            Packet::Raft { message, .. } => message.wire_bytes() as u64,
            Packet::Post(post) => {
                let body = post.body.as_ref().map_or(0, |body| body.size_bytes);
                post.message.wire_bytes() as u64 + body
            }
            _ => 0,
        }
    }

    /// The client operation that it belongs to.
    pub fn op(&self) -> Option<OpId> {
        match self {
            Packet::Request(op, _)
            | Packet::Cancel(op)
            | Packet::StreamMessage(op, _)
            | Packet::Window(op, _)
            | Packet::StreamClose(op)
            | Packet::Reply(op, _)
            | Packet::Item(op, ..)
            | Packet::StreamEnd(op, _)
            | Packet::Refused(op)
            | Packet::Lost(op) => Some(*op),
            Packet::Raft { .. }
            | Packet::Dial { .. }
            | Packet::DialAnswer { .. }
            | Packet::Post(_)
            | Packet::PostAnswer { .. }
            | Packet::Call { .. }
            | Packet::CallAnswer { .. } => None,
        }
    }
}

/// A connection that is being made.
#[derive(Debug)]
pub enum Purpose {
    /// For a raft stream.
    Dial(Attempt),
    /// For a raft message by POST.
    Post {
        /// The sender's name for the POST.
        number: u64,
        /// The message.
        message: RaftMessage,
        /// The database that goes with a snapshot.
        body: Option<Body>,
    },
    /// For a call to a peer.
    Call {
        /// The caller's name for it.
        id: CallId,
        /// The question.
        call: Box<PeerCall>,
    },
}

/// What the event queue holds.
#[derive(Debug)]
pub enum Event {
    /// Something reaches the end of a link.
    Arrives {
        /// From.
        from: End,
        /// To.
        to: End,
        /// What.
        packet: Packet,
    },
    /// A member's deadline, unless it was armed anew since.
    Deadline {
        /// Whose.
        place: usize,
        /// Which arming.
        generation: u64,
    },
    /// A process's disk may be done with what it did.
    DiskDone(ProcessRef),
    /// Writes of a process's database have waited long enough for others.
    CommitDue(ProcessRef),
    /// A process does what it was to be killed at.
    Trapped(ProcessRef),
    /// A tool that makes a data directory, or works on one, ends. It is killed when it has no
    /// result.
    RestoreEnds {
        /// On which host.
        place: usize,
        /// As the so manieth process there.
        incarnation: u32,
        /// What came of it.
        result: Option<Result<(), Exit>>,
    },
    /// The driver tells a member something.
    Tell(ProcessRef, Box<Input>),
    /// A process knocks at a URL: for the first time, or once more.
    Connect {
        /// Who.
        from: ProcessRef,
        /// Where.
        url: String,
        /// When it began to.
        started: u64,
        /// What for.
        purpose: Purpose,
    },
    /// A process knocks no longer, or waits no longer for an answer.
    GiveUp {
        /// Who.
        from: ProcessRef,
        /// At what.
        what: Waiting,
    },
    /// A process's end of a raft stream broke.
    StreamBroke {
        /// Whose end.
        at: ProcessRef,
        /// The stream.
        conn: ConnRef,
    },
    /// Nothing came on a stream for as long as its reader waits, unless something did.
    Silence {
        /// The stream.
        conn: ConnRef,
        /// Which silence.
        silence: u32,
    },
    /// The processor of a host is free again.
    Free {
        /// Whose.
        place: usize,
    },
    /// Some client's patience may be at its end.
    ClientTimeouts,
    /// A slow client takes the next message of a watch.
    Drain(OpId),
    /// A client may want to ask a silent watch for progress.
    Progress(OpId),
}

/// What a process waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A raft stream.
    Dial(Attempt),
    /// The answer to a POST.
    Post(u64),
    /// The answer to a call.
    Call(CallId),
}
