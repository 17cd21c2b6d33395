//! Long reads, taken out of the step: each is a job on an immutable view of the store, which the
//! driver runs wherever it likes and hands back as `Input::WorkDone`.

use crate::api::ApiError;
use crate::mvcc::View;
use crate::proto::etcdserverpb as pb;

/// Names a piece of work; chosen by the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// A piece of work.
#[derive(Debug)]
pub struct Work {
    /// Which one.
    pub id: WorkId,
    /// On what.
    pub view: View,
    /// What to do.
    pub job: Job,
}

/// What is to be computed from a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Job {
    /// A range read.
    Range(pb::RangeRequest),
    /// The hash of the key space at a revision.
    HashKv(i64),
    /// The hash of the whole key space as it is.
    Hash,
}

/// The result of a piece of work.
#[derive(Debug)]
pub struct WorkDone {
    /// Which one.
    pub id: WorkId,
    /// Its result.
    pub result: Result<WorkResult, ApiError>,
}

/// A result by kind of job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkResult {
    /// Of `Job::Range`; its header has only the revision.
    Range(pb::RangeResponse),
    /// Of `Job::HashKv`; its header has only the revision.
    HashKv(pb::HashKvResponse),
    /// Of `Job::Hash`.
    Hash(u32),
}

impl Work {
    /// Does the work, on whatever thread the driver likes.
    pub fn run(self) -> WorkDone {
        let result = match &self.job {
            Job::Range(request) => self.view.range(request).map(WorkResult::Range),
            Job::HashKv(revision) => self.view.hash_kv(*revision).map(WorkResult::HashKv),
            Job::Hash => self.view.hash_kv(0).map(|response| WorkResult::Hash(response.hash)),
        };
        WorkDone { id: self.id, result }
    }
}
