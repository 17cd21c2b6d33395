//! Watchers that are behind read history, in turns.
//!
//! A turn belongs to the watcher that has waited longest. It reads history from that watcher's next
//! revision on, and every other waiting watcher whose next revision comes by joins in; when it
//! ends, at a revision's boundary, they are told what was found for them and go to the back of the
//! queue, or are synced. So a watcher far behind costs the others a turn, not its whole history.
//! Between turns nothing is kept but each watcher's next revision.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;

use super::matcher::Matcher;
use super::watcher::{Place, Slot, encoded_bytes};
use super::{History, WatchHub, revision_header};
use crate::member::id::StreamId;
use crate::member::io::Outputs;
use crate::member::time::Monotonic;
use crate::mvcc::Change;
use crate::planted::Defect;
use crate::proto::etcdserverpb::WatchResponse;
use crate::proto::mvccpb::Event;

/// Changes that a turn may visit before it ends, so that others have theirs: enough for several
/// full responses to a watcher of everything.
const TURN_CHANGES: u64 = 4_096;

/// Watchers that wait for a turn.
#[derive(Debug, Default)]
pub struct Waiting {
    by_turn: BTreeSet<(u64, Slot)>,
    by_next: BTreeSet<(i64, Slot)>,
}

impl Waiting {
    /// Adds a watcher with its turn and its next revision.
    pub fn insert(&mut self, turn: u64, next: i64, slot: Slot) {
        self.by_turn.insert((turn, slot));
        self.by_next.insert((next, slot));
    }

    /// Removes a watcher.
    pub fn remove(&mut self, turn: u64, next: i64, slot: Slot) {
        self.by_turn.remove(&(turn, slot));
        self.by_next.remove(&(next, slot));
    }

    /// Whoever has the first turn.
    fn first(&self) -> Option<(u64, Slot)> {
        self.by_turn.first().copied()
    }

    /// Whoever needs history from below a revision.
    fn below(&self, revision: i64) -> Option<Slot> {
        self.by_next.first().filter(|(next, _)| *next < revision).map(|&(_, slot)| slot)
    }

    /// Up to `count` watchers that need history from a revision or a later one, in its order.
    fn from(&self, revision: i64, count: usize) -> Vec<(i64, Slot)> {
        self.by_next.range((revision, Slot::MIN)..).take(count).copied().collect()
    }
}

/// A watcher that takes part in a turn.
struct Reader {
    slot: Slot,
    stream: StreamId,
    /// Found and not yet sent.
    events: Vec<Event>,
    /// How many revisions `events` are of, and the last of them.
    revisions: usize,
    last: i64,
    /// The revision at which its stream had no room.
    blocked: Option<i64>,
}

/// The watchers of a turn.
struct Turn {
    matcher: Matcher<usize>,
    readers: Vec<Reader>,
    /// Bytes of `events` of all readers, for streams that have some.
    held: Vec<(StreamId, u64)>,
    changes: u64,
    units: u64,
}

impl Turn {
    fn new() -> Turn {
        let (readers, held) = (Vec::new(), Vec::new());
        Turn { matcher: Matcher::new(), readers, held, changes: 0, units: 0 }
    }

    fn held(&mut self, stream: StreamId) -> &mut u64 {
        let at = match self.held.binary_search_by_key(&stream, |&(id, _)| id) {
            Ok(at) => at,
            Err(at) => {
                self.held.insert(at, (stream, 0));
                at
            }
        };
        &mut self.held[at].1
    }
}

impl WatchHub {
    /// Does what is due: progress ticks, and watchers that read history. Stops when it has spent
    /// about `budget` units; returns what it spent, for the caller to account for.
    pub fn tick(
        &mut self,
        history: &impl History,
        now: Monotonic,
        budget: u64,
        out: &mut Outputs,
    ) -> u64 {
        let mut spent = self.tick_progress(now, budget, out);
        if self.sync_at.is_some_and(|at| at <= now) && spent < budget {
            self.sync_at = None;
            spent += self.sync(history, now, budget - spent, out);
        }
        spent
    }

