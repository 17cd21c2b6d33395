//! A 64-bit digest of pieces of state, for comparing members with each other. Sums of digests do
//! not depend on the order in which the pieces were changed. Not for adversaries.

/// Digests one piece: feed its fields in a fixed order, then `finish`.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const SPREAD: u64 = 0xd6e8_feb8_6659_fd93;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Digest {
    /// A digest of nothing, for pieces of the given kind.
    pub fn of(kind: u64) -> Digest {
        Digest(fold(kind ^ SEED, SPREAD))
    }

    /// Adds a number.
    #[must_use]
    pub fn u64(self, value: u64) -> Digest {
        Digest(fold(self.0 ^ value ^ SPREAD, SEED) ^ value.rotate_left(32))
    }

    /// Adds a number.
    #[must_use]
    pub fn i64(self, value: i64) -> Digest {
        self.u64(value as u64)
    }

    /// Adds bytes and their length.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Digest {
        let mut digest = self.u64(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            digest = digest.u64(u64::from_le_bytes(word.try_into().expect("chunks of eight")));
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        digest.u64(u64::from_le_bytes(last))
    }

    /// The digest.
    pub fn finish(self) -> u64 {
        fold(self.0 ^ SEED, SPREAD)
    }
}
