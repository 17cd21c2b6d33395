//! The members that a committed log makes: its configuration changes and publications applied to a
//! model of the member list, which shares nothing with the server's.
//!
//! A change that cannot take effect in the state that it meets leaves the list as it is: of a
//! member that is gone or was never there, of a URL that another has, of a learner too many. What
//! a cluster that began from a snapshot started with is known by identity alone, so that names and
//! URLs of its founders are compared only once they are published or changed.

use std::collections::{BTreeMap, BTreeSet};

use detsim_reports::record::{Command, Committed, MemberEntry, MembershipChange, OpId, Time};

/// What is known of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    name: Option<String>,
    peer_urls: Option<Vec<String>>,
    client_urls: Option<Vec<String>>,
    is_learner: bool,
}

/// The member list after an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    members: BTreeMap<u64, Known>,
    removed: BTreeSet<u64>,
}

/// What an entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Add(u64),
    Promote(u64),
    Remove(u64),
    Update(u64),
    Publish,
}

/// A state of the list, from an entry on.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The entry's index; 0 for the empty list before all entries.
    pub index: u64,
    /// When a member applied it first.
    pub at: Time,
    /// What the entry asked for.
    pub change: Option<Change>,
    pub members: Members,
}

/// All states of a cluster's list.
#[derive(Clone, Debug)]
pub(super) struct Log {
    states: Vec<State>,
    /// The entry of every operation that has a configuration change.
    entries: BTreeMap<OpId, u64>,
    /// The last entry.
    pub last: u64,
}

/// What decides whether a change takes effect, beside the list.
pub(super) struct Rules<'a> {
    /// `--max-learners`.
    pub max_learners: usize,
    /// Entries that members say took effect: believed where the model cannot know.
    pub configured: &'a BTreeSet<u64>,
}

impl Log {
    /// Applies a log. `Err` tells what it holds that the model does not understand.
    pub fn replay(entries: &[&Committed], rules: &Rules<'_>) -> Result<Log, String> {
        let first = State { index: 0, at: Time::ZERO, change: None, members: Members::default() };
        let mut log = Log { states: vec![first], entries: BTreeMap::new(), last: 0 };
        let mut members = Members::default();
        for (entry, due) in entries.iter().zip(1..) {
            if entry.index != due {
                return Err("its log is not whole".to_owned());
            }
            log.last = entry.index;
            if let Command::ConfChange { .. } = entry.command {
                log.entries.extend(entry.op.map(|op| (op, entry.index)));
            }
            let change = match &entry.command {
                Command::ConfChange { change: Some(change), .. } => {
                    members.configure(entry.index, change, rules)
                }
                Command::ConfChange { what, change: None } => {
                    let (id, is_learner) = founder(what)
                        .ok_or_else(|| format!("entry {} is `{what}`", entry.index))?;
                    let known = Known { is_learner, ..Known::default() };
                    members.members.insert(id, known);
                    Some(Change::Add(id))
                }
                Command::Attributes { member, name, client_urls } => {
                    members.publish(*member, name, client_urls)
                }
                _ => None,
            };
            if change.is_some() {
                let (index, at, members) = (entry.index, entry.at, members.clone());
                log.states.push(State { index, at, change, members });
            }
        }
        Ok(log)
    }

    /// The state after an entry.
    pub fn after(&self, index: u64) -> &State {
        let later = self.states.partition_point(|state| state.index <= index);
        &self.states[later - 1]
    }

    /// The configuration change that an operation was proposed as.
    pub fn entry(&self, op: OpId) -> Option<u64> {
        self.entries.get(&op).copied()
    }

    /// The states that were reached by `to`, from the newest on that was reached before `from`.
    pub fn between(&self, from: Time, to: Time) -> &[State] {
        let known = self.states.partition_point(|state| state.index == 0 || state.at < from);
        let reached = self.states.partition_point(|state| state.index == 0 || state.at <= to);
        &self.states[known - 1..reached]
    }

    /// The states with a configuration change that took effect.
    pub fn changes(&self) -> impl Iterator<Item = &State> {
        let is_change = |state: &&State| !matches!(state.change, None | Some(Change::Publish));
        self.states.iter().filter(is_change)
    }
}

/// A member that the log begins with, of which only the identity is recorded.
fn founder(what: &str) -> Option<(u64, bool)> {
    let id = what.strip_prefix("add ")?;
    let (id, is_learner) = match id.strip_prefix("learner ") {
        Some(id) => (id, true),
        None => (id, false),
    };
    Some((u64::from_str_radix(id, 16).ok()?, is_learner))
}

