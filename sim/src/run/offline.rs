//! Tools that work on the disk of a member that does not run: its database is rewritten densely.
//! How a tool's result is held against what a script expects of it.
//!
//! A tool that is killed leaves what it had made. As an operator would, the harness asks once more,
//! and nothing of the first stands in the way of the second.

use detsim_reports::record::{Outcome, Severity};

use super::by_hand::compare;
use super::member::launch;
use super::restores::{Ending, NOTICED};
use super::runner::{Runner, Stop};
use super::troubles::Trouble;
use crate::language::ast::{Answer, Statement, Target, Targets};
use crate::world::Exit;

/// Where members keep their data when nothing is said.
const DATA_DIR: &str = "data";

/// What a script expects of a tool that comes to something else; and to what.
pub fn unmet(expected: &[Answer], result: &Result<(), Exit>) -> Option<(Answer, String)> {
    let expected = if expected.is_empty() { &[Answer::Ok] } else { expected };
    let outcome = result.as_ref().err().map(|exit| Outcome::Fail(exit.reason.clone()));
    let fits = |answer: &Answer| match (&outcome, answer) {
        (None, Answer::Ok | Answer::Any) => Ok(()),
        (None, _) => Err("success".to_owned()),
        (Some(outcome), answer) => compare(answer, None, outcome),
    };
    expected.iter().find_map(|answer| Some((answer.clone(), fits(answer).err()?)))
}

impl Runner<'_> {
    /// Has databases rewritten, one after another. Tells whose.
    pub(super) fn defragment_offline(
        &mut self,
        targets: &[Target],
        expect: &[Answer],
    ) -> Result<Targets, Stop> {
        let places = self.idle_hosts(targets)?;
        let named = self.named(&places);
        let said = Statement::DefragmentOffline { targets: named.clone(), expect: expect.to_vec() };
        for &place in &places {
            self.befalls(Trouble::Operation, place);
        }
        self.incident(places.clone(), said.to_string());
        for place in places {
            let result = self.defragment_host(place)?;
            if let Some((answer, found)) = unmet(expect, &result) {
                let name = &self.members[place].name;
                let what = format!("`{said}` on {name}: expected {answer}, found {found}");
                return Err(self.find(Severity::Safety, ("expect", "defragment"), what));
            }
        }
        Ok(named)
    }

    /// The hosts that a tool is for: nothing runs there.
    pub(super) fn idle_hosts(&mut self, targets: &[Target]) -> Result<Vec<usize>, Stop> {
        let places = self.places(targets)?;
        if places.iter().any(|place| self.members[*place].is_stopping) {
            self.await_stopped()?;
        }
        match places.iter().find(|place| self.members[**place].is_up) {
            Some(up) => {
                let name = &self.members[*up].name;
                Err(Stop::Harness(format!("it cannot be done: {name} runs")))
            }
            None => Ok(places),
        }
    }

    fn defragment_host(&mut self, place: usize) -> Result<Result<(), Exit>, Stop> {
        let flags = launch(&*self.world, &self.members, place, &[], false).flags;
        let dir = flags.into_iter().find(|(name, _)| name == "data-dir");
        let dir = dir.map_or_else(|| DATA_DIR.to_owned(), |(_, dir)| dir);
        for _ in 0..2 {
            self.restoring = Some((place, None));
            self.world.defragment_offline(place, &dir)?;
            match self.tool_ends()? {
                Ending::Done(result) => return Ok(result),
                Ending::Killed(pause) => self.pass(pause.unwrap_or(NOTICED))?,
            }
        }
        Err(Stop::Harness("a tool is killed again".to_owned()))
    }
}
