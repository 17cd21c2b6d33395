//! Range reads: `limit`, filters, sorting and counting as etcd combines them
//! (contract-api.md, section 2.4).

use bytes::Bytes;
use std::cmp::Ordering;
use std::sync::Arc;

use super::change::Change;
use super::keys::KeyRange;
use super::state::State;
use crate::api::ApiError;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};

/// How a request wants its keys ordered.
#[derive(Clone, Copy)]
struct Sort {
    order: SortOrder,
    target: SortTarget,
}

impl Sort {
    fn of(request: &pb::RangeRequest) -> Result<Sort, ApiError> {
        let order = SortOrder::try_from(request.sort_order);
        let target = SortTarget::try_from(request.sort_target);
        let (Ok(order), Ok(target)) = (order, target) else {
            return Err(ApiError::InvalidSortOption);
        };
        Ok(Sort { order, target })
    }

    /// Whether `limit` may cut before sorting. With a target but no order it may, although the
    /// page is then sorted: etcd's clients know it so.
    fn limits_first(self) -> bool {
        self.order == SortOrder::None || self.is_by_key_ascending()
    }

    fn is_by_key_ascending(self) -> bool {
        self.target == SortTarget::Key && self.order != SortOrder::Descend
    }

    fn apply(self, found: &mut [&Arc<Change>]) {
        if self.is_by_key_ascending() {
            return;
        }
        let compare = |a: &Change, b: &Change| match self.target {
            SortTarget::Key => a.kv.key.cmp(&b.kv.key),
            SortTarget::Version => a.kv.version.cmp(&b.kv.version),
            SortTarget::Create => a.kv.create_revision.cmp(&b.kv.create_revision),
            SortTarget::Mod => a.kv.mod_revision.cmp(&b.kv.mod_revision),
            SortTarget::Value => a.kv.value.cmp(&b.kv.value),
        };
        found.sort_by(|a, b| match self.order {
            SortOrder::Descend => compare(b, a),
            SortOrder::None | SortOrder::Ascend => compare(a, b),
        });
    }
}

fn is_filtered(request: &pb::RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

fn passes_filters(request: &pb::RangeRequest, change: &Change) -> bool {
    let within = |value: i64, min: i64, max: i64| {
        (min == 0 || value.cmp(&min) != Ordering::Less)
            && (max == 0 || value.cmp(&max) != Ordering::Greater)
    };
    within(change.kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(
            change.kv.create_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
}

/// Answers a range request, adding the keys it visits to `units`.
pub(super) fn range(
    state: &State,
    request: &pb::RangeRequest,
    units: &mut u64,
) -> Result<pb::RangeResponse, ApiError> {
    let sort = Sort::of(request)?;
    let revision = state.readable(request.revision)?;
    let mut response = pb::RangeResponse { header: state.header(), ..Default::default() };
    let range = KeyRange::new(&request.key, &request.range_end);
    if let KeyRange::One(key) = range {
        *units += 1;
        if let Some(change) = state.live_at(key, revision) {
            response.count = 1;
            if !request.count_only && passes_filters(request, change) {
                response.kvs.push(change.kv.clone());
            }
        }
    } else {
        fill(state, request, (sort, range, revision), &mut response, units);
    }
    if request.keys_only {
        for kv in &mut response.kvs {
            kv.value = Bytes::new();
        }
    }
    Ok(response)
}

fn fill(
    state: &State,
    request: &pb::RangeRequest,
    (sort, range, revision): (Sort, KeyRange<'_>, i64),
    response: &mut pb::RangeResponse,
    units: &mut u64,
) {
    let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
    let is_filtered = is_filtered(request);
    // One more than asked for tells whether there is more.
    let fetch = match limit {
        _ if request.count_only => 0,
        Some(limit) if sort.limits_first() && !is_filtered => limit.saturating_add(1),
        _ => usize::MAX,
    };
    let mut found = Vec::new();
    for change in state.live_range(range, revision, units) {
        response.count += 1;
        if found.len() < fetch && (!is_filtered || passes_filters(request, change)) {
            found.push(change);
        }
    }
    sort.apply(&mut found);
    if let Some(limit) = limit.filter(|limit| *limit < found.len()) {
        found.truncate(limit);
        response.more = true;
    }
    response.kvs = found.into_iter().map(|change| change.kv.clone()).collect();
}

/// The check that a range inside a transaction must pass before anything is executed. Unlike
/// outside of one, a negative revision is compared as it is.
pub(super) fn check_in_txn(state: &State, request: &pb::RangeRequest) -> Result<(), ApiError> {
    Sort::of(request)?;
    match request.revision {
        0 => Ok(()),
        revision if revision > state.revision => Err(ApiError::FutureRevision),
        revision if revision < state.compact_revision => Err(ApiError::Compacted),
        _ => Ok(()),
    }
}
