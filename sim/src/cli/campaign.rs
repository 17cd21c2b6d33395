//! Runs jobs side by side: each run on one thread, from a queue that all threads share, with a bar
//! that shows how far it is.
#![allow(
    clippy::disallowed_types,
    reason = "progress and the cost of a run are measured on real clocks, outside of the run"
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use detsim_reports::record::{Finding, History, Internals, RunRecord, Severity, Time, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::time::{ClockId, clock_gettime};

use super::library::Loaded;
use super::pool::Pool;
use super::worlds::Choice;
use crate::run::{self, Setup};

/// One run to do.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The scenario.
    pub scenario: &'a Loaded,
    /// The seed.
    pub seed: u64,
}

/// Runs to do.
#[derive(Debug)]
pub struct Campaign<'a> {
    /// In the order in which they are told.
    pub jobs: Vec<Job<'a>>,
    /// How many side by side.
    pub threads: usize,
    /// In which world.
    pub choice: Choice,
}

/// What to keep of a run beside its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// A line for each event.
    Trace,
}

impl Campaign<'_> {
    /// Runs everything. Tells each record in the order of the jobs.
    pub fn run(&self, finished: &mut dyn FnMut(&RunRecord)) {
        self.each(|job| run_one(job, &self.choice, Keep::Nothing).0, finished);
    }

    /// Does something for each job, side by side; tells the results in the order of the jobs.
    pub fn each<T: Send>(&self, work: impl Fn(&Job<'_>) -> T + Sync, finished: &mut dyn FnMut(&T)) {
        let bar = ProgressBar::new(self.jobs.len() as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.expect("the template is legal"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let stop = AtomicBool::new(false);
        let pool = Pool { threads: self.threads, deadline: None, stop: &stop };
        let mut waiting = BTreeMap::new();
        let mut told = 0;
        let work = |place: usize| (place, work(&self.jobs[place]));
        pool.run(0..self.jobs.len(), work, &mut |done: Option<(usize, T)>| {
            let Some((place, result)) = done else { return };
            bar.inc(1);
            bar.set_message(self.jobs[place].scenario.name.clone());
            waiting.insert(place, result);
            while let Some(result) = waiting.remove(&told) {
                bar.suspend(|| finished(&result));
                told += 1;
            }
        });
        bar.finish_and_clear();
    }
}

/// Does one run in a fresh world, with what it cost, and the lines of its events if wanted.
pub fn run_one(job: &Job<'_>, choice: &Choice, keep: Keep) -> (RunRecord, Vec<String>) {
    let script = &job.scenario.script;
    let setup = Setup { scenario: &job.scenario.name, script, seed: job.seed };
    let began = thread_cpu_ns();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = choice.make(job.seed, script)?;
        if keep == Keep::Trace {
            world.keep_trace();
        }
        let record = run::run(&setup, world.as_mut());
        Ok((record, world.trace()))
    }));
    let (mut record, trace) = match ran {
        Ok(Ok(ran)) => ran,
        Ok(Err(what)) => (broken(&setup, what), Vec::new()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
            let what = format!("the harness panicked: {}", text.unwrap_or_default());
            (broken(&setup, what), Vec::new())
        }
    };
    record.cpu_ns = thread_cpu_ns().saturating_sub(began);
    (record, trace)
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The record of a run that the harness itself could not do.
fn broken(setup: &Setup<'_>, what: String) -> RunRecord {
    let finding = Finding {
        checker: "harness".to_owned(),
        rule: "broken".to_owned(),
        severity: Severity::Harness,
        explanation: what,
        operations: Vec::new(),
        members: Vec::new(),
        at: Time::ZERO,
    };
    RunRecord {
        scenario: setup.scenario.to_owned(),
        seed: setup.seed,
        world: String::new(),
        verdict: Verdict::Harness,
        signature: finding.signature(),
        findings: vec![finding],
        expected: Vec::new(),
        reason: String::new(),
        trace_hash: None,
        simulated_ns: 0,
        cpu_ns: 0,
        operations: 0,
        checked: Vec::new(),
        not_checked: Vec::new(),
        plan: setup.script.to_string(),
        checks: Vec::new(),
        history: History::default(),
        internals: Internals::default(),
    }
}
