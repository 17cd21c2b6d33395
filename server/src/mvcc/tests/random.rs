//! Random requests, answered by the store and by the model. Three stores apply the same entries:
//! one compacts in random slices, one at once, one is now and then restored from its bucket.

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::history::restored;
use super::language::World;
use super::model::{Entry, Model};
use crate::api::ApiError;
use crate::member::time::Monotonic;
use crate::mvcc::View;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::compare::{CompareTarget, TargetUnion};
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::etcdserverpb::response_op::Response;

const KEYS: [&str; 8] = ["a", "aa", "ab", "b", "ba", "c", "d", "dd"];

/// Draws from a seed.
struct Draw(ChaCha8Rng);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn key(&mut self) -> Bytes {
        Bytes::from_static(KEYS[self.below(KEYS.len() as u64) as usize].as_bytes())
    }

    fn range_end(&mut self) -> Bytes {
        match self.below(4) {
            0 => Bytes::from_static(b"\0"),
            1 => Bytes::new(),
            _ => self.key(),
        }
    }

    fn revision(&mut self, model: &Model) -> i64 {
        match self.below(3) {
            0 => 0,
            1 => self.below(6) as i64 + model.revision - 4,
            _ => self.below(model.revision as u64 + 3) as i64 - 1,
        }
    }

    fn bound(&mut self, model: &Model) -> i64 {
        if self.one_in(5) { self.below(model.revision as u64 + 1) as i64 } else { 0 }
    }

    fn range(&mut self, model: &Model) -> pb::RangeRequest {
        pb::RangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            limit: self.below(7) as i64 - 1,
            revision: self.revision(model),
            sort_order: self.below(3) as i32,
            sort_target: self.below(5) as i32,
            serializable: self.one_in(2),
            keys_only: self.one_in(4),
            count_only: self.one_in(6),
            min_mod_revision: self.bound(model),
            max_mod_revision: self.bound(model),
            min_create_revision: self.bound(model),
            max_create_revision: self.bound(model),
        }
    }

    fn put(&mut self, key: Bytes) -> pb::PutRequest {
        let ignore_value = self.one_in(8);
        let ignore_lease = self.one_in(8);
        let value = Bytes::from(format!("{}", self.below(9)));
        let lease = if self.one_in(3) { 7 + self.below(3) as i64 } else { 0 };
        pb::PutRequest {
            key,
            value: if ignore_value || self.one_in(9) { Bytes::new() } else { value },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv: self.one_in(2),
            ignore_value,
            ignore_lease,
        }
    }

    fn compare(&mut self, model: &Model) -> pb::Compare {
        let number = self.below(model.revision as u64 + 1) as i64;
        let small = self.below(3) as i64;
        let (target, union) = match self.below(5) {
            0 => (CompareTarget::Version, TargetUnion::Version(small)),
            1 => (CompareTarget::Create, TargetUnion::CreateRevision(number)),
            2 => (CompareTarget::Mod, TargetUnion::ModRevision(number)),
            3 => (CompareTarget::Value, TargetUnion::Value(Bytes::from(small.to_string()))),
            _ => (CompareTarget::Lease, TargetUnion::Lease(7 * small)),
        };
        pb::Compare {
            result: self.below(4) as i32,
            target: target.into(),
            key: self.key(),
            range_end: if self.one_in(3) { self.range_end() } else { Bytes::new() },
            target_union: Some(union),
        }
    }

    /// Keys below `pivot` are put, each at most once, the others deleted: what the checks before
    /// a proposal let through.
    fn ops(
        &mut self,
        model: &Model,
        unused: &mut Vec<usize>,
        pivot: usize,
        depth: u64,
    ) -> Vec<pb::RequestOp> {
        let mut ops = Vec::new();
        for _ in 0..self.below(4) {
            let request = match self.below(4 + depth) {
                0 => Request::RequestRange(self.range(model)),
                1 => {
                    let key = Bytes::from_static(KEYS[pivot.min(KEYS.len() - 1)].as_bytes());
                    let range_end =
                        if self.one_in(2) { Bytes::from_static(b"\0") } else { Bytes::new() };
                    if pivot == KEYS.len() {
                        continue;
                    }
                    Request::RequestDeleteRange(pb::DeleteRangeRequest {
                        key,
                        range_end,
                        prev_kv: self.one_in(2),
                    })
                }
                4.. => Request::RequestTxn(Box::new(self.txn(model, unused, pivot, depth - 1))),
                _ => {
                    if unused.is_empty() {
                        continue;
                    }
                    let key = unused.remove(self.below(unused.len() as u64) as usize);
                    Request::RequestPut(self.put(Bytes::from_static(KEYS[key].as_bytes())))
                }
            };
            ops.push(pb::RequestOp { request: Some(request) });
        }
        ops
    }

    fn txn(
        &mut self,
        model: &Model,
        unused: &mut Vec<usize>,
        pivot: usize,
        depth: u64,
    ) -> pb::TxnRequest {
        pb::TxnRequest {
            compare: (0..self.below(3)).map(|_| self.compare(model)).collect(),
            success: self.ops(model, unused, pivot, depth),
            failure: self.ops(model, unused, pivot, depth),
        }
    }

    fn request(&mut self, model: &Model) -> Request {
        match self.below(10) {
            0..4 => {
                let key = self.key();
                Request::RequestPut(self.put(key))
            }
            4 => Request::RequestDeleteRange(pb::DeleteRangeRequest {
                key: self.key(),
                range_end: if self.one_in(2) { self.range_end() } else { Bytes::new() },
                prev_kv: self.one_in(2),
            }),
            5..7 => Request::RequestRange(self.range(model)),
            _ => {
                let pivot = self.below(KEYS.len() as u64 + 1) as usize;
                Request::RequestTxn(Box::new(self.txn(
                    model,
                    &mut Vec::from_iter(0..pivot),
                    pivot,
                    2,
                )))
            }
        }
    }
}

