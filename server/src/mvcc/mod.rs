//! The multi-version store: every key's versions by revision, the log of changes that watchers
//! read, compaction, and the hashes that members compare.
//!
//! A `Store` changes only by applying entries, in the same way on every member. Its state is made
//! of persistent maps, so that a `View` pins a revision in constant time and a write while one is
//! held copies only paths. Nothing here knows the disk: what a database must be told is taken with
//! `Store::take_written`, and a store comes back from its bucket with `Restore`.

mod apply;
mod change;
mod compaction;
mod digest;
mod footprint;
mod hash;
mod history;
mod keys;
mod range;
mod restore;
mod revision;
mod state;
mod store;
mod txn;
mod view;
pub mod watch;
mod written;

#[cfg(test)]
mod tests;

pub use change::Change;
pub use digest::Digest;
pub use footprint::Footprint;
pub use hash::CompactionHash;
pub use keys::KeyRange;
pub use restore::{Restore, RestoreError};
pub use revision::Revision;
pub use store::Store;
pub use txn::{is_read_only, is_serializable};
pub use view::View;
pub use watch::{WatchHub, WatchSettings};
pub use written::Written;
