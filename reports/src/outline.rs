//! What is kept of a run when there are many: its verdict and figures, without its history. And a
//! run as one line of JSON.

use serde::{Deserialize, Serialize};

use crate::command;
use crate::record::{RunRecord, Verdict};

/// A run without its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The world.
    pub world: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Checker and rule of the worst finding; empty when there is none.
    pub signature: String,
    /// The worst finding in words, or else why the run was skipped or is undecided; may be empty.
    pub explanation: String,
    /// Hash of everything that happened, in worlds whose runs repeat.
    pub trace_hash: Option<u64>,
    /// Simulated time that passed.
    pub simulated_ns: u64,
    /// Processor time that it cost; 0 if it was not measured.
    pub cpu_ns: u64,
    /// Client operations that were invoked.
    pub operations: u64,
    /// The command that does it again.
    pub command: String,
    /// Where its page is, from where the outline is shown; `None` if there is none.
    pub page: Option<String>,
}

impl Outline {
    /// Of a run, without a page.
    pub fn of(run: &RunRecord) -> Outline {
        let explanation = match run.findings.first() {
            Some(finding) => finding.explanation.clone(),
            None => run.reason.clone(),
        };
        Outline {
            scenario: run.scenario.clone(),
            seed: run.seed,
            world: run.world.clone(),
            verdict: run.verdict,
            signature: run.signature.clone(),
            explanation,
            trace_hash: run.trace_hash,
            simulated_ns: run.simulated_ns,
            cpu_ns: run.cpu_ns,
            operations: run.operations,
            command: command::replay(run),
            page: None,
        }
    }

    /// Whether somebody has to look at it.
    pub fn has_failed(&self) -> bool {
        self.verdict > Verdict::Passed
    }

    /// Its signature, or its verdict when it has none: what failures are grouped by.
    pub fn failure(&self) -> &str {
        if self.signature.is_empty() { self.verdict.name() } else { &self.signature }
    }
}

/// A run as one line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    scenario: &'a str,
    seed: u64,
    world: &'a str,
    verdict: Verdict,
    signature: &'a str,
    trace_hash: Option<String>,
    simulated_s: f64,
    cpu_s: f64,
    operations: u64,
    checked: &'a [String],
    not_checked: &'a [String],
    /// The command that does it again, where somebody has to look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
}

/// A run as one line of JSON, with what was checked and what was not, and the command that does it
/// again if it failed. The trace's hash is text in
/// hexadecimal, for it has more digits than a JSON number keeps.
pub fn json_line(run: &RunRecord, command: &str) -> String {
    let line = Line {
        scenario: &run.scenario,
        seed: run.seed,
        world: &run.world,
        verdict: run.verdict,
        signature: &run.signature,
        trace_hash: run.trace_hash.map(|hash| format!("{hash:016x}")),
        simulated_s: run.simulated_ns as f64 / 1e9,
        cpu_s: run.cpu_ns as f64 / 1e9,
        operations: run.operations,
        checked: &run.checked,
        not_checked: &run.not_checked,
        command: (run.verdict > Verdict::Passed).then_some(command),
    };
    serde_json::to_string(&line).expect("a line is plain data")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::stale_read;

    #[test]
    fn a_line_of_json_holds_the_figures() {
        let run = stale_read();
        let line: serde_json::Value =
            serde_json::from_str(&json_line(&run, "detsim replay it")).unwrap();
        assert_eq!(line["verdict"], "safety");
        assert_eq!(line["signature"], "linearizability/stale-read");
        assert_eq!(line["trace_hash"], "00000000deadbeef");
        assert_eq!(line["simulated_s"], 12.0);
        assert_eq!(line["not_checked"].as_array().unwrap().len(), 1);
        assert_eq!(line["command"], "detsim replay it");
        assert!(!json_line(&run, "").contains('\n'));
        let passed = RunRecord { verdict: Verdict::Passed, ..run };
        assert!(!json_line(&passed, "detsim replay it").contains("command"));
    }

    #[test]
    fn an_outline_says_why_a_run_failed() {
        let run = stale_read();
        let outline = Outline::of(&run);
        assert!(outline.has_failed());
        assert_eq!(outline.failure(), "linearizability/stale-read");
        assert_eq!(outline.explanation, run.findings[0].explanation);
        let text = serde_json::to_string(&outline).unwrap();
        assert_eq!(serde_json::from_str::<Outline>(&text).unwrap(), outline);
    }
}
