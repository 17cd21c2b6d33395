//! Operations as transactions: which version of a key each read, and which it wrote. A version is
//! named by the revision that modified the key, 0 standing for none. A comparison that held is a
//! read of the state before the transaction.

use std::collections::BTreeSet;

use detsim_reports::record::{Blob, Call, History, KeyValue, Operation, Range, RangeReply};

use crate::check::describe;
use crate::check::fate::{Fate, fate, is_serializable_read};
use crate::check::report::{Evidence, Violation};
use crate::check::steps::{Step, Taken, compared_version, is_whole, taken};
use crate::model::Span;

/// A version of a key that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read<'a> {
    pub key: &'a Blob,
    pub version: i64,
}

/// A version of a key that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write<'a> {
    pub key: &'a Blob,
    pub version: i64,
    /// `None` when it is not known, or the key was deleted.
    pub value: Option<&'a Blob>,
    pub is_delete: bool,
}

/// A read of all keys in a span: those that are not present were absent.
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    pub range: &'a Range,
    pub present: BTreeSet<&'a Blob>,
    pub revision: i64,
}

/// An operation.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub operation: &'a Operation,
    pub reads: Vec<Read<'a>>,
    pub scans: Vec<Scan<'a>>,
    pub writes: Vec<Write<'a>>,
    /// It was answered, so that whoever is invoked later comes after it.
    pub is_over: bool,
    /// It must come after whoever returned before it was invoked. A local or a historic read need
    /// not.
    pub is_current: bool,
}

impl Node<'_> {
    /// Whether anything is known of it.
    pub fn is_known(&self) -> bool {
        !(self.reads.is_empty() && self.scans.is_empty() && self.writes.is_empty())
    }
}

/// What every operation read and wrote, as far as its reply tells, and where it disagrees with
/// itself.
pub(super) fn nodes<'a>(history: &'a History, violations: &mut Vec<Violation>) -> Vec<Node<'a>> {
    let mut memory = Memory::default();
    history.operations.iter().map(|operation| memory.node(operation, violations)).collect()
}

/// What an operation is known to have found and done so far; the place is used for one operation
/// after the other.
#[derive(Debug, Default)]
struct Memory<'a> {
    /// Versions of the state before it.
    before: Sorted<'a, i64>,
    /// What it wrote itself so far; `None` for a key that it deleted.
    own: Sorted<'a, Option<Write<'a>>>,
    /// What it deleted without being told which keys there were.
    cleared: Vec<Span<'a>>,
}

/// By key. Operations speak of few keys, and of many only in their order.
#[derive(Debug)]
struct Sorted<'a, T>(Vec<(&'a Blob, T)>);

impl<T> Default for Sorted<'_, T> {
    fn default() -> Self {
        Sorted(Vec::new())
    }
}

impl<'a, T> Sorted<'a, T> {
    fn place(&self, key: &Blob) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if *last < key => Err(self.0.len()),
            _ => self.0.binary_search_by(|(one, _)| (*one).cmp(key)),
        }
    }

    fn get(&self, key: &Blob) -> Option<&T> {
        self.place(key).ok().map(|place| &self.0[place].1)
    }

    fn insert(&mut self, key: &'a Blob, value: T) {
        match self.place(key) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (key, value)),
        }
    }
}

