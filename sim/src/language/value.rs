//! Values of the language: counts, rates, durations, spans of durations, percentages, sizes,
//! words. Each has one canonical form, which reads back as the same value.

use std::fmt;
use std::time::Duration;

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number: `16`.
    Count,
    /// One that may be negative: `-7`.
    Integer,
    /// Per second: `200/s`.
    Rate,
    /// `1.5s`, `200us`, `0ms`.
    Duration,
    /// From, to: `5s..15s`; or one duration.
    Span,
    /// With at most two decimals: `2.5%`.
    Percent,
    /// Bytes: `512`, `64KB`, `1MB`.
    Size,
    /// Anything; in quotes if it holds blanks.
    Text,
    /// Some of these, separated by commas.
    Words(&'static [&'static str]),
    /// A word that stands alone, without a value.
    Switch,
}

/// The words of a table that says what each stands for.
pub const fn words<T, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}

/// What a word of a table stands for.
pub fn meant<T: Clone>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == word).map(|(_, meant)| meant.clone())
}

/// The word of a table that stands for something; nothing where none does.
pub fn word_for<T: PartialEq>(table: &[(&'static str, T)], meant: &T) -> &'static str {
    table.iter().find(|(_, known)| known == meant).map_or("", |(word, _)| word)
}

impl Kind {
    /// What a reader is told is expected.
    pub fn describe(self) -> String {
        match self {
            Kind::Count => "a whole number like `16`".to_owned(),
            Kind::Integer => "a whole number like `-7`".to_owned(),
            Kind::Rate => "a rate like `200/s`".to_owned(),
            Kind::Duration => "a duration like `1.5s`".to_owned(),
            Kind::Span => "a duration or a span like `5s..15s`".to_owned(),
            Kind::Percent => "a percentage like `2.5%`".to_owned(),
            Kind::Size => "a size like `64KB`".to_owned(),
            Kind::Text => "a value".to_owned(),
            Kind::Words(words) => {
                format!("one or more of {}, separated by commas", words.join(", "))
            }
            Kind::Switch => "no value".to_owned(),
        }
    }

    /// Reads a value.
    pub fn read(self, text: &str) -> Option<Value> {
        match self {
            Kind::Count => digits(text).map(Value::Count),
            Kind::Integer => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|_| is_plain).map(Value::Integer)
            }
            Kind::Rate => text.strip_suffix("/s").and_then(digits).map(Value::Rate),
            Kind::Duration => duration(text).map(Value::Duration),
            Kind::Span => match text.split_once("..") {
                Some((low, high)) => {
                    let (low, high) = (duration(low)?, duration(high)?);
                    (low <= high).then_some(Value::Span(low, high))
                }
                None => duration(text).map(|both| Value::Span(both, both)),
            },
            Kind::Percent => percent(text).map(Value::Percent),
            Kind::Size => size(text).map(Value::Size),
            Kind::Text => Some(Value::Text(text.to_owned())),
            Kind::Words(legal) => {
                let words: Vec<String> = text.split(',').map(str::to_owned).collect();
                words
                    .iter()
                    .all(|word| legal.contains(&word.as_str()))
                    .then_some(Value::Words(words))
            }
            Kind::Switch => None,
        }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value {
    Count(u64),
    Integer(i64),
    Rate(u64),
    Duration(Duration),
    Span(Duration, Duration),
    /// Per 10,000.
    Percent(u32),
    Size(u64),
    Text(String),
    Words(Vec<String>),
    Switch,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => write!(f, "{count}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Rate(rate) => write!(f, "{rate}/s"),
            Value::Duration(duration) => f.write_str(&show_duration(*duration)),
            Value::Span(low, high) if low == high => f.write_str(&show_duration(*low)),
            Value::Span(low, high) => {
                write!(f, "{}..{}", show_duration(*low), show_duration(*high))
            }
            Value::Percent(rate) => f.write_str(&show_percent(*rate)),
            Value::Size(bytes) => f.write_str(&show_size(*bytes)),
            Value::Text(text) => f.write_str(&quoted_if_needed(text)),
            Value::Words(words) => f.write_str(&words.join(",")),
            Value::Switch => Ok(()),
        }
    }
}

/// One of the things that a statement may be told as `name=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// The value when nothing is said; empty when there is none.
    pub default: &'static str,
    /// What it means, for the reader of `detsim list`.
    pub meaning: &'static str,
}

/// A parameter of a statement, which has no default.
pub(super) const fn parameter(name: &'static str, kind: Kind, meaning: &'static str) -> Parameter {
    Parameter { name, kind, default: "", meaning }
}

/// Something that a script can name, with the parameters it takes: a workload, a nemesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it does, for the reader of `detsim list`.
    pub meaning: &'static str,
    /// What it may be told.
    pub parameters: &'static [Parameter],
}

/// Values by the names of their parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(pub Vec<(String, Value)>);

