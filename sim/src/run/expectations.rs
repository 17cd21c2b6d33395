//! `expect`: waits for a condition, or that one lasts, and records a finding when it does not hold.

use std::time::Duration;

use detsim_reports::record::{Blob, Body, Call, KeyValue, Outcome, Range, Reply, Severity};

use super::runner::{Runner, Stop};
use crate::language::ast::{Expect, Target};
use crate::language::value::show_duration;

/// How long a condition may take when nothing is said.
const WITHIN: Duration = Duration::from_secs(10);
/// How long a condition must last when nothing is said.
const LASTS: Duration = Duration::from_secs(1);
/// How far bounds are stretched where time is the machine's.
const STRETCH: u32 = 6;
/// Between two looks at conditions that cost operations.
const RETRY: Duration = Duration::from_millis(200);

/// What a member holds: its keys and its revision.
type Data = (i64, Vec<KeyValue>);

impl Runner<'_> {
    /// Waits for a condition. Tells it with every member named.
    pub(super) fn expect(&mut self, expect: &Expect) -> Result<Expect, Stop> {
        let mut concrete = expect.clone();
        match &mut concrete {
            Expect::Exits { targets, code, log, within } => {
                let places = self.name_targets(targets)?;
                for place in places {
                    self.expect_exit(place, *code, log.as_deref(), within.unwrap_or(WITHIN))?;
                }
            }
            Expect::Running { targets, lasts } => {
                let places = self.name_targets(targets)?;
                self.lasting(lasts.unwrap_or(LASTS), "running", &expect.to_string(), |runner| {
                    places.iter().all(|place| runner.members[*place].is_up)
                })?;
            }
            Expect::Ready { targets, within } => {
                let places = self.name_targets(targets)?;
                self.becoming(within.unwrap_or(WITHIN), "ready", &expect.to_string(), |runner| {
                    places.iter().all(|place| runner.world.status(*place).ready)
                })?;
            }
            Expect::Log { targets, text, within } => {
                let places = self.name_targets(targets)?;
                let text = super::member::expand(&*self.world, &self.members, text);
                self.becoming(within.unwrap_or(WITHIN), "log", &expect.to_string(), |runner| {
                    places.iter().all(|place| runner.world.log_contains(*place, &text))
                })?;
            }
            Expect::NoLog { targets, text, lasts } => {
                let places = self.name_targets(targets)?;
                let text = super::member::expand(&*self.world, &self.members, text);
                self.lasting(lasts.unwrap_or(LASTS), "no-log", &expect.to_string(), |runner| {
                    !places.iter().any(|place| runner.world.log_contains(*place, &text))
                })?;
            }
            Expect::Leader { among, within } => {
                let places = self.name_targets(among)?;
                self.becoming(within.unwrap_or(WITHIN), "leader", &expect.to_string(), |runner| {
                    runner.agreed_leader(&places).is_some()
                })?;
            }
            Expect::NoLeader { among, within } => {
                let places = self.name_targets(among)?;
                let what = expect.to_string();
                self.becoming(within.unwrap_or(WITHIN), "no-leader", &what, |runner| {
                    places.iter().all(|place| runner.world.status(*place).leader.is_none())
                })?;
            }
            Expect::SameData { targets, within } => {
                let places = self.name_targets(targets)?;
                self.expect_same_data(&places, within.unwrap_or(WITHIN), &expect.to_string())?;
            }
            Expect::DifferentData { targets } => {
                let places = self.name_targets(targets)?;
                self.expect_different_data(&places, &expect.to_string())?;
            }
            Expect::SameCluster { targets, within } => {
                let places = self.name_targets(targets)?;
                let within = within.unwrap_or(WITHIN);
                self.expect_clusters(&places, within, true, &expect.to_string())?;
            }
            Expect::DifferentCluster { targets } => {
                let places = self.name_targets(targets)?;
                self.expect_clusters(&places, WITHIN, false, &expect.to_string())?;
            }
            Expect::Members { names, via, within } => {
                let place = self.one(via.as_ref().unwrap_or(&Target::Leader))?;
                *via = Some(Target::Name(self.members[place].name.clone()));
                let within = within.unwrap_or(WITHIN);
                self.expect_members(names, place, within, &expect.to_string())?;
            }
            Expect::TermBelow(term) => self.expect_term_below(*term)?,
            Expect::Finding(what) => self.wanted.push(what.clone()),
            Expect::Checked(what) => self.wanted_checks.push(what.clone()),
        }
        Ok(concrete)
    }

    /// The members that targets mean, which become their names.
    fn name_targets(&mut self, targets: &mut Vec<Target>) -> Result<Vec<usize>, Stop> {
        let places = self.places(targets)?;
        *targets = self.named(&places);
        Ok(places)
    }

    /// How long something may take: what is said, in simulated worlds. In others time is the
    /// machine's, and bounds are stretched.
    pub(super) fn patience(&self, within: Duration) -> Duration {
        match self.world.trace_hash() {
            Some(_) => within,
            None => within * STRETCH,
        }
    }

    /// Waits until it holds.
    fn becoming(
        &mut self,
        within: Duration,
        rule: &str,
        what: &str,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Stop> {
        let until = self.world.now().after(self.patience(within));
        if self.pass_until(until, &mut holds)? {
            return Ok(());
        }
        let within = show_duration(within);
        let what = format!("`expect {what}` does not hold within {within}: {}", self.state());
        Err(self.liveness(rule, what))
    }

    /// Looks on while it must hold.
    fn lasting(
        &mut self,
        time: Duration,
        rule: &str,
        what: &str,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Stop> {
        let until = self.world.now().after(time);
        if !self.pass_until(until, &mut |runner| !holds(runner))? {
            return Ok(());
        }
        let what = format!("`expect {what}` does not hold any more: {}", self.state());
        Err(self.find(Severity::Safety, ("expect", rule), what))
    }

    /// The members' states in a few words, for explanations.
    pub(super) fn state(&mut self) -> String {
        let mut words = Vec::new();
        for place in 0..self.members.len() {
            let status = self.world.status(place);
            let member = &self.members[place];
            let name = &member.name;
            let leader = status.leader.map_or("no leader".to_owned(), |leader| {
                format!("leader {}", self.members[leader].name)
            });
            words.push(match (member.is_up, member.exit.filter(|_| !member.is_up)) {
                (true, _) if member.is_paused => format!("{name} paused"),
                (true, _) if !status.ready => format!("{name} not ready, {leader}"),
                (true, _) => format!(
                    "{name} {leader} term {} applied {} revision {}",
                    status.term, status.applied, status.revision
                ),
                (false, Some(exit)) => {
                    let exit = &self.history.exits[exit];
                    format!("{name} exited code={} \"{}\"", exit.code, exit.reason)
                }
                (false, None) => format!("{name} down"),
            });
        }
        words.join("; ")
    }

    fn expect_exit(
        &mut self,
        place: usize,
        code: Option<i32>,
        log: Option<&str>,
        within: Duration,
    ) -> Result<(), Stop> {
        let name = self.members[place].name.clone();
        let until = self.world.now().after(self.patience(within));
        self.pass_until(until, &mut |runner| runner.members[place].exit.is_some())?;
        let Some(index) = self.members[place].exit else {
            let within = show_duration(within);
            let what = format!("{name} does not exit within {within}: {}", self.state());
            return Err(self.find(Severity::Safety, ("expect", "exits"), what));
        };
        let exit = self.history.exits[index].clone();
        if code.is_some_and(|code| code != exit.code) {
            let wanted = code.unwrap_or_default();
            let what = format!(
                "{name} exits with code {} instead of {wanted}: \"{}\"",
                exit.code, exit.reason
            );
            return Err(self.find(Severity::Safety, ("expect", "exit-code"), what));
        }
        if let Some(text) = log {
            let text = super::member::expand(&*self.world, &self.members, text);
            if !exit.reason.contains(&text) && !self.world.log_contains(place, &text) {
                let what =
                    format!("{name} exits without \"{text}\" in its log, with \"{}\"", exit.reason);
                return Err(self.find(Severity::Safety, ("expect", "exit-log"), what));
            }
        }
        self.history.exits[index].expected = true;
        Ok(())
    }

    /// The leader on which all running members of some agree, if it is one of them.
    pub(super) fn agreed_leader(&mut self, places: &[usize]) -> Option<usize> {
        let mut leader = None;
        for &place in places {
            if !self.members[place].is_up || self.members[place].is_paused {
                continue;
            }
            let status = self.world.status(place);
            let known = status.leader.filter(|_| status.ready)?;
            if *leader.get_or_insert(known) != known {
                return None;
            }
        }
        let leader = leader.filter(|leader| places.contains(leader))?;
        let knows = self.members[leader].is_up && !self.members[leader].is_paused;
        (knows && self.world.status(leader).leader == Some(leader)).then_some(leader)
    }

    /// Asks for everything that a member holds, as it sees it.
    fn data(&mut self, place: usize) -> Result<Option<Data>, Stop> {
        let everything = Range {
            key: Blob::text("\0"),
            range_end: Blob::text("\0"),
            serializable: true,
            ..Range::default()
        };
        let timeout = self.traffic.timeout();
        let ended = self.ask(place, Call::Range(everything), timeout)?;
        Ok(match ended.outcome {
            Outcome::Ok(Reply { header, body: Body::Range(range) }) => {
                Some((header.revision, range.kvs))
            }
            _ => None,
        })
    }

    fn all_data(&mut self, places: &[usize]) -> Result<Vec<Option<Data>>, Stop> {
        let mut all = Vec::new();
        for place in places {
            all.push(self.data(*place)?);
        }
        Ok(all)
    }

    fn expect_same_data(
        &mut self,
        places: &[usize],
        within: Duration,
        what: &str,
    ) -> Result<(), Stop> {
        let until = self.world.now().after(self.patience(within));
        loop {
            let all = self.all_data(places)?;
            if all.iter().all(|data| data.is_some() && *data == all[0]) {
                return Ok(());
            }
            if self.world.now() >= until {
                let what = format!("`expect {what}`: {}", self.show_data(places, &all));
                return Err(self.find(Severity::Safety, ("expect", "same-data"), what));
            }
            self.pass(RETRY)?;
        }
    }

    fn expect_different_data(&mut self, places: &[usize], what: &str) -> Result<(), Stop> {
        let all = self.all_data(places)?;
        let differs = all.iter().any(|data| *data != all[0]);
        if differs && all.iter().all(Option::is_some) {
            return Ok(());
        }
        let what = format!("`expect {what}`: {}", self.show_data(places, &all));
        Err(self.find(Severity::Safety, ("expect", "different-data"), what))
    }

    fn show_data(&self, places: &[usize], all: &[Option<Data>]) -> String {
        let shown = places.iter().zip(all).map(|(place, data)| {
            let name = &self.members[*place].name;
            match data {
                Some((revision, kvs)) => {
                    format!("{name} holds {} keys at revision {revision}", kvs.len())
                }
                None => format!("{name} does not answer"),
            }
        });
        shown.collect::<Vec<String>>().join(", ")
    }

    fn expect_clusters(
        &mut self,
        places: &[usize],
        within: Duration,
        are_same: bool,
        what: &str,
    ) -> Result<(), Stop> {
        let until = self.world.now().after(self.patience(within));
        loop {
            let mut ids = Vec::new();
            for place in places {
                let timeout = self.traffic.timeout();
                let ended = self.ask(*place, Call::Status, timeout)?;
                ids.push(match ended.outcome {
                    Outcome::Ok(reply) => Some(reply.header.cluster_id),
                    _ => None,
                });
            }
            let all_known = ids.iter().all(Option::is_some);
            let same = ids.iter().all(|id| *id == ids[0]);
            if all_known && same == are_same {
                return Ok(());
            }
            if all_known || self.world.now() >= until {
                let shown = places.iter().zip(&ids).map(|(place, id)| {
                    let id = id.map_or("no answer".to_owned(), |id| format!("{id:x}"));
                    format!("{} {id}", self.members[*place].name)
                });
                let shown: Vec<String> = shown.collect();
                let what = format!("`expect {what}`: {}", shown.join(", "));
                return Err(self.find(Severity::Safety, ("expect", "cluster-id"), what));
            }
            self.pass(RETRY)?;
        }
    }

    fn expect_members(
        &mut self,
        names: &[String],
        via: usize,
        within: Duration,
        what: &str,
    ) -> Result<(), Stop> {
        let mut wanted = Vec::new();
        for name in names {
            wanted.push(self.place(name)?);
        }
        let until = self.world.now().after(self.patience(within));
        loop {
            let timeout = self.traffic.timeout();
            let ended = self.ask(via, Call::MemberList { linearizable: true }, timeout)?;
            let found = match &ended.outcome {
                Outcome::Ok(Reply { body: Body::Members { members, .. }, .. }) => members.clone(),
                _ => Vec::new(),
            };
            let is_there =
                |place: &usize| found.iter().any(|entry| self.is_entry_of(entry, *place));
            if found.len() == wanted.len() && wanted.iter().all(is_there) {
                return Ok(());
            }
            if self.world.now() >= until {
                let shown =
                    found.iter().map(|it| format!("{}={}", it.name, it.peer_urls.join("+")));
                let shown: Vec<String> = shown.collect();
                let what = format!("`expect {what}`: the member list is {}", shown.join(","));
                return Err(self.find(Severity::Safety, ("expect", "members"), what));
            }
            self.pass(RETRY)?;
        }
    }

    fn expect_term_below(&mut self, term: u64) -> Result<(), Stop> {
        for place in 0..self.members.len() {
            let status = self.world.status(place);
            if status.term >= term {
                let name = &self.members[place].name;
                let what = format!("{name} is in term {}, expected below {term}", status.term);
                return Err(self.find(Severity::Safety, ("expect", "term"), what));
            }
        }
        Ok(())
    }
}
