//! Telling synced watchers of revisions as they are applied: one response for each revision that
//! touches them. A watcher whose stream has no room falls behind and reads the revision later.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::watcher::Slot;
use super::{History, WatchHub, revision_header};
use crate::member::io::Outputs;
use crate::member::time::Monotonic;
use crate::mvcc::Change;
use crate::planted::Defect;
use crate::proto::etcdserverpb::WatchResponse;

impl WatchHub {
    /// A revision was applied. To be called after each one, before any other call.
    pub fn notify(&mut self, history: &impl History, now: Monotonic, out: &mut Outputs) {
        let revision = history.revision();
        if revision <= self.told {
            return;
        }
        if self.told + 1 < history.compact_revision() {
            return self.on_snapshot_installed(history, now);
        }
        let last = history.last_changes();
        if self.synced.len() == 0 {
            // Nobody is to be told.
        } else if last.first().is_some_and(|first| first.revision.main == self.told + 1) {
            self.tell(revision, last, history, now, out);
        } else {
            let mut changes = history.events(self.told + 1).peekable();
            let mut same: Vec<Arc<Change>> = Vec::new();
            while let Some(change) = changes.next() {
                same.push(change.clone());
                let next = changes.peek().map(|next| next.revision.main);
                if next != Some(change.revision.main) {
                    self.tell(change.revision.main, &same, history, now, out);
                    same.clear();
                }
            }
        }
        self.told = revision;
    }

    /// Tells of all changes of one revision.
    fn tell(
        &mut self,
        revision: i64,
        changes: &[Arc<Change>],
        history: &impl History,
        now: Monotonic,
        out: &mut Outputs,
    ) {
        self.told = revision;
        let mut touched: Vec<(Slot, usize)> = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            self.synced.find(&change.kv.key, |slot| touched.push((slot, at)));
        }
        out.spend((changes.len() + touched.len()) as u64);
        touched.retain(|&(slot, at)| self.watchers.get(slot).wants(&changes[at]));
        // Stable: within one watcher, the order of the changes.
        touched.sort_by_key(|&(slot, _)| slot);
        let mut shared = BTreeMap::new();
        let is_sharing = self.settings.defect.is(Defect::WatchSharedEvents);
        for run in touched.chunk_by(|one, other| one.0 == other.0) {
            let watcher = self.watchers.get_mut(run[0].0);
            let stream = self.streams.get_mut(&watcher.stream).expect("a watcher's stream is open");
            if !stream.has_room() && !self.settings.defect.is(Defect::WatchNoRoom) {
                self.fall_behind(run[0].0, revision, now);
                continue;
            }
            let event = |&(_, at): &(Slot, usize)| match is_sharing {
                true => {
                    let event = shared.entry(at);
                    event.or_insert_with(|| watcher.event(&changes[at], history)).clone()
                }
                false => watcher.event(&changes[at], history),
            };
            let events = run.iter().map(event).collect();
            let response = WatchResponse {
                header: revision_header(revision),
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

    /// A synced watcher cannot be told of a revision now.
    fn fall_behind(&mut self, slot: Slot, revision: i64, now: Monotonic) {
        self.unsettle(slot);
        self.watchers.get_mut(slot).next = revision;
        self.settle(slot, now);
    }
}
