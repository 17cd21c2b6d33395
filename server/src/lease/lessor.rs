//! All leases of a member.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    CHECKPOINT_INTERVAL, LeaseId, LessorConfig, RenewError, SCAN_INTERVAL, SPREAD_LEASES_MIN,
    SPREAD_PER_SECOND, TTL_SECONDS_MAX, TimeToLive,
};
use crate::api::ApiError;
use crate::member::time::Monotonic;
use crate::mvcc::Digest;

/// All leases of a member.
#[derive(Debug)]
pub struct Lessor {
    config: LessorConfig,
    is_primary: bool,
    leases: BTreeMap<LeaseId, Lease>,
    /// When to look at which lease; empty unless primary.
    looks: BTreeSet<(Monotonic, LeaseId)>,
    /// When to checkpoint which lease; empty unless primary.
    checkpoints: BTreeSet<(Monotonic, LeaseId)>,
    last_scan: Option<Monotonic>,
    /// Sum of the digests of all leases.
    digest: u64,
}

#[derive(Debug)]
struct Lease {
    ttl_seconds: i64,
    /// From a checkpoint; 0 for none.
    remaining_seconds: i64,
    keys: BTreeSet<Bytes>,
    deadline: Option<Deadline>,
    checkpoint: Option<Monotonic>,
}

/// What the primary knows of a lease beyond what is replicated.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    expiry: Monotonic,
    /// The expiry, or when an expired lease is reported again.
    look: Monotonic,
}

impl Lease {
    /// What it has left when a lessor becomes primary.
    fn remaining(&self) -> Duration {
        seconds(if self.remaining_seconds > 0 { self.remaining_seconds } else { self.ttl_seconds })
    }

