//! What is drawn is a legal, canonical scenario, for thousands of seeds, and always the same.

use super::*;
use crate::language::parse;
use crate::run::planned_seed;

const SEEDS: u64 = 2_000;

fn drawn() -> impl Iterator<Item = (u64, Drawn)> {
    (0..SEEDS).map(|seed| (seed, draw(seed, FAULTS)))
}

#[test]
fn every_seed_draws_a_scenario_that_reads_back_as_itself() {
    for (seed, drawn) in drawn() {
        let text = drawn.script.to_string();
        let read = parse("drawn", &text, VOCABULARY).unwrap_or_else(|errors| {
            panic!("seed {seed}: {}\n{text}", errors.first().expect("an error"))
        });
        assert_eq!(read.to_string(), text, "seed {seed}");
        assert_eq!(planned_seed(&read), Some(seed));
        let said = |script: &Script| script.statements().map(|it| it.1.clone()).collect::<Vec<_>>();
        assert_eq!(said(&read), said(&drawn.script), "seed {seed}");
    }
}

#[test]
fn drawing_is_a_function_of_the_seed() {
    let one: Vec<Drawn> = (0..200).map(|seed| draw(seed, FAULTS)).collect();
    let backwards = (0..200).rev().map(|seed| draw(seed, FAULTS));
    let mut other: Vec<Drawn> = backwards.collect();
    other.reverse();
    assert_eq!(one, other);
    let differ: std::collections::BTreeSet<String> =
        one.iter().map(|drawn| drawn.script.to_string()).collect();
    assert_eq!(differ.len(), 200);
}

#[test]
fn every_kind_is_drawn_with_others_and_alone() {
    let drawn: Vec<Drawn> = drawn().map(|(_, drawn)| drawn).collect();
    let kinds = |drawn: &Drawn, of: &str| -> Vec<String> {
        let kinds = drawn.features.iter().filter_map(|feature| feature.strip_prefix(of));
        kinds.map(str::to_owned).collect()
    };
    for (of, entries) in [("workload ", VOCABULARY.workloads), ("nemesis ", VOCABULARY.nemeses)] {
        for entry in entries {
            let with = drawn.iter().map(|drawn| kinds(drawn, of));
            let with = with.filter(|kinds| kinds.iter().any(|kind| kind == entry.name));
            let with: Vec<Vec<String>> = with.collect();
            let alone = with.iter().filter(|kinds| kinds.len() == 1).count();
            assert!(alone > 2 && with.len() > alone + 10, "{of}{}: {alone}", entry.name);
        }
    }
}

#[test]
fn the_features_of_a_swarm_are_spread() {
    let drawn: Vec<Drawn> = drawn().map(|(_, drawn)| drawn).collect();
    let share = |feature: &str| {
        let with = drawn.iter().filter(|it| it.features.iter().any(|name| name == feature));
        with.count() as u64 * 1_000 / SEEDS
    };
    for size in 1..=7 {
        assert!(share(&members(size)) > 20, "{size}");
    }
    let coded = share("codec on");
    assert!((40..90).contains(&coded), "{coded} of 1000 pass the codecs");
    let has_flag = |name: &str| {
        let with = drawn.iter().filter(|it| it.script.to_string().contains(&format!(" {name}=")));
        with.count() as u64 * 1_000 / SEEDS
    };
    for (name, _) in FLAGS {
        assert!((400..600).contains(&has_flag(name)), "{name}: {}", has_flag(name));
    }
}

#[test]
fn timeouts_fit_the_links_and_recovery_fits_the_timeouts() {
    for (seed, _) in drawn() {
        let timing = Timing::draw(Streams::new(seed));
        let round_us = 2 * timing.latency_us.1;
        assert!(timing.heartbeat_ms * 1_000 >= round_us, "seed {seed}");
        assert!(timing.election_ms >= 5 * timing.heartbeat_ms, "seed {seed}");
        let recovery = timing.options(false).duration("recovery").expect("it is set");
        assert!(recovery >= RECOVERY + Duration::from_millis(timing.election_ms), "seed {seed}");
    }
}

#[test]
fn faults_last_as_long_as_asked() {
    for seed in 0..200 {
        let drawn = draw(seed, Duration::from_secs(10));
        let runs = drawn.script.statements().filter_map(|(_, statement)| match statement {
            Statement::Run(time) => Some(*time),
            _ => None,
        });
        assert_eq!(runs.sum::<Duration>(), Duration::from_secs(10));
    }
}
