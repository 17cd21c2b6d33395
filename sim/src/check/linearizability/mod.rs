//! Linearizability of keys and leases: every acknowledged operation took effect once, at one moment
//! between its invocation and its return, with exactly the reply that the model gives.
//!
//! First the raft log is heard as a witness; it is believed only when every reply and every
//! interval bears it out. Without a log, or when it is contradicted, a search over the history
//! alone decides, within a bound on its steps: beyond it the verdict is open. What speaks against
//! the log itself is a white-box matter and has its own report.

mod items;
mod observed;
mod search;
#[cfg(test)]
mod tests;
mod timeline;
mod witness;

use detsim_reports::record::{Call, CheckReport, History, Internals, Operation, Time};

pub(super) use timeline::{Basis, Timeline};

use self::items::{Claim, Items, items};
use self::observed::Observed;
use self::search::{Found, Obstacle, search};
use super::Checker;
use super::fate::{is_linearizable_read, is_write};
use super::report::{Evidence, Report, Violation};
use crate::model::Model;

/// Both reports, and the order of effects for the other checkers if one is known.
pub(super) struct Outcome {
    /// Black box.
    pub linearizability: CheckReport,
    /// White box: the log against the history.
    pub log: CheckReport,
    /// What happened in which order.
    pub timeline: Option<Timeline>,
}

/// Checks a history, with the log as witness where there is one.
pub(super) fn check(history: &History, internals: Option<&Internals>, steps: u64) -> Outcome {
    let mut report = Report::new(Checker::Linearizability);
    let mut log = Report::new(Checker::Log);
    uncovered(history, &mut report);
    let testimony = match internals.map(|internals| witness::verify(history, internals)) {
        None => Err("the world shows no internals".to_owned()),
        Some(testimony) => testimony,
    };
    let timeline = match testimony {
        Ok(testimony) if testimony.violations.is_empty() => {
            report.checked(testimony.placed, "operations linearizable by witness of the log");
            log.checked(testimony.entries, "log entries that bear out every reply");
            Some(testimony.timeline)
        }
        Ok(testimony) => {
            log.checked(testimony.entries, "log entries held against replies");
            for violation in testimony.violations {
                log.violation(violation);
            }
            by_search(history, steps, &mut report).or(Some(testimony.timeline))
        }
        Err(reason) => {
            log.not_checked(format!("the log against the history: {reason}"));
            by_search(history, steps, &mut report)
        }
    };
    Outcome { linearizability: report.finish(), log: log.finish(), timeline }
}

/// Says what linearizability does not cover here.
fn uncovered(history: &History, report: &mut Report) {
    let is_placed =
        |operation: &&Operation| is_write(&operation.call) || is_linearizable_read(&operation.call);
    let others = history.operations.iter().filter(|operation| !is_placed(operation)).count();
    if others > 0 {
        report.not_checked(format!(
            "{others} local reads, watches, keepalives and membership operations: they have no \
             place in the linear order"
        ));
    }
}

/// What a search over the history alone says.
#[derive(Debug)]
pub(super) enum Decision {
    /// There is an order.
    Linearizable(Box<Timeline>),
    /// There is none.
    Violated(Vec<Violation>),
    /// The bound on steps was reached.
    Undecided,
}

/// Decides without the log, and reports it.
fn by_search(history: &History, steps: u64, report: &mut Report) -> Option<Timeline> {
    let items = items(history);
    let count = items.required.len();
    match decide(history, &items, steps) {
        Decision::Linearizable(timeline) => {
            report.checked(count, "operations linearizable by search");
            Some(*timeline)
        }
        Decision::Violated(violations) => {
            report.checked(count, "operations searched for a linear order");
            for violation in violations {
                report.violation(violation);
            }
            None
        }
        Decision::Undecided => {
            report.undecided(format!(
                "whether {count} operations are linearizable: {steps} steps of search did not \
                 decide it"
            ));
            None
        }
    }
}

/// Searches twice: for an order that also explains everything else that was seen, and, when there
/// is none, for any order.
fn decide(history: &History, items: &Items<'_>, steps: u64) -> Decision {
    if !items.impossible.is_empty() {
        return Decision::Violated(items.impossible.clone());
    }
    let observed = Observed::of(history);
    let model = || Model::new(&history.settings);
    let mut guided = steps / 2;
    if let Found::Order(order) = search(items, model(), Some(&observed), &mut guided) {
        return Decision::Linearizable(Box::new(timeline(items, &observed, history, &order)));
    }
    let mut free = steps / 2;
    match search(items, model(), None, &mut free) {
        Found::Order(order) => {
            Decision::Linearizable(Box::new(timeline(items, &observed, history, &order)))
        }
        Found::Nothing(obstacle) => Decision::Violated(vec![violation(items, &obstacle)]),
        Found::OutOfSteps => Decision::Undecided,
    }
}

/// The timeline of an order that was found. Other orders may explain the replies as well, so a
/// moment counts only for operations whose replies say at which revision they took effect: refusals
/// and what nobody answered might have come elsewhere.
fn timeline(
    items: &Items<'_>,
    observed: &Observed,
    history: &History,
    order: &[usize],
) -> Timeline {
    let mut timeline = Timeline::new(Model::new(&history.settings), Basis::Search);
    let mut earliest = Time::ZERO;
    let mut certain = Time::ZERO;
    for &place in order {
        let item = match place.checked_sub(items.required.len()) {
            Some(place) => &items.optional[place],
            None => &items.required[place],
        };
        earliest = earliest.max(item.invoked);
        let before = timeline.model.revision();
        let result = timeline.model.apply(&item.call);
        assert!(
            item.objection(&timeline.model, &result).is_none() && earliest <= item.returned,
            "an order that was found explains every reply in its interval"
        );
        let is_answered = matches!(item.claim, Claim::Reply(_));
        let own = if is_answered { certain.max(item.invoked) } else { certain };
        if is_answered && item.met.0 == item.met.1 {
            certain = own;
        }
        timeline.note(own, item.invoked);
        let revision = timeline.model.revision();
        let is_optional = place >= items.required.len();
        if is_optional && revision > before && !observed.shows(revision) {
            timeline.doubt(revision);
        }
    }
    for item in &items.optional {
        if let Call::Compact { revision, .. } = item.call {
            timeline.note_possible_compaction(revision, item.invoked);
        }
    }
    timeline
}

/// Where every order ends, as a finding.
fn violation(items: &Items<'_>, obstacle: &Obstacle) -> Violation {
    let describe = |place: usize| match place.checked_sub(items.required.len()) {
        Some(place) => &items.optional[place],
        None => &items.required[place],
    };
    let blocked = obstacle.item.map(describe);
    let last = obstacle.last.map(describe);
    let operations: Vec<&Operation> =
        [last, blocked].into_iter().flatten().filter_map(|item| item.operation).collect();
    let what = blocked.map_or_else(|| "what was seen".to_owned(), |item| item.describe());
    let after =
        last.map_or_else(String::new, |item| format!(", the last being {}", item.describe()));
    Violation {
        rule: obstacle.objection.rule,
        evidence: Evidence::of(&operations),
        explanation: format!(
            "no order of the operations explains {what}: {}. The longest order places {} \
             operations before it{after}",
            obstacle.objection.text, obstacle.placed
        ),
    }
}
