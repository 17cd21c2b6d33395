//! Goals: what a good sweep should reach now and then. A goal that no seed reaches says that the
//! harness does not go where defects of that sort live.
//!
//! Each is a condition on what a run left behind, seen from outside or from inside. Goals judge
//! nothing: reaching one is neither good nor bad for the member. To add one: a line in `GOALS` and
//! a function of the run's evidence.

mod evidence;
#[cfg(test)]
mod tests;

use detsim_reports::record::{
    Body, Call, Command, Operation, Outcome, RaftRole, RunRecord, Time, TxnReply,
};

use self::evidence::Evidence;

/// Something that a sweep should reach.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Its name.
    pub name: &'static str,
    /// What happens then.
    pub meaning: &'static str,
    is_reached: fn(&Evidence<'_>) -> bool,
}

const fn goal(
    name: &'static str,
    meaning: &'static str,
    is_reached: fn(&Evidence<'_>) -> bool,
) -> Goal {
    Goal { name, meaning, is_reached }
}

/// All goals.
pub const GOALS: &[Goal] = &[
    goal("leader-changed-in-cut", "a leader was elected while a link was cut", leader_in_cut),
    goal("two-leaders", "two members thought that they led, in different terms", two_leaders),
    goal("stale-leader-asked", "a client asked a leader who had been replaced", stale_leader_asked),
    goal(
        "stale-leader-wrote",
        "a client wrote through a leader who had been replaced",
        stale_write,
    ),
    goal("split-vote", "two members stood for election in a term that nobody won", split_vote),
    goal(
        "pre-vote-failed",
        "a member asked whether it could win, and did not stand",
        pre_vote_failed,
    ),
    goal("leader-stepped-down", "a leader gave up without a later term", stepped_down),
    goal("hung-leader-replaced", "a leader whose disk hung was replaced", hung_leader),
    goal("entries-overwritten", "a member dropped entries for a new leader's", overwritten),
    goal("power-loss-of-all", "all members lost their power at once", power_loss_of_all),
    goal("entries-lost-at-restart", "a member came back with fewer entries", lost_at_restart),
    goal("torn-tail-repaired", "a member cut off the torn end of its log", torn_tail),
    goal("log-applied-again", "a member that restarted applied entries again", applied_again),
    goal("snapshot-installed", "a member took over a snapshot instead of entries", installed),
    goal("disk-ended-a-member", "a member ended because its disk failed", disk_ended),
    goal("conf-change", "the configuration changed", conf_change),
    goal("proposal-dropped", "raft dropped a proposal", proposal_dropped),
    goal("leader-lost-in-flight", "a request failed because the leader changed", leader_lost),
    goal("request-timed-out", "a member gave up on a request", timed_out),
    goal("unknown-applied", "a write of unknown outcome took effect", unknown_applied),
    goal("unknown-lost", "a write of unknown outcome never took effect", unknown_lost),
    goal("applied-after-timeout", "a write took effect after its client gave up", applied_late),
    goal("txn-else", "a transaction took its else branch", txn_else),
    goal("txn-then", "a transaction with conditions took its then branch", txn_then),
    goal("read-compacted", "a read asked for a revision that was compacted", read_compacted),
    goal("read-future", "a read asked for a revision that was not there yet", read_future),
    goal("compaction-met-watch", "a watch was canceled by a compaction", compaction_met_watch),
    goal("compaction-in-cut", "a compaction was committed while a link was cut", compaction_in_cut),
    goal("watch-fragmented", "the events of a revision came in fragments", watch_fragmented),
    goal("watch-progress", "a silent watch told its progress", watch_progress),
    goal("lease-expired", "a lease expired", lease_expired),
    goal(
        "lease-expired-unrenewed",
        "a lease expired after its renewal failed",
        lease_expired_unrenewed,
    ),
    goal("lease-expiry-takes-keys", "a key went away with its lease", lease_takes_keys),
    goal("lease-outlived-leader", "a lease was renewed under two leaders", lease_outlived_leader),
    goal("stale-serializable-read", "a serializable read saw an old revision", stale_serializable),
    goal("write-race", "two clients wrote a key at the same time", write_race),
];

/// The names of the goals that a run reached, in the table's order.
pub fn reached(run: &RunRecord) -> Vec<&'static str> {
    let evidence = Evidence::new(run);
    let reached = GOALS.iter().filter(|goal| (goal.is_reached)(&evidence));
    reached.map(|goal| goal.name).collect()
}

fn leader_in_cut(it: &Evidence<'_>) -> bool {
    it.reigns.iter().any(|reign| it.has_cut(reign.from))
}

