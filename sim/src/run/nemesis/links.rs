//! Faults of links: who does not reach whom, and how well. Two of them do not overlap between
//! members, for the end of one would heal the other.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::view::View;
use super::{Parts, drawn, to_and_fro};
use crate::language::CLASSES;
use crate::language::ast::{Action, Direction, Sides, Target};
use crate::language::value::{Settings, Value};
use crate::seed::Draw;
use crate::world::MessageClass;

/// Draws a fault of links.
pub fn draw(
    kind: &str,
    settings: &Settings,
    view: &View,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    match kind {
        "partition" => {
            let shape = stream.pick(settings.words("shape")).clone();
            let mut cuts = shape_cuts(&shape, view, stream);
            let direction = stream.pick(settings.words("direction")).clone();
            cuts.iter_mut().for_each(|sides| aim(sides, &direction));
            between(&cuts, MessageClass::All, lasts)
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
            let class = drawn(&CLASSES, settings, "class", stream);
            between(&around(settings, view, stream), class, lasts)
        }
        "slow-link" | "lossy" | "heavy-tail" | "narrow" => {
            bad_link(kind, settings, view, &around(settings, view, stream), lasts)
        }
        "reset" => reset(settings, view, stream),
        "half-open" => {
            let mut sides = around(settings, view, stream);
            let direction = stream.pick(settings.words("direction")).clone();
            sides.iter_mut().for_each(|sides| aim(sides, &direction));
            let parts = real(&sides).map(|sides| (Duration::ZERO, Action::HalfOpen(sides.clone())));
            parts.collect()
        }
        other => unreachable!("{other} is no nemesis of links"),
    }
}

/// Clients do not reach a member, or do not hear it.
pub fn clients(
    settings: &Settings,
    view: &View,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    let mut sides = to_clients(settings, view, stream);
    aim(&mut sides, &stream.pick(settings.words("direction")).clone());
    between(&[sides], MessageClass::All, lasts)
}

/// Links between clients and members are as bad as those between members may be. What travels them
/// is in order, so that loss is delay, and nothing arrives twice.
pub fn bad_for_clients(
    kind: &str,
    settings: &Settings,
    view: &View,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    bad_link(kind, settings, view, &[to_clients(settings, view, stream)], lasts)
}

/// The links between the members of `targets=` and clients.
fn to_clients(settings: &Settings, view: &View, stream: &mut ChaCha8Rng) -> Sides {
    let from = view.named(&view.targets(settings, stream));
    Sides { from, to: vec![Target::Clients], direction: Direction::Both }
}

/// The links between the members of `targets=` and the others.
fn around(settings: &Settings, view: &View, stream: &mut ChaCha8Rng) -> Vec<Sides> {
    let whom = view.targets(settings, stream);
    vec![view.sides(&whom, &view.others(&whom), Direction::Both)]
}

/// Makes links one-way: what comes in to the first side, or what goes out of it.
fn aim(sides: &mut Sides, direction: &str) {
    if direction != "both" {
        sides.direction = Direction::OneWay;
    }
    if direction == "in" {
        std::mem::swap(&mut sides.from, &mut sides.to);
    }
}

/// Those that name somebody on both sides.
fn real(cuts: &[Sides]) -> impl Iterator<Item = &Sides> {
    cuts.iter().filter(|sides| !sides.from.is_empty() && !sides.to.is_empty())
}

/// Cut at the beginning, healed at the end.
fn between(cuts: &[Sides], class: MessageClass, lasts: Duration) -> Parts {
    let begin = real(cuts).map(|sides| (Duration::ZERO, Action::Cut(sides.clone(), class)));
    let end = real(cuts).map(|sides| (lasts, Action::Heal(Some(sides.clone()))));
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
    let around = around(settings, view, stream);
    let Some(sides) = real(&around).next() else { return Vec::new() };
    let cut = Action::Cut(sides.clone(), MessageClass::All);
    to_and_fro(&cut, &Action::Heal(Some(sides.clone())), settings, stream, lasts)
}

/// Links have some of a nemesis' settings as their quality for a while.
fn bad_link(
    kind: &str,
    settings: &Settings,
    view: &View,
    links: &[Sides],
    lasts: Duration,
) -> Parts {
    let Some(sides) = real(links).next() else { return Vec::new() };
    let qualities: &[&str] = match kind {
        "slow-link" => &["latency", "loss"],
        "lossy" => &["loss", "duplicate", "reorder"],
        "heavy-tail" => &["latency", "tail"],
        _ => &["bandwidth"],
    };
    let given = |name: &&str| Some(((*name).to_owned(), settings.get(name)?.clone()));
    let bad = Settings(qualities.iter().filter_map(given).collect());
    let normal = Settings(vec![
        ("latency".to_owned(), Value::Span(view.latency.0, view.latency.1)),
        ("loss".to_owned(), Value::Percent(0)),
    ]);
    vec![
        (Duration::ZERO, Action::Link(sides.clone(), bad)),
        (lasts, Action::Link(sides.clone(), normal)),
    ]
}

fn reset(settings: &Settings, view: &View, stream: &mut ChaCha8Rng) -> Parts {
    let mut around = around(settings, view, stream);
    let rate = settings.number("clients").expect("it has a default") as u32;
    if stream.chance_per_10k(rate) {
        around.iter_mut().for_each(|sides| sides.to = vec![Target::Clients]);
    }
    real(&around).map(|sides| (Duration::ZERO, Action::Reset(sides.clone()))).collect()
}
