//! `detsim enumerate`: a crash at every disk operation of a scenario in turn. Operations are those
//! that change what is on a member's disk or make it durable, of its log and all other files in the
//! order in which the device does them. A point is one operation of one member with one way to
//! end: killed after it, power cut after it, power cut half-way through it, which may tear a write.
//!
//! A point is a run of the same script with one more line, a `kill-at` before anything starts, so
//! that what failed is kept and replayed as a plan like any other. All is equal to the run as it is
//! until the member ends. What is lost by then is judged by the checkers that the script names.
#![allow(clippy::disallowed_types, reason = "points per second are of real time")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use detsim_reports::command;
use detsim_reports::outline::Outline;
use detsim_reports::record::{RunRecord, Verdict};

use super::Usage;
use super::campaign::{Campaign, Job};
use super::folder::{Folder, file_name};
use super::library::{Library, Loaded};
use super::output::program;
use super::worlds::Choice;
use crate::language::{Script, parse};
use crate::run::{self, Setup, VOCABULARY, loop_world};
use crate::world::World;

/// Failures that are told one by one.
const TOLD: usize = 10;

/// What comes before any process is started.
const FIRST: [&str; 6] = ["worlds", "option", "seed", "cluster", "member", "#"];

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
    #[arg(long, value_name = "DURATION", default_value = "200ms")]
    back: String,
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

    /// What a script says of it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Ending::Kill => ("after", ""),
            Ending::Power => ("after", " power"),
            Ending::Torn => ("within", " power"),
        }
    }
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
    let operations = operations(&scenario, command)?;
    let told: Vec<String> =
        operations.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!(
        "{} with seed {}: disk operations of {}",
        scenario.name,
        command.seed,
        told.join(", ")
    );
    let points = points(&scenario, &operations, command)?;
    let jobs = points.iter().map(|scenario| Job { scenario, seed: command.seed }).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = command.jobs.unwrap_or(cores).clamp(1, points.len().max(1));
    let campaign = Campaign { jobs, threads, choice: Choice::Loop };
    let folder = command.out.clone().unwrap_or_else(|| Folder::usual_of("enumerate"));
    let mut findings = Findings { folder: Folder::new(folder), by_failure: BTreeMap::new() };
    let (mut worst, mut healed, began) = (Verdict::Passed, 0, Instant::now());
    campaign.run(&mut |record| {
        worst = worst.max(record.verdict);
        healed += usize::from(!has_crashed(record));
        if Outline::of(record).has_failed() {
            findings.keep(record);
        }
    });
    let seconds = began.elapsed().as_secs_f64().max(0.001);
    let failed = findings.tell();
    let (all, rate) = (points.len(), points.len() as f64 / seconds);
    println!("{} of {all} points held, {rate:.0} a second", all - failed);
    if healed > 0 {
        println!("{healed} of them came to nothing: the script had healed everything by then");
    }
    findings.tell_replay();
    Ok(worst.exit_code())
}

/// Whether anybody was killed or lost power.
fn has_crashed(record: &RunRecord) -> bool {
    let mut incidents = record.history.incidents.iter();
    incidents.any(|it| it.what.starts_with("kill ") || it.what.starts_with("power-loss "))
}

