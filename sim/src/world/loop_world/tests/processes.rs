//! Starts, ends, pauses, and the hash of it all.

use std::time::Duration;

use detsim_reports::record::{ClientId, OpId, Put, Time};

use super::script::*;
use crate::world::loop_world::first_difference;
use crate::world::{
    ClockFault, End, MessageClass, NetworkFault, Occasion, Side, Trap, World, WorldEvent,
};
use detsim_reports::record::{Blob, Call};

#[test]
fn a_killed_process_is_noticed_at_once_and_welcome_again() {
    let (mut world, diary) = running(1, 3);
    let killed = world.now();
    world.kill(1).expect("it runs");
    run(&mut world, 50);
    assert!(!said(&diary, "n1", killed, |what| what == "unreachable 2").is_empty());
    assert_eq!(world.status(1).exit.map(|exit| exit.code), Some(137));
    assert!(world.kill(1).is_err(), "it does not run");
    run(&mut world, 3_000);
    let again = world.now();
    let launch = launch(&world, 1, 3);
    world.start(1, &launch).expect("it does not run");
    run(&mut world, 1_000);
    assert_eq!(said(&diary, "n1", again, |what| what == "active 2").len(), 1);
    assert!(beats(&diary, "n2", 1, again).len() >= 8);
}

#[test]
fn a_power_loss_is_noticed_only_by_silence() {
    let (mut world, diary) = running(1, 2);
    let lost = world.now();
    world.power_loss(&[1]).expect("there is such a member");
    run(&mut world, 3_000);
    assert_eq!(said(&diary, "n1", lost, |what| what == "unreachable 2").len(), 0);
    run(&mut world, 3_000);
    assert!(!said(&diary, "n1", lost, |what| what == "unreachable 2").is_empty());
}

