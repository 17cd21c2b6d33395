//! Pages of records that are written by hand: their structure, their figures, and that nothing in
//! a record can break out of its place.

use super::lives::{Lives, State};
use super::*;
use crate::record::{Blob, Effect, Fault, FaultKind, Finding, Incident, Mark, Severity};
use crate::tests::{History, healthy, ms, stale_read};

/// What the page's script is given.
fn view(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once("id=\"run\">").unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

fn band_texts(run: &RunRecord) -> Vec<(String, Option<u64>, String)> {
    let lives = Lives::of(run);
    let bands = bands::bands(run, &lives);
    bands.into_iter().map(|it| (it.what, it.to.map(|to| to / 1_000_000), it.ended_by)).collect()
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let text = page(&stale_read());
    assert!(text.starts_with("<!doctype html>"));
    for outside in ["http://", "https://", "src=", "@import", "url(", "<link"] {
        assert!(!text.contains(outside), "{outside}");
    }
    assert!(text.contains("default-src 'none'"));
}

#[test]
fn every_operation_that_proves_a_finding_is_linked_and_the_command_is_there() {
    let run = stale_read();
    let text = page(&run);
    for op in &run.findings[0].operations {
        assert!(text.contains(&format!("<a href=\"#op-{0}\" data-op=\"{0}\">#{0}</a>", op.0)));
    }
    assert!(text.contains(">detsim replay partition/leader-isolated --seed 7<"));
    assert!(text.contains("put x = 2"));
    assert!(text.contains("1 @2 · rev 2"));
    assert!(text.contains("watch: the history holds no watch"));
    assert!(text.contains("cluster n1 n2 n3"));
    let data = view(&text);
    assert_eq!(data["findings"][0]["ops"], serde_json::json!([2, 4]));
    assert_eq!(data["findings"][0]["from"], 5_000_000_000_u64);
}

#[test]
fn findings_of_many_operations_link_all_of_them() {
    let mut history = History::new(1);
    let ops: Vec<OpId> = (0..100).map(|at| history.put(0, at, "k", "v")).collect();
    let mut run = history.run;
    run.findings = vec![Finding { operations: ops, ..stale_read().findings[0].clone() }; 4];
    let text = page(&run);
    assert_eq!(text.matches("data-op=\"99\">#99</a>").count(), 4);
    assert_eq!(text.matches("<details").count(), 4);
    assert_eq!(text.matches("\" open>").count(), 2);
}

#[test]
fn a_finding_says_what_the_cluster_was_at_that_moment() {
    let text = page(&stale_read());
    assert!(text.contains(
        "At that moment: n1 leads in term 2, n2 leads in term 3, n3 follows in term 3; \
         cut n1 | n2 n3 since 3.000 s."
    ));
}

#[test]
fn a_run_without_findings_says_so() {
    let text = page(&healthy());
    assert!(text.contains("Nothing was found."));
    assert!(text.contains("class=\"verdict passed\""));
    let data = view(&text);
    assert_eq!(data["ops"]["outcome"], "oo");
    assert_eq!(data["ops"]["call"][0], "put k = v");
    assert_eq!(data["keys"][0]["rows"][0][7], serde_json::json!([1]));
}

#[test]
fn members_live_through_elections_and_restarts() {
    let lives = Lives::of(&stale_read());
    let shown = |member: usize| -> Vec<(u64, State, u64)> {
        lives.0[member].iter().map(|it| (it.from / 1_000_000, it.state, it.term)).collect()
    };
    use State::{Candidate, Down, Follower, Leader, Up};
    assert_eq!(
        shown(0),
        [
            (0, Up, 0),
            (10, Follower, 1),
            (1_000, Candidate, 2),
            (1_100, Leader, 2),
            (9_100, Follower, 3)
        ]
    );
    assert_eq!(
        shown(2),
        [
            (0, Up, 0),
            (10, Follower, 1),
            (1_110, Follower, 2),
            (4_240, Follower, 3),
            (7_000, Down, 3),
            (8_000, Up, 3),
            (8_050, Follower, 3)
        ]
    );
    assert_eq!(lives.at(1, ms(5_000).0).unwrap().leader, Some(1));
    assert!(lives.0.iter().all(|life| life.last().unwrap().to == ms(12_000).0));
}

#[test]
fn faults_last_until_something_ends_them() {
    assert_eq!(
        band_texts(&stale_read()),
        [
            ("cut n1 | n2 n3".to_owned(), Some(9_000), "heal n1 | n2 n3".to_owned()),
            ("kill n3".to_owned(), Some(8_000), "started again".to_owned()),
        ]
    );
    let mut history = History::new(3);
    history.starts(0, &[0, 1, 2], "start n1 n2 n3");
    history.begins(10, (0, FaultKind::Disk), &[0], "disk n1 hang");
    history.begins(20, (1, FaultKind::Pause), &[1, 2], "pause n2 n3");
    history.incident(30, &[1], "resume n2");
    history.ends(40, &[1], "resume n3");
    history.begins(50, (2, FaultKind::Clock), &[0], "clock n1 freeze-wall");
    history.begins(60, (3, FaultKind::Processor), &[0], "processor n1 step=2ms");
    history.ends(100, &[0], "disk n1 recover");
    history.stops(110, &[1], "n2 exits code=0");
    history.ends(130, &[2, 99], "heal");
    let fault = Fault { id: 4, kind: FaultKind::Connection, members: vec![], links: vec![] };
    let effect: Effect = [("connections reset".to_owned(), 2)].into();
    history.marked(140, &[], "reset n1 | n2", vec![Mark::Happens { fault, effect }]);
    let ends: Vec<Option<u64>> = band_texts(&history.run).into_iter().map(|it| it.1).collect();
    let reset = Some(140);
    assert_eq!(
        ends,
        [Some(100), Some(40), Some(130), None, None, reset],
        "hang, pause, wall clock, slow processor, exit, reset"
    );
    let data = view(&page(&history.run));
    assert_eq!(data["bands"][5]["effect"], serde_json::json!(["2 connections reset"]));
    assert_eq!(data["bands"][3]["kind"], "process");
}

#[test]
fn a_finding_names_every_fault_that_lasts() {
    let mut run = stale_read();
    let mut history = History::new(3);
    history.starts(0, &[0, 1, 2], "start n1 n2 n3");
    history.begins(10, (0, FaultKind::Clock), &[0], "clock n1 freeze-wall");
    history.begins(20, (1, FaultKind::Processor), &[1], "processor n2 step=2ms");
    history.begins(30, (2, FaultKind::Damage), &[2], "disk n3 rot-value");
    history.begins(40, (3, FaultKind::Disk), &[1], "disk n2 syncs-lie");
    history.ends(50, &[3], "disk n2 recover");
    run.history.incidents = history.run.history.incidents;
    assert!(page(&run).contains(
        "clock n1 freeze-wall since 0.010 s, processor n2 step=2ms since 0.020 s, \
         disk n3 rot-value since 0.030 s."
    ));
}

#[test]
fn a_member_that_is_asked_to_restart_comes_back() {
    let mut history = History::new(1);
    history.starts(0, &[0], "start n1");
    let fault = Fault { id: 0, kind: FaultKind::Stop, members: vec![0], links: vec![] };
    let marks = vec![Mark::Happens { fault, effect: Effect::new() }];
    history.marked(10, &[0], "restart n1", marks);
    history.stops(20, &[0], "n1 exits code=0");
    history.starts(20, &[0], "start n1");
    history.incident(30, &[], "heal");
    let lives = Lives::of(&history.run);
    assert!(lives.0[0].iter().all(|it| it.state == State::Up));
    assert_eq!(band_texts(&history.run).len(), 1);
}

#[test]
fn hostile_values_stay_text() {
    let evil = "</script><script>alert(1)</script>";
    let mut history = History::new(1);
    history.starts(0, &[0], &format!("start {evil}"));
    let put = history.put(0, 1, evil, "<!--<b>&\u{202e}");
    history.unknown(put, 5);
    let mut run = history.run;
    run.scenario = evil.to_owned();
    run.world = evil.to_owned();
    run.plan = evil.to_owned();
    run.reason = evil.to_owned();
    run.checked = vec![evil.to_owned()];
    run.history.members[0].0 = evil.to_owned();
    run.findings = vec![Finding {
        checker: evil.to_owned(),
        rule: evil.to_owned(),
        severity: Severity::Safety,
        explanation: evil.to_owned(),
        operations: vec![put, crate::record::OpId(99)],
        members: vec![0, 77],
        at: crate::record::Time::NEVER,
    }];
    let text = page(&run);
    assert!(!text.contains(evil));
    assert_eq!(text.matches("</script>").count(), 2);
    assert_eq!(text.matches("<script").count(), 2);
    assert!(!text.contains('\u{202e}'));
    let data = view(&text);
    assert_eq!(data["members"][0], evil);
    assert!(data["ops"]["call"][0].as_str().unwrap().contains("</script>"));
}

#[test]
fn values_of_bytes_and_of_any_length_are_shown() {
    let mut history = History::new(1);
    let put = history.put(0, 1, "k", &"x".repeat(100_000));
    history.wrote(put, 2, 2);
    let put = history.put(0, 3, "raw", "");
    run_put(&mut history, put, &[0xff, 0x00]);
    let text = page(&history.run);
    assert!(text.len() < 200_000, "{}", text.len());
    let data = view(&text);
    assert!(data["ops"]["call"][0].as_str().unwrap().ends_with("… (100000 bytes)"));
    assert_eq!(data["ops"]["call"][1], "put raw = \\xff00 (2 bytes)");
}

fn run_put(history: &mut History, op: crate::record::OpId, bytes: &'static [u8]) {
    let operation = &mut history.run.history.operations[op.0 as usize];
    if let crate::record::Call::Put(put) = &mut operation.call {
        put.value = Blob(bytes::Bytes::from_static(bytes));
    }
}

#[test]
fn an_empty_record_has_a_page() {
    let mut run = History::new(0).run;
    let marks = vec![Mark::Ended(4), Mark::Ends { fault: 3, effect: Effect::new() }];
    run.history.incidents.push(Incident { marks, ..Incident::plain(ms(1), vec![4], "kill n5") });
    assert!(page(&run).contains("Nothing was found."));
}
