//! Time as a parameter: a step is told both clocks, and never reads one.

use std::time::Duration;

/// A reading of the monotonic clock, in nanoseconds since an arbitrary start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// The clock's origin.
    pub const ZERO: Monotonic = Monotonic(0);

    /// From nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Monotonic {
        Monotonic(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The reading `by` later, saturating at the end of time.
    #[must_use]
    pub const fn after(self, by: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(by.as_nanos() as u64))
    }

    /// How long ago `earlier` was; zero if it is not in the past.
    pub const fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A reading of the wall clock, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(i64);

impl Wall {
    /// From nanoseconds since the epoch.
    pub const fn from_unix_nanos(nanos: i64) -> Wall {
        Wall(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Whole milliseconds since the epoch, rounded down.
    pub const fn unix_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

/// Both clocks at the moment of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Never goes back within one process.
    pub monotonic: Monotonic,
    /// May jump.
    pub wall: Wall,
}
