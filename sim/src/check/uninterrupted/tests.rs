//! A run that was doctored against the one that it was made from: what is found, and what is not.

use detsim_reports::record::{Blob, KeyValue, Outcome};
use detsim_reports::record::{Finding, MemberEntry, RaftEvent, RunRecord, Time, Verdict};

use super::*;
use crate::language::parse;
use crate::run::{self, Setup, VOCABULARY, loop_world};

/// What the scenario checks is little: what was read, and nobody reads at the end.
const SCRIPT: &str = "worlds loop\noption database=pages\ncluster n1 n2 n3\nstart all\n\
                      put kept a\nput gone b\ndelete gone\nput changed c\nput leased d lease=7\n\
                      END\nput changed e; expect any\nwait 300ms\nheal\n\
                      converge within=10s\ncheck linearizability\n";

fn ran(end: &str) -> RunRecord {
    let text =
        SCRIPT.replace("put leased d lease=7", "lease-grant 7 ttl=60s\nput leased d lease=7");
    let script = parse("a/b", &text.replace("END\n", end), VOCABULARY).expect("it is legal");
    let setup = Setup { scenario: "a/b", script: &script, seed: 1 };
    let record = run::run(&setup, &mut loop_world(&script, 1));
    assert_eq!(record.verdict, Verdict::Passed, "{:?}", record.findings);
    record
}

/// The run, the same in which a member was killed, and when.
fn both() -> (RunRecord, RunRecord, Time) {
    let (whole, killed) = (ran("wait 200ms\n"), ran("kill n1\nwait 200ms\nstart n1\n"));
    let kill = killed.history.incidents.iter().find(|it| it.what == "kill n1");
    let at = kill.expect("it was killed").at;
    (whole, killed, at)
}

/// What is found in the killed run after something was done to its record.
fn found(doctor: impl Fn(&mut RunRecord, Time)) -> Vec<Finding> {
    let (whole, mut killed, at) = both();
    doctor(&mut killed, at);
    Uninterrupted::new(&whole).compare(&killed, at)
}

fn rule(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.rule.as_str()).collect()
}

#[test]
fn a_run_agrees_with_itself_and_with_one_in_which_a_member_was_killed() {
    let (whole, killed, at) = both();
    let reference = Uninterrupted::new(&whole);
    assert_eq!(reference.compare(&whole, Time::NEVER), []);
    assert_eq!(reference.compare(&killed, at), []);
    assert_eq!(rule(&reference.compare(&killed, Time::NEVER))[0], "another-run");
}

#[test]
fn a_key_that_nobody_touched_and_that_is_gone_is_found_where_the_script_checks_only_reads() {
    let findings = found(|killed, _| {
        for sample in &mut killed.internals.samples {
            sample.keys.retain(|kv| kv.key != Blob::text("kept"));
        }
    });
    assert_eq!(rule(&findings), ["key-differs"]);
    let text = &findings[0].explanation;
    assert!(
        text.starts_with("n1 holds nothing at the end, and in the uninterrupted run"),
        "{text}"
    );
    assert!(text.contains("\"kept\""), "{text}");
}

#[test]
fn a_key_with_another_value_or_that_nobody_wrote_is_found() {
    let findings = found(|killed, _| {
        for kv in killed.internals.samples.iter_mut().flat_map(|sample| &mut sample.keys) {
            if kv.key == Blob::text("kept") {
                kv.value = Blob::text("z");
            }
        }
    });
    assert_eq!(rule(&findings), ["key-differs"]);
    let findings = found(|killed, _| {
        for sample in &mut killed.internals.samples {
            let mod_revision = sample.revision;
            let key = Blob::text("zombie");
            sample.keys.push(KeyValue { key, mod_revision, ..KeyValue::default() });
        }
    });
    assert_eq!(rule(&findings), ["key-differs"]);
}

#[test]
fn what_was_touched_since_or_hangs_on_a_lease_may_be_another() {
    let findings = found(|killed, _| {
        for sample in &mut killed.internals.samples {
            let lost = ["changed", "leased"].map(Blob::text);
            sample.keys.retain(|kv| !lost.contains(&kv.key));
        }
    });
    assert_eq!(findings, []);
}

#[test]
fn a_revision_that_was_reached_before_is_owed() {
    let findings = found(|killed, _| {
        for sample in &mut killed.internals.samples {
            sample.revision = 2;
        }
    });
    assert_eq!(rule(&findings), ["key-differs"]);
    let text = &findings[0].explanation;
    assert!(text.starts_with("n1 ends at revision 2; revision 6 had been reached"), "{text}");
}

#[test]
fn an_answer_that_differs_before_the_end_of_a_member_shows_another_run() {
    let findings = found(|killed, _| {
        let first = killed.history.operations.first_mut().expect("there is one");
        first.outcome = Some(Outcome::Fail("no".to_owned()));
    });
    assert_eq!(rule(&findings), ["another-run"]);
    let findings = found(|killed, at| killed.internals.committed.retain(|it| it.at > at));
    assert_eq!(rule(&findings), ["another-run"]);
}

#[test]
fn a_state_that_is_come_to_again_is_the_same() {
    let findings = found(|killed, at| {
        let again = killed.internals.applied.iter_mut().find(|it| it.at >= at);
        again.expect("n1 applies its log again").digest ^= 1;
    });
    assert_eq!(rule(&findings), ["state-differs"]);
}

#[test]
fn members_are_those_of_the_uninterrupted_run_unless_somebody_changed_them() {
    let lose = |killed: &mut RunRecord| {
        for fact in &mut killed.internals.facts {
            if let RaftEvent::Configured { voters, .. } | RaftEvent::Loaded { voters, .. } =
                &mut fact.event
            {
                voters.pop();
            }
        }
    };
    assert_eq!(rule(&found(|killed, _| lose(killed))), ["members-differ"]);
    let findings = found(|killed, at| {
        lose(killed);
        let last = killed.history.operations.last_mut().expect("there is one");
        assert!(last.completed > at);
        last.call = Call::MemberRemove { id: MemberEntry::default().id };
    });
    assert_eq!(findings, []);
}
