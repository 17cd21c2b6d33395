//! Bucket `auth`, as far as a member without authentication has to do with it; `authUsers` and
//! `authRoles` are passed on as they are.

use bytes::Bytes;

use super::bucket::AUTH;
use super::error::{Problem, SchemaError, number};
use super::image::DatabaseImage;
use crate::storage::database::BucketChange;

const ENABLED: &str = "authEnabled";
const REVISION: &str = "authRevision";

/// Authentication was switched on or off. Never switched, it has no row.
pub fn auth_enabled(is_enabled: bool) -> BucketChange {
    BucketChange::put(AUTH, ENABLED, vec![u8::from(is_enabled)])
}

/// Counts changes of users and roles; a new database has 1.
pub fn auth_revision(revision: u64) -> BucketChange {
    BucketChange::put(AUTH, REVISION, Bytes::copy_from_slice(&revision.to_be_bytes()))
}

impl DatabaseImage {
    /// Whether authentication is switched on.
    pub fn auth_enabled(&self) -> Result<bool, SchemaError> {
        match self.get(AUTH, ENABLED).map(|value| &value[..]) {
            None => Ok(false),
            Some([flag]) => Ok(*flag == 1),
            Some(other) => {
                let problem = Problem::Length { expected: 1, found: other.len() };
                Err(SchemaError::new(AUTH, ENABLED.as_bytes(), problem))
            }
        }
    }

    /// How often users and roles were changed; none in a database that no member has opened.
    pub fn auth_revision(&self) -> Result<Option<u64>, SchemaError> {
        let value = self.get(AUTH, REVISION);
        value.map(|value| number(AUTH, REVISION.as_bytes(), value)).transpose()
    }
}
