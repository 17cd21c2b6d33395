//! A writer: a controller that creates, changes and deletes objects, each write on condition that
//! the object is as it saw it last. Events are objects on leases, several to each.

use std::collections::BTreeMap;
use std::time::Duration;

use detsim_reports::record::{Blob, Body, Call, Outcome, Time, TxnOp};
use rand_chacha::ChaCha8Rng;

use super::Habits;
use super::requests::{self, Wrote};
use crate::model::Refusal;
use crate::seed::Draw;
use crate::workload::author::Author;

/// A lease takes new events for this share of its time, as long as it has room.
const REUSED_FOR: u64 = 20;
const EVENTS_PER_LEASE: u32 = 20;

#[derive(Clone, Copy, Debug)]
enum Act {
    Get,
    Count,
    ListLocally,
    Create,
    Update,
    Delete,
    Event,
}

const ACTS: [(u64, Act); 7] = [
    (10, Act::Get),
    (3, Act::Count),
    (4, Act::ListLocally),
    (15, Act::Create),
    (50, Act::Update),
    (10, Act::Delete),
    (8, Act::Event),
];

/// A lease that takes events.
#[derive(Clone, Copy, Debug)]
struct EventLease {
    id: i64,
    until: Time,
    events: u32,
}

/// A slot that writes.
pub(super) struct Writer {
    author: Author,
    /// The modification revision of objects as they were seen last.
    known: BTreeMap<Blob, i64>,
    /// The object that the operation under way concerns.
    object: Option<Blob>,
    /// An object to look at before anything else.
    unsure: Option<Blob>,
    lease: Option<EventLease>,
    events: u64,
    slot: usize,
}

impl Writer {
    /// One that knows nothing.
    pub fn new(prefix: &str, slot: usize) -> Writer {
        Writer {
            author: Author::new(prefix, slot),
            known: BTreeMap::new(),
            object: None,
            unsure: None,
            lease: None,
            events: 0,
            slot,
        }
    }

    /// What it does next.
    pub fn call(&mut self, habits: &Habits, now: Time, stream: &mut ChaCha8Rng) -> Call {
        let resource = habits.resource(stream.below(habits.resources));
        let number = stream.below(habits.objects.max(1));
        let object = Blob::text(&format!("{resource}o{number}"));
        if let Some(unsure) = self.unsure.take() {
            let call = Call::Range(requests::get(&unsure));
            self.object = Some(unsure);
            return call;
        }
        self.object = Some(object.clone());
        let resource = Blob::text(&resource);
        let known = self.known.get(&object).copied();
        match (stream.weigh(&ACTS), known) {
            (Act::Create, _) | (Act::Update | Act::Delete, None) => {
                requests::create(&object, self.author.value(0), 0)
            }
            (Act::Update, Some(revision)) => {
                requests::update(&object, self.author.value(0), revision)
            }
            (Act::Delete, Some(revision)) => requests::delete(&object, revision),
            (Act::Get, _) => Call::Range(requests::get(&object)),
            (Act::Count, _) => {
                self.object = None;
                Call::Range(detsim_reports::record::Range {
                    count_only: true,
                    ..requests::all(&resource)
                })
            }
            (Act::ListLocally, _) => {
                self.object = None;
                Call::Range(detsim_reports::record::Range {
                    serializable: true,
                    ..requests::all(&resource)
                })
            }
            (Act::Event, _) => self.event(habits, now, stream),
        }
    }

    /// An event, or first a lease to put it on.
    fn event(&mut self, habits: &Habits, now: Time, stream: &mut ChaCha8Rng) -> Call {
        self.object = None;
        let is_open = |lease: &EventLease| lease.until > now && lease.events < EVENTS_PER_LEASE;
        match self.lease.as_mut().filter(|lease| is_open(lease)) {
            Some(lease) => {
                lease.events += 1;
                let lease = lease.id;
                self.events += 1;
                let name = format!("{}events/{}-{}", habits.prefix, self.slot, self.events);
                requests::create(&Blob::text(&name), self.author.value(0), lease)
            }
            None => {
                let ttl_s = stream.within(habits.ttl_s.0..=habits.ttl_s.1);
                Call::LeaseGrant { id: 0, ttl_s: ttl_s as i64 }
            }
        }
    }

    /// Takes in how that ended.
    pub fn completed(&mut self, call: &Call, outcome: &Outcome, now: Time) {
        if let Some(lease) = granted(outcome, now) {
            self.lease = Some(lease);
            return;
        }
        if let Outcome::Fail(text) = outcome
            && Refusal::from_text(text) == Some(Refusal::LeaseNotFound)
        {
            self.lease = None;
        }
        let Some(object) = self.object.take() else { return };
        if let Call::Range(_) = call {
            if let Some(found) = requests::found(outcome) {
                self.learn(object, found.map(|kv| kv.mod_revision));
            }
            return;
        }
        let creates = matches!(call, Call::Txn(txn) if txn.failure.is_empty());
        let deletes = matches!(call, Call::Txn(txn)
            if matches!(txn.success.first(), Some(TxnOp::DeleteRange(_))));
        match requests::wrote(outcome) {
            Wrote::Done(_) if deletes => self.learn(object, None),
            Wrote::Done(revision) => self.learn(object, Some(revision)),
            Wrote::Conflict(..) if creates => self.unsure = Some(object),
            Wrote::Conflict(found, _) => self.learn(object, found.map(|kv| kv.mod_revision)),
            Wrote::Lost => {
                self.known.remove(&object);
                self.unsure = Some(object);
            }
        }
    }

    fn learn(&mut self, object: Blob, revision: Option<i64>) {
        match revision {
            Some(revision) => self.known.insert(object, revision),
            None => self.known.remove(&object),
        };
    }
}

fn granted(outcome: &Outcome, now: Time) -> Option<EventLease> {
    let Outcome::Ok(reply) = outcome else { return None };
    let Body::LeaseGrant { id, ttl_s } = reply.body else { return None };
    let reused = Duration::from_millis(ttl_s.max(0) as u64 * 1_000 * REUSED_FOR / 100);
    Some(EventLease { id, until: now.after(reused), events: 0 })
}
