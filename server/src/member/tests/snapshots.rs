//! Snapshots: the log is cut behind them, peers that are behind get them, and crashes at every
//! point of an install are survived.

use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::MessageType;

use super::cluster::Cluster;
use super::persistence::{assert_alike, image, puts, ready, state};
use super::{get, put, value};
use crate::config::CompatVersion;
use crate::member::io::{Input, Request, StreamItem, StreamKind, StreamMessage};
use crate::proto::etcdserverpb as pb;
use crate::storage::log::LogWrite;

const SECOND: Duration = Duration::from_secs(1);

/// A follower that is so far behind that the leader's log does not reach it any more.
fn lagging(size: usize) -> (Cluster, usize) {
    let mut cluster = ready(size);
    let leader = cluster.leader().expect("elected");
    let lagging = (leader + 1) % size;
    cluster.isolate(lagging);
    puts(&mut cluster, leader, 150);
    (cluster, lagging)
}

fn heal(cluster: &mut Cluster) {
    cluster.cut.clear();
    cluster.run(4 * SECOND);
}

#[test]
fn the_log_is_cut_behind_a_snapshot_and_a_restart_needs_no_more() {
    let mut cluster = ready(1);
    puts(&mut cluster, 0, 30);
    cluster.run(SECOND);
    for line in ["triggering snapshot", "saved snapshot to disk", "compacted Raft logs"] {
        assert!(cluster.has_line(0, line), "{line}");
    }
    let mark = cluster.database_mut(0).marks.last().cloned().expect("saved");
    assert!(mark.index > 20);
    assert_eq!(cluster.host(0).member.log_entry(mark.index - 5), None);
    assert!(cluster.host(0).member.log_entry(mark.index - 4).is_some());
    let before = state(&mut cluster, 0);
    cluster.kill(0);
    cluster.host_mut(0).log.as_mut().expect("kept").entries.retain(|at| at.index > mark.index);
    cluster.start(0);
    cluster.run(6 * SECOND);
    assert_eq!(state(&mut cluster, 0).0, before.0);
    cluster.ask(0, put("k", "w")).expect("put");
}

#[test]
fn the_log_waits_for_the_database() {
    let mut cluster = ready(1);
    cluster.run(SECOND);
    cluster.database_mut(0).is_hung = true;
    let before = cluster.host(0).member.applied();
    // As many as have the log in memory looked at, whether or not a snapshot was saved.
    puts(&mut cluster, 0, 260);
    cluster.run(SECOND);
    assert!(cluster.database_mut(0).marks.is_empty());
    assert!(cluster.host(0).member.log_entry(before + 1).is_some());
    cluster.database_mut(0).is_hung = false;
    cluster.commit(0);
    cluster.run(SECOND);
    assert!(!cluster.database_mut(0).marks.is_empty());
    assert!(cluster.host(0).member.log_entry(1).is_none());
}

#[test]
fn a_follower_that_is_far_behind_gets_a_snapshot() {
    let (mut cluster, behind) = lagging(3);
    let leader = cluster.leader().expect("elected");
    heal(&mut cluster);
    assert!(cluster.has_line(behind, "applied snapshot"));
    assert!(cluster.database_mut(leader).pins.is_empty(), "nothing is held for ever");
    assert_alike(&mut cluster);
    cluster.restart(behind);
    assert_alike(&mut cluster);
    cluster.ask(behind, put("k", "w")).expect("put");
}

#[test]
fn without_a_database_no_log_is_cut_and_no_snapshot_is_sent() {
    let mut cluster = Cluster::ready(3);
    let behind = (cluster.leader().expect("elected") + 1) % 3;
    cluster.isolate(behind);
    let place = (behind + 1) % 3;
    cluster.configs.iter_mut().for_each(|config| config.snapshot_count = 20);
    puts(&mut cluster, place, 150);
    heal(&mut cluster);
    assert!(cluster.arrived.is_empty());
    assert!(cluster.host(place).member.log_entry(1).is_some());
    let read = cluster.ask(behind, get("k")).expect("read");
    assert_eq!(value(read).as_deref(), Some("v"));
}

fn joins_late(is_learner: bool) {
    let mut cluster = ready(3);
    puts(&mut cluster, 0, 150);
    let (place, id) = cluster.add(is_learner);
    cluster.start(place);
    cluster.run(6 * SECOND);
    assert!(cluster.has_line(place, "applied snapshot"));
    assert!(cluster.host(place).is_ready);
    assert_eq!(cluster.host(place).member.id(), Some(id));
    if is_learner {
        let promote = Request::MemberPromote(pb::MemberPromoteRequest { id: id.0 });
        cluster.ask(0, promote).expect("promoted");
        cluster.run(SECOND);
    }
    cluster.ask(place, put("k", "w")).expect("the new voter serves");
    assert_alike(&mut cluster);
    cluster.restart(place);
    assert_alike(&mut cluster);
}

