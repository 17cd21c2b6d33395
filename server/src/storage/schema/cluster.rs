//! Bucket `cluster`: the version that all members understand, and a downgrade of it.

use serde::{Deserialize, Serialize};

use super::bucket::CLUSTER;
use super::error::{Problem, SchemaError, version};
use super::image::DatabaseImage;
use crate::member::membership::Downgrade;
use crate::member::version::Version;
use crate::storage::database::BucketChange;

const CLUSTER_VERSION: &str = "clusterVersion";
const DOWNGRADE: &str = "downgrade";

#[derive(Serialize, Deserialize)]
struct DowngradeText {
    #[serde(rename = "target-version", default)]
    target: String,
    #[serde(default)]
    enabled: bool,
}

/// The cluster's version was decided.
pub fn cluster_version(version: &Version) -> BucketChange {
    BucketChange::put(CLUSTER, CLUSTER_VERSION, version.to_string())
}

/// A downgrade was begun, or ended.
pub fn downgrade(downgrade: &Downgrade) -> BucketChange {
    let text = DowngradeText { target: downgrade.target.clone(), enabled: downgrade.enabled };
    let value = serde_json::to_vec(&text).expect("a text and a flag always have a JSON form");
    BucketChange::put(CLUSTER, DOWNGRADE, value)
}

impl DatabaseImage {
    /// The cluster's version, if it was decided.
    pub fn cluster_version(&self) -> Result<Option<Version>, SchemaError> {
        let value = self.get(CLUSTER, CLUSTER_VERSION);
        value.map(|value| version(CLUSTER, CLUSTER_VERSION, value)).transpose()
    }

    /// The last downgrade that was begun or ended.
    pub fn downgrade(&self) -> Result<Option<Downgrade>, SchemaError> {
        let Some(value) = self.get(CLUSTER, DOWNGRADE) else { return Ok(None) };
        let text: DowngradeText = serde_json::from_slice(value).map_err(|error| {
            SchemaError::new(CLUSTER, DOWNGRADE.as_bytes(), Problem::Text(error.to_string()))
        })?;
        Ok(Some(Downgrade { enabled: text.enabled, target: text.target }))
    }
}
