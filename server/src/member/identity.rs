//! How members, clusters and requests get their numbers: hashes of URLs, token and time, exactly as
//! etcd computes them, so that the same settings name the same member everywhere.
//! Source: contract-cluster.md, section 3.

use sha1::{Digest, Sha1};

use super::id::{ClusterId, MemberId};
use super::time::Wall;

/// The ID of a member that is listed at bootstrap or in a restored snapshot. URLs are in the form
/// that `config::url` prints; their order does not matter.
pub fn bootstrap_member_id(peer_urls: &[String], token: &str) -> MemberId {
    hash_member(peer_urls, token)
}

/// The ID of a member that is added to a running cluster, by the wall clock of whoever handles the
/// call. The same URLs within one second get the same ID.
pub fn added_member_id(peer_urls: &[String], now: Wall) -> MemberId {
    hash_member(peer_urls, &now.unix_seconds().to_string())
}

/// The ID of a cluster, from the members at its bootstrap. Their order does not matter.
pub fn cluster_id(members: impl IntoIterator<Item = MemberId>) -> ClusterId {
    let mut ids: Vec<MemberId> = members.into_iter().collect();
    ids.sort_unstable();
    let mut hash = Sha1::new();
    for id in ids {
        hash.update(id.0.to_be_bytes());
    }
    ClusterId(first_eight(hash))
}

fn hash_member(peer_urls: &[String], salt: &str) -> MemberId {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let mut hash = Sha1::new();
    for url in urls {
        hash.update(url.as_bytes());
    }
    hash.update(salt.as_bytes());
    MemberId(first_eight(hash))
}

fn first_eight(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(bytes)
}

/// The member's source of request IDs: unique among the cluster's members, and among the lives of
/// one member as far as its wall clock moves on between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIds {
    prefix: u64,
    suffix: u64,
}

const SUFFIX_BITS: u32 = 48;
const SUFFIX_MASK: u64 = (1 << SUFFIX_BITS) - 1;
const COUNTER_BITS: u32 = 8;
const TIME_MASK: u64 = (1 << 40) - 1;

impl RequestIds {
    /// For a member whose process started at this time.
    pub fn new(member: MemberId, started: Wall) -> RequestIds {
        let millis = started.unix_millis() as u64 & TIME_MASK;
        RequestIds { prefix: member.0 << SUFFIX_BITS, suffix: millis << COUNTER_BITS }
    }

    /// The next request ID. The counter carries into the time on purpose.
    pub fn next_id(&mut self) -> u64 {
        self.suffix = self.suffix.wrapping_add(1) & SUFFIX_MASK;
        self.prefix | self.suffix
    }

