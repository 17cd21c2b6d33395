//! Client operations and their replies: etcd's API in the harness's own types.

use std::cmp::Ordering;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A key or a value. Serialised as text when it is UTF-8.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(pub Bytes);

/// By bytes. Keys differ early, and are compared a lot: their first bytes go first.
impl Ord for Blob {
    #[inline]
    fn cmp(&self, other: &Blob) -> Ordering {
        let (one, other) = (&self.0[..], &other.0[..]);
        beginning(one).cmp(&beginning(other)).then_with(|| one.cmp(other))
    }
}

impl PartialOrd for Blob {
    #[inline]
    fn partial_cmp(&self, other: &Blob) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first eight bytes as a number, with zeros for those that are not there.
#[inline]
fn beginning(bytes: &[u8]) -> u64 {
    if let Some(first) = bytes.first_chunk::<8>() {
        u64::from_be_bytes(*first)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // The two overlap by what the bytes fall short of eight.
        let overlap = 8 * (8 - bytes.len() as u32);
        let last = u64::from(u32::from_be_bytes(*last)) << overlap;
        (u64::from(u32::from_be_bytes(*first)) << 32) | last
    } else {
        let place = |(at, byte): (usize, &u8)| u64::from(*byte) << (56 - 8 * at);
        bytes.iter().enumerate().map(place).fold(0, |sum, part| sum | part)
    }
}

impl Blob {
    /// From text.
    pub fn text(text: &str) -> Blob {
        Blob(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.starts_with("\\x") => serializer.serialize_str(text),
            _ => {
                let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
                serializer.serialize_str(&format!("\\x{hex}"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some(hex) = text.strip_prefix("\\x") else {
            return Ok(Blob(Bytes::from(text)));
        };
        let digits: Option<Vec<u8>> = (0..hex.len())
            .step_by(2)
            .map(|at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        digits
            .map(|bytes| Blob(Bytes::from(bytes)))
            .ok_or_else(|| serde::de::Error::custom("\\x must be followed by hexadecimal pairs"))
    }
}

/// `sort_target` of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// `sort_order` of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

/// A range read; fields as in etcd's `RangeRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Range {
    pub key: Blob,
    pub range_end: Blob,
    pub limit: i64,
    pub revision: i64,
    pub sort_order: SortOrder,
    pub sort_target: SortTarget,
    pub serializable: bool,
    pub keys_only: bool,
    pub count_only: bool,
    pub min_mod_revision: i64,
    pub max_mod_revision: i64,
    pub min_create_revision: i64,
    pub max_create_revision: i64,
}

/// A put; fields as in etcd's `PutRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Put {
    pub key: Blob,
    pub value: Blob,
    pub lease: i64,
    pub prev_kv: bool,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

/// A delete; fields as in etcd's `DeleteRangeRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct DeleteRange {
    pub key: Blob,
    pub range_end: Blob,
    pub prev_kv: bool,
}

/// What a comparison looks at, with the value it is compared to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Target {
    Version(i64),
    Create(i64),
    Mod(i64),
    Value(Blob),
    Lease(i64),
}

/// How it is compared: "stored OP given".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Operator {
    Equal,
    Greater,
    Less,
    NotEqual,
}

/// One comparison of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Compare {
    pub key: Blob,
    pub range_end: Blob,
    pub operator: Operator,
    pub target: Target,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Txn {
    pub compare: Vec<Compare>,
    pub success: Vec<TxnOp>,
    pub failure: Vec<TxnOp>,
}

/// One operation of a transaction's branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TxnOp {
    Range(Range),
    Put(Put),
    DeleteRange(DeleteRange),
    Txn(Txn),
}

/// A watch; fields as in etcd's `WatchCreateRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Watch {
    pub key: Blob,
    pub range_end: Blob,
    pub start_revision: i64,
    pub progress_notify: bool,
    pub no_put: bool,
    pub no_delete: bool,
    pub prev_kv: bool,
    pub fragment: bool,
    /// Ask for progress this often while the watch is silent, in milliseconds; 0 for never.
    pub request_progress_ms: u64,
    /// Bytes that the client takes per second; 0 for all at once.
    pub drain_bytes_per_s: u64,
    /// Watches through one member with the same number share a stream; 0 for one of its own.
    pub stream: u32,
}

/// A client operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Call {
    Range(Range),
    Put(Put),
    DeleteRange(DeleteRange),
    Txn(Box<Txn>),
    Compact {
        revision: i64,
        physical: bool,
    },
    LeaseGrant {
        id: i64,
        ttl_s: i64,
    },
    LeaseRevoke {
        id: i64,
    },
    LeaseKeepAlive {
        id: i64,
    },
    LeaseTimeToLive {
        id: i64,
        keys: bool,
    },
    LeaseLeases,
    Watch(Watch),
    MemberAdd {
        peer_urls: Vec<String>,
        is_learner: bool,
    },
    MemberRemove {
        id: u64,
    },
    MemberUpdate {
        id: u64,
        peer_urls: Vec<String>,
    },
    MemberPromote {
        id: u64,
    },
    MemberList {
        linearizable: bool,
    },
    MoveLeader {
        target: u64,
    },
    Status,
    HashKv {
        revision: i64,
    },
    AlarmList,
    AlarmRaise(AlarmEntry),
    AlarmDisarm(AlarmEntry),
    Defragment,
    /// `Maintenance.Downgrade`.
    Downgrade {
        action: DowngradeAction,
        version: String,
    },
    /// `Maintenance.Snapshot`, kept under a name.
    Snapshot {
        into: String,
    },
}

