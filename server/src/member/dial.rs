//! Who may dial this member: the checks on what a peer says of itself, in etcd's order, and the
//! lines in the logs of both sides when it is turned away.
//! Source: contract-cluster.md, section 5.3.

use super::id::MemberId;
use super::io::{DialRefusal, Level, LogLine, PeerHeader};
use super::membership::Identity;
use super::version::Version;
use crate::config::CompatVersion;

/// The side that is dialed.
#[derive(Clone, Copy)]
pub struct Local<'a> {
    /// Who it is.
    pub identity: Identity,
    /// Of which version.
    pub compat: CompatVersion,
    /// Whether a member is gone for good.
    pub is_removed: &'a dyn Fn(MemberId) -> bool,
    /// Whether the transport talks to a member.
    pub is_peer: &'a dyn Fn(MemberId) -> bool,
}

/// Whether a raft stream, or a POST, is served. A POST names no receiver and is only checked for
/// version and cluster; what is wrong with its sender, raft finds out.
pub fn check_dial(local: Local<'_>, header: &PeerHeader) -> Result<(), DialRefusal> {
    if !is_compatible(local.compat, header) {
        return Err(DialRefusal::IncompatibleVersion);
    }
    if header.cluster != local.identity.cluster {
        return Err(DialRefusal::ClusterIdMismatch);
    }
    let Some(to) = header.to else {
        return Ok(());
    };
    if (local.is_removed)(header.from) {
        return Err(DialRefusal::Removed);
    }
    if !(local.is_peer)(header.from) {
        return Err(DialRefusal::SenderNotFound);
    }
    if to != local.identity.member {
        return Err(DialRefusal::ToMismatch);
    }
    Ok(())
}

/// Neither side may be older than the other can bear. What is no version counts as incompatible.
fn is_compatible(local: CompatVersion, header: &PeerHeader) -> bool {
    let (Some(server), Some(minimum)) =
        (version(&header.version), version(&header.min_cluster_version))
    else {
        return false;
    };
    server >= Version::MIN_CLUSTER && minimum <= server_version(local)
}

/// Members before 2.1 do not tell.
fn version(text: &str) -> Option<Version> {
    let text = if text.is_empty() { "2.0.0" } else { text };
    Version::parse(text).ok().map(|version| version.major_minor())
}

fn server_version(compat: CompatVersion) -> Version {
    Version::parse(compat.server_version()).expect("a constant of ours")
}

/// What the log of the side that was dialed says.
pub fn refusal_line(
    local: Local<'_>,
    header: &PeerHeader,
    refusal: DialRefusal,
) -> Option<LogLine> {
    let warn = |text| {
        LogLine::new(Level::Warn, text).with("local-member-id", local.identity.member.to_string())
    };
    let stream = |text| {
        warn(text)
            .with("remote-peer-id-stream-handler", local.identity.member.to_string())
            .with("remote-peer-id-from", header.from.to_string())
    };
    let cluster = local.identity.cluster.to_string();
    let versions = |text| {
        warn(text)
            .with("local-member-cluster-id", cluster.clone())
            .with("local-member-server-version", local.compat.server_version())
            .with("local-member-server-minimum-cluster-version", "3.0.0")
            .with("remote-peer-server-name", header.from.to_string())
            .with("remote-peer-server-version", header.version.as_str())
            .with("remote-peer-server-minimum-cluster-version", header.min_cluster_version.as_str())
    };
    Some(match refusal {
        DialRefusal::IncompatibleVersion => {
            let is_low = version(&header.version).is_none_or(|v| v < Version::MIN_CLUSTER);
            let (from, remote) = (header.from, &header.version);
            let who = if is_low { "remote" } else { "local" };
            let own = local.compat.server_version();
            let error = format!("{who} version is too low: remote[{from}]={remote}, local={own}");
            versions("failed version compatibility check").with("error", error)
        }
        DialRefusal::ClusterIdMismatch => versions("request cluster ID mismatch")
            .with("remote-peer-cluster-id", header.cluster.to_string()),
        DialRefusal::Removed => stream("rejected stream from remote peer because it was removed"),
        DialRefusal::SenderNotFound => {
            stream("failed to find remote peer in cluster").with("cluster-id", cluster)
        }
        DialRefusal::ToMismatch => {
            let to = header.to.map(|to| to.to_string()).unwrap_or_default();
            stream("ignored streaming request; ID mismatch")
                .with("remote-peer-id-header", to)
                .with("cluster-id", cluster)
        }
        DialRefusal::NotServing => return None,
    })
}

