//! Runs side by side: each on one thread, until they are out, time is up, or somebody interrupts.
//! What is under way then is finished, not thrown away.
#![allow(clippy::disallowed_types, reason = "a budget is real time, outside of the runs")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often progress is shown while no run ends.
const TICK: Duration = Duration::from_millis(200);

/// When a budget that begins now is used up.
pub fn deadline(budget: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(budget?)
}

/// How many threads: as many as are asked for, or one a core.
pub fn threads(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Threads and what ends them.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// How many.
    pub threads: usize,
    /// None is begun after this.
    pub deadline: Option<Instant>,
    /// None is begun once it is set.
    pub stop: &'a AtomicBool,
}

impl Pool<'_> {
    /// Works on each; tells each result as it arrives, and nothing now and then.
    pub fn run<I, T: Send>(
        &self,
        all: impl Iterator<Item = I> + Send,
        work: impl Fn(I) -> T + Sync,
        tell: &mut dyn FnMut(Option<T>),
    ) {
        let all = Mutex::new(all);
        let (results, arrived) = mpsc::channel();
        #[allow(clippy::disallowed_methods, reason = "each run stays on one thread")]
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                let (results, all, work) = (results.clone(), &all, &work);
                scope.spawn(move || {
                    while let Some(one) = self.next(all) {
                        // Nobody listens any more only when the command is ending.
                        let _ = results.send(work(one));
                    }
                });
            }
            drop(results);
            loop {
                match arrived.recv_timeout(TICK) {
                    Ok(result) => tell(Some(result)),
                    Err(RecvTimeoutError::Timeout) => tell(None),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
    }

    fn next<I>(&self, all: &Mutex<impl Iterator<Item = I>>) -> Option<I> {
        let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if is_late || self.stop.load(Ordering::Relaxed) {
            return None;
        }
        all.lock().expect("an iterator of numbers does not panic").next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_worked_on_once() {
        let stop = AtomicBool::new(false);
        let pool = Pool { threads: 3, deadline: None, stop: &stop };
        let mut done = Vec::new();
        pool.run(1..=100, |seed| seed, &mut |seed| done.extend(seed));
        done.sort_unstable();
        assert_eq!(done, (1..=100).collect::<Vec<u64>>());
    }

    #[test]
    fn what_is_under_way_is_finished_when_it_is_stopped() {
        let stop = AtomicBool::new(false);
        let pool = Pool { threads: 1, deadline: None, stop: &stop };
        let mut done = Vec::new();
        let work = |seed| {
            stop.store(seed == 3, Ordering::Relaxed);
            seed
        };
        pool.run(1.., work, &mut |seed| done.extend(seed));
        assert_eq!(done, [1, 2, 3]);
    }

    #[test]
    fn nothing_is_begun_when_time_is_up() {
        let stop = AtomicBool::new(false);
        let pool = Pool { threads: 2, deadline: Some(Instant::now()), stop: &stop };
        pool.run(1.., |seed| seed, &mut |seed: Option<u64>| assert_eq!(seed, None));
    }
}
