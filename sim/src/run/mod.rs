//! Runs a script in a world with a seed: statements, workloads and nemeses, the history, the
//! checkers, and the verdict.
//!
//! A run is a function of (world, script, seed): everything that is drawn comes from the seed's
//! named streams, and the runner looks at no clock but the world's.

mod actions;
mod asked;
mod by_hand;
mod converge;
mod damage;
mod expectations;
mod member;
mod nemesis;
mod offline;
mod options;
mod plan;
mod restores;
mod runner;
mod targets;
mod traffic;
mod troubles;

use detsim_reports::record::{CheckReport, Finding, Internals, RunRecord, Severity, Time, Verdict};

use crate::check::{self, Checker, Selection};
use crate::language::ast::Statement;
use crate::language::{Script, Vocabulary};
use crate::workload;
use crate::world::World;
use crate::world::loop_world::{self, DatabaseKind, LoopWorld};

pub use options::{OPTIONS, Options};
use plan::Head;
use runner::{Runner, Stop};

/// The worlds that scripts can name.
pub const WORLDS: &[&str] = &["loop", "process"];

const CHECKER_NAMES: [&str; Checker::ALL.len()] = {
    let mut names = [""; Checker::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Checker::ALL[at].name();
        at += 1;
    }
    names
};

/// Everything that scripts can name.
pub const VOCABULARY: Vocabulary = Vocabulary {
    workloads: workload::KINDS,
    nemeses: nemesis::KINDS,
    options: OPTIONS,
    checkers: &CHECKER_NAMES,
    worlds: WORLDS,
};

/// Whether this build can plant defects into members.
pub const HOLDS_DEFECTS: bool = cfg!(feature = "planted");

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The scenario's name.
    pub scenario: &'a str,
    /// The script.
    pub script: &'a Script,
    /// The seed.
    pub seed: u64,
}

/// The seed that a plan names.
pub fn planned_seed(script: &Script) -> Option<u64> {
    script.statements().find_map(|(_, statement)| match statement {
        Statement::Seed(seed) => Some(*seed),
        _ => None,
    })
}

/// The worlds that a script says can express it; all when it does not say.
pub fn expressible_in(script: &Script) -> Vec<String> {
    let said = script.statements().find_map(|(_, statement)| match statement {
        Statement::Worlds(worlds) => Some(worlds.clone()),
        _ => None,
    });
    said.unwrap_or_else(|| WORLDS.iter().map(|world| (*world).to_owned()).collect())
}

/// The first statement that a world cannot express, and why.
fn obstacle(script: &Script, world: &dyn World) -> Option<String> {
    script.statements().find_map(|(line, statement)| {
        let what = world.cannot_express(statement)?;
        let world = world.name();
        Some(format!("`{statement}` at line {line}: the {world} world cannot {what}"))
    })
}

/// A fresh loop world for a script and a seed.
pub fn loop_world(script: &Script, seed: u64) -> LoopWorld {
    let options = Options::of(script, seed);
    let mut settings = loop_world::Options::new(seed);
    settings.peers.latency = options.latency();
    settings.clients.latency = options.latency();
    settings.client_window_bytes = options.client_window();
    settings.codec = options.codec();
    settings.wal.segment_bytes = options.wal_segment();
    settings.database = options.database();
    // A name that is no defect is the runner's to refuse.
    settings.planted = options.planted().unwrap_or_default();
    LoopWorld::new(settings)
}

