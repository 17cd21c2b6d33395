//! Bucket `meta`: how far the log is applied, raft's configuration there, the format's version,
//! and how far compaction has come.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::bucket::META;
use super::error::{Problem, SchemaError, number, version};
use super::image::DatabaseImage;
use crate::member::version::Version;
use crate::mvcc::Revision;
use crate::proto::raftpb::ConfState;
use crate::storage::database::BucketChange;
use crate::storage::log::SnapshotMark;

pub(super) const CONSISTENT_INDEX: &str = "consistent_index";
pub(super) const TERM: &str = "term";
const CONF_STATE: &str = "confState";
pub(super) const STORAGE_VERSION: &str = "storageVersion";
const SCHEDULED_COMPACT: &str = "scheduledCompactRev";
const FINISHED_COMPACT: &str = "finishedCompactRev";

#[derive(Serialize, Deserialize)]
struct ConfStateText {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    voters: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    voters_outgoing: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    learners_next: Vec<u64>,
    #[serde(default)]
    auto_leave: bool,
}

/// The index and term of the last entry whose effects the same transaction makes durable.
pub fn consistent(index: u64, term: u64) -> [BucketChange; 2] {
    let row = |key: &'static str, value: u64| {
        BucketChange::put(META, Bytes::from_static(key.as_bytes()), be(value))
    };
    [row(CONSISTENT_INDEX, index), row(TERM, term)]
}

/// Raft's configuration after a change of it.
pub fn conf_state(conf_state: &ConfState) -> BucketChange {
    let text = ConfStateText {
        voters: conf_state.voters.clone(),
        learners: conf_state.learners.clone(),
        voters_outgoing: conf_state.voters_outgoing.clone(),
        learners_next: conf_state.learners_next.clone(),
        auto_leave: conf_state.auto_leave(),
    };
    let value = serde_json::to_vec(&text).expect("numbers and lists always have a JSON form");
    BucketChange::put(META, CONF_STATE, value)
}

/// The version of the format; none removes it, as before 3.6.
pub fn storage_version(version: Option<&Version>) -> BucketChange {
    match version {
        Some(version) => BucketChange::put(META, STORAGE_VERSION, version.to_string()),
        None => BucketChange::delete(META, STORAGE_VERSION),
    }
}

/// A compaction has begun.
pub fn scheduled_compact_revision(main: i64) -> BucketChange {
    BucketChange::put(META, SCHEDULED_COMPACT, revision(main))
}

/// A compaction has removed all that it removes.
pub fn finished_compact_revision(main: i64) -> BucketChange {
    BucketChange::put(META, FINISHED_COMPACT, revision(main))
}

fn be(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

fn revision(main: i64) -> Bytes {
    Bytes::copy_from_slice(&Revision::new(main, 0).bucket_key())
}

impl DatabaseImage {
    /// Index of the last entry whose effects are here; none before the first, and then 0 too.
    pub fn consistent_index(&self) -> Result<Option<u64>, SchemaError> {
        self.meta_number(CONSISTENT_INDEX)
    }

    /// The term of that entry; 3.4 does not store it.
    pub fn term(&self) -> Result<Option<u64>, SchemaError> {
        self.meta_number(TERM)
    }

    /// Raft's configuration; 3.4 does not store it.
    pub fn conf_state(&self) -> Result<Option<ConfState>, SchemaError> {
        let Some(value) = self.get(META, CONF_STATE) else { return Ok(None) };
        let text: ConfStateText = serde_json::from_slice(value)
            .map_err(|error| wrong(CONF_STATE, Problem::Text(error.to_string())))?;
        Ok(Some(ConfState {
            voters: text.voters,
            learners: text.learners,
            voters_outgoing: text.voters_outgoing,
            learners_next: text.learners_next,
            auto_leave: Some(text.auto_leave),
        }))
    }

    /// Where in the log this database stands: zeros where nothing was stored.
    pub fn mark(&self) -> Result<SnapshotMark, SchemaError> {
        Ok(SnapshotMark {
            index: self.consistent_index()?.unwrap_or(0),
            term: self.term()?.unwrap_or(0),
            conf_state: self.conf_state()?,
        })
    }

    /// The version of the format as it is written there, since 3.6.
    pub fn storage_version(&self) -> Result<Option<Version>, SchemaError> {
        let value = self.get(META, STORAGE_VERSION);
        value.map(|value| version(META, STORAGE_VERSION, value)).transpose()
    }

    /// The last compaction that was begun.
    pub fn scheduled_compact_revision(&self) -> Result<Option<i64>, SchemaError> {
        self.meta_revision(SCHEDULED_COMPACT)
    }

    /// The last compaction that removed all that it removes.
    pub fn finished_compact_revision(&self) -> Result<Option<i64>, SchemaError> {
        self.meta_revision(FINISHED_COMPACT)
    }

    fn meta_number(&self, key: &'static str) -> Result<Option<u64>, SchemaError> {
        self.get(META, key).map(|value| number(META, key.as_bytes(), value)).transpose()
    }

    fn meta_revision(&self, key: &'static str) -> Result<Option<i64>, SchemaError> {
        let Some(value) = self.get(META, key) else { return Ok(None) };
        if value.len() != Revision::BUCKET_KEY_LEN {
            let expected = Revision::BUCKET_KEY_LEN;
            return Err(wrong(key, Problem::Length { expected, found: value.len() }));
        }
        let (revision, _) =
            Revision::from_bucket_key(value).ok_or_else(|| wrong(key, Problem::Revision))?;
        Ok(Some(revision.main))
    }
}

fn wrong(key: &str, problem: Problem) -> SchemaError {
    SchemaError::new(META, key.as_bytes(), problem)
}
