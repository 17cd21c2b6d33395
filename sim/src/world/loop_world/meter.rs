//! What passes between a process and its clients, counted by the world: watchers that clients were
//! told of, bytes that are on streams, and writes that were taken.
//!
//! The member's own figures are held against these. Watches and snapshots have windows; streams of
//! lease renewals have none that a member minds.

use std::collections::BTreeMap;

use detcd::member::RaftView;
use detcd::member::id::{RequestId, StreamId};
use detcd::member::io::{Input, Output, Request, StreamItem, StreamKind};

/// A stream of responses that a client takes at its own pace.
#[derive(Debug, Default)]
struct Flow {
    is_watch: bool,
    /// Bytes that may be sent, below zero by what the last response was too large.
    room: i64,
    /// The input with which the last room was taken.
    filled_by: u64,
    /// Watchers that the client was told are there.
    watchers: u64,
}

/// Counts for one process.
#[derive(Debug, Default)]
pub struct Meter {
    streams: BTreeMap<StreamId, Flow>,
    /// How many inputs were taken.
    inputs: u64,
    /// A write that is taken in now, and how far applying was behind.
    write: Option<(RequestId, u64)>,
    /// How far applying was behind at most when a client's write was taken.
    taken_behind: u64,
    /// Responses that left without room.
    without_room: u64,
    /// When the process was measured last.
    measured_at: Option<u64>,
}

/// What a meter shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Open watch streams.
    pub streams: u64,
    /// Watchers that clients were told are there, and not that they are gone.
    pub watchers: u64,
    /// How far applying was behind at most when a client's write was taken.
    pub taken_behind: u64,
    /// Responses that left without room.
    pub without_room: u64,
}

impl Meter {
    /// The process is about to take an input, in this state of raft.
    pub fn input(&mut self, input: &Input, raft: Option<RaftView>) {
        self.inputs += 1;
        self.write = None;
        match input {
            Input::Request { id, request, .. } if is_write(request) => {
                let behind = raft.map_or(0, |raft| raft.commit.saturating_sub(raft.applied));
                self.write = Some((*id, behind));
            }
            Input::StreamOpen { id, kind, window_bytes, .. }
                if matches!(kind, StreamKind::Watch | StreamKind::Snapshot) =>
            {
                let room = i64::try_from(*window_bytes).unwrap_or(i64::MAX);
                let is_watch = *kind == StreamKind::Watch;
                self.streams.insert(*id, Flow { is_watch, room, ..Flow::default() });
            }
            Input::StreamWindow { id, bytes } => {
                if let Some(flow) = self.streams.get_mut(id) {
                    flow.room = flow.room.saturating_add_unsigned(*bytes);
                }
            }
            Input::StreamClose(id) => {
                self.streams.remove(id);
            }
            _ => {}
        }
    }

    /// The process put something out.
    pub fn output(&mut self, output: &Output) {
        match output {
            Output::StreamItem { id, item, bytes } => self.item(*id, item, *bytes),
            Output::StreamEnd { id, .. } => {
                self.streams.remove(id);
            }
            _ => {}
        }
    }

    fn item(&mut self, id: StreamId, item: &StreamItem, bytes: u64) {
        let Some(flow) = self.streams.get_mut(&id) else { return };
        // What is found in one step for several watchers leaves together.
        self.without_room += u64::from(flow.room <= 0 && flow.filled_by != self.inputs);
        if flow.room > 0 {
            flow.filled_by = self.inputs;
        }
        flow.room = flow.room.saturating_sub_unsigned(bytes);
        if let StreamItem::Watch(response) = item {
            match (response.created, response.canceled) {
                (true, false) => flow.watchers += 1,
                (false, true) => flow.watchers = flow.watchers.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// A request was proposed.
    pub fn proposed(&mut self, request: RequestId) {
        if let Some((_, behind)) = self.write.filter(|(id, _)| *id == request) {
            self.taken_behind = self.taken_behind.max(behind);
        }
    }

    /// Whether a second has passed since this was asked with success.
    pub fn is_due(&mut self, now: u64) -> bool {
        const SECOND_NS: u64 = 1_000_000_000;
        let is_due = self.measured_at.is_none_or(|at| now - at >= SECOND_NS);
        if is_due {
            self.measured_at = Some(now);
        }
        is_due
    }

    /// What was counted.
    pub fn reading(&self) -> Reading {
        let watches = || self.streams.values().filter(|flow| flow.is_watch);
        Reading {
            streams: watches().count() as u64,
            watchers: watches().map(|flow| flow.watchers).sum(),
            taken_behind: self.taken_behind,
            without_room: self.without_room,
        }
    }
}

/// Whether a request is refused where applying is too far behind.
fn is_write(request: &Request) -> bool {
    matches!(
        request,
        Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
            | Request::Alarm(_)
    )
}
