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

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES.iter().chain(&["v2.proto"]), ["proto"])?;
    let mut build = prost_build::Config::new();
    build.bytes(["."]).boxed(".etcdserverpb.RequestOp.request.request_txn");
    build.boxed(".etcdserverpb.ResponseOp.response.response_txn");
    for message in HASHED {
        build.type_attribute(format!(".etcdserverpb.{message}"), "#[derive(Eq, Hash)]");
    }
    build.compile_fds(descriptors)?;
    Ok(())
}
