//! What is loaded from the rows that a store's steps made is the store: at any moment, in the
//! middle of compactions too, whatever is asked of it.

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::time::Duration;

use super::*;
use crate::member::alarms::Alarms;
use crate::member::membership::Membership;
use crate::member::time::Monotonic;
use crate::mvcc::Change;

const KEYS: [&str; 6] = ["a", "ab", "b", "c", "cd", "d"];

fn config() -> LessorConfig {
    LessorConfig { ttl_seconds_min: 2, retry: Duration::from_secs(7), checkpoint: true }
}

/// A store with its lessor, and the database that it would write.
struct Written {
    store: Store,
    lessor: Lessor,
    image: DatabaseImage,
    draw: ChaCha8Rng,
}

impl Written {
    fn new(seed: u64) -> Written {
        let mut store = Store::new();
        store.note_written();
        let draw = ChaCha8Rng::seed_from_u64(seed);
        Written { store, lessor: Lessor::new(config()), image: DatabaseImage::initial(), draw }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.draw.next_u64() % bound
    }

    fn key(&mut self) -> Bytes {
        Bytes::from_static(KEYS[self.below(KEYS.len() as u64) as usize].as_bytes())
    }

    fn put_request(&mut self, key: Bytes) -> pb::PutRequest {
        let lease = self.below(4) as i64;
        let lease = if self.lessor.exists(lease) { lease } else { 0 };
        let value = Bytes::from(vec![b'x'; self.below(20) as usize]);
        pb::PutRequest { key, value, lease, ..Default::default() }
    }

    fn put(&mut self) {
        let key = self.key();
        let request = self.put_request(key);
        self.store.put(&request, &mut self.lessor).unwrap();
    }

    fn delete(&mut self) {
        let (key, range_end) = (self.key(), self.key());
        let request = pb::DeleteRangeRequest { key, range_end, ..Default::default() };
        self.store.delete_range(&request, &mut self.lessor).unwrap();
    }

    /// Some keys are put, and all above them deleted.
    fn txn(&mut self) {
        use pb::request_op::Request;
        let pivot = self.below(KEYS.len() as u64) as usize;
        let mut ops = vec![Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: Bytes::from_static(KEYS[pivot].as_bytes()),
            range_end: Bytes::from_static(b"\0"),
            ..Default::default()
        })];
        for key in &KEYS[..pivot] {
            let request = self.put_request(Bytes::from_static(key.as_bytes()));
            ops.push(Request::RequestPut(request));
        }
        let success = ops.into_iter().map(|op| pb::RequestOp { request: Some(op) }).collect();
        let request = pb::TxnRequest { success, ..Default::default() };
        self.store.txn(&request, &mut self.lessor).unwrap();
    }

    fn lease(&mut self) {
        let id = 1 + self.below(3) as i64;
        let mut changes = Vec::new();
        if !self.lessor.exists(id) {
            let ttl = self.below(100) as i64;
            self.lessor.grant(id, ttl, Monotonic::ZERO).unwrap();
        } else if self.below(2) == 0 {
            let remaining = self.below(50) as i64;
            self.lessor.set_checkpoint(id, remaining, Monotonic::ZERO);
        } else {
            let keys = self.lessor.revoke(id).unwrap();
            self.store.delete_leased(&keys);
            changes.push(lease_revoked(id));
        }
        if let Some((ttl, remaining)) = self.lessor.stored(id) {
            changes.push(lease_granted(id, ttl, remaining));
        }
        self.image.apply(&changes);
    }

    fn compact(&mut self) {
        let last = self.store.compact_revision().max(0) as u64;
        let revision = last + self.below(self.store.revision() as u64 - last + 1);
        // Refused if it is compacted already, as a client's may be.
        let _ = self.store.compact(revision as i64);
    }

    fn step(&mut self) {
        match self.below(20) {
            0..9 => self.put(),
            9..12 => self.delete(),
            12..14 => self.txn(),
            14..16 => self.lease(),
            16 => self.compact(),
            _ => {
                let budget = 1 + self.below(6);
                self.store.compact_slice(budget);
            }
        }
        let changes = self.store.take_changes();
        self.image.apply(&changes);
    }

    fn loaded(&self) -> (Store, Lessor) {
        let mut lessor = Lessor::restore(config(), &self.image).unwrap();
        let store = Store::restore(Store::new(), &self.image, &mut lessor).unwrap();
        (store, lessor)
    }
}

fn events(store: &Store, from: i64) -> Vec<Change> {
    store.events(from).map(|change| Change::clone(change)).collect()
}

