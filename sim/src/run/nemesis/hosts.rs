//! Faults of single members: their processes, disks and clocks.
//!
//! Whatever takes away what a member had synced touches a minority at most, all such faults of a
//! run together, and the member counts as failed from then on: it stays down, unless its checksums
//! tell the damage, when it is started and must refuse.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::kinds::{HARMS, MISSING, OTHER_FLAGS};
use super::view::View;
use super::{Parts, drawn, to_and_fro};
use crate::language::OCCASIONS;
use crate::language::ast::{Action, Flag, StartAction, Targets};
use crate::language::value::Settings;
use crate::seed::Draw;
use crate::world::{ClockFault, DiskFault, Side, Trap};

/// Between steps of one fault that must follow each other.
const STEP: Duration = Duration::from_millis(10);

/// How long a disk syncs before the power is lost in the midst of it.
const BUSY: Duration = Duration::from_millis(150);

/// Heartbeat intervals and election timeouts, in milliseconds, within etcd's rules.
const TIMING: [(u64, u64); 8] = [
    (100, 1_000),
    (50, 1_000),
    (200, 1_000),
    (50, 800),
    (150, 1_200),
    (100, 1_300),
    (20, 700),
    (300, 3_000),
];

/// Draws a fault of members.
pub fn draw(
    kind: &str,
    settings: &Settings,
    view: &View,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    let places = match kind {
        "sync-error" | "rot" | "lies" | "roll-back" | "lost-files" | "damaged-files" => {
            view.expendable(settings, stream)
        }
        _ => view.targets(settings, stream),
    };
    let whom = view.named(&places);
    if whom.is_empty() {
        return Vec::new();
    }
    match kind {
        "kill" | "kill-at" | "power-loss" | "pause" | "slow-processor" | "restart" => {
            on_process(kind, settings, whom, stream, lasts)
        }
        "reconfigure" => {
            let what = match settings.words("flags") {
                [only] => only,
                several => stream.pick(several),
            };
            match OTHER_FLAGS.iter().find(|(name, ..)| name == what) {
                Some(flag) => reflag(flag, &places, view, stream, lasts),
                None => reconfigure(&places, view, stream, lasts),
            }
        }
        "clock" | "drift" | "strobe" | "freeze" => on_clock(kind, settings, &whom, stream, lasts),
        _ => on_disk(kind, settings, whom, stream, lasts),
    }
}

fn start(whom: &Targets) -> Action {
    Action::Start(StartAction::plain(whom.clone()))
}

fn on_process(
    kind: &str,
    settings: &Settings,
    whom: Targets,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    let now = Duration::ZERO;
    match kind {
        "kill" => vec![(now, Action::Kill(whom.clone())), (lasts, start(&whom))],
        "kill-at" => {
            let trap = trap(settings, stream);
            vec![
                (now, Action::KillAt(whom.clone(), Some(trap))),
                (lasts, Action::KillAt(whom.clone(), None)),
                (lasts, start(&whom)),
            ]
        }
        "power-loss" => {
            let busy = settings.number("busy").expect("it has a default") as u32;
            if busy == 0 || !stream.chance_per_10k(busy) {
                return vec![(now, Action::PowerLoss(whom.clone())), (lasts, start(&whom))];
            }
            // Much is written by then and not synced yet.
            let disk = |fault| Action::Disk(whom.clone(), fault);
            vec![
                (now, disk(DiskFault::SyncLatency(BUSY * 2))),
                (BUSY, Action::PowerLoss(whom.clone())),
                (BUSY, disk(DiskFault::Recover)),
                (BUSY + lasts, start(&whom)),
            ]
        }
        "pause" => vec![(now, Action::Pause(whom.clone())), (lasts, Action::Resume(whom))],
        "slow-processor" => {
            let (low, high) = settings.span("step").expect("it has a default");
            let step = stream.duration(low, high);
            vec![
                (now, Action::Processor(whom.clone(), step)),
                (lasts, Action::Processor(whom, Duration::ZERO)),
            ]
        }
        _ => vec![(now, Action::Restart(StartAction::plain(whom)))],
    }
}

fn trap(settings: &Settings, stream: &mut ChaCha8Rng) -> Trap {
    let occasion = drawn(&OCCASIONS, settings, "at", stream);
    let side = *stream.pick(&[Side::Before, Side::After]);
    let most = settings.number("count").expect("it has a default").clamp(1, u64::from(u32::MAX));
    let count = stream.within(1..=most) as u32;
    Trap { side, occasion, count, power: false, back: None }
}

/// The least time to live that a lease is given follows from the timing, and stays as it is.
fn reconfigure(places: &[usize], view: &View, stream: &mut ChaCha8Rng, lasts: Duration) -> Parts {
    let ttl_s = |(heartbeat, election): (u64, u64)| {
        (election / heartbeat * 3 / 2 * heartbeat).div_ceil(1_000)
    };
    let mut parts = Vec::new();
    for &place in places {
        let before = view.timing[place];
        let like = |other: &(u64, u64)| *other != before && ttl_s(*other) == ttl_s(before);
        let choices: Vec<(u64, u64)> = TIMING.into_iter().filter(like).collect();
        if choices.is_empty() {
            continue;
        }
        let targets = view.named(&[place]);
        for (at, (heartbeat, election)) in
            [(Duration::ZERO, *stream.pick(&choices)), (lasts, before)]
        {
            let flags = vec![
                Flag::new("heartbeat-interval", &heartbeat.to_string()),
                Flag::new("election-timeout", &election.to_string()),
            ];
            let restart = StartAction { targets: targets.clone(), wipe: false, flags };
            parts.push((at, Action::Restart(restart)));
        }
    }
    parts
}

