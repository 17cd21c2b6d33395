//! Every way a member may come to be, or not, with the texts of etcd.
//!
//! A run is shown as a transcript: questions, log lines with the fields that matter, the end.
//! Long because the transcripts are.

use std::collections::BTreeMap;

use super::*;
use crate::member::id::ClusterId;
use crate::storage::log::{EntryKind, HardState, LogEntry, LogImage, SnapshotMark};

mod entries;

/// What one peer URL answers to each question; `None` keeps the asker waiting.
type Peer = fn(&PeerCall) -> Option<Result<PeerAnswer, PeerCallError>>;

const C1: u64 = 0xf7d1_d29b_a4cd_2368;
const A: u64 = 0xd622_1276_8587_9b3c;
const B: u64 = 0x117b_9266_988c_4966;
const C: u64 = 0xca7a_34e1_6cff_9c1b;
const URL_A: &str = "http://127.0.0.1:12380";
const URL_B: &str = "http://127.0.0.1:22380";
const URL_C: &str = "http://127.0.0.1:32380";
const ABC: &str = "a=http://127.0.0.1:12380,b=http://127.0.0.1:22380,c=http://127.0.0.1:32380";

fn config(name: &str, url: &str, cluster: &str, state: ClusterState) -> Config {
    Config {
        name: name.to_owned(),
        initial_cluster: cluster.to_owned(),
        initial_cluster_state: state,
        initial_cluster_token: "tok".to_owned(),
        initial_advertise_peer_urls: vec![url.to_owned()],
        ..Config::default()
    }
}

fn existing(name: &str, url: &str, cluster: &str) -> Config {
    config(name, url, cluster, ClusterState::Existing)
}

fn new(name: &str, url: &str, cluster: &str) -> Config {
    config(name, url, cluster, ClusterState::New)
}

fn member(id: u64, name: &str, url: &str) -> MemberInfo {
    let client_urls =
        if name.is_empty() { Vec::new() } else { vec![format!("http://{name}:2379")] };
    MemberInfo {
        id: MemberId(id),
        name: name.to_owned(),
        peer_urls: vec![url.to_owned()],
        client_urls,
        is_learner: false,
    }
}

fn members(list: impl Into<Vec<MemberInfo>>) -> Option<Result<PeerAnswer, PeerCallError>> {
    let mut members = list.into();
    members.sort_by_key(|member| member.id);
    Some(Ok(PeerAnswer::Members { cluster: ClusterId(C1), members }))
}

fn version(cluster: &str) -> Option<Result<PeerAnswer, PeerCallError>> {
    let (server, cluster) = ("3.6.14".to_owned(), cluster.to_owned());
    Some(Ok(PeerAnswer::Version { server, cluster }))
}

fn refused() -> Option<Result<PeerAnswer, PeerCallError>> {
    Some(Err(PeerCallError::Unreachable("connection refused".to_owned())))
}

fn show(line: &LogLine) -> String {
    let mut text = format!("{:?}: {}", line.level, line.message);
    for (name, value) in &line.fields {
        text.push_str(&format!(" {name}={value}"));
    }
    text
}

/// Runs a bootstrap to its end against peers that answer at once or never.
fn run(
    config: &Config,
    metadata: Option<&[u8]>,
    peers: &[(&str, Peer)],
) -> (Vec<String>, Monotonic) {
    let peers: BTreeMap<&str, Peer> = peers.iter().copied().collect();
    let mut now = Monotonic::ZERO;
    let (mut bootstrap, actions) = Bootstrap::start(config, metadata, now);
    let mut transcript = Vec::new();
    let mut todo = VecDeque::from(actions);
    loop {
        let Some(action) = todo.pop_front() else {
            now = bootstrap.next_deadline().expect("it ends, or wants to be woken");
            todo.extend(bootstrap.step(now, Event::Deadline));
            continue;
        };
        match action {
            Action::Log(line) => transcript.push(show(&line)),
            Action::Ask { id, url, call, timeout } => {
                transcript.push(format!("ask {url} {call:?} {timeout:?}"));
                let answer = peers.get(url.as_str()).map_or_else(refused, |peer| peer(&call));
                if let Some(result) = answer {
                    todo.extend(bootstrap.step(now, Event::Answer { id, result }));
                }
            }
            end @ (Action::Finished(_) | Action::Failed(_)) => {
                transcript.push(match end {
                    Action::Finished(decision) => show_decision(&decision),
                    other => format!("{other:?}"),
                });
                assert!(todo.is_empty(), "nothing follows the end");
                assert_eq!(bootstrap.next_deadline(), None);
                return (transcript, now);
            }
        }
    }
}

