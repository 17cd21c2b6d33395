//! Membership against the log: who is a member, and as what, is what the committed configuration
//! changes make of an empty cluster.
//!
//! White box. The log's changes are replayed into a model. Every configuration that takes effect in
//! a member, or that it finds in a database, has the model's voters and learners after that entry,
//! and a change that takes effect in the model does so in every member that applies it. A change's
//! reply lists the members as they are after it. A linearizable list shows a state that the log had
//! between invocation and return; a local one a state that it had before its return.
//!
//! Not judged: requests that were refused, and lists of members whose cluster's log is not whole.

mod log;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{
    Body, Call, CheckReport, Committed, History, Internals, MemberEntry, Operation, Outcome,
    RaftEvent,
};

use self::log::{Change, Log, Rules, State};
use super::Checker;
use super::describe::{self, identities};
use super::report::{Evidence, Report};

/// By the cluster's identity.
type Logs = BTreeMap<u64, Log>;

/// Holds configurations and replies against the log.
pub(super) fn check(history: &History, internals: Option<&Internals>) -> CheckReport {
    let mut report = Report::new(Checker::Membership);
    let Some(internals) = internals else {
        report.not_checked("members against the log: the world shows no internals");
        return report.finish();
    };
    let logs = logs(history, internals, &mut report);
    configurations(history, internals, &logs, &mut report);
    ignored(history, internals, &logs, &mut report);
    let mut judged = 0;
    for operation in &history.operations {
        let Some(Outcome::Ok(reply)) = &operation.outcome else { continue };
        let Body::Members { added, members } = &reply.body else { continue };
        let Some(log) = logs.get(&reply.header.cluster_id) else { continue };
        judged += 1;
        listed(log, operation, (*added, members), &mut report);
    }
    report.checked(judged, "lists of members held against the log");
    report.finish()
}

/// The logs that are whole, replayed.
fn logs(history: &History, internals: &Internals, report: &mut Report) -> Logs {
    let mut entries: BTreeMap<u64, Vec<&Committed>> = BTreeMap::new();
    for entry in &internals.committed {
        entries.entry(entry.cluster).or_default().push(entry);
    }
    let mut logs = Logs::new();
    for (cluster, entries) in entries {
        let configured: BTreeSet<u64> = internals
            .facts
            .iter()
            .filter(|fact| fact.cluster == cluster)
            .filter_map(|fact| match &fact.event {
                RaftEvent::Configured { index, .. } => Some(*index),
                _ => None,
            })
            .collect();
        let max_learners = history.settings.max_learners;
        match Log::replay(&entries, &Rules { max_learners, configured: &configured }) {
            Ok(log) => {
                report.checked(log.changes().count(), "configuration changes replayed");
                logs.insert(cluster, log);
            }
            Err(why) => {
                report.not_checked(format!("the members of cluster {cluster:x}: {why}"));
            }
        }
    }
    logs
}

/// What a member is configured with is the model's.
fn configurations(history: &History, internals: &Internals, logs: &Logs, report: &mut Report) {
    let mut compared = 0;
    for fact in &internals.facts {
        let (index, voters, learners, how) = match &fact.event {
            RaftEvent::Configured { index, voters, learners } => {
                (*index, voters, learners, "after")
            }
            RaftEvent::Loaded { index, voters, learners } => {
                (*index, voters, learners, "in a database with the entries up to")
            }
            _ => continue,
        };
        let Some(log) = logs.get(&fact.cluster).filter(|log| index <= log.last) else { continue };
        compared += 1;
        let state = log.after(index);
        let evidence = || Evidence::inside(vec![fact.member], fact.at);
        let due = (state.members.voters(), state.members.learners());
        if (voters, learners) != (&due.0, &due.1) {
            let text = format!(
                "{how} index {index} {} has voters {} and learners {}; by the log they are {} and \
                 {}, since index {}",
                describe::member(history, fact.member),
                identities(voters),
                identities(learners),
                identities(&due.0),
                identities(&due.1),
                state.index
            );
            report.safety("wrong-configuration", evidence(), text);
        } else if matches!(fact.event, RaftEvent::Configured { .. }) && state.index != index {
            let text = format!(
                "{} carries out the change at index {index}, which has no effect by the log: the \
                 members are as they were since index {}",
                describe::member(history, fact.member),
                state.index
            );
            report.safety("void-change", evidence(), text);
        }
    }
    report.checked(compared, "configurations of members held against the log");
}

