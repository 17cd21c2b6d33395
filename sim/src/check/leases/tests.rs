//! Leases by hand: a good life, and one bad for each rule; and one whose facts are changed.

use detsim_reports::record::{
    Blob, Event, KeyValue, OpId, Put, Range, RangeReply, Time, Watch, WatchMessage,
};

use super::*;
use crate::check::script::{Script, kv};

const MS: u64 = 1_000;
const S: u64 = 1_000 * MS;

/// A lease of 5 s is granted at once; the run has no faults.
fn granted() -> Script {
    let mut script = Script::new();
    grant(&mut script, 0, 7);
    script
}

fn grant(script: &mut Script, at: u64, id: i64) -> OpId {
    let body = Body::LeaseGrant { id, ttl_s: 5 };
    script.ok(at, at + MS, Call::LeaseGrant { id, ttl_s: 5 }, 1, body)
}

fn renew(script: &mut Script, at: u64, ttl_s: i64) -> OpId {
    let body = Body::LeaseKeepAlive { id: 7, ttl_s };
    script.ok(at, at + MS, Call::LeaseKeepAlive { id: 7 }, 1, body)
}

fn look(script: &mut Script, at: u64, ttl_s: i64) -> OpId {
    let granted_ttl_s = if ttl_s < 0 { 0 } else { 5 };
    let body = Body::LeaseTimeToLive { id: 7, ttl_s, granted_ttl_s, keys: Vec::new() };
    script.ok(at, at + MS, Call::LeaseTimeToLive { id: 7, keys: false }, 1, body)
}

fn revoke(script: &mut Script, at: u64, revision: i64) -> OpId {
    script.ok(at, at + MS, Call::LeaseRevoke { id: 7 }, revision, Body::LeaseRevoke)
}

fn attach(script: &mut Script, at: u64, key: &str, revision: i64) -> OpId {
    let put = Put { key: Blob::text(key), lease: 7, ..Put::default() };
    script.ok(at, at + MS, Call::Put(put), revision, Body::Put { prev_kv: None })
}

fn of_lease(key: &str, revision: i64) -> KeyValue {
    KeyValue { lease: 7, ..kv(key, "", revision, revision, 1) }
}

fn read(script: &mut Script, at: u64, found: &[KeyValue], revision: i64) -> OpId {
    let range = Range { key: Blob::text("a"), range_end: Blob::text("z"), ..Range::default() };
    let reply = RangeReply { kvs: found.to_vec(), more: false, count: found.len() as i64 };
    script.ok(at, at + MS, Call::Range(range), revision, Body::Range(reply))
}

