//! The shipped scenarios and the language's documentation: all is readable and canonical, every
//! scenario tells its story, and runs are repeated by their plans event for event. That scenarios
//! pass is a stage of CI.

use std::path::{Path, PathBuf};

use detsim::language::{Script, parse};
use detsim::run::{Setup, VOCABULARY, loop_world, planned_seed, run};
use detsim_reports::record::RunRecord;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// All scenarios: name and text, in the order of names.
fn shipped() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "scenario") {
                let name = path.strip_prefix(root()).expect("below").with_extension("");
                let text = std::fs::read_to_string(&path).expect("it can be read");
                found.push((name.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

fn script(name: &str, text: &str) -> Script {
    parse(name, text, VOCABULARY).unwrap_or_else(|errors| panic!("{}", errors[0]))
}

fn simulate(name: &str, script: &Script, seed: u64) -> RunRecord {
    run(&Setup { scenario: name, script, seed }, &mut loop_world(script, seed))
}

#[test]
fn every_scenario_is_canonical_and_tells_its_story() {
    let shipped = shipped();
    assert!(shipped.len() >= 50, "there are {}", shipped.len());
    for (name, text) in shipped {
        let script = script(&name, &text);
        assert_eq!(script.to_string(), text, "{name}: detsim fmt would change it");
        assert!(!script.story().concat().is_empty(), "{name} has no story");
    }
}

#[test]
fn every_example_of_the_documentation_is_legal() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("it is there");
    let mut examples = 0;
    for (number, block) in text.split("```scenario\n").skip(1).enumerate() {
        let example = block.split("```").next().unwrap_or_default();
        let name = format!("README.md, example {}", number + 1);
        assert_eq!(script(&name, example).to_string(), example, "{name} is not canonical");
        examples += 1;
    }
    assert!(examples >= 5, "there are {examples}");
}

#[test]
fn plans_repeat_their_runs_event_for_event() {
    for name in ["process/crash-loop", "process/power-loss-all", "partition/one-way-under-load"] {
        let text = std::fs::read_to_string(root().join(format!("{name}.scenario")));
        let first = simulate(name, &script(name, &text.expect("it is shipped")), 2);
        let plan = script("plan", &first.plan);
        assert_eq!(planned_seed(&plan), Some(2));
        let second = simulate(name, &plan, 2);
        assert_eq!(second.trace_hash, first.trace_hash, "{name}");
        assert_eq!(second.verdict, first.verdict, "{name}");
        assert_eq!(second.history, first.history, "{name}");
    }
}
