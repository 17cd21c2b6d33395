//! Generated protobuf types, one module per package. The definitions are in `server/proto`.
#![allow(clippy::all, clippy::pedantic, missing_docs)]

/// Keys, values and events.
pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
}
/// Users, roles and permissions.
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
}
/// The client API and the requests that raft entries carry.
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}
/// The lock service.
pub mod v3lockpb {
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
}
/// The election service.
pub mod v3electionpb {
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
}
/// etcd's raft messages; raft-rs has its own, `member::raftio` converts.
pub mod raftpb {
    include!(concat!(env!("OUT_DIR"), "/raftpb.rs"));
}
/// Records of the write-ahead log.
pub mod walpb {
    include!(concat!(env!("OUT_DIR"), "/walpb.rs"));
}
/// Leases at rest.
pub mod leasepb {
    include!(concat!(env!("OUT_DIR"), "/leasepb.rs"));
}
/// The v2 requests of 3.4 and 3.5, and WAL metadata.
pub mod v2pb {
    include!(concat!(env!("OUT_DIR"), "/v2pb.rs"));
}
