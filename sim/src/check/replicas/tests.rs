//! Members that agree and members that differ.

use detsim_reports::record::{AlarmEntry, Call, Command, MemberName, Time};

use super::*;
use crate::check::script::{Script, kv, put};

fn members() -> History {
    let members = ["n1", "n2"].map(|name| MemberName(name.to_owned())).to_vec();
    History { members, ..History::default() }
}

fn applied(member: usize, incarnation: u32, index: u64, digest: u64) -> Applied {
    Applied {
        at: Time(index),
        cluster: 1,
        member,
        incarnation,
        index,
        term: 2,
        revision: 1,
        digest,
    }
}

fn rules(applied: Vec<Applied>) -> Vec<(String, String)> {
    let committed = vec![Committed {
        at: Time(2),
        cluster: 1,
        era: 0,
        index: 2,
        term: 2,
        command: Command::TermStart,
        op: None,
    }];
    let internals = Internals { committed, applied, ..Internals::default() };
    let report = check(&members(), Some(&internals));
    report.findings.into_iter().map(|finding| (finding.rule, finding.explanation)).collect()
}

#[test]
fn equal_digests_pass_across_members_and_restarts() {
    let same = [(0, 0), (1, 0), (1, 1)].iter();
    let all = same.flat_map(|&(member, inc)| (1..4).map(move |i| applied(member, inc, i, i)));
    assert_eq!(rules(all.collect()), []);
}

#[test]
fn the_first_differing_index_is_named_once_for_each_incarnation() {
    let found = rules(vec![
        applied(0, 0, 1, 10),
        applied(1, 0, 1, 10),
        applied(0, 0, 2, 20),
        applied(1, 0, 2, 21),
        applied(0, 0, 3, 30),
        applied(1, 0, 3, 31),
    ]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "replica-divergence");
    assert_eq!(
        found[0].1,
        "index 2 (a term begins) is the first after which n2 differs from n1: term 2 revision 1 \
         digest 0000000000000015 against term 2 revision 1 digest 0000000000000014"
    );
}

#[test]
fn replaying_to_another_state_is_divergence() {
    let found = rules(vec![applied(0, 0, 2, 20), applied(0, 1, 2, 22)]);
    assert_eq!(found.len(), 1);
}

#[test]
fn nobody_is_called_corrupt_where_nobody_differs() {
    let raised = |alarm, op, digest| {
        let entry = Committed {
            at: Time(2),
            cluster: 1,
            era: 0,
            index: 2,
            term: 2,
            command: Command::Client(Call::AlarmRaise(AlarmEntry { member: 7, alarm })),
            op,
        };
        let applied = vec![applied(0, 0, 2, 20), applied(1, 0, 2, digest)];
        let internals = Internals { committed: vec![entry], applied, ..Internals::default() };
        let report = check(&members(), Some(&internals));
        report.findings.into_iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    assert_eq!(raised(Alarm::Corrupt, None, 20), ["false-alarm"]);
    assert_eq!(raised(Alarm::Corrupt, None, 21), ["replica-divergence"]);
    assert_eq!(raised(Alarm::Corrupt, Some(OpId(0)), 20), [""; 0], "an operator may say so");
    assert_eq!(raised(Alarm::NoSpace, None, 20), [""; 0]);
}

/// Two puts of `a`, applied by `n1`.
fn replayed() -> Script {
    let mut script = Script::new();
    for value in ["1", "2"] {
        let op = script.invoke(10, put("a", value));
        script.log(11, op);
    }
    script.internals.applied = vec![
        Applied { revision: 2, ..applied(0, 0, 1, 1) },
        Applied { revision: 3, ..applied(0, 0, 2, 2) },
    ];
    script.internals.samples = vec![Sample {
        cluster: 1,
        era: 0,
        member: 0,
        index: 2,
        revision: 3,
        compact_revision: -1,
        keys: vec![kv("a", "2", 2, 3, 2)],
        leases: Vec::new(),
    }];
    script
}

fn broken(spoil: impl FnOnce(&mut Internals)) -> Vec<(String, String)> {
    let mut script = replayed();
    spoil(&mut script.internals);
    let report = check(&script.history, Some(&script.internals));
    report.findings.into_iter().map(|finding| (finding.rule, finding.explanation)).collect()
}

#[test]
fn members_agree_with_the_model() {
    assert_eq!(broken(|_| {}), []);
    for (spoil, expected) in [
        (
            (|run| run.applied[1].revision = 4) as fn(&mut Internals),
            "after index 2 n1 is at revision 4, the model at 3",
        ),
        (
            |run| run.samples[0].keys[0].version = 1,
            "after index 2 n1 holds \"a\"=\"2\" created 2 modified 3 version 1 instead of \
             \"a\"=\"2\" created 2 modified 3 version 2, by the model",
        ),
        (
            |run| run.samples[0].keys.clear(),
            "after index 2 n1 holds no further key instead of \"a\"=\"2\" created 2 modified 3 \
             version 2, by the model",
        ),
        (
            |run| run.samples[0].leases.push((7, 10)),
            "after index 2 n1 holds the leases [(7, 10)] instead of [], by the model",
        ),
        (
            |run| run.samples[0].compact_revision = 2,
            "after index 2 n1 is compacted up to 2 instead of -1, by the model",
        ),
    ] {
        assert_eq!(broken(spoil), [("model-divergence".to_owned(), expected.to_owned())]);
    }
}

#[test]
fn an_unacknowledged_entry_that_members_refuse_alike_has_no_effect() {
    let found = broken(|run| {
        run.applied[1].revision = 2;
        run.samples[0].revision = 2;
        run.samples[0].keys = vec![kv("a", "1", 2, 2, 1)];
    });
    assert_eq!(found, []);
}

#[test]
fn equal_questions_about_hashes_have_equal_answers() {
    let mut script = Script::new();
    let ask = |script: &mut Script, member, hash, compact_revision| {
        let op = script.invoke_at(member, 10, Call::HashKv { revision: 5 });
        let body = Body::HashKv { hash, compact_revision, hash_revision: 5 };
        script.answer(op, 20, 9, body);
    };
    ask(&mut script, 0, 77, 3);
    ask(&mut script, 1, 77, 3);
    ask(&mut script, 2, 78, 4);
    assert_eq!(check(&script.history, None).findings, []);
    ask(&mut script, 2, 78, 3);
    let findings = check(&script.history, None).findings;
    assert_eq!(findings.len(), 1);
    assert_eq!(
        findings[0].explanation,
        "at revision 5, compacted at 3, n3 hashes to 78 and n1 to 77"
    );
}

#[test]
fn hashes_are_compared_at_the_revision_that_was_asked_for_when_no_other_is_told() {
    let mut script = Script::new();
    let ask = |script: &mut Script, member, revision, hash| {
        let op = script.invoke_at(member, 10, Call::HashKv { revision });
        script.answer(op, 20, 9, Body::HashKv { hash, compact_revision: 3, hash_revision: 0 });
    };
    ask(&mut script, 0, 0, 77);
    ask(&mut script, 1, 0, 78);
    ask(&mut script, 0, 5, 77);
    ask(&mut script, 1, 6, 78);
    assert_eq!(check(&script.history, None).findings, []);
    ask(&mut script, 2, 5, 78);
    assert_eq!(check(&script.history, None).findings.len(), 1);
}
