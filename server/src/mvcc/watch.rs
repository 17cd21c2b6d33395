//! The watch hub: every watch stream of one member, with its watchers.
//!
//! A watcher that is *synced* is told of each revision as it is applied (`live`). Any other reads
//! history from the store, in bounded slices (`sync`), because it starts in the past, because its
//! stream had no room, or because the store was replaced by a snapshot. Nothing is buffered for
//! it: what it has to be told next is one revision, `Watcher::next`.
//!
//! Kept here: per watcher, events come in order, once, without gaps, and a revision in one response
//! (or one run of fragments); nothing follows a cancellation; a progress revision is told only when
//! all events up to it are. Sources: contract-api.md, section 3; catalogue.md, D2.
//!
//! Not here: authorisation, which comes before `message` (see `refuse`), and whether a stream needs
//! a leader.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Change, Store};
use crate::api::ApiError;
use crate::config::Config;
use crate::member::id::{ClusterId, MemberId, StreamId};
use crate::member::io::{Output, Outputs};
use crate::member::time::Monotonic;
use crate::planted::{Defect, Planted};
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse};

mod live;
mod matcher;
mod progress;
mod range;
mod stream;
mod sync;
mod watcher;

#[cfg(test)]
mod tests;

use matcher::Matcher;
use range::KeyRange;
use stream::{NO_WATCHER, Overflow, Sender, Stream, Ticker};
use sync::Waiting;
use watcher::{Place, Slot, Watcher, Watchers};

/// What a response may be larger than the largest request before it is cut into fragments.
const FRAGMENT_MARGIN: usize = 512 * 1024;

/// The shortest interval between progress ticks.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// What watchers read: the store, as far as they know it.
pub trait History {
    /// The newest revision.
    fn revision(&self) -> i64;

    /// The oldest revision from which history is whole, below 1 before any compaction.
    fn compact_revision(&self) -> i64;

    /// The changes of the newest request that made any, in order.
    fn last_changes(&self) -> &[Arc<Change>];

    /// The changes of a revision and of all later ones, in order.
    fn events(&self, from_revision: i64) -> impl Iterator<Item = &Arc<Change>>;

    /// The put that a reader at a revision finds; none if there is none, or if it is compacted.
    fn kv_at(&self, key: &[u8], revision: i64) -> Option<&Arc<Change>>;
}

impl History for Store {
    fn revision(&self) -> i64 {
        Store::revision(self)
    }

    fn compact_revision(&self) -> i64 {
        Store::compact_revision(self)
    }

    fn last_changes(&self) -> &[Arc<Change>] {
        Store::last_changes(self)
    }

    fn events(&self, from_revision: i64) -> impl Iterator<Item = &Arc<Change>> {
        Store::events(self, from_revision)
    }

    fn kv_at(&self, key: &[u8], revision: i64) -> Option<&Arc<Change>> {
        Store::kv_at(self, key, revision)
    }
}

/// How a hub behaves.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// `--watch-progress-notify-interval`; each stream adds up to a tenth.
    pub progress_interval: Duration,
    /// `--max-request-bytes`.
    pub max_request_bytes: usize,
    /// How many revisions a response from history may hold.
    pub response_revisions_max: usize,
    /// How many watchers read history together.
    pub sync_watchers_max: usize,
    /// How soon a new watcher begins to read history.
    pub sync_period: Duration,
    /// How soon a watcher goes on after its stream's window opened.
    pub retry_period: Duration,
    /// How soon a slice follows another that left work to do.
    pub slice_period: Duration,
    /// A planted defect.
    pub defect: Planted,
}

impl WatchSettings {
    /// As a member is configured.
    pub fn of(config: &Config) -> WatchSettings {
        let interval = config.watch_progress_notify_interval;
        let defect = config.defect();
        WatchSettings { defect, ..WatchSettings::new(interval, config.max_request_bytes) }
    }

