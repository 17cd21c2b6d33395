//! What scripts are read as, and what is said of those that cannot be read.

use super::super::value::{Entry, Kind, Parameter};
use super::{Vocabulary, parse};

const VOCABULARY: Vocabulary = Vocabulary {
    workloads: &[Entry {
        name: "mixed",
        meaning: "",
        parameters: &[
            Parameter { name: "clients", kind: Kind::Count, default: "4", meaning: "" },
            Parameter { name: "rate", kind: Kind::Rate, default: "100/s", meaning: "" },
        ],
    }],
    nemeses: &[Entry {
        name: "partition",
        meaning: "",
        parameters: &[
            Parameter { name: "every", kind: Kind::Span, default: "5s", meaning: "" },
            Parameter {
                name: "shape",
                kind: Kind::Words(&["leader", "halves"]),
                default: "leader",
                meaning: "",
            },
        ],
    }],
    options: &[Parameter {
        name: "client-timeout",
        kind: Kind::Duration,
        default: "5s",
        meaning: "",
    }],
    checkers: &["linearizability", "watch"],
    worlds: &["loop", "process"],
};

/// Reads `text`, prints it, and expects `canonical`, which must read as the same and print as
/// itself.
fn check(text: &str, canonical: &str) {
    let script = parse("test", text, VOCABULARY).unwrap_or_else(|errors| {
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", shown.join("\n"));
    });
    let printed = script.to_string();
    assert_eq!(printed, canonical);
    let again = parse("test", &printed, VOCABULARY).expect("canonical text is legal");
    assert_eq!(again.to_string(), printed);
    let meant = |script: &super::Script| -> Vec<super::Statement> {
        script.statements().map(|(_, statement)| statement.clone()).collect()
    };
    assert_eq!(meant(&again), meant(&script));
}

/// Reads one statement under a cluster of three.
fn same(statement: &str) {
    let text = format!("cluster n1 n2 n3\nmember n4\n{statement}\n");
    check(&text, &text);
}

/// The errors of a text, under a cluster of three.
fn refused(statement: &str, error: &str) {
    let text = format!("cluster n1 n2 n3\n{statement}\n");
    let errors = parse("test", &text, VOCABULARY).expect_err("it is not legal");
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(shown.join("\n"), error);
}

#[test]
fn printing_is_canonical_and_keeps_comments() {
    check(
        "\n\n#A story.\n#\n## Kept.\ncluster   n1 n2  # three?\n\n\n\nrun 120000ms\n  wait 0.5s #why\n\n",
        "# A story.\n#\n## Kept.\ncluster n1 n2 # three?\n\nrun 120s\nwait 500ms # why\n",
    );
}

#[test]
fn story_is_the_comment_at_the_head() {
    let text = "# One.\n#  Two.\n\ncluster n1\n# not this\n";
    let script = parse("test", text, VOCABULARY).expect("legal");
    assert_eq!(script.story(), ["One.", "Two."]);
}

#[test]
fn setup_reads_and_prints_the_same() {
    check(
        "worlds loop process\nseed 7\noption client-timeout=2s\n",
        "worlds loop process\nseed 7\noption client-timeout=2s\n",
    );
    check(
        "cluster n1 n2 n3 size=1|3 initial-cluster-token=x snapshot-count=50|100\n",
        "cluster n1 n2 n3 size=1|3 token=x snapshot-count=50|100\n",
    );
    same("member n5 name=\"n 5\"");
    same("let old = leader");
}

#[test]
fn actions_read_and_print_the_same() {
    for action in [
        "start n1 n2 state=existing initial-cluster=n1=${n1.peer},n2=http://10.0.0.9:2380",
        "start all wipe pre-vote=false",
        "restart n1 name=other initial-cluster=\"\"",
        "stop leader",
        "kill minority",
        "power-loss all",
        "pause followers",
        "resume any",
        "cut n1 n2 | rest",
        "cut leader -> rest class=heartbeats",
        "cut n1 | clients",
        "heal",
        "heal n1 -> n2",
        "reset n1 | n2",
        "link n1 -> n2 latency=1ms..5ms loss=2.5% bandwidth=1MB",
        "disk leader hang",
        "disk n1 sync-latency=20ms",
        "clock n1 jump=-1.5s",
        "clock n1 drift=+200ppm",
        "clock n1 wall-drift=-500ppm",
        "clock n1 freeze",
        "clock n1 freeze-wall",
        "kill-at n1 after=sync count=3",
        "kill-at leader before=appends",
        "kill-at n1 n2 never",
        "half-open n1 -> n2 n3",
        "disk n1 syncs-lie",
        "disk n1 n2 roll-back",
        "disk n1 lose-first-segment",
        "disk n1 read-only",
        "link n1 -> n2 tail=50%",
        "start n1 state=\"exsting\" election-timeout=\"1s\"",
        "processor n1 step=2ms",
    ] {
        same(action);
        same(&format!("at 1.25s {action}\nrun 2s"));
    }
}

