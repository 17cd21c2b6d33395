//! Transactions: contract-api.md, sections 2.2 and 2.8.

use super::language::{World, parse, show};
use crate::mvcc::{is_read_only, is_serializable};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request;

fn txn(text: &str) -> pb::TxnRequest {
    match parse(text) {
        Request::RequestTxn(request) => *request,
        _ => panic!("not a transaction: {text}"),
    }
}

fn world() -> World {
    let mut world = World::new();
    world.talk(
        "
        put a 1 => rev 2
        put a 2 => rev 3
        put b 5 lease=7 => rev 4
        ",
    );
    world
}

#[test]
fn comparisons_hold_as_the_contract_says() {
    let check = |compare: &str, holds: bool| {
        let request = parse(&format!("txn [{compare}] {{ }} {{ }}"));
        let expected = if holds { "rev 4 then {}" } else { "rev 4 else {}" };
        assert_eq!(show(&world().run(&request)), expected, "{compare}");
    };
    check("", true);
    for (target, value) in [("version", 2), ("create", 2), ("mod", 3), ("lease", 0)] {
        check(&format!("{target}(a)={value}"), true);
        check(&format!("{target}(a)!={value}"), false);
        check(&format!("{target}(a)>{value}"), false);
        check(&format!("{target}(a)<{value}"), false);
        check(&format!("{target}(a)>{}", value - 1), true);
        check(&format!("{target}(a)<{}", value + 1), true);
        check(&format!("{target}(missing)=0"), true);
        check(&format!("{target}(missing)!=0"), false);
        check(&format!("{target}(missing..n)<1"), true);
        check(&format!("{target}(missing..n)>0"), false);
    }
    check("lease(b)=7", true);
    check("value(a)=2", true);
    check("value(a)>1", true);
    check("value(a)<10", false);
    for operator in ["=", "!=", "<", ">"] {
        check(&format!("value(missing){operator}x"), false);
        check(&format!("value(missing){operator}''"), false);
        check(&format!("value(missing..n){operator}x"), false);
    }
    check("value(a..)>1", true);
    check("value(a..)>2", false);
    check("version(a..c)>1", false);
    check("version(a..c)>0", true);
    check("version(a)=2 mod(b)=4", true);
    check("version(a)=2 mod(b)=5", false);
}

#[test]
fn odd_comparisons_have_etcds_outcome() {
    let outcome = |edit: fn(&mut pb::Compare)| {
        let mut request = txn("txn [version(a)=1] { } { }");
        edit(&mut request.compare[0]);
        let mut world = world();
        world.store.txn(&request, &mut world.lessor).unwrap().succeeded
    };
    assert!(!outcome(|_| {}));
    assert!(outcome(|compare| compare.result = 9), "an unknown operator holds");
    assert!(outcome(|compare| compare.target = 9), "an unknown target is equal");
    // The union says "version 1", so the given creation revision is 0.
    assert!(!outcome(|compare| compare.target = 1));
    assert!(outcome(|compare| (compare.target, compare.result) = (1, 1)));
    assert!(outcome(|compare| (compare.target_union, compare.result) = (None, 1)));
}

