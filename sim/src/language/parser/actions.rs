//! Statements that do something to the cluster, now or at a time.

use super::super::ast::{Action, Direction, Sides, StartAction, Target, Targets};
use super::super::value::{Kind, Parameter, Value, meant, parameter, words};
use super::Scope;
use super::cursor::{Cursor, Parsed};
use crate::disk::{Harm, Missing};
use crate::world::{ClockFault, DiskFault, MessageClass, Occasion, Side, Trap};

/// The words that begin an action.
pub const WORDS: [&str; 16] = [
    "start",
    "restart",
    "stop",
    "kill",
    "kill-at",
    "power-loss",
    "pause",
    "resume",
    "cut",
    "heal",
    "reset",
    "half-open",
    "link",
    "disk",
    "clock",
    "processor",
];

/// What `cut` may be told.
const CLASS: [Parameter; 1] = [parameter("class", Kind::Text, "which messages are lost")];

/// The message classes by their words.
pub const CLASSES: [(&str, MessageClass); 6] = [
    ("all", MessageClass::All),
    ("heartbeats", MessageClass::Heartbeats),
    ("appends", MessageClass::Appends),
    ("votes", MessageClass::Votes),
    ("read-index", MessageClass::ReadIndex),
    ("snapshots", MessageClass::Snapshots),
];

/// What `link` may be told.
pub const QUALITY: [Parameter; 6] = [
    parameter("latency", Kind::Span, "how long a message travels"),
    parameter("loss", Kind::Percent, "how many messages need a retransmission"),
    parameter("duplicate", Kind::Percent, "how many messages arrive twice"),
    parameter("reorder", Kind::Percent, "how many messages are overtaken"),
    parameter("tail", Kind::Percent, "how many take twice as long, of these again, and so on"),
    parameter("bandwidth", Kind::Size, "bytes per second"),
];

/// Disk faults that are one word.
pub const DISK_FAULTS: [(&str, DiskFault); 27] = [
    ("hang", DiskFault::Hang),
    ("sync-error", DiskFault::SyncError),
    ("write-error", DiskFault::WriteError),
    ("full", DiskFault::Full),
    ("read-only", DiskFault::ReadOnly),
    ("tear-tail", DiskFault::TearLogTail),
    ("corrupt-middle", DiskFault::CorruptLogMiddle),
    ("read-error", DiskFault::ReadError),
    ("rot", DiskFault::Rot),
    ("lost-write", DiskFault::LostWrite),
    ("misdirected-write", DiskFault::MisdirectedWrite),
    ("syncs-lie", DiskFault::SyncsLie),
    ("names-lie", DiskFault::NamesLie),
    ("remember", DiskFault::Remember),
    ("roll-back", DiskFault::RollBack),
    ("lose-first-segment", DiskFault::Lose(Missing::FirstSegment)),
    ("lose-last-segment", DiskFault::Lose(Missing::LastSegment)),
    ("lose-log", DiskFault::Lose(Missing::Log)),
    ("rot-value", DiskFault::Harm(Harm::RotValue)),
    ("rot-index", DiskFault::Harm(Harm::RotIndex)),
    ("rot-meta", DiskFault::Harm(Harm::RotMeta)),
    ("rot-snapshot", DiskFault::Harm(Harm::RotSnapshot)),
    ("truncate-database", DiskFault::Harm(Harm::TruncateDatabase)),
    ("zero-database", DiskFault::Harm(Harm::ZeroDatabase)),
    ("lose-database", DiskFault::Harm(Harm::LoseDatabase)),
    ("lose-snapshot", DiskFault::Harm(Harm::LoseSnapshot)),
    ("recover", DiskFault::Recover),
];

/// What a process does that it can be killed at, by their words.
pub const OCCASIONS: [(&str, Occasion); 10] = [
    ("write", Occasion::Write),
    ("sync", Occasion::Sync),
    ("name", Occasion::Name),
    ("disk", Occasion::Disk),
    ("message", Occasion::Send(MessageClass::All)),
    ("heartbeats", Occasion::Send(MessageClass::Heartbeats)),
    ("appends", Occasion::Send(MessageClass::Appends)),
    ("votes", Occasion::Send(MessageClass::Votes)),
    ("read-index", Occasion::Send(MessageClass::ReadIndex)),
    ("snapshots", Occasion::Send(MessageClass::Snapshots)),
];

/// The words of `OCCASIONS`.
pub const OCCASION_WORDS: &[&str] = &words(&OCCASIONS);

