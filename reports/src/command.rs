//! The command that does a run again, as a shell reads it.

use crate::record::RunRecord;

/// Replays a run by its scenario's name and its seed. What only the one who ran it knows, such as
/// the program of the process world, is not in the record and not in the command.
pub fn replay(run: &RunRecord) -> String {
    let seed = run.seed.to_string();
    let mut words = vec!["detsim", "replay", &run.scenario, "--seed", &seed];
    if !matches!(run.world.as_str(), "" | "loop") {
        words.extend(["--world", &run.world]);
    }
    line(words)
}

/// Words as one line, each quoted where a shell would take it apart.
pub fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(quoted).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-=+:,".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn words_that_a_shell_takes_apart_are_quoted() {
        assert_eq!(line(["detsim", "a b", "it's", ""]), r"detsim 'a b' 'it'\''s' ''");
        assert_eq!(line(["detsim", "$(x)"]), "detsim '$(x)'");
    }
}
