//! Clusters that begin from saved snapshots: data directories are made on hosts, and from then on
//! their members belong to another cluster.
//!
//! A tool that is killed leaves what it had made. As an operator would, the harness then asks once
//! more, must be refused where anything is left, and begins on an empty disk.

use std::time::Duration;

use detsim_reports::record::{Call, OpId, Outcome, Restored, Severity};

use super::member::{Excuse, Role, expand, launch};
use super::offline::unmet;
use super::runner::{Runner, Stop};
use super::troubles::Trouble;
use crate::language::ast;
use crate::language::value::Value;
use crate::world::{Exit, Restore};

/// How long a data directory may take to be made.
const WITHIN: Duration = Duration::from_secs(120);
/// How long an operator takes to notice that it was not.
pub const NOTICED: Duration = Duration::from_millis(200);
/// What a tool says that finds a directory that is not empty.
const NOT_EMPTY: [&str; 2] = ["not empty or could not be read", "exists"];

/// Flags of a member's start that make a data directory what it is.
const OF_A_START: [&str; 5] =
    ["name", "data-dir", "initial-cluster", "initial-cluster-token", "initial-advertise-peer-urls"];

/// How a tool under way ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// By itself.
    Done(Result<(), Exit>),
    /// It was killed, or its host lost its power; what it is to be tried again after.
    Killed(Option<Duration>),
}

/// What makes two restores ones of the same cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    saved: OpId,
    bumped: i64,
    token: Option<String>,
    initial_cluster: String,
}

