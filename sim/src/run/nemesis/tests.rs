//! Every nemesis begins, has its effect, ends and heals, in the simulated world.

use std::collections::BTreeSet;

use detsim_reports::record::{Effect, Incident, Mark, RunRecord, Verdict};

use super::KINDS;
use crate::language::parse;
use crate::run::{Setup, VOCABULARY, loop_world, run};

/// Runs one nemesis over a small load.
fn under(nemesis: &str, seed: u64) -> RunRecord {
    // What damages databases needs some.
    let database = if nemesis.starts_with("damaged-files") { "pages" } else { "none" };
    let text = format!(
        "option wal-segment=64KB database={database}\ncluster n1 n2 n3\nmember n4\nstart all\nexpect all ready\n\
         wait 6s\nworkload register clients=3 rate=60/s\nnemesis {nemesis}\nrun 12s\nheal\n\
         converge within=20s\ncheck linearizability log replicas raft\n"
    );
    let script = parse("test", &text, VOCABULARY).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let mut world = loop_world(&script, seed);
    let setup = Setup { scenario: "test", script: &script, seed };
    let record = run(&setup, &mut world);
    let why = format!("{nemesis}: {:?} {}\n{}", record.findings, record.reason, record.plan);
    assert_eq!(record.verdict, Verdict::Passed, "{why}");
    assert!(record.history.healed.is_some(), "{why}");
    record
}

/// What each nemesis is told, how its fault begins, what must be seen after it, and what it must
/// have done; nothing where that is seen at once: a process ends, an operation succeeds.
const FAULTS: &[(&str, &str, &str, &str)] = &[
    ("partition shape=leader every=1s for=2s", "cut n", "heal n", "messages held"),
    ("one-way every=1s for=2s", "cut n", "heal n", "messages held"),
    ("flapping every=1s for=2s", "cut n", "heal n", "messages held"),
    ("messages every=1s for=2s", "cut n", "heal n", "messages lost"),
    ("slow-link every=1s for=2s", "link n", "link n", "messages slowed"),
    ("lossy every=1s for=2s", "link n", "link n", "messages sent again"),
    ("slow-link clients=100% every=1s for=2s", "| clients", "| clients", "messages slowed"),
    ("lossy clients=100% every=1s for=2s", "| clients", "| clients", "messages sent again"),
    ("heavy-tail clients=100% every=1s for=2s", "| clients", "| clients", "messages slowed"),
    ("narrow clients=100% every=1s for=2s", "| clients", "| clients", "messages slowed"),
    ("heavy-tail every=1s for=2s", "link n", "link n", "messages slowed"),
    ("narrow every=1s for=2s", "link n", "link n", "messages slowed"),
    ("reset every=1s", "reset n", "reset n", "connections broken"),
    ("half-open every=1s", "half-open n", "half-open n", "connections broken"),
    ("clients every=1s for=1s", "cut ", "heal ", "messages held"),
    ("kill every=1s for=1s", "kill n", "start n", ""),
    ("kill-at at=sync every=1s for=1s", "kill-at n", "start n", ""),
    ("power-loss every=1s for=1s", "power-loss n", "start n", ""),
    ("power-loss busy=100% every=1s for=1s", "disk n", "start n", "syncs slowed"),
    ("pause every=1s for=1s", "pause n", "resume n", "events held"),
    ("slow-processor every=1s for=1s", "processor n", "step=0s", "steps slowed"),
    ("restart every=2s", "restart n", "start n", ""),
    ("reconfigure every=2s for=2s", "restart n", "heartbeat-interval=100", ""),
    ("reconfigure flags=pre-vote every=2s for=2s", "pre-vote=false", "pre-vote=true", ""),
    ("reconfigure flags=snapshot-count every=2s for=2s", "snapshot-count=1", "count=10000", ""),
    ("hang every=1s for=1s", "disk n", "recover", "operations hung"),
    ("slow-disk every=1s for=1s", "disk n", "recover", "syncs slowed"),
    ("full every=1s for=1s", "disk n", "start n", "operations refused"),
    ("read-only every=1s for=1s", "disk n", "start n", "operations refused"),
    ("lost-files every=1s for=1s", "kill n", "lose-", "damages"),
    ("damaged-files every=1s for=1s what=meta,cut-database", "disk n", "start n", "damages"),
    ("sync-error every=1s for=1s", "disk n", "start n", "operations failed"),
    ("write-error every=1s for=1s", "disk n", "start n", "operations failed"),
    ("read-error every=1s for=1s", "kill n", "start n", "operations failed"),
    ("rot every=1s for=1s", "disk n", "start n", "damages"),
    ("lies about=syncs,names every=1s for=1s", "disk n", "power-loss n", "syncs faked"),
    ("lies about=lost-write every=1s for=1s", "disk n", "power-loss n", "writes lost"),
    ("roll-back every=1s for=1s", "disk n", "roll-back", "damages"),
    ("clock every=1s for=1s", "clock n", "clock n", "microseconds of wall clock error"),
    ("drift every=1s for=1s", "clock n", "drift=+0ppm", "microseconds of wall clock error"),
    ("strobe every=1s for=1s", "clock n", "clock n", "microseconds of wall clock error"),
    ("freeze every=1s for=1s", "clock n", "drift=+0ppm", "microseconds of wall clock error"),
    ("membership change=replace every=1s for=2s", "member-remove n", "start n", ""),
    ("defragment every=1s", "defragment via=n", "succeeds", ""),
    ("move-leader every=1s", "move-leader n", "succeeds", ""),
    ("calls every=1s", "", "succeeds", ""),
];

