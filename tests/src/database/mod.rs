//! Databases and snapshots between etcd and us: what etcd wrote is read, and etcd's tools and
//! members take what we write.

mod fixtures;
mod handover;
mod killed;
mod start;
mod tools;
mod written;
