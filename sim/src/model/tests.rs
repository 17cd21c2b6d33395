//! The contract's tables as conversations with the model.

use detsim_reports::record::{
    Compare, Operator, SortOrder, SortTarget, Target, Txn, TxnOp, TxnOpReply,
};

use super::*;

fn model() -> Model {
    Model::new(&Settings::default())
}

fn blob(text: &str) -> Blob {
    Blob::text(text)
}

fn put(key: &str, value: &str) -> Put {
    Put { key: blob(key), value: blob(value), ..Put::default() }
}

fn range(key: &str, end: &str) -> Range {
    Range { key: blob(key), range_end: blob(end), ..Range::default() }
}

fn delete(key: &str, end: &str) -> DeleteRange {
    DeleteRange { key: blob(key), range_end: blob(end), prev_kv: true }
}

fn kv(key: &str, value: &str, create: i64, modified: i64, version: i64) -> KeyValue {
    KeyValue {
        key: blob(key),
        value: blob(value),
        create_revision: create,
        mod_revision: modified,
        version,
        lease: 0,
    }
}

fn compare(key: &str, operator: Operator, target: Target) -> Compare {
    Compare { key: blob(key), range_end: Blob::default(), operator, target }
}

fn txn(compare: Vec<Compare>, success: Vec<TxnOp>, failure: Vec<TxnOp>) -> Call {
    Call::Txn(Box::new(Txn { compare, success, failure }))
}

fn ok(model: &mut Model, call: Call) -> Answer {
    model.apply(&call).expect("the request is accepted")
}

fn keys(answer: &Answer) -> String {
    let Body::Range(reply) = &answer.body else { panic!("a range reply") };
    let keys: Vec<String> =
        reply.kvs.iter().map(|kv| kv.key.0.escape_ascii().to_string()).collect();
    let more = if reply.more { " more" } else { "" };
    format!("{} of {}{more}", keys.join(" "), reply.count)
}

#[test]
fn puts_and_deletes_count_revisions_and_versions() {
    let mut model = model();
    assert_eq!(ok(&mut model, Call::Put(put("a", "1"))).revision, 2);
    let again = Call::Put(Put { prev_kv: true, ..put("a", "2") });
    let body = Body::Put { prev_kv: Some(kv("a", "1", 2, 2, 1)) };
    assert_eq!(ok(&mut model, again), Answer { revision: 3, body });
    let gone = Body::DeleteRange { deleted: 1, prev_kvs: vec![kv("a", "2", 2, 3, 2)] };
    let answer = ok(&mut model, Call::DeleteRange(delete("a", "")));
    assert_eq!(answer, Answer { revision: 4, body: gone });
    let none = Body::DeleteRange { deleted: 0, prev_kvs: Vec::new() };
    let answer = ok(&mut model, Call::DeleteRange(delete("a", "")));
    assert_eq!(answer, Answer { revision: 4, body: none });
    ok(&mut model, Call::Put(put("a", "3")));
    assert_eq!(model.get_at(&blob("a"), 5), Some(&kv("a", "3", 5, 5, 1)));
    assert_eq!(model.get_at(&blob("a"), 3), Some(&kv("a", "2", 2, 3, 2)));
    assert_eq!(model.get_at(&blob("a"), 4), None);
}

