//! Histories of other tools, good and bad, and what is no history.

use std::path::Path;

use super::*;
use crate::check::{self, Selection};

fn jepsen(text: &str) -> Imported {
    jepsen::import(Path::new("history.edn"), text).expect("it is a history")
}

fn robustness(text: &str) -> Imported {
    porcupine::import(Path::new("operations.json"), text).expect("it is a history")
}

/// What is found in each part.
fn rules(imported: &Imported) -> Vec<(String, Vec<String>)> {
    let found = imported.parts.iter().map(|part| {
        let selection = Selection::of(part.checkers);
        let reports = check::all(&part.history, None, &selection);
        assert!(reports.iter().all(|report| !report.undecided), "{reports:?}");
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
              {{:type :invoke, :process 1, :f :drain, :value nil, :time 7}}]"
        )
    };
    let good = jepsen(&history(1));
    assert_eq!(rules(&good), [found_nothing("1"), found_nothing("2")]);
    assert_eq!(
        good.not_checked,
        ["1 events of `:drain`: only :read, :write, :cas, :txn and :add are understood"]
    );
    assert_eq!(good.ignored, 1);
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
        let error = porcupine::import(Path::new("operations.json"), text);
        error.expect_err("it is broken").to_string()
    };
    let odd = report("1", 2, 1, 2).replacen("\"txn\"", "\"defrost\"", 1);
    assert_eq!(
        error(&odd),
        "operations.json:1: expected a request of type range, txn, leaseGrant, leaseRevoke, \
         compact or defragment, found `defrost`"
    );
    assert!(error("\n{\"Input\"").starts_with("operations.json:2: "));
}

/// Events of clients, each invoked and ended at a time: process, function, asked, kind, told.
fn events(of: &[(u32, &str, &str, &str, &str)]) -> String {
    let event = |(place, (process, function, asked, kind, told)): (usize, &_)| {
        let (from, to) = (10 * place, 10 * place + 5);
        format!(
            "{{:type :invoke, :process {process}, :f :{function}, :value {asked}, :time {from}}}\n\
             {{:type :{kind}, :process {process}, :f :{function}, :value {told}, :time {to}}}\n"
        )
    };
    of.iter().enumerate().map(event).collect()
}

/// What is found in a history of a single part.
fn found(text: &str) -> Vec<String> {
    let found = rules(&jepsen(text));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].1.clone()
}

