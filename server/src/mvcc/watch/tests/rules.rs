//! The rules of contract-api.md, section 3, in its order.

use super::conversation::check;

#[test]
fn created_comes_first_and_says_the_revision_of_now() {
    check(
        "write a=1
         open 1
         create 1 key=a start=2
         < 1 id=0 rev=2 created
         advance 100
         < 1 id=0 rev=2 a=1@2/1/2
         nothing 1
         write a=2
         < 1 id=0 rev=3 a=2@3/2/2
         close 1
         write a=3
         create 1 key=a",
    );
}

#[test]
fn ids_count_up_and_never_go_back() {
    check(
        "open 1
         create 1 key=a
         < 1 id=0 rev=1 created
         create 1 key=a
         < 1 id=1 rev=1 created
         create 1 key=a
         < 1 id=2 rev=1 created
         create 1 key=a id=7
         < 1 id=7 rev=1 created
         create 1 key=a id=3
         < 1 id=3 rev=1 created
         create 1 key=a
         < 1 id=4 rev=1 created
         create 1 key=a
         < 1 id=5 rev=1 created
         cancel 1 0
         < 1 id=0 rev=1 canceled
         create 1 key=a
         < 1 id=6 rev=1 created
         create 1 key=a
         < 1 id=8 rev=1 created
         create 1 key=a id=-9
         < 1 id=-9 rev=1 created
         open 2
         create 2 key=a
         < 2 id=0 rev=1 created",
    );
}

#[test]
fn a_used_or_reserved_id_is_refused_and_the_stream_stays_open() {
    check(
        "open 1
         create 1 key=a id=5
         < 1 id=5 rev=1 created
         create 1 key=b id=5
         < 1 id=-1 rev=1 created canceled reason: mvcc: duplicate watch ID provided on the WatchStream
         create 1 key=b id=-1
         < 1 id=-1 rev=1 created canceled reason: mvcc: duplicate watch ID provided on the WatchStream
         cancel 1 5
         < 1 id=5 rev=1 canceled
         create 1 key=b id=5
         < 1 id=5 rev=1 created
         write a=1 b=1
         < 1 id=5 rev=2 b=1@2/1/2",
    );
}

#[test]
fn a_range_that_holds_nothing_is_refused() {
    check(
        "open 1
         create 1 key=b end=a
         < 1 id=-1 rev=1 created canceled reason: mvcc: watcher range is empty
         create 1 key=b end=b id=4
         < 1 id=-1 rev=1 created canceled reason: mvcc: watcher range is empty
         create 1 key=b end=\\0
         < 1 id=0 rev=1 created
         create 1 key=- end=b
         < 1 id=1 rev=1 created
         create 1 key=-
         < 1 id=2 rev=1 created
         write a=1
         < 1 id=1 rev=2 a=1@2/1/2
         write c=1
         < 1 id=0 rev=3 c=1@3/1/3
         write \\0=1
         < 1 id=1 rev=4 \0=1@4/1/4
         < 1 id=2 rev=4 \0=1@4/1/4",
    );
}

#[test]
fn the_start_revision_decides_from_when() {
    check(
        "write a=1
         write a=2
         open 1
         create 1 key=a start=1
         < 1 id=0 rev=3 created
         create 1 key=a start=3
         < 1 id=1 rev=3 created
         create 1 key=a start=6
         < 1 id=2 rev=3 created
         create 1 key=a start=-1
         < 1 id=-1 rev=3 created canceled reason: etcdserver: mvcc: required revision has been compacted
         advance 99
         advance 1
         < 1 id=0 rev=3 a=1@2/1/2 a=2@3/2/2
         < 1 id=1 rev=3 a=2@3/2/2
         write b=1
         write a=3
         < 1 id=0 rev=5 a=3@5/3/2
         < 1 id=1 rev=5 a=3@5/3/2
         write a=4
         < 1 id=0 rev=6 a=4@6/4/2
         < 1 id=1 rev=6 a=4@6/4/2
         < 1 id=2 rev=6 a=4@6/4/2",
    );
}

#[test]
fn a_start_below_compaction_is_created_then_canceled() {
    check(
        "write a=1
         write a=2
         write a=3
         compact 3
         open 1
         create 1 key=a start=2
         < 1 id=0 rev=4 created
         create 1 key=a start=3 prev
         < 1 id=1 rev=4 created
         progress 1
         advance 100
         < 1 id=0 rev=0 canceled compacted=3
         < 1 id=1 rev=4 a=2@3/2/2 a=3@4/3/2(was 2@3)
         cancel 1 0
         progress 1
         < 1 id=-1 rev=4",
    );
}

