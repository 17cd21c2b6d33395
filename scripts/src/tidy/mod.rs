//! Hygiene as a test: what a reviewer would otherwise say every time, said by a machine.
//!
//! Rules look at text, not at meaning: a name that is banned is banned wherever the word stands in
//! code. Comments and string literals are no code. Every finding says what to do instead, and each
//! rule has an offender in `fixture.txt` whose findings are written down in `expected.txt`.

mod code;
mod dependencies;
mod layout;
mod length;
mod mask;
mod text;
mod tree;
mod variants;

use std::fmt;

pub use self::tree::Tree;

/// Something untidy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the root of the repository.
    pub path: String,
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// The rule's name.
    pub rule: &'static str,
    /// What is wrong, and what to do instead.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}: {}", self.rule, self.message)
    }
}

/// Everything untidy in a tree, by path and line.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in [
        code::check,
        dependencies::check,
        layout::check,
        length::check,
        text::check,
        variants::check,
    ] {
        rule(tree, &mut findings);
    }
    findings.sort();
    findings
}

#[cfg(test)]
mod tests;
