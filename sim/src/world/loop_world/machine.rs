//! The program that a host runs: a member, or in this module's tests a script in its place.

use detcd::config::Config;
use detcd::member::id::{ClusterId, MemberId};
use detcd::member::io::{Input, Outputs, PeerHeader};
use detcd::member::time::{Monotonic, Now};
use detcd::member::{DiskImage, Figures, RaftView};
use detcd::storage::log::LogEntry;
use detsim_reports::record::KeyValue;

/// What a program finds when it starts.
#[derive(Debug)]
pub struct Beginning {
    /// Its settings.
    pub config: Config,
    /// Its entropy.
    pub entropy: [u8; 32],
    /// What its disk holds.
    pub disk: DiskImage,
    /// Its clocks.
    pub now: Now,
}

/// Starts processes.
pub trait Program: std::fmt::Debug {
    /// Starts one. Its first outputs may ask for anything that a step may ask for.
    fn start(&self, beginning: Beginning, out: &mut Outputs) -> Box<dyn Machine>;
}

/// A running state machine, with what may be seen of it from inside.
pub trait Machine {
    /// Takes an input.
    fn step(&mut self, now: Now, input: Input, out: &mut Outputs);
    /// When it wants `Input::Deadline` at the latest.
    fn next_deadline(&self) -> Option<Monotonic>;
    /// Who it is, once it knows.
    fn identity(&self) -> Option<(MemberId, ClusterId)>;
    /// Its raft state, once it has one.
    fn raft(&self) -> Option<RaftView>;
    /// Its store's revision.
    fn revision(&self) -> i64;
    /// An entry of its log.
    fn entry(&self, index: u64) -> Option<LogEntry>;
    /// Its keys and leases, in full.
    fn contents(&self) -> Option<Contents>;
    /// What it keeps in memory, in figures.
    fn figures(&self, now: Monotonic) -> Option<Figures>;
    /// What it says of itself to a peer that it dials, or posts to.
    fn peer_header(&self, to: Option<MemberId>) -> Option<PeerHeader>;
}

/// A member's replicated keys and leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The store's revision.
    pub revision: i64,
    /// Its compact revision, -1 before any compaction.
    pub compact_revision: i64,
    /// Live keys in ascending order.
    pub keys: Vec<KeyValue>,
    /// Leases in ascending order, with their granted TTL in seconds.
    pub leases: Vec<(i64, i64)>,
}