struct Run {
    draw: Draw,
    model: Model,
    sliced: World,
    eager: World,
    reborn: World,
    pinned: Option<(View, Model)>,
    /// Errors seen, so that the test proves that it meets them.
    errors: std::collections::BTreeMap<ApiError, u32>,
}

impl Run {
    fn worlds(&mut self) -> [&mut World; 3] {
        [&mut self.sliced, &mut self.eager, &mut self.reborn]
    }

    fn step(&mut self) {
        match self.draw.below(20) {
            0 => self.compact(),
            1 => self.revoke(),
            2 => self.pinned = Some((self.sliced.store.view(), self.model.clone())),
            3 if self.draw.one_in(3) => self.restart(),
            4..7 => {
                let budget = self.draw.below(6);
                let (spent, _) = self.sliced.store.compact_slice(budget);
                assert!(spent <= budget);
            }
            _ => self.request(),
        }
        self.check();
    }

    fn request(&mut self) {
        let request = self.draw.request(&self.model);
        let expected = self.model.run(&request);
        if let Err(error) = expected {
            *self.errors.entry(error).or_default() += 1;
        }
        for world in [&mut self.sliced, &mut self.reborn] {
            assert_eq!(world.run(&request), expected, "{request:?}");
        }
        match &request {
            Request::RequestTxn(txn) => {
                let answer = self.eager.store.txn_unanswered(txn, &mut self.eager.lessor);
                assert_eq!(answer.err(), expected.err(), "{request:?}");
            }
            _ => assert_eq!(self.eager.run(&request), expected, "{request:?}"),
        }
    }

    fn compact(&mut self) {
        let revision = self.draw.revision(&self.model);
        let expected = self.model.compact(revision).err();
        for world in self.worlds() {
            assert_eq!(world.store.compact(revision).err(), expected, "{revision}");
        }
        assert!(self.eager.store.compact_slice(u64::MAX).1);
        let newest = self.model.hashes.iter().rev().take(10).rev();
        let hashes = self.eager.store.compaction_hashes().iter();
        assert!(
            hashes
                .map(|hash| (hash.revision, hash.compact_revision, hash.hash))
                .eq(newest.copied())
        );
        let hashes = self.eager.store.compaction_hashes();
        assert!(hashes.starts_with(self.sliced.store.compaction_hashes()) || hashes.len() == 10);
    }

    fn revoke(&mut self) {
        let lease = 7 + self.draw.below(2) as i64;
        self.model.revoke(lease);
        self.model.leases.insert(lease);
        for world in self.worlds() {
            let keys = world.lessor.revoke(lease).unwrap();
            world.store.delete_leased(&keys);
            world.lessor.grant(lease, 60, Monotonic::ZERO).unwrap();
        }
    }

    fn restart(&mut self) {
        let store = &self.reborn.store;
        let (finished, scheduled) = (store.finished_compact_revision(), store.compact_revision());
        self.reborn = restored(store, finished, scheduled);
        let budget = self.draw.below(20);
        self.reborn.store.compact_slice(budget);
    }

    fn check(&mut self) {
        let model = &self.model;
        for world in [&self.sliced, &self.eager, &self.reborn] {
            assert_eq!(world.store.revision(), model.revision);
            assert_eq!(world.store.compact_revision(), model.compacted);
            assert_eq!(world.store.digest(), self.sliced.store.digest());
            for lease in [7, 8] {
                assert_eq!(world.lessor.keys(lease), self.sliced.lessor.keys(lease));
            }
        }
        let from = self.draw.revision(model).max(model.compacted);
        let key = self.draw.key();
        let hashed = self.draw.below(model.revision as u64) as i64 + 1;
        for world in [&self.sliced, &self.eager, &self.reborn] {
            let events = world.store.events(from).map(|change| Entry {
                main: change.revision.main,
                sub: change.revision.sub,
                key: change.kv.key.clone(),
                put: (!change.is_delete).then(|| change.kv.clone()),
            });
            let expected = model.entries.iter().filter(|entry| entry.main >= from).cloned();
            // A put at exactly the compacted revision is there too, if it is still the newest.
            assert!(events.eq(expected), "events from {from}");
            let found = world.store.kv_at(&key, from).map(|change| change.kv.clone());
            assert_eq!(found, model.kv_at(&key, from));
            if hashed > model.compacted {
                let hash = world.store.view().hash_kv(hashed).unwrap();
                assert_eq!(
                    (hash.hash, hash.compact_revision),
                    (model.hash(hashed), model.compacted)
                );
            }
        }
        if let Some((view, model)) = &mut self.pinned {
            let request = self.draw.range(model);
            let expected = model.run(&Request::RequestRange(request.clone()));
            assert_eq!(view.range(&request).map(Response::ResponseRange), expected);
        }
    }
}

#[test]
fn random_requests_are_answered_as_the_model_answers_them() {
    let mut errors = std::collections::BTreeMap::new();
    for seed in 0..12 {
        let mut run = Run {
            draw: Draw(ChaCha8Rng::seed_from_u64(seed)),
            model: Model::new(),
            sliced: World::new(),
            eager: World::new(),
            reborn: World::new(),
            pinned: None,
            errors,
        };
        for _ in 0..400 {
            run.step();
        }
        errors = run.errors;
    }
    for error in [
        ApiError::Compacted,
        ApiError::FutureRevision,
        ApiError::KeyNotFound,
        ApiError::LeaseNotFound,
    ] {
        assert!(errors.get(&error).is_some_and(|count| *count > 10), "{error} is rare: {errors:?}");
    }
}
