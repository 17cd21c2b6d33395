//! What the command line says of runs: a table of verdicts with figures, findings by signature,
//! where records of failed runs lie, and the command that replays the worst one. Or JSON lines.

use std::collections::BTreeMap;
use std::path::PathBuf;

use detsim_reports::record::{RunRecord, Verdict};
use serde::Serialize;

use super::campaign::Campaign;
use super::library::{Loaded, shown};
use super::worlds::Choice;

/// One run as a JSON object.
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
}

/// One run as a line of JSON.
pub fn json(record: &RunRecord) -> String {
    let line = Line {
        scenario: &record.scenario,
        seed: record.seed,
        world: &record.world,
        verdict: record.verdict,
        signature: &record.signature,
        trace_hash: record.trace_hash.map(|hash| format!("{hash:016x}")),
        simulated_s: seconds(record.simulated_ns),
        cpu_s: seconds(record.cpu_ns),
        operations: record.operations,
        checked: &record.checked,
        not_checked: &record.not_checked,
    };
    serde_json::to_string(&line).expect("a line is plain data")
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// The figures of a scenario's runs.
#[derive(Debug, Default)]
struct Row {
    verdicts: BTreeMap<Verdict, u32>,
    reason: String,
    operations: u64,
    simulated_ns: u64,
    cpu_ns: u64,
}

/// A failure that several runs may share.
#[derive(Debug)]
struct Failure {
    verdict: Verdict,
    runs: u32,
    explanation: String,
    command: String,
}

/// What was said and is to be said.
pub struct Output<'a> {
    is_json: bool,
    directory: PathBuf,
    choice: Choice,
    scenarios: BTreeMap<&'a str, &'a Loaded>,
    rows: BTreeMap<String, Row>,
    failures: BTreeMap<(String, String), Failure>,
    worst: Verdict,
    complaint: Option<String>,
}

impl<'a> Output<'a> {
    /// For the runs of a campaign.
    pub fn new(is_json: bool, directory: PathBuf, campaign: &Campaign<'a>) -> Output<'a> {
        let scenarios = campaign.jobs.iter().map(|it| (it.scenario.name.as_str(), it.scenario));
        Output {
            is_json,
            directory,
            choice: campaign.choice.clone(),
            scenarios: scenarios.collect(),
            rows: BTreeMap::new(),
            failures: BTreeMap::new(),
            worst: Verdict::Skipped,
            complaint: None,
        }
    }

    /// A run ended.
    pub fn finished(&mut self, record: &RunRecord) {
        self.worst = self.worst.max(record.verdict);
        let row = self.rows.entry(record.scenario.clone()).or_default();
        *row.verdicts.entry(record.verdict).or_default() += 1;
        row.operations += record.operations;
        row.simulated_ns += record.simulated_ns;
        row.cpu_ns += record.cpu_ns;
        if row.reason.is_empty() {
            row.reason.clone_from(&record.reason);
        }
        if record.verdict > Verdict::Passed {
            self.failed(record);
        }
        if self.is_json {
            println!("{}", json(record));
        }
    }

    fn failed(&mut self, record: &RunRecord) {
        if let Err(error) = self.keep(record) {
            self.complaint = Some(format!("{}: {error}", self.directory.display()));
        }
        let loaded = self.scenarios[record.scenario.as_str()];
        let command = replay_command(loaded, record, &self.choice);
        let explanation = match record.findings.first() {
            Some(finding) => finding.explanation.clone(),
            None => record.reason.clone(),
        };
        let name = match record.signature.as_str() {
            "" => record.verdict.name().to_owned(),
            signature => signature.to_owned(),
        };
        let failure = self.failures.entry((record.scenario.clone(), name)).or_insert(Failure {
            verdict: record.verdict,
            runs: 0,
            explanation,
            command,
        });
        failure.runs += 1;
    }

    /// Writes the record and the plan of a failed run.
    fn keep(&self, record: &RunRecord) -> std::io::Result<()> {
        let name = record.scenario.trim_start_matches(['/', '.']).replace(".scenario", "");
        let base = self.directory.join(format!("{name}-{}", record.seed));
        if let Some(folder) = base.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let with = |ending: &str| {
            let mut path = base.clone().into_os_string();
            path.push(ending);
            PathBuf::from(path)
        };
        std::fs::write(with(".plan"), &record.plan)?;
        std::fs::write(with(".json"), serde_json::to_vec(record)?)
    }

    /// Says what came of it all; the exit code.
    pub fn conclude(self) -> u8 {
        if self.is_json {
            if let Some(complaint) = &self.complaint {
                eprintln!("{complaint}");
            }
            return self.worst.exit_code();
        }
        self.print_table();
        for ((scenario, signature), failure) in &self.failures {
            let (verdict, runs) = (failure.verdict.name(), failure.runs);
            println!("\n{verdict} {signature} in {runs} of the runs of {scenario}");
            println!("  {}", failure.explanation);
            println!("  {}", failure.command);
        }
        let failed: u32 = self.failures.values().map(|failure| failure.runs).sum();
        if failed > 0 {
            let directory = shown(&self.directory);
            println!("\n{failed} runs failed; their records and plans are in {directory}");
        }
        if let Some(complaint) = &self.complaint {
            eprintln!("records could not be kept: {complaint}");
        }
        let worst = self.failures.values().max_by_key(|failure| failure.verdict);
        if let Some(worst) = worst {
            println!("{}", worst.command);
        }
        self.worst.exit_code()
    }

    fn print_table(&self) {
        let width = self.rows.keys().map(String::len).max().unwrap_or(0).max("scenario".len());
        println!(
            "{:width$}  {:>5}  {:20}  {:>9}  {:>11}  {:>8}",
            "scenario", "runs", "verdict", "ops", "simulated s", "cpu s"
        );
        let mut total = Row::default();
        for (name, row) in &self.rows {
            println!("{name:width$}  {}", row.show());
            for (verdict, runs) in &row.verdicts {
                *total.verdicts.entry(*verdict).or_default() += runs;
            }
            total.operations += row.operations;
            total.simulated_ns += row.simulated_ns;
            total.cpu_ns += row.cpu_ns;
            if row.verdicts.keys().any(|verdict| *verdict != Verdict::Passed) && row.is_quiet() {
                println!("{:width$}         {}", "", row.reason);
            }
        }
        println!("{:width$}  {}", "all", total.show());
    }
}

impl Row {
    fn show(&self) -> String {
        let runs: u32 = self.verdicts.values().sum();
        let verdicts: Vec<String> = self
            .verdicts
            .iter()
            .rev()
            .map(|(verdict, many)| match *many == runs {
                true => verdict.name().to_owned(),
                false => format!("{many} {}", verdict.name()),
            })
            .collect();
        format!(
            "{runs:>5}  {:20}  {:>9}  {:>11.1}  {:>8.2}",
            verdicts.join(", "),
            self.operations,
            seconds(self.simulated_ns),
            seconds(self.cpu_ns)
        )
    }

