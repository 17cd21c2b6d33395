//! Clients and calls between members.

use std::time::Duration;

use detsim_reports::record::{Blob, Body, Call, ClientId, OpId, Outcome, Put, Range, Time, Watch};

use super::script::*;
use crate::world::loop_world::LoopWorld;
use crate::world::{ClockFault, End, MessageClass, NetworkFault, World, WorldEvent};

fn put(key: &str) -> Call {
    Call::Put(Put { key: Blob::text(key), ..Put::default() })
}

fn invoke(world: &mut LoopWorld, op: u32, member: usize, call: &Call) {
    world.invoke(OpId(op), ClientId(op), member, call, Duration::from_secs(2));
}

/// The outcome of the only operation that ends within so many milliseconds.
fn outcome(world: &mut LoopWorld, ms: u64) -> Outcome {
    let mut ended = run(world, ms).into_iter().filter_map(|event| match event {
        WorldEvent::Completed { outcome, .. } => Some(outcome),
        _ => None,
    });
    let first = ended.next().expect("one ends");
    assert_eq!(ended.next(), None);
    first
}

fn clients_cut(from: End, to: End) -> NetworkFault {
    NetworkFault::Cut { from, to, class: MessageClass::All }
}

#[test]
fn a_request_is_answered() {
    let (mut world, _) = running(1, 1);
    invoke(&mut world, 0, 0, &put("k"));
    assert!(matches!(outcome(&mut world, 10), Outcome::Ok(_)));
    invoke(&mut world, 1, 0, &Call::LeaseKeepAlive { id: 4 });
    let Outcome::Ok(reply) = outcome(&mut world, 10) else { panic!("it is answered") };
    assert_eq!(reply.body, Body::LeaseKeepAlive { id: 4, ttl_s: 9 });
}

#[test]
fn nobody_listening_is_a_definite_failure() {
    let (mut world, _) = world(1, 1);
    invoke(&mut world, 0, 0, &put("k"));
    assert_eq!(outcome(&mut world, 10), Outcome::Fail("connection refused".to_owned()));
}

#[test]
fn a_member_that_never_serves_fails_its_clients_definitely() {
    let (mut world, _) = world(1, 1);
    let mut launch = launch(&world, 0, 1);
    launch.flags.push(("pre-vote".to_owned(), "false".to_owned()));
    world.start(0, &launch).expect("it does not run");
    invoke(&mut world, 0, 0, &put("k"));
    assert!(matches!(outcome(&mut world, 3_000), Outcome::Fail(_)));
    invoke(&mut world, 1, 0, &put("k"));
    run(&mut world, 100);
    world.kill(0).expect("it runs");
    assert!(matches!(outcome(&mut world, 100), Outcome::Fail(_)));
}

#[test]
fn an_unanswered_write_is_unknown_and_cancelled() {
    let (mut world, diary) = running(1, 1);
    invoke(&mut world, 0, 0, &put("silence"));
    assert!(matches!(outcome(&mut world, 3_000), Outcome::Unknown(_)));
    assert_eq!(said(&diary, "n1", Time::ZERO, |what| what == "cancel 0").len(), 1);
}

#[test]
fn a_write_in_a_killed_process_is_unknown_and_a_read_fails() {
    for (call, is_unknown) in [(put("silence"), true), (range("http://10.0.0.9:2380"), false)] {
        let (mut world, _) = running(1, 1);
        invoke(&mut world, 0, 0, &call);
        run(&mut world, 10);
        world.kill(0).expect("it runs");
        assert_eq!(matches!(outcome(&mut world, 10), Outcome::Unknown(_)), is_unknown);
    }
}

#[test]
fn a_lost_answer_leaves_a_write_unknown_and_a_healed_link_delivers_it_late() {
    let (mut world, _) = running(1, 1);
    world.network(&clients_cut(End::Member(0), End::Clients)).expect("there is such a member");
    invoke(&mut world, 0, 0, &put("k"));
    assert!(matches!(outcome(&mut world, 3_000), Outcome::Unknown(_)));
    invoke(&mut world, 1, 0, &put("k"));
    assert!(run(&mut world, 500).is_empty());
    world.network(&NetworkFault::HealAll).expect("always possible");
    assert!(matches!(outcome(&mut world, 1_000), Outcome::Ok(_)));
}

#[test]
fn a_request_held_by_a_cut_arrives_though_its_client_gave_up() {
    let (mut world, diary) = running(1, 1);
    world.network(&clients_cut(End::Clients, End::Member(0))).expect("there is such a member");
    invoke(&mut world, 0, 0, &put("silence"));
    assert!(matches!(outcome(&mut world, 3_000), Outcome::Unknown(_)));
    world.network(&NetworkFault::HealAll).expect("always possible");
    run(&mut world, 10_000);
    let told = said(&diary, "n1", Time::ZERO, |what| !what.starts_with("starts"));
    assert_eq!(told, ["put silence", "cancel 0"]);
}

