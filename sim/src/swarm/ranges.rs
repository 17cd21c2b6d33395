//! From what the values of parameters are drawn: a small table by parameter, and a rule for every
//! kind of value, so that a workload or nemesis that is added is drawn without being named here.
//!
//! Half of the parameters of a statement stay at their defaults and are not written, so that each
//! is also tried alone.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::language::value::{Entry, Kind, Parameter, Settings, Value};
use crate::seed::{Draw, Streams};

/// How a parameter is drawn.
#[derive(Clone, Copy, Debug)]
enum Range {
    /// One of these, each as likely; written as in a script.
    OneOf(&'static [&'static str]),
    /// Some of its words.
    Some,
    /// It stays at its default.
    Left,
}

use Range::{Left, OneOf};

/// Ranges by the parameter's name, or, which counts more, by `kind.name` for one kind alone.
const RANGES: &[(&str, Range)] = &[
    ("clients", OneOf(&["1", "2", "4", "8"])),
    ("every", OneOf(&["200ms..2s", "1s..5s", "3s..10s", "5s..15s"])),
    ("for", OneOf(&["50ms..500ms", "300ms..3s", "1s..8s", "5s..15s"])),
    ("keys", OneOf(&["1", "2", "4", "8", "16"])),
    ("prefix", Left),
    ("rate", OneOf(&["5/s", "20/s", "50/s", "100/s"])),
    ("targets", Range::Some),
    ("heavy-tail.clients", OneOf(&["25%", "100%"])),
    ("lossy.clients", OneOf(&["25%", "100%"])),
    ("narrow.clients", OneOf(&["25%", "100%"])),
    ("reconfigure.flags", Range::Some),
    ("slow-link.clients", OneOf(&["25%", "100%"])),
    ("lease.ttl", OneOf(&["1s..2s", "2s..5s", "2s..10s", "5s..30s"])),
    ("mixed.avoid", Left),
    ("mixed.compactions", OneOf(&["0%", "0.5%", "3%"])),
    ("mixed.deletes", OneOf(&["0%", "10%", "40%"])),
    ("mixed.invalid", OneOf(&["0%", "1%", "5%"])),
    ("mixed.leases", OneOf(&["0%", "6%", "20%"])),
    ("mixed.reads", OneOf(&["5%", "45%", "90%"])),
    ("mixed.value", OneOf(&["0", "16", "1KB"])),
    ("power-loss.busy", OneOf(&["50%", "100%"])),
    ("watch.compact", OneOf(&["200ms..1s", "1s..5s"])),
    ("watch.large", OneOf(&["16", "1KB", "8KB", "64KB"])),
    ("watch.slow-shared", OneOf(&["0%", "50%", "100%"])),
    ("watch.watchers", OneOf(&["1", "2", "4", "8"])),
    ("watch.whole", OneOf(&["5%", "50%"])),
    ("watch.writers", OneOf(&["1", "2", "4"])),
];

/// Draws some of the parameters of a workload or nemesis. Each has a stream of its own, so that one
/// that is added shifts no other.
pub fn settings(entry: &Entry, streams: Streams, path: &str) -> Settings {
    let drawn = entry.parameters.iter().filter_map(|parameter| {
        let mut stream = streams.stream(&format!("{path}/{}", parameter.name));
        let is_drawn = stream.below(2) == 0;
        let value = value(entry.name, parameter, &mut stream);
        let is_default = value == parameter.kind.read(parameter.default);
        let value = value.filter(|_| is_drawn && !is_default)?;
        Some((parameter.name.to_owned(), value))
    });
    Settings(drawn.collect())
}

/// Draws a value; `None` for one that is better not set.
fn value(entry: &str, parameter: &Parameter, stream: &mut ChaCha8Rng) -> Option<Value> {
    let own = format!("{entry}.{}", parameter.name);
    let find = |name: &str| RANGES.iter().find(|(it, _)| *it == name).map(|(_, range)| *range);
    match find(&own).or_else(|| find(parameter.name)) {
        Some(OneOf(choices)) => {
            let chosen = *stream.pick(choices);
            // Another entry's parameter of this name may be of another kind.
            parameter.kind.read(chosen).or_else(|| by_kind(parameter, stream))
        }
        Some(Range::Some) => match parameter.kind {
            Kind::Words(words) => Some(some(words, stream)),
            _ => by_kind(parameter, stream),
        },
        Some(Left) => None,
        None => by_kind(parameter, stream),
    }
}

