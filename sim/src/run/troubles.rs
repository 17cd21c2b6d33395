//! Which faults last, and with whom: what an incident begins and ends is noted here as it is done,
//! and becomes the incident's marks.
//!
//! A fault concerns one or several members or links, and ends when it has ended for the last of
//! them. What replaces a fault ends it.

use detsim_reports::record::{Effect, Fault, FaultKind, LinkEnd, Mark};

use super::runner::Runner;
use crate::world::tally::{Deed, Subject, Tally};
use crate::world::{ClockFault, DiskFault, End, MessageClass, World};

/// What is wrong with a member or a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Messages of a class do not pass a link.
    Cut(MessageClass),
    /// A link is slow, loses, doubles, is narrow.
    Quality,
    /// Connections are gone.
    Connection,
    /// A process is frozen.
    Pause,
    /// Each step takes long.
    Processor,
    /// A kill at a moment to come.
    Trap,
    /// A process was asked to stop.
    Stop,
    /// Syncs of a disk take long, or for ever.
    SyncTime,
    /// There is no space.
    Full,
    /// Nothing can be written.
    ReadOnly,
    /// What comes next fails.
    Error(ErrorOf),
    /// The next write is gone after a power loss, or elsewhere.
    Unsafe,
    /// Syncs of files make nothing durable.
    SyncsLie,
    /// Syncs of directories make nothing durable.
    NamesLie,
    /// Something is lost, or is not what was written.
    Damage,
    /// A wall clock is off by so many milliseconds.
    Jump(i64),
    /// Both clocks run at a wrong rate.
    Rate,
    /// The wall clock does.
    WallRate,
    /// Nothing: an operation was asked for.
    Operation,
}

/// What of a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ErrorOf {
    Read,
    Write,
    Sync,
}

impl Trouble {
    const fn kind(self) -> FaultKind {
        match self {
            Trouble::Cut(_) => FaultKind::Cut,
            Trouble::Quality => FaultKind::Link,
            Trouble::Connection => FaultKind::Connection,
            Trouble::Pause => FaultKind::Pause,
            Trouble::Processor => FaultKind::Processor,
            Trouble::Trap => FaultKind::KillToCome,
            Trouble::Stop => FaultKind::Stop,
            Trouble::SyncTime
            | Trouble::Full
            | Trouble::ReadOnly
            | Trouble::Error(_)
            | Trouble::Unsafe
            | Trouble::SyncsLie
            | Trouble::NamesLie => FaultKind::Disk,
            Trouble::Damage => FaultKind::Damage,
            Trouble::Jump(_) | Trouble::Rate | Trouble::WallRate => FaultKind::Clock,
            Trouble::Operation => FaultKind::Operation,
        }
    }

    /// What it may do.
    const fn deeds(self) -> &'static [Deed] {
        match self {
            Trouble::Cut(MessageClass::All) => {
                &[Deed::MessageHeld, Deed::KnockUnheard, Deed::ByteHeld]
            }
            Trouble::Cut(_) => &[Deed::MessageLost],
            Trouble::Quality => &[
                Deed::MessageRepeated,
                Deed::MessageDoubled,
                Deed::MessageOvertaken,
                Deed::MessageSlowed,
                Deed::ByteSlowed,
            ],
            Trouble::Connection => &[Deed::ConnectionBroken],
            Trouble::Pause => &[Deed::EventHeld],
            Trouble::Processor => &[Deed::StepSlowed],
            Trouble::SyncTime => &[Deed::SyncSlowed, Deed::OperationHung],
            Trouble::Full | Trouble::ReadOnly => &[Deed::OperationRefused],
            Trouble::Error(_) => &[Deed::OperationFailed],
            Trouble::Unsafe => &[Deed::WriteLost],
            Trouble::SyncsLie | Trouble::NamesLie => &[Deed::SyncFaked],
            Trouble::Damage => &[Deed::Damage],
            Trouble::Rate | Trouble::WallRate => &[Deed::WallClockError],
            Trouble::Jump(_) | Trouble::Trap | Trouble::Stop | Trouble::Operation => &[],
        }
    }

    /// Takes no time.
    const fn is_momentary(self) -> bool {
        matches!(self, Trouble::Connection | Trouble::Stop | Trouble::Operation)
    }

    /// Ends with `recover`.
    const fn ends_with_recovery(self) -> bool {
        matches!(
            self,
            Trouble::SyncTime
                | Trouble::Full
                | Trouble::ReadOnly
                | Trouble::Error(_)
                | Trouble::SyncsLie
                | Trouble::NamesLie
        )
    }
}

