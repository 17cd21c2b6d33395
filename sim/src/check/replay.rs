//! The log applied to the model, entry by entry.
//!
//! A member may refuse an entry for a reason that lies in neither keys nor leases: no space, a
//! corrupt cluster, no permission. The model cannot know that. An entry whose operation was not
//! acknowledged is therefore taken to have had no effect when the members' revision says so. This
//! is a hypothesis about what the log did, never about what a reply may say.

use std::cell::OnceCell;

use detsim_reports::record::{Applied, Committed, History, Internals};

use super::fate::{Fate, fate};
use crate::model::{Answer, Model, Refusal};

/// What members said of the revision after each entry.
pub(super) struct Replay<'a> {
    history: &'a History,
    internals: &'a Internals,
    /// By cluster and index, once anybody asks.
    revisions: OnceCell<Vec<((u64, u64), i64)>>,
}

impl<'a> Replay<'a> {
    /// For the log of these internals.
    pub fn new(history: &'a History, internals: &'a Internals) -> Replay<'a> {
        Replay { history, internals, revisions: OnceCell::new() }
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
        let revisions = self.revisions.get_or_init(|| revisions(self.internals));
        let at = revisions.binary_search_by_key(&(entry.cluster, entry.index), |(at, _)| *at);
        at.ok().map(|at| revisions[at].1)
    }
}

/// The revision after each entry, as the first member that applied it said.
fn revisions(internals: &Internals) -> Vec<((u64, u64), i64)> {
    let of = |applied: &Applied| ((applied.cluster, applied.index), applied.revision);
    let mut revisions: Vec<_> = internals.applied.iter().map(of).collect();
    revisions.sort_by_key(|(at, _)| *at);
    revisions.dedup_by_key(|(at, _)| *at);
    revisions
}
