//! The simulator and its harness.
