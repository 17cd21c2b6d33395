//! How long disk operations take, and the one queue that they wait in.

use rand_chacha::ChaCha8Rng;

use crate::seed::Draw;

/// The duration of one kind of operation: uniform within bounds, and so much for its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationTime {
    /// At least.
    pub min_ns: u64,
    /// At most.
    pub max_ns: u64,
    /// And this for each started KiB.
    pub ns_per_kib: u64,
}

impl OperationTime {
    /// Always the same.
    pub const fn constant(ns: u64) -> OperationTime {
        OperationTime { min_ns: ns, max_ns: ns, ns_per_kib: 0 }
    }

    fn draw(self, bytes: usize, rng: &mut ChaCha8Rng) -> u64 {
        let base = match self.max_ns > self.min_ns {
            true => rng.within(self.min_ns..=self.max_ns),
            false => self.min_ns,
        };
        base + self.ns_per_kib * bytes.div_ceil(1024) as u64
    }
}

/// The durations of a disk's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskTimes {
    /// Of a read.
    pub read: OperationTime,
    /// Of a write, into the operating system's memory.
    pub write: OperationTime,
    /// Of a file's or directory's sync.
    pub sync: OperationTime,
    /// Of everything about names and lengths.
    pub metadata: OperationTime,
}

impl DiskTimes {
    /// A good solid-state disk.
    pub const SSD: DiskTimes = DiskTimes {
        read: OperationTime { min_ns: 2_000, max_ns: 6_000, ns_per_kib: 200 },
        write: OperationTime { min_ns: 2_000, max_ns: 6_000, ns_per_kib: 300 },
        sync: OperationTime { min_ns: 300_000, max_ns: 1_500_000, ns_per_kib: 0 },
        metadata: OperationTime { min_ns: 4_000, max_ns: 20_000, ns_per_kib: 0 },
    };

    /// Every operation takes one nanosecond: the moments after which a run can be broken off are
    /// 1, 2, 3, …
    pub const STEPS: DiskTimes = DiskTimes {
        read: OperationTime::constant(1),
        write: OperationTime::constant(1),
        sync: OperationTime::constant(1),
        metadata: OperationTime::constant(1),
    };
}

/// A kind of operation, as the device's queue and the trace see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of bytes.
    Read,
    /// Of bytes.
    Write,
    /// Of a file or a directory.
    Sync,
    /// Of names and lengths.
    Metadata,
}

/// The device: one operation after another.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) times: DiskTimes,
    pub(super) sync_fault: Option<OperationTime>,
    rng: ChaCha8Rng,
    now: u64,
    busy_until: u64,
    last_end: u64,
}

impl Queue {
    pub(super) fn new(times: DiskTimes, rng: ChaCha8Rng) -> Queue {
        Queue { times, sync_fault: None, rng, now: 0, busy_until: 0, last_end: 0 }
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// When the device begins with what is asked for next.
    pub(super) fn free_at(&self) -> u64 {
        self.busy_until
    }

    /// When the last operation since `begin` ends.
    pub(super) fn last_end(&self) -> u64 {
        self.last_end
    }

    pub(super) fn begin(&mut self, now: u64) {
        assert!(now >= self.now, "a disk's time does not go back");
        self.now = now;
        self.busy_until = self.busy_until.max(now);
        self.last_end = now;
    }

    /// Queues an operation; returns when it ends.
    pub(super) fn add(&mut self, kind: Kind, bytes: usize) -> u64 {
        let time = match kind {
            Kind::Read => self.times.read,
            Kind::Write => self.times.write,
            Kind::Sync => self.sync_fault.unwrap_or(self.times.sync),
            Kind::Metadata => self.times.metadata,
        };
        self.busy_until += time.draw(bytes, &mut self.rng);
        self.last_end = self.busy_until;
        self.busy_until
    }

    pub(super) fn delay(&mut self, since: u64, by: u64) {
        for moment in [&mut self.busy_until, &mut self.last_end] {
            if *moment > since {
                *moment += by;
            }
        }
    }

    /// Nothing is queued any more.
    pub(super) fn clear(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.busy_until = self.now;
        self.last_end = self.now;
    }
}
