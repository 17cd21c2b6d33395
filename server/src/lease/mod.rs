//! Leases: who holds which keys, and until when.
//!
//! Grants, revokes, attachments and checkpoints are applied from the log alike on every member.
//! Expiry is not replicated: only the primary lessor (the raft leader's) has deadlines, and what
//! it finds expired it revokes through the log.

use bytes::Bytes;
use std::time::Duration;

use crate::api::ApiError;
use crate::member::time::Monotonic;

/// A lease's id as clients see it; 0 means none.
pub type LeaseId = i64;

/// The largest TTL that may be granted, in seconds.
pub const TTL_SECONDS_MAX: i64 = 9_000_000_000;
/// How often the primary looks for expired leases.
pub const SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// How many expired leases one scan takes.
pub const SCAN_LIMIT: usize = 500;

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

/// A renewed lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The full granted TTL.
    pub ttl_seconds: i64,
    /// Whether a checkpoint must be cleared by proposing one with remaining TTL 0.
    pub clears_checkpoint: bool,
}

/// What a client may know of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// Whole seconds left.
    pub ttl_seconds: i64,
    /// As granted.
    pub granted_seconds: i64,
}

/// All leases of a member.
#[derive(Debug)]
pub struct Lessor {
    config: LessorConfig,
}

impl Lessor {
    /// No leases, not primary.
    pub fn new(config: LessorConfig) -> Lessor {
        Lessor { config }
    }

    /// Grants a lease and returns its TTL, which may have been raised to the minimum. `id` was
    /// chosen before the grant was proposed, and is not 0.
    pub fn grant(&mut self, _id: LeaseId, ttl: i64, _now: Monotonic) -> Result<i64, ApiError> {
        Ok(ttl.max(self.config.ttl_seconds_min))
    }

    /// Whether there is such a lease.
    pub fn exists(&self, _id: LeaseId) -> bool {
        false
    }

    /// Removes a lease and returns its keys, ascending.
    pub fn revoke(&mut self, _id: LeaseId) -> Result<Vec<Bytes>, ApiError> {
        Err(ApiError::LeaseNotFound)
    }

    /// Attaches a key to a lease that exists.
    pub fn attach(&mut self, _id: LeaseId, _key: &Bytes) {}

    /// Detaches a key from a lease.
    pub fn detach(&mut self, _id: LeaseId, _key: &[u8]) {}

    /// Extends a lease by its granted TTL.
    pub fn renew(&mut self, _id: LeaseId, _now: Monotonic) -> Result<Renewed, RenewError> {
        Err(RenewError::NotFound)
    }

    /// How long a lease has to live; none if there is no such lease or it has expired.
    pub fn time_to_live(&self, _id: LeaseId, _now: Monotonic) -> Option<TimeToLive> {
        None
    }

    /// The keys of a lease, ascending.
    pub fn keys(&self, _id: LeaseId) -> Vec<Bytes> {
        Vec::new()
    }

    /// All ids, ascending.
    pub fn leases(&self) -> Vec<LeaseId> {
        Vec::new()
    }

    /// Makes this lessor decide about expiry: every lease lives at least `extend` longer than its
    /// remaining TTL.
    pub fn promote(&mut self, _now: Monotonic, _extend: Duration) {}

    /// Forgets all deadlines.
    pub fn demote(&mut self) {}

    /// Whether this lessor decides about expiry.
    pub fn is_primary(&self) -> bool {
        false
    }

    /// Takes up to `limit` expired leases in order of expiry; each is due again after the retry
    /// interval, unless it is revoked.
    pub fn expired(&mut self, _now: Monotonic, _limit: usize) -> Vec<LeaseId> {
        Vec::new()
    }

    /// When the next lease expires; none unless primary.
    pub fn next_expiry(&self) -> Option<Monotonic> {
        None
    }

    /// Takes up to `limit` leases whose remaining TTL (in seconds) must be checkpointed.
    pub fn due_checkpoints(&mut self, _now: Monotonic, _limit: usize) -> Vec<(LeaseId, i64)> {
        Vec::new()
    }

    /// When the next checkpoint is due; none unless primary.
    pub fn next_checkpoint(&self) -> Option<Monotonic> {
        None
    }

    /// Applies a checkpoint: the remaining TTL with which a later primary starts; 0 clears it.
    pub fn set_checkpoint(
        &mut self,
        _id: LeaseId,
        _remaining_seconds: i64,
        _now: Monotonic,
    ) -> Result<(), ApiError> {
        Err(ApiError::LeaseNotFound)
    }

    /// Digest of the replicated part of the state.
    pub fn digest(&self) -> u64 {
        0
    }
}
