//! What a run leaves behind, and how it is shown.
//!
//! `record` holds the types that the harness fills and that checkers and renderers read. `page`
//! shows one run, `sweep` many; `outline` is what is kept of a run when there are many, told by
//! `summary` to a terminal and by `junit` to a build server. Nothing here touches a live cluster,
//! reads a clock or writes a file: a report is a function of the records.

pub mod command;
mod html;
pub mod junit;
pub mod outline;
pub mod page;
pub mod record;
pub mod summary;
pub mod sweep;
#[cfg(test)]
mod tests;
pub mod words;
