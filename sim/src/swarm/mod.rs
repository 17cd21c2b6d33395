//! Swarm testing: every seed draws a configuration of its own, as a scenario. How large the cluster
//! is, its flags and links, what clients do, what breaks and how often: each feature is in some
//! seeds and not in others, so that none hides another.
//!
//! Drawing is a function of the seed and the run's length. Each feature draws from a stream of its
//! own. What is drawn keeps to what a cluster can be asked to survive: timeouts fit the links, and
//! the bounds of recovery fit the timeouts. Nothing here runs anything.

pub mod goals;
mod ranges;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::language::ast::{Action, Flag, Line, Named, StartAction, Statement, Target};
use crate::language::value::{Entry, Settings, Value, show_duration};
use crate::language::{Script, parse};
use crate::run::VOCABULARY;
use crate::seed::{Draw, Streams};

/// How long faults last when nobody says so.
pub const FAULTS: Duration = Duration::from_secs(60);

/// How many members, by weight.
const SIZES: [(u64, usize); 7] = [(2, 1), (1, 2), (8, 3), (1, 4), (5, 5), (1, 6), (2, 7)];
/// How many workloads, by weight.
const WORKLOADS: [(u64, usize); 3] = [(5, 1), (3, 2), (2, 3)];
/// How many nemeses, by weight.
const NEMESES: [(u64, usize); 4] = [(3, 1), (3, 2), (2, 3), (2, 4)];
/// How long a message travels when nothing is wrong, in microseconds, by weight: a host, a rack, a
/// region, a country.
const LATENCIES_US: [(u64, (u64, u64)); 4] =
    [(2, (50, 200)), (4, (100, 1_000)), (2, (500, 5_000)), (1, (5_000, 20_000))];
const HEARTBEATS_MS: [u64; 5] = [10, 20, 50, 100, 200];
/// Election timeouts in heartbeats; etcd refuses fewer.
const ELECTIONS: [u64; 3] = [5, 10, 20];
/// Longer timeouts only make runs longer.
const ELECTION_MS_MAX: u64 = 2_000;
/// What members keep beside their logs, by weight.
const DATABASES: [(u64, &str); 3] = [(2, "none"), (5, "logical"), (1, "pages")];
/// How much of a stream clients let be on its way, by weight.
const WINDOWS: [(u64, u64); 3] = [(4, 64 << 10), (1, 1 << 20), (1, 4 << 20)];
/// How long a client waits, in milliseconds; some wait longer than a member does.
const TIMEOUTS_MS: [u64; 5] = [500, 1_000, 2_000, 5_000, 10_000];
/// Recovery is owed within this, and so many election timeouts: where all who are left are needed
/// and only one of three has the whole log, an election in four succeeds.
const RECOVERY: Duration = Duration::from_secs(10);
const RECOVERY_ELECTIONS: u64 = 30;
/// Where a run has two spells of faults, so long lies between them.
const BETWEEN: Duration = Duration::from_secs(5);

/// Flags of all members with the values that are drawn; each is on in every second seed. History is
/// compacted by age, for by revisions it would be every five minutes.
const FLAGS: &[(&str, &[&str])] = &[
    ("auto-compaction-retention", &["1s", "5s", "20s"]),
    ("compact-hash-check-time", &["500ms", "5s"]),
    ("compaction-batch-limit", &["10", "100", "1000"]),
    ("corrupt-check-time", &["1s", "10s"]),
    ("feature-gates", &["InitialCorruptCheck=true", "CompactHashCheck=true", ALL_CHECKS]),
    ("initial-election-tick-advance", &["false"]),
    ("max-request-bytes", &["98304"]),
    ("max-snapshots", &["1", "2"]),
    ("max-txn-ops", &["16", "128"]),
    ("max-wals", &["1", "2"]),
    ("pre-vote", &["false"]),
    ("snapshot-catchup-entries", &["10", "100", "5000"]),
    ("snapshot-count", &["10", "50", "100", "1000", "10000"]),
    ("watch-progress-notify-interval", &["100ms", "1s"]),
];

