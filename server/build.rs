//! Compiles `proto/` with a compiler written in Rust, so that no `protoc` is needed.

use std::error::Error;

const FILES: [&str; 9] = [
    "mvcc.proto",
    "auth.proto",
    "rpc.proto",
    "lock.proto",
    "election.proto",
    "raft.proto",
    "raft_internal.proto",
    "wal.proto",
    "lease.proto",
];

/// Messages that hold repeated messages, for which the generator derives less: what a simulation
/// sees of a run is hashed, and these are part of it.
const HASHED: [&str; 18] = [
    "RangeResponse",
    "DeleteRangeResponse",
    "RequestOp",
    "ResponseOp",
    "TxnRequest",
    "TxnResponse",
    "WatchResponse",
    "LeaseCheckpointRequest",
    "LeaseLeasesResponse",
    "MemberAddResponse",
    "MemberRemoveResponse",
    "MemberUpdateResponse",
    "MemberListResponse",
    "MemberPromoteResponse",
    "AlarmResponse",
    "AuthRoleGetResponse",
    "RangeStreamResponse",
    "InternalRaftRequest",
];

/// What hardly any entry holds: in place it would make every one of them large to move.
const RARE: [&str; 21] = [
    "v2",
    "range",
    "cluster_member_attr_set",
    "auth_enable",
    "auth_disable",
    "authenticate",
    "auth_status",
    "auth_user_add",
    "auth_user_delete",
    "auth_user_get",
    "auth_user_change_password",
    "auth_user_grant_role",
    "auth_user_revoke_role",
    "auth_user_list",
    "auth_role_list",
    "auth_role_add",
    "auth_role_delete",
    "auth_role_get",
    "auth_role_grant_permission",
    "auth_role_revoke_permission",
    "downgrade_version_test",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES.iter().chain(&["v2.proto"]), ["proto"])?;
    let mut build = prost_build::Config::new();
    build.bytes(["."]).boxed(".etcdserverpb.RequestOp.request.request_txn");
    build.boxed(".etcdserverpb.ResponseOp.response.response_txn");
    for field in RARE {
        build.boxed(format!(".etcdserverpb.InternalRaftRequest.{field}"));
    }
    for message in HASHED {
        build.type_attribute(format!(".etcdserverpb.{message}"), "#[derive(Eq, Hash)]");
    }
    build.compile_fds(descriptors)?;
    Ok(())
}
