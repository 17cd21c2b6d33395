//! Watches of clients at members of detcd: on streams of their own, and on shared ones.

use std::collections::BTreeSet;
use std::time::Duration;

use detsim_reports::record::{Blob, Call, ClientId, OpId, Outcome, Put, Watch, WatchMessage};

use super::script::run;
use crate::world::loop_world::{LoopWorld, Options};
use crate::world::{World, WorldEvent};

fn serving() -> LoopWorld {
    let mut world = LoopWorld::cluster(Options::new(1), 1);
    run(&mut world, 5_000);
    world
}

fn invoke(world: &mut LoopWorld, op: u32, call: &Call) {
    world.invoke(OpId(op), ClientId(op), 0, call, Duration::from_secs(5));
}

fn shared(key: &str) -> Watch {
    Watch { key: Blob::text(key), stream: 1, ..Watch::default() }
}

fn put(world: &mut LoopWorld, op: u32, key: &str) -> Vec<WorldEvent> {
    let put = Put { key: Blob::text(key), value: Blob::text("v"), ..Put::default() };
    invoke(world, op, &Call::Put(put));
    run(world, 100)
}

/// What watches took, in order.
fn taken(events: &[WorldEvent]) -> Vec<(u32, &WatchMessage)> {
    let mut taken = Vec::new();
    for event in events {
        if let WorldEvent::Watched { op: OpId(op), message } = event {
            taken.push((*op, message));
        }
    }
    taken
}

/// Operations that ended other than a put does.
fn ended(events: &[WorldEvent]) -> Vec<(u32, &Outcome)> {
    let mut ended = Vec::new();
    for event in events {
        if let WorldEvent::Completed { op: OpId(op), outcome } = event
            && *op < 10
        {
            ended.push((*op, outcome));
        }
    }
    ended
}

#[test]
fn watches_that_share_a_stream_get_what_each_asked_for() {
    let mut world = serving();
    for (op, key) in [(1, "a"), (2, "b"), (3, "a")] {
        invoke(&mut world, op, &Call::Watch(shared(key)));
    }
    let events = run(&mut world, 100);
    let created: Vec<u32> = taken(&events).iter().map(|(op, _)| *op).collect();
    assert_eq!(created, [1, 2, 3]);
    assert!(taken(&events).iter().all(|(_, message)| message.created));
    let told = |events: &[WorldEvent]| -> BTreeSet<u32> {
        taken(events).iter().filter(|(_, it)| it.events.len() == 1).map(|(op, _)| *op).collect()
    };
    assert_eq!(told(&put(&mut world, 11, "a")), BTreeSet::from([1, 3]));
    assert_eq!(told(&put(&mut world, 12, "b")), BTreeSet::from([2]));
    // The one that opened the stream leaves: the others go on, and may be joined.
    world.close(OpId(1));
    invoke(&mut world, 4, &Call::Watch(shared("b")));
    let events = run(&mut world, 100);
    assert!(matches!(ended(&events)[..], [(1, Outcome::Ok(_))]), "{events:?}");
    assert_eq!(told(&put(&mut world, 13, "a")), BTreeSet::from([3]));
    assert_eq!(told(&put(&mut world, 14, "b")), BTreeSet::from([2, 4]));
}

#[test]
fn who_shares_a_stream_hears_of_progress_that_another_asked_for() {
    let mut world = serving();
    invoke(&mut world, 1, &Call::Watch(shared("a")));
    invoke(&mut world, 2, &Call::Watch(Watch { request_progress_ms: 200, ..shared("b") }));
    let alone = Watch { key: Blob::text("c"), ..Watch::default() };
    invoke(&mut world, 3, &Call::Watch(alone));
    let events = run(&mut world, 500);
    let mut heard: Vec<u32> =
        taken(&events).iter().filter(|(_, it)| it.progress).map(|(op, _)| *op).collect();
    heard.dedup();
    assert!(heard.starts_with(&[1, 2]) && !heard.contains(&3), "{heard:?}");
}

#[test]
fn a_refused_watch_ends_alone_and_a_lost_connection_ends_all() {
    let mut world = serving();
    invoke(&mut world, 1, &Call::Watch(shared("a")));
    invoke(&mut world, 2, &Call::Watch(Watch { start_revision: -1, ..shared("a") }));
    let events = run(&mut world, 100);
    assert!(matches!(ended(&events)[..], [(2, Outcome::Ok(_))]), "{events:?}");
    let cancelled = |(op, it): &(u32, &WatchMessage)| *op == 2 && it.canceled;
    assert!(taken(&events).iter().any(cancelled), "{events:?}");
    invoke(&mut world, 3, &Call::Watch(shared("a")));
    run(&mut world, 100);
    world.kill(0).expect("it runs");
    let events = run(&mut world, 100);
    let lost =
        |(_, outcome): &(u32, &Outcome)| *outcome == &Outcome::Fail("connection lost".into());
    assert_eq!(ended(&events).len(), 2);
    assert!(ended(&events).iter().all(lost), "{events:?}");
    // Nobody joins what is broken.
    let launch = world.founder(0, 1);
    world.start(0, &launch).expect("it does not run");
    run(&mut world, 5_000);
    invoke(&mut world, 4, &Call::Watch(shared("a")));
    assert_eq!(taken(&run(&mut world, 100)).len(), 1);
}
