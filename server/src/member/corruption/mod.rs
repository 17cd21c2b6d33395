//! Checks for members whose data differ: once before a member serves, and from time to time on the
//! leader (contract-cluster.md, section 8.6).
//!
//! All of them compare hashes of the key space at a revision, which they ask every other member
//! for. A member that does not answer is not blamed. What the leader finds becomes a CORRUPT alarm;
//! nothing is repaired.

mod compact;
mod initial;
mod periodic;
mod survey;

pub(super) use compact::CompactCheck;
pub(super) use initial::{InitialCheck, Progress};
pub(super) use periodic::PeriodicCheck;

use self::survey::Survey;
use super::id::{CallId, MemberId};
use super::io::{Outputs, PeerAnswer, PeerCallError};
use super::running::{Running, Waiter};
use super::time::Now;
use crate::planted::Defect;
use crate::proto::etcdserverpb as pb;

impl Running {
    /// A round of questions about one revision to all other members.
    fn survey(&self, revision: i64) -> Survey {
        Survey::new(revision, self.identity, self.membership.members())
    }

    /// Asks the next member of a round. False when all have been asked.
    fn ask_next(&mut self, survey: &mut Survey, out: &mut Outputs) -> bool {
        let Some(url) = survey.next_url() else { return false };
        let question = survey.question();
        survey.asked(self.call(url, question, out));
        true
    }

    /// Takes an answer; true if it was to a question of one of the checks.
    pub(super) fn corruption_answer(
        &mut self,
        call: CallId,
        result: &Result<PeerAnswer, PeerCallError>,
        now: Now,
        out: &mut Outputs,
    ) -> bool {
        if self.upkeep.periodic.survey().is_some_and(|survey| survey.awaits(call)) {
            self.periodic_answer(result, now, out);
            return true;
        }
        if self.upkeep.compact.survey().is_some_and(|survey| survey.awaits(call)) {
            self.compact_check_answer(result, now, out);
            return true;
        }
        false
    }

    /// Raises the alarm that a member's data differ. Nobody waits for it.
    fn raise_corrupt(&mut self, member: MemberId, now: Now, out: &mut Outputs) {
        let is_nameless = self.config.defect().is(Defect::AlarmZeroId);
        let member = if is_nameless { MemberId(0) } else { member };
        self.raise_alarm(member, pb::AlarmType::Corrupt, Waiter::Nobody, now, out);
    }
}
