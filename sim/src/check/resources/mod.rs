//! What members keep stays within the bounds that follow from their flags and from what clients
//! hold: their logs in memory, watches, what is on streams, proposals, and the database.
//!
//! White box: figures are recorded about once a second, and a bound is held against two of them in
//! a row where it takes time to be reached. A member's log is cut behind what its database covered
//! a second ago, unless it was kept for a peer meanwhile. Everything else holds at each moment.
//!
//! Not judged: memory as the operating system counts it, files of the log, queues of the transport.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use detsim_reports::record::{
    Call, CheckReport, History, Internals, LogFigures, Measured, Operation, Outcome, Severity,
};

use super::Checker;
use super::describe;
use super::report::{Evidence, Report};

/// A member that is further behind its commits refuses what clients write.
const BEHIND_MAX: u64 = 5_000;

/// Entries that are applied before a log that is cut early is looked at again.
const CUT_EVERY: u64 = 100;

/// Proposals are given up with the first step after their time, which may be a second later.
const LATE_MS: u64 = 1_000;

/// Checks the figures of all members.
pub(super) fn check(history: &History, internals: Option<&Internals>) -> CheckReport {
    let mut report = Report::new(Checker::Resources);
    let Some(internals) = internals else {
        report.not_checked("resources: the world shows no internals");
        return report.finish();
    };
    let mut processes: BTreeMap<(usize, u32), Vec<&Measured>> = BTreeMap::new();
    for figures in &internals.measured {
        processes.entry((figures.member, figures.incarnation)).or_default().push(figures);
    }
    for figures in processes.values() {
        let process = Process { history, figures };
        process.log(&mut report);
        process.watches(&mut report);
        process.proposals(&mut report);
        process.quota(&mut report);
    }
    report.checked(internals.measured.len(), "states of members held against their bounds");
    report.finish()
}

/// The figures of one process, in order.
struct Process<'a> {
    history: &'a History,
    figures: &'a [&'a Measured],
}

impl Process<'_> {
    fn find(&self, rule: &str, figures: &Measured, what: &str, report: &mut Report) {
        let name = describe::member(self.history, figures.member);
        let at = figures.at.0 / 1_000_000;
        let text = format!("at {at} ms {name} {what}");
        let evidence = Evidence::inside(vec![figures.member], figures.at);
        report.find(Severity::Safety, rule, evidence, text);
    }

    /// The log in memory begins so far behind what the database covers as flags say.
    fn log(&self, report: &mut Report) {
        let mut since: Option<&LogFigures> = None;
        for figures in self.figures {
            let log = &figures.log;
            let was_held = since.is_some_and(|since| since.holds != log.holds);
            if log.covered.is_none() || log.is_held || was_held {
                since = Some(log).filter(|log| log.covered.is_some() && !log.is_held);
                continue;
            }
            let Some(before) = since else {
                since = Some(log);
                continue;
            };
            let Some(covered) = cut_behind(before, log) else { continue };
            since = Some(log);
            let due = covered.saturating_sub(log.catchup_entries);
            if log.base < due {
                let text = format!(
                    "has the log in memory from index {} to {}, though its database covers {covered} \
                     and {} entries are kept for slow followers",
                    log.base + 1,
                    log.last,
                    log.catchup_entries
                );
                return self.find("log-kept", figures, &text, report);
            }
        }
    }

    /// Watches are those that clients have, and nothing is on their streams that has no room.
    fn watches(&self, report: &mut Report) {
        for figures in self.figures {
            let (streams, open) = figures.streams;
            if streams > open {
                let text = format!("has {streams} watch streams, and clients have {open}");
                return self.find("streams-kept", figures, &text, report);
            }
            let (watchers, told) = figures.watchers;
            if watchers > told + figures.queued_answers {
                let text = format!(
                    "has {watchers} watchers; clients were told of {told}, and {} answers wait",
                    figures.queued_answers
                );
                return self.find("watchers-kept", figures, &text, report);
            }
            if figures.without_room > 0 {
                let text = format!(
                    "has sent {} responses on streams whose clients had room for none",
                    figures.without_room
                );
                return self.find("sent-without-room", figures, &text, report);
            }
        }
    }

    /// Writes are refused when applying is far behind, and none waits for ever.
    fn proposals(&self, report: &mut Report) {
        for figures in self.figures {
            if figures.taken_behind > BEHIND_MAX {
                let text = format!(
                    "has taken a write with {} committed entries to apply; above {BEHIND_MAX} it \
                     refuses",
                    figures.taken_behind
                );
                return self.find("backlog-exceeded", figures, &text, report);
            }
            if figures.longest_wait_ms > figures.wait_limit_ms + LATE_MS {
                let text = format!(
                    "has a proposal that waits since {} ms; {} ms are the limit",
                    figures.longest_wait_ms, figures.wait_limit_ms
                );
                return self.find("proposal-kept", figures, &text, report);
            }
        }
    }

    /// A member that is above its quota acknowledges no put.
    fn quota(&self, report: &mut Report) {
        let is_above =
            |it: &&Measured| it.quota_bytes.is_some_and(|quota| it.database_bytes >= quota);
        let (Some(first), Some(last)) = (self.figures.first(), self.figures.last()) else { return };
        if !self.figures.iter().any(is_above) {
            return;
        }
        let is_within = |operation: &&Operation| {
            operation.member == first.member
                && operation.invoked >= first.at
                && operation.completed <= last.at
        };
        let shrinks = |operation: &Operation| matches!(operation.call, Call::Defragment);
        let is_smaller = |pair: &[&Measured]| pair[1].database_bytes < pair[0].database_bytes;
        if self.history.operations.iter().any(shrinks) || self.figures.windows(2).any(is_smaller) {
            return report.not_checked("a quota: the database was made smaller meanwhile");
        }
        let above = self.figures.iter().find(|it| is_above(it)).expect("there is one");
        for operation in self.history.operations.iter().filter(is_within) {
            let is_put = matches!(operation.call, Call::Put(_));
            let is_taken = matches!(operation.outcome, Some(Outcome::Ok(_)));
            if is_put && is_taken && operation.invoked > above.at {
                let text = format!(
                    "has a database of {} bytes, above its quota of {}, and acknowledges {}",
                    above.database_bytes,
                    above.quota_bytes.unwrap_or_default(),
                    describe::operation(operation)
                );
                return self.find("quota-exceeded", above, &text, report);
            }
        }
    }
}

/// The index that the database covered when the log was cut last between two figures, if it was for
/// certain.
fn cut_behind(before: &LogFigures, now: &LogFigures) -> Option<u64> {
    let is_looked_at = now.is_cut_early && now.applied > before.applied + CUT_EVERY;
    let early = is_looked_at.then(|| before.applied.min(before.covered.unwrap_or(0)));
    let saved = (now.snapshot > before.snapshot).then_some(now.snapshot);
    early.max(saved)
}
