//! The versions of one key, oldest first. The newest stands apart: nearly all readers want it.

use imbl::Vector;
use std::cmp::Ordering;
use std::sync::Arc;

use super::change::Change;

/// Never empty, ascending by revision.
#[derive(Clone, Debug)]
pub(super) struct History {
    newest: Arc<Change>,
    /// All before the newest; absent if there are none.
    older: Option<Arc<Vector<Arc<Change>>>>,
}

impl History {
    /// Of a key's first change.
    pub(super) fn new(first: Arc<Change>) -> History {
        History { newest: first, older: None }
    }

    /// The latest change.
    pub(super) fn newest(&self) -> &Arc<Change> {
        &self.newest
    }

    /// The earliest change that is still there.
    pub(super) fn oldest(&self) -> &Arc<Change> {
        let oldest = self.older.as_ref().and_then(|older| older.front());
        oldest.unwrap_or(&self.newest)
    }

    /// The change that follows the earliest.
    pub(super) fn second_oldest(&self) -> Option<&Arc<Change>> {
        self.older.as_ref().map(|older| older.get(1).unwrap_or(&self.newest))
    }

    /// The latest change of main revision `revision` or before.
    pub(super) fn at(&self, revision: i64) -> Option<&Arc<Change>> {
        if self.newest.revision.main <= revision {
            return Some(&self.newest);
        }
        let older = self.older.as_ref()?;
        let side = |change: &Arc<Change>| change.revision.main.cmp(&revision).then(Ordering::Less);
        let later = older.binary_search_by(side).unwrap_or_else(|count| count);
        later.checked_sub(1).and_then(|last| older.get(last))
    }

    /// Adds a change that is later than all others.
    pub(super) fn push(&mut self, change: Arc<Change>) {
        debug_assert!(self.newest.revision < change.revision);
        let before = std::mem::replace(&mut self.newest, change);
        Arc::make_mut(self.older.get_or_insert_default()).push_back(before);
    }

    /// Removes the earliest change, unless that is also the newest. Returns whether it did.
    pub(super) fn remove_oldest(&mut self) -> bool {
        let Some(older) = &mut self.older else { return false };
        let changes = Arc::make_mut(older);
        changes.pop_front();
        if changes.is_empty() {
            self.older = None;
        }
        true
    }
}
