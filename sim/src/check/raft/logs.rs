//! Logs as outlines, whether applied or not: where each term begins is the same in every log, what
//! is committed is never replaced, leaders only append, and who is elected holds, term by term,
//! what was committed under earlier leaders.

use std::collections::BTreeMap;

use detsim_reports::record::{RaftEvent, RaftFact, Time};

use super::Raft;

/// A leader's log: what it was elected with, and what it committed since.
struct Led<'a> {
    member: usize,
    runs: &'a [(u64, u64)],
    last: u64,
    committed: u64,
    at: Time,
}

impl Led<'_> {
    /// The first index up to `end` at which this log, whose leader leads `term`, and a later
    /// leader's differ.
    fn difference(&self, term: u64, later: &Led<'_>) -> Option<u64> {
        let own = [(self.last + 1, term)];
        let runs = || self.runs.iter().chain(&own);
        let end = self.committed;
        let term_in = |index: u64| {
            let run = later.runs.iter().rev().find(|run| run.0 <= index);
            run.filter(|_| index <= later.last).map(|run| run.1)
        };
        // Within a run of both logs terms do not change, so looking where either begins a run, and
        // behind where the other ends, is enough.
        let bounds = runs().chain(later.runs).map(|run| run.0).chain([later.last + 1, end]);
        let mut bounds: Vec<_> = bounds.filter(|index| (1..=end).contains(index)).collect();
        bounds.sort_unstable();
        let here = |index: u64| runs().rfind(|run| run.0 <= index).map(|run| run.1);
        bounds.into_iter().find(|&index| here(index) != term_in(index))
    }
}

impl Raft<'_> {
    /// A term begins at the same index, after the same term, in every log.
    pub(super) fn runs(&mut self, facts: &[RaftFact]) {
        let mut known: BTreeMap<(u64, u64), (u64, u64, usize)> = BTreeMap::new();
        for fact in facts {
            let RaftEvent::Run { first, term, before } = fact.event else { continue };
            if before > term {
                let text = format!(
                    "in the log of {} an entry of term {term} at index {first} follows one of term \
                     {before}",
                    self.name(fact.member)
                );
                self.violate("log-matching", vec![fact.member], fact.at, text);
            }
            let place = (fact.cluster, term);
            let (index, other, by) = *known.entry(place).or_insert((first, before, fact.member));
            if (index, other) != (first, before) {
                let text = format!(
                    "term {term} begins at index {first} after term {before} in the log of {}, and \
                     at {index} after term {other} in that of {}",
                    self.name(fact.member),
                    self.name(by)
                );
                self.violate("log-matching", vec![by, fact.member], fact.at, text);
            }
        }
    }

    /// What is committed stays, and leaders only append.
    pub(super) fn replaced(&mut self, facts: &[RaftFact]) {
        for fact in facts {
            let RaftEvent::Replaced { first, last, commit, leads } = fact.event else { continue };
            let who = self.name(fact.member);
            if first <= commit {
                let text = format!(
                    "{who} replaces its log from {first}, though it is committed up to {commit}"
                );
                self.violate("committed-replaced", vec![fact.member], fact.at, text);
            }
            if leads {
                let text =
                    format!("{who} replaces entries {first} to {last} of its log while it leads");
                self.violate("leader-append-only", vec![fact.member], fact.at, text);
            }
        }
    }

    /// A leader's log holds what leaders of earlier terms have committed, whenever they did.
    pub(super) fn leaders_complete(&mut self, facts: &[RaftFact]) {
        let mut led: BTreeMap<(u64, u64), Led<'_>> = BTreeMap::new();
        for fact in facts {
            let cluster = fact.cluster;
            let first_of = (cluster, 0);
            match &fact.event {
                RaftEvent::Elected { term, log, last } => {
                    let own = Led {
                        member: fact.member,
                        runs: log,
                        last: *last,
                        committed: 0,
                        at: fact.at,
                    };
                    let mut earlier = led.range(first_of..(cluster, *term)).rev();
                    let earlier = earlier.find(|(_, led)| led.committed > 0);
                    let missing = earlier.and_then(|(&(_, before), one)| {
                        one.difference(before, &own).map(|index| (before, one.committed, index))
                    });
                    led.entry((cluster, *term)).or_insert(own);
                    if let Some(missing) = missing {
                        self.incomplete(fact.member, *term, fact.at, missing);
                    }
                }
                RaftEvent::Committed { term, index, .. } => {
                    let Some(own) = led.get_mut(&(cluster, *term)) else { continue };
                    own.committed = own.committed.max(*index);
                    let own = &led[&(cluster, *term)];
                    let mut later = led.range((cluster, *term + 1)..=(cluster, u64::MAX));
                    let missing = later.find_map(|(&(_, after), later)| {
                        let index = own.difference(*term, later)?;
                        Some((later.member, after, later.at, index))
                    });
                    if let Some((member, after, at, at_index)) = missing {
                        self.incomplete(member, after, at, (*term, *index, at_index));
                    }
                }
                _ => {}
            }
        }
    }

    fn incomplete(
        &mut self,
        member: usize,
        term: u64,
        at: Time,
        (before, committed, index): (u64, u64, u64),
    ) {
        let text = format!(
            "{} leads term {term} with a log that differs at index {index} from what the leader of \
             term {before} committed up to {committed}",
            self.name(member)
        );
        self.violate("leader-completeness", vec![member], at, text);
    }
}