fn show_decision(decision: &Decision) -> String {
    let (kind, id, cluster, members) = match decision {
        Decision::New { id, cluster, members } => ("new", id, cluster, members.as_slice()),
        Decision::Join { id, cluster, members } => ("join", id, cluster, members.as_slice()),
        Decision::Restart { id, cluster } => ("restart", id, cluster, [].as_slice()),
    };
    let members: Vec<String> =
        members.iter().map(|member| format!("{}:{}", member.name, member.id)).collect();
    format!("{kind} {id} of {cluster} [{}]", members.join(" "))
}

/// The reason with which a bootstrap fails, which its last two lines carry too.
fn failure(config: &Config, peers: &[(&str, Peer)]) -> String {
    let (transcript, _) = run(config, None, peers);
    let [.., before, fatal, failed] = transcript.as_slice() else {
        panic!("too short: {transcript:?}");
    };
    let reason = fatal.strip_prefix("Fatal: discovery failed error=").unwrap();
    assert_eq!(before, &format!("Error: bootstrap failed error={reason}"));
    assert_eq!(failed, &format!("Failed(Stop {{ exit_code: 1, reason: {reason:?} }})"));
    reason.to_owned()
}

/// The decision, without what led to it.
fn decision(config: &Config, peers: &[(&str, Peer)]) -> String {
    run(config, None, peers).0.pop().unwrap()
}

fn three(_: &PeerCall) -> Option<Result<PeerAnswer, PeerCallError>> {
    members([member(A, "a", URL_A), member(B, "b", URL_B), member(C, "c", URL_C)])
}

#[test]
fn a_founder_asks_the_others_in_order_and_hears_nothing() {
    let (transcript, end) = run(
        &new("b", URL_B, ABC),
        None,
        &[
            (URL_A, |_| None),
            (URL_C, |_| {
                Some(Err(PeerCallError::Refused {
                    status: 404,
                    body: "404 page not found".to_owned(),
                }))
            }),
        ],
    );
    assert_eq!(
        transcript,
        [
            "ask http://127.0.0.1:12380 Members 1s",
            "ask http://127.0.0.1:32380 Members 1s",
            "Info: starting local member local-member-id=117b9266988c4966 \
             cluster-id=f7d1d29ba4cd2368",
            "new 117b9266988c4966 of f7d1d29ba4cd2368 \
             [b:117b9266988c4966 c:ca7a34e16cff9c1b a:d622127685879b3c]",
        ]
    );
    assert_eq!(end, Monotonic::ZERO.after(PROBE_TIMEOUT));
}

#[test]
fn a_founder_alone_asks_nobody() {
    let mut config = Config { name: "default".to_owned(), ..Config::default() };
    assert_eq!(
        decision(&config, &[]),
        "new 8e9e05c52164694d of cdf818194e3a8c32 [default:8e9e05c52164694d]"
    );
    config.initial_cluster_token = "other".to_owned();
    assert_ne!(
        decision(&config, &[]),
        "new 8e9e05c52164694d of cdf818194e3a8c32 [default:8e9e05c52164694d]"
    );
}

#[test]
fn a_wiped_member_may_not_found_its_cluster_again() {
    assert_eq!(
        failure(&new("c", URL_C, ABC), &[(URL_B, three)]),
        "member ca7a34e16cff9c1b has already been bootstrapped"
    );
}

