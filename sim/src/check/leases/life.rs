//! The life of one lease as the history tells it: what certainly or possibly renewed it, who may
//! have revoked it, and which answers show that it was there or gone.

use std::collections::BTreeMap;
use std::time::Duration;

use detsim_reports::record::{
    Body, Call, History, KeyValue, Operation, Outcome, Time, TxnOp, TxnOpReply,
};

use super::{REQUEST_TIMEOUT, Signs, is_refused, leases_of};
use crate::check::fate::{Fate, fate, is_linearizable_read};
use crate::model::Refusal;

/// An answer that shows a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sign<'a> {
    pub operation: &'a Operation,
    pub what: &'static str,
    /// It is a key that shows it.
    pub is_of_key: bool,
}

/// An answer that shows that a lease is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    pub operation: &'a Operation,
    pub what: &'static str,
    /// It cannot be taken back by a change of leaders.
    pub is_definite: bool,
}

/// A lease from an acknowledged grant on, until its id may have been granted again.
#[derive(Debug)]
pub(super) struct Life<'a> {
    pub id: i64,
    pub ttl: Duration,
    /// The grant, and the renewals that were acknowledged.
    pub renewals: Vec<&'a Operation>,
    /// When those were asked for that may have taken effect without an acknowledgement, and when
    /// they ended.
    doubtful: Vec<(Time, Time)>,
    /// When those revokes were asked for that may have taken effect.
    pub revokes: Vec<Time>,
    pub ends: Vec<End<'a>>,
    pub signs: Vec<Sign<'a>>,
    /// It is the only life of its id.
    pub is_only: bool,
}

impl Life<'_> {
    /// When the lease can have been renewed last, by what was asked for before this sign of it.
    /// `None` when that may be at any time.
    pub fn last_renewal_before(&self, sign: &Operation, healed: Option<Time>) -> Option<Time> {
        let asked = sign.invoked;
        let others = self.renewals.iter().filter(|op| op.invoked <= asked && op.id != sign.id);
        let sure = others.map(|op| op.completed);
        let doubtful = self.doubtful.iter().filter(|(invoked, _)| *invoked <= asked);
        let latest = |(_, completed): &(Time, Time)| {
            // A member that was frozen or cut off goes on where it was.
            (*completed).max(healed.unwrap_or(Time::ZERO)).after(REQUEST_TIMEOUT)
        };
        sure.chain(doubtful.map(latest)).max().filter(|&last| last != Time::NEVER)
    }
}

/// Every life that begins with an acknowledged grant, unless an earlier grant of the same id may
/// take effect in its midst or after it.
pub(super) fn lives(history: &History) -> Vec<Life<'_>> {
    let grants = grants(history);
    let mut by_id = collect(history);
    let mut lives = Vec::new();
    for (id, granted) in &grants {
        let about = by_id.remove(id).unwrap_or_default();
        for (place, operation) in granted.iter().enumerate() {
            let is_alone = granted[..place].iter().all(|earlier| acknowledged(earlier).is_some());
            if let Some((_, ttl_s)) = acknowledged(operation).filter(|_| is_alone) {
                let next = granted.get(place + 1).copied();
                let ttl = Duration::from_secs(ttl_s.max(0) as u64);
                let mut life = life(*id, ttl, operation, next, &about);
                life.is_only = granted.len() == 1;
                lives.push(life);
            }
        }
    }
    lives
}

/// Grants by id that were acknowledged or may have taken effect, by invocation.
fn grants(history: &History) -> BTreeMap<i64, Vec<&Operation>> {
    let mut grants: BTreeMap<i64, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        let Call::LeaseGrant { id, .. } = operation.call else { continue };
        match (acknowledged(operation), fate(operation)) {
            (Some((id, _)), _) => grants.entry(id).or_default().push(operation),
            (None, Fate::Unknown) if id != 0 => grants.entry(id).or_default().push(operation),
            _ => {}
        }
    }
    grants
}

fn acknowledged(operation: &Operation) -> Option<(i64, i64)> {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) => match reply.body {
            Body::LeaseGrant { id, ttl_s } => Some((id, ttl_s)),
            _ => None,
        },
        _ => None,
    }
}

/// What the history says of one id.
#[derive(Default)]
struct About<'a> {
    renewals: Vec<&'a Operation>,
    doubtful: Vec<&'a Operation>,
    revokes: Vec<&'a Operation>,
    ends: Vec<End<'a>>,
    signs: Vec<Sign<'a>>,
}

fn life<'a>(
    id: i64,
    ttl: Duration,
    grant: &'a Operation,
    next: Option<&'a Operation>,
    about: &About<'a>,
) -> Life<'a> {
    let until = next.map_or(Time::NEVER, |next| next.invoked);
    let within = |op: &Operation| op.invoked >= grant.completed && op.completed <= until;
    let mut renewals = vec![grant];
    renewals.extend(about.renewals.iter().copied().filter(|op| within(op)));
    let mut ends: Vec<End<'a>> =
        about.ends.iter().copied().filter(|end| within(end.operation)).collect();
    if let Some(again) =
        next.filter(|next| acknowledged(next).is_some() && next.invoked >= grant.completed)
    {
        ends.push(End { operation: again, what: "succeeded once more", is_definite: true });
    }
    Life {
        id,
        ttl,
        renewals,
        doubtful: about.doubtful.iter().map(|op| (op.invoked, op.completed)).collect(),
        revokes: about.revokes.iter().map(|op| op.invoked).collect(),
        ends,
        signs: about.signs.iter().copied().filter(|sign| within(sign.operation)).collect(),
        is_only: false,
    }
}