impl<'a> Memory<'a> {
    fn node(&mut self, operation: &'a Operation, violations: &mut Vec<Violation>) -> Node<'a> {
        let is_historic = matches!(&operation.call, Call::Range(range) if range.revision != 0);
        self.before.0.clear();
        self.own.0.clear();
        self.cleared.clear();
        let mut reader = Reader {
            node: Node {
                operation,
                reads: Vec::new(),
                scans: Vec::new(),
                writes: Vec::new(),
                is_over: false,
                is_current: !is_historic && !is_serializable_read(&operation.call),
            },
            is_historic,
            memory: self,
            objection: None,
        };
        if let Fate::Answered(reply) = fate(operation) {
            reader.node.is_over = true;
            reader.take(&taken(&operation.call, reply));
        }
        if let Some(text) = reader.objection {
            let explanation = format!("{}: {text}", describe::operation(operation));
            let evidence = Evidence::of(&[operation]);
            violations.push(Violation { rule: "internal", evidence, explanation });
        }
        reader.node
    }
}

struct Reader<'m, 'a> {
    node: Node<'a>,
    is_historic: bool,
    memory: &'m mut Memory<'a>,
    objection: Option<String>,
}

impl<'a> Reader<'_, 'a> {
    fn take(&mut self, taken: &Taken<'a>) {
        for compare in &taken.held {
            if let Some(version) = compared_version(compare) {
                self.read(&compare.key, version);
            }
        }
        for &step in taken.steps.iter() {
            match step {
                Step::Range { range, reply, revision } => self.range(range, reply, revision),
                Step::Put { put, prev_kv, revision } => {
                    match prev_kv {
                        Some(kv) => self.saw(kv, false),
                        None if put.prev_kv => self.saw_none(&put.key),
                        None => {}
                    }
                    let value = (!put.ignore_value).then_some(&put.value);
                    self.write(&put.key, revision, value, false);
                }
                Step::Delete { delete, deleted, prev_kvs, revision } => {
                    for kv in prev_kvs {
                        self.saw(kv, false);
                        self.write(&kv.key, revision, None, true);
                    }
                    let is_one = delete.range_end.is_empty();
                    if is_one && deleted == 0 {
                        self.saw_none(&delete.key);
                    } else if is_one && prev_kvs.is_empty() {
                        self.write(&delete.key, revision, None, true);
                    } else if deleted > 0 && prev_kvs.is_empty() {
                        self.memory.cleared.push(Span::new(&delete.key, &delete.range_end));
                    }
                }
            }
        }
    }

    fn range(&mut self, range: &'a Range, reply: &'a RangeReply, revision: i64) {
        if range.revision != 0 && !self.is_historic {
            return;
        }
        for kv in &reply.kvs {
            self.saw(kv, range.keys_only);
        }
        let is_one = range.range_end.is_empty();
        if !is_whole(range, reply) {
            return;
        }
        if is_one && reply.kvs.is_empty() {
            return self.saw_none(&range.key);
        }
        if is_one {
            return;
        }
        let present: BTreeSet<&Blob> = reply.kvs.iter().map(|kv| &kv.key).collect();
        let span = Span::new(&range.key, &range.range_end);
        let missing = self
            .memory
            .own
            .0
            .iter()
            .find(|(key, own)| own.is_some() && span.holds(key) && !present.contains(*key));
        if let Some((key, _)) = missing {
            self.objection.get_or_insert(format!("it does not see {key:?}, which it wrote itself"));
        }
        if !self.memory.cleared.is_empty() {
            return;
        }
        self.node.scans.push(Scan { range, present, revision });
    }

    fn saw(&mut self, kv: &'a KeyValue, is_stripped: bool) {
        let Some(own) = self.memory.own.get(&kv.key) else {
            return self.read(&kv.key, kv.mod_revision);
        };
        let is_own = own.is_some_and(|own| {
            let is_value = own.value.is_none_or(|value| is_stripped || *value == kv.value);
            own.version == kv.mod_revision && is_value
        });
        if !is_own {
            let text =
                format!("it reads {} after it wrote {:?} itself", describe::key_value(kv), kv.key);
            self.objection.get_or_insert(text);
        }
    }

    fn saw_none(&mut self, key: &'a Blob) {
        match self.memory.own.get(key) {
            None if self.memory.cleared.iter().any(|span| span.holds(key)) => {}
            None => self.read(key, 0),
            Some(None) => {}
            Some(Some(_)) => {
                self.objection
                    .get_or_insert(format!("it does not see {key:?}, which it wrote itself"));
            }
        }
    }

    fn read(&mut self, key: &'a Blob, version: i64) {
        match self.memory.before.get(key) {
            None => {
                self.memory.before.insert(key, version);
                self.node.reads.push(Read { key, version });
            }
            Some(&earlier) if earlier != version => {
                let text = format!(
                    "it finds {key:?} {}, and then {}, although it did not write it in between",
                    version_name(earlier),
                    version_name(version)
                );
                self.objection.get_or_insert(text);
            }
            Some(_) => {}
        }
    }

    fn write(&mut self, key: &'a Blob, version: i64, value: Option<&'a Blob>, is_delete: bool) {
        let write = Write { key, version, value, is_delete };
        self.memory.own.insert(key, (!is_delete).then_some(write));
        self.node.writes.retain(|earlier| earlier.key != key);
        self.node.writes.push(write);
    }
}

/// `absent`, `as of revision 4`.
pub(super) fn version_name(version: i64) -> String {
    match version {
        0 => "absent".to_owned(),
        version => format!("as of revision {version}"),
    }
}
