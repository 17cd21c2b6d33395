//! The process world with a real etcd: what the simulation is compared with must work itself.

use std::time::Duration;

use detsim::world::process::{Leave, Links, ProcessWorld};
use detsim::world::{End, Exit, Launch, MessageClass, NetworkFault, World, WorldEvent};
use detsim_reports::record::{
    Blob, Body, Call, ClientId, MemberName, OpId, Outcome, Put, Range, Reply, Watch, WatchMessage,
};

use crate::peers;

const PATIENCE: Duration = Duration::from_secs(30);

/// A world with what a test needs to drive it.
struct Cluster {
    world: ProcessWorld,
    next_op: u32,
    watched: Vec<WatchMessage>,
    exits: Vec<(usize, Exit)>,
}

impl Cluster {
    fn new(test: &str, size: usize) -> Option<Cluster> {
        Cluster::linked(test, size, Links::Direct)
    }

    fn linked(test: &str, size: usize, links: Links) -> Option<Cluster> {
        let etcd = peers::etcd(test)?;
        let mut world = ProcessWorld::new(&etcd, links, Leave::Nothing).unwrap();
        for place in 0..size {
            assert_eq!(world.add_member(&MemberName(format!("n{}", place + 1))).unwrap(), place);
        }
        Some(Cluster { world, next_op: 0, watched: Vec::new(), exits: Vec::new() })
    }

    fn launch(&self, state: &str) -> Launch {
        let members = self.world.members().iter().enumerate();
        let cluster: Vec<String> = members
            .map(|(place, name)| format!("{}={}", name.0, self.world.peer_url(place)))
            .collect();
        let flag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let flags = vec![
            flag("initial-cluster", &cluster.join(",")),
            flag("initial-cluster-state", state),
            flag("initial-cluster-token", "process-world"),
            flag("heartbeat-interval", "50"),
            flag("election-timeout", "500"),
        ];
        Launch { flags, wipe: false }
    }

    fn start(&mut self, members: std::ops::Range<usize>) {
        let launch = self.launch("new");
        for member in members.clone() {
            self.world.start(member, &launch).unwrap();
        }
        for member in members {
            self.until(|cluster| cluster.world.status(member).leader.is_some());
        }
    }

    /// Moves time in small steps until something holds.
    fn until(&mut self, mut holds: impl FnMut(&mut Cluster) -> bool) {
        let deadline = self.world.now().after(PATIENCE);
        while !holds(self) {
            assert!(self.world.now() < deadline, "it did not happen within {PATIENCE:?}");
            let soon = self.world.now().after(Duration::from_millis(20));
            let event = self.world.advance(soon);
            self.note(event);
        }
    }

    fn note(&mut self, event: WorldEvent) -> Option<(OpId, Outcome)> {
        match event {
            WorldEvent::Completed { op, outcome } => return Some((op, outcome)),
            WorldEvent::Watched { message, .. } => self.watched.push(message),
            WorldEvent::Exited { member, exit } => self.exits.push((member, exit)),
            WorldEvent::Restored { .. } | WorldEvent::Trapped { .. } | WorldEvent::Reached => {}
        }
        None
    }

    fn invoke(&mut self, member: usize, call: &Call, timeout: Duration) -> OpId {
        let op = OpId(self.next_op);
        self.next_op += 1;
        self.world.invoke(op, ClientId(0), member, call, timeout);
        op
    }

    fn outcome(&mut self, op: OpId) -> Outcome {
        let deadline = self.world.now().after(PATIENCE);
        while self.world.now() < deadline {
            let event = self.world.advance(deadline);
            match self.note(event) {
                Some((ended, outcome)) if ended == op => return outcome,
                _ => {}
            }
        }
        panic!("{op:?} did not end within {PATIENCE:?}");
    }

    fn call(&mut self, member: usize, call: &Call) -> Outcome {
        let op = self.invoke(member, call, Duration::from_secs(10));
        self.outcome(op)
    }

    fn ok(&mut self, member: usize, call: &Call) -> Reply {
        match self.call(member, call) {
            Outcome::Ok(reply) => reply,
            other => panic!("{call:?} ended with {other:?}"),
        }
    }

    fn value(&mut self, member: usize, key: &str) -> Option<Blob> {
        let call = Call::Range(Range { key: Blob::text(key), ..Range::default() });
        let Body::Range(range) = self.ok(member, &call).body else { panic!("not a range") };
        range.kvs.into_iter().next().map(|kv| kv.value)
    }
}

fn put(key: &str, value: &str) -> Call {
    Call::Put(Put { key: Blob::text(key), value: Blob::text(value), ..Put::default() })
}

#[test]
fn a_member_keeps_what_it_acknowledged_when_it_is_killed() {
    let Some(mut cluster) = Cluster::new("a member is killed and restarted", 1) else { return };
    cluster.start(0..1);
    assert_eq!(cluster.ok(0, &put("k", "v")).header.revision, 2);
    cluster.world.kill(0).unwrap();
    let status = cluster.world.status(0);
    assert_eq!(status.exit.map(|exit| exit.code), Some(137));
    assert!(matches!(cluster.call(0, &put("k", "w")), Outcome::Fail(_)), "nobody listens");
    cluster.start(0..1);
    assert_eq!(cluster.value(0, "k"), Some(Blob::text("v")));
    assert!(cluster.exits.is_empty(), "a killed process did not end by itself");
}

