//! What goes into a bootstrap and what comes out of it.

use std::time::Duration;

use crate::member::id::{CallId, ClusterId, MemberId};
use crate::member::io::{LogLine, MemberInfo, PeerAnswer, PeerCall, PeerCallError, Stop};

/// Something happened that a bootstrap waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The end of an `Action::Ask`. One that nobody waits for any more has no effect.
    Answer {
        /// As in the action.
        id: CallId,
        /// The answer.
        result: Result<PeerAnswer, PeerCallError>,
    },
    /// `Bootstrap::next_deadline` has come.
    Deadline,
}

/// What a bootstrap wants done. After `Finished` or `Failed` there is nothing more.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask one peer URL.
    Ask {
        /// For the answer.
        id: CallId,
        /// The peer URL.
        url: String,
        /// The question.
        call: PeerCall,
        /// Give up after this long.
        timeout: Duration,
    },
    /// A line for the log.
    Log(LogLine),
    /// It is decided.
    Finished(Decision),
    /// The member does not start.
    Failed(Stop),
}

/// How the member starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// In a new cluster: create the log, with `bootstrap_entries` for all members.
    New {
        /// This member.
        id: MemberId,
        /// The cluster.
        cluster: ClusterId,
        /// All members, ascending by id.
        members: Vec<MemberInfo>,
    },
    /// In a running cluster: create the log, empty; data comes from the leader.
    Join {
        /// This member.
        id: MemberId,
        /// The cluster.
        cluster: ClusterId,
        /// All members as the cluster tells them, ascending by id, this one included.
        members: Vec<MemberInfo>,
    },
    /// From its log.
    Restart {
        /// This member.
        id: MemberId,
        /// The cluster.
        cluster: ClusterId,
    },
}
