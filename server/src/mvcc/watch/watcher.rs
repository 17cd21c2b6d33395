//! One watcher, and the table of all of them.

use prost::Message;

use super::History;
use super::range::KeyRange;
use crate::member::id::StreamId;
use crate::mvcc::Change;
use crate::proto::etcdserverpb::WatchCreateRequest;
use crate::proto::etcdserverpb::watch_create_request::FilterType;
use crate::proto::mvccpb::Event;
use crate::proto::mvccpb::event::EventType;

/// Where a watcher stands among the hub's watchers while it lives; used again afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// Below all others.
    pub const MIN: Slot = Slot(0);
}

/// How a watcher gets its events.
///
/// ```text
///            caught up                  window opened
///   Waiting ───────────▶ Synced    Parked ───────────▶ Waiting
///      ▲                    │         ▲                    │
///      └── snapshot ────────┴─────────┴── window full ─────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// From each revision as it is applied, at the latest from `next` on.
    Synced,
    /// From history, in the order of turns.
    Waiting(u64),
    /// Not before its stream's window opens; then in the order of turns.
    Parked(u64),
}

/// One watcher of one stream.
#[derive(Debug)]
pub struct Watcher {
    /// Its stream.
    pub stream: StreamId,
    /// Its id on the stream.
    pub id: i64,
    /// What it watches.
    pub range: KeyRange,
    /// Every revision below is told. While it is synced this stands still: then all revisions up
    /// to the hub's are told, too.
    pub next: i64,
    /// How it gets its events.
    pub place: Place,
    /// Whether it may get a revision in several responses.
    pub fragment: bool,
    /// Whether it wants progress while it is idle.
    pub progress_notify: bool,
    /// Whether it had no event since its stream's last progress tick.
    pub is_idle: bool,
    wants_prev_kv: bool,
    drops_puts: bool,
    drops_deletes: bool,
}

impl Watcher {
    /// As requested; `next` and `place` are the hub's to decide.
    pub fn new(
        stream: StreamId,
        id: i64,
        range: KeyRange,
        next: i64,
        request: &WatchCreateRequest,
    ) -> Watcher {
        let drops = |filter: FilterType| request.filters.contains(&(filter as i32));
        Watcher {
            stream,
            id,
            range,
            next,
            place: Place::Synced,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            is_idle: true,
            wants_prev_kv: request.prev_kv,
            drops_puts: drops(FilterType::Noput),
            drops_deletes: drops(FilterType::Nodelete),
        }
    }

    /// Whether it wants this change of a key that it watches.
    pub fn wants(&self, change: &Change) -> bool {
        let is_dropped = if change.is_delete { self.drops_deletes } else { self.drops_puts };
        !is_dropped && self.next <= change.revision.main
    }

    /// A change as this watcher sees it. The previous value is what is readable now, which is
    /// nothing where it is compacted.
    pub fn event(&self, change: &Change, history: &impl History) -> Event {
        let kind = if change.is_delete { EventType::Delete } else { EventType::Put };
        let before = change.revision.main - 1;
        let prev_kv = match self.wants_prev_kv {
            true => history.kv_at(&change.kv.key, before).map(|previous| previous.kv.clone()),
            false => None,
        };
        Event { r#type: kind as i32, kv: Some(change.kv.clone()), prev_kv }
    }
}

/// What an event adds to the length of a response.
pub fn encoded_bytes(event: &Event) -> usize {
    let length = event.encoded_len();
    1 + prost::encoding::encoded_len_varint(length as u64) + length
}

/// All watchers by slot.
#[derive(Debug, Default)]
pub struct Watchers {
    slots: Vec<Option<Watcher>>,
    free: Vec<Slot>,
}

impl Watchers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a watcher.
    pub fn insert(&mut self, watcher: Watcher) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.slots[slot.0 as usize] = Some(watcher);
            return slot;
        }
        let number = u32::try_from(self.slots.len()).expect("fewer than 2^32 watchers at once");
        self.slots.push(Some(watcher));
        Slot(number)
    }

    /// Takes a watcher out.
    pub fn remove(&mut self, slot: Slot) -> Watcher {
        self.free.push(slot);
        self.slots[slot.0 as usize].take().expect("the slot of a living watcher")
    }

    /// The watcher in a slot.
    pub fn get(&self, slot: Slot) -> &Watcher {
        self.slots[slot.0 as usize].as_ref().expect("the slot of a living watcher")
    }

    /// The watcher in a slot.
    pub fn get_mut(&mut self, slot: Slot) -> &mut Watcher {
        self.slots[slot.0 as usize].as_mut().expect("the slot of a living watcher")
    }

    /// The slots of all watchers, ascending.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        let living = self.slots.iter().enumerate().filter(|(_, watcher)| watcher.is_some());
        living.map(|(number, _)| Slot(number as u32))
    }
}
