//! Client operations that a script asks for one by one, and what their answers must be.
//!
//! The client waits until the member serves and the cluster has decided its version, as a client
//! that dials does, but not longer than its timeout; then it asks once. Nothing else is retried.

use std::time::Duration;

use detsim_reports::record::{
    AlarmEntry, Blob, Body, Call, Compare, DeleteRange, KeyValue, MemberEntry, OpId, Operator,
    Outcome, Put, Range, Reply, Severity, TxnOpReply,
};
use detsim_reports::record::{Target as CompareTarget, Txn, TxnOp};

use super::member::{Role, expand};
use super::runner::{Runner, Stop};
use crate::language::ast::{self, Answer, Extent, Operation, Request, Target};

/// What members answer before the cluster has decided its version; without effect.
const NOT_CAPABLE: &str = "etcdserver: not capable";

/// How an operation by hand ended.
pub struct Ended {
    /// Its number, if it was ever sent.
    pub op: Option<OpId>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Runner<'_> {
    /// Performs an operation and compares its answer. Tells the operation with its member named.
    pub(super) fn by_hand(&mut self, operation: &Operation) -> Result<Operation, Stop> {
        let via = match (&operation.via, &operation.request) {
            (Some(target), _) => self.one(target)?,
            (None, Request::MoveLeader { .. }) => self.one(&Target::Leader)?,
            (None, _) => self.any_ready(),
        };
        let mut concrete = operation.clone();
        concrete.via = Some(Target::Name(self.members[via].name.clone()));
        if let Request::MoveLeader { to } = &operation.request {
            let to = self.one(to)?;
            let to = Target::Name(self.members[to].name.clone());
            concrete.request = Request::MoveLeader { to };
        }
        if let Request::Save { .. } = &operation.request {
            self.world.can_save()?;
        }
        let timeout = operation.timeout.unwrap_or(self.traffic.timeout());
        let ended = match self.call(via, &concrete.request, timeout)? {
            Ok(call) => self.ask_capable(via, &call, timeout)?,
            Err(ended) => ended,
        };
        let ended = match &concrete.request {
            Request::AlarmDisarm(None) => self.disarm(via, ended, timeout)?,
            _ => ended,
        };
        self.note_configuration(&concrete.request, &ended.outcome);
        let expected = match operation.expect.as_slice() {
            [] => &[Answer::Ok],
            some => some,
        };
        for answer in expected {
            let alarm = match answer {
                Answer::Alarm(alarm) => self.alarm(via, alarm, timeout)?.ok(),
                _ => None,
            };
            if let Err(found) = compare(answer, alarm, &ended.outcome) {
                let what = format!("`{concrete}`: expected {answer}, found {found}");
                let operations = ended.op.into_iter().collect();
                return Err(self.find_with(
                    Severity::Safety,
                    ("expect", "answer"),
                    what,
                    operations,
                ));
            }
        }
        Ok(concrete)
    }

    /// Disarms what a list of alarms tells; how the last of it ended.
    fn disarm(&mut self, via: usize, listed: Ended, timeout: Duration) -> Result<Ended, Stop> {
        let Outcome::Ok(Reply { body: Body::Alarms(active), .. }) = &listed.outcome else {
            return Ok(listed);
        };
        let active = active.clone();
        let mut last = listed;
        for entry in active {
            last = self.ask(via, Call::AlarmDisarm(entry), timeout)?;
            if !matches!(last.outcome, Outcome::Ok(_)) {
                break;
            }
        }
        Ok(last)
    }

    /// An alarm with its member's identity.
    fn alarm(
        &mut self,
        via: usize,
        alarm: &ast::AlarmOf,
        timeout: Duration,
    ) -> Result<Result<AlarmEntry, Ended>, Stop> {
        let member = match &alarm.member {
            Some(name) => self.identity(via, name, timeout)?,
            None => Ok(0),
        };
        Ok(member.map(|member| AlarmEntry { member, alarm: alarm.alarm }))
    }

    /// The first member that serves, or else the first that runs.
    pub(super) fn any_ready(&mut self) -> usize {
        let up: Vec<usize> = (0..self.members.len())
            .filter(|place| self.members[*place].is_up && !self.members[*place].is_paused)
            .collect();
        let ready = up.iter().copied().find(|place| self.world.status(*place).ready);
        ready.or(up.first().copied()).unwrap_or(0)
    }

    /// Asks a member once it serves and knows the cluster's version.
    fn ask_capable(&mut self, via: usize, call: &Call, timeout: Duration) -> Result<Ended, Stop> {
        let until = self.world.now().after(timeout);
        loop {
            let ended = self.ask(via, call.clone(), timeout)?;
            let is_early = matches!(&ended.outcome, Outcome::Fail(text) if text == NOT_CAPABLE);
            if !is_early || self.world.now() >= until {
                return Ok(ended);
            }
            self.pass(Duration::from_millis(50))?;
        }
    }

