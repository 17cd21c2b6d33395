//! Rules about lines of text: width, headers, blanks, machine paths, Markdown titles.

use super::mask::LITERAL;
use super::tree::Source;
use super::{Finding, Tree};

const WIDTH: usize = 100;
const HEADER_MAX: usize = 15;

/// Where the rules themselves are: their fixture shows what they forbid.
const SELF: &str = "scripts/src/tidy/";

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 4] = ["/home/", "/root/", "/work/", "/Users/"];

/// Looks at every line.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, source) in &tree.texts {
        if path.ends_with(".rs") {
            header(path, source, findings);
        }
        if path.ends_with(".rs") || path.ends_with(".sh") || path.starts_with(".ci/") {
            width(path, source, findings);
        }
        if path.ends_with(".md") {
            title(path, source, findings);
        }
        if !path.starts_with(SELF) && path != "Cargo.lock" {
            blanks(path, source, findings);
            machine_paths(path, source, findings);
        }
    }
}

fn push(findings: &mut Vec<Finding>, path: &str, line: usize, rule: &'static str, message: String) {
    findings.push(Finding { path: path.to_owned(), line, rule, message });
}

fn header(path: &str, source: &Source, findings: &mut Vec<Finding>) {
    let lines = source.text.lines().take_while(|line| line.starts_with("//!")).count();
    if lines == 0 {
        let message = "open the file with `//!`: what it is, its invariants, what it does not do";
        push(findings, path, 1, "header", message.to_owned());
    } else if lines > HEADER_MAX {
        let message =
            format!("{lines} lines, {HEADER_MAX} are allowed: move the rest to where it holds");
        push(findings, path, 1, "header", message);
    }
}

/// Text that cannot be broken does not count: in Rust the insides of string literals, anywhere a
/// line with an address.
fn width(path: &str, source: &Source, findings: &mut Vec<Finding>) {
    let code: Vec<&str> = source.code.lines().collect();
    for (at, line) in source.text.lines().enumerate() {
        let wide = line.chars().count();
        let literals = code.get(at).map_or(0, |code| code.matches(LITERAL).count());
        if wide - literals > WIDTH && !line.contains("://") {
            let message = format!("{wide} columns, {WIDTH} are allowed: break the line");
            push(findings, path, at + 1, "width", message);
        }
    }
}

fn title(path: &str, source: &Source, findings: &mut Vec<Finding>) {
    let mut is_fenced = false;
    let mut titles = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        } else if line.starts_with("# ") && !is_fenced {
            titles.push(at + 1);
        }
    }
    if titles.first() != Some(&1) {
        let message = "open the document with its title, `# Title`".to_owned();
        push(findings, path, 1, "title", message);
    }
    for line in titles.iter().skip(1) {
        let message = "one title for each document: begin sections with `##`".to_owned();
        push(findings, path, *line, "title", message);
    }
}

fn blanks(path: &str, source: &Source, findings: &mut Vec<Finding>) {
    for (at, line) in source.text.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            let message = "remove the blanks at the end of the line".to_owned();
            push(findings, path, at + 1, "blanks", message);
        }
    }
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        let line = source.text.lines().count();
        push(findings, path, line, "blanks", "end the file with a line break".to_owned());
    }
}

fn machine_paths(path: &str, source: &Source, findings: &mut Vec<Finding>) {
    for (at, line) in source.text.lines().enumerate() {
        let found = MACHINE_PATHS.iter().find(|machine| {
            // The middle of a longer path or address names no machine.
            let is_inside = |c: char| c.is_alphanumeric() || "._-}*".contains(c);
            line.match_indices(*machine).any(|(at, _)| !line[..at].ends_with(is_inside))
        });
        if let Some(found) = found {
            let message =
                format!("`{found}` is a place on one machine: take it from the environment");
            push(findings, path, at + 1, "machine-path", message);
        }
    }
}
