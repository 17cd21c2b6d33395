//! What faults do to single members: kills at chosen moments, disks, clocks, and how everything
//! ends. Here is kept in mind what a member can still be trusted with.
//!
//! A member that has lost what it had synced counts as failed from then on: a fault in time, or
//! healing, starts it again only as a new member on an empty disk. A member whose damage its
//! checksums tell may be started, and must refuse.

use std::time::Duration;

use detsim_reports::record::{Severity, Time};

use super::member::{Excuse, Role, launch};
use super::runner::{Runner, Stop};
use super::troubles::Trouble;
use crate::language::ast::Flag;
use crate::world::tally::Subject;
use crate::world::{ClockFault, DiskFault, NetworkFault, Occasion, Trap, WorldError};

/// How long a member that joins may wait for another whose host does not answer: two seconds for
/// the list of members, seven for its version, seven to learn whether a downgrade is under way.
const JOINING: Duration = Duration::from_secs(16);

impl Runner<'_> {
    /// Kills a process at a moment to come, or no longer.
    pub(super) fn act_trap(
        &mut self,
        place: usize,
        trap: Option<Trap>,
    ) -> Result<bool, WorldError> {
        let member = &self.members[place];
        // A disk can be watched before there is a process.
        let can = match trap {
            Some(trap) => member.is_up || !matches!(trap.occasion, Occasion::Send(_)),
            None => member.trap.is_some(),
        };
        if !can {
            return Ok(false);
        }
        self.world.trap(place, trap)?;
        self.members[place].trap = trap;
        match trap {
            Some(_) => self.befalls(Trouble::Trap, place),
            None => self.eases(Trouble::Trap, place),
        }
        Ok(true)
    }

    /// A member's process was killed at the moment that was named, or its power cut.
    pub(super) fn trapped(&mut self, place: usize) {
        self.in_fault = true;
        self.went_down(place);
        self.in_fault = false;
        let (trap, what) = self.sprung(place);
        if trap.is_some_and(|trap| trap.power) {
            self.note_lost_power(place);
        }
        let what = format!("{what} {}", self.members[place].name);
        self.incident(vec![place], what);
        self.faults.any = true;
        self.note_healed();
        if let Some(back) = trap.and_then(|trap| trap.back) {
            self.returning.push((self.world.now().after(back), place));
        }
    }

    /// What was to come has come: a kill or a power loss, in a script's word.
    pub(super) fn sprung(&mut self, place: usize) -> (Option<Trap>, &'static str) {
        let trap = self.members[place].trap.take();
        self.eases(Trouble::Trap, place);
        let is_power = trap.is_some_and(|trap| trap.power);
        (trap, if is_power { "power-loss" } else { "kill" })
    }

    /// A machine has lost its power: what its disk has not kept of what it had synced is gone.
    pub(super) fn note_lost_power(&mut self, place: usize) {
        self.eases(Trouble::Unsafe, place);
        let member = &mut self.members[place];
        let has_lost = std::mem::take(&mut member.is_treacherous);
        member.is_intact &= !has_lost;
        if has_lost {
            self.befalls(Trouble::Damage, place);
        }
    }

    /// Starts those again whose time to come back has come.
    pub(super) fn return_due(&mut self) -> Result<(), Stop> {
        let now = self.world.now();
        let is_due = |(at, _): &mut (Time, usize)| *at <= now;
        let due: Vec<usize> =
            self.returning.extract_if(.., is_due).map(|(_, place)| place).collect();
        for place in due {
            self.bring_back(place)?;
        }
        Ok(())
    }

    pub(super) fn act_clock(&mut self, place: usize, fault: ClockFault) -> Result<(), WorldError> {
        self.world.clock(place, fault)?;
        let before = self.world.tally(Subject::Member(place));
        self.troubles.clock(place, fault, before);
        match fault {
            ClockFault::JumpWall { .. } => {}
            ClockFault::Drift { ppm } => self.members[place].has_drift = ppm != 0,
            ClockFault::DriftWall { .. } | ClockFault::Freeze | ClockFault::FreezeWall => {
                self.members[place].has_drift = true;
            }
        }
        Ok(())
    }

    pub(super) fn act_disk(&mut self, place: usize, fault: &DiskFault) -> Result<(), WorldError> {
        let before = self.world.tally(Subject::Member(place));
        self.world.disk(place, fault)?;
        self.troubles.disk(place, fault, before);
        let member = &mut self.members[place];
        match fault {
            DiskFault::SyncLatency(_) | DiskFault::Hang => member.has_disk_fault = true,
            DiskFault::SyncsLie | DiskFault::NamesLie => {
                member.has_disk_fault = true;
                member.is_treacherous = true;
                member.is_lying = true;
            }
            DiskFault::LostWrite | DiskFault::MisdirectedWrite => member.is_treacherous = true,
            DiskFault::ReadError => member.fails_to_read = true,
            DiskFault::Remember => member.is_remembered = true,
            DiskFault::RollBack | DiskFault::Lose(_) => member.is_intact = false,
            DiskFault::Full | DiskFault::ReadOnly => {
                member.has_disk_fault = true;
                member.is_read_only |= *fault == DiskFault::ReadOnly;
                member.is_full |= *fault == DiskFault::Full;
                member.excuse = Excuse::DiskFailed;
            }
            // What could not be synced may be read again, and is gone with the power.
            DiskFault::SyncError => {
                member.excuse = Excuse::DiskFailed;
                member.fails_to_write = true;
                member.is_treacherous = true;
            }
            DiskFault::WriteError => {
                member.excuse = Excuse::DiskFailed;
                member.fails_to_write = true;
            }
            DiskFault::TearLogTail => member.is_intact = false,
            DiskFault::CorruptLogMiddle | DiskFault::Rot => {
                member.is_intact = false;
                member.excuse = Excuse::LogDamaged;
                member.damaged = self.world.now();
            }
            DiskFault::Harm(harm) => {
                member.is_intact = false;
                if !harm.is_silent() {
                    member.excuse = Excuse::FilesDamaged;
                    member.damaged = self.world.now();
                }
            }
            DiskFault::Recover => {
                if member.has_disk_fault && member.is_up && member.excuse == Excuse::DiskFailed {
                    member.excuse = Excuse::None;
                }
                member.has_disk_fault = false;
                member.is_read_only = false;
                member.is_full = false;
                member.fails_to_read = false;
                // Nothing was asked of the disk: nothing failed.
                if std::mem::take(&mut member.fails_to_write) && member.is_up {
                    member.excuse = Excuse::None;
                    member.is_treacherous = false;
                }
                // What was promised falsely is made good.
                if std::mem::take(&mut member.is_lying) {
                    member.is_treacherous = false;
                }
            }
        }
        Ok(())
    }

    /// Every fault ends: links, frozen processes, disks, clocks; members that a fault took down
    /// come back.
    pub(super) fn heal_all(&mut self) -> Result<(), Stop> {
        if !self.faults.bad_links.is_empty() || !self.faults.cuts.is_empty() {
            self.world.network(&NetworkFault::HealAll)?;
        }
        self.faults.cuts.clear();
        self.faults.bad_links.clear();
        self.troubles.end_where(|trouble, _| matches!(trouble, Trouble::Cut(_) | Trouble::Quality));
        for place in 0..self.members.len() {
            let member = &mut self.members[place];
            member.is_remembered = false;
            if member.has_disk_fault || member.fails_to_read || member.fails_to_write {
                self.act_disk(place, &DiskFault::Recover)?;
            }
            if self.members[place].has_drift {
                self.act_clock(place, ClockFault::Drift { ppm: 0 })?;
            }
            if self.members[place].is_slow {
                self.world.processor(place, Duration::ZERO)?;
                self.members[place].is_slow = false;
                self.eases(Trouble::Processor, place);
            }
            self.act_trap(place, None)?;
            // What ends now ends with the healing, not with what it brings about.
            let ended = self.troubles.take_marks(self.world);
            if self.act_resume(place)? {
                let what = format!("resume {}", self.members[place].name);
                self.incident(vec![place], what);
            }
            self.bring_back(place)?;
            self.troubles.give_back(ended);
        }
        self.allow_for_joining();
        Ok(())
    }

    /// Who joins asks each member in turn, and waits for those that are gone for good.
    fn allow_for_joining(&mut self) {
        self.note_joined();
        let is_joining = self.members.iter().any(|member| member.is_up && member.is_joining);
        let gone = self.members.iter().filter(|it| it.role == Role::Voter && !it.is_up).count();
        self.joining_takes = if is_joining { JOINING * gone as u32 } else { Duration::ZERO };
        let within = self.options.recovery() + self.joining_takes;
        self.history.settings.recovery_within_ms = within.as_millis() as u64;
    }

    /// Starts a member that a fault took down or added, unless it counts as failed for good.
    pub(super) fn bring_back(&mut self, place: usize) -> Result<(), Stop> {
        let member = &self.members[place];
        if !member.is_downed || member.is_up {
            return Ok(());
        }
        let is_new = member.has_new_identity;
        let is_damaged = matches!(member.excuse, Excuse::LogDamaged | Excuse::FilesDamaged);
        if !member.may_start(is_new) || is_damaged && !is_new {
            self.members[place].is_downed = false;
            return Ok(());
        }
        let launch = match is_new {
            true => launch(&*self.world, &self.members, place, &[Flag::existing()], true),
            false => member.relaunch(),
        };
        self.start_process(place, launch)?;
        self.note_start(place, is_new);
        Ok(())
    }

    /// A member whose log was damaged where its checksums tell must not serve. One whose other
    /// files were damaged and that serves has everything, and is held to it.
    pub(super) fn find_accepted_damage(&mut self) {
        for place in 0..self.members.len() {
            let member = &self.members[place];
            let is_damaged = matches!(member.excuse, Excuse::LogDamaged | Excuse::FilesDamaged);
            if !member.is_up || member.is_paused || !is_damaged {
                continue;
            }
            if member.started > member.damaged && self.world.status(place).ready {
                if member.excuse == Excuse::FilesDamaged {
                    let member = &mut self.members[place];
                    (member.is_intact, member.excuse) = (true, Excuse::None);
                    let what = format!("{} serves after damage to its files", member.name);
                    self.eases(Trouble::Damage, place);
                    self.incident(vec![place], what);
                    continue;
                }
                let name = &self.members[place].name;
                let what = format!("{name} serves from a log that was damaged");
                self.find(Severity::Safety, ("disk", "damage-accepted"), what);
            }
        }
    }
}