    /// Asks a member once it serves.
    pub(super) fn ask(&mut self, via: usize, call: Call, timeout: Duration) -> Result<Ended, Stop> {
        let until = self.world.now().after(timeout);
        let serves = self.pass_until(until, &mut |runner| {
            !runner.members[via].is_up
                || runner.members[via].is_paused
                || runner.world.status(via).ready
        })?;
        if !serves || !self.members[via].is_up {
            let state = if self.members[via].is_up { "does not serve" } else { "does not run" };
            let what = format!("no connection: {} {state}", self.members[via].name);
            return Ok(Ended { op: None, outcome: Outcome::Fail(what) });
        }
        let (traffic, mut way) = self.traffic();
        let op = traffic.invoke(via, call, Some(timeout), &mut way);
        let index = op.0 as usize;
        let until = self.world.now().after(timeout + Duration::from_secs(60));
        self.pass_until(until, &mut |runner| runner.history.operations[index].outcome.is_some())?;
        match &self.history.operations[index].outcome {
            Some(outcome) => Ok(Ended { op: Some(op), outcome: outcome.clone() }),
            None => Err(Stop::Harness(format!("operation {index} outlives its timeout"))),
        }
    }

    /// The call of a request, or how it ended before it could be made.
    fn call(
        &mut self,
        via: usize,
        request: &Request,
        timeout: Duration,
    ) -> Result<Result<Call, Ended>, Stop> {
        Ok(Ok(match request {
            Request::Compact { revision: None, physical } => {
                // Asks for the newest revision first.
                let range = Range { key: Blob::text("\0"), count_only: true, ..Range::default() };
                let ended = self.ask(via, Call::Range(range), timeout)?;
                let Outcome::Ok(Reply { header, .. }) = &ended.outcome else {
                    return Ok(Err(ended));
                };
                Call::Compact { revision: header.revision, physical: *physical }
            }
            Request::MemberAdd { member, learner, urls } => {
                let place = self.place(member)?;
                let peer_urls = self.urls(place, urls.as_deref());
                Call::MemberAdd { peer_urls, is_learner: *learner }
            }
            Request::MemberRemove { member } => match self.identity(via, member, timeout)? {
                Ok(id) => Call::MemberRemove { id },
                Err(ended) => return Ok(Err(ended)),
            },
            Request::MemberPromote { member } => match self.identity(via, member, timeout)? {
                Ok(id) => Call::MemberPromote { id },
                Err(ended) => return Ok(Err(ended)),
            },
            Request::MemberUpdate { member, urls } => {
                let place = self.place(member)?;
                let peer_urls = self.urls(place, Some(urls));
                match self.identity(via, member, timeout)? {
                    Ok(id) => Call::MemberUpdate { id, peer_urls },
                    Err(ended) => return Ok(Err(ended)),
                }
            }
            Request::MoveLeader { to: Target::Name(name) } => {
                match self.identity(via, name, timeout)? {
                    Ok(target) => Call::MoveLeader { target },
                    Err(ended) => return Ok(Err(ended)),
                }
            }
            Request::AlarmRaise(alarm) => match self.alarm(via, alarm, timeout)? {
                Ok(entry) => Call::AlarmRaise(entry),
                Err(ended) => return Ok(Err(ended)),
            },
            Request::AlarmDisarm(Some(alarm)) => match self.alarm(via, alarm, timeout)? {
                Ok(entry) => Call::AlarmDisarm(entry),
                Err(ended) => return Ok(Err(ended)),
            },
            other => plain_call(other),
        }))
    }

    pub(super) fn urls(&self, place: usize, given: Option<&str>) -> Vec<String> {
        let text = match given {
            Some(text) => expand(&*self.world, &self.members, text),
            None => self.world.peer_url(place),
        };
        text.split(',').map(str::to_owned).collect()
    }

    /// A member's identity, from the member list of the one that is asked.
    fn identity(
        &mut self,
        via: usize,
        name: &str,
        timeout: Duration,
    ) -> Result<Result<u64, Ended>, Stop> {
        let place = self.place(name)?;
        let ended = self.ask(via, Call::MemberList { linearizable: false }, timeout)?;
        let Outcome::Ok(Reply { body: Body::Members { members, .. }, .. }) = &ended.outcome else {
            return Ok(Err(ended));
        };
        let entry = members.iter().find(|entry| self.is_entry_of(entry, place));
        // An identity that nobody has: what the server says of it is the answer.
        Ok(Ok(entry.map_or(1, |entry| entry.id)))
    }

