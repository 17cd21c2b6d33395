//! Rules about files: their names, their sizes, and where they may stand.

use super::{Finding, Tree};

const BLOB_BYTES_MAX: u64 = 512 * 1024;
const LINES_LONG: usize = 600;
const LINES_MAX: usize = 1500;

/// Words that name nothing.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];

const FOLDERS: [&str; 7] = ["server", "sim", "scenarios", "reports", "scripts", "tests", ".ci"];

/// The only files at the root besides dotfiles.
const ROOT_FILES: [&str; 5] =
    ["ARCHITECTURE.md", "Cargo.lock", "Cargo.toml", "LICENSE", "README.md"];

/// Looks at every path.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, bytes) in &tree.sizes {
        place(path, findings);
        name(path, findings);
        if *bytes > BLOB_BYTES_MAX {
            let message =
                format!("{bytes} bytes, {BLOB_BYTES_MAX} are allowed: make it when needed");
            push(findings, path, "blob", message);
        }
    }
    for (path, source) in tree.ending(".rs") {
        let lines = source.text.lines().count();
        let header: String =
            source.text.lines().take_while(|line| line.starts_with("//!")).collect();
        if lines > LINES_MAX {
            let message = format!("{lines} lines, {LINES_MAX} are allowed even to a state machine");
            push(findings, path, "file-length", message);
        } else if lines > LINES_LONG && !header.contains("Long because") {
            let message =
                format!("{lines} lines: split the file, or say `Long because ...` in its header");
            push(findings, path, "file-length", message);
        }
    }
}

fn push(findings: &mut Vec<Finding>, path: &str, rule: &'static str, message: String) {
    findings.push(Finding { path: path.to_owned(), line: 0, rule, message });
}

fn place(path: &str, findings: &mut Vec<Finding>) {
    let message = match path.split_once('/') {
        Some((folder, _)) if FOLDERS.contains(&folder) => return,
        Some((folder, _)) => format!("`{folder}/` is none of the folders of ARCHITECTURE.md"),
        None if path.starts_with('.') || ROOT_FILES.contains(&path) => return,
        None => "the root holds the manifest, two documents and the licence: move it".to_owned(),
    };
    push(findings, path, "place", message);
}

fn name(path: &str, findings: &mut Vec<Finding>) {
    let stems = path.split('/').map(|part| part.split('.').next().unwrap_or_default());
    for stem in stems {
        if let Some(word) = stem.split(['_', '-']).find(|word| EMPTY_NAMES.contains(word)) {
            let message = format!("`{word}` names nothing: name the concept");
            push(findings, path, "name", message);
        }
    }
    let is_data = path.starts_with("scenarios/");
    if is_data && !(path.ends_with(".md") || path.ends_with(".scenario")) {
        let message = "scenarios/ holds scenarios and their documentation only".to_owned();
        push(findings, path, "name", message);
    }
}
