//! Buckets `members` and `members_removed`: who is in the cluster, and which IDs may never come
//! back.

use super::bucket::{MEMBERS, MEMBERS_REMOVED};
use super::error::{Problem, SchemaError};
use super::image::DatabaseImage;
use crate::member::id::MemberId;
use crate::member::io::MemberInfo;
use crate::member::membership::json;
use crate::storage::database::BucketChange;

/// A member was added or changed.
pub fn member_saved(member: &MemberInfo) -> BucketChange {
    BucketChange::put(MEMBERS, member.id.to_string(), json::encode_member(member))
}

/// A member was removed for good.
pub fn member_removed(id: MemberId) -> [BucketChange; 2] {
    [
        BucketChange::delete(MEMBERS, id.to_string()),
        BucketChange::put(MEMBERS_REMOVED, id.to_string(), "removed"),
    ]
}

impl DatabaseImage {
    /// All members, by the text of their IDs.
    pub fn members(&self) -> impl Iterator<Item = Result<MemberInfo, SchemaError>> {
        self.rows(MEMBERS).map(|(key, value)| {
            let wrong = |problem| SchemaError::new(MEMBERS, key, problem);
            let id = member_id(MEMBERS, key)?;
            let member = json::decode_member(value)
                .map_err(|error| wrong(Problem::Text(error.to_string())))?;
            if member.id != id {
                return Err(wrong(Problem::OtherMember(member.id.0)));
            }
            Ok(member)
        })
    }

    /// All IDs that were removed, by their text.
    pub fn removed_members(&self) -> impl Iterator<Item = Result<MemberId, SchemaError>> {
        self.rows(MEMBERS_REMOVED).map(|(key, _)| member_id(MEMBERS_REMOVED, key))
    }
}

fn member_id(bucket: &'static str, key: &[u8]) -> Result<MemberId, SchemaError> {
    let text = std::str::from_utf8(key).ok();
    let id = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    id.map(MemberId).ok_or_else(|| SchemaError::new(bucket, key, Problem::MemberId))
}