    fn sync(
        &mut self,
        history: &impl History,
        now: Monotonic,
        budget: u64,
        out: &mut Outputs,
    ) -> u64 {
        if self.settings.defect.is(Defect::WatchCompactFullChan) {
            self.skip_compacted(history.compact_revision());
        }
        let mut spent = self.thaw(now, budget / 2);
        while spent < budget
            && let Some(slot) = self.waiting.below(history.compact_revision())
        {
            self.cancel_compacted(slot, history.compact_revision(), out);
            spent += 1;
        }
        // Whoever is given a turn from here on has had one in this tick.
        let had_turn = self.turn;
        let mut watchers = 0;
        while spent < budget
            && watchers < self.settings.sync_watchers_max
            && let Some((turn, slot)) = self.waiting.first()
            && turn <= had_turn
        {
            let (units, readers) = self.take_turn(slot, history, now, budget - spent, out);
            spent += units;
            watchers += readers;
        }
        let is_done = self.waiting.first().is_none() && self.thawing.is_empty();
        self.sync_at = (!is_done).then(|| now.after(self.settings.slice_period));
        spent
    }

    /// Moves parked watchers of streams that have room again to the queue, some at a time, as the
    /// room may last for a few only.
    fn thaw(&mut self, now: Monotonic, budget: u64) -> u64 {
        let mut spent = 0;
        for _ in 0..self.thawing.len() {
            if spent >= budget {
                break;
            }
            let id = self.thawing.pop_front().expect("there are so many");
            for _ in 0..self.settings.sync_watchers_max {
                spent += 1;
                let Some(stream) = self.streams.get_mut(&id) else {
                    break;
                };
                let Some(&(_, slot)) = stream.parked.first().filter(|_| stream.has_room()) else {
                    stream.is_thawing = false;
                    break;
                };
                self.unsettle(slot);
                self.settle(slot, now);
            }
            if self.streams.get(&id).is_some_and(|stream| stream.is_thawing) {
                self.thawing.push_back(id);
            }
        }
        spent
    }

    /// What a planted defect does to parked watchers instead of telling them of a compaction.
    fn skip_compacted(&mut self, compact_revision: i64) {
        for id in &self.thawing {
            let Some(stream) = self.streams.get(id) else { continue };
            for &(_, slot) in &stream.parked {
                let watcher = self.watchers.get_mut(slot);
                watcher.next = watcher.next.max(compact_revision);
            }
        }
    }

    /// The history that a watcher needs is gone.
    fn cancel_compacted(&mut self, slot: Slot, compact_revision: i64, out: &mut Outputs) {
        let watcher = self.remove(slot);
        let response = WatchResponse {
            header: revision_header(0),
            watch_id: watcher.id,
            canceled: true,
            compact_revision,
            ..WatchResponse::default()
        };
        self.control(watcher.stream, response, out);
    }

    /// Reads history for a watcher and for those that join in. Returns the units spent and how
    /// many watchers took part.
    fn take_turn(
        &mut self,
        head: Slot,
        history: &impl History,
        now: Monotonic,
        budget: u64,
        out: &mut Outputs,
    ) -> (u64, usize) {
        let from = self.watchers.get(head).next;
        let mut turn = Turn::new();
        let first = (from, head);
        let others = self.waiting.from(from, self.settings.sync_watchers_max);
        let others = others.into_iter().filter(|other| *other != first);
        let others = others.take(self.settings.sync_watchers_max - 1);
        let mut joining = std::iter::once(first).chain(others).peekable();
        let mut changes = history.events(from).peekable();
        let up_to = loop {
            let next = changes.peek().map(|change| change.revision.main);
            let Some(revision) = next.filter(|&revision| revision <= self.told) else {
                self.join(&mut turn, &mut joining, self.told);
                break self.told;
            };
            self.join(&mut turn, &mut joining, revision);
            if turn.matcher.len() == 0 {
                // Those who joined are blocked, and nobody else needs this revision.
                break revision - 1;
            }
            self.read(&mut turn, revision, &mut changes, history, out);
            if turn.units >= budget || turn.changes >= TURN_CHANGES {
                break revision;
            }
        };
        let (units, readers) = (turn.units, turn.readers.len());
        for reader in turn.readers {
            self.end_turn(reader, up_to, now, out);
        }
        (units, readers)
    }

