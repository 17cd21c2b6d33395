//! `detsim enumerate`: a crash at every disk operation of a scenario in turn. Operations are those
//! that change what is on a member's disk or make it durable, of its log and all other files in the
//! order in which the device does them. A point is one operation of one member with one way to
//! end: killed after it, power cut after it, power cut half-way through it, which may tear a write.
//!
//! A point is a run of the same script with one more line, a `kill-at` before anything starts, so
//! that what failed is kept and replayed as a plan like any other. All is equal to the run as it is
//! until the member ends. What is lost by then is judged by the checkers that the script names, and
//! by comparison with the run in which nobody ended.
#![allow(clippy::disallowed_types, reason = "points per second are of real time")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use detsim_reports::command;
use detsim_reports::outline::Outline;
use detsim_reports::record::{FaultKind, Finding, Incident, Mark, RunRecord, Time, Verdict};

use super::Usage;
use super::campaign::{Campaign, Job, Keep, run_one};
use super::folder::{Folder, file_name};
use super::library::{Library, Loaded};
use super::output::program;
use super::pool;
use super::worlds::Choice;
use crate::check::Uninterrupted;
use crate::language::Script;
use crate::language::ast::{Action, Line, Statement, Target};
use crate::language::value::duration;
use crate::run::{self, Setup, loop_world};
use crate::world::{Occasion, Side, Trap, World};

/// Failures that are told one by one.
const TOLD: usize = 10;

#[derive(Args, Debug)]
pub struct Enumerate {
    /// A scenario's name or file.
    scenario: String,
    /// The seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Members whose operations are taken; all when none is named.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    members: Vec<String>,
    /// How a member ends.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Ending::ALL)]
    ending: Vec<Ending>,
    /// Take one operation in so many.
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: u64,
    /// How long a member stays down.
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = time)]
    back: Duration,
    /// How many runs side by side; all cores when not said.
    #[arg(long, short)]
    jobs: Option<usize>,
    /// Where pages, records and plans of failed points go.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// How a member ends at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ending {
    /// Its process is killed after it.
    Kill,
    /// Its machine loses power after it.
    Power,
    /// Its machine loses power half-way through it.
    Torn,
}

impl Ending {
    const ALL: [Ending; 3] = [Ending::Kill, Ending::Power, Ending::Torn];

    fn name(self) -> &'static str {
        match self {
            Ending::Kill => "kill",
            Ending::Power => "power",
            Ending::Torn => "torn",
        }
    }

    /// The end at an operation, counted from the first.
    fn trap(self, count: u32, back: Duration) -> Trap {
        let side = if self == Ending::Torn { Side::Within } else { Side::After };
        let power = self != Ending::Kill;
        Trap { side, occasion: Occasion::Disk, count, power, back: Some(back) }
    }
}

fn time(text: &str) -> Result<Duration, String> {
    duration(text)
        .ok_or_else(|| format!("expected a duration like `200ms` or `1s`, found `{text}`"))
}

