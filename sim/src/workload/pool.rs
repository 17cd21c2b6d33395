//! The keys of a workload, and the ways to speak of several at once.

use detsim_reports::record::Blob;
use rand_chacha::ChaCha8Rng;

use super::author::prefix_end;
use crate::seed::Draw;

/// `key` and `range_end` of a request.
pub(super) type Span = (Blob, Blob);

/// The ways to speak of several keys.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Of one, as if it were several.
    One,
    /// Of all that begin with the workload's prefix.
    All,
    /// Of those that begin like one of them.
    Some,
    /// From one to another, which may come before it.
    Between,
    /// From one on, other workloads' keys included.
    From,
    /// Of every key that there is.
    Everything,
}

const FORMS: [(u64, Form); 6] = [
    (10, Form::One),
    (30, Form::All),
    (20, Form::Some),
    (25, Form::Between),
    (10, Form::From),
    (5, Form::Everything),
];

/// The keys.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    prefix: String,
    keys: u64,
}

impl Pool {
    /// So many keys: the prefix with a number.
    pub fn new(prefix: &str, keys: u64) -> Pool {
        Pool { prefix: prefix.to_owned(), keys: keys.max(1) }
    }

    /// How many.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// One of them.
    pub fn key(&self, stream: &mut ChaCha8Rng) -> Blob {
        self.numbered(stream.below(self.keys))
    }

    /// A key with the prefix that never exists.
    pub fn stranger(&self) -> Blob {
        Blob::text(&format!("{}-absent", self.prefix))
    }

    /// All of them.
    pub fn all(&self) -> Span {
        prefix(Blob::text(&self.prefix))
    }

    /// Some of them: none, one, many, and sometimes keys of others.
    pub fn span(&self, stream: &mut ChaCha8Rng) -> Span {
        match stream.weigh(&FORMS) {
            Form::One => (self.key(stream), Blob::default()),
            Form::All => self.all(),
            Form::Some => prefix(self.key(stream)),
            Form::Between => (self.key(stream), self.key(stream)),
            Form::From => (self.key(stream), Blob::text("\0")),
            Form::Everything => (Blob::text("\0"), Blob::text("\0")),
        }
    }

    /// Some of them, at most about a quarter, and nobody else's.
    pub fn few(&self, stream: &mut ChaCha8Rng) -> Span {
        let first = stream.below(self.keys);
        let next = first + 1 + stream.below(self.keys.div_ceil(4));
        match stream.below(3) {
            0 => prefix(self.numbered(first)),
            _ => {
                let (a, b) = (self.numbered(first), self.numbered(next));
                if a < b { (a, b) } else { (b, a) }
            }
        }
    }

    fn numbered(&self, number: u64) -> Blob {
        Blob::text(&format!("{}{number}", self.prefix))
    }
}

fn prefix(prefix: Blob) -> Span {
    let end = prefix_end(&prefix);
    (prefix, end)
}
