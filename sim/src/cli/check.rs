//! `detsim check`: judges histories that lie in files, ours and other tools'.
//!
//! A file of which nothing was judged, or of whose clients something was not understood, has not
//! passed: it is undecided, unless something is found in the rest.

use std::path::{Path, PathBuf};

use detsim_reports::record::{CheckReport, Finding, Internals, RunRecord, Verdict};
use detsim_reports::{command, page};

use super::folder::{Folder, write};
use super::library::shown;
use super::{Check, Usage, output};
use crate::check::{self, Selection};
use crate::import::{self, Imported, Part};

/// Checks every file; the exit code is the worst verdict's.
pub fn check(command: &Check) -> Result<u8, Usage> {
    let mut worst = Verdict::Passed;
    for path in &command.files {
        let imported = import::read(path).map_err(|error| Usage(error.to_string()))?;
        worst = worst.max(judge(path, imported, command.out.as_deref())?);
    }
    Ok(worst.exit_code())
}

/// Judges one file and tells of it.
fn judge(path: &Path, imported: Imported, out: Option<&Path>) -> Result<Verdict, Usage> {
    let Imported { format, parts, not_checked, ignored } = imported;
    let operations: usize = parts.iter().map(|part| part.history.operations.len()).sum();
    println!("{}: {format}, {operations} operations", shown(path));
    let open = match (operations, ignored) {
        (_, 1..) => Some(format!("{ignored} events of clients were not understood")),
        (0, _) => Some("no operation was judged".to_owned()),
        _ => None,
    };
    let mut worst = if open.is_some() { Verdict::Undecided } else { Verdict::Passed };
    let (mut decided, mut failures) = (0, 0);
    let is_keyed = parts.len() > 1;
    for part in parts {
        let record = verdict(path, format, part);
        worst = worst.max(record.verdict);
        match record.verdict {
            Verdict::Passed if is_keyed => {}
            Verdict::Passed => tell(&record),
            _ => {
                tell(&record);
                failures += 1;
                let file = out.map_or_else(Folder::usual, Path::to_owned).join(page_name(&record));
                write(&file, &page::page_with(&record, &again(path)))
                    .map_err(|error| Usage(format!("{}: {error}", shown(&file))))?;
                println!("{}", shown(&file));
            }
        }
        decided += usize::from(record.verdict == Verdict::Passed);
    }
    if is_keyed {
        println!("checked      {} keys: {decided} passed, {failures} not", decided + failures);
    }
    for line in not_checked {
        println!("not checked  {line}");
    }
    if let Some(why) = open {
        println!("undecided    {why}");
    }
    println!("{}", worst.name());
    Ok(worst)
}

fn tell(record: &RunRecord) {
    for line in &record.checked {
        println!("checked      {line}");
    }
    for line in &record.not_checked {
        println!("not checked  {line}");
    }
    for finding in &record.findings {
        println!("found        {}: {}", finding.signature(), finding.explanation);
    }
    if record.verdict == Verdict::Undecided {
        println!("undecided    {}: {}", record.scenario, record.reason);
    }
}

/// A part's record, as if it were a run of ours.
fn verdict(path: &Path, format: &str, part: Part) -> RunRecord {
    let Part { of, history, internals, checkers } = part;
    let checks = check::all(&history, internals.as_ref(), &Selection::of(checkers));
    let mut findings: Vec<Finding> =
        checks.iter().flat_map(|report| report.findings.iter().cloned()).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(Verdict::from(finding.severity)));
    let is_open = checks.iter().any(|report| report.undecided);
    let least = if is_open { Verdict::Undecided } else { Verdict::Passed };
    let gather = |lines: fn(&CheckReport) -> &Vec<String>| -> Vec<String> {
        let named = |report: &CheckReport| {
            lines(report).iter().map(|line| report.named(line)).collect::<Vec<_>>()
        };
        checks.iter().flat_map(named).collect()
    };
    let name = path.file_name().map_or_else(|| shown(path), |it| it.to_string_lossy().into());
    RunRecord {
        scenario: if of.is_empty() { name } else { format!("{name} key {of}") },
        seed: 0,
        world: format.to_owned(),
        verdict: findings.first().map_or(least, |finding| finding.severity.into()),
        signature: findings.first().map(Finding::signature).unwrap_or_default(),
        findings,
        expected: Vec::new(),
        reason: if is_open { "a checker ran out of its bound".into() } else { String::new() },
        trace_hash: None,
        simulated_ns: history.ended.0,
        cpu_ns: 0,
        operations: history.operations.len() as u64,
        checked: gather(|report| &report.checked),
        not_checked: gather(|report| &report.not_checked),
        plan: String::new(),
        checks,
        history,
        internals: internals.unwrap_or_else(Internals::default),
    }
}

/// A file's name without what a file system may refuse.
fn page_name(record: &RunRecord) -> PathBuf {
    let keep = |c: char| if c.is_alphanumeric() || c == '.' { c } else { '-' };
    PathBuf::from(record.scenario.chars().map(keep).collect::<String>() + ".html")
}

fn again(path: &Path) -> String {
    command::line([output::program().as_str(), "check", &shown(path)])
}
