//! The `detsim` command line: runs, replays, explains, lists and formats scenarios.
//!
//! The only place of the harness that looks at real clocks and starts threads: for progress, for
//! what a run costs, and to run seeds side by side. Each run stays on one thread.
//!
//! Exit codes: 0 all passed, 1 a safety violation, 2 usage, 3 liveness, 4 crash, 5 harness error or
//! nondeterminism, 6 undecided, 130 a sweep that was interrupted and had found nothing.

mod campaign;
mod check;
mod determinism;
mod enumerate;
mod explain;
mod folder;
mod library;
mod output;
mod planted;
mod pool;
mod sweep;
mod words;
mod worlds;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use campaign::{Campaign, Job};
use detsim_reports::outline::json_line;
use detsim_reports::record::Verdict;
use detsim_reports::summary::Colours;
use folder::Folder;
use library::{Library, Loaded};
use output::Form;
use worlds::Choice;

/// The exit code of a wrong command line or a script that cannot be read.
const USAGE: u8 = 2;
/// Seeds of a run that names none.
const FIXED_SEEDS: std::ops::RangeInclusive<u64> = 1..=5;

/// Why a command cannot be carried out, for the one who gave it.
#[derive(Debug)]
struct Usage(String);

/// A deterministic simulator and Jepsen-style harness for etcd clusters.
///
/// Without a command, runs every scenario with a few fixed seeds in the loop world.
#[derive(Debug, Parser)]
#[command(name = "detsim", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios with seeds.
    Run(Run),
    /// Swarm testing: run a configuration that is drawn anew for each seed, for a budget of seeds
    /// or time.
    ///
    /// Cluster size, flags, links, workloads and nemeses are drawn as a scenario, which `--show`
    /// prints; `detsim replay swarm --seed N` draws and runs it again. The output folder gets a
    /// line for each seed (`sweep.jsonl`), figures (`sweep.json`), a page (`index.html`), and what
    /// is known of each run that failed.
    Sweep(sweep::Sweep),
    /// Replay one run: a plan, or a scenario with its seed.
    Replay(Replay),
    /// Test the tester: find every planted defect, and nothing where its trigger is off.
    Planted(Planted),
    /// Kill a member, or cut its power, at every disk operation of a scenario in turn.
    ///
    /// The scenario is run once as it is, and its disk operations are counted. Then it is run for
    /// each operation of each member, which ends right after it or half-way through it, and is
    /// started again a little later. Every run must hold all that the scenario's checkers ask for.
    Enumerate(enumerate::Enumerate),
    /// Make the page of one run, from its record or by doing it again.
    Explain(Explain),
    /// Judge histories in files: records of runs, reports of etcd's robustness tests, Jepsen's EDN,
    /// Porcupine's JSON.
    ///
    /// Of Jepsen's histories, registers (read, write, cas), sets (add, read) and Elle's
    /// transactions (append, r, w) are understood. Of Porcupine's, operations with ClientId, Input,
    /// Call, Output and Return, one a line or in an array: those of etcd's robustness tests, those
    /// of key-value stores ({"Op":"get","Key":"k"}, {"Op":"put","Key":"k","Value":"v"}, also 0 and
    /// 1, {"Op":"cas","Key":"k","From":"v","To":"w"}, {"Op":"delete","Key":"k"}; a get's output is
    /// the value, or {"Value":"v"}), and those of registers ({"Op":true} reads,
    /// {"Op":false,"Value":5} writes). A file of which nothing was judged, or of whose clients
    /// something was not understood, is undecided: exit code 6.
    Check(Check),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Measure what the loop world costs in processor time.
    Bench(Bench),
    /// List scenarios, or the words that scripts can use.
    List(List),
    /// Bring scenarios and plans into their canonical form.
    Fmt(Fmt),
}

#[derive(Args, Clone, Debug, Default)]
struct Where {
    /// The world: loop or process.
    #[arg(long, value_name = "WORLD", default_value = "loop")]
    world: String,
    /// The program of the process world: `etcd=/path/to/etcd` or `detcd=/path/to/detcd`.
    #[arg(long, value_name = "NAME=PATH")]
    server: Option<String>,
}

