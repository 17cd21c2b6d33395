//! What each nemesis does: a fault as actions in time, drawn with integers.
//!
//! A fault touches only members that are healthy when it begins. Two faults of the network do not
//! overlap, for the end of one would heal the other.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::language::ast::{Action, Direction, Sides, StartAction, Target, Targets};
use crate::language::value::{Entry, Kind, Parameter, Settings, Value};
use crate::seed::Draw;
use crate::world::{ClockFault, DiskFault, MessageClass};

const fn parameter(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Parameter {
    Parameter { name, kind, default, meaning }
}

const EVERY: Parameter =
    parameter("every", Kind::Span, "5s..15s", "how long it waits before a fault");
const FOR: Parameter = parameter("for", Kind::Span, "1s..8s", "how long a fault lasts");

const ROLES: Kind = Kind::Words(&["one", "leader", "follower", "minority", "majority", "all"]);
const SHAPES: Kind =
    Kind::Words(&["leader", "one", "minority", "leader-minority", "halves", "bridge", "ring"]);
const WAYS: Kind = Kind::Words(&["leader-in", "leader-out", "one-in", "one-out"]);
const CLASSES: Kind = Kind::Words(&["heartbeats", "appends", "votes", "read-index", "snapshots"]);

const TARGETS: Parameter =
    parameter("targets", ROLES, "one", "whom; one of several is drawn for each fault");

/// The nemeses that scripts can name.
pub const KINDS: &[Entry] = &[
    Entry {
        name: "partition",
        meaning: "members are cut off from each other",
        parameters: &[
            parameter(
                "shape",
                SHAPES,
                "leader,one,minority,leader-minority,halves,bridge,ring",
                "who from whom; one of several is drawn for each fault",
            ),
            EVERY,
            FOR,
        ],
    },
    Entry {
        name: "one-way",
        meaning: "a member hears nobody, or nobody hears it",
        parameters: &[
            parameter(
                "way",
                WAYS,
                "leader-in,leader-out,one-in,one-out",
                "which messages are lost; one of several is drawn for each fault",
            ),
            EVERY,
            FOR,
        ],
    },
    Entry {
        name: "flapping",
        meaning: "a member's links come and go",
        parameters: &[
            TARGETS,
            parameter("period", Kind::Span, "100ms..400ms", "how long the links stay as they are"),
            EVERY,
            FOR,
        ],
    },
    Entry {
        name: "messages",
        meaning: "messages of one class between a member and the others are lost",
        parameters: &[
            parameter(
                "class",
                CLASSES,
                "heartbeats,appends,votes,read-index,snapshots",
                "which; one of several is drawn for each fault",
            ),
            TARGETS,
            EVERY,
            FOR,
        ],
    },
    Entry {
        name: "slow-link",
        meaning: "messages between a member and the others take long",
        parameters: &[
            TARGETS,
            parameter("latency", Kind::Span, "50ms..200ms", "how long"),
            parameter("loss", Kind::Percent, "0%", "how many need a retransmission"),
            EVERY,
            FOR,
        ],
    },
    Entry {
        name: "kill",
        meaning: "processes are killed, and started again after a while",
        parameters: &[TARGETS, EVERY, FOR],
    },
    Entry {
        name: "power-loss",
        meaning: "hosts lose their power at the same moment, and start again after a while",
        parameters: &[TARGETS, EVERY, FOR],
    },
    Entry {
        name: "pause",
        meaning: "processes are frozen for a while",
        parameters: &[TARGETS, EVERY, FOR],
    },
    Entry {
        name: "restart",
        meaning: "members are stopped gracefully and started again",
        parameters: &[TARGETS, EVERY],
    },
    Entry {
        name: "hang",
        meaning: "syncs of a disk do not end for a while",
        parameters: &[TARGETS, EVERY, FOR],
    },
    Entry {
        name: "slow-disk",
        meaning: "syncs of a disk take long",
        parameters: &[
            TARGETS,
            parameter("latency", Kind::Span, "20ms..500ms", "how long a sync takes"),
            EVERY,
            FOR,
        ],
    },
    Entry {
        name: "clock",
        meaning: "wall clocks jump, and back after a while",
        parameters: &[
            TARGETS,
            parameter("jump", Kind::Span, "1s..60s", "how far, forwards or back"),
            EVERY,
            FOR,
        ],
    },
];

/// What a nemesis knows of the cluster when it begins a fault.
pub struct View {
    /// All members' names by place.
    pub names: Vec<String>,
    /// How many members are in the configuration.
    pub members: usize,
    /// Places of members with which nothing is wrong, ascending.
    pub healthy: Vec<usize>,
    /// Who leads.
    pub leader: Option<usize>,
    /// Some links are cut or bad already.
    pub has_cuts: bool,
    /// How long a message travels when nothing is wrong.
    pub latency: (Duration, Duration),
}

impl View {
    fn named(&self, places: &[usize]) -> Targets {
        places.iter().map(|place| Target::Name(self.names[*place].clone())).collect()
    }

    fn sides(&self, from: &[usize], to: &[usize], direction: Direction) -> Sides {
        Sides { from: self.named(from), to: self.named(to), direction }
    }

    fn others(&self, places: &[usize]) -> Vec<usize> {
        self.healthy.iter().copied().filter(|place| !places.contains(place)).collect()
    }

    /// The healthy members of a role, drawn where several would do.
    fn role(&self, role: &str, stream: &mut ChaCha8Rng) -> Vec<usize> {
        let mut healthy = self.healthy.clone();
        stream.shuffle(&mut healthy);
        let leads = |place: &usize| Some(*place) == self.leader;
        let many = match role {
            "leader" => {
                healthy.retain(leads);
                1
            }
            "follower" => {
                healthy.retain(|place| !leads(place));
                1
            }
            "minority" => (self.members - 1) / 2,
            "majority" => self.members / 2 + 1,
            "all" => self.members,
            _ => 1,
        };
        healthy.truncate(many);
        healthy.sort_unstable();
        healthy
    }

    /// The members that one of the words of `targets=` means.
    fn targets(&self, settings: &Settings, stream: &mut ChaCha8Rng) -> Vec<usize> {
        let role = stream.pick(settings.words("targets")).clone();
        self.role(&role, stream)
    }
}

/// Parts of a fault: how long after its beginning, and what.
type Parts = Vec<(Duration, Action)>;

/// Draws a fault. Empty if there is nobody to do it to. Settings are complete.
pub fn draw(kind: &str, settings: &Settings, view: &View, stream: &mut ChaCha8Rng) -> Parts {
    if view.healthy.is_empty() {
        return Vec::new();
    }
    let lasts = match settings.span("for") {
        Some((low, high)) => stream.duration(low, high),
        None => Duration::ZERO,
    };
    match kind {
        "partition" | "one-way" | "flapping" | "messages" | "slow-link" => {
            if view.has_cuts || view.healthy.len() < 2 {
                return Vec::new();
            }
            on_links(kind, settings, view, stream, lasts)
        }
        _ => on_members(kind, settings, view, stream, lasts),
    }
}

fn on_links(
    kind: &str,
    settings: &Settings,
    view: &View,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    match kind {
        "partition" => {
            let shape = stream.pick(settings.words("shape")).clone();
            between(&shape_cuts(&shape, view, stream), MessageClass::All, lasts)
        }
        "one-way" => {
            let way = stream.pick(settings.words("way")).clone();
            let whom = view.role(way.split('-').next().unwrap_or_default(), stream);
            let others = view.others(&whom);
            let (from, to) = if way.ends_with("in") { (&others, &whom) } else { (&whom, &others) };
            between(&[view.sides(from, to, Direction::OneWay)], MessageClass::All, lasts)
        }
        "flapping" => flapping(settings, view, stream, lasts),
        "messages" => {
            let class = match stream.pick(settings.words("class")).as_str() {
                "heartbeats" => MessageClass::Heartbeats,
                "appends" => MessageClass::Appends,
                "votes" => MessageClass::Votes,
                "read-index" => MessageClass::ReadIndex,
                _ => MessageClass::Snapshots,
            };
            let whom = view.targets(settings, stream);
            between(&[view.sides(&whom, &view.others(&whom), Direction::Both)], class, lasts)
        }
        _ => slow_link(settings, view, stream, lasts),
    }
}

/// Cut at the beginning, healed at the end. Sides that name nobody are left out.
fn between(cuts: &[Sides], class: MessageClass, lasts: Duration) -> Parts {
    let real = || cuts.iter().filter(|sides| !sides.from.is_empty() && !sides.to.is_empty());
    let begin = real().map(|sides| (Duration::ZERO, Action::Cut(sides.clone(), class)));
    let end = real().map(|sides| (lasts, Action::Heal(Some(sides.clone()))));
    begin.chain(end).collect()
}

/// Which links a shape cuts.
fn shape_cuts(shape: &str, view: &View, stream: &mut ChaCha8Rng) -> Vec<Sides> {
    let apart = |side: &[usize]| vec![view.sides(side, &view.others(side), Direction::Both)];
    let mut order = view.healthy.clone();
    stream.shuffle(&mut order);
    let many = order.len();
    match shape {
        "leader-minority" => {
            // The leader and as many others as leave a majority on the other side.
            let leader = view.leader.filter(|leader| order.contains(leader));
            let Some(leader) = leader else { return Vec::new() };
            order.retain(|place| *place != leader);
            order.insert(0, leader);
            order.truncate(((view.members - 1) / 2).max(1));
            order.sort_unstable();
            apart(&order)
        }
        "halves" => {
            order.truncate(many / 2);
            order.sort_unstable();
            apart(&order)
        }
        // Two halves that do not hear each other, and one member that hears both.
        "bridge" if many >= 3 => {
            let (one, other) = order[1..].split_at((many - 1) / 2);
            vec![view.sides(one, other, Direction::Both)]
        }
        // Everybody hears a majority, no two the same.
        "ring" if many >= 5 => {
            let reach = many / 2 / 2;
            let far = |i: usize, j: usize| (j - i).min(many - (j - i)) > reach;
            let pairs = (0..many).flat_map(|i| (i + 1..many).map(move |j| (i, j)));
            pairs
                .filter(|(i, j)| far(*i, *j))
                .map(|(i, j)| view.sides(&[order[i]], &[order[j]], Direction::Both))
                .collect()
        }
        "bridge" | "ring" => apart(&order[..1]),
        role => apart(&view.role(role, stream)),
    }
}

fn flapping(settings: &Settings, view: &View, stream: &mut ChaCha8Rng, lasts: Duration) -> Parts {
    let whom = view.targets(settings, stream);
    let sides = view.sides(&whom, &view.others(&whom), Direction::Both);
    if sides.from.is_empty() || sides.to.is_empty() {
        return Vec::new();
    }
    let (low, high) = settings.span("period").expect("it has a default");
    let least = Duration::from_millis(1);
    let mut parts = Vec::new();
    let mut at = Duration::ZERO;
    while at < lasts {
        parts.push((at, Action::Cut(sides.clone(), MessageClass::All)));
        at += stream.duration(low, high).max(least);
        parts.push((at.min(lasts), Action::Heal(Some(sides.clone()))));
        at += stream.duration(low, high).max(least);
    }
    parts
}

fn slow_link(settings: &Settings, view: &View, stream: &mut ChaCha8Rng, lasts: Duration) -> Parts {
    let whom = view.targets(settings, stream);
    let sides = view.sides(&whom, &view.others(&whom), Direction::Both);
    if sides.from.is_empty() || sides.to.is_empty() {
        return Vec::new();
    }
    let (low, high) = settings.span("latency").expect("it has a default");
    let loss = settings.number("loss").expect("it has a default") as u32;
    let quality = |latency: (Duration, Duration), loss: u32| {
        Settings(vec![
            ("latency".to_owned(), Value::Span(latency.0, latency.1)),
            ("loss".to_owned(), Value::Percent(loss)),
        ])
    };
    vec![
        (Duration::ZERO, Action::Link(sides.clone(), quality((low, high), loss))),
        (lasts, Action::Link(sides, quality(view.latency, 0))),
    ]
}

fn on_members(
    kind: &str,
    settings: &Settings,
    view: &View,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    let whom = view.named(&view.targets(settings, stream));
    if whom.is_empty() {
        return Vec::new();
    }
    let start = StartAction { targets: whom.clone(), wipe: false, flags: Vec::new() };
    let disk = |fault| Action::Disk(whom.clone(), fault);
    let (begin, end) = match kind {
        "kill" => (Action::Kill(whom.clone()), Action::Start(start)),
        "power-loss" => (Action::PowerLoss(whom.clone()), Action::Start(start)),
        "pause" => (Action::Pause(whom.clone()), Action::Resume(whom.clone())),
        "restart" => return vec![(Duration::ZERO, Action::Restart(start))],
        "hang" => (disk(DiskFault::Hang), disk(DiskFault::Recover)),
        "slow-disk" => {
            let (low, high) = settings.span("latency").expect("it has a default");
            (disk(DiskFault::SyncLatency(stream.duration(low, high))), disk(DiskFault::Recover))
        }
        "clock" => {
            let (low, high) = settings.span("jump").expect("it has a default");
            let far = stream.duration(low, high).as_millis() as i64;
            let by_ms = if stream.chance_per_10k(5_000) { far } else { -far };
            let jump = |by_ms| Action::Clock(whom.clone(), ClockFault::JumpWall { by_ms });
            (jump(by_ms), jump(-by_ms))
        }
        other => unreachable!("{other} is no nemesis"),
    };
    vec![(Duration::ZERO, begin), (lasts, end)]
}
