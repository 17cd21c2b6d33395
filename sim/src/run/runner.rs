//! The runner of one script in one world: executes statements from top to bottom, moves time, and
//! keeps what a run leaves behind. What statements do is in the files beside this one.

use std::collections::BTreeMap;
use std::time::Duration;

use detsim_reports::record::{Finding, History, MemberName, OpId, ProcessExit, Severity, Time};
use rand_chacha::ChaCha8Rng;

use super::actions::{Faults, Source};
use super::asked::Asked;
use super::member::{Excuse, Member, Role};
use super::nemesis::Schedule;
use super::options::Options;
use super::plan::Plan;
use super::restores::{Ending, Origin};
use super::traffic::{Traffic, Way};
use super::troubles::Troubles;
use crate::language::ast::{Flag, Named, Statement, Target};
use crate::language::value::{Entry, Kind, Settings, Value};
use crate::seed::{Draw, Streams};
use crate::workload;
use crate::world::loop_world::DatabaseKind;
use crate::world::{Exit, World, WorldError, WorldEvent};

/// How often a condition is looked at while nothing happens.
const POLL: Duration = Duration::from_millis(20);
/// How long a member may take to stop when it is asked to.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// How long watches may take to deliver after the last operation.
const DELIVERY: Duration = Duration::from_secs(2);

/// What a member logs that ends because it was removed.
const REMOVED: &str = "permanently removed";
/// Why a member ends that joins while none of the others answers, or one that has not applied the
/// addition yet, or still lists who was removed before at the same URL: that is who it then is.
const CANNOT_JOIN: [&str; 3] =
    ["cannot fetch cluster info from peer urls", "member count is unequal", "server is stopping"];

/// Why a script is not executed any further.
#[derive(Debug)]
pub enum Stop {
    /// Something was found that the rest rests on.
    Failed,
    /// The world cannot do it.
    Skipped(String),
    /// What was asked is not proved or refuted.
    Undecided(String),
    /// The script or the harness is wrong.
    Harness(String),
}

impl From<WorldError> for Stop {
    fn from(error: WorldError) -> Stop {
        match error {
            WorldError::Unsupported { .. } => Stop::Skipped(error.to_string()),
            WorldError::Harness(what) => Stop::Harness(what),
        }
    }
}

/// A run under way.
pub struct Runner<'w> {
    pub(super) world: &'w mut dyn World,
    pub(super) streams: Streams,
    pub(super) target_stream: ChaCha8Rng,
    pub(super) options: Options,
    pub(super) members: Vec<Member>,
    /// How many members the cluster began with.
    pub(super) founders: usize,
    /// Names given by `let`, later ones first.
    pub(super) bound: Vec<(String, usize)>,
    /// The configuration is what the script's operations have made it.
    pub(super) is_config_known: bool,
    /// By how much later a cluster has recovered because members still join it.
    pub(super) joining_takes: Duration,
    /// An operation that would change the configuration has an unknown outcome.
    pub(super) is_config_doubtful: bool,
    pub(super) history: History,
    pub(super) traffic: Traffic,
    pub(super) faults: Faults,
    /// Which of them last, and with whom.
    pub(super) troubles: Troubles,
    /// What is done now is a fault at a time, which healing undoes.
    pub(super) in_fault: bool,
    pub(super) schedule: Schedule,
    /// Operations that a fault asked for and nobody waits for.
    pub(super) asked: BTreeMap<OpId, Asked>,
    /// Members that come back at a time of their own.
    pub(super) returning: Vec<(Time, usize)>,
    pub(super) timed: Vec<Statement>,
    pub(super) nemeses: Vec<Named>,
    /// The host on which a data directory is being made, and how that ended.
    pub(super) restoring: Option<(usize, Option<Ending>)>,
    /// What the history's restored clusters began from.
    pub(super) origins: Vec<Origin>,
    pub(super) plan: Plan,
    pub(super) findings: Vec<Finding>,
    /// Findings that make the run pass.
    pub(super) wanted: Vec<String>,
    /// What some checker must say that it has checked.
    pub(super) wanted_checks: Vec<String>,
    /// Findings that do not make it fail.
    pub(super) allowed: Vec<String>,
    /// Names of checkers to run, if any.
    pub(super) checkers: Option<Vec<String>>,
    pub(super) checked: Vec<String>,
    pub(super) not_checked: Vec<String>,
}

