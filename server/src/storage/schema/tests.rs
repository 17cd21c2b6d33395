//! Rows as etcd writes them, there and back, and what is said of rows that it does not write.

mod load;

use bytes::Bytes;

use super::*;
use crate::config::CompatVersion;
use crate::lease::{Lessor, LessorConfig};
use crate::member::id::MemberId;
use crate::member::io::MemberInfo;
use crate::member::membership::Downgrade;
use crate::member::version::Version;
use crate::mvcc::{Revision, Store};
use crate::proto::etcdserverpb as pb;
use crate::proto::raftpb::ConfState;
use crate::storage::database::BucketChange;

/// A change in one line: texts as they are, other bytes in hexadecimal.
fn text(change: &BucketChange) -> String {
    let shown = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => text.to_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let value = change.value.as_ref().map_or("-".to_owned(), |value| shown(value));
    format!("{} {} = {value}", change.bucket, shown(&change.key))
}

fn check(change: &BucketChange, expected: &str) {
    assert_eq!(text(change), expected);
}

fn store_with(requests: &[(&str, &str)]) -> (Store, Vec<BucketChange>) {
    let retry = std::time::Duration::from_secs(7);
    let mut lessor = Lessor::new(LessorConfig { ttl_seconds_min: 2, retry, checkpoint: false });
    let (mut store, mut changes) = (Store::new(), Vec::new());
    for (key, value) in requests {
        let key = Bytes::copy_from_slice(key.as_bytes());
        if *value == "-" {
            let request = pb::DeleteRangeRequest { key, ..Default::default() };
            store.delete_range(&request, &mut lessor).unwrap();
        } else {
            let value = Bytes::copy_from_slice(value.as_bytes());
            let request = pb::PutRequest { key, value, ..Default::default() };
            store.put(&request, &mut lessor).unwrap();
        }
        changes.extend(store.last_changes().iter().map(|change| change_recorded(change)));
    }
    (store, changes)
}

#[test]
fn keys_stand_under_their_revisions_and_tombstones_end_in_t() {
    let (_, changes) = store_with(&[("foo", "bar"), ("foo", "-")]);
    check(&changes[0], "key 00000000000000025f0000000000000000 = 0a03666f6f1002180220012a03626172");
    check(&changes[1], "key 00000000000000035f000000000000000074 = 0a03666f6f");
    let removed = revision_removed(Revision::new(3, 0), true);
    check(&removed, "key 00000000000000035f000000000000000074 = -");
    let removed = revision_removed(Revision::new(0x102, 1), false);
    check(&removed, "key 00000000000001025f0000000000000001 = -");
}

#[test]
fn meta_rows_are_numbers_revisions_and_texts() {
    let [index, term] = consistent(10, 0x102);
    check(&index, "meta consistent_index = 000000000000000a");
    check(&term, "meta term = 0000000000000102");
    let voters = vec![10_276_657_743_932_975_437, 2];
    let one = ConfState { voters: voters.clone(), ..ConfState::default() };
    let two = ConfState { learners: vec![7], auto_leave: Some(false), ..one.clone() };
    check(
        &conf_state(&one),
        "meta confState = {\"voters\":[10276657743932975437,2],\"auto_leave\":false}",
    );
    let expected = concat!(
        r#"meta confState = {"voters":[10276657743932975437,2],"#,
        r#""learners":[7],"auto_leave":false}"#
    );
    check(&conf_state(&two), expected);
    let version = Version::new(3, 6, 0);
    check(&storage_version(Some(&version)), "meta storageVersion = 3.6.0");
    check(&storage_version(None), "meta storageVersion = -");
    let scheduled = scheduled_compact_revision(5);
    check(&scheduled, "meta scheduledCompactRev = 00000000000000055f0000000000000000");
    let finished = finished_compact_revision(4);
    check(&finished, "meta finishedCompactRev = 00000000000000045f0000000000000000");

    let mut image = DatabaseImage::initial();
    assert_eq!(image.mark().unwrap().index, 0);
    image.apply(&[index, term, conf_state(&two), storage_version(Some(&version))]);
    image.apply(&[scheduled, finished]);
    let mark = image.mark().unwrap();
    assert_eq!((mark.index, mark.term, mark.conf_state), (10, 0x102, Some(two)));
    assert_eq!(image.storage_version().unwrap(), Some(version));
    assert_eq!(image.scheduled_compact_revision().unwrap(), Some(5));
    assert_eq!(image.finished_compact_revision().unwrap(), Some(4));
}

