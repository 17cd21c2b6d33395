//! The world with members of detcd: elections, writes, restarts, power losses.

use std::time::Duration;

use detsim_reports::record::{
    Blob, Body, Call, ClientId, Command, MemberName, OpId, Outcome, Put, Range,
};

use super::script::run;
use crate::world::loop_world::{LoopWorld, Options};
use crate::world::{DiskFault, End, MessageClass, NetworkFault, World, WorldEvent};

fn start_all(world: &mut LoopWorld, of: usize) {
    for place in 0..of {
        let launch = world.founder(place, of);
        world.start(place, &launch).expect("it does not run");
    }
}

fn cluster_with(options: Options, of: usize) -> LoopWorld {
    let mut world = LoopWorld::cluster(options, of);
    let events = run(&mut world, 5_000);
    assert_eq!(events, []);
    for place in 0..of {
        let status = world.status(place);
        assert!(status.ready, "{place}: {status:?} {:?}", world.lines(place).collect::<Vec<_>>());
    }
    world
}

fn cluster(seed: u64, of: usize) -> LoopWorld {
    cluster_with(Options::new(seed), of)
}

fn put(key: &str, value: &str) -> Call {
    Call::Put(Put { key: Blob::text(key), value: Blob::text(value), ..Put::default() })
}

fn get(key: &str) -> Call {
    Call::Range(Range { key: Blob::text(key), ..Range::default() })
}

/// Invokes an operation and waits for its end.
fn ask(world: &mut LoopWorld, op: u32, member: usize, call: &Call) -> Outcome {
    world.invoke(OpId(op), ClientId(0), member, call, Duration::from_secs(5));
    loop {
        match world.advance(world.now().after(Duration::from_secs(10))) {
            WorldEvent::Completed { op: OpId(ended), outcome } if ended == op => return outcome,
            WorldEvent::Reached => panic!("operation {op} does not end"),
            _ => {}
        }
    }
}

#[test]
fn a_members_log_begins_with_what_its_data_directory_is() {
    let mut world = cluster(1, 1);
    assert!(world.log_contains(0, "Initialize and start etcd server"));
    assert!(!world.log_contains(0, "already been initialized"));
    world.kill(0).expect("it runs");
    let launch = world.founder(0, 1);
    world.start(0, &launch).expect("it does not run");
    run(&mut world, 3_000);
    assert!(world.log_contains(0, "server has already been initialized"));
}

#[test]
fn a_trace_tells_of_disks_too() {
    let mut world = cluster(1, 1);
    world.keep_trace();
    let before = world.trace().len();
    assert!(matches!(ask(&mut world, 1, 0, &put("k", "v")), Outcome::Ok(_)));
    let lines = world.trace();
    let of_disk: Vec<&String> = lines[before..].iter().filter(|it| it.contains(" disk ")).collect();
    assert!(of_disk.iter().any(|line| line.contains("disk write")), "{of_disk:?}");
    assert!(of_disk.iter().any(|line| line.contains("disk sync")), "{of_disk:?}");
}

fn leader(world: &mut LoopWorld) -> usize {
    world.status(0).leader.expect("there is a leader")
}

