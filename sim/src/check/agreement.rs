//! Whether a reply is what the model says: every field, except those that no promise covers.
//!
//! Not compared: the order of keys that share a sort key, and which of them a limit cuts off; the
//! remaining TTL of a lease, which only must not exceed the granted one; the order of a lease's
//! keys.

use std::collections::BTreeSet;

use detsim_reports::record::{
    Body, Call, KeyValue, Range, RangeReply, Reply, SortTarget, Txn, TxnOp, TxnOpReply, TxnReply,
    UNRECORDED,
};

use super::{describe, unrecorded};
use crate::model::{Answer, by_target, has_ties};

/// What a reply gets wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disagreement {
    /// `wrong-revision`, `wrong-prev-kv` or `wrong-reply`.
    pub rule: &'static str,
    /// What it says and what it should say.
    pub text: String,
}

/// What the reply gets wrong, if anything.
pub(super) fn disagreement(call: &Call, expected: &Answer, got: &Reply) -> Option<Disagreement> {
    let (said, right) = (got.header.revision, expected.revision);
    // The reply to a compaction tells the newest revision when it is sent, which may be later.
    let is_later = matches!(call, Call::Compact { .. }) && said > right;
    if said != right && said != UNRECORDED && !is_later {
        let text = format!("its header says revision {said} instead of {right}");
        return Some(Disagreement { rule: "wrong-revision", text });
    }
    let agrees = match unrecorded::is_partial(&got.body) {
        false => bodies_agree(call, &expected.body, &got.body),
        true => bodies_agree(call, &unrecorded::forget(&expected.body, &got.body), &got.body),
    };
    if agrees {
        return None;
    }
    let text = format!(
        "it says {} instead of {}",
        describe::body(&got.body),
        describe::body(&expected.body)
    );
    Some(Disagreement { rule: rule(&expected.body, &got.body), text })
}

fn rule(expected: &Body, got: &Body) -> &'static str {
    match (expected, got) {
        (Body::Put { .. }, Body::Put { .. }) => "wrong-prev-kv",
        (Body::DeleteRange { deleted: a, .. }, Body::DeleteRange { deleted: b, .. }) if a == b => {
            "wrong-prev-kv"
        }
        _ => "wrong-reply",
    }
}

/// Whether two bodies say the same as far as promised.
pub(super) fn bodies_agree(call: &Call, expected: &Body, got: &Body) -> bool {
    match (call, expected, got) {
        (Call::Range(range), Body::Range(expected), Body::Range(got)) => {
            ranges_agree(range, expected, got)
        }
        (Call::Txn(txn), Body::Txn(expected), Body::Txn(got)) => txns_agree(txn, expected, got),
        (
            Call::LeaseTimeToLive { .. },
            Body::LeaseTimeToLive { id, ttl_s, granted_ttl_s, keys },
            Body::LeaseTimeToLive { id: id_got, ttl_s: ttl_got, granted_ttl_s: granted, keys: ks },
        ) => {
            let time = if *ttl_s < 0 { ttl_got == ttl_s } else { (-1..=*ttl_s).contains(ttl_got) };
            let keys: BTreeSet<_> = keys.iter().collect();
            id == id_got
                && time
                && granted_ttl_s == granted
                && ks.len() == keys.len()
                && ks.iter().all(|key| keys.contains(key))
        }
        _ => expected == got,
    }
}

fn txns_agree(txn: &Txn, expected: &TxnReply, got: &TxnReply) -> bool {
    if expected.succeeded != got.succeeded || expected.responses.len() != got.responses.len() {
        return false;
    }
    let ops = if expected.succeeded { &txn.success } else { &txn.failure };
    let mut pairs = expected.responses.iter().zip(&got.responses);
    ops.iter().all(|op| {
        let Some((expected, got)) = pairs.next() else { return false };
        match (op, expected, got) {
            (
                TxnOp::Range(range),
                TxnOpReply::Range { revision, reply },
                TxnOpReply::Range { revision: revision_got, reply: reply_got },
            ) => revision == revision_got && ranges_agree(range, reply, reply_got),
            (TxnOp::Txn(txn), TxnOpReply::Txn(expected), TxnOpReply::Txn(got)) => {
                txns_agree(txn, expected, got)
            }
            _ => expected == got,
        }
    })
}

