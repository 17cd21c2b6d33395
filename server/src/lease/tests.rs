//! Leases: contract-api.md, section 4.

use bytes::Bytes;
use std::time::Duration;

use super::*;
use crate::api::ApiError;
use crate::member::time::Monotonic;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Monotonic {
    Monotonic::ZERO.after(Duration::from_secs(seconds))
}

fn lessor() -> Lessor {
    let retry = Duration::from_secs(7);
    Lessor::new(LessorConfig { ttl_seconds_min: 2, retry, checkpoint: true })
}

/// A primary since time 0 with leases of these TTLs, numbered from 1.
fn primary(ttls: &[i64]) -> Lessor {
    let mut lessor = lessor();
    lessor.promote(at(0), Duration::ZERO);
    for (id, ttl) in (1..).zip(ttls) {
        lessor.grant(id, *ttl, at(0)).expect("the lease is new");
    }
    lessor
}

fn left(lessor: &Lessor, id: LeaseId, now: Monotonic) -> Option<i64> {
    lessor.time_to_live(id, now).map(|left| left.ttl_seconds)
}

#[test]
fn grants_are_bounded_and_unique() {
    let mut lessor = lessor();
    let mut check = |id, ttl, expected| assert_eq!(lessor.grant(id, ttl, at(0)), expected, "{id}");
    check(1, 100, Ok(100));
    check(2, 1, Ok(2));
    check(3, 0, Ok(2));
    check(-4, -5, Ok(2));
    check(5, TTL_SECONDS_MAX, Ok(TTL_SECONDS_MAX));
    check(6, TTL_SECONDS_MAX + 1, Err(ApiError::LeaseTtlTooLarge));
    check(1, 100, Err(ApiError::LeaseExists));
    check(0, 100, Err(ApiError::LeaseNotFound));
    assert_eq!(lessor.leases(), [-4, 1, 2, 3, 5]);
    assert!(lessor.exists(-4) && !lessor.exists(6));
    assert_eq!(lessor.stored(3), Some((2, 0)));
}

#[test]
fn revoking_returns_the_keys_ascending() {
    let mut lessor = lessor();
    lessor.grant(1, 10, at(0)).unwrap();
    for key in ["c", "a", "b", "a"] {
        lessor.attach(1, &Bytes::from_static(key.as_bytes()));
    }
    lessor.detach(1, b"b");
    lessor.detach(9, b"b");
    assert_eq!(lessor.keys(1), ["a", "c"]);
    assert_eq!(lessor.revoke(1).unwrap(), ["a", "c"]);
    assert_eq!(lessor.revoke(1), Err(ApiError::LeaseNotFound));
    assert!(lessor.keys(1).is_empty());
}

#[test]
fn time_to_live_is_in_whole_seconds() {
    let lessor = primary(&[100]);
    let ttl = lessor.time_to_live(1, Monotonic::from_nanos(1)).unwrap();
    assert_eq!((ttl.ttl_seconds, ttl.granted_seconds), (99, 100));
    assert_eq!(left(&lessor, 1, at(60)), Some(40));
    assert_eq!(left(&lessor, 1, at(101)), Some(0));
    assert_eq!(left(&lessor, 2, at(0)), None);
}

#[test]
fn a_lease_expires_once_until_the_retry() {
    let mut lessor = primary(&[5, 3, 3]);
    assert_eq!(lessor.next_expiry(), Some(at(3)));
    assert!(lessor.expired(Monotonic::from_nanos(at(3).as_nanos() - 1), 10).is_empty());
    assert_eq!(lessor.expired(at(3), 1), [2]);
    assert_eq!(lessor.expired(at(3), 10), [3]);
    assert_eq!(lessor.expired(at(5), 10), [1]);
    assert!(lessor.expired(at(9), 10).is_empty());
    assert_eq!(lessor.expired(at(10), 10), [2, 3]);
    lessor.revoke(1).unwrap();
    assert_eq!(lessor.expired(at(20), 10), [2, 3]);
}

#[test]
fn renewing_restores_the_full_ttl() {
    let mut lessor = primary(&[10, 10]);
    assert_eq!(lessor.renew(1, at(9)), Ok(10));
    assert_eq!(left(&lessor, 1, at(9)), Some(10));
    assert_eq!(lessor.renew(2, at(10)), Err(RenewError::Expired));
    assert_eq!(lessor.expired(at(10), 10), [2]);
    assert_eq!(lessor.renew(2, at(11)), Err(RenewError::Expired), "while its revoke is under way");
    lessor.revoke(2).unwrap();
    assert_eq!(lessor.renew(2, at(11)), Err(RenewError::NotFound));
    lessor.demote();
    assert_eq!(lessor.renew(1, at(11)), Err(RenewError::NotPrimary));
}

#[test]
fn only_the_primary_has_deadlines() {
    let mut lessor = lessor();
    lessor.grant(1, 5, at(0)).unwrap();
    assert!(lessor.expired(at(100), 10).is_empty());
    assert_eq!((lessor.next_expiry(), lessor.next_scan()), (None, None));
    assert_eq!(left(&lessor, 1, at(0)), None);
    lessor.promote(at(100), SECOND);
    assert!(lessor.is_primary());
    assert_eq!(lessor.next_expiry(), Some(at(106)));
    lessor.grant(2, 3, at(101)).unwrap();
    assert_eq!(lessor.expired(at(106), 10), [2, 1]);
    lessor.demote();
    assert!(lessor.expired(at(200), 10).is_empty());
}

