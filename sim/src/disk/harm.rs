//! Damage to a member's database and its snapshots: what it does to which file, decided from the
//! files' contents alone, so that a virtual disk and a machine's are damaged in the same way.
//!
//! A flipped bit is one that matters: in a value that is read, in a page that is in use. Nothing is
//! changed here; where there is nothing to damage, nothing is named.

use super::rows::Database;

/// The database's name.
const DATABASE: &str = "db";
/// How the names of snapshots end.
const SNAPSHOT: &str = ".snap";
/// What a database's meta page holds, behind the page's header.
const META: std::ops::Range<u64> = 16..80;

/// What is damaged of the files beside the log, while no process has them open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// A bit of the newest value of some key, which no checksum protects.
    RotValue,
    /// A bit of what leads to the rows: of a branch page, or else of a leaf page's table.
    RotIndex,
    /// A bit of the meta page that was written last, which has a checksum.
    RotMeta,
    /// A bit of the newest `.snap` file, which has a checksum.
    RotSnapshot,
    /// The database ends early.
    TruncateDatabase,
    /// The database holds nothing but zeros.
    ZeroDatabase,
    /// There is no database.
    LoseDatabase,
    /// The newest `.snap` file is not there.
    LoseSnapshot,
}

/// What is to be done to a file for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// These bits of a byte are flipped.
    Flip {
        /// Which byte.
        offset: u64,
        /// Which bits.
        mask: u8,
    },
    /// It ends here.
    Cut {
        /// Its length.
        len: u64,
    },
    /// It holds zeros.
    Zero,
    /// It is gone.
    Remove,
}

impl Harm {
    /// Whether a member that serves may hold something else for it.
    pub fn is_silent(self) -> bool {
        self == Harm::RotValue
    }

    /// The file in a directory with these names that it means.
    pub fn file(self, names: &[String]) -> Option<String> {
        let is_meant = |name: &&String| match self {
            Harm::RotSnapshot | Harm::LoseSnapshot => name.ends_with(SNAPSHOT),
            _ => *name == DATABASE,
        };
        names.iter().filter(is_meant).max().cloned()
    }