/// Who applies a change that takes effect has another configuration after it.
fn ignored(history: &History, internals: &Internals, logs: &Logs, report: &mut Report) {
    let carried: BTreeSet<(u64, usize, u32, u64)> = internals
        .facts
        .iter()
        .filter_map(|fact| match &fact.event {
            RaftEvent::Configured { index, .. } | RaftEvent::Loaded { index, .. } => {
                Some((fact.cluster, fact.member, fact.incarnation, *index))
            }
            _ => None,
        })
        .collect();
    let due: BTreeSet<(u64, u64)> = logs
        .iter()
        .flat_map(|(cluster, log)| log.changes().map(|state| (*cluster, state.index)))
        .collect();
    // Of some processes only what they applied is recorded.
    let told: BTreeSet<(usize, u32)> =
        carried.iter().map(|(_, member, incarnation, _)| (*member, *incarnation)).collect();
    for applied in &internals.applied {
        let (cluster, index) = (applied.cluster, applied.index);
        if !due.contains(&(cluster, index))
            || !told.contains(&(applied.member, applied.incarnation))
            || carried.contains(&(cluster, applied.member, applied.incarnation, index))
        {
            continue;
        }
        let text = format!(
            "{} applies the change at index {index}, and its configuration stays as it was",
            describe::member(history, applied.member)
        );
        let evidence = Evidence::inside(vec![applied.member], applied.at);
        report.safety("ignored-change", evidence, text);
    }
}

/// A reply lists a state that it may show.
fn listed(
    log: &Log,
    operation: &Operation,
    (added, members): (Option<u64>, &[MemberEntry]),
    report: &mut Report,
) {
    let until = operation.completed;
    let (rule, states): (_, Vec<&State>) = match &operation.call {
        Call::MemberList { linearizable: true } => {
            ("wrong-list", log.between(operation.invoked, until).iter().collect())
        }
        Call::MemberList { linearizable: false } => {
            ("wrong-local-list", log.between(Default::default(), until).iter().collect())
        }
        call => ("wrong-reply", after_its_change(log, operation, call)),
    };
    let is_own = match (&operation.call, added) {
        (Call::MemberAdd { .. }, Some(id)) => {
            states.iter().any(|state| state.change == Some(Change::Add(id)))
        }
        (Call::MemberAdd { .. }, None) => false,
        _ => true,
    };
    if is_own && states.iter().any(|state| state.members.are(members)) {
        return;
    }
    let by_the_log = match states.as_slice() {
        [] => "by the log no such change took effect meanwhile".to_owned(),
        [state] => {
            format!("by the log they are {} since index {}", state.members.words(), state.index)
        }
        [first, .., last] => format!(
            "by the log they were {} from index {} on, and then others up to {} from index {} on",
            first.members.words(),
            first.index,
            last.members.words(),
            last.index
        ),
    };
    let text = format!(
        "{} is answered that the members are {}; {by_the_log}",
        describe::operation(operation),
        log::words(members)
    );
    report.safety(rule, Evidence::of(&[operation]), text);
}

/// The states that the reply to a change may show. A promotion may have been passed on to the
/// leader, which then is known only by what it did.
fn after_its_change<'a>(log: &'a Log, operation: &Operation, call: &Call) -> Vec<&'a State> {
    if let Some(index) = log.entry(operation.id) {
        let state = log.after(index);
        return if state.index == index { vec![state] } else { Vec::new() };
    }
    let is_it = |state: &&State| match (call, &state.change) {
        (Call::MemberPromote { id }, Some(Change::Promote(promoted))) => promoted == id,
        _ => false,
    };
    let reached = log.between(operation.invoked, operation.completed).iter();
    reached.filter(|state| state.at >= operation.invoked).filter(is_it).collect()
}