fn value(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Ok(reply) => match &reply.body {
            Body::Range(range) => {
                range.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value.0).into_owned())
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn three_members_elect_a_leader_and_serve_writes_everywhere() {
    let mut world = cluster(1, 3);
    for member in 0..3 {
        let written = ask(&mut world, member * 2, member as usize, &put("k", &member.to_string()));
        assert!(matches!(written, Outcome::Ok(_)), "{written:?}");
        let read = ask(&mut world, member * 2 + 1, ((member + 1) % 3) as usize, &get("k"));
        assert_eq!(value(&read), Some(member.to_string()));
    }
    run(&mut world, 500);
    let internals = world.internals();
    let indices: Vec<u64> = internals.committed.iter().map(|entry| entry.index).collect();
    assert_eq!(indices, (1..=indices.len() as u64).collect::<Vec<_>>());
    let owed: Vec<_> = internals
        .committed
        .iter()
        .filter(|entry| matches!(entry.command, Command::Client(_)))
        .map(|entry| entry.op)
        .collect();
    assert_eq!(owed, [Some(OpId(0)), Some(OpId(2)), Some(OpId(4))]);
    assert_eq!(internals.samples.len(), 3);
    assert_eq!(internals.samples[0].keys, internals.samples[2].keys);
    assert_eq!(internals.samples[0].keys.len(), 1);
    assert!(!internals.votes.is_empty());
}

#[test]
fn an_acknowledged_write_survives_a_power_loss_of_all() {
    for seed in 0..8 {
        let mut world = cluster(seed, 3);
        let written = ask(&mut world, 0, 0, &put("k", "kept"));
        assert!(matches!(written, Outcome::Ok(_)), "{written:?}");
        world.power_loss(&[0, 1, 2]).expect("there are such members");
        run(&mut world, 1_000);
        start_all(&mut world, 3);
        run(&mut world, 5_000);
        assert_eq!(value(&ask(&mut world, 1, 1, &get("k"))), Some("kept".to_owned()));
    }
}

#[test]
fn another_member_leads_when_the_leader_is_killed_and_cut_off() {
    let mut world = cluster(3, 3);
    let first = leader(&mut world);
    world.kill(first).expect("it runs");
    run(&mut world, 5_000);
    let survivor = (first + 1) % 3;
    let second = world.status(survivor).leader.expect("there is a leader again");
    assert_ne!(second, first);
    assert!(matches!(ask(&mut world, 0, survivor, &put("k", "v")), Outcome::Ok(_)));
    let again = world.founder(first, 3);
    world.start(first, &again).expect("it does not run");
    run(&mut world, 3_000);
    for other in (0..3).filter(|other| *other != second) {
        for (from, to) in [(second, other), (other, second)] {
            let (from, to) = (End::Member(from), End::Member(to));
            let cut = NetworkFault::Cut { from, to, class: MessageClass::All };
            world.network(&cut).expect("there are such members");
        }
    }
    run(&mut world, 5_000);
    assert_ne!(world.status(first).leader, Some(second));
    let stale = ask(&mut world, 1, second, &put("k", "minority"));
    assert!(matches!(stale, Outcome::Unknown(_)), "{stale:?}");
    world.network(&NetworkFault::HealAll).expect("always possible");
    run(&mut world, 5_000);
    assert_eq!(world.status(0).revision, world.status(1).revision);
    assert_eq!(world.status(1).revision, world.status(2).revision);
}

#[test]
fn a_leader_whose_disk_hangs_is_replaced_and_comes_back() {
    let mut world = cluster(4, 3);
    let first = leader(&mut world);
    let survivor = (first + 1) % 3;
    world.disk(first, &DiskFault::Hang).expect("there is such a member");
    let _ = ask(&mut world, 0, survivor, &put("k", "a"));
    run(&mut world, 6_000);
    assert!(world.status(survivor).leader.is_some_and(|leader| leader != first));
    assert!(matches!(ask(&mut world, 1, survivor, &put("k", "b")), Outcome::Ok(_)));
    world.disk(first, &DiskFault::Recover).expect("there is such a member");
    run(&mut world, 5_000);
    assert_eq!(world.status(first).revision, world.status(survivor).revision);
}

#[test]
fn a_disk_error_ends_the_process_with_etcds_words() {
    let mut world = cluster(5, 3);
    let place = (leader(&mut world) + 1) % 3;
    world.disk(place, &DiskFault::SyncError).expect("there is such a member");
    world.invoke(OpId(0), ClientId(0), place, &put("k", "v"), Duration::from_secs(5));
    let exit = run(&mut world, 5_000).into_iter().find_map(|event| match event {
        WorldEvent::Exited { member, exit } => Some((member, exit.code)),
        _ => None,
    });
    assert_eq!(exit, Some((place, 1)));
    assert!(world.log_contains(place, "failed to save Raft hard state and entries"));
}

#[test]
fn a_stopped_leader_hands_over_before_it_ends() {
    let mut world = cluster(6, 3);
    let first = leader(&mut world);
    world.stop(first).expect("it runs");
    run(&mut world, 1_000);
    assert_eq!(world.status(first).exit.map(|exit| exit.code), Some(143));
    let survivor = (first + 1) % 3;
    assert!(world.status(survivor).leader.is_some_and(|leader| leader != first));
}

#[test]
fn joining_a_cluster_that_does_not_exist_fails_with_etcds_words() {
    let mut world = LoopWorld::new(Options::new(1));
    world.add_member(&MemberName("n1".to_owned())).expect("a new name");
    let mut existing = world.founder(0, 3);
    existing.flags.push(("initial-cluster-state".to_owned(), "existing".to_owned()));
    world.start(0, &existing).expect("it does not run");
    let events = run(&mut world, 2_000);
    assert!(matches!(&events[..], [WorldEvent::Exited { exit, .. }] if exit.code == 1));
    assert!(world.log_contains(0, "cannot fetch cluster info from peer urls"));
}

#[test]
fn equal_seeds_make_equal_runs_of_members_whatever_the_codec() {
    let trace = |seed, codec| {
        let mut world = cluster_with(Options { codec, ..Options::new(seed) }, 3);
        for op in 0..20 {
            ask(&mut world, op, (op % 3) as usize, &put("k", &op.to_string()));
        }
        world.power_loss(&[1]).expect("there is such a member");
        run(&mut world, 2_000);
        world.trace_hash()
    };
    let plain = trace(9, false);
    assert_eq!(plain, trace(9, false));
    assert_eq!(plain, trace(9, true));
    assert_ne!(plain, trace(10, false));
}