#[derive(Debug)]
struct Lasting {
    id: u32,
    trouble: Trouble,
    /// With whom it began.
    begun: Vec<Subject>,
    /// With whom it lasts, and what faults had done to it before.
    left: Vec<(Subject, Tally)>,
    /// For whom it has ended since the last incident.
    over: Vec<(Subject, Tally)>,
    /// What it did to those for whom it has ended.
    effect: Effect,
    /// It began since the last incident.
    is_new: bool,
}

/// Faults that last, and what has changed since the last incident.
#[derive(Debug, Default)]
pub struct Troubles {
    faults: u32,
    lasting: Vec<Lasting>,
    marks: Vec<Mark>,
}

impl Troubles {
    /// Something is wrong from now on, or for a moment. What one incident does to several is one
    /// fault.
    pub fn begin(&mut self, trouble: Trouble, subject: Subject, before: Tally) {
        self.end(subject, |other| match other {
            // What is cut is cut once.
            Trouble::Cut(_) | Trouble::Jump(_) | Trouble::Damage => false,
            other => other == trouble,
        });
        let is_it = |it: &&mut Lasting| it.is_new && it.trouble == trouble;
        match self.lasting.iter_mut().find(is_it) {
            Some(lasting) => {
                lasting.begun.push(subject);
                lasting.left.push((subject, before));
            }
            None => {
                let id = self.faults;
                self.faults += 1;
                self.lasting.push(Lasting {
                    id,
                    trouble,
                    begun: vec![subject],
                    left: vec![(subject, before)],
                    over: Vec::new(),
                    effect: Effect::new(),
                    is_new: true,
                });
            }
        }
    }

    /// What was wrong with it in some way is wrong no longer.
    pub fn end(&mut self, subject: Subject, is_it: impl Fn(Trouble) -> bool) {
        self.end_where(|trouble, it| it == subject && is_it(trouble));
    }

    /// The same of all with which something is wrong.
    pub fn end_where(&mut self, is_it: impl Fn(Trouble, Subject) -> bool) {
        for lasting in &mut self.lasting {
            let trouble = lasting.trouble;
            lasting.over.extend(lasting.left.extract_if(.., |(it, _)| is_it(trouble, *it)));
        }
    }

    /// What was to make a process fail has done so.
    pub fn failed(&mut self, place: usize) {
        self.end(Subject::Member(place), |it| matches!(it, Trouble::Error(_)));
    }

    /// A process runs from now on.
    pub fn started(&mut self, place: usize) {
        self.marks.push(Mark::Started(place));
    }

    /// A process does not run any more, nor is it frozen.
    pub fn ended(&mut self, place: usize) {
        self.end(Subject::Member(place), |it| it == Trouble::Pause);
        self.marks.push(Mark::Ended(place));
    }

    /// What a disk's fault begins and ends.
    pub fn disk(&mut self, place: usize, fault: &DiskFault, before: Tally) {
        let subject = Subject::Member(place);
        let trouble = match fault {
            DiskFault::SyncLatency(_) | DiskFault::Hang => Trouble::SyncTime,
            DiskFault::Full => Trouble::Full,
            DiskFault::ReadOnly => Trouble::ReadOnly,
            DiskFault::ReadError => Trouble::Error(ErrorOf::Read),
            DiskFault::WriteError => Trouble::Error(ErrorOf::Write),
            DiskFault::SyncError => Trouble::Error(ErrorOf::Sync),
            DiskFault::LostWrite | DiskFault::MisdirectedWrite => Trouble::Unsafe,
            DiskFault::SyncsLie => Trouble::SyncsLie,
            DiskFault::NamesLie => Trouble::NamesLie,
            DiskFault::Lose(_)
            | DiskFault::Harm(_)
            | DiskFault::TearLogTail
            | DiskFault::CorruptLogMiddle
            | DiskFault::Rot
            | DiskFault::RollBack => Trouble::Damage,
            DiskFault::Remember => Trouble::Operation,
            DiskFault::Recover => return self.end(subject, Trouble::ends_with_recovery),
        };
        self.begin(trouble, subject, before);
    }

    /// What a clock's fault begins and ends.
    pub fn clock(&mut self, place: usize, fault: ClockFault, before: Tally) {
        let subject = Subject::Member(place);
        let is_rate = |it| matches!(it, Trouble::Rate | Trouble::WallRate);
        match fault {
            ClockFault::JumpWall { by_ms } => self.jump(subject, by_ms, before),
            ClockFault::Drift { ppm: 0 } => self.end(subject, is_rate),
            ClockFault::Drift { .. } | ClockFault::Freeze => {
                self.end(subject, is_rate);
                self.begin(Trouble::Rate, subject, before);
            }
            ClockFault::DriftWall { ppm: 0 } => self.end(subject, |it| it == Trouble::WallRate),
            ClockFault::DriftWall { .. } | ClockFault::FreezeWall => {
                self.begin(Trouble::WallRate, subject, before);
            }
        }
    }

