//! The page of many runs: what came of them, failures grouped by signature with links to their
//! pages, a line for each scenario with a cell for each seed, and the runs that cost most.

pub mod swarm;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::html::{document, escape, grouped, seconds};
use crate::outline::Outline;
use crate::record::Verdict;
use crate::summary::{Group, groups, verdicts};

const STYLE: &str = concat!(include_str!("../page.css"), include_str!("sweep.css"));
const SCRIPT: &str = include_str!("sweep.js");

/// Runs of a scenario that get a cell each; of more than that only proportions are shown.
const CELLS_MAX: usize = 240;
/// Runs of a failure that are listed.
const LISTED_MAX: usize = 25;
/// Runs that cost most.
const SLOWEST: usize = 10;

/// The page of many runs. Links in it are the outlines' pages, as they are.
pub fn index(title: &str, runs: &[Outline]) -> String {
    document(title, STYLE, &body(title, runs, &[], ""))
}

/// What stands in the page, with more figures, and with more sections behind the failures.
fn body(title: &str, runs: &[Outline], figures: &[(&str, String)], sections: &str) -> String {
    let mut body = header(title, runs, figures);
    body.push_str("<main>\n");
    failures(&mut body, runs);
    body.push_str(sections);
    scenarios(&mut body, runs);
    slowest(&mut body, runs);
    let _ =
        write!(body, "</main>\n<script>\n(() => {{\n\"use strict\";\n{SCRIPT}}})();\n</script>\n");
    body
}

fn header(title: &str, runs: &[Outline], more: &[(&str, String)]) -> String {
    let worst = runs.iter().map(|run| run.verdict).max().unwrap_or(Verdict::Skipped).name();
    let sum = |of: fn(&Outline) -> u64| runs.iter().map(of).sum::<u64>();
    let scenarios: BTreeSet<&str> = runs.iter().map(|run| run.scenario.as_str()).collect();
    let figures = [
        ("runs", grouped(runs.len() as u64)),
        ("scenarios", grouped(scenarios.len() as u64)),
        ("operations", grouped(sum(|run| run.operations))),
        ("simulated", format!("{} s", seconds(sum(|run| run.simulated_ns), 1))),
        ("cpu", format!("{} s", seconds(sum(|run| run.cpu_ns), 2))),
    ];
    let mut text = format!(
        "<header>\n<h1>{}</h1>\n<p class=\"verdict {worst}\">{}</p>\n<dl>\n",
        escape(title),
        verdicts(&counts(runs.iter()))
    );
    for (name, value) in figures.iter().chain(more) {
        let _ = writeln!(text, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    text.push_str("</dl>\n</header>\n");
    text
}

fn counts<'a>(runs: impl Iterator<Item = &'a Outline>) -> BTreeMap<Verdict, u64> {
    let mut counts = BTreeMap::new();
    for run in runs {
        *counts.entry(run.verdict).or_default() += 1;
    }
    counts
}

fn failures(text: &mut String, runs: &[Outline]) {
    let groups = groups(runs);
    if groups.is_empty() {
        text.push_str("<p class=\"nothing\">No run failed.</p>\n");
        return;
    }
    text.push_str("<section>\n<h2>Failures</h2>\n");
    for group in &groups {
        failure(text, group);
    }
    text.push_str("</section>\n");
}

fn failure(text: &mut String, group: &Group<'_>) {
    let Some(shortest) = group.runs.first() else { return };
    let verdict = group.verdict.name();
    let many = group.runs.len();
    let runs = if many == 1 { "run" } else { "runs" };
    let _ = writeln!(
        text,
        "<article class=\"failure\">\n<h3><span class=\"verdict {verdict}\">{verdict}</span> {} \
         <span class=\"many\">{many} {runs}</span></h3>",
        escape(group.name)
    );
    if !shortest.explanation.is_empty() {
        let _ = writeln!(text, "<p class=\"explanation\">{}</p>", escape(&shortest.explanation));
    }
    let _ = writeln!(text, "<p class=\"command\"><code>{}</code></p>", escape(&shortest.command));
    text.push_str(
        "<table><thead><tr><th>scenario<th>world<th class=\"n\">seed<th class=\"n\">operations\
         <th class=\"n\">simulated s</tr></thead><tbody>\n",
    );
    for run in group.runs.iter().take(LISTED_MAX) {
        let _ = writeln!(
            text,
            "<tr><td>{}<td>{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}</tr>",
            linked(run, &escape(&run.scenario)),
            escape(&run.world),
            linked(run, &run.seed.to_string()),
            grouped(run.operations),
            seconds(run.simulated_ns, 1)
        );
    }
    text.push_str("</tbody></table>\n");
    if many > LISTED_MAX {
        let seeds: Vec<String> = group.runs[LISTED_MAX..]
            .iter()
            .take(200)
            .map(|run| linked(run, &run.seed.to_string()))
            .collect();
        let rest = many - LISTED_MAX;
        let _ = writeln!(text, "<p class=\"rest\">and {rest} more: {}</p>", seeds.join(" "));
    }
    text.push_str("</article>\n");
}

/// Text that leads to a run's page if it has one. The text is escaped already.
fn linked(run: &Outline, text: &str) -> String {
    match &run.page {
        Some(page) => format!("<a href=\"{}\">{text}</a>", escape(&address(page))),
        None => text.to_owned(),
    }
}

/// A relative path as an address: nothing in it is taken for a scheme, a query or a fragment.
fn address(path: &str) -> String {
    let mut address = String::from(if path.starts_with('/') { "" } else { "./" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                address.push(char::from(byte));
            }
            other => {
                let _ = write!(address, "%{other:02X}");
            }
        }
    }
    address
}

