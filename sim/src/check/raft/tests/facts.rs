//! Disks, logs, quorums and configurations: two terms of three voters and a learner, and every way
//! to break them.

use detsim_reports::record::{Internals, RaftEvent, RaftFact, Time, VoteSent};

use super::rules;

const CLUSTER: u64 = 1;

/// Identities of the members at places 0 to 3; the last is a learner.
const IDENTITIES: [u64; 4] = [10, 11, 12, 13];

fn fact(at: u64, member: usize, event: RaftEvent) -> RaftFact {
    let identity = IDENTITIES[member];
    RaftFact { at: Time(at), cluster: CLUSTER, member, identity, incarnation: 0, event }
}

fn run(first: u64, term: u64, before: u64) -> RaftEvent {
    RaftEvent::Run { first, term, before }
}

fn configured(index: u64, voters: &[u64], learners: &[u64]) -> RaftEvent {
    RaftEvent::Configured { index, voters: voters.to_vec(), learners: learners.to_vec() }
}

fn acknowledged(to: u64, term: u64, index: u64) -> RaftEvent {
    RaftEvent::Acknowledged { to, term, index, durable: Some(index) }
}

fn committed(term: u64, index: u64) -> RaftEvent {
    RaftEvent::Committed { term, index, entry_term: term, durable: index }
}

fn vote(at: u64, member: usize, term: u64, candidate: u64) -> VoteSent {
    let durable = Some((term, candidate));
    let identity = IDENTITIES[member];
    VoteSent { at: Time(at), cluster: CLUSTER, member, identity, term, candidate, durable }
}

const ELECTED_FIRST: usize = 20;
const COMMITTED_FIRST: usize = 23;
const ELECTED_LATER: usize = 26;
const COMMITTED_LATER: usize = 29;

/// Three members found a cluster and add a learner, all in entries of term 1. The first leads
/// term 2 and commits up to 6; the second leads term 3 and commits up to 8.
fn sound() -> Internals {
    let mut facts = Vec::new();
    for member in 0..4 {
        facts.push(fact(1, member, run(1, 1, 0)));
        for (index, voters) in [(1, 1), (2, 2), (3, 3)] {
            facts.push(fact(1 + index, member, configured(index, &IDENTITIES[..voters], &[])));
        }
        facts.push(fact(5, member, configured(4, &IDENTITIES[..3], &[13])));
    }
    assert_eq!(facts.len(), ELECTED_FIRST);
    let log = vec![(1, 1)];
    facts.extend([
        fact(10, 0, RaftEvent::Elected { term: 2, log: log.clone(), last: 4 }),
        fact(11, 3, acknowledged(10, 2, 6)),
        fact(12, 1, acknowledged(10, 2, 6)),
        fact(13, 0, committed(2, 6)),
        fact(14, 1, run(5, 2, 1)),
        fact(14, 2, run(5, 2, 1)),
    ]);
    let log = vec![(1, 1), (5, 2)];
    facts.extend([
        fact(20, 1, RaftEvent::Elected { term: 3, log, last: 6 }),
        fact(21, 1, RaftEvent::ChangeAppended { index: 8, before: 4, applied: 6 }),
        fact(22, 2, acknowledged(11, 3, 8)),
        fact(23, 1, committed(3, 8)),
        fact(24, 2, RaftEvent::ReadIndex { index: 8, floor: 8 }),
        fact(25, 0, RaftEvent::Replaced { first: 7, last: 7, commit: 6, leads: false }),
    ]);
    let votes = vec![vote(9, 0, 2, 10), vote(9, 2, 2, 10), vote(19, 1, 3, 11), vote(19, 2, 3, 11)];
    Internals { facts, votes, ..Internals::default() }
}

fn broken(spoil: impl FnOnce(&mut Internals)) -> Vec<String> {
    let mut internals = sound();
    spoil(&mut internals);
    rules(&internals)
}

fn with(internals: &mut Internals, at: u64, member: usize, event: RaftEvent) {
    internals.facts.push(fact(at, member, event));
}

#[test]
fn a_sound_run_passes() {
    assert_eq!(rules(&sound()), Vec::<String>::new());
}

#[test]
fn a_database_has_the_configuration_of_the_last_change_before() {
    let loaded = |index, voters: &[u64], learners: &[u64]| RaftEvent::Loaded {
        index,
        voters: voters.to_vec(),
        learners: learners.to_vec(),
    };
    let rules = |event: RaftEvent| broken(|run| with(run, 30, 2, event));
    assert_eq!(rules(loaded(6, &IDENTITIES[..3], &[13])), Vec::<String>::new());
    assert_eq!(rules(loaded(6, &IDENTITIES[..2], &[13])), ["configuration-agreement"]);
    assert_eq!(rules(loaded(6, &IDENTITIES[..3], &[])), ["configuration-agreement"]);
}

