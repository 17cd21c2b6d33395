//! The hub over a history that is written down in full: conversations for every rule, and long
//! random runs in which each watcher is compared with that history.

mod conversation;
mod random;
mod rules;
mod scale;
mod tape;
