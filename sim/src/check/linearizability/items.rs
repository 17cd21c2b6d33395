//! A history as the search takes it: operations that must be placed, with their intervals and the
//! revisions that their replies allow, and operations that may be placed.

use std::collections::BTreeMap;
use std::time::Duration;

use detsim_reports::record::{
    Blob, Body, Call, History, Operation, Reply, Time, TxnOp, UNRECORDED,
};

use crate::check::agreement::Disagreement;
use crate::check::describe;
use crate::check::fate::{Fate, fate, is_linearizable_read, is_write, resolved};
use crate::check::report::{Evidence, Violation};
use crate::check::steps::has_changes;
use crate::model::{Model, Refusal};

/// What an operation's end says of the state that it met.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim<'a> {
    /// This was the reply.
    Reply(&'a Reply),
    /// It was refused for this.
    Refusal(Refusal),
    /// Nothing: it may have taken effect or not.
    None,
}

/// An operation to place.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    /// The operation; `None` for the expiry of a lease.
    pub operation: Option<&'a Operation>,
    /// What it does.
    pub call: Call,
    /// What it says.
    pub claim: Claim<'a>,
    /// It takes effect after this,
    pub invoked: Time,
    /// and before this.
    pub returned: Time,
    /// When it is to be expected: a lease ends so long after it was last kept alive as it lives.
    pub due: Time,
    /// The lowest and highest revision at which its reply says that it took effect.
    pub met: (i64, i64),
}

impl Item<'_> {
    /// For explanations.
    pub fn describe(&self) -> String {
        match self.operation {
            Some(operation) => describe::operation(operation),
            None => format!("the expiry of a lease ({})", describe::call(&self.call)),
        }
    }

    /// Why the present state contradicts its claim, if it does. `result` is what the model says to
    /// the call.
    pub fn objection(
        &self,
        model: &Model,
        result: &Result<crate::model::Answer, Refusal>,
    ) -> Option<Disagreement> {
        let wrong = |text| Some(Disagreement { rule: "wrong-reply", text });
        match (self.claim, result) {
            (Claim::Reply(reply), Ok(answer)) => {
                crate::check::agreement::disagreement(&self.call, answer, reply)
            }
            (Claim::Reply(_), Err(refusal)) => {
                wrong(format!("it was answered instead of refused: {}", refusal.text()))
            }
            (Claim::Refusal(refusal), Err(first))
                if refusal == *first || model.refusals(&self.call).contains(&refusal) =>
            {
                None
            }
            (Claim::Refusal(refusal), _) => {
                wrong(format!("it was refused without reason: {}", refusal.text()))
            }
            (Claim::None, _) => None,
        }
    }
}

/// The history, sorted.
pub(super) struct Items<'a> {
    /// What must be placed, by invocation.
    pub required: Vec<Item<'a>>,
    /// What may be placed, by invocation.
    pub optional: Vec<Item<'a>>,
    /// What no state can explain.
    pub impossible: Vec<Violation>,
}

/// Sorts the history's operations.
pub(super) fn items(history: &History) -> Items<'_> {
    let mut items = Items { required: Vec::new(), optional: Vec::new(), impossible: Vec::new() };
    let empty = Model::new(&history.settings);
    let kept = kept_alive(history);
    for operation in &history.operations {
        if !is_write(&operation.call) && !is_linearizable_read(&operation.call) {
            continue;
        }
        let stateless = empty.refusals(&operation.call).into_iter().find(|r| r.is_static());
        match (fate(operation), stateless) {
            (Fate::Failed, _) | (Fate::Unknown, Some(_)) => {}
            (Fate::Refused(refusal), Some(expected)) if refusal == expected => {}
            (Fate::Answered(_) | Fate::Refused(_), Some(expected)) => {
                let text = format!("it must be refused with {:?}", expected.text());
                items.impossible.push(impossible(operation, &text));
            }
            (Fate::Refused(refusal), None) if refusal.is_static() => {
                let text = format!("it was refused without reason: {}", refusal.text());
                items.impossible.push(impossible(operation, &text));
            }
            (Fate::Answered(reply), None) => {
                items.expiry(operation, &kept);
                items.required.push(required(operation, Claim::Reply(reply), met(reply)));
            }
            (Fate::Refused(refusal), None) => {
                let claim = Claim::Refusal(refusal);
                items.required.push(required(operation, claim, (i64::MIN, i64::MAX)));
            }
            (Fate::Unknown, None) => {
                if is_write(&operation.call)
                    && let Some(call) = resolved(operation)
                {
                    items.expiry(operation, &kept);
                    items.optional.push(optional(Some(operation), call, operation.invoked));
                }
            }
        }
    }
    items.required.sort_by_key(|item| item.invoked);
    items.optional.sort_by_key(|item| item.invoked);
    items
}

