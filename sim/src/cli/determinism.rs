//! `--check-determinism`: every seed twice, each time in a fresh process, with equal traces. When
//! they differ, the two runs are done again with their events written out, and the first event that
//! differs is shown.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use detsim_reports::record::Verdict;

use super::Usage;
use super::campaign::{Campaign, Job};
use super::worlds::Choice;
use crate::world::loop_world::first_difference;

/// What two runs of a job came to.
enum Compared {
    Equal { hash: String, verdict: Verdict, command: String },
    Differ { hashes: [String; 2], event: String },
    Broken(String),
}

/// The exit code of nondeterminism and of a harness that fails.
const HARNESS: u8 = 5;

/// Checks all jobs of a campaign.
pub fn check(campaign: &Campaign<'_>, is_json: bool) -> Result<u8, Usage> {
    if !matches!(campaign.choice, Choice::Loop) {
        return Err(Usage("--check-determinism: only runs in the loop world repeat".to_owned()));
    }
    let program = std::env::current_exe()
        .map_err(|error| Usage(format!("this program cannot be found: {error}")))?;
    let mut code = 0;
    let mut worst = Verdict::Skipped;
    let mut failed = Vec::new();
    let mut last = String::new();
    let mut jobs = campaign.jobs.iter();
    let mut equal = 0;
    campaign.each(|job| compare(&program, job), &mut |compared| {
        let job = jobs.next().expect("a result for each job");
        let (scenario, seed) = (&job.scenario.name, job.seed);
        match compared {
            Compared::Equal { hash, verdict, command } => {
                equal += 1;
                worst = worst.max(*verdict);
                if *verdict > Verdict::Passed {
                    failed.push(command.clone());
                }
                if is_json {
                    let line = serde_json::json!({
                        "scenario": scenario, "seed": seed, "deterministic": true,
                        "trace_hash": hash, "verdict": verdict.name()
                    });
                    println!("{line}");
                }
            }
            Compared::Differ { hashes, event } => {
                code = HARNESS;
                let program = super::output::program();
                last = format!("{program} run {scenario} --seed {seed} --check-determinism");
                if is_json {
                    let line = serde_json::json!({
                        "scenario": scenario, "seed": seed, "deterministic": false,
                        "trace_hashes": hashes, "first_difference": event
                    });
                    println!("{line}");
                } else {
                    let [one, other] = hashes;
                    println!("{scenario} with seed {seed}: traces {one} and {other}\n{event}");
                }
            }
            Compared::Broken(what) => {
                code = HARNESS;
                eprintln!("{scenario} with seed {seed}: {what}");
            }
        }
    });
    if !is_json {
        println!("{equal} of {} runs repeat event for event", campaign.jobs.len());
    }
    let ends = failed.iter().chain((!last.is_empty()).then_some(&last));
    if !is_json {
        ends.for_each(|command| println!("{command}"));
    }
    Ok(if code == 0 { worst.exit_code() } else { code })
}

fn compare(program: &Path, job: &Job<'_>) -> Compared {
    let pair = once(program, job, None).and_then(|one| Ok((one, once(program, job, None)?)));
    let ((one, line), (other, _)) = match pair {
        Ok(pair) => pair,
        Err(what) => return Compared::Broken(what),
    };
    if one == other {
        let verdict = line.get("verdict").cloned().and_then(|it| serde_json::from_value(it).ok());
        let command = line.get("command").and_then(Value::as_str).unwrap_or_default().to_owned();
        let verdict = verdict.unwrap_or(Verdict::Harness);
        return Compared::Equal { hash: one, verdict, command };
    }
    Compared::Differ { event: difference(program, job), hashes: [one, other] }
}

/// One run in a fresh process: its trace hash, and its line of JSON.
fn once(program: &Path, job: &Job<'_>, trace: Option<&Path>) -> Result<(String, Value), String> {
    let mut command = Command::new(program);
    command.args(["run", &job.scenario.name, "--seed", &job.seed.to_string(), "--json"]);
    command.args(["--jobs", "1", "--out"]).arg(scratch(job, "out"));
    if let Some(file) = trace {
        command.arg("--trace").arg(file);
    }
    let output = command.output().map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line: Option<Value> = text.lines().last().and_then(|it| serde_json::from_str(it).ok());
    let hash = |line: &Value| line.get("trace_hash")?.as_str().map(str::to_owned);
    let found = line.and_then(|line| Some((hash(&line)?, line)));
    // What the run keeps of a failure is not wanted here.
    let _ = std::fs::remove_dir_all(scratch(job, "out"));
    found.ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        format!("a run in a fresh process told no trace: {}", complaint.trim())
    })
}

/// Does both runs again with their events written out, and compares these.
fn difference(program: &Path, job: &Job<'_>) -> String {
    let files = [scratch(job, "trace-1"), scratch(job, "trace-2")];
    let mut traces = Vec::new();
    for file in &files {
        let lines = once(program, job, Some(file))
            .and_then(|_| std::fs::read_to_string(file).map_err(|error| error.to_string()));
        let _ = std::fs::remove_file(file);
        match lines {
            Ok(text) => traces.push(text.lines().map(str::to_owned).collect::<Vec<String>>()),
            Err(what) => return format!("the events could not be had: {what}"),
        }
    }
    match first_difference(&traces[0], &traces[1]) {
        Some((number, one, other)) => {
            let show = |line: Option<&str>| line.unwrap_or("nothing: it ended before").to_owned();
            let (one, other) = (show(one), show(other));
            format!("the first event that differs is number {number}\n  {one}\n  {other}")
        }
        None => "the same two runs done again did not differ in any event that is told".to_owned(),
    }
}

fn scratch(job: &Job<'_>, what: &str) -> PathBuf {
    let name = job.scenario.name.replace(|it: char| !it.is_ascii_alphanumeric(), "-");
    let process = std::process::id();
    std::env::temp_dir().join(format!("detsim-{process}-{name}-{}-{what}", job.seed))
}