/// The first of them, which take time.
const DISK_WORDS: &[&str] = OCCASION_WORDS.split_at(4).0;

/// What `kill-at` may be told.
const TRAP: [Parameter; 7] = [
    parameter("never", Kind::Switch, "it is killed at no moment to come"),
    parameter("before", Kind::Words(OCCASION_WORDS), "before what it is killed"),
    parameter("within", Kind::Words(DISK_WORDS), "half-way through what it is killed"),
    parameter("after", Kind::Words(OCCASION_WORDS), "after what it is killed"),
    parameter("count", Kind::Count, "the so manieth time from now"),
    parameter("power", Kind::Switch, "its power goes, not only its process"),
    parameter("back", Kind::Duration, "it is started again so long afterwards"),
];

impl Scope {
    pub(super) fn action(&self, word: &str, cursor: &mut Cursor) -> Parsed<Action> {
        Ok(match word {
            "start" => Action::Start(self.start(cursor)?),
            "restart" => Action::Restart(self.start(cursor)?),
            "stop" => Action::Stop(self.targets(cursor)?),
            "kill" => Action::Kill(self.targets(cursor)?),
            "kill-at" => {
                let targets = self.targets(cursor)?;
                Action::KillAt(targets, trap(cursor)?)
            }
            "power-loss" => Action::PowerLoss(self.targets(cursor)?),
            "pause" => Action::Pause(self.targets(cursor)?),
            "resume" => Action::Resume(self.targets(cursor)?),
            "cut" => {
                let sides = self.sides(cursor)?;
                Action::Cut(sides, message_class(cursor)?)
            }
            "heal" if cursor.at_end() => Action::Heal(None),
            "heal" => Action::Heal(Some(self.sides(cursor)?)),
            "reset" => Action::Reset(self.sides(cursor)?),
            "half-open" => {
                let column = cursor.column();
                let sides = self.sides(cursor)?;
                let is_lawful = sides.direction == Direction::OneWay
                    && !sides.from.contains(&Target::Clients)
                    && !sides.to.contains(&Target::Clients);
                if !is_lawful {
                    let what = "`half-open` is between members, `->` from who is not told";
                    return Err((column, super::Problem::Invalid(what.to_owned())));
                }
                Action::HalfOpen(sides)
            }
            "link" => {
                let sides = self.sides(cursor)?;
                let settings = cursor.settings(&QUALITY)?;
                if settings.0.is_empty() {
                    return Err(cursor.unexpected());
                }
                Action::Link(sides, settings)
            }
            "disk" => {
                let targets = self.targets(cursor)?;
                Action::Disk(targets, disk_fault(cursor)?)
            }
            "clock" => {
                let targets = self.targets(cursor)?;
                Action::Clock(targets, clock_fault(cursor)?)
            }
            "processor" => {
                let targets = self.targets(cursor)?;
                let step = [parameter("step", Kind::Duration, "how long a step takes")];
                match cursor.settings(&step)?.duration("step") {
                    Some(step) => Action::Processor(targets, step),
                    None => return Err(cursor.unexpected()),
                }
            }
            _ => unreachable!("every action's word is handled"),
        })
    }

    fn start(&self, cursor: &mut Cursor) -> Parsed<StartAction> {
        let targets = self.targets(cursor)?;
        let wipe = cursor.takes("wipe");
        Ok(StartAction { targets, wipe, flags: self.flags(cursor)? })
    }

    fn sides(&self, cursor: &mut Cursor) -> Parsed<Sides> {
        let from = self.side(cursor)?;
        let direction = match cursor.peek_word() {
            Some("|") => Direction::Both,
            Some("->") => Direction::OneWay,
            _ => {
                cursor.would_take("`|`", []);
                cursor.would_take("`->`", []);
                return Err(cursor.unexpected());
            }
        };
        cursor.advance();
        let to = self.side(cursor)?;
        if from.contains(&Target::Rest) && to.contains(&Target::Rest) {
            return cursor.invalid("`rest` is what the other side does not name");
        }
        Ok(Sides { from, to, direction })
    }

    fn side(&self, cursor: &mut Cursor) -> Parsed<Targets> {
        let mut side = Vec::new();
        loop {
            if cursor.takes("clients") {
                side.push(Target::Clients);
            } else if let Some(target) = cursor.peek_word().and_then(|word| self.find_target(word))
            {
                cursor.advance();
                side.push(target);
            } else {
                self.would_take_target(cursor);
                break;
            }
        }
        if side.is_empty() { Err(cursor.unexpected()) } else { Ok(side) }
    }
}

