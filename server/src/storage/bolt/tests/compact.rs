//! Defragmentation.

use super::*;
use crate::storage::bolt::check;
use crate::storage::disk::Disk;

#[test]
fn a_copy_holds_the_same_rows_in_fewer_pages() {
    let (disk, mut bolt) = created(SMALL);
    let mut draw = Draw::new(1);
    let mut model = empty_model();
    for _ in 0..40 {
        let changes = draw.changes(&model);
        bolt.commit(&changes).unwrap();
        apply(&mut model, &changes);
    }
    let before = bolt.size_bytes();
    let copy = bolt.compact_into(Rc::new(disk.clone()), "member/snap/db.tmp.1", SMALL).unwrap();
    assert_eq!(content(&copy.read()), model);
    assert!(copy.size_bytes() < before, "{} and {before}", copy.size_bytes());
    assert_eq!(copy.check().unwrap(), []);
    drop((bolt, copy));
    disk.rename("member/snap/db.tmp.1", PATH).unwrap();
    assert_eq!(disk.list("member/snap").unwrap(), ["db"]);
    assert_eq!(check(&disk, PATH).unwrap(), []);
    let bolt = Bolt::open(Rc::new(disk), PATH, SMALL).unwrap();
    assert_eq!(content(&bolt.read()), model);
}

#[test]
fn a_copy_is_made_in_transactions_of_ten_thousand_rows() {
    for (rows, transactions) in [(0, 1), (10_000, 1), (10_001, 2), (20_001, 3)] {
        let (disk, mut bolt) = created(BoltOptions::ETCD);
        let changes: Vec<_> =
            (0..rows).map(|n: u32| put("key", &n.to_be_bytes(), b"value")).collect();
        bolt.commit(&changes).unwrap();
        let copy = bolt.compact_into(Rc::new(disk), "copy", BoltOptions::ETCD).unwrap();
        assert_eq!(copy.txid(), 1 + transactions, "{rows} rows");
        assert_eq!(copy.read().rows(b"key").unwrap().count(), rows as usize);
    }
}