#[test]
fn ranges_filter_sort_and_cut() {
    let mut model = model();
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("a", "3")] {
        ok(&mut model, Call::Put(put(key, value)));
    }
    let mut ask = |range: Range| keys(&ok(&mut model, Call::Range(range)));
    let all = range("a", "\0");
    assert_eq!(ask(all.clone()), "a b c of 3");
    assert_eq!(ask(range("b", "")), "b of 1");
    assert_eq!(ask(range("c", "a")), " of 0");
    assert_eq!(ask(Range { limit: 2, ..all.clone() }), "a b of 3 more");
    assert_eq!(ask(Range { limit: 3, ..all.clone() }), "a b c of 3");
    assert_eq!(ask(Range { count_only: true, limit: 1, ..all.clone() }), " of 3");
    assert_eq!(ask(Range { revision: 3, ..all.clone() }), "a b of 2");
    assert_eq!(ask(Range { revision: -7, ..all.clone() }), "a b c of 3");
    assert_eq!(ask(Range { min_mod_revision: 4, limit: 1, ..all.clone() }), "a of 3 more");
    assert_eq!(ask(Range { max_create_revision: 3, ..all.clone() }), "a b of 3");
    let by_value = Range { sort_target: SortTarget::Value, ..all.clone() };
    assert_eq!(ask(by_value.clone()), "b c a of 3");
    assert_eq!(
        ask(Range { sort_order: SortOrder::Descend, limit: 2, ..by_value }),
        "a c of 3 more"
    );
    let by_mod = Range { sort_target: SortTarget::Mod, ..all.clone() };
    assert_eq!(ask(Range { limit: 1, ..by_mod.clone() }), "b of 3 more");
    assert_eq!(ask(Range { limit: 1, sort_order: SortOrder::Descend, ..by_mod }), "a of 3 more");
    assert_eq!(ask(Range { sort_order: SortOrder::Descend, ..all }), "c b a of 3");
}

#[test]
fn compaction_bounds_what_can_be_read() {
    let mut model = model();
    ok(&mut model, Call::Compact { revision: 0, physical: false });
    for value in ["1", "2", "3"] {
        ok(&mut model, Call::Put(put("a", value)));
    }
    let compact = |revision| Call::Compact { revision, physical: false };
    assert_eq!(model.apply(&compact(5)), Err(Refusal::FutureRevision));
    assert_eq!(model.apply(&compact(0)), Err(Refusal::Compacted));
    assert_eq!(ok(&mut model, compact(3)), Answer { revision: 4, body: Body::Compact });
    let at = |revision| Call::Range(Range { revision, ..range("a", "") });
    assert_eq!(model.apply(&at(2)), Err(Refusal::Compacted));
    assert!(model.apply(&at(3)).is_ok());
    assert_eq!(model.apply(&at(5)), Err(Refusal::FutureRevision));
}

#[test]
fn a_negative_revision_in_a_transaction_is_taken_literally() {
    let mut model = model();
    let read =
        |revision| txn(vec![], vec![TxnOp::Range(Range { revision, ..range("a", "") })], vec![]);
    assert!(model.apply(&read(-1)).is_ok());
    assert_eq!(model.apply(&read(-2)), Err(Refusal::Compacted));
    ok(&mut model, Call::Compact { revision: 0, physical: false });
    assert_eq!(model.apply(&read(-1)), Err(Refusal::Compacted));
}

#[test]
fn absent_keys_compare_as_zero_but_never_by_value() {
    let mut model = model();
    let mut holds = |operator, target| {
        let Body::Txn(reply) =
            ok(&mut model, txn(vec![compare("a", operator, target)], vec![], vec![])).body
        else {
            panic!("a transaction's reply")
        };
        reply.succeeded
    };
    assert!(holds(Operator::Equal, Target::Mod(0)));
    assert!(holds(Operator::Less, Target::Create(1)));
    assert!(!holds(Operator::Greater, Target::Version(0)));
    assert!(!holds(Operator::NotEqual, Target::Value(blob("x"))));
    assert!(!holds(Operator::Equal, Target::Value(blob(""))));
}

#[test]
fn a_comparison_of_a_span_must_hold_for_every_key() {
    let mut model = model();
    ok(&mut model, Call::Put(put("a", "1")));
    ok(&mut model, Call::Put(put("b", "1")));
    let mut holds = |end: &str, target| {
        let span = Compare { range_end: blob(end), ..compare("a", Operator::Equal, target) };
        let Body::Txn(reply) = ok(&mut model, txn(vec![span], vec![], vec![])).body else {
            panic!("a transaction's reply")
        };
        reply.succeeded
    };
    assert!(holds("\0", Target::Value(blob("1"))));
    assert!(!holds("\0", Target::Mod(2)));
    assert!(holds("b", Target::Mod(2)));
}

