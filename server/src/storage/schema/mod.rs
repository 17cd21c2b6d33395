//! etcd's database: which buckets it has, what stands in them, and how rows are made and read back
//! (contract-cluster.md, section 6.7).
//!
//! Everything here is a pure function of rows. A row is made as a `BucketChange` and read back from
//! a `DatabaseImage`; both hold etcd's encodings to the byte. What a file of these buckets looks
//! like is `storage::bolt`'s business.

mod alarm;
mod auth;
mod cluster;
mod error;
mod hash;
mod image;
mod key;
mod lease;
mod load;
mod members;
mod meta;
mod migration;
mod read;
#[cfg(test)]
mod tests;

pub use alarm::{alarm_activated, alarm_deactivated};
pub use auth::{auth_enabled, auth_revision};
pub use cluster::{cluster_version, downgrade};
pub use error::{Problem, SchemaError};
pub use hash::{DatabaseHasher, HashScope};
pub use image::{DatabaseImage, Rows};
pub use key::{change_recorded, revision_removed};
pub use lease::{lease_granted, lease_revoked};
pub use members::{member_removed, member_saved};
pub use meta::{
    conf_state, consistent, finished_compact_revision, scheduled_compact_revision, storage_version,
};
pub use migration::{UNWRITTEN_VERSION, migration};
pub use read::initialize;

/// Names of buckets.
#[allow(missing_docs)]
pub mod bucket {
    pub const ALARM: &str = "alarm";
    pub const AUTH: &str = "auth";
    pub const AUTH_ROLES: &str = "authRoles";
    pub const AUTH_USERS: &str = "authUsers";
    pub const CLUSTER: &str = "cluster";
    pub const KEY: &str = "key";
    pub const LEASE: &str = "lease";
    pub const MEMBERS: &str = "members";
    pub const MEMBERS_REMOVED: &str = "members_removed";
    pub const META: &str = "meta";

    /// What a member creates in a new database, in order. A bucket without rows is there too, and
    /// counts in a hash of the whole.
    pub const CREATED: [&str; 10] =
        [ALARM, AUTH, AUTH_ROLES, AUTH_USERS, CLUSTER, KEY, LEASE, MEMBERS, MEMBERS_REMOVED, META];
}
