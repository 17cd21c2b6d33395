//! Bucket `alarm`: the keys are the alarms, the values are empty.

use bytes::Bytes;
use prost::Message as _;

use super::bucket::ALARM;
use super::error::{Problem, SchemaError};
use super::image::DatabaseImage;
use crate::proto::etcdserverpb::AlarmMember;
use crate::storage::database::BucketChange;

/// An alarm was raised.
pub fn alarm_activated(alarm: &AlarmMember) -> BucketChange {
    BucketChange::put(ALARM, alarm.encode_to_vec(), Bytes::new())
}

/// An alarm was disarmed.
pub fn alarm_deactivated(alarm: &AlarmMember) -> BucketChange {
    BucketChange::delete(ALARM, alarm.encode_to_vec())
}

impl DatabaseImage {
    /// All active alarms.
    pub fn alarms(&self) -> impl Iterator<Item = Result<AlarmMember, SchemaError>> {
        self.rows(ALARM).map(|(key, _)| {
            AlarmMember::decode(&key[..])
                .map_err(|_| SchemaError::new(ALARM, key, Problem::Message("AlarmMember")))
        })
    }
}
