//! Random runs: writes, compactions, snapshots, streams with small windows, watchers of every kind.
//! Each thing that a watcher is told is compared at once with the full history, so that order,
//! uniqueness, reliability, atomicity, bookmarks and previous values are all one comparison.

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::range::KeyRange;
use super::tape::{Stored, Tape, Write, Written};
use crate::member::id::StreamId;
use crate::member::io::{Output, Outputs, StreamItem};
use crate::member::time::Monotonic;
use crate::mvcc::watch::{History, WatchHub, WatchSettings};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;
use crate::proto::mvccpb::Event;
use crate::proto::mvccpb::event::EventType;

/// What a client knows of one of its watchers.
struct Client {
    request: pb::WatchCreateRequest,
    range: KeyRange,
    start: i64,
    /// The first change that it was not compared with, as an index of the full history.
    cursor: usize,
    /// The last event, or the last revision told as progress; the start less one before.
    known: i64,
    /// The revision of an unfinished run of fragments' last event.
    is_fragmented: bool,
}

/// What a client knows of one of its streams.
struct Listener {
    watchers: BTreeMap<i64, Client>,
    /// Create requests that were not answered, in order; those to be refused have no range.
    asked: Vec<(pb::WatchCreateRequest, Option<KeyRange>)>,
    /// Cancellations that were not answered.
    cancelling: BTreeSet<i64>,
    window: i64,
    untaken: i64,
    header: i64,
    progress: usize,
}

struct Run<H> {
    entropy: ChaCha8Rng,
    hub: WatchHub,
    /// What the hub reads.
    history: H,
    /// What it is compared with.
    tape: Tape,
    now: Monotonic,
    out: Outputs,
    streams: BTreeMap<StreamId, Listener>,
    opened: u64,
    installs: bool,
    events: usize,
    cancelled: usize,
}

impl<H: Written> Run<H> {
    fn new(seed: u64) -> Run<H> {
        let mut entropy = ChaCha8Rng::seed_from_u64(seed);
        let mut settings = WatchSettings::new(Duration::from_millis(300), 1_572_864);
        settings.response_revisions_max = 1 + entropy.next_u64() as usize % 20;
        settings.sync_watchers_max = 1 + entropy.next_u64() as usize % 12;
        let mut hub = WatchHub::new(settings, ChaCha8Rng::seed_from_u64(seed + 1), 1);
        hub.sender.fragment_bytes = 100 + entropy.next_u64() as usize % 400;
        Run {
            hub,
            entropy,
            history: H::blank(),
            tape: Tape::blank(),
            now: Monotonic::ZERO,
            out: Outputs::new(),
            streams: BTreeMap::new(),
            opened: 0,
            installs: seed.is_multiple_of(3),
            events: 0,
            cancelled: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.entropy.next_u64() % bound
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("{}", (b'a' + self.below(12) as u8) as char))
    }

    fn step(&mut self) {
        match self.below(100) {
            0..40 => self.write(),
            40..43 => self.compact(),
            43..46 if self.streams.len() < 6 => self.open(),
            46..58 => self.create(),
            58..61 => self.cancel(),
            61..66 => self.progress(),
            66..85 => self.take(),
            85 if self.installs => self.install(),
            86 if self.below(4) == 0 => self.close(),
            _ => self.advance(),
        }
        self.hear();
    }

    fn batch(&mut self) -> Vec<Write> {
        let mut keys = BTreeSet::new();
        for _ in 0..1 + self.below(3) {
            keys.insert(self.key());
        }
        let mut writes = Vec::new();
        for key in keys {
            match self.below(4) {
                0 => writes.push(Write::Delete(key)),
                _ => {
                    let length = if self.below(12) == 0 { 300 } else { self.below(20) };
                    let value = vec![b'0' + self.below(10) as u8; length as usize];
                    writes.push(Write::Put(key, Bytes::from(value)));
                }
            }
        }
        writes
    }

