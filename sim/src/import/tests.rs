//! Histories of other tools, good and bad, and what is no history.

use std::path::{Path, PathBuf};

use super::*;
use crate::check::{self, Checker, Selection};

fn jepsen(text: &str) -> Imported {
    jepsen::import(Path::new("history.edn"), text).expect("it is a history")
}

fn robustness(text: &str) -> Imported {
    let files = [(PathBuf::from("operations.json"), text)];
    robustness::import(&files).expect("it is a history")
}

/// What is found in each part.
fn rules(imported: &Imported) -> Vec<(String, Vec<String>)> {
    let selection = Selection::of(&[Checker::Linearizability]);
    let found = imported.parts.iter().map(|part| {
        let reports = check::all(&part.history, None, &selection);
        let findings = reports.into_iter().flat_map(|report| report.findings);
        (part.of.clone(), findings.map(|finding| finding.rule).collect())
    });
    found.collect()
}

fn found_nothing(of: &str) -> (String, Vec<String>) {
    (of.to_owned(), Vec::new())
}

const REGISTER: &str = r#"
{:type :invoke, :process 0, :f :write, :value 1, :time 10, :index 0}
{:type :ok, :process 0, :f :write, :value 1, :time 20}
{:type :invoke, :process 1, :f :cas, :value [1 2], :time 30}
{:type :info, :process :nemesis, :f :kill, :value nil, :time 31}
{:type :info, :process 1, :f :cas, :value [1 2], :time 40, :error :timeout}
{:type :invoke, :process 2, :f :read, :value nil, :time 50}
"#;

#[test]
fn an_unknown_swap_of_a_register_may_have_happened_or_not() {
    for value in ["1", "2"] {
        let text =
            format!("{REGISTER}{{:type :ok, :process 2, :f :read, :value {value}, :time 60}}");
        assert_eq!(rules(&jepsen(&text)), [found_nothing("register")]);
    }
}

#[test]
fn a_register_does_not_hold_what_nobody_wrote() {
    let text = format!("{REGISTER}{{:type :ok, :process 2, :f :read, :value 3, :time 60}}");
    let found = rules(&jepsen(&text));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1.len(), 1, "{found:?}");
}

#[test]
fn independent_keys_are_judged_alone_and_versions_count() {
    let history = |version: i64| {
        format!(
            "[#jepsen.history.Op{{:type :invoke, :process 0, :f :write, :value [1 [nil 4]], :time 1}}
              #jepsen.history.Op{{:type :ok, :process 0, :f :write, :value [1 [1 4]], :time 2}}
              {{:type :invoke, :process 1, :f :read, :value [2 [nil nil]], :time 3}}
              {{:type :ok, :process 1, :f :read, :value [2 [nil nil]], :time 4}}
              {{:type :invoke, :process 1, :f :read, :value [1 [nil nil]], :time 5}}
              {{:type :ok, :process 1, :f :read, :value [1 [{version} 4]], :time 6}}
              {{:type :invoke, :process 1, :f :txn, :value [[:r 1 nil]], :time 7}}]"
        )
    };
    let good = jepsen(&history(1));
    assert_eq!(rules(&good), [found_nothing("1"), found_nothing("2")]);
    assert_eq!(
        good.not_checked,
        ["1 events of `:txn`: only :read, :write and :cas are understood"]
    );
    let bad = rules(&jepsen(&history(2)));
    assert_eq!((bad[0].1.len(), bad[1].1.len()), (1, 0), "{bad:?}");
}

#[test]
fn a_broken_edn_history_is_refused_with_its_line() {
    let error = |text: &str| {
        let error = jepsen::import(Path::new("history.edn"), text).expect_err("it is broken");
        error.to_string()
    };
    let open = "{:type :invoke, :process 0, :f :read, :value nil}\n";
    assert_eq!(
        error(&format!("{open}{open}")),
        "history.edn:2: process 0 invokes while its operation of line 1 has not ended"
    );
    assert_eq!(
        error("{:type :ok, :process 0, :f :read, :value 1}"),
        "history.edn:1: process 0 ends what it did not begin"
    );
    assert_eq!(error("{:type :ok"), "history.edn:1: expected a value, found the end");
    assert_eq!(error("\n{:type}"), "history.edn:2: a map has a key without a value");
    assert_eq!(error("{:f :read}"), "history.edn:1: expected an operation with `:process`");
    let deep = "[".repeat(10_000);
    assert_eq!(error(&deep), "history.edn:1: values are nested deeper than 100");
}