#[test]
fn a_paused_process_takes_what_came_in_order_when_it_goes_on() {
    let (mut world, diary) = running(1, 2);
    let since = world.now();
    world.pause(1).expect("it runs");
    run(&mut world, 2_000);
    assert_eq!(said(&diary, "n2", since, |_| true).len(), 0);
    let resumed = world.now();
    world.resume(1).expect("it runs");
    run(&mut world, 1_000);
    let all = beats(&diary, "n2", 1, since);
    assert!(all.len() >= 28);
    assert!(all.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert!(beats(&diary, "n1", 2, resumed).len() <= 11, "missed deadlines are one");
}

#[test]
fn a_process_paused_while_it_knocks_at_a_cut_link_goes_on() {
    let (mut world, diary) = running(1, 2);
    let (n1, n2) = (End::Member(0), End::Member(1));
    for (from, to) in [(n1, n2), (n2, n1)] {
        let cut = NetworkFault::Cut { from, to, class: MessageClass::All };
        world.network(&cut).expect("there are such members");
    }
    for _ in 0..20 {
        run(&mut world, 1_700);
        world.pause(0).expect("it runs");
        run(&mut world, 4_100);
        world.resume(0).expect("it runs");
    }
    world.network(&NetworkFault::HealAll).expect("always possible");
    let healed = world.now();
    run(&mut world, 5_000);
    assert!(!said(&diary, "n1", healed, |what| what == "active 2").is_empty());
}

#[test]
fn a_long_pause_breaks_the_streams_that_it_feeds() {
    let (mut world, diary) = running(1, 2);
    let since = world.now();
    world.pause(1).expect("it runs");
    run(&mut world, 6_000);
    assert!(!said(&diary, "n1", since, |what| what == "unreachable 2").is_empty());
}

#[test]
fn a_process_ends_as_it_is_asked_to() {
    let (mut world, _) = running(1, 1);
    world.stop(0).expect("it runs");
    let events = run(&mut world, 10);
    assert!(matches!(&events[..], [WorldEvent::Exited { member: 0, exit }] if exit.code == 143));
    assert!(!world.status(0).running);
}

#[test]
fn bad_flags_and_taken_addresses_end_a_process_at_its_start() {
    let (mut world, _) = running(1, 1);
    let name = detsim_reports::record::MemberName("n2".to_owned());
    let place = world.add_member(&name).expect("a new name");
    let mut launch = launch(&world, 0, 1);
    world.start(place, &launch).expect("it does not run");
    let reason = |events: Vec<WorldEvent>| match &events[..] {
        [WorldEvent::Exited { exit, .. }] => (exit.code, exit.reason.clone()),
        other => panic!("{other:?}"),
    };
    let taken = "listen tcp 10.0.0.1:2380: bind: address already in use".to_owned();
    assert_eq!(reason(run(&mut world, 10)), (1, taken));
    launch.flags.push(("no-such-flag".to_owned(), String::new()));
    world.start(place, &launch).expect("it does not run");
    assert_eq!(reason(run(&mut world, 10)).0, 2);
}

#[test]
fn a_panic_ends_the_process_and_not_the_world() {
    let (mut world, diary) = running(1, 2);
    let call = Call::Put(Put { key: Blob::text("panic"), ..Put::default() });
    world.invoke(OpId(0), ClientId(0), 1, &call, Duration::from_secs(5));
    let events = run(&mut world, 10);
    let WorldEvent::Exited { member: 1, exit } = &events[0] else { panic!("{events:?}") };
    assert_eq!(exit.code, 101);
    assert!(exit.reason.contains("told to panic"), "{}", exit.reason);
    assert!(matches!(&events[1], WorldEvent::Completed { op: OpId(0), .. }));
    let since = world.now();
    run(&mut world, 1_000);
    assert!(!said(&diary, "n1", since, |what| what == "unreachable 2").is_empty());
}

#[test]
fn deadlines_follow_the_hosts_clock() {
    let beats_of = |ppm| {
        let (mut world, diary) = running(1, 2);
        world.clock(0, ClockFault::Drift { ppm }).expect("there is such a member");
        run(&mut world, 10_000);
        beats(&diary, "n2", 1, Time(1_000_000_000)).len()
    };
    assert!((99..=101).contains(&beats_of(0)));
    assert!((148..=152).contains(&beats_of(500_000)));
    assert!((49..=51).contains(&beats_of(-500_000)));
}

#[test]
fn equal_runs_have_equal_traces_and_other_seeds_others() {
    let trace = |seed: u64, pause: u64| {
        let (mut world, _) = running(seed, 3);
        world.keep_trace();
        world.pause(2).expect("it runs");
        run(&mut world, pause);
        world.resume(2).expect("it runs");
        run(&mut world, 2_000);
        (world.trace_hash(), world.trace())
    };
    let (hash, lines) = trace(5, 500);
    let (same_hash, same_lines) = trace(5, 500);
    assert_eq!(hash, same_hash);
    assert_eq!(first_difference(&lines, &same_lines), None);
    assert_ne!(trace(6, 500).0, hash);
    let (other_hash, other_lines) = trace(5, 501);
    assert_ne!(other_hash, hash);
    assert!(first_difference(&lines, &other_lines).is_some());
}

#[test]
fn a_process_is_killed_before_or_after_a_message_of_a_class() {
    for (side, arrives) in [(Side::Before, 1), (Side::After, 2)] {
        let (mut world, diary) = running(1, 2);
        run(&mut world, 50);
        let since = world.now();
        let occasion = Occasion::Send(MessageClass::Heartbeats);
        let trap = Trap { side, occasion, count: 2, power: false, back: None };
        world.trap(0, Some(trap)).expect("it runs");
        let events = run(&mut world, 1_000);
        assert_eq!(events, [WorldEvent::Trapped { member: 0 }]);
        assert_eq!(beats(&diary, "n2", 1, since).len(), arrives, "{side:?}");
        assert_eq!(world.status(0).exit.map(|exit| exit.code), Some(137));
        let again = launch(&world, 0, 2);
        world.start(0, &again).expect("it does not run");
        assert_eq!(run(&mut world, 1_000), [], "it happens once");
    }
}

#[test]
fn a_slow_processor_takes_what_comes_later_and_in_order() {
    let (mut world, diary) = running(1, 2);
    let since = world.now();
    world.processor(1, Duration::from_millis(300)).expect("there is such a member");
    run(&mut world, 3_000);
    let slow = beats(&diary, "n2", 1, since);
    assert!(slow.len() < 10, "{slow:?}");
    assert!(slow.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    world.processor(1, Duration::ZERO).expect("there is such a member");
    run(&mut world, 1_000);
    assert!(beats(&diary, "n2", 1, since).len() >= 35);
}

#[test]
fn a_process_with_clocks_that_stand_still_does_nothing_by_itself() {
    let (mut world, diary) = running(1, 2);
    let since = world.now();
    world.clock(0, ClockFault::Freeze).expect("there is such a member");
    run(&mut world, 2_000);
    assert!(beats(&diary, "n2", 1, since).len() <= 1);
    let moves = world.now();
    world.clock(0, ClockFault::Drift { ppm: 0 }).expect("there is such a member");
    run(&mut world, 1_000);
    assert!(beats(&diary, "n2", 1, moves).len() >= 8);
}