    fn write(&mut self) {
        // Mostly one revision at a time, as members do.
        for _ in 0..1 + self.below(8) / 7 {
            let writes = self.batch();
            self.history.write(&writes);
            self.tape.write(&writes);
        }
        self.hub.notify(&self.history, self.now, &mut self.out);
    }

    /// Several revisions that the hub is not told of one by one.
    fn install(&mut self) {
        for _ in 0..1 + self.below(30) {
            let writes = self.batch();
            self.history.write(&writes);
            self.tape.write(&writes);
        }
        if self.below(3) == 0 {
            self.compact();
        }
        self.hub.on_snapshot_installed(&self.history, self.now);
    }

    fn compact(&mut self) {
        let (from, to) = (self.tape.compact_revision().max(0), self.tape.revision());
        if from < to {
            let back = self.below(60) as i64;
            let revision = (to - back).max(from + 1);
            self.history.compact(revision);
            self.tape.compact(revision);
        }
    }

    fn open(&mut self) {
        self.opened += 1;
        let id = StreamId(self.opened);
        let window = [0, 50, 400, 1 << 20][self.below(4) as usize];
        self.hub.open(id, window as u64, self.now);
        let listener = Listener {
            watchers: BTreeMap::new(),
            asked: Vec::new(),
            cancelling: BTreeSet::new(),
            window,
            untaken: 0,
            header: 0,
            progress: 0,
        };
        self.streams.insert(id, listener);
    }

    fn some_stream(&mut self) -> Option<StreamId> {
        let nth = self.below(self.streams.len().max(1) as u64) as usize;
        self.streams.keys().nth(nth).copied()
    }

    fn message(&mut self, stream: StreamId, union: RequestUnion) {
        let request = pb::WatchRequest { request_union: Some(union) };
        self.hub.message(stream, &request, &self.history, self.now, &mut self.out);
    }

