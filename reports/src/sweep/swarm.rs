//! A swarm's sweep: every run another configuration of its own. What came of the runs, which
//! goals they reached and which none did, and how often each feature was in a run that failed.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{body, counts};
use crate::html::{document, escape, grouped};
use crate::outline::Outline;
use crate::record::Verdict;

/// A seed that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Its run.
    pub outline: Outline,
    /// What was drawn, by name: `nemesis kill`.
    pub features: Vec<String>,
    /// The names of the goals that it reached.
    pub goals: Vec<String>,
    /// It ran twice, and the traces were compared.
    pub repeated: bool,
    /// The scenario that was drawn.
    pub script: String,
}

/// Something that a sweep should reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim<'a> {
    /// Its name.
    pub name: &'a str,
    /// What happens then.
    pub meaning: &'a str,
}

/// How many runs reached each goal, in the goals' order.
pub fn reached<'a>(runs: &[Swept], aims: &[Aim<'a>]) -> Vec<(Aim<'a>, u64)> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for name in runs.iter().flat_map(|run| &run.goals) {
        *counts.entry(name).or_default() += 1;
    }
    let count = |aim: &Aim<'_>| counts.get(aim.name).copied().unwrap_or(0);
    aims.iter().map(|aim| (*aim, count(aim))).collect()
}

/// Runs in an hour of one core, by the processor time that runs cost so far; `None` if none did.
pub fn per_core_hour(runs: &[Swept]) -> Option<u64> {
    let cost: u64 = runs.iter().map(|run| run.outline.cpu_ns).sum();
    let hour = 3_600_000_000_000_u128 * runs.len() as u128;
    (cost > 0).then(|| (hour / u128::from(cost)) as u64)
}