#[test]
fn running_reads_and_prints_the_same() {
    for statement in [
        "workload mixed clients=8 rate=200/s",
        "nemesis partition every=5s..15s shape=leader,halves",
        "run 120s",
        "wait 2s",
        "settle",
        "converge",
        "converge within=10s",
        "check all",
        "allow finding process/unexpected-exit",
        "check watch linearizability",
    ] {
        same(statement);
    }
}

#[test]
fn expectations_read_and_print_the_same() {
    for expect in [
        "n1 exits code=1 log=\"cannot fetch cluster info from peer urls\" within=5s",
        "n1 n2 exits",
        "n1 running for=5s",
        "all ready within=3s",
        "n1 log=\"x\"",
        "n1 no-log=\"x\" for=1s",
        "leader",
        "leader in n1 n2 within=3s",
        "leader log=\"became leader\"",
        "leader exits",
        "no-leader in n3",
        "same-data all within=5s",
        "different-data n1 n2",
        "same-cluster n1 n2",
        "different-cluster n1 n3",
        "members n1 n2 n4 via=n1 within=2s",
        "term below=20",
        "finding divergence",
    ] {
        same(&format!("expect {expect}"));
    }
}

#[test]
fn operations_read_and_print_the_same() {
    for operation in [
        "put k v via=n1",
        "put k v size=64KB",
        "put \"a=b\" \"two words\" lease=7 prev-kv via=leader timeout=2s; expect unknown",
        "get k prefix serializable rev=4 limit=10 via=n2; expect count=3 revision=4",
        "get a to=z count-only; expect none",
        "delete k prefix prev-kv; expect fail \"etcdserver: no leader\"",
        "txn if value k = a and version k > 0 then put k b and get k else delete k; expect succeeded",
        "compact",
        "compact 7 physical",
        "lease-grant 7 ttl=10s",
        "lease-revoke 7",
        "lease-keep-alive 7",
        "lease-time-to-live 7 keys",
        "lease-list",
        "member-add n4 learner urls=${n4.peer}",
        "member-remove n3",
        "member-update n3 urls=http://10.0.0.9:2380",
        "member-promote n4",
        "member-list serializable",
        "move-leader n2; expect error \"bad leader transferee\"",
        "status via=n1",
        "hash rev=3",
        "alarm-list; expect count=2 corrupt=n3 nospace=nobody",
        "alarm-raise corrupt n3 via=n1",
        "alarm-disarm nospace nobody",
        "alarm-disarm; expect none",
        "defragment via=leader timeout=5s",
        "downgrade validate 3.5.7; expect cluster-version=3.6",
        "downgrade enable 3.5 via=n1; expect fail \"invalid downgrade target version\"",
        "downgrade cancel",
    ] {
        same(operation);
    }
}

#[test]
fn settings_of_an_operation_may_stand_in_any_order() {
    check(
        "cluster n1\nget k via=n1 serializable ; expect value=v\n",
        "cluster n1\nget k serializable via=n1; expect value=v\n",
    );
}

#[test]
fn what_was_meant_is_told_of_words_in_lists_and_of_findings() {
    refused(
        "nemesis partition shape=haves",
        "test:2:19: `shape=` takes one or more of leader, halves, separated by commas, found `haves`; \
         did you mean `halves`?",
    );
    refused(
        "expect finding linearizablity",
        "test:2:16: expected a checker, a rule, or `checker/rule`, found `linearizablity`; did you \
         mean `linearizability`?",
    );
    refused(
        "allow finding wtch/gap",
        "test:2:15: expected a checker, a rule, or `checker/rule`, found `wtch`; did you mean `watch`?",
    );
}

