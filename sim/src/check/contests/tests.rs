//! Locks and elections by hand: a good contest, one bad for each rule, and mutants of played ones.

use detsim_reports::record::{
    Blob, Body, Call, Compare, DeleteRange, Event, KeyValue, OpId, Operator, Outcome, Put, Range,
    RangeReply, SortOrder, SortTarget, Target, Txn, TxnOp, TxnOpReply, TxnReply, Watch,
    WatchMessage,
};

use super::*;
use crate::check::script::Script;

const NOTHING: [&str; 0] = [];

/// The key of the contender with this lease, as it was created.
fn contender(lease: i64, create_revision: i64) -> KeyValue {
    let key = Blob::text(&format!("x/{lease:x}"));
    KeyValue {
        key,
        create_revision,
        mod_revision: create_revision,
        version: 1,
        lease,
        ..KeyValue::default()
    }
}

fn contenders() -> Range {
    Range {
        key: Blob::text("x/"),
        range_end: Blob::text("x0"),
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..Range::default()
    }
}

fn listed(kvs: &[KeyValue]) -> RangeReply {
    RangeReply { kvs: kvs.to_vec(), more: false, count: kvs.len() as i64 }
}

fn txn(key: &KeyValue, create_revision: i64, success: Vec<TxnOp>, failure: Vec<TxnOp>) -> Call {
    let compare = Compare {
        key: key.key.clone(),
        range_end: Blob::default(),
        operator: Operator::Equal,
        target: Target::Create(create_revision),
    };
    Call::Txn(Box::new(Txn { compare: vec![compare], success, failure }))
}

fn took(responses: Vec<TxnOpReply>) -> Body {
    Body::Txn(TxnReply { succeeded: true, responses })
}

/// A contender enters at its create revision and sees the owner.
fn enter(script: &mut Script, at: u64, own: &KeyValue, owner: &KeyValue) -> OpId {
    let put = Put { key: own.key.clone(), lease: own.lease, ..Put::default() };
    let call = txn(own, 0, vec![TxnOp::Put(put), TxnOp::Range(contenders())], Vec::new());
    let revision = own.create_revision;
    let reply = listed(std::slice::from_ref(owner));
    let body = took(vec![
        TxnOpReply::Put { revision, prev_kv: None },
        TxnOpReply::Range { revision, reply },
    ]);
    script.ok(at, at + 1, call, revision, body)
}

/// A fenced write, which goes through.
fn write(script: &mut Script, at: u64, own: &KeyValue, revision: i64) -> OpId {
    let op = script.invoke(at, fenced(own));
    let body = took(vec![TxnOpReply::Put { revision, prev_kv: None }]);
    script.answer(op, at + 1, revision, body);
    op
}

fn fenced(own: &KeyValue) -> Call {
    let value = Blob::text(&format!("by {}", own.create_revision));
    let put = Put { key: Blob::text("shared"), value, ..Put::default() };
    txn(own, own.create_revision, vec![TxnOp::Put(put)], Vec::new())
}

fn unlock(script: &mut Script, at: u64, own: &KeyValue, revision: i64) -> OpId {
    let delete = DeleteRange { key: own.key.clone(), ..DeleteRange::default() };
    let body = Body::DeleteRange { deleted: 1, prev_kvs: Vec::new() };
    script.ok(at, at + 1, Call::DeleteRange(delete), revision, body)
}

fn own_read(script: &mut Script, at: u64, own: &KeyValue, is_there: bool, revision: i64) -> OpId {
    let range = Range { key: own.key.clone(), ..Range::default() };
    let kvs = if is_there { vec![own.clone()] } else { Vec::new() };
    script.ok(at, at + 1, Call::Range(range), revision, Body::Range(listed(&kvs)))
}

fn owner_read(script: &mut Script, at: u64, owner: Option<&KeyValue>, revision: i64) -> OpId {
    let kvs: Vec<KeyValue> = owner.into_iter().cloned().collect();
    script.ok(at, at + 1, Call::Range(contenders()), revision, Body::Range(listed(&kvs)))
}

fn rules(script: &Script) -> Vec<String> {
    let findings = check(&script.history, Kind::Lock).findings;
    findings.into_iter().map(|finding| finding.rule).collect()
}

/// Two contend: the first, with token 2, writes at revision 4 and leaves at 5; then the second,
/// with token 3, is the owner.
fn good() -> (Script, KeyValue, KeyValue) {
    let (first, second) = (contender(10, 2), contender(11, 3));
    let mut script = Script::new();
    enter(&mut script, 10, &first, &first);
    enter(&mut script, 20, &second, &first);
    write(&mut script, 30, &first, 4);
    unlock(&mut script, 40, &first, 5);
    owner_read(&mut script, 50, Some(&second), 5);
    write(&mut script, 60, &second, 6);
    (script, first, second)
}