    /// etcd's, with the two that are flags.
    pub fn new(progress_interval: Duration, max_request_bytes: usize) -> WatchSettings {
        WatchSettings {
            progress_interval,
            max_request_bytes,
            response_revisions_max: 1000,
            sync_watchers_max: 512,
            sync_period: Duration::from_millis(100),
            retry_period: Duration::from_millis(10),
            slice_period: Duration::from_millis(1),
            defect: Planted::default(),
        }
    }
}

/// How much there is to watch over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchCounts {
    /// Open streams.
    pub streams: usize,
    /// Watchers of all streams.
    pub watchers: usize,
    /// Of these, the ones that are behind.
    pub unsynced: usize,
    /// Answers to requests that wait for room on their streams.
    pub queued_answers: usize,
}

/// All watch streams of a member.
#[derive(Debug)]
pub struct WatchHub {
    settings: WatchSettings,
    entropy: ChaCha8Rng,
    sender: Sender,
    streams: BTreeMap<StreamId, Stream>,
    watchers: Watchers,
    /// Synced watchers know every revision up to this.
    told: i64,
    synced: Matcher<Slot>,
    waiting: Waiting,
    /// Streams with watchers that were parked when there was room again; some may be closed.
    thawing: VecDeque<StreamId>,
    /// The last turn that was given to a watcher.
    turn: u64,
    /// When waiting watchers read history.
    sync_at: Option<Monotonic>,
    /// Streams by their next progress tick, if somebody listens to it.
    tickers: BTreeSet<(Monotonic, StreamId)>,
    /// Streams that the hub has ended and nobody was told of.
    ended: Vec<StreamId>,
}

impl WatchHub {
    /// Without streams, over a store at `revision`. The jitter of progress ticks is drawn from
    /// `entropy`.
    pub fn new(settings: WatchSettings, entropy: ChaCha8Rng, revision: i64) -> WatchHub {
        let fragment_bytes = settings.max_request_bytes + FRAGMENT_MARGIN;
        WatchHub {
            settings,
            entropy,
            sender: Sender { header: ResponseHeader::default(), fragment_bytes },
            streams: BTreeMap::new(),
            watchers: Watchers::default(),
            told: revision,
            synced: Matcher::new(),
            waiting: Waiting::default(),
            thawing: VecDeque::new(),
            turn: 0,
            sync_at: None,
            tickers: BTreeSet::new(),
            ended: Vec::new(),
        }
    }

    /// What headers say beside the revision, from now on.
    pub fn set_header(&mut self, cluster: ClusterId, member: MemberId, raft_term: u64) {
        self.sender.header =
            ResponseHeader { cluster_id: cluster.0, member_id: member.0, revision: 0, raft_term };
    }

    /// How much there is to watch over.
    pub fn counts(&self) -> WatchCounts {
        WatchCounts {
            streams: self.streams.len(),
            watchers: self.watchers.len(),
            unsynced: self.watchers.len() - self.synced.len(),
            queued_answers: self.streams.values().map(Stream::queued_answers).sum(),
        }
    }

