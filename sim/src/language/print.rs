//! A script as text, in its canonical form: single blanks, durations and sizes in their largest
//! unit, settings in a fixed order, at most one empty line in a row. Comments stay.

use std::fmt::{self, Write};

use detsim_reports::record::DowngradeAction;

use super::ast::{
    Action, AlarmOf, Answer, Compare, Direction, Expect, Extent, Flag, Line, Named, Operation,
    Request, Restore, Script, Sides, StartAction, Statement, Target,
};
use super::flags;
use super::parser::{BACKUP_DAMAGE, CLASSES, DISK_FAULTS, OCCASIONS};
use super::value::{Settings, Value, quoted, quoted_if_needed, show_duration, show_size, word_for};
use crate::world::{ClockFault, DiskFault, MessageClass, Side};

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = false;
        let mut begun = false;
        for line in &self.lines {
            if line.statement.is_none() && line.comment.is_none() {
                gap = begun;
                continue;
            }
            if gap {
                writeln!(f)?;
            }
            gap = false;
            begun = true;
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(statement) = &self.statement {
            write!(f, "{statement}")?;
        }
        let Some(comment) = &self.comment else { return Ok(()) };
        if self.statement.is_some() {
            f.write_char(' ')?;
        }
        let blank = if comment.is_empty() || comment.starts_with([' ', '#']) { "" } else { " " };
        write!(f, "#{blank}{comment}")
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Statement::Worlds(worlds) => write!(f, "worlds {}", worlds.join(" ")),
            Statement::Seed(seed) => write!(f, "seed {seed}"),
            Statement::Option(settings) => write!(f, "option{settings}"),
            Statement::Cluster { members, sizes, flags } => {
                write!(f, "cluster {}", members.join(" "))?;
                if !sizes.is_empty() {
                    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
                    write!(f, " size={}", sizes.join("|"))?;
                }
                write_all(f, flags)
            }
            Statement::Member { name, flags } => {
                write!(f, "member {name}")?;
                write_all(f, flags)
            }
            Statement::Let { name, target } => write!(f, "let {name} = {target}"),
            Statement::Do(action) => write!(f, "{action}"),
            Statement::At(after, action) => write!(f, "at {} {action}", show_duration(*after)),
            Statement::Workload(named) => write!(f, "workload {named}"),
            Statement::Nemesis(named) => write!(f, "nemesis {named}"),
            Statement::Run(time) => write!(f, "run {}", show_duration(*time)),
            Statement::Wait(time) => write!(f, "wait {}", show_duration(*time)),
            Statement::Settle => f.write_str("settle"),
            Statement::Converge { within } => write!(f, "converge{}", lasting("within", *within)),
            Statement::Check { checkers } if checkers.is_empty() => f.write_str("check all"),
            Statement::Check { checkers } => write!(f, "check {}", checkers.join(" ")),
            Statement::Expect(expect) => write!(f, "expect {expect}"),
            Statement::Allow(what) => write!(f, "allow finding {}", quoted_if_needed(what)),
            Statement::Operation(operation) => write!(f, "{operation}"),
            Statement::Restore(restore) => write!(f, "{restore}"),
            Statement::DefragmentOffline { targets, expect } => {
                write!(f, "defragment-offline {}", listed(targets))?;
                write_expected(f, expect)
            }
            Statement::Spoil { backup, damage } => {
                let word = word_for(&BACKUP_DAMAGE, damage);
                write!(f, "backup {backup} {word}")
            }
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            match value {
                Value::Switch => write!(f, " {name}")?,
                value => write!(f, " {name}={value}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.settings)
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = flags::short(&self.name);
        match self.choices.as_slice() {
            [value] if value.contains('|') || !is_plain(&self.name, value) => {
                write!(f, " {name}={}", quoted(value))
            }
            [value] => write!(f, " {name}={}", quoted_if_needed(value)),
            choices => write!(f, " {name}={}", choices.join("|")),
        }
    }
}

/// It can stand without quotes and still be read as this value.
fn is_plain(flag: &str, value: &str) -> bool {
    !value.is_empty() && flags::values(flag).hold(value)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Name(name) => name,
            Target::All => "all",
            Target::Leader => "leader",
            Target::Follower => "follower",
            Target::Followers => "followers",
            Target::Minority => "minority",
            Target::Majority => "majority",
            Target::Any => "any",
            Target::Rest => "rest",
            Target::Clients => "clients",
        })
    }
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.direction {
            Direction::Both => "|",
            Direction::OneWay => "->",
        };
        write!(f, "{} {sign} {}", listed(&self.from), listed(&self.to))
    }
}

