//! The event queue: what happens next, in the order of virtual time.
//!
//! Events at one moment happen in the order in which they were scheduled. The heap holds small
//! keys, the events lie still in slots that are used again, so scheduling allocates nothing once
//! the queue has grown. Nothing is ever removed: who schedules an event that may become stale gives
//! it a generation to be recognised by.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bits of a key that name the slot; what is left above them counts events.
const SLOT_BITS: u32 = 24;

/// Events ordered by time.
#[derive(Debug)]
pub struct Queue<E> {
    /// Time in the upper half; below it the number of the event, then its slot.
    keys: BinaryHeap<Reverse<u128>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    scheduled: u64,
    /// The time of the last event taken: nothing may be scheduled before it.
    now: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        let (slots, free) = (Vec::new(), Vec::new());
        Queue { keys: BinaryHeap::new(), slots, free, scheduled: 0, now: 0 }
    }
}

impl<E> Queue<E> {
    /// Schedules an event, which cannot happen before what happens now.
    pub fn push(&mut self, at: u64, event: E) {
        assert!(at >= self.now, "an event at {at} is scheduled at {}", self.now);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(event);
                slot
            }
            None => {
                self.slots.push(Some(event));
                u32::try_from(self.slots.len() - 1).expect("fewer slots than 2^24")
            }
        };
        assert!(slot < 1 << SLOT_BITS, "more than 16 million events wait");
        self.scheduled += 1;
        assert!(self.scheduled < 1 << (64 - SLOT_BITS), "a run schedules less than 2^40 events");
        let order = (self.scheduled << SLOT_BITS) | u64::from(slot);
        self.keys.push(Reverse((u128::from(at) << 64) | u128::from(order)));
    }

    /// Takes the next event if it happens at `until` or before, with its time.
    pub fn pop_until(&mut self, until: u64) -> Option<(u64, E)> {
        let Reverse(key) = *self.keys.peek()?;
        let at = (key >> 64) as u64;
        if at > until {
            return None;
        }
        self.keys.pop();
        self.now = at;
        let slot = (key as u64 & ((1 << SLOT_BITS) - 1)) as u32;
        let event = self.slots[slot as usize].take().expect("a key's slot is taken");
        self.free.push(slot);
        Some((at, event))
    }

    /// Events for which a test holds happen at `by` at the latest, in the order in which they were
    /// scheduled where that makes them meet. Looks at every event.
    pub fn hasten(&mut self, by: u64, test: impl Fn(&E) -> bool) {
        assert!(by >= self.now, "events are hastened to {by} at {}", self.now);
        let slots = &self.slots;
        let hastened = self.keys.drain().map(|Reverse(key)| {
            let slot = (key as u64 & ((1 << SLOT_BITS) - 1)) as usize;
            let is_late = (key >> 64) as u64 > by;
            match is_late && slots[slot].as_ref().is_some_and(&test) {
                true => Reverse((u128::from(by) << 64) | u128::from(key as u64)),
                false => Reverse(key),
            }
        });
        self.keys = hastened.collect::<Vec<_>>().into();
    }

    /// How many events were ever scheduled.
    pub fn scheduled(&self) -> u64 {
        self.scheduled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_happen_by_time_and_then_in_the_order_they_were_scheduled() {
        let mut queue = Queue::default();
        for (at, name) in [(5, "c"), (3, "a"), (5, "d"), (3, "b"), (u64::MAX, "last")] {
            queue.push(at, name);
        }
        let mut seen = Vec::new();
        while let Some((at, name)) = queue.pop_until(5) {
            seen.push((at, name));
        }
        assert_eq!(seen, [(3, "a"), (3, "b"), (5, "c"), (5, "d")]);
        assert_eq!(queue.pop_until(u64::MAX), Some((u64::MAX, "last")));
    }

    #[test]
    fn hastened_events_keep_their_order_and_others_their_time() {
        let mut queue = Queue::default();
        for (at, name) in [(9, "late"), (7, "later"), (8, "other"), (2, "early")] {
            queue.push(at, name);
        }
        queue.hasten(5, |name| *name != "other");
        let mut seen = Vec::new();
        while let Some(event) = queue.pop_until(u64::MAX) {
            seen.push(event);
        }
        assert_eq!(seen, [(2, "early"), (5, "late"), (5, "later"), (8, "other")]);
    }

    #[test]
    fn slots_are_used_again() {
        let mut queue = Queue::default();
        for round in 0..1000 {
            queue.push(round, round);
            queue.push(round, round);
            assert_eq!(queue.pop_until(round), Some((round, round)));
            assert_eq!(queue.pop_until(round), Some((round, round)));
        }
        assert_eq!(queue.slots.len(), 2);
        assert_eq!(queue.scheduled(), 2000);
    }
}
