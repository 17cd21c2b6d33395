//! A watch stream: its watchers' ids, its window, and responses that wait for room in it.
//!
//! The window counts bytes. A response leaves while there is any room, so that one that is larger
//! than the window still leaves; then nothing does until the client has taken what was sent.
//! Control responses (created, canceled, progress) wait in order, and no event leaves before them.
//! Events never wait here: their watchers read them again later.

use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::watcher::{Slot, encoded_bytes};
use crate::member::id::StreamId;
use crate::member::io::{Output, Outputs, StreamItem};
use crate::member::time::Monotonic;
use crate::proto::etcdserverpb::{ResponseHeader, WatchResponse};

/// The id of responses that are for no watcher, or for all watchers of a stream.
pub const NO_WATCHER: i64 = -1;

/// A stream ends when so many control responses wait, as its client asks without listening.
pub const CONTROL_MAX: usize = 65_536;

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    id: StreamId,
    /// Room for bytes; below zero by what the last response was too large.
    window: i64,
    control: VecDeque<WatchResponse>,
    /// By id.
    pub watchers: BTreeMap<i64, Slot>,
    /// Counts up over used ids, never back.
    next_id: i64,
    /// How many watchers are not synced.
    pub unsynced: usize,
    /// Watchers that need room, by turn.
    pub parked: BTreeSet<(u64, Slot)>,
    /// Whether it is among the streams whose parked watchers are moved on.
    pub is_thawing: bool,
    /// When its idle watchers hear of progress.
    pub ticker: Ticker,
}

impl Stream {
    /// Without watchers.
    pub fn new(id: StreamId, window_bytes: u64, ticker: Ticker) -> Stream {
        let mut stream = Stream {
            id,
            window: 0,
            control: VecDeque::new(),
            watchers: BTreeMap::new(),
            next_id: 0,
            unsynced: 0,
            parked: BTreeSet::new(),
            is_thawing: false,
            ticker,
        };
        stream.widen(window_bytes);
        stream
    }

    /// The smallest free id that was not given before.
    pub fn allocate_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Whether a response may leave.
    pub fn has_room(&self) -> bool {
        self.window > 0
    }

    /// How many control responses wait.
    pub fn queued_answers(&self) -> usize {
        self.control.len()
    }

    /// Bytes of room, none if the window is overdrawn.
    pub fn room(&self) -> u64 {
        u64::try_from(self.window).unwrap_or(0)
    }

    /// The client took bytes.
    pub fn widen(&mut self, bytes: u64) {
        self.window = self.window.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Sends a control response, at once or in its turn.
    pub fn control(
        &mut self,
        response: WatchResponse,
        sender: &Sender,
        out: &mut Outputs,
    ) -> Result<(), Overflow> {
        if self.has_room() {
            sender.send(self, response, out);
            return Ok(());
        }
        if self.control.len() >= CONTROL_MAX {
            return Err(Overflow);
        }
        self.control.push_back(response);
        Ok(())
    }

    /// As `control`, instead of progress for the whole stream that still waits and is outdated.
    pub fn control_progress(
        &mut self,
        response: WatchResponse,
        sender: &Sender,
        out: &mut Outputs,
    ) -> Result<(), Overflow> {
        let is_progress = |waiting: &WatchResponse| {
            waiting.watch_id == NO_WATCHER && !waiting.created && waiting.events.is_empty()
        };
        if self.control.back().is_some_and(is_progress) {
            self.control.pop_back();
        }
        self.control(response, sender, out)
    }

    /// Sends control responses that waited, while there is room.
    pub fn flush(&mut self, sender: &Sender, out: &mut Outputs) {
        while self.has_room() {
            let Some(response) = self.control.pop_front() else {
                return;
            };
            out.spend(1);
            sender.send(self, response, out);
        }
    }
}

/// Too many control responses wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// The progress ticks of a stream: one phase and interval for all its watchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticker {
    interval: Duration,
    next: Monotonic,
    /// How many watchers listen.
    pub listeners: usize,
    /// The watcher with which an unfinished tick continues.
    pub resume: Option<i64>,
}

impl Ticker {
    /// The first tick comes an interval after `now`.
    pub fn new(now: Monotonic, interval: Duration) -> Ticker {
        Ticker { interval, next: now.after(interval), listeners: 0, resume: None }
    }

    /// When it ticks next.
    pub fn next(&self) -> Monotonic {
        self.next
    }

    /// To the first tick after `now`. Ticks that nobody heard are not made up for.
    pub fn advance(&mut self, now: Monotonic) {
        if self.next > now {
            return;
        }
        let late = now.since(self.next).as_nanos();
        let ticks = late / self.interval.as_nanos().max(1) + 1;
        let ahead = self.interval.as_nanos().saturating_mul(ticks);
        self.next = self.next.after(Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX)));
    }
}

/// Puts responses on streams: completes the header, counts bytes, cuts fragments.
#[derive(Debug)]
pub struct Sender {
    /// What the member says of itself; the revision is each response's own.
    pub header: ResponseHeader,
    /// A response to a watcher that takes fragments stays below this.
    pub fragment_bytes: usize,
}

impl Sender {
    /// Sends a response whole.
    pub fn send(&self, stream: &mut Stream, mut response: WatchResponse, out: &mut Outputs) {
        self.complete(&mut response);
        emit(stream, response, out);
    }

    /// Sends a response of a watcher that takes fragments.
    pub fn send_fragments(
        &self,
        stream: &mut Stream,
        mut response: WatchResponse,
        out: &mut Outputs,
    ) {
        self.complete(&mut response);
        for piece in fragments(response, self.fragment_bytes) {
            emit(stream, piece, out);
        }
    }

    fn complete(&self, response: &mut WatchResponse) {
        let revision = response.header.map_or(0, |header| header.revision);
        response.header = Some(ResponseHeader { revision, ..self.header });
    }
}

fn emit(stream: &mut Stream, response: WatchResponse, out: &mut Outputs) {
    let length = response.encoded_len();
    stream.window = stream.window.saturating_sub(length as i64);
    let item = Box::new(StreamItem::Watch(response));
    out.push(Output::StreamItem { id: stream.id, item, bytes: length as u64 });
}

/// Cuts a response into pieces below `limit_bytes`. A single event above it stays whole.
fn fragments(mut response: WatchResponse, limit_bytes: usize) -> Vec<WatchResponse> {
    if response.events.len() < 2 || response.encoded_len() < limit_bytes {
        return vec![response];
    }
    let events = std::mem::take(&mut response.events);
    let empty = WatchResponse { fragment: true, ..response };
    let empty_bytes = empty.encoded_len();
    let mut pieces = Vec::new();
    let (mut piece, mut piece_bytes) = (empty.clone(), empty_bytes);
    for event in events {
        let bytes = encoded_bytes(&event);
        if !piece.events.is_empty() && piece_bytes + bytes >= limit_bytes {
            pieces.push(std::mem::replace(&mut piece, empty.clone()));
            piece_bytes = empty_bytes;
        }
        piece.events.push(event);
        piece_bytes += bytes;
    }
    piece.fragment = false;
    pieces.push(piece);
    pieces
}
