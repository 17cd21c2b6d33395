//! One etcd member as a deterministic, synchronous state machine.
//!
//! `Member::step(now, input, outputs)` is the only way anything happens. The member never reads a
//! clock, entropy, the order of a hash map, a socket or a file: time arrives as `Now`, entropy as a
//! seed, and `next_deadline` says when it wants to be woken.

pub mod bootstrap;
mod consensus;
pub mod dial;
pub mod id;
pub mod identity;
pub mod io;
pub mod membership;
mod message;
mod raftlog;
pub mod time;
pub mod version;
pub mod work;

pub use consensus::RaftView;