#[test]
fn a_lock_that_passes_from_one_to_the_next_passes() {
    let (script, ..) = good();
    let report = check(&script.history, Kind::Lock);
    assert_eq!(report.findings, Vec::new());
    let counts = ["2 tokens of locks", "3 answers that nobody else", "2 writes let through"];
    for (count, line) in counts.iter().zip(&report.checked) {
        assert!(line.starts_with(count), "{line}");
    }
}

#[test]
fn a_token_that_has_ended_lets_nothing_through() {
    let (mut script, first, _) = good();
    write(&mut script, 70, &first, 7);
    assert_eq!(rules(&script), ["stale-fenced-write", "stale-fenced-write"]);
}

#[test]
fn a_stale_write_of_unknown_outcome_is_known_by_what_it_wrote() {
    let (mut script, first, _) = good();
    let op = script.invoke(70, fenced(&first));
    script.unknown(op, 80);
    assert_eq!(rules(&script), NOTHING);
    let seen = KeyValue {
        key: Blob::text("shared"),
        value: Blob::text("by 2"),
        mod_revision: 7,
        ..KeyValue::default()
    };
    let range = Range { key: Blob::text("shared"), ..Range::default() };
    script.ok(90, 91, Call::Range(range), 7, Body::Range(listed(&[seen])));
    assert_eq!(rules(&script), ["stale-fenced-write", "stale-fenced-write"]);
}

#[test]
fn a_copy_of_a_value_does_not_tell_who_wrote_it() {
    let rules_of = |is_answered: bool, modified: i64| {
        let (mut script, first, _) = good();
        let op = script.invoke(25, fenced(&first));
        script.unknown(op, 80);
        let key = Blob::text("shared");
        let keep = Put { key: key.clone(), ignore_value: true, ..Put::default() };
        let keep = script.invoke(70, Call::Put(keep));
        match is_answered {
            true => script.answer(keep, 75, 7, Body::Put { prev_kv: None }),
            false => script.unknown(keep, 75),
        }
        let value = Blob::text("by 2");
        let seen = KeyValue { key, value, mod_revision: modified, ..KeyValue::default() };
        let range = Range { key: Blob::text("shared"), ..Range::default() };
        script.ok(90, 91, Call::Range(range), 8, Body::Range(listed(&[seen])));
        rules(&script)
    };
    assert_eq!(rules_of(true, 7), NOTHING);
    assert_eq!(rules_of(true, 8), ["stale-fenced-write", "stale-fenced-write"]);
    assert_eq!(rules_of(false, 8), NOTHING);
}

#[test]
fn a_revoke_ends_what_nobody_took_from_its_lease() {
    let revoked = |is_taken: bool| {
        let own = contender(10, 2);
        let mut script = Script::new();
        enter(&mut script, 10, &own, &own);
        if is_taken {
            let put = Put { key: own.key.clone(), ..Put::default() };
            script.ok(20, 21, Call::Put(put), 3, Body::Put { prev_kv: None });
        }
        script.ok(30, 31, Call::LeaseRevoke { id: 10 }, 4, Body::LeaseRevoke);
        own_read(&mut script, 40, &own, true, 5);
        rules(&script)
    };
    assert_eq!(revoked(false), ["came-back"]);
    assert_eq!(revoked(true), NOTHING);
}

#[test]
fn a_key_that_is_gone_does_not_come_back_with_its_token() {
    let (mut script, first, _) = good();
    own_read(&mut script, 70, &first, true, 6);
    assert!(rules(&script).contains(&"came-back".to_owned()));
}

#[test]
fn who_owns_is_alone() {
    let (first, second) = (contender(10, 2), contender(11, 3));
    let mut script = Script::new();
    enter(&mut script, 10, &first, &first);
    enter(&mut script, 20, &second, &second);
    assert_eq!(rules(&script), NOTHING, "nothing shows that the first is still there");
    own_read(&mut script, 30, &first, true, 3);
    assert_eq!(rules(&script), ["two-holders"]);
}

#[test]
fn the_one_before_is_not_overlooked() {
    let (first, second) = (contender(10, 2), contender(11, 3));
    let mut script = Script::new();
    enter(&mut script, 10, &first, &first);
    enter(&mut script, 20, &second, &first);
    let look = Range { sort_order: SortOrder::Descend, max_create_revision: 2, ..contenders() };
    script.ok(30, 31, Call::Range(look), 4, Body::Range(listed(&[])));
    assert_eq!(rules(&script), NOTHING);
    own_read(&mut script, 40, &first, true, 4);
    assert_eq!(rules(&script), ["two-holders"]);
}

