//! detcd as the program of this world's hosts.

use bytes::Bytes;
use detcd::config::{Config, flags};
use detcd::member::id::{ClusterId, MemberId};
use detcd::member::io::{Input, LogLine, Outputs, PeerHeader};
use detcd::member::time::{Monotonic, Now};
use detcd::member::{Figures, Member, RaftView};
use detcd::proto::etcdserverpb as pb;
use detcd::storage::log::LogEntry;

use super::machine::{Beginning, Contents, Machine, Program};
use crate::world::Exit;
use crate::world::convert;

/// Reads a member's flags.
pub fn parse(given: &[(String, String)]) -> Result<Config, (Exit, Vec<LogLine>)> {
    flags::parse(given).map_err(|error| {
        let lines = error.lines();
        (Exit { code: error.exit_code.into(), reason: error.text }, lines)
    })
}

/// Members of detcd.
#[derive(Debug)]
pub struct Detcd;

impl Program for Detcd {
    fn start(&self, beginning: Beginning, out: &mut Outputs) -> Box<dyn Machine> {
        let Beginning { config, entropy, disk, now } = beginning;
        Box::new(Member::start(config, entropy, disk, now, out))
    }
}

impl Machine for Member {
    fn step(&mut self, now: Now, input: Input, out: &mut Outputs) {
        Member::step(self, now, input, out);
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        Member::next_deadline(self)
    }

    fn identity(&self) -> Option<(MemberId, ClusterId)> {
        self.id().zip(self.cluster_id())
    }

    fn raft(&self) -> Option<RaftView> {
        self.raft_view().map(|view| RaftView { applied: self.applied(), ..view })
    }

    fn revision(&self) -> i64 {
        Member::revision(self).unwrap_or_default()
    }

    fn entry(&self, index: u64) -> Option<LogEntry> {
        self.log_entry(index)
    }

    fn contents(&self) -> Option<Contents> {
        let view = self.view()?;
        let everything = pb::RangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..pb::RangeRequest::default()
        };
        let keys = view.range(&everything).ok()?.kvs;
        Some(Contents {
            revision: view.revision(),
            compact_revision: view.compact_revision(),
            keys: keys.into_iter().map(convert::key_value).collect(),
            leases: self.leases(),
        })
    }

    fn figures(&self, now: Monotonic) -> Option<Figures> {
        Member::figures(self, now)
    }

    fn peer_header(&self, to: Option<MemberId>) -> Option<PeerHeader> {
        Member::peer_header(self, to)
    }
}
