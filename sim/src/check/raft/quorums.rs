//! Quorums and configurations: leaders are elected, and entries committed, by a majority of the
//! voters of the leader's configuration; learners count for nothing; only entries of the leader's
//! own term are committed by counting; configurations change one step at a time, and one change
//! waits for the other.

use std::collections::BTreeMap;

use detsim_reports::record::{Internals, RaftEvent, RaftFact, Time};

use super::Raft;
use crate::check::describe::identities;

/// The configuration in force in a process.
#[derive(Clone, Copy, Default)]
struct Configured<'a> {
    voters: &'a [u64],
    learners: &'a [u64],
    /// The voters before, and until when: a step may do something before it changes them.
    before: &'a [u64],
    until: Time,
}

impl<'a> Configured<'a> {
    /// Whether those for whom `counts` holds are a majority. If the configuration changed at `at`,
    /// they may be one of the voters before.
    fn decides(&self, at: Time, counts: impl Fn(u64) -> bool) -> bool {
        let decides = |voters: &[u64]| {
            voters.iter().filter(|voter| counts(**voter)).count() >= majority(voters)
        };
        decides(self.voters) || (at == self.until && decides(self.before))
    }

    fn next(&self, at: Time, voters: &'a [u64], learners: &'a [u64]) -> Configured<'a> {
        let before = if at == self.until { self.before } else { self.voters };
        Configured { voters, learners, before, until: at }
    }
}

/// How many of these voters decide. Nobody decides for nobody.
fn majority(voters: &[u64]) -> usize {
    voters.len() / 2 + 1
}

/// What is known while facts are read in order.
#[derive(Default)]
struct Quorums<'a> {
    /// By place and incarnation.
    configured: BTreeMap<(usize, u32), Configured<'a>>,
    /// When a candidate got whose vote, by cluster, term and candidate.
    votes: BTreeMap<(u64, u64, u64), Vec<(u64, Time)>>,
    /// How far a voter acknowledged a leader's log, by cluster, term, leader and voter.
    acknowledged: BTreeMap<(u64, u64, u64, u64), u64>,
    /// Which voters and learners an entry brought, by cluster and index, and who says so.
    agreed: BTreeMap<(u64, u64), Said<'a>>,
}

impl<'a> Quorums<'a> {
    /// A process has another configuration from here on. Returns the voters of the one before.
    fn enter(&mut self, fact: &RaftFact, voters: &'a [u64], learners: &'a [u64]) -> &'a [u64] {
        let process = self.configured.entry((fact.member, fact.incarnation)).or_default();
        let before = process.voters;
        *process = process.next(fact.at, voters, learners);
        before
    }
}

/// Voters, learners, and the place of who has them.
type Said<'a> = (&'a [u64], &'a [u64], usize);