#[test]
fn the_first_cluster_that_answers_decides_whether_a_founder_was_there() {
    let founder = new("c", URL_C, ABC);
    let others: Peer = |_| members([member(A, "a", URL_A), member(B, "b", URL_B)]);
    assert!(decision(&founder, &[(URL_A, others), (URL_B, three)]).starts_with("new"));
    let unstarted: Peer = |_| members([member(A, "a", URL_A), member(C, "", URL_C)]);
    assert!(decision(&founder, &[(URL_A, unstarted)]).starts_with("new"));
    let nobody: Peer = |_| members([]);
    assert!(decision(&founder, &[(URL_A, nobody), (URL_B, three)]).starts_with("new"));
}

#[test]
fn another_token_makes_another_member_that_passes_the_probe() {
    let mut founder = new("c", URL_C, ABC);
    founder.initial_cluster_token = "tok2".to_owned();
    let decision = decision(&founder, &[(URL_A, three), (URL_B, three)]);
    assert!(decision.starts_with("new"), "{decision}");
    assert!(!decision.contains("f7d1d29ba4cd2368"), "{decision}");
}

#[test]
fn a_founder_that_was_only_added_makes_a_cluster_of_its_own() {
    let four = format!("{ABC},d=http://127.0.0.1:42380");
    let with_added: Peer = |_| {
        let added = member(0xd, "", "http://127.0.0.1:42380");
        members([member(A, "a", URL_A), member(B, "b", URL_B), member(C, "c", URL_C), added])
    };
    let peers: [(&str, Peer); 1] = [(URL_A, with_added)];
    let decision = decision(&new("d", "http://127.0.0.1:42380", &four), &peers);
    assert!(decision.starts_with("new"), "{decision}");
    assert!(!decision.contains("f7d1d29ba4cd2368"), "{decision}");
}

#[test]
fn two_members_of_one_name_are_one_member_to_each() {
    let both = "n=http://127.0.0.1:1,n=http://127.0.0.1:2";
    assert_eq!(
        failure(&new("n", "http://127.0.0.1:1", both), &[]),
        "--initial-cluster has n=http://127.0.0.1:2 but missing from \
         --initial-advertise-peer-urls=http://127.0.0.1:1 (len([\"http://127.0.0.1:1\"]) != \
         len([\"http://127.0.0.1:1\" \"http://127.0.0.1:2\"]))"
    );
}

#[test]
fn a_late_answer_has_no_effect() {
    let founder = new("c", URL_C, ABC);
    let (mut bootstrap, actions) = Bootstrap::start(&founder, None, Monotonic::ZERO);
    let [Action::Ask { id: first, .. }] = actions[..] else { panic!("{actions:?}") };
    let late = Monotonic::ZERO.after(PROBE_TIMEOUT);
    let early = Monotonic::from_nanos(late.as_nanos() - 1);
    assert_eq!(bootstrap.step(early, Event::Deadline), []);
    let next = bootstrap.step(late, Event::Deadline);
    let [Action::Ask { id: second, .. }] = next[..] else { panic!("{next:?}") };
    assert_eq!((first, second, bootstrap.next_call()), (CallId(1), CallId(2), CallId(3)));
    let result = three(&PeerCall::Members).unwrap();
    assert_eq!(bootstrap.step(late, Event::Answer { id: first, result: result.clone() }), []);
    let end = bootstrap.step(late, Event::Answer { id: second, result: result.clone() });
    assert!(matches!(end.last(), Some(Action::Failed(_))));
    assert_eq!(bootstrap.step(late, Event::Answer { id: second, result }), []);
}

