//! Lists and configurations by hand: those that the log makes, and others.

use detsim_reports::record::{Applied, Command, MembershipChange, OpId, RaftFact, Time};

use super::*;
use crate::check::script::Script;

fn url(host: u64) -> Vec<String> {
    vec![format!("http://10.0.0.{host}:2380")]
}

fn entry(id: u64, is_learner: bool) -> MemberEntry {
    MemberEntry { id, peer_urls: url(id), is_learner, ..MemberEntry::default() }
}

fn voters(ids: &[u64]) -> Vec<MemberEntry> {
    ids.iter().map(|id| entry(*id, false)).collect()
}

fn change(script: &mut Script, at: u64, change: MembershipChange, op: Option<OpId>) {
    let command = Command::ConfChange { what: "a change".to_owned(), change: Some(change) };
    script.entry(at, command, op);
}

fn configured(script: &mut Script, member: usize, index: u64, voters: &[u64], learners: &[u64]) {
    let at = script.internals.committed[index as usize - 1].at;
    let (voters, learners) = (voters.to_vec(), learners.to_vec());
    script.internals.facts.push(RaftFact {
        at,
        cluster: 1,
        member,
        identity: member as u64 + 1,
        incarnation: 0,
        event: RaftEvent::Configured { index, voters, learners },
    });
}

fn members(members: Vec<MemberEntry>) -> Body {
    Body::Members { added: None, members }
}

fn list(script: &mut Script, from: u64, to: u64, is_local: bool, listed: Vec<MemberEntry>) {
    script.ok(from, to, Call::MemberList { linearizable: !is_local }, 0, members(listed));
}

/// Three members; a learner is added between 20 and 30, promoted between 40 and 50 by a member that
/// passes it on, and the third member is removed between 60 and 70.
fn churn() -> Script {
    let mut script = Script::new();
    for id in 1..=3 {
        change(&mut script, 1, MembershipChange::Add(entry(id, false)), None);
    }
    let add = script.invoke(20, Call::MemberAdd { peer_urls: url(4), is_learner: true });
    change(&mut script, 25, MembershipChange::Add(entry(4, true)), Some(add));
    let mut listed = voters(&[1, 2, 3]);
    listed.push(entry(4, true));
    script.answer(add, 30, 0, Body::Members { added: Some(4), members: listed });
    let promote = script.invoke(40, Call::MemberPromote { id: 4 });
    change(&mut script, 45, MembershipChange::Promote(4), None);
    script.answer(promote, 50, 0, members(voters(&[1, 2, 3, 4])));
    let remove = script.invoke(60, Call::MemberRemove { id: 3 });
    change(&mut script, 65, MembershipChange::Remove(3), Some(remove));
    script.answer(remove, 70, 0, members(voters(&[1, 2, 4])));
    configured(&mut script, 0, 4, &[1, 2, 3], &[4]);
    configured(&mut script, 0, 5, &[1, 2, 3, 4], &[]);
    configured(&mut script, 0, 6, &[1, 2, 4], &[]);
    script
}

fn rules(script: &Script) -> Vec<String> {
    let report = check(&script.history, Some(&script.internals));
    assert_eq!(report.not_checked, Vec::<String>::new());
    report.findings.into_iter().map(|finding| finding.rule).collect()
}

/// What is found when the churn went on like this.
fn broken(spoil: impl FnOnce(&mut Script)) -> Vec<String> {
    let mut script = churn();
    spoil(&mut script);
    rules(&script)
}

