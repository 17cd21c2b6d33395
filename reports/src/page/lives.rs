//! Members over time: when each ran, in which role and term, and whom it followed. Roles are known
//! where the world sees inside; elsewhere a member runs or does not.

use std::collections::BTreeMap;

use crate::record::{Mark, RaftRole, RaftState, RunRecord};

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No process.
    Down,
    /// A process whose role is not known.
    Up,
    /// A follower, or a learner.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks to be elected.
    Candidate,
    /// Leads, or believes so.
    Leader,
}

impl State {
    /// In a reader's words: `n1 leads`.
    pub const fn verb(self) -> &'static str {
        match self {
            State::Down => "is down",
            State::Up => "runs",
            State::Follower => "follows",
            State::PreCandidate => "asks for pre-votes",
            State::Candidate => "is a candidate",
            State::Leader => "leads",
        }
    }
}

/// A stretch of time in which a member does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// When it begins, in nanoseconds.
    pub from: u64,
    /// When it ends.
    pub to: u64,
    /// What the member is.
    pub state: State,
    /// Its term; 0 while that is not known.
    pub term: u64,
    /// The place of the leader that it knows.
    pub leader: Option<usize>,
}

/// Segments of each member by place, without gaps from the beginning to the end of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lives(pub Vec<Vec<Segment>>);

impl Lives {
    /// Of a run.
    pub fn of(run: &RunRecord) -> Lives {
        let places = identities(run);
        let mut members = vec![Member::default(); run.history.members.len()];
        let mut raft = run.internals.raft.iter().peekable();
        for incident in &run.history.incidents {
            while let Some(state) = raft.next_if(|state| state.at < incident.at) {
                see(&mut members, &places, state);
            }
            incident.marks.iter().for_each(|mark| happen(&mut members, incident.at.0, mark));
        }
        raft.for_each(|state| see(&mut members, &places, state));
        Lives(members.into_iter().map(|member| member.end(run.history.ended.0)).collect())
    }

    /// What a member is at a time.
    pub fn at(&self, member: usize, at: u64) -> Option<Segment> {
        let segments = self.0.get(member)?;
        let after = segments.partition_point(|segment| segment.to <= at);
        segments.get(after).or(segments.last()).copied()
    }

    /// When a member that does not run at a time runs again; nothing if it never does.
    pub fn up_after(&self, member: usize, at: u64) -> Option<u64> {
        let segments = self.0.get(member)?;
        let later = segments.iter().filter(|segment| segment.to > at);
        let first = later.into_iter().find(|segment| segment.state != State::Down)?;
        Some(first.from.max(at))
    }
}

/// Places of members by their raft identity.
fn identities(run: &RunRecord) -> BTreeMap<u64, usize> {
    let known = run.internals.identities.iter().enumerate().map(|(place, it)| (*it, place));
    let seen = run.internals.raft.iter().map(|state| (state.identity, state.member));
    known.chain(seen).filter(|(identity, _)| *identity != 0).collect()
}

#[derive(Clone, Debug, Default)]
struct Member {
    segments: Vec<Segment>,
    incarnation: Option<u32>,
}

impl Member {
    fn now(&self) -> State {
        self.segments.last().map_or(State::Down, |segment| segment.state)
    }

    fn become_at(&mut self, at: u64, state: State, term: u64, leader: Option<usize>) {
        let same = |it: &Segment| (it.state, it.term, it.leader) == (state, term, leader);
        if self.segments.last().is_some_and(same) {
            return;
        }
        if let Some(last) = self.segments.last_mut() {
            last.to = at;
        } else if at > 0 {
            let first = Segment { from: 0, to: at, state: State::Down, term: 0, leader: None };
            self.segments.push(first);
        }
        self.segments.push(Segment { from: at, to: at, state, term, leader });
    }

    fn go_down(&mut self, at: u64) {
        let term = self.segments.last().map_or(0, |segment| segment.term);
        self.become_at(at, State::Down, term, None);
    }

    fn come_up(&mut self, at: u64) {
        if self.now() == State::Down {
            let term = self.segments.last().map_or(0, |segment| segment.term);
            self.become_at(at, State::Up, term, None);
        }
    }

    fn end(mut self, ended: u64) -> Vec<Segment> {
        if self.segments.is_empty() {
            self.become_at(0, State::Down, 0, None);
        }
        if let Some(last) = self.segments.last_mut() {
            last.to = last.to.max(ended);
        }
        self.segments.retain(|segment| segment.from < segment.to);
        self.segments
    }
}

fn happen(members: &mut [Member], at: u64, mark: &Mark) {
    match mark {
        Mark::Started(place) => members.get_mut(*place).into_iter().for_each(|it| it.come_up(at)),
        Mark::Ended(place) => members.get_mut(*place).into_iter().for_each(|it| it.go_down(at)),
        Mark::Begins(_) | Mark::Ends { .. } | Mark::Happens { .. } => {}
    }
}

fn see(members: &mut [Member], places: &BTreeMap<u64, usize>, seen: &RaftState) {
    let Some(member) = members.get_mut(seen.member) else { return };
    // What a process that is gone was last seen to be says nothing of the next one.
    let is_late = member.incarnation.is_some_and(|dead| seen.incarnation <= dead);
    if member.now() == State::Down && is_late {
        return;
    }
    member.incarnation = Some(seen.incarnation);
    let state = match seen.role {
        RaftRole::Follower => State::Follower,
        RaftRole::PreCandidate => State::PreCandidate,
        RaftRole::Candidate => State::Candidate,
        RaftRole::Leader => State::Leader,
    };
    let leader = places.get(&seen.leader).copied();
    member.become_at(seen.at.0, state, seen.term, leader);
}