#[test]
fn lists_that_only_grow_are_judged_as_transactions() {
    let history = |last: &str| {
        events(&[
            (0, "txn", "[[:append 1 5] [:append 2 6]]", "ok", "[[:append 1 5] [:append 2 6]]"),
            (1, "txn", "[[:r 1 nil] [:append 1 3]]", "ok", "[[:r 1 [5]] [:append 1 3]]"),
            (2, "txn", "[[:append 1 4]]", "info", "[[:append 1 4]]"),
            (3, "txn", "[[:append 1 9]]", "fail", "[[:append 1 9]]"),
            (1, "txn", "[[:r 1 nil] [:r 2 nil]]", "ok", last),
        ])
    };
    for good in ["[[:r 1 [5 3]] [:r 2 [6]]]", "[[:r 1 [5 3 4]] [:r 2 [6]]]"] {
        assert_eq!(found(&history(good)), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "[[:r 1 [5]] [:r 2 [6]]]",
        "[[:r 1 [3 5]] [:r 2 [6]]]",
        "[[:r 1 [5 3 9]] [:r 2 [6]]]",
        "[[:r 1 [5 3 8]] [:r 2 [6]]]",
        "[[:r 1 [5 3]] [:r 2 nil]]",
    ] {
        assert_eq!(found(&history(bad)).len(), 1, "{bad}");
    }
}

#[test]
fn one_transaction_may_append_several_elements_to_a_list() {
    let twice = "[[:append 1 5] [:append 1 2] [:r 1 nil]]";
    let history = |list: &str| {
        events(&[(0, "txn", twice, "ok", &format!("[[:append 1 5] [:append 1 2] [:r 1 {list}]]"))])
    };
    assert_eq!(found(&history("[5 2]")), Vec::<String>::new());
    assert_eq!(found(&history("[2 5]")).len(), 1);
}

#[test]
fn transactions_of_registers_are_judged() {
    let history = |read: &str| {
        events(&[
            (0, "txn", "[[:w :x 1] [:w :y 1]]", "ok", "[[:w :x 1] [:w :y 1]]"),
            (1, "txn", "[[:r :x nil] [:r :y nil] [:r :z nil]]", "ok", read),
        ])
    };
    assert_eq!(found(&history("[[:r :x 1] [:r :y 1] [:r :z nil]]")), Vec::<String>::new());
    assert_eq!(found(&history("[[:r :x 1] [:r :y nil] [:r :z nil]]")).len(), 1);
}

#[test]
fn a_set_loses_nothing_and_shows_nothing_that_was_not_added() {
    let history = |read: &str| {
        events(&[
            (0, "add", "1", "ok", "1"),
            (1, "add", "2", "info", "2"),
            (2, "add", "3", "fail", "3"),
            (3, "read", "nil", "ok", read),
        ])
    };
    for good in ["#{1}", "[1 2]", "[2 1]"] {
        assert_eq!(found(&history(good)), Vec::<String>::new(), "{good}");
    }
    assert_eq!(found(&history("#{2}")), ["wrong-reply", "lost-element"]);
    assert_eq!(found(&history("#{1 3}")).len(), 1);
    let keyed = events(&[
        (0, "add", "[7 1]", "ok", "[7 1]"),
        (1, "add", "[8 2]", "ok", "[8 2]"),
        (2, "read", "[7 nil]", "ok", "[7 #{1}]"),
        (2, "read", "[8 nil]", "ok", "[8 #{}]"),
    ]);
    let keyed = rules(&jepsen(&keyed));
    assert_eq!(keyed[0], found_nothing("7"));
    assert_eq!((keyed[1].0.as_str(), keyed[1].1.len()), ("8", 2));
}

#[test]
fn transactions_that_cannot_be_understood_are_refused_with_their_line() {
    let error = |of: &[(u32, &str, &str, &str, &str)]| {
        let error =
            jepsen::import(Path::new("history.edn"), &events(of)).expect_err("it is broken");
        error.to_string()
    };
    let append = (0, "txn", "[[:append 1 5]]", "ok", "[[:append 1 5]]");
    assert_eq!(error(&[append, append]), "history.edn:3: 5 is appended to 1 twice");
    assert_eq!(
        error(&[append, (0, "txn", "[[:w 1 5]]", "ok", "[[:w 1 5]]")]),
        "history.edn:1: expected transactions of lists, or of registers, found `:append` and `:w`"
    );
    assert_eq!(
        error(&[(0, "txn", "[[:rw 1 5]]", "ok", "nil")]),
        "history.edn:1: expected :r, :w or :append, found `:rw`"
    );
    assert_eq!(
        error(&[(0, "txn", "[[:r 1 nil]]", "ok", "[[:r 2 nil]]")]),
        "history.edn:1: a transaction is answered with other operations than it had"
    );
}

#[test]
fn a_history_of_the_nemesis_alone_has_no_operation() {
    for text in ["[]", "{:type :info, :process :nemesis, :f :kill, :value nil, :time 3}"] {
        assert!(jepsen(text).parts.is_empty(), "{text}");
    }
}

#[test]
fn arrays_of_porcupine_are_read_as_their_lines_are() {
    let lines = report("1", 2, 1, 2);
    let array = format!("[\n{}\n]", lines.trim_end().replace('\n', ",\n"));
    assert!(is_json_array(&array));
    assert!(!is_json_array("[{:type :invoke}]") && !is_json_array("[]"));
    assert_eq!(rules(&robustness(&array)), [found_nothing("")]);
    let spoiled = robustness(&array.replace("\"ModRevision\":2", "\"ModRevision\":3"));
    assert_eq!(rules(&spoiled)[0].1.len(), 1);
}

#[test]
fn key_value_histories_of_porcupine_are_judged_by_key() {
    let history = |read: &str| {
        format!(
            r#"[{{"ClientId":0,"Input":{{"Op":"put","Key":"x","Value":"1"}},"Call":-5,"Output":{{}},"Return":10}},
                {{"ClientId":1,"Input":{{"Op":1,"Key":"x","Value":"2"}},"Call":20,"Output":null,"Return":-1}},
                {{"ClientId":2,"Input":{{"op":0,"key":"x","value":""}},"Call":30,"Output":{{"value":{read}}},"Return":40}},
                {{"ClientId":3,"Input":{{"Op":"get","Key":"y"}},"Call":30,"Output":"","Return":40}},
                {{"ClientId":3,"Input":{{"Op":"cas","Key":"y","From":"","To":"3"}},"Call":50,"Output":true,"Return":60}}]"#
        )
    };
    for good in ["\"1\"", "\"2\""] {
        assert_eq!(rules(&robustness(&history(good))), [found_nothing("x"), found_nothing("y")]);
    }
    for bad in ["\"3\"", "\"\"", "null"] {
        let bad = rules(&robustness(&history(bad)));
        assert_eq!((bad[0].1.len(), bad[1].1.len()), (1, 0), "{bad:?}");
    }
}