/// By what the value is and what it is when nothing is said: from a quarter of it to four times it.
fn by_kind(parameter: &Parameter, stream: &mut ChaCha8Rng) -> Option<Value> {
    if parameter.kind == Kind::Switch {
        return Some(Value::Switch);
    }
    let default = parameter.kind.read(parameter.default)?;
    let quarters = *stream.pick(&[1_u32, 2, 8, 16]);
    let scaled = |number: u64| number.saturating_mul(u64::from(quarters)) / 4;
    let stretched = |time: Duration| time * quarters / 4;
    match default {
        Value::Count(count) => Some(Value::Count(scaled(count).max(1.min(count)))),
        Value::Rate(rate) => Some(Value::Rate(scaled(rate).max(1))),
        Value::Size(bytes) => Some(Value::Size(scaled(bytes))),
        Value::Percent(rate) => {
            let most = [10_000, scaled(u64::from(rate)) as u32];
            Some(Value::Percent(most.into_iter().min().unwrap_or(rate)))
        }
        Value::Duration(time) => Some(Value::Duration(stretched(time))),
        Value::Span(low, high) => Some(Value::Span(stretched(low), stretched(high))),
        Value::Words(words) => match parameter.kind {
            // What is one word by default is a choice; what is several is a set.
            Kind::Words(all) if words.len() == 1 => {
                Some(Value::Words(vec![(*stream.pick(all)).to_owned()]))
            }
            Kind::Words(all) => Some(some(all, stream)),
            _ => None,
        },
        Value::Integer(_) | Value::Text(_) | Value::Switch => None,
    }
}

/// Some words, each with a chance of a half, but at least one.
fn some(words: &[&str], stream: &mut ChaCha8Rng) -> Value {
    let sure = stream.below(words.len() as u64) as usize;
    let drawn = words.iter().enumerate().filter(|(place, _)| {
        let is_on = stream.below(2) == 0;
        is_on || *place == sure
    });
    Value::Words(drawn.map(|(_, word)| (*word).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::VOCABULARY;

    /// Parameters of kinds that the table does not name.
    const UNKNOWN: Entry = Entry {
        name: "unknown",
        meaning: "something that was added later",
        parameters: &[
            Parameter { name: "many", kind: Kind::Count, default: "6", meaning: "" },
            Parameter { name: "share", kind: Kind::Percent, default: "40%", meaning: "" },
            Parameter { name: "pause", kind: Kind::Span, default: "10ms..20ms", meaning: "" },
            Parameter {
                name: "way",
                kind: Kind::Words(&["in", "out"]),
                default: "in",
                meaning: "",
            },
            Parameter {
                name: "sorts",
                kind: Kind::Words(&["a", "b", "c"]),
                default: "a,b",
                meaning: "",
            },
            Parameter { name: "every", kind: Kind::Count, default: "1", meaning: "" },
            Parameter { name: "odd", kind: Kind::Switch, default: "", meaning: "" },
        ],
    };

    fn drawn(entry: &Entry, seeds: u64) -> Vec<Settings> {
        (0..seeds).map(|seed| settings(entry, Streams::new(seed), "test")).collect()
    }

    #[test]
    fn every_range_of_the_table_is_a_legal_value_of_what_it_names() {
        let all = VOCABULARY.workloads.iter().chain(VOCABULARY.nemeses);
        for (name, range) in RANGES {
            let named: Vec<Parameter> = match name.split_once('.') {
                Some((kind, own)) => {
                    let entry = all.clone().find(|entry| entry.name == kind);
                    let entry = entry.unwrap_or_else(|| panic!("there is no {kind}"));
                    entry.parameters.iter().copied().filter(|it| it.name == own).collect()
                }
                None => all
                    .clone()
                    .flat_map(|it| it.parameters)
                    .copied()
                    .filter(|it| it.name == *name)
                    .collect(),
            };
            assert!(!named.is_empty(), "nothing has {name}");
            let OneOf(choices) = range else { continue };
            for choice in *choices {
                let fits = named.iter().any(|it| it.kind.read(choice).is_some());
                assert!(fits, "{name}={choice}");
            }
        }
    }

    #[test]
    fn what_the_table_does_not_name_is_drawn_by_its_kind() {
        let drawn = drawn(&UNKNOWN, 400);
        for parameter in UNKNOWN.parameters {
            let values: Vec<&Value> =
                drawn.iter().filter_map(|settings| settings.get(parameter.name)).collect();
            assert!(values.len() > 40, "{} is drawn {} times", parameter.name, values.len());
            for value in &values {
                let text = value.to_string();
                let read = parameter.kind.read(&text);
                assert!(read.as_ref() == Some(*value) || **value == Value::Switch, "{text}");
            }
        }
        let sets = drawn.iter().map(|it| it.words("sorts").len()).max();
        assert_eq!(sets, Some(3));
        assert!(drawn.iter().all(|it| it.words("way").len() <= 1));
    }

    #[test]
    fn parameters_are_also_drawn_alone() {
        let drawn = drawn(&UNKNOWN, 400);
        let alone = drawn.iter().filter(|settings| settings.0.len() == 1).count();
        assert!(alone > 10, "{alone}");
    }
}