/// A line for the terminal on rate and repetitions, and one or more on goals.
pub fn summary(runs: &[Swept], aims: &[Aim<'_>]) -> String {
    let mut text = String::new();
    if let Some(rate) = per_core_hour(runs) {
        let _ = writeln!(text, "{rate} seeds per core-hour");
    }
    let repeated = runs.iter().filter(|run| run.repeated).count();
    if repeated > 0 {
        let _ = writeln!(text, "{repeated} of {} runs done twice and compared", runs.len());
    }
    let reached = reached(runs, aims);
    let met = reached.iter().filter(|(_, many)| *many > 0).count();
    let _ = writeln!(text, "{met} of {} goals reached", aims.len());
    for (aim, _) in reached.iter().filter(|(_, many)| *many == 0) {
        let _ = writeln!(text, "  never: {} ({})", aim.name, aim.meaning);
    }
    text
}

/// The sweep as one line of JSON: figures, goals with counts, and those that were never reached.
pub fn json(runs: &[Swept], aims: &[Aim<'_>]) -> String {
    let outlines: Vec<&Outline> = runs.iter().map(|run| &run.outline).collect();
    let verdicts: BTreeMap<&str, u64> =
        counts(outlines.iter().copied()).into_iter().map(|(it, many)| (it.name(), many)).collect();
    let mut signatures: BTreeMap<&str, u64> = BTreeMap::new();
    for run in outlines.iter().filter(|run| run.has_failed()) {
        *signatures.entry(run.failure()).or_default() += 1;
    }
    let reached = reached(runs, aims);
    let goals: BTreeMap<&str, u64> = reached.iter().map(|(aim, many)| (aim.name, *many)).collect();
    let never = reached.iter().filter(|(_, many)| *many == 0).map(|(aim, _)| aim.name);
    let line = serde_json::json!({
        "seeds": runs.len(),
        "seeds_per_core_hour": per_core_hour(runs),
        "repeated": runs.iter().filter(|run| run.repeated).count(),
        "verdicts": verdicts,
        "signatures": signatures,
        "goals": goals,
        "goals_never_reached": never.collect::<Vec<&str>>(),
    });
    line.to_string()
}

/// The page of a sweep.
pub fn page(title: &str, runs: &[Swept], aims: &[Aim<'_>]) -> String {
    let outlines: Vec<Outline> = runs.iter().map(|run| run.outline.clone()).collect();
    let mut more = Vec::new();
    more.extend(per_core_hour(runs).map(|rate| ("seeds per core-hour", grouped(rate))));
    let repeated = runs.iter().filter(|run| run.repeated).count() as u64;
    more.extend((repeated > 0).then(|| ("done twice", grouped(repeated))));
    let mut own = String::new();
    goals(&mut own, &reached(runs, aims), runs.len());
    features(&mut own, runs);
    document(title, super::STYLE, &body(title, &outlines, &more, &own))
}

fn goals(text: &mut String, reached: &[(Aim<'_>, u64)], runs: usize) {
    if reached.is_empty() {
        return;
    }
    text.push_str(
        "<section>\n<h2>Goals</h2>\n<table><thead><tr><th>goal<th>meaning\
         <th class=\"n\">runs<th class=\"n\">of 1000</tr></thead><tbody>\n",
    );
    for (aim, many) in reached {
        let class = if *many == 0 { " class=\"never\"" } else { "" };
        let share = many * 1_000 / (runs.max(1) as u64);
        let shown = if *many == 0 { "never".to_owned() } else { grouped(*many) };
        let _ = writeln!(
            text,
            "<tr{class}><td>{}<td>{}<td class=\"n\">{shown}<td class=\"n\">{share}</tr>",
            escape(aim.name),
            escape(aim.meaning)
        );
    }
    text.push_str("</tbody></table>\n</section>\n");
}

/// What features are sorted by: their words before a number, and then the number.
fn by_number(feature: &str) -> (&str, u64, &str) {
    let end = feature.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let words = end.trim_end_matches(|it: char| it.is_ascii_digit());
    match end[words.len()..].parse() {
        Ok(number) => (words, number, feature),
        Err(_) => (feature, 0, feature),
    }
}

/// How many runs had a feature, how many of these failed, and what they cost.
fn features(text: &mut String, runs: &[Swept]) {
    let mut rows: BTreeMap<(&str, u64, &str), (u64, u64, u64)> = BTreeMap::new();
    for run in runs {
        for feature in &run.features {
            let row = rows.entry(by_number(feature)).or_default();
            row.0 += 1;
            row.1 += u64::from(run.outline.has_failed());
            row.2 += run.outline.cpu_ns;
        }
    }
    if rows.is_empty() {
        return;
    }
    text.push_str(
        "<section>\n<h2>Features</h2>\n<table><thead><tr><th>feature<th class=\"n\">runs\
         <th class=\"n\">not passed<th class=\"n\">of 1000<th class=\"n\">cpu s a run</tr></thead>\
         <tbody>\n",
    );
    for ((.., feature), (many, failed, cpu_ns)) in rows {
        let _ = writeln!(
            text,
            "<tr><td>{}<td class=\"n\">{}<td class=\"n\">{failed}<td class=\"n\">{}\
             <td class=\"n\">{}</tr>",
            escape(feature),
            grouped(many),
            failed * 1_000 / many,
            crate::html::seconds(cpu_ns / many, 2)
        );
    }
    text.push_str("</tbody></table>\n</section>\n");
}

/// The worst verdict of a sweep.
pub fn worst(runs: &[Swept]) -> Verdict {
    runs.iter().map(|run| run.outline.verdict).max().unwrap_or(Verdict::Skipped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{healthy, stale_read};

    const AIMS: [Aim<'static>; 2] = [
        Aim { name: "split-vote", meaning: "a vote was split" },
        Aim { name: "torn-tail", meaning: "a tail was torn <off>" },
    ];

    fn runs() -> Vec<Swept> {
        let swept = |seed, run: &crate::record::RunRecord, goals: &[&str]| Swept {
            outline: Outline { seed, cpu_ns: 500_000_000, ..Outline::of(run) },
            features: vec!["nemesis kill".to_owned()],
            goals: goals.iter().map(|goal| (*goal).to_owned()).collect(),
            repeated: seed == 1,
            script: String::new(),
        };
        vec![
            swept(1, &healthy(), &["split-vote"]),
            swept(2, &healthy(), &[]),
            swept(3, &stale_read(), &["split-vote"]),
        ]
    }

    #[test]
    fn goals_are_counted_and_those_never_reached_are_named() {
        let text = summary(&runs(), &AIMS);
        let expected = "7200 seeds per core-hour\n1 of 3 runs done twice and compared\n\
                        1 of 2 goals reached\n  never: torn-tail (a tail was torn <off>)\n";
        assert_eq!(text, expected);
        let line: serde_json::Value = serde_json::from_str(&json(&runs(), &AIMS)).unwrap();
        assert_eq!(line["goals"]["split-vote"], 2);
        assert_eq!(line["goals_never_reached"], serde_json::json!(["torn-tail"]));
        assert_eq!(line["signatures"]["linearizability/stale-read"], 1);
    }

    #[test]
    fn the_page_has_goals_features_and_failures() {
        let text = page("detsim sweep", &runs(), &AIMS);
        assert!(text.contains("<tr class=\"never\"><td>torn-tail<td>a tail was torn &lt;off&gt;"));
        assert!(
            text.contains("<td>nemesis kill<td class=\"n\">3<td class=\"n\">1<td class=\"n\">333")
        );
        assert!(text.contains("linearizability/stale-read"));
        assert!(text.contains("<dt>seeds per core-hour</dt><dd>7\u{2009}200</dd>"));
    }
}
