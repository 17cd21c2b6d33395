//! Client streams: opening, messages, and the end of those that insist on a leader.

use std::time::Duration;

use super::id::StreamId;
use super::io::{CallOptions, Output, Outputs, StreamKind, StreamMessage};
use super::running::{OpenStream, Running};
use super::time::Now;
use crate::api::ApiError;

impl Running {
    pub(super) fn stream_open(
        &mut self,
        id: StreamId,
        kind: StreamKind,
        options: &CallOptions,
        window_bytes: u64,
        now: Now,
        out: &mut Outputs,
    ) {
        let refusal = if self.membership.cluster_version().is_none() {
            Some(ApiError::NotCapable)
        } else if self.is_learner() && kind != StreamKind::Snapshot {
            Some(ApiError::NotSupportedForLearner)
        } else if options.require_leader && self.consensus.leader().is_none() {
            Some(ApiError::NoLeader)
        } else if !self.can_open(kind) {
            Some(ApiError::NotCapable)
        } else {
            None
        };
        if let Some(error) = refusal {
            return out.push(Output::StreamEnd { id, result: Err(error.into()) });
        }
        match kind {
            StreamKind::Watch => self.hub.open(id, window_bytes, now.monotonic),
            StreamKind::Snapshot => self.export_open(id, window_bytes, out),
            _ => {}
        }
        self.streams.insert(id, OpenStream { kind, require_leader: options.require_leader });
    }

    /// There are no lock and election services yet, and not every driver has a database to stream.
    fn can_open(&self, kind: StreamKind) -> bool {
        match kind {
            StreamKind::Watch | StreamKind::KeepAlive => true,
            StreamKind::Snapshot => self.persistence.keeps(),
            _ => false,
        }
    }

    pub(super) fn stream_message(
        &mut self,
        id: StreamId,
        message: StreamMessage,
        now: Now,
        out: &mut Outputs,
    ) {
        let Some(stream) = self.streams.get(&id) else { return };
        match (stream.kind, message) {
            (StreamKind::Watch, StreamMessage::Watch(request)) => {
                self.hub.message(id, &request, &self.store, now.monotonic, out);
            }
            (StreamKind::KeepAlive, StreamMessage::KeepAlive(request)) => {
                self.keep_alive(id, request.id, now, out);
            }
            // A message of another method cannot arrive on this one.
            _ => {}
        }
    }

    pub(super) fn stream_close(&mut self, id: StreamId, out: &mut Outputs) {
        if let Some(stream) = self.streams.remove(&id) {
            match stream.kind {
                StreamKind::Watch => self.hub.close(id),
                StreamKind::KeepAlive => self.keep_alive_close(id),
                StreamKind::Snapshot => self.export_close(id, out),
                _ => {}
            }
        }
    }

    /// Lets watchers catch up, and ends streams that insist on a leader when there has been none
    /// for three election timeouts.
    pub(super) fn stream_timers(&mut self, now: Now, out: &mut Outputs) {
        if self.hub.next_deadline().is_some_and(|at| at <= now.monotonic) {
            let budget = super::io::STEP_BUDGET / 4;
            let spent = self.hub.tick(&self.store, now.monotonic, budget, out);
            out.spend(spent);
        }
        let patience = Duration::from_millis(3 * self.config.election_timeout_ms);
        let is_hopeless =
            self.leaderless_since.is_some_and(|since| now.monotonic >= since.after(patience));
        if !is_hopeless {
            return;
        }
        let ended: Vec<StreamId> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.require_leader)
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.stream_close(id, out);
            out.push(Output::StreamEnd { id, result: Err(ApiError::NoLeader.into()) });
        }
    }
}
