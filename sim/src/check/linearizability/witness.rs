//! The raft log as a witness of linearizability. The log claims an order of effects; this verifies
//! the claim in one pass: the model applies the entries one by one, every reply must be the
//! model's, and the resulting order must respect real time.
//!
//! Writes stand where the log has them. A read, or a request refused without an entry, is put into
//! the first gap between entries where the state fits its outcome and nothing that had returned
//! when it was invoked is still to come. The first gap is always the best. Where none is found, the
//! claim is refuted; whether another order exists is for the search to say.

use std::cmp::Reverse;

use detsim_reports::record::{
    Body, Call, Command, Committed, History, Internals, OpId, Operation, Reply, Time,
};

use super::timeline::{Basis, Timeline};
use crate::check::agreement::{Disagreement, disagreement};
use crate::check::describe;
use crate::check::fate::{Fate, fate, is_linearizable_read, is_write};
use crate::check::replay::Replay;
use crate::check::report::{Evidence, Violation};
use crate::check::steps::has_changes;
use crate::model::{Model, Refusal};

/// What came of the claim.
pub(super) struct Testimony {
    /// The order that the log claims.
    pub timeline: Timeline,
    /// What contradicts it; nothing, if it is verified.
    pub violations: Vec<Violation>,
    /// Operations that were placed in the order.
    pub placed: usize,
    /// Log entries applied.
    pub entries: usize,
}

/// Verifies the log's claim. `Err` says why the log cannot serve.
pub(super) fn verify(history: &History, internals: &Internals) -> Result<Testimony, String> {
    let entries = usable(history, internals)?;
    let mut pass = Pass::new(history, entries, Replay::new(history, internals));
    pass.link();
    pass.sort_guests();
    pass.settle(0);
    for (place, entry) in entries.iter().enumerate() {
        pass.apply(place, entry);
        pass.settle(place + 1);
    }
    pass.flush();
    pass.real_time();
    if pass.violations.is_empty() {
        pass.timeline.basis = Basis::Witness;
    }
    Ok(Testimony {
        timeline: pass.timeline,
        violations: pass.violations,
        placed: pass.order.len(),
        entries: entries.len(),
    })
}

/// The log that holds the history's writes, if there is one and only one, from its first entry on.
fn usable<'a>(history: &History, internals: &'a Internals) -> Result<&'a [Committed], String> {
    let entries = internals.committed.as_slice();
    let Some(first) = entries.first() else {
        return Err("no log was recorded".to_owned());
    };
    if entries.iter().any(|entry| entry.cluster != first.cluster) {
        return Err("the run holds several clusters, each with a log of its own".to_owned());
    }
    for (place, entry) in entries.iter().enumerate() {
        if entry.index != place as u64 + 1 {
            return Err(format!("the log holds no entry {}", place + 1));
        }
        if entry.op.is_some_and(|op| op.0 as usize >= history.operations.len()) {
            return Err(format!("entry {} is owed to an unknown operation", entry.index));
        }
    }
    Ok(entries)
}

/// An operation's place in the final order: in the gap before the entry of this number, or as the
/// entry itself.
#[derive(Clone, Copy)]
struct Placed {
    gap: usize,
    is_entry: bool,
    op: OpId,
    invoked: Time,
    returned: Time,
}

/// A read, or a request refused without an entry: it waits for its gap.
#[derive(Clone, Copy)]
struct Guest<'a> {
    operation: &'a Operation,
    claim: Claim<'a>,
}

#[derive(Clone, Copy)]
enum Claim<'a> {
    Reply(&'a Reply),
    Refusal(Refusal),
}

struct Pass<'a> {
    history: &'a History,
    entries: &'a [Committed],
    replay: Replay<'a>,
    timeline: Timeline,
    violations: Vec<Violation>,
    /// For each gap, when the first of the operations whose entries follow had returned.
    latest: Vec<Time>,
    /// When the last of the operations whose entries were applied was invoked.
    earliest: Time,
    /// Reads, by the revision that they claim, the next one last.
    reads: Vec<Guest<'a>>,
    /// Refused requests by invocation, the next one last.
    refused: Vec<Guest<'a>>,
    /// Those whose turn it is, by invocation, with the last gap's objection if it was tried.
    open: Vec<(Guest<'a>, Option<Disagreement>)>,
    /// All guests by return; those before `next_return` are settled.
    by_return: Vec<&'a Operation>,
    next_return: usize,
    is_settled: Vec<bool>,
    order: Vec<Placed>,
    /// The entry of each operation, if any.
    entry_of: Vec<Option<usize>>,
}

