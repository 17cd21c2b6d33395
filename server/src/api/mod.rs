//! What the API promises apart from its bytes: errors with etcd's texts and codes, and the checks
//! that a request must pass before it is proposed or served.

pub mod check;
pub mod error;

pub use error::{ApiError, CallError, Code};
