//! The clocks of one host: a monotonic and a wall clock that may drift from virtual time and from
//! each other's host, and a wall clock that may jump.
//!
//! Both clocks run at the same rate. Rates are exact: a reading is a function of virtual time and
//! the faults before it, so no error adds up.

use std::time::Duration;

use detcd::member::time::{Monotonic, Now, Wall};

/// Where the wall clocks of all hosts stand when a run begins: 2025-01-01T00:00:00Z.
const EPOCH_NS: i64 = 1_735_689_600_000_000_000;

const MILLION: i128 = 1_000_000;

/// The slowest and fastest that a clock may run, in parts per million.
const DRIFT_PPM_MAX: i32 = 500_000;

/// A host's clocks.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// Virtual time of the last change of rate.
    since: u64,
    /// The monotonic reading at that time.
    reading: u64,
    /// Parts per million by which the clocks run faster.
    drift_ppm: i32,
    /// Wall reading minus monotonic reading.
    wall_offset: i64,
}

impl Default for Clocks {
    fn default() -> Clocks {
        Clocks { since: 0, reading: 0, drift_ppm: 0, wall_offset: EPOCH_NS }
    }
}

impl Clocks {
    /// Both clocks at a virtual time.
    pub fn at(&self, time: u64) -> Now {
        let monotonic = self.monotonic(time);
        Now {
            monotonic: Monotonic::from_nanos(monotonic),
            wall: Wall::from_unix_nanos(self.wall_offset + monotonic as i64),
        }
    }

    fn monotonic(&self, time: u64) -> u64 {
        let passed = time - self.since;
        if self.drift_ppm == 0 {
            return self.reading + passed;
        }
        let rate = MILLION + i128::from(self.drift_ppm);
        self.reading + (i128::from(passed) * rate / MILLION) as u64
    }

    /// The first virtual time at which the monotonic clock shows `reading` or more; `now` if it
    /// already does.
    pub fn when(&self, reading: Monotonic, now: u64) -> u64 {
        let Some(ahead) = reading.as_nanos().checked_sub(self.reading) else {
            return now;
        };
        let passed = if self.drift_ppm == 0 {
            ahead
        } else {
            let rate = MILLION + i128::from(self.drift_ppm);
            let passed = (i128::from(ahead) * MILLION + rate - 1) / rate;
            u64::try_from(passed).unwrap_or(u64::MAX)
        };
        self.since.saturating_add(passed).max(now)
    }

    /// The wall clock jumps.
    pub fn jump_wall(&mut self, by_ms: i64) {
        self.wall_offset += by_ms * 1_000_000;
    }

    /// Both clocks run at another rate from `time` on. Rates beyond half and one and a half times
    /// real time are cut to these.
    pub fn drift(&mut self, time: u64, ppm: i32) {
        self.reading = self.monotonic(time);
        self.since = time;
        self.drift_ppm = ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX);
    }

    /// How long the host takes, in virtual time, to see `duration` pass.
    pub fn stretch(&self, duration: Duration) -> u64 {
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
    fn the_wall_jumps_and_the_monotonic_clock_does_not() {
        let mut clocks = Clocks::default();
        let before = clocks.at(5);
        clocks.jump_wall(-2_000);
        let after = clocks.at(5);
        assert_eq!(after.monotonic, before.monotonic);
        assert_eq!(after.wall.unix_nanos(), before.wall.unix_nanos() - 2_000_000_000);
    }
}