impl Guest<'_> {
    /// The revision that it claims, if it claims one.
    fn revision(&self) -> i64 {
        match self.claim {
            Claim::Reply(reply) => reply.header.revision,
            Claim::Refusal(_) => 0,
        }
    }
}

impl<'a> Pass<'a> {
    fn new(history: &'a History, entries: &'a [Committed], replay: Replay<'a>) -> Pass<'a> {
        let mut latest = vec![Time::NEVER; entries.len() + 1];
        for (place, entry) in entries.iter().enumerate().rev() {
            let returned =
                entry.op.map_or(Time::NEVER, |op| returned(&history.operations[op.0 as usize]));
            latest[place] = latest[place + 1].min(returned);
        }
        Pass {
            history,
            entries,
            replay,
            timeline: Timeline::new(Model::new(&history.settings), Basis::Log),
            violations: Vec::new(),
            latest,
            earliest: Time::ZERO,
            reads: Vec::new(),
            refused: Vec::new(),
            open: Vec::new(),
            by_return: Vec::new(),
            next_return: 0,
            is_settled: vec![false; history.operations.len()],
            order: Vec::with_capacity(history.operations.len()),
            entry_of: vec![None; history.operations.len()],
        }
    }

    fn operation(&self, op: OpId) -> &'a Operation {
        &self.history.operations[op.0 as usize]
    }

    fn violate(&mut self, rule: &'static str, operations: &[&Operation], explanation: String) {
        self.violations.push(Violation { rule, evidence: Evidence::of(operations), explanation });
    }

    /// Every write has the entries that it must have, and no other.
    fn link(&mut self) {
        for (place, entry) in self.entries.iter().enumerate() {
            let Some(op) = entry.op else { continue };
            let operation = self.operation(op);
            if let Some(first) = self.entry_of[op.0 as usize].replace(place) {
                let first = self.entries[first].index;
                let text = format!(
                    "{} is in the log twice, as entries {first} and {}",
                    describe::operation(operation),
                    entry.index
                );
                self.violate("double-write", &[operation], text);
            }
            if operation.invoked > entry.at {
                let text = format!(
                    "{} was applied as entry {} before it was invoked",
                    describe::operation(operation),
                    entry.index
                );
                self.violate("future-write", &[operation], text);
            }
        }
        for operation in &self.history.operations {
            if self.entry_of[operation.id.0 as usize].is_none()
                && is_write(&operation.call)
                && matches!(fate(operation), Fate::Answered(_))
            {
                let text = format!(
                    "{} was acknowledged but is not in the log",
                    describe::operation(operation)
                );
                self.violate("lost-write", &[operation], text);
            }
        }
    }

    /// Finds what must be placed in gaps.
    fn sort_guests(&mut self) {
        for operation in &self.history.operations {
            if self.entry_of[operation.id.0 as usize].is_some() {
                continue;
            }
            let is_read = is_linearizable_read(&operation.call);
            match fate(operation) {
                Fate::Answered(reply) if is_read => {
                    self.reads.push(Guest { operation, claim: Claim::Reply(reply) });
                    self.by_return.push(operation);
                }
                Fate::Refused(refusal) if is_read || is_write(&operation.call) => {
                    if !refusal.is_static() {
                        self.refused.push(Guest { operation, claim: Claim::Refusal(refusal) });
                        self.by_return.push(operation);
                    } else if !self.timeline.model.refusals(&operation.call).contains(&refusal) {
                        self.refused_without_reason(operation, refusal);
                    }
                }
                _ => {}
            }
        }
        let by = |guest: &Guest<'_>| Reverse((guest.revision(), guest.operation.invoked));
        self.reads.sort_by_key(by);
        self.refused.sort_by_key(by);
        self.by_return.sort_by_key(|operation| operation.completed);
    }

    fn refused_without_reason(&mut self, operation: &Operation, refusal: Refusal) {
        let text = format!(
            "{} was refused without reason: {}",
            describe::operation(operation),
            refusal.text()
        );
        self.violate("wrong-reply", &[operation], text);
    }

    fn push(&mut self, operation: &Operation, gap: usize, is_entry: bool) {
        self.order.push(Placed {
            gap,
            is_entry,
            op: operation.id,
            invoked: operation.invoked,
            returned: returned(operation),
        });
    }

    /// Applies an entry and holds its operation's outcome against what it does.
    fn apply(&mut self, place: usize, entry: &'a Committed) {
        let before = self.timeline.model.revision();
        let result = self.replay.apply(&mut self.timeline.model, entry);
        let revision = self.timeline.model.revision();
        if revision != before {
            self.close_revision(place);
        }
        if let Some(op) = entry.op {
            let operation = self.operation(op);
            self.earliest = self.earliest.max(operation.invoked);
            self.push(operation, place, true);
            self.outcome_fits(operation, entry, result);
        } else if let Command::Client(call) = &entry.command
            && is_write(call)
            && !matches!(call, Call::Compact { .. })
        {
            let text =
                format!("entry {} ({}) is owed to no operation", entry.index, describe::call(call));
            self.violate("unowed-write", &[], text);
        }
        self.timeline.note(self.earliest, self.earliest);
    }

