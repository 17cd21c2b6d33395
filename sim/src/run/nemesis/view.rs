//! What a nemesis knows of the cluster when it begins a fault, and whom it may touch.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::language::ast::{Direction, Sides, Target, Targets};
use crate::language::value::Settings;
use crate::seed::Draw;

/// What a nemesis knows.
pub struct View {
    /// All members' names by place.
    pub names: Vec<String>,
    /// How many members are in the configuration.
    pub members: usize,
    /// Places of members with which nothing is wrong, ascending.
    pub healthy: Vec<usize>,
    /// Who leads.
    pub leader: Option<usize>,
    /// Some links between members are cut or bad already.
    pub has_cuts: bool,
    /// Some links of clients are cut or bad already.
    pub has_client_cuts: bool,
    /// How long a message travels when nothing is wrong.
    pub latency: (Duration, Duration),
    /// How many members vote.
    pub voters: usize,
    /// Voters that have lost what they promised, or will with their power.
    pub lost: Vec<usize>,
    /// How many others of them begin as new members and do not serve yet.
    pub joining: usize,
    /// Hosts that are not in the configuration and run nothing.
    pub spare: Vec<usize>,
    /// The configuration is not known for certain.
    pub is_doubtful: bool,
    /// A change of the configuration was asked for and is not answered yet.
    pub is_changing: bool,
    /// Each member's heartbeat interval and election timeout, in milliseconds.
    pub timing: Vec<(u64, u64)>,
    /// The flags that each member was started with.
    pub flags: Vec<Vec<(String, String)>>,
}

impl View {
    /// Targets that name these members.
    pub fn named(&self, places: &[usize]) -> Targets {
        places.iter().map(|place| Target::Name(self.names[*place].clone())).collect()
    }

    /// The links between these.
    pub fn sides(&self, from: &[usize], to: &[usize], direction: Direction) -> Sides {
        Sides { from: self.named(from), to: self.named(to), direction }
    }

    /// The healthy members beside these.
    pub fn others(&self, places: &[usize]) -> Vec<usize> {
        self.healthy.iter().copied().filter(|place| !places.contains(place)).collect()
    }

    /// The healthy members of a role, drawn where several would do.
    pub fn role(&self, role: &str, stream: &mut ChaCha8Rng) -> Vec<usize> {
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
    pub fn targets(&self, settings: &Settings, stream: &mut ChaCha8Rng) -> Vec<usize> {
        let role = stream.pick(settings.words("targets")).clone();
        self.role(&role, stream)
    }

    /// The same, as many as may lose what they promised: with those who have, and those who have
    /// not joined yet, a minority.
    pub fn expendable(&self, settings: &Settings, stream: &mut ChaCha8Rng) -> Vec<usize> {
        let mut whom = self.targets(settings, stream);
        whom.retain(|place| !self.lost.contains(place));
        let may_fail = self.voters.saturating_sub(1) / 2;
        let left = if self.is_doubtful || self.is_changing {
            0
        } else {
            may_fail.saturating_sub(self.lost.len() + self.joining)
        };
        whom.truncate(left);
        whom
    }
}
