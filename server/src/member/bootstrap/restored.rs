//! The members of a cluster that begins from a snapshot: listed as for a new one, with the same
//! checks but for the peers, of whom none is asked.
//! Source: contract-cluster.md, sections 2.3 and 7.5.

use super::initial::{InitialCluster, mismatch};
use super::resolve::{Comparison, Time, compare};
use crate::config::url;
use crate::member::id::MemberId;
use crate::member::io::{LogLine, MemberInfo};

/// The members that a snapshot is restored for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredCluster {
    /// The member whose directory it is.
    pub local: MemberId,
    /// All of them, ascending by id.
    pub members: Vec<MemberInfo>,
}

/// Reads `--initial-cluster` and `--initial-advertise-peer-urls`. The error is etcd's text; a host
/// name that the listed URLs need has no address here.
pub fn restored_cluster(
    name: &str,
    initial_cluster: &str,
    token: &str,
    advertised: &str,
    lines: &mut Vec<LogLine>,
) -> Result<RestoredCluster, String> {
    let advertised = url::parse_list(advertised.split(',')).map_err(|error| error.to_string())?;
    let advertised = url::print(&advertised);
    let initial = InitialCluster::parse(initial_cluster).map_err(|error| error.to_string())?;
    let listed = initial.urls(name).map_err(|error| error.to_string())?;
    let why = match compare(&advertised, &listed, Time::Left, lines) {
        Comparison::Equal => None,
        Comparison::Different(why) => Some(why),
        Comparison::Unresolved(unresolved) => Some(unresolved.cause()),
    };
    if let Some(why) = why {
        return Err(mismatch(name, &advertised, &listed, &why));
    }
    initial.check_urls_differ().map_err(|error| error.to_string())?;
    let members = initial.identify(token).map_err(|error| error.to_string())?;
    let local = members.iter().find(|member| member.name == name);
    let local = local.expect("the local name is listed").id;
    Ok(RestoredCluster { local, members })
}
