//! The entries that a member's log begins with, and those of `--force-new-cluster`.

use prost::Message;

use super::*;
use crate::member::membership::MemberChange;
use crate::proto::raftpb::{ConfChange, ConfState};

fn change(entry: &LogEntry) -> MemberChange {
    assert_eq!(entry.kind, EntryKind::ConfChange);
    MemberChange::decode(&ConfChange::decode(entry.data.clone()).unwrap()).unwrap()
}

fn normal(index: u64, term: u64) -> LogEntry {
    LogEntry { kind: EntryKind::Normal, term, index, data: Default::default() }
}

fn changed(index: u64, term: u64, change: &MemberChange) -> LogEntry {
    let data = change.encode(0).encode_to_vec().into();
    LogEntry { kind: EntryKind::ConfChange, term, index, data }
}

#[test]
fn the_metadata_names_member_and_cluster() {
    let metadata = encode_metadata(MemberId(A), ClusterId(C1));
    assert_eq!(restart(&metadata), Ok((MemberId(A), ClusterId(C1))));
    assert_eq!(metadata[0], 0x08);
    assert_eq!(restart(b"\x08").unwrap_err().exit_code, 2);
}

#[test]
fn a_new_cluster_begins_with_one_change_for_each_member() {
    let members = [MemberInfo {
        id: MemberId(0x8e9e_05c5_2164_694d),
        name: "default".to_owned(),
        peer_urls: vec!["http://localhost:2380".to_owned()],
        ..MemberInfo::default()
    }];
    let entries = bootstrap_entries(&members);
    let context: &[u8] =
        br#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default"}"#;
    let mut data: Vec<u8> = vec![0x08, 0, 0x10, 0, 0x18];
    data.extend([0xcd, 0xd2, 0x91, 0x8b, 0xd2, 0xb8, 0x81, 0xcf, 0x8e, 0x01]);
    data.extend([0x22, context.len() as u8]);
    data.extend(context);
    assert_eq!(
        entries,
        [LogEntry { kind: EntryKind::ConfChange, term: 1, index: 1, data: data.into() }]
    );
    assert_eq!(bootstrap_state(&members), HardState { term: 1, vote: 0, commit: 1 });
}

#[test]
fn the_first_entries_ascend_by_member() {
    let members = [member(B, "b", URL_B), member(C, "c", URL_C), member(A, "a", URL_A)]
        .map(|member| MemberInfo { client_urls: Vec::new(), ..member });
    let entries = bootstrap_entries(&members);
    let indices: Vec<(u64, u64)> = entries.iter().map(|entry| (entry.term, entry.index)).collect();
    assert_eq!(indices, [(1, 1), (1, 2), (1, 3)]);
    for (entry, member) in entries.iter().zip(members) {
        assert_eq!(change(entry), MemberChange::Add(member));
    }
}

fn forced(image: LogImage, own: u64, consistent_index: u64) -> Forced {
    let identity = Identity { cluster: ClusterId(C1), member: MemberId(own) };
    force_new_cluster(image, identity, consistent_index).unwrap()
}

#[test]
fn force_new_cluster_removes_all_others_after_what_is_committed() {
    let image = LogImage {
        hard_state: HardState { term: 4, vote: 7, commit: 12 },
        snapshot: SnapshotMark {
            index: 10,
            term: 3,
            conf_state: Some(ConfState {
                voters: vec![A, B, C],
                learners: vec![0x77],
                ..ConfState::default()
            }),
        },
        entries: vec![
            changed(11, 4, &MemberChange::Remove(MemberId(C))),
            normal(12, 4),
            normal(13, 4),
            changed(14, 4, &MemberChange::Remove(MemberId(B))),
        ],
        ..LogImage::default()
    };
    let Forced { image, appended, lines } = forced(image, A, 13);
    let changes: Vec<MemberChange> = appended.iter().map(change).collect();
    let removed = [MemberId(0x77), MemberId(B)].map(MemberChange::Remove);
    assert_eq!(changes, removed, "B's own removal was not committed");
    let positions: Vec<(u64, u64)> =
        image.entries.iter().map(|entry| (entry.term, entry.index)).collect();
    assert_eq!(positions, [(4, 11), (4, 12), (4, 13), (4, 14), (4, 15)]);
    assert_eq!(image.hard_state, HardState { term: 4, vote: 7, commit: 15 });
    let lines: Vec<String> = lines.iter().map(show).collect();
    assert_eq!(
        lines,
        [
            "Info: discarding uncommitted WAL entries entry-index=14 commit-index-from-wal=13 \
             number-of-discarded-entries=1",
            "Info: forcing restart member cluster-id=f7d1d29ba4cd2368 \
             local-member-id=d622127685879b3c wal-commit-index=12 commit-index=15",
        ]
    );
}

#[test]
fn force_new_cluster_adds_a_member_that_had_been_removed() {
    let image = LogImage {
        hard_state: HardState { term: 2, vote: 0, commit: 1 },
        entries: vec![changed(1, 1, &MemberChange::Add(member(B, "b", URL_B)))],
        ..LogImage::default()
    };
    let appended = forced(image, A, 0).appended;
    let [add, remove] = appended.as_slice() else { panic!("{appended:?}") };
    let context = br#"{"id":15429915573580438332,"peerURLs":["http://localhost:2380"]}"#;
    let raw = ConfChange::decode(add.data.clone()).unwrap();
    assert_eq!(raw.context.as_deref(), Some(context.as_slice()));
    assert_eq!((add.index, add.term), (2, 2));
    assert_eq!(change(remove), MemberChange::Remove(MemberId(B)));
    assert_eq!(remove.index, 3);
}

#[test]
fn a_member_alone_is_forced_without_a_change() {
    let image = LogImage {
        hard_state: HardState { term: 2, vote: 0, commit: 2 },
        entries: vec![changed(1, 1, &MemberChange::Add(member(A, "a", URL_A))), normal(2, 2)],
        ..LogImage::default()
    };
    let forced = forced(image.clone(), A, 2);
    assert_eq!((forced.appended, forced.image), (Vec::new(), image));
}

#[test]
fn a_log_that_the_database_is_ahead_of_is_enough_for_a_member_alone_and_fatal_for_others() {
    let add = |id| changed(1, 1, &MemberChange::Add(member(id, "a", URL_A)));
    let image = |entries| LogImage {
        hard_state: HardState { term: 2, vote: 0, commit: 2 },
        entries,
        ..LogImage::default()
    };
    let alone = forced(image(vec![add(A), normal(2, 2), normal(3, 2)]), A, 9);
    assert_eq!((alone.appended, alone.image.hard_state.commit), (Vec::new(), 3));
    let identity = Identity { cluster: ClusterId(C1), member: MemberId(A) };
    let others = vec![add(A), add(B), add(C)];
    let others = others.into_iter().zip(1..).map(|(entry, index)| LogEntry { index, ..entry });
    let stop = force_new_cluster(image(others.collect()), identity, 9).unwrap_err();
    assert_eq!(stop.exit_code, 2);
    assert_eq!(stop.reason, "d622127685879b3c state.commit 11 is out of range [0, 5]");
}
