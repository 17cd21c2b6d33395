//! `detsim sweep`: swarm testing. Each seed draws a configuration of its own, runs it, and is
//! written down as it ends; what failed is kept with its record, page, plan and the scenario that
//! was drawn. Ends with the seeds, with the budget, or when it is interrupted, and can go on later.

mod progress;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use detsim_reports::outline::{Outline, json_line};
use detsim_reports::record::{Finding, RunRecord, Severity, Verdict};
use detsim_reports::summary::{self, Colours};
use detsim_reports::sweep::swarm::{self as report, Aim, Swept};
use signal_hook::consts::{SIGINT, SIGTERM};

use self::progress::{Goal, Progress};
use self::state::{Head, State};
use super::Usage;
use super::campaign::{Job, Keep, run_one};
use super::folder::{Folder, write_junit};
use super::library::{Loaded, shown};
use super::pool::{self, Pool};
use super::worlds::Choice;
use crate::language::Script;
use crate::language::value::{Kind, Value, duration, show_duration, show_percent};
use crate::seed::{Draw, Streams};
use crate::swarm::{self, FAULTS, goals};

/// What a drawn scenario is called, with its seed beside it.
pub const NAME: &str = "swarm";
/// When neither seeds nor time are given.
const BUDGET: Duration = Duration::from_secs(60);

/// How to sweep.
#[derive(Args, Clone, Debug)]
pub struct Sweep {
    /// Seeds from A to B, both included, or from A on: `1..500`, `1000..`.
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// Time: `10m`, `90s`, `8h`. A minute when neither seeds nor time are given.
    #[arg(long, value_name = "TIME", value_parser = time)]
    budget: Option<Duration>,
    /// How many runs side by side; all cores when not said.
    #[arg(long, short)]
    jobs: Option<usize>,
    /// Simulated time with faults in each run.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "60s")]
    faults: Duration,
    /// Run this share of the seeds a second time in a fresh process, and compare what happened.
    #[arg(
        long,
        value_name = "SHARE",
        value_parser = share,
        num_args = 0..=1,
        require_equals = true,
        default_value = "0%",
        default_missing_value = "1%"
    )]
    check_determinism: u32,
    /// Go on with the sweep in the output folder: seeds that are done are not run again.
    #[arg(long)]
    resume: bool,
    /// Print what this seed draws, and run nothing.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "budget", "resume", "json"])]
    show: Option<u64>,
    /// Print what each seed drew as it ends.
    #[arg(long, conflicts_with = "json")]
    print: bool,
    /// One JSON object per run and line, and one for the sweep, instead of the table.
    #[arg(long)]
    json: bool,
    /// The table in colours.
    #[arg(long)]
    colour: bool,
    /// Where everything goes: `reports/out/sweep` in the project, `detsim-sweep` elsewhere, when
    /// not said.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the verdicts as JUnit's XML into this file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

fn time(text: &str) -> Result<Duration, String> {
    let read = duration(text).filter(|time| !time.is_zero());
    read.ok_or_else(|| format!("expected a time like `10m` or `90s`, found `{text}`"))
}

fn share(text: &str) -> Result<u32, String> {
    match Kind::Percent.read(text) {
        Some(Value::Percent(rate)) => Ok(rate),
        _ => Err(format!("expected a share like `1%`, found `{text}`")),
    }
}

/// The exit code of a sweep that was interrupted and found nothing before: as of a process that the
/// signal ends.
const INTERRUPTED: u8 = 130;

/// What decides how a seed is run.
#[derive(Clone, Copy, Debug)]
struct Habits {
    faults: Duration,
    /// Seeds of ten thousand that run twice.
    check_per_10k: u32,
}

/// Sweeps.
pub fn sweep(command: &Sweep) -> Result<u8, Usage> {
    if let Some(seed) = command.show {
        print!("{}", swarm::draw(seed, command.faults).script);
        return Ok(0);
    }
    let habits = Habits { faults: command.faults, check_per_10k: command.check_determinism };
    let directory = command.out.clone().unwrap_or_else(|| Folder::usual_of("sweep"));
    let head = Head::new(show_duration(habits.faults), show_percent(habits.check_per_10k))
        .map_err(|error| Usage(format!("this program cannot be read: {error}")))?;
    let (state, runs) = match command.resume {
        true => State::resume(&directory, &head)?,
        false => (State::begin(&directory, &head)?, Vec::new()),
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends it at once.
        signal_hook::flag::register_conditional_shutdown(
            signal,
            i32::from(INTERRUPTED),
            stop.clone(),
        )
        .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
        .map_err(|error| Usage(format!("signals cannot be caught: {error}")))?;
    }
    let mut keeper = Keeper { state, folder: Folder::new(directory), runs, complaint: None };
    keeper.run(command, &habits, &stop)?;
    let code = keeper.conclude(command);
    let was_interrupted = stop.load(std::sync::atomic::Ordering::Relaxed);
    if was_interrupted {
        eprintln!("interrupted: not all seeds were run; `--resume` goes on");
    }
    Ok(if was_interrupted && code == 0 { INTERRUPTED } else { code })
}

