//! What released versions of etcd are known to do wrong, each found again by our own scenarios.
//! Runs against such a version avoid it, say so, and go on to look for what is not known.

use crate::world::KnownDefect;

/// Each with the minor versions of etcd 3 that have it.
const KNOWN: [(std::ops::RangeInclusive<u32>, KnownDefect); 2] = [
    (
        0..=6,
        KnownDefect {
            avoid: "past-in-txn",
            what: "members apply a transaction differently if it writes and holds a range at a \
                   compacted or future revision (etcd-io/etcd#18667)",
        },
    ),
    (
        7..=7,
        KnownDefect {
            avoid: "keys-only",
            what: "ranges with keys_only leave out leases (etcd-io/etcd#22209)",
        },
    ),
];

/// Those of etcd `3.minor`.
pub fn of_etcd(minor: u32) -> Vec<KnownDefect> {
    let has = KNOWN.iter().filter(|(versions, _)| versions.contains(&minor));
    has.map(|(_, defect)| *defect).collect()
}
