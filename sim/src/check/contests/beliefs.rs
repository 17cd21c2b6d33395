//! What clients believe: from the answer that tells a client that it owns a contest until it gives
//! it up, or is told that it lost it. Beliefs may overlap; that is information, not a finding.

use std::collections::BTreeMap;

use detsim_reports::record::{
    Blob, Body, Call, ClientId, History, Operation, Outcome, Time, TxnOp,
};

use super::facts::{Facts, Tenure};

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Pairs of beliefs in one contest that overlap.
    pub overlaps: usize,
    /// Puts of believers after their token had ended.
    pub unfenced: usize,
}

struct Belief<'t, 'a> {
    tenure: &'t Tenure<'a>,
    client: ClientId,
    from: Time,
    to: Time,
}

/// Counts.
pub(super) fn count(history: &History, facts: &Facts<'_>) -> Seen {
    let mut seen = Seen::default();
    if facts.tenures.is_empty() {
        return seen;
    }
    let by_client = by_client(history);
    let entrants: BTreeMap<(&Blob, i64), ClientId> = facts
        .entered
        .iter()
        .filter_map(|(operation, token)| Some(((own_key(operation)?, *token), operation.client)))
        .collect();
    let mut beliefs: Vec<Belief<'_, '_>> = Vec::new();
    for tenure in &facts.tenures {
        let Some(&client) = entrants.get(&(&tenure.key, tenure.create_revision)) else { continue };
        let owns = facts.vacancies.iter().filter(|vacancy| {
            vacancy.prefix == tenure.prefix
                && vacancy.operation.client == client
                && vacancy.from == 0
                && vacancy.to + 1 == tenure.create_revision
        });
        let Some(from) = owns.map(|vacancy| vacancy.operation.completed).min() else { continue };
        let own = by_client.get(&client).map_or(&[][..], Vec::as_slice);
        let to = own.iter().find(|op| op.invoked >= from && gives_up(op, &tenure.key));
        // Whoever does not know how an operation ended is another client from then on.
        let last = own.last().map_or(from, |op| op.completed.min(history.ended));
        let to = to.map_or(last, |op| op.invoked);
        beliefs.push(Belief { tenure, client, from, to });
    }
    for belief in &beliefs {
        let Some((end, _)) = facts.end_of(belief.tenure) else { continue };
        let own = by_client.get(&belief.client).map_or(&[][..], Vec::as_slice);
        let late = own.iter().filter(|op| {
            op.invoked >= belief.from && op.completed <= belief.to && put_at(op) >= Some(end)
        });
        seen.unfenced += late.count();
    }
    beliefs.sort_by_key(|belief| (&belief.tenure.prefix, belief.from));
    let mut latest: Option<(&Blob, Time)> = None;
    for belief in &beliefs {
        let same = latest.filter(|(prefix, _)| **prefix == belief.tenure.prefix);
        seen.overlaps += usize::from(same.is_some_and(|(_, to)| to > belief.from));
        let to = same.map_or(belief.to, |(_, to)| to.max(belief.to));
        latest = Some((&belief.tenure.prefix, to));
    }
    seen
}

fn by_client(history: &History) -> BTreeMap<ClientId, Vec<&Operation>> {
    let mut by_client: BTreeMap<ClientId, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        by_client.entry(operation.client).or_default().push(operation);
    }
    by_client
}

/// The key with which an operation entered.
fn own_key(operation: &Operation) -> Option<&Blob> {
    match &operation.call {
        Call::Txn(txn) => txn.compare.first().map(|compare| &compare.key),
        _ => None,
    }
}

/// The revision of an acknowledged plain put.
fn put_at(operation: &Operation) -> Option<i64> {
    match (&operation.call, &operation.outcome) {
        (Call::Put(_), Some(Outcome::Ok(reply))) => Some(reply.header.revision),
        _ => None,
    }
}

/// Whether the client gives its place up, is told that it lost it, or begins anew.
fn gives_up(operation: &Operation, key: &Blob) -> bool {
    match &operation.call {
        Call::DeleteRange(delete) => delete.key == *key,
        Call::LeaseGrant { .. } | Call::LeaseRevoke { .. } => true,
        Call::Txn(txn) => {
            let deletes = |op: &TxnOp| matches!(op, TxnOp::DeleteRange(d) if d.key == *key);
            let is_told = match &operation.outcome {
                Some(Outcome::Ok(reply)) => {
                    matches!(&reply.body, Body::Txn(body) if !body.succeeded)
                }
                _ => false,
            };
            let is_own = txn.compare.iter().any(|compare| compare.key == *key);
            is_own && (txn.success.iter().any(deletes) || is_told)
        }
        _ => false,
    }
}
