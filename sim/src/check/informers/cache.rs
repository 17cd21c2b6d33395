//! A cache as its informer builds it: from the pages of a list, and then event by event. Versions
//! count the changes of a key, so that a gap in them is a missed event, whoever wrote.

use std::collections::BTreeMap;

use detsim_reports::record::{Blob, Event, KeyValue, Operation, Range, WatchMessage};

use crate::check::describe;

/// What is wrong with what arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    pub rule: &'static str,
    pub text: String,
}

fn objection<T>(rule: &'static str, text: String) -> Result<T, Objection> {
    Err(Objection { rule, text })
}

/// The keys of an informer: `key` and `range_end`.
pub(super) type Keys = (Blob, Blob);

/// A list under way.
#[derive(Clone, Debug)]
pub(super) struct Listing<'a> {
    pub keys: Keys,
    pub revision: i64,
    pub content: BTreeMap<Blob, KeyValue>,
    pub is_complete: bool,
    pub is_serializable: bool,
    /// The operation of the last page.
    pub operation: &'a Operation,
}

impl<'a> Listing<'a> {
    /// The list that a range begins, if it is the first page of one.
    pub fn begin(range: &Range, revision: i64, operation: &'a Operation) -> Option<Listing<'a>> {
        let plain = Range {
            key: range.key.clone(),
            range_end: range.range_end.clone(),
            limit: range.limit,
            serializable: range.serializable,
            ..Range::default()
        };
        (plain == *range && !range.range_end.is_empty()).then(|| Listing {
            keys: (range.key.clone(), range.range_end.clone()),
            revision,
            content: BTreeMap::new(),
            is_complete: false,
            is_serializable: range.serializable,
            operation,
        })
    }

    /// Whether the range asks for the next page.
    pub fn is_continued_by(&self, range: &Range) -> bool {
        let last = self.content.keys().next_back();
        let next = last.map(|last| Blob([last.0.as_ref(), b"\0"].concat().into()));
        !self.is_complete
            && range.revision == self.revision
            && range.range_end == self.keys.1
            && next.as_ref() == Some(&range.key)
    }

    /// Takes a page in.
    pub fn add(
        &mut self,
        kvs: &[KeyValue],
        more: bool,
        operation: &'a Operation,
    ) -> Result<(), Objection> {
        self.operation = operation;
        self.is_complete = !more;
        for kv in kvs {
            if kv.mod_revision > self.revision {
                let text = format!(
                    "a page of the list at revision {} holds {}",
                    self.revision,
                    describe::key_value(kv)
                );
                return objection("page-from-future", text);
            }
            if self.content.keys().next_back().is_some_and(|last| *last >= kv.key) {
                let text = format!("the pages of a list are not in order: {:?} comes late", kv.key);
                return objection("pages-out-of-order", text);
            }
            self.content.insert(kv.key.clone(), kv.clone());
        }
        Ok(())
    }
}

/// A cache.
#[derive(Clone, Debug)]
pub(super) struct Cache<'a> {
    pub keys: Keys,
    pub content: BTreeMap<Blob, KeyValue>,
    /// Everything up to this revision is in it.
    pub known: i64,
    /// Events taken in.
    pub events: usize,
    /// The operation that it rests on.
    pub operation: &'a Operation,
}

impl<'a> Cache<'a> {
    /// What a list gave.
    pub fn of(listing: Listing<'a>) -> Cache<'a> {
        Cache {
            keys: listing.keys,
            content: listing.content,
            known: listing.revision,
            events: 0,
            operation: listing.operation,
        }
    }

    /// Takes a message in.
    pub fn receive(&mut self, message: &WatchMessage) -> Result<(), Objection> {
        let mut newest = self.known;
        for event in &message.events {
            let revision = event.kv.mod_revision;
            if revision <= self.known || revision < newest {
                let text = format!(
                    "it received the event of {:?} at revision {revision} when it was at {newest}",
                    event.kv.key
                );
                return objection("went-back", text);
            }
            newest = revision;
            self.apply(event)?;
        }
        // The rest of a revision may be in the next fragment.
        self.known = if message.fragment { self.known.max(newest - 1) } else { newest };
        if message.progress {
            if message.revision < self.known {
                let text = format!(
                    "it was told that it is at revision {} when it was at {}",
                    message.revision, self.known
                );
                return objection("went-back", text);
            }
            self.known = message.revision;
        }
        Ok(())
    }

    fn apply(&mut self, event: &Event) -> Result<(), Objection> {
        self.events += 1;
        let kv = &event.kv;
        let cached = self.content.get(&kv.key);
        let tell = |cached: Option<&KeyValue>| {
            cached.map_or_else(|| "nothing".to_owned(), describe::key_value)
        };
        let fits = match cached {
            None => !event.is_delete && kv.version == 1,
            Some(_) if event.is_delete => true,
            Some(cached) => {
                kv.version == cached.version + 1 && kv.create_revision == cached.create_revision
            }
        };
        if !fits {
            let what = if event.is_delete { "the delete of " } else { "" };
            let text = format!(
                "it received {what}{} at revision {} while its cache held {}",
                describe::key_value(kv),
                kv.mod_revision,
                tell(cached)
            );
            return objection("missed-event", text);
        }
        if event.prev_kv.is_some() && event.prev_kv.as_ref() != cached {
            let text = format!(
                "an event tells {} as the previous value while the cache held {}",
                tell(event.prev_kv.as_ref()),
                tell(cached)
            );
            return objection("wrong-previous", text);
        }
        if event.is_delete {
            self.content.remove(&kv.key);
        } else {
            self.content.insert(kv.key.clone(), kv.clone());
        }
        Ok(())
    }
}