#[test]
fn a_member_that_joins_late_begins_with_a_snapshot() {
    joins_late(false);
}

#[test]
fn a_learner_that_joins_late_begins_with_a_snapshot_and_is_promoted() {
    joins_late(true);
}

#[test]
fn a_database_that_is_no_database_is_not_installed() {
    let (mut cluster, behind) = lagging(3);
    cluster.lost = Some(MessageType::MsgSnapshot);
    heal(&mut cluster);
    cluster.lost = None;
    cluster.run(2 * SECOND);
    let (place, from, message, sound) = cluster.arrived[0].clone();
    // Once more, as if the leader were further: nothing but the database speaks against it.
    let before = cluster.host(behind).member.raft_view();
    let mut torn = sound.clone();
    let bucket = Bytes::from_static(b"key");
    torn.insert(bucket, Bytes::from_static(b"no revision"), Bytes::from_static(b"no row"));
    let mut ahead = message;
    ahead.0.mut_snapshot().mut_metadata().index += 1_000;
    for image in [torn, sound] {
        cluster.arrive(place, from, ahead.clone(), image);
        cluster.settle();
        assert_eq!(cluster.host(behind).member.raft_view(), before);
    }
    assert!(cluster.has_line(behind, "failed to read the database of a snapshot error=bucket key"));
    assert!(cluster.has_line(behind, "database snapshot is older than its message"));
    assert_alike(&mut cluster);
}

#[test]
fn a_crash_before_a_snapshot_is_durable_leaves_what_was() {
    let (mut cluster, behind) = lagging(3);
    let before = image(&mut cluster, behind);
    cluster.host_mut(behind).is_hung = true;
    heal(&mut cluster);
    let stages_install = |staged: &LogWrite| matches!(staged, LogWrite::Snapshot(_));
    assert!(cluster.host(behind).staged.iter().any(|staged| stages_install(staged.write())));
    assert_eq!(image(&mut cluster, behind), before);
    cluster.restart(behind);
    assert!(cluster.has_line(behind, "applied snapshot"));
    assert_alike(&mut cluster);
}

#[test]
fn a_crash_between_a_snapshots_record_and_its_hard_state_leaves_the_database_ahead() {
    let (mut cluster, behind) = lagging(3);
    cluster.host_mut(behind).is_hung = true;
    heal(&mut cluster);
    loop {
        let next = cluster.host(behind).staged.front().expect("an install is staged");
        let is_install = matches!(next.write(), LogWrite::Snapshot(_));
        cluster.flush_one(behind);
        if is_install {
            break;
        }
    }
    cluster.kill(behind);
    let commit = cluster.host(behind).log.as_ref().expect("kept").hard_state.commit;
    assert!(cluster.database_mut(behind).mark().index > commit, "the database is ahead");
    cluster.start(behind);
    cluster.run(4 * SECOND);
    assert!(cluster.host(behind).stop.is_none());
    assert_alike(&mut cluster);
    cluster.ask(behind, put("k", "w")).expect("put");
}

#[test]
fn an_old_snapshot_is_ignored() {
    let (mut cluster, behind) = lagging(3);
    heal(&mut cluster);
    puts(&mut cluster, behind, 5);
    let (place, from, message, old) = cluster.arrived[0].clone();
    assert_eq!(place, behind);
    let applied = cluster.host(behind).member.applied();
    let lines = cluster.host(behind).lines.len();
    cluster.arrive(place, from, message, old);
    cluster.settle();
    assert_eq!(cluster.host(behind).member.applied(), applied);
    assert_eq!(cluster.host(behind).lines.len(), lines);
    assert_alike(&mut cluster);
}

#[test]
fn a_second_snapshot_waits_until_the_first_is_installed() {
    let (mut cluster, behind) = lagging(3);
    cluster.host_mut(behind).is_hung = true;
    heal(&mut cluster);
    let installs = |cluster: &Cluster| {
        let staged = cluster.host(behind).staged.iter();
        staged.filter(|staged| matches!(staged.write(), LogWrite::Snapshot(_))).count()
    };
    assert_eq!(installs(&cluster), 1);
    let leader = cluster.leader().expect("elected");
    puts(&mut cluster, leader, 150);
    cluster.run(4 * SECOND);
    let (place, from, message, image) = cluster.arrived.last().cloned().expect("arrived");
    cluster.arrive(place, from, message, image);
    cluster.settle();
    assert_eq!(installs(&cluster), 1);
    cluster.host_mut(behind).is_hung = false;
    cluster.flush(behind);
    cluster.run(4 * SECOND);
    assert_alike(&mut cluster);
}