#[test]
fn an_unauthorised_create_is_refused_with_the_reason_given() {
    check(
        "open 1
         refuse 1 rpc error: code = PermissionDenied desc = etcdserver: permission denied
         < 1 id=-1 rev=1 created canceled reason: rpc error: code = PermissionDenied desc = etcdserver: permission denied
         create 1 key=a
         < 1 id=0 rev=1 created",
    );
}

#[test]
fn nothing_follows_a_cancellation_and_an_unknown_id_has_no_answer() {
    check(
        "open 1
         create 1 key=a
         < 1 id=0 rev=1 created
         write a=1
         < 1 id=0 rev=2 a=1@2/1/2
         write b=1
         cancel 1 0
         < 1 id=0 rev=3 canceled
         write a=2
         cancel 1 0
         cancel 1 17
         create 1 key=a start=2
         < 1 id=1 rev=4 created
         cancel 1 1
         < 1 id=1 rev=4 canceled
         advance 1000",
    );
}

#[test]
fn events_keep_the_order_of_execution_and_previous_values() {
    check(
        "open 1
         create 1 key=a end=zz prev
         < 1 id=0 rev=1 created
         create 1 key=a end=zz
         < 1 id=1 rev=1 created
         write a=1
         < 1 id=0 rev=2 a=1@2/1/2
         < 1 id=1 rev=2 a=1@2/1/2
         write z=1 -a b=1
         < 1 id=0 rev=3 z=1@3/1/3 -a@3(was 1@2) b=1@3/1/3
         < 1 id=1 rev=3 z=1@3/1/3 -a@3 b=1@3/1/3
         write a=2
         < 1 id=0 rev=4 a=2@4/1/4
         < 1 id=1 rev=4 a=2@4/1/4
         write z=2
         < 1 id=0 rev=5 z=2@5/2/3(was 1@3)
         < 1 id=1 rev=5 z=2@5/2/3",
    );
}

#[test]
fn a_delete_at_the_compact_revision_is_still_told() {
    check(
        "write a=1
         write -a
         compact 3
         open 1
         create 1 key=a start=3 prev
         < 1 id=0 rev=3 created
         advance 100
         < 1 id=0 rev=3 -a@3",
    );
}

#[test]
fn filters_drop_kinds_of_events_and_never_send_what_is_left_empty() {
    check(
        "open 1
         create 1 key=a noput
         < 1 id=0 rev=1 created
         create 1 key=a nodelete
         < 1 id=1 rev=1 created
         create 1 key=a noput nodelete notify
         < 1 id=2 rev=1 created
         create 1 key=a filter=9
         < 1 id=3 rev=1 created
         write a=1
         < 1 id=1 rev=2 a=1@2/1/2
         < 1 id=3 rev=2 a=1@2/1/2
         write -a
         < 1 id=0 rev=3 -a@3
         < 1 id=3 rev=3 -a@3
         create 1 key=a noput start=2
         < 1 id=4 rev=3 created
         advance 1100
         < 1 id=4 rev=3 -a@3
         < 1 id=2 rev=3",
    );
}

#[test]
fn history_comes_a_thousand_revisions_at_a_time() {
    check(
        "many 1500 a=1
         open 1
         create 1 key=a start=1
         < 1 id=0 rev=1501 created
         create 1 key=b start=1
         < 1 id=1 rev=1501 created
         advance 100
         < 1 id=0 rev=1501 1000 events 2..1001
         < 1 id=0 rev=1501 500 events 1002..1501
         write b=1
         < 1 id=1 rev=1502 b=1@1502/1/1502",
    );
}

#[test]
fn a_revision_of_history_is_never_split() {
    check(
        "many 999 a=1
         write a=1 b=1 c=1
         write a=1 b=1 c=1
         open 1
         create 1 key=a end=d start=1
         < 1 id=0 rev=1002 created
         advance 100
         < 1 id=0 rev=1002 1002 events 2..1001
         < 1 id=0 rev=1002 a=1@1002/1001/2 b=1@1002/2/1001 c=1@1002/2/1001",
    );
}

#[test]
fn a_large_response_is_cut_only_for_who_asked() {
    check(
        "fragments 1000
         open 1
         create 1 key=a end=z fragment
         < 1 id=0 rev=1 created
         create 1 key=a end=z
         < 1 id=1 rev=1 created
         write a=*400 b=*400 c=*400 d=*5000 e=*10
         < 1 id=0 rev=2 fragment a=*400@2/1/2 b=*400@2/1/2
         < 1 id=0 rev=2 fragment c=*400@2/1/2
         < 1 id=0 rev=2 fragment d=*5000@2/1/2
         < 1 id=0 rev=2 e=xxxxxxxxxx@2/1/2
         < 1 id=1 rev=2 a=*400@2/1/2 b=*400@2/1/2 c=*400@2/1/2 d=*5000@2/1/2 e=xxxxxxxxxx@2/1/2
         create 1 key=a end=z fragment
         < 1 id=2 rev=2 created
         cancel 1 0
         < 1 id=0 rev=2 canceled
         cancel 1 1
         < 1 id=1 rev=2 canceled
         write f=*9999
         < 1 id=2 rev=3 f=*9999@3/1/3",
    );
}