    /// When `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let tick = self.tickers.first().map(|&(at, _)| at);
        [self.sync_at, tick].into_iter().flatten().min()
    }

    /// A client opened a stream that may be sent so many bytes.
    pub fn open(&mut self, id: StreamId, window_bytes: u64, now: Monotonic) {
        let interval = self.settings.progress_interval.max(PROGRESS_INTERVAL_MIN);
        let jitter_max = u64::try_from(interval.as_nanos() / 10).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(self.entropy.next_u64() % jitter_max);
        let stream = Stream::new(id, window_bytes, Ticker::new(now, interval + jitter));
        let replaced = self.streams.insert(id, stream);
        assert!(replaced.is_none(), "a stream is opened once");
    }

    /// A stream is gone, and its watchers with it.
    pub fn close(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        let slots: Vec<Slot> = stream.watchers.values().copied().collect();
        for slot in slots {
            self.remove(slot);
        }
        let stream = self.streams.remove(&id).expect("it was found");
        self.tickers.remove(&(stream.ticker.next(), id));
    }

    /// Takes the streams that the hub has ended by itself since this was last asked: their ends
    /// are among the outputs.
    pub fn take_ended(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.ended)
    }

    /// The client took bytes of what the stream was sent.
    pub fn window(&mut self, id: StreamId, bytes: u64, now: Monotonic, out: &mut Outputs) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.widen(bytes);
        stream.flush(&self.sender, out);
        if stream.has_room() && !stream.parked.is_empty() {
            if !std::mem::replace(&mut stream.is_thawing, true) {
                self.thawing.push_back(id);
            }
            self.schedule(now.after(self.settings.retry_period));
        }
    }

    /// The client of a stream asks for something. Authorisation comes before this.
    pub fn message(
        &mut self,
        stream: StreamId,
        request: &WatchRequest,
        history: &impl History,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        if !self.streams.contains_key(&stream) {
            return;
        }
        out.spend(1);
        match &request.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                self.create(stream, create, history, now, out);
            }
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.cancel(stream, cancel.watch_id, history, out);
            }
            Some(RequestUnion::ProgressRequest(_)) => self.request_progress(stream, out),
            None => {}
        }
    }

    /// Refuses a create request of a stream for a reason that is found elsewhere.
    pub fn refuse(
        &mut self,
        stream: StreamId,
        reason: &str,
        history: &impl History,
        out: &mut Outputs,
    ) {
        let response = WatchResponse {
            header: revision_header(history.revision()),
            watch_id: NO_WATCHER,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..WatchResponse::default()
        };
        self.control(stream, response, out);
    }

    /// The store was replaced by one that is further. Nobody is synced with it.
    pub fn on_snapshot_installed(&mut self, history: &impl History, now: Monotonic) {
        let told = std::mem::replace(&mut self.told, history.revision());
        if self.settings.defect.is(Defect::WatchRestoreSilent) {
            return;
        }
        let forgets = self.settings.defect.is(Defect::WatchRestoreMinrev);
        let forgets_start = self.settings.defect.is(Defect::WatchRestoreFutureRev);
        self.synced = Matcher::new();
        let slots: Vec<Slot> = self.watchers.slots().collect();
        for slot in slots {
            let watcher = self.watchers.get_mut(slot);
            if watcher.place == Place::Synced {
                let told = if forgets { 0 } else { told };
                watcher.next = watcher.next.max(told.saturating_add(1));
                if forgets_start {
                    watcher.next = watcher.next.min(self.told + 1);
                }
                self.settle(slot, now.after(self.settings.sync_period));
            }
        }
    }

    fn create(
        &mut self,
        stream_id: StreamId,
        request: &WatchCreateRequest,
        history: &impl History,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        let revision = history.revision();
        let (id, range) = match self.admit(stream_id, request) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(stream_id, refusal.text(), history, out),
        };
        let next = match request.start_revision {
            0 => revision + 1,
            start => start,
        };
        let slot = self.watchers.insert(Watcher::new(stream_id, id, range, next, request));
        let stream = self.streams.get_mut(&stream_id).expect("an open stream");
        stream.watchers.insert(id, slot);
        if request.progress_notify {
            stream.ticker.listeners += 1;
            if stream.ticker.listeners == 1 {
                stream.ticker.advance(now);
                self.tickers.insert((stream.ticker.next(), stream_id));
            }
        }
        let created = WatchResponse {
            header: revision_header(revision),
            watch_id: id,
            created: true,
            ..WatchResponse::default()
        };
        self.settle(slot, now.after(self.settings.sync_period));
        self.control(stream_id, created, out);
    }

    /// The id and the range of a watcher to be, if there may be one.
    fn admit(
        &mut self,
        stream: StreamId,
        request: &WatchCreateRequest,
    ) -> Result<(i64, KeyRange), Refusal> {
        if request.start_revision < 0 {
            return Err(Refusal::Compacted);
        }
        let range =
            KeyRange::of_request(&request.key, &request.range_end).ok_or(Refusal::EmptyRange)?;
        let stream = self.streams.get_mut(&stream).expect("an open stream");
        let id = match request.watch_id {
            0 => stream.allocate_id(),
            // Responses to the whole stream have it.
            NO_WATCHER => return Err(Refusal::DuplicateId),
            id if stream.watchers.contains_key(&id) => return Err(Refusal::DuplicateId),
            id => id,
        };
        Ok((id, range))
    }

    fn cancel(&mut self, stream: StreamId, id: i64, history: &impl History, out: &mut Outputs) {
        let open = self.streams.get(&stream).expect("an open stream");
        let Some(&slot) = open.watchers.get(&id) else {
            return;
        };
        if !self.settings.defect.is(Defect::WatchLeak) {
            self.remove(slot);
        }
        let canceled = WatchResponse {
            header: revision_header(history.revision()),
            watch_id: id,
            canceled: true,
            ..WatchResponse::default()
        };
        self.control(stream, canceled, out);
    }

    /// Sends a control response on a stream, which ends if too many wait on it.
    fn control(&mut self, id: StreamId, response: WatchResponse, out: &mut Outputs) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let sent = stream.control(response, &self.sender, out);
        self.end_if_overflown(id, sent, out);
    }

    fn end_if_overflown(&mut self, id: StreamId, sent: Result<(), Overflow>, out: &mut Outputs) {
        if let Err(Overflow) = sent {
            self.close(id);
            self.ended.push(id);
            out.push(Output::StreamEnd { id, result: Err(ApiError::TooManyRequests.into()) });
        }
    }

    /// Puts a watcher that is nowhere to where it belongs; if it has to read history, from
    /// `sync_at` on.
    fn settle(&mut self, slot: Slot, sync_at: Monotonic) {
        let watcher = self.watchers.get_mut(slot);
        if watcher.next > self.told {
            if self.settings.defect.is(Defect::WatchFutureRev) {
                watcher.next = self.told + 1;
            }
            watcher.place = Place::Synced;
            self.synced.insert(&watcher.range, slot);
            return;
        }
        self.turn += 1;
        let stream = self.streams.get_mut(&watcher.stream).expect("a watcher's stream is open");
        stream.unsynced += 1;
        if stream.has_room() {
            watcher.place = Place::Waiting(self.turn);
            self.waiting.insert(self.turn, watcher.next, slot);
            self.schedule(sync_at);
        } else {
            watcher.place = Place::Parked(self.turn);
            stream.parked.insert((self.turn, slot));
        }
    }

    /// Takes a watcher from where it is.
    fn unsettle(&mut self, slot: Slot) {
        let watcher = self.watchers.get(slot);
        let stream = self.streams.get_mut(&watcher.stream).expect("a watcher's stream is open");
        match watcher.place {
            Place::Synced => return self.synced.remove(&watcher.range, slot),
            Place::Waiting(turn) => self.waiting.remove(turn, watcher.next, slot),
            Place::Parked(turn) => {
                stream.parked.remove(&(turn, slot));
            }
        }
        stream.unsynced -= 1;
    }

    /// Ends a watcher.
    fn remove(&mut self, slot: Slot) -> Watcher {
        self.unsettle(slot);
        let watcher = self.watchers.remove(slot);
        let stream = self.streams.get_mut(&watcher.stream).expect("a watcher's stream is open");
        stream.watchers.remove(&watcher.id);
        if watcher.progress_notify {
            stream.ticker.listeners -= 1;
            if stream.ticker.listeners == 0 {
                stream.ticker.resume = None;
                self.tickers.remove(&(stream.ticker.next(), watcher.stream));
            }
        }
        watcher
    }

    fn schedule(&mut self, at: Monotonic) {
        self.sync_at = Some(self.sync_at.map_or(at, |other| other.min(at)));
    }
}

/// Why a create request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Compacted,
    EmptyRange,
    DuplicateId,
}

impl Refusal {
    fn text(self) -> &'static str {
        match self {
            Refusal::Compacted => ApiError::Compacted.text(),
            Refusal::EmptyRange => "mvcc: watcher range is empty",
            Refusal::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
        }
    }
}

/// A header that the sender completes.
fn revision_header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}
