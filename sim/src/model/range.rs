//! What a range answers: filters, order and limit over the keys of a span.

use std::cmp::Ordering;

use detsim_reports::record::{Blob, KeyValue, Range, RangeReply, SortOrder, SortTarget};

/// Whether replies to this range are sorted by something that several keys may share, so that
/// their order among each other is nobody's promise.
pub fn has_ties(range: &Range) -> bool {
    range.sort_target != SortTarget::Key
}

/// Compares by the sort target alone.
pub fn by_target(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}

/// The reply to `range`, whose keys are given in ascending order. Ties stay in key order.
pub(super) fn reply<'a>(range: &Range, kvs: impl Iterator<Item = &'a KeyValue>) -> RangeReply {
    if range.count_only {
        return RangeReply { kvs: Vec::new(), more: false, count: kvs.count() as i64 };
    }
    let mut found: Vec<&KeyValue> = kvs.collect();
    let count = found.len() as i64;
    let limit = usize::try_from(range.limit).unwrap_or(0);
    let is_filtered = has_filters(range);
    let is_ordered = range.sort_order != SortOrder::None;
    if limit > 0 && !is_ordered && !is_filtered {
        // One more than asked for is fetched, to know whether there is more, and sorted with it.
        found.truncate(limit.saturating_add(1));
    }
    if is_filtered {
        found.retain(|kv| passes(range, kv));
    }
    sort(range, &mut found);
    let more = limit > 0 && found.len() > limit;
    if more {
        found.truncate(limit);
    }
    let strip = |kv: &KeyValue| match range.keys_only {
        true => KeyValue { value: Blob::default(), ..kv.clone() },
        false => kv.clone(),
    };
    RangeReply { kvs: found.into_iter().map(strip).collect(), more, count }
}

fn has_filters(range: &Range) -> bool {
    [
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ]
    .iter()
    .any(|&bound| bound != 0)
}

fn passes(range: &Range, kv: &KeyValue) -> bool {
    let within =
        |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(kv.mod_revision, range.min_mod_revision, range.max_mod_revision)
        && within(kv.create_revision, range.min_create_revision, range.max_create_revision)
}

fn sort(range: &Range, found: &mut [&KeyValue]) {
    match (range.sort_target, range.sort_order) {
        (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => {}
        (target, SortOrder::None | SortOrder::Ascend) => {
            found.sort_by(|a, b| by_target(target, a, b));
        }
        (target, SortOrder::Descend) => found.sort_by(|a, b| by_target(target, b, a)),
    }
}