    fn create(&mut self) {
        let Some(id) = self.some_stream() else {
            return;
        };
        let (now, back) = (self.tape.revision(), self.below(40) as i64);
        let start_revision = match self.below(5) {
            0 | 1 => 0,
            2 | 3 => (now - back).max(1),
            _ => now + back,
        };
        let (key, end) = (self.key(), self.key());
        let range_end = match self.below(4) {
            0 => Bytes::new(),
            1 => Bytes::from_static(&[0]),
            _ => end,
        };
        let range = KeyRange::of_request(&key, &range_end);
        let request = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: self.below(2) == 0,
            prev_kv: self.below(2) == 0,
            fragment: self.below(3) == 0,
            filters: (0..2).filter(|_| self.below(5) == 0).collect(),
            watch_id: 0,
        };
        let listener = self.streams.get_mut(&id).expect("an open stream");
        listener.asked.push((request.clone(), range));
        self.message(id, RequestUnion::CreateRequest(request));
    }

    fn cancel(&mut self) {
        let Some(id) = self.some_stream() else {
            return;
        };
        let watch_id = self.below(12) as i64;
        let slot = self.hub.streams[&id].watchers.contains_key(&watch_id);
        if slot {
            let listener = self.streams.get_mut(&id).expect("an open stream");
            listener.cancelling.insert(watch_id);
        }
        self.message(id, RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id }));
    }

    fn progress(&mut self) {
        if let Some(id) = self.some_stream() {
            self.message(id, RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
        }
    }

    /// The client of a stream takes some of what it was sent.
    fn take(&mut self) {
        let Some(id) = self.some_stream() else {
            return;
        };
        let part = self.below(3) as i64;
        let listener = self.streams.get_mut(&id).expect("an open stream");
        let bytes = if part == 0 { listener.untaken } else { listener.untaken / 2 };
        listener.untaken -= bytes;
        // One stream starts without a window and is given one.
        let gift = if listener.window <= 0 && listener.untaken == 0 { 50 } else { 0 };
        listener.window += bytes + gift;
        self.hub.window(id, (bytes + gift) as u64, self.now, &mut self.out);
    }

    fn close(&mut self) {
        if let Some(id) = self.some_stream() {
            self.hub.close(id);
            self.streams.remove(&id);
        }
    }

    fn advance(&mut self) {
        self.now = self.now.after(Duration::from_millis(self.below(40)));
        if self.hub.next_deadline().is_some_and(|at| at <= self.now) {
            let budget = 1 + self.below(200);
            let spent = self.hub.tick(&self.history, self.now, budget, &mut self.out);
            // A tick overdraws by the watchers and the changes of one revision, in one turn.
            assert!(spent <= budget + 12 + 3 + 3 * 12, "spent {spent} of {budget}");
        }
    }

    fn hear(&mut self) {
        let outputs: Vec<Output> = self.out.drain().collect();
        for output in outputs {
            let Output::StreamItem { id, item, bytes } = output else {
                panic!("a hub sends watch responses only");
            };
            let StreamItem::Watch(response) = *item else { panic!("not of a watch") };
            let listener = self.streams.get_mut(&id).expect("nothing comes on a closed stream");
            listener.window -= bytes as i64;
            listener.untaken += bytes as i64;
            let worst = 12 * (3 * 2 * 350 + 400);
            assert!(listener.window > -worst, "overdrawn by {}", listener.window);
            let header = response.header.expect("a header").revision;
            if response.compact_revision == 0 {
                assert!(header >= listener.header, "headers go back");
                listener.header = header;
            }
            assert!(header <= self.tape.revision());
            self.cancelled += usize::from(response.compact_revision != 0);
            self.events += response.events.len();
            listener.hear(&response, header, &self.tape);
        }
    }

    /// Everything is taken until nothing more comes; then nobody may be missing anything.
    fn drain(&mut self) {
        let ids: Vec<StreamId> = self.streams.keys().copied().collect();
        for id in &ids {
            let listener = self.streams.get_mut(id).expect("an open stream");
            listener.window += 1 << 30;
            self.hub.window(*id, 1 << 30, self.now, &mut self.out);
        }
        for _ in 0..200 {
            self.now = self.now.after(Duration::from_millis(10));
            self.hub.tick(&self.history, self.now, 1_000, &mut self.out);
            self.hear();
        }
        assert_eq!(self.hub.counts().unsynced, 0);
        let watchers: usize = self.streams.values().map(|stream| stream.watchers.len()).sum();
        assert_eq!(self.hub.counts().watchers, watchers, "watchers leak or are lost");
        for id in ids {
            let before = self.streams[&id].progress;
            self.message(id, RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
            self.hear();
            let stream = &self.streams[&id];
            assert!(stream.asked.is_empty() && stream.cancelling.is_empty());
            let now = self.tape.revision();
            let started = stream.watchers.values().all(|w| w.request.start_revision <= now + 1);
            let is_answered = started && !stream.watchers.is_empty();
            assert_eq!(stream.progress - before, usize::from(is_answered));
            for client in stream.watchers.values() {
                assert_eq!(client.following(&self.tape), None, "an event was not told");
            }
        }
    }
}

impl Listener {
    fn hear(&mut self, response: &pb::WatchResponse, header: i64, tape: &Tape) {
        let id = response.watch_id;
        if response.created {
            let (request, range) = self.asked.remove(0);
            assert_eq!(range.is_none(), response.canceled);
            if let Some(range) = range {
                let start = match request.start_revision {
                    0 => header + 1,
                    start => start,
                };
                let cursor = tape.all.partition_point(|change| change.revision.main < start);
                let (known, is_fragmented) = (start - 1, false);
                let client = Client { request, range, start, cursor, known, is_fragmented };
                assert!(self.watchers.insert(id, client).is_none(), "an id is used twice");
            }
            return;
        }
        if response.canceled {
            let client = self.watchers.remove(&id).expect("a watcher is cancelled once");
            assert!(!client.is_fragmented && response.events.is_empty());
            if response.compact_revision == 0 {
                assert!(self.cancelling.remove(&id), "cancelled without being asked to");
            } else {
                // It may have been asked for after the compaction, which then has no answer.
                self.cancelling.remove(&id);
                assert_eq!((header, response.cancel_reason.as_str()), (0, ""));
                assert!(response.compact_revision <= tape.compact_revision());
                assert!(response.compact_revision > client.known + 1, "cancelled for nothing");
            }
            return;
        }
        if response.events.is_empty() {
            let all = id == -1;
            self.progress += usize::from(all);
            for (_, client) in self.watchers.iter_mut().filter(|(other, _)| all || **other == id) {
                client.bookmark(header, tape);
            }
            assert!(all || self.watchers[&id].request.progress_notify);
            return;
        }
        let client = self.watchers.get_mut(&id).expect("events are for a watcher");
        assert!(client.request.fragment || !response.fragment);
        for event in &response.events {
            client.receive(event, tape);
        }
        assert!(header >= client.known, "a header is older than its events");
        client.is_fragmented = response.fragment;
        if !response.fragment {
            let next = client.following(tape);
            assert!(next.is_none_or(|next| next > client.known), "a revision was split");
        }
    }
}

impl Client {
    fn index(&self, tape: &Tape) -> Option<usize> {
        let dropped = |is_delete: bool| self.request.filters.contains(&i32::from(is_delete));
        let rest = tape.all.get(self.cursor..)?.iter();
        let wanted = rest
            .enumerate()
            .filter(|(_, change)| self.start <= change.revision.main)
            .find(|(_, change)| self.range.contains(&change.kv.key) && !dropped(change.is_delete));
        wanted.map(|(at, _)| self.cursor + at)
    }

    /// The revision of the next event that it has to be told of.
    fn following(&self, tape: &Tape) -> Option<i64> {
        self.index(tape).map(|at| tape.all[at].revision.main)
    }

    fn receive(&mut self, event: &Event, tape: &Tape) {
        let at = self.index(tape).expect("an event that never was");
        let change = &tape.all[at];
        let kind = if change.is_delete { EventType::Delete } else { EventType::Put };
        assert_eq!(event.r#type(), kind);
        assert_eq!(event.kv.as_ref(), Some(&change.kv), "{:?} known {}", self.request, self.known);
        self.cursor = at + 1;
        self.known = self.known.max(change.revision.main);
        let before = change.revision.main - 1;
        let previous = tape.last(&change.kv.key, before).filter(|put| !put.is_delete);
        match (&event.prev_kv, self.request.prev_kv) {
            (Some(told), true) => assert_eq!(Some(told), previous.map(|put| &put.kv)),
            (Some(_), false) => panic!("nobody asked for the previous value"),
            (None, true) => assert!(previous.is_none() || before < tape.compact_revision()),
            (None, false) => {}
        }
    }

    fn bookmark(&mut self, revision: i64, tape: &Tape) {
        assert!(!self.is_fragmented);
        assert!(revision >= self.known, "progress goes back or comes before the start");
        let next = self.following(tape);
        assert!(next.is_none_or(|next| next > revision), "progress overtakes an event");
        self.known = revision;
    }
}

fn check<H: Written>(seeds: std::ops::Range<u64>) {
    let (mut events, mut cancelled) = (0, 0);
    for seed in seeds.clone() {
        let mut run: Run<H> = Run::new(seed);
        for _ in 0..800 {
            run.step();
        }
        run.drain();
        assert_eq!(run.history.revision(), run.tape.revision());
        events += run.events;
        cancelled += run.cancelled;
    }
    let runs = seeds.count();
    assert!(events > 500 * runs, "{events} events are too few to mean anything");
    assert!(cancelled > runs, "{cancelled} cancellations are too few to mean anything");
}

#[test]
fn every_watcher_is_told_of_all_it_asked_for_in_order_and_once() {
    check::<Tape>(0..200);
}

#[test]
fn so_it_is_with_the_store_while_it_compacts() {
    check::<Stored>(1_000..1_100);
}
