//! Tests of the store: tables of facts from the contract, and random requests compared with a
//! naive model.

mod compaction;
mod facts;
mod hashes;
mod history;
mod language;
mod model;
mod random;
mod txns;