#[test]
fn a_register_of_porcupine_begins_with_zero() {
    let history = |read: u32| {
        let operation = |client: u32, input: &str, call: u32, output: u32| {
            let returned = call + 5;
            format!(
                r#"{{"ClientId":{client},"Input":{input},"Call":{call},"Output":{output},"Return":{returned}}}"#
            )
        };
        let first = operation(0, r#"{"Op":true,"Value":0}"#, 1, 0);
        let write = operation(1, r#"{"Op":false,"Value":100}"#, 10, 0);
        format!("{first}\n{write}\n{}", operation(2, r#"{"Op":true,"Value":0}"#, 20, read))
    };
    assert_eq!(rules(&robustness(&history(100))), [found_nothing("register")]);
    assert_eq!(rules(&robustness(&history(0)))[0].1.len(), 1);
}

#[test]
fn what_porcupine_does_not_say_is_asked_for() {
    let error = |text: &str| {
        let error = porcupine::import(Path::new("history.json"), text);
        error.expect_err("it is broken").to_string()
    };
    assert_eq!(
        error(r#"[{"ClientId":0,"Input":{"Key":"x"},"Call":1,"Output":"","Return":2}]"#),
        "history.json:1: operation 1: expected an `Input` with `Type` or `Op`, found \
         `{\"Key\":\"x\"}`"
    );
    assert!(
        error(r#"{"Input":{"Op":2,"Key":"x","Value":"y"},"Call":1,"Return":2}"#)
            .starts_with("history.json:1: expected an `Op` get, put, cas or delete")
    );
    assert!(error("[{\"Input\":{}}]").contains("operation 1: missing field"));
    assert!(error("[\n{\"Input\":").starts_with("history.json:2: EOF while parsing"));
}

#[test]
fn a_record_that_is_cut_off_names_line_and_column() {
    let history = serde_json::to_string_pretty(&History::default()).expect("it has a form");
    let whole = ours(Path::new("run.json"), &history).expect("it is a history");
    assert_eq!(whole.parts[0].history, History::default());
    let cut = &history[..history.find("\"watched\"").expect("it has watches")];
    let error = ours(Path::new("run.json"), cut).expect_err("it is broken").to_string();
    assert!(error.contains("EOF while parsing") && error.contains("line 4 column"), "{error}");
    let odd = history.replace("\"operations\": []", "\"operations\": [7]");
    let error = ours(Path::new("run.json"), &odd).expect_err("it is broken").to_string();
    assert!(error.contains("at line 3 column"), "{error}");
    let error = ours(Path::new("run.json"), "{}").expect_err("it is no history").to_string();
    assert!(error.contains("is no history that is known"), "{error}");
}