const ALL_CHECKS: &str = "InitialCorruptCheck=true,CompactHashCheck=true";
/// Databases that are full now and then, each in every eighth seed. What they hold is compacted,
/// defragmented and open to writes again before the cluster has to converge.
const QUOTAS: [&str; 2] = ["4000000", "16000000"];

/// What a seed drew.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The scenario; it names the seed.
    pub script: Script,
    /// What is in it, for the figures of a sweep: `3 members`, `workload mixed`, `nemesis kill`.
    pub features: Vec<String>,
}

/// Draws the configuration of a seed.
pub fn draw(seed: u64, faults: Duration) -> Drawn {
    let streams = Streams::new(seed);
    let timing = Timing::draw(streams);
    let size = *streams.stream("swarm/size").weigh(&SIZES);
    let many = *streams.stream("swarm/workloads").weigh(&WORKLOADS);
    let mut workloads = named(VOCABULARY.workloads, many, streams, "swarm/workload");
    let is_long = streams.stream("swarm/long-histories").below(3) == 0 && lengthen(&mut workloads);
    let many = *streams.stream("swarm/nemeses").weigh(&NEMESES);
    let nemeses = named(VOCABULARY.nemeses, many, streams, "swarm/nemesis");
    let is_coded = streams.stream("codec").below(16) == 0;
    let database = *streams.stream("swarm/database").weigh(&DATABASES);
    let mut options = timing.options(is_coded);
    options.0.push(("database".to_owned(), Value::Words(vec![database.to_owned()])));
    let drawn = *streams.stream("swarm/client-window").weigh(&WINDOWS);
    let window = if is_long { 4 << 20 } else { drawn };
    options.0.push(("client-window".to_owned(), Value::Size(window)));
    let mut stream = streams.stream("swarm/quota");
    let quota = (stream.below(8) == 0)
        .then(|| Flag::new("quota-backend-bytes", stream.pick::<&str>(&QUOTAS)));
    // Who is added or removed is not in what is restored.
    let is_steady = nemeses.iter().all(|nemesis| nemesis.kind != "membership");
    let may_restore = database == "pages" && is_steady;
    let is_restored = streams.stream("swarm/restore").below(2) == 0 && may_restore;
    let spells = *streams.stream("swarm/spells").weigh(&[(3, 1_u32), (1, 2)]);
    let flags =
        timing.flags().into_iter().chain(flags(streams, is_long)).chain(quota.clone()).collect();

    let members: Vec<String> = (1..=size).map(|place| format!("n{place}")).collect();
    let mut statements = vec![
        Statement::Seed(seed),
        Statement::Option(options),
        Statement::Cluster { members: members.clone(), sizes: Vec::new(), flags },
        Statement::Do(Action::Start(StartAction::plain(vec![Target::All]))),
    ];
    statements.extend(workloads.iter().cloned().map(Statement::Workload));
    for spell in 0..spells {
        if spell > 0 {
            statements.extend([Statement::Do(Action::Heal(None)), Statement::Wait(BETWEEN)]);
        }
        statements.extend(nemeses.iter().cloned().map(Statement::Nemesis));
        statements.push(Statement::Run(faults / spells));
    }
    if is_restored {
        statements.extend(restore(&members));
    }
    statements.push(Statement::Do(Action::Heal(None)));
    if quota.is_some() {
        statements.extend(make_room(&members));
    }
    statements
        .extend([Statement::Converge { within: None }, Statement::Check { checkers: Vec::new() }]);
    let story = story(seed, size, &workloads, &nemeses, faults);
    let mut features = features(size, &workloads, &nemeses, is_coded, &timing, spells);
    features.push(format!("database {database}"));
    features.push(format!("client-window {}KB", window >> 10));
    features.extend(is_long.then(|| "long histories".to_owned()));
    features.extend(quota.map(|_| "quota".to_owned()));
    features.extend(is_restored.then(|| "restored from a snapshot".to_owned()));
    Drawn { script: script(story, statements), features }
}