fn collect(history: &History) -> BTreeMap<i64, About<'_>> {
    let mut about: BTreeMap<i64, About<'_>> = BTreeMap::new();
    for operation in &history.operations {
        match operation.call {
            Call::LeaseKeepAlive { id } => renewal(operation, about.entry(id).or_default()),
            Call::LeaseTimeToLive { id, .. } => look(operation, about.entry(id).or_default()),
            Call::LeaseRevoke { id } => revoke(operation, about.entry(id).or_default()),
            Call::LeaseGrant { id, .. } if is_refused(operation, Refusal::LeaseExists) => {
                let what = "was refused because it exists";
                about.entry(id).or_default().signs.push(Sign { operation, what, is_of_key: false });
            }
            _ => {}
        }
        missing(operation, &mut about);
    }
    let mut signs: Signs<'_> = BTreeMap::new();
    for operation in &history.operations {
        attached(operation, &mut signs);
        seen(operation, &mut signs);
    }
    for (id, signs) in signs {
        about.entry(id).or_default().signs.extend(signs);
    }
    about
}

fn renewal<'a>(operation: &'a Operation, about: &mut About<'a>) {
    match &operation.outcome {
        Some(Outcome::Ok(reply)) => match reply.body {
            Body::LeaseKeepAlive { ttl_s: 0, .. } => about.ends.push(End {
                operation,
                what: "found nothing to renew",
                is_definite: true,
            }),
            _ => {
                about.renewals.push(operation);
                about.signs.push(Sign { operation, what: "renewed it", is_of_key: false });
            }
        },
        _ => about.doubtful.push(operation),
    }
}

fn look<'a>(operation: &'a Operation, about: &mut About<'a>) {
    let Some(Outcome::Ok(reply)) = &operation.outcome else { return };
    match reply.body {
        Body::LeaseTimeToLive { ttl_s: ..0, .. } => {
            about.ends.push(End { operation, what: "says that it is gone", is_definite: false })
        }
        _ => about.signs.push(Sign { operation, what: "tells its time", is_of_key: false }),
    }
}

fn revoke<'a>(operation: &'a Operation, about: &mut About<'a>) {
    match fate(operation) {
        Fate::Refused(Refusal::LeaseNotFound) => {
            let what = "found nothing to revoke";
            about.ends.push(End { operation, what, is_definite: true });
        }
        Fate::Answered(_) => {
            about.revokes.push(operation);
            about.ends.push(End { operation, what: "revoked it", is_definite: true });
        }
        Fate::Unknown => about.revokes.push(operation),
        Fate::Refused(_) | Fate::Failed => {}
    }
}

/// A write was refused because its lease does not exist, and it names one only.
fn missing<'a>(operation: &'a Operation, about: &mut BTreeMap<i64, About<'a>>) {
    if !is_refused(operation, Refusal::LeaseNotFound) {
        return;
    }
    if let [id] = leases_of(&operation.call)[..] {
        let what = "was refused because it is gone";
        about.entry(id).or_default().ends.push(End { operation, what, is_definite: true });
    }
}

/// A put attached a key to it.
fn attached<'a>(operation: &'a Operation, signs: &mut Signs<'a>) {
    let Fate::Answered(reply) = fate(operation) else { return };
    let mut note = |lease: i64| {
        if lease != 0 {
            let sign = Sign { operation, what: "attached a key to it", is_of_key: false };
            signs.entry(lease).or_default().push(sign);
        }
    };
    match (&operation.call, &reply.body) {
        (Call::Put(put), _) => note(put.lease),
        (Call::Txn(txn), Body::Txn(reply)) => {
            let ops = if reply.succeeded { &txn.success } else { &txn.failure };
            for op in ops {
                if let TxnOp::Put(put) = op {
                    note(put.lease);
                }
            }
        }
        _ => {}
    }
}

/// A read of the newest state showed a key that is attached to it.
fn seen<'a>(operation: &'a Operation, signs: &mut Signs<'a>) {
    let Fate::Answered(reply) = fate(operation) else { return };
    if !is_linearizable_read(&operation.call) {
        return;
    }
    let mut note = |kvs: &[KeyValue]| {
        for kv in kvs.iter().filter(|kv| kv.lease != 0) {
            let sign = Sign { operation, what: "shows a key of it", is_of_key: true };
            signs.entry(kv.lease).or_default().push(sign);
        }
    };
    match (&operation.call, &reply.body) {
        (Call::Range(range), Body::Range(body)) if range.revision == 0 => note(&body.kvs),
        (Call::Txn(txn), Body::Txn(reply)) => {
            let ops = if reply.succeeded { &txn.success } else { &txn.failure };
            for pair in ops.iter().zip(&reply.responses) {
                if let (TxnOp::Range(range), TxnOpReply::Range { reply, .. }) = pair
                    && range.revision == 0
                {
                    note(&reply.kvs);
                }
            }
        }
        _ => {}
    }
}
