//! Once faults are over, the cluster serves again within a bound: operations through every
//! surviving member succeed, none stays unanswered, somebody leads, terms rest, and every survivor
//! applies what is committed.
//!
//! Nothing is owed where the survivors are no quorum that can talk; the record says so by naming
//! none. A database that may be full of what was put owes no room for more; what was deleted,
//! compacted and given back is not deducted.

#[cfg(test)]
mod tests;

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::time::Duration;

use detsim_reports::record::{
    Call, CheckReport, History, Internals, Operation, Outcome, RaftRole, RaftState, Severity, Time,
};

use super::Checker;
use super::describe;
use super::fate::{Fate, fate, is_for_want_of_space};
use super::report::{Evidence, Report};
use super::steps::each_attempt;
use crate::model::Model;

/// Refused for what is asked, not for the state of the cluster; by a limit that histories do not
/// tell.
const TOO_LARGE: &str = "etcdserver: request is too large";

/// What a put takes of a database beside its key and value, at most.
const ROW_BYTES: u64 = 512;

/// Pages are half full, at worst, but for those of large values.
const FILL: u64 = 2;

/// Terms that may begin after recovery before elections are called a storm.
const TERMS_MAX: usize = 3;

/// Checks what happens after healing.
pub(super) fn check(history: &History, internals: Option<&Internals>) -> CheckReport {
    let mut report = Report::new(Checker::Recovery);
    let within = Duration::from_millis(history.settings.recovery_within_ms);
    let Some(healed) = history.healed.filter(|_| !history.survivors.is_empty()) else {
        report.not_checked("recovery: the run did not end healed, with members that owe it");
        return report.finish();
    };
    let due = healed.after(within);
    if due > history.ended {
        report.not_checked(format!(
            "recovery: the run ended {} ms after healing, before the bound of {} ms",
            history.ended.since(healed).as_millis(),
            within.as_millis()
        ));
        return report.finish();
    }
    let recovery = Recovery { history, due, within };
    recovery.operations(&mut report);
    match internals {
        Some(internals) => {
            recovery.leadership(&internals.raft, &mut report);
            recovery.lag(internals, &mut report);
        }
        None => report.not_checked(
            "recovery: who leads and how far members have applied, for the world shows no internals",
        ),
    }
    report.finish()
}

fn is_physical(call: &Call) -> bool {
    matches!(call, Call::Compact { physical: true, .. })
}

struct Recovery<'a> {
    history: &'a History,
    /// From here on everything must be well.
    due: Time,
    within: Duration,
}