#[test]
fn three_members_serve_watch_and_survive_one() {
    let Some(mut cluster) = Cluster::new("three members", 3) else { return };
    cluster.start(0..3);
    let leader = cluster.world.status(0).leader.unwrap();
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let watch = Watch { key: Blob::text("k"), request_progress_ms: 100, ..Watch::default() };
    let op = cluster.invoke(one, &Call::Watch(watch), Duration::from_secs(10));
    cluster.until(|cluster| cluster.watched.iter().any(|message| message.created));
    cluster.ok(leader, &put("k", "v"));
    cluster.until(|cluster| cluster.watched.iter().any(|message| !message.events.is_empty()));
    cluster.until(|cluster| cluster.watched.iter().any(|message| message.progress));
    let event = cluster.watched.iter().flat_map(|message| &message.events).next().unwrap();
    assert_eq!((event.is_delete, &event.kv.value), (false, &Blob::text("v")));
    cluster.world.close(op);
    let Outcome::Ok(closed) = cluster.outcome(op) else { panic!("the watch broke") };
    assert_eq!((closed.body, closed.header.revision), (Body::WatchClosed, 2));

    cluster.world.kill(leader).unwrap();
    cluster.until(|cluster| cluster.world.status(one).leader.is_some_and(|now| now != leader));
    cluster.ok(other, &put("k", "w"));
    assert_eq!(cluster.value(one, "k"), Some(Blob::text("w")));
}

#[test]
fn a_leader_that_is_cut_off_loses_its_office_and_its_writes() {
    let Some(mut cluster) = Cluster::linked("a cut link", 3, Links::Relayed) else { return };
    cluster.start(0..3);
    let leader = cluster.world.status(0).leader.unwrap();
    let rest = [(leader + 1) % 3, (leader + 2) % 3];
    for member in rest {
        for (from, to) in [(leader, member), (member, leader)] {
            let (from, to) = (End::Member(from), End::Member(to));
            let cut = NetworkFault::Cut { from, to, class: MessageClass::All };
            cluster.world.network(&cut).unwrap();
        }
    }
    let op = cluster.invoke(leader, &put("k", "minority"), Duration::from_secs(2));
    assert!(matches!(cluster.outcome(op), Outcome::Unknown(_)));
    cluster.until(|cluster| cluster.world.status(rest[0]).leader.is_some_and(|now| now != leader));
    cluster.ok(rest[0], &put("k", "majority"));
    cluster.world.network(&NetworkFault::HealAll).unwrap();
    cluster.until(|cluster| {
        let leaders = [0, 1, 2].map(|member| cluster.world.status(member).leader);
        leaders[0].is_some() && leaders.iter().all(|one| *one == leaders[0])
    });
    assert_eq!(cluster.value(leader, "k"), Some(Blob::text("majority")));
}

#[test]
fn a_paused_member_leaves_a_write_unknown_and_goes_on_when_resumed() {
    let Some(mut cluster) = Cluster::new("a paused member", 1) else { return };
    cluster.start(0..1);
    cluster.world.pause(0).unwrap();
    let op = cluster.invoke(0, &put("k", "v"), Duration::from_millis(300));
    assert!(matches!(cluster.outcome(op), Outcome::Unknown(_)));
    let status = cluster.world.status(0);
    assert!(status.running && !status.ready);
    cluster.world.resume(0).unwrap();
    cluster.until(|cluster| cluster.world.status(0).ready);
    cluster.ok(0, &put("k", "w"));
}

#[test]
fn joining_a_cluster_that_does_not_exist_ends_the_process() {
    let Some(mut cluster) = Cluster::new("a wrong initial-cluster-state", 3) else { return };
    let launch = cluster.launch("existing");
    cluster.world.start(0, &launch).unwrap();
    cluster.until(|cluster| !cluster.exits.is_empty());
    let reason = "cannot fetch cluster info from peer urls: could not retrieve cluster \
                  information from the given URLs";
    assert_eq!(cluster.exits, [(0, Exit { code: 1, reason: reason.to_owned() })]);
    assert!(cluster.world.log_contains(0, "discovery failed"));
    assert!(!cluster.world.log_contains(0, "ready to serve client requests"));
}

#[test]
fn a_stopped_member_says_goodbye_and_a_wiped_one_has_forgotten() {
    let Some(mut cluster) = Cluster::new("a stopped member", 1) else { return };
    cluster.start(0..1);
    cluster.ok(0, &put("k", "v"));
    cluster.world.stop(0).unwrap();
    cluster.until(|cluster| !cluster.exits.is_empty());
    assert_eq!((cluster.exits[0].0, cluster.exits[0].1.code), (0, 143));
    assert!(cluster.world.log_contains(0, "closed etcd server"));
    let launch = Launch { wipe: true, ..cluster.launch("new") };
    cluster.world.start(0, &launch).unwrap();
    cluster.until(|cluster| cluster.world.status(0).leader.is_some());
    assert_eq!(cluster.value(0, "k"), None);
}
