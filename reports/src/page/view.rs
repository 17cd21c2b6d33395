//! A run as the page's script reads it: arrays of numbers and ready texts, in nanoseconds. Numbers
//! that a script would round, such as seeds and identities, are text.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::bands::Band;
use super::keys::Keys;
use super::lanes::{self, Lanes};
use super::lives::Lives;
use super::observed;
use crate::record::{Blob, Call, Finding, OpId, Outcome, RunRecord, Time};
use crate::words;

/// Keys of one operation by which a reader can filter.
const KEYS_PER_OPERATION_MAX: usize = 32;
/// What is shown before a finding that no operation proves, in nanoseconds.
const BEFORE_NS: u64 = 15_000_000_000;

/// From, to, state, term, and the leader's place or -1.
type Phase = (u64, u64, u8, u64, i64);

/// A run.
#[derive(Debug, Serialize)]
pub struct View<'a> {
    ended: u64,
    healed: Option<u64>,
    members: Vec<&'a str>,
    /// Whether roles are known.
    has_roles: bool,
    /// Per member.
    lives: Vec<Vec<Phase>>,
    bands: Vec<BandView<'a>>,
    /// When, what, whom.
    incidents: Vec<(u64, String, &'a [usize])>,
    lanes: usize,
    ops: Operations,
    /// When, which watch, what, keys.
    watched: Vec<(u64, u32, String, Vec<usize>)>,
    keys: Vec<KeyView>,
    findings: Vec<FindingView>,
}

#[derive(Debug, Serialize)]
struct BandView<'a> {
    from: u64,
    to: Option<u64>,
    kind: &'a str,
    what: &'a str,
    ended_by: &'a str,
    members: &'a [usize],
    /// What it did: `12 messages lost`.
    effect: Vec<String>,
}

/// Operations by number, a column for each of their properties.
#[derive(Debug, Default, Serialize)]
struct Operations {
    client: Vec<u32>,
    member: Vec<usize>,
    lane: Vec<usize>,
    invoked: Vec<u64>,
    /// -1 while it has not.
    completed: Vec<i64>,
    /// o ok, f fail, u unknown, n no answer, w a watch that was open to the end.
    outcome: String,
    /// As in `words::kind`.
    kind: String,
    call: Vec<String>,
    result: Vec<String>,
    /// Term of the reply's header.
    term: Vec<u64>,
    keys: Vec<Vec<usize>>,
}

/// A row of a key's history: revision, value, operation or -1, whether acknowledged, log index and
/// term or 0, cause, readers, how many saw it, cluster's place.
type Row = (i64, Option<String>, i64, u8, u64, u64, String, Vec<u32>, usize, usize);

#[derive(Debug, Serialize)]
struct KeyView {
    name: String,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct FindingView {
    name: String,
    is_expected: bool,
    at: u64,
    from: u64,
    to: u64,
    ops: Vec<u32>,
    members: Vec<usize>,
}

impl<'a> View<'a> {
    /// Of a run whose members' lives and faults are known.
    pub fn of(run: &'a RunRecord, lives: &Lives, bands: &'a [Band], keys: &Keys) -> View<'a> {
        let history = &run.history;
        let places: BTreeMap<&Blob, usize> = keys.keys().zip(0..).collect();
        let of = |keys: Vec<&Blob>| -> Vec<usize> {
            keys.into_iter().filter_map(|key| places.get(key).copied()).collect()
        };
        let lanes = lanes::lanes(&history.operations, history.ended);
        let watched = history.watched.iter().map(|watched| {
            let keys = watched.message.events.iter().map(|event| &event.kv.key);
            let keys = of(keys.take(KEYS_PER_OPERATION_MAX).collect());
            (watched.at.0, watched.op.0, words::message(&watched.message), keys)
        });
        let segments = lives.0.iter().map(|life| {
            let segment = |it: &super::lives::Segment| {
                let leader = it.leader.map_or(-1, |place| place as i64);
                (it.from, it.to, it.state as u8, it.term, leader)
            };
            life.iter().map(segment).collect()
        });
        let expected = run.expected.iter().map(|finding| (finding, true));
        let findings = run.findings.iter().map(|finding| (finding, false)).chain(expected);
        View {
            ended: history.ended.0,
            healed: history.healed.map(|at| at.0),
            members: history.members.iter().map(|name| name.0.as_str()).collect(),
            has_roles: !run.internals.raft.is_empty(),
            lives: segments.collect(),
            bands: bands.iter().map(BandView::of).collect(),
            incidents: history
                .incidents
                .iter()
                .map(|it| (it.at.0, words::incident(it), it.members.as_slice()))
                .collect(),
            lanes: lanes.many,
            ops: operations(run, &lanes, &of),
            watched: watched.collect(),
            keys: key_views(keys),
            findings: findings.map(|(it, is_expected)| finding(run, it, is_expected)).collect(),
        }
    }
}

