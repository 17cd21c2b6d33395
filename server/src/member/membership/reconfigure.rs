//! Checks before a change of members is proposed (`--strict-reconfig-check`): the cluster must not
//! lose its quorum by the change. They look at the state of one member and are advice, not safety.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Membership;
use crate::api::ApiError;
use crate::member::id::MemberId;
use crate::member::io::{Level, LogLine, MemberInfo};
use crate::member::membership::Identity;
use crate::member::time::Monotonic;

/// For longer than this a peer must have been connected to count as healthy.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// Whom the member that checks is connected to.
#[derive(Clone, Copy, Debug)]
pub struct Connectivity<'a> {
    /// The present.
    pub now: Monotonic,
    /// Since when each connected peer has been so without interruption.
    pub active_since: &'a BTreeMap<MemberId, Monotonic>,
}

impl Connectivity<'_> {
    fn count(&self, local: MemberId, members: &[&MemberInfo]) -> usize {
        members.iter().filter(|member| member.id == local || self.is_healthy(member.id)).count()
    }

    fn is_healthy(&self, peer: MemberId) -> bool {
        let since = self.active_since.get(&peer);
        since.is_some_and(|since| self.now.since(*since) > HEALTH_INTERVAL)
    }
}

/// A change is not proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// For the client.
    pub error: ApiError,
    /// For the log.
    pub lines: Vec<LogLine>,
}

/// Whether a learner has as much of the log as promotion asks for: nine tenths of the leader's.
pub fn learner_is_ready(learner_match: u64, leader_match: u64) -> bool {
    u128::from(learner_match) * 10 >= u128::from(leader_match) * 9
}

const fn quorum(members: usize) -> usize {
    members / 2 + 1
}

impl Membership {
    /// Whether a voter or learner may be added.
    pub fn may_add(
        &self,
        member: &MemberInfo,
        identity: Identity,
        connectivity: Connectivity<'_>,
    ) -> Result<(), Refused> {
        let requested = ("requested-member-add", describe(member));
        if !member.is_learner {
            let voters: Vec<&MemberInfo> = self.voters().collect();
            // Growing a cluster of one is how a cluster is rebuilt from a single survivor.
            let from_one = voters.len() == 1 && started(&voters) == 1;
            if !from_one && started(&voters) < quorum(voters.len() + 1) {
                let first = not_enough("add", &voters, quorum(voters.len() + 1), identity);
                return Err(few_started("add", first, requested, identity));
            }
        }
        let voters: Vec<&MemberInfo> = self.voters().collect();
        if voters.len() == 1
            || connectivity.count(identity.member, &voters) >= quorum(voters.len() + 1)
        {
            return Ok(());
        }
        let line = LogLine::new(
            Level::Warn,
            "rejecting member add request; local member has not been connected to majority peers, \
             reconfigure breaks active quorum",
        )
        .with("local-member-id", identity.member.to_string())
        .with(requested.0, requested.1)
        .with("error", ApiError::Unhealthy.text());
        Err(Refused { error: ApiError::Unhealthy, lines: vec![line] })
    }

    /// Whether a member may be removed.
    pub fn may_remove(
        &self,
        id: MemberId,
        identity: Identity,
        connectivity: Connectivity<'_>,
    ) -> Result<(), Refused> {
        if self.get(id).is_some_and(|member| member.is_learner) {
            return Ok(());
        }
        let rest: Vec<&MemberInfo> = self.voters().filter(|member| member.id != id).collect();
        if started(&rest) < quorum(rest.len()) {
            let first = not_enough("remove", &rest, quorum(rest.len()), identity);
            let requested = ("requested-member-remove-id", id.to_string());
            return Err(few_started("remove", first, requested, identity));
        }
        // A member that is down is no part of the active quorum.
        if id != identity.member && !connectivity.active_since.contains_key(&id) {
            return Ok(());
        }
        let voters: Vec<&MemberInfo> = self.voters().collect();
        let active = connectivity.count(identity.member, &voters);
        if active >= 2 + voters.len().saturating_sub(1) / 2 {
            return Ok(());
        }
        let line = LogLine::new(
            Level::Warn,
            "rejecting member remove request; local member has not been connected to all peers, \
             reconfigure breaks active quorum",
        )
        .with("local-member-id", identity.member.to_string())
        .with("requested-member-remove", id.to_string())
        .with("active-peers", active.to_string())
        .with("error", ApiError::Unhealthy.text());
        Err(Refused { error: ApiError::Unhealthy, lines: vec![line] })
    }

    /// Whether a learner may be promoted, as far as quorum goes.
    pub fn may_promote(&self, id: MemberId, identity: Identity) -> Result<(), Refused> {
        let voters: Vec<&MemberInfo> = self.voters().collect();
        if started(&voters) + 1 >= quorum(voters.len() + 1) {
            return Ok(());
        }
        let mut first = not_enough("promote", &voters, quorum(voters.len() + 1), identity);
        // The learner counts as started.
        first.fields[0].1 = (started(&voters) + 1).to_string();
        let requested = ("requested-member-remove-id", id.to_string());
        Err(few_started("promote", first, requested, identity))
    }
}

fn started(members: &[&MemberInfo]) -> usize {
    members.iter().filter(|member| !member.name.is_empty()).count()
}

fn not_enough(what: &str, voters: &[&MemberInfo], quorum: usize, identity: Identity) -> LogLine {
    let text = format!("rejecting member {what}; started member will be less than quorum");
    LogLine::new(Level::Warn, text)
        .with("number-of-started-member", started(voters).to_string())
        .with("quorum", quorum.to_string())
        .with("cluster-id", identity.cluster.to_string())
        .with("local-member-id", identity.member.to_string())
}

fn few_started(
    what: &str,
    first: LogLine,
    requested: (&'static str, String),
    identity: Identity,
) -> Refused {
    let text = format!("rejecting member {what} request; not enough healthy members");
    let second = LogLine::new(Level::Warn, text)
        .with("local-member-id", identity.member.to_string())
        .with(requested.0, requested.1)
        .with("error", ApiError::NotEnoughStarted.text());
    Refused { error: ApiError::NotEnoughStarted, lines: vec![first, second] }
}

/// A member as Go prints a structure with its field names.
pub(crate) fn describe(member: &MemberInfo) -> String {
    format!(
        "{{ID:{} RaftAttributes:{{PeerURLs:[{}] IsLearner:{}}} \
         Attributes:{{Name:{} ClientURLs:[{}]}}}}",
        member.id,
        member.peer_urls.join(" "),
        member.is_learner,
        member.name,
        member.client_urls.join(" "),
    )
}