/// Runs the scenario as it is, and counts each member's disk operations.
fn operations(scenario: &Loaded, command: &Enumerate) -> Result<Vec<(String, u64)>, Usage> {
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
    // After the script has healed everything nobody is to end any more.
    let text = scenario.script.to_string();
    if let Some((before, _)) = text.split_once("\nheal\n") {
        let before = read(&scenario.name, before)?;
        world = loop_world(&before, command.seed);
        run::run(&Setup { script: &before, ..setup }, &mut world);
    }
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
fn points(
    scenario: &Loaded,
    operations: &[(String, u64)],
    command: &Enumerate,
) -> Result<Vec<Loaded>, Usage> {
    let mut points = Vec::new();
    for (member, count) in operations {
        for at in (1..=*count).step_by(command.every as usize) {
            for ending in &command.ending {
                points.push(point(scenario, member, at, *ending, &command.back)?);
            }
        }
    }
    Ok(points)
}

fn point(
    scenario: &Loaded,
    member: &str,
    at: u64,
    ending: Ending,
    back: &str,
) -> Result<Loaded, Usage> {
    let (side, power) = ending.words();
    let trap = format!("kill-at {member} {side}=disk count={at}{power} back={back}");
    let text = scenario.script.to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    let is_first = |line: &&str| line.is_empty() || FIRST.iter().any(|word| line.starts_with(word));
    let place = lines.iter().take_while(|line| is_first(line)).count();
    lines.insert(place, &trap);
    let base = scenario.name.trim_end_matches(".scenario").trim_end_matches(".plan");
    let name = format!("{base}@{member}-{at}-{}", ending.name());
    let script = read(&name, &lines.join("\n"))?;
    Ok(Loaded { name, script, story: scenario.story.clone() })
}

fn read(name: &str, text: &str) -> Result<Script, Usage> {
    parse(name, text, VOCABULARY)
        .map_err(|errors| Usage(errors.iter().map(ToString::to_string).collect()))
}

/// What failed, by how.
struct Findings {
    folder: Folder,
    by_failure: BTreeMap<String, Vec<RunRecord>>,
}

impl Findings {
    fn keep(&mut self, record: &RunRecord) {
        let mut outline = Outline::of(record);
        outline.command = self.replay(record);
        if let Err(error) = self.folder.keep(record, &mut outline) {
            eprintln!("{}: {error}", self.folder.path().display());
        }
        let failure = outline.failure().to_owned();
        self.by_failure.entry(failure).or_default().push(record.clone());
    }

    /// Tells of failures, and how many points there are of them.
    fn tell(&self) -> usize {
        for (failure, records) in &self.by_failure {
            println!("\n{failure}: {} points", records.len());
            for record in records.iter().take(TOLD) {
                let first = record.findings.first().map_or("", |it| it.explanation.as_str());
                println!("  {}: {first}", record.scenario);
            }
        }
        self.by_failure.values().map(Vec::len).sum()
    }

    fn tell_replay(&self) {
        if let Some(record) = self.by_failure.values().flatten().min_by_key(|it| it.operations) {
            println!("{}", self.folder.path().display());
            println!("{}", self.replay(record));
        }
    }

    fn replay(&self, record: &RunRecord) -> String {
        let mut plan = self.folder.path().join(file_name(record)).into_os_string();
        plan.push(".plan");
        command::line([program().as_str(), "replay", &plan.to_string_lossy()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            back: "200ms".to_owned(),
            jobs: None,
            out: None,
        }
    }

    const SCRIPT: &str = "# A story.\nworlds loop\ncluster n1\nstart all\n\
                          workload register clients=2 rate=10/s keys=1\nrun 2s\nheal\n\
                          converge within=10s\ncheck all\n";

    #[test]
    fn a_point_is_the_script_with_one_more_line_before_anything_starts() {
        let point = point(&scenario(SCRIPT), "n1", 7, Ending::Torn, "1s").expect("it is legal");
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
        let points = points(&scenario, &counted, &command).expect("they are legal");
        assert_eq!(points.len() as u64, 3 * count);
        let fewer = Enumerate { every: 4, ending: vec![Ending::Kill], ..command };
        let points = super::points(&scenario, &counted, &fewer).expect("they are legal");
        assert_eq!(points.len() as u64, count.div_ceil(4));
    }

    #[test]
    fn members_end_and_come_back_at_every_point() {
        let (scenario, command) = (scenario(SCRIPT), command());
        let counted = operations(&scenario, &command).expect("it passes");
        let mut crashed = 0;
        for point in points(&scenario, &counted, &command).expect("they are legal") {
            let mut world = loop_world(&point.script, 1);
            let setup = Setup { scenario: &point.name, script: &point.script, seed: 1 };
            let record = run::run(&setup, &mut world);
            assert_eq!(record.verdict, Verdict::Passed, "{}: {}", point.name, record.signature);
            let starts = record.history.incidents.iter();
            let starts = starts.filter(|incident| incident.what.starts_with("start")).count();
            assert_eq!(starts, if has_crashed(&record) { 2 } else { 1 }, "{}", point.name);
            crashed += usize::from(has_crashed(&record));
        }
        assert!(crashed > 100, "only {crashed} points come before healing");
    }

    #[test]
    fn a_member_that_is_not_there_is_told_with_who_was_meant() {
        let command = Enumerate { members: vec!["n11".to_owned()], ..command() };
        let Usage(text) = operations(&scenario(SCRIPT), &command).expect_err("there is no n11");
        assert_eq!(text, "--members: there is no member `n11`; did you mean `n1`?");
    }
}
