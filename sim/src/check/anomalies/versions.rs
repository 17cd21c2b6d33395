//! Versions of every key, each with its writer. An answered write says which version it wrote; one
//! of unknown outcome is found by its value, when nobody else put that value or may have kept it in
//! another version. What was read although nobody wrote it, or only one who failed, is an anomaly
//! of its own.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{Blob, History, KeyValue, Operation};

use super::nodes::{Node, Read, Write};
use crate::check::describe;
use crate::check::fate::{Fate, fate};
use crate::check::report::{Evidence, Violation};
use crate::check::steps::{
    Attempt, Mortal, attempts, compared_version, growing_lists, is_void, list, taken,
};

/// A version of a key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Version<'a> {
    /// The operation that wrote it.
    pub writer: Option<usize>,
    value: Option<&'a Blob>,
    is_delete: bool,
    /// The operation that saw it first.
    seen_by: Option<usize>,
}

/// Versions by key and revision.
pub(super) type Versions<'a> = BTreeMap<&'a Blob, BTreeMap<i64, Version<'a>>>;

/// Who may have put a value.
type Index<'a> = BTreeMap<(&'a Blob, &'a Blob), Vec<(usize, Attempt<'a>)>>;

/// Finds all versions and their writers, and completes the nodes of writers that were not answered.
pub(super) fn versions<'a>(
    history: &'a History,
    nodes: &mut [Node<'a>],
    mortal: &Mortal<'_>,
    violations: &mut Vec<Violation>,
) -> Versions<'a> {
    let (versions, kept) = (Versions::new(), BTreeSet::new());
    let mut table = Table { history, mortal, versions, kept, violations };
    for (place, node) in nodes.iter().enumerate() {
        for write in &node.writes {
            table.written(place, write);
        }
    }
    for (place, operation) in history.operations.iter().enumerate() {
        if let Fate::Answered(reply) = fate(operation) {
            for step in taken(&operation.call, reply).steps {
                let (kvs, is_stripped) = step.kvs();
                for kv in kvs {
                    table.seen(place, kv, is_stripped);
                }
            }
        }
    }
    for watched in &history.watched {
        for event in &watched.message.events {
            let put = (!event.is_delete).then_some(&event.kv);
            for kv in put.into_iter().chain(&event.prev_kv) {
                table.seen(watched.op.0 as usize, kv, false);
            }
        }
    }
    table.attribute(nodes);
    table.grow();
    table.versions
}

struct Table<'a, 'v> {
    history: &'a History,
    mortal: &'v Mortal<'v>,
    versions: Versions<'a>,
    /// Keys that a put of unknown outcome may have written once more with the value that they had.
    kept: BTreeSet<&'a Blob>,
    violations: &'v mut Vec<Violation>,
}

