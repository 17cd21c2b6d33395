//! Command-line arguments as Go's `flag` package takes them apart: `-x v`, `-x=v`, `--x v`,
//! `--x=v`, and booleans that stand alone. Flags end at the first word that is none, or at `--`.
//! Source: contract-cluster.md, section 1.1.

use super::{ConfigError, Features, Settings, Stage, compat_version, find, parse, read};
use crate::config::quote::quote;
use crate::config::{CompatVersion, Config};

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// To serve.
    Serve(Box<Config>),
    /// The usage, on standard output.
    Help,
    /// The version, of an etcd of this kind.
    Version(CompatVersion),
}

/// Reads the arguments that follow the program's name. The first thing wrong is told.
pub fn parse_arguments(arguments: &[String]) -> Result<Command, ConfigError> {
    let compat = wanted_version(arguments);
    let mut words = arguments.iter();
    let mut pairs = Vec::new();
    let left_over = loop {
        match next_flag(&mut words, compat) {
            Ok(Next::Flag(name, value)) => pairs.push((name, value)),
            Ok(Next::End(left_over)) => break left_over,
            Ok(Next::Help) => return first_wrong(&pairs, compat).and(Ok(Command::Help)),
            Err(text) => {
                first_wrong(&pairs, compat)?;
                return Err(ConfigError::new(Stage::Parse, text));
            }
        }
    };
    first_wrong(&pairs, compat)?;
    if let Some(word) = left_over {
        let word = if compat == CompatVersion::V3_5 { format!("'{word}'") } else { quote(word) };
        return Err(ConfigError::new(Stage::Verify, format!("{word} is not a valid flag")));
    }
    let version = pairs.iter().rev().find(|(name, _)| name == "version");
    if version.is_some_and(|(_, value)| crate::config::value::parse_bool(value) == Some(true)) {
        return Ok(Command::Version(compat));
    }
    parse(&pairs).map(|config| Command::Serve(Box::new(config)))
}

enum Next<'a> {
    Flag(String, String),
    Help,
    /// With the first word that is left over.
    End(Option<&'a String>),
}

fn next_flag<'a>(
    words: &mut std::slice::Iter<'a, String>,
    compat: CompatVersion,
) -> Result<Next<'a>, String> {
    let Some(word) = words.next() else { return Ok(Next::End(None)) };
    let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
        return Ok(Next::End(Some(word)));
    };
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Next::End(words.next()));
    }
    if rest.starts_with(['-', '=']) {
        return Err(format!("bad flag syntax: {word}"));
    }
    let (name, value) = match rest.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (rest, None),
    };
    let Some(flag) = find(name, compat) else {
        return match name {
            "help" | "h" => Ok(Next::Help),
            _ => Err(format!("flag provided but not defined: -{name}")),
        };
    };
    let value = match value {
        Some(value) => value,
        None if flag.kind.is_bool() => "true".to_owned(),
        None => words.next().cloned().ok_or_else(|| format!("flag needs an argument: -{name}"))?,
    };
    Ok(Next::Flag(name.to_owned(), value))
}

/// The version has to be known before any other flag can be.
fn wanted_version(arguments: &[String]) -> CompatVersion {
    let mut found = Vec::new();
    for (at, word) in arguments.iter().enumerate().filter(|(_, word)| word.starts_with('-')) {
        let name = word.trim_start_matches('-');
        let value = match name.strip_prefix("compat-version") {
            Some("") => arguments.get(at + 1).cloned(),
            Some(value) => value.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        found.extend(value.map(|value| ("compat-version".to_owned(), value)));
    }
    // A version that does not exist is told in its turn.
    compat_version(&found).unwrap_or_default()
}

/// A value that cannot be read is told before whatever is wrong further on.
fn first_wrong(pairs: &[(String, String)], compat: CompatVersion) -> Result<(), ConfigError> {
    let (mut settings, mut features) = (Settings::defaults(compat), Features::defaults());
    for (name, text) in pairs {
        read(name, text, compat, &mut settings, &mut features)
            .map_err(|text| ConfigError::new(Stage::Parse, text))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(line: &str) -> Result<Command, ConfigError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse_arguments(&words)
    }

    #[test]
    fn flags_may_be_written_in_all_ways_of_go() {
        let Ok(Command::Serve(config)) =
            with("-name a --data-dir=d --pre-vote=false -force-new-cluster --max-wals 3 --")
        else {
            panic!("it is a good command line");
        };
        assert_eq!((config.name.as_str(), config.data_dir.as_str()), ("a", "d"));
        assert!(!config.pre_vote && config.force_new_cluster);
        assert_eq!(config.max_wals, 3);
    }

    #[test]
    fn the_first_thing_wrong_with_a_command_line_is_told() {
        for (line, exit_code, text) in [
            ("--foo", 2, "flag provided but not defined: -foo"),
            ("--name", 2, "flag needs an argument: -name"),
            ("---name=a", 2, "bad flag syntax: ---name=a"),
            ("--=a", 2, "bad flag syntax: --=a"),
            ("--max-wals=x --foo", 2, "invalid value \"x\" for flag -max-wals: parse error"),
            (
                "--compat-version 9",
                2,
                "invalid value \"9\" for flag -compat-version: invalid value",
            ),
            ("arg", 1, "\"arg\" is not a valid flag"),
            ("--pre-vote false", 1, "\"false\" is not a valid flag"),
            ("--compat-version 3.5 -- arg", 1, "'arg' is not a valid flag"),
            ("--version - --foo", 1, "\"-\" is not a valid flag"),
            ("--compat-version=3.7 --discovery x", 2, "flag provided but not defined: -discovery"),
        ] {
            let error = with(line).unwrap_err();
            assert_eq!((error.exit_code, error.text.as_str()), (exit_code, text), "{line}");
        }
    }

    #[test]
    fn help_and_version_are_asked_for() {
        assert_eq!(with("-h --foo"), Ok(Command::Help));
        assert_eq!(with("--name a --help"), Ok(Command::Help));
        assert_eq!(with("--version"), Ok(Command::Version(CompatVersion::V3_6)));
        let old = with("--version --heartbeat-interval=0 --compat-version 3.5");
        assert_eq!(old, Ok(Command::Version(CompatVersion::V3_5)));
    }
}