#[test]
fn a_lost_snapshot_is_sent_again() {
    let (mut cluster, behind) = lagging(3);
    cluster.lost = Some(MessageType::MsgSnapshot);
    heal(&mut cluster);
    assert!(cluster.arrived.is_empty() && !cluster.has_line(behind, "applied snapshot"));
    cluster.lost = None;
    cluster.run(2 * SECOND);
    assert!(cluster.has_line(behind, "applied snapshot"));
    assert_alike(&mut cluster);
}

#[test]
fn the_log_is_kept_for_a_peer_that_is_being_sent_a_snapshot() {
    let (mut cluster, _) = lagging(3);
    let leader = cluster.leader().expect("elected");
    heal(&mut cluster);
    let kept = cluster.host(leader).member.applied();
    puts(&mut cluster, leader, 150);
    assert!(cluster.has_line(leader, "skip compaction since there is an inflight snapshot"));
    assert!(cluster.host(leader).member.log_entry(kept).is_some());
    cluster.run(31 * SECOND);
    puts(&mut cluster, leader, 150);
    assert!(cluster.host(leader).member.log_entry(kept).is_none());
}

fn watch(cluster: &mut Cluster, place: usize, start_revision: i64) -> crate::member::id::StreamId {
    let stream = cluster.open(place, StreamKind::Watch);
    let create = pb::WatchCreateRequest { key: "k".into(), start_revision, ..Default::default() };
    let union = Some(pb::watch_request::RequestUnion::CreateRequest(create));
    let message = StreamMessage::Watch(pb::WatchRequest { request_union: union });
    cluster.input(place, Input::StreamMessage { id: stream, message: Box::new(message) });
    stream
}

fn seen(cluster: &Cluster, stream: crate::member::id::StreamId) -> Vec<i64> {
    let events = cluster.items[&stream].iter().flat_map(|item| match item {
        StreamItem::Watch(response) => response.events.clone(),
        other => panic!("{other:?}"),
    });
    events.filter_map(|event| event.kv.map(|kv| kv.mod_revision)).collect()
}

#[test]
fn watchers_of_a_member_that_was_behind_get_every_event_once() {
    let mut cluster = ready(3);
    let leader = cluster.leader().expect("elected");
    let behind = (leader + 1) % 3;
    puts(&mut cluster, leader, 5);
    cluster.run(SECOND);
    let revision = cluster.host(behind).member.revision().expect("running");
    let streams = [0, revision - 2, revision + 50].map(|start| watch(&mut cluster, behind, start));
    cluster.run(SECOND);
    cluster.isolate(behind);
    puts(&mut cluster, leader, 150);
    heal(&mut cluster);
    assert!(cluster.has_line(behind, "applied snapshot"));
    puts(&mut cluster, leader, 3);
    cluster.run(SECOND);
    let last = revision + 153;
    let expected = [revision + 1, revision - 2, revision + 50];
    for (stream, first) in streams.into_iter().zip(expected) {
        assert_eq!(seen(&cluster, stream), (first..=last).collect::<Vec<_>>());
    }
}

#[test]
fn a_snapshot_without_its_database_changes_nothing() {
    let (mut cluster, behind) = lagging(3);
    heal(&mut cluster);
    let (place, from, message, _) = cluster.arrived[0].clone();
    let before = cluster.host(place).member.raft_view();
    cluster.input(place, Input::Raft { from, message });
    assert_eq!(cluster.host(behind).member.raft_view(), before);
}

#[test]
fn waiting_clients_are_answered_across_an_install() {
    let (mut cluster, behind) = lagging(3);
    let write = cluster.request(behind, put("late", "v"));
    let read = cluster.request(behind, get("k"));
    heal(&mut cluster);
    assert!(cluster.has_line(behind, "applied snapshot"));
    cluster.run(8 * SECOND);
    let read = cluster.replies.remove(&read).expect("answered");
    assert!(read.is_err() || read.is_ok_and(|read| value(read).as_deref() == Some("v")));
    assert!(cluster.replies.contains_key(&write));
    assert_alike(&mut cluster);
}

