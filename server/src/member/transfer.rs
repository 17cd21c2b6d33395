//! Handing leadership over: `MoveLeader`, and the graceful stop that begins with it
//! (contract-cluster.md, section 4.8).

use super::id::{MemberId, RequestId};
use super::io::{Level, LogLine, Output, Outputs, Response, Stop};
use super::running::{Running, Stopping, Transfer};
use super::time::Now;
use crate::api::ApiError;
use crate::proto::etcdserverpb as pb;

impl Running {
    pub(super) fn move_leader(
        &mut self,
        id: RequestId,
        target: u64,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), ApiError> {
        let to = MemberId(target);
        if !self.consensus.is_leader() {
            return Err(ApiError::NotLeader);
        }
        if self.membership.get(to).is_none_or(|member| member.is_learner) {
            return Err(ApiError::BadLeaderTransferee);
        }
        self.transfer(Some(id), to, now);
        self.transfer_timers(now, out);
        Ok(())
    }

    fn transfer(&mut self, request: Option<RequestId>, to: MemberId, now: Now) {
        if to != self.id() {
            self.consensus.transfer_leader(to);
        }
        let until = now.monotonic.after(self.request_timeout());
        self.transfers.push(Transfer { request, to, until });
    }

    /// Ends transfers that are done, or take too long; then the stop that waits for one.
    pub(super) fn transfer_timers(&mut self, now: Now, out: &mut Outputs) {
        if self.transfers.is_empty() && self.stopping.is_none() {
            return;
        }
        let leader = self.consensus.leader();
        let mut ended = Vec::new();
        self.transfers.retain(|transfer| {
            let is_done = leader == Some(transfer.to);
            let is_late = now.monotonic >= transfer.until;
            if is_done || is_late {
                ended.push((transfer.request, is_done));
            }
            !is_done && !is_late
        });
        for (request, is_done) in ended {
            let Some(id) = request else { continue };
            let result = if is_done {
                Ok(Response::MoveLeader(pb::MoveLeaderResponse::default()))
            } else {
                Err(ApiError::TimeoutLeaderTransfer)
            };
            self.reply(id, result, out);
        }
        let Some(stopping) = &self.stopping else { return };
        let is_over = self.transfers.iter().all(|transfer| transfer.request.is_some());
        if is_over || now.monotonic >= stopping.until {
            self.stopped = Some(Stop { exit_code: 0, reason: "received signal".to_owned() });
        }
    }

    /// Stops gracefully: a leader of several voters hands leadership first to the voter that has
    /// been connected longest.
    pub(super) fn shutdown(&mut self, now: Now, out: &mut Outputs) {
        if self.stopping.is_some() {
            return;
        }
        self.log(Level::Info, "closing etcd server", out);
        self.stopping = Some(Stopping { until: now.monotonic.after(self.request_timeout()) });
        if !self.consensus.is_leader() {
            let text = "skipped leadership transfer; local server is not leader";
            self.log(Level::Info, text, out);
        } else if self.membership.voters().count() <= 1 {
            let text = "skipped leadership transfer for single voting member cluster";
            self.log(Level::Info, text, out);
        } else {
            let longest = self
                .active_since
                .iter()
                .filter(|(peer, _)| self.consensus.is_voter(**peer))
                .min_by_key(|(_, since)| **since)
                .map(|(peer, _)| *peer);
            match longest {
                Some(to) => self.transfer(None, to, now),
                None => out.push(Output::LogLine(
                    LogLine::new(Level::Warn, "leadership transfer failed")
                        .with("error", ApiError::Unhealthy.text()),
                )),
            }
        }
        self.transfer_timers(now, out);
    }
}