#[test]
fn members_leases_alarms_and_the_cluster_are_written_as_etcd_does() {
    let started = MemberInfo {
        id: MemberId(0x8e9e_05c5_2164_694d),
        name: "d".to_owned(),
        peer_urls: vec!["http://localhost:2380".to_owned()],
        client_urls: vec!["http://localhost:2379".to_owned()],
        is_learner: false,
    };
    let learner = MemberInfo {
        id: MemberId(0xa),
        is_learner: true,
        peer_urls: vec!["http://a:1".to_owned()],
        ..MemberInfo::default()
    };
    let mut changes = vec![member_saved(&started), member_saved(&learner)];
    check(
        &changes[0],
        concat!(
            r#"members 8e9e05c52164694d = {"id":10276657743932975437,"#,
            r#""peerURLs":["http://localhost:2380"],"name":"d","#,
            r#""clientURLs":["http://localhost:2379"]}"#
        ),
    );
    check(&changes[1], r#"members a = {"id":10,"peerURLs":["http://a:1"],"isLearner":true}"#);
    changes.extend(member_removed(MemberId(0xb)));
    check(&changes[2], "members b = -");
    check(&changes[3], "members_removed b = removed");
    changes.push(cluster_version(&Version::new(3, 5, 0)));
    check(&changes[4], "cluster clusterVersion = 3.5.0");
    let asked = Downgrade { enabled: true, target: "3.5.0".to_owned() };
    changes.push(downgrade(&asked));
    check(&changes[5], r#"cluster downgrade = {"target-version":"3.5.0","enabled":true}"#);
    let alarm = pb::AlarmMember { member_id: 1, alarm: 1 };
    changes.push(alarm_activated(&alarm));
    check(&changes[6], "alarm 08011001 = ");
    changes.push(lease_granted(0x1234, 60, 0));
    check(&changes[7], "lease 0000000000001234 = 08b424103c");
    changes.push(auth_enabled(true));
    check(&changes[8], "auth authEnabled = 01");

    let mut image = DatabaseImage::initial();
    image.apply(&changes);
    let members: Vec<MemberInfo> = image.members().map(Result::unwrap).collect();
    assert_eq!(members, [started, learner]);
    assert_eq!(image.removed_members().map(Result::unwrap).collect::<Vec<_>>(), [MemberId(0xb)]);
    assert_eq!(image.cluster_version().unwrap(), Some(Version::new(3, 5, 0)));
    assert_eq!(image.downgrade().unwrap(), Some(asked));
    assert_eq!(image.alarms().map(Result::unwrap).collect::<Vec<_>>(), [alarm]);
    let leases: Vec<_> = image.leases().map(Result::unwrap).collect();
    assert_eq!((leases[0].id, leases[0].ttl, leases[0].remaining_ttl), (0x1234, 60, 0));
    assert!(image.auth_enabled().unwrap());
    assert_eq!(image.auth_revision().unwrap(), Some(1));
    image.apply(&[alarm_deactivated(&alarm), lease_revoked(0x1234)]);
    assert_eq!(image.alarms().count() + image.leases().count(), 0);
}

#[test]
fn a_new_database_has_all_buckets_and_the_first_auth_revision() {
    let image = DatabaseImage::initial();
    let names: Vec<&[u8]> = image.buckets().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, bucket::CREATED.map(str::as_bytes));
    assert_eq!(image.buckets().map(|(_, rows)| rows.iter().len()).sum::<usize>(), 1);
}

#[test]
fn rows_that_cannot_be_read_are_named() {
    let with = |bucket: &'static str, key: &'static [u8], value: &'static [u8]| {
        let mut image = DatabaseImage::initial();
        image.insert(
            Bytes::from_static(bucket.as_bytes()),
            Bytes::from_static(key),
            Bytes::from_static(value),
        );
        image
    };
    let text = |error: SchemaError| error.to_string();
    let short = with("meta", b"consistent_index", b"123");
    assert_eq!(
        text(short.mark().unwrap_err()),
        "bucket meta, key consistent_index: 3 bytes instead of 8"
    );
    let revision = with("meta", b"finishedCompactRev", b"01234567-01234567");
    assert_eq!(
        text(revision.finished_compact_revision().unwrap_err()),
        "bucket meta, key finishedCompactRev: not a revision"
    );
    let member = with("members", b"a", b"{\"id\":11}");
    assert_eq!(
        text(member.members().next().unwrap().unwrap_err()),
        "bucket members, key a: holds member b"
    );
    let unnamed = with("members_removed", b"zz", b"");
    assert_eq!(
        text(unnamed.removed_members().next().unwrap().unwrap_err()),
        "bucket members_removed, key zz: not a member id"
    );
    let alarm = with("alarm", b"\xff", b"");
    assert_eq!(
        text(alarm.alarms().next().unwrap().unwrap_err()),
        "bucket alarm, key 0xff: not a message of type AlarmMember"
    );
}

#[test]
fn the_hash_of_a_database_counts_empty_buckets_and_may_pass_over_meta_rows() {
    let everything = |image: &DatabaseImage| image.hash(HashScope::Everything);
    let mut image = DatabaseImage::new();
    image.create_bucket(Bytes::from_static(b"alarm"));
    assert_eq!(everything(&image), crc32c::crc32c(b"alarm"));
    image.apply(&[cluster_version(&Version::new(3, 6, 0))]);
    assert_eq!(everything(&image), crc32c::crc32c(b"alarmclusterclusterVersion3.6.0"));
    image.create_bucket(Bytes::from_static(b"meta"));
    let before = image.clone();
    image.apply(&consistent(3, 1));
    assert_ne!(everything(&image), everything(&before));
    let replicated = |image: &DatabaseImage, compat| image.hash(HashScope::Replicated(compat));
    for compat in [CompatVersion::V3_5, CompatVersion::V3_6] {
        assert_eq!(replicated(&image, compat), everything(&before));
    }
    image.apply(&[storage_version(Some(&Version::new(3, 6, 0)))]);
    assert_ne!(replicated(&image, CompatVersion::V3_5), everything(&before));
    assert_eq!(replicated(&image, CompatVersion::V3_6), everything(&before));
    image.apply(&[conf_state(&ConfState::default())]);
    assert_ne!(replicated(&image, CompatVersion::V3_6), everything(&before));
}
