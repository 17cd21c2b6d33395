//! Long histories in which much took effect that nobody saw: what is known all the same must keep
//! the search short.

use detsim_reports::record::{Blob, Body, Call, Event, Put, Watch, WatchMessage};

use super::*;
use crate::check::script::{kv, put};

/// A second in the microseconds of scripts.
const SECOND: u64 = 1_000_000;

/// A client that knows which revision comes next.
struct Teller {
    script: Script,
    revision: i64,
}

impl Teller {
    fn new() -> Teller {
        Teller { script: Script::new(), revision: 1 }
    }

    fn put(&mut self, at: u64, key: &str, lease: i64) {
        let (key, value) = (Blob::text(key), Blob::text("1"));
        let call = Call::Put(Put { key, value, lease, ..Put::default() });
        self.revision += 1;
        self.script.ok(at, at + 10, call, self.revision, Body::Put { prev_kv: None });
    }

    fn grant(&mut self, at: u64, id: i64, ttl_s: i64) {
        let body = Body::LeaseGrant { id, ttl_s };
        self.script.ok(at, at + 10, Call::LeaseGrant { id, ttl_s }, self.revision, body);
    }

    /// Something takes a revision and is seen by nobody.
    fn unseen(&mut self) {
        self.revision += 1;
    }

    fn is_found_within(&self, steps: u64) -> bool {
        let history = &self.script.history;
        matches!(decide(history, &items(history), steps), Decision::Linearizable(_))
    }
}

#[test]
fn leases_that_end_unseen_end_when_they_are_due() {
    let mut teller = Teller::new();
    for second in 0..60 {
        let (at, lease) = (second * SECOND, second as i64 + 1);
        teller.grant(at, lease, 10);
        teller.put(at + 100, &format!("first/{second}"), lease);
        if second >= 5 {
            teller.put(at + 200, &format!("second/{second}"), lease - 5);
        }
        if second >= 10 {
            teller.unseen();
        }
    }
    teller.put(61 * SECOND, "last", 0);
    assert!(teller.is_found_within(20_000));
}

#[test]
fn a_lease_that_was_kept_alive_ends_later_than_one_that_was_not() {
    let mut teller = Teller::new();
    let leases = 1..=30;
    for lease in leases.clone() {
        teller.grant(lease as u64 * 1_000, lease, 10);
        teller.put(lease as u64 * 1_000 + 100, &format!("first/{lease}"), lease);
    }
    for lease in leases.clone().filter(|lease| lease % 2 == 0) {
        let body = Body::LeaseKeepAlive { id: lease, ttl_s: 10 };
        let at = 8 * SECOND + lease as u64 * 1_000;
        teller.script.ok(at, at + 10, Call::LeaseKeepAlive { id: lease }, teller.revision, body);
    }
    for lease in leases.clone().filter(|lease| lease % 2 == 1) {
        teller.unseen();
        teller.put(11 * SECOND + lease as u64 * 1_000, &format!("between/{lease}"), 0);
    }
    for lease in leases.filter(|lease| lease % 2 == 0) {
        teller.put(12 * SECOND + lease as u64 * 1_000, &format!("second/{lease}"), lease);
    }
    assert!(teller.is_found_within(20_000));
}

#[test]
fn a_watch_says_which_unknown_writes_did_not_happen() {
    let mut teller = Teller::new();
    let (key, range_end) = (Blob::text("w"), Blob::text("x"));
    let watch = Watch { key, range_end, start_revision: 1, ..Watch::default() };
    let watch = teller.script.invoke(0, Call::Watch(watch));
    let keys: Vec<(String, String)> =
        (0..30).map(|place| (format!("u{place}"), format!("w{place}"))).collect();
    for (place, (unwatched, watched)) in keys.iter().enumerate() {
        let at = place as u64 * SECOND;
        for (later, key) in [unwatched, watched].into_iter().enumerate() {
            let write = teller.script.invoke(at + later as u64, put(key, "1"));
            teller.script.unknown(write, at + 50);
        }
        // The one that nobody watches took effect.
        teller.unseen();
        teller.put(at + 100, "seen", 0);
    }
    let message =
        WatchMessage { revision: teller.revision, progress: true, ..WatchMessage::default() };
    teller.script.watched(watch, 40 * SECOND, message);
    for (place, (_, watched)) in keys.iter().enumerate() {
        let at = 41 * SECOND + place as u64 * 1_000;
        teller.script.get(at, at + 10, watched, None, teller.revision);
    }
    assert!(teller.is_found_within(20_000));
}

#[test]
fn a_read_says_which_unknown_writes_had_not_happened_yet() {
    let mut teller = Teller::new();
    for place in 0..30 {
        let at = place * SECOND;
        let key = format!("k{place}");
        teller.put(at, &key, 0);
        let modified = teller.revision;
        for (later, key) in [format!("u{place}"), key.clone()].iter().enumerate() {
            let write = teller.script.invoke(at + 20 + later as u64, put(key, "2"));
            teller.script.unknown(write, at + 50);
        }
        teller.unseen();
        teller.put(at + 100, "seen", 0);
        // It is read much later, and is as it was.
        let found = Some(kv(&key, "1", modified, modified, 1));
        let late = 40 * SECOND + place * 1_000;
        let until = 2 + 30 * 3 - 1;
        teller.script.get(late, late + 10, &key, found, until);
    }
    assert!(teller.is_found_within(20_000));
}

#[test]
fn what_watches_tell_of_changes_nothing_in_the_verdict() {
    let mut teller = Teller::new();
    let watch = Watch { key: Blob::text("w"), start_revision: 2, ..Watch::default() };
    let watch = teller.script.invoke(0, Call::Watch(watch));
    teller.put(10, "w", 0);
    teller.put(30, "w", 0);
    // It leaves out the first change: wrong of the watch, and no fault of the writes.
    let event = Event { is_delete: false, kv: kv("w", "1", 2, 3, 2), prev_kv: None };
    let message = WatchMessage { revision: 3, events: vec![event], ..WatchMessage::default() };
    teller.script.watched(watch, 60, message);
    assert!(teller.is_found_within(1_000));
}
