//! An informer: it lists a resource page by page at one revision, watches from there, goes on where
//! a watch ended, and lists again when history is gone. A list that is compacted between its pages
//! is asked for once more in one piece, as client-go does: pages could be too slow for ever.

use std::time::Duration;

use detsim_reports::record::{Blob, Body, Call, Outcome, Watch, WatchMessage};
use rand_chacha::ChaCha8Rng;

use super::Habits;
use super::requests;
use crate::model::Refusal;
use crate::seed::Draw;
use crate::workload::author::prefix_end;

/// How often it asks for progress, where it does.
const PROGRESS_MS: u64 = 300;

/// Where an informer is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Wants the next page: after this key at this revision, or the first.
    List(Option<(Blob, i64)>),
    /// Knows everything up to this revision.
    Watch(i64),
}

/// A slot that keeps a cache up to date.
#[derive(Debug)]
pub(super) struct Informer {
    resource: Blob,
    stage: Stage,
    is_open: bool,
    /// The watch was cancelled because history is compacted.
    is_expired: bool,
    /// A page was refused because history is compacted: the list is asked for without pages.
    lists_whole: bool,
}

impl Informer {
    /// Of a resource.
    pub fn new(resource: &str) -> Informer {
        Informer {
            resource: Blob::text(resource),
            stage: Stage::List(None),
            is_open: false,
            is_expired: false,
            lists_whole: false,
        }
    }

    /// Whether a watch is open.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// What it asks for next.
    pub fn call(&mut self, habits: &Habits, stream: &mut ChaCha8Rng) -> Call {
        match &self.stage {
            Stage::List(after) => {
                let after = after.as_ref().map(|(last, revision)| (last, *revision));
                let limit = if self.lists_whole { 0 } else { habits.page };
                requests::page(&self.resource, limit, after)
            }
            Stage::Watch(revision) => {
                self.is_open = true;
                let asks = stream.below(2) == 0;
                Call::Watch(Watch {
                    key: self.resource.clone(),
                    range_end: prefix_end(&self.resource),
                    start_revision: revision + 1,
                    prev_kv: true,
                    progress_notify: true,
                    request_progress_ms: if asks { PROGRESS_MS } else { 0 },
                    ..Watch::default()
                })
            }
        }
    }

    /// The watch received something.
    pub fn watched(&mut self, message: &WatchMessage) {
        let Stage::Watch(revision) = &mut self.stage else { return };
        if let Some(event) = message.events.last() {
            *revision = (*revision).max(event.kv.mod_revision);
        } else if message.progress {
            *revision = (*revision).max(message.revision);
        }
        self.is_expired |= message.canceled && message.compact_revision > 0;
    }

    /// Something ended. Tells how long to wait.
    pub fn completed(
        &mut self,
        outcome: &Outcome,
        stream: &mut ChaCha8Rng,
    ) -> (Duration, Duration) {
        const AT_ONCE: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(5));
        const AFTER_FAILURE: (Duration, Duration) =
            (Duration::from_millis(50), Duration::from_millis(800));
        if std::mem::take(&mut self.is_open) {
            // Now and then the cache is thrown away although nothing is wrong.
            if std::mem::take(&mut self.is_expired) || stream.below(8) == 0 {
                self.stage = Stage::List(None);
            }
            return if matches!(outcome, Outcome::Ok(_)) { AT_ONCE } else { AFTER_FAILURE };
        }
        match outcome {
            Outcome::Ok(reply) => {
                let Body::Range(body) = &reply.body else { return AFTER_FAILURE };
                let revision = match &self.stage {
                    Stage::List(Some((_, revision))) => *revision,
                    _ => reply.header.revision,
                };
                self.lists_whole = false;
                self.stage = match body.kvs.last().filter(|_| body.more) {
                    Some(last) => Stage::List(Some((last.key.clone(), revision))),
                    None => Stage::Watch(revision),
                };
                AT_ONCE
            }
            Outcome::Fail(text) if Refusal::from_text(text) == Some(Refusal::Compacted) => {
                (self.stage, self.lists_whole) = (Stage::List(None), true);
                AT_ONCE
            }
            Outcome::Fail(_) | Outcome::Unknown(_) => AFTER_FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use detsim_reports::record::{Header, RangeReply, Reply};
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_list_that_was_compacted_between_its_pages_is_asked_for_in_one_piece() {
        let habits =
            Habits { prefix: "/".to_owned(), resources: 1, objects: 9, page: 2, ttl_s: (1, 1) };
        let mut stream = ChaCha8Rng::seed_from_u64(1);
        let mut informer = Informer::new("/r0/");
        informer.stage = Stage::List(Some((Blob::text("/r0/3"), 7)));
        let limits = |informer: &mut Informer, stream: &mut ChaCha8Rng| {
            let Call::Range(range) = informer.call(&habits, stream) else { panic!("it lists") };
            (range.limit, range.revision)
        };
        assert_eq!(limits(&mut informer, &mut stream), (2, 7));
        let gone = Outcome::Fail(Refusal::Compacted.text().to_owned());
        informer.completed(&gone, &mut stream);
        assert_eq!(limits(&mut informer, &mut stream), (0, 0));
        informer.completed(&Outcome::Unknown("connection lost".to_owned()), &mut stream);
        assert_eq!(limits(&mut informer, &mut stream), (0, 0));
        let reply = Reply {
            header: Header { revision: 9, ..Header::default() },
            body: Body::Range(RangeReply::default()),
        };
        informer.completed(&Outcome::Ok(reply), &mut stream);
        assert_eq!((informer.lists_whole, &informer.stage), (false, &Stage::Watch(9)));
    }
}
