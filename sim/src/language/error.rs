//! Errors of the language: file, line, column, what was expected, what was found, and the legal
//! word that is nearest to it.

use std::fmt;

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Something else must stand here.
    Unexpected {
        /// What may stand here, in words.
        expected: Vec<String>,
        /// What does; empty for the end of the line.
        found: String,
        /// The nearest legal word.
        suggestion: Option<String>,
    },
    /// The words are legal, what they say is not.
    Invalid(String),
}

/// A place in a script that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The file, as it was named.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Why.
    pub problem: Problem,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        match &self.problem {
            Problem::Invalid(what) => f.write_str(what),
            Problem::Unexpected { expected, found, suggestion } => {
                write!(f, "expected {}", either(expected))?;
                match found.as_str() {
                    "" => f.write_str(", found the end of the line")?,
                    found => write!(f, ", found `{found}`")?,
                }
                match suggestion {
                    Some(word) => write!(f, "; did you mean `{word}`?"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for SyntaxError {}

fn either(items: &[String]) -> String {
    match items {
        [] => "nothing more".to_owned(),
        [one] => one.clone(),
        [firsts @ .., last] => format!("{} or {last}", firsts.join(", ")),
    }
}

/// The word nearest to `found`, if one is near enough to be what was meant: one edit for short
/// words, up to a third of the length for long ones.
pub fn nearest<'a>(found: &str, legal: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let bound = (found.chars().count().max(3) / 3).min(3);
    legal
        .into_iter()
        .map(|word| (edit_distance(found, word), word))
        .filter(|(distance, word)| *distance <= bound && *word != found)
        .min()
        .map(|(_, word)| word.to_owned())
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into another.
fn edit_distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=to.len()).collect();
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            let swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
            if swapped {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_legal_word_is_suggested_only_when_it_is_near() {
        let legal = ["kill", "heal", "leader", "power-loss"];
        assert_eq!(nearest("hael", legal), Some("heal".to_owned()));
        assert_eq!(nearest("laeder", legal), Some("leader".to_owned()));
        assert_eq!(nearest("powerloss", legal), Some("power-loss".to_owned()));
        assert_eq!(nearest("zebra", legal), None);
    }
}
