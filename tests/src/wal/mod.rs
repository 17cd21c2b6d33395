//! The write-ahead log on disks that fail: nothing confirmed is lost without a word, and losing
//! power never keeps a member from starting.

mod crash;
mod damage;
mod script;