#[test]
fn two_contenders_never_share_a_token() {
    let (first, second) = (contender(10, 2), contender(11, 2));
    let mut script = Script::new();
    enter(&mut script, 10, &first, &first);
    enter(&mut script, 10, &second, &first);
    assert_eq!(rules(&script), ["shared-token"]);
}

#[test]
fn tokens_grow() {
    let (first, second) = (contender(10, 5), contender(11, 4));
    let mut script = Script::new();
    enter(&mut script, 10, &first, &first);
    assert_eq!(rules(&script), NOTHING);
    enter(&mut script, 20, &second, &second);
    assert_eq!(rules(&script), ["token-went-back"]);
}

#[test]
fn a_watch_tells_when_a_token_ended() {
    let (first, second) = (contender(10, 2), contender(11, 3));
    let mut script = Script::new();
    enter(&mut script, 10, &first, &first);
    enter(&mut script, 20, &second, &first);
    let op = script.invoke(25, Call::Watch(Watch { key: first.key.clone(), ..Watch::default() }));
    let kv = KeyValue { key: first.key.clone(), mod_revision: 4, ..KeyValue::default() };
    let events = vec![Event { is_delete: true, kv, prev_kv: None }];
    script.watched(op, 30, WatchMessage { revision: 4, events, ..WatchMessage::default() });
    assert_eq!(rules(&script), NOTHING);
    write(&mut script, 40, &first, 6);
    assert_eq!(rules(&script), ["stale-fenced-write"]);
}

#[test]
fn overlapping_beliefs_are_information() {
    let (mut script, first, _) = good();
    // The first writes without a fence after its token has ended, as the client that entered.
    let client = script.history.operations[0].client;
    script.history.operations.remove(3);
    let put = Put { key: Blob::text("open"), ..Put::default() };
    let op = script.ok(70, 71, Call::Put(put), 7, Body::Put { prev_kv: None });
    script.history.operations.iter_mut().filter(|o| o.id == op).for_each(|o| o.client = client);
    own_read(&mut script, 80, &first, false, 7);
    let second = script.history.operations[1].client;
    script.history.operations[3].client = second;
    let report = check(&script.history, Kind::Lock);
    assert_eq!(report.findings, Vec::new());
    assert!(report.not_checked[0].starts_with("1 times two clients"), "{:?}", report.not_checked);
}

#[test]
fn a_contest_with_values_is_an_election() {
    let (mut script, first, _) = good();
    for operation in &mut script.history.operations {
        if let Call::Txn(txn) = &mut operation.call {
            for op in &mut txn.success {
                if let TxnOp::Put(put) = op {
                    put.value = Blob::text("candidate");
                }
            }
        }
    }
    write(&mut script, 70, &first, 7);
    assert_eq!(rules(&script), NOTHING);
    let findings = check(&script.history, Kind::Election).findings;
    assert!(!findings.is_empty());
    assert!(findings.iter().all(|finding| finding.rule == "stale-proclaim"));
}

#[test]
fn played_contests_pass_and_their_mutants_do_not() {
    use crate::workload::stage::play;
    let kinds = [
        ("lock", Kind::Lock, "stale-fenced-write"),
        ("election", Kind::Election, "stale-proclaim"),
    ];
    for (name, kind, rule) in kinds {
        for trouble in [0, 500] {
            let history = play(name, &[("careless", "40%")], 4_000, trouble).history;
            assert_eq!(check(&history, kind).findings, Vec::new());
            let (mut changed, mut found) = (0, 0);
            for at in 0..history.operations.len() {
                let mut operation = history.operations[at].clone();
                if changed == 10 || !let_through(&mut operation) {
                    continue;
                }
                changed += 1;
                let mut mutant = history.clone();
                mutant.operations[at] = operation;
                let findings = check(&mutant, kind).findings;
                found += usize::from(findings.iter().any(|finding| finding.rule == rule));
            }
            assert!(changed > 3 && found * 2 > changed, "{name}: {found} of {changed} mutants");
        }
    }
}

/// Makes a write that a fence stopped one that went through.
fn let_through(operation: &mut Operation) -> bool {
    let Some(Outcome::Ok(reply)) = &mut operation.outcome else { return false };
    let (Call::Txn(txn), Body::Txn(body)) = (&operation.call, &mut reply.body) else {
        return false;
    };
    let is_fence = matches!(txn.compare[0].target, Target::Create(1..));
    let puts = matches!(txn.success.first(), Some(TxnOp::Put(_)));
    if body.succeeded || !is_fence || !puts {
        return false;
    }
    reply.header.revision += 1;
    let put = TxnOpReply::Put { revision: reply.header.revision, prev_kv: None };
    *body = TxnReply { succeeded: true, responses: vec![put] };
    true
}
