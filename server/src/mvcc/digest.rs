//! A 64-bit digest of pieces of state, for comparing members with each other. Sums of digests do
//! not depend on the order in which the pieces were changed. Not for adversaries.

use std::array;

/// Digests one piece: feed its fields in a fixed order, then `finish`.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xd6e8_feb8_6659_fd93;

/// The product of two words with its halves mixed.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Digest {
    /// A digest of nothing, for pieces of the given kind.
    pub fn of(kind: u64) -> Digest {
        Digest(fold(kind ^ FIRST, SECOND))
    }

    fn pair(self, first: u64, second: u64) -> Digest {
        Digest(fold(first ^ FIRST, second ^ self.0) ^ SECOND)
    }

    /// Adds a number.
    #[must_use]
    pub fn u64(self, value: u64) -> Digest {
        self.pair(value, SECOND)
    }

    /// Adds a number.
    #[must_use]
    pub fn i64(self, value: i64) -> Digest {
        self.u64(value as u64)
    }

    /// Adds bytes and their length.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Digest {
        self.u64(bytes.len() as u64).blocks(bytes)
    }

    /// Adds bytes to each of several digests: what `bytes` does, side by side. One after another
    /// each block waits for the one before it.
    pub(super) fn bytes_each<const N: usize>(
        digests: [Digest; N],
        bytes: [&[u8]; N],
    ) -> [Digest; N] {
        let mut digests: [Digest; N] =
            array::from_fn(|lane| digests[lane].u64(bytes[lane].len() as u64));
        let shared = bytes.iter().map(|bytes| bytes.len() / 16).min().unwrap_or(0);
        let mut blocks = bytes.map(|bytes| bytes.chunks_exact(16));
        for _ in 0..shared {
            for (digest, blocks) in digests.iter_mut().zip(&mut blocks) {
                let block = blocks.next().expect("each has as many");
                *digest = digest.block(block.try_into().expect("chunks of sixteen"));
            }
        }
        array::from_fn(|lane| digests[lane].blocks(&bytes[lane][shared * 16..]))
    }

    fn blocks(self, bytes: &[u8]) -> Digest {
        let mut digest = self;
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            digest = digest.block(block.try_into().expect("chunks of sixteen"));
        }
        let rest = blocks.remainder();
        if rest.is_empty() {
            return digest;
        }
        let mut last = [0; 16];
        last[..rest.len()].copy_from_slice(rest);
        digest.block(&last)
    }

    fn block(self, block: &[u8; 16]) -> Digest {
        let word = u128::from_le_bytes(*block);
        self.pair(word as u64, (word >> 64) as u64)
    }

    /// The digest.
    pub fn finish(self) -> u64 {
        fold(self.0 ^ FIRST, SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn side_by_side_bytes_have_the_digests_that_they_have_alone() {
        let text: Vec<u8> = (0..200).collect();
        for lengths in [[0, 0, 0], [16, 15, 17], [200, 64, 33], [5, 160, 160], [48, 48, 48]] {
            let bytes = lengths.map(|len| &text[text.len() - len..]);
            let begun = [1, 2, 3].map(Digest::of);
            let each = Digest::bytes_each(begun, bytes).map(Digest::finish);
            let alone = [0, 1, 2].map(|lane| begun[lane].bytes(bytes[lane]).finish());
            assert_eq!(each, alone, "{lengths:?}");
        }
    }
}
