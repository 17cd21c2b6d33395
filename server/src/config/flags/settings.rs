//! The flags of one server: what was given, and the defaults for the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{Flag, TABLE};
use crate::config::CompatVersion;
use crate::config::value::{Kind, Value, parse};

/// A value for every flag that an etcd of one version has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<&'static str, Value>,
    explicit: BTreeSet<&'static str>,
}

/// The flag of this name, if this etcd has it.
pub fn find(name: &str, compat: CompatVersion) -> Option<&'static Flag> {
    TABLE.iter().find(|flag| flag.name == name && flag.is_in(compat))
}

impl Settings {
    /// All defaults.
    pub fn defaults(compat: CompatVersion) -> Settings {
        let mut values = BTreeMap::new();
        for flag in TABLE.iter().filter(|flag| flag.is_in(compat)) {
            let value = match flag.kind {
                Kind::Ignored => continue,
                Kind::Urls | Kind::List | Kind::Set if flag.default.is_empty() => {
                    Value::List(Vec::new())
                }
                kind => parse(kind, flag.default)
                    .expect("defaults are valid")
                    .expect("a default is a value"),
            };
            values.insert(flag.name, value);
        }
        Settings { values, explicit: BTreeSet::new() }
    }

    /// Gives a flag a value; `None` notes only that it was given.
    pub(super) fn set(&mut self, name: &'static str, value: Option<Value>) {
        if let Some(value) = value {
            self.values.insert(name, value);
        }
        self.explicit.insert(name);
    }

    /// Whether the flag was given.
    pub fn is_explicit(&self, name: &str) -> bool {
        self.explicit.contains(name)
    }

    /// The names of the flags that were given, sorted.
    pub fn explicit(&self) -> impl Iterator<Item = &'static str> {
        self.explicit.iter().copied()
    }

    /// A flag's value, if this etcd has the flag.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The value of a text flag; empty if this etcd does not have it.
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Value::Text(text)) => text,
            None => "",
            Some(other) => panic!("flag {name} is no text: {other:?}"),
        }
    }

    /// The value of a list; empty if this etcd does not have it.
    pub fn list(&self, name: &str) -> &[String] {
        match self.get(name) {
            Some(Value::List(list)) => list,
            None => &[],
            Some(other) => panic!("flag {name} is no list: {other:?}"),
        }
    }

    /// Whether a boolean is on; off if this etcd does not have it.
    pub fn is_on(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(on)) => *on,
            None => false,
            Some(other) => panic!("flag {name} is no boolean: {other:?}"),
        }
    }

    /// The value of an unsigned number.
    pub fn uint(&self, name: &str) -> u64 {
        match self.get(name) {
            Some(Value::Uint(value)) => *value,
            other => panic!("flag {name} is no unsigned number: {other:?}"),
        }
    }

    /// The value of a signed number.
    pub fn int(&self, name: &str) -> i64 {
        match self.get(name) {
            Some(Value::Int(value)) => *value,
            other => panic!("flag {name} is no number: {other:?}"),
        }
    }

    /// The value of a duration, in nanoseconds.
    pub fn nanos(&self, name: &str) -> i64 {
        match self.get(name) {
            Some(Value::Duration(nanos)) => *nanos,
            other => panic!("flag {name} is no duration: {other:?}"),
        }
    }

    /// Which of a flag and its `experimental-` forerunner counts: the forerunner where it is all
    /// there is, or where it was given.
    pub(super) fn heir(&self, name: &'static str, forerunner: &'static str) -> &'static str {
        let has_name = self.values.contains_key(name);
        if !has_name || self.is_explicit(forerunner) { forerunner } else { name }
    }
}
