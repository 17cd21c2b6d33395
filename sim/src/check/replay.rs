//! The log applied to the model, entry by entry.
//!
//! A member may refuse an entry for a reason that lies in neither keys nor leases: no space, a
//! corrupt cluster, no permission. The model cannot know that. An entry whose operation was not
//! acknowledged is therefore taken to have had no effect when the members' revision says so. This
//! is a hypothesis about what the log did, never about what a reply may say.

use std::collections::BTreeMap;

use detsim_reports::record::{Committed, History, Internals};

use super::fate::{Fate, fate};
use crate::model::{Answer, Model, Refusal};

/// What members said of the revision after each entry.
pub(super) struct Replay<'a> {
    history: &'a History,
    revisions: BTreeMap<(u64, u64), i64>,
}

impl<'a> Replay<'a> {
    /// For the log of these internals.
    pub fn new(history: &'a History, internals: &Internals) -> Replay<'a> {
        let mut revisions = BTreeMap::new();
        for applied in &internals.applied {
            revisions.entry((applied.cluster, applied.index)).or_insert(applied.revision);
        }
        Replay { history, revisions }
    }

    /// Applies an entry. `None` when it concerns neither keys nor leases, or had no effect for a
    /// reason that the model does not know.
    pub fn apply(&self, model: &mut Model, entry: &Committed) -> Option<Result<Answer, Refusal>> {
        let mark = model.mark();
        let result = model.apply_command(&entry.command)?;
        let operation = entry.op.and_then(|op| self.history.operations.get(op.0 as usize));
        let is_refused = match operation.map(fate) {
            Some(Fate::Failed | Fate::Unknown) => match self.told(entry) {
                Some(revision) => {
                    revision == mark.revision() && model.revision() != mark.revision()
                }
                None => false,
            },
            _ => false,
        };
        let is_quietly_failed = operation.map(fate) == Some(Fate::Failed)
            && model.revision() == mark.revision()
            && self.told(entry) == Some(mark.revision());
        if is_refused || is_quietly_failed {
            model.take_back(mark);
            return None;
        }
        Some(result)
    }

    fn told(&self, entry: &Committed) -> Option<i64> {
        self.revisions.get(&(entry.cluster, entry.index)).copied()
    }
}