/// Runs a scenario once for every point.
pub fn enumerate(command: &Enumerate) -> Result<u8, Usage> {
    let scenario = Library::find().one(&command.scenario)?;
    if !run::expressible_in(&scenario.script).iter().any(|world| world == "loop") {
        return Err(Usage(format!("{} is not for the loop world", scenario.name)));
    }
    if command.every == 0 {
        return Err(Usage("--every: expected a number from 1".to_owned()));
    }
    let whole = uninterrupted(&scenario, command)?;
    let operations = operations(&scenario, command)?;
    let told: Vec<String> =
        operations.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!(
        "{} with seed {}: disk operations of {}",
        scenario.name,
        command.seed,
        told.join(", ")
    );
    let points = points(&scenario, &operations, command);
    let jobs = points.iter().map(|scenario| Job { scenario, seed: command.seed }).collect();
    let threads = pool::threads(command.jobs).clamp(1, points.len().max(1));
    let campaign = Campaign { jobs, threads, choice: Choice::Loop };
    let folder = command.out.clone().unwrap_or_else(|| Folder::usual_of("enumerate"));
    let mut failures = Failures { folder: Folder::new(folder), by_kind: BTreeMap::new() };
    let (mut worst, mut healed, began) = (Verdict::Passed, 0, Instant::now());
    let reference = Uninterrupted::new(&whole);
    let compared = |job: &Job<'_>| {
        let (mut record, _) = run_one(job, &campaign.choice, Keep::Nothing);
        compare(&reference, &mut record);
        record
    };
    campaign.each(compared, &mut |record| {
        worst = worst.max(record.verdict);
        healed += usize::from(!has_crashed(record));
        failures.keep(record);
    });
    let seconds = began.elapsed().as_secs_f64().max(0.001);
    let failed = failures.tell();
    let (all, rate) = (points.len(), points.len() as f64 / seconds);
    println!("{} of {all} points held, {rate:.0} a second", all - failed);
    if healed > 0 {
        println!("{healed} of them came to nothing: the script had healed everything by then");
    }
    failures.tell_replay();
    Ok(worst.exit_code())
}

/// What the point's line came to: its member ended, or the script had healed everything by then.
/// It is the first line to say that somebody is to end.
fn end(record: &RunRecord) -> Option<&Incident> {
    let incidents = &record.history.incidents;
    let trap =
        incidents.iter().flat_map(|incident| &incident.marks).find_map(|mark| match mark {
            Mark::Begins(fault) if fault.kind == FaultKind::KillToCome => Some(fault.id),
            _ => None,
        })?;
    let is_end = |mark: &Mark| matches!(mark, Mark::Ends { fault, .. } if *fault == trap);
    incidents.iter().find(|incident| incident.marks.iter().any(is_end))
}

/// Whether the member of the point ended.
fn has_crashed(record: &RunRecord) -> bool {
    end(record).is_some_and(|incident| {
        incident.what.starts_with("kill ") || incident.what.starts_with("power-loss ")
    })
}

/// Holds a point's run against the one in which nobody ended.
fn compare(reference: &Uninterrupted<'_>, record: &mut RunRecord) {
    if record.verdict == Verdict::Harness {
        return;
    }
    let until = end(record).map_or(Time::NEVER, |incident| incident.at);
    let found = reference.compare(record, until);
    let Some(first) = found.first() else { return };
    if record.findings.is_empty() {
        record.signature = first.signature();
    }
    let verdicts = found.iter().map(|finding: &Finding| Verdict::from(finding.severity));
    record.verdict = verdicts.fold(record.verdict, Verdict::max);
    record.findings.extend(found);
}

/// Runs the scenario as it is.
fn uninterrupted(scenario: &Loaded, command: &Enumerate) -> Result<RunRecord, Usage> {
    let mut world = loop_world(&scenario.script, command.seed);
    let setup = Setup { scenario: &scenario.name, script: &scenario.script, seed: command.seed };
    let record = run::run(&setup, &mut world);
    if record.verdict != Verdict::Passed {
        let why = match record.reason.as_str() {
            "" => record.signature.clone(),
            reason => reason.to_owned(),
        };
        let what = format!("{} does not pass as it is with seed {}", scenario.name, command.seed);
        return Err(Usage(format!("{what}: {} {why}", record.verdict.name())));
    }
    Ok(record)
}

