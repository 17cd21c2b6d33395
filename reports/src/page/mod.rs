//! The page of a run: one HTML file that needs nothing else, for somebody who wants to understand a
//! failure in a minute. What was found comes first, with the operations that prove it; then a
//! timeline of members, faults and clients, the events as a list, the history of each key, what was
//! checked and what was not, and the plan.
//!
//! The text of the page is written here. What moves is drawn by the script beside it from `View`.
//! The page is a function of the record.

mod bands;
mod keys;
mod lanes;
mod lives;
mod observed;
mod sections;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;

use crate::command;
use crate::html::{document, embedded};
use crate::record::{OpId, RunRecord};

/// In the order in which they stand in the page: each uses only what stands before it.
const SCRIPTS: [&str; 6] = [
    include_str!("data.js"),
    include_str!("scroll.js"),
    include_str!("lanes.js"),
    include_str!("timeline.js"),
    include_str!("lists.js"),
    include_str!("start.js"),
];
const STYLE: &str = concat!(include_str!("../page.css"), include_str!("run.css"));

/// The page of a run.
pub fn page(run: &RunRecord) -> String {
    page_with(run, &command::replay(run))
}

/// The page of a run with the command that replays it, where that says more than the record does.
pub fn page_with(run: &RunRecord, command: &str) -> String {
    let lives = lives::Lives::of(run);
    let bands = bands::bands(run, &lives);
    let findings = run.findings.iter().chain(&run.expected);
    let proving: BTreeSet<OpId> = findings.flat_map(|it| it.operations.clone()).collect();
    let keys = keys::keys(run, &proving);
    let view = view::View::of(run, &lives, &bands, &keys);
    let mut body = sections::header(run, command);
    body.push_str(&sections::findings(run, &lives, &bands));
    body.push_str(include_str!("frame.html"));
    body.push_str(&sections::checks(run));
    body.push_str(&sections::plan(run));
    body.push_str("</main>\n<script type=\"application/json\" id=\"run\">");
    body.push_str(&embedded(&view));
    body.push_str("</script>\n<script>\n(() => {\n\"use strict\";\n");
    for script in SCRIPTS {
        body.push_str(script);
    }
    body.push_str("})();\n</script>\n");
    let title = format!("{} {} seed {}", run.verdict.name(), run.scenario, run.seed);
    document(&title, STYLE, &body)
}
