//! Ranges of keys, as requests write them: `key` and `range_end`
//! (contract-api.md, section 2.3).

use std::ops::Bound;

/// The keys that a request speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRange<'a> {
    /// Exactly this key.
    One(&'a [u8]),
    /// This key and every greater one.
    From(&'a [u8]),
    /// From the first, without the second.
    Between(&'a [u8], &'a [u8]),
    /// No key: the end is not after the start.
    Empty,
}

/// Where a range starts and ends in a map.
pub(super) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

impl<'a> KeyRange<'a> {
    /// From the two fields of a request.
    pub fn new(key: &'a [u8], range_end: &'a [u8]) -> KeyRange<'a> {
        match range_end {
            [] => KeyRange::One(key),
            [0] => KeyRange::From(key),
            _ if range_end <= key => KeyRange::Empty,
            _ => KeyRange::Between(key, range_end),
        }
    }

    /// Whether the range has this key.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::One(one) => *one == key,
            KeyRange::From(start) => *start <= key,
            KeyRange::Between(start, end) => *start <= key && key < *end,
            KeyRange::Empty => false,
        }
    }

    pub(super) fn bounds(&self) -> Option<Bounds<'a>> {
        match *self {
            KeyRange::One(key) => Some((Bound::Included(key), Bound::Included(key))),
            KeyRange::From(start) => Some((Bound::Included(start), Bound::Unbounded)),
            KeyRange::Between(start, end) => Some((Bound::Included(start), Bound::Excluded(end))),
            KeyRange::Empty => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KeyRange;

    #[test]
    fn range_ends_mean_what_the_contract_says() {
        let check = |key: &str, end: &[u8], inside: &str| {
            let range = KeyRange::new(key.as_bytes(), end);
            let all = ["a", "aa", "b", "c", "\u{7f}"];
            let found: Vec<_> = all.iter().filter(|k| range.contains(k.as_bytes())).collect();
            let expected: Vec<_> =
                all.iter().filter(|k| inside.split(' ').any(|i| i == **k)).collect();
            assert_eq!(found, expected, "{key} {end:?}");
        };
        check("a", b"", "a");
        check("a", b"b", "a aa");
        check("a", b"\0", "a aa b c \u{7f}");
        check("b", b"\0", "b c \u{7f}");
        check("\0", b"\0", "a aa b c \u{7f}");
        check("b", b"b", "");
        check("c", b"a", "");
    }
}