fn scenarios(text: &mut String, runs: &[Outline]) {
    let mut rows: BTreeMap<(&str, &str), Vec<&Outline>> = BTreeMap::new();
    for run in runs {
        rows.entry((&run.scenario, &run.world)).or_default().push(run);
    }
    text.push_str(
        "<section>\n<div class=\"bar\"><h2>Scenarios</h2>\
         <input type=\"search\" id=\"by-name\" placeholder=\"name\" aria-label=\"name\">\
         <label><input type=\"checkbox\" id=\"only-failed\"> only what did not pass</label></div>\n\
         <table class=\"scenarios\"><thead><tr><th>scenario<th>world<th>verdict<th>seeds\
         <th class=\"n\">runs<th class=\"n\">operations<th class=\"n\">simulated s\
         <th class=\"n\">cpu s</tr></thead><tbody>\n",
    );
    for ((scenario, world), mut runs) in rows {
        runs.sort_by_key(|run| run.seed);
        let counts = counts(runs.iter().copied());
        let worst = counts.last_key_value().map_or(Verdict::Skipped, |(it, _)| *it);
        let sum = |of: fn(&Outline) -> u64| runs.iter().map(|run| of(run)).sum::<u64>();
        let _ = writeln!(
            text,
            "<tr data-name=\"{name}\" class=\"{}\"><td>{name}<td>{}<td class=\"{}\">{}<td>{}\
             <td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}</tr>",
            if worst == Verdict::Passed { "all-passed" } else { "" },
            escape(world),
            worst.name(),
            verdicts(&counts),
            seeds(&runs, &counts),
            grouped(runs.len() as u64),
            grouped(sum(|run| run.operations)),
            seconds(sum(|run| run.simulated_ns), 1),
            seconds(sum(|run| run.cpu_ns), 2),
            name = escape(scenario),
        );
        let quiet = runs.iter().filter(|run| run.signature.is_empty());
        let reasons: BTreeSet<&str> = quiet.map(|run| run.explanation.as_str()).collect();
        for reason in reasons.into_iter().filter(|it| !it.is_empty()).take(3) {
            let name = escape(scenario);
            let reason = escape(reason);
            let _ = writeln!(
                text,
                "<tr data-name=\"{name}\" class=\"reason\"><td colspan=\"8\">{reason}</tr>"
            );
        }
    }
    text.push_str("</tbody></table>\n</section>\n");
}