fn rules(script: &Script) -> Vec<String> {
    check(&script.history).findings.into_iter().map(|finding| finding.rule).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_lease_that_is_renewed_and_expires_in_its_time_passes() {
    let mut script = granted();
    attach(&mut script, S, "a", 2);
    renew(&mut script, 3 * S, 5);
    look(&mut script, 4 * S, 3);
    read(&mut script, 7 * S, &[of_lease("a", 2)], 2);
    renew(&mut script, 9 * S, 0);
    read(&mut script, 10 * S, &[], 3);
    assert_eq!(rules(&script), NOTHING);
}

#[test]
fn a_lease_is_not_gone_before_its_time() {
    let mut script = granted();
    renew(&mut script, 3 * S, 5);
    let gone = look(&mut script, 7 * S, -1);
    assert_eq!(rules(&script), ["expired-early"]);
    script.history.operations[gone.0 as usize].completed = Time(8_000 * 1_000_000);
    assert_eq!(rules(&script), NOTHING);
}

#[test]
fn a_write_that_misses_its_lease_tells_that_it_is_gone() {
    let mut script = granted();
    let put = Put { key: Blob::text("a"), lease: 7, ..Put::default() };
    let op = script.invoke(2 * S, Call::Put(put));
    script.fail(op, 2 * S + MS, Refusal::LeaseNotFound.text());
    assert_eq!(rules(&script), ["expired-early"]);
}

#[test]
fn a_second_grant_of_the_id_tells_that_it_is_gone() {
    let mut script = granted();
    grant(&mut script, 2 * S, 7);
    assert_eq!(rules(&script), ["expired-early"]);
    let mut script = granted();
    grant(&mut script, 8 * S, 7);
    renew(&mut script, 9 * S, 5);
    assert_eq!(rules(&script), NOTHING);
}

#[test]
fn whoever_may_have_revoked_a_lease_explains_its_end() {
    let mut script = granted();
    let op = script.invoke(S, Call::LeaseRevoke { id: 7 });
    script.unknown(op, 2 * S);
    look(&mut script, 3 * S, -1);
    assert_eq!(rules(&script), NOTHING);
    script.fail(op, 2 * S, "etcdserver: no leader");
    assert_eq!(rules(&script), ["expired-early"]);
}

#[test]
fn a_renewal_that_was_not_acknowledged_protects_nothing_but_may_prolong() {
    let mut script = granted();
    let op = script.invoke(4 * S, Call::LeaseKeepAlive { id: 7 });
    script.unknown(op, 5 * S);
    look(&mut script, 6 * S, -1);
    assert_eq!(rules(&script), NOTHING);
    let mut script = granted();
    let op = script.invoke(14 * S, Call::LeaseKeepAlive { id: 7 });
    script.unknown(op, 15 * S);
    look(&mut script, 30 * S, 1);
    assert_eq!(rules(&script), NOTHING);
}

#[test]
fn a_clock_that_drifts_may_be_early_by_as_much() {
    let mut script = granted();
    look(&mut script, 4_900 * MS, -1);
    assert_eq!(rules(&script), ["expired-early"]);
    script.incident(1, 0, "clock n1 drift=+50000ppm");
    assert_eq!(rules(&script), NOTHING);
}

#[test]
fn a_wall_clock_that_drifts_moves_no_lease() {
    for what in ["clock n1 wall-drift=+500000ppm", "clock n1 freeze-wall", "clock n1 jump=+1h"] {
        let mut script = granted();
        script.incident(1, 0, what);
        look(&mut script, 4_900 * MS, -1);
        assert_eq!(rules(&script), ["expired-early"], "{what}");
    }
}

#[test]
fn a_drift_excuses_what_happens_meanwhile_and_only_if_the_clock_is_fast() {
    let seen = |incidents: &[(u64, usize, &str)]| {
        let mut script = granted();
        renew(&mut script, 10 * S, 5);
        for (at, member, what) in incidents {
            script.incident(*at, *member, what);
        }
        look(&mut script, 14_500 * MS, -1);
        rules(&script)
    };
    let fast = "clock n2 drift=+150000ppm";
    assert_eq!(seen(&[(S, 1, fast)]), NOTHING);
    assert_eq!(seen(&[(S, 1, fast), (11 * S, 1, "clock n2 drift=+0ppm")]), NOTHING);
    assert_eq!(seen(&[(S, 1, fast), (9 * S, 1, "clock n2 drift=+0ppm")]), ["expired-early"]);
    assert_eq!(seen(&[(S, 1, fast), (9 * S, 1, "clock n1 n2 freeze")]), ["expired-early"]);
    assert_eq!(seen(&[(15 * S, 1, fast)]), ["expired-early"]);
    assert_eq!(seen(&[(S, 1, "clock n2 drift=-150000ppm")]), ["expired-early"]);
    assert_eq!(seen(&[(S, 1, fast), (9 * S, 0, "clock n1 drift=+0ppm")]), NOTHING);
}

#[test]
fn a_lease_that_nobody_renews_goes_once_a_leader_serves() {
    let mut script = granted();
    read(&mut script, 19 * S, &[of_lease("a", 2)], 2);
    assert_eq!(rules(&script), NOTHING);
    read(&mut script, 21 * S, &[of_lease("a", 2)], 2);
    assert_eq!(rules(&script), ["expired-late"]);
    // Where nobody need serve, nothing is owed.
    script.incident(2 * S, 0, "kill n1");
    assert_eq!(rules(&script), NOTHING);
    script.history.healed = Some(crate::check::script::us(2 * S));
    script.history.survivors = vec![0, 1, 2];
    assert_eq!(rules(&script), NOTHING);
    renew(&mut script, 23 * S, 5);
    assert_eq!(rules(&script), ["expired-late"]);
}

#[test]
fn what_is_gone_does_not_come_back() {
    let mut script = granted();
    renew(&mut script, 9 * S, 0);
    assert_eq!(rules(&script), NOTHING);
    look(&mut script, 9_500 * MS, 1);
    assert_eq!(rules(&script), ["resurrected"]);
    // That the leader's clock has passed the end is no end.
    let mut script = granted();
    look(&mut script, 6 * S, -1);
    renew(&mut script, 7 * S, 5);
    assert_eq!(rules(&script), NOTHING);
}

#[test]
fn an_older_grant_of_unknown_outcome_may_bring_the_id_back() {
    let mut script = Script::new();
    let older = script.invoke(0, Call::LeaseGrant { id: 7, ttl_s: 1 });
    script.unknown(older, MS);
    let body = Body::LeaseGrant { id: 7, ttl_s: 5 };
    script.ok(2 * MS, 3 * MS, Call::LeaseGrant { id: 7, ttl_s: 5 }, 1, body);
    renew(&mut script, 9 * S, 0);
    look(&mut script, 9_500 * MS, 1);
    assert_eq!(rules(&script), NOTHING);
}

#[test]
fn keys_go_with_the_lease() {
    let mut script = granted();
    attach(&mut script, S, "a", 2);
    revoke(&mut script, 2 * S, 3);
    read(&mut script, 3 * S, &[], 3);
    assert_eq!(rules(&script), NOTHING);
    read(&mut script, 4 * S, &[of_lease("a", 2)], 3);
    assert_eq!(rules(&script), ["keys-outlive-lease", "keys-outlive-lease"]);
}

#[test]
fn an_older_revision_may_show_the_keys_of_what_is_gone() {
    let mut script = granted();
    attach(&mut script, S, "a", 2);
    revoke(&mut script, 2 * S, 3);
    let op = read(&mut script, 3 * S, &[of_lease("a", 2)], 3);
    if let Call::Range(range) = &mut script.history.operations[op.0 as usize].call {
        range.revision = 2;
    }
    assert_eq!(rules(&script), NOTHING);
}

/// A watch sees keys of the lease deleted at these revisions.
fn watched(script: &mut Script, at: u64, deleted: &[(&str, i64)]) {
    let watch = Watch { key: Blob::text("a"), prev_kv: true, ..Watch::default() };
    let op = script.invoke(at, Call::Watch(watch));
    let event = |&(key, revision): &(&str, i64)| Event {
        is_delete: true,
        kv: KeyValue { key: Blob::text(key), mod_revision: revision, ..KeyValue::default() },
        prev_kv: Some(of_lease(key, 2)),
    };
    let events = deleted.iter().map(event).collect();
    script.watched(op, at, WatchMessage { revision: 9, events, ..WatchMessage::default() });
}

#[test]
fn keys_go_in_one_revision() {
    let mut script = granted();
    watched(&mut script, 7 * S, &[("a", 3), ("b", 3)]);
    assert_eq!(rules(&script), NOTHING);
    let mut script = granted();
    watched(&mut script, 7 * S, &[("a", 3), ("b", 4)]);
    assert_eq!(rules(&script), ["partial-revoke"]);
    read(&mut script, 7 * S, &[of_lease("c", 2)], 4);
    assert_eq!(rules(&script), ["partial-revoke", "keys-outlive-lease"]);
}

#[test]
fn a_key_that_a_client_may_have_deleted_tells_nothing() {
    let delete = |key: &str| {
        Call::DeleteRange(detsim_reports::record::DeleteRange {
            key: Blob::text(key),
            ..Default::default()
        })
    };
    let mut script = granted();
    let body = Body::DeleteRange { deleted: 1, prev_kvs: Vec::new() };
    script.ok(S, S + MS, delete("a"), 3, body);
    watched(&mut script, 7 * S, &[("a", 3), ("b", 4)]);
    assert_eq!(rules(&script), NOTHING);
    let mut script = granted();
    let op = script.invoke(S, delete("b"));
    script.unknown(op, 2 * S);
    watched(&mut script, 7 * S, &[("a", 3), ("b", 4)]);
    assert_eq!(rules(&script), NOTHING);
}

#[test]
fn what_is_told_of_its_time_is_so() {
    let mut script = granted();
    renew(&mut script, S, 4);
    assert_eq!(rules(&script), ["wrong-ttl"]);
    let mut script = granted();
    look(&mut script, S, 8);
    assert_eq!(rules(&script), ["ttl-too-long"]);
    let mut script = granted();
    // A new leader gives the time again, and the length of an election.
    look(&mut script, 4 * S, 6);
    assert_eq!(rules(&script), NOTHING);
    let mut script = granted();
    look(&mut script, S, 3);
    assert_eq!(rules(&script), NOTHING);
    look(&mut script, S, 1);
    assert_eq!(rules(&script), ["ttl-too-short"]);
}

#[test]
fn a_deposed_leader_does_not_know_the_renewals_of_later_terms() {
    let mut script = granted();
    let renewal = renew(&mut script, 4 * S, 5);
    look(&mut script, 5_100 * MS, -1);
    assert_eq!(rules(&script), ["expired-early"]);
    if let Some(Outcome::Ok(reply)) = &mut script.history.operations[renewal.0 as usize].outcome {
        reply.header.raft_term = 3;
    }
    assert_eq!(rules(&script), NOTHING);
    look(&mut script, 5_200 * MS, 0);
    assert_eq!(rules(&script), NOTHING);
}

#[test]
fn only_keys_that_were_attached_are_named() {
    let mut script = granted();
    attach(&mut script, S, "a", 2);
    let look = |script: &mut Script, key: &str| {
        let keys = vec![Blob::text(key)];
        let body = Body::LeaseTimeToLive { id: 7, ttl_s: 3, granted_ttl_s: 5, keys };
        let call = Call::LeaseTimeToLive { id: 7, keys: true };
        script.ok(2 * S, 2 * S + MS, call, 2, body);
    };
    look(&mut script, "a");
    assert_eq!(rules(&script), NOTHING);
    look(&mut script, "b");
    assert_eq!(rules(&script), ["foreign-key"]);
}

#[test]
fn several_clusters_are_not_judged() {
    let mut script = granted();
    look(&mut script, S, -1);
    assert_eq!(rules(&script), ["expired-early"]);
    if let Some(Outcome::Ok(reply)) = &mut script.history.operations[1].outcome {
        reply.header.cluster_id = 2;
    }
    let report = check(&script.history);
    assert!(report.findings.is_empty() && !report.not_checked.is_empty());
}

/// Changes an answer, if it is of its kind.
type Mutation = fn(&mut Body) -> bool;

/// A played history, with every answer of this kind changed in turn until one is found.
#[test]
fn played_histories_pass_and_their_mutants_do_not() {
    use crate::workload::stage::play;
    for trouble in [0, 500] {
        let history = play("lease", &[], 4_000, trouble).history;
        assert_eq!(check(&history).findings, Vec::new());
        let mutants: [(&str, Mutation); 3] = [
            ("expired-early", |body| match body {
                Body::LeaseKeepAlive { ttl_s: ttl_s @ 1.., .. } => {
                    *ttl_s = 0;
                    true
                }
                _ => false,
            }),
            ("wrong-ttl", |body| match body {
                Body::LeaseKeepAlive { ttl_s: ttl_s @ 1.., .. } => {
                    *ttl_s += 1;
                    true
                }
                _ => false,
            }),
            ("ttl-too-long", |body| match body {
                Body::LeaseTimeToLive { ttl_s: ttl_s @ 0.., .. } => {
                    *ttl_s += 100;
                    true
                }
                _ => false,
            }),
        ];
        for (rule, change) in mutants {
            let (mut changed, mut found) = (0, 0);
            for at in (0..history.operations.len()).step_by(7) {
                let mut outcome = history.operations[at].outcome.clone();
                let Some(Outcome::Ok(reply)) = &mut outcome else { continue };
                if changed == 20 || !change(&mut reply.body) {
                    continue;
                }
                let mut mutant = history.clone();
                mutant.operations[at].outcome = outcome;
                changed += 1;
                let findings = check(&mutant).findings;
                found += usize::from(findings.iter().any(|finding| finding.rule == rule));
            }
            assert!(changed == 20 && found >= 10, "{rule}: {found} of {changed} mutants");
        }
    }
}