    /// What is done to its file. `below` draws a number below another.
    pub fn change(self, bytes: &[u8], mut below: impl FnMut(u64) -> u64) -> Option<Change> {
        let mut one_of = |places: &[u64]| {
            let place = below(places.len().max(1) as u64) as usize;
            let mask = 1 << below(8);
            places.get(place).map(|&offset| Change::Flip { offset, mask })
        };
        let database = || Database::find(bytes);
        match self {
            Harm::RotValue => {
                let values = database()?.values();
                let value = values.get(below(values.len().max(1) as u64) as usize)?.clone();
                let offset = value.start as u64 + below(value.len() as u64);
                Some(Change::Flip { offset, mask: 1 << below(8) })
            }
            Harm::RotIndex => one_of(&database()?.structure()),
            Harm::RotMeta => {
                let at = database()?.meta_at;
                one_of(&META.map(|byte| at + byte).collect::<Vec<_>>())
            }
            Harm::RotSnapshot => one_of(&(0..bytes.len() as u64).collect::<Vec<_>>()),
            Harm::TruncateDatabase => {
                let used = database().map_or(bytes.len() as u64, |database| database.used());
                (used > 0).then(|| Change::Cut { len: below(used) })
            }
            Harm::ZeroDatabase => Some(Change::Zero),
            Harm::LoseDatabase | Harm::LoseSnapshot => Some(Change::Remove),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use detcd::proto::mvccpb::KeyValue;
    use detcd::storage::bolt::{self, Bolt, BoltError, BoltOptions};
    use detcd::storage::database::BucketChange;
    use detcd::storage::disk::Disk;
    use detcd::storage::schema::{self, DatabaseImage, bucket};
    use prost::Message;

    use super::*;
    use crate::disk::{DiskTimes, VirtualDisk};
    use crate::seed::Streams;

    const SMALL: BoltOptions =
        BoltOptions { map_bytes: 1 << 15, growth_bytes: 1 << 15, ..BoltOptions::ETCD };

    /// A change of a key: its revision, and its value or that it is gone.
    fn change(main: u64, key: &str, value: Option<&str>) -> BucketChange {
        let mut place = [&main.to_be_bytes()[..], b"_", &0u64.to_be_bytes()[..]].concat();
        place.extend(value.is_none().then_some(b't'));
        let value = value.unwrap_or_default().as_bytes().to_vec().into();
        let pair = KeyValue { key: key.as_bytes().to_vec().into(), value, ..KeyValue::default() };
        BucketChange::put(bucket::KEY, place, pair.encode_to_vec())
    }

    /// A database with so many keys, each written twice, and one that is gone again.
    fn database(keys: u64) -> VirtualDisk {
        let disk = VirtualDisk::new(DiskTimes::STEPS, Streams::new(1).stream("disk"));
        disk.create_dir_all("snap").unwrap();
        let shared: Rc<dyn Disk> = Rc::new(disk.clone());
        let mut bolt = Bolt::create(shared, "snap/db", SMALL).unwrap();
        schema::initialize(&mut bolt).unwrap();
        for (round, value) in ["old".repeat(30), "new".repeat(30)].iter().enumerate() {
            let first = 2 + round as u64 * keys;
            let rows = (0..keys).map(|key| change(first + key, &format!("k{key}"), Some(value)));
            bolt.commit(rows).unwrap();
        }
        let last = 2 + 2 * keys;
        bolt.commit([change(last, "gone", Some("x")), change(last + 1, "gone", None)]).unwrap();
        disk
    }

    fn open(disk: &VirtualDisk) -> Result<Bolt, BoltError> {
        Bolt::open(Rc::new(disk.mount()), "snap/db", SMALL)
    }

    fn image(disk: &VirtualDisk) -> DatabaseImage {
        DatabaseImage::read(&open(disk).unwrap().read()).unwrap()
    }

    fn harmed(disk: &VirtualDisk, seed: u64, harm: Harm) -> VirtualDisk {
        let fork = disk.fork(seed);
        assert_eq!(fork.harm("snap", harm).map(|damage| damage.path).as_deref(), Some("snap/db"));
        fork
    }

    #[test]
    fn a_flipped_bit_of_a_value_changes_what_one_key_holds_and_nothing_else() {
        for keys in [1, 300] {
            let disk = database(keys);
            let before = image(&disk);
            for seed in 0..20 {
                let after = image(&harmed(&disk, seed, Harm::RotValue));
                let rows = |image: &DatabaseImage| -> Vec<_> {
                    let all = image.buckets().flat_map(|(name, rows)| {
                        rows.iter()
                            .map(move |(key, value)| (name.clone(), key.clone(), value.clone()))
                    });
                    all.collect()
                };
                let (before, after) = (rows(&before), rows(&after));
                let differing: Vec<usize> =
                    (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
                let [at] = differing[..] else { panic!("{} rows differ", differing.len()) };
                let pair = |row: &(_, _, bytes::Bytes)| KeyValue::decode(row.2.clone()).unwrap();
                let (before, after) = (pair(&before[at]), pair(&after[at]));
                assert_eq!(before.key, after.key);
                assert_eq!(before.value, "new".repeat(30), "the newest");
                let bits = before.value.iter().zip(&after.value).map(|(a, b)| (a ^ b).count_ones());
                assert_eq!(bits.sum::<u32>(), 1);
            }
        }
    }

    #[test]
    fn a_flipped_bit_of_a_branch_page_is_found_or_changes_no_row() {
        let disk = database(300);
        let before = image(&disk);
        let is_found = |seed: &u64| {
            let damaged = harmed(&disk, *seed, Harm::RotIndex);
            let is_found = open(&damaged)
                .and_then(|bolt| bolt.check())
                .map_or(true, |found| !found.is_empty());
            assert!(is_found || image(&damaged) == before, "seed {seed}");
            is_found
        };
        assert!((0..40).filter(is_found).count() > 20);
        harmed(&database(1), 1, Harm::RotIndex);
    }

    #[test]
    fn without_its_newest_meta_page_a_database_is_what_it_was_before() {
        let disk = database(300);
        let before = open(&disk).unwrap().txid();
        for seed in 0..20 {
            let after = open(&harmed(&disk, seed, Harm::RotMeta)).unwrap();
            assert_eq!(after.txid(), before - 1);
            assert_eq!(after.check().unwrap(), []);
        }
    }

    #[test]
    fn a_database_that_ends_early_or_holds_zeros_or_is_gone_cannot_be_opened() {
        let disk = database(300);
        for harm in [Harm::TruncateDatabase, Harm::ZeroDatabase, Harm::LoseDatabase] {
            for seed in 0..10 {
                let after = harmed(&disk, seed, harm);
                let read = open(&after).and_then(|bolt| bolt.check());
                assert!(read.is_err(), "{harm:?}, seed {seed}: {read:?}");
            }
        }
        assert!(bolt::check(&disk, "snap/db").unwrap().is_empty(), "a fork is another disk");
    }

    #[test]
    fn the_newest_snapshot_is_meant() {
        let disk = VirtualDisk::new(DiskTimes::STEPS, Streams::new(1).stream("disk"));
        disk.create_dir_all("snap").unwrap();
        assert_eq!(disk.harm("snap", Harm::RotSnapshot), None, "there is none");
        for name in ["1-2.snap", "1-9.snap", "9.snap.db", "1-7.snap"] {
            disk.create(&format!("snap/{name}")).unwrap().write_at(0, b"b").unwrap();
        }
        let rotten = disk.fork(1);
        let damage = rotten.harm("snap", Harm::RotSnapshot).unwrap();
        assert_eq!((damage.path.as_str(), damage.offset), ("snap/1-9.snap", 0));
        assert_ne!(rotten.read_file("snap/1-9.snap").unwrap(), b"b");
        disk.harm("snap", Harm::LoseSnapshot).unwrap();
        disk.power_loss(disk.completion());
        let mut left = disk.mount().list("snap").unwrap();
        left.sort();
        assert_eq!(left, ["1-2.snap", "1-7.snap", "9.snap.db"]);
    }
}