/// Runs a script in a fresh world that was made for the same seed.
pub fn run(setup: &Setup<'_>, world: &mut dyn World) -> RunRecord {
    let options = Options::of(setup.script, setup.seed);
    let world_name = world.name();
    let mut runner = Runner::new(world, setup.seed, options.clone());
    let is_expressible = expressible_in(setup.script).iter().any(|name| name == world_name);
    let stop = match options.planted() {
        _ if !is_expressible => {
            let why = format!("the scenario is not for the {world_name} world");
            (Some(Stop::Skipped(why)), 0)
        }
        _ if let Some(why) = obstacle(setup.script, runner.world) => (Some(Stop::Skipped(why)), 0),
        Err(what) => (Some(Stop::Harness(what)), 0),
        Ok(Some(defect)) if !HOLDS_DEFECTS => {
            let why = format!("{defect} needs a build with `--features planted`");
            (Some(Stop::Skipped(why)), 0)
        }
        Ok(_) => execute(setup.script, &mut runner),
    };
    let (stop, executed) = stop;
    if matches!(stop, Some(Stop::Failed | Stop::Undecided(_))) {
        // What came before is judged all the same.
        for (_, statement) in setup.script.statements().skip(executed) {
            if let Statement::Check { checkers } = statement {
                runner.select(checkers);
            }
        }
    }
    let head =
        Head { scenario: setup.scenario, seed: setup.seed, world: world_name, options: &options };
    let waiting = std::mem::take(&mut runner.timed).into_iter();
    let waiting =
        waiting.chain(std::mem::take(&mut runner.nemeses).into_iter().map(Statement::Nemesis));
    let rest = setup.script.statements().skip(executed).map(|(_, statement)| statement.clone());
    let rest = waiting.chain(rest);
    let plan = std::mem::take(&mut runner.plan).finish(setup.script, &head, rest);
    conclude(setup, runner, stop, plan.to_string())
}

/// Executes until something stops it. Tells what, and how many statements were executed.
fn execute(script: &Script, runner: &mut Runner<'_>) -> (Option<Stop>, usize) {
    for (executed, (number, statement)) in script.statements().enumerate() {
        match runner.execute(statement) {
            Ok(()) => {}
            Err(Stop::Harness(what)) => {
                let place = if number > 0 { format!("line {number}: ") } else { String::new() };
                return (Some(Stop::Harness(format!("{place}`{statement}`: {what}"))), executed);
            }
            Err(stop) => return (Some(stop), executed),
        }
    }
    (None, script.statements().count())
}

/// Closes what workloads left open before anything is judged. Tells the least that the verdict
/// can be by now, and why.
fn wind_up(runner: &mut Runner<'_>, stop: Option<Stop>) -> (Verdict, String) {
    let (verdict, reason) = match stop {
        Some(Stop::Skipped(why)) => return (Verdict::Skipped, why),
        Some(Stop::Harness(what)) => {
            harness_finding(&mut runner.findings, runner.world.now(), &what);
            return (Verdict::Passed, String::new());
        }
        Some(Stop::Undecided(why)) => (Verdict::Undecided, why),
        None | Some(Stop::Failed) => (Verdict::Passed, String::new()),
    };
    if let Err(Stop::Harness(what)) = runner.settle() {
        harness_finding(&mut runner.findings, runner.world.now(), &what);
    }
    (verdict, reason)
}

/// Checks what was recorded and forms the verdict.
fn conclude(
    setup: &Setup<'_>,
    mut runner: Runner<'_>,
    stop: Option<Stop>,
    plan: String,
) -> RunRecord {
    let (mut least, mut reason) = wind_up(&mut runner, stop);
    if runner.world.trace_hash().is_some() && runner.options.database() == DatabaseKind::Logical {
        let what = "databases: what crashes do to their pages, for the harness keeps their rows";
        runner.not_checked.push(what.to_owned());
    }
    let simulated = runner.world.now();
    runner.history.ended = simulated;
    runner.history.unended = runner.troubles.unended(runner.world);
    let internals = runner.world.internals();
    let reports = match (&runner.checkers, least) {
        (Some(names), Verdict::Passed | Verdict::Undecided) => check(&runner, &internals, names),
        (Some(_), _) => Vec::new(),
        (None, _) => {
            runner.not_checked.push("the history: the scenario does not say `check`".to_owned());
            Vec::new()
        }
    };
    if least != Verdict::Skipped && !reports.iter().any(|report| report.checker == "crash") {
        exit_findings(&mut runner);
    }
    let mut findings = std::mem::take(&mut runner.findings);
    findings.extend(reports.iter().flat_map(|report| report.findings.iter().cloned()));
    let (expected, mut findings) = sort_out(findings, &runner.wanted, &runner.allowed);
    let gather = |of: fn(&CheckReport) -> &Vec<String>| {
        reports.iter().flat_map(move |report| of(report).iter().map(|what| report.named(what)))
    };
    let mut checked = std::mem::take(&mut runner.checked);
    checked.extend(gather(|report| &report.checked));
    if least == Verdict::Passed {
        absent_findings(&mut findings, &expected, &runner.wanted, simulated);
        absent_checks(&mut findings, &checked, &runner.wanted_checks, simulated);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(Verdict::from(finding.severity)));
    if reports.iter().any(|report| report.undecided) && least == Verdict::Passed {
        least = Verdict::Undecided;
        "a checker ran out of its bound".clone_into(&mut reason);
    }
    let worst = findings.first().map(|finding| Verdict::from(finding.severity));
    let mut not_checked = std::mem::take(&mut runner.not_checked);
    not_checked.extend(gather(|report| &report.not_checked));
    RunRecord {
        scenario: setup.scenario.to_owned(),
        seed: setup.seed,
        world: runner.world.name().to_owned(),
        verdict: worst.unwrap_or(least).max(least),
        signature: findings.first().map(Finding::signature).unwrap_or_default(),
        findings,
        expected,
        reason,
        trace_hash: runner.world.trace_hash(),
        simulated_ns: simulated.0,
        cpu_ns: 0,
        operations: runner.history.operations.len() as u64,
        checked,
        not_checked,
        plan,
        checks: reports,
        history: runner.history,
        internals,
    }
}

