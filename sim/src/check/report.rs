//! Putting a checker's report together.

use detsim_reports::record::{CheckReport, Finding, OpId, Operation, Severity, Time};

use super::Checker;

/// Findings of one rule beyond this many say nothing new.
const FINDINGS_PER_RULE_MAX: usize = 5;

/// A report under construction.
pub(super) struct Report {
    checker: Checker,
    report: CheckReport,
    withheld: usize,
}

/// Where and when a finding shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    pub operations: Vec<OpId>,
    pub members: Vec<usize>,
    pub at: Time,
}

impl Evidence {
    /// These operations, on their members, at the end of the last one.
    pub fn of(operations: &[&Operation]) -> Evidence {
        let mut members = Vec::new();
        for operation in operations {
            if !members.contains(&operation.member) {
                members.push(operation.member);
            }
        }
        let end = |operation: &&Operation| match operation.completed {
            Time::NEVER => operation.invoked,
            completed => completed,
        };
        Evidence {
            operations: operations.iter().map(|operation| operation.id).collect(),
            members,
            at: operations.iter().map(end).max().unwrap_or_default(),
        }
    }

    /// What was seen from inside of these members, with no operation.
    pub fn inside(members: Vec<usize>, at: Time) -> Evidence {
        Evidence { operations: Vec::new(), members, at }
    }
}

/// A broken promise, before it is known in whose report it goes.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    /// The rule that is broken: `stale-read`.
    pub rule: &'static str,
    /// Who shows it.
    pub evidence: Evidence,
    /// One or two sentences with values.
    pub explanation: String,
}

impl Report {
    pub fn new(checker: Checker) -> Report {
        let report = CheckReport { checker: checker.name().to_owned(), ..CheckReport::default() };
        Report { checker, report, withheld: 0 }
    }

    /// Records a broken promise.
    pub fn safety(&mut self, rule: &str, evidence: Evidence, explanation: String) {
        self.find(Severity::Safety, rule, evidence, explanation);
    }

    /// Records a violation.
    pub fn violation(&mut self, violation: Violation) {
        self.safety(violation.rule, violation.evidence, violation.explanation);
    }

    /// Neither passed nor failed, for this reason.
    pub fn undecided(&mut self, what: String) {
        self.report.undecided = true;
        self.report.not_checked.push(what);
    }

    /// Records a finding; of one rule, only the first few are kept.
    pub fn find(
        &mut self,
        severity: Severity,
        rule: &str,
        evidence: Evidence,
        explanation: String,
    ) {
        let alike = self.report.findings.iter().filter(|finding| finding.rule == rule).count();
        if alike >= FINDINGS_PER_RULE_MAX {
            self.withheld += 1;
            return;
        }
        self.report.findings.push(Finding {
            checker: self.checker.name().to_owned(),
            rule: rule.to_owned(),
            severity,
            explanation,
            operations: evidence.operations,
            members: evidence.members,
            at: evidence.at,
        });
    }

    /// Says what was checked: `12 of these`. Nothing is said of none.
    pub fn checked(&mut self, count: usize, what: &str) {
        if count > 0 {
            self.report.checked.push(format!("{count} {what}"));
        }
    }

    /// Says what was not checked, and why.
    pub fn not_checked(&mut self, what: impl Into<String>) {
        self.report.not_checked.push(what.into());
    }

    /// The report, with what was withheld counted.
    pub fn finish(mut self) -> CheckReport {
        if self.withheld > 0 {
            self.report.checked.push(format!("{} more findings of the same rules", self.withheld));
        }
        self.report
    }
}
