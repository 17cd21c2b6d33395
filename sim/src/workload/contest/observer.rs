//! An observer of elections: it reads who leads, and follows the contenders from there on by a
//! watch, or looks again.

use std::time::Duration;

use detsim_reports::record::{Call, Outcome, Watch};

use super::contender::Habits;
use super::recipe;
use crate::seed::Draw;
use crate::workload::{Clients, wake_within, whom};

/// How long it follows.
const OPEN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// A slot that observes.
#[derive(Debug, Default)]
pub(super) struct Observer {
    /// The contest, and the revision at which it was read, if it is to be followed from there.
    seen: Option<(String, i64)>,
    asked: String,
    has_watch: bool,
}

impl Observer {
    /// The timer rang.
    pub fn woken(&mut self, slot: usize, habits: &Habits, clients: &mut dyn Clients) {
        if self.has_watch {
            clients.close(slot);
            return;
        }
        let call = match self.seen.take() {
            Some((name, revision)) => {
                let range = recipe::contenders(&name, 0);
                self.has_watch = true;
                wake_within(slot, OPEN, clients);
                Call::Watch(Watch {
                    key: range.key,
                    range_end: range.range_end,
                    start_revision: revision + 1,
                    prev_kv: true,
                    ..Watch::default()
                })
            }
            None => {
                let number = clients.stream(slot).below(habits.contests.max(1));
                self.asked = format!("{}{number}", habits.prefix);
                Call::Range(recipe::contenders(&self.asked, 1))
            }
        };
        let member = whom(slot, clients);
        clients.invoke(slot, member, call);
    }

    /// An operation ended.
    pub fn completed(
        &mut self,
        slot: usize,
        outcome: &Outcome,
        habits: &Habits,
        clients: &mut dyn Clients,
    ) {
        if !std::mem::take(&mut self.has_watch)
            && let Outcome::Ok(reply) = outcome
            && clients.stream(slot).below(2) == 0
        {
            self.seen = Some((self.asked.clone(), reply.header.revision));
        }
        wake_within(slot, habits.pause, clients);
    }
}
