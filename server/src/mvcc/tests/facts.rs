//! Ranges, puts and deletes: contract-api.md, sections 2.1 to 2.7.

use super::language::World;
use crate::api::ApiError;
use crate::proto::etcdserverpb as pb;

#[test]
fn every_effective_write_takes_one_revision() {
    World::new().talk(
        "
        get k => rev 1 count 0
        del k => rev 1 deleted 0
        put k 1 => rev 2
        put k 2 => rev 3
        get k => rev 3 count 1 k=2@2/3/2
        put k 2 => rev 4
        del x => rev 4 deleted 0
        del k => rev 5 deleted 1
        put k 4 => rev 6
        get k => rev 6 count 1 k=4@6/6/1
        put e '' => rev 7
        get e => rev 7 count 1 e=@7/7/1
        ",
    );
}

#[test]
fn range_ends_select_keys() {
    World::new().talk(
        "
        put a 1 => rev 2
        put ab 2 => rev 3
        put b 3 => rev 4
        put c 4 => rev 5
        get a => rev 5 count 1 a=1@2/2/1
        get a..b keys-only => rev 5 count 2 a=@2/2/1 ab=@3/3/1
        get b.. => rev 5 count 2 b=3@4/4/1 c=4@5/5/1
        get b..b => rev 5 count 0
        get c..a => rev 5 count 0
        get d.. => rev 5 count 0
        get a.. count-only => rev 5 count 4
        ",
    );
    let mut world = World::new();
    world.check("put a 1", "rev 2");
    let all = pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
    assert_eq!(world.store.range(&all).unwrap().count, 1);
}

#[test]
fn older_revisions_show_what_was() {
    let mut world = World::new();
    world.talk(
        "
        put a 1 => rev 2
        put b 2 => rev 3
        put a 3 => rev 4
        del a => rev 5 deleted 1
        get a.. rev=1 => rev 5 count 0
        get a.. rev=2 => rev 5 count 1 a=1@2/2/1
        get a.. rev=3 => rev 5 count 2 a=1@2/2/1 b=2@3/3/1
        get a rev=4 => rev 5 count 1 a=3@2/4/2
        get a rev=5 => rev 5 count 0
        get b rev=-3 => rev 5 count 1 b=2@3/3/1
        get a rev=6 => mvcc: required revision is a future revision
        ",
    );
    world.compact(3);
    world.talk(
        "
        get a rev=2 => mvcc: required revision has been compacted
        get a rev=3 => rev 5 count 1 a=1@2/2/1
        get b rev=-3 => rev 5 count 1 b=2@3/3/1
        get a => rev 5 count 0
        ",
    );
}

#[test]
fn limits_count_and_more_fit_together() {
    World::new().talk(
        "
        put a 1 => rev 2
        put b 2 => rev 3
        put c 3 => rev 4
        get a.. limit=2 => rev 4 count 3 more a=1@2/2/1 b=2@3/3/1
        get a.. limit=3 keys-only => rev 4 count 3 a=@2/2/1 b=@3/3/1 c=@4/4/1
        get a.. limit=-1 count-only => rev 4 count 3
        get a.. limit=1 count-only => rev 4 count 3
        get a.. limit=0 min-mod=4 => rev 4 count 3 c=3@4/4/1
        get a.. limit=1 min-mod=3 => rev 4 count 3 more b=2@3/3/1
        get a.. max-mod=3 limit=2 => rev 4 count 3 a=1@2/2/1 b=2@3/3/1
        get a.. max-create=2 => rev 4 count 3 a=1@2/2/1
        get a min-create=3 => rev 4 count 1
        get a min-create=3 count-only => rev 4 count 1
        get a limit=1 => rev 4 count 1 a=1@2/2/1
        ",
    );
}

#[test]
fn sorting_orders_before_the_limit_cuts() {
    World::new().talk(
        "
        put a 9 => rev 2
        put b 5 => rev 3
        put c 7 => rev 4
        put b 5 => rev 5
        get a.. sort=key:descend limit=2 keys-only => rev 5 count 3 more c=@4/4/1 b=@3/5/2
        get a.. sort=key:ascend limit=1 => rev 5 count 3 more a=9@2/2/1
        get a.. sort=value:ascend limit=2 => rev 5 count 3 more b=5@3/5/2 c=7@4/4/1
        get a.. sort=value:descend keys-only => rev 5 count 3 a=@2/2/1 c=@4/4/1 b=@3/5/2
        get a.. sort=mod:descend => rev 5 count 3 b=5@3/5/2 c=7@4/4/1 a=9@2/2/1
        get a.. sort=create:descend limit=1 => rev 5 count 3 more c=7@4/4/1
        get a.. sort=version:descend limit=1 => rev 5 count 3 more b=5@3/5/2
        get a.. sort=mod:ascend min-mod=3 limit=1 => rev 5 count 3 more c=7@4/4/1
        ",
    );
}

