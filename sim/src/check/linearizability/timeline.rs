//! The one order of effects that a run is taken to have had, with the state at every revision: what
//! watches and local reads are held against.

use std::collections::BTreeSet;

use detsim_reports::record::{Blob, KeyValue, Time};

use crate::model::Model;

/// What a timeline rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum Basis {
    /// The raft log, verified against every reply.
    Witness,
    /// An order that a search found, consistent with every reply.
    Search,
    /// The raft log, although replies contradict it.
    Log,
}

impl Basis {
    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Basis::Witness => "the verified log",
            Basis::Search => "an order found by search",
            Basis::Log => "the log, which replies contradict (white box)",
        }
    }
}

/// The order of effects.
#[derive(Clone, Debug)]
pub(in crate::check) struct Timeline {
    /// The state at the end, with all history.
    pub model: Model,
    /// What it rests on.
    pub basis: Basis,
    /// When each revision can have existed at the earliest, from 1 on. Those that are left out came
    /// with the next one.
    born: Vec<(i64, Time)>,
    /// Compactions that happened or may have: the revision, and when at the earliest.
    compactions: Vec<(i64, Time)>,
    compacted_to: i64,
    /// Revisions that nobody saw, filled with what may as well never have happened.
    doubtful: BTreeSet<i64>,
}

impl Timeline {
    /// Of an empty store.
    pub fn new(model: Model, basis: Basis) -> Timeline {
        Timeline {
            model,
            basis,
            born: vec![(1, Time::ZERO)],
            compactions: Vec::new(),
            compacted_to: -1,
            doubtful: BTreeSet::new(),
        }
    }

    /// The model has taken a step: a revision that it made cannot have existed before `earliest`,
    /// nor a compaction before it was asked for.
    pub fn note(&mut self, earliest: Time, invoked: Time) {
        let revision = self.model.revision();
        if self.born.last().is_none_or(|(last, _)| revision > *last) {
            self.born.push((revision, earliest));
        }
        if self.model.compact_revision() > self.compacted_to {
            self.compacted_to = self.model.compact_revision();
            self.compactions.push((self.compacted_to, invoked));
        }
    }

    /// Something of unknown outcome stands at this revision, and nobody saw what is really there.
    pub fn doubt(&mut self, revision: i64) {
        self.doubtful.insert(revision);
    }

    /// Whether what happened at the revision is only one of several explanations.
    pub fn is_doubtful(&self, revision: i64) -> bool {
        self.doubtful.contains(&revision)
    }

    /// When the revision can have existed at the earliest; `None` if it never did.
    pub fn born(&self, revision: i64) -> Option<Time> {
        let at = self.born.partition_point(|(known, _)| *known < revision);
        self.born.get(at).filter(|_| revision >= 1).map(|(_, earliest)| *earliest)
    }

    /// When the revision can have been compacted to at the earliest; `None` if it never was.
    pub fn compacted(&self, revision: i64) -> Option<Time> {
        let found = self.compactions.iter().find(|&&(compacted, _)| compacted == revision);
        found.map(|&(_, earliest)| earliest)
    }

    /// A compaction of unknown outcome may have happened, although nothing in the order shows it.
    pub fn note_possible_compaction(&mut self, revision: i64, earliest: Time) {
        self.compactions.push((revision, earliest));
    }

    /// The highest revision that can have been compacted to by then; -1 for none.
    pub fn compact_revision_by(&self, at: Time) -> i64 {
        let possible = self.compactions.iter().filter(|&&(_, earliest)| earliest <= at);
        possible.map(|&(revision, _)| revision).max().unwrap_or(-1)
    }

    /// A key as it was after a revision.
    pub fn get_at(&self, key: &Blob, revision: i64) -> Option<&KeyValue> {
        self.model.get_at(key, revision)
    }
}