#[test]
fn settings_that_cannot_found_a_cluster_are_refused() {
    let two = "http://127.0.0.1:42381,http://127.0.0.1:42380";
    for (name, advertised, cluster, reason) in [
        ("d", URL_A, ABC, "couldn't find local name \"d\" in the initial cluster configuration"),
        ("d", URL_A, "", "couldn't find local name \"d\" in the initial cluster configuration"),
        (
            "d",
            "http://127.0.0.1:42380",
            "e=http://127.0.0.1:42380,d=http://127.0.0.1:42380",
            "initial cluster d=http://127.0.0.1:42380,e=http://127.0.0.1:42380 has duplicate url",
        ),
        (
            "d",
            "http://127.0.0.1:42380",
            "d=http://127.0.0.1:42381",
            "--initial-cluster has d=http://127.0.0.1:42381 but missing from \
             --initial-advertise-peer-urls=http://127.0.0.1:42380 (resolved urls: \
             \"http://127.0.0.1:42380\" != \"http://127.0.0.1:42381\")",
        ),
        (
            "d",
            two,
            "d=http://127.0.0.1:42380",
            "--initial-advertise-peer-urls has http://127.0.0.1:42381 but missing from \
             --initial-cluster=d=http://127.0.0.1:42380,d=http://127.0.0.1:42381",
        ),
        (
            "d",
            "http://127.0.0.1:42380",
            "d=http://127.0.0.1:42380,d=http://127.0.0.1:42381",
            "--initial-cluster has d=http://127.0.0.1:42381 but missing from \
             --initial-advertise-peer-urls=http://127.0.0.1:42380 \
             (len([\"http://127.0.0.1:42380\"]) != \
             len([\"http://127.0.0.1:42380\" \"http://127.0.0.1:42381\"]))",
        ),
        (
            "d",
            "http://127.0.0.1:42380",
            "d=http://127.0.0.1:42380,d=http://127.0.0.1:42380",
            "failed to resolve http://127.0.0.1:42380 to match \
             --initial-cluster=d=http://127.0.0.1:42380 (len([\"http://127.0.0.1:42380\"]) != \
             len([\"http://127.0.0.1:42380\" \"http://127.0.0.1:42380\"]))",
        ),
    ] {
        let mut founder = new(name, URL_A, cluster);
        founder.initial_advertise_peer_urls = advertised.split(',').map(str::to_owned).collect();
        assert_eq!(failure(&founder, &[]), reason);
    }
}

#[test]
fn addresses_that_mean_the_same_place_match() {
    let mapped = "d=http://[::ffff:127.0.0.1]:42380";
    assert!(decision(&new("d", "http://127.0.0.1:42380", mapped), &[]).starts_with("new"));
    // localhost is a name that nobody looks up.
    assert_eq!(
        failure(&new("d", "http://127.0.0.1:42380", "d=http://localhost:42380"), &[]),
        "--initial-cluster has d=http://localhost:42380 but missing from \
         --initial-advertise-peer-urls=http://127.0.0.1:42380 (resolved urls: \
         \"http://127.0.0.1:42380\" != \"http://localhost:42380\")"
    );
}

#[test]
fn a_name_that_does_not_resolve_is_tried_for_half_a_minute() {
    let founder = new("d", "http://127.0.0.1:42380", "d=http://nowhere.invalid:42380");
    let (transcript, end) = run(&founder, None, &[]);
    assert_eq!(end, Monotonic::ZERO.after(PATIENCE));
    let tries = transcript.iter().filter(|line| line.contains("failed to resolve URL Host url="));
    assert_eq!(tries.count(), 30);
    assert!(
        transcript[transcript.len() - 4].starts_with("Warn: failed to resolve URL Host; returning")
    );
    assert_eq!(
        failure(&founder, &[]),
        "--initial-cluster has d=http://nowhere.invalid:42380 but missing from \
         --initial-advertise-peer-urls=http://127.0.0.1:42380 (failed to resolve \
         \"http://nowhere.invalid:42380\" (lookup nowhere.invalid: no such host))"
    );
    // The same name on both sides is never looked up.
    let same = new("d", "http://nowhere.invalid:42380", "d=http://nowhere.invalid:42380");
    assert!(decision(&same, &[]).starts_with("new"));
}

#[test]
fn an_unreadable_list_of_members_ends_the_start_before_any_bootstrap() {
    for (cluster, error) in [
        ("a", "URL scheme must be http, https, unix, or unixs: "),
        ("a=ftp://h:1", "URL scheme must be http, https, unix, or unixs: ftp://h:1"),
        ("a=http://h", "URL address does not have the form \"host:port\": http://h"),
    ] {
        for state in [ClusterState::New, ClusterState::Existing] {
            let (transcript, _) = run(&config("a", URL_A, cluster, state), None, &[]);
            let reason = format!("error setting up initial cluster: {error}");
            assert_eq!(transcript[0], format!("Fatal: discovery failed error={reason}"));
            assert_eq!(transcript.len(), 2);
        }
    }
}

