//! The record of a run: its history of client operations, what the harness did, what the members
//! were seen to do, and the verdict. Independent of the server: checkers know only these types.

mod call;
mod history;
mod incident;
mod internal;
mod raft;
mod run;

pub use call::*;
pub use history::*;
pub use incident::*;
pub use internal::*;
pub use raft::*;
pub use run::*;