fn two_leaders(it: &Evidence<'_>) -> bool {
    it.reigns.windows(2).any(|pair| pair[0].holds(pair[1].from))
}

fn stale(it: &Evidence<'_>, operation: &Operation) -> bool {
    let at = operation.invoked;
    let is_led = |reign: &&evidence::Reign| reign.member == operation.member && reign.holds(at);
    it.reigns
        .iter()
        .filter(is_led)
        .any(|reign| it.reigns.iter().any(|other| other.term > reign.term && other.from <= at))
}

fn stale_leader_asked(it: &Evidence<'_>) -> bool {
    it.operations().any(|operation| stale(it, operation))
}

fn stale_write(it: &Evidence<'_>) -> bool {
    it.operations().any(|operation| evidence::is_write(&operation.call) && stale(it, operation))
}

fn split_vote(it: &Evidence<'_>) -> bool {
    it.candidates
        .iter()
        .any(|((cluster, term), candidates)| candidates.len() > 1 && !it.is_led(*cluster, *term))
}

fn pre_vote_failed(it: &Evidence<'_>) -> bool {
    it.raft_steps().any(|(before, after)| {
        (before.role, after.role) == (RaftRole::PreCandidate, RaftRole::Follower)
            && before.term == after.term
    })
}

fn stepped_down(it: &Evidence<'_>) -> bool {
    it.raft_steps().any(|(before, after)| {
        (before.role, after.role) == (RaftRole::Leader, RaftRole::Follower)
            && before.term == after.term
    })
}

fn hung_leader(it: &Evidence<'_>) -> bool {
    it.reigns.windows(2).any(|pair| {
        let name = &it.run.history.members[pair[0].member].0;
        pair[1].member != pair[0].member && it.is_hung(name, pair[1].from)
    })
}

fn overwritten(it: &Evidence<'_>) -> bool {
    it.raft_steps().any(|(before, after)| after.last_index < before.last_index)
}

fn power_loss_of_all(it: &Evidence<'_>) -> bool {
    let all = it.run.history.members.len();
    let mut incidents = it.run.history.incidents.iter();
    incidents
        .any(|incident| incident.what.starts_with("power-loss") && incident.members.len() == all)
}

fn lost_at_restart(it: &Evidence<'_>) -> bool {
    it.restarts().any(|(before, after)| after.last_index < before.last_index)
}

fn torn_tail(it: &Evidence<'_>) -> bool {
    !it.run.internals.repairs.is_empty()
}

fn applied_again(it: &Evidence<'_>) -> bool {
    it.applications().any(|(before, after)| {
        after.incarnation > before.incarnation && after.index <= before.index
    })
}

fn installed(it: &Evidence<'_>) -> bool {
    it.applications().any(|(before, after)| {
        after.incarnation == before.incarnation && after.index > before.index + 1
    })
}

fn disk_ended(it: &Evidence<'_>) -> bool {
    it.run.history.exits.iter().any(|exit| exit.expected && !exit.panicked)
}

fn conf_change(it: &Evidence<'_>) -> bool {
    // The founders are entries too, of the first term.
    let mut committed = it.run.internals.committed.iter();
    committed.any(|entry| matches!(entry.command, Command::ConfChange { .. }) && entry.term > 1)
}

fn proposal_dropped(it: &Evidence<'_>) -> bool {
    it.has_error("raft proposal dropped")
}

fn leader_lost(it: &Evidence<'_>) -> bool {
    it.has_error("leader changed") || it.has_error("previous leader failure")
}

fn timed_out(it: &Evidence<'_>) -> bool {
    it.has_error("etcdserver: request timed out")
}

fn is_unknown(operation: &Operation) -> bool {
    matches!(operation.outcome, None | Some(Outcome::Unknown(_)))
}

fn unknown_applied(it: &Evidence<'_>) -> bool {
    it.operations()
        .any(|operation| is_unknown(operation) && it.committed_at(operation.id).is_some())
}

fn unknown_lost(it: &Evidence<'_>) -> bool {
    it.operations().any(|operation| {
        let is_write = evidence::is_write(&operation.call);
        is_write && is_unknown(operation) && it.committed_at(operation.id).is_none()
    })
}

fn applied_late(it: &Evidence<'_>) -> bool {
    it.operations()
        .any(|operation| it.committed_at(operation.id).is_some_and(|at| at > operation.completed))
}

fn txns<'a>(it: &'a Evidence<'_>) -> impl Iterator<Item = (&'a Call, &'a TxnReply)> {
    it.replies().filter_map(|(operation, reply)| match &reply.body {
        Body::Txn(txn) => Some((&operation.call, txn)),
        _ => None,
    })
}

