//! Changes of the configuration and other calls of an operator, in the midst of faults.
//!
//! Each step rests on the one before: it is left out if that failed, or has no answer yet. A member
//! that comes back after it was removed is a new one on an empty disk.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::Parts;
use super::view::View;
use crate::language::ast::{Action, Flag, Operation, Request, StartAction, Target};
use crate::language::value::Settings;
use crate::seed::Draw;

/// Fewer voters than this are not left on purpose.
const VOTERS_MIN: usize = 3;

/// Draws a change of the configuration.
pub fn membership(
    settings: &Settings,
    view: &View,
    stream: &mut ChaCha8Rng,
    lasts: Duration,
) -> Parts {
    let now = Duration::ZERO;
    if view.is_doubtful {
        return vec![(now, ask(Request::MemberList { serializable: false }))];
    }
    let (change, late) = (stream.pick(settings.words("change")).clone(), lasts / 2);
    let mut spare = view.spare.clone();
    stream.shuffle(&mut spare);
    match (change.as_str(), spare.first()) {
        ("grow", Some(&place)) => {
            let member = view.names[place].clone();
            let add = ask(Request::MemberAdd { member, learner: false, urls: None });
            vec![(now, add), (late, join(view, place))]
        }
        ("learner", Some(&place)) => {
            let member = view.names[place].clone();
            let add = ask(Request::MemberAdd { member: member.clone(), learner: true, urls: None });
            let promote = ask(Request::MemberPromote { member });
            vec![(now, add), (late, join(view, place)), (lasts, promote)]
        }
        ("shrink", _) if view.voters > VOTERS_MIN => {
            let Some(place) = leaver(settings, view, stream) else { return Vec::new() };
            let member = view.names[place].clone();
            vec![
                (now, ask(Request::MemberRemove { member })),
                (lasts, Action::Kill(view.named(&[place]))),
                // Who is in the configuration still goes on.
                (lasts, Action::Start(StartAction::plain(view.named(&[place])))),
            ]
        }
        ("replace", _) => {
            let Some(place) = leaver(settings, view, stream) else { return Vec::new() };
            let member = view.names[place].clone();
            let add = Request::MemberAdd { member: member.clone(), learner: false, urls: None };
            vec![
                (now, ask(Request::MemberRemove { member })),
                (late, Action::Kill(view.named(&[place]))),
                (late, ask(add)),
                (lasts, join(view, place)),
                (lasts, Action::Start(StartAction::plain(view.named(&[place])))),
            ]
        }
        _ => Vec::new(),
    }
}

/// Draws a hand-over of leadership.
pub fn move_leader(view: &View, stream: &mut ChaCha8Rng) -> Parts {
    let to = view.role("follower", stream);
    let named = view.named(&to).into_iter();
    named.map(|to| (Duration::ZERO, ask(Request::MoveLeader { to }))).collect()
}

/// Draws whose databases are rewritten.
pub fn defragment(settings: &Settings, view: &View, stream: &mut ChaCha8Rng) -> Parts {
    let targets = view.named(&view.targets(settings, stream)).into_iter();
    let ask = |via| Action::Ask(Box::new(operation(Request::Defragment, Some(via))));
    targets.map(|via| (Duration::ZERO, ask(via))).collect()
}

/// Draws a call of an operator.
pub fn call(settings: &Settings, view: &View, stream: &mut ChaCha8Rng) -> Parts {
    let via = view.named(&view.role("one", stream)).pop();
    let request = match stream.pick(settings.words("what")).as_str() {
        "compact" => Request::Compact { revision: None, physical: stream.chance_per_10k(2_500) },
        "hash" => Request::Hash { revision: 0 },
        "defragment" => Request::Defragment,
        "alarm-list" => Request::AlarmList,
        _ => Request::MemberList { serializable: false },
    };
    vec![(Duration::ZERO, Action::Ask(Box::new(operation(request, via))))]
}

/// Who leaves: first who has lost what it promised.
fn leaver(settings: &Settings, view: &View, stream: &mut ChaCha8Rng) -> Option<usize> {
    let drawn = view.targets(settings, stream);
    view.lost.first().or(drawn.first()).copied()
}

fn operation(request: Request, via: Option<Target>) -> Operation {
    Operation { request, via, timeout: None, expect: Vec::new() }
}

fn ask(request: Request) -> Action {
    Action::Ask(Box::new(operation(request, None)))
}

fn join(view: &View, place: usize) -> Action {
    let (targets, flags) = (view.named(&[place]), vec![Flag::existing()]);
    Action::Start(StartAction { targets, wipe: true, flags })
}