/// Counts each member's disk operations as long as the script has not healed everything: nobody is
/// to end after that.
fn operations(scenario: &Loaded, command: &Enumerate) -> Result<Vec<(String, u64)>, Usage> {
    let lines = &scenario.script.lines;
    let heals = |line: &Line| line.statement == Some(Statement::Do(Action::Heal(None)));
    let healed = lines.iter().position(heals).unwrap_or(lines.len());
    let script = Script { lines: lines[..healed].to_vec() };
    let mut world = loop_world(&script, command.seed);
    let setup = Setup { scenario: &scenario.name, script: &script, seed: command.seed };
    run::run(&setup, &mut world);
    let names: Vec<String> = world.members().iter().map(|name| name.0.clone()).collect();
    if let Some(unknown) = command.members.iter().find(|name| !names.contains(name)) {
        let meant = crate::language::nearest(unknown, names.iter().map(String::as_str))
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        return Err(Usage(format!("--members: there is no member `{unknown}`{meant}")));
    }
    let counted = names.into_iter().enumerate().map(|(place, name)| {
        let count = world.disk_changes(place).unwrap_or_default();
        (name, count)
    });
    let is_wanted = |name: &String| command.members.is_empty() || command.members.contains(name);
    Ok(counted.filter(|(name, _)| is_wanted(name)).collect())
}

/// The scenario with each point's line.
fn points(scenario: &Loaded, operations: &[(String, u64)], command: &Enumerate) -> Vec<Loaded> {
    let mut points = Vec::new();
    for (member, count) in operations {
        for at in (1..=*count as u32).step_by(command.every as usize) {
            let endings = command.ending.iter();
            points.extend(endings.map(|ending| point(scenario, member, at, *ending, command.back)));
        }
    }
    points
}

fn point(scenario: &Loaded, member: &str, at: u32, ending: Ending, back: Duration) -> Loaded {
    let trap = Action::KillAt(vec![Target::Name(member.to_owned())], Some(ending.trap(at, back)));
    let line = Line { statement: Some(Statement::Do(trap)), ..Line::default() };
    let mut script = scenario.script.clone();
    let place = script.lines.iter().take_while(|line| is_before_all(line)).count();
    script.lines.insert(place, line);
    let base = scenario.name.trim_end_matches(".scenario").trim_end_matches(".plan");
    let name = format!("{base}@{member}-{at}-{}", ending.name());
    Loaded { name, script, story: scenario.story.clone() }
}

/// Whether a line comes before any process is started.
fn is_before_all(line: &Line) -> bool {
    matches!(
        line.statement,
        None | Some(
            Statement::Worlds(_)
                | Statement::Seed(_)
                | Statement::Option(_)
                | Statement::Cluster { .. }
                | Statement::Member { .. }
        )
    )
}

/// Points that failed, by what they failed of.
struct Failures {
    folder: Folder,
    by_kind: BTreeMap<String, Vec<Outline>>,
}

impl Failures {
    /// Keeps a run if it failed.
    fn keep(&mut self, record: &RunRecord) {
        let mut outline = Outline::of(record);
        if !outline.has_failed() {
            return;
        }
        let mut plan = self.folder.path().join(file_name(record)).into_os_string();
        plan.push(".plan");
        outline.command = command::line([program().as_str(), "replay", &plan.to_string_lossy()]);
        if let Err(error) = self.folder.keep(record, &mut outline) {
            eprintln!("{}: {error}", self.folder.path().display());
        }
        self.by_kind.entry(outline.failure().to_owned()).or_default().push(outline);
    }

    /// Tells of them, and how many there are.
    fn tell(&self) -> usize {
        for (kind, outlines) in &self.by_kind {
            println!("\n{kind}: {} points", outlines.len());
            for outline in outlines.iter().take(TOLD) {
                println!("  {}: {}", outline.scenario, outline.explanation);
            }
        }
        self.by_kind.values().map(Vec::len).sum()
    }

