//! A key or a range of keys, by etcd's convention for `key` and `range_end`.

use std::ops::Bound;

use detsim_reports::record::Blob;

/// The keys that a request speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<'a> {
    /// This key.
    One(&'a Blob),
    /// This key and every greater one.
    From(&'a Blob),
    /// From the first key, which belongs to it, to the second, which does not.
    Between(&'a Blob, &'a Blob),
}

impl<'a> Span<'a> {
    /// The span of `key` and `range_end`.
    pub fn new(key: &'a Blob, range_end: &'a Blob) -> Span<'a> {
        if range_end.is_empty() {
            Span::One(key)
        } else if range_end.0.as_ref() == b"\0" {
            Span::From(key)
        } else {
            Span::Between(key, range_end)
        }
    }

    /// Whether the key belongs to it.
    pub fn holds(self, key: &Blob) -> bool {
        match self {
            Span::One(one) => key == one,
            Span::From(start) => key >= start,
            Span::Between(start, end) => key >= start && key < end,
        }
    }

    /// Its bounds in an ordered map, `None` when nothing can lie between them.
    pub fn bounds(self) -> Option<(Bound<&'a Blob>, Bound<&'a Blob>)> {
        match self {
            Span::One(one) => Some((Bound::Included(one), Bound::Included(one))),
            Span::From(start) => Some((Bound::Included(start), Bound::Unbounded)),
            Span::Between(start, end) => {
                (start < end).then_some((Bound::Included(start), Bound::Excluded(end)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_end_decides_what_a_span_holds() {
        let (a, b, c, none, zero) = ("a", "b", "c", "", "\0");
        let blobs = [a, b, c, none, zero].map(Blob::text);
        let [a, b, c, none, zero] = &blobs;
        let held = |key, end| [a, b, c].map(|one| Span::new(key, end).holds(one));
        assert_eq!(held(b, none), [false, true, false]);
        assert_eq!(held(b, zero), [false, true, true]);
        assert_eq!(held(a, c), [true, true, false]);
        assert_eq!(held(c, a), [false, false, false]);
        assert_eq!(Span::new(c, a).bounds(), None);
    }
}
