//! Which version of etcd an entry of the log needs, and what a version does not know.
//!
//! A cluster never proposes what its version does not know, so that every member understands every
//! entry. Of what the log can hold, one request alone is newer than 3.5: the one that etcd keeps
//! for trying this out, which no client can ask for.

use prost::Message as _;

use super::version::Version;
use crate::config::CompatVersion;
use crate::proto::etcdserverpb as pb;
use crate::storage::log::{EntryKind, LogEntry};

/// The version that an entry needs, if it is newer than the oldest that there is a member of.
pub(super) fn entry_version(entry: &LogEntry) -> Option<Version> {
    if entry.kind != EntryKind::Normal {
        return None;
    }
    let request = pb::InternalRaftRequest::decode(entry.data.clone()).ok()?;
    let test = request.downgrade_version_test?;
    let own = Version::new(3, 6, 0);
    Some(Version::parse(&test.ver).ok().map_or(own.clone(), |version| version.max(own)))
}

/// Whether a member of this version knows what the entry asks for.
pub(super) fn is_known(request: &pb::InternalRaftRequest, compat: CompatVersion) -> bool {
    request.put.is_some()
        || request.txn.is_some()
        || request.delete_range.is_some()
        || request.range.is_some()
        || request.compaction.is_some()
        || request.lease_grant.is_some()
        || request.lease_revoke.is_some()
        || request.lease_checkpoint.is_some()
        || (request.downgrade_version_test.is_some() && compat >= CompatVersion::V3_6)
        || is_of_auth(request)
}

fn is_of_auth(request: &pb::InternalRaftRequest) -> bool {
    request.auth_enable.is_some()
        || request.auth_disable.is_some()
        || request.authenticate.is_some()
        || request.auth_status.is_some()
        || request.auth_user_add.is_some()
        || request.auth_user_delete.is_some()
        || request.auth_user_get.is_some()
        || request.auth_user_change_password.is_some()
        || request.auth_user_grant_role.is_some()
        || request.auth_user_revoke_role.is_some()
        || request.auth_user_list.is_some()
        || request.auth_role_list.is_some()
        || request.auth_role_add.is_some()
        || request.auth_role_delete.is_some()
        || request.auth_role_get.is_some()
        || request.auth_role_grant_permission.is_some()
        || request.auth_role_revoke_permission.is_some()
}
