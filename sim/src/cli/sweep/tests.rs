//! Sweeps as a command gives them, on runs of a few simulated seconds.

use super::*;

/// Runs that are over soon.
pub fn brief() -> Habits {
    Habits { faults: Duration::from_secs(1), check_per_10k: 0 }
}

fn command(arguments: &[&str]) -> Sweep {
    use clap::Parser;
    #[derive(Parser)]
    struct Wrapped {
        #[command(flatten)]
        sweep: Sweep,
    }
    Wrapped::parse_from(std::iter::once(&"sweep").chain(arguments)).sweep
}

fn folder(name: &str) -> PathBuf {
    let process = std::process::id();
    std::env::temp_dir().join(format!("detsim-sweep-command-{process}-{name}"))
}

#[test]
fn seeds_are_ranges_with_or_without_an_end() {
    let read = |text: &str| seeds(&command(&["--seeds", text])).map_err(|usage| usage.0);
    assert_eq!(read("3..9"), Ok((3, Some(9))));
    assert_eq!(read("3.."), Ok((3, None)));
    for wrong in ["3", "9..3", "..9", "a..b"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    assert!(matches!(seeds(&command(&[])), Ok((1, None))));
}

#[test]
fn a_share_is_a_percentage_and_one_in_a_hundred_by_itself() {
    assert_eq!(command(&[]).check_determinism, 0);
    assert_eq!(command(&["--check-determinism"]).check_determinism, 100);
    assert_eq!(command(&["--check-determinism=2.5%"]).check_determinism, 250);
    assert!(share("5").is_err());
}

#[test]
fn a_sweep_that_is_resumed_does_what_is_left_and_comes_to_the_same() {
    let sweep_into = |out: &PathBuf, seeds: &str, more: &[&str]| {
        let out = out.display().to_string();
        let mut words = vec!["--seeds", seeds, "--faults", "1s", "--jobs", "1", "--out", &out];
        words.extend(more);
        sweep(&command(&words)).map_err(|usage| usage.0)
    };
    let lines = |out: &PathBuf| {
        let text = std::fs::read_to_string(out.join("sweep.jsonl")).expect("it is there");
        let lines = text.lines().skip(1).map(|line| {
            let mut swept: Swept = serde_json::from_str(line).expect("a whole line");
            swept.outline.cpu_ns = 0;
            swept
        });
        lines.collect::<Vec<Swept>>()
    };
    let (parts, whole) = (folder("parts"), folder("whole"));
    let first = sweep_into(&parts, "1..2", &[]).unwrap();
    let kept = lines(&parts);
    let both = sweep_into(&parts, "1..4", &["--resume"]).unwrap();
    let resumed = lines(&parts);
    assert_eq!(resumed[..2], kept);
    assert_eq!(sweep_into(&whole, "1..4", &[]).unwrap(), both);
    assert!(first == 0 || both > 0);
    let page =
        |swept: &Swept| Outline { page: None, command: String::new(), ..swept.outline.clone() };
    let at_once: Vec<Outline> = lines(&whole).iter().map(page).collect();
    assert_eq!(resumed.iter().map(page).collect::<Vec<Outline>>(), at_once);
    let refused = sweep_into(&parts, "1..4", &["--resume", "--check-determinism"]).unwrap_err();
    assert!(refused.ends_with("--check-determinism 0%, not 1%"), "{refused}");
    for folder in [parts, whole] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn runs_that_fail_alike_are_one_finding_with_the_shortest_first() {
    let swept = |seed, operations, signature: &str| {
        let mut swept = sweep_seed(seed, &brief(), "detsim").0;
        swept.outline.verdict = Verdict::Safety;
        signature.clone_into(&mut swept.outline.signature);
        swept.outline.operations = operations;
        swept.outline
    };
    let runs = [swept(1, 900, "watch/lost"), swept(2, 90, "watch/lost"), swept(3, 9, "raft/two")];
    let groups = summary::groups(&runs);
    let found: Vec<(&str, Vec<u64>)> = groups
        .iter()
        .map(|group| (group.name, group.runs.iter().map(|run| run.seed).collect()))
        .collect();
    assert_eq!(found, [("watch/lost", vec![2, 1]), ("raft/two", vec![3])]);
    assert_eq!(groups[0].runs[0].command, "detsim replay swarm --seed 2");
}
