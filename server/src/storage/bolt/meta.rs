//! The two meta pages: where a transaction begins and ends. A transaction is the meta page that
//! says so; whatever else was written is not there until then.

use bytes::{BufMut, BytesMut};

use super::error::BoltError;
use super::page::{HEADER, Header, META, u32_at, u64_at};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// Up to and with the checksum.
pub(super) const META_END: usize = HEADER + 64;
/// Where the freelist would be, when it is not written.
pub(super) const NO_FREELIST: u64 = u64::MAX;

/// One state of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub page_bytes: u32,
    /// The page of the bucket of buckets.
    pub root: u64,
    pub root_sequence: u64,
    pub freelist: u64,
    /// The first page that was never allocated.
    pub high_water: u64,
    pub txid: u64,
}

/// Why a page is no meta page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaFault {
    Magic,
    Version,
    Checksum,
}

impl MetaFault {
    pub(super) fn at(self, path: &str) -> BoltError {
        let path = path.to_owned();
        match self {
            MetaFault::Magic => BoltError::Invalid { path },
            MetaFault::Version => BoltError::Version { path },
            MetaFault::Checksum => BoltError::Checksum { path },
        }
    }
}

impl Meta {
    /// Reads a page that begins at the start of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Meta, MetaFault> {
        if bytes.len() < META_END || u32_at(bytes, HEADER) != MAGIC {
            return Err(MetaFault::Magic);
        }
        if u32_at(bytes, HEADER + 4) != VERSION {
            return Err(MetaFault::Version);
        }
        if u64_at(bytes, HEADER + 56) != fnv(&bytes[HEADER..HEADER + 56]) {
            return Err(MetaFault::Checksum);
        }
        Ok(Meta {
            page_bytes: u32_at(bytes, HEADER + 8),
            root: u64_at(bytes, HEADER + 16),
            root_sequence: u64_at(bytes, HEADER + 24),
            freelist: u64_at(bytes, HEADER + 32),
            high_water: u64_at(bytes, HEADER + 40),
            txid: u64_at(bytes, HEADER + 48),
        })
    }

    /// The whole page, as it stands at place 0 or 1.
    pub(super) fn encode(&self, place: u64) -> BytesMut {
        let mut page = BytesMut::with_capacity(self.page_bytes as usize);
        self.encode_to(place, &mut page);
        page
    }

    /// Appends the same.
    pub(super) fn encode_to(&self, place: u64, to: &mut BytesMut) {
        let begin = to.len();
        Header { id: place, flags: META, count: 0, overflow: 0 }.encode(to);
        for field in [MAGIC, VERSION, self.page_bytes, 0] {
            to.put_u32_le(field);
        }
        for field in [self.root, self.root_sequence, self.freelist, self.high_water, self.txid] {
            to.put_u64_le(field);
        }
        let checksum = fnv(&to[begin + HEADER..]);
        to.put_u64_le(checksum);
        to.resize(begin + self.page_bytes as usize, 0);
    }

    /// The size that etcd reports.
    pub(super) fn size_bytes(&self) -> u64 {
        self.high_water * u64::from(self.page_bytes)
    }
}

/// FNV-1a of 64 bits.
pub(super) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_page_comes_back_and_any_flipped_bit_of_it_is_noticed() {
        let meta = Meta {
            page_bytes: 4096,
            root: 3,
            root_sequence: 0,
            freelist: NO_FREELIST,
            high_water: 4,
            txid: 7,
        };
        let bytes = meta.encode(1);
        assert_eq!(bytes.len(), 4096);
        assert_eq!(Meta::decode(&bytes), Ok(meta));
        for at in HEADER..META_END {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Meta::decode(&damaged).is_err(), "byte {at}");
        }
        assert_eq!(Meta::decode(&bytes[..META_END - 1]), Err(MetaFault::Magic));
    }

    #[test]
    fn the_checksum_is_fnv_1a() {
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
