//! Files with random damage: none may panic, loop or grow without bound, and one that is opened can
//! be read and continued.

use super::*;
use crate::storage::bolt::check;
use crate::storage::bolt::meta::{Meta, fnv};

const PAGE: usize = SMALL.page_bytes as usize;

fn sound(seed: u64) -> Vec<u8> {
    let options = BoltOptions { growth_bytes: 1, ..SMALL };
    let (disk, mut bolt) = created(options);
    let mut draw = Draw::new(seed);
    for _ in 0..6 {
        let changes: Vec<_> = (0..12).map(|_| draw.change(&empty_model(), 0)).collect();
        bolt.commit(&changes).unwrap();
    }
    drop(bolt);
    disk.read(PATH).unwrap()
}

/// Gives meta pages the checksums of what they say.
fn seal(bytes: &mut [u8]) {
    for place in 0..2 {
        let page = &mut bytes[place * PAGE..(place + 1) * PAGE];
        let checksum = fnv(&page[16..72]);
        page[72..80].copy_from_slice(&checksum.to_le_bytes());
    }
}

fn mutate(draw: &mut Draw, bytes: &mut Vec<u8>) {
    for _ in 0..=draw.below(4) {
        let pages = (bytes.len() / PAGE) as u64;
        let page = draw.below(pages) as usize * PAGE;
        // Most of a page's meaning lies in its head.
        let at = page + if draw.below(3) == 0 { draw.below(512) } else { draw.below(100) } as usize;
        match draw.below(6) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = draw.below(256) as u8,
            2 => bytes[at & !7] = draw.below(pages + 3) as u8,
            3 => {
                let from = draw.below(pages) as usize * PAGE;
                bytes.copy_within(from..from + PAGE, page);
            }
            4 => bytes[page..page + PAGE].fill([0, 0xff][draw.below(2) as usize]),
            _ => {
                let to = draw.below(512) as usize;
                bytes.copy_within(at & !3..(at & !3) + 4, page + (to & !3));
            }
        }
    }
    if draw.below(10) == 0 {
        let len = draw.below(bytes.len() as u64 + 1);
        bytes.truncate(len as usize);
    }
    if bytes.len() >= 2 * PAGE {
        seal(bytes);
    }
}

/// Opens a file, reads it whole and continues it; returns whether it was opened.
fn open_and_continue(bytes: Vec<u8>) -> bool {
    let disk = MemoryDisk::new();
    disk.put(PATH, bytes);
    let findings = check(&disk, PATH);
    let Ok(mut bolt) = Bolt::open(Rc::new(disk.clone()), PATH, SMALL) else { return false };
    // A list of free pages is not needed, so a wrong one is no reason to refuse.
    let is_sound = findings.is_ok_and(|findings| findings.is_empty());
    let tx = bolt.read();
    let before: Vec<Rows> = tx.buckets().unwrap().iter().map(|name| all(&tx, name)).collect();
    let _ = bolt.create_buckets(&["key"]);
    let change = put("key", b"next", b"value");
    if bolt.commit([change]).is_ok() {
        assert_eq!(bolt.check().unwrap(), []);
        let names = tx.buckets().unwrap();
        let again: Vec<Rows> = names.iter().map(|name| all(&tx, name)).collect();
        assert_eq!(again, before, "what is pinned stays");
        drop((tx, bolt));
        let bolt = Bolt::open(Rc::new(disk.clone()), PATH, SMALL).unwrap();
        assert_eq!(bolt.read().get(b"key", b"next").unwrap().unwrap(), "value");
        drop(bolt);
        assert_eq!(check(&disk, PATH).unwrap(), []);
    }
    is_sound
}

fn all(tx: &ReadTx, bucket: &[u8]) -> Rows {
    tx.rows(bucket).unwrap().map(Result::unwrap).collect()
}

#[test]
fn no_damage_makes_a_panic_and_what_is_opened_can_be_continued() {
    let mut draw = Draw::new(7);
    let mut opened = 0;
    for seed in 0..5 {
        let sound = sound(seed);
        assert!(open_and_continue(sound.clone()));
        for _ in 0..800 {
            let mut bytes = sound.clone();
            mutate(&mut draw, &mut bytes);
            opened += usize::from(open_and_continue(bytes));
        }
    }
    assert!((200..3800).contains(&opened), "{opened} of 4000 were opened");
    assert!(Meta::decode(&sound(0)).is_ok());
}
