//! etcd's JSON gateway as a client sees it: calls into requests, answers into replies, errors into
//! outcomes. Pure functions; the sockets are in `client` and `watch`.
//!
//! Bytes are base64, 64-bit integers are decimal strings, fields with default values are left out.

mod answer;
mod outcome;
mod request;

pub use answer::{header, reply, watch_message};
pub use outcome::{of_refusal, without_answer};
pub use request::{path, request, watch_create};