impl<'w> Runner<'w> {
    pub(super) fn new(world: &'w mut dyn World, seed: u64, options: Options) -> Runner<'w> {
        let streams = Streams::new(seed);
        let mut history = History::default();
        history.settings.recovery_within_ms = options.recovery().as_millis() as u64;
        Runner {
            world,
            streams,
            target_stream: streams.stream("targets"),
            traffic: Traffic::new(options.client_timeout()),
            options,
            members: Vec::new(),
            founders: 0,
            bound: Vec::new(),
            joining_takes: Duration::ZERO,
            is_config_known: true,
            is_config_doubtful: false,
            history,
            faults: Faults::default(),
            troubles: Troubles::default(),
            in_fault: false,
            schedule: Schedule::default(),
            asked: BTreeMap::new(),
            returning: Vec::new(),
            timed: Vec::new(),
            nemeses: Vec::new(),
            restoring: None,
            origins: Vec::new(),
            plan: Plan::default(),
            findings: Vec::new(),
            wanted: Vec::new(),
            wanted_checks: Vec::new(),
            allowed: Vec::new(),
            checkers: None,
            checked: Vec::new(),
            not_checked: Vec::new(),
        }
    }

    /// Executes a statement and writes what it did into the plan.
    pub(super) fn execute(&mut self, statement: &Statement) -> Result<(), Stop> {
        match statement {
            // Written at the plan's head.
            Statement::Worlds(_) | Statement::Seed(_) | Statement::Option(_) => return Ok(()),
            Statement::Cluster { members, sizes, flags } => {
                self.found(members, sizes, flags)?;
                return Ok(());
            }
            Statement::Member { name, flags } => {
                let flags = self.draw_flags(flags, &[Target::Name(name.clone())]);
                self.add_member(name, &flags, Role::Outside)?;
                self.plan.push(Statement::Member { name: name.clone(), flags });
                return Ok(());
            }
            Statement::Let { name, target } => {
                let place = self.one(target)?;
                self.bound.push((name.clone(), place));
                let target = Target::Name(self.members[place].name.clone());
                self.plan.push(Statement::Let { name: name.clone(), target });
                return Ok(());
            }
            Statement::Do(action) => {
                if let Some(done) = self.act(action, Source::Statement)? {
                    self.plan.push(Statement::Do(done));
                }
                return Ok(());
            }
            Statement::At(..) => self.timed.push(statement.clone()),
            Statement::Nemesis(nemesis) => self.nemeses.push(nemesis.clone()),
            Statement::Workload(named) => return self.begin_workload(named),
            Statement::Run(time) => return self.run_for(*time),
            Statement::Wait(time) => self.pass(*time)?,
            Statement::Settle => self.settle()?,
            Statement::Converge { within } => self.converge(*within)?,
            Statement::Check { checkers } => {
                self.settle()?;
                self.select(checkers);
            }
            Statement::Allow(what) => self.allowed.push(what.clone()),
            Statement::Expect(expect) => {
                let concrete = self.expect(expect)?;
                self.plan.push(Statement::Expect(concrete));
                return Ok(());
            }
            Statement::Restore(restore) => {
                let concrete = self.restore(restore)?;
                self.plan.push(Statement::Restore(concrete));
                return Ok(());
            }
            Statement::DefragmentOffline { targets, expect } => {
                let targets = self.defragment_offline(targets, expect)?;
                let expect = expect.clone();
                self.plan.push(Statement::DefragmentOffline { targets, expect });
                return Ok(());
            }
            Statement::Spoil { backup, damage } => self.world.spoil(backup, *damage)?,
            Statement::Operation(operation) => {
                let concrete = self.by_hand(operation)?;
                self.plan.push(Statement::Operation(concrete));
                return Ok(());
            }
        }
        if !matches!(statement, Statement::At(..) | Statement::Nemesis(_)) {
            self.plan.push(statement.clone());
        }
        Ok(())
    }

    /// Has checkers judge the history at the end.
    pub(super) fn select(&mut self, checkers: &[String]) {
        let selected = self.checkers.get_or_insert_default();
        match checkers {
            [] => selected.push("all".to_owned()),
            some => selected.extend(some.iter().cloned()),
        }
    }

    /// Makes the members that the cluster begins with.
    fn found(&mut self, members: &[String], sizes: &[usize], flags: &[Flag]) -> Result<(), Stop> {
        let size = match sizes {
            [] => members.len(),
            sizes => *self.streams.stream("size").pick(sizes),
        };
        let members = &members[..size];
        let flags = self.draw_flags(flags, &[]);
        for name in members {
            self.add_member(name, &flags, Role::Voter)?;
        }
        self.founders = size;
        for flag in &flags {
            let number: Option<u64> = flag.choices[0].parse().ok();
            match (flag.name.as_str(), number) {
                ("max-txn-ops", Some(many)) => self.history.settings.max_txn_ops = many as usize,
                ("max-learners", Some(many)) => {
                    self.history.settings.max_learners = many as usize;
                }
                ("election-timeout", Some(ms)) => {
                    self.history.settings.lease_ttl_min_s = (ms * 3).div_ceil(2000) as i64;
                }
                ("quota-backend-bytes", Some(bytes @ 1..)) => {
                    self.history.settings.quota_bytes = bytes;
                }
                ("snapshot-count", Some(_)) if self.keeps_whole_logs() => {
                    let what = "snapshots of the log: simulated members keep their whole log";
                    self.not_checked.push(what.to_owned());
                }
                _ => {}
            }
        }
        self.plan.push(Statement::Cluster { members: members.to_vec(), sizes: Vec::new(), flags });
        Ok(())
    }

    /// The process world's servers do what they are told; simulated ones need a database.
    fn keeps_whole_logs(&self) -> bool {
        self.world.trace_hash().is_some() && self.options.database() == DatabaseKind::None
    }

    fn add_member(&mut self, name: &str, flags: &[Flag], role: Role) -> Result<(), Stop> {
        let flags = flags.iter().map(|flag| (flag.name.clone(), flag.choices[0].clone())).collect();
        let place = self.world.add_member(&MemberName(name.to_owned()))?;
        assert_eq!(place, self.members.len(), "worlds number members in order");
        self.members.push(Member::new(name, flags, role));
        self.history.members.push(MemberName(name.to_owned()));
        Ok(())
    }

    /// Decides flags that leave a choice. Each has a stream of its own, named by the flag and whom
    /// it is for.
    pub(super) fn draw_flags(&self, flags: &[Flag], whom: &[Target]) -> Vec<Flag> {
        let whom: Vec<String> = whom.iter().map(Target::to_string).collect();
        let drawn = flags.iter().map(|flag| {
            let value = match flag.choices.as_slice() {
                [only] => only.clone(),
                choices => {
                    let name = format!("flag/{}/{}", whom.join("+"), flag.name);
                    self.streams.stream(&name).pick(choices).clone()
                }
            };
            Flag { name: flag.name.clone(), choices: vec![value] }
        });
        drawn.collect()
    }

    fn begin_workload(&mut self, named: &Named) -> Result<(), Stop> {
        let entry = workload::KINDS.iter().find(|entry| entry.name == named.kind);
        let settings = match entry {
            Some(entry) => self.avoiding(named, entry).with_defaults(entry.parameters),
            None => Settings::default(),
        };
        let Some(workload) = workload::build(&named.kind, &settings) else {
            return Err(Stop::Harness(format!("there is no workload `{}`", named.kind)));
        };
        let streams = self.streams;
        let (traffic, mut way) = self.traffic();
        traffic.add(&named.kind, workload, streams, &mut way);
        self.plan.push(Statement::Workload(Named { kind: named.kind.clone(), settings }));
        Ok(())
    }

    /// What was said, and what the workload avoids because the world's servers are known to do it
    /// wrong.
    fn avoiding(&mut self, named: &Named, entry: &Entry) -> Settings {
        let mut settings = named.settings.clone();
        let avoidable = entry.parameters.iter().find(|parameter| parameter.name == "avoid");
        let (Some(parameter), false) = (avoidable, settings.has("avoid")) else { return settings };
        let Kind::Words(words) = parameter.kind else { return settings };
        let mut known = self.world.known_defects();
        known.retain(|defect| words.contains(&defect.avoid));
        if known.is_empty() {
            return settings;
        }
        for defect in &known {
            let note = format!("known and avoided: {}", defect.what);
            if !self.not_checked.contains(&note) {
                self.not_checked.push(note);
            }
        }
        let avoided = known.iter().map(|defect| defect.avoid.to_owned()).collect();
        settings.0.push(("avoid".to_owned(), Value::Words(avoided)));
        settings
    }

    /// The traffic, and the way of its operations.
    pub(super) fn traffic(&mut self) -> (&mut Traffic, Way<'_>) {
        let members = self.founders;
        let way = Way { world: &mut *self.world, history: &mut self.history, members };
        (&mut self.traffic, way)
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) -> Result<(), Stop> {
        let until = self.world.now().after(time);
        while self.world.now() < until {
            self.step(until)?;
        }
        Ok(())
    }

    /// Lets time pass until `done` says that it is enough, but not past `until`. Tells whether it
    /// said so.
    pub(super) fn pass_until(
        &mut self,
        until: Time,
        done: &mut dyn FnMut(&mut Self) -> bool,
    ) -> Result<bool, Stop> {
        loop {
            if done(self) {
                return Ok(true);
            }
            let now = self.world.now();
            if now >= until {
                return Ok(false);
            }
            self.step(until.min(now.after(POLL)))?;
        }
    }

    /// One event, or the time of the next one that the runner itself wants.
    fn step(&mut self, until: Time) -> Result<(), Stop> {
        let back = self.returning.iter().map(|(at, _)| *at).min().unwrap_or(Time::NEVER);
        let next = until.min(self.traffic.next_timer()).min(self.schedule.next_at()).min(back);
        match self.world.advance(next) {
            WorldEvent::Completed { op, outcome } => {
                let asked = self.asked.remove(&op).map(|asked| (asked, outcome.clone()));
                let (traffic, mut way) = self.traffic();
                traffic.completed(op, outcome, &mut way);
                if let Some((asked, outcome)) = asked {
                    self.answered(asked, &outcome);
                }
            }
            WorldEvent::Watched { op, message } => {
                let (traffic, mut way) = self.traffic();
                traffic.watched(op, message, &mut way);
            }
            WorldEvent::Exited { member, exit } => self.exited(member, &exit)?,
            WorldEvent::Restored { member, result } => self.restored(member, result),
            WorldEvent::Trapped { member } if self.restore_trapped(member) => {}
            WorldEvent::Trapped { member } => self.trapped(member),
            WorldEvent::Reached => {}
        }
        self.return_due()?;
        self.do_scheduled()?;
        let (traffic, mut way) = self.traffic();
        traffic.ring(&mut way);
        Ok(())
    }

    /// A member's process ended by itself.
    fn exited(&mut self, place: usize, exit: &Exit) -> Result<(), Stop> {
        let at = self.world.now();
        // One that does not serve yet ends with another reason; its log says why.
        let is_told = self.members[place].is_leaving && self.world.log_contains(place, REMOVED);
        let has_faults = self.faults.any;
        self.troubles.ended(place);
        let member = &mut self.members[place];
        let was_asked = std::mem::take(&mut member.is_stopping);
        member.is_up = false;
        member.is_paused = false;
        let what = format!("{} exits code={} {}", member.name, exit.code, exit.reason);
        if !was_asked {
            let is_early = member.is_joining
                && has_faults
                && CANNOT_JOIN.iter().any(|why| exit.reason.contains(why));
            if is_early {
                // It begins once more when somebody can be asked.
                (member.is_joining, member.has_new_identity) = (false, true);
                member.is_downed = true;
            }
            let expected = is_told
                || is_early
                || member.excuse != Excuse::None
                || member.role == Role::Removed;
            member.exit = Some(self.history.exits.len());
            member.is_downed |= member.excuse == Excuse::DiskFailed;
            // Space, or leave to write, is asked for first: the error may be still to come.
            member.fails_to_write &= member.is_read_only || member.is_full;
            self.troubles.failed(place);
            self.history.exits.push(ProcessExit {
                at,
                member: place,
                code: exit.code,
                reason: exit.reason.clone(),
                panicked: exit.code == RUST_PANIC,
                expected,
            });
        }
        self.incident(vec![place], what.trim_end().to_owned());
        if let (true, Some(launch)) = (was_asked, self.members[place].restart.take()) {
            let wipe = launch.wipe;
            self.start_process(place, launch)?;
            self.note_start(place, wipe);
        }
        Ok(())
    }

    /// Waits until every member that was asked to stop has stopped.
    pub(super) fn await_stopped(&mut self) -> Result<(), Stop> {
        let until = self.world.now().after(STOP_WITHIN);
        let stopped = self.pass_until(until, &mut |runner| {
            runner.members.iter().all(|member| !member.is_stopping)
        })?;
        if stopped {
            return Ok(());
        }
        let stuck = self.members.iter().find(|member| member.is_stopping);
        let name = stuck.map_or_else(String::new, |member| member.name.clone());
        let within = STOP_WITHIN.as_secs();
        Err(self.liveness("stop", format!("{name} did not stop within {within}s of being asked")))
    }

    /// Workloads end, and so do their operations; watches get time to deliver first.
    pub(super) fn settle(&mut self) -> Result<(), Stop> {
        self.begin_settling();
        // Every operation ends by its timeout; the world owes that.
        let until = self.world.now().after(self.traffic.timeout() + Duration::from_secs(60));
        if !self.pass_until(until, &mut |runner| runner.traffic.is_quiet())? {
            return Err(Stop::Harness("operations outlive their timeouts".to_owned()));
        }
        if !self.traffic.has_watches() {
            return Ok(());
        }
        self.pass(DELIVERY)?;
        self.traffic.close_watches(&mut *self.world);
        let until = self.world.now().after(Duration::from_secs(60));
        if self.pass_until(until, &mut |runner| !runner.traffic.has_watches())? {
            return Ok(());
        }
        Err(Stop::Harness("watches outlive their end".to_owned()))
    }

    /// No new operations of workloads.
    pub(super) fn begin_settling(&mut self) {
        let (traffic, mut way) = self.traffic();
        traffic.settle(&mut way);
    }

    /// Records a finding of the script's own.
    pub(super) fn find(&mut self, severity: Severity, finding: (&str, &str), what: String) -> Stop {
        self.find_with(severity, finding, what, Vec::new())
    }

    /// Records a finding of the script's own, with the operations that prove it.
    pub(super) fn find_with(
        &mut self,
        severity: Severity,
        (checker, rule): (&str, &str),
        explanation: String,
        operations: Vec<OpId>,
    ) -> Stop {
        self.findings.push(Finding {
            checker: checker.to_owned(),
            rule: rule.to_owned(),
            severity,
            explanation,
            operations,
            members: Vec::new(),
            at: self.world.now(),
        });
        Stop::Failed
    }

    /// Records that something did not come about in time.
    pub(super) fn liveness(&mut self, rule: &str, what: String) -> Stop {
        self.find(Severity::Liveness, ("expect", rule), what)
    }
}

/// The exit code of a Rust program that panicked.
const RUST_PANIC: i32 = 101;
