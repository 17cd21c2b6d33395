//! What things cost, in units: matching looks at nobody who is not concerned, slices are bounded,
//! and neither a watcher far behind nor a client that does not listen holds up others.

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::time::Duration;

use super::tape::{Tape, Write, Written};
use crate::member::id::StreamId;
use crate::member::io::{Output, Outputs, StreamItem};
use crate::member::time::Monotonic;
use crate::mvcc::watch::{WatchHub, WatchSettings};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;

const AMPLE: u64 = 1 << 40;

struct Stage {
    hub: WatchHub,
    tape: Tape,
    out: Outputs,
    now: Monotonic,
}

impl Stage {
    fn new() -> Stage {
        let settings = WatchSettings::new(Duration::from_secs(600), 1_572_864);
        let hub = WatchHub::new(settings, ChaCha8Rng::seed_from_u64(1), 1);
        Stage { hub, tape: Tape::blank(), out: Outputs::new(), now: Monotonic::ZERO }
    }

    fn open(&mut self, stream: u64, window_bytes: u64) {
        self.hub.open(StreamId(stream), window_bytes, self.now);
    }

    fn watch(&mut self, stream: u64, key: &str, range_end: &'static str, start_revision: i64) {
        let create = pb::WatchCreateRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            range_end: Bytes::from_static(range_end.as_bytes()),
            start_revision,
            ..Default::default()
        };
        let request_union = Some(RequestUnion::CreateRequest(create));
        let request = pb::WatchRequest { request_union };
        self.hub.message(StreamId(stream), &request, &self.tape, self.now, &mut self.out);
    }

    fn put(&mut self, key: &str) {
        let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::from_static(b"v"));
        self.tape.write(&[Write::Put(key, value)]);
    }

    /// Ticks once, when the hub wants to. What it spent.
    fn tick(&mut self, budget: u64) -> u64 {
        self.now = self.now.max(self.hub.next_deadline().expect("there is work"));
        self.hub.tick(&self.tape, self.now, budget, &mut self.out)
    }

    /// Events by stream since the last call.
    fn events(&mut self, stream: u64) -> usize {
        let mut events = 0;
        for output in self.out.drain() {
            if let Output::StreamItem { id: StreamId(id), item, .. } = output
                && let StreamItem::Watch(item) = *item
            {
                events += if id == stream { item.events.len() } else { 0 };
            }
        }
        events
    }
}

#[test]
fn a_write_costs_only_those_who_watch_its_key() {
    let mut stage = Stage::new();
    stage.open(1, AMPLE);
    for number in 0..10_000 {
        stage.watch(1, &format!("key{number:05}"), "", 0);
    }
    for number in 0..100 {
        stage.watch(1, &format!("other{number:03}"), "other999", 0);
    }
    stage.out.take_spent();
    stage.put("key00042");
    stage.hub.notify(&stage.tape, stage.now, &mut stage.out);
    assert_eq!(stage.out.take_spent(), 2);
    assert_eq!(stage.events(1), 1);
    stage.put("other004x");
    stage.hub.notify(&stage.tape, stage.now, &mut stage.out);
    assert_eq!(stage.out.take_spent(), 1 + 5);
    assert_eq!(stage.events(1), 5);
}

#[test]
fn ten_thousand_watchers_recover_from_a_snapshot_in_bounded_slices() {
    let mut stage = Stage::new();
    stage.open(1, AMPLE);
    for number in 0..10_000 {
        stage.watch(1, &format!("key{number:05}"), "", 0);
    }
    for number in 0..3_000 {
        stage.put(&format!("key{number:05}"));
    }
    stage.hub.on_snapshot_installed(&stage.tape, stage.now);
    assert_eq!(stage.hub.counts().unsynced, 10_000);
    let (mut events, mut ticks) = (0, 0);
    while stage.hub.counts().unsynced > 0 {
        let spent = stage.tick(5_000);
        assert!(spent <= 5_000 + 512 + 2, "a slice spent {spent}");
        events += stage.events(1);
        ticks += 1;
    }
    assert_eq!(events, 3_000);
    assert!(ticks <= 40, "{ticks} slices are more than one for each 512 watchers");
    assert_eq!(stage.hub.next_deadline(), None);
}

#[test]
fn a_watcher_far_behind_does_not_hold_up_one_that_is_near() {
    let mut stage = Stage::new();
    stage.open(1, AMPLE);
    stage.open(2, AMPLE);
    for _ in 0..30_000 {
        stage.put("far");
    }
    stage.hub.notify(&stage.tape, stage.now, &mut stage.out);
    stage.watch(1, "far", "", 1);
    stage.watch(2, "far", "", 30_000);
    stage.tick(10_000);
    assert_eq!(stage.events(2), 2);
    let mut ticks = 1;
    while stage.hub.counts().unsynced > 0 {
        stage.tick(10_000);
        ticks += 1;
    }
    assert!((6..12).contains(&ticks), "{ticks} slices for thirty thousand events");
}

#[test]
fn a_client_that_does_not_listen_costs_nothing_and_holds_up_nobody() {
    let mut stage = Stage::new();
    stage.open(1, 0);
    stage.open(2, AMPLE);
    for _ in 0..1_000 {
        stage.put("key");
    }
    stage.hub.notify(&stage.tape, stage.now, &mut stage.out);
    for _ in 0..2_000 {
        stage.watch(1, "key", "", 1);
    }
    stage.watch(2, "key", "", 1);
    assert!(stage.tick(5_000) <= 2_002);
    assert_eq!(stage.events(2), 1_000);
    assert_eq!(stage.hub.counts().unsynced, 2_000);
    assert_eq!(stage.hub.next_deadline(), None);

    // Room for a little: a few go on, the others keep their place, and the hub rests again.
    stage.hub.window(StreamId(1), 200_000, stage.now, &mut stage.out);
    let mut spent = 0;
    while stage.hub.next_deadline().is_some() {
        spent += stage.tick(5_000);
    }
    let events = stage.events(1);
    assert!(events > 1_000, "{events} events had room");
    assert!(spent < 40_000, "{spent} units for {events} events");
}