#[test]
fn each_version_tells_of_snapshots_in_its_own_way_and_cuts_when_it_does() {
    let mut cluster = Cluster::new(1);
    cluster.keeps_database = true;
    let config = &mut cluster.configs[0];
    config.compat = CompatVersion::V3_5;
    (config.snapshot_count, config.snapshot_catchup_entries) = (120, 5);
    cluster.start_all();
    puts(&mut cluster, 0, 110);
    assert!(cluster.host(0).member.log_entry(1).is_some(), "3.5 cuts with a snapshot alone");
    puts(&mut cluster, 0, 20);
    cluster.run(SECOND);
    let index = cluster.database_mut(0).marks[0].index;
    let id = cluster.host(0).member.id().expect("running");
    let tells = |cluster: &Cluster, line: String| assert!(cluster.has_line(0, &line), "{line}");
    tells(
        &cluster,
        format!(
            "triggering snapshot local-member-id={id} local-member-applied-index={index} \
         local-member-snapshot-index=0 local-member-snapshot-count=120"
        ),
    );
    tells(&cluster, format!("saved snapshot snapshot-index={index}"));
    tells(&cluster, format!("compacted Raft logs compact-index={}", index - 5));
    assert!(!cluster.has_line(0, "snapshot-forced") && !cluster.has_line(0, "to disk"));
}

#[test]
fn a_state_that_nobody_takes_is_not_held_for_ever() {
    let (mut cluster, behind) = lagging(3);
    let leader = cluster.leader().expect("elected");
    cluster.cut.clear();
    // The leader asks for a state, and the follower is gone before it is there.
    while cluster.database_mut(leader).pins.is_empty() && cluster.arrived.is_empty() {
        cluster.run(Duration::from_millis(1));
    }
    cluster.kill(behind);
    cluster.run(40 * SECOND);
    assert!(cluster.database_mut(leader).pins.is_empty());
    cluster.start(behind);
    cluster.run(6 * SECOND);
    assert_alike(&mut cluster);
}

#[test]
fn nothing_is_installed_or_applied_while_the_database_is_copied() {
    let (mut cluster, behind) = lagging(3);
    cluster.database_mut(behind).holds_tasks = true;
    let defragment = Request::Defragment(pb::DefragmentRequest::default());
    let request = cluster.request(behind, defragment);
    heal(&mut cluster);
    assert!(!cluster.arrived.is_empty() && !cluster.has_line(behind, "applying snapshot"));
    cluster.database_mut(behind).holds_tasks = false;
    cluster.finish_tasks(behind);
    cluster.run(4 * SECOND);
    assert!(cluster.replies.remove(&request).is_some_and(|reply| reply.is_ok()));
    assert!(cluster.has_line(behind, "applied snapshot"));
    assert_alike(&mut cluster);
}

/// The pieces of a snapshot that a client got: their lengths, and what remained.
fn pieces(cluster: &Cluster, stream: crate::member::id::StreamId) -> Vec<(usize, u64)> {
    let items = cluster.items.get(&stream).map(Vec::as_slice).unwrap_or_default();
    let sizes = items.iter().map(|item| match item {
        StreamItem::Snapshot(piece) => (piece.blob.len(), piece.remaining_bytes),
        other => panic!("{other:?}"),
    });
    sizes.collect()
}

#[test]
fn a_client_gets_the_database_piece_by_piece_as_it_has_room() {
    let mut cluster = ready(1);
    puts(&mut cluster, 0, 3);
    let stream = cluster.open_with(0, StreamKind::Snapshot, 40_000);
    cluster.run(SECOND);
    assert_eq!(pieces(&cluster, stream), [(32_768, 65_536), (32_768, 32_768)], "no room for more");
    assert_eq!(cluster.database_mut(0).pins.len(), 1, "the state is held meanwhile");
    cluster.input(0, Input::StreamWindow { id: stream, bytes: 65_536 });
    cluster.run(SECOND);
    assert_eq!(pieces(&cluster, stream)[2..], [(32_768, 0), (32, 0)]);
    assert!(cluster.has_line(0, "successfully sent database snapshot to client"));
    assert!(cluster.database_mut(0).pins.is_empty(), "nothing is held for ever");
}

#[test]
fn a_client_that_goes_away_lets_the_state_go() {
    let mut cluster = ready(1);
    let stream = cluster.open_with(0, StreamKind::Snapshot, 1);
    cluster.run(SECOND);
    assert_eq!(cluster.database_mut(0).pins.len(), 1);
    cluster.input(0, Input::StreamClose(stream));
    cluster.run(SECOND);
    assert!(cluster.database_mut(0).pins.is_empty());
}
