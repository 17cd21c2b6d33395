//! What etcd is, in sequence: keys with their history, revisions, compaction and leases. It answers
//! every key-value and lease request as the contract says, and is written from the contract alone.
//!
//! One model is one cluster's state. It knows no time, no members and no log; an expired lease is a
//! command like any other. Every step can be taken back, for the sake of search.

mod lease;
mod range;
mod refusal;
mod span;
mod store;
#[cfg(test)]
mod tests;
mod txn;
mod validate;

use detsim_reports::record::{
    Blob, Body, Call, Command, DeleteRange, KeyValue, Put, Range, RangeReply, Settings,
};

pub use lease::Lease;
pub use range::{by_target, has_ties};
pub use refusal::Refusal;
pub use span::Span;
pub use store::Change;
pub use txn::{is_read_only, is_serializable};

use lease::Leases;
use store::Store;

/// What a successful reply must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The revision in its header.
    pub revision: i64,
    /// Its body.
    pub body: Body,
}

/// A place to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    changes: usize,
    lease_steps: usize,
    revision: i64,
    compact_revision: i64,
}

impl Mark {
    /// The revision there.
    pub fn revision(&self) -> i64 {
        self.revision
    }
}

/// The state of a cluster.
#[derive(Clone, Debug)]
pub struct Model {
    settings: Settings,
    revision: i64,
    compact_revision: i64,
    store: Store,
    leases: Leases,
    /// How many changes there were before the request that is being executed.
    begun: usize,
}

impl Model {
    /// An empty store: revision 1, nothing compacted.
    pub fn new(settings: &Settings) -> Model {
        Model {
            settings: settings.clone(),
            revision: 1,
            compact_revision: -1,
            store: Store::default(),
            leases: Leases::default(),
            begun: 0,
        }
    }

    /// Whether the model knows how this is answered: keys and leases, not the cluster's condition.
    pub fn covers(call: &Call) -> bool {
        matches!(
            call,
            Call::Range(_)
                | Call::Put(_)
                | Call::DeleteRange(_)
                | Call::Txn(_)
                | Call::Compact { .. }
                | Call::LeaseGrant { .. }
                | Call::LeaseRevoke { .. }
                | Call::LeaseKeepAlive { .. }
                | Call::LeaseTimeToLive { .. }
                | Call::LeaseLeases
        )
    }

    /// The newest revision.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision up to which history is compacted, -1 at first.
    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    /// Every change, in order.
    pub fn changes(&self) -> &[Change] {
        self.store.changes()
    }

    /// The changes of the revisions from the first to the last, both included.
    pub fn changes_between(&self, first: i64, last: i64) -> &[Change] {
        let changes = self.store.changes();
        let start = changes.partition_point(|change| change.kv.mod_revision < first);
        let end = changes.partition_point(|change| change.kv.mod_revision <= last);
        &changes[start..end.max(start)]
    }

    /// The changes of one revision.
    pub fn changes_at(&self, revision: i64) -> &[Change] {
        self.changes_between(revision, revision)
    }

    /// A key as it was after `revision`.
    pub fn get_at(&self, key: &Blob, revision: i64) -> Option<&KeyValue> {
        self.store.get_at(key, revision)
    }

    /// All live keys, ascending.
    pub fn live(&self) -> impl Iterator<Item = &KeyValue> {
        self.store.live()
    }

    /// All leases, ascending.
    pub fn leases(&self) -> impl Iterator<Item = (i64, &Lease)> {
        self.leases.iter()
    }

    /// A lease.
    pub fn lease(&self, id: i64) -> Option<&Lease> {
        self.leases.get(id)
    }

    /// How often leases were granted or removed: changes whenever they do.
    pub fn lease_steps(&self) -> usize {
        self.leases.steps()
    }

    /// Everything that the request is refused for now, in the order in which it is looked for.
    /// When several hold, any of them may be answered.
    pub fn refusals(&self, call: &Call) -> Vec<Refusal> {
        if let Err(refusal) = validate::validate(call, self.settings.max_txn_ops) {
            return vec![refusal];
        }
        let mut refusals = Vec::new();
        match call {
            Call::Range(range) => refusals.extend(self.range_refusal(range)),
            Call::Put(put) => self.put_refusals(put, &mut refusals),
            Call::Txn(txn) => return self.txn_refusals(txn),
            &Call::Compact { revision, .. } => refusals.extend(self.compact_refusal(revision)),
            Call::LeaseGrant { id, .. } if self.leases.get(*id).is_some() => {
                refusals.push(Refusal::LeaseExists);
            }
            Call::LeaseRevoke { id } if self.leases.get(*id).is_none() => {
                refusals.push(Refusal::LeaseNotFound);
            }
            _ => {}
        }
        refusals
    }