    /// Whether an entry of a member list is this member's.
    pub(super) fn is_entry_of(&self, entry: &MemberEntry, place: usize) -> bool {
        let url = self.world.peer_url(place);
        entry.peer_urls.contains(&url) || entry.name == self.members[place].name
    }

    /// Keeps in mind what an operation made of the cluster's configuration.
    pub(super) fn note_configuration(&mut self, request: &Request, outcome: &Outcome) {
        let (name, role) = match request {
            Request::MemberAdd { member, learner: true, .. } => (member, Role::Learner),
            Request::MemberAdd { member, .. } | Request::MemberPromote { member } => {
                (member, Role::Voter)
            }
            Request::MemberRemove { member } => (member, Role::Removed),
            _ => return,
        };
        match outcome {
            Outcome::Ok(_) => {
                let Ok(place) = self.place(name) else { return };
                let is_added = matches!(request, Request::MemberAdd { .. });
                self.members[place].role = role;
                self.members[place].has_new_identity |= is_added;
            }
            Outcome::Unknown(_) => {
                self.is_config_doubtful = true;
                if let (Role::Removed, Ok(place)) = (role, self.place(name)) {
                    self.members[place].is_leaving = true;
                }
            }
            Outcome::Fail(_) => {}
        }
    }
}

/// The call of a request that needs nothing to be known.
pub(super) fn plain_call(request: &Request) -> Call {
    match request {
        Request::Put { .. } | Request::Get { .. } | Request::Delete { .. } => {
            match key_operation(request) {
                TxnOp::Range(range) => Call::Range(range),
                TxnOp::Put(put) => Call::Put(put),
                TxnOp::DeleteRange(delete) => Call::DeleteRange(delete),
                TxnOp::Txn(txn) => Call::Txn(Box::new(txn)),
            }
        }
        Request::Txn { compare, success, failure } => Call::Txn(Box::new(Txn {
            compare: compare.iter().map(comparison).collect(),
            success: success.iter().map(key_operation).collect(),
            failure: failure.iter().map(key_operation).collect(),
        })),
        Request::Compact { revision, physical } => {
            Call::Compact { revision: revision.unwrap_or(0), physical: *physical }
        }
        Request::LeaseGrant { id, ttl_s } => Call::LeaseGrant { id: *id, ttl_s: *ttl_s },
        Request::LeaseRevoke { id } => Call::LeaseRevoke { id: *id },
        Request::LeaseKeepAlive { id } => Call::LeaseKeepAlive { id: *id },
        Request::LeaseTimeToLive { id, keys } => Call::LeaseTimeToLive { id: *id, keys: *keys },
        Request::LeaseList => Call::LeaseLeases,
        Request::MemberList { serializable } => Call::MemberList { linearizable: !serializable },
        Request::Hash { revision } => Call::HashKv { revision: *revision },
        Request::Status => Call::Status,
        // Which ones there are is asked first.
        Request::AlarmList | Request::AlarmDisarm(None) => Call::AlarmList,
        Request::Defragment => Call::Defragment,
        Request::Downgrade { action, version } => {
            Call::Downgrade { action: *action, version: version.clone() }
        }
        Request::Save { backup } => Call::Snapshot { into: backup.clone() },
        other => unreachable!("`{other}` needs a member's identity"),
    }
}

fn key_operation(request: &Request) -> TxnOp {
    match request {
        Request::Put { key, value, size, lease, prev_kv } => TxnOp::Put(Put {
            key: Blob::text(key),
            value: sized(value, *size),
            lease: *lease,
            prev_kv: *prev_kv,
            ..Put::default()
        }),
        Request::Get { key, extent, serializable, revision, limit, count_only } => {
            TxnOp::Range(Range {
                key: Blob::text(key),
                range_end: range_end(key, extent),
                limit: *limit,
                revision: *revision,
                serializable: *serializable,
                count_only: *count_only,
                ..Range::default()
            })
        }
        Request::Delete { key, extent, prev_kv } => TxnOp::DeleteRange(DeleteRange {
            key: Blob::text(key),
            range_end: range_end(key, extent),
            prev_kv: *prev_kv,
        }),
        other => unreachable!("`{other}` is not about keys"),
    }
}

/// A value repeated up to a size.
fn sized(value: &str, size: u64) -> Blob {
    match size {
        0 => Blob::text(value),
        size => Blob(value.bytes().cycle().take(size as usize).collect()),
    }
}

