//! Files that are damaged on purpose: each kind of damage is found, at the page where it is, and
//! keeps the file from being opened.

use super::*;
use crate::storage::bolt::error::{BoltError, BucketFault, PageFault};
use crate::storage::bolt::meta::{Meta, NO_FREELIST};
use crate::storage::bolt::page::{BRANCH, FREELIST, Header, LEAF, u32_at, u64_at};
use crate::storage::bolt::{Finding, check};
use crate::storage::disk::Disk;

const PAGE: usize = SMALL.page_bytes as usize;

/// A sound file and what there is to damage: two levels of pages below `key`, an inline bucket, an
/// overflowing value, free pages.
struct Image {
    bytes: Vec<u8>,
    meta: Meta,
    root: usize,
    /// A branch with leaves below it.
    branch: usize,
    leaf: usize,
}

impl Image {
    fn new() -> Image {
        let (disk, mut bolt) = created(SMALL);
        let rows = (0..200u32).map(|n| put("key", &n.to_be_bytes(), &[n as u8; 20]));
        bolt.commit(rows).unwrap();
        bolt.commit([put("meta", b"a", b"1"), put("lease", b"large", &[9; 1500])]).unwrap();
        bolt.commit([put("meta", b"a", b"2"), delete("lease", b"none")]).unwrap();
        drop(bolt);
        let bytes = disk.read(PATH).unwrap();
        let metas = [Meta::decode(&bytes).unwrap(), Meta::decode(&bytes[PAGE..]).unwrap()];
        let meta = metas.into_iter().max_by_key(|meta| meta.txid).unwrap();
        let mut image = Image { bytes, meta, root: meta.root as usize, branch: 0, leaf: 0 };
        image.branch = u64_at(&image.bytes, image.value(image.root, 1)) as usize;
        while image.header(image.child(image.branch, 0)).flags == BRANCH {
            image.branch = image.child(image.branch, 0);
        }
        image.leaf = image.child(image.branch, 1);
        assert_eq!(image.header(image.leaf).flags, LEAF);
        image
    }

    fn header(&self, page: usize) -> Header {
        Header::decode(&self.bytes[page * PAGE..])
    }

    fn element(&self, page: usize, index: usize) -> usize {
        page * PAGE + 16 + index * 16
    }

    fn child(&self, page: usize, index: usize) -> usize {
        u64_at(&self.bytes, self.element(page, index) + 8) as usize
    }

    fn set_child(&mut self, page: usize, index: usize, child: u64) {
        self.set(self.element(page, index) + 8, &child.to_le_bytes());
    }

    /// Where the key of an element lies.
    fn key(&self, page: usize, index: usize) -> usize {
        let at = self.element(page, index);
        let field = if self.header(page).flags == LEAF { at + 4 } else { at };
        at + u32_at(&self.bytes, field) as usize
    }

