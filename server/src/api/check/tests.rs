//! Every rule of the checks, as tables. Transactions are written as text:
//! `put k`, `del k`, `del k..e`, `get k`, `get! k` (serializable), `none` (no union member), and
//! `{then | else}` for a nested transaction.

use super::*;
use bytes::Bytes;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.replace("\\0", "\0").as_bytes())
}

/// Reads operations separated by commas.
fn ops(text: &str) -> Vec<pb::RequestOp> {
    split(text, ',').into_iter().map(|op| pb::RequestOp { request: op_of(op.trim()) }).collect()
}

/// A transaction of `then | else`.
fn branches_of(text: &str) -> pb::TxnRequest {
    let parts = split(text, '|');
    assert!(parts.len() <= 2, "two branches at most: {text}");
    let success = parts.first().map(|part| ops(part)).unwrap_or_default();
    let failure = parts.get(1).map(|part| ops(part)).unwrap_or_default();
    pb::TxnRequest { compare: vec![], success, failure }
}

fn op_of(text: &str) -> Option<Op> {
    if let Some(nested) = text.strip_prefix('{') {
        let inner = nested.strip_suffix('}').expect("a closing brace");
        return Some(Op::RequestTxn(Box::new(branches_of(inner))));
    }
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (key, end) = rest.split_once("..").unwrap_or((rest, ""));
    let (key, range_end) = (bytes(key), bytes(end));
    match verb {
        "put" => Some(Op::RequestPut(pb::PutRequest { key, ..Default::default() })),
        "del" => Some(Op::RequestDeleteRange(pb::DeleteRangeRequest {
            key,
            range_end,
            ..Default::default()
        })),
        "get" | "get!" => Some(Op::RequestRange(pb::RangeRequest {
            key,
            range_end,
            serializable: verb == "get!",
            ..Default::default()
        })),
        "none" => None,
        other => panic!("no such operation: {other}"),
    }
}

/// Splits at a separator that is outside braces; nothing but blanks has no parts.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    if text.trim().is_empty() {
        return parts;
    }
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if letter == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn many(count: usize, op: &str) -> Vec<pb::RequestOp> {
    (0..count).flat_map(|n| ops(&op.replace('#', &n.to_string()))).collect()
}

#[test]
fn a_range_needs_a_key_then_a_known_order_then_a_known_target() {
    let request = |key: &str, sort_order: i32, sort_target: i32| pb::RangeRequest {
        key: bytes(key),
        sort_order,
        sort_target,
        ..Default::default()
    };
    for order in 0..=2 {
        for target in 0..=4 {
            assert_eq!(range(&request("k", order, target)), Ok(()));
        }
    }
    assert_eq!(range(&request("", 9, 9)), Err(ApiError::EmptyKey));
    for (order, target) in [(3, 0), (-1, 0), (0, 5), (0, -1), (1, 5)] {
        assert_eq!(range(&request("k", order, target)), Err(ApiError::InvalidSortOption));
    }
}

#[test]
fn a_streamed_range_keeps_key_order_and_has_no_bounds() {
    let request = |sort_order: SortOrder, sort_target: SortTarget| pb::RangeRequest {
        key: bytes("k"),
        sort_order: sort_order as i32,
        sort_target: sort_target as i32,
        ..Default::default()
    };
    assert_eq!(range_stream(&request(SortOrder::None, SortTarget::Key)), Ok(()));
    assert_eq!(range_stream(&request(SortOrder::None, SortTarget::Mod)), Ok(()));
    assert_eq!(range_stream(&request(SortOrder::Ascend, SortTarget::Key)), Ok(()));
    for (order, target) in [
        (SortOrder::Descend, SortTarget::Key),
        (SortOrder::Ascend, SortTarget::Value),
        (SortOrder::Descend, SortTarget::Version),
    ] {
        let mut bounded = request(order, target);
        bounded.min_mod_revision = 1;
        assert_eq!(range_stream(&bounded), Err(ApiError::RangeStreamSort));
    }
    let plain = request(SortOrder::None, SortTarget::Key);
    for bounded in [
        pb::RangeRequest { min_mod_revision: 1, ..plain.clone() },
        pb::RangeRequest { max_mod_revision: 1, ..plain.clone() },
        pb::RangeRequest { min_create_revision: 1, ..plain.clone() },
        pb::RangeRequest { max_create_revision: 1, ..plain.clone() },
    ] {
        assert_eq!(range_stream(&bounded), Err(ApiError::RangeStreamFilters));
    }
    assert_eq!(range_stream(&pb::RangeRequest::default()), Err(ApiError::EmptyKey));
}