/// What a script says of a cluster with these members.
fn said(members: &[String], lines: &str) -> Vec<Statement> {
    let text = format!("cluster {}\n{lines}", members.join(" "));
    let script = parse("swarm", &text, VOCABULARY).expect("what is written here is legal");
    script.statements().skip(1).map(|(_, statement)| statement.clone()).collect()
}

/// A snapshot is saved, and the cluster begins from it again while its clients go on.
fn restore(members: &[String]) -> Vec<Statement> {
    let all = members.join(" ");
    let lines = format!(
        "heal\nwait 10s\nsave saved timeout=30s\nwait 2s\nkill all\n\
         restore {all} wipe from=saved token=restored bump-revision=1000000000 mark-compacted\n\
         start all\nwait 5s\n"
    );
    said(members, &lines)
}

/// What an operator does whose database is full.
fn make_room(members: &[String]) -> Vec<Statement> {
    let mut lines = "wait 5s\ncompact physical; expect any\nwait 1s\n".to_owned();
    for name in members {
        lines.push_str(&format!("defragment via={name}; expect any\n"));
    }
    lines.push_str("alarm-disarm; expect any\n");
    said(members, &lines)
}

/// What follows from how long messages travel: timeouts that a cluster can live with, and bounds.
struct Timing {
    latency_us: (u64, u64),
    heartbeat_ms: u64,
    election_ms: u64,
    /// Heartbeat and election are etcd's own and not written.
    is_usual: bool,
    timeout_ms: u64,
}

impl Timing {
    fn draw(streams: Streams) -> Timing {
        let latency_us = *streams.stream("swarm/latency").weigh(&LATENCIES_US);
        let fits = |heartbeat: u64, election: u64| {
            let round_us = 2 * latency_us.1;
            let is_calm = heartbeat * 1_000 >= round_us && election * 1_000 >= 10 * round_us;
            is_calm && election <= ELECTION_MS_MAX
        };
        let pairs =
            HEARTBEATS_MS.iter().flat_map(|beat| ELECTIONS.map(|many| (*beat, beat * many)));
        let pairs: Vec<(u64, u64)> =
            pairs.filter(|(beat, election)| fits(*beat, *election)).collect();
        let mut stream = streams.stream("swarm/timeouts");
        let is_usual = stream.below(2) == 0;
        let (heartbeat_ms, election_ms) = match (is_usual, *stream.pick(&pairs)) {
            (true, _) => (100, 1_000),
            (false, drawn) => drawn,
        };
        let timeout_ms = *streams.stream("swarm/client-timeout").pick(&TIMEOUTS_MS);
        Timing { latency_us, heartbeat_ms, election_ms, is_usual, timeout_ms }
    }

    fn flags(&self) -> Vec<Flag> {
        if self.is_usual {
            return Vec::new();
        }
        vec![
            Flag::new("heartbeat-interval", &self.heartbeat_ms.to_string()),
            Flag::new("election-timeout", &self.election_ms.to_string()),
        ]
    }

    fn options(&self, is_coded: bool) -> Settings {
        let micros = Duration::from_micros;
        let (low, high) = self.latency_us;
        let elections = Duration::from_millis(RECOVERY_ELECTIONS * self.election_ms);
        let codec = if is_coded { "on" } else { "off" };
        let timeout = Value::Duration(Duration::from_millis(self.timeout_ms));
        Settings(vec![
            ("client-timeout".to_owned(), timeout),
            ("latency".to_owned(), Value::Span(micros(low), micros(high))),
            ("codec".to_owned(), Value::Words(vec![codec.to_owned()])),
            ("recovery".to_owned(), Value::Duration(RECOVERY + elections)),
        ])
    }
}

