//! What a run leaves behind, and how it is shown.
//!
//! `record` holds the types that the harness fills and that checkers and renderers read. Nothing
//! here touches a live cluster.

pub mod record;