#[test]
fn a_put_gives_no_value_or_lease_that_it_ignores() {
    let valid = pb::PutRequest { key: bytes("k"), ..Default::default() };
    let both = pb::PutRequest {
        value: bytes("v"),
        lease: 1,
        ignore_value: true,
        ignore_lease: true,
        ..valid.clone()
    };
    let cases = [
        (valid.clone(), Ok(())),
        (pb::PutRequest { ignore_value: true, ignore_lease: true, ..valid.clone() }, Ok(())),
        (pb::PutRequest { key: bytes(""), ..both.clone() }, Err(ApiError::EmptyKey)),
        (both.clone(), Err(ApiError::ValueProvided)),
        (pb::PutRequest { value: bytes(""), ..both }, Err(ApiError::LeaseProvided)),
        (pb::PutRequest { lease: -1, ignore_lease: true, ..valid }, Err(ApiError::LeaseProvided)),
    ];
    for (request, expected) in cases {
        assert_eq!(put(&request), expected, "{request:?}");
    }
}

#[test]
fn lease_grants_and_compactions_have_bounds() {
    let grant = |ttl| lease_grant(&pb::LeaseGrantRequest { ttl, id: 0 });
    assert_eq!(grant(9_000_000_000), Ok(()));
    assert_eq!(grant(-5), Ok(()));
    assert_eq!(grant(9_000_000_001), Err(ApiError::LeaseTtlTooLarge));

    assert_eq!(compact(0, -1, 10), Ok(()));
    assert_eq!(compact(-1, -1, 10), Err(ApiError::Compacted));
    assert_eq!(compact(0, 0, 10), Err(ApiError::Compacted));
    assert_eq!(compact(5, 5, 10), Err(ApiError::Compacted));
    assert_eq!(compact(10, 5, 10), Ok(()));
    assert_eq!(compact(11, 5, 10), Err(ApiError::FutureRevision));
}

#[test]
fn a_transaction_is_limited_by_its_longest_list() {
    let compare = pb::Compare { key: bytes("c"), ..Default::default() };
    let request = |compares: usize, then: usize, other: usize| pb::TxnRequest {
        compare: vec![compare.clone(); compares],
        success: many(then, "put s#"),
        failure: many(other, "put f#"),
    };
    assert_eq!(txn(&request(128, 128, 128), 128), Ok(()));
    for (compares, then, other) in [(129, 0, 0), (0, 129, 0), (0, 0, 129)] {
        assert_eq!(txn(&request(compares, then, other), 128), Err(ApiError::TooManyOps));
    }
    assert_eq!(txn(&request(0, 0, 0), 0), Ok(()));
}

#[test]
fn a_nested_transaction_may_use_what_the_outer_leaves() {
    let nest = |inner: usize, beside: usize| {
        let mut nested = branches_of("");
        nested.success = many(inner, "put i#");
        let mut outer = branches_of("");
        outer.success = many(beside, "put o#");
        outer.success.push(pb::RequestOp { request: Some(Op::RequestTxn(Box::new(nested))) });
        txn(&outer, 128)
    };
    assert_eq!(nest(64, 63), Ok(()));
    assert_eq!(nest(65, 63), Err(ApiError::TooManyOps));
    assert_eq!(nest(0, 127), Ok(()));
    assert_eq!(nest(1, 127), Err(ApiError::TooManyOps));
    assert_eq!(txn(&branches_of("{ {put a} }"), 3), Ok(()));
    assert_eq!(txn(&branches_of("{ {put a} }"), 2), Err(ApiError::TooManyOps));
    assert_eq!(txn(&branches_of("get a | { {put a} }"), 2), Err(ApiError::TooManyOps));
}