    /// Where the value of a leaf's element lies.
    fn value(&self, page: usize, index: usize) -> usize {
        let size = u32_at(&self.bytes, self.element(page, index) + 8);
        self.key(page, index) + size as usize
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn set_header(&mut self, page: usize, change: impl FnOnce(&mut Header)) {
        let mut header = self.header(page);
        change(&mut header);
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        self.set(page * PAGE, &bytes);
    }

    /// Writes both meta pages.
    fn set_meta(&mut self, change: impl FnOnce(&mut Meta)) {
        change(&mut self.meta);
        for place in 0..2 {
            let page = self.meta.encode(place as u64);
            self.set(place * PAGE, &page);
        }
    }

    /// Appends a page and gives it a number.
    fn append(&mut self, flags: u16, count: u16, content: &[u8]) -> u64 {
        let id = self.meta.high_water;
        self.bytes.resize((id as usize + 1) * PAGE, 0);
        self.set_meta(|meta| meta.high_water += 1);
        let mut bytes = Vec::new();
        Header { id, flags, count, overflow: 0 }.encode(&mut bytes);
        bytes.extend_from_slice(content);
        self.set(id as usize * PAGE, &bytes);
        id
    }

    /// Gives the file a list of free pages: the right one, changed.
    fn sync_freelist(&mut self, change: impl FnOnce(&mut Vec<u64>)) -> u64 {
        let mut free = self.opened().unwrap().shared.borrow().free.pages();
        change(&mut free);
        let ids: Vec<u8> = free.iter().flat_map(|id| id.to_le_bytes()).collect();
        let page = self.append(FREELIST, free.len() as u16, &ids);
        self.set_meta(|meta| meta.freelist = page);
        page
    }

    fn findings(&self) -> Vec<Finding> {
        let disk = MemoryDisk::new();
        disk.put(PATH, &self.bytes[..]);
        check(&disk, PATH).unwrap()
    }

    fn opened(&self) -> Result<Bolt, BoltError> {
        let disk = MemoryDisk::new();
        disk.put(PATH, &self.bytes[..]);
        Bolt::open(Rc::new(disk), PATH, SMALL)
    }

    /// The check finds this first, and opening the file is refused for it.
    fn is_refused(&self, page: usize, fault: PageFault) {
        let findings = self.findings();
        let expected = Finding { page: page as u64, fault };
        assert_eq!(findings.first(), Some(&expected), "{findings:?}");
        let error = self.opened().unwrap_err();
        assert_eq!(error.to_string(), format!("{PATH}: {expected}"));
    }
}

fn damaged(damage: impl FnOnce(&mut Image) -> (usize, PageFault)) {
    let mut image = Image::new();
    assert_eq!(image.findings(), []);
    let (page, fault) = damage(&mut image);
    image.is_refused(page, fault);
}

#[test]
fn a_page_with_two_references_is_found() {
    damaged(|image| {
        image.set_child(image.branch, 2, image.leaf as u64);
        (image.leaf, PageFault::MultipleReferences)
    });
}

#[test]
fn a_cycle_is_found() {
    damaged(|image| {
        image.set_child(image.branch, 0, image.branch as u64);
        (image.branch, PageFault::MultipleReferences)
    });
}

#[test]
fn a_reference_out_of_bounds_is_found() {
    for child in [u64::MAX, Image::new().meta.high_water] {
        damaged(|image| {
            image.set_child(image.branch, 1, child);
            (child as usize, PageFault::OutOfBounds { high_water: image.meta.high_water })
        });
    }
    damaged(|image| {
        image.set_child(image.branch, 1, 0);
        (0, PageFault::MultipleReferences)
    });
}

#[test]
fn a_page_of_another_number_is_found() {
    damaged(|image| {
        image.set_header(image.leaf, |header| header.id = 77);
        (image.leaf, PageFault::WrongId { found: 77 })
    });
}

#[test]
fn a_page_of_a_wrong_type_is_found() {
    for flags in [0, 3, 4, 0x10, 0x82] {
        damaged(|image| {
            image.set_header(image.leaf, |header| header.flags = flags);
            (image.leaf, PageFault::InvalidType { flags })
        });
    }
}

#[test]
fn a_page_that_goes_on_past_the_end_is_found() {
    damaged(|image| {
        image.set_header(image.leaf, |header| header.overflow = u32::MAX);
        let high_water = image.meta.high_water;
        (image.leaf, PageFault::Overflow { overflow: u32::MAX, high_water })
    });
}

#[test]
fn a_page_without_room_for_its_elements_is_found() {
    damaged(|image| {
        image.set_header(image.leaf, |header| header.count = 32);
        (image.leaf, PageFault::Count { count: 32 })
    });
}

#[test]
fn a_branch_without_elements_is_found() {
    damaged(|image| {
        image.set_header(image.branch, |header| header.count = 0);
        (image.branch, PageFault::EmptyBranch)
    });
}

#[test]
fn an_element_out_of_its_page_is_found() {
    // Its place, the key's size and the value's, and a key without bytes.
    for (field, value) in [(4, 5000u32), (4, 0), (8, u32::MAX), (12, u32::MAX), (8, 0)] {
        damaged(|image| {
            let at = image.element(image.leaf, 1) + field;
            image.set(at, &value.to_le_bytes());
            (image.leaf, PageFault::Element { index: 1 })
        });
    }
}

#[test]
fn elements_that_are_no_longer_counted_or_shifted_are_found() {
    damaged(|image| {
        image.set_header(image.leaf, |header| header.count -= 1);
        (image.leaf, PageFault::Gap { index: 0 })
    });
    // A value's size, and where a key begins in a branch.
    damaged(|image| {
        let at = image.element(image.root, 1) + 12;
        image.set(at, &15u32.to_le_bytes());
        (image.root, PageFault::Gap { index: 2 })
    });
    damaged(|image| {
        let at = image.element(image.branch, 1);
        let pos = u32_at(&image.bytes, at);
        image.set(at, &(pos + 1).to_le_bytes());
        (image.branch, PageFault::Gap { index: 1 })
    });
}

#[test]
fn keys_out_of_order_are_found() {
    damaged(|image| {
        let at = image.key(image.leaf, 2);
        image.set(at, &[0; 4]);
        (image.leaf, PageFault::KeyOrder { index: 2 })
    });
    damaged(|image| {
        let key = image.bytes[image.key(image.leaf, 1)..][..4].to_vec();
        image.set(image.key(image.leaf, 2), &key);
        (image.leaf, PageFault::KeyOrder { index: 2 })
    });
}

#[test]
fn keys_that_do_not_belong_below_their_ancestor_are_found() {
    damaged(|image| {
        image.set(image.key(image.leaf, 0), &[0; 4]);
        (image.leaf, PageFault::BelowAncestor)
    });
    damaged(|image| {
        let last = usize::from(image.header(image.leaf).count) - 1;
        image.set(image.key(image.leaf, last), &[0xff; 4]);
        (image.leaf, PageFault::AboveAncestor { index: last })
    });
}

#[test]
fn a_damaged_bucket_is_found() {
    let bucket = |index, cause| PageFault::Bucket { index, cause };
    // Of the root's elements 1 is `key` and 3 is `meta`, which is inline.
    for size in [15u32, 31] {
        damaged(|image| {
            let at = image.element(image.root, 3) + 12;
            image.set(at, &size.to_le_bytes());
            (image.root, bucket(3, BucketFault::Short))
        });
    }
    damaged(|image| {
        let at = image.value(image.root, 3) + 16;
        image.set(at + 8, &BRANCH.to_le_bytes());
        (image.root, bucket(3, BucketFault::InlineType { flags: BRANCH }))
    });
    damaged(|image| {
        let at = image.value(image.root, 3) + 32;
        image.set(at, &1u32.to_le_bytes());
        (image.root, bucket(3, BucketFault::InlineBucket))
    });
    damaged(|image| {
        let at = image.value(image.root, 3) + 16;
        image.set(at + 10, &9u16.to_le_bytes());
        let fault = Box::new(PageFault::Count { count: 9 });
        (image.root, bucket(3, BucketFault::InlinePage { fault }))
    });
}

#[test]
fn a_tree_without_end_is_found() {
    damaged(|image| {
        let mut below = image.leaf as u64;
        let key = image.bytes[image.key(image.leaf, 0)..][..4].to_vec();
        for _ in 0..200 {
            let mut element = Vec::new();
            element.extend_from_slice(&16u32.to_le_bytes());
            element.extend_from_slice(&4u32.to_le_bytes());
            element.extend_from_slice(&below.to_le_bytes());
            element.extend_from_slice(&key);
            below = image.append(BRANCH, 1, &element);
        }
        image.set_child(image.branch, 1, below);
        let findings = image.findings();
        assert_eq!(findings.len(), 1);
        (findings[0].page as usize, PageFault::TooDeep)
    });
}

#[test]
fn a_list_of_free_pages_is_accepted_and_given_up_with_the_next_transaction() {
    let mut image = Image::new();
    image.sync_freelist(|_| {});
    assert_eq!(image.findings(), []);
    let mut bolt = image.opened().unwrap();
    let before = bolt.in_use_bytes();
    bolt.commit(&[] as &[BucketChange]).unwrap();
    let committed = bolt.commit(&[] as &[BucketChange]).unwrap();
    assert_eq!(committed.in_use_bytes, before - PAGE as u64);
    assert_eq!(bolt.shared.borrow().meta.freelist, NO_FREELIST);
    assert_eq!(bolt.check().unwrap(), []);
}

#[test]
fn a_wrong_list_of_free_pages_is_found() {
    let found = |change: &dyn Fn(&mut Vec<u64>, &Image)| {
        let mut image = Image::new();
        let sound = Image::new();
        let page = image.sync_freelist(|free| change(free, &sound));
        let text = |finding: &Finding| finding.to_string().replace(&page.to_string(), "LIST");
        // The list is not needed to open the file.
        assert!(image.opened().is_ok());
        image.findings().iter().map(text).collect::<Vec<_>>()
    };
    let sound = Image::new();
    let first = sound.opened().unwrap().shared.borrow().free.pages()[0];
    let leaf = sound.leaf;
    assert_eq!(found(&|free, _| free.push(first)), [format!("page {first}: already freed")]);
    assert_eq!(
        found(&|free, sound| free.push(sound.leaf as u64)),
        [format!("page {leaf}: reachable freed")]
    );
    let unfreed = [format!("page {first}: unreachable unfreed")];
    assert_eq!(found(&|free, _| free.retain(|&id| id != first)), unfreed);
    assert_eq!(found(&|free, _| free.push(1)), ["page LIST: freelist holds page 1"]);
}

#[test]
fn a_damaged_page_of_free_pages_is_found() {
    damaged(|image| {
        let page = image.sync_freelist(|_| {}) as usize;
        image.set_header(page, |header| header.count = 1000);
        (page, PageFault::Count { count: 1000 })
    });
    damaged(|image| {
        let page = image.sync_freelist(|_| {}) as usize;
        image.set_header(page, |header| header.count = u16::MAX);
        image.set(page * PAGE + 16, &u64::MAX.to_le_bytes());
        (page, PageFault::Count { count: u64::MAX })
    });
    damaged(|image| {
        image.set_meta(|meta| meta.freelist = 1 << 40);
        (1 << 40, PageFault::OutOfBounds { high_water: image.meta.high_water })
    });
}

#[test]
fn one_whole_meta_page_is_enough_and_the_newer_one_counts() {
    let image = Image::new();
    let newest = image.meta.txid as usize % 2;
    for (place, txid) in [(newest, image.meta.txid - 1), (1 - newest, image.meta.txid)] {
        let mut bytes = image.bytes.clone();
        bytes[place * PAGE + 40] ^= 1;
        let disk = MemoryDisk::new();
        disk.put(PATH, bytes);
        let bolt = Bolt::open(Rc::new(disk), PATH, SMALL).unwrap();
        assert_eq!(bolt.txid(), txid);
        assert_eq!(bolt.check().unwrap(), []);
    }
}

#[test]
fn a_file_without_a_whole_meta_page_is_refused_in_bbolts_words() {
    for (field, text) in [
        (16, "invalid database"),
        (20, "version mismatch"),
        (24, "checksum error"),
        (72, "checksum error"),
    ] {
        let mut image = Image::new();
        image.bytes[field] ^= 1;
        image.bytes[PAGE + field] ^= 1;
        assert_eq!(image.opened().unwrap_err().to_string(), text);
    }
    let mut image = Image::new();
    image.bytes.truncate(10);
    assert_eq!(image.opened().unwrap_err().to_string(), "invalid database");
    for change in [
        |meta: &mut Meta| meta.high_water = 2,
        |meta: &mut Meta| meta.txid = u64::MAX,
        |meta: &mut Meta| meta.page_bytes = 1000,
    ] {
        let mut image = Image::new();
        let mut meta = image.meta;
        change(&mut meta);
        for place in 0..2 {
            let page = Meta { page_bytes: 512, ..meta }.encode(place);
            image.set(place as usize * PAGE, &page);
        }
        if meta.page_bytes != 512 {
            let page = meta.encode(0);
            image.set(0, &page[..80]);
        }
        assert_eq!(image.opened().unwrap_err().to_string(), "invalid database");
    }
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    let mut image = Image::new();
    let size = image.meta.high_water as usize * PAGE - 1;
    image.bytes.truncate(size);
    let error = image.opened().unwrap_err();
    assert_eq!(error.to_string(), format!("file size too small {size}"));
}

#[test]
fn a_file_that_is_cut_off_while_it_is_open_is_no_reason_to_panic() {
    let disk = MemoryDisk::new();
    disk.put(PATH, Image::new().bytes);
    let options = BoltOptions { cache_bytes: 0, ..SMALL };
    let mut bolt = Bolt::open(Rc::new(disk.clone()), PATH, options).unwrap();
    disk.open(PATH).unwrap().set_len(3 * PAGE as u64).unwrap();
    let tx = bolt.read();
    let error = tx.get(b"key", b"a").unwrap_err();
    assert!(error.to_string().ends_with("past the end of the file"), "{error}");
    assert!(tx.rows(b"key").is_err());
    assert!(tx.body(100).last().unwrap().is_err());
    assert!(bolt.commit([put("key", b"a", b"b")]).is_err());
}
