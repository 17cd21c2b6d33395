//! Links: order of draws, cuts, qualities and addresses.

use super::*;

const MS: u64 = 1_000_000;

fn quality(low_ms: u64, high_ms: u64) -> LinkQuality {
    LinkQuality {
        latency: (Duration::from_millis(low_ms), Duration::from_millis(high_ms)),
        loss_per_10k: 0,
        duplicate_per_10k: 0,
        reorder_per_10k: 0,
        tail_per_10k: 0,
        bandwidth: 0,
    }
}

fn network(members: usize) -> Network {
    let mut network = Network::new(Streams::new(7), quality(1, 3), quality(5, 5));
    (0..members).for_each(|_| network.add_member());
    network
}

const AB: (End, End) = (End::Member(0), End::Member(1));
const BA: (End, End) = (End::Member(1), End::Member(0));

fn arrival(network: &mut Network, link: (End, End), bytes: u64) -> u64 {
    match network.passage(link, 0, bytes, None, true) {
        Passage::Arrives { at, .. } => at,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_links_traffic_does_not_shift_anothers_draws() {
    let draws = |traffic_on_the_other: u32| {
        let mut network = network(2);
        for _ in 0..traffic_on_the_other {
            arrival(&mut network, AB, 0);
        }
        (0..8).map(|_| arrival(&mut network, BA, 0)).collect::<Vec<_>>()
    };
    assert_eq!(draws(0), draws(5));
}

#[test]
fn a_later_member_does_not_shift_the_links_of_earlier_ones() {
    let mut small = network(2);
    let mut large = network(5);
    for _ in 0..8 {
        assert_eq!(arrival(&mut small, AB, 0), arrival(&mut large, AB, 0));
    }
}

#[test]
fn latency_stays_within_its_bounds_and_clients_have_their_own() {
    let mut network = network(2);
    for _ in 0..100 {
        assert!((MS..=3 * MS).contains(&arrival(&mut network, AB, 0)));
    }
    assert_eq!(arrival(&mut network, (End::Clients, End::Member(1)), 0), 5 * MS);
}

#[test]
fn a_cut_holds_one_direction_and_a_class_cut_drops_only_the_class() {
    let mut network = network(2);
    assert!(network.cut(AB.0, AB.1, MessageClass::All));
    assert!(!network.cut(AB.0, AB.1, MessageClass::All));
    assert_eq!(network.passage(AB, 0, 0, None, false), Passage::Waits);
    arrival(&mut network, BA, 0);
    assert!(!network.can_connect(BA.0, BA.1));
    assert!(network.heal(AB.0, AB.1));

    network.cut(AB.0, AB.1, MessageClass::Votes);
    let votes = class_of(MessageType::MsgPreVote);
    let appends = class_of(MessageType::MsgApp);
    assert_eq!(network.passage(AB, 0, 0, votes, false), Passage::Vanishes);
    assert!(matches!(network.passage(AB, 0, 0, appends, false), Passage::Arrives { .. }));
    assert!(network.can_connect(AB.0, AB.1));
}

#[test]
fn loss_is_delay_and_at_last_a_reset() {
    let mut network = network(2);
    let lossy = LinkQuality { loss_per_10k: 3_000, ..quality(1, 1) };
    network.set_quality(AB.0, AB.1, Some(&lossy));
    let arrivals: Vec<u64> = (0..200).map(|_| arrival(&mut network, AB, 0)).collect();
    assert!(arrivals.contains(&MS));
    assert!(arrivals.contains(&(201 * MS)));
    assert!(arrivals.contains(&(601 * MS)));
    network.set_quality(AB.0, AB.1, Some(&LinkQuality { loss_per_10k: 10_000, ..lossy }));
    assert_eq!(network.passage(AB, 0, 0, None, false), Passage::Resets);
    assert_eq!(network.set_quality(AB.0, AB.1, None), None);
    assert!(arrival(&mut network, AB, 0) <= 3 * MS);
}

#[test]
fn a_heavy_tail_leaves_most_messages_quick_and_some_far_behind() {
    let mut network = network(2);
    network.set_quality(AB.0, AB.1, Some(&LinkQuality { tail_per_10k: 5_000, ..quality(1, 1) }));
    let arrivals: Vec<u64> = (0..2_000).map(|_| arrival(&mut network, AB, 0)).collect();
    let at_least = |ms: u64| arrivals.iter().filter(|at| **at >= ms * MS).count();
    assert!((900..1_100).contains(&at_least(2)), "{}", at_least(2));
    assert!((400..600).contains(&at_least(4)), "{}", at_least(4));
    assert!((2..80).contains(&at_least(64)), "{}", at_least(64));
    assert_eq!(at_least(1_025), 0, "not doubled any more from a second on");
    assert_eq!(network.set_quality(AB.0, AB.1, None), None);
    assert!(arrival(&mut network, AB, 0) <= 3 * MS);
}

#[test]
fn bandwidth_makes_a_queue() {
    let mut network = network(2);
    let slow = LinkQuality { bandwidth: 1_000_000, ..quality(1, 1) };
    network.set_quality(AB.0, AB.1, Some(&slow));
    assert_eq!(arrival(&mut network, AB, 2_000), 3 * MS);
    assert_eq!(arrival(&mut network, AB, 1_000), 4 * MS);
}

#[test]
fn duplicates_and_overtaking_need_permission() {
    let mut network = network(2);
    let harsh = LinkQuality { duplicate_per_10k: 10_000, reorder_per_10k: 10_000, ..quality(1, 3) };
    network.set_quality(AB.0, AB.1, Some(&harsh));
    let plain = network.passage(AB, 0, 0, None, false);
    assert!(matches!(plain, Passage::Arrives { again: None, overtakes: false, .. }));
    let harsh = network.passage(AB, 0, 0, None, true);
    assert!(matches!(harsh, Passage::Arrives { again: Some(_), overtakes: true, .. }));
}

#[test]
fn what_waited_is_sent_again_at_a_retransmission() {
    assert_eq!(retransmission(0, 0), 0);
    assert_eq!(retransmission(0, 1), 200 * MS);
    assert_eq!(retransmission(0, 200 * MS), 200 * MS);
    assert_eq!(retransmission(0, 201 * MS), 600 * MS);
    assert_eq!(retransmission(50 * MS, 1_000 * MS), 1_450 * MS);
}

#[test]
fn an_address_has_one_listener() {
    let mut network = network(2);
    network.listen(0, &["http://10.0.0.1:2380".to_owned()], |_| true).expect("free");
    let both = ["http://n2".to_owned(), "http://10.0.0.1:2380/".to_owned()];
    assert_eq!(network.listen(1, &both, |_| true), Err("10.0.0.1:2380".to_owned()));
    assert_eq!(network.resolve("http://10.0.0.1:2380"), Some(0));
    assert_eq!(network.resolve("http://n2:8080"), None);
    network.listen(1, &both, |owner| owner != 0).expect("nobody runs there any more");
    assert_eq!(network.resolve("http://10.0.0.1:2380"), Some(1));
    assert_eq!(address("https://[::1]"), "[::1]:443");
    assert_eq!(address("http://localhost:2380"), "127.0.0.1:2380");
}