#[test]
fn older_members_tell_their_failure_otherwise() {
    let mut founder = new("d", URL_A, ABC);
    founder.compat = CompatVersion::V3_5;
    let (transcript, _) = run(&founder, None, &[]);
    assert!(transcript[0].starts_with("Warn: failed to start etcd error=couldn't find local name"));
}

#[test]
fn a_joiner_that_finds_nobody_gives_up_at_once() {
    let (transcript, end) = run(&existing("a", URL_A, ABC), None, &[]);
    assert_eq!(end, Monotonic::ZERO);
    assert_eq!(
        transcript[..3],
        [
            "ask http://127.0.0.1:22380 Members 10s",
            "Warn: failed to get cluster response \
             address=http://127.0.0.1:22380/members error=connection refused",
            "ask http://127.0.0.1:32380 Members 10s",
        ]
    );
    assert_eq!(
        failure(&existing("a", URL_A, ABC), &[]),
        "cannot fetch cluster info from peer urls: \
         could not retrieve cluster information from the given URLs"
    );
    assert_eq!(
        failure(&existing("a", URL_A, ABC), &[(URL_B, |_| members([]))]),
        "cannot fetch cluster info from peer urls: \
         failed to get raft cluster member(s) from the given URLs"
    );
}

#[test]
fn a_joiner_that_was_not_added_is_refused() {
    let four = format!("{ABC},d=http://127.0.0.1:42380");
    let answer: Peer = |_| members([member(A, "a", URL_A), member(B, "", URL_B)]);
    assert_eq!(
        failure(&existing("d", "http://127.0.0.1:42380", &four), &[(URL_A, answer)]),
        "error validating peerURLs {ClusterID:f7d1d29ba4cd2368 Members:[\
         &{ID:117b9266988c4966 RaftAttributes:{PeerURLs:[http://127.0.0.1:22380] \
         IsLearner:false} Attributes:{Name: ClientURLs:[]}} \
         &{ID:d622127685879b3c RaftAttributes:{PeerURLs:[http://127.0.0.1:12380] \
         IsLearner:false} Attributes:{Name:a ClientURLs:[http://a:2379]}}] \
         RemovedMemberIDs:[]}: member count is unequal"
    );
}

#[test]
fn a_joiner_at_another_url_than_the_one_added_is_refused() {
    let joiner = existing("b", URL_C, "a=http://127.0.0.1:12380,b=http://127.0.0.1:32380");
    let answer: Peer = |_| members([member(A, "a", URL_A), member(B, "", URL_B)]);
    let reason = failure(&joiner, &[(URL_A, answer)]);
    let end = "RemovedMemberIDs:[]}: PeerURLs: no match found for existing member \
               (117b9266988c4966, [http://127.0.0.1:22380]), last resolver error \
               (resolved urls: \"http://127.0.0.1:22380\" != \"http://127.0.0.1:12380\")";
    assert!(reason.ends_with(end), "{reason}");
}

#[test]
fn a_name_that_does_not_resolve_holds_a_joiner_up_once() {
    // Its ID sorts before b's, so that it is in the way already when b is looked for.
    let url = "http://nowhere8.invalid:1";
    let joiner = existing("b", URL_B, "a=http://nowhere8.invalid:1,b=http://127.0.0.1:22380");
    let answer: Peer = |_| members([member(A, "a", URL_A), member(B, "", URL_B)]);
    let (transcript, end) = run(&joiner, None, &[(url, answer)]);
    assert_eq!(end, Monotonic::ZERO.after(PATIENCE));
    let tries = transcript.iter().filter(|line| line.contains("failed to resolve URL Host url="));
    assert_eq!(tries.count(), 30);
    let reason = failure(&joiner, &[(url, answer)]);
    let end = "no match found for existing member (d622127685879b3c, [http://127.0.0.1:12380]), \
               last resolver error (failed to resolve \"http://127.0.0.1:12380\" \
               (context deadline exceeded))";
    assert!(reason.ends_with(end), "{reason}");
}

