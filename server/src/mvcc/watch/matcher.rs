//! Who watches a key: a map for watchers of one key, an interval tree for watchers of ranges.
//!
//! The tree is a treap over distinct ranges, ordered by start and end; each node knows the largest
//! end below it, so that a key finds its k ranges among n in O(k + log n) expected steps.
//! Priorities come from a counter, so that equal histories of calls make equal trees.

use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::range::{End, KeyRange};

/// Watchers, named by `W`, by what they watch.
#[derive(Debug)]
pub struct Matcher<W> {
    keys: BTreeMap<Bytes, BTreeSet<W>>,
    ranges: Tree<W>,
    inserted: u64,
    len: usize,
}

type Tree<W> = Option<Box<Node<W>>>;

#[derive(Debug)]
struct Node<W> {
    start: Bytes,
    end: End,
    /// The largest end in this subtree.
    last: End,
    watchers: BTreeSet<W>,
    priority: u64,
    left: Tree<W>,
    right: Tree<W>,
}

impl<W: Copy + Ord> Matcher<W> {
    /// Nobody watches anything.
    pub fn new() -> Matcher<W> {
        Matcher { keys: BTreeMap::new(), ranges: None, inserted: 0, len: 0 }
    }

    /// How many watchers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds a watcher; it must not be there.
    pub fn insert(&mut self, range: &KeyRange, watcher: W) {
        self.len += 1;
        let is_new = match range {
            KeyRange::Key(key) => self.keys.entry(key.clone()).or_default().insert(watcher),
            KeyRange::Span { start, end } => {
                self.inserted += 1;
                let priority = spread(self.inserted);
                let place = find(&mut self.ranges, start, end);
                match place {
                    Some(watchers) => watchers.insert(watcher),
                    None => {
                        let node = Node::leaf(start.clone(), end.clone(), watcher, priority);
                        add(&mut self.ranges, node);
                        true
                    }
                }
            }
        };
        assert!(is_new, "a watcher is matched once");
    }

    /// Removes a watcher; it must be there.
    pub fn remove(&mut self, range: &KeyRange, watcher: W) {
        self.len -= 1;
        let was_there = match range {
            KeyRange::Key(key) => {
                let watchers = self.keys.get_mut(key);
                let was_there = watchers.is_some_and(|watchers| watchers.remove(&watcher));
                if self.keys.get(key).is_some_and(BTreeSet::is_empty) {
                    self.keys.remove(key);
                }
                was_there
            }
            KeyRange::Span { start, end } => take(&mut self.ranges, start, end, watcher),
        };
        assert!(was_there, "a removed watcher was matched");
    }

    /// Calls `found` with everyone who watches `key`: first those of the key alone, then those of
    /// ranges in the order of the ranges.
    pub fn find(&self, key: &[u8], mut found: impl FnMut(W)) {
        for &watcher in self.keys.get(key).into_iter().flatten() {
            found(watcher);
        }
        stab(&self.ranges, key, &mut found);
    }
}

impl<W: Copy + Ord> Node<W> {
    fn leaf(start: Bytes, end: End, watcher: W, priority: u64) -> Node<W> {
        let watchers = BTreeSet::from([watcher]);
        Node { start, last: end.clone(), end, watchers, priority, left: None, right: None }
    }

    fn order(&self, start: &Bytes, end: &End) -> Ordering {
        start.cmp(&self.start).then_with(|| end.cmp(&self.end))
    }

    fn refresh(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|node| &node.last);
        self.last = below.fold(&self.end, |last, other| last.max(other)).clone();
    }
}

/// Spreads a counter over all bits (the finaliser of splitmix64).
const fn spread(counter: u64) -> u64 {
    let mut bits = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn find<'t, W: Copy + Ord>(
    mut tree: &'t mut Tree<W>,
    start: &Bytes,
    end: &End,
) -> Option<&'t mut BTreeSet<W>> {
    while let Some(node) = tree {
        match node.order(start, end) {
            Ordering::Less => tree = &mut node.left,
            Ordering::Greater => tree = &mut node.right,
            Ordering::Equal => return Some(&mut node.watchers),
        }
    }
    None
}

