//! What the harness did to the cluster, and what became of it: the words are for a reader, the
//! marks for whoever needs to know which faults lasted when. A fault has a number in its run, by
//! which its end names it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Time;

/// Something the harness did, or a member's process did by itself: a fault begins or ends, a member
/// starts or exits. For the reader and for checkers that need to know when faults ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// When.
    pub at: Time,
    /// Whom it concerns; empty for the whole cluster.
    pub members: Vec<usize>,
    /// What, in the scenario language's words.
    pub what: String,
    /// Which processes and faults begin and end with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

impl Incident {
    /// One that changes no process and no fault.
    pub fn plain(at: Time, members: Vec<usize>, what: &str) -> Incident {
        Incident { at, members, what: what.to_owned(), marks: Vec::new() }
    }
}

/// What an incident changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The process of the member at this place runs from now on.
    Started(usize),
    /// It does not run any more.
    Ended(usize),
    /// A fault begins, and lasts.
    Begins(Fault),
    /// A fault ends: nothing of it is left.
    Ends {
        /// Its number.
        fault: u32,
        /// What it did.
        #[serde(default, skip_serializing_if = "Effect::is_empty")]
        effect: Effect,
    },
    /// A fault that takes no time.
    Happens {
        /// Which.
        fault: Fault,
        /// What it did.
        #[serde(default, skip_serializing_if = "Effect::is_empty")]
        effect: Effect,
    },
}

impl Mark {
    /// What a fault did that is over with it.
    pub fn effect(&self) -> Option<&Effect> {
        match self {
            Mark::Ends { effect, .. } | Mark::Happens { effect, .. } => Some(effect),
            Mark::Started(_) | Mark::Ended(_) | Mark::Begins(_) => None,
        }
    }
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its number in the run.
    pub id: u32,
    /// What is wrong.
    pub kind: FaultKind,
    /// With whom, by place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<usize>,
    /// With which links, from whom to whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<(LinkEnd, LinkEnd)>,
}

/// The place of a member, or nothing for all clients.
pub type LinkEnd = Option<usize>;

/// How often a fault did what, in a reader's words: `messages lost`.
pub type Effect = BTreeMap<String, u64>;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Messages do not pass a link.
    Cut,
    /// They pass it badly.
    Link,
    /// Connections are gone.
    Connection,
    /// A process is frozen.
    Pause,
    /// Each of its steps takes long.
    Processor,
    /// It is to be killed at a moment to come.
    KillToCome,
    /// It was asked to stop, or to stop and to start again.
    Stop,
    /// A disk hangs, is slow, fails, lies, or has no space.
    Disk,
    /// What is on a disk is not what was written.
    Damage,
    /// Clocks are wrong.
    Clock,
    /// Nothing is wrong: an operation was asked for.
    Operation,
}