#[test]
fn errors_name_the_place_what_was_expected_and_what_was_meant() {
    refused(
        "kill laeder",
        "test:2:6: expected a member (n1, n2, n3) or all, leader, follower, followers, minority, \
         majority, any, rest, found `laeder`; did you mean `leader`?",
    );
    refused("hael", "test:2:1: expected a statement, found `hael`; did you mean `heal`?");
    refused(
        "cut n1",
        "test:2:7: expected `clients`, a member (n1, n2, n3) or all, leader, follower, followers, minority, \
         majority, any, rest, `|` or `->`, found the end of the line",
    );
    refused(
        "cut n1 -> n2 class=heartbeat",
        "test:2:14: expected a class of messages (all, heartbeats, appends, votes, read-index, \
         snapshots), found `heartbeat`; did you mean `heartbeats`?",
    );
    refused(
        "start n1 stat=existing",
        "test:2:10: expected a member (n1, n2, n3) or all, leader, follower, followers, minority, \
         majority, any, rest, `wipe` or a flag of etcd's with its value, found `stat=existing`; did you \
         mean `state`?",
    );
    refused(
        "workload mixed client=8",
        "test:2:16: expected `clients=` or `rate=`, found `client=8`; did you mean `clients`?",
    );
    refused("workload mixed rate=8", "test:2:16: `rate=` takes a rate like `200/s`, found `8`");
    refused(
        "nemesis partitions",
        "test:2:9: expected a nemesis (partition), found `partitions`; did you mean `partition`?",
    );
    refused(
        "put k v via=n9",
        "test:2:9: `via=` takes a member (n1, n2, n3), leader, follower or any, found `n9`",
    );
    refused("put k \"v", "test:2:7: expected a closing `\"`: this quote is never closed");
    refused("member n1", "test:2:8: `n1` is declared already");
    refused("member heal", "test:2:8: `heal` is a word of the language, not a name");
    refused("cluster n4", "test:2:9: there is one cluster already; later hosts are `member`s");
    refused(
        "at 2s kill n1",
        "test:2:1: `at` says when during the next `run`, and no `run` follows",
    );
    refused(
        "start n1 initial-cluster=n1=${n9.peer}",
        "test:2:10: expected `${MEMBER.peer}` or `${MEMBER.client}` with a declared member",
    );
    refused("run 5", "test:2:5: expected a duration like `1.5s`, found `5`");
    refused(
        "disk n1 hung",
        "test:2:9: expected a member (n1, n2, n3) or all, leader, follower, followers, minority, \
         majority, any, rest, `sync-latency=`, `hang`, `sync-error`, `write-error`, `full`, `read-only`, \
         `tear-tail`, `corrupt-middle`, `read-error`, `rot`, `lost-write`, `misdirected-write`, \
         `syncs-lie`, `names-lie`, `remember`, `roll-back`, `lose-first-segment`, `lose-last-segment`, \
         `lose-log`, `rot-value`, `rot-index`, `rot-meta`, `rot-snapshot`, `truncate-database`, \
         `zero-database`, `lose-database`, `lose-snapshot` or `recover`, found `hung`; did you mean `hang`?",
    );
    refused(
        "clock n1 jump=5",
        "test:2:10: a clock takes one of `jump=+5s`, `jump=-200ms`, `drift=+200ppm`",
    );
}

#[test]
fn values_of_flags_are_checked_unless_they_are_quoted() {
    refused(
        "start n1 state=exsting",
        "test:2:10: expected `new` or `existing` for `state=`, found `exsting`; did you mean \
         `existing`?",
    );
    refused(
        "start n1 pre-vote=true|flase",
        "test:2:10: expected `true` or `false` for `pre-vote=`, found `flase`; did you mean `false`?",
    );
    refused(
        "start n1 election-timeout=1s",
        "test:2:10: expected a whole number for `election-timeout=`, found `1s`",
    );
}

#[test]
fn faults_that_make_no_sense_are_refused() {
    for kill in
        ["after=sync before=sync", "never count=2", "after=sync,write", "before=sync count=0"]
    {
        refused(
            &format!("kill-at n1 {kill}"),
            "test:2:12: a kill takes one of `after=sync count=3`, `before=appends`, `never`",
        );
    }
    refused(
        "half-open n1 | n2",
        "test:2:11: `half-open` is between members, `->` from who is not told",
    );
    refused(
        "at 1s put k v; expect ok\nrun 2s",
        "test:2:7: an operation at a time is not waited for: it takes no `; expect`",
    );
}

#[test]
fn snapshots_are_saved_damaged_and_restored() {
    same("save monday via=n1 timeout=30s; expect fail \"not capable\"\nbackup monday corrupt");
    same("at 1s save late\nrun 2s\nrestore n1 n2 wipe from=late token=second");
    same(
        "save a\nrestore n4 from=a initial-cluster=n4=${n4.peer} bump-revision=1000 \
         mark-compacted skip-hash-check; expect fail \"data-dir\"",
    );
    refused(
        "save monday\nrestore n1 from=mondy",
        "test:3:12: expected a saved snapshot (monday), found `mondy`; did you mean `monday`?",
    );
    refused(
        "save monday\nbackup mondy corrupt",
        "test:3:8: expected a saved snapshot (monday), found `mondy`; did you mean `monday`?",
    );
    refused(
        "save monday\nrestore n1 from=monday; expect value=v",
        "test:3:23: a tool ends with `ok`, `fail \"text\"` or `any`",
    );
}

#[test]
fn a_script_without_a_statement_is_refused() {
    for (text, line) in [("", 1), ("# Only a story.\n\n", 2)] {
        let errors = parse("test", text, VOCABULARY).expect_err("it says nothing");
        let expected = format!("test:{line}:1: expected a statement: the script is empty");
        assert_eq!(errors[0].to_string(), expected);
    }
}

#[test]
fn every_wrong_line_is_reported() {
    refused(
        "kil n1\nrun 1s\nhael",
        "test:2:1: expected a statement, found `kil`; did you mean `kill`?\n\
         test:4:1: expected a statement, found `hael`; did you mean `heal`?",
    );
}

#[test]
fn a_statement_needs_a_cluster_above_it() {
    let errors = parse("test", "start n1\n", VOCABULARY).expect_err("no cluster");
    assert_eq!(
        errors[0].to_string(),
        "test:1:1: `start` needs a cluster: put `cluster n1 n2 n3` above it"
    );
}
