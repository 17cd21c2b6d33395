//! One watch, message by message.

use std::collections::BTreeSet;

use detsim_reports::record::{
    Blob, Event, KeyValue, Operation, Time, Watch, WatchMessage, Watched,
};

use crate::check::describe;
use crate::check::linearizability::Timeline;
use crate::check::report::{Evidence, Report};
use crate::model::{Change, Span};

/// `cancel_reason` of a watch on nothing.
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
/// `cancel_reason` of a watch from a negative revision.
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
/// `cancel_reason` of a watch that the user may not open begins with this.
const REFUSED: &str = "rpc error: code = ";

/// Where a watch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was received.
    Requested,
    /// It was created.
    Open,
    /// It was cancelled.
    Cancelled,
}

/// What one watch has received, and must receive next.
pub(super) struct Viewer<'a, 'r> {
    operation: &'a Operation,
    watch: &'a Watch,
    timeline: Option<&'a Timeline>,
    report: &'r mut Report,
    stage: Stage,
    /// The first revision that is owed, once it is known.
    first: i64,
    /// Everything before this revision has been delivered, or is not owed.
    next: i64,
    /// Events of revision `next` that have been delivered.
    delivered_of_next: usize,
    /// The last header's revision.
    header: i64,
    /// The revision up to which progress was reported.
    progress: i64,
    /// The last event's revision and whether its response is complete.
    last: Option<(i64, bool)>,
    /// The events of that revision, by key and kind.
    of_last: BTreeSet<(Blob, bool)>,
    events: usize,
    /// Content is not compared after the first difference, since all that follows differs too.
    is_lost: bool,
}

/// Whether an event is a change but for its versions, which count a change of the key that may not
/// have been there.
fn differs_by_doubt(timeline: &Timeline, event: &Event, change: &Change) -> bool {
    let Change { kv, is_delete } = change;
    let (create_revision, version) = (kv.create_revision, kv.version);
    let mut earlier = timeline.model.changes_between(1, kv.mod_revision - 1).iter();
    *is_delete == event.is_delete
        && *kv == KeyValue { create_revision, version, ..event.kv.clone() }
        && earlier.any(|it| it.kv.key == kv.key && timeline.is_doubtful(it.kv.mod_revision))
}

/// What a key was before the last change up to a revision, and so on, as long as it is not certain
/// that the change was there.
fn earlier<'t>(
    timeline: &'t Timeline,
    key: &'t Blob,
    mut revision: i64,
) -> impl Iterator<Item = Option<&'t KeyValue>> {
    std::iter::from_fn(move || {
        let changes = timeline.model.changes_between(1, revision);
        let last = changes.iter().rev().find(|change| change.kv.key == *key)?.kv.mod_revision;
        timeline.is_doubtful(last).then(|| {
            revision = last - 1;
            timeline.get_at(key, revision)
        })
    })
}

/// Whether the watch is to receive the change.
fn concerns(watch: &Watch, change: &Change) -> bool {
    Span::new(&watch.key, &watch.range_end).holds(&change.kv.key)
        && !(if change.is_delete { watch.no_delete } else { watch.no_put })
}

impl<'a, 'r> Viewer<'a, 'r> {
    /// A watch that was just asked for.
    pub fn new(
        operation: &'a Operation,
        watch: &'a Watch,
        timeline: Option<&'a Timeline>,
        report: &'r mut Report,
    ) -> Viewer<'a, 'r> {
        Viewer {
            operation,
            watch,
            timeline,
            report,
            stage: Stage::Requested,
            first: watch.start_revision,
            next: watch.start_revision,
            delivered_of_next: 0,
            header: 0,
            progress: 0,
            last: None,
            of_last: BTreeSet::new(),
            events: 0,
            is_lost: false,
        }
    }

    /// How many events were received.
    pub fn events(&self) -> usize {
        self.events
    }

    /// The revision from which on changes are still owed, if the watch is open and has received
    /// nothing wrong.
    pub fn next(&self) -> Option<i64> {
        (self.stage == Stage::Open && !self.is_lost).then_some(self.next)
    }

