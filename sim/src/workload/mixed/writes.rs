//! Writes of the mix: puts and deletes with every option, compactions, leases.

use detsim_reports::record::{Blob, Call, DeleteRange, Put};

use super::draft::Draft;
use crate::seed::Draw;

/// Leases that are held at a time, at most; another grant becomes a revoke.
const LEASES_HELD_MAX: usize = 8;
/// Granted in seconds: longer than runs last, so that no lease ends by itself.
pub(super) const TTL_S: (u64, u64) = (100_000, 200_000);

impl Draft<'_> {
    /// A put without any condition: it is never refused.
    pub(super) fn plain_put(&mut self) -> Put {
        let prev_kv = self.stream.below(4) == 0;
        Put { key: self.pool.key(self.stream), value: self.value(), prev_kv, ..Put::default() }
    }

    /// Mostly a plain put; else one that keeps the value or the lease of a key that was seen.
    pub(super) fn put(&mut self) -> Put {
        let put = self.plain_put();
        let form = self.stream.below(20);
        if form > 3 {
            return put;
        }
        let key = self.known_key();
        let none = Blob::default();
        match form {
            0 => Put { key, value: none, ignore_value: true, ..put },
            1 => Put { key, ignore_lease: true, ..put },
            2 => Put { key, value: none, ignore_value: true, ignore_lease: true, ..put },
            _ => Put { key, value: none, ignore_value: true, lease: self.held_or_none(), ..put },
        }
    }

    /// A put that attaches the key to a lease, if any is held.
    pub(super) fn attach(&mut self) -> Put {
        Put { lease: self.held_or_none(), ..self.plain_put() }
    }

    /// Deletes one key, most often one that was seen.
    pub(super) fn delete(&mut self) -> DeleteRange {
        let key = match self.stream.below(3) {
            0 => self.pool.key(self.stream),
            _ => self.known_key(),
        };
        let prev_kv = self.stream.below(2) == 0;
        DeleteRange { key, range_end: Blob::default(), prev_kv }
    }

    /// Deletes several keys: mostly a few, rarely all.
    pub(super) fn delete_several(&mut self) -> DeleteRange {
        let (key, range_end) = match self.stream.below(16) {
            0 => self.pool.all(),
            1 => self.pool.span(self.stream),
            _ => self.pool.few(self.stream),
        };
        DeleteRange { key, range_end, prev_kv: self.stream.below(2) == 0 }
    }

    /// Compacts somewhat behind what was seen; sometimes at it, again, or too early.
    pub(super) fn compact(&mut self) -> Call {
        let newest = self.sight.newest();
        let revision = match self.stream.below(100) {
            0..80 => newest - 10 - self.stream.below(90) as i64,
            80..86 => newest,
            86..94 => self.sight.compacted(),
            _ => newest + 3 + self.stream.below(10) as i64,
        };
        Call::Compact { revision: revision.max(0), physical: self.stream.below(4) == 0 }
    }

    /// Grants a lease, or revokes one if there are many.
    pub(super) fn grant(&mut self) -> Call {
        if self.leases.len() >= LEASES_HELD_MAX {
            return self.revoke();
        }
        let ttl_s = self.stream.within(TTL_S.0..=TTL_S.1) as i64;
        Call::LeaseGrant { id: self.author.lease(), ttl_s }
    }

    /// Revokes a lease, or grants one if there is none.
    pub(super) fn revoke(&mut self) -> Call {
        match self.held() {
            Some(id) => Call::LeaseRevoke { id },
            None => self.grant(),
        }
    }

    /// Renews a lease, rarely one that does not exist.
    pub(super) fn keep_alive(&mut self) -> Call {
        Call::LeaseKeepAlive { id: self.held_or_unknown() }
    }

    /// Asks after a lease, rarely one that does not exist.
    pub(super) fn time_to_live(&mut self) -> Call {
        let id = self.held_or_unknown();
        Call::LeaseTimeToLive { id, keys: self.stream.below(2) == 0 }
    }

    /// A lease that somebody holds.
    pub(super) fn held(&mut self) -> Option<i64> {
        let place = self.stream.below(self.leases.len().max(1) as u64);
        self.leases.get(place as usize).copied()
    }

    pub(super) fn held_or_none(&mut self) -> i64 {
        self.held().unwrap_or(0)
    }

    fn held_or_unknown(&mut self) -> i64 {
        let held = self.held();
        match held {
            Some(id) if self.stream.below(10) != 0 => id,
            _ => self.author.lease(),
        }
    }

    /// A key that was seen, or any.
    pub(super) fn known_key(&mut self) -> Blob {
        match self.sight.key(self.stream) {
            Some(key) => key.clone(),
            None => self.pool.key(self.stream),
        }
    }

    pub(super) fn value(&mut self) -> Blob {
        self.author.value(self.value_bytes)
    }
}