/// First and last seed.
fn seeds(command: &Sweep) -> Result<(u64, Option<u64>), Usage> {
    let Some(text) = &command.seeds else { return Ok((1, None)) };
    let range = text.split_once("..").and_then(|(first, last)| {
        let first = first.parse::<u64>().ok()?;
        match last {
            "" => Some((first, None)),
            last => Some((first, Some(last.parse().ok().filter(|last| *last >= first)?))),
        }
    });
    range.ok_or_else(|| Usage(format!("--seeds: expected a range like `1..500`, found `{text}`")))
}

/// Draws and runs one seed. The record is there if somebody has to look at it.
fn sweep_seed(seed: u64, habits: &Habits, program: &str) -> (Swept, RunRecord) {
    let drawn = swarm::draw(seed, habits.faults);
    let script = drawn.script.to_string();
    let scenario = loaded(drawn.script);
    let job = Job { scenario: &scenario, seed };
    let (mut record, _) = run_one(&job, &Choice::Loop, Keep::Nothing);
    let mut stream = Streams::new(seed).stream("check-determinism");
    let repeated = stream.chance_per_10k(habits.check_per_10k);
    if repeated {
        compare(&mut record, &scenario);
    }
    let mut outline = Outline::of(&record);
    outline.command = format!("{program} replay {NAME} --seed {seed}");
    let goals = goals::reached(&record).into_iter().map(str::to_owned).collect();
    (Swept { outline, features: drawn.features, goals, repeated, script }, record)
}

/// A drawn scenario.
pub fn loaded(script: Script) -> Loaded {
    let story = script.story().into_iter().map(str::to_owned).collect();
    Loaded { name: NAME.to_owned(), script, story }
}

/// Does a run once more in a fresh process. That it came out differently is the harness's fault.
fn compare(record: &mut RunRecord, scenario: &Loaded) {
    let here = record.trace_hash.map(|hash| format!("{hash:016x}")).unwrap_or_default();
    let explanation = match again(scenario, record.seed) {
        Ok(there) if there == here => return,
        Ok(there) => format!("the same run had trace {here} here and {there} in a fresh process"),
        Err(what) => format!("the run could not be done in a fresh process: {what}"),
    };
    let finding = Finding {
        checker: "determinism".to_owned(),
        rule: "trace-hash".to_owned(),
        severity: Severity::Harness,
        explanation,
        operations: Vec::new(),
        members: Vec::new(),
        at: detsim_reports::record::Time(record.simulated_ns),
    };
    record.verdict = Verdict::Harness;
    record.signature = finding.signature();
    record.findings.insert(0, finding);
}

/// The trace's hash of a run in a fresh process.
fn again(scenario: &Loaded, seed: u64) -> Result<String, String> {
    let file = std::env::temp_dir().join(format!("detsim-{}-{seed}.scenario", std::process::id()));
    let run = || {
        std::fs::write(&file, scenario.script.to_string())?;
        Command::new(std::env::current_exe()?).arg("replay").arg(&file).arg("--json").output()
    };
    let output = run();
    let _ = std::fs::remove_file(&file);
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line: Option<serde_json::Value> =
        text.lines().last().and_then(|it| serde_json::from_str(it).ok());
    let hash = line.as_ref().and_then(|line| line.get("trace_hash")?.as_str());
    let complaint = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    hash.map(str::to_owned).ok_or_else(complaint)
}

/// Keeps what a sweep leaves behind.
struct Keeper {
    state: State,
    folder: Folder,
    runs: Vec<Swept>,
    complaint: Option<String>,
}

