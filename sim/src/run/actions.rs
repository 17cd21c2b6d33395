//! Doing to the cluster what a statement, a plan's `at` line or a nemesis says: members are named
//! one by one, the world is told, the incident is recorded, and what was done comes back as an
//! action that names everything, for the plan.

use std::collections::BTreeSet;

use detsim_reports::record::Incident;

use super::member::{Excuse, expand, launch};
use super::runner::{Runner, Stop};
use super::troubles::Trouble;
use crate::language::ast::{Action, Direction, Sides, StartAction, Target, Targets};
use crate::language::value::Settings;
use crate::world::tally::Subject;
use crate::world::{End, Launch, LinkQuality, MessageClass, NetworkFault, WorldError};

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A statement: what cannot be done is a mistake of the script.
    Statement,
    /// A fault at a time: what cannot be done at that moment is left out.
    Fault,
}

/// Faults that last until they are healed.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Links that are cut, by direction.
    pub cuts: Vec<(End, End, MessageClass)>,
    /// Links whose quality is not the default, by direction.
    pub bad_links: BTreeSet<(End, End)>,
    /// There was a fault.
    pub any: bool,
}

impl Runner<'_> {
    /// Does it. Tells what was done, or nothing if there was nothing to do.
    pub(super) fn act(&mut self, action: &Action, source: Source) -> Result<Option<Action>, Stop> {
        let done = match action {
            Action::Start(start) => self.act_start(start, source)?.map(Action::Start),
            Action::Restart(start) => self.act_restart(start, source)?.map(Action::Restart),
            Action::Heal(None) => {
                self.heal_all()?;
                Some(Action::Heal(None))
            }
            Action::Stop(targets) => {
                self.each(targets, source, Runner::act_stop)?.map(Action::Stop)
            }
            Action::Kill(targets) => {
                self.each(targets, source, Runner::act_kill)?.map(Action::Kill)
            }
            Action::Pause(targets) => {
                self.each(targets, source, Runner::act_pause)?.map(Action::Pause)
            }
            Action::Resume(targets) => {
                self.each(targets, source, Runner::act_resume)?.map(Action::Resume)
            }
            Action::PowerLoss(targets) => {
                self.act_power_loss(targets, source)?.map(Action::PowerLoss)
            }
            Action::Cut(..)
            | Action::Heal(Some(_))
            | Action::Reset(_)
            | Action::HalfOpen(_)
            | Action::Link(..) => self.act_on_links(action)?,
            Action::Disk(..) | Action::Clock(..) | Action::Processor(..) | Action::KillAt(..) => {
                self.act_on_hosts(action, source)?
            }
            Action::Ask(operation) => {
                self.ask_apart(operation)?.map(|operation| Action::Ask(Box::new(operation)))
            }
        };
        if let Some(done) = &done {
            let members = self.concerned(done);
            let moment = match done {
                Action::Stop(_) | Action::Restart(_) => Some(Trouble::Stop),
                Action::Ask(_) => Some(Trouble::Operation),
                _ => None,
            };
            if let Some(moment) = moment {
                members.iter().for_each(|&place| self.befalls(moment, place));
            }
            self.incident(members, done.to_string());
            self.note_fault(done);
        }
        Ok(done)
    }

    fn act_on_links(&mut self, action: &Action) -> Result<Option<Action>, Stop> {
        Ok(match action {
            Action::Cut(sides, class) => self
                .links(sides, |runner, from, to| {
                    runner.world.network(&NetworkFault::Cut { from, to, class: *class })?;
                    runner.faults.cuts.push((from, to, *class));
                    runner.begins(Trouble::Cut(*class), Subject::Link(from, to));
                    Ok(())
                })?
                .map(|sides| Action::Cut(sides, *class)),
            Action::Heal(Some(sides)) => self
                .links(sides, |runner, from, to| {
                    runner.world.network(&NetworkFault::Heal { from, to })?;
                    runner.faults.cuts.retain(|cut| (cut.0, cut.1) != (from, to));
                    let is_cut = |it| matches!(it, Trouble::Cut(_));
                    runner.troubles.end(Subject::Link(from, to), is_cut);
                    Ok(())
                })?
                .map(|sides| Action::Heal(Some(sides))),
            Action::Reset(sides) => self
                .links(sides, |runner, from, to| {
                    runner.begins(Trouble::Connection, Subject::Link(from, to));
                    runner.world.network(&NetworkFault::Reset { from, to })
                })?
                .map(Action::Reset),
            Action::HalfOpen(sides) => self
                .links(sides, |runner, from, to| {
                    runner.begins(Trouble::Connection, Subject::Link(from, to));
                    runner.world.network(&NetworkFault::HalfOpen { from, to })
                })?
                .map(Action::HalfOpen),
            Action::Link(sides, settings) => {
                let normal = self.world.link_quality();
                let quality = quality(normal.clone(), settings);
                let is_bad = quality != normal;
                self.links(sides, |runner, from, to| {
                    let quality = quality.clone();
                    runner.world.network(&NetworkFault::Quality { from, to, quality })?;
                    let link = Subject::Link(from, to);
                    if is_bad {
                        runner.faults.bad_links.insert((from, to));
                        runner.begins(Trouble::Quality, link);
                    } else {
                        runner.faults.bad_links.remove(&(from, to));
                        runner.troubles.end(link, |it| it == Trouble::Quality);
                    }
                    Ok(())
                })?
                .map(|sides| Action::Link(sides, settings.clone()))
            }
            other => unreachable!("`{other}` is not about links"),
        })
    }

    fn act_on_hosts(&mut self, action: &Action, source: Source) -> Result<Option<Action>, Stop> {
        Ok(match action {
            Action::KillAt(targets, trap) => {
                let (trap, aimed) = (*trap, action.clone());
                self.each(targets, Source::Fault, move |runner, place| {
                    runner.act_trap(place, trap)
                })?
                .map(|targets| aimed.aimed_at(targets))
            }
            Action::Disk(targets, fault) => {
                let fault = fault.clone();
                self.each(targets, source, move |runner, place| {
                    if source == Source::Fault && !runner.members[place].may_suffer(&fault) {
                        return Ok(false);
                    }
                    runner.act_disk(place, &fault)?;
                    Ok(true)
                })?
                .map(|targets| action.clone().aimed_at(targets))
            }
            Action::Clock(targets, fault) => {
                let fault = *fault;
                self.each(targets, Source::Statement, move |runner, place| {
                    runner.act_clock(place, fault)?;
                    Ok(true)
                })?
                .map(|targets| action.clone().aimed_at(targets))
            }
            Action::Processor(targets, step) => {
                let step = *step;
                self.each(targets, Source::Statement, move |runner, place| {
                    runner.world.processor(place, step)?;
                    runner.members[place].is_slow = !step.is_zero();
                    match step.is_zero() {
                        true => runner.eases(Trouble::Processor, place),
                        false => runner.befalls(Trouble::Processor, place),
                    }
                    Ok(true)
                })?
                .map(|targets| action.clone().aimed_at(targets))
            }
            other => unreachable!("`{other}` is not about hosts"),
        })
    }

    /// Records what happened.
    pub(super) fn incident(&mut self, members: Vec<usize>, what: String) {
        let at = self.world.now();
        let marks = self.troubles.take_marks(self.world);
        self.history.incidents.push(Incident { at, members, what, marks });
    }

    /// Keeps `healed` what it says: when the last fault ended.
    fn note_fault(&mut self, done: &Action) {
        self.faults.any |= !matches!(done, Action::Start(_) | Action::Heal(_) | Action::Resume(_));
        self.note_healed();
    }

    pub(super) fn note_healed(&mut self) {
        let is_bad = !self.faults.bad_links.is_empty() || !self.faults.cuts.is_empty();
        let is_hurt = self.members.iter().any(|member| {
            member.is_paused
                || member.has_disk_fault
                || member.has_drift
                || member.is_slow
                || member.fails_to_write
                || member.trap.is_some()
                || member.is_downed
        });
        self.history.healed = (self.faults.any && !is_bad && !is_hurt).then(|| self.world.now());
    }

    fn concerned(&self, done: &Action) -> Vec<usize> {
        let named = |targets: &[Target]| -> Vec<usize> {
            let places = targets.iter().filter_map(|target| match target {
                Target::Name(name) => self.place(name).ok(),
                _ => None,
            });
            places.collect()
        };
        match done {
            Action::Start(start) | Action::Restart(start) => named(&start.targets),
            Action::Stop(targets)
            | Action::Kill(targets)
            | Action::KillAt(targets, _)
            | Action::Processor(targets, _)
            | Action::PowerLoss(targets)
            | Action::Pause(targets)
            | Action::Resume(targets)
            | Action::Disk(targets, _)
            | Action::Clock(targets, _) => named(targets),
            Action::Heal(None) => Vec::new(),
            Action::Ask(operation) => named(operation.via.as_slice()),
            Action::Cut(sides, _)
            | Action::Heal(Some(sides))
            | Action::Reset(sides)
            | Action::HalfOpen(sides)
            | Action::Link(sides, _) => {
                let mut places = named(&sides.from);
                places.extend(named(&sides.to));
                places
            }
        }
    }

    /// Does something to each member of some targets, where it can be done; names those.
    fn each(
        &mut self,
        targets: &[Target],
        source: Source,
        mut what: impl FnMut(&mut Self, usize) -> Result<bool, WorldError>,
    ) -> Result<Option<Targets>, Stop> {
        let mut done = Vec::new();
        for place in self.places(targets)? {
            if what(self, place)? {
                done.push(place);
            } else if source == Source::Statement && is_named(targets) {
                let state = if self.members[place].is_up { "runs" } else { "does not run" };
                let name = &self.members[place].name;
                return Err(Stop::Harness(format!("it cannot be done: {name} {state}")));
            }
        }
        Ok((!done.is_empty()).then(|| self.named(&done)))
    }

    fn act_start(
        &mut self,
        start: &StartAction,
        source: Source,
    ) -> Result<Option<StartAction>, Stop> {
        let mut drawn = start.clone();
        drawn.flags = self.draw_flags(&start.flags, &drawn.targets);
        let started = self.each(&start.targets, source, |runner, place| {
            let member = &runner.members[place];
            let may_start = source == Source::Statement || member.may_start(drawn.wipe);
            if member.is_up || !may_start {
                return Ok(false);
            }
            runner.launch(place, &drawn)?;
            Ok(true)
        })?;
        Ok(started.map(|targets| StartAction { targets, ..drawn }))
    }

    fn launch(&mut self, place: usize, start: &StartAction) -> Result<(), WorldError> {
        let extra = &start.flags;
        // A fault's end starts a member as it was started before.
        let relaunch = self.members[place].is_downed && extra.is_empty() && !start.wipe;
        let launch = match relaunch {
            true => self.members[place].relaunch(),
            false => launch(&*self.world, &self.members, place, extra, start.wipe),
        };
        let overrides =
            |flag: &str| extra.iter().any(|extra| extra.name == flag) && !self.was_started(place);
        if overrides("initial-cluster") || overrides("initial-cluster-token") {
            self.is_config_known = false;
        }
        self.start_process(place, launch)
    }

    fn was_started(&self, place: usize) -> bool {
        self.members[place].launch.is_some()
    }

    /// Starts a member's process.
    pub(super) fn start_process(&mut self, place: usize, launch: Launch) -> Result<(), WorldError> {
        let joins =
            |flag: &(String, String)| flag.0 == "initial-cluster-state" && flag.1 == "existing";
        let is_first = launch.wipe || !self.was_started(place);
        if is_first && launch.flags.iter().any(joins) {
            self.join_era(place);
        }
        self.world.start(place, &launch)?;
        self.troubles.started(place);
        let now = self.world.now();
        let was_started = self.was_started(place);
        if launch.wipe {
            self.eases(Trouble::Damage, place);
        }
        let member = &mut self.members[place];
        if launch.wipe {
            // A member that begins anew has promised nothing, unless it is the same member still.
            member.is_intact = member.has_new_identity || !was_started;
            member.is_treacherous = false;
            member.excuse = Excuse::None;
        }
        member.is_leaving &= !member.has_new_identity;
        member.is_joining |= member.has_new_identity;
        member.has_new_identity = false;
        if member.excuse == Excuse::DiskFailed {
            member.excuse = Excuse::None;
        }
        // What failed a process has ended it; what has not failed yet does so for the next.
        let fails = member.fails_to_write || member.is_read_only || member.is_full;
        if std::mem::take(&mut member.fails_to_read) || fails {
            member.excuse = Excuse::DiskFailed;
        }
        member.is_up = true;
        member.started = now;
        member.is_paused = false;
        member.is_stopping = false;
        member.is_downed = false;
        member.restart = None;
        member.exit = None;
        member.launch = Some(launch);
        Ok(())
    }

    /// Records a start that no action names.
    pub(super) fn note_start(&mut self, place: usize, wipe: bool) {
        let targets = vec![Target::Name(self.members[place].name.clone())];
        let start = Action::Start(StartAction { wipe, ..StartAction::plain(targets) });
        self.incident(vec![place], start.to_string());
    }

    fn act_restart(
        &mut self,
        start: &StartAction,
        source: Source,
    ) -> Result<Option<StartAction>, Stop> {
        let mut drawn = start.clone();
        drawn.flags = self.draw_flags(&start.flags, &drawn.targets);
        let restarted = self.each(&start.targets, source, |runner, place| {
            let again = runner.changed_launch(place, &drawn);
            if !runner.members[place].is_up {
                if source == Source::Fault && !runner.members[place].may_start(drawn.wipe) {
                    return Ok(false);
                }
                runner.start_process(place, again)?;
                return Ok(true);
            }
            runner.members[place].restart = Some(again);
            runner.act_stop(place)
        })?;
        if source == Source::Statement {
            self.await_stopped()?;
        }
        Ok(restarted.map(|targets| StartAction { targets, ..drawn }))
    }

    /// As a member was started last, with some flags changed.
    fn changed_launch(&self, place: usize, start: &StartAction) -> Launch {
        if !self.was_started(place) {
            return launch(&*self.world, &self.members, place, &start.flags, start.wipe);
        }
        let mut again = self.members[place].relaunch();
        again.wipe = start.wipe;
        for flag in &start.flags {
            let value = expand(&*self.world, &self.members, &flag.choices.concat());
            match again.flags.iter_mut().find(|(name, _)| *name == flag.name) {
                Some((_, old)) => *old = value,
                None => again.flags.push((flag.name.clone(), value)),
            }
        }
        again
    }

    fn act_stop(&mut self, place: usize) -> Result<bool, WorldError> {
        if !self.members[place].is_up {
            return Ok(false);
        }
        self.members[place].is_stopping = true;
        self.members[place].is_downed |= self.in_fault;
        self.world.stop(place)?;
        Ok(true)
    }

    fn act_kill(&mut self, place: usize) -> Result<bool, WorldError> {
        if !self.members[place].is_up {
            return Ok(false);
        }
        self.world.kill(place)?;
        self.went_down(place);
        Ok(true)
    }

    pub(super) fn went_down(&mut self, place: usize) {
        let member = &mut self.members[place];
        member.is_up = false;
        member.is_paused = false;
        member.is_stopping = false;
        member.is_downed = self.in_fault;
        self.troubles.ended(place);
    }

    fn act_power_loss(
        &mut self,
        targets: &[Target],
        source: Source,
    ) -> Result<Option<Targets>, Stop> {
        // A host that runs nothing can lose power too, but that changes only how it is mounted.
        let mut together = Vec::new();
        let named = self.each(targets, source, |runner, place| {
            let member = &runner.members[place];
            let matters = member.is_up || member.is_read_only;
            together.extend(matters.then_some(place));
            Ok(matters)
        })?;
        if named.is_some() {
            self.world.power_loss(&together)?;
            for place in together {
                if self.members[place].is_up {
                    self.went_down(place);
                }
                let member = &mut self.members[place];
                member.has_disk_fault &= !std::mem::take(&mut member.is_read_only);
                self.eases(Trouble::ReadOnly, place);
                self.note_lost_power(place);
            }
        }
        Ok(named)
    }

    fn act_pause(&mut self, place: usize) -> Result<bool, WorldError> {
        if !self.members[place].is_up || self.members[place].is_paused {
            return Ok(false);
        }
        self.world.pause(place)?;
        self.members[place].is_paused = true;
        self.befalls(Trouble::Pause, place);
        Ok(true)
    }

    pub(super) fn act_resume(&mut self, place: usize) -> Result<bool, WorldError> {
        if !self.members[place].is_up || !self.members[place].is_paused {
            return Ok(false);
        }
        self.world.resume(place)?;
        self.members[place].is_paused = false;
        self.eases(Trouble::Pause, place);
        Ok(true)
    }

    /// Does something to every link between two sides; names the ends.
    fn links(
        &mut self,
        sides: &Sides,
        mut what: impl FnMut(&mut Self, End, End) -> Result<(), WorldError>,
    ) -> Result<Option<Sides>, Stop> {
        let (from, to) = self.ends(sides)?;
        let mut any = false;
        for &one in &from {
            for &other in &to {
                if one == other {
                    continue;
                }
                any = true;
                what(self, one, other)?;
                if sides.direction == Direction::Both {
                    what(self, other, one)?;
                }
            }
        }
        let (from, to) = (self.named_ends(&from), self.named_ends(&to));
        Ok(any.then_some(Sides { from, to, direction: sides.direction }))
    }
}

