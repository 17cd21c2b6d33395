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
    /// Running sum over the history up to and with this change, see `Store::digest`.
    pub(super) trail: u64,
}

impl Change {
    /// Its key in the `key` bucket.
    pub fn bucket_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(Revision::BUCKET_KEY_LEN + usize::from(self.is_delete));
        self.encode_bucket_key(&mut key);
        key
    }

    /// Its value in the `key` bucket: a tombstone keeps the key only.
    pub fn bucket_value(&self) -> Vec<u8> {
        // Exactly as long: what becomes of it is not copied again.
        let room = if self.is_delete { 0 } else { self.kv.encoded_len() };
        let mut value = Vec::with_capacity(room);
        self.encode_bucket_value(&mut value);
        value
    }

    pub(super) fn encode_bucket_key(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.revision.bucket_key());
        if self.is_delete {
            buffer.push(b't');
        }
    }

    pub(super) fn encode_bucket_value(&self, buffer: &mut Vec<u8>) {
        let encoded = if self.is_delete {
            KeyValue { key: self.kv.key.clone(), ..KeyValue::default() }.encode(buffer)
        } else {
            self.kv.encode(buffer)
        };
        encoded.expect("a vector has room");
    }
}
