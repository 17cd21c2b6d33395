//! An informer: it lists a resource page by page at one revision, watches from there, goes on where
//! a watch ended, and lists again when history is gone.

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
}

impl Informer {
    /// Of a resource.
    pub fn new(resource: &str) -> Informer {
        Informer {
            resource: Blob::text(resource),
            stage: Stage::List(None),
            is_open: false,
            is_expired: false,
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
                requests::page(&self.resource, habits.page, after)
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
                self.stage = match body.kvs.last().filter(|_| body.more) {
                    Some(last) => Stage::List(Some((last.key.clone(), revision))),
                    None => Stage::Watch(revision),
                };
                AT_ONCE
            }
            Outcome::Fail(text) if Refusal::from_text(text) == Some(Refusal::Compacted) => {
                self.stage = Stage::List(None);
                AT_ONCE
            }
            Outcome::Fail(_) | Outcome::Unknown(_) => AFTER_FAILURE,
        }
    }
}
