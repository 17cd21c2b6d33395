//! detcd: an etcd-compatible server around a member that is a deterministic state machine.
//!
//! The member (`member`) reads no clock, no entropy, no socket and no file: inputs go in, outputs
//! come out. Storage code (`storage`) is synchronous over the `Disk` and `File` traits. Everything
//! else here is what the member is made of.

pub mod api;
pub mod backup;
pub mod config;
pub mod lease;
pub mod member;
pub mod mvcc;
pub mod planted;
pub mod proto;
pub mod shell;
pub mod storage;
