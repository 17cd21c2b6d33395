//! What watchers read of the history, and what comes back from the bucket.

use bytes::Bytes;

use super::language::{World, lessor, show_kv};
use crate::member::time::Monotonic;
use crate::mvcc::{Restore, RestoreError, Revision, Store};

/// The pairs of the `key` bucket.
pub(super) fn pairs(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let changes = store.state.base.values().chain(store.state.log.iter());
    changes.map(|change| (change.bucket_key(), change.bucket_value())).collect()
}

pub(super) fn restored(store: &Store, finished: i64, scheduled: i64) -> World {
    let mut lessor = lessor();
    for id in [7, 8] {
        lessor.grant(id, 60, Monotonic::ZERO).unwrap();
    }
    let mut restore = Restore::new(Store::new(), Some(finished), Some(scheduled));
    for (key, value) in pairs(store) {
        restore.pair(&key, value.into()).unwrap();
    }
    let store = restore.finish(&mut lessor);
    World { store, lessor }
}

#[test]
fn delete_events_show_key_and_revision_only() {
    let mut world = World::new();
    world.check("put a 1 lease=7", "rev 2");
    world.check("del a", "rev 3 deleted 1");
    let event = &world.store.last_changes()[0];
    assert!(event.is_delete);
    assert_eq!(show_kv(&event.kv), "a=@0/3/0");
    assert_eq!(show_kv(&world.store.kv_at(b"a", 2).unwrap().kv), "a=1@2/2/1#7");
    assert!(world.store.kv_at(b"a", 3).is_none());
    assert!(world.store.kv_at(b"a", 1).is_none());
    world.compact_fully(3);
    assert!(world.store.kv_at(b"a", 2).is_none(), "compacted");
}

#[test]
fn bucket_pairs_are_etcds() {
    let mut world = World::new();
    world.check("put a 1 lease=7", "rev 2");
    world.check("del a", "rev 3 deleted 1");
    let main = |main: u8, rest: &[u8]| [&[0, 0, 0, 0, 0, 0, 0, main][..], rest].concat();
    assert_eq!(
        pairs(&world.store),
        [
            (
                main(2, b"_\0\0\0\0\0\0\0\0"),
                b"\x0a\x01a\x10\x02\x18\x02\x20\x01\x2a\x011\x30\x07".to_vec()
            ),
            (main(3, b"_\0\0\0\0\0\0\0\0t"), b"\x0a\x01a".to_vec()),
        ]
    );
}

#[test]
fn a_restored_store_is_the_same_store() {
    let mut world = World::new();
    world.talk(
        "
        put a 1 lease=7 => rev 2
        put b 1 => rev 3
        put a 2 lease=8 => rev 4
        del b => rev 5 deleted 1
        put c 3 lease=7 => rev 6
        ",
    );
    world.compact_fully(4);
    let copy = restored(&world.store, 4, 4);
    assert_eq!(copy.store.digest(), world.store.digest());
    assert_eq!(copy.store.revision(), 6);
    assert_eq!(copy.lessor.keys(7), world.lessor.keys(7));
    assert_eq!(copy.lessor.keys(8), world.lessor.keys(8));
    let events =
        |store: &Store| store.events(0).map(|c| (c.revision, c.kv.clone())).collect::<Vec<_>>();
    assert_eq!(events(&copy.store), events(&world.store));
    assert_eq!(copy.store.view().hash_kv(0), world.store.view().hash_kv(0));
}

#[test]
fn an_interrupted_compaction_is_resumed_without_a_hash() {
    let mut world = World::new();
    for value in 1..6 {
        world.check(&format!("put a {value}"), &format!("rev {}", value + 1));
    }
    world.compact(5);
    world.store.compact_slice(3);
    let mut copy = restored(&world.store, -1, 5);
    assert_eq!(copy.store.compact_revision(), 5);
    assert_eq!(copy.store.digest(), world.store.digest());
    assert!(copy.store.compact_slice(u64::MAX).1);
    assert_eq!(copy.store.finished_compact_revision(), 5);
    assert!(copy.store.compaction_hashes().is_empty());
    copy.check("get a rev=5", "rev 6 count 1 a=4@2/5/4");
}

#[test]
fn a_bumped_revision_compacts_all_before_it() {
    let mut restore = Restore::new(Store::new(), None, Some(1003));
    restore
        .pair(
            &Revision::new(3, 0).bucket_key(),
            Bytes::from_static(b"\x0a\x01a\x10\x03\x18\x03\x20\x01\x2a\x011"),
        )
        .unwrap();
    restore.pair(&Revision::new(1003, 0).bucket_key(), Bytes::new()).unwrap();
    let store = restore.finish(&mut lessor());
    let mut world = World { store, lessor: lessor() };
    world.check("get a rev=1002", "mvcc: required revision has been compacted");
    world.check("get a", "rev 1003 count 1 a=1@3/3/1");
    assert!(world.store.compact_slice(u64::MAX).1);
    world.check("put a 2", "rev 1004");
}

#[test]
fn buckets_that_no_store_wrote_are_refused() {
    let pair = |restore: &mut Restore, key: &[u8], value: &'static [u8]| {
        restore.pair(key, Bytes::from_static(value))
    };
    let mut restore = Restore::new(Store::new(), None, None);
    let at = |main| Revision::new(main, 0);
    assert_eq!(pair(&mut restore, b"x", b""), Err(RestoreError::Key(1)));
    assert_eq!(pair(&mut restore, &[0; 17], b""), Err(RestoreError::Key(17)));
    assert_eq!(
        pair(&mut restore, &at(3).bucket_key(), b"\x0a\x05a"),
        Err(RestoreError::Value(at(3)))
    );
    pair(&mut restore, &at(4).bucket_key(), b"\x0a\x01a").unwrap();
    let order = RestoreError::Order { found: at(4), last: at(4) };
    assert_eq!(pair(&mut restore, &at(4).bucket_key(), b"\x0a\x01a"), Err(order));
}
