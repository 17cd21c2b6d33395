//! The clocks of one host: a monotonic and a wall clock that may drift from virtual time, from each
//! other and from other hosts', and may stand still; the wall clock may jump.
//!
//! Rates are exact: a reading is a function of virtual time and the faults before it, so no error
//! adds up.

use std::time::Duration;

use detcd::member::time::{Monotonic, Now, Wall};

/// Where the wall clocks of all hosts stand when a run begins: 2025-01-01T00:00:00Z.
const EPOCH_NS: i64 = 1_735_689_600_000_000_000;

const MILLION: i128 = 1_000_000;

/// The slowest and fastest that a clock may run, in parts per million, unless it stands still.
const DRIFT_PPM_MAX: i32 = 500_000;

/// The rate of a clock that stands still.
const STILL_PPM: i32 = -1_000_000;

/// What a host with a clock that stands still waits instead of for ever.
const LONG_NS: u64 = 3_600_000_000_000;

/// A host's clocks.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// Virtual time of the last change of rate.
    since: u64,
    /// The monotonic reading at that time.
    reading: u64,
    /// The wall reading at that time.
    wall: i64,
    /// Parts per million by which the monotonic clock runs faster.
    drift_ppm: i32,
    /// The same for the wall clock.
    wall_ppm: i32,
}

/// What a clock shows as passed.
fn passed(since: u64, time: u64, ppm: i32) -> u64 {
    let passed = time - since;
    if ppm == 0 {
        return passed;
    }
    (i128::from(passed) * (MILLION + i128::from(ppm)) / MILLION) as u64
}

impl Default for Clocks {
    fn default() -> Clocks {
        Clocks { since: 0, reading: 0, wall: EPOCH_NS, drift_ppm: 0, wall_ppm: 0 }
    }
}

impl Clocks {
    /// Both clocks at a virtual time.
    pub fn at(&self, time: u64) -> Now {
        let wall = self.wall + passed(self.since, time, self.wall_ppm) as i64;
        Now {
            monotonic: Monotonic::from_nanos(self.monotonic(time)),
            wall: Wall::from_unix_nanos(wall),
        }
    }

    fn monotonic(&self, time: u64) -> u64 {
        self.reading + passed(self.since, time, self.drift_ppm)
    }

    /// The first virtual time at which the monotonic clock shows `reading` or more; `now` if it
    /// already does, the end of time if it stands still.
    pub fn when(&self, reading: Monotonic, now: u64) -> u64 {
        let ahead = reading.as_nanos().saturating_sub(self.reading);
        let passed = if ahead == 0 {
            return now;
        } else if self.drift_ppm == STILL_PPM {
            return u64::MAX;
        } else if self.drift_ppm == 0 {
            ahead
        } else {
            let rate = MILLION + i128::from(self.drift_ppm);
            let passed = (i128::from(ahead) * MILLION + rate - 1) / rate;
            u64::try_from(passed).unwrap_or(u64::MAX)
        };
        self.since.saturating_add(passed).max(now)
    }

    /// By how much the wall clock is ahead of virtual time, or behind it.
    pub fn wall_error_ns(&self, time: u64) -> i64 {
        self.wall + passed(self.since, time, self.wall_ppm) as i64 - EPOCH_NS - time as i64
    }

    /// The wall clock jumps.
    pub fn jump_wall(&mut self, by_ms: i64) {
        self.wall += by_ms * 1_000_000;
    }

