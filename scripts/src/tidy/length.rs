//! Functions stay under seventy lines, held by a ratchet: the few that are longer stand with their
//! length in `long_functions.txt`, may not grow, and leave the list once they are short.

use std::collections::BTreeMap;

use super::{Finding, Tree};

const LINES_MAX: usize = 70;
const LIST: &str = "scripts/src/tidy/long_functions.txt";

/// A function by path and name; the same name twice in a file counts as the longer one.
type Lengths = BTreeMap<(String, String), (usize, usize)>;

/// Measures functions.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut lengths = Lengths::new();
    for (path, source) in tree.ending(".rs") {
        for (name, line, length) in functions(&source.code) {
            let seen = lengths.entry((path.to_owned(), name)).or_insert((line, length));
            if seen.1 < length {
                *seen = (line, length);
            }
        }
    }
    let allowed = exceptions(tree, findings);
    for ((path, name), (line, length)) in &lengths {
        let limit =
            allowed.get(&(path.clone(), name.clone())).map_or(LINES_MAX, |(_, lines)| *lines);
        if *length > limit {
            let message = format!("`{name}` has {length} lines, {limit} are allowed: split it");
            findings.push(finding(path, *line, message));
        }
    }
    for (key, (line, limit)) in &allowed {
        let length = lengths.get(key).map_or(0, |(_, length)| *length);
        let (path, name) = key;
        if length <= LINES_MAX {
            let message = format!("`{path} {name}` is no longer long: remove the line");
            findings.push(finding(LIST, *line, message));
        } else if length < *limit {
            let message = format!("`{path} {name}` shrank to {length} lines: write {length}");
            findings.push(finding(LIST, *line, message));
        }
    }
}

fn finding(path: &str, line: usize, message: String) -> Finding {
    Finding { path: path.to_owned(), line, rule: "function-length", message }
}

/// The list: path, name and length of a function on each line.
fn exceptions(tree: &Tree, findings: &mut Vec<Finding>) -> Lengths {
    let mut allowed = Lengths::new();
    let list = tree.texts.get(LIST).map(|source| source.text.as_str()).unwrap_or_default();
    for (at, line) in list.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [path, name, lines] if lines.parse::<usize>().is_ok() => {
                let lines = lines.parse().unwrap_or_default();
                allowed.insert((path.to_owned(), name.to_owned()), (at + 1, lines));
            }
            _ => findings.push(finding(LIST, at + 1, "write `path name lines`".to_owned())),
        }
    }
    allowed
}

/// Name, first line and length of every function that has a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let signature = &code[at + 3..];
        let name: String =
            signature.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !is_word || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(signature) {
            let first = code[..at].matches('\n').count() + 1;
            let lines = signature[..end].matches('\n').count() + 1;
            found.push((name, first, lines));
        }
    }
    found
}

/// Where the body behind a signature ends; a declaration without a body has none.
fn body_end(signature: &str) -> Option<usize> {
    let mut nesting = 0usize;
    let mut braces = 0usize;
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting = nesting.saturating_sub(1),
            ';' if nesting == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_measured_from_its_name_to_its_last_brace() {
        let code =
            "impl A {\n    fn one(&self,\n        b: [u8; 2]) -> u8 {\n        { 1 }\n    }\n}\n";
        assert_eq!(functions(code), [("one".to_owned(), 2, 4)]);
    }

    #[test]
    fn declarations_and_types_have_no_length() {
        assert_eq!(functions("trait A { fn one(&self); }\ntype F = fn (u8) -> u8;\n"), []);
    }
}
