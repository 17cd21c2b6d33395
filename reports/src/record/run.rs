//! One run: a scenario in a world with a seed, and what came of it.

use serde::{Deserialize, Serialize};

use super::{CheckReport, Finding, History, Internals, Severity};

/// What came of a run. The order is that of exit codes' weight: a worse verdict is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The world cannot express the scenario.
    Skipped,
    /// Everything that was expected was seen, and nothing else was found.
    Passed,
    /// A check ran out of its bound, or a cluster was broken beyond what must recover.
    Undecided,
    /// The cluster did not recover though it could have.
    Liveness,
    /// A member crashed by its own fault.
    Crash,
    /// A promise was broken.
    Safety,
    /// The harness is wrong, or a run was not deterministic.
    Harness,
}

impl Verdict {
    /// The exit code of the command line.
    pub const fn exit_code(self) -> u8 {
        match self {
            Verdict::Skipped | Verdict::Passed => 0,
            Verdict::Safety => 1,
            Verdict::Liveness => 3,
            Verdict::Crash => 4,
            Verdict::Harness => 5,
            Verdict::Undecided => 6,
        }
    }

    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Skipped => "skipped",
            Verdict::Passed => "passed",
            Verdict::Undecided => "undecided",
            Verdict::Liveness => "liveness",
            Verdict::Crash => "crash",
            Verdict::Safety => "safety",
            Verdict::Harness => "harness",
        }
    }
}

impl From<Severity> for Verdict {
    fn from(severity: Severity) -> Verdict {
        match severity {
            Severity::Safety => Verdict::Safety,
            Severity::Liveness => Verdict::Liveness,
            Severity::Crash => Verdict::Crash,
            Severity::Harness => Verdict::Harness,
        }
    }
}

/// Everything that a run leaves behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The scenario's name: `partition/leader-isolated`.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The world: `loop`.
    pub world: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What stays the same while a failure is shrunk: checker and rule of the worst finding. Empty
    /// when there is none.
    pub signature: String,
    /// What was found and makes the verdict, worst first.
    pub findings: Vec<Finding>,
    /// What was found and was expected.
    pub expected: Vec<Finding>,
    /// Why the run was skipped or is undecided; empty otherwise.
    pub reason: String,
    /// Hash of everything that happened; `None` in worlds whose runs do not repeat.
    pub trace_hash: Option<u64>,
    /// Simulated time that passed, in nanoseconds.
    pub simulated_ns: u64,
    /// Processor time that it cost, in nanoseconds, measured outside of the run; 0 if it was not.
    pub cpu_ns: u64,
    /// How many client operations were invoked.
    pub operations: u64,
    /// What was checked, counted.
    pub checked: Vec<String>,
    /// What was not checked, and why.
    pub not_checked: Vec<String>,
    /// The scenario with everything that was drawn written out; replays the run.
    pub plan: String,
    /// Reports of the checkers.
    pub checks: Vec<CheckReport>,
    /// What was seen from outside.
    pub history: History,
    /// What was seen from inside.
    pub internals: Internals,
}