    /// A jump undoes those that it adds up to nothing with: the last of them, or all.
    fn jump(&mut self, subject: Subject, by_ms: i64, before: Tally) {
        let jumps =
            self.lasting.iter().filter(|it| it.left.iter().any(|(left, _)| *left == subject));
        let jumps = jumps.filter_map(|it| match it.trouble {
            Trouble::Jump(by_ms) => Some((it.id, by_ms)),
            _ => None,
        });
        let jumps: Vec<(u32, i64)> = jumps.collect();
        let off: i64 = jumps.iter().map(|(_, by_ms)| by_ms).sum();
        if off + by_ms == 0 && !jumps.is_empty() {
            return self.end(subject, |it| matches!(it, Trouble::Jump(_)));
        }
        let Some((undone, _)) = jumps.into_iter().rfind(|(_, it)| *it == -by_ms) else {
            return self.begin(Trouble::Jump(by_ms), subject, before);
        };
        for lasting in self.lasting.iter_mut().filter(|it| it.id == undone) {
            lasting.over.extend(lasting.left.extract_if(.., |(it, _)| *it == subject));
        }
    }

    /// The marks of an incident: what has changed since the last one.
    pub fn take_marks(&mut self, world: &dyn World) -> Vec<Mark> {
        let mut marks = std::mem::take(&mut self.marks);
        let mut begun = Vec::new();
        self.lasting.retain_mut(|lasting| {
            if lasting.trouble.is_momentary() {
                lasting.over.append(&mut lasting.left);
            }
            lasting.count(world);
            let is_over = lasting.left.is_empty();
            let effect = || lasting.effect.clone();
            match (std::mem::take(&mut lasting.is_new), is_over) {
                (true, true) => {
                    begun.push(Mark::Happens { fault: lasting.fault(), effect: effect() })
                }
                (true, false) => begun.push(Mark::Begins(lasting.fault())),
                (false, true) => marks.push(Mark::Ends { fault: lasting.id, effect: effect() }),
                (false, false) => {}
            }
            !is_over
        });
        marks.extend(begun);
        marks
    }

    /// What those did that last to the end of a run.
    pub fn unended(&mut self, world: &dyn World) -> Vec<(u32, Effect)> {
        let counted = self.lasting.iter_mut().map(|lasting| {
            lasting.over.extend(lasting.left.iter().copied());
            lasting.count(world);
            (lasting.id, lasting.effect.clone())
        });
        counted.collect()
    }

    /// Marks that were taken belong to the next incident after all.
    pub fn give_back(&mut self, marks: Vec<Mark>) {
        self.marks.splice(..0, marks);
    }
}

impl Lasting {
    /// Adds what it did to those for whom it has ended.
    fn count(&mut self, world: &dyn World) {
        for (subject, before) in std::mem::take(&mut self.over) {
            if let Trouble::Jump(by_ms) = self.trouble {
                let name = Deed::WallClockError.name().to_owned();
                *self.effect.entry(name).or_default() += by_ms.unsigned_abs() * 1_000;
            }
            let now = world.tally(subject);
            for deed in self.trouble.deeds() {
                let many = now.since(&before, *deed);
                if many > 0 {
                    *self.effect.entry(deed.name().to_owned()).or_default() += many;
                }
            }
        }
    }

    fn fault(&self) -> Fault {
        let (mut members, mut links) = (Vec::new(), Vec::new());
        for subject in &self.begun {
            match subject {
                Subject::Member(place) => members.push(*place),
                Subject::Link(from, to) => links.push((link_end(*from), link_end(*to))),
            }
        }
        Fault { id: self.id, kind: self.trouble.kind(), members, links }
    }
}

const fn link_end(end: End) -> LinkEnd {
    match end {
        End::Member(place) => Some(place),
        End::Clients => None,
    }
}

impl Runner<'_> {
    /// Something is wrong with a member from now on, or for a moment.
    pub(super) fn befalls(&mut self, trouble: Trouble, place: usize) {
        self.begins(trouble, Subject::Member(place));
    }

    /// Something is wrong from now on, or for a moment.
    pub(super) fn begins(&mut self, trouble: Trouble, subject: Subject) {
        let before = self.world.tally(subject);
        self.troubles.begin(trouble, subject, before);
    }

    /// It is wrong no longer.
    pub(super) fn eases(&mut self, trouble: Trouble, place: usize) {
        self.troubles.end(Subject::Member(place), |it| it == trouble);
    }
}

#[cfg(test)]
mod tests;
