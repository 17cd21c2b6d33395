//! The parts of the page that are text: header, findings, checks, plan. They can be read without a
//! script.

use std::fmt::Write;

use super::bands::Band;
use super::lives::{Lives, State};
use crate::html::{escape, grouped, seconds};
use crate::record::{Call, Finding, OpId, Operation, Outcome, RunRecord, Severity, Time};
use crate::words;

/// Digits of seconds in the text.
const DIGITS: usize = 6;
/// Findings that stand open.
const OPEN: usize = 2;
/// Operations of a finding that are shown in full; the others are links.
const PROOF_ROWS: usize = 30;

/// Scenario, seed, verdict, figures, and the command that replays the run.
pub fn header(run: &RunRecord, command: &str) -> String {
    let verdict = run.verdict.name();
    let mut text = format!(
        "<header>\n<p class=\"verdict {verdict}\">{verdict}</p>\n<h1>{}</h1>\n<dl>\n",
        escape(&run.scenario)
    );
    let mut figures = vec![
        ("seed", run.seed.to_string()),
        ("world", run.world.clone()),
        ("simulated", format!("{} s", seconds(run.simulated_ns, 3))),
        ("operations", format!("{}: {}", grouped(run.operations), outcomes(run))),
    ];
    if run.cpu_ns > 0 {
        figures.push(("cpu", format!("{} s", seconds(run.cpu_ns, 3))));
    }
    if let Some(hash) = run.trace_hash {
        figures.push(("trace", format!("{hash:016x}")));
    }
    for (name, value) in figures {
        let _ = writeln!(text, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    let command = escape(command);
    let _ = write!(
        text,
        "</dl>\n<p class=\"command\"><code id=\"command\">{command}</code>\
         <button type=\"button\" id=\"copy\">copy</button></p>\n"
    );
    if !run.reason.is_empty() {
        let _ = writeln!(text, "<p class=\"reason\">{}</p>", escape(&run.reason));
    }
    text.push_str("</header>\n<main>\n");
    text
}

/// How many operations ended how.
fn outcomes(run: &RunRecord) -> String {
    let (mut ok, mut failed, mut unknown, mut open) = (0, 0, 0, 0);
    for operation in &run.history.operations {
        match (&operation.outcome, &operation.call) {
            (Some(Outcome::Ok(_)), _) => ok += 1,
            (Some(Outcome::Fail(_)), _) => failed += 1,
            (None, Call::Watch(_)) => open += 1,
            (Some(Outcome::Unknown(_)) | None, _) => unknown += 1,
        }
    }
    let [ok, failed, unknown] = [ok, failed, unknown].map(grouped);
    let text = format!("{ok} ok, {failed} failed, {unknown} unknown");
    if open > 0 { format!("{text}, {} open watches", grouped(open)) } else { text }
}

/// What was found and makes the verdict, then what was expected to be found. The first few stand
/// open.
pub fn findings(run: &RunRecord, lives: &Lives, bands: &[Band]) -> String {
    let mut text = String::new();
    for (place, finding) in run.findings.iter().chain(&run.expected).enumerate() {
        let is_expected = place >= run.findings.len();
        let (class, word) = if is_expected { ("expected", "expected: ") } else { ("found", "") };
        let open = if place < OPEN { " open" } else { "" };
        let _ = writeln!(
            text,
            "<details class=\"finding {class}\" id=\"finding-{place}\"{open}>\n\
             <summary><h2>{word}{}<span> / {}</span></h2>\n<p class=\"what\">{}</p></summary>\n\
             <p class=\"explanation\">{}</p>",
            escape(&finding.checker),
            escape(&finding.rule),
            what(run, finding, place),
            escape(&finding.explanation)
        );
        proof(&mut text, run, finding);
        let moment = escape(&moment(run, finding.at, lives, bands));
        let _ = writeln!(text, "<p class=\"moment\">{moment}</p>\n</details>");
    }
    if run.findings.is_empty() {
        let what = match run.expected.len() {
            0 => "Nothing was found.",
            _ => "Nothing was found but what was expected.",
        };
        text = format!("<p class=\"nothing\">{what}</p>\n{text}");
    }
    text
}

/// How bad a finding is, when it shows, and whom it concerns; escaped.
fn what(run: &RunRecord, finding: &Finding, place: usize) -> String {
    let severity = match finding.severity {
        Severity::Safety => "a promise was broken",
        Severity::Liveness => "the cluster did not recover though it could have",
        Severity::Crash => "a member crashed by its own fault",
        Severity::Harness => "the harness is wrong, or the run did not repeat",
    };
    let members: Vec<&str> = finding.members.iter().map(|place| name(run, *place)).collect();
    let members = match members.as_slice() {
        [] => String::new(),
        names => format!(" · {}", escape(&names.join(", "))),
    };
    let at = seconds(finding.at.0.min(run.history.ended.0), DIGITS);
    let link = format!("<a href=\"#finding-{place}\" data-finding=\"{place}\">at {at} s</a>");
    format!("{severity} · {link}{members}")
}

/// The operations that prove a finding.
fn proof(text: &mut String, run: &RunRecord, finding: &Finding) {
    let operations = finding.operations.iter();
    let known: Vec<&Operation> =
        operations.filter_map(|op| run.history.operations.get(op.0 as usize)).collect();
    if known.is_empty() {
        return;
    }
    text.push_str(
        "<table class=\"proof\"><thead><tr><th>op<th>client<th>at member<th>invoked<th>completed\
         <th>call<th>outcome</tr></thead><tbody>\n",
    );
    for operation in known.iter().take(PROOF_ROWS) {
        row(text, run, operation);
    }
    text.push_str("</tbody></table>\n");
    if known.len() > PROOF_ROWS {
        let rest = known[PROOF_ROWS..].iter().map(|operation| link(operation.id));
        let rest: Vec<String> = rest.collect();
        let _ = writeln!(text, "<p class=\"rest\">and {}</p>", rest.join(" "));
    }
}

fn link(op: OpId) -> String {
    format!("<a href=\"#op-{0}\" data-op=\"{0}\">#{0}</a>", op.0)
}

fn row(text: &mut String, run: &RunRecord, operation: &Operation) {
    let class = match operation.outcome {
        Some(Outcome::Ok(_)) => "ok",
        Some(Outcome::Fail(_)) => "fail",
        Some(Outcome::Unknown(_)) | None => "unknown",
    };
    let completed = match operation.outcome {
        Some(_) => seconds(operation.completed.0, DIGITS),
        None => "never".to_owned(),
    };
    let _ = writeln!(
        text,
        "<tr><td>{}<td>{}<td>{}<td class=\"n\">{}<td class=\"n\">{completed}\
         <td class=\"v\">{}<td class=\"v {class}\">{}</tr>",
        link(operation.id),
        operation.client.0,
        escape(name(run, operation.member)),
        seconds(operation.invoked.0, DIGITS),
        escape(&words::call(&operation.call)),
        escape(&words::outcome(operation))
    );
}

fn name(run: &RunRecord, place: usize) -> &str {
    run.history.members.get(place).map_or("?", |name| name.0.as_str())
}

/// The cluster at a time: who was what, and which faults lasted.
fn moment(run: &RunRecord, at: Time, lives: &Lives, bands: &[Band]) -> String {
    let at = at.0.min(run.history.ended.0);
    let mut words: Vec<String> = Vec::new();
    for place in 0..run.history.members.len() {
        let Some(segment) = lives.at(place, at) else { continue };
        let is_frozen = bands
            .iter()
            .any(|band| band.kind == "pause" && lasts(band, at) && band.members.contains(&place));
        let mut said = format!("{} {}", name(run, place), segment.state.verb());
        if segment.state > State::Up {
            let _ = write!(said, " in term {}", segment.term);
        }
        if is_frozen {
            said.push_str(" and is paused");
        }
        words.push(said);
    }
    let faults = bands.iter().filter(|band| lasts(band, at) && band.kind != "down");
    let faults: Vec<String> =
        faults.map(|band| format!("{} since {} s", band.what, seconds(band.from, 3))).collect();
    let faults = match faults.as_slice() {
        [] => "no fault lasts".to_owned(),
        faults => faults.join(", "),
    };
    let members = if words.is_empty() { String::new() } else { format!("{}; ", words.join(", ")) };
    format!("At that moment: {members}{faults}.")
}

fn lasts(band: &Band, at: u64) -> bool {
    band.from <= at && band.to.is_none_or(|to| to > at)
}

/// What was checked, and what was not.
pub fn checks(run: &RunRecord) -> String {
    let mut text = String::from("<section class=\"checks\">\n");
    let undecided = run.checks.iter().filter(|check| check.undecided);
    let undecided: Vec<String> = undecided
        .map(|check| format!("{}: ran out of its bound, neither passed nor failed", check.checker))
        .collect();
    let not_checked = [run.not_checked.as_slice(), &undecided].concat();
    for (title, class, lines) in
        [("Checked", "yes", &run.checked), ("Not checked", "no", &not_checked)]
    {
        let _ = writeln!(text, "<div class=\"{class}\"><h2>{title}</h2>");
        if lines.is_empty() {
            text.push_str("<p>Nothing.</p>\n");
        } else {
            text.push_str("<ul>\n");
            for line in lines {
                let _ = writeln!(text, "<li>{}</li>", escape(line));
            }
            text.push_str("</ul>\n");
        }
        text.push_str("</div>\n");
    }
    text.push_str("</section>\n");
    text
}

/// The plan's text.
pub fn plan(run: &RunRecord) -> String {
    let plan = escape(&run.plan);
    format!("<section class=\"plan\">\n<h2>Plan</h2>\n<pre>{plan}</pre>\n</section>\n")
}
