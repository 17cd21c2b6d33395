//! A cluster that recovers, and ones that do not.

use detsim_reports::record::{Applied, Command, Committed};

use super::*;
use crate::check::fate::NO_SPACE;
use crate::check::script::{Script, get, put, us};

/// Healed at 1 ms, due at 2 ms, over at 4 ms.
fn healed() -> Script {
    let mut script = Script::new();
    script.history.settings.recovery_within_ms = 1;
    script.history.healed = Some(us(1_000));
    script.history.survivors = vec![0, 1];
    script.history.ended = us(4_000);
    script
}

fn report(script: &Script) -> CheckReport {
    check(&script.history, Some(&script.internals))
}

fn rules(script: &Script) -> Vec<String> {
    let findings = report(script).findings;
    assert!(findings.iter().all(|finding| finding.severity == Severity::Liveness));
    findings.into_iter().map(|finding| finding.rule).collect()
}

fn state(at: u64, member: usize, term: u64, role: RaftRole) -> RaftState {
    RaftState {
        at: us(at),
        cluster: 1,
        member,
        identity: 1,
        incarnation: 0,
        term,
        vote: 0,
        role,
        leader: 0,
        commit: 0,
        last_index: 0,
    }
}

fn led() -> Script {
    let mut script = healed();
    script.internals.raft = vec![state(10, 0, 2, RaftRole::Leader)];
    script
}

#[test]
fn nothing_is_owed_without_healing_or_time() {
    let mut script = healed();
    script.history.healed = None;
    assert!(report(&script).not_checked[0].starts_with("recovery: the run did not end healed"));
    let mut script = healed();
    script.history.ended = us(1_500);
    assert!(report(&script).not_checked[0].starts_with("recovery: the run ended 0 ms after"));
}

#[test]
fn operations_through_survivors_succeed_once_recovery_is_due() {
    let mut script = led();
    for (member, invoked, is_bad) in
        [(0, 1_500, false), (2, 2_500, false), (0, 2_500, true), (1, 2_600, false)]
    {
        let op = script.invoke_at(member, invoked, get("a"));
        if member == 1 {
            script.answer(op, invoked + 1, 1, crate::check::script::found_one(None));
        } else {
            script.fail(op, invoked + 1, "etcdserver: request timed out");
        }
        let expected: &[&str] = if is_bad || member == 1 { &["not-serving"] } else { &[] };
        assert_eq!(rules(&script), expected, "member {member} at {invoked}");
    }
}

#[test]
fn what_is_too_large_may_be_refused() {
    let mut script = led();
    for (member, reason) in [(0, "etcdserver: request is too large"), (1, TOO_LARGE)] {
        let op = script.invoke_at(member, 2_500, get("a"));
        script.fail(op, 2_501, reason);
    }
    assert_eq!(rules(&script), Vec::<String>::new());
}

#[test]
fn only_a_database_that_what_was_put_may_fill_may_be_full() {
    let rules_of = |value: usize, quota: u64| {
        let mut script = led();
        script.history.settings.quota_bytes = quota;
        script.put(10, 20, "a", &"x".repeat(value), 2);
        for member in [0, 1] {
            let op = script.invoke_at(member, 2_500, put("a", &"x".repeat(9_999)));
            script.fail(op, 2_501, NO_SPACE);
        }
        let not_checked = report(&script).not_checked;
        let counts = not_checked.iter().filter(|line| line.contains("2 refusals")).count();
        (rules(&script).len(), counts)
    };
    assert_eq!(rules_of(8_000, 10_000), (0, 1));
    assert_eq!(rules_of(3_000, 10_000), (2, 0), "what is refused fills nothing");
    assert_eq!(rules_of(8_000, 2 << 30), (2, 0));
}

#[test]
fn a_compaction_that_waits_for_all_to_be_removed_takes_its_time() {
    for (physical, expected) in [(true, 0), (false, 1)] {
        let mut script = led();
        for member in [0, 1] {
            let op = script.invoke_at(member, 2_500, Call::Compact { revision: 3, physical });
            script.unknown(op, 2_501);
            assert_eq!(rules(&script).len(), expected * (member + 1));
        }
    }
}

#[test]
fn operations_do_not_stay_unanswered() {
    let mut script = led();
    script.invoke(10, get("a"));
    assert_eq!(rules(&script), ["unanswered"]);
    let mut script = led();
    script.invoke(3_500, get("a"));
    assert_eq!(rules(&script), Vec::<String>::new());
}

#[test]
fn somebody_leads() {
    assert_eq!(rules(&led()), Vec::<String>::new());
    let mut script = led();
    script.internals.raft.push(state(1_900, 0, 3, RaftRole::Candidate));
    assert_eq!(rules(&script), ["no-leader"]);
    script.internals.raft.push(state(3_900, 1, 4, RaftRole::Leader));
    assert_eq!(rules(&script), Vec::<String>::new());
}

#[test]
fn the_leader_may_be_one_of_whom_nothing_is_owed() {
    let mut script = led();
    script.internals.raft = vec![RaftState { leader: 7, ..state(10, 0, 2, RaftRole::Follower) }];
    assert_eq!(rules(&script), Vec::<String>::new());
    script.internals.raft.push(state(1_900, 0, 2, RaftRole::Follower));
    assert_eq!(rules(&script), ["no-leader"]);
}

#[test]
fn terms_rest() {
    let mut script = led();
    for term in 3..=6 {
        script.internals.raft.push(state(2_000 + term, 1, term, RaftRole::Candidate));
    }
    assert_eq!(rules(&script), ["election-storm"]);
}

#[test]
fn survivors_catch_up() {
    let mut script = led();
    script.entry(2_500, Command::TermStart, None);
    let applied = |member| Applied {
        at: us(2_500),
        cluster: 1,
        member,
        incarnation: 0,
        index: 1,
        term: 2,
        revision: 1,
        digest: 0,
    };
    script.internals.applied = vec![applied(0)];
    assert_eq!(rules(&script), ["lagging"]);
    script.internals.applied.push(applied(1));
    assert_eq!(rules(&script), Vec::<String>::new());
    let late = Committed { at: us(3_500), index: 2, ..script.internals.committed[0].clone() };
    script.internals.committed.push(late);
    assert_eq!(rules(&script), Vec::<String>::new());
}
