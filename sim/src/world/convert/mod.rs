//! Between the record's types and etcd's protobuf types: calls to requests, answers to replies,
//! log entries to commands.
//!
//! Nothing is added, defaulted or repaired on the way, for checkers judge what comes out of here.

mod entry;
mod reply;
mod request;

#[cfg(test)]
mod tests;

pub use entry::{Decoded, decode_conf_change, decode_normal};
pub use reply::{header, keep_alive, key_value, reply, watch_message};
pub use request::{Shape, is_read, shape};
