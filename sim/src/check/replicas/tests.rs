//! Members that agree and members that differ.

use detsim_reports::record::{Command, Committed, MemberName, Time};

use super::*;

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
        "index 2 (TermStart) is the first after which n2 differs from n1: term 2 revision 1 \
         digest 0000000000000015 against term 2 revision 1 digest 0000000000000014"
    );
}

#[test]
fn replaying_to_another_state_is_divergence() {
    let found = rules(vec![applied(0, 0, 2, 20), applied(0, 1, 2, 22)]);
    assert_eq!(found.len(), 1);
}