    /// Nothing but the reason says why it did not pass.
    fn is_quiet(&self) -> bool {
        !self.reason.is_empty()
    }
}

/// The command that does a run again.
pub fn replay_command(loaded: &Loaded, record: &RunRecord, choice: &Choice) -> String {
    let mut words = vec!["detsim".to_owned(), "replay".to_owned(), quoted(&loaded.name)];
    if crate::run::planned_seed(&loaded.script) != Some(record.seed) {
        words.extend(["--seed".to_owned(), record.seed.to_string()]);
    }
    words.extend(choice.arguments().iter().map(|word| quoted(word)));
    words.join(" ")
}

/// A word that a shell reads as it is.
fn quoted(word: &str) -> String {
    let is_plain = word.chars().all(|it| it.is_ascii_alphanumeric() || "/._-=+:,".contains(it));
    match is_plain && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Tells one run to a reader: what happened when, and what was found.
pub fn tell(record: &RunRecord) {
    let world = &record.world;
    println!("{} with seed {} in the {world} world", record.scenario, record.seed);
    for incident in &record.history.incidents {
        println!("{:>12.6}s  {}", seconds(incident.at.0), incident.what);
    }
    println!("{:>12.6}s  the end", seconds(record.simulated_ns));
    for line in &record.checked {
        println!("checked      {line}");
    }
    for line in &record.not_checked {
        println!("not checked  {line}");
    }
    for finding in &record.expected {
        println!("expected     {}: {}", finding.signature(), finding.explanation);
    }
    for finding in &record.findings {
        let at = seconds(finding.at.0);
        println!("found        {} at {at:.6}s: {}", finding.signature(), finding.explanation);
        for op in &finding.operations {
            if let Some(operation) = record.history.operations.get(op.0 as usize) {
                println!("             {}", show_operation(record, operation));
            }
        }
    }
    let hash = record.trace_hash.map_or_else(String::new, |hash| format!(", trace {hash:016x}"));
    let reason = match record.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    println!("{} with {} operations{hash}{reason}", record.verdict.name(), record.operations);
}

fn show_operation(record: &RunRecord, operation: &detsim_reports::record::Operation) -> String {
    let member = record.history.members.get(operation.member);
    format!(
        "#{} client {} at {}: {:?} from {:.6}s: {:?}",
        operation.id.0,
        operation.client.0,
        member.map_or("?", |name| name.0.as_str()),
        operation.call,
        seconds(operation.invoked.0),
        operation.outcome
    )
}
