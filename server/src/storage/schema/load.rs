//! A member's replicated state out of its database, at a start or when a snapshot takes its place.
//!
//! The lessor comes before the store, whose keys are attached to their leases.

use super::bucket::KEY;
use super::error::SchemaError;
use super::image::DatabaseImage;
use super::key::{change_recorded, revision_removed};
use super::meta::{finished_compact_revision, scheduled_compact_revision};
use crate::lease::{Lessor, LessorConfig};
use crate::member::alarms::Alarms;
use crate::member::membership::Membership;
use crate::mvcc::{Restore, Store, Written};
use crate::storage::database::BucketChange;

impl Store {
    /// The store of an image, into one that nothing was applied to. A compaction that was begun
    /// and not finished goes on.
    pub fn restore(
        empty: Store,
        image: &DatabaseImage,
        lessor: &mut Lessor,
    ) -> Result<Store, SchemaError> {
        let finished = image.finished_compact_revision()?;
        let scheduled = image.scheduled_compact_revision()?;
        let mut restore = Restore::new(empty, finished, scheduled);
        if let Some(rows) = image.bucket(KEY) {
            rows.try_each(|key, value| {
                let added = restore.pair(key, value);
                added.map_err(|error| SchemaError::new(KEY, key, error.into()))
            })?;
        }
        Ok(restore.finish(lessor))
    }

    /// What changed since this was last asked, as a database takes it. Nothing before
    /// `note_written`.
    pub fn take_changes(&mut self) -> Vec<BucketChange> {
        let change = |written: Written| match written {
            Written::Recorded(change) => change_recorded(&change),
            Written::Removed(revision, is_delete) => revision_removed(revision, is_delete),
            Written::Scheduled(revision) => scheduled_compact_revision(revision),
            Written::Finished(revision) => finished_compact_revision(revision),
        };
        self.take_written().into_iter().map(change).collect()
    }
}

impl Lessor {
    /// The lessor of an image; it has no keys yet, and is not primary.
    pub fn restore(config: LessorConfig, image: &DatabaseImage) -> Result<Lessor, SchemaError> {
        let mut lessor = Lessor::new(config);
        for lease in image.leases() {
            let lease = lease?;
            lessor.restore_lease(lease.id, lease.ttl, lease.remaining_ttl);
        }
        Ok(lessor)
    }
}

impl Membership {
    /// The member set of an image.
    pub fn restore(image: &DatabaseImage) -> Result<Membership, SchemaError> {
        let members: Vec<_> = image.members().collect::<Result<_, _>>()?;
        let removed: Vec<_> = image.removed_members().collect::<Result<_, _>>()?;
        let downgrade = image.downgrade()?.unwrap_or_default();
        Ok(Membership::from_parts(members, removed, image.cluster_version()?, downgrade))
    }
}

impl Alarms {
    /// The alarms of an image.
    pub(crate) fn restore(image: &DatabaseImage) -> Result<Alarms, SchemaError> {
        let alarms: Vec<_> = image.alarms().collect::<Result<_, _>>()?;
        Ok(Alarms::from_parts(alarms))
    }
}
