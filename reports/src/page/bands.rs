//! Faults as bands in time: what began one, whom it concerns, what ended it and what it did.

use std::collections::BTreeMap;

use super::lives::Lives;
use crate::record::{Effect, Fault, FaultKind, Incident, Mark, RunRecord};

/// A fault from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// When it begins, in nanoseconds.
    pub from: u64,
    /// When it ends; nothing if it lasts to the end of the run.
    pub to: Option<u64>,
    /// `network`, `down`, `pause`, `process`, `disk`, `clock`, or `moment` for what is no fault.
    pub kind: &'static str,
    /// The incident that began it.
    pub what: String,
    /// The incident that ended it.
    pub ended_by: String,
    /// Whom it concerns; empty for the whole cluster.
    pub members: Vec<usize>,
    /// What it did.
    pub effect: Effect,
}

/// Faults of a run in the order of their beginnings.
pub fn bands(run: &RunRecord, lives: &Lives) -> Vec<Band> {
    let mut bands = Vec::new();
    // Places of the bands of faults that last.
    let mut open: BTreeMap<u32, usize> = BTreeMap::new();
    for incident in &run.history.incidents {
        for mark in &incident.marks {
            match mark {
                Mark::Begins(fault) => {
                    open.insert(fault.id, bands.len());
                    bands.push(band(incident, fault));
                }
                Mark::Happens { fault, effect } => {
                    let (to, effect) = (Some(incident.at.0), effect.clone());
                    bands.push(Band { to, effect, ..band(incident, fault) });
                }
                Mark::Ends { fault, effect } => {
                    let Some(place) = open.remove(fault) else { continue };
                    let band: &mut Band = &mut bands[place];
                    band.to = Some(incident.at.0);
                    band.ended_by.clone_from(&incident.what);
                    band.effect.clone_from(effect);
                }
                Mark::Started(_) | Mark::Ended(_) => {}
            }
        }
        bands.extend(down(incident, lives));
    }
    for (fault, effect) in &run.history.unended {
        if let Some(place) = open.get(fault) {
            bands[*place].effect.clone_from(effect);
        }
    }
    bands
}

fn band(incident: &Incident, fault: &Fault) -> Band {
    let ends = fault.links.iter().flat_map(|(from, to)| [*from, *to]).flatten();
    let mut members: Vec<usize> = fault.members.iter().copied().chain(ends).collect();
    members.sort_unstable();
    members.dedup();
    Band {
        from: incident.at.0,
        to: None,
        kind: name(fault.kind),
        what: incident.what.clone(),
        ended_by: String::new(),
        members,
        effect: Effect::new(),
    }
}

/// Processes that ended, until all of them run again.
fn down(incident: &Incident, lives: &Lives) -> Option<Band> {
    let ended = |mark: &Mark| match mark {
        Mark::Ended(place) => Some(*place),
        _ => None,
    };
    let members: Vec<usize> = incident.marks.iter().filter_map(ended).collect();
    let from = incident.at.0;
    let ups: Option<Vec<u64>> = members.iter().map(|place| lives.up_after(*place, from)).collect();
    let to = ups.and_then(|ups| ups.into_iter().max());
    if members.is_empty() || to == Some(from) {
        return None;
    }
    let ended_by = if to.is_some() { "started again".to_owned() } else { String::new() };
    let (what, effect) = (incident.what.clone(), Effect::new());
    Some(Band { from, to, kind: "down", what, ended_by, members, effect })
}

const fn name(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Cut | FaultKind::Link | FaultKind::Connection => "network",
        FaultKind::Pause => "pause",
        FaultKind::Processor | FaultKind::KillToCome => "process",
        FaultKind::Disk | FaultKind::Damage => "disk",
        FaultKind::Clock => "clock",
        FaultKind::Stop | FaultKind::Operation => "moment",
    }
}