#[test]
fn fragments_of_history_follow_each_other() {
    check(
        "fragments 1000
         write a=*400 b=*400
         write c=*400
         open 1
         create 1 key=a end=z start=2 fragment
         < 1 id=0 rev=3 created
         advance 100
         < 1 id=0 rev=3 fragment a=*400@2/1/2 b=*400@2/1/2
         < 1 id=0 rev=3 c=*400@3/1/3",
    );
}

#[test]
fn a_stream_without_room_is_silent_and_catches_up() {
    check(
        "open 1 window=40
         open 2
         create 1 key=a
         < 1 id=0 rev=1 created
         create 2 key=a
         < 2 id=0 rev=1 created
         write a=*100
         < 1 id=0 rev=2 a=*100@2/1/2
         < 2 id=0 rev=2 a=*100@2/1/2
         write a=2
         < 2 id=0 rev=3 a=2@3/2/2
         write b=1
         write a=3
         < 2 id=0 rev=5 a=3@5/3/2
         advance 1000
         window 1 60
         advance 1000
         window 1 200
         advance 9
         write c=1
         advance 1
         < 1 id=0 rev=6 a=2@3/2/2 a=3@5/3/2
         write a=4
         < 1 id=0 rev=7 a=4@7/4/2
         < 2 id=0 rev=7 a=4@7/4/2",
    );
}

#[test]
fn what_the_client_asked_for_is_answered_in_order_when_there_is_room() {
    check(
        "open 1 window=10
         create 1 key=a
         < 1 id=0 rev=1 created
         progress 1
         progress 1
         create 1 key=b id=5
         write c=1
         progress 1
         progress 1
         write a=1
         cancel 1 5
         progress 1
         create 1 key=a end=\\0 start=2
         window 1 1000
         < 1 id=-1 rev=1
         < 1 id=5 rev=1 created
         < 1 id=-1 rev=2
         < 1 id=5 rev=3 canceled
         < 1 id=1 rev=3 created
         advance 10
         < 1 id=0 rev=3 a=1@3/1/3
         < 1 id=1 rev=3 c=1@2/1/2 a=1@3/1/3",
    );
}

#[test]
fn who_lags_behind_compaction_is_canceled_and_blocks_nothing() {
    check(
        "open 1 window=40
         create 1 key=a
         < 1 id=0 rev=1 created
         create 1 key=b
         < 1 id=1 rev=1 created
         write a=*100
         < 1 id=0 rev=2 a=*100@2/1/2
         write a=2
         write a=3
         compact 4
         advance 1000
         window 1 1000
         advance 10
         < 1 id=0 rev=0 canceled compacted=4
         progress 1
         < 1 id=-1 rev=4
         write b=1
         < 1 id=1 rev=5 b=1@5/1/5",
    );
}

#[test]
fn who_needs_just_the_compact_revision_goes_on() {
    check(
        "open 1 window=40
         create 1 key=a
         < 1 id=0 rev=1 created
         write a=*100
         < 1 id=0 rev=2 a=*100@2/1/2
         write a=2
         write a=3
         compact 3
         window 1 1000
         advance 10
         < 1 id=0 rev=4 a=2@3/2/2 a=3@4/3/2",
    );
}

#[test]
fn an_installed_snapshot_leaves_no_gap_and_repeats_nothing() {
    check(
        "open 1
         open 2 window=30
         create 1 key=a
         < 1 id=0 rev=1 created
         create 1 key=a start=5
         < 1 id=1 rev=1 created
         create 1 key=a start=90
         < 1 id=2 rev=1 created
         create 1 key=b
         < 1 id=3 rev=1 created
         create 2 key=a
         < 2 id=0 rev=1 created
         write a=1
         < 1 id=0 rev=2 a=1@2/1/2
         < 2 id=0 rev=2 a=1@2/1/2
         unseen a=2
         unseen c=1
         unseen a=3
         install
         progress 1
         advance 100
         < 1 id=0 rev=5 a=2@3/2/2 a=3@5/3/2
         < 1 id=1 rev=5 a=3@5/3/2
         write a=4
         < 1 id=0 rev=6 a=4@6/4/2
         < 1 id=1 rev=6 a=4@6/4/2
         window 2 1000
         advance 10
         < 2 id=0 rev=6 a=2@3/2/2 a=3@5/3/2 a=4@6/4/2
         cancel 1 2
         < 1 id=2 rev=6 canceled
         progress 1
         < 1 id=-1 rev=6",
    );
}