impl fmt::Display for StartAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wipe = if self.wipe { " wipe" } else { "" };
        write!(f, "{}{wipe}", listed(&self.targets))?;
        write_all(f, &self.flags)
    }
}

impl fmt::Display for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wipe = if self.wipe { " wipe" } else { "" };
        write!(f, "restore {}{wipe}{}", listed(&self.targets), self.settings)?;
        write_expected(f, &self.expect)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Start(start) => write!(f, "start {start}"),
            Action::Restart(start) => write!(f, "restart {start}"),
            Action::Stop(targets) => write!(f, "stop {}", listed(targets)),
            Action::Kill(targets) => write!(f, "kill {}", listed(targets)),
            Action::KillAt(targets, None) => write!(f, "kill-at {} never", listed(targets)),
            Action::KillAt(targets, Some(trap)) => {
                let word = word_for(&OCCASIONS, &trap.occasion);
                let side = match trap.side {
                    Side::Before => "before",
                    Side::Within => "within",
                    Side::After => "after",
                };
                write!(f, "kill-at {} {side}={word}", listed(targets))?;
                if trap.count > 1 {
                    write!(f, " count={}", trap.count)?;
                }
                if trap.power {
                    f.write_str(" power")?;
                }
                match trap.back {
                    Some(back) => write!(f, " back={}", show_duration(back)),
                    None => Ok(()),
                }
            }
            Action::PowerLoss(targets) => write!(f, "power-loss {}", listed(targets)),
            Action::Pause(targets) => write!(f, "pause {}", listed(targets)),
            Action::Resume(targets) => write!(f, "resume {}", listed(targets)),
            Action::Cut(sides, MessageClass::All) => write!(f, "cut {sides}"),
            Action::Cut(sides, class) => {
                let word = word_for(&CLASSES, class);
                write!(f, "cut {sides} class={word}")
            }
            Action::Heal(None) => f.write_str("heal"),
            Action::Heal(Some(sides)) => write!(f, "heal {sides}"),
            Action::Reset(sides) => write!(f, "reset {sides}"),
            Action::HalfOpen(sides) => write!(f, "half-open {sides}"),
            Action::Link(sides, settings) => write!(f, "link {sides}{settings}"),
            Action::Disk(targets, DiskFault::SyncLatency(latency)) => {
                write!(f, "disk {} sync-latency={}", listed(targets), show_duration(*latency))
            }
            Action::Disk(targets, fault) => {
                let word = word_for(&DISK_FAULTS, fault);
                write!(f, "disk {} {word}", listed(targets))
            }
            Action::Clock(targets, ClockFault::JumpWall { by_ms }) => {
                let sign = if *by_ms < 0 { '-' } else { '+' };
                let by = std::time::Duration::from_millis(by_ms.unsigned_abs());
                write!(f, "clock {} jump={sign}{}", listed(targets), show_duration(by))
            }
            Action::Clock(targets, ClockFault::Drift { ppm }) => {
                write!(f, "clock {} drift={ppm:+}ppm", listed(targets))
            }
            Action::Clock(targets, ClockFault::DriftWall { ppm }) => {
                write!(f, "clock {} wall-drift={ppm:+}ppm", listed(targets))
            }
            Action::Clock(targets, ClockFault::Freeze) => {
                write!(f, "clock {} freeze", listed(targets))
            }
            Action::Clock(targets, ClockFault::FreezeWall) => {
                write!(f, "clock {} freeze-wall", listed(targets))
            }
            Action::Processor(targets, step) => {
                write!(f, "processor {} step={}", listed(targets), show_duration(*step))
            }
            Action::Ask(operation) => write!(f, "{operation}"),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Exits { targets, code, log, within } => {
                write!(f, "{} exits", listed(targets))?;
                if let Some(code) = code {
                    write!(f, " code={code}")?;
                }
                if let Some(text) = log {
                    write!(f, " log={}", quoted(text))?;
                }
                f.write_str(&lasting("within", *within))
            }
            Expect::Running { targets, lasts } => {
                write!(f, "{} running{}", listed(targets), lasting("for", *lasts))
            }
            Expect::Ready { targets, within } => {
                write!(f, "{} ready{}", listed(targets), lasting("within", *within))
            }
            Expect::Log { targets, text, within } => {
                write!(f, "{} log={}{}", listed(targets), quoted(text), lasting("within", *within))
            }
            Expect::NoLog { targets, text, lasts } => {
                write!(f, "{} no-log={}{}", listed(targets), quoted(text), lasting("for", *lasts))
            }
            Expect::Leader { among, within } => {
                write!(f, "leader{}{}", in_these(among), lasting("within", *within))
            }
            Expect::NoLeader { among, within } => {
                write!(f, "no-leader{}{}", in_these(among), lasting("within", *within))
            }
            Expect::SameData { targets, within } => {
                write!(f, "same-data {}{}", listed(targets), lasting("within", *within))
            }
            Expect::DifferentData { targets } => write!(f, "different-data {}", listed(targets)),
            Expect::SameCluster { targets, within } => {
                write!(f, "same-cluster {}{}", listed(targets), lasting("within", *within))
            }
            Expect::DifferentCluster { targets } => {
                write!(f, "different-cluster {}", listed(targets))
            }
            Expect::Members { names, via, within } => {
                write!(f, "members {}", names.join(" "))?;
                write_via(f, via.as_ref())?;
                f.write_str(&lasting("within", *within))
            }
            Expect::TermBelow(term) => write!(f, "term below={term}"),
            Expect::Checked(what) => write!(f, "checked {}", quoted_if_needed(what)),
            Expect::Finding(what) => write!(f, "finding {}", quoted_if_needed(what)),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.request)?;
        write_via(f, self.via.as_ref())?;
        f.write_str(&lasting("timeout", self.timeout))?;
        write_expected(f, &self.expect)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Extent::Key => Ok(()),
            Extent::Prefix => f.write_str(" prefix"),
            Extent::To(end) => write!(f, " to={}", setting_text(end)),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Put { key, value, size, lease, prev_kv } => {
                write!(f, "put {} {}", free(key), free(value))?;
                if *size > 0 {
                    write!(f, " size={}", show_size(*size))?;
                }
                write_number(f, "lease", *lease)?;
                write_switch(f, "prev-kv", *prev_kv)
            }
            Request::Get { key, extent, serializable, revision, limit, count_only } => {
                write!(f, "get {}{extent}", free(key))?;
                write_switch(f, "serializable", *serializable)?;
                write_number(f, "rev", *revision)?;
                write_number(f, "limit", *limit)?;
                write_switch(f, "count-only", *count_only)
            }
            Request::Delete { key, extent, prev_kv } => {
                write!(f, "delete {}{extent}", free(key))?;
                write_switch(f, "prev-kv", *prev_kv)
            }
            Request::Txn { compare, success, failure } => {
                f.write_str("txn")?;
                write_joined(f, " if ", compare)?;
                write_joined(f, " then ", success)?;
                write_joined(f, " else ", failure)
            }
            Request::Compact { revision, physical } => {
                f.write_str("compact")?;
                if let Some(revision) = revision {
                    write!(f, " {revision}")?;
                }
                write_switch(f, "physical", *physical)
            }
            Request::LeaseGrant { id, ttl_s } => write!(f, "lease-grant {id} ttl={ttl_s}s"),
            Request::LeaseRevoke { id } => write!(f, "lease-revoke {id}"),
            Request::LeaseKeepAlive { id } => write!(f, "lease-keep-alive {id}"),
            Request::LeaseTimeToLive { id, keys: true } => {
                write!(f, "lease-time-to-live {id} keys")
            }
            Request::LeaseTimeToLive { id, keys: false } => write!(f, "lease-time-to-live {id}"),
            Request::LeaseList => f.write_str("lease-list"),
            Request::MemberAdd { member, learner, urls } => {
                write!(f, "member-add {member}")?;
                write_switch(f, "learner", *learner)?;
                urls.iter().try_for_each(|urls| write!(f, " urls={}", setting_text(urls)))
            }
            Request::MemberRemove { member } => write!(f, "member-remove {member}"),
            Request::MemberUpdate { member, urls } => {
                write!(f, "member-update {member} urls={}", setting_text(urls))
            }
            Request::MemberPromote { member } => write!(f, "member-promote {member}"),
            Request::MemberList { serializable } => {
                f.write_str("member-list")?;
                write_switch(f, "serializable", *serializable)
            }
            Request::MoveLeader { to } => write!(f, "move-leader {to}"),
            Request::Status => f.write_str("status"),
            Request::AlarmList => f.write_str("alarm-list"),
            Request::AlarmRaise(alarm) => write!(f, "alarm-raise {alarm}"),
            Request::AlarmDisarm(Some(alarm)) => write!(f, "alarm-disarm {alarm}"),
            Request::AlarmDisarm(None) => f.write_str("alarm-disarm"),
            Request::Defragment => f.write_str("defragment"),
            Request::Downgrade { action, version } => write_downgrade(f, *action, version),
            Request::Hash { revision: 0 } => f.write_str("hash"),
            Request::Hash { revision } => write!(f, "hash rev={revision}"),
            Request::Save { backup } => write!(f, "save {backup}"),
        }
    }
}

