//! Runs as a table for a terminal: a line for each scenario and world with verdicts and figures,
//! then the totals. And failures by signature. Plain text; colours only when they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::html::seconds;
use crate::outline::Outline;
use crate::record::Verdict;

/// Whether the terminal shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// It does not, or nobody said so.
    None,
    /// ANSI sequences.
    Ansi,
}

const HEADINGS: [&str; 8] =
    ["scenario", "world", "seeds", "runs", "verdict", "operations", "simulated s", "cpu s"];
/// Columns of words; figures are aligned right.
const WORDS: [bool; 8] = [true, true, true, false, true, false, false, false];
const VERDICT: usize = 4;

/// The figures of a scenario's runs in a world.
#[derive(Clone, Debug, Default)]
struct Figures<'a> {
    seeds: BTreeSet<u64>,
    verdicts: BTreeMap<Verdict, u64>,
    operations: u64,
    simulated_ns: u64,
    cpu_ns: u64,
    /// Why a run has another verdict though nothing was found.
    reasons: BTreeSet<&'a str>,
}

impl<'a> Figures<'a> {
    fn add(&mut self, run: &'a Outline) {
        self.seeds.insert(run.seed);
        *self.verdicts.entry(run.verdict).or_default() += 1;
        self.operations += run.operations;
        self.simulated_ns += run.simulated_ns;
        self.cpu_ns += run.cpu_ns;
        if run.signature.is_empty() && !run.explanation.is_empty() {
            self.reasons.insert(&run.explanation);
        }
    }

    fn runs(&self) -> u64 {
        self.verdicts.values().sum()
    }

    fn worst(&self) -> Verdict {
        self.verdicts.last_key_value().map_or(Verdict::Skipped, |(verdict, _)| *verdict)
    }

    /// `1..5`, or how many between which when some are left out.
    fn seeds(&self) -> String {
        let (Some(first), Some(last)) = (self.seeds.first(), self.seeds.last()) else {
            return String::new();
        };
        match self.seeds.len() as u64 {
            1 => first.to_string(),
            many if last - first == many - 1 => format!("{first}..{last}"),
            many => format!("{many} in {first}..{last}"),
        }
    }

    fn cells(&self, scenario: &str, world: &str, seeds: String) -> [String; 8] {
        [
            scenario.to_owned(),
            world.to_owned(),
            seeds,
            self.runs().to_string(),
            verdicts(&self.verdicts),
            self.operations.to_string(),
            seconds(self.simulated_ns, 1),
            seconds(self.cpu_ns, 2),
        ]
    }
}

/// `passed`, or `2 safety, 98 passed` when they differ; the worst first.
pub(crate) fn verdicts(counts: &BTreeMap<Verdict, u64>) -> String {
    let runs: u64 = counts.values().sum();
    let shown = counts.iter().rev().map(|(verdict, many)| match *many == runs {
        true => verdict.name().to_owned(),
        false => format!("{many} {}", verdict.name()),
    });
    shown.collect::<Vec<String>>().join(", ")
}

/// A table of runs, with totals.
pub fn table(runs: &[Outline], colours: Colours) -> String {
    let mut rows: BTreeMap<(&str, &str), Figures<'_>> = BTreeMap::new();
    let mut all = Figures::default();
    for run in runs {
        rows.entry((&run.scenario, &run.world)).or_default().add(run);
        all.add(run);
    }
    let mut lines = vec![(HEADINGS.map(str::to_owned), None, Vec::new())];
    for ((scenario, world), figures) in &rows {
        let reasons = figures.reasons.iter().take(3).map(|it| (*it).to_owned()).collect();
        let cells = figures.cells(scenario, world, figures.seeds());
        lines.push((cells, Some(figures.worst()), reasons));
    }
    lines.push((all.cells("all", "", String::new()), Some(all.worst()), Vec::new()));
    let mut widths = [0; 8];
    for (cells, _, _) in &lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for (cells, worst, reasons) in &lines {
        text.push_str(row(cells, &widths, worst.filter(|_| colours == Colours::Ansi)).trim_end());
        text.push('\n');
        for reason in reasons {
            let _ = writeln!(text, "  {reason}");
        }
    }
    text
}

fn row(cells: &[String; 8], widths: &[usize; 8], paint: Option<Verdict>) -> String {
    let mut text = String::new();
    for (place, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if place > 0 {
            text.push_str("  ");
        }
        let padded = match WORDS[place] {
            true => format!("{cell:width$}"),
            false => format!("{cell:>width$}"),
        };
        match paint.filter(|_| place == VERDICT) {
            Some(verdict) => {
                let _ = write!(text, "\u{1b}[{}m{padded}\u{1b}[0m", colour(verdict));
            }
            None => text.push_str(&padded),
        }
    }
    text
}

