//! The write-ahead log on disks that fail: nothing confirmed is lost without a word, and losing
//! power never keeps a member from starting. And against etcd: what it wrote, and what it reads.

mod crash;
mod damage;
mod fixtures;
mod reader;
mod script;
