//! Which members a target means at this moment.

use std::time::Duration;

use super::runner::{Runner, Stop};
use crate::language::ast::{Sides, Target};
use crate::seed::Draw;
use crate::world::End;

/// How long a statement that names the leader waits for one.
const LEADER_WITHIN: Duration = Duration::from_secs(10);

impl Runner<'_> {
    /// The member that leads: it knows itself leader, and no other does so in a later term.
    pub(super) fn leader(&mut self) -> Option<usize> {
        let mut found: Option<(u64, usize)> = None;
        for place in 0..self.members.len() {
            if !self.members[place].is_up || self.members[place].is_paused {
                continue;
            }
            let status = self.world.status(place);
            let leads = status.running && status.ready && status.leader == Some(place);
            if leads && found.is_none_or(|(term, _)| term < status.term) {
                found = Some((status.term, place));
            }
        }
        found.map(|(_, place)| place)
    }

    /// The member of this name, or that a name stands for.
    pub(super) fn place(&self, name: &str) -> Result<usize, Stop> {
        if let Some((_, place)) = self.bound.iter().rev().find(|(bound, _)| bound == name) {
            return Ok(*place);
        }
        self.members
            .iter()
            .position(|member| member.name == name)
            .ok_or_else(|| Stop::Harness(format!("{name} is not in this run's cluster")))
    }

    /// The one member that a target means.
    pub(super) fn one(&mut self, target: &Target) -> Result<usize, Stop> {
        let places = self.places(std::slice::from_ref(target))?;
        match places.first() {
            Some(place) => Ok(*place),
            None => Err(Stop::Harness(format!("nobody is `{target}`"))),
        }
    }

    /// The members that targets mean, each once, in the targets' order.
    pub(super) fn places(&mut self, targets: &[Target]) -> Result<Vec<usize>, Stop> {
        let mut places = Vec::new();
        for target in targets {
            for place in self.expand_target(target)? {
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        Ok(places)
    }

    fn expand_target(&mut self, target: &Target) -> Result<Vec<usize>, Stop> {
        let inside: Vec<usize> =
            (0..self.members.len()).filter(|place| self.members[*place].is_inside()).collect();
        Ok(match target {
            Target::Name(name) => vec![self.place(name)?],
            Target::All => inside,
            Target::Leader => vec![self.awaited_leader()?],
            Target::Followers => {
                let leader = self.awaited_leader()?;
                inside.into_iter().filter(|place| *place != leader).collect()
            }
            Target::Follower => {
                let leader = self.awaited_leader()?;
                let follows = |place: &usize| *place != leader && self.members[*place].is_up;
                let followers = inside.into_iter().filter(follows).collect();
                self.drawn(followers, 1)
            }
            Target::Minority => {
                let many = (inside.len().max(1) - 1) / 2;
                self.drawn(inside, many)
            }
            Target::Majority => {
                let many = inside.len() / 2 + 1;
                self.drawn(inside, many)
            }
            Target::Any => {
                let up = inside.into_iter().filter(|place| self.members[*place].is_up).collect();
                self.drawn(up, 1)
            }
            Target::Rest => {
                let named = |place: &usize| self.bound.iter().any(|(_, bound)| bound == place);
                inside.into_iter().filter(|place| !named(place)).collect()
            }
            Target::Clients => Vec::new(),
        })
    }

    /// So many of these, drawn, in ascending order.
    fn drawn(&mut self, mut places: Vec<usize>, many: usize) -> Vec<usize> {
        self.target_stream.shuffle(&mut places);
        places.truncate(many);
        places.sort_unstable();
        places
    }

    fn awaited_leader(&mut self) -> Result<usize, Stop> {
        let until = self.world.now().after(self.patience(LEADER_WITHIN));
        let mut leader = None;
        self.pass_until(until, &mut |runner| {
            leader = runner.leader();
            leader.is_some()
        })?;
        leader.ok_or_else(|| {
            self.liveness("leader", format!("no member has led for {}s", LEADER_WITHIN.as_secs()))
        })
    }

    /// The ends of the links between two sides, in one direction.
    pub(super) fn ends(&mut self, sides: &Sides) -> Result<(Vec<End>, Vec<End>), Stop> {
        let named = |side: &[Target]| -> Vec<Target> {
            let plain = |target: &&Target| !matches!(target, Target::Rest | Target::Clients);
            side.iter().filter(plain).cloned().collect()
        };
        let from = self.places(&named(&sides.from))?;
        let to: Vec<usize> = self.places(&named(&sides.to))?;
        let from_ends = self.side_ends(&sides.from, &from, &to);
        let to_ends = self.side_ends(&sides.to, &to, &from);
        Ok((from_ends, to_ends))
    }

    fn side_ends(&self, side: &[Target], named: &[usize], other: &[usize]) -> Vec<End> {
        let mut ends: Vec<End> = named.iter().map(|place| End::Member(*place)).collect();
        if side.contains(&Target::Rest) {
            let rest = (0..self.members.len())
                .filter(|place| !named.contains(place) && !other.contains(place));
            ends.extend(rest.map(End::Member));
        }
        if side.contains(&Target::Clients) {
            ends.push(End::Clients);
        }
        ends
    }

    /// Targets that name these members.
    pub(super) fn named(&self, places: &[usize]) -> Vec<Target> {
        places.iter().map(|place| Target::Name(self.members[*place].name.clone())).collect()
    }

    /// Targets that name these ends.
    pub(super) fn named_ends(&self, ends: &[End]) -> Vec<Target> {
        ends.iter()
            .map(|end| match end {
                End::Member(place) => Target::Name(self.members[*place].name.clone()),
                End::Clients => Target::Clients,
            })
            .collect()
    }
}