#[test]
fn operations_of_a_transaction_see_earlier_ones_and_tell_their_revision() {
    let mut model = model();
    ok(&mut model, Call::Put(put("a", "1")));
    let call = txn(
        vec![],
        vec![
            TxnOp::DeleteRange(delete("x", "")),
            TxnOp::Put(put("b", "2")),
            TxnOp::Range(range("a", "\0")),
            TxnOp::Txn(Txn {
                compare: vec![compare("b", Operator::Equal, Target::Mod(0))],
                success: vec![TxnOp::DeleteRange(delete("a", ""))],
                failure: vec![],
            }),
        ],
        vec![],
    );
    let answer = ok(&mut model, call);
    assert_eq!(answer.revision, 3);
    let Body::Txn(reply) = answer.body else { panic!("a transaction's reply") };
    let TxnOpReply::DeleteRange { revision: 2, deleted: 0, .. } = reply.responses[0] else {
        panic!("nothing is deleted at the old revision: {:?}", reply.responses[0])
    };
    let TxnOpReply::Put { revision: 3, prev_kv: None } = reply.responses[1] else {
        panic!("the put takes the new revision: {:?}", reply.responses[1])
    };
    let TxnOpReply::Range { revision: 3, reply: range } = &reply.responses[2] else {
        panic!("the range follows the put: {:?}", reply.responses[2])
    };
    assert_eq!(range.kvs, [kv("a", "1", 2, 2, 1), kv("b", "2", 3, 3, 1)]);
    let TxnOpReply::Txn(nested) = &reply.responses[3] else { panic!("a nested reply") };
    assert!(nested.succeeded, "nested comparisons look at the state before");
    assert_eq!(model.changes_at(3).len(), 2);
}

#[test]
fn transactions_that_might_change_a_key_twice_are_refused() {
    let mut model = model();
    let put = |key| TxnOp::Put(put(key, "v"));
    let nested = |success, failure| TxnOp::Txn(Txn { compare: vec![], success, failure });
    let mut apply = |ops| model.apply(&txn(vec![], ops, vec![])).map(|answer| answer.revision);
    let duplicate = Err(Refusal::DuplicateKey);
    assert_eq!(apply(vec![put("a"), put("a")]), duplicate);
    assert_eq!(apply(vec![put("b"), TxnOp::DeleteRange(delete("a", "c"))]), duplicate);
    assert_eq!(apply(vec![nested(vec![put("a")], vec![]), put("a")]), duplicate);
    assert_eq!(
        apply(vec![nested(vec![put("a")], vec![]), nested(vec![], vec![put("a")])]),
        duplicate
    );
    assert_eq!(
        apply(vec![nested(vec![TxnOp::DeleteRange(delete("a", ""))], vec![]), put("a")]),
        duplicate
    );
    assert!(apply(vec![nested(vec![put("a")], vec![put("a")])]).is_ok());
    assert!(apply(vec![put("a"), TxnOp::DeleteRange(delete("a", "\0"))]).is_ok());
}

#[test]
fn nested_transactions_share_the_limit() {
    let mut model = model();
    let reads = |count| vec![TxnOp::Range(range("a", "")); count];
    let mut apply = |outer: usize, inner: usize| {
        let mut ops = reads(outer - 1);
        ops.push(TxnOp::Txn(Txn { success: reads(inner), ..Txn::default() }));
        model.apply(&txn(vec![], ops, vec![])).err()
    };
    assert_eq!(apply(64, 64), None);
    assert_eq!(apply(64, 65), Some(Refusal::TooManyOps));
    assert_eq!(apply(128, 1), Some(Refusal::TooManyOps));
}

