//! Runs as JUnit's XML, for build servers: a suite for each scenario and world, a case for each
//! seed. Safety, liveness, crashes and undecided runs are failures; what is wrong with the harness
//! is an error.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::html::seconds;
use crate::outline::Outline;
use crate::record::Verdict;

/// All runs as one document. Times are processor time.
pub fn xml(runs: &[Outline]) -> String {
    let mut suites: BTreeMap<(&str, &str), Vec<&Outline>> = BTreeMap::new();
    for run in runs {
        suites.entry((&run.scenario, &run.world)).or_default().push(run);
    }
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all: Vec<&Outline> = runs.iter().collect();
    let _ = writeln!(text, "<testsuites name=\"detsim\" {}>", counts(&all));
    for ((scenario, world), runs) in &suites {
        let name = attribute(scenario);
        let _ = writeln!(text, "  <testsuite name=\"{name}\" {}>", counts(runs));
        let world = attribute(world);
        let _ = writeln!(
            text,
            "    <properties><property name=\"world\" value=\"{world}\"/></properties>"
        );
        for run in runs {
            case(&mut text, run);
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn counts(runs: &[&Outline]) -> String {
    let many = |of: &dyn Fn(Verdict) -> bool| runs.iter().filter(|run| of(run.verdict)).count();
    let cpu_ns = runs.iter().map(|run| run.cpu_ns).sum();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        runs.len(),
        many(&|verdict| element(verdict) == Some("failure")),
        many(&|verdict| element(verdict) == Some("error")),
        many(&|verdict| element(verdict) == Some("skipped")),
        seconds(cpu_ns, 3)
    )
}

/// What a verdict is in JUnit's words; nothing for what passed.
const fn element(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Passed => None,
        Verdict::Skipped => Some("skipped"),
        Verdict::Undecided | Verdict::Liveness | Verdict::Crash | Verdict::Safety => {
            Some("failure")
        }
        Verdict::Harness => Some("error"),
    }
}

fn case(text: &mut String, run: &Outline) {
    let class = attribute(&run.scenario);
    let time = seconds(run.cpu_ns, 3);
    let _ = write!(
        text,
        "    <testcase classname=\"{class}\" name=\"seed {}\" time=\"{time}\"",
        run.seed
    );
    let message = attribute(&run.explanation);
    match element(run.verdict) {
        None => text.push_str("/>\n"),
        Some("skipped") => {
            let _ = writeln!(text, "><skipped message=\"{message}\"/></testcase>");
        }
        Some(element) => {
            let kind = attribute(run.failure());
            let mut body = format!("{}\n{}", run.explanation, run.command);
            if let Some(page) = &run.page {
                body = format!("{body}\n{page}");
            }
            let _ = writeln!(
                text,
                ">\n      <{element} type=\"{kind}\" message=\"{message}\">{}</{element}>\n    \
                 </testcase>",
                content(&body)
            );
        }
    }
}

/// Text between tags. XML has no way to write most controls, so they are shown by their code.
fn content(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for it in text.chars() {
        match it {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(it),
            it if it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}') => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(it));
            }
            it => escaped.push(it),
        }
    }
    escaped
}

/// Text in an attribute, where a line's end would become a blank.
fn attribute(text: &str) -> String {
    content(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{healthy, stale_read};

    #[test]
    fn each_seed_is_a_case_of_its_scenario() {
        let skipped = Outline {
            verdict: Verdict::Skipped,
            explanation: "not for this world".to_owned(),
            ..Outline::of(&healthy())
        };
        let runs = [Outline::of(&healthy()), skipped, Outline::of(&stale_read())];
        let text = xml(&runs);
        assert!(text.contains(
            "<testsuites name=\"detsim\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""
        ));
        assert!(text.contains(
            "<testsuite name=\"operations/quiet\" tests=\"2\" failures=\"0\" errors=\"0\" \
             skipped=\"1\""
        ));
        assert!(text.contains("<skipped message=\"not for this world\"/>"));
        assert!(text.contains("<failure type=\"linearizability/stale-read\" message=\""));
        assert!(text.contains("detsim replay partition/leader-isolated --seed 7"));
        assert_eq!(text.matches("<testcase ").count(), 3);
    }

    #[test]
    fn hostile_text_stays_text() {
        let hostile = Outline {
            scenario: "a\"b<c".to_owned(),
            explanation: "x\u{0}\n]]></failure>&\u{1b}".to_owned(),
            verdict: Verdict::Harness,
            ..Outline::of(&healthy())
        };
        let text = xml(&[hostile]);
        assert!(text.contains("a&quot;b&lt;c"));
        assert!(text.contains("x\\u{0}&#10;]]&gt;&lt;/failure&gt;&amp;\\u{1b}\""));
        assert_eq!(text.matches("<error ").count(), 1);
        assert_eq!(text.matches("</error>").count(), 1);
    }
}
