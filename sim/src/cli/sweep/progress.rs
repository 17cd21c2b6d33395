//! How far a sweep is: a bar on a terminal, a plain line now and then elsewhere.
#![allow(
    clippy::disallowed_types,
    reason = "progress is measured on real clocks, outside of the runs"
)]

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two plain lines.
const LINES: Duration = Duration::from_secs(30);

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// So many seeds, if that is known.
    pub seeds: Option<u64>,
    /// In so much time, if that is bounded.
    pub time: Option<Duration>,
}

/// What is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    seeds: u64,
    findings: u64,
    elapsed: Duration,
}

/// Shows it.
#[derive(Debug)]
pub struct Progress {
    goal: Goal,
    began: Instant,
    figures: Figures,
    bar: Option<ProgressBar>,
    told: Duration,
}

impl Progress {
    /// Begins now.
    pub fn new(goal: Goal) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1_000);
            let style = ProgressStyle::with_template("{bar:30} {msg}");
            bar.set_style(style.expect("the template is legal"));
            bar
        });
        let (figures, told) = (Figures::default(), Duration::ZERO);
        Progress { goal, began: Instant::now(), figures, bar, told }
    }

    /// A seed is done.
    pub fn done(&mut self, has_failed: bool) {
        self.figures.seeds += 1;
        self.figures.findings += u64::from(has_failed);
    }

    /// Shows where it is.
    pub fn show(&mut self) {
        self.figures.elapsed = self.began.elapsed();
        let text = line(self.goal, self.figures);
        match &self.bar {
            Some(bar) => {
                bar.set_position(per_mille(self.goal, self.figures));
                bar.set_message(text);
            }
            None if self.figures.elapsed >= self.told + LINES => {
                self.told = self.figures.elapsed;
                eprintln!("{text}");
            }
            None => {}
        }
    }

    /// Writes something else without tearing the bar.
    pub fn beside(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// No more of it.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How much is done, by seeds or by time, whichever is further.
fn per_mille(goal: Goal, now: Figures) -> u64 {
    let seeds = goal.seeds.map_or(0, |all| now.seeds * 1_000 / all.max(1));
    let time = goal.time.map_or(0, |all| now.elapsed.as_millis() * 1_000 / all.as_millis().max(1));
    seeds.max(time as u64).min(1_000)
}

/// `40 of 500 seeds, 2 findings, 3.1 seeds/s, 2m 28s left`.
fn line(goal: Goal, now: Figures) -> String {
    let of = goal.seeds.map_or_else(String::new, |all| format!(" of {all}"));
    let findings = if now.findings == 1 { "finding" } else { "findings" };
    let millis = now.elapsed.as_millis() as u64;
    let tenths = now.seeds * 10_000 / millis.max(1);
    let mut text = format!(
        "{}{of} seeds, {} {findings}, {}.{} seeds/s",
        now.seeds,
        now.findings,
        tenths / 10,
        tenths % 10
    );
    if let Some(left) = left(goal, now) {
        let seconds = left.as_secs();
        match seconds / 60 {
            0 => text.push_str(&format!(", {seconds}s left")),
            minutes => text.push_str(&format!(", {minutes}m {}s left", seconds % 60)),
        }
    }
    text
}

/// Time left: of the budget, or for the seeds at the rate so far, whichever is less.
fn left(goal: Goal, now: Figures) -> Option<Duration> {
    let by_time = goal.time.map(|all| all.saturating_sub(now.elapsed));
    let by_rate = goal.seeds.filter(|_| now.seeds > 0).map(|all| {
        let nanos = now.elapsed.as_nanos() * u128::from(all.saturating_sub(now.seeds));
        Duration::from_nanos((nanos / u128::from(now.seeds)) as u64)
    });
    by_time.into_iter().chain(by_rate).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_findings_and_time_left() {
        let elapsed = Duration::from_secs(20);
        let now = Figures { seeds: 40, findings: 1, elapsed };
        let goal = Goal { seeds: Some(500), time: None };
        assert_eq!(line(goal, now), "40 of 500 seeds, 1 finding, 2.0 seeds/s, 3m 50s left");
        let goal = Goal { seeds: None, time: Some(Duration::from_secs(60)) };
        assert_eq!(line(goal, now), "40 seeds, 1 finding, 2.0 seeds/s, 40s left");
        assert_eq!(per_mille(goal, now), 333);
        let nothing = Figures::default();
        assert_eq!(
            line(Goal { seeds: Some(5), time: None }, nothing),
            "0 of 5 seeds, 0 findings, 0.0 seeds/s"
        );
    }
}
