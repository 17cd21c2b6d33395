//! The log applied to the model, entry by entry.
//!
//! While an alarm is active, which the log tells, what it forbids has no effect. A member may
//! refuse an entry for other reasons that lie in neither keys nor leases: its quota, no permission.
//! The model cannot know that. An entry whose operation was not acknowledged is therefore taken to
//! have had no effect when the members' revision says so. This is a hypothesis about what the log
//! did, never about what a reply may say.

use std::cell::OnceCell;

use detsim_reports::record::{
    Alarm, AlarmEntry, Applied, Call, Command, Committed, History, Internals, Txn, TxnOp,
};

use super::fate::{Fate, fate, is_write};
use crate::model::{Answer, Model, Refusal};

/// What members said of the revision after each entry.
pub(super) struct Replay<'a> {
    history: &'a History,
    internals: &'a Internals,
    /// By cluster and index, once anybody asks.
    revisions: OnceCell<Vec<((u64, u64), i64)>>,
    alarms: Vec<AlarmEntry>,
}

impl<'a> Replay<'a> {
    /// For the log of these internals.
    pub fn new(history: &'a History, internals: &'a Internals) -> Replay<'a> {
        Replay { history, internals, revisions: OnceCell::new(), alarms: Vec::new() }
    }

    /// Applies an entry. `None` when it concerns neither keys nor leases, or had no effect for a
    /// reason that the model does not know.
    pub fn apply(
        &mut self,
        model: &mut Model,
        entry: &Committed,
    ) -> Option<Result<Answer, Refusal>> {
        self.note_alarms(entry);
        if self.is_forbidden(entry) {
            return None;
        }
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

    fn note_alarms(&mut self, entry: &Committed) {
        match &entry.command {
            Command::Client(Call::AlarmRaise(alarm)) => self.alarms.push(*alarm),
            Command::Client(Call::AlarmDisarm(alarm)) => {
                self.alarms.retain(|active| active != alarm);
            }
            _ => {}
        }
    }

    /// Whether an active alarm takes the entry's effect.
    fn is_forbidden(&self, entry: &Committed) -> bool {
        let is_active = |alarm| self.alarms.iter().any(|active| active.alarm == alarm);
        match &entry.command {
            Command::LeaseExpired { .. } => is_active(Alarm::Corrupt),
            Command::Client(call) => {
                is_write(call) && is_active(Alarm::Corrupt)
                    || takes_space(call) && is_active(Alarm::NoSpace)
            }
            _ => false,
        }
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

/// Whether the request may need space.
fn takes_space(call: &Call) -> bool {
    match call {
        Call::Put(_) | Call::LeaseGrant { .. } => true,
        Call::Txn(txn) => has_put(txn),
        _ => false,
    }
}

fn has_put(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::Put(_) => true,
        TxnOp::Range(_) | TxnOp::DeleteRange(_) => false,
        TxnOp::Txn(nested) => has_put(nested),
    })
}
