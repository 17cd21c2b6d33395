//! Hand-written runs in which a cluster began from a snapshot of another.

use detsim_reports::record::{
    Applied, Blob, Body, Call, CheckReport, ClientId, Command, Event, Header, KeyValue, OpId,
    Outcome, Put, Range, Reply, Watch, WatchMessage,
};

use crate::check::script::{Script, kv, put, us};
use crate::check::{Selection, all};

/// A put of `a` that is acknowledged, a save that holds it, and a put of `b` that comes too late.
/// The members are restored at 100 us.
fn saved() -> (Script, OpId) {
    let mut script = Script::new();
    let first = script.put(10, 12, "a", "1", 2);
    script.log(11, first);
    let save = script.save(20, 22, 2, 1);
    let late = script.put(30, 32, "b", "2", 3);
    script.log(31, late);
    (script, save)
}

fn restored(script: &mut Script, save: OpId, bumped: i64) {
    script.restore(100, save, bumped);
    script.founded(101);
}

fn rules(script: &Script) -> Vec<String> {
    let reports: Vec<CheckReport> =
        all(&script.history, Some(&script.internals), &Selection::all());
    let findings = reports.iter().flat_map(|report| &report.findings);
    let mut rules: Vec<String> = findings.map(detsim_reports::record::Finding::signature).collect();
    rules.dedup();
    rules
}

#[test]
fn what_was_saved_is_there_and_what_came_later_is_lawfully_gone() {
    let (mut script, save) = saved();
    restored(&mut script, save, 0);
    script.get(110, 112, "a", Some(kv("a", "1", 2, 2, 1)), 2);
    script.get(113, 114, "b", None, 2);
    let again = script.put(120, 122, "b", "3", 3);
    script.restored_entry(121, Command::Client(put("b", "3")), Some(again));
    script.get(130, 132, "b", Some(kv("b", "3", 3, 3, 1)), 3);
    assert_eq!(rules(&script), Vec::<String>::new());
}

#[test]
fn refusals_that_a_restore_overtook_are_held_against_no_cluster() {
    let is_found = |asked: u64| {
        let (mut script, save) = saved();
        restored(&mut script, save, 0);
        let range = Range { key: Blob::text("a"), revision: 2, ..Range::default() };
        let op = script.invoke(asked, Call::Range(range));
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        script.end(op, 110, Outcome::Fail(compacted.to_owned()));
        !rules(&script).is_empty()
    };
    assert!(!is_found(99), "the member was restored meanwhile");
    assert!(is_found(101), "the new cluster has compacted nothing");
}

#[test]
fn a_store_in_which_nothing_was_written_is_raised_to_what_it_is_raised_by() {
    let is_found = |told: i64| {
        let mut script = Script::new();
        let save = script.save(20, 22, 1, 0);
        restored(&mut script, save, 1_000);
        script.get(110, 112, "a", None, told);
        !rules(&script).is_empty()
    };
    assert!(!is_found(1_000));
    assert!(is_found(1_001), "etcd has no row that tells of the first revision");
}

/// A watch of `b` by one client, with what it receives after its creation.
fn watch(script: &mut Script, at: u64, start: i64, told: i64, then: &[WatchMessage]) {
    let call =
        Call::Watch(Watch { key: Blob::text("b"), start_revision: start, ..Watch::default() });
    let op = script.invoke(at, call);
    script.history.operations[op.0 as usize].client = ClientId(99);
    let created = WatchMessage { revision: told, created: true, ..WatchMessage::default() };
    for message in std::iter::once(&created).chain(then) {
        script.watched(op, at + 1, message.clone());
    }
    script.answer(op, at + 2, told, Body::WatchClosed);
}

#[test]
fn who_goes_on_watching_is_refused_or_knows_no_more_than_the_cluster() {
    let put = |key: KeyValue| WatchMessage {
        revision: key.mod_revision,
        events: vec![Event { is_delete: false, kv: key, prev_kv: None }],
        ..WatchMessage::default()
    };
    let gone = WatchMessage {
        revision: 1002,
        canceled: true,
        compact_revision: 1002,
        ..WatchMessage::default()
    };
    let run = |known: i64, bumped: i64, told: i64, then: &[WatchMessage]| {
        let (mut script, save) = saved();
        let events = [put(kv("b", "2", 3, 3, 1))];
        watch(&mut script, 40, 2, 3, if known == 3 { &events } else { &[] });
        restored(&mut script, save, bumped);
        watch(&mut script, 110, known + 1, told, then);
        rules(&script).contains(&"restores/watch-ahead-of-cluster".to_owned())
    };
    assert!(run(3, 0, 2, &[]), "it waits for what others have had");
    assert!(!run(1, 0, 2, &[]), "what it knows was saved");
    assert!(!run(3, 1000, 1002, &[gone]), "it is refused");
    assert!(!run(3, 0, 3, &[]), "others have had the revision");
}

#[test]
fn what_was_saved_may_not_be_missing() {
    let (mut script, save) = saved();
    restored(&mut script, save, 0);
    script.get(110, 112, "a", None, 2);
    assert!(rules(&script).contains(&"linearizability/wrong-reply".to_owned()));
}

#[test]
fn what_came_later_may_not_come_back() {
    let (mut script, save) = saved();
    restored(&mut script, save, 0);
    script.get(110, 112, "b", Some(kv("b", "2", 3, 3, 1)), 3);
    assert!(rules(&script).iter().any(|rule| rule.starts_with("linearizability/")));
}