impl Keeper {
    fn run(&mut self, command: &Sweep, habits: &Habits, stop: &AtomicBool) -> Result<(), Usage> {
        let (first, last) = seeds(command)?;
        let budget = match (command.budget, last) {
            (None, None) => Some(BUDGET),
            (budget, _) => budget,
        };
        let done: BTreeSet<u64> = self.runs.iter().map(|run| run.outline.seed).collect();
        let left = (first..=last.unwrap_or(u64::MAX)).filter(|seed| !done.contains(seed));
        let many = last.map(|last| last - first + 1 - done.range(first..=last).count() as u64);
        let pool = Pool {
            threads: pool::threads(command.jobs).max(1),
            deadline: pool::deadline(budget),
            stop,
        };
        let program = super::output::program();
        let work = |seed| {
            let (swept, record) = sweep_seed(seed, habits, &program);
            let wanted = swept.outline.has_failed() || command.json;
            (swept, wanted.then(|| Box::new(record)))
        };
        let mut progress = Progress::new(Goal { seeds: many, time: budget });
        let mut was_stopped = false;
        pool.run(left, work, &mut |result| {
            if let Some((swept, record)) = result {
                progress.done(swept.outline.has_failed());
                progress.beside(|| self.finished(swept, record.as_deref(), command));
            }
            if !was_stopped && stop.load(std::sync::atomic::Ordering::Relaxed) {
                was_stopped = true;
                progress.beside(|| eprintln!("interrupted: finishing what is under way"));
            }
            progress.show();
        });
        progress.end();
        self.runs.sort_by_key(|run| run.outline.seed);
        Ok(())
    }

    /// A seed is done.
    fn finished(&mut self, mut swept: Swept, record: Option<&RunRecord>, command: &Sweep) {
        if let (true, Some(record)) = (swept.outline.has_failed(), record)
            && let Err(error) = self.keep(&mut swept, record, command.faults)
        {
            self.complaint = Some(format!("{}: {error}", shown(self.folder.path())));
        }
        if let Err(error) = self.state.add(&swept) {
            self.complaint = Some(format!("{}: {error}", shown(self.state.path())));
        }
        if command.print {
            println!("{}", swept.script);
        }
        if let (true, Some(record)) = (command.json, record) {
            println!("{}", json_line(record, &swept.outline.command));
        }
        self.runs.push(swept);
    }

    /// Keeps a run that failed, and the scenario that it drew.
    fn keep(
        &mut self,
        swept: &mut Swept,
        record: &RunRecord,
        faults: Duration,
    ) -> std::io::Result<()> {
        let name = format!("{}.scenario", super::folder::file_name(record));
        let file = self.folder.path().join(name);
        std::fs::create_dir_all(self.folder.path())?;
        std::fs::write(&file, &swept.script)?;
        if faults != FAULTS {
            // Only what is drawn as usual can be drawn again by its seed alone.
            let (program, file) = (super::output::program(), shown(&file));
            swept.outline.command = detsim_reports::command::line([&*program, "replay", &file]);
        }
        self.folder.keep(record, &mut swept.outline)
    }

    /// Says what came of it; the exit code.
    fn conclude(mut self, command: &Sweep) -> u8 {
        let aims: Vec<Aim<'_>> =
            goals::GOALS.iter().map(|it| Aim { name: it.name, meaning: it.meaning }).collect();
        let outlines: Vec<Outline> = self.runs.iter().map(|run| run.outline.clone()).collect();
        let page = self.folder.path().join("index.html");
        let json = report::json(&self.runs, &aims);
        let written = std::fs::write(&page, report::page("detsim sweep", &self.runs, &aims))
            .and_then(|()| std::fs::write(self.folder.path().join("sweep.json"), &json))
            .and_then(|()| command.junit.as_ref().map_or(Ok(()), |it| write_junit(it, &outlines)));
        if let Err(error) = written {
            self.complaint = Some(format!("{}: {error}", shown(self.folder.path())));
        }
        if let Some(complaint) = &self.complaint {
            eprintln!("reports could not be kept: {complaint}");
        }
        if command.json {
            println!("{json}");
            return report::worst(&self.runs).exit_code();
        }
        let colours = if command.colour { Colours::Ansi } else { Colours::None };
        print!("{}", summary::table(&outlines, colours));
        print!("{}", report::summary(&self.runs, &aims));
        let failures = summary::failures(&outlines, &shown(self.folder.path()));
        match failures.is_empty() {
            true => println!("\n{}", shown(&page)),
            false => println!("\n{failures}\n{}", shown(&page)),
        }
        let groups = summary::groups(&outlines);
        if let Some(first) = groups.first().and_then(|group| group.runs.first()) {
            println!("{}", first.command);
        }
        report::worst(&self.runs).exit_code()
    }
}