impl Runner<'_> {
    /// Makes data directories from a snapshot. Tells what was done with everybody named.
    pub(super) fn restore(&mut self, restore: &ast::Restore) -> Result<ast::Restore, Stop> {
        let places = self.idle_hosts(&restore.targets)?;
        let concrete = ast::Restore { targets: self.named(&places), ..restore.clone() };
        let from = restore.settings.text("from").unwrap_or_default();
        let saved = self.saved(from)?;
        for &place in &places {
            self.befalls(Trouble::Operation, place);
        }
        self.incident(places.clone(), concrete.to_string());
        let mut done = Vec::new();
        for &place in &places {
            let told = self.told(place, &places, restore);
            let result = self.restore_host(place, &told)?;
            done.push((place, told, result));
        }
        for (place, told, result) in done {
            if let Some((answer, found)) = unmet(&restore.expect, &result) {
                let name = &self.members[place].name;
                let what = format!("`{concrete}` on {name}: expected {answer}, found {found}");
                return Err(self.find(Severity::Safety, ("expect", "restore"), what));
            }
            if result.is_ok() {
                self.enter_restored(place, saved, &told);
            }
        }
        self.faults.any = true;
        self.note_healed();
        self.traffic.renew_script();
        Ok(concrete)
    }

    /// The operation whose snapshot is kept under this name: the one that arrived last.
    fn saved(&self, name: &str) -> Result<OpId, Stop> {
        let is_it = |call: &Call| matches!(call, Call::Snapshot { into } if into == name);
        let is_saved = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Ok(_)));
        let operations = self.history.operations.iter();
        let saved = operations.filter(|it| is_it(&it.call) && is_saved(&it.outcome));
        let saved = saved.max_by_key(|it| it.completed);
        let none = || Stop::Harness(format!("no snapshot {name} was saved"));
        saved.map(|operation| operation.id).ok_or_else(none)
    }

    /// What the tool is told on a host.
    fn told(&self, place: usize, all: &[usize], restore: &ast::Restore) -> Restore {
        let start = launch(&*self.world, &self.members, place, &[], false);
        let of_a_start = |name: &str| OF_A_START.contains(&name) || name == "compat-version";
        let mut flags: Vec<(String, String)> =
            start.flags.into_iter().filter(|(name, _)| of_a_start(name)).collect();
        let listed = all
            .iter()
            .map(|&place| format!("{}={}", self.members[place].name, self.world.peer_url(place)));
        let listed = listed.collect::<Vec<String>>().join(",");
        let mut set = |name: &str, value: String| match flags.iter_mut().find(|it| it.0 == name) {
            Some((_, old)) => *old = value,
            None => flags.push((name.to_owned(), value)),
        };
        set("initial-cluster", listed);
        for (name, value) in &restore.settings.0 {
            let name = if name == "token" { "initial-cluster-token" } else { name };
            let value = match value {
                Value::Switch => String::new(),
                Value::Text(text) => expand(&*self.world, &self.members, text),
                value => value.to_string(),
            };
            if name != "from" {
                set(name, value);
            }
        }
        let from = restore.settings.text("from").unwrap_or_default().to_owned();
        Restore { from, wipe: restore.wipe, flags }
    }

    /// Has one data directory made, and is not put off by a tool that is killed.
    fn restore_host(&mut self, place: usize, told: &Restore) -> Result<Result<(), Exit>, Stop> {
        let first = self.restore_once(place, told)?;
        let pause = match first {
            Ending::Done(result) => return Ok(result),
            Ending::Killed(pause) => pause,
        };
        self.pass(pause.unwrap_or(NOTICED))?;
        let again = Restore { wipe: false, ..told.clone() };
        if let Ending::Done(result) = self.restore_once(place, &again)? {
            match result {
                // Nothing was left of the first.
                Ok(()) => return Ok(Ok(())),
                Err(exit) if NOT_EMPTY.iter().any(|text| exit.reason.contains(text)) => {}
                Err(exit) => {
                    let name = &self.members[place].name;
                    let what = format!(
                        "on {name}, where a restore was killed, another fails with {:?}, and not \
                         because something is there",
                        exit.reason
                    );
                    return Err(self.find(Severity::Safety, ("restore", "refusal"), what));
                }
            }
        }
        let anew = Restore { wipe: true, ..told.clone() };
        match self.restore_once(place, &anew)? {
            Ending::Done(result) => Ok(result),
            Ending::Killed(_) => Err(Stop::Harness("a restore is killed again".to_owned())),
        }
    }

    fn restore_once(&mut self, place: usize, told: &Restore) -> Result<Ending, Stop> {
        self.restoring = Some((place, None));
        self.world.restore(place, told)?;
        self.tool_ends()
    }

    /// Waits until the tool under way ends.
    pub(super) fn tool_ends(&mut self) -> Result<Ending, Stop> {
        let until = self.world.now().after(WITHIN);
        let has_ended = |runner: &mut Self| matches!(runner.restoring, Some((_, Some(_))));
        self.pass_until(until, &mut { has_ended })?;
        match self.restoring.take() {
            Some((_, Some(ending))) => Ok(ending),
            _ => Err(Stop::Harness("a tool does not end".to_owned())),
        }
    }

    /// A tool ended.
    pub(super) fn restored(&mut self, place: usize, result: Result<(), Exit>) {
        if let Some((of, ending)) = &mut self.restoring
            && *of == place
        {
            *ending = Some(Ending::Done(result));
        }
    }

    /// Whether what was killed on a host is a tool.
    pub(super) fn restore_trapped(&mut self, place: usize) -> bool {
        if self.restoring.as_ref().is_none_or(|(of, _)| *of != place) {
            return false;
        }
        let (trap, what) = self.sprung(place);
        self.restoring = Some((place, Some(Ending::Killed(trap.and_then(|trap| trap.back)))));
        let what = format!("{what} {}, where a tool was at work", self.members[place].name);
        self.incident(vec![place], what);
        true
    }

    /// A member belongs to the cluster that began from a snapshot in this way.
    fn enter_restored(&mut self, place: usize, saved: OpId, told: &Restore) {
        let initial_cluster = told.flag("initial-cluster").unwrap_or_default().to_owned();
        let founders = initial_cluster.split(',').count() as u64;
        let bumped = i64::try_from(told.bumped()).unwrap_or(0);
        let token = told.flag("initial-cluster-token").map(str::to_owned);
        let origin = Origin { saved, bumped, token, initial_cluster: initial_cluster.clone() };
        let is_new_there = |entered: &[(usize, detsim_reports::record::Time)]| {
            entered.iter().all(|(member, _)| *member != place)
        };
        let known = self.origins.iter().rposition(|known| *known == origin);
        let known = known.filter(|at| is_new_there(&self.history.restored[*at].entered));
        let at = known.unwrap_or_else(|| {
            self.origins.push(origin);
            let entered = Vec::new();
            self.history.restored.push(Restored { saved, bumped, founders, entered });
            self.origins.len() - 1
        });
        self.enter(place, at + 1);
        self.eases(Trouble::Damage, place);
        let member = &mut self.members[place];
        (member.is_intact, member.is_treacherous) = (true, false);
        (member.has_new_identity, member.is_joining, member.is_leaving) = (false, false, false);
        (member.is_downed, member.excuse, member.role) = (false, Excuse::None, Role::Voter);
        // It is started with the flags of a first start again.
        member.launch = None;
        self.leave_out(&initial_cluster, at + 1);
    }

    /// Who is not listed, is down and was of an earlier cluster is not of the one that began last.
    fn leave_out(&mut self, initial_cluster: &str, era: usize) {
        let named = |name: &str| {
            let mut listed = initial_cluster.split(',').filter_map(|it| it.split_once('='));
            listed.any(|(known, _)| known == name)
        };
        for member in &mut self.members {
            if !member.is_up && member.era < era && !named(&member.name) {
                (member.role, member.is_downed) = (Role::Outside, false);
            }
        }
    }

    /// A member belongs to another of the run's clusters from now on.
    fn enter(&mut self, place: usize, era: usize) {
        let now = self.world.now();
        self.members[place].era = era;
        if let Some(restored) = era.checked_sub(1).and_then(|at| self.history.restored.get_mut(at))
        {
            restored.entered.push((place, now));
        }
        self.world.enter(place, era);
    }

    /// A member that joins others belongs to their cluster.
    pub(super) fn join_era(&mut self, place: usize) {
        let inside = self.members.iter().enumerate();
        let mut others = inside.filter(|(other, it)| *other != place && it.is_up && it.is_inside());
        if let Some(era) = others.next().map(|(_, other)| other.era)
            && era != self.members[place].era
        {
            self.enter(place, era);
        }
    }
}
