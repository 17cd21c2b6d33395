//! Compaction: contract-api.md, section 2.9.

use super::language::World;
use crate::api::ApiError;
use crate::mvcc::Written;

fn world() -> World {
    let mut world = World::new();
    world.talk(
        "
        put a 1 => rev 2
        put a 2 => rev 3
        put b 1 => rev 4
        del a => rev 5 deleted 1
        put c 1 => rev 6
        ",
    );
    world
}

#[test]
fn compaction_accepts_the_revisions_that_etcd_accepts() {
    let check = |sequence: &[(i64, Result<(), ApiError>)]| {
        let mut world = world();
        for (revision, expected) in sequence {
            let answer = world.store.compact(*revision);
            assert_eq!(answer.as_ref().map(drop), expected.as_ref().map(drop), "{revision}");
            assert!(answer.is_err() || answer.unwrap().header.unwrap().revision == 6);
        }
    };
    let (compacted, future) = (Err(ApiError::Compacted), Err(ApiError::FutureRevision));
    check(&[(0, Ok(())), (0, compacted), (-1, compacted)]);
    check(&[(-1, compacted), (7, future), (6, Ok(())), (6, compacted), (5, compacted)]);
    check(&[(3, Ok(())), (3, compacted), (4, Ok(()))]);
}

#[test]
fn a_tombstone_at_the_compacted_revision_stays_for_watchers() {
    let events = |world: &World, from| {
        let events = world.store.events(from);
        events.map(|change| (change.revision.main, change.is_delete)).collect::<Vec<_>>()
    };
    let mut world = world();
    assert_eq!(events(&world, 4), [(4, false), (5, true), (6, false)]);
    world.compact_fully(5);
    assert_eq!(events(&world, 5), [(5, true), (6, false)]);
    assert_eq!(events(&world, 1), events(&world, 5), "what is incomplete is left out");
    world.check("get a.. rev=5", "rev 6 count 1 b=1@4/4/1");
    assert_eq!(world.store.key_count(), 3);
    world.compact_fully(6);
    assert_eq!(world.store.key_count(), 2, "an older tombstone goes, and its key with it");
    world.check("get a..", "rev 6 count 2 b=1@4/4/1 c=1@6/6/1");
}

#[test]
fn slices_spend_no_more_than_their_budget() {
    let mut world = world();
    world.compact(4);
    world.compact(6);
    world.store.note_written();
    let mut slices = 0;
    loop {
        let (spent, is_done) = world.store.compact_slice(1);
        assert!(spent <= 1);
        slices += 1;
        if is_done {
            break;
        }
    }
    assert!(slices > 5);
    let written = world.store.take_written().into_iter();
    let removed = written.filter_map(|step| match step {
        Written::Removed(revision, _) => Some(revision.main),
        _ => None,
    });
    assert_eq!(removed.collect::<Vec<_>>(), [2, 3, 5]);
    assert_eq!(world.store.compact_slice(100), (0, true));
    assert_eq!(world.store.finished_compact_revision(), 6);
}

#[test]
fn views_go_to_other_threads() {
    fn is_send(_: impl Send) {}
    is_send(world().store.view());
}

#[test]
fn a_view_is_untouched_by_writes_and_compaction() {
    let mut world = world();
    let view = world.store.view();
    world.check("put a 9", "rev 7");
    world.compact_fully(7);
    let request = crate::proto::etcdserverpb::RangeRequest {
        key: "a".into(),
        revision: 3,
        ..Default::default()
    };
    assert_eq!(world.store.range(&request), Err(ApiError::Compacted));
    let old = view.range(&request).unwrap();
    assert_eq!((&old.kvs[0].value[..], old.header.unwrap().revision), (&b"2"[..], 6));
    assert_eq!((view.revision(), view.compact_revision()), (6, -1));
}
