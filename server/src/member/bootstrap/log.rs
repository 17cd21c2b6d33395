//! What the log of a member holds at its start: its identity, the first entries of a new cluster,
//! and the entries by which `--force-new-cluster` leaves a member alone. A log that follows a
//! snapshot is refused without a database.
//! Source: contract-cluster.md, sections 2.8, 4.3 and 6.2.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;

use crate::config::Config;
use crate::member::id::{ClusterId, MemberId};
use crate::member::io::{Level, LogLine, MemberInfo, Stop};
use crate::member::membership::{Identity, MemberChange};
use crate::proto::raftpb::{ConfChange, ConfChangeType};
use crate::proto::v2pb::Metadata;
use crate::storage::log::{EntryKind, HardState, LogEntry, LogImage, SnapshotMark};

/// The record at the head of a member's log.
pub fn encode_metadata(member: MemberId, cluster: ClusterId) -> Bytes {
    let metadata = Metadata { node_id: Some(member.0), cluster_id: Some(cluster.0) };
    metadata.encode_to_vec().into()
}

/// Who a member with a log is. etcd panics on a record that it cannot read.
pub fn restart(metadata: &[u8]) -> Result<(MemberId, ClusterId), Stop> {
    let metadata = Metadata::decode(metadata).map_err(|_| unreadable("metadata"))?;
    let member = metadata.node_id.unwrap_or_default();
    let cluster = metadata.cluster_id.unwrap_or_default();
    Ok((MemberId(member), ClusterId(cluster)))
}

fn unreadable(what: &str) -> Stop {
    Stop { exit_code: 2, reason: format!("unmarshal should never fail ({what} in the log)") }
}

/// Why a member does not start from its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// etcd's last log line.
    pub line: LogLine,
    /// How the process ends.
    pub stop: Stop,
}

/// Refuses a log that follows a snapshot when there is no database: what the snapshot covers is in
/// it. A driver that keeps none cannot have looked for it. Nothing in the directory is touched.
pub fn refuse_snapshot(
    config: &Config,
    mark: &SnapshotMark,
    keeps_database: bool,
) -> Option<Refusal> {
    if mark.index == 0 {
        return None;
    }
    let SnapshotMark { index, term, .. } = mark;
    let file = format!("{}/{term:016x}-{index:016x}.snap", config.snap_dir());
    let error = match keeps_database {
        true => "failed to find database snapshot file (snap: snapshot file doesn't exist)".into(),
        false => format!(
            "snapshots are not supported without a database: the log in {} continues {file} \
             (index {index}, term {term})",
            config.wal_dir()
        ),
    };
    let message = "failed to recover v3 backend from snapshot";
    let line = LogLine::new(Level::Fatal, message).with("error", &*error);
    let stop = Stop { exit_code: 2, reason: format!("{message}: {error}") };
    Some(Refusal { line, stop })
}

/// The first entries of a new cluster: every member of it, added by everybody alike.
pub fn bootstrap_entries(members: &[MemberInfo]) -> Vec<LogEntry> {
    assert!(members.is_sorted_by_key(|member| member.id), "members ascend by id");
    let changes = members.iter().cloned().map(MemberChange::Add);
    changes.zip(1..).map(|(change, index)| entry(&change.encode(0), 1, index)).collect()
}

/// The hard state after the first entries: all of them are committed.
pub fn bootstrap_state(members: &[MemberInfo]) -> HardState {
    HardState { term: 1, vote: 0, commit: members.len() as u64 }
}

fn entry(change: &ConfChange, term: u64, index: u64) -> LogEntry {
    LogEntry { kind: EntryKind::ConfChange, term, index, data: change.encode_to_vec().into() }
}

/// A log after `--force-new-cluster`.
#[derive(Clone, Debug, PartialEq)]
pub struct Forced {
    /// Without what was not committed, with what was appended.
    pub image: LogImage,
    /// What was appended, to be written to the log before anything else.
    pub appended: Vec<LogEntry>,
    /// What the log tells of it.
    pub lines: Vec<LogLine>,
}