#[test]
fn scans_are_on_a_grid_and_take_what_a_scan_may() {
    let half = |count: u64| Monotonic::from_nanos(count * 500_000_000);
    let mut lessor = lessor();
    lessor.promote(at(0), Duration::ZERO);
    let granted = Monotonic::from_nanos(1_200_000_000);
    for id in 1..=700 {
        lessor.grant(id, 2, granted).unwrap();
    }
    assert_eq!(lessor.next_scan(), Some(half(7)), "3.2 s, rounded up");
    assert_eq!(lessor.expired(half(7), SCAN_LIMIT).len(), 500);
    assert_eq!(lessor.next_scan(), Some(half(8)), "not twice at one point");
    assert_eq!(lessor.expired(half(8), SCAN_LIMIT).len(), 200);
    assert_eq!(lessor.next_scan(), Some(half(21)), "the retry of the first ones");
}

#[test]
fn a_new_primary_extends_every_lease() {
    let mut lessor = primary(&[30, 10]);
    lessor.promote(at(5), Duration::from_millis(1500));
    assert_eq!(left(&lessor, 1, at(5)), Some(31));
    assert_eq!(lessor.next_expiry(), Some(Monotonic::from_nanos(16_500_000_000)));
}

#[test]
fn a_new_primary_spreads_many_expiries() {
    let granted = |count| {
        let mut lessor = lessor();
        for id in 0..count {
            lessor.grant(id + 1, 10 + id % 2, at(0)).unwrap();
        }
        lessor.promote(at(0), SECOND);
        let expiries = (1..=count).map(|id| left(&lessor, id, at(0)).unwrap());
        let mut per_second = std::collections::BTreeMap::new();
        expiries.for_each(|second| *per_second.entry(second).or_insert(0) += 1);
        per_second.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(granted(999), [(11, 500), (12, 499)], "fewer do not pile up");
    assert_eq!(granted(2000), [(11, 750), (12, 750), (13, 500)]);
}

#[test]
fn checkpoints_survive_a_change_of_primary() {
    let mut lessor = primary(&[300, 1000]);
    assert_eq!(lessor.next_checkpoint(), Some(at(300)), "only the longer one is checkpointed");
    assert!(lessor.due_checkpoints(at(299), 10).is_empty());
    assert_eq!(lessor.due_checkpoints(at(300), CHECKPOINT_BATCH), [(2, 700)]);
    assert_eq!(lessor.next_checkpoint(), None);
    lessor.set_checkpoint(2, 700, at(300));
    lessor.set_checkpoint(9, 700, at(300));
    assert_eq!(lessor.stored(2), Some((1000, 700)));
    assert_eq!(lessor.next_checkpoint(), Some(at(600)));
    lessor.promote(at(400), Duration::ZERO);
    assert_eq!(left(&lessor, 2, at(400)), Some(700));
    assert!(lessor.is_checkpointed(2, at(500)) && !lessor.is_checkpointed(2, at(1_100)));
    assert_eq!(lessor.renew(2, at(500)), Ok(1000));
    lessor.set_checkpoint(2, 0, at(500));
    assert_eq!(left(&lessor, 2, at(500)), Some(1000));
    assert!(!lessor.is_checkpointed(2, at(500)));
    assert_eq!(lessor.renew(2, at(500)), Ok(1000));
    assert!(lessor.due_checkpoints(at(800), 10).len() == 1);
}

#[test]
fn a_lease_that_was_just_renewed_is_checkpointed_later() {
    let mut lessor = primary(&[1000]);
    lessor.renew(1, at(300)).unwrap();
    assert!(lessor.due_checkpoints(at(300), 10).is_empty());
    assert_eq!(lessor.due_checkpoints(at(600), 10), [(1, 700)]);
}

#[test]
fn digests_depend_on_what_is_replicated_alone() {
    let mut one = primary(&[10, 400]);
    let mut other = lessor();
    other.restore_lease(2, 400, 0);
    other.restore_lease(1, 10, 0);
    assert_eq!(one.digest(), other.digest());
    one.set_checkpoint(2, 100, at(1));
    assert_ne!(one.digest(), other.digest());
    other.set_checkpoint(2, 100, at(9));
    assert_eq!(one.digest(), other.digest());
    one.revoke(1).unwrap();
    one.renew(2, at(2)).unwrap();
    assert_ne!(one.digest(), other.digest());
    other.revoke(1).unwrap();
    assert_eq!(one.digest(), other.digest());
}

#[test]
fn restored_leases_have_the_minimum_and_start_from_their_remaining_ttl() {
    let mut lessor = lessor();
    lessor.restore_lease(1, 1, 0);
    lessor.restore_lease(2, 1000, 40);
    lessor.promote(at(10), SECOND);
    assert_eq!(lessor.stored(1), Some((2, 0)));
    assert_eq!(left(&lessor, 1, at(10)), Some(3));
    assert_eq!(left(&lessor, 2, at(10)), Some(41));
    assert_eq!(lessor.time_to_live(2, at(10)).unwrap().granted_seconds, 1000);
}
