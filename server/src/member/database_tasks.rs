//! Requests that concern the whole database: defragmentation, and the hash over all buckets. Both
//! see everything that was applied before (contract-cluster.md, sections 8.4 and 8.6).

use std::collections::BTreeMap;

use super::id::RequestId;
use super::io::{Level, LogLine, Output, Outputs, Response};
use super::running::Running;
use crate::api::CallError;
use crate::proto::etcdserverpb as pb;
use crate::storage::database::{DatabaseAnswer, DatabaseTask, DatabaseTaskId};

/// Who waits for which task.
#[derive(Debug, Default)]
pub(super) struct DatabaseTasks {
    waiting: BTreeMap<DatabaseTaskId, (DatabaseTask, Option<RequestId>)>,
    last: u64,
}

impl DatabaseTasks {
    /// Whether the database is being copied: nothing is applied meanwhile.
    pub(super) fn is_defragmenting(&self) -> bool {
        self.waiting.values().any(|(task, _)| *task == DatabaseTask::Defragment)
    }

    /// Nobody waits for this request any more; what was begun goes on.
    pub(super) fn cancel(&mut self, id: RequestId) {
        for (_, waiter) in self.waiting.values_mut() {
            waiter.take_if(|waiter| *waiter == id);
        }
    }

    /// Everybody who waits.
    pub(super) fn take_waiters(&mut self) -> Vec<RequestId> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_values().filter_map(|(_, waiter)| waiter).collect()
    }
}

impl Running {
    /// Begins a task for a client.
    pub(super) fn start_task(&mut self, request: RequestId, task: DatabaseTask, out: &mut Outputs) {
        if task == DatabaseTask::Defragment {
            self.log(Level::Info, "starting defragment", out);
            self.write_before_copy(out);
        } else {
            self.write_changes(out);
        }
        self.tasks.last += 1;
        let id = DatabaseTaskId(self.tasks.last);
        self.tasks.waiting.insert(id, (task, Some(request)));
        out.push(Output::DatabaseTask { id, task });
    }

    /// A task is done.
    pub(super) fn task_done(
        &mut self,
        id: DatabaseTaskId,
        answer: DatabaseAnswer,
        out: &mut Outputs,
    ) {
        let Some((task, waiter)) = self.tasks.waiting.remove(&id) else { return };
        let result = match answer {
            DatabaseAnswer::Defragmented(size) => {
                self.persistence.resized(size);
                self.store.defragment();
                self.log(Level::Info, "finished defragment", out);
                Ok(Response::Defragment(pb::DefragmentResponse::default()))
            }
            DatabaseAnswer::Hash(hash) => {
                let header = Some(self.header(self.store.revision()));
                Ok(Response::Hash(pb::HashResponse { header, hash }))
            }
            DatabaseAnswer::Failed(error) => {
                let text = match task {
                    DatabaseTask::Defragment => "failed to defragment",
                    DatabaseTask::Hash => "failed to hash the whole database",
                };
                out.push(Output::LogLine(LogLine::new(Level::Warn, text).with("error", &*error)));
                Err(CallError::Disk(error))
            }
        };
        if let Some(id) = waiter {
            out.push(Output::Reply { id, result: Box::new(result) });
        }
    }
}