/// One flag has another value for a while; each member gets its own.
fn reflag(
    (name, default, values): &(&str, &str, &[&str]),
    places: &[usize],
    view: &View,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    let mut parts = Vec::new();
    for &place in places {
        let given = view.flags[place].iter().find(|(flag, _)| flag == name);
        let before = given.map_or(*default, |(_, value)| value.as_str());
        let others: Vec<&str> = values.iter().copied().filter(|value| *value != before).collect();
        let targets = view.named(&[place]);
        for (at, value) in [(Duration::ZERO, *stream.pick(&others)), (lasts, before)] {
            let flags = vec![Flag::new(name, value)];
            let restart = StartAction { targets: targets.clone(), wipe: false, flags };
            parts.push((at, Action::Restart(restart)));
        }
    }
    parts
}

fn on_disk(
    kind: &str,
    settings: &Settings,
    whom: Targets,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    let now = Duration::ZERO;
    let disk = |fault| Action::Disk(whom.clone(), fault);
    let recovers = (lasts, disk(DiskFault::Recover));
    let starts = (lasts + STEP, start(&whom));
    let kill = || Action::Kill(whom.clone());
    match kind {
        "hang" => vec![(now, disk(DiskFault::Hang)), recovers],
        "slow-disk" => {
            let (low, high) = settings.span("latency").expect("it has a default");
            let latency = stream.duration(low, high);
            vec![(now, disk(DiskFault::SyncLatency(latency))), recovers]
        }
        "full" => vec![(now, disk(DiskFault::Full)), recovers, starts],
        "sync-error" => vec![(now, disk(DiskFault::SyncError)), recovers, starts],
        "write-error" => vec![(now, disk(DiskFault::WriteError)), recovers, starts],
        "read-error" => vec![
            (now, kill()),
            (now, disk(DiskFault::ReadError)),
            (STEP, start(&whom)),
            recovers,
            starts,
        ],
        "rot" => vec![(now, kill()), (now, disk(DiskFault::Rot)), (lasts, start(&whom))],
        "roll-back" => vec![
            (now, disk(DiskFault::Remember)),
            (lasts, kill()),
            (lasts, disk(DiskFault::RollBack)),
        ],
        "read-only" => vec![
            (now, disk(DiskFault::ReadOnly)),
            (lasts, Action::PowerLoss(whom.clone())),
            (lasts + STEP, start(&whom)),
        ],
        "lost-files" => {
            let missing = drawn(&MISSING, settings, "what", stream);
            vec![(now, kill()), (now, disk(DiskFault::Lose(missing)))]
        }
        "damaged-files" => {
            let harm = drawn(&HARMS, settings, "what", stream);
            vec![(now, kill()), (now, disk(DiskFault::Harm(harm))), (lasts, start(&whom))]
        }
        "lies" => {
            let fault = match stream.pick(settings.words("about")).as_str() {
                "syncs" => DiskFault::SyncsLie,
                "names" => DiskFault::NamesLie,
                "lost-write" => DiskFault::LostWrite,
                _ => DiskFault::MisdirectedWrite,
            };
            vec![(now, disk(fault)), (lasts, Action::PowerLoss(whom.clone())), recovers]
        }
        other => unreachable!("{other} is no nemesis of disks"),
    }
}

fn on_clock(
    kind: &str,
    settings: &Settings,
    whom: &Targets,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    let now = Duration::ZERO;
    let clock = |fault| Action::Clock(whom.clone(), fault);
    let jump = |by_ms| clock(ClockFault::JumpWall { by_ms });
    let sign = |stream: &mut ChaCha8Rng| if stream.chance_per_10k(5_000) { 1 } else { -1 };
    let far = |stream: &mut ChaCha8Rng| {
        let (low, high) = settings.span("jump").expect("it has a default");
        let far = stream.duration(low, high).as_millis() as i64;
        far * sign(stream)
    };
    let of_both = |stream: &mut ChaCha8Rng| stream.pick(settings.words("of")) == "both";
    let normal = (lasts, clock(ClockFault::Drift { ppm: 0 }));
    match kind {
        "clock" => {
            let by_ms = far(stream);
            vec![(now, jump(by_ms)), (lasts, jump(-by_ms))]
        }
        "strobe" => {
            let by_ms = far(stream);
            to_and_fro(&jump(by_ms), &jump(-by_ms), settings, stream, lasts)
        }
        "drift" => {
            let most = settings.number("ppm").expect("it has a default").min(500_000);
            let ppm = stream.within(most.min(1)..=most) as i32 * sign(stream) as i32;
            let fault = match of_both(stream) {
                true => ClockFault::Drift { ppm },
                false => ClockFault::DriftWall { ppm },
            };
            vec![(now, clock(fault)), normal]
        }
        _ => {
            let fault = match of_both(stream) {
                true => ClockFault::Freeze,
                false => ClockFault::FreezeWall,
            };
            vec![(now, clock(fault)), normal]
        }
    }
}
