//! Each rule's messages, word for word: `fixture.txt` is a tree of offenders, `expected.txt` what
//! is said of them. `DETCD_BLESS=1` writes the latter anew.

use std::path::Path;

use super::*;

/// A tree out of one text: `=== path` begins a file, `repeat N text` stands for N such lines.
fn tree(fixture: &str) -> Tree {
    let mut tree = Tree::default();
    for file in fixture.split("=== ").skip(1) {
        let (path, text) = file.split_once('\n').unwrap();
        let mut content = String::new();
        for line in text.lines() {
            match line.strip_prefix("repeat ").and_then(|rest| rest.split_once(' ')) {
                Some((times, line)) => {
                    content.push_str(&format!("{line}\n").repeat(times.parse().unwrap()));
                }
                None => content.push_str(&format!("{}\n", line.replace('·', " "))),
            }
        }
        tree.add(path, content.into_bytes());
    }
    tree
}

#[test]
fn every_rule_says_what_to_do_instead() {
    let findings = check(&tree(include_str!("fixture.txt")));
    let said: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    if std::env::var_os("DETCD_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tidy/expected.txt");
        std::fs::write(path, &said).unwrap();
    }
    assert_eq!(said, include_str!("expected.txt"));
}

#[test]
fn a_tidy_tree_has_no_findings() {
    let tidy = "=== server/src/lib.rs\n//! A library.\n\n/// One.\npub fn one() -> u8 {\n    1\n}\n\
                === README.md\n# Title\n\n```\n# no title\n```\n";
    assert_eq!(check(&tree(tidy)), []);
}
