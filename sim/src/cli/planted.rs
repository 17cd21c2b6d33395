//! `detsim planted`: the tester is tested. Each planted defect must be found by its scenario within
//! the seeds that its story claims, and by a checker that it names; and the same build must stay
//! silent with the trigger off, and the same scenario without the defect, or what was found was not
//! the defect.
//!
//! The trigger is off when the nemeses are left out, and every line with a comment that begins with
//! `quiet:` is what that comment says instead.
#![allow(clippy::disallowed_types, reason = "a budget is real time, outside of the runs")]

use std::time::{Duration, Instant};

use detsim_reports::record::{RunRecord, Verdict};

use super::Usage;
use super::campaign::{Job, Keep, run_one};
use super::library::{Library, Loaded, read};
use super::worlds::Choice;
use crate::run::{HOLDS_DEFECTS, Options};

/// Seeds that must be silent with the trigger off, however soon the defect was found.
const QUIET_SEEDS: u64 = 5;

/// How a defect can be like the one of the catalogue. What is impossible here has no scenario.
const MARKS: [&str; 2] = ["same", "analogue"];

/// What a story claims, in its sentences `Mechanism: same.`, `Seen by: a, b/rule.` and
/// `Within: 20 seeds.`
struct Claim {
    mark: &'static str,
    checkers: Vec<String>,
    seeds: u64,
}

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

/// How to look for every defect, in a build that holds them.
pub const COMMAND: &str = "cargo run --release --bin detsim --features planted -- planted";

/// Looks for every defect. Succeeds when all are found and all is silent without triggers.
pub fn test(wanted: &[String], budget: Duration) -> Result<u8, Usage> {
    if !HOLDS_DEFECTS {
        return Err(Usage(format!("this build holds no defects; run `{COMMAND}`")));
    }
    let library = Library::find();
    let all = ["planted".to_owned()];
    let scenarios = library.select(if wanted.is_empty() { &all } else { wanted })?;
    let (mut found, mut silent) = (0, 0);
    let mut shares = MARKS.map(|mark| (mark, 0, 0));
    for scenario in &scenarios {
        let defect = defect_of(scenario)?;
        let claim = claim_of(scenario)?;
        let search = search(scenario, &claim, budget);
        found += usize::from(search.found.is_some());
        for (_, found, of) in shares.iter_mut().filter(|share| share.0 == claim.mark) {
            *found += usize::from(search.found.is_some());
            *of += 1;
        }
        tell_search(scenario, &defect, &search);
        let seeds = search.seeds.clamp(QUIET_SEEDS, 4 * QUIET_SEEDS);
        let mut is_silent = true;
        for (what, quiet) in [("trigger", untriggered(scenario)?), ("defect", sound(scenario)?)] {
            let heard = first_finding(&quiet, seeds);
            is_silent &= heard.is_none();
            tell_quiet(scenario, what, heard.as_ref());
        }
        silent += usize::from(is_silent);
    }
    let shares = shares.map(|(mark, found, of)| format!("{mark} {found} of {of}"));
    println!("found {found} of {}: {}", scenarios.len(), shares.join(", "));
    Ok(u8::from(found < scenarios.len() || silent < scenarios.len()))
}

fn defect_of(scenario: &Loaded) -> Result<String, Usage> {
    let planted = Options::of(&scenario.script, 1).planted().map_err(Usage)?;
    let defect = planted.map(|defect| defect.to_string());
    defect.ok_or_else(|| Usage(format!("{} plants no defect", scenario.name)))
}

fn claim_of(scenario: &Loaded) -> Result<Claim, Usage> {
    let story = scenario.story.join(" ");
    let said = |what: &str| {
        let (_, rest) = story.split_once(what)?;
        rest.split_once('.').map(|(said, _)| said.trim().to_owned())
    };
    let seeds = said("Within:").and_then(|said| said.strip_suffix(" seeds")?.parse().ok());
    let mechanism = said("Mechanism:").unwrap_or_default();
    let mark = MARKS.into_iter().find(|mark| mechanism.split(',').next() == Some(mark));
    match (said("Seen by:"), seeds, mark) {
        (Some(checkers), Some(seeds), Some(mark)) => {
            let checkers = checkers.split(", ").map(str::to_owned).collect();
            Ok(Claim { mark, checkers, seeds })
        }
        _ => Err(Usage(format!(
            "the story of {} does not say `Mechanism: same.` or `Mechanism: analogue, REASON.`, \
             `Seen by: CHECKERS.` and `Within: N seeds.`",
            scenario.name
        ))),
    }
}

fn search(scenario: &Loaded, claim: &Claim, budget: Duration) -> Search {
    let began = Instant::now();
    let mut search = Search { found: None, seeds: 0, cpu: Duration::ZERO };
    while search.found.is_none() && search.seeds < claim.seeds && began.elapsed() < budget {
        search.seeds += 1;
        let (record, _) =
            run_one(&Job { scenario, seed: search.seeds }, &Choice::Loop, Keep::Nothing);
        search.cpu += Duration::from_nanos(record.cpu_ns);
        if is_found(&record, claim) {
            search.found = Some(record);
        }
    }
    search
}

/// What the members did wrong counts, if the right checker speaks first; what the harness did
/// wrong, or could not decide, does not.
fn is_found(record: &RunRecord, claim: &Claim) -> bool {
    let first = record.findings.first();
    matches!(record.verdict, Verdict::Safety | Verdict::Liveness | Verdict::Crash)
        && first.is_some_and(|finding| {
            let is_of = |it: &String| *it == finding.checker || *it == finding.signature();
            claim.checkers.iter().any(is_of)
        })
}

fn first_finding(scenario: &Loaded, seeds: u64) -> Option<RunRecord> {
    let runs =
        (1..=seeds).map(|seed| run_one(&Job { scenario, seed }, &Choice::Loop, Keep::Nothing).0);
    runs.into_iter().find(|record| record.verdict != Verdict::Passed)
}

/// The same scenario with the same defect, but nothing that brings it out.
fn untriggered(scenario: &Loaded) -> Result<Loaded, Usage> {
    let name = format!("{} without its trigger", scenario.name);
    let quiet = |line: &str| match line.split_once(" # quiet:") {
        Some((_, instead)) => instead.trim().to_owned(),
        None if line.starts_with("nemesis ") => String::new(),
        None => line.to_owned(),
    };
    changed(scenario, name, quiet)
}

/// The same scenario in a sound cluster.
fn sound(scenario: &Loaded) -> Result<Loaded, Usage> {
    let is_defect = |word: &&str| !word.starts_with("planted=");
    let whole = |line: &str| match line.starts_with("option ") {
        true => line.split(' ').filter(is_defect).collect::<Vec<_>>().join(" "),
        false => line.to_owned(),
    };
    changed(scenario, format!("{} without its defect", scenario.name), whole)
}

fn changed(
    scenario: &Loaded,
    name: String,
    change: impl Fn(&str) -> String,
) -> Result<Loaded, Usage> {
    let text = scenario.script.to_string();
    let lines: Vec<String> = text.lines().map(change).filter(|line| line != "option").collect();
    let script = read(&name, &lines.join("\n"))?;
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

fn tell_quiet(scenario: &Loaded, without: &str, heard: Option<&RunRecord>) {
    let name = &scenario.name;
    match heard {
        None => println!("{name:32} silent without its {without}"),
        Some(record) => println!(
            "{name:32} NOT SILENT without its {without}: {} {} with seed {}",
            record.verdict.name(),
            record.signature,
            record.seed
        ),
    }
}
