//! What faults do, counted where it is done: a number for each kind of deed, and no record of any
//! single one.

use super::End;

/// A member or a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The member at this place.
    Member(usize),
    /// A link from one end to another.
    Link(End, End),
}

/// Something that a fault does to whoever it concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A message waits for a link to heal.
    MessageHeld,
    /// A message is gone, and nobody knows.
    MessageLost,
    /// Nobody answers a knock.
    KnockUnheard,
    /// A message is sent again because it was lost.
    MessageRepeated,
    /// A message arrives twice.
    MessageDoubled,
    /// A message may be overtaken.
    MessageOvertaken,
    /// A message takes longer than any does when nothing is wrong.
    MessageSlowed,
    /// A connection is gone.
    ConnectionBroken,
    /// Something waits for a process that is frozen.
    EventHeld,
    /// A step of a member takes long.
    StepSlowed,
    /// A sync takes longer or shorter than others.
    SyncSlowed,
    /// An operation ends late because the disk hung, or asks for a disk that hangs.
    OperationHung,
    /// An operation is refused by a disk that has no space or cannot be written.
    OperationRefused,
    /// An operation fails.
    OperationFailed,
    /// A sync that makes nothing durable, and says so to nobody.
    SyncFaked,
    /// A write that is nowhere, or elsewhere, after a power loss.
    WriteLost,
    /// Something is lost, or is not what was written.
    Damage,
    /// A byte waits for a link to heal, where no message can be told from another.
    ByteHeld,
    /// A byte takes longer than it does when nothing is wrong.
    ByteSlowed,
    /// A microsecond by which a wall clock went wrong.
    WallClockError,
}

impl Deed {
    /// All of them.
    pub const ALL: [Deed; 20] = [
        Deed::MessageHeld,
        Deed::MessageLost,
        Deed::KnockUnheard,
        Deed::MessageRepeated,
        Deed::MessageDoubled,
        Deed::MessageOvertaken,
        Deed::MessageSlowed,
        Deed::ConnectionBroken,
        Deed::EventHeld,
        Deed::StepSlowed,
        Deed::SyncSlowed,
        Deed::OperationHung,
        Deed::OperationRefused,
        Deed::OperationFailed,
        Deed::SyncFaked,
        Deed::WriteLost,
        Deed::Damage,
        Deed::ByteHeld,
        Deed::ByteSlowed,
        Deed::WallClockError,
    ];

    /// What a number of them is called.
    pub const fn name(self) -> &'static str {
        match self {
            Deed::MessageHeld => "messages held",
            Deed::MessageLost => "messages lost",
            Deed::KnockUnheard => "knocks unheard",
            Deed::MessageRepeated => "messages sent again",
            Deed::MessageDoubled => "messages doubled",
            Deed::MessageOvertaken => "messages overtaken",
            Deed::MessageSlowed => "messages slowed",
            Deed::ConnectionBroken => "connections broken",
            Deed::EventHeld => "events held",
            Deed::StepSlowed => "steps slowed",
            Deed::SyncSlowed => "syncs slowed",
            Deed::OperationHung => "operations hung",
            Deed::OperationRefused => "operations refused",
            Deed::OperationFailed => "operations failed",
            Deed::SyncFaked => "syncs faked",
            Deed::WriteLost => "writes lost",
            Deed::Damage => "damages",
            Deed::ByteHeld => "bytes held",
            Deed::ByteSlowed => "bytes slowed",
            Deed::WallClockError => "microseconds of wall clock error",
        }
    }
}

/// How often each was done until now. What is a clock's may become less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([i64; Deed::ALL.len()]);

impl Tally {
    /// It was done once more.
    pub fn add(&mut self, deed: Deed) {
        self.0[deed as usize] += 1;
    }

    /// It was done so many times more.
    pub fn add_many(&mut self, deed: Deed, many: i64) {
        self.0[deed as usize] += many;
    }

    /// How often it was done since another tally was taken.
    pub fn since(&self, earlier: &Tally, deed: Deed) -> u64 {
        (self.0[deed as usize] - earlier.0[deed as usize]).unsigned_abs()
    }
}

/// Both together.
impl std::ops::Add for Tally {
    type Output = Tally;

    fn add(mut self, other: Tally) -> Tally {
        self.0.iter_mut().zip(other.0).for_each(|(one, other)| *one += other);
        self
    }
}
