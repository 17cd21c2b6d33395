//! Checkers: they read a run's history, and its internals where there are any, and report what
//! promise was broken, what they checked, and what they did not.
//!
//! A black-box checker's verdict rests on the history alone. The raft log may serve it as a
//! witness, which it verifies in full before it believes it. White-box checkers say so in their
//! reports. None of them knows the server's code or the workload's intentions: they import the
//! record types and the model.

mod agreement;
mod anomalies;
mod ascending;
mod contests;
mod describe;
mod eras;
mod fate;
mod headers;
mod informers;
mod leases;
mod linearizability;
mod membership;
#[cfg(test)]
mod mutants;
mod raft;
mod reads;
mod recovery;
mod replay;
mod replicas;
mod report;
mod resources;
mod restores;
#[cfg(test)]
mod script;
mod selection;
mod set_full;
mod steps;
mod uninterrupted;
mod unrecorded;
mod watch;

use detsim_reports::record::{CheckReport, History, Internals};

use self::report::Report;

pub(crate) use fate::is_for_want_of_space;
pub use selection::{Checker, Selection, UnknownChecker};
pub use uninterrupted::Uninterrupted;

/// Runs the selected checkers, each once, in the order of `Checker::ALL`.
pub fn all(
    history: &History,
    internals: Option<&Internals>,
    selection: &Selection,
) -> Vec<CheckReport> {
    let selected = || Checker::ALL.iter().copied().filter(|checker| selection.holds(*checker));
    if history.restored.is_empty() {
        let cluster = Cluster::new((history, internals), (history, internals), selection);
        return selected()
            .map(|checker| match checker {
                Checker::Restores => restores::check(history, internals, &[]),
                checker => cluster.check(checker),
            })
            .collect();
    }
    let eras = eras::eras(history, internals);
    let clusters: Vec<Cluster<'_>> = eras
        .iter()
        .map(|era| {
            let (own, whole) = (era.own_internals.as_ref(), era.whole_internals.as_ref());
            Cluster::new((&era.own, own), (&era.whole, whole), selection)
        })
        .collect();
    let of_all = |checker: Checker| match checker {
        Checker::Restores => restores::check(history, internals, &eras),
        checker => {
            let each = eras.iter().zip(&clusters);
            let reports = each.map(|(era, cluster)| match &era.unknown {
                Some(why) if checker.needs_the_beginning() => {
                    let mut report = Report::new(checker);
                    report.not_checked(format!("what it began with: {why}"));
                    report.finish()
                }
                _ => cluster.check(checker),
            });
            let merged = eras::merge(reports.collect());
            match checker {
                Checker::Informers => {
                    let owners = eras::Owners::of(history, internals);
                    let timelines: Vec<_> =
                        clusters.iter().map(|it| it.linear.timeline.as_ref()).collect();
                    let across = informers::carried(history, &owners, &timelines);
                    eras::joined(merged, across)
                }
                _ => merged,
            }
        }
    };
    selected().map(of_all).collect()
}

/// A history, with what was seen from inside, if anything was.
type Seen<'a> = (&'a History, Option<&'a Internals>);

/// A cluster's history, and the same after what the cluster began with.
struct Cluster<'a> {
    own: Seen<'a>,
    whole: Seen<'a>,
    linear: linearizability::Outcome,
}

impl<'a> Cluster<'a> {
    fn new(own: Seen<'a>, whole: Seen<'a>, selection: &Selection) -> Cluster<'a> {
        let linear = linearizability::check(whole.0, whole.1, selection.steps());
        Cluster { own, whole, linear }
    }

    fn check(&self, checker: Checker) -> CheckReport {
        let (own, own_internals) = self.own;
        let (history, internals) = self.whole;
        let timeline = self.linear.timeline.as_ref();
        match checker {
            Checker::Linearizability => self.linear.linearizability.clone(),
            Checker::Log => self.linear.log.clone(),
            Checker::Watch => watch::check(history, timeline),
            Checker::Reads => reads::check(history, timeline),
            Checker::Leases => leases::check(history),
            Checker::Anomalies => anomalies::check(history),
            Checker::SetFull => set_full::check(history),
            Checker::Headers => headers::check(own),
            Checker::Locks => contests::check(history, contests::Kind::Lock),
            Checker::Elections => contests::check(history, contests::Kind::Election),
            Checker::Informers => informers::check(history, timeline),
            Checker::Replicas => replicas::check(history, internals),
            Checker::Recovery => recovery::check(own, own_internals),
            Checker::Raft => raft::check(own, own_internals),
            Checker::Membership => membership::check(own, own_internals),
            Checker::Resources => resources::check(own, own_internals),
            Checker::Restores => unreachable!("it is about all clusters of a run"),
        }
    }
}
