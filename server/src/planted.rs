//! Historical bugs of etcd and raft behind named switches, to test the harness: each must be found.
//!
//! The names always exist so that scenarios and settings can speak of them; a defect can be
//! switched on only in a build with the `planted` feature (`Config::defect`).

use std::fmt;
use std::str::FromStr;

/// A defect of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// B17: entries are applied, and clients answered, before the log write is durable.
    WalApplyBeforeFsync,
    /// B27: votes and acknowledgements leave before term, vote and entries are durable.
    RaftSendBeforePersist,
    /// B61: a member that believes itself leader answers linearizable reads from local state.
    ReadLocal,
}

impl Defect {
    /// All of them.
    pub const ALL: [Defect; 3] =
        [Defect::WalApplyBeforeFsync, Defect::RaftSendBeforePersist, Defect::ReadLocal];

    /// The switch's name in the catalogue.
    pub const fn name(self) -> &'static str {
        match self {
            Defect::WalApplyBeforeFsync => "wal.apply_before_fsync",
            Defect::RaftSendBeforePersist => "raft.send_before_persist",
            Defect::ReadLocal => "read.local",
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Defect {
    type Err = String;

    fn from_str(name: &str) -> Result<Defect, String> {
        let known = Defect::ALL.into_iter().find(|defect| defect.name() == name);
        known.ok_or_else(|| format!("no defect is called {name}"))
    }
}
