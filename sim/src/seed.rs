//! One seed decides a run: every part of the simulation draws from its own stream, derived from
//! the seed by the stream's name, so that no part's draws shift another's. All sampling is done
//! with integers.
//!
//! A stream's values depend on the seed, the name and the order of draws within the stream; on
//! nothing else, on no platform.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The streams of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of `seed`.
    pub const fn new(seed: u64) -> Streams {
        Streams { seed }
    }

    /// The seed itself.
    pub const fn seed(self) -> u64 {
        self.seed
    }

    /// The stream of this name, from its beginning. Names are paths: `network`,
    /// `disk/n1`, `workload/0/client/3`.
    pub fn stream(self, name: &str) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(b"detsim/1");
        key[8..16].copy_from_slice(&self.seed.to_le_bytes());
        key[16..].copy_from_slice(&fnv_128(name.as_bytes()).to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }
}

/// FNV-1a with 128 bits.
fn fnv_128(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash: u128, &byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

/// Integer sampling from any stream. Every method takes exactly one `u64` from the stream, except
/// `shuffle`, so that draws can be counted.
pub trait Draw: RngCore {
    /// Uniform in `0..n`.
    fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "a draw from nothing");
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform within the range, both ends included.
    fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        assert!(low <= high, "a draw from an empty range");
        match (high - low).checked_add(1) {
            Some(n) => low + self.below(n),
            None => self.next_u64(),
        }
    }

    /// Uniform in nanoseconds, both ends included.
    fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_nanos(self.within(low.as_nanos() as u64..=high.as_nanos() as u64))
    }

    /// True `rate` times of ten thousand.
    fn chance_per_10k(&mut self, rate: u32) -> bool {
        self.below(10_000) < u64::from(rate)
    }

    /// One of several.
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T
    where
        Self: Sized,
    {
        &from[self.below(from.len() as u64) as usize]
    }

    /// One of several, each as likely as its weight says.
    fn weigh<'a, T>(&mut self, from: &'a [(u64, T)]) -> &'a T
    where
        Self: Sized,
    {
        let mut at = self.below(from.iter().map(|(weight, _)| weight).sum());
        let chosen = from.iter().find(|(weight, _)| match at.checked_sub(*weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        &chosen.expect("a draw is below the sum of the weights").1
    }

    /// Any order, each as likely.
    fn shuffle<T>(&mut self, items: &mut [T])
    where
        Self: Sized,
    {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

impl<R: RngCore + ?Sized> Draw for R {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_and_by_name_and_repeat() {
        let first = |seed, name| Streams::new(seed).stream(name).next_u64();
        assert_eq!(first(7, "network"), first(7, "network"));
        assert_ne!(first(7, "network"), first(8, "network"));
        assert_ne!(first(7, "network"), first(7, "disk"));
    }

    #[test]
    fn stream_values_are_pinned() {
        let mut stream = Streams::new(1).stream("network");
        let drawn: Vec<u64> = (0..4).map(|_| stream.below(1000)).collect();
        assert_eq!(drawn, [206, 366, 348, 853]);
    }

    #[test]
    fn draws_stay_within_their_range() {
        let mut stream = Streams::new(3).stream("draws");
        let mut seen = [false; 3];
        for _ in 0..100 {
            seen[(stream.within(5..=7) - 5) as usize] = true;
        }
        assert_eq!(seen, [true; 3]);
        assert!((0..100).all(|_| !stream.chance_per_10k(0)));
        assert!((0..100).all(|_| stream.chance_per_10k(10_000)));
    }

    #[test]
    fn weights_decide_how_often_something_is_drawn() {
        let mut stream = Streams::new(5).stream("weights");
        let mut counts = [0; 3];
        for _ in 0..1000 {
            counts[*stream.weigh(&[(1, 0), (0, 1), (3, 2)])] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((200..300).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items = [1, 2, 3, 4, 5];
        Streams::new(9).stream("order").shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5]);
    }
}
