//! What a watcher watches: one key, or a range of keys.

use bytes::Bytes;

/// Where a range of keys stops. The order of the variants is the order of the ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Before this key.
    Before(Bytes),
    /// Nowhere.
    Open,
}

impl End {
    /// Whether a key lies before the end.
    pub fn is_after(&self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < &end[..],
            End::Open => true,
        }
    }
}

/// One key, or all keys from `start` to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    /// Exactly this key.
    Key(Bytes),
    /// From `start` (inclusive) to `end`.
    Span {
        /// The first key.
        start: Bytes,
        /// Where it stops.
        end: End,
    },
}

impl KeyRange {
    /// As a create request means it: no key is the smallest key, and the one-byte end of zero is
    /// no end. None if no key could be in it.
    pub fn of_request(key: &Bytes, range_end: &Bytes) -> Option<KeyRange> {
        let start = if key.is_empty() { Bytes::from_static(&[0]) } else { key.clone() };
        match &range_end[..] {
            [] => Some(KeyRange::Key(start)),
            [0] => Some(KeyRange::Span { start, end: End::Open }),
            end if end <= &start[..] => None,
            _ => Some(KeyRange::Span { start, end: End::Before(range_end.clone()) }),
        }
    }

    /// Whether a key is in it: what `Matcher` must find.
    #[cfg(test)]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::Key(only) => key == &only[..],
            KeyRange::Span { start, end } => &start[..] <= key && end.is_after(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_decides_what_is_watched() {
        let range = |key: &'static str, end: &'static str| {
            KeyRange::of_request(&Bytes::from_static(key.as_bytes()), &Bytes::from(end))
        };
        let holds = |key, end, asked: &str| {
            range(key, end).is_some_and(|range| range.contains(asked.as_bytes()))
        };
        assert!(holds("a", "", "a") && !holds("a", "", "b") && !holds("a", "", "a\0"));
        assert!(holds("a", "c", "a") && holds("a", "c", "bz") && !holds("a", "c", "c"));
        assert!(holds("b", "\0", "zzz") && !holds("b", "\0", "a"));
        assert!(holds("", "", "\0") && !holds("", "", "a"));
        assert!(holds("", "\0", "a") && holds("", "b", "a") && !holds("", "b", "b"));
        assert_eq!(range("b", "a"), None);
        assert_eq!(range("b", "b"), None);
        assert_eq!(range("\0", "\0"), range("", "\0"));
    }
}
