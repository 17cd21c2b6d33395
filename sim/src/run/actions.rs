//! Doing to the cluster what a statement, a plan's `at` line or a nemesis says: members are named
//! one by one, the world is told, the incident is recorded, and what was done comes back as an
//! action that names everything, for the plan.

use detsim_reports::record::Incident;

use super::member::{Excuse, Role, expand, launch};
use super::runner::{Runner, Stop};
use crate::language::ast::{Action, Direction, Sides, StartAction, Target, Targets};
use crate::language::value::Settings;
use crate::world::{
    ClockFault, DiskFault, End, Launch, LinkQuality, MessageClass, NetworkFault, WorldError,
};

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
    /// Some link's quality is not the default.
    pub has_bad_links: bool,
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
            Action::Cut(sides, class) => self
                .links(sides, |runner, from, to| {
                    runner.world.network(&NetworkFault::Cut { from, to, class: *class })?;
                    runner.faults.cuts.push((from, to, *class));
                    Ok(())
                })?
                .map(|sides| Action::Cut(sides, *class)),
            Action::Heal(Some(sides)) => self
                .links(sides, |runner, from, to| {
                    runner.world.network(&NetworkFault::Heal { from, to })?;
                    runner.faults.cuts.retain(|cut| (cut.0, cut.1) != (from, to));
                    Ok(())
                })?
                .map(|sides| Action::Heal(Some(sides))),
            Action::Reset(sides) => self
                .links(sides, |runner, from, to| {
                    runner.world.network(&NetworkFault::Reset { from, to })
                })?
                .map(Action::Reset),
            Action::Link(sides, settings) => {
                let quality = quality(self.world.link_quality(), settings);
                self.faults.has_bad_links = quality != self.world.link_quality();
                self.links(sides, |runner, from, to| {
                    let quality = quality.clone();
                    runner.world.network(&NetworkFault::Quality { from, to, quality })
                })?
                .map(|sides| Action::Link(sides, settings.clone()))
            }
            Action::Disk(targets, fault) => {
                let fault = fault.clone();
                self.each(targets, Source::Statement, move |runner, place| {
                    runner.act_disk(place, &fault)?;
                    Ok(true)
                })?
                .map(|targets| action.clone().aimed_at(targets))
            }
            Action::Clock(targets, fault) => {
                let fault = *fault;
                self.each(targets, Source::Statement, move |runner, place| {
                    runner.world.clock(place, fault)?;
                    if let ClockFault::Drift { ppm } = fault {
                        runner.members[place].has_drift = ppm != 0;
                    }
                    Ok(true)
                })?
                .map(|targets| action.clone().aimed_at(targets))
            }
        };
        if let Some(done) = &done {
            let members = self.concerned(done);
            self.incident(members, done.to_string());
            self.note_fault(done);
        }
        Ok(done)
    }

    /// Records what happened.
    pub(super) fn incident(&mut self, members: Vec<usize>, what: String) {
        let at = self.world.now();
        self.history.incidents.push(Incident { at, members, what });
    }

    /// Keeps `healed` what it says: when the last fault ended.
    fn note_fault(&mut self, done: &Action) {
        self.faults.any |= !matches!(done, Action::Start(_) | Action::Heal(_) | Action::Resume(_));
        let is_bad = self.faults.has_bad_links || !self.faults.cuts.is_empty();
        let is_hurt = self.members.iter().any(|member| {
            member.is_paused || member.has_disk_fault || member.has_drift || member.is_downed
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
            | Action::PowerLoss(targets)
            | Action::Pause(targets)
            | Action::Resume(targets)
            | Action::Disk(targets, _)
            | Action::Clock(targets, _) => named(targets),
            Action::Heal(None) => Vec::new(),
            Action::Cut(sides, _)
            | Action::Heal(Some(sides))
            | Action::Reset(sides)
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
            if runner.members[place].is_up {
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
        self.world.start(place, &launch)?;
        let was_started = self.was_started(place);
        let member = &mut self.members[place];
        if launch.wipe {
            // A member that begins anew has promised nothing, unless it is the same member still.
            member.is_intact = member.has_new_identity || !was_started;
            member.excuse = Excuse::None;
        }
        member.has_new_identity = false;
        if member.excuse == Excuse::DiskFailed {
            member.excuse = Excuse::None;
        }
        member.is_up = true;
        member.is_paused = false;
        member.is_stopping = false;
        member.is_downed = false;
        member.restart = None;
        member.exit = None;
        member.launch = Some(launch);
        Ok(())
    }

    /// Records a start that no action names.
    pub(super) fn note_start(&mut self, place: usize) {
        let what = format!("start {}", self.members[place].name);
        self.incident(vec![place], what);
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

    fn went_down(&mut self, place: usize) {
        let member = &mut self.members[place];
        member.is_up = false;
        member.is_paused = false;
        member.is_stopping = false;
        member.is_downed = self.in_fault;
    }

    fn act_power_loss(
        &mut self,
        targets: &[Target],
        source: Source,
    ) -> Result<Option<Targets>, Stop> {
        // A host that runs nothing can lose power too, but nothing happens to it.
        let mut together = Vec::new();
        let named = self.each(targets, source, |runner, place| {
            let is_up = runner.members[place].is_up;
            together.extend(is_up.then_some(place));
            Ok(is_up)
        })?;
        if named.is_some() {
            self.world.power_loss(&together)?;
            for place in together {
                self.went_down(place);
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
        Ok(true)
    }

    fn act_resume(&mut self, place: usize) -> Result<bool, WorldError> {
        if !self.members[place].is_up || !self.members[place].is_paused {
            return Ok(false);
        }
        self.world.resume(place)?;
        self.members[place].is_paused = false;
        Ok(true)
    }

    fn act_disk(&mut self, place: usize, fault: &DiskFault) -> Result<(), WorldError> {
        self.world.disk(place, fault)?;
        let member = &mut self.members[place];
        match fault {
            DiskFault::SyncLatency(_) | DiskFault::Hang => member.has_disk_fault = true,
            DiskFault::Full => {
                member.has_disk_fault = true;
                member.excuse = Excuse::DiskFailed;
            }
            DiskFault::SyncError | DiskFault::WriteError => member.excuse = Excuse::DiskFailed,
            DiskFault::TearLogTail => member.is_intact = false,
            DiskFault::CorruptLogMiddle => {
                member.is_intact = false;
                member.excuse = Excuse::LogDamaged;
            }
            DiskFault::Recover => {
                if member.has_disk_fault && member.is_up && member.excuse == Excuse::DiskFailed {
                    member.excuse = Excuse::None;
                }
                member.has_disk_fault = false;
            }
        }
        Ok(())
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

    /// Every fault ends: links, frozen processes, disks, clocks; members that a fault took down
    /// come back.
    fn heal_all(&mut self) -> Result<(), Stop> {
        if self.faults.has_bad_links || !self.faults.cuts.is_empty() {
            self.world.network(&NetworkFault::HealAll)?;
        }
        self.faults.cuts.clear();
        self.faults.has_bad_links = false;
        for place in 0..self.members.len() {
            if self.members[place].has_disk_fault {
                self.world.disk(place, &DiskFault::Recover)?;
                self.members[place].has_disk_fault = false;
            }
            if self.members[place].has_drift {
                self.world.clock(place, ClockFault::Drift { ppm: 0 })?;
                self.members[place].has_drift = false;
            }
            if self.act_resume(place)? {
                let what = format!("resume {}", self.members[place].name);
                self.incident(vec![place], what);
            }
            let member = &self.members[place];
            if member.is_downed && !member.is_up && member.role != Role::Removed {
                let launch = member.relaunch();
                self.start_process(place, launch)?;
                self.note_start(place);
            }
        }
        Ok(())
    }
}

impl Action {
    /// The same, done to others.
    fn aimed_at(self, targets: Targets) -> Action {
        match self {
            Action::Disk(_, fault) => Action::Disk(targets, fault),
            Action::Clock(_, fault) => Action::Clock(targets, fault),
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
    quality.bandwidth = settings.number("bandwidth").unwrap_or(quality.bandwidth);
    quality
}