    fn outcome_fits(
        &mut self,
        operation: &'a Operation,
        entry: &Committed,
        result: Option<Result<crate::model::Answer, Refusal>>,
    ) {
        let Some(result) = result else {
            if matches!(fate(operation), Fate::Answered(_)) && is_write(&operation.call) {
                let text = format!(
                    "{} is entry {}, which had no effect",
                    describe::operation(operation),
                    entry.index
                );
                self.violate("lost-write", &[operation], text);
            }
            return;
        };
        let Command::Client(call) = &entry.command else { return };
        if !is_same_request(call, &operation.call) {
            let text = format!(
                "{} is entry {} as {}",
                describe::operation(operation),
                entry.index,
                describe::call(call)
            );
            self.violate("altered-write", &[operation], text);
        }
        let found = match (fate(operation), result) {
            (Fate::Unknown, _) => None,
            (Fate::Answered(reply), Ok(answer)) => disagreement(call, &answer, reply),
            (Fate::Answered(_), Err(refusal)) => Some(Disagreement {
                rule: "wrong-reply",
                text: format!("it was answered instead of refused: {}", refusal.text()),
            }),
            (Fate::Refused(refusal), Err(expected)) if refusal == expected => None,
            (Fate::Refused(refusal), Err(_))
                if self.timeline.model.refusals(call).contains(&refusal) =>
            {
                None
            }
            (Fate::Refused(refusal), Err(expected)) => Some(Disagreement {
                rule: "wrong-reply",
                text: format!("it says {:?} instead of {:?}", refusal.text(), expected.text()),
            }),
            (Fate::Failed, Ok(answer)) if is_without_effect(&answer.body) => None,
            (Fate::Refused(_) | Fate::Failed, Ok(_)) => Some(Disagreement {
                rule: "failed-write-applied",
                text: "the client was told that it failed, but it took effect".to_owned(),
            }),
            (Fate::Failed, Err(_)) => None,
        };
        if let Some(found) = found {
            let text = format!(
                "{} is entry {}: {}",
                describe::operation(operation),
                entry.index,
                found.text
            );
            self.violate(found.rule, &[operation], text);
        }
    }

    /// Places what fits into the gap before entry `gap`.
    fn settle(&mut self, gap: usize) {
        let revision = self.timeline.model.revision();
        let latest = self.latest[gap];
        let before = self.open.len();
        while let Some(guest) = self.reads.pop_if(|guest| guest.revision() <= revision) {
            self.open.push((guest, None));
        }
        while let Some(guest) = self.refused.pop_if(|guest| guest.operation.invoked <= latest) {
            self.open.push((guest, None));
        }
        if self.open.len() > before {
            self.open.sort_by_key(|(guest, _)| guest.operation.invoked);
        }
        for (guest, mut objection) in std::mem::take(&mut self.open) {
            let operation = guest.operation;
            if operation.invoked <= latest.min(self.first_return()) {
                objection = self.objection(guest);
                if objection.is_none() {
                    self.host(operation, gap);
                    continue;
                }
            }
            match guest.claim {
                Claim::Refusal(refusal) if operation.completed < self.earliest => {
                    self.is_settled[operation.id.0 as usize] = true;
                    self.refused_without_reason(operation, refusal);
                }
                _ => self.open.push((guest, objection)),
            }
        }
    }

    /// When the first guest that is not settled had returned.
    fn first_return(&mut self) -> Time {
        while let Some(operation) = self.by_return.get(self.next_return) {
            if !self.is_settled[operation.id.0 as usize] {
                return operation.completed;
            }
            self.next_return += 1;
        }
        Time::NEVER
    }

    /// The guest stands in this gap.
    fn host(&mut self, operation: &Operation, gap: usize) {
        self.is_settled[operation.id.0 as usize] = true;
        self.push(operation, gap, false);
    }

    /// Why the present state does not fit the outcome, if it does not.
    fn objection(&self, guest: Guest<'_>) -> Option<Disagreement> {
        let model = &self.timeline.model;
        let call = &guest.operation.call;
        let refusals = model.refusals(call);
        let text = match (guest.claim, refusals.first()) {
            (Claim::Reply(reply), None) => {
                return disagreement(call, &model.read_at(call, model.revision()), reply);
            }
            (Claim::Reply(_), Some(refusal)) => {
                format!("it was answered instead of refused: {}", refusal.text())
            }
            (Claim::Refusal(refusal), _) if refusals.contains(&refusal) => return None,
            (Claim::Refusal(refusal), _) => {
                format!("it was refused without reason: {}", refusal.text())
            }
        };
        Some(Disagreement { rule: "wrong-reply", text })
    }

