//! `detsim list` and `detsim fmt`.

use std::io::Read;
use std::path::PathBuf;

use serde_json::json;

use super::library::{Library, read, shown};
use super::{USAGE, Usage};
use crate::language::value::{Entry, Kind, Parameter};
use crate::run::{VOCABULARY, expressible_in};
use crate::world::process;

/// Lists scenarios, or the words that scripts can use.
pub fn list(what: &str, is_json: bool) -> Result<u8, Usage> {
    match what {
        "scenarios" => {
            for scenario in Library::find().select(&[])? {
                let mut worlds = expressible_in(&scenario.script);
                let has_obstacle = |(_, statement)| process::obstacle(statement).is_some();
                if scenario.script.statements().any(has_obstacle) {
                    worlds.retain(|world| world != "process");
                }
                let story = scenario.story.join(" ");
                match is_json {
                    true => println!(
                        "{}",
                        json!({"name": scenario.name, "story": story, "worlds": worlds})
                    ),
                    false => println!("{:32} {story}", scenario.name),
                }
            }
        }
        "workloads" => list_entries(VOCABULARY.workloads, is_json),
        "nemeses" => list_entries(VOCABULARY.nemeses, is_json),
        "options" => list_parameters("", VOCABULARY.options, is_json),
        "checkers" => {
            for name in VOCABULARY.checkers {
                match is_json {
                    true => println!("{}", json!({"name": name})),
                    false => println!("{name}"),
                }
            }
        }
        other => {
            let known = ["scenarios", "workloads", "nemeses", "options", "checkers"];
            let meant = crate::language::nearest(other, known)
                .map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
            let known = known.join(", ");
            return Err(Usage(format!("expected one of {known}, found `{other}`{meant}")));
        }
    }
    Ok(0)
}

fn list_entries(entries: &[Entry], is_json: bool) {
    for entry in entries {
        match is_json {
            true => {
                let parameters: Vec<_> = entry.parameters.iter().map(parameter_json).collect();
                let line = json!({
                    "name": entry.name, "meaning": entry.meaning, "parameters": parameters
                });
                println!("{line}");
            }
            false => {
                println!("{:12} {}", entry.name, entry.meaning);
                list_parameters("  ", entry.parameters, false);
            }
        }
    }
}

fn list_parameters(indent: &str, parameters: &[Parameter], is_json: bool) {
    for parameter in parameters {
        match is_json {
            true => println!("{}", parameter_json(parameter)),
            false => {
                let kind = match parameter.kind {
                    Kind::Words(words) => format!(" ({})", words.join(", ")),
                    _ => String::new(),
                };
                let (name, default) = (parameter.name, parameter.default);
                println!("{indent}{name}={default}: {}{kind}", parameter.meaning);
            }
        }
    }
}

fn parameter_json(parameter: &Parameter) -> serde_json::Value {
    json!({
        "name": parameter.name,
        "default": parameter.default,
        "takes": parameter.kind.describe(),
        "meaning": parameter.meaning,
    })
}

/// Formats files, or tells which are not in their canonical form.
pub fn format(files: &[PathBuf], is_check: bool) -> Result<u8, Usage> {
    if files == [PathBuf::from("-")] {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Usage(format!("standard input: {error}")))?;
        print!("{}", canonical("-", &text)?);
        return Ok(0);
    }
    let all;
    let files = match files {
        [] => {
            all = Library::find().files();
            all.as_slice()
        }
        some => some,
    };
    let mut changed = 0;
    let mut errors = Vec::new();
    for file in files {
        let name = shown(file);
        let fail = |error: std::io::Error| Usage(format!("{name}: {error}"));
        let text = std::fs::read_to_string(file).map_err(fail)?;
        let formatted = match canonical(&name, &text) {
            Ok(formatted) => formatted,
            Err(Usage(what)) => {
                errors.push(what);
                continue;
            }
        };
        if formatted == text {
            continue;
        }
        changed += 1;
        println!("{name}");
        if !is_check {
            std::fs::write(file, formatted).map_err(fail)?;
        }
    }
    if !errors.is_empty() {
        return Err(Usage(errors.join("\n")));
    }
    Ok(if is_check && changed > 0 { USAGE } else { 0 })
}

fn canonical(name: &str, text: &str) -> Result<String, Usage> {
    Ok(read(name, text)?.to_string())
}
