//! `detsim planted`: the tester is tested. Each planted defect must be found by its scenario within
//! the budget; and with the trigger off, which is the scenario without its nemeses, the same build
//! must stay silent, or what was found was not the defect.
#![allow(clippy::disallowed_types, reason = "a budget is real time, outside of the runs")]

use std::time::{Duration, Instant};

use detsim_reports::record::{RunRecord, Verdict};

use super::Usage;
use super::campaign::{Job, Keep, run_one};
use super::library::{Library, Loaded};
use super::worlds::Choice;
use crate::language::parse;
use crate::run::{HOLDS_DEFECTS, Options, VOCABULARY};

/// Seeds that must be silent with the trigger off, however soon the defect was found.
const QUIET_SEEDS: u64 = 5;

/// How the search for one defect ended.
struct Search {
    found: Option<RunRecord>,
    seeds: u64,
    cpu: Duration,
}

/// Reads a budget: `10m`, `90s`.
pub fn budget(text: &str) -> Result<Duration, String> {
    let units = [("m", 60), ("s", 1)];
    let read = units.iter().find_map(|(unit, seconds)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Duration::from_secs(count * seconds))
    });
    read.ok_or_else(|| format!("expected a duration like `10m` or `90s`, found `{text}`"))
}

/// Looks for every defect. Succeeds when all are found and all is silent without triggers.
pub fn test(wanted: &[String], budget: Duration) -> Result<u8, Usage> {
    if !HOLDS_DEFECTS {
        let command = "cargo run --release --bin detsim --features planted -- planted";
        return Err(Usage(format!("this build holds no defects; run `{command}`")));
    }
    let library = Library::find();
    let all = ["planted".to_owned()];
    let scenarios = library.select(if wanted.is_empty() { &all } else { wanted })?;
    let (mut found, mut silent) = (0, 0);
    for scenario in &scenarios {
        let defect = defect_of(scenario)?;
        let search = search(scenario, budget);
        found += usize::from(search.found.is_some());
        tell_search(scenario, &defect, &search);
        let quiet = without_nemeses(scenario)?;
        let heard = first_finding(&quiet, search.seeds.clamp(QUIET_SEEDS, 4 * QUIET_SEEDS));
        silent += usize::from(heard.is_none());
        tell_quiet(scenario, heard.as_ref());
    }
    println!("found {found} of {}", scenarios.len());
    Ok(u8::from(found < scenarios.len() || silent < scenarios.len()))
}

fn defect_of(scenario: &Loaded) -> Result<String, Usage> {
    let planted = Options::of(&scenario.script, 1).planted().map_err(Usage)?;
    let defect = planted.map(|defect| defect.to_string());
    defect.ok_or_else(|| Usage(format!("{} plants no defect", scenario.name)))
}

fn search(scenario: &Loaded, budget: Duration) -> Search {
    let began = Instant::now();
    let mut search = Search { found: None, seeds: 0, cpu: Duration::ZERO };
    while search.found.is_none() && began.elapsed() < budget {
        search.seeds += 1;
        let (record, _) =
            run_one(&Job { scenario, seed: search.seeds }, &Choice::Loop, Keep::Nothing);
        search.cpu += Duration::from_nanos(record.cpu_ns);
        if is_found(&record) {
            search.found = Some(record);
        }
    }
    search
}

/// What the members did wrong counts; what the harness did wrong, or could not decide, does not.
fn is_found(record: &RunRecord) -> bool {
    matches!(record.verdict, Verdict::Safety | Verdict::Liveness | Verdict::Crash)
}

fn first_finding(scenario: &Loaded, seeds: u64) -> Option<RunRecord> {
    let runs =
        (1..=seeds).map(|seed| run_one(&Job { scenario, seed }, &Choice::Loop, Keep::Nothing).0);
    runs.into_iter().find(|record| record.verdict != Verdict::Passed)
}

/// The same scenario with the same defect, but nothing that brings it out.
fn without_nemeses(scenario: &Loaded) -> Result<Loaded, Usage> {
    let text = scenario.script.to_string();
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("nemesis ")).collect();
    let name = format!("{} without its trigger", scenario.name);
    let script = parse(&name, &kept.join("\n"), VOCABULARY)
        .map_err(|errors| Usage(errors.iter().map(ToString::to_string).collect()))?;
    Ok(Loaded { name, script, story: scenario.story.clone() })
}

fn tell_search(scenario: &Loaded, defect: &str, search: &Search) {
    let cost = format!("{} seeds, {:.1} s of CPU", search.seeds, search.cpu.as_secs_f64());
    match &search.found {
        Some(record) => {
            println!("{:32} {defect:28} found by {} after {cost}", scenario.name, record.signature)
        }
        None => println!("{:32} {defect:28} NOT FOUND within {cost}", scenario.name),
    }
}

fn tell_quiet(scenario: &Loaded, heard: Option<&RunRecord>) {
    match heard {
        None => println!("{:32} silent without its trigger", scenario.name),
        Some(record) => println!(
            "{:32} NOT SILENT without its trigger: {} {} with seed {}",
            scenario.name,
            record.verdict.name(),
            record.signature,
            record.seed
        ),
    }
}
