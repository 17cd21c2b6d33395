//! The runner in a world that only looks alive.

mod fake;

use std::time::Duration;

use detsim_reports::record::{Outcome, RunRecord, Verdict};

use super::{Setup, VOCABULARY, planned_seed, run};
use crate::language::{Script, parse};
use crate::world::{Exit, World};
use fake::FakeWorld;

fn script(text: &str) -> Script {
    parse("test", text, VOCABULARY).unwrap_or_else(|errors| panic!("{}", errors[0]))
}

fn run_in(text: &str, seed: u64, world: &mut FakeWorld) -> RunRecord {
    run(&Setup { scenario: "test", script: &script(text), seed }, world)
}

fn run_text(text: &str) -> RunRecord {
    run_in(text, 1, &mut FakeWorld::new(1))
}

/// The one finding of a run.
fn finding(record: &RunRecord) -> (&str, &str) {
    assert_eq!(record.findings.len(), 1, "{:?}", record.findings);
    (&record.signature, &record.findings[0].explanation)
}

const CHAOS: &str = "# A story.\n\
    cluster n1 n2 n3 n4 n5 size=3|5 snapshot-count=50|100|1000\n\
    start all\n\
    workload register clients=5 rate=50/s\n\
    nemesis partition every=1s..3s for=500ms..2s\n\
    nemesis kill targets=leader,minority every=2s..4s for=1s..2s\n\
    nemesis pause every=2s..4s for=1s..2s\n\
    nemesis flapping every=2s..5s for=1s\n\
    nemesis restart every=3s..5s\n\
    at 1.5s clock any jump=+5s\n\
    run 30s\n\
    heal\n\
    converge within=20s\n\
    check watch\n";

#[test]
fn plan_replays_the_run_event_for_event() {
    for seed in 1..=6 {
        let mut world = FakeWorld::new(seed);
        let first = run_in(CHAOS, seed, &mut world);
        assert!(first.verdict < Verdict::Liveness, "{:?} {}", first.findings, first.reason);
        let plan = script(&first.plan);
        assert_eq!(plan.to_string(), first.plan, "a plan is canonical");
        assert_eq!(planned_seed(&plan), Some(seed));
        let mut again = FakeWorld::new(seed);
        let setup = Setup { scenario: "plan", script: &plan, seed };
        let second = run(&setup, &mut again);
        let differs =
            world.trace().into_iter().zip(again.trace()).find(|(one, other)| one != other);
        assert_eq!(differs, None);
        assert_eq!(second.trace_hash, first.trace_hash);
        assert_eq!(second.history, first.history);
        assert_eq!(second.plan.lines().last(), first.plan.lines().last());
        let timed = |plan: &str| plan.lines().filter(|line| line.starts_with("at ")).count();
        assert_eq!(timed(&second.plan), timed(&first.plan));
        assert!(timed(&first.plan) > 5);
    }
}