/// The first incident that says so, from a place on.
fn find<'r>(record: &'r RunRecord, what: &str, from: usize) -> Option<(usize, &'r Incident)> {
    let incidents = record.history.incidents.iter().enumerate().skip(from);
    let mut incidents = incidents.filter(|(_, it)| !it.what.starts_with("start n1 n2 n3"));
    incidents.find(|(_, it)| it.what.contains(what))
}

/// What all faults of a run have done.
fn effect(record: &RunRecord) -> Effect {
    let mut done = Effect::new();
    let marks = record.history.incidents.iter().flat_map(|it| &it.marks);
    let unended = record.history.unended.iter().map(|(_, effect)| effect);
    for (what, many) in marks.filter_map(Mark::effect).chain(unended).flatten() {
        *done.entry(what.clone()).or_default() += many;
    }
    done
}

#[test]
fn every_nemesis_begins_has_its_effect_and_ends_and_the_cluster_heals() {
    let tested: BTreeSet<&str> =
        FAULTS.iter().filter_map(|(nemesis, ..)| nemesis.split(' ').next()).collect();
    let known: BTreeSet<&str> = KINDS.iter().map(|entry| entry.name).collect();
    assert_eq!(tested, known);
    for (nemesis, begins, ends, does) in FAULTS {
        let record = under(nemesis, 1);
        let seen = || {
            let incidents = record.history.incidents.iter();
            incidents.map(|it| format!("{:?} {}\n", it.at, it.what)).collect::<String>()
        };
        let Some((begun, begin)) = find(&record, begins, 0) else {
            panic!("{nemesis}: no `{begins}` in\n{}", seen());
        };
        let Some((_, end)) = find(&record, ends, begun + 1) else {
            panic!("{nemesis}: no `{ends}` after `{}` in\n{}", begin.what, seen());
        };
        assert!(begin.at <= end.at);
        let done = effect(&record);
        let has_done = done.get(*does).is_some_and(|many| *many > 0);
        assert!(has_done || does.is_empty(), "{nemesis} has done {done:?}, not {does}\n{}", seen());
    }
}

/// The exits of members by themselves.
fn exits(nemesis: &str) -> Vec<String> {
    let record = under(nemesis, 2);
    record.history.exits.iter().map(|exit| exit.reason.clone()).collect()
}

#[test]
fn failing_disks_end_members_and_every_member_comes_back() {
    for fault in ["full", "sync-error", "write-error", "read-error"] {
        let record = under(&format!("{fault} every=1s for=1s"), 2);
        assert!(!record.history.exits.is_empty(), "{fault} ended nobody");
        assert!(record.history.exits.iter().all(|exit| exit.expected), "{fault}");
        assert_eq!(record.history.survivors.len(), 3, "{fault}");
    }
}

#[test]
fn a_rotten_log_is_refused_by_one_member_of_three_and_never_more() {
    let exits = exits("rot every=500ms for=500ms");
    assert!(!exits.is_empty());
    assert!(exits.iter().all(|reason| reason.contains("crc mismatch")), "{exits:?}");
    assert_eq!(under("rot every=500ms for=500ms", 3).history.survivors.len(), 2);
}

