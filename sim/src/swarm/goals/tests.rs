//! Goals on small records made by hand: each is reached by what it means, and not by less.

use std::collections::BTreeSet;

use detsim_reports::record::{
    Blob, ClientId, Committed, Header, History, Incident, Internals, MemberName, OpId, Put,
    RaftState, Reply, Verdict, VoteSent,
};

use super::*;

fn ms(at: u64) -> Time {
    Time(at * 1_000_000)
}

fn run() -> RunRecord {
    let members = (1..=3).map(|place| MemberName(format!("n{place}"))).collect();
    RunRecord {
        scenario: "swarm".to_owned(),
        seed: 1,
        world: "loop".to_owned(),
        verdict: Verdict::Passed,
        signature: String::new(),
        findings: Vec::new(),
        expected: Vec::new(),
        reason: String::new(),
        trace_hash: None,
        simulated_ns: 0,
        cpu_ns: 0,
        operations: 0,
        checked: Vec::new(),
        not_checked: Vec::new(),
        plan: String::new(),
        checks: Vec::new(),
        history: History { members, ..History::default() },
        internals: Internals::default(),
    }
}

fn incident(run: &mut RunRecord, at: u64, members: &[usize], what: &str) {
    let members = members.to_vec();
    run.history.incidents.push(Incident::plain(ms(at), members, what));
}

fn raft(run: &mut RunRecord, at: u64, member: usize, (term, role): (u64, RaftRole), last: u64) {
    run.internals.raft.push(RaftState {
        at: ms(at),
        cluster: 1,
        member,
        identity: member as u64 + 1,
        incarnation: 0,
        term,
        vote: 0,
        role,
        leader: 0,
        commit: 0,
        last_index: last,
    });
}

fn operation(run: &mut RunRecord, times: (u64, u64), call: Call, outcome: Outcome) -> OpId {
    let id = OpId(run.history.operations.len() as u32);
    run.history.operations.push(Operation {
        id,
        client: ClientId(0),
        member: 0,
        invoked: ms(times.0),
        call,
        completed: ms(times.1),
        outcome: Some(outcome),
    });
    id
}

fn put() -> Call {
    Call::Put(Put { key: Blob::text("k"), ..Put::default() })
}

fn committed(run: &mut RunRecord, at: u64, command: Command, op: Option<OpId>) {
    let index = run.internals.committed.len() as u64 + 1;
    let at = ms(at);
    run.internals.committed.push(Committed { at, cluster: 1, era: 0, index, term: 2, command, op });
}

fn has(run: &RunRecord, goal: &str) -> bool {
    assert!(GOALS.iter().any(|it| it.name == goal), "there is no goal {goal}");
    reached(run).contains(&goal)
}

#[test]
fn names_are_unique_and_a_run_without_events_reaches_nothing() {
    let names: BTreeSet<&str> = GOALS.iter().map(|goal| goal.name).collect();
    assert_eq!(names.len(), GOALS.len());
    assert_eq!(reached(&run()), Vec::<&str>::new());
}

#[test]
fn a_leader_counts_as_elected_in_a_cut_only_while_the_cut_lasts() {
    for (at, expected) in [(50, false), (150, true), (250, false)] {
        let mut run = run();
        incident(&mut run, 100, &[0, 1, 2], "cut n1 | n2 n3 class=votes");
        incident(&mut run, 200, &[0, 1, 2], "heal n1 | n2 n3");
        raft(&mut run, at, 1, (2, RaftRole::Leader), 1);
        assert_eq!(has(&run, "leader-changed-in-cut"), expected, "{at}");
    }
}

#[test]
fn a_replaced_leader_is_stale_until_it_knows() {
    let mut run = run();
    raft(&mut run, 10, 0, (2, RaftRole::Leader), 1);
    raft(&mut run, 100, 1, (3, RaftRole::Leader), 1);
    raft(&mut run, 200, 0, (3, RaftRole::Follower), 1);
    assert!(has(&run, "two-leaders"));
    operation(&mut run, (50, 60), put(), Outcome::Unknown(String::new()));
    operation(&mut run, (250, 260), put(), Outcome::Unknown(String::new()));
    assert!(!has(&run, "stale-leader-asked"));
    operation(&mut run, (150, 160), put(), Outcome::Unknown(String::new()));
    assert!(has(&run, "stale-leader-wrote"));
}

#[test]
fn a_leader_that_was_killed_is_no_second_leader() {
    let mut run = run();
    raft(&mut run, 10, 0, (2, RaftRole::Leader), 1);
    incident(&mut run, 50, &[0], "kill n1");
    raft(&mut run, 100, 1, (3, RaftRole::Leader), 1);
    assert!(!has(&run, "two-leaders"));
}

#[test]
fn a_vote_is_split_when_nobody_won_the_term() {
    let mut run = run();
    let vote = |candidate| VoteSent {
        at: ms(1),
        cluster: 1,
        member: 0,
        identity: 1,
        term: 4,
        candidate,
        durable: None,
    };
    run.internals.votes = vec![vote(1), vote(2)];
    assert!(has(&run, "split-vote"));
    raft(&mut run, 10, 0, (4, RaftRole::Leader), 1);
    assert!(!has(&run, "split-vote"));
}

#[test]
fn writes_of_unknown_outcome_are_told_apart_by_the_log() {
    let mut run = run();
    let op = operation(&mut run, (10, 20), put(), Outcome::Unknown(String::new()));
    assert!(has(&run, "unknown-lost") && !has(&run, "unknown-applied"));
    committed(&mut run, 30, Command::Client(put()), Some(op));
    assert!(!has(&run, "unknown-lost") && has(&run, "unknown-applied"));
    assert!(has(&run, "applied-after-timeout"));
}

#[test]
fn a_transaction_takes_its_else_branch() {
    let mut run = run();
    let answered = |succeeded| {
        let body = Body::Txn(TxnReply { succeeded, responses: Vec::new() });
        Outcome::Ok(Reply { header: Header::default(), body })
    };
    let txn = || Call::Txn(Box::default());
    operation(&mut run, (1, 2), txn(), answered(true));
    assert!(!has(&run, "txn-else") && !has(&run, "txn-then"));
    operation(&mut run, (3, 4), txn(), answered(false));
    assert!(has(&run, "txn-else"));
}

#[test]
fn a_lease_expires_while_its_owner_cannot_renew_it() {
    let mut run = run();
    committed(&mut run, 50, Command::LeaseExpired { id: 7 }, None);
    let renew = |id| Call::LeaseKeepAlive { id };
    operation(&mut run, (10, 20), renew(8), Outcome::Fail(String::new()));
    operation(&mut run, (60, 70), renew(7), Outcome::Fail(String::new()));
    assert!(has(&run, "lease-expired") && !has(&run, "lease-expired-unrenewed"));
    operation(&mut run, (11, 21), renew(7), Outcome::Fail(String::new()));
    assert!(has(&run, "lease-expired-unrenewed"));
}

#[test]
fn a_hung_leader_is_replaced_while_its_disk_hangs() {
    for (end, expected) in [(80, false), (180, true)] {
        let mut run = run();
        raft(&mut run, 10, 0, (2, RaftRole::Leader), 1);
        incident(&mut run, 50, &[0], "disk n1 hang");
        incident(&mut run, end, &[0], "disk n1 recover");
        raft(&mut run, 100, 1, (3, RaftRole::Leader), 1);
        assert_eq!(has(&run, "hung-leader-replaced"), expected);
    }
}
