//! What must survive a crash: the `Disk` seam, and etcd's formats over it.
//!
//! Everything here is synchronous and does I/O only through `disk::Disk`.

pub mod backend;
pub mod bolt;
pub mod database;
pub mod directory;
pub mod disk;
pub mod log;
pub mod memory;
pub mod schema;
pub mod snap;
pub mod wal;
