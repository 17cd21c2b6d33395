//! Leases: who holds which keys, and until when.
//!
//! Grants, revokes, attachments and checkpoints are applied from the log alike on every member.
//! Expiry is not replicated: only the primary lessor (the raft leader's) has deadlines, and what
//! it finds expired it revokes through the log.

mod lessor;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use lessor::Lessor;

/// A lease's id as clients see it; 0 means none.
pub type LeaseId = i64;

/// The largest TTL that may be granted, in seconds.
pub const TTL_SECONDS_MAX: i64 = 9_000_000_000;
/// How often the primary looks for expired leases and due checkpoints.
pub const SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// How many expired leases one scan takes.
pub const SCAN_LIMIT: usize = 500;
/// From this many leases on, a new primary spreads their expiries.
pub const SPREAD_LEASES_MIN: usize = 1000;
/// How many leases may then expire within one second.
pub const SPREAD_PER_SECOND: usize = 750;
/// How often the remaining TTL of a longer lease is checkpointed.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);
/// How many leases one checkpoint entry has at most.
pub const CHECKPOINT_BATCH: usize = 1000;

/// What does not change while a member runs.
#[derive(Clone, Copy, Debug)]
pub struct LessorConfig {
    /// Smaller TTLs are raised to this: ceil(1.5 × election timeout).
    pub ttl_seconds_min: i64,
    /// An expired lease whose revoke did not come back is reported again after this.
    pub retry: Duration,
    /// Whether remaining TTLs are checkpointed.
    pub checkpoint: bool,
}

/// Why a lease was not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewError {
    /// There is no such lease.
    NotFound,
    /// It has expired, and its revoke is on the way: answer when it is gone.
    Expired,
    /// Only the primary renews.
    NotPrimary,
}

/// What a client may know of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// Whole seconds left; 0 also when it has expired and is not revoked yet.
    pub ttl_seconds: i64,
    /// As granted.
    pub granted_seconds: i64,
}