#[test]
fn every_operation_of_both_branches_is_checked() {
    let cases = [
        ("put a, get b..c, del d | del e, {put f | get g}", Ok(())),
        ("put ", Err(ApiError::EmptyKey)),
        ("get ", Err(ApiError::EmptyKey)),
        ("del ", Err(ApiError::EmptyKey)),
        ("get a | put ", Err(ApiError::EmptyKey)),
        ("{get a | {del }}", Err(ApiError::EmptyKey)),
        ("none", Err(ApiError::KeyNotFound)),
        ("get a | none", Err(ApiError::KeyNotFound)),
        ("{none}", Err(ApiError::KeyNotFound)),
        // The first fault in order decides.
        ("none, put ", Err(ApiError::KeyNotFound)),
        ("put , none", Err(ApiError::EmptyKey)),
        ("put a, put a, none", Err(ApiError::KeyNotFound)),
    ];
    for (text, expected) in cases {
        assert_eq!(txn(&branches_of(text), 128), expected, "{text}");
    }
    let mut request = branches_of("none");
    request.compare.push(pb::Compare::default());
    assert_eq!(txn(&request, 128), Err(ApiError::EmptyKey));
    let mut request = branches_of("get a");
    if let Some(Op::RequestRange(inner)) = &mut request.success[0].request {
        inner.sort_target = 7;
    }
    assert_eq!(txn(&request, 128), Err(ApiError::InvalidSortOption));
    let mut request = branches_of("put a");
    if let Some(Op::RequestPut(inner)) = &mut request.success[0].request {
        (inner.ignore_lease, inner.lease) = (true, 3);
    }
    assert_eq!(txn(&request, 128), Err(ApiError::LeaseProvided));
}

#[test]
fn no_key_is_put_twice_or_put_and_deleted() {
    let fine = [
        "put a, put b",
        "put a | put a",
        "del a, del a, del a..c",
        "get a, put a, get a..z",
        "put c, del a..c",
        "put c, del d..f, del a..b",
        "put b, del c..a",
        "{put a | put a}",
        "{put a}, {put b}",
        "{put a | del a}",
        "{put a} | {put a}",
        // Compared literally, the one-byte end is below every key.
        "put b, del a..\\0",
        // A range that ends where it begins, or before, holds nothing.
        "del a..\\0, put a",
        "del c..a, put c",
        "del c..c, put c",
        // An earlier nested put is not compared with a later nested deletion.
        "{put a}, {del a}",
    ];
    for text in fine {
        assert_eq!(txn(&branches_of(text), 128), Ok(()), "{text}");
    }
    let refused = [
        "put a, put a",
        "get x | put a, put a",
        "put a, del a",
        "del a, put a",
        "put b, del a..c",
        "del a..b, del b..d, put c",
        "del b..d, del a..c, put c",
        "del c..e, del a..d, put b",
        "put a, {put a}",
        "put a, {get b | put a}",
        "{put a}, {put a}",
        "{put a}, {get b | put a}",
        "{put a | put b}, {put b | put c}",
        "put b, {del a..c}",
        "put b, {get x | del a..c}",
        "del a..c, {put b}",
        "del a..c, {get x | put b}",
        "{del a}, {put a}",
        "{get x | del a..c}, {{put b}}",
        "put a, {{{del a}}}",
        "{put a, put a}",
        "{get x | put a, del a}",
    ];
    for text in refused {
        assert_eq!(txn(&branches_of(text), 128), Err(ApiError::DuplicateKey), "{text}");
    }
}

#[test]
fn only_ranges_make_a_transaction_read_only() {
    let cases = [
        // (transaction, read-only, serializable)
        ("", true, true),
        ("get a", true, false),
        ("get! a", true, true),
        ("get! a | get b", true, false),
        ("get! a, get! b | get! c", true, true),
        ("put a", false, false),
        ("get a | del a", false, false),
        ("{get! a}", false, false),
    ];
    for (text, read_only, serializable) in cases {
        let request = branches_of(text);
        assert_eq!(is_read_only(&request), read_only, "{text}");
        assert_eq!(is_serializable(&request), serializable, "{text}");
    }
}

#[test]
fn a_transaction_costs_its_dearer_branch() {
    let value = pb::PutRequest { key: bytes("key"), value: bytes("value"), ..Default::default() };
    assert_eq!(put_cost(&value), 256 + 3 + 5);
    let cases = [
        ("", 0),
        ("get a, del a..z", 0),
        ("put a", 257),
        ("put a, put bb", 515),
        ("put a | put bb, put c", 515),
        ("put a, {put bb, put c | put d}", 257 + 515),
        ("del a | {get x | {put a}}", 257),
    ];
    for (text, expected) in cases {
        assert_eq!(txn_cost(&branches_of(text)), expected, "{text}");
    }
}