#[test]
fn a_member_that_begins_elsewhere_diverges_from_the_saved_state() {
    let (mut script, save) = saved();
    restored(&mut script, save, 0);
    script.internals.applied.push(Applied {
        at: us(102),
        cluster: 1,
        member: 0,
        incarnation: 1,
        index: 1,
        term: 1,
        revision: 3,
        digest: 7,
    });
    assert_eq!(rules(&script), ["replicas/model-divergence"]);
}

#[test]
fn revisions_that_are_raised_are_compacted_below() {
    let (mut script, save) = saved();
    restored(&mut script, save, 1_000_000);
    script.get(110, 112, "a", Some(kv("a", "1", 2, 2, 1)), 1_000_002);
    let again = script.put(120, 122, "b", "3", 1_000_003);
    script.restored_entry(121, Command::Client(put("b", "3")), Some(again));
    assert_eq!(rules(&script), Vec::<String>::new());
    script.get(130, 132, "a", Some(kv("a", "1", 2, 2, 1)), 3);
    assert!(!rules(&script).is_empty());
}

#[test]
fn a_snapshot_that_lacks_what_its_member_had_told_is_found() {
    let (mut script, save) = saved();
    let operation = &mut script.history.operations[save.0 as usize];
    (operation.invoked, operation.completed) = (us(40), us(42));
    assert_eq!(rules(&script), ["restores/stale-snapshot"]);
}

#[test]
fn a_snapshot_whose_revision_is_not_that_of_its_index_is_found() {
    let (mut script, save) = saved();
    restored(&mut script, save, 0);
    let body = Body::Snapshot { size_bytes: 1, version: String::new(), revision: 2, index: 2 };
    let header = Header::default();
    script.history.operations[save.0 as usize].outcome = Some(Outcome::Ok(Reply { header, body }));
    assert!(rules(&script).contains(&"restores/wrong-snapshot".to_owned()));
}

#[test]
fn keys_hash_to_the_same_before_and_after() {
    let hash = |hash| Body::HashKv { hash, compact_revision: -1, hash_revision: 2 };
    let run = |after: u32| {
        let (mut script, save) = saved();
        script.ok(15, 16, Call::HashKv { revision: 0 }, 2, hash(7));
        restored(&mut script, save, 0);
        script.ok(110, 112, Call::HashKv { revision: 0 }, 2, hash(after));
        rules(&script)
    };
    assert_eq!(run(7), Vec::<String>::new());
    assert_eq!(run(8), ["restores/hash-changed"]);
}

#[test]
fn a_member_that_was_left_out_must_not_answer_as_one_of_the_restored_cluster() {
    let (mut script, save) = saved();
    restored(&mut script, save, 0);
    script.history.restored[0].entered.truncate(2);
    script.get(110, 112, "a", Some(kv("a", "1", 2, 2, 1)), 2);
    let old = script.get(120, 122, "b", Some(kv("b", "2", 3, 3, 1)), 3);
    script.history.operations[old.0 as usize].member = 2;
    assert!(rules(&script).contains(&"restores/shared-cluster".to_owned()));
    if let Some(Outcome::Ok(reply)) = &mut script.history.operations[old.0 as usize].outcome {
        reply.header.cluster_id = 2;
    }
    assert!(!rules(&script).contains(&"restores/shared-cluster".to_owned()));
}

#[test]
fn a_client_that_goes_on_must_not_be_told_an_older_revision() {
    let (mut script, save) = saved();
    restored(&mut script, save, 0);
    let late = script.history.operations.len() - 1;
    let client = script.history.operations[late].client;
    let next = script.get(110, 112, "a", Some(kv("a", "1", 2, 2, 1)), 2);
    assert_eq!(rules(&script), Vec::<String>::new(), "another client knows nothing");
    script.history.operations[next.0 as usize].client = client;
    assert_eq!(rules(&script), ["restores/revision-decreased"]);
    script.history.restored[0].bumped = 10;
    let revision = |reply: &mut Reply| reply.header.revision = 12;
    if let Some(Outcome::Ok(reply)) = &mut script.history.operations[next.0 as usize].outcome {
        revision(reply);
    }
    assert_eq!(rules(&script), Vec::<String>::new());
}

/// Who enters a lock on this lease, and what a client sees of it then.
fn enter(script: &mut Script, at: u64, lease: i64, token: i64) -> OpId {
    let key = format!("lock/{lease:x}");
    let granted = Body::LeaseGrant { id: lease, ttl_s: 60 };
    script.ok(at, at + 1, Call::LeaseGrant { id: lease, ttl_s: 60 }, token - 1, granted);
    let put = Put { key: Blob::text(&key), lease, ..Put::default() };
    let entered = script.ok(at + 2, at + 3, Call::Put(put), token, Body::Put { prev_kv: None });
    let found = KeyValue { lease, ..kv(&key, "", token, token, 1) };
    script.get(at + 4, at + 5, &key, Some(found), token);
    entered
}

#[test]
fn a_token_must_not_be_given_to_two_by_a_cluster_that_was_restored() {
    let is_found = |bumped: i64, lease: i64| {
        let (mut script, save) = saved();
        let late = enter(&mut script, 40, 0xa, 4);
        script.log(43, late);
        restored(&mut script, save, bumped);
        enter(&mut script, 110, lease, 4 + bumped);
        rules(&script).contains(&"restores/token-given-again".to_owned())
    };
    assert!(is_found(0, 0xb));
    assert!(!is_found(0, 0xa), "the same client has it");
    assert!(!is_found(1_000, 0xb), "revisions were raised");
}
