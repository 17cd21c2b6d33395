//! Hashes of the key space: contract-cluster.md, section 8.6, with its vectors.

use super::language::World;
use crate::api::ApiError;
use crate::mvcc::CompactionHash;

/// The requests of the contract's vector.
fn vector() -> World {
    let mut world = World::new();
    world.talk(
        "
        put foo bar => rev 2
        put foo2 bar => rev 3
        del foo => rev 4 deleted 1
        put z 1 => rev 5
        put z 2 => rev 6
        del z => rev 7 deleted 1
        put y 3 => rev 8
        ",
    );
    world
}

/// Hash, compact revision and hash revision at a revision.
fn hash(world: &World, revision: i64) -> Result<(u32, i64, i64), ApiError> {
    let response = world.store.view().hash_kv(revision)?;
    assert_eq!(response.header.unwrap().revision, world.store.revision());
    Ok((response.hash, response.compact_revision, response.hash_revision))
}

#[test]
fn hashes_are_etcds() {
    let mut world = vector();
    assert_eq!(hash(&world, 4), Ok((311_622_684, -1, 4)));
    assert_eq!(hash(&world, 8), Ok((1_038_766_468, -1, 8)));
    assert_eq!(hash(&world, 0), Ok((1_038_766_468, -1, 8)));
    world.compact_fully(6);
    let stored = CompactionHash { revision: 6, compact_revision: -1, hash: 2_800_989_244 };
    assert_eq!(world.store.compaction_hashes(), [stored]);
    assert_eq!(hash(&world, 6), Ok((2_800_989_244, -1, 6)));
    assert_eq!(hash(&world, 8), Ok((2_730_413_920, 6, 8)));
}

#[test]
fn hashes_do_not_depend_on_how_far_removal_has_come() {
    let mut world = vector();
    world.compact(6);
    for _ in 0..20 {
        assert_eq!(hash(&world, 8), Ok((2_730_413_920, 6, 8)));
        world.store.compact_slice(1);
    }
    assert_eq!(world.store.finished_compact_revision(), 6);
    assert_eq!(world.store.compaction_hashes()[0].hash, 2_800_989_244);
}

#[test]
fn hashes_are_refused_where_reads_are() {
    let mut world = vector();
    assert_eq!(hash(&world, 9), Err(ApiError::FutureRevision));
    world.compact_fully(4);
    world.compact_fully(7);
    assert_eq!(hash(&world, 5), Err(ApiError::Compacted));
    assert!(hash(&world, 7).is_ok());
    assert_eq!(hash(&world, 4).unwrap().1, -1, "a remembered hash outlives its revision");
}

#[test]
fn ten_compaction_hashes_are_remembered() {
    let mut world = World::new();
    for value in 0..20 {
        world.check(&format!("put k {value}"), &format!("rev {}", value + 2));
    }
    for revision in 2..14 {
        world.compact_fully(revision);
    }
    let revisions: Vec<i64> =
        world.store.compaction_hashes().iter().map(|stored| stored.revision).collect();
    assert_eq!(revisions, Vec::from_iter(4..14));
    assert_eq!(hash(&world, 3), Err(ApiError::Compacted));
}

/// When no key would survive, what is physically there is hashed.
#[test]
fn a_space_without_keys_hashes_what_a_complete_compaction_leaves() {
    let build = || {
        let mut world = World::new();
        world.talk(
            "
            put a 1 => rev 2
            put a 2 => rev 3
            del a => rev 4 deleted 1
            ",
        );
        world
    };
    let (mut sliced, mut complete) = (build(), build());
    sliced.compact(3);
    complete.compact_fully(3);
    assert_eq!(hash(&sliced, 4), hash(&complete, 4));
    let only_old = hash(&complete, 4).unwrap().0;
    let bytes = [
        &b"key"[..],
        b"\0\0\0\0\0\0\0\x03_\0\0\0\0\0\0\0\0\x0a\x01a\x10\x02\x18\x03\x20\x02\x2a\x012",
        b"\0\0\0\0\0\0\0\x04_\0\0\0\0\0\0\0\0t\x0a\x01a",
    ];
    assert_eq!(only_old, crc32c::crc32c(&bytes.concat()));
}
