//! The watching side: one watch after another, with every option. A watcher remembers up to which
//! revision all was delivered, so that its next watch can go on exactly there.

use std::time::Duration;

use detsim_reports::record::{Blob, Call, Watch, WatchMessage};
use rand_chacha::ChaCha8Rng;

use crate::seed::Draw;
use crate::workload::pool::Pool;

/// How far from the newest revision seen a watch starts, before or behind it.
const OFFSET_MAX: u64 = 100;

/// So many streams are shared at a member.
const SHARED_STREAMS: u64 = 2;

/// The stream that slow ones share.
const SLOW_STREAM: u32 = SHARED_STREAMS as u32 + 1;

/// What all watchers have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// How long a watch is open.
    pub open: (Duration, Duration),
    /// Bytes per second of a slow one.
    pub slow: u64,
    /// How many of the new ones begin with the first change ever.
    pub whole_percent: u64,
    /// How many are wrong on purpose.
    pub invalid_per_10k: u32,
    /// How many share a stream.
    pub shared_per_10k: u32,
    /// How many of the slow ones share a stream with each other.
    pub slow_shared_per_10k: u32,
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// Where the one before it ended, with the same request.
    Resumed,
    /// With the next change.
    Now,
    /// Around the newest revision that the slot saw.
    Around,
    /// With the first change ever.
    Beginning,
}

/// Those that do not begin with the first change, by weight.
const STARTS: [(u64, Start); 3] = [(30, Start::Resumed), (25, Start::Now), (40, Start::Around)];

/// All starts by weight, if so many of a hundred begin with the first change.
fn starts(whole_percent: u64) -> [(u64, Start); 4] {
    let all: u64 = STARTS.iter().map(|(weight, _)| weight).sum();
    let left = 100_u64.saturating_sub(whole_percent);
    let [resumed, now, around] = STARTS.map(|(weight, start)| (weight * left / all, start));
    [resumed, now, around, (whole_percent, Start::Beginning)]
}

/// A slot that watches.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    is_open: bool,
    /// The newest revision seen.
    newest: i64,
    /// What was asked last.
    last: Watch,
    /// Everything up to here was delivered by the last watch; unknown until it is created.
    delivered: Option<i64>,
    /// It was cancelled because history before this revision is compacted.
    compacted: Option<i64>,
    /// It is wrong on purpose.
    is_invalid: bool,
    /// It broke; whoever watches goes on where it broke.
    is_broken: bool,
}

impl Watcher {
    /// Whether a watch is open.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// The next watch.
    pub fn call(&mut self, pool: &Pool, habits: &Habits, stream: &mut ChaCha8Rng) -> Call {
        let watch = self.next(pool, habits, stream);
        self.is_open = true;
        self.delivered = Some(watch.start_revision - 1).filter(|before| *before >= 0);
        self.last = watch.clone();
        Call::Watch(watch)
    }

    /// The watch ended.
    pub fn ended(&mut self, is_ok: bool) {
        self.is_open = false;
        self.is_broken = !is_ok && !self.is_invalid;
    }

    /// The watch received something.
    pub fn watched(&mut self, message: &WatchMessage) {
        self.newest = self.newest.max(message.revision);
        if message.canceled {
            self.compacted = Some(message.compact_revision).filter(|revision| *revision > 0);
            return;
        }
        if message.progress || (message.created && self.last.start_revision == 0) {
            self.delivered = self.delivered.max(Some(message.revision));
        }
        if let Some(event) = message.events.last() {
            // What is fragmented may be cut in the middle of a revision.
            let revision = event.kv.mod_revision;
            self.newest = self.newest.max(revision);
            let whole = if message.fragment { revision - 1 } else { revision };
            self.delivered = self.delivered.max(Some(whole));
        }
    }

    fn next(&mut self, pool: &Pool, habits: &Habits, stream: &mut ChaCha8Rng) -> Watch {
        if let Some(start_revision) = self.compacted.take() {
            return Watch { start_revision, ..self.last.clone() };
        }
        if std::mem::take(&mut self.is_broken) {
            return self.resumed();
        }
        self.is_invalid = stream.chance_per_10k(habits.invalid_per_10k);
        if self.is_invalid {
            return invalid(pool, stream);
        }
        let newest = self.newest.max(1);
        let start_revision = match stream.weigh(&starts(habits.whole_percent)) {
            Start::Resumed if self.delivered.is_some() => return self.resumed(),
            Start::Resumed | Start::Now => 0,
            Start::Around => {
                let offset = stream.within(0..=2 * OFFSET_MAX) as i64 - OFFSET_MAX as i64;
                (newest + offset).max(1)
            }
            Start::Beginning => 1,
        };
        Watch { start_revision, ..dressed(pool, habits, stream) }
    }

    fn resumed(&self) -> Watch {
        let start_revision = self.delivered.map_or(0, |revision| revision + 1);
        Watch { start_revision, ..self.last.clone() }
    }
}

/// A watch with options, from no revision in particular.
fn dressed(pool: &Pool, habits: &Habits, stream: &mut ChaCha8Rng) -> Watch {
    let (key, range_end) = match stream.below(10) {
        0..3 => (pool.key(stream), Blob::default()),
        3 => (Blob::text("\0"), Blob::text("\0")),
        4..7 => pool.all(),
        _ => valid_span(pool, stream),
    };
    let mut one_in = |n: u64| stream.below(n) == 0;
    let (progress_notify, prev_kv, fragment) = (one_in(3), one_in(2), one_in(4));
    let (no_put, no_delete) = (one_in(12), one_in(12));
    let (asks, is_slow) = (one_in(2), one_in(6));
    let request_progress_ms = if asks { stream.within(50..=500) } else { 0 };
    let drain_bytes_per_s = if is_slow { habits.slow } else { 0 };
    // Who takes its time would hold up others: they have a stream of their own.
    let stream = match is_slow {
        true if stream.chance_per_10k(habits.slow_shared_per_10k) => SLOW_STREAM,
        false if stream.chance_per_10k(habits.shared_per_10k) => {
            stream.within(1..=SHARED_STREAMS) as u32
        }
        _ => 0,
    };
    Watch {
        key,
        range_end,
        start_revision: 0,
        progress_notify,
        no_put,
        no_delete,
        prev_kv,
        fragment,
        request_progress_ms,
        drain_bytes_per_s,
        stream,
    }
}

/// Keys that a watch may speak of: never an empty range.
fn valid_span(pool: &Pool, stream: &mut ChaCha8Rng) -> (Blob, Blob) {
    let (key, range_end) = pool.span(stream);
    let is_empty = range_end <= key && range_end != Blob::text("\0");
    if is_empty && !range_end.is_empty() {
        return if key == range_end { (key, Blob::default()) } else { (range_end, key) };
    }
    (key, range_end)
}

/// Cancelled as soon as it is created.
fn invalid(pool: &Pool, stream: &mut ChaCha8Rng) -> Watch {
    let (start, end) = pool.all();
    match stream.below(2) {
        0 => Watch { key: end, range_end: start, ..Watch::default() },
        _ => Watch { key: start, range_end: end, start_revision: -1, ..Watch::default() },
    }
}