/// A cluster of a and b to which d was added, at version 3.6.
fn grown(call: &PeerCall) -> Option<Result<PeerAnswer, PeerCallError>> {
    match call {
        PeerCall::Members => members([
            member(A, "a", URL_A),
            member(B, "b", URL_B),
            member(0xd, "", "http://127.0.0.1:42380"),
        ]),
        PeerCall::Version => version("3.6.0"),
        PeerCall::DowngradeEnabled => Some(Ok(PeerAnswer::DowngradeEnabled(false))),
        _ => refused(),
    }
}

const ABD: &str = "x=http://127.0.0.1:12380,y=http://127.0.0.1:22380,d=http://127.0.0.1:42380";

#[test]
fn a_joiner_takes_its_id_and_cluster_from_those_who_answer() {
    let mut joiner = existing("d", "http://127.0.0.1:42380", ABD);
    joiner.initial_cluster_token = "any".to_owned();
    let (transcript, _) = run(&joiner, None, &[(URL_A, grown), (URL_B, grown)]);
    let told: Vec<&String> =
        transcript.iter().filter(|line| !line.contains("resolved URL Host")).collect();
    assert_eq!(
        told,
        [
            "ask http://127.0.0.1:12380 Members 10s",
            "ask http://127.0.0.1:22380 Version 7s",
            "ask http://127.0.0.1:12380 Version 7s",
            "ask http://127.0.0.1:22380 DowngradeEnabled 7s",
            "Info: starting local member local-member-id=d cluster-id=f7d1d29ba4cd2368",
            "join d of f7d1d29ba4cd2368 [:d b:117b9266988c4966 a:d622127685879b3c]",
        ]
    );
}

#[test]
fn a_wiped_member_joins_its_cluster_under_its_old_id_whatever_its_token() {
    let peer: Peer = |call| match call {
        PeerCall::Members => three(call),
        other => grown(other),
    };
    for token in ["tok", "another"] {
        let mut joiner = existing("c", URL_C, ABC);
        joiner.initial_cluster_token = token.to_owned();
        let decision = decision(&joiner, &[(URL_A, peer)]);
        assert!(decision.starts_with("join ca7a34e16cff9c1b of f7d1d29ba4cd2368"), "{decision}");
    }
}

#[test]
fn a_joiner_does_not_compare_what_it_advertises() {
    let joiner = existing("d", "http://10.9.9.9:1", ABD);
    assert!(decision(&joiner, &[(URL_A, grown), (URL_B, grown)]).starts_with("join d"));
}

#[test]
fn a_joiner_needs_one_member_of_a_version_that_it_understands() {
    fn at(
        call: &PeerCall,
        cluster: &str,
        downgrading: bool,
    ) -> Option<Result<PeerAnswer, PeerCallError>> {
        match call {
            PeerCall::Version => version(cluster),
            PeerCall::DowngradeEnabled => Some(Ok(PeerAnswer::DowngradeEnabled(downgrading))),
            other => grown(other),
        }
    }
    let joiner = existing("d", "http://127.0.0.1:42380", ABD);
    let outcome = |first: Peer, second: Peer| decision(&joiner, &[(URL_A, first), (URL_B, second)]);
    let low: Peer = |call| at(call, "3.0.0", false);
    let same: Peer = |call| at(call, "3.6.0", false);
    let high: Peer = |call| at(call, "3.7.0", false);
    let ancient: Peer = |call| at(call, "2.3.0", false);
    let undecided: Peer = |call| at(call, "not_decided", false);
    let mute: Peer = |call| if *call == PeerCall::Members { grown(call) } else { None };
    for (first, second, joins) in [
        (same, low, true),
        (mute, same, true),
        (undecided, same, true),
        (undecided, undecided, false),
        (mute, mute, false),
        (high, same, false),
        (same, ancient, false),
        (|call| at(call, "3.7.0", true), |call| at(call, "3.7.0", true), true),
        (|call| at(call, "3.6.0", true), |call| at(call, "3.6.0", true), false),
    ] as [(Peer, Peer, bool); 9]
    {
        let end = outcome(first, second);
        assert_eq!(end.starts_with("join"), joins, "{end}");
    }
    let (transcript, _) = run(&joiner, None, &[(URL_A, high), (URL_B, high)]);
    assert!(
        transcript.contains(
            &"Warn: cluster version of remote member is not compatible; too high \
          remote-member-id=117b9266988c4966 remote-member-cluster-version=3.7.0 \
          maximum-cluster-version-supported=3.6.0"
                .to_owned()
        )
    );
    assert_eq!(
        failure(&joiner, &[(URL_A, high), (URL_B, high)]),
        "incompatible with current running cluster"
    );
}

