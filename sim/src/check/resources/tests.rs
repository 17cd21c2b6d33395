//! A member within its bounds, and one beyond each of them.

use detsim_reports::record::Body;

use super::*;
use crate::check::script::{Script, get, put, us};

/// A member that has applied so many entries, all of them covered, and keeps fifty.
fn figures(at: u64, applied: u64) -> Measured {
    let log = LogFigures {
        base: applied.saturating_sub(50),
        last: applied + 2,
        applied,
        covered: Some(applied),
        catchup_entries: 50,
        is_cut_early: true,
        ..LogFigures::default()
    };
    Measured {
        at: us(at),
        cluster: 1,
        log,
        streams: (2, 2),
        watchers: (5, 4),
        queued_answers: 1,
        taken_behind: BEHIND_MAX,
        longest_wait_ms: 7_000,
        wait_limit_ms: 7_000,
        database_bytes: 99,
        quota_bytes: Some(100),
        ..Measured::default()
    }
}

fn rules(history: &History, measured: Vec<Measured>) -> Vec<String> {
    let internals = Internals { measured, ..Internals::default() };
    let report = check(history, Some(&internals));
    report.findings.into_iter().map(|finding| finding.rule).collect()
}

fn logs(measured: impl IntoIterator<Item = (u64, LogFigures)>) -> Vec<String> {
    let at = |(at, log)| Measured { log, ..figures(at, 0) };
    rules(&Script::new().history, measured.into_iter().map(at).collect())
}

#[test]
fn a_member_within_its_bounds_is_not_found() {
    let measured = vec![figures(1, 0), figures(2, 400), figures(3, 450), figures(4, 900)];
    assert_eq!(rules(&Script::new().history, measured), [""; 0]);
}

#[test]
fn a_log_that_is_not_cut_behind_what_the_database_covered_is_found() {
    let kept = |applied| LogFigures { base: 0, ..figures(1, applied).log };
    assert_eq!(logs([(1, kept(200)), (2, kept(301))]), ["log-kept"]);
    assert_eq!(logs([(1, kept(200)), (2, kept(300))]), [""; 0], "it is looked at every hundred");
    assert_eq!(logs([(1, kept(50)), (2, kept(301))]), [""; 0], "fifty are kept");
    let uncovered = LogFigures { covered: Some(50), ..kept(200) };
    assert_eq!(logs([(1, uncovered), (2, kept(301))]), [""; 0], "what no database has is kept");
    let without = |applied| LogFigures { covered: None, ..kept(applied) };
    assert_eq!(logs([(1, without(200)), (2, without(9_000))]), [""; 0], "there is no database");
}

#[test]
fn a_log_is_kept_for_a_peer_and_not_longer() {
    let kept = |applied| LogFigures { base: 0, ..figures(1, applied).log };
    let held = |applied| LogFigures { is_held: true, holds: 1, ..kept(applied) };
    let after = |applied| LogFigures { holds: 1, ..kept(applied) };
    assert_eq!(logs([(1, kept(200)), (2, held(500)), (3, held(900))]), [""; 0]);
    assert_eq!(logs([(1, kept(200)), (2, after(500))]), [""; 0], "it was held in between");
    assert_eq!(logs([(1, held(200)), (2, after(500)), (3, after(601))]), ["log-kept"]);
}

#[test]
fn a_log_that_is_cut_with_snapshots_is_held_against_them() {
    let late = |applied, snapshot, base| LogFigures {
        base,
        snapshot,
        is_cut_early: false,
        ..figures(1, applied).log
    };
    assert_eq!(logs([(1, late(200, 0, 0)), (2, late(999, 0, 0))]), [""; 0]);
    assert_eq!(logs([(1, late(200, 0, 0)), (2, late(999, 800, 749))]), ["log-kept"]);
    assert_eq!(logs([(1, late(200, 0, 0)), (2, late(999, 800, 750))]), [""; 0]);
}

#[test]
fn figures_of_another_process_are_not_compared() {
    let kept = |applied| LogFigures { base: 0, ..figures(1, applied).log };
    let first = Measured { log: kept(200), ..figures(1, 0) };
    let second = Measured { log: kept(301), incarnation: 1, ..figures(2, 0) };
    assert_eq!(rules(&Script::new().history, vec![first, second]), [""; 0]);
}

#[test]
fn what_no_client_holds_and_what_no_limit_allows_is_found() {
    type Change = fn(&mut Measured);
    let changes: [(Change, &str); 5] = [
        (|it| it.streams = (3, 2), "streams-kept"),
        (|it| it.watchers = (6, 4), "watchers-kept"),
        (|it| it.without_room = 1, "sent-without-room"),
        (|it| it.taken_behind = BEHIND_MAX + 1, "backlog-exceeded"),
        (|it| it.longest_wait_ms = 8_001, "proposal-kept"),
    ];
    for (change, rule) in changes {
        let mut measured = figures(1, 0);
        change(&mut measured);
        assert_eq!(rules(&Script::new().history, vec![measured]), [rule]);
    }
}

#[test]
fn a_put_that_is_acknowledged_above_the_quota_is_found() {
    let full = |at| Measured { database_bytes: 100, ..figures(at, 0) };
    let measured = || vec![figures(1, 0), full(10), full(30)];
    let mut early = Script::new();
    early.ok(5, 20, put("k", "v"), 2, Body::Put { prev_kv: None });
    early.ok(12, 20, get("k"), 2, crate::check::script::found_one(None));
    let refused = early.invoke(12, put("k", "v"));
    early.fail(refused, 14, "etcdserver: mvcc: database space exceeded");
    assert_eq!(rules(&early.history, measured()), [""; 0]);
    let mut late = early.clone();
    late.ok(12, 20, put("k", "v"), 3, Body::Put { prev_kv: None });
    assert_eq!(rules(&late.history, measured()), ["quota-exceeded"]);
    late.ok(15, 16, Call::Defragment, 0, Body::Defragment);
    assert_eq!(rules(&late.history, measured()), [""; 0], "it may have been smaller meanwhile");
}

#[test]
fn nothing_is_judged_without_internals() {
    let report = check(&History::default(), None);
    assert_eq!(report.not_checked, ["resources: the world shows no internals"]);
}