impl Members {
    /// Carries out a change, or leaves the list as it is.
    fn configure(
        &mut self,
        index: u64,
        change: &MembershipChange,
        rules: &Rules<'_>,
    ) -> Option<Change> {
        let id = match change {
            MembershipChange::Add(entry) => entry.id,
            MembershipChange::Promote(id) | MembershipChange::Remove(id) => *id,
            MembershipChange::Update { member, .. } => *member,
        };
        if self.removed.contains(&id) {
            return None;
        }
        match change {
            MembershipChange::Add(entry) => {
                let is_full = entry.is_learner && self.learners().len() >= rules.max_learners;
                if self.members.contains_key(&id)
                    || is_full
                    || !self.are_free(index, id, &entry.peer_urls, rules)
                {
                    return None;
                }
                let known = Known {
                    name: Some(entry.name.clone()),
                    peer_urls: Some(entry.peer_urls.clone()),
                    client_urls: Some(entry.client_urls.clone()),
                    is_learner: entry.is_learner,
                };
                self.members.insert(id, known);
                Some(Change::Add(id))
            }
            MembershipChange::Promote(_) => {
                let learner = self.members.get_mut(&id).filter(|known| known.is_learner)?;
                learner.is_learner = false;
                Some(Change::Promote(id))
            }
            MembershipChange::Remove(_) => {
                self.members.remove(&id)?;
                self.removed.insert(id);
                Some(Change::Remove(id))
            }
            MembershipChange::Update { peer_urls, .. } => {
                if !self.are_free(index, id, peer_urls, rules) {
                    return None;
                }
                self.members.get_mut(&id)?.peer_urls = Some(peer_urls.clone());
                Some(Change::Update(id))
            }
        }
    }

    /// Whether no other member has one of these URLs. Where a member's are not known, members say.
    fn are_free(&self, index: u64, id: u64, urls: &[String], rules: &Rules<'_>) -> bool {
        let mut others = self.members.iter().filter(|(other, _)| **other != id);
        let is_known = others.clone().all(|(_, known)| known.peer_urls.is_some());
        let is_taken =
            |known: &Known| known.peer_urls.iter().flatten().any(|url| urls.contains(url));
        !others.any(|(_, known)| is_taken(known)) && (is_known || rules.configured.contains(&index))
    }

    fn publish(&mut self, member: u64, name: &str, client_urls: &[String]) -> Option<Change> {
        let known = self.members.get_mut(&member)?;
        known.name = Some(name.to_owned());
        known.client_urls = Some(client_urls.to_vec());
        Some(Change::Publish)
    }

    /// Identities of voters, in ascending order.
    pub fn voters(&self) -> Vec<u64> {
        self.with(false)
    }

    /// Identities of learners, in ascending order.
    pub fn learners(&self) -> Vec<u64> {
        self.with(true)
    }

    fn with(&self, is_learner: bool) -> Vec<u64> {
        let which = self.members.iter().filter(|(_, known)| known.is_learner == is_learner);
        which.map(|(id, _)| *id).collect()
    }

    /// Whether a reply lists exactly these members, as far as they are known.
    pub fn are(&self, listed: &[MemberEntry]) -> bool {
        let same = |known: &Known, entry: &MemberEntry| {
            known.is_learner == entry.is_learner
                && known.name.as_ref().is_none_or(|name| *name == entry.name)
                && known.peer_urls.as_ref().is_none_or(|urls| *urls == entry.peer_urls)
                && known.client_urls.as_ref().is_none_or(|urls| *urls == entry.client_urls)
        };
        let is_known =
            |entry: &MemberEntry| self.members.get(&entry.id).is_some_and(|it| same(it, entry));
        let ids: BTreeSet<u64> = listed.iter().map(|entry| entry.id).collect();
        ids.len() == listed.len() && ids.len() == self.members.len() && listed.iter().all(is_known)
    }

    /// The list in a reader's words.
    pub fn words(&self) -> String {
        let each = |(id, known): (&u64, &Known)| {
            let unknown = || "?".to_owned();
            let name = known.name.clone().unwrap_or_else(unknown);
            let [peers, clients] = [&known.peer_urls, &known.client_urls]
                .map(|urls| urls.as_ref().map_or_else(unknown, |urls| urls.join(" ")));
            member(*id, &name, [&peers, &clients], known.is_learner)
        };
        listed(self.members.iter().map(each))
    }
}

/// A reply's list in the same words.
pub(super) fn words(entries: &[MemberEntry]) -> String {
    listed(entries.iter().map(|entry| {
        let (peers, clients) = (entry.peer_urls.join(" "), entry.client_urls.join(" "));
        member(entry.id, &entry.name, [&peers, &clients], entry.is_learner)
    }))
}

fn member(id: u64, name: &str, [peers, clients]: [&str; 2], is_learner: bool) -> String {
    let role = if is_learner { "learner" } else { "voter" };
    let word = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    format!("{role} {id:x} ({}, peers {}, clients {})", word(name), word(peers), word(clients))
}

fn listed(members: impl Iterator<Item = String>) -> String {
    let members: Vec<String> = members.collect();
    if members.is_empty() { "nobody".to_owned() } else { members.join(", ") }
}
