//! Operations that a fault asks for: one client each, for whose answer nobody waits. What they make
//! of the configuration is kept in mind when it comes.
//!
//! A change of the configuration is asked for only where what is promised stays provable: nobody is
//! added twice, what was lost stays a minority, and nothing is asked while the outcome of an
//! earlier change is unknown, or a member that was added is still joining.

use detsim_reports::record::{AlarmEntry, Blob, Body, Call, MemberEntry, Outcome, Range, Reply};

use super::by_hand::plain_call;
use super::member::{Member, Role};
use super::runner::{Runner, Stop};
use crate::language::ast::{Operation, Request, Target};

/// An operation under way.
#[derive(Clone, Debug)]
pub struct Asked {
    operation: Operation,
    /// Whom it is asked.
    via: usize,
    /// What is asked first is what the operation needs to know.
    is_question: bool,
}

impl Runner<'_> {
    /// Asks, if it can and may be asked now. Tells the operation with everybody named.
    pub(super) fn ask_apart(&mut self, operation: &Operation) -> Result<Option<Operation>, Stop> {
        if let Request::Save { .. } = &operation.request {
            self.world.can_save()?;
        }
        self.note_joined();
        let Some(via) = self.someone_for(operation)? else { return Ok(None) };
        let mut concrete = operation.clone();
        if let Request::MoveLeader { to } = &operation.request {
            let Some(to) = self.now_is(to)? else { return Ok(None) };
            concrete.request = Request::MoveLeader { to: self.name_of(to) };
        }
        if !self.may_ask(&concrete.request)? {
            return Ok(None);
        }
        if let Request::MemberRemove { member } = &concrete.request {
            let place = self.place(member)?;
            self.members[place].is_leaving = true;
        }
        concrete.via = Some(self.name_of(via));
        let question = match &concrete.request {
            Request::MemberRemove { .. }
            | Request::MemberPromote { .. }
            | Request::MemberUpdate { .. }
            | Request::MoveLeader { .. }
            | Request::AlarmRaise(_)
            | Request::AlarmDisarm(Some(_)) => Some(Call::MemberList { linearizable: false }),
            Request::AlarmDisarm(None) => Some(Call::AlarmList),
            Request::Compact { revision: None, .. } => {
                let range = Range { key: Blob::text("\0"), count_only: true, ..Range::default() };
                Some(Call::Range(range))
            }
            _ => None,
        };
        let is_question = question.is_some();
        let call = match question {
            Some(question) => question,
            None => self.call_knowing(&concrete.request, &[], 0)?,
        };
        let asked = Asked { operation: concrete.clone(), via, is_question };
        self.send_apart(asked, call);
        Ok(Some(concrete))
    }

    fn send_apart(&mut self, asked: Asked, call: Call) {
        let (via, timeout) = (asked.via, asked.operation.timeout);
        let (traffic, mut way) = self.traffic();
        let op = traffic.invoke_apart(via, call, timeout, &mut way);
        self.asked.insert(op, asked);
    }

    /// An operation that a fault asked for has ended.
    pub(super) fn answered(&mut self, asked: Asked, outcome: &Outcome) {
        if !asked.is_question {
            self.note_configuration(&asked.operation.request, outcome);
            self.note_added(&asked.operation.request, outcome);
            let (word, text) = match outcome {
                Outcome::Ok(_) => ("succeeds", ""),
                Outcome::Fail(text) => ("fails: ", text.as_str()),
                Outcome::Unknown(text) => ("may have failed: ", text.as_str()),
            };
            let what = format!("{} {word}{text}", asked.operation);
            return self.incident(vec![asked.via], what);
        }
        let Outcome::Ok(Reply { header, body }) = outcome else { return };
        if let Body::Alarms(active) = body {
            for entry in active {
                let asked = Asked { is_question: false, ..asked.clone() };
                self.send_apart(asked, Call::AlarmDisarm(*entry));
            }
            return;
        }
        let known = match body {
            Body::Members { members, .. } => members.as_slice(),
            _ => &[],
        };
        if let Ok(call) = self.call_knowing(&asked.operation.request, known, header.revision) {
            self.send_apart(Asked { is_question: false, ..asked }, call);
        }
    }

    /// A member that was added comes with the end of the fault at the latest.
    fn note_added(&mut self, request: &Request, outcome: &Outcome) {
        match (request, outcome) {
            (Request::MemberAdd { member, .. }, Outcome::Ok(_)) => {
                if let Ok(place) = self.place(member) {
                    self.members[place].is_downed = true;
                }
            }
            (Request::MemberList { serializable: false }, Outcome::Ok(reply)) => {
                if let Body::Members { members, .. } = &reply.body {
                    self.learn_members(members);
                }
            }
            _ => {}
        }
    }

    /// The configuration is what a linearizable member list says.
    pub(super) fn learn_members(&mut self, listed: &[MemberEntry]) {
        for place in 0..self.members.len() {
            let entry = listed.iter().find(|entry| self.is_entry_of(entry, place));
            let member = &mut self.members[place];
            match (entry, member.is_inside()) {
                (Some(entry), is_inside) => {
                    member.role = if entry.is_learner { Role::Learner } else { Role::Voter };
                    if !is_inside {
                        member.has_new_identity = true;
                        member.is_downed = true;
                    }
                }
                (None, true) => member.role = Role::Removed,
                (None, false) => {}
            }
        }
        self.is_config_doubtful = false;
    }

    /// Whom to ask: who is named, or who leads, or who serves.
    fn someone_for(&mut self, operation: &Operation) -> Result<Option<usize>, Stop> {
        let via = match (&operation.via, &operation.request) {
            (Some(target), _) => self.now_is(target)?,
            (None, Request::MoveLeader { .. }) => self.leader(),
            (None, _) => Some(self.any_ready()),
        };
        let can = |place: &usize| self.members[*place].is_up && !self.members[*place].is_paused;
        Ok(via.filter(can))
    }

    /// The one member that a target means, without waiting for a leader.
    fn now_is(&mut self, target: &Target) -> Result<Option<usize>, Stop> {
        match target {
            Target::Leader => Ok(self.leader()),
            Target::Follower if self.leader().is_none() => Ok(None),
            target => self.one(target).map(Some),
        }
    }

    fn name_of(&self, place: usize) -> Target {
        Target::Name(self.members[place].name.clone())
    }

    fn may_ask(&self, request: &Request) -> Result<bool, Stop> {
        let Some(member) = request.reconfigures() else { return Ok(true) };
        let place = self.place(member)?;
        let role = self.members[place].role;
        // The list that a member joins with must stay true until it has joined.
        let is_busy = |(other, it): (usize, &Member)| other != place && it.is_joining && it.is_up;
        let is_free = !self.members.iter().enumerate().any(is_busy) && !self.is_changing();
        Ok(!self.is_config_doubtful
            && is_free
            && match request {
                Request::MemberAdd { learner, .. } => {
                    matches!(role, Role::Outside | Role::Removed) && (*learner || self.can_grow())
                }
                Request::MemberPromote { .. } => role == Role::Learner,
                _ => role == Role::Learner || role == Role::Voter && self.can_lose(place),
            })
    }

    /// Whether a fault has asked for a change of the configuration that has no answer yet.
    pub(super) fn is_changing(&self) -> bool {
        self.asked.values().any(|asked| asked.operation.request.reconfigures().is_some())
    }

    /// Whether those who stay are a quorum of themselves, and what was lost a minority.
    fn can_lose(&self, place: usize) -> bool {
        let stay = || {
            let all = self.members.iter().enumerate();
            all.filter(|(other, it)| *other != place && it.role == Role::Voter).map(|(_, it)| it)
        };
        let voters = stay().count();
        let healthy = stay().filter(|it| it.is_reliable()).count();
        let lost = stay().filter(|it| it.is_lost()).count();
        // One of two cannot do without the other until it knows that the removal is committed.
        voters > 1 && healthy > voters / 2 && lost * 2 < voters
    }

    /// Whether a quorum is left with one more voter that has not joined yet.
    fn can_grow(&self) -> bool {
        let voters = || self.members.iter().filter(|it| it.role == Role::Voter);
        let reliable = voters().filter(|it| it.is_reliable()).count();
        !voters().any(Member::is_lost) || reliable * 2 > voters().count() + 1
    }

    /// The call of a request, with what was learned for it.
    fn call_knowing(
        &self,
        request: &Request,
        listed: &[MemberEntry],
        revision: i64,
    ) -> Result<Call, Stop> {
        let id = |name: &str| -> Result<u64, Stop> {
            let place = self.place(name)?;
            let entry = listed.iter().find(|entry| self.is_entry_of(entry, place));
            // An identity that nobody has: what the server says of it is the answer.
            Ok(entry.map_or(1, |entry| entry.id))
        };
        Ok(match request {
            Request::Compact { revision: None, physical } => {
                Call::Compact { revision, physical: *physical }
            }
            Request::MemberAdd { member, learner, urls } => {
                let peer_urls = self.urls(self.place(member)?, urls.as_deref());
                Call::MemberAdd { peer_urls, is_learner: *learner }
            }
            Request::MemberRemove { member } => Call::MemberRemove { id: id(member)? },
            Request::MemberPromote { member } => Call::MemberPromote { id: id(member)? },
            Request::MemberUpdate { member, urls } => {
                let peer_urls = self.urls(self.place(member)?, Some(urls));
                Call::MemberUpdate { id: id(member)?, peer_urls }
            }
            Request::MoveLeader { to: Target::Name(name) } => {
                Call::MoveLeader { target: id(name)? }
            }
            Request::AlarmRaise(alarm) => {
                let member = alarm.member.as_deref().map_or(Ok(0), id)?;
                Call::AlarmRaise(AlarmEntry { member, alarm: alarm.alarm })
            }
            Request::AlarmDisarm(Some(alarm)) => {
                let member = alarm.member.as_deref().map_or(Ok(0), id)?;
                Call::AlarmDisarm(AlarmEntry { member, alarm: alarm.alarm })
            }
            other => plain_call(other),
        })
    }
}