    /// Lets watchers in that need history from `revision` or an earlier one on.
    fn join(
        &mut self,
        turn: &mut Turn,
        joining: &mut Peekable<impl Iterator<Item = (i64, Slot)>>,
        revision: i64,
    ) {
        while let Some((next, slot)) = joining.next_if(|&(next, _)| next <= revision) {
            turn.units += 1;
            let watcher = self.watchers.get(slot);
            let stream = self.streams.get(&watcher.stream).expect("a watcher's stream is open");
            let blocked = (!stream.has_room()).then_some(next);
            if blocked.is_none() {
                turn.matcher.insert(&watcher.range, turn.readers.len());
            }
            let stream = watcher.stream;
            let reader =
                Reader { slot, stream, events: Vec::new(), revisions: 0, last: 0, blocked };
            turn.readers.push(reader);
        }
    }

    /// Reads all changes of one revision.
    fn read<'h>(
        &mut self,
        turn: &mut Turn,
        revision: i64,
        changes: &mut Peekable<impl Iterator<Item = &'h Arc<Change>>>,
        history: &'h impl History,
        out: &mut Outputs,
    ) {
        let mut found = Vec::new();
        while let Some(change) = changes.next_if(|change| change.revision.main == revision) {
            turn.changes += 1;
            turn.units += 1;
            turn.matcher.find(&change.kv.key, |reader| found.push(reader));
            for reader in found.drain(..) {
                turn.units += 1;
                self.give(turn, reader, change, history, out);
            }
        }
    }

    /// Gives a change to a reader that may want it. If the reader's stream is full of what the
    /// turn has found, the revision is not begun.
    fn give(
        &mut self,
        turn: &mut Turn,
        at: usize,
        change: &Change,
        history: &impl History,
        out: &mut Outputs,
    ) {
        let watcher = self.watchers.get(turn.readers[at].slot);
        if turn.readers[at].blocked.is_some() || !watcher.wants(change) {
            return;
        }
        let revision = change.revision.main;
        if turn.readers[at].last != revision {
            if turn.readers[at].revisions == self.settings.response_revisions_max {
                self.send_found(turn, at, out);
            }
            let stream = turn.readers[at].stream;
            let room = self.streams.get(&stream).expect("a reader's stream is open").room();
            if *turn.held(stream) >= room {
                turn.readers[at].blocked = Some(revision);
                let watcher = self.watchers.get(turn.readers[at].slot);
                turn.matcher.remove(&watcher.range, at);
                return;
            }
            turn.readers[at].revisions += 1;
            turn.readers[at].last = revision;
        }
        let event = self.watchers.get(turn.readers[at].slot).event(change, history);
        *turn.held(turn.readers[at].stream) += encoded_bytes(&event) as u64;
        turn.readers[at].events.push(event);
    }

    /// Sends a full response in the middle of a turn.
    fn send_found(&mut self, turn: &mut Turn, at: usize, out: &mut Outputs) {
        let reader = &mut turn.readers[at];
        let bytes: u64 = reader.events.iter().map(|event| encoded_bytes(event) as u64).sum();
        reader.revisions = 0;
        let (slot, events) = (reader.slot, std::mem::take(&mut reader.events));
        *turn.held(turn.readers[at].stream) -= bytes;
        self.send_events(slot, events, out);
    }

    /// Sends what was found for a reader; it knows everything up to a revision.
    fn end_turn(&mut self, reader: Reader, up_to: i64, now: Monotonic, out: &mut Outputs) {
        if !reader.events.is_empty() {
            self.send_events(reader.slot, reader.events, out);
        }
        self.unsettle(reader.slot);
        let watcher = self.watchers.get_mut(reader.slot);
        assert_ne!(watcher.place, Place::Synced, "only watchers behind read history");
        let next = reader.blocked.unwrap_or(up_to.saturating_add(1));
        assert!(watcher.next <= next, "a turn takes nobody back");
        let is_starved = self.settings.defect.is(Defect::WatchProgressStarve) && reader.last == 0;
        watcher.next = if is_starved { next.min(self.told) } else { next };
        self.settle(reader.slot, now.after(self.settings.slice_period));
    }

    fn send_events(&mut self, slot: Slot, events: Vec<Event>, out: &mut Outputs) {
        let watcher = self.watchers.get_mut(slot);
        let stream = self.streams.get_mut(&watcher.stream).expect("a watcher's stream is open");
        let response = WatchResponse {
            header: revision_header(self.told),
            watch_id: watcher.id,
            events,
            ..WatchResponse::default()
        };
        watcher.is_idle = false;
        match watcher.fragment {
            true => self.sender.send_fragments(stream, response, out),
            false => self.sender.send(stream, response, out),
        }
    }
}
