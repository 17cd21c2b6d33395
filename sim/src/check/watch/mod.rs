//! The guarantees of watches: filter, ordered, unique, atomic, bookmarkable, resumable, is-create,
//! prev-kv and reliable, by etcd's names; what comes first and last; and, once faults are over,
//! that events arrive at all.
//!
//! Each watch is one request and the messages that answered it. Content is held against the
//! timeline that linearizability found; without one, only what messages say of each other is
//! checked.

#[cfg(test)]
mod tests;
mod viewer;

use std::collections::BTreeMap;
use std::time::Duration;

use detsim_reports::record::{
    Call, CheckReport, History, OpId, Operation, Outcome, Severity, Time, Watch, WatchMessage,
    Watched,
};

use self::viewer::Viewer;
use super::Checker;
use super::describe;
use super::linearizability::Timeline;
use super::report::{Evidence, Report};
use crate::model::Change;

/// Checks every watch.
pub(super) fn check(history: &History, timeline: Option<&Timeline>) -> CheckReport {
    let mut report = Report::new(Checker::Watch);
    let mut messages: BTreeMap<OpId, Vec<&Watched>> = BTreeMap::new();
    for watched in &history.watched {
        messages.entry(watched.op).or_default().push(watched);
    }
    let (mut watches, mut events, mut owed) = (0, 0, 0);
    let acknowledged = Acknowledged::of(history);
    for operation in &history.operations {
        let Call::Watch(watch) = &operation.call else { continue };
        let received = messages.get(&operation.id).map_or(&[][..], Vec::as_slice);
        let mut viewer = Viewer::new(operation, watch, timeline, &mut report);
        for watched in received {
            viewer.receive(watched);
        }
        watches += 1;
        events += viewer.events();
        let (next, is_complete) = (viewer.next(), timeline.is_some() && viewer.next().is_some());
        let since = owed_since(history, operation, watch).filter(|_| is_complete);
        let missing = since.and_then(|since| viewer.owed_up_to(acknowledged.by(since)));
        owed += usize::from(since.is_some());
        if let Some(missing) = missing {
            undelivered(history, operation, missing, &mut report);
        }
        let newest = acknowledged.by(history.ended);
        if watch.request_progress_ms > 0 && next.is_some_and(|next| next <= newest + 1) {
            progress(history, operation, watch, received, &mut report);
        }
    }
    report.checked(watches, "watches");
    report.checked(events, "events of watches");
    report.checked(owed, "watches owed every acknowledged event");
    match timeline {
        Some(timeline) if watches > 0 => {
            report.not_checked(format!(
                "nothing: events were held against {}",
                timeline.basis.name()
            ));
        }
        None if watches > 0 => report.not_checked(
            "events against the state: no order of effects is known, so that gaps, wrong values \
             and undelivered events go unseen",
        ),
        _ => {}
    }
    if watches > 0 && (history.healed.is_none() || history.survivors.is_empty()) {
        report.not_checked("delivery: the run did not end healed, with members that owe it");
    }
    report.finish()
}

/// The newest revision that any operation had reported, by time.
pub(super) struct Acknowledged(Vec<(Time, i64)>);

impl Acknowledged {
    /// From every answer.
    pub fn of(history: &History) -> Acknowledged {
        let revision = |operation: &Operation| match &operation.outcome {
            Some(Outcome::Ok(reply)) => Some((operation.completed, reply.header.revision)),
            _ => None,
        };
        let mut reported: Vec<(Time, i64)> =
            history.operations.iter().filter_map(revision).collect();
        reported.sort_unstable();
        let mut newest = 1;
        for (_, revision) in &mut reported {
            newest = newest.max(*revision);
            *revision = newest;
        }
        Acknowledged(reported)
    }

    /// The newest revision reported by then.
    pub fn by(&self, at: Time) -> i64 {
        let before = self.0.partition_point(|&(reported, _)| reported <= at);
        before.checked_sub(1).map_or(1, |last| self.0[last].1)
    }
}

/// Up to which revision a message says that all was told, if it says so. Of a revision that comes
/// in fragments, more may follow.
pub(super) fn told_up_to(message: &WatchMessage) -> Option<i64> {
    match message.events.last() {
        Some(event) => Some(event.kv.mod_revision - i64::from(message.fragment)),
        None => message.progress.then_some(message.revision),
    }
}

/// The moment up to which writes must have been delivered on this watch, if any: it stayed open for
/// the whole bound after the cluster was healed, on a member that owes it. A host that loses its
/// power tells nobody: a client that only listens holds on to a connection that is no more.
pub(super) fn owed_since(history: &History, operation: &Operation, watch: &Watch) -> Option<Time> {
    let healed = history.healed?;
    let within = Duration::from_millis(history.settings.recovery_within_ms).as_nanos() as u64;
    let until = operation.completed.min(history.ended);
    let since = Time(until.0.checked_sub(within)?);
    let is_severed = history.incidents.iter().any(|incident| {
        incident.at >= operation.invoked
            && incident.what.starts_with("power-loss ")
            && incident.members.contains(&operation.member)
    });
    let is_owed = since >= healed
        && !is_severed
        && operation.invoked <= since
        && watch.drain_bytes_per_s == 0
        && history.survivors.contains(&operation.member);
    is_owed.then_some(since)
}

/// What was acknowledged long enough ago has not arrived.
fn undelivered(history: &History, operation: &Operation, missing: &Change, report: &mut Report) {
    report.find(
        Severity::Liveness,
        "undelivered",
        Evidence { at: history.ended, ..Evidence::of(&[operation]) },
        format!(
            "{} through {} has not received the change of {:?} at revision {}, which was \
             acknowledged more than {} ms before the end of the healed run",
            describe::operation(operation),
            describe::member(history, operation.member),
            missing.kv.key,
            missing.kv.mod_revision,
            history.settings.recovery_within_ms
        ),
    );
}

/// A watch that asks for progress gets it, once all is well.
fn progress(
    history: &History,
    operation: &Operation,
    watch: &Watch,
    received: &[&Watched],
    report: &mut Report,
) {
    let Some(since) = owed_since(history, operation, watch) else { return };
    if watch.request_progress_ms.saturating_mul(2) > history.settings.recovery_within_ms {
        return;
    }
    let is_silent = received.last().is_none_or(|last| last.at < since && !last.message.canceled);
    if is_silent {
        report.find(
            Severity::Liveness,
            "progress-unanswered",
            Evidence { at: history.ended, ..Evidence::of(&[operation]) },
            format!(
                "{} asks for progress every {} ms and has received nothing for the last {} ms of \
                 the healed run",
                describe::operation(operation),
                watch.request_progress_ms,
                history.settings.recovery_within_ms
            ),
        );
    }
}
