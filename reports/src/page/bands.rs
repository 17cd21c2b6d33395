//! Faults as bands in time: what began one, whom it concerns, what ended it.

use super::incident::{self, Happening};
use super::lives::Lives;
use crate::record::{Incident, RunRecord};

/// A fault from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// When it begins, in nanoseconds.
    pub from: u64,
    /// When it ends; nothing if it lasts to the end of the run.
    pub to: Option<u64>,
    /// `network`, `down`, `pause`, `disk`, `clock`, or `moment` for what takes no time.
    pub kind: &'static str,
    /// The incident that began it.
    pub what: String,
    /// The incident that ended it.
    pub ended_by: String,
    /// Whom it concerns; empty for the whole cluster.
    pub members: Vec<usize>,
    /// What an incident must say to end it.
    until: Until,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Until {
    /// The same sides, healed or given another quality.
    Sides(String),
    /// Members that are still frozen.
    Resumed(Vec<usize>),
    /// Members whose disks are still bad.
    Recovered(Vec<usize>),
    /// The opposite of a clock's fault.
    Opposite(String),
    /// Nothing.
    Never,
}

/// Faults of a run in the order of their beginnings.
pub fn bands(run: &RunRecord, lives: &Lives) -> Vec<Band> {
    let normal = normal_link(&run.plan);
    let mut bands = Vec::new();
    for incident in &run.history.incidents {
        let happening = incident::read(&incident.what);
        end(&mut bands, incident, &happening);
        begin(&mut bands, incident, happening, normal.as_deref(), lives);
    }
    // A jump that is not undone is a moment, not a state.
    for band in bands.iter_mut().filter(|band| band.to.is_none() && is_jump(band)) {
        band.to = Some(band.from);
    }
    bands
}

fn begin(
    bands: &mut Vec<Band>,
    incident: &Incident,
    happening: Happening,
    normal: Option<&str>,
    lives: &Lives,
) {
    let from = incident.at.0;
    let mut ended_by = String::new();
    let (kind, until, to) = match happening {
        Happening::Cut(sides) => ("network", Until::Sides(sides), None),
        Happening::Link { settings, .. } if Some(settings.as_str()) == normal => return,
        Happening::Link { sides, .. } => ("network", Until::Sides(sides), None),
        Happening::Pause => ("pause", Until::Resumed(incident.members.clone()), None),
        Happening::Disk(fault) if fault == "recover" => return,
        Happening::Disk(fault) if is_lasting(&fault) => {
            ("disk", Until::Recovered(incident.members.clone()), None)
        }
        Happening::Disk(_) => ("disk", Until::Never, Some(from)),
        Happening::Clock(fault) => match opposite(&fault) {
            Some(opposite) if !was_undone(bands, incident) => {
                ("clock", Until::Opposite(opposite), None)
            }
            _ => return,
        },
        Happening::Down | Happening::Exit => {
            let up = |place: &usize| lives.up_after(*place, from);
            let ups: Option<Vec<u64>> = incident.members.iter().map(up).collect();
            let to = ups.and_then(|ups| ups.into_iter().max());
            if to == Some(from) {
                return;
            }
            if to.is_some() {
                "started again".clone_into(&mut ended_by);
            }
            ("down", Until::Never, to)
        }
        Happening::Moment | Happening::Restart if !incident.what.is_empty() => {
            ("moment", Until::Never, Some(from))
        }
        _ => return,
    };
    let (what, members) = (incident.what.clone(), incident.members.clone());
    bands.push(Band { from, to, kind, what, ended_by, members, until });
}

/// Whether an incident ended a band just now and is nothing else.
fn was_undone(bands: &[Band], incident: &Incident) -> bool {
    bands.iter().any(|band| band.to == Some(incident.at.0) && band.ended_by == incident.what)
}

fn end(bands: &mut [Band], incident: &Incident, happening: &Happening) {
    for band in bands.iter_mut().filter(|band| band.to.is_none() && band.kind != "down") {
        let mut is_over = *happening == Happening::HealAll;
        let jumps = is_jump(band);
        match (&mut band.until, happening) {
            (Until::Sides(sides), Happening::Heal(healed)) => is_over = sides == healed,
            (Until::Sides(sides), Happening::Link { sides: linked, .. }) => {
                is_over = sides == linked && band.what.starts_with("link");
            }
            (
                Until::Resumed(frozen),
                Happening::Resume | Happening::Down | Happening::Exit | Happening::Start,
            ) => {
                frozen.retain(|place| !incident.members.contains(place));
                is_over = frozen.is_empty();
            }
            (Until::Recovered(bad), Happening::Disk(fault)) if fault == "recover" => {
                bad.retain(|place| !incident.members.contains(place));
                is_over = bad.is_empty();
            }
            (Until::Opposite(opposite), Happening::Clock(fault)) => {
                is_over = opposite == fault && band.members == incident.members;
            }
            (Until::Opposite(_), _) if jumps => is_over = false,
            _ => {}
        }
        if is_over {
            band.to = Some(incident.at.0);
            band.ended_by.clone_from(&incident.what);
        }
    }
}

fn is_jump(band: &Band) -> bool {
    band.kind == "clock" && band.what.contains("jump=")
}

fn is_lasting(fault: &str) -> bool {
    matches!(fault, "hang" | "full") || fault.starts_with("sync-latency=")
}

/// What undoes a clock's fault; nothing for what is itself the end of one.
fn opposite(fault: &str) -> Option<String> {
    let (kind, value) = fault.split_once('=')?;
    match (kind, value.split_at_checked(1)?) {
        ("jump", ("+", by)) => Some(format!("jump=-{by}")),
        ("jump", ("-", by)) => Some(format!("jump=+{by}")),
        ("drift", (_, "0ppm")) => None,
        ("drift", _) => Some("drift=+0ppm".to_owned()),
        _ => None,
    }
}

/// The quality of links that a plan says is normal, as the end of a `link` fault names it.
fn normal_link(plan: &str) -> Option<String> {
    let option = plan.lines().find(|line| line.starts_with("option "))?;
    let latency = option.split(' ').find(|word| word.starts_with("latency="))?;
    Some(format!("{latency} loss=0%"))
}
