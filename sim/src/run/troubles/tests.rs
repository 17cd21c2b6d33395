//! What runs leave of their faults: which begin, which end, and with whom.

use std::collections::BTreeMap;

use detsim_reports::record::{FaultKind, Mark, RunRecord, Verdict};

use crate::language::parse;
use crate::run::{Setup, VOCABULARY, loop_world, run};

fn of(faults: &str) -> RunRecord {
    let text = format!(
        "option database=pages\ncluster n1 n2 n3\nstart all\nexpect all ready\nput k v\nwait 1s\n\
         {faults}\nwait 1s\nconverge within=20s\n"
    );
    let script = parse("test", &text, VOCABULARY).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let setup = Setup { scenario: "test", script: &script, seed: 1 };
    let record = run(&setup, &mut loop_world(&script, 1));
    assert_eq!(record.verdict, Verdict::Passed, "{:?} {}", record.findings, record.reason);
    record
}

/// Each fault by what began it, with what ended it.
fn spans(record: &RunRecord) -> Vec<(FaultKind, String, String)> {
    let mut spans = Vec::new();
    let mut open: BTreeMap<u32, usize> = BTreeMap::new();
    for incident in &record.history.incidents {
        for mark in &incident.marks {
            match mark {
                Mark::Begins(fault) => {
                    assert!(open.insert(fault.id, spans.len()).is_none());
                    spans.push((fault.kind, incident.what.clone(), "lasts".to_owned()));
                }
                Mark::Ends { fault, .. } => {
                    let place = open.remove(fault).expect("it began");
                    // A process says more of its end than a test wants to know.
                    let what = incident.what.split(" code=").next();
                    spans[place].2 = what.unwrap_or_default().to_owned();
                }
                Mark::Happens { fault, .. } => {
                    spans.push((fault.kind, incident.what.clone(), "at once".to_owned()));
                }
                Mark::Started(_) | Mark::Ended(_) => {}
            }
        }
    }
    spans
}

fn check(faults: &str, expected: &[(FaultKind, &str, &str)]) {
    let seen = spans(&of(faults));
    let expected: Vec<(FaultKind, String, String)> = expected
        .iter()
        .map(|(kind, begins, ends)| (*kind, (*begins).to_owned(), (*ends).to_owned()))
        .collect();
    assert_eq!(seen, expected, "{faults}");
}

#[test]
fn a_cut_ends_when_every_link_of_it_is_healed_however_the_sides_are_written() {
    let cut = "cut n1 n2 -> n3 class=appends";
    check(&format!("{cut}\nheal n1 n2 | n3"), &[(FaultKind::Cut, cut, "heal n1 n2 | n3")]);
    check(&format!("{cut}\nheal n1 | n3\nheal n3 | n2"), &[(FaultKind::Cut, cut, "heal n3 | n2")]);
    check(&format!("{cut}\nheal n1 | n3\nheal"), &[(FaultKind::Cut, cut, "heal")]);
}

#[test]
fn clocks_are_wrong_until_they_are_right() {
    for fault in ["freeze", "drift=+200ppm", "wall-drift=-500ppm", "freeze-wall"] {
        let begins = format!("clock n1 {fault}");
        let ends = "clock n1 drift=+0ppm";
        check(&format!("{begins}\n{ends}"), &[(FaultKind::Clock, &begins, ends)]);
        check(&format!("{begins}\nheal"), &[(FaultKind::Clock, &begins, "heal")]);
    }
    check(
        "clock n1 jump=+3s\nclock n1 jump=+5s\nclock n1 jump=-5s",
        &[
            (FaultKind::Clock, "clock n1 jump=+3s", "lasts"),
            (FaultKind::Clock, "clock n1 jump=+5s", "clock n1 jump=-5s"),
        ],
    );
    check(
        "clock n1 freeze-wall\nclock n1 drift=+9ppm\nheal",
        &[
            (FaultKind::Clock, "clock n1 freeze-wall", "clock n1 drift=+9ppm"),
            (FaultKind::Clock, "clock n1 drift=+9ppm", "heal"),
        ],
    );
}

#[test]
fn disks_processors_and_kills_to_come_last_until_they_end() {
    for fault in ["hang", "sync-latency=20ms", "syncs-lie", "names-lie"] {
        let begins = format!("disk n1 {fault}");
        let ends = "disk n1 recover";
        check(&format!("{begins}\n{ends}"), &[(FaultKind::Disk, &begins, ends)]);
    }
    check(
        "processor n1 step=2ms\nprocessor n1 step=4ms\nprocessor n1 step=0s",
        &[
            (FaultKind::Processor, "processor n1 step=2ms", "processor n1 step=4ms"),
            (FaultKind::Processor, "processor n1 step=4ms", "processor n1 step=0s"),
        ],
    );
    check(
        "kill-at n1 before=sync\nput k v via=n2; expect any\nwait 1s\nkill-at n2 before=sync count=99\n\
         kill-at n2 never\nstart n1",
        &[
            (FaultKind::KillToCome, "kill-at n1 before=sync", "kill n1"),
            (FaultKind::KillToCome, "kill-at n2 before=sync count=99", "kill-at n2 never"),
        ],
    );
}

#[test]
fn what_is_on_a_disk_is_wrong_until_the_disk_is_another() {
    check(
        "disk n1 remember\nkill n1\ndisk n1 rot-value\nstart n1\nkill n1",
        &[
            (FaultKind::Operation, "disk n1 remember", "at once"),
            (FaultKind::Damage, "disk n1 rot-value", "lasts"),
        ],
    );
    check(
        "disk n1 write-error\nput k v via=n2; expect any\nexpect n1 exits code=1\nstart n1",
        &[(FaultKind::Disk, "disk n1 write-error", "n1 exits")],
    );
}

#[test]
fn several_that_suffer_the_same_suffer_one_fault() {
    check(
        "pause n2 n3\nresume n2\nresume n3\nreset n1 | n2\nrestart n3",
        &[
            (FaultKind::Pause, "pause n2 n3", "resume n3"),
            (FaultKind::Connection, "reset n1 | n2", "at once"),
            (FaultKind::Stop, "restart n3", "at once"),
        ],
    );
    check("pause n2\nkill n2\nstart n2", &[(FaultKind::Pause, "pause n2", "kill n2")]);
}