    /// Both clocks run at another rate from `time` on. Rates beyond half and one and a half times
    /// real time are cut to these.
    pub fn drift(&mut self, time: u64, ppm: i32) {
        let ppm = ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX);
        self.run(time, ppm, ppm);
    }

    /// The same for the wall clock alone.
    pub fn drift_wall(&mut self, time: u64, ppm: i32) {
        self.run(time, self.drift_ppm, ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX));
    }

    /// Both clocks stand still from `time` on.
    pub fn freeze(&mut self, time: u64) {
        self.run(time, STILL_PPM, STILL_PPM);
    }

    /// The wall clock stands still from `time` on.
    pub fn freeze_wall(&mut self, time: u64) {
        self.run(time, self.drift_ppm, STILL_PPM);
    }

    fn run(&mut self, time: u64, drift_ppm: i32, wall_ppm: i32) {
        self.reading = self.monotonic(time);
        self.wall += passed(self.since, time, self.wall_ppm) as i64;
        self.since = time;
        (self.drift_ppm, self.wall_ppm) = (drift_ppm, wall_ppm);
    }

    /// How long the host takes, in virtual time, to see `duration` pass.
    pub fn stretch(&self, duration: Duration) -> u64 {
        if self.drift_ppm == STILL_PPM {
            return LONG_NS;
        }
        let nanos = duration.as_nanos() as i128;
        (nanos * MILLION / (MILLION + i128::from(self.drift_ppm))) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_comes_when_the_host_reads_it() {
        for ppm in [0, 1, -1, 137, -137, 400_000, -400_000] {
            let mut clocks = Clocks::default();
            clocks.drift(12_345, ppm);
            for ahead in [0, 1, 999, 1_000_003, 100_000_000] {
                let reading = Monotonic::from_nanos(clocks.reading + ahead);
                let at = clocks.when(reading, 12_345);
                assert!(clocks.at(at).monotonic >= reading);
                assert!(at == 12_345 || clocks.at(at - 1).monotonic < reading);
            }
        }
    }

    #[test]
    fn a_change_of_rate_does_not_move_the_clock() {
        let mut clocks = Clocks::default();
        clocks.drift(0, 300_000);
        let before = clocks.at(1_000_000);
        clocks.drift(1_000_000, -200_000);
        assert_eq!(clocks.at(1_000_000), before);
        assert_eq!(before.monotonic.as_nanos(), 1_300_000);
        assert_eq!(clocks.at(2_000_000).monotonic.as_nanos(), 2_100_000);
    }

    #[test]
    fn a_clock_that_stands_still_reaches_nothing_until_it_runs_again() {
        let mut clocks = Clocks::default();
        clocks.freeze(1_000);
        let ahead = Monotonic::from_nanos(1_001);
        assert_eq!(clocks.when(ahead, 5_000), u64::MAX);
        assert_eq!(clocks.when(Monotonic::from_nanos(1_000), 5_000), 5_000);
        assert_eq!(clocks.at(9_000), clocks.at(1_000));
        clocks.drift(9_000, 0);
        assert_eq!(clocks.when(ahead, 9_000), 9_001);
    }

    #[test]
    fn the_wall_drifts_and_stands_still_apart_from_the_monotonic_clock() {
        let mut clocks = Clocks::default();
        let begun = clocks.at(0).wall.unix_nanos();
        let read = |clocks: &Clocks, time| {
            let now = clocks.at(time);
            (now.monotonic.as_nanos(), now.wall.unix_nanos() - begun)
        };
        clocks.drift_wall(0, 200_000);
        assert_eq!(read(&clocks, 1_000_000), (1_000_000, 1_200_000));
        clocks.freeze_wall(1_000_000);
        assert_eq!(read(&clocks, 3_000_000), (3_000_000, 1_200_000));
        clocks.drift(3_000_000, 0);
        assert_eq!(read(&clocks, 4_000_000), (4_000_000, 2_200_000));
    }

    #[test]
    fn the_wall_jumps_and_the_monotonic_clock_does_not() {
        let mut clocks = Clocks::default();
        let before = clocks.at(5);
        clocks.jump_wall(-2_000);
        let after = clocks.at(5);
        assert_eq!(after.monotonic, before.monotonic);
        assert_eq!(after.wall.unix_nanos(), before.wall.unix_nanos() - 2_000_000_000);
    }
}