    fn digest(&self, id: LeaseId) -> u64 {
        Digest::of(4).i64(id).i64(self.ttl_seconds).i64(self.remaining_seconds).finish()
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

impl Lessor {
    /// No leases, not primary.
    pub fn new(config: LessorConfig) -> Lessor {
        Lessor {
            config,
            is_primary: false,
            leases: BTreeMap::new(),
            looks: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            last_scan: None,
            digest: 0,
        }
    }

    /// Grants a lease and returns its TTL, which may have been raised to the minimum. `id` was
    /// chosen before the grant was proposed, and is not 0.
    pub fn grant(&mut self, id: LeaseId, ttl: i64, now: Monotonic) -> Result<i64, ApiError> {
        if id == 0 {
            return Err(ApiError::LeaseNotFound);
        }
        if ttl > TTL_SECONDS_MAX {
            return Err(ApiError::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(ApiError::LeaseExists);
        }
        let ttl_seconds = self.insert(id, ttl, 0);
        if self.is_primary {
            self.set_expiry(id, now.after(seconds(ttl_seconds)));
            self.schedule_checkpoint(id, now);
        }
        Ok(ttl_seconds)
    }

    /// Adds a lease that the `lease` bucket has, before the keys are restored.
    pub fn restore_lease(&mut self, id: LeaseId, ttl_seconds: i64, remaining_seconds: i64) {
        assert!(!self.is_primary, "a lessor is restored before it is promoted");
        self.insert(id, ttl_seconds, remaining_seconds);
    }

    fn insert(&mut self, id: LeaseId, ttl_seconds: i64, remaining_seconds: i64) -> i64 {
        let ttl_seconds = ttl_seconds.max(self.config.ttl_seconds_min);
        let keys = BTreeSet::new();
        let lease =
            Lease { ttl_seconds, remaining_seconds, keys, deadline: None, checkpoint: None };
        self.digest = self.digest.wrapping_add(lease.digest(id));
        self.leases.insert(id, lease);
        ttl_seconds
    }

    /// Whether there is such a lease.
    pub fn exists(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// Removes a lease and returns its keys, ascending.
    pub fn revoke(&mut self, id: LeaseId) -> Result<Vec<Bytes>, ApiError> {
        let lease = self.leases.remove(&id).ok_or(ApiError::LeaseNotFound)?;
        self.digest = self.digest.wrapping_sub(lease.digest(id));
        if let Some(deadline) = lease.deadline {
            self.looks.remove(&(deadline.look, id));
        }
        if let Some(due) = lease.checkpoint {
            self.checkpoints.remove(&(due, id));
        }
        Ok(lease.keys.into_iter().collect())
    }

    /// Attaches a key to a lease that exists. The caller detaches it from another first: a key
    /// belongs to at most one lease.
    pub fn attach(&mut self, id: LeaseId, key: &Bytes) {
        let lease = self.leases.get_mut(&id).expect("a lease exists when keys are attached");
        lease.keys.insert(key.clone());
    }

    /// Detaches a key from a lease, if that still exists.
    pub fn detach(&mut self, id: LeaseId, key: &[u8]) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// Extends a lease by its granted TTL, which it returns in seconds.
    pub fn renew(&mut self, id: LeaseId, now: Monotonic) -> Result<i64, RenewError> {
        if !self.is_primary {
            return Err(RenewError::NotPrimary);
        }
        let lease = self.leases.get(&id).ok_or(RenewError::NotFound)?;
        let expiry = lease.deadline.expect("the primary has deadlines").expiry;
        if expiry <= now {
            return Err(RenewError::Expired);
        }
        let ttl_seconds = lease.ttl_seconds;
        self.set_expiry(id, now.after(seconds(ttl_seconds)));
        Ok(ttl_seconds)
    }

    /// Whether a checkpoint stands that a renewal has to clear first, with one of 0.
    pub fn is_checkpointed(&self, id: LeaseId, now: Monotonic) -> bool {
        let Some(lease) = self.leases.get(&id) else { return false };
        let is_alive = lease.deadline.is_some_and(|deadline| deadline.expiry > now);
        self.is_primary && self.config.checkpoint && lease.remaining_seconds > 0 && is_alive
    }

    /// How long a lease has to live; none if there is no such lease or this is not the primary.
    pub fn time_to_live(&self, id: LeaseId, now: Monotonic) -> Option<TimeToLive> {
        let lease = self.leases.get(&id)?;
        let left = lease.deadline?.expiry.since(now);
        Some(TimeToLive {
            ttl_seconds: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            granted_seconds: lease.ttl_seconds,
        })
    }

    /// The keys of a lease, ascending.
    pub fn keys(&self, id: LeaseId) -> Vec<Bytes> {
        let lease = self.leases.get(&id);
        lease.map(|lease| lease.keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// All ids, ascending.
    pub fn leases(&self) -> Vec<LeaseId> {
        self.leases.keys().copied().collect()
    }

    /// The granted TTL and the checkpointed remaining TTL (0 for none), as the `lease` bucket has
    /// them.
    pub fn stored(&self, id: LeaseId) -> Option<(i64, i64)> {
        self.leases.get(&id).map(|lease| (lease.ttl_seconds, lease.remaining_seconds))
    }

    /// Makes this lessor decide about expiry: every lease lives `extend` longer than its remaining
    /// TTL, and longer where too many would expire within one second.
    pub fn promote(&mut self, now: Monotonic, extend: Duration) {
        self.demote();
        self.is_primary = true;
        let due = |(id, lease): (&LeaseId, &Lease)| {
            (now.after(extend.saturating_add(lease.remaining())), *id)
        };
        let mut expiries: Vec<(Monotonic, LeaseId)> = self.leases.iter().map(due).collect();
        if expiries.len() >= SPREAD_LEASES_MIN {
            expiries.sort_unstable();
            for later in SPREAD_PER_SECOND..expiries.len() {
                let earliest = expiries[later - SPREAD_PER_SECOND].0.after(Duration::from_secs(1));
                expiries[later].0 = expiries[later].0.max(earliest);
            }
        }
        for (expiry, id) in expiries {
            self.set_expiry(id, expiry);
            self.schedule_checkpoint(id, now);
        }
    }

    /// Forgets all deadlines.
    pub fn demote(&mut self) {
        self.is_primary = false;
        self.looks.clear();
        self.checkpoints.clear();
        for lease in self.leases.values_mut() {
            lease.deadline = None;
            lease.checkpoint = None;
        }
    }

    /// Whether this lessor decides about expiry.
    pub fn is_primary(&self) -> bool {
        self.is_primary
    }

    fn set_expiry(&mut self, id: LeaseId, expiry: Monotonic) {
        self.set_deadline(id, Deadline { expiry, look: expiry });
    }

    fn set_deadline(&mut self, id: LeaseId, deadline: Deadline) {
        let lease = self.leases.get_mut(&id).expect("deadlines are set for leases that exist");
        if let Some(old) = lease.deadline.replace(deadline) {
            self.looks.remove(&(old.look, id));
        }
        self.looks.insert((deadline.look, id));
    }

    /// Takes up to `limit` expired leases in order of expiry; each is due again after the retry
    /// interval, unless it is revoked. None unless primary.
    pub fn expired(&mut self, now: Monotonic, limit: usize) -> Vec<LeaseId> {
        self.last_scan = Some(now);
        let due = self.looks.iter().take_while(|(look, _)| *look <= now).take(limit);
        let ids: Vec<LeaseId> = due.map(|(_, id)| *id).collect();
        for id in &ids {
            let deadline = self.leases[id].deadline.expect("a lease that is looked at has one");
            let look = now.after(self.config.retry);
            self.set_deadline(*id, Deadline { look, ..deadline });
        }
        ids
    }

    /// When the next lease expires or is reported again; none unless primary.
    pub fn next_expiry(&self) -> Option<Monotonic> {
        self.looks.first().map(|(look, _)| *look)
    }

    /// When to call `expired` and `due_checkpoints` next. Scans happen at whole multiples of the
    /// scan interval, as etcd's do since its start, but only where there is something to do.
    pub fn next_scan(&self) -> Option<Monotonic> {
        let next = self.next_expiry().into_iter().chain(self.next_checkpoint()).min()?;
        let interval = SCAN_INTERVAL.as_nanos() as u64;
        let round = |at: Monotonic| at.as_nanos().div_ceil(interval).saturating_mul(interval);
        let after_last =
            self.last_scan.map_or(0, |last| (last.as_nanos() / interval + 1) * interval);
        Some(Monotonic::from_nanos(round(next).max(after_last)))
    }

    fn schedule_checkpoint(&mut self, id: LeaseId, now: Monotonic) {
        if !self.config.checkpoint {
            return;
        }
        let lease = self.leases.get_mut(&id).expect("checkpoints are scheduled for known leases");
        if lease.remaining() <= CHECKPOINT_INTERVAL {
            return;
        }
        let due = now.after(CHECKPOINT_INTERVAL);
        if let Some(old) = lease.checkpoint.replace(due) {
            self.checkpoints.remove(&(old, id));
        }
        self.checkpoints.insert((due, id));
    }

    /// Takes up to `limit` leases whose remaining TTL (in seconds, rounded up) must be
    /// checkpointed. Applying the checkpoint schedules the next one.
    pub fn due_checkpoints(&mut self, now: Monotonic, limit: usize) -> Vec<(LeaseId, i64)> {
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(&(when, id)) = self.checkpoints.first().filter(|(when, _)| *when <= now)
            else {
                break;
            };
            self.checkpoints.remove(&(when, id));
            let lease = self.leases.get_mut(&id).expect("a revoked lease has no checkpoint");
            lease.checkpoint = None;
            let expiry = lease.deadline.expect("the primary has deadlines").expiry;
            let left = expiry.since(now).as_nanos().div_ceil(1_000_000_000);
            let left = i64::try_from(left).unwrap_or(i64::MAX);
            if left >= lease.ttl_seconds {
                // It was just renewed and has nothing to tell yet.
                self.schedule_checkpoint(id, now);
            } else if left > 0 {
                due.push((id, left));
            }
        }
        due
    }

    /// When the next checkpoint is due; none unless primary.
    pub fn next_checkpoint(&self) -> Option<Monotonic> {
        self.checkpoints.first().map(|(due, _)| *due)
    }

    /// Applies a checkpoint: the remaining TTL with which a later primary starts; 0 clears it. A
    /// lease that is gone is none of its business.
    pub fn set_checkpoint(&mut self, id: LeaseId, remaining_seconds: i64, now: Monotonic) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let before = lease.digest(id);
        lease.remaining_seconds = remaining_seconds;
        let after = lease.digest(id);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
        if self.is_primary {
            self.schedule_checkpoint(id, now);
        }
    }

    /// Digest of the replicated part of the state, apart from the keys: the store's digest has
    /// the lease of each.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}