#[test]
fn a_reset_loses_requests() {
    let (mut world, _) = running(1, 1);
    invoke(&mut world, 0, 0, &put("silence"));
    run(&mut world, 10);
    let reset = NetworkFault::Reset { from: End::Clients, to: End::Member(0) };
    world.network(&reset).expect("there is such a member");
    assert!(matches!(outcome(&mut world, 10), Outcome::Unknown(_)));
}

#[test]
fn a_watch_delivers_returns_room_asks_for_progress_and_closes() {
    let (mut world, diary) = running(1, 1);
    let watch = Watch { request_progress_ms: 100, ..Watch::default() };
    invoke(&mut world, 0, 0, &Call::Watch(watch));
    let events = run(&mut world, 1_050);
    let messages: Vec<_> = events
        .iter()
        .map(|event| match event {
            WorldEvent::Watched { op: OpId(0), message } => message,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(messages[0].created);
    assert!((18..=24).contains(&messages.len()), "{}", messages.len());
    assert!(messages.iter().skip(1).any(|message| message.progress));
    let windows = said(&diary, "n1", Time::ZERO, |what| what == "window 16384").len();
    assert_eq!(windows, messages.len() / 2);
    world.close(OpId(0));
    assert!(matches!(outcome(&mut world, 10), Outcome::Ok(_)));
    assert_eq!(said(&diary, "n1", Time::ZERO, |what| what == "closed 0").len(), 1);
}

#[test]
fn a_slow_processor_answers_late_and_in_order() {
    let (mut world, _) = running(1, 1);
    world.options.step_ns = 10_000_000;
    for op in 0..20 {
        invoke(&mut world, op, 0, &put("k"));
    }
    let ended: Vec<OpId> = run(&mut world, 1_000)
        .into_iter()
        .map(|event| match event {
            WorldEvent::Completed { op, outcome: Outcome::Ok(_) } => op,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ended.len(), 20);
    for op in 20..40 {
        invoke(&mut world, op, 0, &put("k"));
    }
    assert!((10..=20).contains(&run(&mut world, 200).len()), "a hundred steps a second");
}

#[test]
fn a_slow_client_takes_watch_messages_at_its_pace() {
    let (mut world, _) = running(1, 1);
    let watch = Watch { drain_bytes_per_s: 8192, ..Watch::default() };
    invoke(&mut world, 0, 0, &Call::Watch(watch));
    assert_eq!(run(&mut world, 990).len(), 0);
    assert_eq!(run(&mut world, 20).len(), 1);
    assert_eq!(run(&mut world, 1_000).len(), 1);
}

/// A range that makes a script call the peer at a URL.
fn range(url: &str) -> Call {
    Call::Range(Range { key: Blob::text(url), ..Range::default() })
}

#[test]
fn calls_between_members_are_answered_refused_or_time_out() {
    let (mut world, diary) = running(1, 3);
    world.kill(2).expect("it runs");
    let both_ways = [(End::Member(0), End::Member(1)), (End::Member(1), End::Member(0))];
    let called = |world: &mut LoopWorld, op: u32, url: &str| {
        let since = world.now();
        invoke(world, op, 0, &range(url));
        run(world, 4_000);
        let told = said(&diary, "n1", since, |what| what.starts_with("called"));
        told.first().cloned().unwrap_or_default()
    };
    let url = world.peer_url(1);
    assert_eq!(called(&mut world, 0, &url), "called Ok(DowngradeEnabled(true))");
    let dead = world.peer_url(2);
    assert!(called(&mut world, 1, &dead).contains("connection refused"));
    assert!(called(&mut world, 2, "http://nowhere:1").contains("connection refused"));
    for (from, to) in both_ways {
        world.network(&clients_cut(from, to)).expect("there are such members");
    }
    assert!(called(&mut world, 3, &url).contains("deadline exceeded"));
}

#[test]
fn a_call_is_given_up_when_the_callers_clock_says_so() {
    let (mut world, diary) = running(1, 2);
    world.power_loss(&[1]).expect("there is such a member");
    world.clock(0, ClockFault::Freeze).expect("there is such a member");
    let url = world.peer_url(1);
    invoke(&mut world, 0, 0, &range(&url));
    let mut called_within = |ms: u64| {
        run(&mut world, ms);
        let told = said(&diary, "n1", Time(0), |what| what.contains("deadline exceeded"));
        (told.len(), world.clock(0, ClockFault::Drift { ppm: -500_000 }).is_ok())
    };
    assert_eq!(called_within(9_000), (0, true));
    assert_eq!(called_within(5_500), (0, true));
    assert_eq!(called_within(1_000), (1, true));
}