impl Items<'_> {
    /// A granted lease may expire at any time, and is expected to when it is due.
    fn expiry(&mut self, operation: &Operation, kept: &BTreeMap<i64, Time>) {
        if let Some(Call::LeaseGrant { id, ttl_s }) = resolved(operation) {
            let since =
                kept.get(&id).map_or(operation.invoked, |kept| operation.invoked.max(*kept));
            let due = since.after(Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0)));
            let call = Call::LeaseRevoke { id };
            self.optional.push(Item { due, ..optional(None, call, operation.invoked) });
        }
    }
}

/// When each lease was kept alive for the last time.
fn kept_alive(history: &History) -> BTreeMap<i64, Time> {
    let mut kept = BTreeMap::new();
    for operation in &history.operations {
        if let (&Call::LeaseKeepAlive { id }, Fate::Answered(_)) =
            (&operation.call, fate(operation))
        {
            let last: &mut Time = kept.entry(id).or_default();
            *last = operation.invoked.max(*last);
        }
    }
    kept
}

fn required<'a>(operation: &'a Operation, claim: Claim<'a>, met: (i64, i64)) -> Item<'a> {
    let call = resolved(operation).unwrap_or_else(|| operation.call.clone());
    let (invoked, returned) = (operation.invoked, operation.completed);
    Item { operation: Some(operation), call, claim, invoked, returned, due: invoked, met }
}

fn optional(operation: Option<&Operation>, call: Call, invoked: Time) -> Item<'_> {
    let met = (i64::MIN, i64::MAX);
    Item { operation, call, claim: Claim::None, invoked, returned: Time::NEVER, due: invoked, met }
}

fn impossible(operation: &Operation, text: &str) -> Violation {
    Violation {
        rule: "wrong-reply",
        evidence: Evidence::of(&[operation]),
        explanation: format!("{}: {text}", describe::operation(operation)),
    }
}

/// The revisions that the state can have had before the operation, by its reply.
fn met(reply: &Reply) -> (i64, i64) {
    let after = reply.header.revision;
    if after == UNRECORDED {
        return (i64::MIN, i64::MAX);
    }
    let before = match &reply.body {
        Body::Put { .. } => after - 1,
        Body::DeleteRange { deleted, .. } => after - i64::from(*deleted > 0),
        Body::Txn(reply) => after - i64::from(has_changes(reply)),
        Body::LeaseRevoke => return (after - 1, after),
        // It tells the newest revision when the reply is sent.
        Body::Compact => return (i64::MIN, after),
        _ => after,
    };
    (before, before)
}

/// Calls `visit` with every key that the call may put.
pub(super) fn puts<'a>(call: &'a Call, visit: &mut impl FnMut(&'a Blob)) {
    fn branch<'a>(ops: &'a [TxnOp], visit: &mut impl FnMut(&'a Blob)) {
        for op in ops {
            match op {
                TxnOp::Put(put) => visit(&put.key),
                TxnOp::Txn(txn) => {
                    branch(&txn.success, visit);
                    branch(&txn.failure, visit);
                }
                TxnOp::Range(_) | TxnOp::DeleteRange(_) => {}
            }
        }
    }
    match call {
        Call::Put(put) => visit(&put.key),
        Call::Txn(txn) => {
            branch(&txn.success, visit);
            branch(&txn.failure, visit);
        }
        _ => {}
    }
}

/// What an effect without a revision of its own depends on or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Whether this lease exists.
    Lease(i64),
    /// The compact revision.
    Compaction,
}

/// Whether the call's outcome depends on the resource or changes it.
pub(super) fn touches(call: &Call, resource: Resource) -> bool {
    fn branch(ops: &[TxnOp], resource: Resource) -> bool {
        ops.iter().any(|op| match (op, resource) {
            (TxnOp::Put(put), Resource::Lease(id)) => put.lease == id,
            (TxnOp::Range(range), Resource::Compaction) => range.revision != 0,
            (TxnOp::Txn(txn), _) => {
                branch(&txn.success, resource) || branch(&txn.failure, resource)
            }
            _ => false,
        })
    }
    match (call, resource) {
        (Call::Put(put), Resource::Lease(id)) => put.lease == id,
        (Call::LeaseGrant { id, .. } | Call::LeaseRevoke { id }, Resource::Lease(other)) => {
            *id == other
        }
        (Call::Range(range), Resource::Compaction) => range.revision != 0,
        (Call::Compact { .. }, Resource::Compaction) => true,
        (Call::Txn(txn), _) => branch(&txn.success, resource) || branch(&txn.failure, resource),
        _ => false,
    }
}

/// The resource that a call changes when it takes no revision.
pub(super) fn resource(call: &Call) -> Option<Resource> {
    match call {
        Call::LeaseGrant { id, .. } | Call::LeaseRevoke { id } => Some(Resource::Lease(*id)),
        Call::Compact { .. } => Some(Resource::Compaction),
        _ => None,
    }
}