impl<'a> BandView<'a> {
    fn of(band: &'a Band) -> BandView<'a> {
        BandView {
            from: band.from,
            to: band.to,
            kind: band.kind,
            what: &band.what,
            ended_by: &band.ended_by,
            members: &band.members,
            effect: words::effect(&band.effect),
        }
    }
}

fn operations(run: &RunRecord, lanes: &Lanes, of: &dyn Fn(Vec<&Blob>) -> Vec<usize>) -> Operations {
    let mut columns = Operations { lane: lanes.of.clone(), ..Operations::default() };
    for operation in &run.history.operations {
        let (outcome, term) = match &operation.outcome {
            Some(Outcome::Ok(reply)) => ('o', reply.header.raft_term),
            Some(Outcome::Fail(_)) => ('f', 0),
            Some(Outcome::Unknown(_)) => ('u', 0),
            None if matches!(operation.call, Call::Watch(_)) => ('w', 0),
            None => ('n', 0),
        };
        let completed = match operation.completed {
            Time::NEVER => -1,
            Time(at) => at as i64,
        };
        columns.client.push(operation.client.0);
        columns.member.push(operation.member);
        columns.invoked.push(operation.invoked.0);
        columns.completed.push(completed);
        columns.outcome.push(outcome);
        columns.kind.push(words::kind(&operation.call));
        columns.call.push(words::call(&operation.call));
        columns.result.push(words::outcome(operation));
        columns.term.push(term);
        columns.keys.push(of(observed::touched(operation, KEYS_PER_OPERATION_MAX)));
    }
    columns
}

fn key_views(keys: &Keys) -> Vec<KeyView> {
    let clusters: BTreeSet<u64> = keys.values().flatten().map(|write| write.cluster).collect();
    let clusters: BTreeMap<u64, usize> =
        clusters.into_iter().filter(|cluster| *cluster != 0).zip(1..).collect();
    let row = |write: &super::keys::Write| {
        let (index, term) = write.entry.unwrap_or((0, 0));
        (
            write.revision,
            write.value.as_ref().map(words::blob),
            write.op.map_or(-1, |op| i64::from(op.0)),
            u8::from(write.is_acknowledged),
            index,
            term,
            write.by.clone(),
            write.readers.iter().map(|op| op.0).collect(),
            write.seen,
            clusters.get(&write.cluster).copied().unwrap_or(0),
        )
    };
    let view = |(key, writes): (&Blob, &Vec<super::keys::Write>)| KeyView {
        name: words::blob(key),
        rows: writes.iter().map(row).collect(),
    };
    keys.iter().map(view).collect()
}

fn finding(run: &RunRecord, finding: &Finding, is_expected: bool) -> FindingView {
    let (from, to) = span(run, finding);
    FindingView {
        name: finding.signature(),
        is_expected,
        at: finding.at.0.min(run.history.ended.0),
        from: from.0,
        to: to.0,
        ops: finding.operations.iter().map(|op| op.0).collect(),
        members: finding.members.clone(),
    }
}

/// From the first invocation to the last completion of what proves a finding; the time before it
/// when no operation does.
fn span(run: &RunRecord, finding: &Finding) -> (Time, Time) {
    let at = finding.at.min(run.history.ended);
    if finding.operations.is_empty() {
        return (Time(at.0.saturating_sub(BEFORE_NS)), at);
    }
    let operation = |op: &OpId| run.history.operations.get(op.0 as usize);
    finding.operations.iter().filter_map(operation).fold((at, at), |(from, to), operation| {
        // What never ended ends where it was known: a bar to the end of the run hides the rest.
        let end = match operation.outcome {
            Some(_) => operation.completed.min(run.history.ended),
            None => operation.invoked,
        };
        (from.min(operation.invoked), to.max(end))
    })
}