    /// The first change up to a revision that is owed and was not delivered.
    pub fn owed_up_to(&self, revision: i64) -> Option<&'a Change> {
        self.next().and_then(|_| self.owed_before(revision + 1))
    }

    /// Takes the next message.
    pub fn receive(&mut self, watched: &Watched) {
        let message = &watched.message;
        match (self.stage, message.created) {
            (Stage::Requested, true) => self.create(watched),
            (Stage::Requested, false) => {
                self.violate("created-first", watched.at, "its first message is not `created`");
                self.stage = Stage::Open;
            }
            (Stage::Open, true) => {
                self.violate("created-first", watched.at, "it was created twice");
            }
            (Stage::Open, false) => {}
            (Stage::Cancelled, _) => {
                let text = format!("after its cancellation it received {}", tell(message));
                self.violate("after-cancel", watched.at, &text);
                return;
            }
        }
        self.header(watched);
        if message.fragment && !self.watch.fragment {
            self.violate("atomic", watched.at, "it received a fragment that it did not ask for");
        }
        for event in &message.events {
            self.event(event, watched);
        }
        if !message.events.is_empty() {
            self.batch_ends(watched);
        }
        if message.progress {
            self.progress(watched);
        }
        if message.canceled {
            self.cancel(watched);
        }
    }

    fn violate(&mut self, rule: &str, at: Time, fact: &str) {
        let evidence = Evidence { at, ..Evidence::of(&[self.operation]) };
        let text = format!("{}: {fact}", describe::operation(self.operation));
        self.report.safety(rule, evidence, text);
    }

    fn create(&mut self, watched: &Watched) {
        self.stage = Stage::Open;
        if self.watch.start_revision == 0 {
            self.first = watched.message.revision + 1;
            self.next = self.first;
        }
    }

    /// A header's revision exists, holds the events, and never goes back.
    fn header(&mut self, watched: &Watched) {
        let message = &watched.message;
        if message.canceled && message.compact_revision != 0 {
            if message.revision != 0 || !message.events.is_empty() {
                let text = format!("its compaction notice is {}", tell(message));
                self.violate("cancel-reason", watched.at, &text);
            }
            return;
        }
        let newest_event = message.events.iter().map(|event| event.kv.mod_revision).max();
        if newest_event.is_some_and(|newest| newest > message.revision) {
            let text = format!("a header's revision is below an event's: {}", tell(message));
            self.violate("header", watched.at, &text);
        }
        if message.revision < self.header {
            let text = format!("a header says revision {} after {}", message.revision, self.header);
            self.violate("header", watched.at, &text);
        }
        self.header = self.header.max(message.revision);
        if let Some(timeline) = self.timeline {
            let born = timeline.born(message.revision);
            if born.is_none_or(|born| born > watched.at) {
                let text = format!(
                    "a header says revision {}, which cannot have existed then",
                    message.revision
                );
                self.violate("header", watched.at, &text);
            }
        }
    }

    fn event(&mut self, event: &Event, watched: &Watched) {
        self.events += 1;
        let revision = event.kv.mod_revision;
        if !Span::new(&self.watch.key, &self.watch.range_end).holds(&event.kv.key)
            || (if event.is_delete { self.watch.no_delete } else { self.watch.no_put })
        {
            let text = format!("it received {}, which its filter excludes", tell_event(event));
            self.violate("filter", watched.at, &text);
            return;
        }
        self.position(event, watched);
        self.shape(event, watched);
        if self.last.is_none_or(|(last, _)| last != revision) {
            self.of_last.clear();
        }
        self.of_last.insert((event.kv.key.clone(), event.is_delete));
        self.last = Some((revision, false));
        if !self.is_lost && self.timeline.is_some() {
            self.content(event, watched);
        }
    }

    /// An event is not out of order, not repeated, not split from its revision, and not announced
    /// as done.
    fn position(&mut self, event: &Event, watched: &Watched) {
        let revision = event.kv.mod_revision;
        let what = tell_event(event);
        let (rule, text) = if revision < self.first {
            ("resumable", format!("it is owed changes from revision {}, not {what}", self.first))
        } else if revision <= self.progress {
            ("bookmarkable", format!("it received {what} after progress up to {}", self.progress))
        } else {
            let Some((last, is_complete)) = self.last else { return };
            if revision < last {
                ("ordered", format!("it received {what} after revision {last}"))
            } else if revision == last
                && self.of_last.contains(&(event.kv.key.clone(), event.is_delete))
            {
                ("unique", format!("it received {what} twice"))
            } else if revision == last && is_complete {
                ("atomic", format!("it received {what} after the response of revision {last}"))
            } else {
                return;
            }
        };
        self.is_lost = true;
        self.violate(rule, watched.at, &text);
    }

    /// An event's fields fit each other.
    fn shape(&mut self, event: &Event, watched: &Watched) {
        let kv = &event.kv;
        let fits = if event.is_delete {
            (kv.create_revision, kv.version, kv.lease) == (0, 0, 0) && kv.value.is_empty()
        } else {
            kv.version >= 1
                && kv.create_revision <= kv.mod_revision
                && (kv.version == 1) == (kv.create_revision == kv.mod_revision)
        };
        if !fits {
            self.violate("is-create", watched.at, &format!("it received {}", tell_event(event)));
        }
        if event.prev_kv.is_some() && !self.watch.prev_kv {
            let text = format!("{} has a previous value nobody asked for", tell_event(event));
            self.violate("prev-kv", watched.at, &text);
        }
    }

    /// The event is the next change that the timeline owes.
    fn content(&mut self, event: &Event, watched: &Watched) {
        let Some(timeline) = self.timeline else { return };
        let revision = event.kv.mod_revision;
        if let Some(skipped) = self.owed_before(revision) {
            let text = format!(
                "it received {} without the change of {:?} at revision {}",
                tell_event(event),
                skipped.kv.key,
                skipped.kv.mod_revision
            );
            let rule = if self.events == 1 { "resumable" } else { "reliable" };
            self.violate(rule, watched.at, &text);
        }
        if revision > self.next {
            self.next = revision;
            self.delivered_of_next = 0;
        }
        let mut owed = timeline
            .model
            .changes_at(revision)
            .iter()
            .filter(|change| concerns(self.watch, change));
        let expected = owed.nth(self.delivered_of_next);
        self.delivered_of_next += 1;
        let is_same =
            |change: &Change| change.is_delete == event.is_delete && change.kv == event.kv;
        let is_like =
            |change: &Change| is_same(change) || differs_by_doubt(timeline, event, change);
        if !expected.is_some_and(is_like) {
            self.is_lost = true;
            let all = timeline.model.changes_at(revision);
            let instead = expected.map_or_else(|| "nothing".to_owned(), tell_change);
            let (rule, text) = match all.iter().any(is_same) {
                true => ("ordered", format!("it received {} before {instead}", tell_event(event))),
                false => (
                    "wrong-event",
                    format!("it received {} instead of {instead}", tell_event(event)),
                ),
            };
            self.violate(rule, watched.at, &text);
        }
        if timeline.born(revision).is_none_or(|born| born > watched.at) && !self.is_lost {
            let text = format!("it received {} before it can have happened", tell_event(event));
            self.violate("wrong-event", watched.at, &text);
        }
        self.previous(event, watched, timeline);
    }

    /// The first owed change below a revision that was not delivered.
    fn owed_before(&self, revision: i64) -> Option<&'a Change> {
        let timeline = self.timeline?;
        let watch = self.watch;
        let owed = |from: i64, to: i64| {
            timeline.model.changes_between(from, to).iter().filter(|change| {
                concerns(watch, change) && !timeline.is_doubtful(change.kv.mod_revision)
            })
        };
        if revision <= self.next {
            return None;
        }
        owed(self.next, self.next)
            .nth(self.delivered_of_next)
            .or_else(|| owed(self.next + 1, revision - 1).next())
    }

    /// A previous value is the right one; it is missing only where there was none, or where
    /// compaction may have taken it.
    fn previous(&mut self, event: &Event, watched: &Watched, timeline: &Timeline) {
        if !self.watch.prev_kv || self.is_lost {
            return;
        }
        let revision = event.kv.mod_revision;
        let before = timeline.get_at(&event.kv.key, revision - 1);
        let may_be_compacted = revision - 1 < timeline.compact_revision_by(watched.at);
        let fits = |before: Option<&KeyValue>| match &event.prev_kv {
            Some(found) => before == Some(found),
            None => before.is_none() || may_be_compacted,
        };
        if !fits(before) && !earlier(timeline, &event.kv.key, revision - 1).any(fits) {
            let tell = |kv: Option<&KeyValue>| {
                kv.map_or_else(|| "nothing".to_owned(), describe::key_value)
            };
            let text = format!(
                "{} came with {} as previous value instead of {}",
                tell_event(event),
                tell(event.prev_kv.as_ref()),
                tell(before)
            );
            self.violate("prev-kv", watched.at, &text);
        }
    }

    /// A response with events ends: its last revision is complete.
    fn batch_ends(&mut self, watched: &Watched) {
        let Some((revision, _)) = self.last else { return };
        self.last = Some((revision, !watched.message.fragment));
        if watched.message.fragment || self.is_lost || self.timeline.is_none() {
            return;
        }
        if let Some(left) = self.owed_before(revision + 1) {
            self.is_lost = true;
            let text = format!(
                "a response ended in the middle of revision {revision}, without {:?}",
                left.kv.key
            );
            self.violate("atomic", watched.at, &text);
        }
    }

    /// Everything up to the reported revision has been delivered.
    fn progress(&mut self, watched: &Watched) {
        let reported = watched.message.revision;
        if !watched.message.events.is_empty() {
            self.violate("bookmarkable", watched.at, "a progress report holds events");
        }
        if self.last.is_some_and(|(last, _)| reported < last) {
            let text = format!("progress up to {reported} is reported after a later event");
            self.violate("bookmarkable", watched.at, &text);
        }
        if reported + 1 < self.first {
            let text = format!(
                "progress up to {reported} is reported on a watch from revision {}",
                self.first
            );
            self.violate("bookmarkable", watched.at, &text);
        }
        if !self.is_lost
            && let Some(missing) = self.owed_before(reported + 1)
        {
            self.is_lost = true;
            let text = format!(
                "progress up to {reported} is reported without the change of {:?} at revision {}",
                missing.kv.key, missing.kv.mod_revision
            );
            self.violate("bookmarkable", watched.at, &text);
        }
        self.progress = self.progress.max(reported);
        if reported >= self.next {
            self.next = reported + 1;
            self.delivered_of_next = 0;
        }
    }

    /// A watch ends only for a reason that exists.
    fn cancel(&mut self, watched: &Watched) {
        self.stage = Stage::Cancelled;
        let message = &watched.message;
        let reason = message.cancel_reason.as_str();
        let span = Span::new(&self.watch.key, &self.watch.range_end);
        let is_empty = !self.watch.key.is_empty() && span.bounds().is_none();
        let fits = match reason {
            "" if message.compact_revision != 0 => return self.compacted(watched),
            "" => !message.created,
            EMPTY_RANGE => message.created && is_empty,
            COMPACTED => message.created && self.watch.start_revision < 0,
            reason => message.created && reason.starts_with(REFUSED),
        };
        if !fits {
            let text = format!("it was cancelled without reason: {}", tell(message));
            self.violate("cancel-reason", watched.at, &text);
        }
    }

    /// A compaction ends a watch that still needs what is compacted.
    fn compacted(&mut self, watched: &Watched) {
        let compacted = watched.message.compact_revision;
        let is_needed = if self.is_lost { true } else { self.next < compacted };
        if !is_needed {
            let text = format!(
                "it was cancelled for compaction up to {compacted}, but needs only revisions from \
                 {} on",
                self.next
            );
            self.violate("cancel-reason", watched.at, &text);
        }
        let happened = self.timeline.map(|timeline| timeline.compacted(compacted));
        if happened.is_some_and(|happened| happened.is_none_or(|happened| happened > watched.at)) {
            let text =
                format!("it was cancelled for compaction up to {compacted}, which never happened");
            self.violate("cancel-reason", watched.at, &text);
        }
    }
}

fn tell(message: &WatchMessage) -> String {
    let mut parts = vec![format!("revision {}", message.revision)];
    for (name, is_set) in [
        ("created", message.created),
        ("canceled", message.canceled),
        ("progress", message.progress),
        ("fragment", message.fragment),
    ] {
        if is_set {
            parts.push(name.to_owned());
        }
    }
    if message.compact_revision != 0 {
        parts.push(format!("compact revision {}", message.compact_revision));
    }
    if !message.cancel_reason.is_empty() {
        parts.push(format!("{:?}", message.cancel_reason));
    }
    parts.extend(message.events.iter().take(2).map(tell_event));
    format!("[{}]", parts.join(", "))
}

fn tell_event(event: &Event) -> String {
    tell_kind(event.is_delete, &event.kv)
}

fn tell_change(change: &Change) -> String {
    tell_kind(change.is_delete, &change.kv)
}

fn tell_kind(is_delete: bool, kv: &KeyValue) -> String {
    match is_delete {
        true => format!("the delete of {:?} at revision {}", kv.key, kv.mod_revision),
        false => format!("the put of {}", describe::key_value(kv)),
    }
}