/// A cell for each seed, or proportions where there are too many.
fn seeds(runs: &[&Outline], counts: &BTreeMap<Verdict, u64>) -> String {
    let mut text = String::from("<span class=\"cells\">");
    if runs.len() > CELLS_MAX {
        for (verdict, many) in counts.iter().rev() {
            let verdict = verdict.name();
            let _ = write!(
                text,
                "<i class=\"part {verdict}\" style=\"flex-grow:{many}\" title=\"{many} {verdict}\">\
                 </i>"
            );
        }
    } else {
        for run in runs {
            let verdict = run.verdict.name();
            let label = format!("seed {}: {verdict}", run.seed);
            match &run.page {
                Some(page) => {
                    let page = escape(&address(page));
                    let _ = write!(
                        text,
                        "<a class=\"{verdict}\" href=\"{page}\" title=\"{label}\"></a>"
                    );
                }
                None => {
                    let _ = write!(text, "<i class=\"{verdict}\" title=\"{label}\"></i>");
                }
            }
        }
    }
    text.push_str("</span>");
    text
}

fn slowest(text: &mut String, runs: &[Outline]) {
    let mut costly: Vec<&Outline> = runs.iter().filter(|run| run.cpu_ns > 0).collect();
    costly.sort_by_key(|run| std::cmp::Reverse(run.cpu_ns));
    costly.truncate(SLOWEST);
    if costly.is_empty() {
        return;
    }
    text.push_str(
        "<section>\n<h2>Slowest</h2>\n<table><thead><tr><th>scenario<th>world<th class=\"n\">seed\
         <th>verdict<th class=\"n\">cpu s<th class=\"n\">simulated s<th class=\"n\">operations\
         <th>again</tr></thead><tbody>\n",
    );
    for run in costly {
        let verdict = run.verdict.name();
        let _ = writeln!(
            text,
            "<tr><td>{}<td>{}<td class=\"n\">{}<td class=\"{verdict}\">{verdict}\
             <td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}<td class=\"v\">{}</tr>",
            linked(run, &escape(&run.scenario)),
            escape(&run.world),
            run.seed,
            seconds(run.cpu_ns, 2),
            seconds(run.simulated_ns, 1),
            grouped(run.operations),
            escape(&run.command)
        );
    }
    text.push_str("</tbody></table>\n</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{healthy, stale_read};

    fn runs(many: u64) -> Vec<Outline> {
        let mut runs: Vec<Outline> =
            (1..=many).map(|seed| Outline { seed, ..Outline::of(&healthy()) }).collect();
        for seed in [7, 8] {
            let page = Some(format!("partition/leader #{seed}.html"));
            runs.push(Outline { seed, page, ..Outline::of(&stale_read()) });
        }
        runs
    }

    #[test]
    fn failures_are_grouped_with_links_to_their_pages() {
        let text = index("nightly", &runs(3));
        assert_eq!(text.matches("<article").count(), 1);
        assert!(text.contains("linearizability/stale-read <span class=\"many\">2 runs</span>"));
        assert!(text.contains("<a href=\"./partition/leader%20%237.html\">7</a>"));
        assert!(text.contains("detsim replay partition/leader-isolated --seed 7"));
        assert!(text.contains("title=\"seed 3: passed\""));
        assert!(!text.contains("http://") && !text.contains("https://"));
    }

    #[test]
    fn many_seeds_become_proportions() {
        let text = index("nightly", &runs(500));
        assert!(text.contains("style=\"flex-grow:500\" title=\"500 passed\""));
        assert!(!text.contains("title=\"seed 3: passed\""));
    }

    #[test]
    fn hostile_names_stay_text() {
        let scenario = "<img src=x onerror=alert(1)>\"".to_owned();
        let page = Some("javascript:alert(1)\"".to_owned());
        let run = Outline { scenario, page, ..Outline::of(&stale_read()) };
        let text = index("<script>", &[run]);
        assert!(!text.contains("<img"));
        assert!(text.contains("<h1>&lt;script&gt;</h1>"));
        assert!(text.contains("href=\"./javascript%3Aalert%281%29%22\""));
    }

    #[test]
    fn nothing_that_failed_is_said() {
        assert!(index("run", &[Outline::of(&healthy())]).contains("No run failed."));
        assert!(index("run", &[]).contains("No run failed."));
    }
}
