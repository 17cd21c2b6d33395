//! Values of flags, read as Go's `flag` and `strconv` packages and etcd's own flag types read them.
//! Source: contract-cluster.md, sections 1.1 and 1.2.

use super::quote::quote;
use super::url;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// Go's words for true and false.
    Bool,
    /// A signed number, of any base Go knows.
    Int,
    /// An unsigned number.
    Uint,
    /// One of 32 bits, with the error texts of the parser itself.
    Uint32,
    /// A Go duration.
    Duration,
    /// URLs that can be listened on or reached. An empty value changes nothing.
    Urls,
    /// URLs, or `*` for all.
    UrlsOrAll,
    /// Texts between commas.
    List,
    /// The same, sorted and without duplicates.
    Set,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words.
    Choices(&'static [&'static str]),
    /// `Gate=bool,...`; read by `flags::features`.
    Gates,
    /// Accepted and ignored; acts as a boolean.
    Ignored,
}

impl Kind {
    /// Whether the flag may stand without a value on a command line.
    pub fn is_bool(self) -> bool {
        matches!(self, Kind::Bool | Kind::Ignored)
    }
}

/// A flag's value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// In nanoseconds; may be negative.
    Duration(i64),
    List(Vec<String>),
}

/// Reads a value. `Ok(None)` leaves the flag as it was. Errors are what follows the flag's name in
/// Go's text.
pub fn parse(kind: Kind, text: &str) -> Result<Option<Value>, String> {
    let value = match kind {
        Kind::Text | Kind::Gates => Value::Text(text.to_owned()),
        Kind::Bool => Value::Bool(parse_bool(text).ok_or("parse error")?),
        Kind::Ignored => return Ok(None),
        Kind::Int => Value::Int(parse_int(text).map_err(|error| error.short().to_owned())?),
        Kind::Uint => Value::Uint(parse_uint(text).map_err(|error| error.short().to_owned())?),
        Kind::Uint32 => Value::Uint(parse_uint32(text)?),
        Kind::Duration => Value::Duration(parse_duration(text).map_err(|_| "parse error")?),
        Kind::Urls if text.is_empty() => return Ok(None),
        Kind::UrlsOrAll if text == "*" => Value::List(vec![text.to_owned()]),
        Kind::Urls | Kind::UrlsOrAll => {
            let urls = url::parse_set(text).map_err(|error| error.to_string())?;
            Value::List(url::print(&urls))
        }
        Kind::List => Value::List(text.split(',').map(str::to_owned).collect()),
        Kind::Set => {
            let mut texts: Vec<String> = text.split(',').map(str::to_owned).collect();
            texts.sort_unstable();
            texts.dedup();
            Value::List(texts)
        }
        Kind::Choice(choices) if choices.contains(&text) => Value::Text(text.to_owned()),
        Kind::Choice(_) => return Err("invalid value".to_owned()),
        Kind::Choices(choices) => {
            if let Some(bad) = text.split(',').find(|word| !choices.contains(word)) {
                return Err(format!("invalid value {}", quote(bad)));
            }
            Value::Text(text.to_owned())
        }
    };
    Ok(Some(value))
}

/// Go's words for true and false.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A text is not a number of the wanted size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// Not a number.
    Syntax,
    /// Too large or too small.
    Range,
}

impl NumberError {
    /// As the `flag` package puts it.
    pub fn short(self) -> &'static str {
        match self {
            NumberError::Syntax => "parse error",
            NumberError::Range => "value out of range",
        }
    }

    /// As the parser puts it.
    fn long(self) -> &'static str {
        match self {
            NumberError::Syntax => "invalid syntax",
            NumberError::Range => "value out of range",
        }
    }
}

/// A signed number: decimal, or with the prefix of another base.
pub fn parse_int(text: &str) -> Result<i64, NumberError> {
    let (is_negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = i128::from(parse_uint(digits)?);
    let value = if is_negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_| NumberError::Range)
}

