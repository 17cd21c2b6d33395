//! A sound run, and one broken in each way.

mod facts;

use detsim_reports::record::{Command, Committed, MemberName, VoteSent};

use super::*;

fn state(at: u64, member: usize, term: u64, role: RaftRole) -> RaftState {
    RaftState {
        at: Time(at),
        cluster: 1,
        member,
        identity: member as u64 + 10,
        incarnation: 0,
        term,
        vote: 0,
        role,
        leader: if role == RaftRole::Leader { member as u64 + 10 } else { 0 },
        commit: 0,
        last_index: 5,
    }
}

fn applied(at: u64, member: usize, index: u64, term: u64) -> Applied {
    Applied {
        at: Time(at),
        cluster: 1,
        member,
        incarnation: 0,
        index,
        term,
        revision: 1,
        digest: 0,
    }
}

fn committed(at: u64, index: u64, term: u64, command: Command) -> Committed {
    Committed { at: Time(at), cluster: 1, era: 0, index, term, command, op: None }
}

fn vote(member: usize, term: u64, candidate: u64) -> VoteSent {
    let identity = member as u64 + 10;
    let durable = Some((term, candidate));
    VoteSent { at: Time(1), cluster: 1, member, identity, term, candidate, durable }
}

/// `n1` leads term 2, `n2` term 3; three entries are applied by both.
fn sound() -> Internals {
    Internals {
        raft: vec![
            state(10, 0, 2, RaftRole::Leader),
            RaftState { leader: 10, ..state(11, 1, 2, RaftRole::Follower) },
            RaftState { commit: 3, ..state(30, 1, 3, RaftRole::Leader) },
        ],
        votes: vec![vote(0, 2, 10), vote(1, 2, 10), vote(1, 3, 11)],
        applied: [0, 1]
            .into_iter()
            .flat_map(|member| (1..=3).map(move |index| applied(10 + index, member, index, 2)))
            .collect(),
        ..Internals::default()
    }
}

fn rules(internals: &Internals) -> Vec<String> {
    let members = ["n1", "n2"].map(|name| MemberName(name.to_owned())).to_vec();
    let history = History { members, ..History::default() };
    let report = check(&history, Some(internals));
    report.findings.into_iter().map(|finding| finding.rule).collect()
}

fn broken(spoil: impl FnOnce(&mut Internals)) -> Vec<String> {
    let mut internals = sound();
    spoil(&mut internals);
    rules(&internals)
}

#[test]
fn a_sound_run_passes() {
    assert_eq!(rules(&sound()), Vec::<String>::new());
}

#[test]
fn a_term_has_one_leader() {
    assert_eq!(broken(|run| run.raft[2].term = 2), ["election-safety"]);
    assert_eq!(broken(|run| run.raft[1].leader = 12), ["election-safety"]);
    let other_cluster = broken(|run| {
        run.raft[2].term = 2;
        run.raft[2].cluster = 2;
    });
    assert_eq!(other_cluster, Vec::<String>::new());
}

#[test]
fn a_member_votes_once_in_a_term() {
    assert_eq!(broken(|run| run.votes.push(vote(1, 2, 11))), ["vote-once"]);
    let changed = broken(|run| {
        run.raft.insert(2, RaftState { vote: 11, ..state(20, 1, 2, RaftRole::Follower) });
        run.raft.insert(3, RaftState { vote: 10, ..state(21, 1, 2, RaftRole::Follower) });
    });
    assert_eq!(changed, ["vote-once"]);
}

#[test]
fn terms_and_commits_never_go_back_within_a_process() {
    assert_eq!(
        broken(|run| run.raft.push(state(40, 1, 2, RaftRole::Follower))),
        ["term-monotone", "commit-monotone"]
    );
    let restarted = broken(|run| {
        run.raft.push(RaftState { incarnation: 1, ..state(40, 1, 2, RaftRole::Follower) });
    });
    assert_eq!(restarted, Vec::<String>::new());
    assert_eq!(broken(|run| run.raft[2].commit = 6), ["commit-beyond-log"]);
}

#[test]
fn an_index_holds_one_entry() {
    assert_eq!(broken(|run| run.applied[5].term = 3), ["log-matching"]);
    let falling = broken(|run| {
        run.applied[2].term = 1;
        run.applied[5].term = 1;
    });
    assert_eq!(falling, ["log-matching"]);
    let entry = committed(1, 2, 1, Command::TermStart);
    assert_eq!(broken(|run| run.committed.push(entry)), ["log-matching"]);
}

#[test]
fn entries_are_applied_once_in_order() {
    assert_eq!(broken(|run| run.applied.push(applied(20, 1, 3, 2))), ["applied-order"]);
}

#[test]
fn a_leader_holds_what_was_committed_before() {
    assert_eq!(
        broken(|run| {
            run.raft[2].last_index = 2;
            run.raft[2].commit = 2;
        }),
        ["leader-completeness"]
    );
}

#[test]
fn a_learner_that_is_promoted_holds_something() {
    let change = |index: u64, what: &str| {
        committed(20, index, 2, Command::ConfChange { what: what.to_owned(), change: None })
    };
    let promoted = |run: &mut Internals, who: &str| {
        run.committed.push(change(1, &format!("add learner {who}")));
        run.committed.push(change(2, &format!("add {who}")));
    };
    assert_eq!(broken(|run| promoted(run, "b")), Vec::<String>::new());
    assert_eq!(broken(|run| promoted(run, "c")), ["promoted-unready"]);
    let empty = broken(|run| {
        run.raft[1].last_index = 0;
        promoted(run, "b");
    });
    assert_eq!(empty, ["promoted-unready"]);
    assert_eq!(broken(|run| run.committed.push(change(1, "add c"))), Vec::<String>::new());
}