    /// The state leaves a revision with the entry at `place`: reads that claim it and found no gap
    /// are placed last if their content is right, for real time to object to.
    fn close_revision(&mut self, place: usize) {
        for (guest, objection) in std::mem::take(&mut self.open) {
            let Claim::Reply(reply) = guest.claim else {
                self.open.push((guest, objection));
                continue;
            };
            let call = &guest.operation.call;
            let objection = objection.or_else(|| {
                let expected = self.timeline.model.read_at(call, reply.header.revision);
                disagreement(call, &expected, reply)
            });
            match objection {
                None => self.host(guest.operation, place),
                Some(objection) => self.give_up(guest.operation, &objection),
            }
        }
    }

    /// What found no gap is wrong.
    fn give_up(&mut self, operation: &Operation, found: &Disagreement) {
        self.is_settled[operation.id.0 as usize] = true;
        let text = format!("{}: {}", describe::operation(operation), found.text);
        self.violate(found.rule, &[operation], text);
    }

    /// The log is over.
    fn flush(&mut self) {
        for (guest, objection) in std::mem::take(&mut self.open) {
            let found = objection.unwrap_or(Disagreement {
                rule: "real-time-order",
                text: "it must stand behind another that found no place".to_owned(),
            });
            self.give_up(guest.operation, &found);
        }
        let newest = self.timeline.model.revision();
        for guest in std::mem::take(&mut self.reads) {
            let text = format!(
                "{} was answered at revision {}, but the log reaches only {newest}",
                describe::operation(guest.operation),
                guest.revision()
            );
            self.violate("wrong-revision", &[guest.operation], text);
        }
    }

    /// No operation may stand behind one that was invoked after it had returned.
    fn real_time(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.sort_by_key(|placed| (placed.gap, placed.is_entry, placed.invoked));
        let mut last: Option<Placed> = None;
        let mut blamed: Option<OpId> = None;
        for &placed in &order {
            if let Some(last) = last
                && placed.returned < last.invoked
                && blamed != Some(last.op)
            {
                blamed = Some(last.op);
                self.out_of_time(last, placed);
            }
            if last.is_none_or(|last| placed.invoked > last.invoked) {
                last = Some(placed);
            }
        }
        self.order = order;
    }

    /// `first` stands before `second`, which had returned when `first` was invoked.
    fn out_of_time(&mut self, first: Placed, second: Placed) {
        let (early, late) = (self.operation(first.op), self.operation(second.op));
        let is_entry = |op: OpId| self.entry_of[op.0 as usize].is_some();
        let gap_ns = first.invoked.0 - second.returned.0;
        let late_text = describe::operation(late);
        let early_text = describe::operation(early);
        let (rule, text) = match (is_entry(first.op), is_entry(second.op)) {
            (false, _) => (
                "stale-read",
                format!(
                    "{early_text} does not see {late_text}, which had returned {gap_ns} ns before \
                     it was invoked"
                ),
            ),
            (true, false) => (
                "future-read",
                format!(
                    "{late_text} sees {early_text}, which was invoked {gap_ns} ns after it had \
                     returned"
                ),
            ),
            (true, true) => (
                "real-time-order",
                format!(
                    "{early_text} takes effect before {late_text}, which had returned {gap_ns} ns \
                     before it was invoked"
                ),
            ),
        };
        self.violate(rule, &[late, early], text);
    }
}

/// Whether a write has changed nothing, by its reply.
fn is_without_effect(body: &Body) -> bool {
    match body {
        Body::DeleteRange { deleted, .. } => *deleted == 0,
        Body::Txn(reply) => !has_changes(reply),
        _ => false,
    }
}

/// When an operation's effect must have happened by. One that failed has none, so that its entry
/// may come late: nobody would know.
fn returned(operation: &Operation) -> Time {
    match fate(operation) {
        Fate::Unknown | Fate::Failed => Time::NEVER,
        Fate::Answered(_) | Fate::Refused(_) => operation.completed,
    }
}

/// Whether the log holds what the client asked, but for a lease id that the server chose.
fn is_same_request(logged: &Call, asked: &Call) -> bool {
    match (logged, asked) {
        (Call::LeaseGrant { ttl_s, .. }, Call::LeaseGrant { id: 0, ttl_s: asked }) => {
            ttl_s == asked
        }
        _ => logged == asked,
    }
}