impl fmt::Display for AlarmOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.word(), self.whose())
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.field, free(&self.key), self.operator, free(&self.operand))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |word: &str, text: &str| match text {
            "" => word.to_owned(),
            text => format!("{word} {}", quoted(text)),
        };
        f.write_str(&match self {
            Answer::Ok => "ok".to_owned(),
            Answer::Fail(text) => with("fail", text),
            Answer::Unknown(text) => with("unknown", text),
            Answer::Error(text) => with("error", text),
            Answer::Any => "any".to_owned(),
            Answer::Value(value) => format!("value={}", setting_text(value)),
            Answer::None => "none".to_owned(),
            Answer::Count(count) => format!("count={count}"),
            Answer::Ttl(seconds) => format!("ttl={seconds}s"),
            Answer::ClusterVersion(version) => format!("cluster-version={}", setting_text(version)),
            Answer::Revision(revision) => format!("revision={revision}"),
            Answer::Alarm(alarm) => format!("{}={}", alarm.word(), alarm.whose()),
            Answer::Succeeded => "succeeded".to_owned(),
            Answer::NotSucceeded => "not-succeeded".to_owned(),
        })
    }
}

fn write_downgrade(
    f: &mut fmt::Formatter<'_>,
    action: DowngradeAction,
    version: &str,
) -> fmt::Result {
    match action {
        DowngradeAction::Cancel => write!(f, "downgrade {}", action.word()),
        _ => write!(f, "downgrade {} {}", action.word(), free(version)),
    }
}