/// etcd fetches one key more than the limit, in key order, sorts those, and cuts.
#[test]
fn a_sort_target_without_an_order_sorts_the_page() {
    World::new().talk(
        "
        put a 9 => rev 2
        put b 5 => rev 3
        put c 7 => rev 4
        put d 1 => rev 5
        get a.. sort=value:none => rev 5 count 4 d=1@5/5/1 b=5@3/3/1 c=7@4/4/1 a=9@2/2/1
        get a.. sort=value:none limit=2 => rev 5 count 4 more b=5@3/3/1 c=7@4/4/1
        get a.. sort=value:none limit=3 keys-only => rev 5 count 4 more d=@5/5/1 b=@3/3/1 c=@4/4/1
        get a.. sort=value:none limit=4 max-mod=4 => rev 5 count 4 b=5@3/3/1 c=7@4/4/1 a=9@2/2/1
        ",
    );
}

#[test]
fn unknown_sort_numbers_are_refused() {
    let world = World::new();
    let mut request = pb::RangeRequest { key: "a".into(), sort_order: 3, ..Default::default() };
    assert_eq!(world.store.range(&request), Err(ApiError::InvalidSortOption));
    request.sort_order = 0;
    request.sort_target = 5;
    assert_eq!(world.store.range(&request), Err(ApiError::InvalidSortOption));
}

#[test]
fn puts_keep_what_they_are_told_to() {
    World::new().talk(
        "
        put k 1 prev => rev 2
        put k 2 prev => rev 3 prev k=1@2/2/1
        put k '' ignore-value prev => rev 4 prev k=2@2/3/2
        get k => rev 4 count 1 k=2@2/4/3
        put x '' ignore-value => key not found
        put x 1 ignore-lease => key not found
        put x '' ignore-value lease=9 => requested lease not found
        put k 3 lease=9 => requested lease not found
        put k 3 lease=7 => rev 5
        put k 4 ignore-lease => rev 6
        put k '' ignore-value => rev 7
        get k => rev 7 count 1 k=4@2/7/6
        ",
    );
}

#[test]
fn a_key_belongs_to_one_lease_at_most() {
    let mut world = World::new();
    let keys =
        |world: &World| [7, 8].map(|id| String::from_utf8(world.lessor.keys(id).concat()).unwrap());
    world.check("put a 1 lease=7", "rev 2");
    world.check("put b 1 lease=7", "rev 3");
    assert_eq!(keys(&world), ["ab", ""]);
    world.check("put a 2 lease=8", "rev 4");
    assert_eq!(keys(&world), ["b", "a"]);
    world.check("put a 3", "rev 5");
    assert_eq!(keys(&world), ["b", ""]);
    world.check("put b 3 ignore-lease", "rev 6");
    assert_eq!(keys(&world), ["b", ""]);
    world.check("del a..", "rev 7 deleted 2");
    assert_eq!(keys(&world), ["", ""]);
}

#[test]
fn deletes_tell_what_they_removed_in_key_order() {
    World::new().talk(
        "
        put c 3 => rev 2
        put a 1 => rev 3
        put b 2 => rev 4
        del a..c prev => rev 5 deleted 2 a=1@3/3/1 b=2@4/4/1
        del a..c prev => rev 5 deleted 0
        del c..a => rev 5 deleted 0
        del c.. => rev 6 deleted 1
        ",
    );
}

#[test]
fn a_revoked_lease_takes_its_keys_in_one_revision() {
    let mut world = World::new();
    for key in ["b", "a", "c"] {
        world.run(&super::language::parse(&format!("put {key} 1 lease=7"))).unwrap();
    }
    let keys = world.lessor.revoke(7).unwrap();
    world.store.delete_leased(&keys);
    assert_eq!(world.store.revision(), 5);
    let order: Vec<_> =
        world.store.last_changes().iter().map(|c| (&c.kv.key[..], c.is_delete)).collect();
    assert_eq!(order, [(&b"a"[..], true), (b"b", true), (b"c", true)]);
    let none = world.lessor.revoke(8).unwrap();
    world.store.delete_leased(&none);
    assert_eq!(world.store.revision(), 5, "a lease without keys consumes no revision");
}