fn txn_else(it: &Evidence<'_>) -> bool {
    txns(it).any(|(_, reply)| !reply.succeeded)
}

fn txn_then(it: &Evidence<'_>) -> bool {
    txns(it).any(|(call, reply)| {
        reply.succeeded && matches!(call, Call::Txn(txn) if !txn.compare.is_empty())
    })
}

fn read_compacted(it: &Evidence<'_>) -> bool {
    it.has_error("required revision has been compacted")
}

fn read_future(it: &Evidence<'_>) -> bool {
    it.has_error("required revision is a future revision")
}

fn compaction_met_watch(it: &Evidence<'_>) -> bool {
    it.run.history.watched.iter().any(|it| it.message.canceled && it.message.compact_revision > 0)
}

fn compaction_in_cut(it: &Evidence<'_>) -> bool {
    let mut committed = it.run.internals.committed.iter();
    committed.any(|entry| {
        matches!(entry.command, Command::Client(Call::Compact { .. })) && it.has_cut(entry.at)
    })
}

fn watch_fragmented(it: &Evidence<'_>) -> bool {
    it.run.history.watched.iter().any(|it| it.message.fragment)
}

fn watch_progress(it: &Evidence<'_>) -> bool {
    it.run.history.watched.iter().any(|it| it.message.progress)
}

/// Leases that expired, and when.
fn expired<'a>(it: &'a Evidence<'_>) -> impl Iterator<Item = (i64, Time)> + 'a {
    it.run.internals.committed.iter().filter_map(|entry| match entry.command {
        Command::LeaseExpired { id } => Some((id, entry.at)),
        _ => None,
    })
}

fn lease_expired(it: &Evidence<'_>) -> bool {
    expired(it).next().is_some()
}

fn lease_expired_unrenewed(it: &Evidence<'_>) -> bool {
    let failed: Vec<(i64, Time)> = it
        .operations()
        .filter(|operation| !matches!(operation.outcome, Some(Outcome::Ok(_))))
        .filter_map(|operation| match operation.call {
            Call::LeaseKeepAlive { id } => Some((id, operation.invoked)),
            _ => None,
        })
        .collect();
    expired(it).any(|(id, at)| failed.iter().any(|(lost, asked)| *lost == id && *asked < at))
}

fn lease_takes_keys(it: &Evidence<'_>) -> bool {
    // A revocation that takes keys with it is the only internal entry that moves the revision.
    let expiries: Vec<u64> = it
        .run
        .internals
        .committed
        .iter()
        .filter(|entry| matches!(entry.command, Command::LeaseExpired { .. }))
        .map(|entry| entry.index)
        .collect();
    it.applications().any(|(before, after)| {
        after.index == before.index + 1
            && after.revision > before.revision
            && expiries.binary_search(&after.index).is_ok()
    })
}

fn lease_outlived_leader(it: &Evidence<'_>) -> bool {
    let mut terms = std::collections::BTreeMap::new();
    it.replies().any(|(_, reply)| match reply.body {
        Body::LeaseKeepAlive { id, ttl_s } if ttl_s > 0 => {
            let term = reply.header.raft_term;
            *terms.entry(id).or_insert(term) < term
        }
        _ => false,
    })
}

fn stale_serializable(it: &Evidence<'_>) -> bool {
    let mut newest = (Time::ZERO, 0);
    let mut seen: Vec<(Time, i64)> = Vec::new();
    for operation in it.operations() {
        if let Some(Outcome::Ok(reply)) = &operation.outcome
            && evidence::is_write(&operation.call)
        {
            seen.push((operation.completed, reply.header.revision));
        }
    }
    seen.sort_unstable();
    let mut written = seen.into_iter().peekable();
    it.replies().any(|(operation, reply)| {
        while let Some(next) = written.next_if(|(at, _)| *at < operation.invoked) {
            newest = (next.0, next.1.max(newest.1));
        }
        let is_serializable = matches!(&operation.call, Call::Range(range) if range.serializable);
        is_serializable && reply.header.revision < newest.1
    })
}

fn write_race(it: &Evidence<'_>) -> bool {
    let puts = it.operations().filter_map(|operation| match &operation.call {
        Call::Put(put) => Some((&put.key, operation)),
        _ => None,
    });
    let mut last: std::collections::BTreeMap<_, Time> = std::collections::BTreeMap::new();
    puts.into_iter().any(|(key, operation)| {
        let ends = last.entry(key).or_insert(Time::ZERO);
        let races = *ends > operation.invoked;
        *ends = (*ends).max(operation.completed);
        races
    })
}