impl Recovery<'_> {
    fn is_survivor(&self, member: usize) -> bool {
        self.history.survivors.contains(&member)
    }

    /// Operations invoked once recovery is due succeed; earlier ones have ended.
    fn operations(&self, report: &mut Report) {
        let mut asked = BTreeSet::new();
        let mut count = 0;
        let mut full = 0;
        // Looked for where somebody was refused: it is a walk over everything.
        let may_be_full = LazyCell::new(|| self.may_be_full());
        for operation in &self.history.operations {
            if !self.is_survivor(operation.member) || !Model::covers(&operation.call) {
                continue;
            }
            self.unanswered(operation, report);
            if operation.invoked < self.due {
                continue;
            }
            let reason = match (&operation.outcome, fate(operation)) {
                (None, _) | (_, Fate::Answered(_) | Fate::Refused(_)) => None,
                (Some(Outcome::Fail(text)), _) if text == TOO_LARGE => None,
                (Some(outcome), _) if is_for_want_of_space(outcome) && *may_be_full => {
                    full += 1;
                    None
                }
                // It is answered when all is removed, batch by batch: that takes what it takes.
                (Some(Outcome::Unknown(_)), _) if is_physical(&operation.call) => None,
                (Some(Outcome::Fail(text) | Outcome::Unknown(text)), _) => Some(text),
                (Some(Outcome::Ok(_)), _) => None,
            };
            count += 1;
            asked.insert(operation.member);
            if let Some(reason) = reason {
                let text = format!(
                    "{} through {}, {} ms after healing, ends with {reason:?}",
                    describe::operation(operation),
                    describe::member(self.history, operation.member),
                    operation.invoked.since(self.healed()).as_millis()
                );
                let evidence = Evidence::of(&[operation]);
                report.find(Severity::Liveness, "not-serving", evidence, text);
            }
        }
        report.checked(count, "operations held to success after recovery was due");
        if full > 0 {
            report.not_checked(format!(
                "recovery: {full} refusals of a full database, for enough was put to fill {} bytes",
                self.history.settings.quota_bytes
            ));
        }
        for &member in self.history.survivors.iter().filter(|member| !asked.contains(member)) {
            report.not_checked(format!(
                "recovery: whether {} serves, for nobody asked it after recovery was due",
                describe::member(self.history, member)
            ));
        }
    }

    /// Whether all that was put, or may have been, could fill a database up to its quota.
    fn may_be_full(&self) -> bool {
        let mut bytes: u64 = 0;
        for operation in &self.history.operations {
            let is_refused = operation.outcome.as_ref().is_some_and(is_for_want_of_space);
            if is_refused || !matches!(fate(operation), Fate::Answered(_) | Fate::Unknown) {
                continue;
            }
            each_attempt(&operation.call, &mut |attempt| {
                let content = attempt.put.key.0.len() + attempt.put.value.0.len();
                bytes = bytes.saturating_add(FILL * (content as u64 + ROW_BYTES));
            });
        }
        bytes >= self.history.settings.quota_bytes
    }

    fn unanswered(&self, operation: &Operation, report: &mut Report) {
        let waited = self.history.ended.since(operation.invoked.max(self.healed()));
        if operation.outcome.is_none() && waited > self.within {
            let text = format!(
                "{} through {} has no answer {} ms after it was due",
                describe::operation(operation),
                describe::member(self.history, operation.member),
                waited.as_millis()
            );
            let evidence = Evidence { at: self.history.ended, ..Evidence::of(&[operation]) };
            report.find(Severity::Liveness, "unanswered", evidence, text);
        }
    }

    fn healed(&self) -> Time {
        self.history.healed.unwrap_or_default()
    }

    /// Somebody leads, and terms rest. The leader need not be one of the survivors: a member that
    /// may have refused to start, for its disk was damaged, may have started all the same.
    fn leadership(&self, states: &[RaftState], report: &mut Report) {
        let mut led: BTreeSet<usize> = BTreeSet::new();
        let mut has_led = false;
        let mut terms: BTreeSet<u64> = BTreeSet::new();
        let mut is_due = false;
        for state in states.iter().filter(|state| self.is_survivor(state.member)) {
            if !is_due && state.at >= self.due {
                is_due = true;
                has_led |= !led.is_empty();
            }
            if state.role == RaftRole::Leader || state.leader != 0 {
                led.insert(state.member);
            } else {
                led.remove(&state.member);
            }
            if is_due {
                has_led |= !led.is_empty();
                terms.insert(state.term);
            }
        }
        has_led |= !led.is_empty();
        report.checked(1, "leadership after recovery was due");
        let evidence = || Evidence::inside(self.history.survivors.clone(), self.history.ended);
        if !has_led {
            let text = format!(
                "none of the survivors leads or has a leader at any time from {} ms after healing \
                 to the end",
                self.within.as_millis()
            );
            report.find(Severity::Liveness, "no-leader", evidence(), text);
        }
        if terms.len() > TERMS_MAX {
            let text = format!(
                "{} terms are seen after recovery was due, up to term {}",
                terms.len(),
                terms.last().copied().unwrap_or(0)
            );
            report.find(Severity::Liveness, "election-storm", evidence(), text);
        }
    }

    /// Every survivor has applied what was committed a bound before the end.
    fn lag(&self, internals: &Internals, report: &mut Report) {
        let before = Time(self.history.ended.0.saturating_sub(self.within.as_nanos() as u64));
        let committed = internals.committed.iter().filter(|entry| entry.at <= before);
        let Some(last) = committed.max_by_key(|entry| entry.index) else { return };
        if internals.committed.iter().any(|entry| entry.cluster != last.cluster) {
            report
                .not_checked("recovery: how far members have applied, for there are two clusters");
            return;
        }
        for &member in &self.history.survivors {
            let applied = internals.applied.iter().filter(|applied| applied.member == member);
            let reached = applied.map(|applied| applied.index).max().unwrap_or(0);
            if reached < last.index {
                let text = format!(
                    "{} has applied up to index {reached}; index {} was committed {} ms before the \
                     end of the healed run",
                    describe::member(self.history, member),
                    last.index,
                    self.history.ended.since(last.at).as_millis()
                );
                let evidence = Evidence::inside(vec![member], self.history.ended);
                report.find(Severity::Liveness, "lagging", evidence, text);
            }
        }
        report.checked(self.history.survivors.len(), "survivors held to the committed index");
    }
}