    /// An ID for a lease whose client left the choice to the server: positive.
    pub fn next_lease_id(&mut self) -> i64 {
        loop {
            let id = (self.next_id() & i64::MAX as u64) as i64;
            if id != 0 {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(list: &[&str]) -> Vec<String> {
        list.iter().map(|url| (*url).to_owned()).collect()
    }

    /// Members as lists of URLs, the IDs that etcd gives them, and the cluster's ID.
    fn check(token: &str, members: &[(&[&str], u64)], cluster: u64) {
        let mut ids = Vec::new();
        for (peer_urls, expected) in members {
            let id = bootstrap_member_id(&urls(peer_urls), token);
            assert_eq!(id, MemberId(*expected), "{peer_urls:?} with token {token:?}");
            ids.push(id);
        }
        assert_eq!(cluster_id(ids), ClusterId(cluster), "cluster of {members:?}");
    }

    #[test]
    fn bootstrap_ids_are_those_of_etcd() {
        check(
            "etcd-cluster",
            &[(&["http://localhost:2380"], 0x8e9e05c52164694d)],
            0xcdf818194e3a8c32,
        );
        check(
            "etcd-cluster",
            &[(&["http://10.0.1.10:2380"], 0x794aea3ba77a1d64)],
            0x83eb7a6f656e0755,
        );
        check(
            "etcd-cluster-1",
            &[
                (&["http://10.0.1.10:2380"], 0x140fedbeeb74765d),
                (&["http://10.0.1.11:2380"], 0xd5dc5f8d75d04e29),
                (&["http://10.0.1.12:2380"], 0x08a0a11c6194fc77),
            ],
            0xacccc8912db0cd57,
        );
        check(
            "etcd-cluster-2",
            &[
                (&["http://10.0.1.10:2380"], 0x07d7bb33bd5154ed),
                (&["http://10.0.1.11:2380"], 0x4863519aab47b7c1),
                (&["http://10.0.1.12:2380"], 0x0ea97e9347fdfdba),
            ],
            0x482e3fc1fe59a882,
        );
        check(
            "tok",
            &[
                (&["https://127.0.0.1:2380", "https://127.0.0.1:12380"], 0x65ccbd2382f2f5e3),
                (&["https://127.0.0.1:22380"], 0x4a0a71693beabc9c),
            ],
            0x6dabb9719c5a7bd0,
        );
        check("", &[(&["http://127.0.0.1:2380"], 0x8927110dc66458af)], 0x3b0efc7b379f89be);
        check("etcd-cluster", &[(&["http://[::1]:2380"], 0x9f01c01111e47e74)], 0xf34e429f9173d762);
        check("t", &[(&["unix://localhost:2380"], 0xf3ef24c167d38558)], 0xd59eaca2730ac9cf);
        check(
            "tok",
            &[
                (&["http://127.0.0.1:12380"], 0xd622127685879b3c),
                (&["http://127.0.0.1:22380"], 0x117b9266988c4966),
                (&["http://127.0.0.1:32380"], 0xca7a34e16cff9c1b),
            ],
            0xf7d1d29ba4cd2368,
        );
        check("tok", &[(&["http://127.0.0.1:12380"], 0xd622127685879b3c)], 0x6656feb867e68582);
        check(
            "T1",
            &[
                (&["http://127.0.0.1:12380"], 0xf16f54bb37bf098d),
                (&["http://127.0.0.1:22380"], 0xaff8e59c94a52368),
            ],
            0x0be61bf0b67f8959,
        );
    }

    #[test]
    fn an_id_prints_without_padding() {
        assert_eq!(MemberId(0x08a0a11c6194fc77).to_string(), "8a0a11c6194fc77");
    }

    #[test]
    fn an_added_member_is_salted_with_the_second() {
        let peer_urls = urls(&["http://127.0.0.1:12380"]);
        let at = |nanos| added_member_id(&peer_urls, Wall::from_unix_nanos(nanos));
        assert_eq!(at(1_795_411_649_000_000_000), MemberId(0x891d022e6abd722d));
        assert_eq!(at(1_795_411_649_999_999_999), MemberId(0x891d022e6abd722d));
        assert_ne!(at(1_795_411_650_000_000_000), MemberId(0x891d022e6abd722d));
    }

    #[test]
    fn request_ids_count_up_from_member_and_start() {
        // 2026-11-23T05:26:41.195Z
        let started = Wall::from_unix_nanos(1_795_411_601_195_000_000);
        let mut ids = RequestIds::new(MemberId(0x8e9e05c52164694d), started);
        assert_eq!(ids.next_id(), 0x694da206dee72b01);
        assert_eq!(ids.next_id(), 0x694da206dee72b02);
        assert_eq!(ids.next_id(), 0x694da206dee72b03);
    }

    #[test]
    fn the_counter_carries_into_the_time_and_wraps_below_the_member() {
        let mut ids = RequestIds::new(MemberId(0xabcd), Wall::from_unix_nanos(0));
        ids.suffix = 0xff;
        assert_eq!(ids.next_id(), 0xabcd_0000_0000_0100);
        ids.suffix = SUFFIX_MASK;
        assert_eq!(ids.next_id(), 0xabcd_0000_0000_0000);
    }

    #[test]
    fn a_lease_id_is_positive() {
        let mut ids = RequestIds::new(MemberId(0x8000), Wall::from_unix_nanos(0));
        ids.suffix = SUFFIX_MASK;
        assert_eq!(ids.next_lease_id(), 1, "zero is passed over, and the sign bit is dropped");
    }
}