    fn tell_replay(&self) {
        let all = self.by_kind.values().flatten();
        if let Some(shortest) = all.min_by_key(|outline| outline.operations) {
            println!("{}", self.folder.path().display());
            println!("{}", shortest.command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse;
    use crate::run::VOCABULARY;

    fn scenario(text: &str) -> Loaded {
        let script = parse("a/b", text, VOCABULARY).expect("it is legal");
        Loaded { name: "a/b".to_owned(), script, story: Vec::new() }
    }

    fn command() -> Enumerate {
        Enumerate {
            scenario: "a/b".to_owned(),
            seed: 1,
            members: Vec::new(),
            ending: Ending::ALL.to_vec(),
            every: 1,
            back: Duration::from_millis(200),
            jobs: None,
            out: None,
        }
    }

    const SCRIPT: &str = "# A story.\nworlds loop\ncluster n1\nstart all\n\
                          workload register clients=2 rate=10/s keys=1\nrun 2s\nheal\n\
                          converge within=10s\ncheck all\n";

    #[test]
    fn a_point_is_the_script_with_one_more_line_before_anything_starts() {
        let back = Duration::from_secs(1);
        let point = point(&scenario(SCRIPT), "n1", 7, Ending::Torn, back);
        assert_eq!(point.name, "a/b@n1-7-torn");
        let text = point.script.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2..5],
            ["cluster n1", "kill-at n1 within=disk count=7 power back=1s", "start all"]
        );
    }

    #[test]
    fn each_operation_of_each_member_is_a_point_for_each_ending() {
        let (scenario, command) = (scenario(SCRIPT), command());
        let counted = operations(&scenario, &command).expect("it passes");
        let [(name, count)] = &counted[..] else { panic!("one member: {counted:?}") };
        assert_eq!(name, "n1");
        assert!(*count > 10, "a start and a put take more than {count} operations");
        let points = points(&scenario, &counted, &command);
        assert_eq!(points.len() as u64, 3 * count);
        let fewer = Enumerate { every: 4, ending: vec![Ending::Kill], ..command };
        let points = super::points(&scenario, &counted, &fewer);
        assert_eq!(points.len() as u64, count.div_ceil(4));
    }

    #[test]
    fn members_end_and_come_back_at_every_point() {
        let (scenario, command) = (scenario(SCRIPT), command());
        let counted = operations(&scenario, &command).expect("it passes");
        let whole = uninterrupted(&scenario, &command).expect("it passes");
        let reference = Uninterrupted::new(&whole);
        let mut crashed = 0;
        for point in points(&scenario, &counted, &command) {
            let mut world = loop_world(&point.script, 1);
            let setup = Setup { scenario: &point.name, script: &point.script, seed: 1 };
            let mut record = run::run(&setup, &mut world);
            compare(&reference, &mut record);
            assert_eq!(record.verdict, Verdict::Passed, "{}: {}", point.name, record.signature);
            let starts = record.history.incidents.iter();
            let starts = starts.filter(|incident| incident.what.starts_with("start")).count();
            assert_eq!(starts, if has_crashed(&record) { 2 } else { 1 }, "{}", point.name);
            crashed += usize::from(has_crashed(&record));
        }
        assert!(crashed > 100, "only {crashed} points come before healing");
    }

    #[test]
    fn a_point_that_differs_from_the_uninterrupted_run_has_failed_though_its_checks_pass() {
        let (scenario, command) = (scenario(SCRIPT), command());
        let whole = uninterrupted(&scenario, &command).expect("it passes");
        let point = point(&scenario, "n1", 30, Ending::Power, Duration::from_millis(200));
        let mut world = loop_world(&point.script, 1);
        let setup = Setup { scenario: &point.name, script: &point.script, seed: 1 };
        let mut record = run::run(&setup, &mut world);
        for sample in &mut record.internals.samples {
            sample.revision = 1;
        }
        assert_eq!(record.verdict, Verdict::Passed);
        compare(&Uninterrupted::new(&whole), &mut record);
        assert_eq!(record.verdict, Verdict::Safety, "{:?}", record.findings);
        assert_eq!(record.signature, "uninterrupted/key-differs");
    }

    #[test]
    fn a_member_that_is_not_there_is_told_with_who_was_meant() {
        let command = Enumerate { members: vec!["n11".to_owned()], ..command() };
        let Usage(text) = operations(&scenario(SCRIPT), &command).expect_err("there is no n11");
        assert_eq!(text, "--members: there is no member `n11`; did you mean `n1`?");
    }
}