/// A put of `key0` at revision 2, one of unknown outcome, and a read.
fn report(value: &str, mod_revision: i64, version: i64, revision: i64) -> String {
    let put = |client: u32, value: &str, from: i64, to: i64, output: &str| {
        format!(
            r#"{{"ClientId":{client},"Input":{{"Type":"txn","LeaseGrant":null,"LeaseRevoke":null,"Range":null,"Txn":{{"Conditions":null,"OperationsOnSuccess":[{{"Type":"put-operation","Range":{{"Start":"","End":"","Limit":0}},"Put":{{"Key":"key0","Value":{{"Value":"{value}","Hash":0}},"LeaseID":0}},"Delete":{{"Key":""}}}}],"OperationsOnFailure":null}},"Defragment":null,"Compact":null}},"Call":{from},"Output":{output},"Return":{to}}}"#
        )
    };
    let done = r#"{"Txn":{"Failure":false,"Results":[{"KVs":null,"Count":0,"Deleted":0}]},"Range":null,"LeaseGrant":null,"LeaseRevoke":null,"Defragment":null,"Compact":null,"ClientError":"","Revision":2,"Persisted":false,"PersistedRevision":0,"Error":""}"#;
    let lost = r#"{"Txn":null,"Range":null,"ClientError":"","Revision":0,"Persisted":false,"PersistedRevision":0,"Error":"context deadline exceeded"}"#;
    let read = format!(
        r#"{{"ClientId":3,"Input":{{"Type":"range","Range":{{"Start":"key0","End":"","Limit":0,"Revision":0}}}},"Call":50,"Output":{{"Range":{{"KVs":[{{"Key":"key0","Value":{{"Value":"{value}","Hash":0}},"ModRevision":{mod_revision},"Version":{version}}}],"Count":1}},"Revision":{revision}}},"Return":60}}"#
    );
    let puts = [put(1, "1", 10, 20, done), put(2, "2", 30, -1, lost)];
    format!("{}\n{}\n{read}\n", puts[0], puts[1])
}

#[test]
fn a_robustness_report_is_judged_by_what_it_records() {
    for text in [report("1", 2, 1, 2), report("2", 3, 2, 3)] {
        assert_eq!(rules(&robustness(&text)), [found_nothing("")]);
    }
    for text in [report("1", 2, 1, 3), report("2", 3, 1, 3), report("3", 2, 1, 2)] {
        let found = rules(&robustness(&text));
        assert_eq!(found[0].1.len(), 1, "{text}");
    }
}

#[test]
fn long_values_are_compared_by_their_hash() {
    let long = "a value of twenty bytes and more";
    let put = report("1", 2, 1, 2).replacen("\"1\"", &format!("\"{long}\""), 1);
    let hash = 0x811c_9dc5_u32;
    let hash =
        long.bytes().fold(hash, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let hashed = |hash: u32| {
        let hashed = format!(r#"{{"Value":"","Hash":{hash}}},"ModRevision""#);
        put.replace(r#"{"Value":"1","Hash":0},"ModRevision""#, &hashed)
    };
    assert_eq!(rules(&robustness(&hashed(hash))), [found_nothing("")]);
    assert_eq!(rules(&robustness(&hashed(hash ^ 1)))[0].1.len(), 1);
}

#[test]
fn a_broken_report_is_refused_with_its_line() {
    let error = |text: &str| {
        let files = [(PathBuf::from("operations.json"), text)];
        robustness::import(&files).expect_err("it is broken").to_string()
    };
    let odd = report("1", 2, 1, 2).replacen("\"txn\"", "\"defrost\"", 1);
    assert_eq!(
        error(&odd),
        "operations.json:1: expected a request of type range, txn, leaseGrant, leaseRevoke, \
         compact or defragment, found `defrost`"
    );
    assert!(error("\n{\"Input\"").starts_with("operations.json:2: "));
}