/// Has watches begin with the first change of histories that are larger than a message may be.
/// False where nobody watches.
fn lengthen(workloads: &mut [Named]) -> bool {
    let Some(watch) = workloads.iter_mut().find(|named| named.kind == "watch") else {
        return false;
    };
    let long = [
        ("rate", Value::Rate(100)),
        ("keys", Value::Count(8)),
        ("large", Value::Size(64 << 10)),
        ("whole", Value::Percent(5_000)),
    ];
    watch
        .settings
        .0
        .retain(|(name, _)| name != "compact" && long.iter().all(|(known, _)| known != name));
    watch.settings.0.extend(long.map(|(name, value)| (name.to_owned(), value)));
    true
}

fn flags(streams: Streams, is_long: bool) -> Vec<Flag> {
    let drawn = FLAGS.iter().filter_map(|(name, values)| {
        let mut stream = streams.stream(&format!("swarm/flag/{name}"));
        let is_on = match *name {
            // Long histories stay, and requests are small enough for them.
            "auto-compaction-retention" if is_long => false,
            "max-request-bytes" if is_long => true,
            _ => stream.below(2) == 0,
        };
        is_on.then(|| Flag::new(name, stream.pick::<&str>(values)))
    });
    drawn.collect()
}

/// So many of a table's entries, with parameters. Each draws its own lot, and those with the least
/// are taken: an entry that is added changes only the seeds in which it is taken.
fn named(entries: &[Entry], many: usize, streams: Streams, path: &str) -> Vec<Named> {
    let lot = |entry: &Entry| streams.stream(&format!("{path}/{}", entry.name)).below(u64::MAX);
    let mut lots: Vec<(u64, &Entry)> = entries.iter().map(|entry| (lot(entry), entry)).collect();
    lots.sort_by_key(|(lot, entry)| (*lot, entry.name));
    lots.truncate(many);
    lots.sort_by_key(|(_, entry)| entry.name);
    let drawn = lots.into_iter().map(|(_, entry)| Named {
        kind: entry.name.to_owned(),
        settings: ranges::settings(entry, streams, &format!("{path}/{}", entry.name)),
    });
    drawn.collect()
}

fn listed(named: &[Named]) -> String {
    let kinds: Vec<&str> = named.iter().map(|named| named.kind.as_str()).collect();
    match kinds.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

fn members(size: usize) -> String {
    if size == 1 { "1 member".to_owned() } else { format!("{size} members") }
}

fn story(
    seed: u64,
    size: usize,
    workloads: &[Named],
    nemeses: &[Named],
    faults: Duration,
) -> String {
    let (load, under, size) = (listed(workloads), listed(nemeses), members(size));
    let lasts = show_duration(faults);
    format!("Drawn with seed {seed}: {size}, {load} under {under} for {lasts}.")
}

fn features(
    size: usize,
    workloads: &[Named],
    nemeses: &[Named],
    is_coded: bool,
    timing: &Timing,
    spells: u32,
) -> Vec<String> {
    let mut features = vec![members(size)];
    features.extend(workloads.iter().map(|named| format!("workload {}", named.kind)));
    features.extend(nemeses.iter().map(|named| format!("nemesis {}", named.kind)));
    features.extend(is_coded.then(|| "codec on".to_owned()));
    let (election, timeout) = (timing.election_ms, timing.timeout_ms);
    features.push(format!("election-timeout {election}ms"));
    features.push(format!("client-timeout {timeout}ms"));
    features.extend((spells > 1).then(|| "two spells of faults".to_owned()));
    features
}

fn script(story: String, statements: Vec<Statement>) -> Script {
    let comment = Line { comment: Some(format!(" {story}")), ..Line::default() };
    let said = statements.into_iter().map(|it| Line { statement: Some(it), ..Line::default() });
    Script { lines: std::iter::once(comment).chain(said).collect() }
}
