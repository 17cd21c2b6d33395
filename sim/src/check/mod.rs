//! Checkers: they read a run's history, and its internals where there are any, and report what
//! promise was broken, what they checked, and what they did not.
//!
//! A black-box checker's verdict rests on the history alone. The raft log may serve it as a
//! witness, which it verifies in full before it believes it. White-box checkers say so in their
//! reports. None of them knows the server's code or the workload's intentions: they import the
//! record types and the model.

mod agreement;
mod anomalies;
mod contests;
mod describe;
mod fate;
mod headers;
mod informers;
mod leases;
mod linearizability;
#[cfg(test)]
mod mutants;
mod raft;
mod reads;
mod recovery;
mod replay;
mod replicas;
mod report;
#[cfg(test)]
mod script;
mod selection;
mod set_full;
mod steps;
mod unrecorded;
mod watch;

use detsim_reports::record::{CheckReport, History, Internals};

pub use selection::{Checker, Selection, UnknownChecker};

/// Runs the selected checkers, each once, in the order of `Checker::ALL`.
pub fn all(
    history: &History,
    internals: Option<&Internals>,
    selection: &Selection,
) -> Vec<CheckReport> {
    let linear = linearizability::check(history, internals, selection.steps());
    let run = |checker: Checker| match checker {
        Checker::Linearizability => linear.linearizability.clone(),
        Checker::Log => linear.log.clone(),
        Checker::Watch => watch::check(history, linear.timeline.as_ref()),
        Checker::Reads => reads::check(history, linear.timeline.as_ref()),
        Checker::Leases => leases::check(history),
        Checker::Anomalies => anomalies::check(history),
        Checker::SetFull => set_full::check(history),
        Checker::Headers => headers::check(history),
        Checker::Locks => contests::check(history, contests::Kind::Lock),
        Checker::Elections => contests::check(history, contests::Kind::Election),
        Checker::Informers => informers::check(history, linear.timeline.as_ref()),
        Checker::Replicas => replicas::check(history, internals),
        Checker::Recovery => recovery::check(history, internals),
        Checker::Raft => raft::check(history, internals),
    };
    Checker::ALL.iter().filter(|&&checker| selection.holds(checker)).map(|&c| run(c)).collect()
}