#[test]
fn a_vote_is_durable_before_it_leaves() {
    assert_eq!(broken(|run| run.votes[1].durable = Some((1, 0))), ["vote-durable"]);
    assert_eq!(broken(|run| run.votes[1].durable = Some((2, 0))), ["vote-durable"]);
    assert_eq!(broken(|run| run.votes[1].durable = Some((2, 11))), ["vote-durable"]);
    // A later term on the disk keeps the member from voting again as well, and what was not
    // watched is not judged.
    assert_eq!(broken(|run| run.votes[1].durable = Some((3, 11))), Vec::<String>::new());
    assert_eq!(broken(|run| run.votes[1].durable = None), Vec::<String>::new());
}

#[test]
fn what_is_acknowledged_is_durable() {
    let ahead = RaftEvent::Acknowledged { to: 11, term: 3, index: 9, durable: Some(8) };
    assert_eq!(broken(|run| with(run, 30, 2, ahead)), ["ack-durable"]);
    let of_the_past = RaftEvent::Acknowledged { to: 10, term: 2, index: 7, durable: None };
    assert_eq!(broken(|run| with(run, 30, 2, of_the_past)), Vec::<String>::new());
}

#[test]
fn a_read_index_covers_what_was_committed() {
    let stale = RaftEvent::ReadIndex { index: 7, floor: 8 };
    assert_eq!(broken(|run| with(run, 30, 0, stale)), ["read-index"]);
}

#[test]
fn a_majority_of_voters_elects() {
    assert_eq!(broken(|run| run.votes.truncate(3)), ["election-quorum"]);
    assert_eq!(broken(|run| run.votes[3].at = Time(21)), ["election-quorum"]);
    let by_a_learner = broken(|run| run.votes[3] = vote(19, 3, 3, 11));
    assert_eq!(by_a_learner, ["election-quorum"]);
}

#[test]
fn a_learner_does_not_lead() {
    let led = broken(|run| {
        let log = vec![(1, 1), (5, 2), (7, 3)];
        run.votes.extend([vote(30, 1, 4, 13), vote(30, 2, 4, 13)]);
        with(run, 31, 3, RaftEvent::Elected { term: 4, log, last: 8 });
    });
    assert_eq!(led, ["leader-not-voter"]);
}

#[test]
fn a_majority_of_voters_commits() {
    let nobody = broken(|run| run.facts[COMMITTED_LATER - 1].event = acknowledged(11, 3, 7));
    assert_eq!(nobody, ["commit-quorum"]);
    let only_a_learner = broken(|run| run.facts[COMMITTED_FIRST - 1].member = 3);
    assert_eq!(only_a_learner, Vec::<String>::new(), "identities count, not places");
    let only_a_learner = broken(|run| run.facts[COMMITTED_FIRST - 1].identity = 13);
    assert_eq!(only_a_learner, ["commit-quorum"]);
    let of_another_term =
        broken(|run| run.facts[COMMITTED_LATER - 1].event = acknowledged(11, 2, 8));
    assert_eq!(of_another_term, ["commit-quorum"]);
}

#[test]
fn a_leader_counts_its_own_disk() {
    let event = RaftEvent::Committed { term: 3, index: 8, entry_term: 3, durable: 7 };
    assert_eq!(broken(|run| run.facts[COMMITTED_LATER].event = event.clone()), ["commit-quorum"]);
    let by_two_others = broken(|run| {
        run.facts[COMMITTED_LATER].event = event.clone();
        run.facts.insert(COMMITTED_LATER, fact(22, 0, acknowledged(11, 3, 8)));
    });
    assert_eq!(by_two_others, Vec::<String>::new());
}

#[test]
fn a_configuration_counts_until_the_step_that_ends_it() {
    let removed = |at: u64| {
        broken(|run| {
            let position = COMMITTED_FIRST;
            let event = configured(5, &[10, 12], &[13]);
            run.facts.insert(position, fact(at, 0, event));
        })
    };
    assert_eq!(removed(13), Vec::<String>::new());
    assert_eq!(removed(12), ["commit-quorum"]);
}

#[test]
fn a_leader_commits_by_counting_in_its_own_term() {
    let old = RaftEvent::Committed { term: 3, index: 6, entry_term: 2, durable: 6 };
    let early = broken(|run| {
        run.facts.insert(COMMITTED_LATER, fact(22, 1, old));
        run.facts.insert(COMMITTED_LATER, fact(22, 2, acknowledged(11, 3, 6)));
    });
    assert_eq!(early, ["commit-old-term"]);
}

#[test]
fn one_configuration_change_waits_for_the_other() {
    let second = RaftEvent::ChangeAppended { index: 9, before: 8, applied: 7 };
    assert_eq!(broken(|run| with(run, 30, 1, second)), ["one-change"]);
}