#[test]
fn operations_see_the_earlier_ones_and_headers_the_revision_so_far() {
    world().talk(
        "
        txn [] { get a ; del x ; put c 1 ; get c ; del x ; del a ; get a..c keys-only } { } => \
         rev 5 then {rev 4 count 1 a=2@2/3/2; rev 4 deleted 0; rev 5; rev 5 count 1 c=1@5/5/1; \
         rev 5 deleted 0; rev 5 deleted 1; rev 5 count 1 b=@4/4/1#7}
        txn [] { get c } { put x 1 } => rev 5 then {rev 5 count 1 c=1@5/5/1}
        txn [version(c)=0] { put x 1 } { del x ; get c keys-only } => \
         rev 5 else {rev 5 deleted 0; rev 5 count 1 c=@5/5/1}
        txn [] { } { put x 1 } => rev 5 then {}
        ",
    );
}

#[test]
fn changes_of_one_transaction_keep_their_order() {
    let mut world = World::new();
    world.check("put a 0", "rev 2");
    world.check(
        "txn [] { put z 1 ; del a ; put b 2 } { }",
        "rev 3 then {rev 3; rev 3 deleted 1; rev 3}",
    );
    let order: Vec<_> = world
        .store
        .last_changes()
        .iter()
        .map(|change| (change.revision.main, change.revision.sub, &change.kv.key[..]))
        .collect();
    assert_eq!(order, [(3, 0, &b"z"[..]), (3, 1, b"a"), (3, 2, b"b")]);
}

#[test]
fn nested_transactions_compare_with_the_state_before_all() {
    world().talk(
        "
        txn [] { put c 1 ; txn [version(c)=0] { put d 1 prev } { get c } } { } => \
         rev 5 then {rev 5; rev 0 then {rev 5}}
        txn [] { txn [version(c)=0] { } { txn [version(d)=1] { get d } { } ; get c } } { } => \
         rev 5 then {rev 0 else {rev 0 then {rev 5 count 1 d=1@5/5/1}; rev 5 count 1 c=1@5/5/1}}
        ",
    );
}

#[test]
fn a_transaction_that_cannot_be_executed_has_no_effect() {
    let check = |request: &str, error: &str| {
        let mut world = world();
        let digest = world.store.digest();
        world.check(request, error);
        let request = txn(request);
        let unanswered = world.store.txn_unanswered(&request, &mut world.lessor).unwrap_err();
        assert!(unanswered.text().ends_with(error), "{unanswered} is not {error}");
        assert_eq!(world.store.digest(), digest);
        assert_eq!(world.store.revision(), 4);
    };
    let (no_lease, no_key) = ("requested lease not found", "key not found");
    let future = "mvcc: required revision is a future revision";
    check("txn [] { put c 1 ; put d 1 lease=9 } { }", no_lease);
    check("txn [] { put c 1 ; put d '' ignore-value } { }", no_key);
    check("txn [] { put c 1 ; txn [] { put d 1 ignore-lease } { } } { }", no_key);
    check("txn [] { put c 1 ; get a rev=5 } { }", future);
    check("txn [] { put c 1 ; txn [mod(a)=0] { } { get a rev=9 } } { }", future);
    check("txn [] { put d '' ignore-value lease=9 } { }", no_key);
    check("txn [] { get a rev=9 ; put d 1 lease=9 } { }", future);
    check("txn [] { put d 1 lease=9 ; get a rev=9 } { }", no_lease);
    // Preconditions look at the state before the transaction.
    check("txn [] { put c 1 ; txn [] { put c '' ignore-value } { } } { }", no_key);
}

#[test]
fn what_is_not_executed_is_not_checked() {
    world().talk(
        "
        txn [mod(a)=3] { get a keys-only } { put d 1 lease=9 } => \
         rev 4 then {rev 4 count 1 a=@2/3/2}
        txn [] { txn [mod(a)=3] { } { get a rev=9 } } { } => rev 4 then {rev 0 then {}}
        ",
    );
}

#[test]
fn negative_revisions_in_a_transaction_are_compared_as_they_are() {
    let mut world = world();
    let compacted = "mvcc: required revision has been compacted";
    world.check("txn [] { get a rev=-1 } { }", "rev 4 then {rev 4 count 1 a=2@2/3/2}");
    world.check("txn [] { get a rev=-2 } { }", compacted);
    world.compact(2);
    world.check("txn [] { get a rev=-1 } { }", compacted);
    world.check("txn [] { put c 1 ; get a rev=1 } { }", compacted);
    world.check("txn [] { get a rev=2 } { }", "rev 4 then {rev 4 count 1 a=1@2/2/1}");
    world.check("txn [] { get a rev=0 keys-only } { }", "rev 4 then {rev 4 count 1 a=@2/3/2}");
}

#[test]
fn an_unanswered_transaction_has_the_same_effect() {
    let (mut answered, mut unanswered) = (world(), world());
    let request =
        txn("txn [] { get a ; put c 1 prev lease=7 ; del a prev ; txn [] { put d 1 } { } } { }");
    answered.store.txn(&request, &mut answered.lessor).unwrap();
    unanswered.store.txn_unanswered(&request, &mut unanswered.lessor).unwrap();
    assert_eq!(answered.store.digest(), unanswered.store.digest());
    assert_eq!(answered.store.last_changes(), unanswered.store.last_changes());
    assert_eq!(answered.lessor.keys(7), unanswered.lessor.keys(7));
}

#[test]
fn only_ranges_make_a_transaction_read_only() {
    let check = |request: &str, reads: bool, serializes: bool| {
        let request = txn(request);
        assert_eq!((is_read_only(&request), is_serializable(&request)), (reads, serializes));
    };
    check("txn [] { } { }", true, true);
    check("txn [] { get a } { get b }", true, false);
    check("txn [] { get a } { put b 1 }", false, false);
    check("txn [] { } { del b }", false, false);
    check("txn [] { txn [] { get a } { } } { }", false, false);
    let mut request = txn("txn [] { get a } { }");
    if let Some(Request::RequestRange(range)) = &mut request.success[0].request {
        range.serializable = true;
    }
    assert!(is_serializable(&request));
}

#[test]
fn read_only_transactions_are_answered_without_applying() {
    let world = world();
    let read = |text: &str| world.store.read_txn(&txn(text));
    let response = read("txn [mod(a)=3] { get a ; get b.. } { }").unwrap();
    assert!(response.succeeded);
    assert_eq!(response.responses.len(), 2);
    assert_eq!(response.header.unwrap().revision, 4);
    assert!(read("txn [] { get a ; get b rev=5 } { }").is_err());
    assert_eq!(
        world.store.view().read_txn(&txn("txn [] { get a } { }")).unwrap().responses.len(),
        1
    );
}