/// Everything that may be asked of both.
fn check_equal(written: &Written, context: &str) {
    let (store, lessor) = written.loaded();
    assert_eq!(store.revision(), written.store.revision(), "{context}");
    assert_eq!(store.compact_revision(), written.store.compact_revision(), "{context}");
    assert_eq!(store.digest(), written.store.digest(), "{context}");
    assert_eq!(lessor.digest(), written.lessor.digest(), "{context}");
    assert_eq!(lessor.leases(), written.lessor.leases(), "{context}");
    for id in lessor.leases() {
        assert_eq!(lessor.keys(id), written.lessor.keys(id), "{context}, lease {id}");
        assert_eq!(lessor.stored(id), written.lessor.stored(id), "{context}, lease {id}");
    }
    let (ours, theirs) = (store.view(), written.store.view());
    // Hashes of compactions that this run finished are remembered; a new run computes its own.
    let remembered: Vec<i64> =
        written.store.compaction_hashes().iter().map(|hash| hash.revision).collect();
    for revision in 0..=store.revision() + 1 {
        let request = pb::RangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            revision,
            ..Default::default()
        };
        assert_eq!(ours.range(&request), theirs.range(&request), "{context}, at {revision}");
        if !remembered.contains(&revision) {
            assert_eq!(ours.hash_kv(revision), theirs.hash_kv(revision), "{context}, {revision}");
        }
        if revision > store.compact_revision() {
            let (ours, theirs) = (events(&store, revision), events(&written.store, revision));
            let told = |changes: &[Change]| -> Vec<_> {
                changes.iter().map(|c| (c.revision, c.is_delete, c.kv.clone())).collect()
            };
            assert_eq!(told(&ours), told(&theirs), "{context}, events from {revision}");
        }
    }
}

#[test]
fn a_loaded_store_is_the_store_that_wrote_the_rows() {
    for seed in 0..16 {
        let mut written = Written::new(seed);
        for step in 0..120 {
            written.step();
            if written.below(4) == 0 {
                check_equal(&written, &format!("seed {seed}, step {step}"));
            }
        }
    }
}

#[test]
fn a_loaded_store_goes_on_as_the_one_that_wrote_the_rows() {
    for seed in 100..120 {
        let mut written = Written::new(seed);
        for step in 0..200 {
            written.step();
            if written.below(25) == 0 {
                let (mut store, lessor) = written.loaded();
                store.note_written();
                let rest = std::mem::replace(&mut written.store, store);
                written.lessor = lessor;
                assert_eq!(rest.digest(), written.store.digest(), "seed {seed}, step {step}");
            }
        }
        while !written.store.compact_slice(3).1 {}
        let changes = written.store.take_changes();
        written.image.apply(&changes);
        check_equal(&written, &format!("seed {seed}, at the end"));
        let rows = written.image.rows(bucket::KEY).count();
        let held = written.store.events(0).count();
        assert!(rows >= held, "seed {seed}: no row is lost");
    }
}

#[test]
fn a_bumped_revision_is_compacted_up_to_itself() {
    let mut written = Written::new(7);
    (0..30).for_each(|_| written.put());
    let changes = written.store.take_changes();
    written.image.apply(&changes);
    let last = written.store.revision();
    let bumped = Revision::new(last + 1000, 0);
    written.image.apply(&[
        BucketChange::put(bucket::KEY, bumped.bucket_key().to_vec(), Bytes::new()),
        scheduled_compact_revision(bumped.main),
    ]);
    let (mut store, _) = written.loaded();
    assert_eq!((store.revision(), store.compact_revision()), (last + 1000, last + 1000));
    store.note_written();
    while !store.compact_slice(4).1 {}
    written.image.apply(&store.take_changes());
    assert_eq!(written.image.finished_compact_revision().unwrap(), Some(last + 1000));
    let live = KEYS.iter().filter(|key| store.is_live(key.as_bytes())).count();
    assert_eq!(written.image.rows(bucket::KEY).count(), live + 1, "and the bump's own row");
    let (again, _) = written.loaded();
    assert_eq!(again.digest(), store.digest());
}

#[test]
fn nothing_is_noted_for_nobody() {
    let mut written = Written::new(1);
    written.store = Store::new();
    (0..5).for_each(|_| written.put());
    assert!(written.store.take_changes().is_empty());
}

#[test]
fn members_and_alarms_come_back() {
    let mut image = DatabaseImage::initial();
    let member = MemberInfo {
        id: MemberId(5),
        peer_urls: vec!["http://h:1".to_owned()],
        ..MemberInfo::default()
    };
    let ending = Downgrade { enabled: true, target: "3.5.0".to_owned() };
    let version = Version::new(3, 6, 0);
    image.apply(&[member_saved(&member), cluster_version(&version), downgrade(&ending)]);
    image.apply(&member_removed(MemberId(6)));
    let alarm = pb::AlarmMember { member_id: 5, alarm: pb::AlarmType::Nospace.into() };
    image.apply(&[alarm_activated(&alarm)]);
    let expected = Membership::from_parts([member], [MemberId(6)], Some(version), ending);
    assert_eq!(Membership::restore(&image).unwrap(), expected);
    assert_eq!(Alarms::restore(&image).unwrap(), Alarms::from_parts([alarm]));
}

#[test]
fn a_history_out_of_order_is_refused_with_its_place() {
    let mut image = DatabaseImage::initial();
    image.apply(&[BucketChange::put(bucket::KEY, "short", Bytes::new())]);
    let mut lessor = Lessor::new(config());
    let error = Store::restore(Store::new(), &image, &mut lessor).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bucket key, key short: key bucket has a key of 5 bytes that is not a revision"
    );
}
