//! `converge`: after the faults, the cluster must serve again. A failure to do so counts only with
//! the proof that it could have: a quorum of the configured voters runs with intact disks, and can
//! talk.

use std::collections::BTreeSet;
use std::time::Duration;

use detsim_reports::record::{Blob, Body, Call, Outcome, Put, Range, Reply, Severity, Time};

use super::member::Role;
use super::runner::{Runner, Stop};
use crate::check::is_for_want_of_space;
use crate::language::value::show_duration;
use crate::world::{End, MessageClass};

/// How long workloads go on behind the bound of recovery.
const BEYOND: Duration = Duration::from_secs(2);
/// A key that no workload uses.
const PROBE: &str = "detsim-probe";

impl Runner<'_> {
    /// Waits until the cluster serves through every member that must, with all logs applied.
    pub(super) fn converge(&mut self, within: Option<Duration>) -> Result<(), Stop> {
        let within = within.unwrap_or(self.options.recovery()) + self.joining_takes;
        let until = self.world.now().after(self.patience(within));
        self.pass_until(until, &mut |runner| runner.asked.is_empty())?;
        let all: Vec<usize> = (0..self.members.len()).collect();
        let leads = self.pass_until(until, &mut |runner| runner.agreed_leader(&all).is_some())?;
        if leads && self.is_config_doubtful {
            self.resolve_configuration(until)?;
        }
        self.find_accepted_damage();
        let survivors = self.survivors();
        self.history.survivors = survivors.clone().unwrap_or_default();
        let mut missing = match leads {
            true => self.probe(until)?,
            false => Some("no leader on which all running members agree".to_owned()),
        };
        if missing.is_none() {
            self.look_on()?;
            self.settle()?;
            let until = self.world.now().after(self.patience(within));
            if !self.pass_until(until, &mut Runner::is_level)? {
                missing = Some("members have not applied the same entries".to_owned());
            }
        }
        let Some(missing) = missing else {
            self.hashes()?;
            self.checked.push(format!("recovery within {}", show_duration(within)));
            return Ok(());
        };
        let what =
            format!("no recovery within {}: {missing}: {}", show_duration(within), self.state());
        match survivors {
            Ok(survivors) => {
                let names: Vec<&str> =
                    survivors.iter().map(|place| self.members[*place].name.as_str()).collect();
                let proof = format!("; {} are intact, can talk and are a quorum", names.join(", "));
                Err(self.find(Severity::Liveness, ("converge", "stuck"), what + &proof))
            }
            Err(why) => Err(Stop::Undecided(format!("{what}; it need not recover: {why}"))),
        }
    }

    /// Lets workloads go on beyond the bound of recovery, so that checkers see whether everything
    /// that was asked after it was answered; in worlds where that costs no real time.
    fn look_on(&mut self) -> Result<(), Stop> {
        let (Some(healed), Some(_)) = (self.history.healed, self.world.trace_hash()) else {
            return Ok(());
        };
        let until = healed.after(self.options.recovery() + self.joining_takes + BEYOND);
        let left = until.since(self.world.now());
        self.pass(left)?;
        if !left.is_zero() {
            self.probe(until.after(BEYOND))?;
        }
        Ok(())
    }

    /// Asks the leader who is in the configuration, where an operation left that open.
    fn resolve_configuration(&mut self, until: Time) -> Result<(), Stop> {
        while self.is_config_doubtful && self.world.now() < until {
            let Some(leader) = self.leader() else { return Ok(()) };
            let left = until.since(self.world.now()).max(Duration::from_millis(1));
            let ended = self.ask(leader, Call::MemberList { linearizable: true }, left)?;
            if let Outcome::Ok(Reply { body: Body::Members { members, .. }, .. }) = &ended.outcome {
                self.learn_members(members);
                for place in 0..self.members.len() {
                    self.bring_back(place)?;
                }
            } else {
                self.pass(Duration::from_millis(50))?;
            }
        }
        Ok(())
    }

    /// The voters that must serve, or why nothing is owed.
    fn survivors(&self) -> Result<Vec<usize>, String> {
        if !self.is_config_known || self.is_config_doubtful {
            return Err("the cluster's configuration is not known for certain".to_owned());
        }
        let voters: Vec<usize> = (0..self.members.len())
            .filter(|place| self.members[*place].role == Role::Voter)
            .collect();
        let fine = |place: &usize| {
            let member = &self.members[*place];
            member.is_healthy() && !member.has_drift && member.is_intact
        };
        let fine: Vec<usize> = voters.iter().copied().filter(fine).collect();
        let talking = self.largest_talking(&fine);
        if talking.len() > voters.len() / 2 {
            return Ok(talking);
        }
        Err(format!(
            "of {} voters, {} run with intact disks, and {} of them can talk",
            voters.len(),
            fine.len(),
            talking.len()
        ))
    }

    /// The largest set, built greedily from each member, in which everybody hears everybody.
    fn largest_talking(&self, among: &[usize]) -> Vec<usize> {
        let silent: BTreeSet<(End, End)> = self
            .faults
            .cuts
            .iter()
            .filter(|(.., class)| *class != MessageClass::Snapshots)
            .map(|(from, to, _)| (*from, *to))
            .collect();
        let hear = |one: usize, other: usize| {
            !silent.contains(&(End::Member(one), End::Member(other)))
                && !silent.contains(&(End::Member(other), End::Member(one)))
        };
        let mut largest = Vec::new();
        for &first in among {
            let mut set = vec![first];
            for &next in among {
                if next != first && set.iter().all(|member| hear(*member, next)) {
                    set.push(next);
                }
            }
            if set.len() > largest.len() {
                largest = set;
            }
        }
        largest.sort_unstable();
        largest
    }

    /// One write, and a linearizable read through every running voter. Tells what is missing.
    fn probe(&mut self, until: Time) -> Result<Option<String>, Stop> {
        let value = Blob::text(&format!("at {}", self.world.now().0));
        loop {
            let Some(leader) = self.leader() else {
                // One that was asked to restart before the faults ended may go now.
                if self.world.now() >= until {
                    return Ok(Some("the leader was lost again".to_owned()));
                }
                self.pass(Duration::from_millis(50))?;
                continue;
            };
            let put = Put { key: Blob::text(PROBE), value: value.clone(), ..Put::default() };
            let left = until.since(self.world.now()).max(Duration::from_millis(1));
            let ended = self.ask(leader, Call::Put(put), left)?;
            match &ended.outcome {
                Outcome::Ok(_) => break,
                // A cluster whose databases are full does all it can. Whether they may be full is
                // for the checkers.
                outcome if is_for_want_of_space(outcome) => break,
                Outcome::Fail(_) | Outcome::Unknown(_) => {}
            }
            if self.world.now() >= until {
                return Ok(Some("no write succeeds".to_owned()));
            }
            self.pass(Duration::from_millis(50))?;
        }
        for place in 0..self.members.len() {
            let member = &self.members[place];
            if member.role != Role::Voter || !member.is_healthy() {
                continue;
            }
            loop {
                let range = Range { key: Blob::text(PROBE), ..Range::default() };
                let left = until.since(self.world.now()).max(Duration::from_millis(1));
                let ended = self.ask(place, Call::Range(range), left)?;
                if matches!(ended.outcome, Outcome::Ok(_)) {
                    break;
                }
                if self.world.now() >= until {
                    let name = &self.members[place].name;
                    return Ok(Some(format!("no linearizable read succeeds through {name}")));
                }
                self.pass(Duration::from_millis(50))?;
            }
        }
        Ok(None)
    }

    /// Asks every running member for the hash of its keys at the revision that all have reached,
    /// for the checkers to compare.
    fn hashes(&mut self) -> Result<(), Stop> {
        let running: Vec<usize> = (0..self.members.len())
            .filter(|place| {
                let member = &self.members[*place];
                member.is_healthy() && member.is_inside()
            })
            .collect();
        let Some(&first) = running.first() else { return Ok(()) };
        let revision = self.world.status(first).revision;
        for place in running {
            self.ask(place, Call::HashKv { revision }, self.options.client_timeout())?;
        }
        Ok(())
    }

    /// Whether all running members have applied the same entries.
    fn is_level(&mut self) -> bool {
        let mut applied = None;
        for place in 0..self.members.len() {
            let member = &self.members[place];
            if !member.is_up || member.is_paused || !member.is_inside() {
                continue;
            }
            let status = self.world.status(place);
            let here = (status.applied, status.revision);
            if *applied.get_or_insert(here) != here {
                return false;
            }
        }
        true
    }
}
