//! Identifiers: newtypes without arithmetic. Member and cluster IDs print as lowercase hex without
//! padding, as etcd prints them.

use std::fmt;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }
    };
}

hex_id! {
    /// A member, for as long as it lives. Zero is raft's "none".
    MemberId
}
hex_id! {
    /// A cluster, fixed at its bootstrap.
    ClusterId
}

/// A unary client request between its arrival and its reply; chosen by the shell, unique per
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A client stream (watch, keepalive, …) while it is open; chosen by the shell, unique per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A call between members apart from raft messages; chosen by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);
