//! The input is a segment of a write-ahead log.
#![no_main]

#[path = "../src/continued.rs"]
mod continued;

libfuzzer_sys::fuzz_target!(|segment: &[u8]| continued::open_and_continue(segment.to_vec()));
