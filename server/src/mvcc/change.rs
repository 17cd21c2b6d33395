//! One change of one key, as the history keeps it and watchers tell it.

use prost::Message;

use super::revision::Revision;
use crate::proto::mvccpb::KeyValue;

/// A put or a delete. The history shares it behind an `Arc`.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When.
    pub revision: Revision,
    /// Whether the key ceased to exist.
    pub is_delete: bool,
    /// As an event shows it: of a delete only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// Of `kv`, see `Digest`.
    pub(super) digest: u64,
    /// Running sum over the history up to and with this change, see `State::trail`.
    pub(super) trail: u64,
}

impl Change {
    /// Its key in the `key` bucket.
    pub fn bucket_key(&self) -> Vec<u8> {
        let mut key = self.revision.bucket_key().to_vec();
        if self.is_delete {
            key.push(b't');
        }
        key
    }

    /// Its value in the `key` bucket: a tombstone keeps the key only.
    pub fn bucket_value(&self) -> Vec<u8> {
        if self.is_delete {
            let key = self.kv.key.clone();
            return KeyValue { key, ..KeyValue::default() }.encode_to_vec();
        }
        self.kv.encode_to_vec()
    }
}
