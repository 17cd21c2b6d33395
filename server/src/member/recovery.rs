//! The replicated state as a database holds it: at the start of a member, and when a snapshot of
//! the leader's arrives. Loading reads everything once and has no effect; taking it is a swap.

use super::alarms::Alarms;
use super::io::{Level, LogLine, MemberInfo};
use super::membership::{Identity, Membership, json};
use super::running::lessor_config;
use super::version::Version;
use crate::config::Config;
use crate::lease::Lessor;
use crate::mvcc::Store;
use crate::proto::raftpb::ConfState;
use crate::storage::log::SnapshotMark;
use crate::storage::schema::{DatabaseImage, SchemaError};

/// What a database holds.
pub(super) struct Recovered {
    /// Where in the log it stands; zeros when it was never written to.
    pub mark: SnapshotMark,
    pub store: Store,
    pub lessor: Lessor,
    pub membership: Membership,
    pub alarms: Alarms,
    /// The version of the format, where it is written.
    pub storage_version: Option<Version>,
}

impl Recovered {
    /// Reads all rows.
    pub(super) fn load(image: &DatabaseImage, config: &Config) -> Result<Recovered, SchemaError> {
        let mut lessor = Lessor::restore(lessor_config(config), image)?;
        let store = Store::restore(Store::with_defect(config.defect()), image, &mut lessor)?;
        Ok(Recovered {
            mark: image.mark()?,
            store,
            lessor,
            membership: Membership::restore(image)?,
            alarms: Alarms::restore(image)?,
            // One that cannot be read is one that is not known.
            storage_version: image.storage_version().ok().flatten(),
        })
    }

    /// Raft's configuration; `None` in a database that nothing was applied to. Before 3.5 it was
    /// not stored, and follows from the members.
    pub(super) fn conf_state(&self) -> Option<ConfState> {
        if self.mark.index == 0 || self.mark.conf_state.is_some() {
            return self.mark.conf_state.clone();
        }
        let ids = |learners: bool| {
            let members = self.membership.members();
            members
                .filter(|member| member.is_learner == learners)
                .map(|member| member.id.0)
                .collect()
        };
        Some(ConfState { voters: ids(false), learners: ids(true), ..ConfState::default() })
    }

    /// What the log tells of the members that were found.
    pub(super) fn lines(&self, identity: Identity) -> Vec<LogLine> {
        let member_line = |member: &MemberInfo| {
            identity
                .line(Level::Info, "recovered/added member from store")
                .with("recovered-remote-peer-id", member.id.to_string())
                .with("recovered-remote-peer-urls", json::list(&member.peer_urls))
                .with("recovered-remote-peer-is-learner", member.is_learner.to_string())
        };
        let mut lines: Vec<LogLine> = self.membership.members().map(member_line).collect();
        if let Some(version) = self.membership.cluster_version() {
            lines.push(
                LogLine::new(Level::Info, "set cluster version from store")
                    .with("cluster-version", version.short()),
            );
        }
        lines
    }
}