/// Adds a node whose range is not in the tree.
fn add<W: Copy + Ord>(tree: &mut Tree<W>, mut new: Node<W>) {
    match tree {
        Some(node) if node.priority >= new.priority => {
            let side = match node.order(&new.start, &new.end) {
                Ordering::Less => &mut node.left,
                _ => &mut node.right,
            };
            add(side, new);
            node.refresh();
        }
        _ => {
            (new.left, new.right) = split(tree.take(), &new.start, &new.end);
            new.refresh();
            *tree = Some(Box::new(new));
        }
    }
}

/// Divides a tree into what is below a range and what is above it.
fn split<W: Copy + Ord>(tree: Tree<W>, start: &Bytes, end: &End) -> (Tree<W>, Tree<W>) {
    let Some(mut node) = tree else {
        return (None, None);
    };
    if node.order(start, end) == Ordering::Less {
        let (below, above) = split(node.left.take(), start, end);
        node.left = above;
        node.refresh();
        (below, Some(node))
    } else {
        let (below, above) = split(node.right.take(), start, end);
        node.right = below;
        node.refresh();
        (Some(node), above)
    }
}

/// Removes a watcher, and its range with the last one. Whether it was there.
fn take<W: Copy + Ord>(tree: &mut Tree<W>, start: &Bytes, end: &End, watcher: W) -> bool {
    let Some(node) = tree else {
        return false;
    };
    let was_there = match node.order(start, end) {
        Ordering::Less => take(&mut node.left, start, end, watcher),
        Ordering::Greater => take(&mut node.right, start, end, watcher),
        Ordering::Equal => {
            let was_there = node.watchers.remove(&watcher);
            if node.watchers.is_empty() {
                let joined = join(node.left.take(), node.right.take());
                *tree = joined;
                return was_there;
            }
            was_there
        }
    };
    node.refresh();
    was_there
}

/// Joins two trees, of which the first is below the second.
fn join<W: Copy + Ord>(below: Tree<W>, above: Tree<W>) -> Tree<W> {
    match (below, above) {
        (None, tree) | (tree, None) => tree,
        (Some(mut low), Some(mut high)) => {
            if low.priority >= high.priority {
                low.right = join(low.right.take(), Some(high));
                low.refresh();
                Some(low)
            } else {
                high.left = join(Some(low), high.left.take());
                high.refresh();
                Some(high)
            }
        }
    }
}

fn stab<W: Copy + Ord>(tree: &Tree<W>, key: &[u8], found: &mut impl FnMut(W)) {
    let Some(node) = tree else {
        return;
    };
    if !node.last.is_after(key) {
        return;
    }
    stab(&node.left, key, found);
    if &node.start[..] <= key {
        if node.end.is_after(key) {
            node.watchers.iter().for_each(|&watcher| found(watcher));
        }
        stab(&node.right, key, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Bytes {
        Bytes::from(format!("{number:02}"))
    }

    /// A range from a number: one in three a single key, one in ten without an end.
    fn range(number: u64) -> KeyRange {
        let (start, width) = (spread(number) % 40, spread(number + 1) % 12);
        match spread(number + 2) % 10 {
            0..3 => KeyRange::Key(key(start)),
            3 => KeyRange::Span { start: key(start), end: End::Open },
            _ => KeyRange::Span { start: key(start), end: End::Before(key(start + width + 1)) },
        }
    }

    #[test]
    fn finds_exactly_who_watches_a_key_while_watchers_come_and_go() {
        let mut matcher = Matcher::new();
        let mut watchers: BTreeMap<u64, KeyRange> = BTreeMap::new();
        for step in 0..2_000 {
            if watchers.len() > 60 || (step % 3 == 0 && !watchers.is_empty()) {
                let nth = spread(step) as usize % watchers.len();
                let victim = *watchers.keys().nth(nth).expect("there are so many");
                let watched = watchers.remove(&victim).expect("it was listed");
                matcher.remove(&watched, victim);
            } else {
                matcher.insert(&range(step), step);
                watchers.insert(step, range(step));
            }
            let asked = key(spread(step ^ 0xff) % 55);
            let mut found = Vec::new();
            matcher.find(&asked, |watcher| found.push(watcher));
            found.sort_unstable();
            let expected = watchers.iter().filter(|(_, range)| range.contains(&asked));
            assert_eq!(found, expected.map(|(&watcher, _)| watcher).collect::<Vec<_>>());
            assert_eq!(matcher.len(), watchers.len());
        }
    }
}