impl Action {
    /// The same, done to others.
    fn aimed_at(self, targets: Targets) -> Action {
        match self {
            Action::Disk(_, fault) => Action::Disk(targets, fault),
            Action::Clock(_, fault) => Action::Clock(targets, fault),
            Action::KillAt(_, trap) => Action::KillAt(targets, trap),
            Action::Processor(_, step) => Action::Processor(targets, step),
            other => other,
        }
    }
}

/// A member is named, so that it must be possible.
fn is_named(targets: &[Target]) -> bool {
    targets.iter().any(|target| matches!(target, Target::Name(_)))
}

/// The default quality of a link, changed as a script says.
fn quality(mut quality: LinkQuality, settings: &Settings) -> LinkQuality {
    let rate = |name| settings.number(name).map(|rate| rate as u32);
    quality.latency = settings.span("latency").unwrap_or(quality.latency);
    quality.loss_per_10k = rate("loss").unwrap_or(quality.loss_per_10k);
    quality.duplicate_per_10k = rate("duplicate").unwrap_or(quality.duplicate_per_10k);
    quality.reorder_per_10k = rate("reorder").unwrap_or(quality.reorder_per_10k);
    quality.tail_per_10k = rate("tail").unwrap_or(quality.tail_per_10k);
    quality.bandwidth = settings.number("bandwidth").unwrap_or(quality.bandwidth);
    quality
}