/// What is asked about a downgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DowngradeAction {
    /// Whether it could begin.
    Validate,
    /// That it begins.
    Enable,
    /// That it ends.
    Cancel,
}

impl DowngradeAction {
    /// All of them, with the words of a script; etcd's names are these in capitals.
    pub const WORDS: [(&'static str, DowngradeAction); 3] = [
        ("validate", DowngradeAction::Validate),
        ("enable", DowngradeAction::Enable),
        ("cancel", DowngradeAction::Cancel),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        let known = DowngradeAction::WORDS.iter().find(|(_, action)| *action == self);
        known.map_or("", |(word, _)| word)
    }
}

/// Why a cluster refuses changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alarm {
    /// A member has no space left.
    NoSpace,
    /// A member holds something else than the others.
    Corrupt,
}

impl Alarm {
    /// All of them, with the names that etcd gives them.
    pub const NAMES: [(Alarm, &'static str); 2] =
        [(Alarm::NoSpace, "NOSPACE"), (Alarm::Corrupt, "CORRUPT")];
}

/// An alarm and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AlarmEntry {
    pub member: u64,
    pub alarm: Alarm,
}

/// Stands where the history of another tool does not say what a reply said.
pub const UNRECORDED: i64 = i64::MIN;

/// A key with its value and history counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct KeyValue {
    pub key: Blob,
    pub value: Blob,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub version: i64,
    pub lease: i64,
}

/// What every reply says of its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Header {
    pub cluster_id: u64,
    pub member_id: u64,
    pub revision: i64,
    pub raft_term: u64,
}

/// The body of a range reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RangeReply {
    pub kvs: Vec<KeyValue>,
    pub more: bool,
    pub count: i64,
}

/// The result of one operation of a transaction; `revision` is its own header's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TxnOpReply {
    Range { revision: i64, reply: RangeReply },
    Put { revision: i64, prev_kv: Option<KeyValue> },
    DeleteRange { revision: i64, deleted: i64, prev_kvs: Vec<KeyValue> },
    Txn(TxnReply),
}

/// The body of a transaction's reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TxnReply {
    pub succeeded: bool,
    pub responses: Vec<TxnOpReply>,
}

/// A member as a member list tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MemberEntry {
    pub id: u64,
    pub name: String,
    pub peer_urls: Vec<String>,
    pub client_urls: Vec<String>,
    pub is_learner: bool,
}

/// The body of a successful reply, by kind of call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Body {
    Range(RangeReply),
    Put {
        prev_kv: Option<KeyValue>,
    },
    DeleteRange {
        deleted: i64,
        prev_kvs: Vec<KeyValue>,
    },
    Txn(TxnReply),
    Compact,
    LeaseGrant {
        id: i64,
        ttl_s: i64,
    },
    LeaseRevoke,
    /// `ttl_s` is 0 when the lease is gone.
    LeaseKeepAlive {
        id: i64,
        ttl_s: i64,
    },
    /// `ttl_s` is -1 when the lease is gone.
    LeaseTimeToLive {
        id: i64,
        ttl_s: i64,
        granted_ttl_s: i64,
        keys: Vec<Blob>,
    },
    LeaseLeases {
        ids: Vec<i64>,
    },
    Members {
        added: Option<u64>,
        members: Vec<MemberEntry>,
    },
    MoveLeader,
    Status {
        leader: u64,
        raft_index: u64,
        raft_applied_index: u64,
        is_learner: bool,
    },
    HashKv {
        hash: u32,
        compact_revision: i64,
        hash_revision: i64,
    },
    /// All that are active, or those that were raised or disarmed.
    Alarms(Vec<AlarmEntry>),
    Defragment,
    /// The cluster's version, as it is told to whoever asks for a downgrade.
    Downgrade {
        version: String,
    },
    /// A snapshot is saved whole. What its database says of itself: the newest revision, and the
    /// last index of the log whose effects are in it.
    Snapshot {
        size_bytes: u64,
        version: String,
        revision: i64,
        index: u64,
    },
    /// A watch ended after its messages.
    WatchClosed,
}

/// A successful reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Reply {
    pub header: Header,
    pub body: Body,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was answered.
    Ok(Reply),
    /// It certainly had no effect and never will.
    Fail(String),
    /// Nobody knows whether it took effect, or will.
    Unknown(String),
}

/// One event of a watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Event {
    pub is_delete: bool,
    pub kv: KeyValue,
    pub prev_kv: Option<KeyValue>,
}

/// A message on a watch, with the time at which the client got it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct WatchMessage {
    /// `header.revision`.
    pub revision: i64,
    pub created: bool,
    pub canceled: bool,
    pub cancel_reason: String,
    pub compact_revision: i64,
    pub fragment: bool,
    /// Answer to a progress request of the client (watch id -1), or a notification.
    pub progress: bool,
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_ordered_by_their_bytes() {
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        for length in 1..=10 {
            for (at, byte) in (0..length).flat_map(|at| [0, 1, 0x7f, 0xff].map(|byte| (at, byte))) {
                for fill in [0, 1, 0xff] {
                    let mut text = vec![fill; length];
                    text[at] = byte;
                    texts.push(text);
                }
            }
        }
        for one in &texts {
            for other in &texts {
                let blobs = [one, other].map(|text| Blob(Bytes::copy_from_slice(text)));
                assert_eq!(blobs[0].cmp(&blobs[1]), one.cmp(other), "{one:?} {other:?}");
            }
        }
    }
}