#[derive(Args, Debug, Default)]
struct Run {
    /// Scenarios by name, groups of them (`partition`), or files; all when none is named.
    scenarios: Vec<String>,
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds from A to B, both included.
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// How many runs side by side; all cores when not said.
    #[arg(long, short)]
    jobs: Option<usize>,
    #[command(flatten)]
    place: Where,
    /// Run every seed twice in fresh processes and compare what happened.
    #[arg(long)]
    check_determinism: bool,
    /// One JSON object per run and line, instead of the table.
    #[arg(long)]
    json: bool,
    /// The table in colours.
    #[arg(long)]
    colour: bool,
    /// Where the report goes, with pages, records and plans of failed runs: `reports/out/run` in
    /// the project, `detsim-runs` elsewhere, when not said.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the verdicts as JUnit's XML into this file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write each event of the one run, as a line, into this file.
    #[arg(long, value_name = "FILE", hide = true)]
    trace: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Replay {
    /// A plan, or a scenario's name or file.
    plan: String,
    /// The seed, when the file does not name it.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    place: Where,
    /// One JSON object instead of the story.
    #[arg(long)]
    json: bool,
    /// Write each event, as a line, into this file.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Check {
    /// Records, histories, or folders of reports.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where pages of failures go.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Bench {
    /// What: idle, paced, logical, pages, saturated, crowded; all when none is named.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(crate::bench::MEASURES))]
    measures: Vec<String>,
    /// A hundredth of the full size.
    #[arg(long)]
    quick: bool,
}

#[derive(Args, Debug)]
struct Planted {
    /// Scenarios of defects; all of `planted` when none is named.
    scenarios: Vec<String>,
    /// Time for each of them: `10m`, `90s`.
    #[arg(long, default_value = "2m", value_parser = planted::budget)]
    budget: std::time::Duration,
}

#[derive(Args, Debug)]
struct Explain {
    /// A record (`.json`), a plan, or a scenario's name or file.
    run: String,
    /// The seed, when the file does not name it.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    place: Where,
    /// The page's file; beside the reports of runs when not said.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct List {
    /// What: scenarios, workloads, nemeses, options, checkers.
    #[arg(default_value = "scenarios")]
    what: String,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct Fmt {
    /// Files; all scenarios when none is named; `-` for standard input to standard output.
    files: Vec<PathBuf>,
    /// Change nothing; tell what would change.
    #[arg(long)]
    check: bool,
}

/// Carries out the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => run(Run { place: Where { world: "loop".into(), server: None }, ..Run::default() }),
        Some(Command::Run(command)) => run(command),
        Some(Command::Sweep(command)) => sweep::sweep(&command),
        Some(Command::Replay(command)) => replay(command),
        Some(Command::Enumerate(command)) => enumerate::enumerate(&command),
        Some(Command::Planted(command)) => planted::test(&command.scenarios, command.budget),
        Some(Command::Explain(command)) => explain::explain(&command),
        Some(Command::Check(command)) => check::check(&command),
        Some(Command::Completions { shell }) => {
            let mut cli = <Cli as clap::CommandFactory>::command();
            clap_complete::generate(shell, &mut cli, "detsim", &mut std::io::stdout());
            Ok(0)
        }
        Some(Command::Bench(command)) => {
            let scale = if command.quick { 1 } else { 100 };
            print!("{}", crate::bench::table(&crate::bench::measure(&command.measures, scale)));
            Ok(0)
        }
        Some(Command::List(command)) => words::list(&command.what, command.json),
        Some(Command::Fmt(command)) => words::format(&command.files, command.check),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(Usage(what)) => {
            eprintln!("{what}");
            ExitCode::from(USAGE)
        }
    }
}

fn seeds(command: &Run, script_seed: Option<u64>) -> Result<Vec<u64>, Usage> {
    if let Some(seed) = command.seed {
        return Ok(vec![seed]);
    }
    let Some(text) = &command.seeds else {
        return Ok(script_seed.map_or_else(|| FIXED_SEEDS.collect(), |seed| vec![seed]));
    };
    let range = text.split_once("..").and_then(|(first, last)| {
        let range = first.parse::<u64>().ok()?..=last.parse::<u64>().ok()?;
        (!range.is_empty()).then_some(range)
    });
    match range {
        Some(range) => Ok(range.collect()),
        None => Err(Usage(format!("--seeds: expected a range like `1..100`, found `{text}`"))),
    }
}

