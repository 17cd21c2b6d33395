//! A candidate of a leader election by record: the object says who leads, the leader renews it, and
//! whoever has not seen it change for as long as the record is good for takes it over. Every write
//! compares the modification revision. The object, not the clock, decides who leads.

use std::time::Duration;

use detsim_reports::record::{Blob, Call, KeyValue, Outcome, Time};

use super::requests::{self, Wrote};
use crate::workload::author::Author;

/// How long a record is good for.
const GOOD_FOR: Duration = Duration::from_secs(3);
/// How often the leader renews it, and the others look.
pub(super) const EVERY: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_millis(900));

/// A slot that wants to lead.
pub(super) struct Candidate {
    author: Author,
    record: Blob,
    /// What it wrote last.
    own: Option<Blob>,
    writes: Option<Blob>,
    /// The record, and since when it is like that.
    seen: Option<(KeyValue, Time)>,
    is_missing: bool,
}

impl Candidate {
    /// One of those who share the record of this prefix.
    pub fn new(prefix: &str, slot: usize) -> Candidate {
        Candidate {
            author: Author::new(prefix, slot),
            record: Blob::text(&format!("{prefix}leases/manager")),
            own: None,
            writes: None,
            seen: None,
            is_missing: false,
        }
    }

    /// What it does next.
    pub fn call(&mut self, now: Time) -> Call {
        if std::mem::take(&mut self.is_missing) {
            let value = self.next_value();
            return requests::create(&self.record, value, 0);
        }
        let Some((kv, since)) = &self.seen else {
            return Call::Range(requests::get(&self.record));
        };
        let is_own = self.own.as_ref() == Some(&kv.value);
        if !is_own && now.since(*since) < GOOD_FOR {
            return Call::Range(requests::get(&self.record));
        }
        let revision = kv.mod_revision;
        let value = self.next_value();
        requests::update(&self.record, value, revision)
    }

    fn next_value(&mut self) -> Blob {
        let value = self.author.value(0);
        self.writes = Some(value.clone());
        value
    }

    /// Takes in how that ended.
    pub fn completed(&mut self, outcome: &Outcome, now: Time) {
        let found = match self.writes.take() {
            Some(value) => match requests::wrote(outcome) {
                Wrote::Done(mod_revision) => {
                    self.own = Some(value.clone());
                    Some(Some(KeyValue { value, mod_revision, ..KeyValue::default() }))
                }
                Wrote::Conflict(found, _) => found.map(Some),
                // It may have been written, so that what is there must be read.
                Wrote::Lost => {
                    (self.own, self.seen) = (Some(value), None);
                    None
                }
            },
            None => {
                let found = requests::found(outcome);
                self.is_missing = found == Some(None);
                found
            }
        };
        let Some(found) = found else { return };
        let is_same = matches!((&self.seen, &found), (Some((seen, _)), Some(kv))
            if seen.mod_revision == kv.mod_revision);
        if !is_same {
            self.seen = found.map(|kv| (kv, now));
        }
    }
}