fn ranges_agree(range: &Range, expected: &RangeReply, got: &RangeReply) -> bool {
    if expected == got {
        return true;
    }
    has_ties(range)
        && (expected.more, expected.count) == (got.more, got.count)
        && expected.kvs.len() == got.kvs.len()
        && ties_agree(range, &expected.kvs, &got.kvs, expected.more)
}

/// The number that a list is sorted by.
fn sorted_by(target: SortTarget, kv: &KeyValue) -> Option<i64> {
    match target {
        SortTarget::Key | SortTarget::Value => None,
        SortTarget::Version => Some(kv.version),
        SortTarget::Create => Some(kv.create_revision),
        SortTarget::Mod => Some(kv.mod_revision),
    }
}

/// Both lists have the same length. Groups with one sort key must hold the same keys in any order;
/// of the last group of a list that was cut, any keys may be there. Values that were left out
/// cannot be grouped by; where a history does not record what a list is sorted by, its order is
/// that of the model, in which who wrote the history has seen to it that nothing is shared.
fn ties_agree(range: &Range, expected: &[KeyValue], got: &[KeyValue], is_cut: bool) -> bool {
    let target = range.sort_target;
    let is_hidden = range.keys_only && target == SortTarget::Value;
    let same = |a: &KeyValue, b: &KeyValue| is_hidden || by_target(target, a, b).is_eq();
    let is_recorded = |kv: &KeyValue| sorted_by(target, kv) != Some(UNRECORDED);
    if !expected.iter().all(is_recorded)
        || !expected.iter().zip(got).all(|(expected, got)| same(expected, got))
    {
        return false;
    }
    let mut start = 0;
    while start < expected.len() {
        let length = expected[start..].iter().take_while(|kv| same(kv, &expected[start])).count();
        let end = start + length;
        let is_cut_group = is_cut && end == expected.len();
        let unordered = |kvs: &[KeyValue]| {
            let mut kvs: Vec<KeyValue> = kvs[start..end].to_vec();
            kvs.sort_by(|a, b| a.key.cmp(&b.key));
            kvs
        };
        let (wanted, found) = (unordered(expected), unordered(got));
        let are_distinct = found.windows(2).all(|pair| pair[0].key != pair[1].key);
        if !are_distinct || (!is_cut_group && wanted != found) {
            return false;
        }
        start = end;
    }
    true
}

#[cfg(test)]
mod tests {
    use detsim_reports::record::{Blob, Header, SortTarget};

    use super::*;

    fn kv(key: &str, version: i64) -> KeyValue {
        KeyValue { key: Blob::text(key), version, ..KeyValue::default() }
    }

    fn agree(more: bool, expected: &[KeyValue], got: &[KeyValue]) -> bool {
        let range = Range { sort_target: SortTarget::Version, ..Range::default() };
        let reply = |kvs: &[KeyValue]| RangeReply { kvs: kvs.to_vec(), more, count: 9 };
        ranges_agree(&range, &reply(expected), &reply(got))
    }

    #[test]
    fn keys_that_tie_may_come_in_any_order_but_must_be_the_same() {
        let expected = [kv("a", 1), kv("b", 1), kv("c", 2)];
        assert!(agree(false, &expected, &[kv("b", 1), kv("a", 1), kv("c", 2)]));
        assert!(!agree(false, &expected, &[kv("b", 1), kv("x", 1), kv("c", 2)]));
        assert!(!agree(false, &expected, &[kv("a", 1), kv("c", 2), kv("b", 1)]));
        assert!(!agree(false, &expected, &[kv("a", 1), kv("a", 1), kv("c", 2)]));
        assert!(agree(true, &expected, &[kv("a", 1), kv("b", 1), kv("d", 2)]));
    }

    #[test]
    fn what_a_reply_gets_wrong_has_a_rule() {
        let call = Call::Put(detsim_reports::record::Put::default());
        let expected = Answer { revision: 3, body: Body::Put { prev_kv: None } };
        let reply = |revision, prev_kv| Reply {
            header: Header { revision, ..Header::default() },
            body: Body::Put { prev_kv },
        };
        let rule = |reply| disagreement(&call, &expected, &reply).map(|found| found.rule);
        assert_eq!(rule(reply(3, None)), None);
        assert_eq!(rule(reply(4, None)), Some("wrong-revision"));
        assert_eq!(rule(reply(3, Some(kv("a", 1)))), Some("wrong-prev-kv"));
        let other = Reply { body: Body::Compact, ..reply(3, None) };
        assert_eq!(rule(other), Some("wrong-reply"));
    }
}
