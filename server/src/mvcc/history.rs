//! The versions of one key, oldest first. Most keys have one, so one is kept without a list.

use imbl::Vector;
use std::sync::Arc;

use super::change::Change;

/// Never empty, ascending by revision.
#[derive(Clone, Debug)]
pub(super) enum History {
    /// A single change.
    One(Arc<Change>),
    /// Two or more.
    Many(Arc<Vector<Arc<Change>>>),
}

impl History {
    /// The latest change.
    pub(super) fn newest(&self) -> &Arc<Change> {
        match self {
            History::One(change) => change,
            History::Many(changes) => changes.last().expect("a history has a change"),
        }
    }

    /// The earliest change that is still there.
    pub(super) fn oldest(&self) -> &Arc<Change> {
        match self {
            History::One(change) => change,
            History::Many(changes) => changes.front().expect("a history has a change"),
        }
    }

    /// The latest change of main revision `revision` or before.
    pub(super) fn at(&self, revision: i64) -> Option<&Arc<Change>> {
        let newest = self.newest();
        if newest.revision.main <= revision {
            return Some(newest);
        }
        match self {
            History::One(_) => None,
            History::Many(changes) => {
                let later = changes.binary_search_by(|change| {
                    change.revision.main.cmp(&revision).then(std::cmp::Ordering::Less)
                });
                let count = later.unwrap_or_else(|count| count);
                count.checked_sub(1).and_then(|last| changes.get(last))
            }
        }
    }

    /// Adds a change that is later than all others.
    pub(super) fn push(&mut self, change: Arc<Change>) {
        debug_assert!(self.newest().revision < change.revision);
        match self {
            History::One(first) => {
                let changes = [first.clone(), change].into_iter().collect();
                *self = History::Many(Arc::new(changes));
            }
            History::Many(changes) => Arc::make_mut(changes).push_back(change),
        }
    }

    /// Removes the earliest change, of which there must be a later one.
    pub(super) fn remove_oldest(&mut self) {
        let History::Many(changes) = self else {
            unreachable!("a history keeps its last change");
        };
        let changes = Arc::make_mut(changes);
        changes.pop_front();
        if changes.len() == 1 {
            let last = changes.pop_front().expect("it has one");
            *self = History::One(last);
        }
    }

    /// How many changes there are.
    pub(super) fn len(&self) -> usize {
        match self {
            History::One(_) => 1,
            History::Many(changes) => changes.len(),
        }
    }
}
