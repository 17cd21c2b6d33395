//! What a store has changed and a database does not have yet.

use std::sync::Arc;

use super::change::Change;
use super::revision::Revision;

/// One step of a store, as far as the database holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// A put or a delete was recorded.
    Recorded(Arc<Change>),
    /// Compaction removed a put or, where the flag is set, a tombstone.
    Removed(Revision, bool),
    /// A compaction at this revision was begun.
    Scheduled(i64),
    /// A compaction at this revision removed all that it removes.
    Finished(i64),
}

/// The steps that nobody took yet; nothing, until somebody wants them.
#[derive(Debug, Default)]
pub(super) struct WrittenLog(Option<Vec<Written>>);

impl WrittenLog {
    pub(super) fn begin(&mut self) {
        self.0.get_or_insert_default();
    }

    pub(super) fn add(&mut self, written: impl FnOnce() -> Written) {
        if let Some(log) = &mut self.0 {
            log.push(written());
        }
    }

    pub(super) fn take(&mut self) -> Vec<Written> {
        self.0.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