/// An unsigned number: decimal, or with the prefix of another base. Digits may be grouped by
/// underscores where there is a prefix.
pub fn parse_uint(text: &str) -> Result<u64, NumberError> {
    let lower = text.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0b", 2), ("0o", 8)];
    let found = prefixes.iter().find_map(|(prefix, base)| {
        let digits = lower.strip_prefix(prefix)?;
        Some((digits.to_owned(), *base))
    });
    let (digits, base) = match found {
        Some((digits, base)) => (group(&digits)?, base),
        None if lower.len() > 1 && lower.starts_with('0') => (group(&lower[1..])?, 8),
        None => (lower, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err(NumberError::Syntax);
    }
    u64::from_str_radix(&digits, base).map_err(|_| NumberError::Range)
}

/// Digits without their underscores, of which there is one at most between two digits.
fn group(digits: &str) -> Result<String, NumberError> {
    let digits = digits.strip_prefix('_').unwrap_or(digits);
    if digits.split('_').any(str::is_empty) {
        return Err(NumberError::Syntax);
    }
    Ok(digits.replace('_', ""))
}

fn parse_uint32(text: &str) -> Result<u64, String> {
    let value = parse_uint(text).and_then(|value| match u32::try_from(value) {
        Ok(_) => Ok(value),
        Err(_) => Err(NumberError::Range),
    });
    value.map_err(|error| format!("strconv.ParseUint: parsing {}: {}", quote(text), error.long()))
}

/// A Go duration in nanoseconds: `1h2m3.5s`, `-300ms`, `0`. Errors are those of Go's package.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (is_negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit_name, after) = after.split_at(end);
        if unit_name.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let unit = unit_nanos(unit_name).ok_or_else(|| {
            format!("time: unknown unit {} in duration {}", quote(unit_name), quote(text))
        })?;
        let whole: u128 =
            if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        nanos = whole
            .checked_mul(unit)
            .and_then(|part| nanos.checked_add(part))
            .and_then(|nanos| nanos.checked_add(fraction_nanos(fraction, unit)))
            .filter(|nanos| *nanos <= 1 << 63)
            .ok_or_else(invalid)?;
        rest = after;
    }
    let value = i128::try_from(nanos).map_err(|_| invalid())?;
    i64::try_from(if is_negative { -value } else { value }).map_err(|_| invalid())
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Truncated to whole nanoseconds; more than eighteen digits cannot matter.
fn fraction_nanos(digits: &str, unit: u128) -> u128 {
    let digits = &digits[..digits.len().min(18)];
    let numerator: u128 = digits.parse().unwrap_or(0);
    numerator * unit / 10_u128.pow(digits.len() as u32)
}

fn unit_nanos(name: &str) -> Option<u128> {
    Some(match name {
        "ns" => 1,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("1h2m3.5s", 3_723_500_000_000),
            ("-1.5ms", -1_500_000),
            ("+.5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("2µs", 2_000),
            ("1.0000000009s", 1_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
        for (text, error) in [
            ("", "time: invalid duration \"\""),
            ("abc", "time: invalid duration \"abc\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            (".s", "time: invalid duration \".s\""),
            ("1s-2s", "time: unknown unit \"s-\" in duration \"1s-2s\""),
        ] {
            assert_eq!(parse_duration(text).unwrap_err(), error);
        }
    }

    #[test]
    fn numbers_read_in_every_base_of_go() {
        for (text, value) in [
            ("0", 0),
            ("42", 42),
            ("0x1F", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("0x1_000", 4096),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_uint(text), Ok(value), "{text}");
        }
        for text in ["", "x", "1_000", "0x", "0x_", "-1", "08", "1.5", " 1"] {
            assert_eq!(parse_uint(text), Err(NumberError::Syntax), "{text:?}");
        }
        assert_eq!(parse_uint("18446744073709551616"), Err(NumberError::Range));
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int("+7"), Ok(7));
        assert_eq!(parse_int("9223372036854775808"), Err(NumberError::Range));
        assert_eq!(parse_int("--1"), Err(NumberError::Syntax));
    }
}