    /// Executes a request. A refused one changes nothing.
    ///
    /// # Panics
    ///
    /// When the model does not cover the request.
    pub fn apply(&mut self, call: &Call) -> Result<Answer, Refusal> {
        if let Some(&refusal) = self.refusals(call).first() {
            return Err(refusal);
        }
        self.begun = self.store.changes().len();
        let body = match call {
            Call::Put(put) => Body::Put { prev_kv: self.put(put) },
            Call::DeleteRange(delete) => {
                let (deleted, prev_kvs) = self.delete_range(delete);
                Body::DeleteRange { deleted, prev_kvs }
            }
            Call::Txn(txn) if !is_read_only(txn) => self.execute_txn(txn),
            &Call::Compact { revision, .. } => {
                self.compact_revision = revision;
                Body::Compact
            }
            &Call::LeaseGrant { id, ttl_s } => {
                let ttl_s = ttl_s.max(self.settings.lease_ttl_min_s);
                self.leases.grant(id, ttl_s);
                Body::LeaseGrant { id, ttl_s }
            }
            &Call::LeaseRevoke { id } => {
                self.revoke(id);
                Body::LeaseRevoke
            }
            read => self.read(read, self.revision),
        };
        self.revision = self.pending();
        self.begun = self.store.changes().len();
        Ok(Answer { revision: self.revision, body })
    }

    /// Executes a log entry. `None` when it concerns neither keys nor leases.
    pub fn apply_command(&mut self, command: &Command) -> Option<Result<Answer, Refusal>> {
        match command {
            Command::Client(call) if Model::covers(call) => Some(self.apply(call)),
            Command::LeaseExpired { id } => Some(self.apply(&Call::LeaseRevoke { id: *id })),
            Command::Restored { bumped } => {
                self.bump(*bumped);
                None
            }
            Command::Client(_)
            | Command::TermStart
            | Command::ConfChange { .. }
            | Command::Attributes { .. }
            | Command::Internal { .. } => None,
        }
    }

    /// Raises the newest revision, and compacts all below.
    fn bump(&mut self, by: i64) {
        if by > 0 {
            self.revision = raised(self.revision, by);
            self.compact_revision = self.revision;
        }
    }

    /// What a read is answered that saw the keys as they were after `revision`, while leases are as
    /// they are. It is not checked against the compact revision.
    pub fn read_at(&self, call: &Call, revision: i64) -> Answer {
        Answer { revision, body: self.read(call, revision) }
    }

    /// Where the model is.
    pub fn mark(&self) -> Mark {
        Mark {
            changes: self.store.changes().len(),
            lease_steps: self.leases.steps(),
            revision: self.revision,
            compact_revision: self.compact_revision,
        }
    }

    /// Takes back the one request executed since the mark was taken.
    pub fn take_back(&mut self, to: Mark) {
        while self.leases.steps() > to.lease_steps {
            self.leases.take_back();
        }
        while self.store.changes().len() > to.changes {
            let (key, from, to) = self.store.take_back();
            self.leases.reattach(&key, from, to);
        }
        self.revision = to.revision;
        self.compact_revision = to.compact_revision;
        self.begun = to.changes;
    }

    /// The revision of what the request in execution has done so far.
    fn pending(&self) -> i64 {
        self.revision + i64::from(self.store.changes().len() > self.begun)
    }

    fn read(&self, call: &Call, revision: i64) -> Body {
        match call {
            Call::Range(range) => Body::Range(self.range_as_of(range, revision)),
            Call::Txn(txn) => Body::Txn(self.read_txn(txn, revision)),
            &Call::LeaseKeepAlive { id } => {
                let ttl_s = self.leases.get(id).map_or(0, |lease| lease.ttl_s);
                Body::LeaseKeepAlive { id, ttl_s }
            }
            &Call::LeaseTimeToLive { id, keys } => self.time_to_live(id, keys),
            Call::LeaseLeases => {
                Body::LeaseLeases { ids: self.leases.iter().map(|(id, _)| id).collect() }
            }
            other => panic!("{other:?} is no read of keys or leases"),
        }
    }