fn message_class(cursor: &mut Cursor) -> Parsed<MessageClass> {
    let column = cursor.column();
    let settings = cursor.settings(&CLASS)?;
    let Some(text) = settings.text("class") else { return Ok(MessageClass::All) };
    meant(&CLASSES, text).ok_or_else(|| {
        let words = words(&CLASSES);
        (
            column,
            super::Problem::Unexpected {
                expected: vec![format!("a class of messages ({})", words.join(", "))],
                found: text.to_owned(),
                suggestion: super::super::error::nearest(text, words.iter().copied()),
            },
        )
    })
}

fn disk_fault(cursor: &mut Cursor) -> Parsed<DiskFault> {
    let latency = [parameter("sync-latency", Kind::Duration, "how long a sync takes")];
    if let Some(latency) = cursor.settings(&latency)?.duration("sync-latency") {
        return Ok(DiskFault::SyncLatency(latency));
    }
    for (word, fault) in &DISK_FAULTS {
        if cursor.takes(word) {
            return Ok(fault.clone());
        }
    }
    Err(cursor.unexpected())
}

/// `after=sync count=3`, `before=appends`, `never`.
fn trap(cursor: &mut Cursor) -> Parsed<Option<Trap>> {
    let column = cursor.column();
    let settings = cursor.settings(&TRAP)?;
    if settings.0.is_empty() {
        return Err(cursor.unexpected());
    }
    if settings.has("never") && settings.0.len() == 1 {
        return Ok(None);
    }
    let of = |side: &str| {
        let [word] = settings.words(side) else { return None };
        meant(&OCCASIONS, word)
    };
    let sides = [("before", Side::Before), ("within", Side::Within), ("after", Side::After)];
    let mut said = sides.into_iter().filter(|(word, _)| settings.has(word));
    let found = match (said.next(), said.next(), settings.has("never")) {
        (Some((word, side)), None, false) => of(word).map(|occasion| (side, occasion)),
        _ => None,
    };
    let count = u32::try_from(settings.number("count").unwrap_or(1)).unwrap_or(0);
    let (power, back) = (settings.has("power"), settings.duration("back"));
    match found {
        Some((side, occasion)) if count > 0 => {
            Ok(Some(Trap { side, occasion, count, power, back }))
        }
        _ => {
            let what = "a kill takes one of `after=sync count=3`, `before=appends`, `never`";
            Err((column, super::Problem::Invalid(what.to_owned())))
        }
    }
}

fn clock_fault(cursor: &mut Cursor) -> Parsed<ClockFault> {
    let column = cursor.column();
    if cursor.takes("freeze") {
        return Ok(ClockFault::Freeze);
    }
    if cursor.takes("freeze-wall") {
        return Ok(ClockFault::FreezeWall);
    }
    let settings = cursor.settings(&[
        parameter("jump", Kind::Text, "how far the wall clock jumps"),
        parameter("drift", Kind::Text, "how much faster both clocks run"),
        parameter("wall-drift", Kind::Text, "how much faster the wall clock alone runs"),
    ])?;
    let fault = match settings.0.as_slice() {
        [] => return Err(cursor.unexpected()),
        [(name, Value::Text(text))] => match name.as_str() {
            "jump" => signed_ms(text).map(|by_ms| ClockFault::JumpWall { by_ms }),
            "drift" => ppm(text).map(|ppm| ClockFault::Drift { ppm }),
            _ => ppm(text).map(|ppm| ClockFault::DriftWall { ppm }),
        },
        _ => None,
    };
    fault.ok_or_else(|| {
        let what = "a clock takes one of `jump=+5s`, `jump=-200ms`, `drift=+200ppm`";
        (column, super::Problem::Invalid(what.to_owned()))
    })
}

/// Parts per million with a sign.
fn ppm(text: &str) -> Option<i32> {
    let number = text.strip_suffix("ppm")?.parse().ok();
    number.filter(|ppm: &i32| ppm.unsigned_abs() < 1_000_000)
}

/// Whole milliseconds with a sign.
fn signed_ms(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let duration = super::super::value::duration(rest)?;
    let is_whole = duration.subsec_nanos() % 1_000_000 == 0;
    is_whole.then(|| i64::try_from(duration.as_millis()).ok()).flatten().map(|ms| sign * ms)
}