/// The first key behind the extent, as etcd's ranges give it.
fn range_end(key: &str, extent: &Extent) -> Blob {
    match extent {
        Extent::Key => Blob::default(),
        Extent::To(end) => Blob::text(end),
        Extent::Prefix => {
            let mut end = key.as_bytes().to_vec();
            while let Some(last) = end.pop() {
                if last < u8::MAX {
                    end.push(last + 1);
                    return Blob(end.into());
                }
            }
            // Nothing is behind a prefix of nothing: everything matches.
            Blob::text("\0")
        }
    }
}

fn comparison(compare: &ast::Compare) -> Compare {
    let number = || compare.operand.parse().expect("the parser has seen a number");
    Compare {
        key: Blob::text(&compare.key),
        range_end: Blob::default(),
        operator: match compare.operator.as_str() {
            "=" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            _ => Operator::Greater,
        },
        target: match compare.field.as_str() {
            "value" => CompareTarget::Value(Blob::text(&compare.operand)),
            "version" => CompareTarget::Version(number()),
            "create" => CompareTarget::Create(number()),
            "mod" => CompareTarget::Mod(number()),
            _ => CompareTarget::Lease(number()),
        },
    }
}

/// Compares, with the alarm that an answer may ask for; tells what was found instead.
pub(super) fn compare(
    answer: &Answer,
    alarm: Option<AlarmEntry>,
    outcome: &Outcome,
) -> Result<(), String> {
    let holds = match (answer, outcome) {
        (Answer::Any, _) | (Answer::Ok, Outcome::Ok(_)) => true,
        (Answer::Fail(wanted), Outcome::Fail(text))
        | (Answer::Unknown(wanted), Outcome::Unknown(text))
        | (Answer::Error(wanted), Outcome::Fail(text) | Outcome::Unknown(text)) => {
            text.contains(wanted.as_str())
        }
        (Answer::Alarm(_), Outcome::Ok(Reply { body: Body::Alarms(active), .. })) => {
            alarm.is_some_and(|alarm| active.contains(&alarm))
        }
        (wanted, Outcome::Ok(reply)) => compare_reply(wanted, reply),
        _ => false,
    };
    if holds { Ok(()) } else { Err(show(outcome)) }
}

fn compare_reply(wanted: &Answer, reply: &Reply) -> bool {
    match wanted {
        Answer::Value(value) => {
            let kvs = keys(&reply.body);
            matches!(kvs.as_slice(), [kv] if kv.value == Blob::text(value))
        }
        Answer::ClusterVersion(wanted) => {
            matches!(&reply.body, Body::Downgrade { version } if version == wanted)
        }
        Answer::None => count(&reply.body) == 0,
        Answer::Count(many) => count(&reply.body) == *many,
        Answer::Ttl(seconds) => match &reply.body {
            Body::LeaseGrant { ttl_s, .. }
            | Body::LeaseKeepAlive { ttl_s, .. }
            | Body::LeaseTimeToLive { granted_ttl_s: ttl_s, .. } => ttl_s == seconds,
            _ => false,
        },
        Answer::Revision(revision) => reply.header.revision == *revision,
        Answer::Succeeded => matches!(&reply.body, Body::Txn(txn) if txn.succeeded),
        Answer::NotSucceeded => matches!(&reply.body, Body::Txn(txn) if !txn.succeeded),
        _ => false,
    }
}

/// The keys that an answer holds; for a write, those before it.
fn keys(body: &Body) -> Vec<&KeyValue> {
    match body {
        Body::Range(range) => range.kvs.iter().collect(),
        Body::Put { prev_kv } => prev_kv.iter().collect(),
        Body::DeleteRange { prev_kvs, .. } => prev_kvs.iter().collect(),
        Body::Txn(txn) => {
            let ranges = txn.responses.iter().filter_map(|response| match response {
                TxnOpReply::Range { reply, .. } => Some(&reply.kvs),
                _ => None,
            });
            ranges.flatten().collect()
        }
        _ => Vec::new(),
    }
}

fn count(body: &Body) -> i64 {
    match body {
        Body::Range(range) => range.count,
        Body::DeleteRange { deleted, .. } => *deleted,
        Body::Members { members, .. } => members.len() as i64,
        Body::LeaseLeases { ids } => ids.len() as i64,
        Body::Alarms(active) => active.len() as i64,
        other => keys(other).len() as i64,
    }
}

fn show(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Fail(text) => format!("fail \"{text}\""),
        Outcome::Unknown(text) => format!("unknown \"{text}\""),
        Outcome::Ok(reply) => {
            let kvs = keys(&reply.body);
            let shown = kvs.iter().take(5).map(|kv| format!("{:?}={:?}", kv.key, kv.value));
            let shown: Vec<String> = shown.collect();
            let revision = reply.header.revision;
            let many = count(&reply.body);
            format!("ok revision={revision} count={many} {}", shown.join(" ")).trim_end().to_owned()
        }
    }
}