#[test]
fn leases_hold_keys_and_take_them_along() {
    let mut model = model();
    let grant = |id, ttl_s| Call::LeaseGrant { id, ttl_s };
    let body = Body::LeaseGrant { id: 7, ttl_s: 2 };
    assert_eq!(ok(&mut model, grant(7, 1)), Answer { revision: 1, body });
    assert_eq!(model.apply(&grant(7, 10)), Err(Refusal::LeaseExists));
    assert_eq!(model.apply(&grant(8, 9_000_000_001)), Err(Refusal::LeaseTtlTooLarge));
    ok(&mut model, grant(8, 9_000_000_000));
    for (key, lease) in [("c", 7), ("a", 7), ("b", 7), ("b", 0), ("d", 8)] {
        ok(&mut model, Call::Put(Put { lease, ..put(key, "v") }));
    }
    let missing = Call::Put(Put { lease: 9, ignore_value: true, ..put("z", "") });
    assert_eq!(model.refusals(&missing), [Refusal::LeaseNotFound, Refusal::KeyNotFound]);
    let live = ok(&mut model, Call::LeaseTimeToLive { id: 7, keys: true });
    let keys = vec![blob("a"), blob("c")];
    let body = Body::LeaseTimeToLive { id: 7, ttl_s: 2, granted_ttl_s: 2, keys };
    assert_eq!(live.body, body);
    assert_eq!(ok(&mut model, Call::LeaseRevoke { id: 7 }).revision, 7);
    let gone: Vec<&Blob> = model.changes_at(7).iter().map(|change| &change.kv.key).collect();
    assert_eq!(gone, [&blob("a"), &blob("c")]);
    assert_eq!(model.apply(&Call::LeaseRevoke { id: 7 }), Err(Refusal::LeaseNotFound));
    let kept = ok(&mut model, Call::LeaseKeepAlive { id: 7 });
    assert_eq!(kept.body, Body::LeaseKeepAlive { id: 7, ttl_s: 0 });
}

#[test]
fn ignored_fields_keep_what_was() {
    let mut model = model();
    ok(&mut model, Call::LeaseGrant { id: 7, ttl_s: 10 });
    ok(&mut model, Call::Put(Put { lease: 7, ..put("a", "1") }));
    ok(&mut model, Call::Put(Put { ignore_lease: true, ..put("a", "2") }));
    ok(&mut model, Call::Put(Put { ignore_value: true, lease: 7, ..put("a", "") }));
    let expected = KeyValue { lease: 7, ..kv("a", "2", 2, 4, 3) };
    assert_eq!(model.get_at(&blob("a"), 4), Some(&expected));
    let provided = Call::Put(Put { ignore_value: true, ..put("a", "x") });
    assert_eq!(model.apply(&provided), Err(Refusal::ValueProvided));
    let provided = Call::Put(Put { ignore_lease: true, lease: 7, ..put("a", "x") });
    assert_eq!(model.apply(&provided), Err(Refusal::LeaseProvided));
    assert_eq!(model.apply(&Call::Put(put("", "x"))), Err(Refusal::EmptyKey));
}

#[test]
fn every_step_can_be_taken_back() {
    let mut model = model();
    let steps = [
        Call::LeaseGrant { id: 7, ttl_s: 10 },
        Call::Put(Put { lease: 7, ..put("a", "1") }),
        Call::Put(put("b", "1")),
        Call::Put(put("a", "2")),
        Call::Put(Put { lease: 7, ..put("a", "3") }),
        Call::Compact { revision: 3, physical: false },
        Call::DeleteRange(delete("a", "\0")),
        Call::Put(Put { lease: 7, ..put("c", "3") }),
        Call::LeaseRevoke { id: 7 },
    ];
    let picture = |model: &Model| {
        let leases: Vec<(i64, Lease)> =
            model.leases().map(|(id, lease)| (id, lease.clone())).collect();
        let live: Vec<KeyValue> = model.live().cloned().collect();
        (model.mark(), model.changes().to_vec(), live, leases)
    };
    let mut marks = Vec::new();
    for step in &steps {
        marks.push(picture(&model));
        ok(&mut model, step.clone());
    }
    for before in marks.into_iter().rev() {
        model.take_back(before.0);
        assert_eq!(picture(&model), before);
    }
}
