//! Witness and search against each other, and against an exhaustive search without any cleverness.

mod generate;
mod guided;
mod hand;

use detsim_reports::record::Time;

use self::generate::{Defect, run};
use super::items::{Item, items};
use super::*;
use crate::check::script::Script;

/// Healthy histories checked, and as many spoiled ones, unless `DETSIM_HISTORIES` says how many.
const HISTORIES: u64 = 100_000;
/// Steps after which the exhaustive search gives up.
const EXHAUSTIVE_STEPS: u64 = 50_000;

/// Whether there is a linear order, by trying every one that real time allows.
fn exhaustive(history: &History, steps: &mut u64) -> Option<bool> {
    let items = items(history);
    if !items.impossible.is_empty() {
        return Some(false);
    }
    let required: Vec<&Item<'_>> = items.required.iter().collect();
    let optional: Vec<&Item<'_>> = items.optional.iter().collect();
    extend(&Model::new(&history.settings), &required, &optional, steps)
}

fn extend(
    model: &Model,
    required: &[&Item<'_>],
    optional: &[&Item<'_>],
    steps: &mut u64,
) -> Option<bool> {
    *steps = steps.checked_sub(1)?;
    if required.is_empty() {
        return Some(true);
    }
    let until = required.iter().map(|item| item.returned).min().unwrap_or(Time::NEVER);
    let without = |items: &[&Item<'_>], at: usize| {
        let mut rest: Vec<usize> = (0..items.len()).collect();
        rest.remove(at);
        rest
    };
    for (at, item) in required.iter().enumerate().filter(|(_, item)| item.invoked <= until) {
        let mut next = model.clone();
        let result = next.apply(&item.call);
        if item.objection(&next, &result).is_none() {
            let rest: Vec<&Item<'_>> =
                without(required, at).into_iter().map(|at| required[at]).collect();
            if extend(&next, &rest, optional, steps)? {
                return Some(true);
            }
        }
    }
    for (at, item) in optional.iter().enumerate().filter(|(_, item)| item.invoked <= until) {
        let mut next = model.clone();
        if next.apply(&item.call).is_ok() && next.mark() != model.mark() {
            let rest: Vec<&Item<'_>> =
                without(optional, at).into_iter().map(|at| optional[at]).collect();
            if extend(&next, required, &rest, steps)? {
                return Some(true);
            }
        }
    }
    Some(false)
}

/// Whether the log bears the history out.
fn witnessed(script: &Script) -> bool {
    match witness::verify(&script.history, &script.internals) {
        Ok(testimony) => testimony.violations.is_empty(),
        Err(reason) => panic!("the log must be usable: {reason}"),
    }
}

/// Whether the search finds an order.
fn searched(script: &Script) -> bool {
    let items = items(&script.history);
    match decide(&script.history, &items, 1_000_000) {
        Decision::Linearizable(_) => true,
        Decision::Violated(violations) => {
            assert!(!violations.is_empty(), "a violation has findings");
            false
        }
        Decision::Undecided => panic!("small histories are decided: {:#?}", script.history),
    }
}

fn histories() -> u64 {
    let asked = std::env::var("DETSIM_HISTORIES").ok();
    asked.map_or(HISTORIES, |asked| asked.parse().expect("DETSIM_HISTORIES is a number"))
}

#[test]
fn witness_and_search_pass_every_healthy_history() {
    for seed in 0..histories() {
        let script = run(seed, 3, 12, None).expect("nothing is spoiled");
        let found = witness::verify(&script.history, &script.internals).expect("a usable log");
        assert!(found.violations.is_empty(), "seed {seed}: {:#?}", found.violations);
        assert!(searched(&script), "seed {seed}: {:#?}", script.history);
    }
}

#[test]
fn witness_and_search_agree_with_exhaustive_search_on_spoiled_histories() {
    let (mut tried, mut refuted, mut open) = ([0_u64; 9], [0_u64; 9], 0);
    for seed in 0..histories() {
        let which = (seed % 9) as usize;
        let Some(script) = run(seed, 3, 7, Some(Defect::ALL[which])) else { continue };
        let (witness, search) = (witnessed(&script), searched(&script));
        assert!(search || !witness, "seed {seed}: the log bears out what no order explains");
        match exhaustive(&script.history, &mut EXHAUSTIVE_STEPS.clone()) {
            Some(linearizable) => {
                assert_eq!(search, linearizable, "seed {seed}: {:#?}", script.history);
            }
            None => open += 1,
        }
        tried[which] += 1;
        refuted[which] += u64::from(!search);
    }
    assert!(
        open * 20 < tried.iter().sum::<u64>(),
        "{open} were too much for the exhaustive search"
    );
    for (which, defect) in Defect::ALL.iter().enumerate() {
        let (tried, refuted) = (tried[which], refuted[which]);
        let share = if *defect == Defect::EarlyReturn { 50 } else { 4 };
        assert!(
            tried > 0 && refuted * share > tried,
            "{defect:?}: only {refuted} of {tried} were refuted"
        );
    }
}