    fn time_to_live(&self, id: i64, keys: bool) -> Body {
        let Some(lease) = self.leases.get(id) else {
            return Body::LeaseTimeToLive { id, ttl_s: -1, granted_ttl_s: 0, keys: Vec::new() };
        };
        let attached = if keys { lease.keys.iter().cloned().collect() } else { Vec::new() };
        Body::LeaseTimeToLive { id, ttl_s: lease.ttl_s, granted_ttl_s: lease.ttl_s, keys: attached }
    }

    fn range_refusal(&self, range: &Range) -> Option<Refusal> {
        match range.revision {
            ..=0 => None,
            revision if revision > self.revision => Some(Refusal::FutureRevision),
            revision if revision < self.compact_revision => Some(Refusal::Compacted),
            _ => None,
        }
    }

    fn put_refusals(&self, put: &Put, refusals: &mut Vec<Refusal>) {
        if put.lease != 0 && self.leases.get(put.lease).is_none() {
            refusals.push(Refusal::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && self.store.get(&put.key).is_none() {
            refusals.push(Refusal::KeyNotFound);
        }
    }

    fn compact_refusal(&self, revision: i64) -> Option<Refusal> {
        if revision <= self.compact_revision {
            Some(Refusal::Compacted)
        } else if revision > self.revision {
            Some(Refusal::FutureRevision)
        } else {
            None
        }
    }

    /// The reply to a range while the newest revision is `now`.
    fn range_as_of(&self, range: &Range, now: i64) -> RangeReply {
        let revision = if range.revision > 0 { range.revision } else { now };
        let span = Span::new(&range.key, &range.range_end);
        if revision == self.revision {
            range::reply(range, self.store.range(span))
        } else {
            range::reply(range, self.store.range_at(span, revision))
        }
    }

    /// The reply to a range in the middle of a transaction.
    fn range_now(&self, range: &Range) -> RangeReply {
        let span = Span::new(&range.key, &range.range_end);
        if range.revision > 0 {
            range::reply(range, self.store.range_at(span, range.revision))
        } else {
            range::reply(range, self.store.range(span))
        }
    }

    /// Whether `holds` for every key of the span after `revision`.
    fn visit(
        &self,
        span: Span<'_>,
        revision: i64,
        mut holds: impl FnMut(&KeyValue) -> bool,
    ) -> bool {
        if revision == self.revision {
            self.store.range(span).all(&mut holds)
        } else {
            self.store.range_at(span, revision).all(&mut holds)
        }
    }

    /// Puts, and gives the key as it was if that was asked for.
    fn put(&mut self, put: &Put) -> Option<KeyValue> {
        let before = self.store.get(&put.key);
        let old_lease = before.map_or(0, |kv| kv.lease);
        let value = match before {
            Some(kv) if put.ignore_value => kv.value.clone(),
            _ => put.value.clone(),
        };
        let lease = if put.ignore_lease { old_lease } else { put.lease };
        let prev_kv = before.filter(|_| put.prev_kv).cloned();
        self.store.put(&put.key, value, lease, self.revision + 1);
        self.leases.reattach(&put.key, old_lease, lease);
        prev_kv
    }

    fn delete_range(&mut self, delete: &DeleteRange) -> (i64, Vec<KeyValue>) {
        let span = Span::new(&delete.key, &delete.range_end);
        let found: Vec<KeyValue> = self.store.range(span).cloned().collect();
        for kv in &found {
            self.delete(&kv.key, kv.lease);
        }
        let deleted = found.len() as i64;
        (deleted, if delete.prev_kv { found } else { Vec::new() })
    }

    /// Removes a lease and its keys, ascending, in one revision.
    fn revoke(&mut self, id: i64) {
        let lease = self.leases.get(id).expect("only a lease that exists is revoked");
        for key in lease.keys.clone() {
            self.delete(&key, id);
        }
        self.leases.remove(id);
    }

    fn delete(&mut self, key: &Blob, lease: i64) {
        self.store.delete(key, self.revision + 1);
        self.leases.reattach(key, lease, 0);
    }
}

/// The newest revision after a restore that raises revisions. A store in which nothing was written
/// has no row that tells of its first revision, so that nothing is raised there.
pub fn raised(revision: i64, by: i64) -> i64 {
    match by {
        0 => revision,
        by if revision == 1 => by,
        by => revision + by,
    }
}