fn check(runner: &Runner<'_>, internals: &Internals, names: &[String]) -> Vec<CheckReport> {
    let selection = Selection::named(names.iter().map(String::as_str))
        .expect("the parser knows the checkers' names");
    let seen = (*internals != Internals::default()).then_some(internals);
    check::all(&runner.history, seen, &selection)
}

fn harness_finding(findings: &mut Vec<Finding>, at: Time, what: &str) {
    findings.push(Finding {
        checker: "harness".to_owned(),
        rule: "script".to_owned(),
        severity: Severity::Harness,
        explanation: what.to_owned(),
        operations: Vec::new(),
        members: Vec::new(),
        at,
    });
}

/// A process that ends by itself without being expected to is a finding.
fn exit_findings(runner: &mut Runner<'_>) {
    for exit in runner.history.exits.clone() {
        if exit.expected && !exit.panicked {
            continue;
        }
        let name = &runner.members[exit.member].name;
        let (rule, how) = match exit.panicked {
            true => ("panic", "panics"),
            false => ("unexpected-exit", "exits by itself"),
        };
        runner.findings.push(Finding {
            checker: "process".to_owned(),
            rule: rule.to_owned(),
            severity: Severity::Crash,
            explanation: format!("{name} {how} with code {}: \"{}\"", exit.code, exit.reason),
            operations: Vec::new(),
            members: vec![exit.member],
            at: exit.at,
        });
    }
}

/// Whether a finding is what a scenario expects: by its checker, its rule, or both.
fn matches(finding: &Finding, wanted: &str) -> bool {
    finding.checker == wanted || finding.rule == wanted || finding.signature() == wanted
}

/// Findings that are expected or allowed, and the others.
fn sort_out(
    findings: Vec<Finding>,
    wanted: &[String],
    allowed: &[String],
) -> (Vec<Finding>, Vec<Finding>) {
    let fine = |finding: &Finding| wanted.iter().chain(allowed).any(|it| matches(finding, it));
    findings.into_iter().partition(fine)
}

/// What was expected to be found and was not: then the harness, or the scenario, is wrong.
fn absent_findings(findings: &mut Vec<Finding>, expected: &[Finding], wanted: &[String], at: Time) {
    for wanted in wanted {
        if !expected.iter().any(|finding| matches(finding, wanted)) {
            let text = format!("expected to find {wanted}, and did not");
            findings.push(unmet("finding", text, at));
        }
    }
}

/// What was to be checked and never came up.
fn absent_checks(findings: &mut Vec<Finding>, checked: &[String], wanted: &[String], at: Time) {
    for wanted in wanted {
        if !checked.iter().any(|checked| checked.contains(wanted.as_str())) {
            let text = format!("expected to check {wanted:?}, and there was nothing to check");
            findings.push(unmet("checked", text, at));
        }
    }
}

fn unmet(rule: &str, explanation: String, at: Time) -> Finding {
    Finding {
        checker: "expect".to_owned(),
        rule: rule.to_owned(),
        severity: Severity::Harness,
        explanation,
        operations: Vec::new(),
        members: Vec::new(),
        at,
    }
}

#[cfg(test)]
mod tests;