#[test]
fn a_member_that_cannot_be_asked_is_told_of() {
    let joiner = existing("d", "http://127.0.0.1:42380", ABD);
    let (transcript, end) = run(&joiner, None, &[(URL_A, grown), (URL_B, |_| None)]);
    for line in [
        "Warn: failed to reach the peer URL address=http://127.0.0.1:22380/version \
         remote-member-id=117b9266988c4966 error=context deadline exceeded",
        "Warn: failed to get version remote-member-id=117b9266988c4966 \
         error=context deadline exceeded",
        "Warn: failed to get downgrade enabled status remote-member-id=117b9266988c4966 \
         error=context deadline exceeded",
    ] {
        assert!(transcript.contains(&line.to_owned()), "{line} in {transcript:#?}");
    }
    assert!(transcript.last().unwrap().starts_with("join"));
    assert_eq!(end, Monotonic::ZERO.after(Duration::from_secs(14)));
}

#[test]
fn a_joiner_of_a_cluster_with_too_many_learners_is_refused() {
    let with_learners: Peer = |call| match call {
        PeerCall::Members => {
            let learner = |id, url| MemberInfo { is_learner: true, ..member(id, "", url) };
            members([
                member(A, "a", URL_A),
                learner(B, URL_B),
                learner(0xd, "http://127.0.0.1:42380"),
            ])
        }
        other => grown(other),
    };
    let mut joiner = existing("d", "http://127.0.0.1:42380", ABD);
    let peers: [(&str, Peer); 1] = [(URL_A, with_learners)];
    assert_eq!(failure(&joiner, &peers), "membership: too many learner members in cluster");
    joiner.max_learners = 2;
    assert!(decision(&joiner, &peers).starts_with("join d"));
}

#[test]
fn discovery_is_refused() {
    let mut config = new("a", URL_A, "");
    config.discovery_endpoints = vec!["http://127.0.0.1:1".to_owned()];
    assert_eq!(failure(&config, &[]), NO_DISCOVERY);
    config.initial_cluster_state = ClusterState::Existing;
    assert_eq!(
        failure(&config, &[]),
        "cannot fetch cluster info from peer urls: \
         could not retrieve cluster information from the given URLs"
    );
    config.compat = CompatVersion::V3_7;
    assert_eq!(
        failure(&config, &[]),
        "discovery URL should not be set when joining existing initial cluster"
    );
    config.discovery_srv = "example.com".to_owned();
    let (transcript, _) = run(&config, None, &[]);
    assert!(transcript[0].starts_with(
        "Fatal: discovery failed error=error setting up initial cluster: DNS SRV records"
    ));
}

#[test]
fn a_member_with_a_log_is_who_the_log_says() {
    let metadata = encode_metadata(MemberId(A), ClusterId(C1));
    let restart = "restart d622127685879b3c of f7d1d29ba4cd2368 []";
    for state in [ClusterState::New, ClusterState::Existing] {
        let broken = config("zzz", "http://10.0.0.1:1", "=,,a=ftp://", state);
        let (transcript, _) = run(&broken, Some(&metadata), &[]);
        assert_eq!(transcript, [restart]);
    }
    let mut discovering = new("a", URL_A, "");
    discovering.data_dir = "a.etcd".to_owned();
    discovering.discovery = "http://d/x".to_owned();
    let (transcript, _) = run(&discovering, Some(&metadata), &[]);
    assert_eq!(
        transcript,
        [
            "Warn: discovery token is ignored since cluster already initialized; \
             valid logs are found wal-dir=a.etcd/member/wal",
            restart,
        ]
    );
}