#[test]
fn a_member_whose_disk_lied_or_went_back_counts_as_failed() {
    for fault in [
        "lies about=syncs",
        "lies about=names",
        "lies about=lost-write",
        "lies about=misdirected-write",
        "roll-back",
    ] {
        let record = under(&format!("{fault} every=1s for=1s"), 4);
        assert_eq!(record.history.survivors.len(), 2, "{fault}: {}", record.plan);
    }
}

#[test]
fn a_member_whose_disk_lied_is_replaced_by_a_new_one() {
    let text = "cluster n1 n2 n3\nstart all\nexpect all ready\nwait 6s\n\
                workload register clients=3 rate=60/s\n\
                nemesis lies targets=follower every=1s for=1s\n\
                nemesis membership change=replace every=4s for=2s\nrun 20s\nheal\n\
                converge within=20s\ncheck all\n";
    let script = parse("test", text, VOCABULARY).expect("it is a script");
    let record =
        run(&Setup { scenario: "test", script: &script, seed: 1 }, &mut loop_world(&script, 1));
    assert_eq!(record.verdict, Verdict::Passed, "{:?}\n{}", record.findings, record.plan);
    let (lost, _) = find(&record, "power-loss n", 0).expect("somebody's disk lied");
    let (added, _) = find(&record, "member-add n", lost).expect("somebody is replaced");
    assert!(find(&record, " wipe state=existing", added).is_some());
}

#[test]
fn no_disk_begins_to_lie_while_a_change_of_the_configuration_has_no_answer() {
    let text = "option latency=20ms..30ms\n\
                cluster n1 n2 n3 n4 n5 heartbeat-interval=200 election-timeout=2000\nstart all\n\
                expect all ready\nwait 6s\nnemesis membership change=replace every=1s for=1s\n\
                nemesis lies about=syncs every=200ms for=100ms\nrun 30s\nheal\n";
    let script = parse("test", text, VOCABULARY).expect("it is a script");
    let (mut asked, mut begun) = (0, 0);
    for seed in 1..=8 {
        let record = run(&Setup { scenario: "test", script: &script, seed }, &mut {
            loop_world(&script, seed)
        });
        let mut is_changing = false;
        for incident in &record.history.incidents {
            let what = incident.what.as_str();
            if what.starts_with("member-") {
                is_changing = ["succeeds", "fails"].iter().all(|end| !what.contains(end));
                asked += usize::from(is_changing);
            } else if what.ends_with("syncs-lie") {
                assert!(!is_changing, "seed {seed}: {what} at {:?}", incident.at);
                begun += 1;
            }
        }
    }
    assert!(asked > 8 && begun > 8, "{asked} changes, {begun} disks");
}

#[test]
fn who_comes_back_as_somebody_else_is_told_to_have_lost_its_disk() {
    let text = "cluster n1 n2 n3\nstart all\nexpect all ready\nwait 6s\n\
                workload register clients=3 rate=60/s\n\
                nemesis membership change=replace targets=follower every=3s for=8s\nrun 9s\n\
                heal\nconverge within=20s\nwait 2s\ncheck all\n";
    let script = parse("test", text, VOCABULARY).expect("it is a script");
    let record =
        run(&Setup { scenario: "test", script: &script, seed: 1 }, &mut loop_world(&script, 1));
    assert_eq!(record.verdict, Verdict::Passed, "{:?}\n{}", record.findings, record.plan);
    let mut incidents = record.history.incidents.iter();
    assert!(incidents.any(|it| it.what.starts_with("start n") && it.what.ends_with(" wipe")));
}

#[test]
fn a_kill_at_a_moment_takes_place_and_is_replayed() {
    let text = "cluster n1 n2 n3\nstart all\nexpect all ready\n\
                workload register clients=3 rate=60/s\nat 1s kill-at n2 after=sync count=5\n\
                at 1s kill-at leader before=appends count=9\nat 3s start all\nrun 5s\n\
                converge\ncheck all\n";
    let script = parse("test", text, VOCABULARY).expect("it is a script");
    let first =
        run(&Setup { scenario: "test", script: &script, seed: 5 }, &mut loop_world(&script, 5));
    assert_eq!(first.verdict, Verdict::Passed, "{:?}\n{}", first.findings, first.plan);
    let kills = first.history.incidents.iter().filter(|it| it.what.starts_with("kill n"));
    assert!(kills.count() >= 1);
    let plan = parse("plan", &first.plan, VOCABULARY).expect("it is a script");
    let again = run(&Setup { scenario: "test", script: &plan, seed: 5 }, &mut loop_world(&plan, 5));
    assert_eq!(again.trace_hash, first.trace_hash);
    assert_eq!(again.history, first.history);
}