/// Targets with blanks between.
fn write_expected(f: &mut fmt::Formatter<'_>, answers: &[Answer]) -> fmt::Result {
    if answers.is_empty() {
        return Ok(());
    }
    let answers: Vec<String> = answers.iter().map(Answer::to_string).collect();
    write!(f, "; expect {}", answers.join(" "))
}

fn listed(targets: &[Target]) -> String {
    let names: Vec<String> = targets.iter().map(Target::to_string).collect();
    names.join(" ")
}

fn in_these(among: &[Target]) -> String {
    if among == [Target::All] { String::new() } else { format!(" in {}", listed(among)) }
}

fn lasting(name: &str, time: Option<std::time::Duration>) -> String {
    time.map_or_else(String::new, |time| format!(" {name}={}", show_duration(time)))
}

/// A word that stands alone: in quotes if it could be read as something else.
fn free(text: &str) -> String {
    if text.contains('=') { quoted(text) } else { quoted_if_needed(text) }
}

/// The value of a setting.
fn setting_text(text: &str) -> String {
    quoted_if_needed(text)
}

fn write_all(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    items.iter().try_for_each(|item| write!(f, "{item}"))
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    items: &[impl fmt::Display],
) -> fmt::Result {
    for (place, item) in items.iter().enumerate() {
        f.write_str(if place == 0 { word } else { " and " })?;
        write!(f, "{item}")?;
    }
    Ok(())
}

fn write_via(f: &mut fmt::Formatter<'_>, via: Option<&Target>) -> fmt::Result {
    via.into_iter().try_for_each(|via| write!(f, " via={via}"))
}

fn write_number(f: &mut fmt::Formatter<'_>, name: &str, number: i64) -> fmt::Result {
    if number == 0 { Ok(()) } else { write!(f, " {name}={number}") }
}

fn write_switch(f: &mut fmt::Formatter<'_>, name: &str, is_on: bool) -> fmt::Result {
    if is_on { write!(f, " {name}") } else { Ok(()) }
}