#[test]
fn an_installed_snapshot_that_is_compacted_further_cancels() {
    check(
        "open 1
         create 1 key=a
         < 1 id=0 rev=1 created
         create 1 key=a start=4
         < 1 id=1 rev=1 created
         unseen a=1
         unseen a=2
         unseen a=3
         compact 3
         install
         advance 100
         < 1 id=0 rev=0 canceled compacted=3
         < 1 id=1 rev=4 a=3@4/3/2",
    );
}

#[test]
fn progress_is_asked_for_a_whole_stream_that_is_synced() {
    check(
        "open 1
         progress 1
         create 1 key=a
         < 1 id=0 rev=1 created
         progress 1
         < 1 id=-1 rev=1
         write b=1
         progress 1
         < 1 id=-1 rev=2
         create 1 key=a start=1
         < 1 id=1 rev=2 created
         progress 1
         advance 100
         progress 1
         < 1 id=-1 rev=2
         create 1 key=a start=4
         < 1 id=2 rev=2 created
         progress 1
         write b=2
         progress 1
         < 1 id=-1 rev=3
         write a=1
         < 1 id=0 rev=4 a=1@4/1/4
         < 1 id=1 rev=4 a=1@4/1/4
         < 1 id=2 rev=4 a=1@4/1/4
         progress 1
         < 1 id=-1 rev=4",
    );
}

#[test]
fn a_refused_watcher_does_not_count_as_one() {
    check(
        "open 1
         create 1 key=b end=a
         < 1 id=-1 rev=1 created canceled reason: mvcc: watcher range is empty
         progress 1",
    );
}

#[test]
fn idle_watchers_hear_of_progress_once_an_interval() {
    check(
        "open 1
         create 1 key=a notify
         < 1 id=0 rev=1 created
         create 1 key=b notify
         < 1 id=1 rev=1 created
         create 1 key=b
         < 1 id=2 rev=1 created
         create 1 key=b start=9 notify
         < 1 id=3 rev=1 created
         advance 999
         write a=1
         < 1 id=0 rev=2 a=1@2/1/2
         advance 101
         < 1 id=1 rev=2
         advance 1100
         < 1 id=0 rev=2
         < 1 id=1 rev=2
         cancel 1 1
         < 1 id=1 rev=2 canceled
         cancel 1 0
         < 1 id=0 rev=2 canceled
         cancel 1 3
         < 1 id=3 rev=2 canceled
         advance 10000",
    );
}

#[test]
fn who_is_behind_or_has_no_room_hears_of_no_progress() {
    check(
        "open 1 window=40
         create 1 key=a notify
         < 1 id=0 rev=1 created
         create 1 key=b notify
         < 1 id=1 rev=1 created
         write a=*100
         < 1 id=0 rev=2 a=*100@2/1/2
         write a=2
         advance 5000
         window 1 1000
         advance 5
         advance 5
         < 1 id=0 rev=3 a=2@3/2/2
         advance 2200
         < 1 id=1 rev=3
         < 1 id=0 rev=3
         < 1 id=1 rev=3",
    );
}

#[test]
fn a_client_that_never_listens_loses_its_stream() {
    use super::super::stream::CONTROL_MAX;
    use crate::api::ApiError;
    use crate::member::id::StreamId;
    use crate::member::io::{Output, Outputs};
    use crate::member::time::Monotonic;
    use crate::mvcc::watch::{WatchHub, WatchSettings};
    use rand_chacha::rand_core::SeedableRng;
    use std::time::Duration;

    let settings = WatchSettings::new(Duration::from_secs(1), 1_572_864);
    let entropy = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let (mut hub, tape) =
        (WatchHub::new(settings, entropy, 1), <super::tape::Tape as super::tape::Written>::blank());
    let mut out = Outputs::new();
    hub.open(StreamId(1), 0, Monotonic::ZERO);
    for _ in 0..CONTROL_MAX {
        hub.refuse(StreamId(1), "no", &tape, &mut out);
    }
    assert!(out.is_empty());
    hub.refuse(StreamId(1), "no", &tape, &mut out);
    let ended = out.drain().all(|output| {
        let result = Err(ApiError::TooManyRequests.into());
        matches!(output, Output::StreamEnd { id: StreamId(1), result: r } if r == result)
    });
    assert!(ended);
    assert_eq!(hub.counts().streams, 0);
}