fn run(command: Run) -> Result<u8, Usage> {
    let choice = Choice::new(&command.place.world, command.place.server.as_deref())?;
    let library = Library::find();
    let mut scenarios = library.select(&command.scenarios)?;
    let named = scenarios.len();
    if command.scenarios.is_empty() {
        // They are meant to fail; `detsim planted` judges them.
        scenarios.retain(|scenario| !scenario.name.starts_with("planted/"));
    }
    let left_out = named - scenarios.len();
    let mut jobs = Vec::new();
    for scenario in &scenarios {
        for seed in seeds(&command, crate::run::planned_seed(&scenario.script))? {
            jobs.push(Job { scenario, seed });
        }
    }
    let threads = pool::threads(command.jobs).clamp(1, jobs.len().max(1));
    let campaign = Campaign { jobs, threads, choice };
    if command.check_determinism {
        return determinism::check(&campaign, command.json);
    }
    if let Some(file) = &command.trace {
        return trace_only(&campaign, file, command.json);
    }
    let form = match (command.json, command.colour) {
        (true, _) => Form::Json,
        (false, true) => Form::Table(Colours::Ansi),
        (false, false) => Form::Table(Colours::None),
    };
    let folder = Folder::new(command.out.unwrap_or_else(Folder::usual));
    let mut output = output::Output::new(form, folder, command.junit, &campaign);
    campaign.run(&mut |record| output.finished(record));
    if left_out > 0 {
        output.remark(format!(
            "{left_out} scenarios of planted defects were left out: `{}` looks for them",
            planted::COMMAND
        ));
    }
    Ok(output.conclude())
}

/// Runs the first job alone and keeps its events.
fn trace_only(campaign: &Campaign<'_>, file: &PathBuf, is_json: bool) -> Result<u8, Usage> {
    let [job] = campaign.jobs.as_slice() else {
        return Err(Usage("--trace needs one scenario and one seed".to_owned()));
    };
    let (record, trace) = campaign::run_one(job, &campaign.choice, campaign::Keep::Trace);
    write_trace(file, &trace)?;
    if is_json {
        let command = output::replay_command(job.scenario, &record, &campaign.choice);
        println!("{}", json_line(&record, &command));
    }
    Ok(record.verdict.exit_code())
}

fn write_trace(file: &PathBuf, trace: &[String]) -> Result<(), Usage> {
    std::fs::write(file, trace.join("\n") + "\n")
        .map_err(|error| Usage(format!("{}: {error}", file.display())))
}

/// The one scenario or plan that is named, and its seed; or what a sweep draws with the seed.
fn one(named: &str, seed: Option<u64>) -> Result<(Loaded, u64), Usage> {
    let without = || Usage(format!("{named} names no seed: add --seed N"));
    if named == sweep::NAME {
        let seed = seed.ok_or_else(without)?;
        return Ok((sweep::loaded(crate::swarm::draw(seed, crate::swarm::FAULTS).script), seed));
    }
    let loaded = Library::find().one(named)?;
    let seed = seed.or_else(|| crate::run::planned_seed(&loaded.script)).ok_or_else(without)?;
    Ok((loaded, seed))
}

fn replay(command: Replay) -> Result<u8, Usage> {
    let (loaded, seed) = one(&command.plan, command.seed)?;
    let choice = Choice::new(&command.place.world, command.place.server.as_deref())?;
    let job = Job { scenario: &loaded, seed };
    let keep = match command.trace {
        Some(_) => campaign::Keep::Trace,
        None => campaign::Keep::Nothing,
    };
    let (record, trace) = campaign::run_one(&job, &choice, keep);
    if let Some(file) = &command.trace {
        write_trace(file, &trace)?;
    }
    let again = output::replay_command(&loaded, &record, &choice);
    if command.json {
        println!("{}", json_line(&record, &again));
        return Ok(record.verdict.exit_code());
    }
    output::tell(&record);
    if record.verdict > Verdict::Passed {
        println!("{again}");
    }
    Ok(record.verdict.exit_code())
}