fn answer_of(script: &mut Script, op: usize) -> &mut Vec<MemberEntry> {
    match &mut script.history.operations[op].outcome {
        Some(Outcome::Ok(reply)) => match &mut reply.body {
            Body::Members { members, .. } => members,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_that_the_log_makes_are_right() {
    assert_eq!(rules(&churn()), Vec::<String>::new());
    let lists = broken(|script| {
        list(script, 10, 15, false, voters(&[1, 2, 3]));
        list(script, 60, 68, false, voters(&[1, 2, 3, 4]));
        list(script, 60, 68, false, voters(&[1, 2, 4]));
        list(script, 80, 90, false, voters(&[1, 2, 4]));
        list(script, 80, 90, true, voters(&[1, 2, 3]));
    });
    assert_eq!(lists, Vec::<String>::new());
}

#[test]
fn a_linearizable_list_shows_every_change_before_it_and_none_after() {
    let late = broken(|script| list(script, 66, 80, false, voters(&[1, 2, 3, 4])));
    assert_eq!(late, ["wrong-list"]);
    let early = broken(|script| list(script, 55, 62, false, voters(&[1, 2, 4])));
    assert_eq!(early, ["wrong-list"]);
}

#[test]
fn a_local_list_shows_a_state_that_was() {
    let never = broken(|script| list(script, 80, 90, true, voters(&[1, 4])));
    assert_eq!(never, ["wrong-local-list"]);
    let future = broken(|script| list(script, 55, 62, true, voters(&[1, 2, 4])));
    assert_eq!(future, ["wrong-local-list"]);
}

#[test]
fn a_change_is_answered_with_the_members_after_it() {
    assert_eq!(broken(|script| drop(answer_of(script, 0).pop())), ["wrong-reply"]);
    assert_eq!(broken(|script| answer_of(script, 1)[3].is_learner = true), ["wrong-reply"]);
    let removed = broken(|script| answer_of(script, 2).push(entry(3, false)));
    assert_eq!(removed, ["wrong-reply"]);
    let moved = broken(|script| answer_of(script, 2)[0].peer_urls = url(9));
    assert_eq!(moved, ["wrong-reply"]);
    let other = broken(|script| match &mut script.history.operations[0].outcome {
        Some(Outcome::Ok(reply)) => {
            let members = answer_of(&mut churn(), 0).clone();
            reply.body = Body::Members { added: Some(5), members };
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(other, ["wrong-reply"]);
}

#[test]
fn a_promotion_that_nobody_committed_is_not_answered() {
    let nobody = broken(|script| {
        let id = 4;
        script.ok(80, 90, Call::MemberPromote { id }, 0, members(voters(&[1, 2, 4])));
    });
    assert_eq!(nobody, ["wrong-reply"]);
}

#[test]
fn members_that_are_all_wrong_alike_are_seen() {
    let alike = broken(|script| {
        script.internals.facts.clear();
        for member in 0..3 {
            configured(script, member, 6, &[1, 2, 3, 4], &[]);
        }
    });
    assert_eq!(alike, ["wrong-configuration"; 3]);
    let learner = broken(|script| configured(script, 1, 5, &[1, 2, 3], &[4]));
    assert_eq!(learner, ["wrong-configuration"]);
}

#[test]
fn a_database_holds_the_members_of_its_index() {
    let loaded = |index: u64, voters: &[u64]| {
        broken(|script| {
            configured(script, 1, 1, voters, &[]);
            let fact = script.internals.facts.last_mut().expect("one was recorded");
            let voters = voters.to_vec();
            fact.event = RaftEvent::Loaded { index, voters, learners: Vec::new() };
        })
    };
    assert_eq!(loaded(5, &[1, 2, 3, 4]), Vec::<String>::new());
    assert_eq!(loaded(6, &[1, 2, 3, 4]), ["wrong-configuration"]);
}

#[test]
fn a_change_without_effect_has_none_and_one_with_effect_has_one() {
    let again = |script: &mut Script| {
        change(script, 80, MembershipChange::Add(entry(3, false)), None);
        change(script, 81, MembershipChange::Promote(1), None);
        change(script, 82, MembershipChange::Update { member: 1, peer_urls: url(2) }, None);
        list(script, 90, 95, false, voters(&[1, 2, 4]));
    };
    assert_eq!(broken(again), Vec::<String>::new());
    let carried_out = broken(|script| {
        again(script);
        configured(script, 0, 7, &[1, 2, 4], &[]);
    });
    assert_eq!(carried_out, ["void-change"]);
    let applied = Applied {
        at: Time(100),
        cluster: 1,
        member: 0,
        incarnation: 0,
        index: 6,
        term: 2,
        revision: 1,
        digest: 0,
    };
    assert_eq!(broken(|script| script.internals.applied.push(applied)), Vec::<String>::new());
    let ignored = broken(|script| {
        script.internals.applied.push(applied);
        script.internals.facts.pop();
    });
    assert_eq!(ignored, ["ignored-change"]);
}

#[test]
fn a_learner_beyond_the_limit_has_no_effect() {
    let two = |limit: usize| {
        broken(|script| {
            script.history.settings.max_learners = limit;
            change(script, 80, MembershipChange::Add(entry(5, true)), None);
            change(script, 81, MembershipChange::Add(entry(6, true)), None);
            let mut listed = voters(&[1, 2, 4]);
            listed.extend([entry(5, true), entry(6, true)]);
            list(script, 90, 95, false, listed);
        })
    };
    assert_eq!(two(2), Vec::<String>::new());
    assert_eq!(two(1), ["wrong-list"]);
}

#[test]
fn names_and_client_urls_are_those_published_last() {
    let published = |name: &str, listed: &str| {
        broken(|script| {
            let client_urls = vec!["http://10.0.0.1:2379".to_owned()];
            let (name, urls) = (name.to_owned(), client_urls.clone());
            script.entry(80, Command::Attributes { member: 1, name, client_urls }, None);
            let mut all = voters(&[1, 2, 4]);
            (all[0].name, all[0].client_urls) = (listed.to_owned(), urls);
            list(script, 90, 95, false, all);
        })
    };
    assert_eq!(published("n1", "n1"), Vec::<String>::new());
    assert_eq!(published("n1", "n2"), ["wrong-list"]);
}

#[test]
fn founders_of_which_only_the_identity_is_recorded_may_have_any_url() {
    let mut script = Script::new();
    for id in 1..=2 {
        let what = format!("add {id:x}");
        script.entry(1, Command::ConfChange { what, change: None }, None);
    }
    list(&mut script, 10, 20, false, voters(&[1, 2]));
    assert_eq!(rules(&script), Vec::<String>::new());
    list(&mut script, 30, 40, false, voters(&[1]));
    assert_eq!(rules(&script), ["wrong-list"]);
}

#[test]
fn a_log_with_a_gap_judges_nothing() {
    let mut script = churn();
    script.internals.committed.remove(2);
    *answer_of(&mut script, 2) = voters(&[1]);
    let report = check(&script.history, Some(&script.internals));
    assert_eq!(report.not_checked, ["the members of cluster 1: its log is not whole"]);
    assert_eq!(report.findings, []);
}