/// What the log of the side that dialed says, if anything.
pub fn refused_line(identity: Identity, peer: MemberId, refusal: DialRefusal) -> Option<LogLine> {
    let local = identity.member.to_string();
    match refusal {
        DialRefusal::IncompatibleVersion => Some(
            LogLine::new(
                Level::Warn,
                "request sent was ignored by remote peer due to server version incompatibility",
            )
            .with("local-member-id", local)
            .with("remote-peer-id", peer.to_string())
            .with("error", "incompatible version"),
        ),
        DialRefusal::ClusterIdMismatch => Some(
            LogLine::new(
                Level::Warn,
                "request sent was ignored by remote peer due to cluster ID mismatch",
            )
            .with("remote-peer-id", peer.to_string())
            .with("local-member-id", local)
            .with("local-member-cluster-id", identity.cluster.to_string())
            .with("error", "cluster ID mismatch"),
        ),
        DialRefusal::Removed
        | DialRefusal::SenderNotFound
        | DialRefusal::ToMismatch
        | DialRefusal::NotServing => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::id::ClusterId;

    const OWN: Identity = Identity { cluster: ClusterId(0xc1), member: MemberId(0xa) };

    fn local() -> Local<'static> {
        Local {
            identity: OWN,
            compat: CompatVersion::V3_6,
            is_removed: &|id| id == MemberId(0xdd),
            is_peer: &|id| id == MemberId(0xb),
        }
    }

    fn header() -> PeerHeader {
        PeerHeader {
            from: MemberId(0xb),
            to: Some(OWN.member),
            cluster: OWN.cluster,
            version: "3.5.30".to_owned(),
            min_cluster_version: "3.0.0".to_owned(),
            peer_urls: Vec::new(),
        }
    }

    fn changed(change: impl FnOnce(&mut PeerHeader)) -> Result<(), DialRefusal> {
        let mut header = header();
        change(&mut header);
        check_dial(local(), &header)
    }

    #[test]
    fn peers_of_the_same_cluster_are_served() {
        assert_eq!(check_dial(local(), &header()), Ok(()));
        assert_eq!(changed(|header| header.version = "3.8.0-alpha.0".to_owned()), Ok(()));
        assert_eq!(changed(|header| header.min_cluster_version = "3.6.99".to_owned()), Ok(()));
    }

    #[test]
    fn the_first_thing_wrong_decides() {
        use DialRefusal::*;
        for version in ["2.3.8", "", "nonsense"] {
            let refused = changed(|header| header.version = version.to_owned());
            assert_eq!(refused, Err(IncompatibleVersion), "{version:?}");
        }
        let newer = changed(|header| header.min_cluster_version = "3.7.0".to_owned());
        assert_eq!(newer, Err(IncompatibleVersion));
        let foreign = changed(|header| {
            header.cluster = ClusterId(1);
            header.from = MemberId(0xdd);
        });
        assert_eq!(foreign, Err(ClusterIdMismatch));
        let removed = changed(|header| {
            header.from = MemberId(0xdd);
            header.to = Some(MemberId(1));
        });
        assert_eq!(removed, Err(Removed));
        let unknown = changed(|header| {
            header.from = MemberId(9);
            header.to = Some(MemberId(1));
        });
        assert_eq!(unknown, Err(SenderNotFound));
        assert_eq!(changed(|header| header.to = Some(MemberId(1))), Err(ToMismatch));
    }

    #[test]
    fn a_post_is_checked_for_version_and_cluster_only() {
        let post = changed(|header| {
            header.from = MemberId(0xdd);
            header.to = None;
        });
        assert_eq!(post, Ok(()));
        let foreign = changed(|header| {
            header.cluster = ClusterId(1);
            header.to = None;
        });
        assert_eq!(foreign, Err(DialRefusal::ClusterIdMismatch));
    }

    #[test]
    fn both_sides_tell_of_a_mismatch() {
        let mut header = header();
        header.cluster = ClusterId(0xc2);
        let refusal = check_dial(local(), &header).unwrap_err();
        let dialed = refusal_line(local(), &header, refusal).unwrap();
        assert_eq!(dialed.message, "request cluster ID mismatch");
        assert_eq!(dialed.fields.last(), Some(&("remote-peer-cluster-id", "c2".to_owned())));
        let dialer = refused_line(OWN, MemberId(0xb), refusal).unwrap();
        assert_eq!(
            dialer.message,
            "request sent was ignored by remote peer due to cluster ID mismatch"
        );
        assert_eq!(refused_line(OWN, MemberId(0xb), DialRefusal::Removed), None);
        header.version = "2.3.0".to_owned();
        let line = refusal_line(local(), &header, DialRefusal::IncompatibleVersion).unwrap();
        assert_eq!(
            line.fields.last().unwrap().1,
            "remote version is too low: remote[b]=2.3.0, local=3.6.14"
        );
    }
}