const fn colour(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Skipped => 2,
        Verdict::Passed => 32,
        Verdict::Undecided => 33,
        Verdict::Liveness | Verdict::Crash | Verdict::Safety => 31,
        Verdict::Harness => 35,
    }
}

/// Runs that failed alike.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// Their signature, or their verdict when they have none.
    pub name: &'a str,
    /// The worst verdict among them.
    pub verdict: Verdict,
    /// In the order of operations: the shortest first, which is the one to look at.
    pub runs: Vec<&'a Outline>,
}

/// Failures grouped by signature, the worst and then the most frequent first.
pub fn groups(runs: &[Outline]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.has_failed()) {
        let name = run.failure();
        let new = || Group { name, verdict: run.verdict, runs: Vec::new() };
        let group = groups.entry(name).or_insert_with(new);
        group.verdict = group.verdict.max(run.verdict);
        group.runs.push(run);
    }
    let mut groups: Vec<Group<'_>> = groups.into_values().collect();
    for group in &mut groups {
        group.runs.sort_by_key(|run| (run.operations, &run.scenario, run.seed));
    }
    groups.sort_by_key(|group| std::cmp::Reverse((group.verdict, group.runs.len())));
    groups
}

/// Failures by signature: how many, the shortest one in words, its page, which lies in a folder,
/// and the command that replays it.
pub fn failures(runs: &[Outline], folder: &str) -> String {
    let mut text = String::new();
    for group in groups(runs) {
        let Some(first) = group.runs.first() else { continue };
        let scenarios: BTreeSet<&str> =
            group.runs.iter().map(|run| run.scenario.as_str()).collect();
        let many = match group.runs.len() {
            1 => "1 run".to_owned(),
            many => format!("{many} runs"),
        };
        let of = match scenarios.len() {
            1 => first.scenario.clone(),
            many => format!("{many} scenarios"),
        };
        let _ = writeln!(text, "{} {} in {many} of {of}", group.verdict.name(), group.name);
        if !first.explanation.is_empty() {
            let _ = writeln!(text, "  {}", first.explanation);
        }
        if let Some(page) = &first.page {
            let _ = writeln!(text, "  {folder}/{page}");
        }
        let _ = writeln!(text, "  {}", first.command);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunRecord;
    use crate::tests::{healthy, stale_read};

    fn run(scenario: &str, seed: u64, of: &RunRecord) -> Outline {
        Outline { scenario: scenario.to_owned(), seed, ..Outline::of(of) }
    }

    fn runs() -> Vec<Outline> {
        let mut runs: Vec<Outline> = (1..=3).map(|seed| run("quiet", seed, &healthy())).collect();
        runs[2].verdict = Verdict::Undecided;
        runs[2].explanation = "a checker ran out of its bound".to_owned();
        runs.push(Outline { operations: 900, ..run("cut", 8, &stale_read()) });
        runs.push(run("cut", 7, &stale_read()));
        runs
    }

    #[test]
    fn a_table_is_aligned_and_ends_with_totals() {
        let text = table(&runs(), Colours::None);
        let expected = "\
scenario  world  seeds  runs  verdict                          operations  simulated s  cpu s
cut       loop   7..8      2  safety                                  906         24.0   0.50
quiet     loop   1..3      3  1 undecided, 2 passed                     6         30.0   0.00
  a checker ran out of its bound
all                        5  2 safety, 1 undecided, 2 passed         912         54.0   0.50
";
        assert_eq!(text, expected);
    }

    #[test]
    fn colours_are_only_used_when_asked_for() {
        assert!(!table(&runs(), Colours::None).contains('\u{1b}'));
        let text = table(&runs(), Colours::Ansi);
        assert!(text.contains("\u{1b}[31msafety"), "{text}");
    }

    #[test]
    fn failures_are_grouped_and_the_shortest_is_shown() {
        let mut runs = runs();
        runs[4].page = Some("cut-7.html".to_owned());
        let text = failures(&runs, "out");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "safety linearizability/stale-read in 2 runs of cut");
        assert_eq!(
            lines[2..4],
            ["  out/cut-7.html", "  detsim replay partition/leader-isolated --seed 7"]
        );
        assert_eq!(lines[4], "undecided undecided in 1 run of quiet");
    }
}
