//! What makes a slot's writes tell-tale: each value is written by one attempt only, and each lease
//! has an id that nobody else chooses. Keys begin with the workload's prefix, so that workloads
//! with different prefixes do not touch each other's.

use detsim_reports::record::Blob;

/// Lease ids of one prefix.
const LEASES_PER_PREFIX: i64 = 1_000_000_000_000;
/// Lease ids of one slot.
const LEASES_PER_SLOT: i64 = 1_000_000;

/// One slot's hand.
#[derive(Clone, Debug)]
pub(super) struct Author {
    name: String,
    values: u64,
    next_lease: i64,
}

impl Author {
    /// The hand of a slot of the workload with this prefix.
    pub fn new(prefix: &str, slot: usize) -> Author {
        let place = prefix.bytes().fold(0, |place, byte| (place * 31 + i64::from(byte)) % 9_000);
        let next_lease = (place + 1) * LEASES_PER_PREFIX + slot as i64 * LEASES_PER_SLOT + 1;
        Author { name: format!("{prefix}c{slot}"), values: 0, next_lease }
    }

    /// A value that was never written, of at least so many bytes.
    pub fn value(&mut self, bytes: usize) -> Blob {
        self.values += 1;
        let mut text = format!("{}-{}", self.name, self.values);
        // The formatter pads no further than 65,535.
        text.extend(std::iter::repeat_n('.', bytes.saturating_sub(text.len())));
        Blob::text(&text)
    }

    /// An id that no lease had.
    pub fn lease(&mut self) -> i64 {
        self.next_lease += 1;
        self.next_lease - 1
    }
}

/// The end of the range of all keys with this prefix.
pub(super) fn prefix_end(prefix: &Blob) -> Blob {
    let mut end = prefix.0.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Blob(end.into());
        }
    }
    Blob::text("\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_leases_never_repeat_and_values_have_their_size() {
        let mut authors = [Author::new("m", 1), Author::new("m", 11), Author::new("w", 1)];
        let mut drawn = Vec::new();
        for author in &mut authors {
            for bytes in [0, 40] {
                drawn.push((author.value(bytes), author.lease()));
            }
        }
        assert_eq!(drawn[0].0, Blob::text("mc1-1"));
        assert_eq!(drawn[1].0.0.len(), 40);
        assert_eq!(Author::new("m", 1).value(65_536).0.len(), 65_536);
        let mut values: Vec<_> = drawn.iter().map(|(value, _)| value).collect();
        let mut leases: Vec<_> = drawn.iter().map(|(_, lease)| lease).collect();
        values.sort_unstable();
        values.dedup();
        leases.sort_unstable();
        leases.dedup();
        assert_eq!((values.len(), leases.len()), (6, 6));
    }

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(prefix_end(&Blob::text("ab")), Blob::text("ac"));
        assert_eq!(prefix_end(&Blob(vec![b'a', 0xff].into())), Blob::text("b"));
        assert_eq!(prefix_end(&Blob(vec![0xff].into())), Blob::text("\0"));
    }
}
