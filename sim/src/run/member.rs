//! What the runner knows of a member: how it was started, what was done to it, and whether its disk
//! still holds everything that it has promised.

use detsim_reports::record::Time;

use crate::language::ast::Flag;
use crate::world::{DiskFault, Launch, Trap, World};

/// Its part in the cluster's configuration, as far as the script has made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Votes.
    Voter,
    /// Does not vote yet.
    Learner,
    /// Was not added yet.
    Outside,
    /// Was removed.
    Removed,
}

/// Why a member's next exit is not its own fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// None: it is.
    None,
    /// Its disk failed: it must stop, and may be started again.
    DiskFailed,
    /// Its log was damaged: it must not start.
    LogDamaged,
    /// Its database or a snapshot was damaged: it must not start, or has everything.
    FilesDamaged,
}

/// A member.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The cluster's and its own flags, drawn.
    pub flags: Vec<(String, String)>,
    /// How it was started last.
    pub launch: Option<Launch>,
    /// Its process runs, as far as events have told.
    pub is_up: bool,
    /// Its process is frozen.
    pub is_paused: bool,
    /// It was asked to stop.
    pub is_stopping: bool,
    /// To be started with this as soon as its process has ended.
    pub restart: Option<Launch>,
    /// A fault took it down, and healing brings it back.
    pub is_downed: bool,
    /// Its disk hangs, is slow, is full or cannot be written.
    pub has_disk_fault: bool,
    /// It is so because its disk is mounted read-only.
    pub is_read_only: bool,
    /// There is no space on its disk.
    pub is_full: bool,
    /// Its clocks drift or stand still.
    pub has_drift: bool,
    /// Its processor is slow.
    pub is_slow: bool,
    /// The moment to come at which it is to be killed.
    pub trap: Option<Trap>,
    /// Its next read fails.
    pub fails_to_read: bool,
    /// Its next write or sync fails.
    pub fails_to_write: bool,
    /// Its disk holds everything that it has promised.
    pub is_intact: bool,
    /// The next power loss takes some of that away.
    pub is_treacherous: bool,
    /// It is so because its disk lies, until that recovers.
    pub is_lying: bool,
    /// An earlier content of its disk is kept, to be put back.
    pub is_remembered: bool,
    /// When its process was started last.
    pub started: Time,
    /// When its log was damaged last.
    pub damaged: Time,
    /// It was added again since its last start: what it starts as is another member.
    pub has_new_identity: bool,
    /// It begins as a new member and has not served yet: it may wait long for members that do not
    /// answer, and until then it is nobody to count on.
    pub is_joining: bool,
    /// Its removal was asked for.
    pub is_leaving: bool,
    /// Why its next exit is not its own fault.
    pub excuse: Excuse,
    /// Its last exit by itself since its last start: a place in the history's list.
    pub exit: Option<usize>,
    /// Its part in the configuration.
    pub role: Role,
    /// Which of the run's clusters it belongs to: 0 is the first.
    pub era: usize,
}

impl Member {
    /// A host with an empty disk.
    pub fn new(name: &str, flags: Vec<(String, String)>, role: Role) -> Member {
        Member {
            name: name.to_owned(),
            flags,
            launch: None,
            is_up: false,
            is_paused: false,
            is_stopping: false,
            restart: None,
            is_downed: false,
            has_disk_fault: false,
            is_read_only: false,
            is_full: false,
            has_drift: false,
            is_slow: false,
            trap: None,
            fails_to_read: false,
            fails_to_write: false,
            is_intact: true,
            is_treacherous: false,
            is_lying: false,
            is_remembered: false,
            started: Time::ZERO,
            damaged: Time::ZERO,
            has_new_identity: false,
            is_joining: false,
            is_leaving: false,
            excuse: Excuse::None,
            exit: None,
            role,
            era: 0,
        }
    }

    /// It runs, and nothing is wrong with it.
    pub fn is_healthy(&self) -> bool {
        self.is_up && !self.is_paused && !self.is_stopping && !self.has_disk_fault
    }

    /// It has lost what it promised, or will with its power, and counts as failed for good.
    pub fn is_lost(&self) -> bool {
        !self.is_intact || self.is_treacherous
    }

    /// It can be counted on: it runs, keeps what it has promised, and is no longer joining.
    pub fn is_reliable(&self) -> bool {
        self.is_healthy() && !self.is_lost() && !self.is_joining && !self.has_new_identity
    }

    /// A fault in time may do this to its disk: what is damaged for good is damaged once, and a
    /// disk is rolled back only under a process that has ended.
    pub fn may_suffer(&self, fault: &DiskFault) -> bool {
        match fault {
            DiskFault::RollBack | DiskFault::Lose(_) | DiskFault::Harm(_) => {
                !self.is_up && !self.is_lost()
            }
            DiskFault::Rot | DiskFault::CorruptLogMiddle | DiskFault::TearLogTail => {
                !self.is_up && self.is_intact
            }
            DiskFault::ReadError => !self.is_up,
            _ => true,
        }
    }

    /// A fault in time may start it: what it would start as keeps its promises, or refuses.
    pub fn may_start(&self, wipe: bool) -> bool {
        let is_new = self.has_new_identity;
        let keeps =
            self.is_intact || matches!(self.excuse, Excuse::LogDamaged | Excuse::FilesDamaged);
        self.is_inside() && (if wipe { is_new } else { !is_new && keeps })
    }

    /// It is in the configuration.
    pub fn is_inside(&self) -> bool {
        matches!(self.role, Role::Voter | Role::Learner)
    }

    /// The flags of its last start, to start it on what its disk holds.
    pub fn relaunch(&self) -> Launch {
        let mut launch = self.launch.clone().unwrap_or_default();
        launch.wipe = false;
        launch.flags.retain(|(name, _)| name != "force-new-cluster");
        launch
    }
}

/// How to start a member: defaults that follow from its place, then the flags of the cluster and
/// its own, then those of the statement. Later ones replace earlier ones.
pub fn launch(
    world: &dyn World,
    members: &[Member],
    place: usize,
    extra: &[Flag],
    wipe: bool,
) -> Launch {
    let member = &members[place];
    let initial: Vec<String> = members
        .iter()
        .enumerate()
        .filter(|(other, member)| member.is_inside() || *other == place)
        .map(|(other, member)| format!("{}={}", member.name, world.peer_url(other)))
        .collect();
    let own = |name: &str, value: String| (name.to_owned(), value);
    let mut flags = vec![
        own("name", member.name.clone()),
        own("data-dir", "data".to_owned()),
        own("listen-peer-urls", world.peer_url(place)),
        own("initial-advertise-peer-urls", world.peer_url(place)),
        own("listen-client-urls", world.client_url(place)),
        own("advertise-client-urls", world.client_url(place)),
        own("initial-cluster", initial.join(",")),
    ];
    let given = extra.iter().map(|flag| (flag.name.clone(), flag.choices.concat()));
    for (name, value) in member.flags.iter().cloned().chain(given) {
        let value = expand(world, members, &value);
        match flags.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => flags.push((name, value)),
        }
    }
    Launch { flags, wipe }
}

/// Puts addresses in the place of `${n1.peer}` and `${n1.client}`.
pub fn expand(world: &dyn World, members: &[Member], text: &str) -> String {
    let mut expanded = text.to_owned();
    for (place, member) in members.iter().enumerate() {
        expanded = expanded
            .replace(&format!("${{{}.peer}}", member.name), &world.peer_url(place))
            .replace(&format!("${{{}.client}}", member.name), &world.client_url(place));
    }
    expanded
}