impl Settings {
    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether a switch was given.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A count, size, rate or percentage.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Count(number) | Value::Rate(number) | Value::Size(number) => Some(*number),
            Value::Percent(rate) => Some(u64::from(*rate)),
            _ => None,
        }
    }

    /// A duration.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.get(name)? {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    /// A span.
    pub fn span(&self, name: &str) -> Option<(Duration, Duration)> {
        match self.get(name)? {
            Value::Span(low, high) => Some((*low, *high)),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Words; empty if there are none.
    pub fn words(&self, name: &str) -> &[String] {
        match self.get(name) {
            Some(Value::Words(words)) => words,
            _ => &[],
        }
    }

    /// These, completed with the defaults of the parameters that are not set, in the parameters'
    /// order.
    #[must_use]
    pub fn with_defaults(&self, parameters: &[Parameter]) -> Settings {
        let filled = parameters.iter().filter_map(|parameter| {
            let given = self.get(parameter.name).cloned();
            let value = given.or_else(|| parameter.kind.read(parameter.default))?;
            Some((parameter.name.to_owned(), value))
        });
        Settings(filled.collect())
    }
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A number with at most `places` decimals, in units of the last place.
fn decimal(text: &str, places: u32) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > places as usize || (text.contains('.') && part.is_empty()) {
        return None;
    }
    let padded = format!("{part:0<width$}", width = places as usize);
    let part = if places == 0 { 0 } else { digits(&padded)? };
    digits(whole)?.checked_mul(10_u64.pow(places))?.checked_add(part)
}

fn undecimal(units: u64, places: u32) -> String {
    let scale = 10_u64.pow(places);
    let text = format!("{}.{:0width$}", units / scale, units % scale, width = places as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads `1.5s`, `20ms`, `7us`, `3ns`, `2m`, `1h`.
pub fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let nanos = match unit {
        "ns" => decimal(number, 0)?,
        "us" => decimal(number, 3)?,
        "ms" => decimal(number, 6)?,
        "s" => decimal(number, 9)?,
        "m" => digits(number)?.checked_mul(60_000_000_000)?,
        "h" => digits(number)?.checked_mul(3_600_000_000_000)?,
        _ => return None,
    };
    Some(Duration::from_nanos(nanos))
}

/// The canonical form of a duration: whole hours, else seconds, milliseconds, microseconds or
/// nanoseconds, whichever is the largest that it reaches.
pub fn show_duration(duration: Duration) -> String {
    match duration.as_nanos() as u64 {
        0 => "0s".to_owned(),
        nanos if nanos % 3_600_000_000_000 == 0 => format!("{}h", nanos / 3_600_000_000_000),
        nanos if nanos >= 1_000_000_000 => format!("{}s", undecimal(nanos, 9)),
        nanos if nanos >= 1_000_000 => format!("{}ms", undecimal(nanos, 6)),
        nanos if nanos >= 1_000 => format!("{}us", undecimal(nanos, 3)),
        nanos => format!("{nanos}ns"),
    }
}

/// Reads `2.5%` as 250 of 10,000.
fn percent(text: &str) -> Option<u32> {
    let rate = decimal(text.strip_suffix('%')?, 2)?;
    (rate <= 10_000).then_some(rate as u32)
}

/// The canonical form of so many of 10,000.
pub fn show_percent(rate: u32) -> String {
    format!("{}%", undecimal(u64::from(rate), 2))
}

const SIZE_UNITS: [(&str, u64); 3] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];

fn size(text: &str) -> Option<u64> {
    for (unit, bytes) in SIZE_UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            return digits(number)?.checked_mul(bytes);
        }
    }
    digits(text)
}

/// The canonical form of a number of bytes.
pub fn show_size(bytes: u64) -> String {
    let unit = SIZE_UNITS.iter().find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// Text as it stands in a script: in quotes unless it is one plain word.
pub fn quoted_if_needed(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.starts_with('#')
        && !matches!(text, "|" | "->")
        && text.chars().all(|letter| letter.is_ascii_graphic() && !"\";\\".contains(letter));
    if plain { text.to_owned() } else { quoted(text) }
}

/// Text in quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_one_canonical_form_that_reads_back() {
        let check = |kind: Kind, text: &str, canonical: &str| {
            let value = kind.read(text).expect("a legal value");
            assert_eq!(value.to_string(), canonical);
            assert_eq!(kind.read(canonical), Some(value));
        };
        check(Kind::Duration, "1500ms", "1.5s");
        check(Kind::Duration, "120s", "120s");
        check(Kind::Duration, "60m", "1h");
        check(Kind::Duration, "1.000000001s", "1.000000001s");
        check(Kind::Duration, "0ms", "0s");
        check(Kind::Span, "5s..15s", "5s..15s");
        check(Kind::Span, "200us", "200us");
        check(Kind::Percent, "2.50%", "2.5%");
        check(Kind::Percent, "100%", "100%");
        check(Kind::Size, "2048KB", "2MB");
        check(Kind::Size, "0", "0");
        check(Kind::Rate, "200/s", "200/s");
        check(Kind::Words(&["a", "b"]), "b,a", "b,a");
    }

    #[test]
    fn wrong_values_are_refused() {
        for (kind, text) in [
            (Kind::Duration, "5"),
            (Kind::Duration, "s"),
            (Kind::Duration, "-1s"),
            (Kind::Duration, "1.s"),
            (Kind::Duration, "99999999999999999999s"),
            (Kind::Span, "5s..1s"),
            (Kind::Percent, "100.01%"),
            (Kind::Percent, "5"),
            (Kind::Rate, "200"),
            (Kind::Count, "+5"),
            (Kind::Count, "-5"),
            (Kind::Integer, "+5"),
            (Kind::Integer, "--5"),
            (Kind::Integer, "-"),
            (Kind::Words(&["a"]), "a,c"),
        ] {
            assert_eq!(kind.read(text), None, "{text}");
        }
    }
}