#[test]
fn configurations_overlap_and_agree() {
    let two_at_once = configured(9, &[10, 14, 15], &[13]);
    assert_eq!(broken(|run| with(run, 30, 1, two_at_once)), ["quorum-overlap"]);
    let one_at_a_time = broken(|run| {
        with(run, 30, 1, configured(9, &[10, 11], &[13]));
        with(run, 31, 1, configured(10, &[10, 11, 13], &[]));
    });
    assert_eq!(one_at_a_time, Vec::<String>::new());
    let other_for_another = broken(|run| {
        with(run, 30, 1, configured(9, &[10, 11], &[13]));
        with(run, 31, 2, configured(9, &[10, 11], &[]));
    });
    assert_eq!(other_for_another, ["configuration-agreement"]);
}

#[test]
fn a_term_begins_at_one_place_in_every_log() {
    assert_eq!(broken(|it| with(it, 30, 2, run(6, 2, 1))), ["log-matching"]);
    assert_eq!(broken(|it| with(it, 30, 2, run(5, 2, 0))), ["log-matching"]);
    assert_eq!(broken(|it| with(it, 30, 2, run(9, 4, 5))), ["log-matching"]);
    assert_eq!(broken(|it| with(it, 30, 2, run(7, 3, 2))), Vec::<String>::new());
}

#[test]
fn what_is_committed_is_never_replaced_and_leaders_only_append() {
    let committed = RaftEvent::Replaced { first: 6, last: 7, commit: 6, leads: false };
    assert_eq!(broken(|run| with(run, 30, 0, committed)), ["committed-replaced"]);
    let leader = RaftEvent::Replaced { first: 9, last: 9, commit: 8, leads: true };
    assert_eq!(broken(|run| with(run, 30, 1, leader)), ["leader-append-only"]);
}

#[test]
fn a_leader_holds_the_committed_entries_and_no_others_in_their_place() {
    let elected = |log: &[(u64, u64)], last: u64| {
        broken(|run| {
            run.facts[ELECTED_LATER].event =
                RaftEvent::Elected { term: 3, log: log.to_vec(), last };
        })
    };
    assert_eq!(elected(&[(1, 1), (5, 2)], 9), Vec::<String>::new());
    assert_eq!(elected(&[(1, 1), (5, 2)], 5), ["leader-completeness"]);
    assert_eq!(elected(&[(1, 1)], 6), ["leader-completeness"]);
    assert_eq!(elected(&[(1, 1), (6, 2)], 6), ["leader-completeness"]);
    assert_eq!(elected(&[], 0), ["leader-completeness"]);
}

#[test]
fn a_deposed_leader_commits_only_what_its_successor_holds() {
    let late = |index: u64| {
        broken(|run| {
            with(run, 40, 2, acknowledged(10, 2, index));
            with(run, 41, 0, committed(2, index));
        })
    };
    assert_eq!(late(6), Vec::<String>::new());
    assert_eq!(late(7), ["leader-completeness"]);
}

#[test]
fn a_database_fits_its_log_and_holds_what_its_disk_vouched_for() {
    let found = |snapshot: u64, last: u64, consistent: u64, promised: u64| {
        let damage = if promised == 99 { vec!["page 3: lost".to_owned()] } else { Vec::new() };
        let found = RaftEvent::Found { snapshot, last, consistent, promised, damage };
        broken(|run| with(run, 30, 1, found))
    };
    assert_eq!(found(4, 8, 6, 6), Vec::<String>::new());
    assert_eq!(found(4, 6, 6, 5), Vec::<String>::new());
    assert_eq!(found(7, 8, 6, 6), ["database-behind-snapshot"]);
    assert_eq!(found(4, 5, 6, 6), ["database-ahead-of-log"]);
    assert_eq!(found(4, 8, 6, 7), ["database-lost"]);
    assert_eq!(found(4, 8, 6, 99), ["database-damaged", "database-lost"]);
}

#[test]
fn a_log_holds_what_its_disk_vouched_for() {
    let resumed = |found_term: u64, found_vote: (u64, u64)| {
        let (promised, promised_term, promised_vote) = (7, 3, (3, 11));
        let last = if found_term == 0 { 6 } else { 8 };
        let resumed = RaftEvent::Resumed {
            last,
            promised,
            promised_term,
            found_term,
            promised_vote,
            found_vote,
        };
        broken(|run| with(run, 30, 1, resumed))
    };
    assert_eq!(resumed(3, (3, 11)), Vec::<String>::new());
    assert_eq!(resumed(3, (4, 0)), Vec::<String>::new());
    assert_eq!(resumed(0, (3, 11)), ["log-lost"]);
    assert_eq!(resumed(2, (3, 11)), ["log-lost"]);
    assert_eq!(resumed(3, (2, 11)), ["vote-lost"]);
    assert_eq!(resumed(3, (3, 12)), ["vote-lost"]);
    assert_eq!(resumed(3, (3, 0)), ["vote-lost"]);
}