#[test]
fn seeds_differ_and_equal_seeds_do_not() {
    let hash = |seed| run_in(CHAOS, seed, &mut FakeWorld::new(seed)).trace_hash;
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn taking_a_fault_out_of_a_plan_shifts_no_other_draw() {
    let first = run_in(CHAOS, 3, &mut FakeWorld::new(3));
    let less: Vec<&str> = first.plan.lines().filter(|line| !line.starts_with("at ")).collect();
    let calm = run_in(&less.join("\n"), 3, &mut FakeWorld::new(3));
    let calls = |record: &RunRecord| -> Vec<String> {
        let mut first_of_each = Vec::new();
        let mut seen = Vec::new();
        for operation in &record.history.operations {
            if !seen.contains(&operation.client) {
                seen.push(operation.client);
                first_of_each.push(format!("{:?} {:?}", operation.client, operation.call));
            }
        }
        first_of_each.truncate(5);
        first_of_each.sort();
        first_of_each
    };
    assert_eq!(calls(&calm), calls(&first));
    assert!(!calm.plan.contains("\nat "));
}

#[test]
fn names_given_by_let_and_roles_become_members_in_the_plan() {
    let record = run_text(
        "cluster n1 n2 n3\nstart all\nlet old = leader\ncut old | rest\n\
         expect leader in rest within=3s\nput k v via=leader\nheal\nkill old\n",
    );
    assert_eq!(record.verdict, Verdict::Passed, "{:?}", record.findings);
    for line in [
        "start n1 n2 n3",
        "let old = n1",
        "cut n1 | n2 n3",
        "expect leader in n2 n3 within=3s",
        "put k v via=n2",
        "heal",
        "kill n1",
    ] {
        assert!(record.plan.lines().any(|it| it == line), "{line} is not in\n{}", record.plan);
    }
}

#[test]
fn members_start_with_flags_that_follow_from_their_place() {
    let text = "cluster n1 n2 token=x\nmember n3\nstart n2\nstart n1 snapshot-count=5\n\
                member-add n3\nstart n3 state=existing\nrestart n1 initial-cluster=n9=${n3.peer}\n";
    let mut world = FakeWorld::new(1);
    let record = run_in(text, 1, &mut world);
    assert_eq!(record.verdict, Verdict::Passed, "{:?}", record.findings);
    let starts: Vec<String> =
        world.trace().into_iter().filter(|line| line.contains("start ")).collect();
    let has = |place: usize, name: &str, value: &str| {
        let flag = format!("(\"{name}\", \"{value}\")");
        assert!(starts[place].contains(&flag), "{flag} is not in {}", starts[place]);
    };
    has(1, "name", "n1");
    has(1, "initial-cluster", "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380");
    has(1, "initial-cluster-token", "x");
    has(1, "snapshot-count", "5");
    has(2, "initial-cluster-state", "existing");
    has(
        2,
        "initial-cluster",
        "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380",
    );
    has(3, "snapshot-count", "5");
    has(3, "initial-cluster", "n9=http://10.0.0.3:2380");
}

#[test]
fn an_exit_is_a_crash_unless_it_is_expected_as_it_is() {
    let die = |code| Exit { code, reason: "cannot go on".to_owned() };
    let check = |text: &str, exit: Exit| {
        let mut world = FakeWorld::new(1);
        world.dies = Some((0, exit));
        run_in(&format!("cluster n1 n2 n3\nstart all\n{text}"), 1, &mut world)
    };
    let record = check("expect n1 exits code=1 log=\"go on\"\n", die(1));
    assert_eq!(record.verdict, Verdict::Passed, "{:?}", record.findings);
    let record = check("wait 1s\n", die(1));
    assert_eq!(record.verdict, Verdict::Crash);
    assert_eq!(
        finding(&record),
        ("process/unexpected-exit", "n1 exits by itself with code 1: \"cannot go on\"")
    );
    let record = check("expect n1 exits\n", die(101));
    assert_eq!(finding(&record).0, "process/panic");
    let record = check("expect n2 exits within=1s\n", die(1));
    assert!(record.findings.iter().any(|it| it.signature() == "process/unexpected-exit"));
    assert_eq!(record.signature, "expect/exits");
    let record = check("expect n1 exits code=2\n", die(1));
    assert!(record.findings.iter().any(|it| it.signature() == "expect/exit-code"));
    let record = check("expect n1 exits log=\"other\"\n", die(1));
    assert!(record.findings.iter().any(|it| it.signature() == "expect/exit-log"));
}

#[test]
fn answers_are_compared() {
    let head = "cluster n1 n2 n3\nstart all\n";
    let good = "put k v\nget k; expect value=v count=1 revision=2\nget none; expect none\n\
                delete k; expect count=1\nput k w; expect any\n";
    assert_eq!(run_text(&format!("{head}{good}")).verdict, Verdict::Passed);
    let record = run_text(&format!("{head}put k v\nget k via=n1; expect value=w\n"));
    assert_eq!(record.verdict, Verdict::Safety);
    assert_eq!(
        finding(&record),
        (
            "expect/answer",
            "`get k via=n1; expect value=w`: expected value=w, found ok revision=2 count=1 \
             \"k\"=\"v\""
        )
    );
    assert_eq!(record.findings[0].operations, [record.history.operations[1].id]);
    let record =
        run_text("cluster n1 n2 n3\nstart n1 n2\nput k v via=n3; expect fail \"not run\"\n");
    assert_eq!(record.verdict, Verdict::Passed, "{:?}", record.findings);
}

#[test]
fn unknown_outcomes_retire_their_client() {
    let unknown =
        |it: &detsim_reports::record::Operation| matches!(it.outcome, Some(Outcome::Unknown(_)));
    let chaos = run_in(CHAOS, 5, &mut FakeWorld::new(5));
    assert!(chaos.history.operations.iter().any(unknown));
    for (place, operation) in chaos.history.operations.iter().enumerate() {
        let later = &chaos.history.operations[place + 1..];
        if unknown(operation) {
            assert!(
                later
                    .iter()
                    .all(|it| it.client != operation.client || it.invoked < operation.completed)
            );
        }
    }
}

#[test]
fn a_cluster_that_does_not_recover_is_a_finding_only_if_it_could() {
    let text = "cluster n1 n2 n3\nstart all\nconverge within=2s\n";
    let mut world = FakeWorld::new(1);
    world.is_leaderless = true;
    let record = run_in(text, 1, &mut world);
    assert_eq!(record.verdict, Verdict::Liveness);
    assert_eq!(record.signature, "converge/stuck");
    assert_eq!(record.history.survivors, [0, 1, 2]);
    let mut world = FakeWorld::new(1);
    world.is_leaderless = true;
    let text = "cluster n1 n2 n3\nstart all\ncut n1 | n2 n3\nkill n2\nconverge within=2s\n\
                check headers\n";
    let record = run_in(text, 1, &mut world);
    assert_eq!(record.verdict, Verdict::Undecided);
    assert_eq!(record.checks.len(), 1, "what was seen is judged all the same");
    assert!(
        record.reason.ends_with(
            "it need not recover: of 3 voters, 2 run with intact disks, and 1 of them can talk"
        ),
        "{}",
        record.reason
    );
}

#[test]
fn the_last_fault_ends_when_nothing_is_broken_any_more() {
    let record = run_text(
        "cluster n1 n2 n3\nstart all\nwait 1s\ncut n1 | n2\npause n3\nwait 1s\nheal n1 | n2\n\
         wait 1s\nresume n3\nwait 1s\n",
    );
    let healed = record.history.healed.expect("healed");
    assert_eq!(Duration::from_nanos(healed.0), Duration::from_secs(3));
    let record = run_text("cluster n1 n2 n3\nstart all\npause n3\nwait 1s\n");
    assert_eq!(record.history.healed, None);
    let record = run_text("cluster n1 n2 n3\nstart all\nwait 1s\n");
    assert_eq!(record.history.healed, None);
}

#[test]
fn healing_brings_back_what_a_nemesis_took_down_and_not_what_the_script_did() {
    let record = run_text(
        "cluster n1 n2 n3\nstart all\nkill n1\nat 500ms kill n2\nrun 1s\nheal\n\
         expect n2 running\n",
    );
    assert_eq!(record.verdict, Verdict::Passed, "{:?}", record.findings);
    let record = run_text("cluster n1 n2 n3\nstart all\nkill n1\nheal\nexpect n1 running for=1s\n");
    assert_eq!(finding(&record).0, "expect/running");
}

#[test]
fn what_a_world_cannot_do_skips_the_scenario_with_the_reason() {
    let mut world = FakeWorld::new(1);
    world.has_no_network = true;
    let record = run_in("cluster n1 n2\nstart all\ncut n1 | n2\n", 1, &mut world);
    assert_eq!(record.verdict, Verdict::Skipped);
    assert_eq!(record.reason, "the loop world cannot break links");
    let record = run_in("cluster n1 n2\nstart all\nat 1s cut n1 | n2\nrun 2s\n", 1, &mut world);
    assert_eq!(record.verdict, Verdict::Skipped);
    let why = "`at 1s cut n1 | n2` at line 3: the loop world cannot break links";
    assert_eq!(record.reason, why);
    let record = run_text("worlds process\ncluster n1\nstart n1\n");
    assert_eq!(record.verdict, Verdict::Skipped);
    assert_eq!(record.reason, "the scenario is not for the loop world");
}

#[test]
fn an_expected_finding_passes_and_its_absence_fails() {
    let text = "cluster n1\nstart n1\nexpect finding unexpected-exit\nwait 1s\n";
    let mut world = FakeWorld::new(1);
    world.dies = Some((0, Exit { code: 2, reason: "panic".to_owned() }));
    let record = run_in(text, 1, &mut world);
    assert_eq!(record.verdict, Verdict::Passed, "{:?}", record.findings);
    assert_eq!(record.expected.len(), 1);
    let record = run_text(text);
    assert_eq!(record.verdict, Verdict::Harness);
    assert_eq!(finding(&record).0, "expect/finding");
}

#[test]
fn what_must_be_checked_and_never_came_up_fails_the_run() {
    let text = "cluster n1\nstart n1\nexpect checked \"operations\"\nput k v\ncheck headers\n";
    let record = run_text(text);
    assert_eq!(record.verdict, Verdict::Harness, "{:?}", record.checked);
    assert_eq!(finding(&record).0, "expect/checked");
    let checked = record.checked.first().expect("the checker has seen the put");
    let text = text.replace("operations", checked.trim_end_matches('.'));
    assert_eq!(run_text(&text).verdict, Verdict::Passed);
}

#[test]
fn a_mistake_of_the_script_is_a_harness_error_with_its_line() {
    let record = run_text("cluster n1 n2\nstart n1\n\nkill n2\n");
    assert_eq!(record.verdict, Verdict::Harness);
    assert_eq!(finding(&record).1, "line 4: `kill n2`: it cannot be done: n2 does not run");
}

#[test]
fn a_failed_run_has_a_plan_with_the_rest_of_the_script() {
    let record = run_text(
        "cluster n1 n2 n3\nstart all\nget k; expect value=v\nat 1s kill n1\nnemesis kill\nrun 2s\n\
         check all\n",
    );
    let rest: Vec<&str> = record.plan.lines().rev().take(5).collect();
    assert_eq!(
        rest,
        ["check all", "run 2s", "nemesis kill", "at 1s kill n1", "get k; expect value=v"]
    );
}
