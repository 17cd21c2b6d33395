//! Historical bugs of etcd and raft behind named switches, to test the harness: each must be found.
//!
//! The names always exist so that scenarios and settings can speak of them; a defect can be
//! switched on only in a build with the `planted` feature (`Config::defect`).

use std::fmt;
use std::str::FromStr;

macro_rules! defects {
    ($($(#[$doc:meta])* $defect:ident $name:literal;)*) => {
        /// A defect of the catalogue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Defect { $($(#[$doc])* $defect,)* }

        impl Defect {
            /// All of them.
            pub const ALL: &'static [Defect] = &[$(Defect::$defect,)*];

            /// The switch's name in the catalogue.
            pub const fn name(self) -> &'static str {
                match self { $(Defect::$defect => $name,)* }
            }
        }
    };
}

defects! {
    /// B01: the database has the index of an entry before it has what the entry changed.
    ApplyCiBeforeData "apply.ci_before_data";
    /// B02: what a defragmentation writes first has the index of an entry whose changes come later.
    BackendDefragCi "backend.defrag_ci";
    /// B03: after a snapshot the database is given the index of what the member had before.
    SnapCiOverwrite "snap.ci_overwrite";
    /// B06: the log says that a snapshot was taken before the database covers it.
    SnapRecordBeforeDb "snap.record_before_db";
    /// B07: writes that are committed together lose their order.
    BackendBufferDup "backend.buffer_dup";
    /// B09: a defragmentation puts its copy in place although a snapshot came meanwhile.
    SnapDefragRace "snap.defrag_race";
    /// B10: a snapshot that arrives removes the one that is about to be installed.
    SnapGcPending "snap.gc_pending";
    /// B11: a member that starts from a snapshot's database goes on reading the one before.
    SnapStaleTx "snap.stale_tx";
    /// B13: members that answer nobody leave out a transaction's ranges, and with them the reason
    /// for which it fails elsewhere.
    ApplySkipRangeRemote "apply.skip_range_remote";
    /// B17: entries are applied, and clients answered, before the log write is durable.
    WalApplyBeforeFsync "wal.apply_before_fsync";
    /// B18: a follower does not sync what it appends to its log.
    WalSkipFsyncFollower "wal.skip_fsync_follower";
    /// B20: a segment of the log is confirmed before its name is durable.
    WalNoDirsync "wal.no_dirsync";
    /// B21: a log whose end a power loss has torn is refused.
    WalFatalOnHole "wal.fatal_on_hole";
    /// B22: a snapshot is recorded in the log before it has a file, and no older one will do.
    SnapOrder "snap.order";
    /// B23: the log before a snapshot that arrived goes before the snapshot's record is durable.
    WalReleaseBeforeSync "wal.release_before_sync";
    /// B26: what an interrupted reception has left is taken for the database.
    SnapTmpUsed "snap.tmp_used";
    /// B25: the database has the index of an alarm request before the log has the request.
    WalCiAhead "wal.ci_ahead";
    /// B16: messages for another member at this address are taken.
    RaftAcceptForeignTo "raft.accept_foreign_to";
    /// B27: votes and acknowledgements leave before term, vote and entries are durable.
    RaftSendBeforePersist "raft.send_before_persist";
    /// B80: a leader proposes a configuration change before its term has committed anything.
    RaftCcBeforeTermCommit "raft.cc_before_term_commit";
    /// B81: several configuration changes are under way at once.
    RaftMultiPendingCc "raft.multi_pending_cc";
    /// B92: an elected leader takes what it holds of older terms for committed.
    RaftCommitOldTerm "raft.commit_old_term";
    /// B95: a snapshot that raft refuses, for it is older than what is committed, is installed.
    RaftOldSnapshot "raft.old_snapshot";
    /// B74: a learner of which nothing is known counts as ready.
    MemberPromoteUnstarted "member.promote_unstarted";
    /// B71: a promotion reaches raft, and not the member list.
    MemberPromoteUnlisted "member.promote_unlisted";
    /// B74: an addition asks for connections to all voters, not to a quorum of them.
    MemberQuorumMath "member.quorum_math";
    /// B28: after a snapshot watchers start again where they were synced last.
    WatchRestoreMinrev "watch.restore_minrev";
    /// B29: watchers count as synced with a store that came with a snapshot.
    WatchRestoreSilent "watch.restore_silent";
    /// B31: a watcher of a future revision is told of everything once it counts as synced.
    WatchFutureRev "watch.future_rev";
    /// B31: with a snapshot a watcher of a future revision forgets from where on it is to be told.
    WatchRestoreFutureRev "watch.restore_future_rev";
    /// B32: progress that is asked for overtakes events.
    WatchProgressBypass "watch.progress_bypass";
    /// B33: a watcher that never had an event is never synced, so its stream never has progress.
    WatchProgressStarve "watch.progress_starve";
    /// B34: a watcher whose history was compacted while its stream was full goes on after the gap.
    WatchCompactFullChan "watch.compact_full_chan";
    /// B35: compaction at the revision of a delete removes the delete.
    MvccCompactTombstoneEq "mvcc.compact_tombstone_eq";
    /// B36: what was deleted and compacted is forgotten at a restart, the delete with it.
    MvccRestoreDropTombstone "mvcc.restore_drop_tombstone";
    /// B42: after a restart the revision is that of the newest row, and compaction has taken that.
    MvccRevFromRows "mvcc.rev_from_rows";
    /// B44: a member that has compacted the revision of a check counts as corrupt.
    HashCompacted "hash.compacted";
    /// B45: nobody's name is on the alarm that a member is corrupt.
    AlarmZeroId "alarm.zero_id";
    /// B46: hashes are told to members of other clusters.
    HashNoClusterId "hash.no_cluster_id";
    /// B47: a member that cannot tell its hash counts as checked.
    HashIgnoreErrors "hash.ignore_errors";
    /// Of no entry: a client's snapshot lacks what waits to be written to the database.
    BackupStaleSave "backup.stale_save";
    /// Of no entry: a restore leaves revisions as they are, although it was to raise them.
    BackupBumpLost "backup.bump_lost";
    /// Of no entry: a restore raises revisions and leaves what is below to be read.
    BackupUnmarked "backup.unmarked";
    /// Of no entry: a restore founds every cluster with the token that is meant when none is given.
    BackupSameToken "backup.same_token";
    /// Of no entry: a restore leaves out leases.
    BackupLeasesLost "backup.leases_lost";
    /// Of no entry: a restore leaves out what keys were before, as if it had been compacted.
    BackupHistoryLost "backup.history_lost";
    /// B40: watchers of one revision share events, whatever each of them asked for.
    WatchSharedEvents "watch.shared_events";
    /// B41: a watcher that its client has cancelled stays.
    WatchLeak "watch.leak";
    /// Of no entry: events leave although their stream has no room for them.
    WatchNoRoom "watch.no_room";
    /// Of no entry: the log in memory is never cut.
    RaftLogKept "raft.log_kept";
    /// Of no entry: proposals are taken however far applying is behind.
    RaftNoBacklogLimit "raft.no_backlog_limit";
    /// Of no entry: nothing is held against the quota.
    QuotaIgnored "quota.ignored";
    /// B49: a leader that was asleep revokes what expired meanwhile, through its successor.
    LeaseStaleRevoke "lease.stale_revoke";
    /// B51: a leader that was deposed goes on telling how long leases have left.
    LeaseCkptAfterDemote "lease.ckpt_after_demote";
    /// B54: renewals do not wait until what was committed before them is applied.
    LeaseGrantRace "lease.grant_race";
    /// B58: every question for a read index has the same id.
    ReadReuseCtx "read.reuse_ctx";
    /// B58: reads that wait when the leader changes are served as if the old one had confirmed.
    ReadNoLeaderRecheck "read.no_leader_recheck";
    /// B58: readers join a round whose question was asked before they came.
    ReadJoinInflightBatch "read.join_inflight_batch";
    /// B59: a leader answers reads before it has committed anything in its term.
    ReadNoTermCommit "read.no_term_commit";
    /// B60: a question for a read index that was lost is never repeated.
    ReadNoResend "read.no_resend";
    /// B61: a member that believes itself leader answers linearizable reads from local state.
    ReadLocal "read.local";
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Defect {
    type Err = String;

    fn from_str(name: &str) -> Result<Defect, String> {
        let known = Defect::ALL.iter().copied().find(|defect| defect.name() == name);
        known.ok_or_else(|| format!("no defect is called {name}"))
    }
}

/// The defect that a component has, if any; none in a build without the `planted` feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(Option<Defect>);

impl Planted {
    /// None.
    pub const NONE: Planted = Planted(None);

    /// This one, in a build that can have one.
    pub fn new(defect: Option<Defect>) -> Planted {
        Planted(defect)
    }

    /// Whether it is this one.
    pub fn is(self, defect: Defect) -> bool {
        cfg!(feature = "planted") && self.0 == Some(defect)
    }
}
