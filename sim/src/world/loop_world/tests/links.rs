//! Raft streams between scripts, and what breaks them.

use std::time::Duration;

use detsim_reports::record::Time;

use super::script::*;
use crate::world::{End, LinkQuality, MessageClass, NetworkFault, World};

const N1: End = End::Member(0);
const N2: End = End::Member(1);

fn cut(from: End, to: End, class: MessageClass) -> NetworkFault {
    NetworkFault::Cut { from, to, class }
}

fn consecutive(numbers: &[u64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

#[test]
fn streams_come_up_and_beats_arrive_in_order() {
    let (mut world, diary) = running(1, 3);
    let since = world.now();
    run(&mut world, 5_000);
    for (name, from) in [("n1", 2), ("n1", 3), ("n2", 1), ("n2", 3), ("n3", 1), ("n3", 2)] {
        let beats = beats(&diary, name, from, since);
        assert!((48..=52).contains(&beats.len()), "{name} from {from}: {beats:?}");
        assert!(consecutive(&beats));
    }
    assert_eq!(said(&diary, "n1", Time::ZERO, |what| what == "active 2").len(), 1);
    assert_eq!(said(&diary, "n1", Time::ZERO, |what| what.starts_with("unreachable")).len(), 0);
}

#[test]
fn a_short_cut_delays_and_loses_nothing() {
    let (mut world, diary) = running(1, 2);
    world.network(&cut(N1, N2, MessageClass::All)).expect("there are such members");
    run(&mut world, 1_000);
    let since = world.now();
    assert_eq!(beats(&diary, "n2", 1, Time(since.0 - 900_000_000)), [0; 0]);
    world.network(&NetworkFault::Heal { from: N1, to: N2 }).expect("there are such members");
    run(&mut world, 3_000);
    assert!(consecutive(&beats(&diary, "n2", 1, Time::ZERO)));
    assert!(beats(&diary, "n2", 1, since).len() >= 30);
    assert_eq!(said(&diary, "n2", Time::ZERO, |what| what.starts_with("unreachable")).len(), 0);
}

#[test]
fn a_long_cut_breaks_the_stream_and_healing_restores_it() {
    let (mut world, diary) = running(1, 2);
    let began = world.now();
    for (from, to) in [(N1, N2), (N2, N1)] {
        world.network(&cut(from, to, MessageClass::All)).expect("there are such members");
    }
    run(&mut world, 3_000);
    assert_eq!(said(&diary, "n1", began, |what| what == "unreachable 2").len(), 0);
    run(&mut world, 5_000);
    assert!(!said(&diary, "n1", began, |what| what == "unreachable 2").is_empty());
    let healed = world.now();
    world.network(&NetworkFault::HealAll).expect("always possible");
    run(&mut world, 4_000);
    let active = said(&diary, "n1", healed, |what| what == "active 2").len();
    assert!((1..=5).contains(&active), "old POSTs may still fail: {active}");
    let beats = beats(&diary, "n2", 1, healed);
    assert!(beats.len() >= 15, "{beats:?}");
}

#[test]
fn a_cut_one_way_leaves_the_other_way_standing() {
    let (mut world, diary) = running(1, 2);
    world.network(&cut(N1, N2, MessageClass::All)).expect("there are such members");
    run(&mut world, 10_000);
    let since = world.now();
    run(&mut world, 1_000);
    assert_eq!(beats(&diary, "n2", 1, since).len(), 0);
    assert!(beats(&diary, "n1", 2, since).len() >= 9);
    assert!(!said(&diary, "n1", since, |what| what == "unreachable 2").is_empty());
}

#[test]
fn a_cut_of_a_class_loses_only_that_class() {
    let (mut world, diary) = running(1, 2);
    let since = world.now();
    world.network(&cut(N1, N2, MessageClass::Votes)).expect("there are such members");
    run(&mut world, 1_000);
    assert!(beats(&diary, "n2", 1, since).len() >= 9);
    world.network(&cut(N1, N2, MessageClass::Heartbeats)).expect("there are such members");
    run(&mut world, 10);
    let since = world.now();
    run(&mut world, 10_000);
    assert_eq!(beats(&diary, "n2", 1, since).len(), 0);
    assert_eq!(said(&diary, "n1", since, |what| what == "unreachable 2").len(), 0);
}

#[test]
fn a_reset_breaks_streams_and_they_come_back() {
    let (mut world, diary) = running(1, 2);
    let since = world.now();
    world.network(&NetworkFault::Reset { from: N1, to: N2 }).expect("there are such members");
    run(&mut world, 1_000);
    assert!(!said(&diary, "n1", since, |what| what == "unreachable 2").is_empty());
    assert!(!said(&diary, "n1", since, |what| what == "active 2").is_empty());
    assert!(beats(&diary, "n2", 1, since).len() >= 7);
}

#[test]
fn duplicates_and_overtaking_happen_only_where_asked_for() {
    let (mut world, diary) = running(1, 2);
    let harsh = LinkQuality {
        latency: (Duration::from_millis(1), Duration::from_millis(400)),
        loss_per_10k: 0,
        duplicate_per_10k: 3_000,
        reorder_per_10k: 5_000,
        tail_per_10k: 0,
        bandwidth: 0,
    };
    let since = world.now();
    let quality = NetworkFault::Quality { from: N1, to: N2, quality: harsh };
    world.network(&quality).expect("there are such members");
    run(&mut world, 10_000);
    world.network(&NetworkFault::HealAll).expect("always possible");
    run(&mut world, 2_000);
    let there = beats(&diary, "n2", 1, since);
    let mut sorted = there.clone();
    sorted.sort_unstable();
    assert_ne!(there, sorted, "some overtook others");
    sorted.dedup();
    assert!(sorted.len() < there.len(), "some came twice");
    assert!(consecutive(&sorted));
    assert!(consecutive(&beats(&diary, "n1", 2, since)));
}

#[test]
fn a_member_of_another_cluster_is_refused_and_tries_on() {
    let (mut world, diary) = world(1, 2);
    for place in 0..2 {
        let mut launch = launch(&world, place, 2);
        let token = ["one", "another"][place].to_owned();
        launch.flags.push(("initial-cluster-token".to_owned(), token));
        world.start(place, &launch).expect("it does not run");
    }
    run(&mut world, 2_000);
    let refused = said(&diary, "n1", Time::ZERO, |what| what.contains("ClusterIdMismatch"));
    assert!((30..60).contains(&refused.len()), "{}", refused.len());
    assert_eq!(beats(&diary, "n2", 1, Time::ZERO).len(), 0);
}

#[test]
fn messages_survive_their_encoding() {
    let (mut world, diary) = world(1, 2);
    world.options.codec = true;
    for place in 0..2 {
        let launch = launch(&world, place, 2);
        world.start(place, &launch).expect("it does not run");
    }
    run(&mut world, 2_000);
    assert!(beats(&diary, "n2", 1, Time::ZERO).len() >= 15);
}

#[test]
fn a_connection_half_gone_loses_what_is_sent_until_it_is_dialed_anew() {
    let (mut world, diary) = running(1, 2);
    let since = world.now();
    let fault = NetworkFault::HalfOpen { from: End::Member(0), to: End::Member(1) };
    world.network(&fault).expect("there are such members");
    run(&mut world, 50);
    assert!(!said(&diary, "n2", since, |what| what == "unreachable 1").is_empty());
    assert!(said(&diary, "n1", since, |what| what == "unreachable 2").is_empty());
    run(&mut world, 10_000);
    let all = beats(&diary, "n2", 1, since);
    assert!(all.windows(2).any(|pair| pair[0] + 1 < pair[1]) || all.len() < 100, "{all:?}");
    let healed = world.now();
    run(&mut world, 1_000);
    assert!(beats(&diary, "n2", 1, healed).len() >= 8);
    assert!(beats(&diary, "n1", 2, healed).len() >= 8);
}