impl<'a> Table<'a, '_> {
    fn operation(&self, place: usize) -> &'a Operation {
        &self.history.operations[place]
    }

    fn violation(&mut self, rule: &'static str, places: &[usize], explanation: String) {
        let operations: Vec<&Operation> =
            places.iter().map(|place| self.operation(*place)).collect();
        let evidence = Evidence::of(&operations);
        self.violations.push(Violation { rule, evidence, explanation });
    }

    fn named(&self, place: usize) -> String {
        describe::operation(self.operation(place))
    }

    fn written(&mut self, place: usize, write: &Write<'a>) {
        let Write { key, version, value, is_delete } = *write;
        let entry = self.versions.entry(key).or_default().entry(version).or_default();
        match entry.writer {
            None => {
                *entry = Version { writer: Some(place), value, is_delete, ..*entry };
            }
            Some(other) if other != place => {
                let text = format!(
                    "{} and {} were both told that they wrote revision {version} of {key:?}",
                    self.named(other),
                    self.named(place)
                );
                self.violation("two-writers", &[other, place], text);
            }
            Some(_) => {}
        }
    }

    fn seen(&mut self, place: usize, kv: &'a KeyValue, is_stripped: bool) {
        let of_key = self.versions.entry(&kv.key).or_default();
        let before = of_key.range(..kv.mod_revision).next_back().and_then(|(_, last)| last.value);
        let entry = of_key.entry(kv.mod_revision).or_default();
        let first = entry.seen_by.or(entry.writer);
        entry.seen_by = entry.seen_by.or(Some(place));
        if is_stripped {
            return;
        }
        if entry.value.is_none() && !entry.is_delete {
            entry.value = Some(&kv.value);
            return;
        }
        if entry.value == Some(&kv.value) {
            return;
        }
        let known = entry.value.cloned();
        let (rule, what) = match (&known, entry.writer) {
            (Some(written), Some(_)) if is_between(before, &kv.value, written) => {
                ("G1b", "a list before all was appended that its writer appended")
            }
            _ => ("wrong-value", "another value"),
        };
        let text = format!(
            "{} reads {:?}={:?} as of revision {}, {what}: {} {} {}",
            self.named(place),
            kv.key,
            kv.value,
            kv.mod_revision,
            first.map_or_else(String::new, |first| self.named(first)),
            if entry_is_written(&self.versions, kv) { "wrote there" } else { "saw there" },
            known.map_or_else(|| "its deletion".to_owned(), |known| format!("{known:?}")),
        );
        let places: Vec<usize> = first.into_iter().chain([place]).collect();
        self.violation(rule, &places, text);
    }

    /// Finds the writers of versions that nobody was told to have written.
    fn attribute(&mut self, nodes: &mut [Node<'a>]) {
        let orphans: Vec<(&'a Blob, i64)> = self
            .versions
            .iter()
            .flat_map(|(key, versions)| {
                let is_orphan = |version: &Version<'_>| version.writer.is_none();
                let orphans = versions.iter().filter(move |(_, version)| is_orphan(version));
                orphans.map(|(revision, _)| (*key, *revision))
            })
            .collect();
        if orphans.is_empty() {
            return;
        }
        let mut index = Index::new();
        for (place, operation) in self.history.operations.iter().enumerate() {
            let is_open = fate(operation) == Fate::Unknown;
            for attempt in attempts(&operation.call) {
                let put = attempt.put;
                if put.ignore_value && is_open {
                    self.kept.insert(&put.key);
                }
                index.entry((&put.key, &put.value)).or_default().push((place, attempt));
            }
        }
        for (key, revision) in orphans {
            let version = self.versions[key][&revision];
            let (Some(value), None, false) = (version.value, version.writer, version.is_delete)
            else {
                continue;
            };
            let candidates = index.get(&(key, value)).map_or(&[][..], Vec::as_slice);
            match self.writer(candidates) {
                _ if self.kept.contains(key) => {}
                Ok(Some((place, attempt))) => self.adopt(nodes, place, &attempt, key, revision),
                Ok(None) => {}
                Err(()) => self.object(candidates, key, revision),
            }
        }
    }

    /// The one operation of unknown outcome that put the value; nothing if it may be several, and
    /// an error if it can be none.
    fn writer(
        &self,
        candidates: &[(usize, Attempt<'a>)],
    ) -> Result<Option<(usize, Attempt<'a>)>, ()> {
        let is_open = |place: usize| fate(self.operation(place)) == Fate::Unknown;
        let mut open = candidates.iter().filter(|(place, _)| is_open(*place));
        match (open.next(), open.next()) {
            (None, _) => Err(()),
            (Some(only), None) => Ok(Some(*only)),
            (Some(_), Some(_)) => Ok(None),
        }
    }

    /// The writer of this version is found; all that its branch put, it wrote there as well.
    fn adopt(
        &mut self,
        nodes: &mut [Node<'a>],
        place: usize,
        attempt: &Attempt<'a>,
        key: &'a Blob,
        revision: i64,
    ) {
        if let Some(other) = nodes[place].writes.iter().find(|write| write.key == key) {
            return self.twice(place, key, other.version, revision);
        }
        let all = attempts(&self.operation(place).call);
        for put in all.iter().filter(|one| one.branch == attempt.branch).map(|one| one.put) {
            let value = (!put.ignore_value).then_some(&put.value);
            let write = Write { key: &put.key, version: revision, value, is_delete: false };
            nodes[place].writes.push(write);
            self.written(place, &write);
        }
        for guard in attempt.guards {
            if let Some(version) = compared_version(guard) {
                nodes[place].reads.push(Read { key: &guard.key, version });
            }
        }
    }

    fn twice(&mut self, place: usize, key: &Blob, first: i64, second: i64) {
        if self.kept.contains(key) {
            return;
        }
        let seen = self.versions[key][&second].seen_by;
        let text = format!(
            "{} wrote {key:?} at revision {first} and, as {} shows, once more at revision {second}",
            self.named(place),
            seen.map_or_else(String::new, |seen| self.named(seen))
        );
        let places: Vec<usize> = seen.into_iter().chain([place]).collect();
        self.violation("duplicate-write", &places, text);
    }

    /// A version was read that nobody can have written.
    fn object(&mut self, candidates: &[(usize, Attempt<'a>)], key: &'a Blob, revision: i64) {
        let version = self.versions[key][&revision];
        let Some(reader) = version.seen_by else { return };
        let of_answered = candidates.iter().find_map(|(place, _)| {
            let versions = self.versions[key].iter();
            let mut own = versions.filter(|(_, version)| version.writer == Some(*place));
            own.next().map(|(first, version)| (*place, *first, version.value))
        });
        if let Some((place, first, value)) = of_answered
            && value == version.value
        {
            return self.twice(place, key, first, revision);
        }
        let value = version.value.expect("only versions with a value are attributed");
        let read =
            format!("{} reads {key:?}={value:?} as of revision {revision}", self.named(reader));
        match candidates.first() {
            None => {
                let text = format!("{read}, which nobody ever put");
                self.violation("garbage-read", &[reader], text);
            }
            Some(&(place, _)) => {
                let why = match is_void(self.operation(place)) {
                    true => "which failed",
                    false => "which took another branch",
                };
                let text = format!("{read}, put by {}, {why}", self.named(place));
                self.violation("G1a", &[place, reader], text);
            }
        }
    }

    /// Lists that only grow are each the beginning of the next.
    fn grow(&mut self) {
        let lists = growing_lists(self.history, self.mortal);
        let mut found = Vec::new();
        for (key, versions) in self.versions.iter().filter(|(key, _)| lists.contains(*key)) {
            let mut last: Option<(i64, Version<'_>)> = None;
            for (&revision, version) in versions {
                if let (Some((before, older)), Some(value)) = (last, version.value)
                    && !older.value.is_some_and(|older| is_beginning(older, value))
                {
                    found.push((*key, (before, older), (revision, *version)));
                }
                last = version.value.map(|_| (revision, *version)).or(last);
            }
        }
        for (key, (before, older), (revision, newer)) in found {
            let text = format!(
                "list {key:?} was {:?} as of revision {before} and {:?} as of revision {revision}, \
                 which does not begin like it",
                older.value.cloned().unwrap_or_default(),
                newer.value.cloned().unwrap_or_default()
            );
            let who = |version: Version<'_>| version.writer.or(version.seen_by);
            let places: Vec<usize> = who(older).into_iter().chain(who(newer)).collect();
            self.violation("incompatible-order", &places, text);
        }
    }
}

fn entry_is_written(versions: &Versions<'_>, kv: &KeyValue) -> bool {
    versions[&kv.key][&kv.mod_revision].writer.is_some()
}

/// Whether a list is the beginning of another one, or the same.
fn is_beginning(first: &Blob, second: &Blob) -> bool {
    match (list(first), list(second)) {
        (Some(first), Some(second)) => second.starts_with(&first),
        _ => true,
    }
}

/// Whether a list lies between the one before a write and the one that was written.
fn is_between(before: Option<&Blob>, read: &Blob, written: &Blob) -> bool {
    let (Some(read), Some(written)) = (list(read), list(written)) else { return false };
    let before = before.and_then(list).unwrap_or_default();
    read.len() > before.len() && read.len() < written.len() && written.starts_with(&read)
}