/// Rewrites a log so that its member is the only one: uncommitted entries go, and committed ones
/// are added that remove all others. The database may be ahead of the hard state's commit index;
/// one that is ahead of the log is taken as it is where nobody is to be removed, and fatal
/// otherwise.
pub fn force_new_cluster(
    image: LogImage,
    identity: Identity,
    consistent_index: u64,
) -> Result<Forced, Stop> {
    let mut image = image;
    let commit_before = image.hard_state.commit;
    let commit = commit_before.max(consistent_index);
    let mut lines = Vec::new();
    if let Some(at) = image.entries.iter().position(|entry| entry.index > commit) {
        lines.push(
            LogLine::new(Level::Info, "discarding uncommitted WAL entries")
                .with("entry-index", image.entries[at].index.to_string())
                .with("commit-index-from-wal", commit.to_string())
                .with("number-of-discarded-entries", (image.entries.len() - at).to_string()),
        );
        image.entries.truncate(at);
    }
    let last = image.entries.last().map_or(image.snapshot.index, |entry| entry.index);
    let ids = effective_ids(&image)?;
    let mut changes = Vec::new();
    if !ids.contains(&identity.member) {
        changes.push(MemberChange::Add(MemberInfo {
            id: identity.member,
            peer_urls: vec!["http://localhost:2380".to_owned()],
            ..MemberInfo::default()
        }));
    }
    let others = ids.into_iter().filter(|id| *id != identity.member);
    changes.extend(others.map(MemberChange::Remove));
    if last < commit && !changes.is_empty() {
        // etcd leaves a gap in front of what it appends, and raft dies of it.
        let (first, many) = (image.snapshot.index, changes.len() as u64);
        let reason = format!(
            "{:x} state.commit {} is out of range [{first}, {}]",
            identity.member.0,
            commit + many,
            last + many
        );
        return Err(Stop { exit_code: 2, reason });
    }
    let commit = commit.min(last);
    let term = image.hard_state.term;
    let appended: Vec<LogEntry> = changes
        .iter()
        .zip(commit + 1..)
        .map(|(change, index)| entry(&change.encode(0), term, index))
        .collect();
    image.entries.extend(appended.iter().cloned());
    image.hard_state.commit = image.entries.last().map_or(commit, |entry| entry.index);
    lines.push(
        identity
            .line(Level::Info, "forcing restart member")
            .with("wal-commit-index", commit_before.to_string())
            .with("commit-index", image.hard_state.commit.to_string()),
    );
    Ok(Forced { image, appended, lines })
}

/// Voters and learners after all entries, as etcd counts them: without asking whether a change
/// was valid when it was applied.
fn effective_ids(image: &LogImage) -> Result<BTreeSet<MemberId>, Stop> {
    let mut ids = BTreeSet::new();
    if let Some(state) = &image.snapshot.conf_state {
        ids.extend(state.voters.iter().chain(&state.learners).copied().map(MemberId));
    }
    for entry in image.entries.iter().filter(|entry| entry.kind == EntryKind::ConfChange) {
        let change = ConfChange::decode(entry.data.clone());
        let change = change.map_err(|_| unreadable("configuration change"))?;
        let id = MemberId(change.node_id.unwrap_or_default());
        match ConfChangeType::try_from(change.r#type.unwrap_or_default()) {
            Ok(ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode) => {
                ids.insert(id);
            }
            Ok(ConfChangeType::ConfChangeRemoveNode) => {
                ids.remove(&id);
            }
            Ok(ConfChangeType::ConfChangeUpdateNode) => {}
            Err(_) => {
                let reason = "unknown ConfChange Type".to_owned();
                return Err(Stop { exit_code: 2, reason });
            }
        }
    }
    Ok(ids)
}
