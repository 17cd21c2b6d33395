//! What the command line says of runs: a table of verdicts with figures, failures by signature,
//! where the report lies, and the command that replays the worst one. Or JSON lines.

use std::collections::BTreeMap;
use std::path::PathBuf;

use detsim_reports::outline::{Outline, json_line};
use detsim_reports::record::{RunRecord, Verdict};
use detsim_reports::{command, summary, words};

use super::campaign::Campaign;
use super::folder::{Folder, write_junit};
use super::library::{Loaded, shown};
use super::worlds::Choice;

/// How it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table, with or without colours.
    Table(summary::Colours),
    /// A line of JSON for each run.
    Json,
}

/// What was said and is to be said.
pub struct Output<'a> {
    form: Form,
    folder: Folder,
    junit: Option<PathBuf>,
    choice: Choice,
    scenarios: BTreeMap<&'a str, &'a Loaded>,
    runs: Vec<Outline>,
    complaint: Option<String>,
    remark: Option<String>,
}

impl<'a> Output<'a> {
    /// For the runs of a campaign.
    pub fn new(
        form: Form,
        folder: Folder,
        junit: Option<PathBuf>,
        campaign: &Campaign<'a>,
    ) -> Output<'a> {
        let scenarios = campaign.jobs.iter().map(|it| (it.scenario.name.as_str(), it.scenario));
        Output {
            form,
            folder,
            junit,
            choice: campaign.choice.clone(),
            scenarios: scenarios.collect(),
            runs: Vec::new(),
            complaint: None,
            remark: None,
        }
    }

    /// Something to be told after the table.
    pub fn remark(&mut self, remark: String) {
        self.remark = Some(remark);
    }

    /// A run ended.
    pub fn finished(&mut self, record: &RunRecord) {
        let mut outline = Outline::of(record);
        let loaded = self.scenarios[record.scenario.as_str()];
        outline.command = replay_command(loaded, record, &self.choice);
        if outline.has_failed()
            && let Err(error) = self.folder.keep(record, &mut outline)
        {
            self.complaint = Some(format!("{}: {error}", shown(self.folder.path())));
        }
        if self.form == Form::Json {
            println!("{}", json_line(record, &outline.command));
        }
        self.runs.push(outline);
    }

    /// Says what came of it all; the exit code.
    pub fn conclude(mut self) -> u8 {
        let report = match self.folder.index(&self.runs) {
            Ok(path) => shown(&path),
            Err(error) => {
                self.complaint = Some(format!("{}: {error}", shown(self.folder.path())));
                String::new()
            }
        };
        if let Some(path) = &self.junit
            && let Err(error) = write_junit(path, &self.runs)
        {
            self.complaint = Some(format!("{}: {error}", shown(path)));
        }
        if let Some(complaint) = &self.complaint {
            eprintln!("reports could not be kept: {complaint}");
        }
        let worst = self.runs.iter().max_by_key(|run| run.verdict);
        let verdict = worst.map_or(Verdict::Skipped, |run| run.verdict);
        if let Form::Table(colours) = self.form {
            let failures = summary::failures(&self.runs, &shown(self.folder.path()));
            print!("{}", summary::table(&self.runs, colours));
            if let Some(remark) = &self.remark {
                println!("{remark}");
            }
            if failures.is_empty() {
                println!("\n{report}");
            } else {
                println!("\n{failures}\n{report}");
                // The shortest run of the worst failure stands last, ready to be pasted.
                let groups = summary::groups(&self.runs);
                if let Some(first) = groups.first().and_then(|group| group.runs.first()) {
                    println!("{}", first.command);
                }
            }
        }
        verdict.exit_code()
    }
}

/// This program as it was called, so that what is printed can be pasted into the same shell.
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "detsim".to_owned())
}

/// The command that does a run again.
pub fn replay_command(loaded: &Loaded, record: &RunRecord, choice: &Choice) -> String {
    let (seed, arguments) = (record.seed.to_string(), choice.arguments());
    let program = program();
    let mut words = vec![program.as_str(), "replay", &loaded.name];
    if crate::run::planned_seed(&loaded.script) != Some(record.seed) {
        words.extend(["--seed", &seed]);
    }
    words.extend(arguments.iter().map(String::as_str));
    command::line(words)
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Tells one run to a reader: what happened when, and what was found.
pub fn tell(record: &RunRecord) {
    let world = &record.world;
    println!("{} with seed {} in the {world} world", record.scenario, record.seed);
    for incident in &record.history.incidents {
        println!("{:>12.6}s  {}", seconds(incident.at.0), words::incident(incident));
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
        "#{} client {} at {}: {} from {:.6}s: {}",
        operation.id.0,
        operation.client.0,
        member.map_or("?", |name| name.0.as_str()),
        words::call(&operation.call),
        seconds(operation.invoked.0),
        words::outcome(operation)
    )
}