impl Raft<'_> {
    /// Reads the facts in order.
    pub(super) fn quorums(&mut self, internals: &Internals) {
        let mut known = Quorums::default();
        for vote in &internals.votes {
            let ballot = (vote.cluster, vote.term, vote.candidate);
            known.votes.entry(ballot).or_default().push((vote.identity, vote.at));
        }
        for fact in &internals.facts {
            let process = (fact.member, fact.incarnation);
            match &fact.event {
                RaftEvent::Configured { index, voters, learners } => {
                    self.configured(&mut known, fact, (*index, voters, learners));
                }
                RaftEvent::Loaded { index, voters, learners } => {
                    self.loaded(&mut known, fact, (*index, voters, learners));
                }
                RaftEvent::Acknowledged { to, term, index, .. } => {
                    let whose = (fact.cluster, *term, *to, fact.identity);
                    let furthest = known.acknowledged.entry(whose).or_insert(0);
                    *furthest = (*furthest).max(*index);
                }
                RaftEvent::ChangeAppended { index, before, applied } if before > applied => {
                    let text = format!(
                        "{} appends a configuration change at index {index}, though it has applied \
                         its log up to {applied} and the change before is at {before}",
                        self.name(fact.member)
                    );
                    self.violate("one-change", vec![fact.member], fact.at, text);
                }
                RaftEvent::Elected { term, .. } => {
                    let configured = known.configured.get(&process).copied().unwrap_or_default();
                    let ballot = (fact.cluster, *term, fact.identity);
                    let votes = known.votes.get(&ballot).map_or(&[][..], |votes| votes);
                    self.elected(configured, fact, *term, votes);
                }
                RaftEvent::Committed { term, index, entry_term, durable } => {
                    let configured = known.configured.get(&process).copied().unwrap_or_default();
                    let counts = |voter: u64| {
                        let whose = (fact.cluster, *term, fact.identity, voter);
                        if voter == fact.identity {
                            durable >= index
                        } else {
                            known.acknowledged.get(&whose).is_some_and(|far| far >= index)
                        }
                    };
                    if !configured.decides(fact.at, counts) {
                        self.not_decided(configured, fact, (*term, *index, *durable), counts);
                    }
                    if entry_term != term {
                        let text = format!(
                            "{} commits up to index {index} in term {term} by counting, where an \
                             entry of term {entry_term} stands",
                            self.name(fact.member)
                        );
                        self.violate("commit-old-term", vec![fact.member], fact.at, text);
                    }
                }
                _ => {}
            }
        }
    }

    /// A configuration is one step from the one before, and the same for all.
    fn configured<'a>(
        &mut self,
        known: &mut Quorums<'a>,
        fact: &RaftFact,
        (index, voters, learners): (u64, &'a [u64], &'a [u64]),
    ) {
        let before = known.enter(fact, voters, learners);
        let both = before.iter().filter(|voter| !voters.contains(voter)).count() + voters.len();
        let can_part = majority(before) + majority(voters) <= both;
        if !before.is_empty() && !voters.is_empty() && can_part {
            let text = format!(
                "at index {index} {} goes from voters {} to {}, of which two majorities need not \
                 overlap",
                self.name(fact.member),
                identities(before),
                identities(voters)
            );
            self.violate("quorum-overlap", vec![fact.member], fact.at, text);
        }
        let place = (fact.cluster, index);
        let said = (voters, learners, fact.member);
        let agreed = *known.agreed.entry(place).or_insert(said);
        self.agree(fact, (index, voters, learners), agreed);
    }

    /// A database holds what the last change before brought. It may be several steps ahead of what
    /// the member had.
    fn loaded<'a>(
        &mut self,
        known: &mut Quorums<'a>,
        fact: &RaftFact,
        (index, voters, learners): (u64, &'a [u64], &'a [u64]),
    ) {
        known.enter(fact, voters, learners);
        let before = (fact.cluster, 0)..=(fact.cluster, index);
        if let Some((_, agreed)) = known.agreed.range(before).next_back() {
            self.agree(fact, (index, voters, learners), *agreed);
        }
    }

    fn agree(
        &mut self,
        fact: &RaftFact,
        (index, voters, learners): (u64, &[u64], &[u64]),
        (others, other_learners, by): Said<'_>,
    ) {
        if (others, other_learners) != (voters, learners) {
            let text = format!(
                "after index {index} {} has voters {} and learners {}, {} has {} and {}",
                self.name(fact.member),
                identities(voters),
                identities(learners),
                self.name(by),
                identities(others),
                identities(other_learners)
            );
            self.violate("configuration-agreement", vec![by, fact.member], fact.at, text);
        }
    }

    /// A leader is a voter, and a majority of voters voted for it.
    fn elected(
        &mut self,
        configured: Configured<'_>,
        fact: &RaftFact,
        term: u64,
        votes: &[(u64, Time)],
    ) {
        let (at, who) = (fact.at, self.name(fact.member));
        if !configured.decides(at, |voter| voter == fact.identity || has_voted(votes, voter, at)) {
            let granted: Vec<_> =
                votes.iter().filter(|vote| vote.1 <= at).map(|vote| vote.0).collect();
            let text = format!(
                "{who} becomes leader of term {term} with votes of {}; voters are {}, learners {}",
                identities(&granted),
                identities(configured.voters),
                identities(configured.learners)
            );
            self.violate("election-quorum", vec![fact.member], at, text);
        }
        let was_voter = at == configured.until && configured.before.contains(&fact.identity);
        if !was_voter && !configured.voters.contains(&fact.identity) {
            let text = format!(
                "{who} becomes leader of term {term}, and is none of the voters {}",
                identities(configured.voters)
            );
            self.violate("leader-not-voter", vec![fact.member], at, text);
        }
    }

    fn not_decided(
        &mut self,
        configured: Configured<'_>,
        fact: &RaftFact,
        (term, index, durable): (u64, u64, u64),
        counts: impl Fn(u64) -> bool,
    ) {
        let held: Vec<_> =
            configured.voters.iter().copied().filter(|voter| counts(*voter)).collect();
        let text = format!(
            "{} commits up to index {index} in term {term}, which of the voters {} only {} have on \
             their disks (its own up to {durable}); learners are {}",
            self.name(fact.member),
            identities(configured.voters),
            identities(&held),
            identities(configured.learners)
        );
        self.violate("commit-quorum", vec![fact.member], fact.at, text);
    }
}

fn has_voted(votes: &[(u64, Time)], voter: u64, at: Time) -> bool {
    votes.iter().any(|vote| vote.0 == voter && vote.1 <= at)
}
