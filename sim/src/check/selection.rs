//! Which checkers run, by the names that scenarios and command lines use, and the bound on search.

use std::str::FromStr;

use thiserror::Error;

/// Steps of search that decide all but the most ambiguous histories within a few seconds.
const SEARCH_STEPS: u64 = 20_000_000;

macro_rules! checkers {
    ($($(#[$doc:meta])* $checker:ident $name:literal;)*) => {
        /// A checker.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Checker { $($(#[$doc])* $checker,)* }

        impl Checker {
            /// All checkers, in the order in which they run.
            pub const ALL: &'static [Checker] = &[$(Checker::$checker,)*];

            /// Its name in scenarios, reports and signatures.
            pub const fn name(self) -> &'static str {
                match self { $(Checker::$checker => $name,)* }
            }
        }
    };
}

checkers! {
    /// Every acknowledged operation took effect once, in its interval, with the right reply.
    Linearizability "linearizability";
    /// White box: the raft log bears out every reply.
    Log "log";
    /// Watches deliver what they promise.
    Watch "watch";
    /// Local reads see a state that was.
    Reads "reads";
    /// Leases end neither early nor late, with all their keys, and stay ended.
    Leases "leases";
    /// What operations read and wrote has an order, without cycles.
    Anomalies "anomalies";
    /// What was added to a set and never taken away is in every later read.
    SetFull "set-full";
    /// Headers and counters fit each other, and members never go back.
    Headers "headers";
    /// Locks by etcd's recipe have one holder at each revision, and fences hold.
    Locks "locks";
    /// Elections by etcd's recipe have one leader at each revision, in order.
    Elections "elections";
    /// Caches built from lists and watches miss nothing, never go back, and converge.
    Informers "informers";
    /// All members hold the same state at the same index, and it is the model's.
    Replicas "replicas";
    /// The cluster serves again once faults are over.
    Recovery "recovery";
    /// White box: raft's invariants.
    Raft "raft";
    /// White box: members are what the log's configuration changes make of them.
    Membership "membership";
    /// White box: what members keep in memory stays within bounds.
    Resources "resources";
    /// Snapshots hold what they must, and clusters that begin from them tell no older revisions.
    Restores "restores";
}

impl Checker {
    /// Whether it must know all that a cluster began with.
    pub(super) fn needs_the_beginning(self) -> bool {
        !matches!(
            self,
            Checker::Headers
                | Checker::Recovery
                | Checker::Raft
                | Checker::Membership
                | Checker::Resources
        )
    }
}

/// Nobody is called that.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no checker is called {name:?}: there are {known}")]
pub struct UnknownChecker {
    /// What was asked for.
    pub name: String,
    /// What there is, separated by commas.
    pub known: String,
}

impl FromStr for Checker {
    type Err = UnknownChecker;

    fn from_str(name: &str) -> Result<Checker, UnknownChecker> {
        Checker::ALL.iter().copied().find(|checker| checker.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Checker::ALL.iter().map(|checker| checker.name()).collect();
            UnknownChecker { name: name.to_owned(), known: known.join(", ") }
        })
    }
}

/// The checkers to run and how long they may search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    checkers: Vec<Checker>,
    search_steps: u64,
}

impl Selection {
    /// Every checker.
    pub fn all() -> Selection {
        Selection { checkers: Checker::ALL.to_vec(), search_steps: SEARCH_STEPS }
    }

    /// These.
    pub fn of(checkers: &[Checker]) -> Selection {
        Selection { checkers: checkers.to_vec(), search_steps: SEARCH_STEPS }
    }

    /// Those with these names; `all` is every one.
    pub fn named<'a>(
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Selection, UnknownChecker> {
        let mut checkers = Vec::new();
        for name in names {
            match name {
                "all" => checkers.extend_from_slice(Checker::ALL),
                name => checkers.push(name.parse()?),
            }
        }
        Ok(Selection::of(&checkers))
    }

    /// With another bound on the steps of the linearizability search.
    #[must_use]
    pub fn search_steps(self, search_steps: u64) -> Selection {
        Selection { search_steps, ..self }
    }

    /// The bound on the steps of the linearizability search.
    pub(super) fn steps(&self) -> u64 {
        self.search_steps
    }

    /// Whether the checker is selected.
    pub fn holds(&self, checker: Checker) -> bool {
        self.checkers.contains(&checker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkers_are_found_by_name_and_all_means_every_one() {
        assert_eq!(Selection::named(["all"]), Ok(Selection::all()));
        assert_eq!(Selection::named(["replicas"]), Ok(Selection::of(&[Checker::Replicas])));
        let error = Selection::named(["replica"]).expect_err("no such checker");
        assert!(error.to_string().starts_with("no checker is called \"replica\": there are "));
    }
}
