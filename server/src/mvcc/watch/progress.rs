//! Progress: responses without events which say that a watcher, or all watchers of a stream, know
//! everything up to a revision. They are answered only for synced watchers that have started, and
//! leave on the same path as events.

use super::stream::{NO_WATCHER, Stream};
use super::watcher::{Place, Slot, Watcher};
use super::{WatchHub, revision_header};
use crate::member::id::StreamId;
use crate::member::io::Outputs;
use crate::member::time::Monotonic;
use crate::planted::Defect;
use crate::proto::etcdserverpb::WatchResponse;

impl WatchHub {
    /// Answers a client that asks how far the watchers of its stream are; not at all if one of
    /// them is behind or has not started, or if there is none.
    pub(super) fn request_progress(&mut self, id: StreamId, out: &mut Outputs) {
        let stream = self.streams.get_mut(&id).expect("an open stream");
        if self.settings.defect.is(Defect::WatchProgressBypass) {
            return self.sender.send(stream, progress(NO_WATCHER, self.told), out);
        }
        if stream.watchers.is_empty() || stream.unsynced > 0 {
            return;
        }
        out.spend(stream.watchers.len() as u64);
        let started = |&slot: &Slot| knows(self.watchers.get(slot), self.told);
        if !stream.watchers.values().all(started) {
            return;
        }
        let response = progress(NO_WATCHER, self.told);
        let sent = stream.control_progress(response, &self.sender, out);
        self.end_if_overflown(id, sent, out);
    }

    /// Serves the streams whose progress tick is due. Returns what it spent.
    pub(super) fn tick_progress(&mut self, now: Monotonic, budget: u64, out: &mut Outputs) -> u64 {
        let mut spent = 0;
        while let Some(&(at, id)) = self.tickers.first()
            && at <= now
            && spent < budget
        {
            spent += self.tick_stream(id, budget - spent, out);
            let ticker = &mut self.streams.get_mut(&id).expect("an open stream").ticker;
            if ticker.resume.is_none() {
                self.tickers.remove(&(at, id));
                ticker.advance(now);
                self.tickers.insert((ticker.next(), id));
            }
        }
        spent
    }

    /// Tells idle watchers of a stream, from where the last slice of this tick stopped.
    fn tick_stream(&mut self, id: StreamId, budget: u64, out: &mut Outputs) -> u64 {
        let stream = self.streams.get_mut(&id).expect("an open stream");
        let from = stream.ticker.resume.take().unwrap_or(i64::MIN);
        let some = budget.try_into().unwrap_or(usize::MAX);
        let slots: Vec<(i64, Slot)> =
            stream.watchers.range(from..).take(some).map(|(&id, &slot)| (id, slot)).collect();
        if let Some(&(last, _)) = slots.last() {
            stream.ticker.resume = following(stream, last);
        }
        for &(_, slot) in &slots {
            let watcher = self.watchers.get_mut(slot);
            let was_idle = std::mem::replace(&mut watcher.is_idle, true);
            if watcher.progress_notify && was_idle && stream.has_room() && knows(watcher, self.told)
            {
                self.sender.send(stream, progress(watcher.id, self.told), out);
            }
        }
        slots.len().max(1) as u64
    }
}

/// Whether a watcher was told of everything up to a revision that synced watchers were told of,
/// and would have been told of the next one.
fn knows(watcher: &Watcher, told: i64) -> bool {
    watcher.place == Place::Synced && watcher.next <= told.saturating_add(1)
}

fn following(stream: &Stream, id: i64) -> Option<i64> {
    let above = (std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded);
    stream.watchers.range(above).next().map(|(&id, _)| id)
}

fn progress(watch_id: i64, revision: i64) -> WatchResponse {
    WatchResponse { header: revision_header(revision), watch_id, ..WatchResponse::default() }
}
