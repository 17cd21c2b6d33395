//! Directories: which names lead where, and which of that a power loss may take back.
//!
//! A rename is atomic. Among changes since the last `sync_dir`, any subset may survive in which no
//! change is missing that an earlier one of the same name was.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};

use rand_chacha::ChaCha8Rng;

use super::power::Survival;

/// A file or directory, by its place in the disk's table.
pub(super) type Node = usize;

/// The root directory.
pub(super) const ROOT: Node = 0;

#[derive(Clone, Debug)]
struct Edit {
    dir: Node,
    name: String,
    before: Option<Node>,
    after: Option<Node>,
}

#[derive(Clone, Debug)]
struct Change {
    end: u64,
    /// When the sync that covers it has ended; the end of time without one.
    durable: u64,
    edits: Vec<Edit>,
}

/// All directories.
#[derive(Clone, Debug)]
pub(super) struct Names {
    dirs: BTreeMap<Node, BTreeMap<String, Node>>,
    changes: Vec<Change>,
}

impl Names {
    pub(super) fn new() -> Names {
        Names { dirs: BTreeMap::from([(ROOT, BTreeMap::new())]), changes: Vec::new() }
    }

    /// What a path leads to.
    pub(super) fn find(&self, path: &str) -> io::Result<Node> {
        let mut node = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let dir = self.dirs.get(&node).ok_or(ErrorKind::NotADirectory)?;
            node = *dir.get(name).ok_or(ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    /// The directory that a path's last name is in, and that name.
    pub(super) fn find_parent<'a>(&self, path: &'a str) -> io::Result<(Node, &'a str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.find(parent)?;
        match self.is_dir(dir) {
            true if !name.is_empty() => Ok((dir, name)),
            true => Err(ErrorKind::InvalidInput.into()),
            false => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn is_dir(&self, node: Node) -> bool {
        self.dirs.contains_key(&node)
    }

    pub(super) fn get(&self, dir: Node, name: &str) -> Option<Node> {
        self.dirs.get(&dir)?.get(name).copied()
    }

    /// The entries of a directory, sorted by name.
    pub(super) fn entries(&self, dir: Node) -> impl Iterator<Item = (&str, Node)> {
        self.dirs.get(&dir).into_iter().flatten().map(|(name, node)| (name.as_str(), *node))
    }

    /// A new, empty, nameless directory.
    pub(super) fn add_dir(&mut self, node: Node) {
        self.dirs.insert(node, BTreeMap::new());
    }

    /// Makes a name lead to something, or nowhere.
    pub(super) fn set(&mut self, dir: Node, name: &str, after: Option<Node>, end: u64) {
        let edit = Edit { dir, name: name.to_owned(), before: self.get(dir, name), after };
        self.change(vec![edit], end);
    }

    /// Moves a name.
    pub(super) fn rename(&mut self, from: (Node, &str), to: (Node, &str), end: u64) {
        let moved = self.get(from.0, from.1);
        let edit = |(dir, name): (Node, &str), after| {
            let before = self.get(dir, name);
            Edit { dir, name: name.to_owned(), before, after }
        };
        let edits = vec![edit(from, None), edit(to, moved)];
        self.change(edits, end);
    }

    fn change(&mut self, edits: Vec<Edit>, end: u64) {
        for edit in &edits {
            put(&mut self.dirs, edit, edit.after);
        }
        self.changes.push(Change { end, durable: u64::MAX, edits });
    }

    /// Makes the names of a directory durable at `end`, with all that they depend on.
    pub(super) fn sync(&mut self, dir: Node, end: u64) {
        let mut covered: BTreeSet<(Node, &str)> = BTreeSet::new();
        for change in self.changes.iter_mut().rev() {
            let touches =
                |edit: &Edit| edit.dir == dir || covered.contains(&(edit.dir, edit.name.as_str()));
            if change.edits.iter().any(touches) {
                change.durable = change.durable.min(end);
                covered.extend(change.edits.iter().map(|edit| (edit.dir, edit.name.as_str())));
            }
        }
    }

    /// Makes all names durable at `end`.
    pub(super) fn sync_all(&mut self, end: u64) {
        for change in &mut self.changes {
            change.durable = change.durable.min(end);
        }
    }

    /// Forgets changes that are durable by `now`; tells whether there were any.
    pub(super) fn prune(&mut self, now: u64) -> bool {
        let before = self.changes.len();
        self.changes.retain(|change| change.durable > now);
        self.changes.len() < before
    }

    /// Takes back what the device had not done at `at`.
    pub(super) fn roll_back(&mut self, at: u64) {
        while self.changes.last().is_some_and(|change| change.end > at) {
            let change = self.changes.pop().expect("there is a last one");
            self.undo(&change);
        }
        for change in &mut self.changes {
            if change.durable > at {
                change.durable = u64::MAX;
            }
        }
    }

    fn undo(&mut self, change: &Change) {
        for edit in change.edits.iter().rev() {
            put(&mut self.dirs, edit, edit.before);
        }
    }

    pub(super) fn delay(&mut self, since: u64, by: u64) {
        for change in &mut self.changes {
            for moment in [&mut change.end, &mut change.durable] {
                if *moment > since && *moment != u64::MAX {
                    *moment += by;
                }
            }
        }
    }

    /// When the changes were done that a power loss may take back.
    pub(super) fn volatile_ends(&self) -> impl Iterator<Item = u64> {
        let volatile = self.changes.iter().filter(|change| change.durable == u64::MAX);
        volatile.map(|change| change.end)
    }

    /// Leaves what a power loss at `at` may leave.
    pub(super) fn lose_power(&mut self, at: u64, survival: Survival, rng: &mut ChaCha8Rng) {
        self.roll_back(at);
        let mut changes = std::mem::take(&mut self.changes);
        changes.retain(|change| change.durable == u64::MAX);
        for change in changes.iter().rev() {
            self.undo(change);
        }
        let mut lost: BTreeSet<(Node, &str)> = BTreeSet::new();
        for change in &changes {
            let names = || change.edits.iter().map(|edit| (edit.dir, edit.name.as_str()));
            let can_survive = names().all(|name| !lost.contains(&name));
            if survival.of(change.end, rng).reaches_medium(rng) && can_survive {
                for edit in &change.edits {
                    put(&mut self.dirs, edit, edit.after);
                }
            } else {
                lost.extend(names());
            }
        }
    }

    /// Every node that a name leads to, or may lead to again.
    pub(super) fn reachable(&self) -> BTreeSet<Node> {
        let mut reachable = BTreeSet::from([ROOT]);
        let mut queue = vec![ROOT];
        let edits = self.changes.iter().flat_map(|change| &change.edits);
        queue.extend(edits.flat_map(|edit| [Some(edit.dir), edit.before, edit.after]).flatten());
        while let Some(node) = queue.pop() {
            reachable.insert(node);
            queue.extend(self.entries(node).map(|(_, node)| node));
        }
        reachable
    }

    /// Drops directories that no name leads to.
    pub(super) fn retain(&mut self, reachable: &BTreeSet<Node>) {
        self.dirs.retain(|node, _| reachable.contains(node));
    }
}

fn put(dirs: &mut BTreeMap<Node, BTreeMap<String, Node>>, edit: &Edit, target: Option<Node>) {
    let Some(dir) = dirs.get_mut(&edit.dir) else { return };
    match target {
        Some(node) => dir.insert(edit.name.clone(), node),
        None => dir.remove(&edit.name),
    };
}
