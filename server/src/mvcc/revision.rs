//! Revisions: where a change stands in the history of the store, and its key in the `key` bucket.

/// A main revision, shared by all changes of one request, and the place within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Counts requests that changed something; the first is 2.
    pub main: i64,
    /// Counts changes within one request from 0.
    pub sub: i64,
}

impl Revision {
    /// Length of a put's key in the `key` bucket; a tombstone's is one longer.
    pub const BUCKET_KEY_LEN: usize = 17;

    /// From its two parts.
    pub const fn new(main: i64, sub: i64) -> Revision {
        Revision { main, sub }
    }

    /// The 17 bytes that name this revision in the `key` bucket; tombstones append a `t`.
    pub fn bucket_key(self) -> [u8; Revision::BUCKET_KEY_LEN] {
        let mut key = [b'_'; Revision::BUCKET_KEY_LEN];
        key[..8].copy_from_slice(&self.main.to_be_bytes());
        key[9..].copy_from_slice(&self.sub.to_be_bytes());
        key
    }

    /// The revision that a key of the `key` bucket names, and whether it is a tombstone.
    pub fn from_bucket_key(key: &[u8]) -> Option<(Revision, bool)> {
        let is_tombstone = match key.len() {
            17 => false,
            18 if key[17] == b't' => true,
            _ => return None,
        };
        if key[8] != b'_' {
            return None;
        }
        let part = |from: usize| key[from..from + 8].try_into().map(i64::from_be_bytes).ok();
        Some((Revision::new(part(0)?, part(9)?), is_tombstone))
    }
}
